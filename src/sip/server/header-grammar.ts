/** Grammar of header values that the engine itself reads (RFC 3261 25.1). No function throws; undefined = malformed. */
import { isHost, isToken, isUriText, quote, quotedEnd, skipSpace, trim, unquote } from './lexer.ts';

/** Parameters in order: lower-case name -> value as written (quotes kept), or null where there is no `=`. */
export type Params = ReadonlyMap<string, string | null>;

/** `display` is unquoted; `uri` is what stands between the angle brackets (`*` for `Contact: *`). */
export type NameAddr = {
  readonly display: string;
  readonly uri: string;
  readonly params: Params;
  readonly tag: string | undefined;
};

export type Via = {
  /** `SIP/2.0`, spaces removed. */
  readonly protocol: string;
  /** Upper case: UDP, TCP, TLS, ... */
  readonly transport: string;
  /** As written; an IPv6 reference keeps its brackets. */
  readonly host: string;
  readonly port: number | undefined;
  readonly params: Params;
  /** `''` when there is none (RFC 2543). */
  readonly branch: string;
};

export type CSeq = { readonly number: number; readonly method: string };

const NO_PARAMS: Params = new Map();
const QUOTE = 0x22;
const COMMA = 0x2c;
const SEMICOLON = 0x3b;
const LESS = 0x3c;
const EQUALS = 0x3d;
const GREATER = 0x3e;

/** The values of a list header's line: split at commas outside quotes and angle brackets, trimmed, empty ones left out. */
export function splitList(value: string): string[] {
  if (!value.includes(',')) {
    const only = trim(value);
    return only === '' ? [] : [only];
  }
  const values: string[] = [];
  const push = (from: number, to: number): void => {
    const item = trim(value.slice(from, to));
    if (item !== '') values.push(item);
  };
  let start = 0;
  let inBrackets = false;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code === QUOTE && !inBrackets) {
      const end = quotedEnd(value, at);
      if (end < 0) break;
      at = end - 1;
    } else if (code === LESS) inBrackets = true;
    else if (code === GREATER) inBrackets = false;
    else if (code === COMMA && !inBrackets) {
      push(start, at);
      start = at + 1;
    }
  }
  push(start, value.length);
  return values;
}

/** `;name=value;flag` with space allowed around each sign; `''` gives none. An empty parameter is malformed. */
export function parseParams(text: string): Params | undefined {
  let at = skipSpace(text, 0);
  if (at === text.length) return NO_PARAMS;
  const params = new Map<string, string | null>();
  while (at < text.length) {
    if (text.charCodeAt(at) !== SEMICOLON) return undefined;
    const end = endOfParam(text, at + 1);
    if (end < 0) return undefined;
    const equals = text.indexOf('=', at + 1);
    const hasValue = equals >= 0 && equals < end;
    const name = trim(text.slice(at + 1, hasValue ? equals : end)).toLowerCase();
    if (!isToken(name)) return undefined;
    const value = hasValue ? trim(text.slice(equals + 1, end)) : null;
    if (value !== null && !isParamValue(value)) return undefined;
    if (!params.has(name)) params.set(name, value);
    at = end;
  }
  return params;
}

/** The index of the next semicolon outside quotes, or the end; -1 when a quote is not closed. */
function endOfParam(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === SEMICOLON) return at;
    if (code === QUOTE) {
      const end = quotedEnd(text, at);
      if (end < 0) return -1;
      at = end - 1;
    }
  }
  return text.length;
}

/** A whole quoted string, or a run without space, quote, comma or angle bracket; hosts and URIs pass. */
function isParamValue(value: string): boolean {
  if (value.charCodeAt(0) === QUOTE) return quotedEnd(value, 0) === value.length;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code <= 0x20 || code === QUOTE || code === COMMA || code === LESS || code === GREATER) {
      return false;
    }
  }
  return true;
}

export function formatParams(params: Params): string {
  let text = '';
  for (const [name, value] of params) text += value === null ? `;${name}` : `;${name}=${value}`;
  return text;
}

/**
 * A From, To, Contact, Route, Refer-To value: `"Display" <uri>;params` or `uri;params`. Without brackets the
 * parameters belong to the header, and `?` or `,` in the URI is malformed (RFC 3261 20).
 */
export function parseNameAddr(value: string): NameAddr | undefined {
  const text = trim(value);
  if (text === '*') return { display: '', uri: '*', params: NO_PARAMS, tag: undefined };
  const start = displayEnd(text);
  if (start === undefined) return undefined;
  let display = '';
  let uri: string;
  let rest: string;
  if (start >= 0) {
    const end = text.indexOf('>', start);
    if (end < 0) return undefined;
    display = unquote(trim(text.slice(0, start)));
    uri = trim(text.slice(start + 1, end));
    rest = text.slice(end + 1);
  } else {
    const semicolon = text.indexOf(';');
    uri = trim(semicolon < 0 ? text : text.slice(0, semicolon));
    rest = semicolon < 0 ? '' : text.slice(semicolon);
    if (uri.includes('?') || uri.includes(',')) return undefined;
  }
  if (!isUriText(uri)) return undefined;
  const params = parseParams(rest);
  if (params === undefined) return undefined;
  return { display, uri, params, tag: params.get('tag') ?? undefined };
}

/** Where the `<` is; -1 when there is none; undefined when what precedes it is not a display name. */
function displayEnd(text: string): number | undefined {
  if (text.charCodeAt(0) === QUOTE) {
    const close = quotedEnd(text, 0);
    if (close < 0) return undefined;
    const at = skipSpace(text, close);
    return text.charCodeAt(at) === LESS ? at : undefined;
  }
  const at = text.indexOf('<');
  // Unquoted display names with other than token characters (UTF-8, parentheses) are met in the field and harmless;
  // separators are not (RFC 4475 3.1.2.15).
  for (let i = 0; i < at; i++) {
    const code = text.charCodeAt(i);
    if (code === COMMA || code === SEMICOLON || code === QUOTE || code === GREATER)
      return undefined;
  }
  return at;
}

export function formatNameAddr(addr: Pick<NameAddr, 'display' | 'uri' | 'params'>): string {
  const display = addr.display === '' ? '' : `${quote(addr.display)} `;
  return `${display}<${addr.uri}>${formatParams(addr.params)}`;
}

/** One Via value. Space is allowed around the slashes and the colon. */
export function parseVia(value: string): Via | undefined {
  const head = parseViaHead(value);
  if (head === undefined) return undefined;
  const params = parseParams(head.rest);
  if (params === undefined) return undefined;
  const { rest: _rest, ...via } = head;
  return { ...via, params, branch: params.get('branch') ?? '' };
}

type ViaHead = Omit<Via, 'params' | 'branch'> & { readonly rest: string };

/** The part before the parameters, enough to answer a request whose Via parameters are broken. */
export function parseViaHead(value: string): ViaHead | undefined {
  const text = trim(value);
  const firstSlash = text.indexOf('/');
  const secondSlash = text.indexOf('/', firstSlash + 1);
  if (firstSlash < 0 || secondSlash < 0) return undefined;
  const name = trim(text.slice(0, firstSlash));
  const version = trim(text.slice(firstSlash + 1, secondSlash));
  const from = skipSpace(text, secondSlash + 1);
  let to = from;
  while (to < text.length && text.charCodeAt(to) > 0x20) to++;
  const transport = text.slice(from, to).toUpperCase();
  if (!isToken(name) || !isToken(version) || !isToken(transport)) return undefined;
  const semicolon = text.indexOf(';', to);
  const sentBy = parseHostPort(trim(text.slice(to, semicolon < 0 ? text.length : semicolon)));
  if (sentBy === undefined) return undefined;
  const rest = semicolon < 0 ? '' : text.slice(semicolon);
  return { protocol: `${name.toUpperCase()}/${version}`, transport, ...sentBy, rest };
}

/** `host`, `host:port`, `[v6]:port`; space allowed around the colon. */
export function parseHostPort(
  text: string,
): { readonly host: string; readonly port: number | undefined } | undefined {
  const colon = text.startsWith('[') ? text.indexOf(':', text.indexOf(']')) : text.indexOf(':');
  const host = trim(colon < 0 ? text : text.slice(0, colon));
  if (!isHost(host)) return undefined;
  if (colon < 0) return { host, port: undefined };
  const port = parseNumber(trim(text.slice(colon + 1)), 65_535);
  return port === undefined ? undefined : { host, port };
}

export function formatVia(
  via: Pick<Via, 'protocol' | 'transport' | 'host' | 'port' | 'params'>,
): string {
  const port = via.port === undefined ? '' : `:${via.port}`;
  return `${via.protocol}/${via.transport} ${via.host}${port}${formatParams(via.params)}`;
}

/** `4711 INVITE`; the number is below 2**32 (the sequence space of RFC 3261 8.1.1.5 is half of it, peers use all). */
export function parseCSeq(value: string): CSeq | undefined {
  const text = trim(value);
  let digits = 0;
  while (digits < text.length && text.charCodeAt(digits) > 0x20) digits++;
  const number = parseNumber(text.slice(0, digits), 0xffff_ffff);
  const method = trim(text.slice(digits));
  return number === undefined || !isToken(method) ? undefined : { number, method };
}

/** Decimal digits alone, at most `max`; leading zeros are allowed. */
export function parseNumber(text: string, max: number): number | undefined {
  if (text.length === 0 || text.length > 64) return undefined;
  let number = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
    if (number > max) return undefined;
  }
  return number;
}

/** A challenge or credentials: `Digest realm="a", nonce="b"`. Values are unquoted; a bare token68 is under `''`. */
export type Auth = { readonly scheme: string; readonly params: ReadonlyMap<string, string> };

/** All challenges of a WWW-Authenticate line, or the one of an Authorization line. */
export function parseAuth(value: string): Auth[] | undefined {
  const found: { scheme: string; params: Map<string, string> }[] = [];
  for (const item of splitList(value)) {
    const equals = item.indexOf('=');
    const space = item.search(/[ \t]/);
    let pair = item;
    if (space > 0 && (equals < 0 || space < equals) && !startsWithEquals(item, space)) {
      const scheme = item.slice(0, space);
      if (!isToken(scheme)) return undefined;
      found.push({ scheme, params: new Map() });
      pair = trim(item.slice(space));
    } else if (equals < 0) {
      if (!isToken(item)) return undefined;
      found.push({ scheme: item, params: new Map() });
      continue;
    }
    const params = found.at(-1)?.params;
    if (params === undefined || !addAuthParam(params, pair)) return undefined;
  }
  return found.length === 0 ? undefined : found;
}

/** `realm = "x"`: the first thing after the space is the equals sign, so the word before it is no scheme. */
function startsWithEquals(text: string, at: number): boolean {
  return text.charCodeAt(skipSpace(text, at)) === EQUALS;
}

function addAuthParam(params: Map<string, string>, pair: string): boolean {
  const equals = pair.indexOf('=');
  const name = equals < 0 ? '' : trim(pair.slice(0, equals)).toLowerCase();
  const value = trim(pair.slice(equals + 1));
  if (equals < 0 || /^=*$/.test(value)) {
    params.set('', pair);
    return pair !== '';
  }
  if (!isToken(name) || !isParamValue(value)) return false;
  if (!params.has(name)) params.set(name, unquote(value));
  return true;
}
