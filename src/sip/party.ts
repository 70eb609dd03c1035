/** Reads the parties of a request out of its header values (RFC 3261 20.10, 25.1; RFC 3323, 3325; RFC 3966). */
import type { Party } from './types.ts';

export type NameAddr = {
  readonly displayName: string | null;
  readonly uri: string;
  /** Header parameters after the URI, names in lower case. */
  readonly params: ReadonlyMap<string, string>;
};

export type UriParts = {
  readonly scheme: string;
  /** Percent-decoded; empty when there is none. */
  readonly user: string;
  readonly host: string;
  readonly port: number | null;
  readonly params: ReadonlyMap<string, string>;
};

/** Splits a header value at commas outside quotes and angle brackets: srf joins repeated headers by commas. */
export function splitHeader(value: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < value.length; at += 1) {
    const char = value[at];
    if (quoted) {
      if (char === '\\') at += 1;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === '<') depth += 1;
    else if (char === '>') depth = Math.max(0, depth - 1);
    else if (char === ',' && depth === 0) {
      parts.push(value.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(value.slice(start).trim());
  return parts.filter((part) => part !== '');
}

/** One name-addr or addr-spec. Never throws: what cannot be read comes back as the URI. */
export function parseNameAddr(text: string): NameAddr {
  const value = text.trim();
  const open = openingBracket(value);
  if (open < 0) {
    const semicolon = value.indexOf(';');
    const uri = semicolon < 0 ? value : value.slice(0, semicolon);
    const rest = semicolon < 0 ? '' : value.slice(semicolon);
    // RFC 3261 20.10: without angle brackets, parameters belong to the header, not to the URI.
    return { displayName: null, uri: uri.trim(), params: parseParams(rest) };
  }
  const close = value.indexOf('>', open);
  const end = close < 0 ? value.length : close;
  return {
    displayName: displayNameOf(value.slice(0, open)),
    uri: value.slice(open + 1, end).trim(),
    params: parseParams(value.slice(end + 1)),
  };
}

/** The first `<` that does not stand inside the quoted display name. */
function openingBracket(value: string): number {
  let quoted = false;
  for (let at = 0; at < value.length; at += 1) {
    const char = value[at];
    if (quoted && char === '\\') at += 1;
    else if (char === '"') quoted = !quoted;
    else if (char === '<' && !quoted) return at;
  }
  return -1;
}

function displayNameOf(text: string): string | null {
  const name = text.trim();
  const quoted = /^"((?:[^"\\]|\\.)*)"?/s.exec(name)?.[1];
  const plain = quoted === undefined ? name : quoted.replaceAll(/\\(.)/gs, '$1');
  return plain === '' ? null : plain;
}

function parseParams(text: string): Map<string, string> {
  const params = new Map<string, string>();
  for (const match of text.matchAll(/;\s*([^=;\s]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;]*))?/g)) {
    const name = match[1]?.toLowerCase() ?? '';
    const value = (match[2] ?? '').trim();
    if (!params.has(name)) params.set(name, unquote(value));
  }
  return params;
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/gs, '$1') : value;
}

/** A sip, sips or tel URI, or null for anything else. A tel number has no host. */
export function parseUri(uri: string): UriParts | null {
  const match = /^(sips?|tel):(.*)$/is.exec(uri.trim());
  const scheme = match?.[1]?.toLowerCase();
  if (scheme === undefined) return null;
  const [body = ''] = (match?.[2] ?? '').split('?', 1);
  if (scheme === 'tel') {
    const [number = ''] = body.split(';', 1);
    const params = parseParams(body.slice(number.length));
    return { scheme, user: number.replaceAll(/[().\s-]/g, ''), host: '', port: null, params };
  }
  const at = body.lastIndexOf('@');
  const [rawUser = ''] = at < 0 ? [''] : body.slice(0, at).split(':', 1);
  const hostPart = body.slice(at + 1);
  const host = /^(\[[^\]]*\]|[^:;]*)(?::(\d{1,5}))?/.exec(hostPart);
  const semicolon = hostPart.indexOf(';');
  return {
    scheme,
    // A number with parameters inside the user part (`+1555;npdi@host`) is dialled without them.
    user: percentDecode(rawUser.split(';', 1)[0] ?? ''),
    host: (host?.[1] ?? '').replaceAll(/^\[|\]$/g, '').toLowerCase(),
    port: host?.[2] === undefined ? null : Number(host[2]),
    params: semicolon < 0 ? new Map() : parseParams(hostPart.slice(semicolon)),
  };
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not valid UTF-8 after decoding: shown as it came
  }
}

/** The user part of a URI that we write: everything outside RFC 3261 25.1 `user` is percent-encoded (`#` too). */
export function encodeUser(user: string): string {
  return encodeURIComponent(user).replaceAll(/%(2B|26|3D|24|2C|3B|3F|2F)/g, (code) =>
    decodeURIComponent(code),
  );
}

/** A display name as a quoted string; control characters are dropped. */
export function quoteDisplayName(name: string): string {
  const clean = name.replaceAll(/\p{Cc}/gu, '');
  return `"${clean.replaceAll(/["\\]/g, (char) => `\\${char}`)}"`;
}

type HeaderSource = (name: string) => string | undefined;

/** Who calls: P-Asserted-Identity when `trustAsserted` (the source is a trunk of ours), else From. */
export function callerOf(header: HeaderSource, trustAsserted: boolean): Party {
  const asserted = header('p-asserted-identity');
  const from = parseNameAddr(splitHeader(header('from') ?? '')[0] ?? '');
  const chosen = trustAsserted && asserted !== undefined ? preferNumber(asserted, from) : from;
  const party = partyOf(chosen);
  // RFC 3323 4.2: the caller asked for privacy; RFC 3325 9.3 `id` concerns the asserted identity.
  const privacy = (header('privacy') ?? '').toLowerCase();
  const withheld = /\b(id|user|header|session)\b/.test(privacy) || partyOf(from).anonymous;
  return withheld ? { ...party, anonymous: true } : party;
}

export function calleeOf(header: HeaderSource): Party {
  return partyOf(parseNameAddr(splitHeader(header('to') ?? '')[0] ?? ''));
}

/** Of several asserted identities the one with a number: networks often send a sip: and a tel: URI. */
function preferNumber(asserted: string, fallback: NameAddr): NameAddr {
  const all = splitHeader(asserted).map((part) => parseNameAddr(part));
  return all.find((one) => /^\+?\d+$/.test(parseUri(one.uri)?.user ?? '')) ?? all[0] ?? fallback;
}

function partyOf(address: NameAddr): Party {
  const parts = parseUri(address.uri);
  const user = parts?.user ?? '';
  const host = parts?.host ?? '';
  const anonymous =
    user.toLowerCase() === 'anonymous' ||
    host === 'anonymous.invalid' ||
    (user === '' && (address.displayName ?? '').toLowerCase() === 'anonymous');
  const hidden = anonymous && user.toLowerCase() === 'anonymous';
  return {
    user: hidden ? '' : user,
    host,
    displayName: address.displayName,
    uri: address.uri,
    anonymous,
  };
}
