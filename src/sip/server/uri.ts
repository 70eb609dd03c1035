/** sip: and sips: URIs (RFC 3261 19.1). */
import { formatParams, parseHostPort } from './header-grammar.ts';
import type { Params } from './header-grammar.ts';
import { isUriText, schemeOf } from './lexer.ts';

export type SipUri = {
  readonly scheme: 'sip' | 'sips';
  /** Escapes decoded; undefined when there is no `@`. */
  readonly user: string | undefined;
  /** As written. */
  readonly password: string | undefined;
  /** Lower case; an IPv6 reference without its brackets. */
  readonly host: string;
  readonly port: number | undefined;
  /** Values as written. */
  readonly params: Params;
  /** The part after `?`, as written, or `''`. */
  readonly headers: string;
};

/** A sip or sips URI, or undefined for another scheme or a malformed one. */
export function parseUri(text: string): SipUri | undefined {
  const scheme = schemeOf(text);
  if ((scheme !== 'sip' && scheme !== 'sips') || !isUriText(text)) return undefined;
  // The user part may hold `;`, `?` and `:` unescaped (RFC 4475 3.1.1.2, 3.1.1.9); only `@` cannot be in it.
  const at = text.indexOf('@');
  const userinfo = at < 0 ? undefined : text.slice(scheme.length + 1, at);
  if (userinfo === '') return undefined;
  const rest = text.slice(at < 0 ? scheme.length + 1 : at + 1);
  const question = rest.indexOf('?');
  const headers = question < 0 ? '' : rest.slice(question + 1);
  const beforeHeaders = question < 0 ? rest : rest.slice(0, question);
  const semicolon = beforeHeaders.indexOf(';');
  const hostPort = parseHostPort(semicolon < 0 ? beforeHeaders : beforeHeaders.slice(0, semicolon));
  const params = parseUriParams(semicolon < 0 ? '' : beforeHeaders.slice(semicolon));
  if (hostPort === undefined || params === undefined) return undefined;
  const colon = userinfo === undefined ? -1 : userinfo.indexOf(':');
  const user = colon < 0 ? userinfo : userinfo?.slice(0, colon);
  return {
    scheme,
    user: user === undefined ? undefined : unescape(user),
    password: colon < 0 ? undefined : userinfo?.slice(colon + 1),
    host: hostPort.host.replace(/^\[|\]$/g, '').toLowerCase(),
    port: hostPort.port,
    params,
    headers,
  };
}

export function formatUri(uri: SipUri): string {
  const password = uri.password === undefined ? '' : `:${uri.password}`;
  const user = uri.user === undefined ? '' : `${escapeUser(uri.user)}${password}@`;
  const host = uri.host.includes(':') ? `[${uri.host}]` : uri.host;
  const port = uri.port === undefined ? '' : `:${uri.port}`;
  const headers = uri.headers === '' ? '' : `?${uri.headers}`;
  return `${uri.scheme}:${user}${host}${port}${formatParams(uri.params)}${headers}`;
}

/** `;name=value;flag`: names may hold escapes and `[]/:&+$` (pname), so this is wider than header parameters. */
function parseUriParams(text: string): Params | undefined {
  const params = new Map<string, string | null>();
  for (const part of text.split(';').slice(1)) {
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).toLowerCase();
    if (name === '') return undefined;
    if (!params.has(name)) params.set(name, equals < 0 ? null : part.slice(equals + 1));
  }
  return params;
}

/** Decodes %HH; a `%` that starts no escape stays. Bytes that are not UTF-8 are read as Latin-1. */
function unescape(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text.replace(/%(?![0-9a-fA-F]{2})/g, '%25'));
  } catch {
    // Not UTF-8 behind the escapes: each stands for one Latin-1 character.
    return text.replace(/%([0-9a-fA-F]{2})/g, (_whole, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
}

function escapeUser(user: string): string {
  return user
    .toWellFormed()
    .replace(/[^a-zA-Z0-9\-_.!~*'()&=+$,;?/]/gu, (char) => encodeURIComponent(char));
}
