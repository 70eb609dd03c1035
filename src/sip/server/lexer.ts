/** Character classes and quoted strings of RFC 3261 25.1, by table and index: no regular expression can backtrack here. */

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const tokenChars = tableOf(`${ALPHANUMERIC}-.!%*_+\`'~`);
const wordChars = tableOf(`${ALPHANUMERIC}-.!%*_+\`'~()<>:\\"/[]?{}`);
const hostChars = tableOf(`${ALPHANUMERIC}-._`);
const ipv6Chars = tableOf('0123456789abcdefABCDEF:.%');
const schemeChars = tableOf(`${ALPHANUMERIC}+-.`);

function tableOf(chars: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let at = 0; at < chars.length; at++) table[chars.charCodeAt(at)] = 1;
  return table;
}

function isAll(table: Uint8Array, text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (table[text.charCodeAt(at)] !== 1) return false;
  return to > from;
}

export function isToken(text: string): boolean {
  return isAll(tokenChars, text, 0, text.length);
}

/** `word` or `word@word` (RFC 3261 25.1). */
export function isCallId(text: string): boolean {
  const at = text.indexOf('@');
  if (at < 0) return isAll(wordChars, text, 0, text.length);
  return isAll(wordChars, text, 0, at) && isAll(wordChars, text, at + 1, text.length);
}

/** A name, an IPv4 address, or an IPv6 address in brackets. Underscores are met in the field and let through. */
export function isHost(text: string): boolean {
  if (text.charCodeAt(0) !== 0x5b) return isAll(hostChars, text, 0, text.length);
  return text.endsWith(']') && isAll(ipv6Chars, text, 1, text.length - 1);
}

/** Lower-case scheme of any URI, or undefined when there is none. */
export function schemeOf(uri: string): string | undefined {
  const colon = uri.indexOf(':');
  if (colon <= 0 || !isAll(schemeChars, uri, 0, colon)) return undefined;
  const first = uri.charCodeAt(0) | 0x20;
  return first < 0x61 || first > 0x7a ? undefined : uri.slice(0, colon).toLowerCase();
}

/** True for `scheme:something` without space, control characters, quotes or angle brackets. */
export function isUriText(uri: string): boolean {
  const scheme = schemeOf(uri);
  if (scheme === undefined || uri.length === scheme.length + 1) return false;
  for (let at = scheme.length + 1; at < uri.length; at++) {
    const code = uri.charCodeAt(at);
    if (code <= 0x20 || code === 0x7f || code === 0x22 || code === 0x3c || code === 0x3e) {
      return false;
    }
  }
  return true;
}

/** The index of the first character at or after `at` that is neither space nor tab. */
export function skipSpace(text: string, at: number): number {
  let next = at;
  while (next < text.length && (text.charCodeAt(next) === 0x20 || text.charCodeAt(next) === 0x09)) {
    next++;
  }
  return next;
}

/** Without space and tab at both ends. String.trim would also take U+3000 or a byte order mark, which are text. */
export function trim(text: string): string {
  const from = skipSpace(text, 0);
  let to = text.length;
  while (to > from && (text.charCodeAt(to - 1) === 0x20 || text.charCodeAt(to - 1) === 0x09)) to--;
  return from === 0 && to === text.length ? text : text.slice(from, to);
}

/** The index after the quote that closes the one at `open`, or -1. A backslash escapes any character. */
export function quotedEnd(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5c) at++;
    else if (code === 0x22) return at + 1;
  }
  return -1;
}

/** The content of a quoted string; any other text as it is. */
export function unquote(text: string): string {
  if (text.length < 2 || text.charCodeAt(0) !== 0x22 || quotedEnd(text, 0) !== text.length) {
    return text;
  }
  const inner = text.slice(1, -1);
  if (!inner.includes('\\')) return inner;
  let plain = '';
  for (let at = 0; at < inner.length; at++) {
    if (inner.charCodeAt(at) === 0x5c) at++;
    plain += inner.charAt(at);
  }
  return plain;
}

export function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
