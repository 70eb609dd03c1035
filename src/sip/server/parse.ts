/** Bytes to SipMessage. Never throws, takes linear time; says what a server should answer to what it cannot read. */
import { isUtf8 } from 'node:buffer';
import { parseCSeq, parseNameAddr, parseNumber, parseViaHead } from './header-grammar.ts';
import type { NameAddr } from './header-grammar.ts';
import { isCallId, isToken, isUriText, schemeOf, skipSpace, trim } from './lexer.ts';
import { MAX_BODY, MAX_CONTACTS, MAX_HEAD, MAX_HEADER_LINE, MAX_HEADER_LINES } from './limits.ts';
import { MAX_MESSAGE } from './limits.ts';
import { SipMessage } from './message.ts';
import { parseUri } from './uri.ts';

export type ParseResult =
  | { readonly ok: true; readonly message: SipMessage }
  | {
      readonly ok: false;
      /** What a server should answer; null = drop (a response, an ACK, or nothing that could be answered). */
      readonly status: number | null;
      /** For the reason phrase and the log; names the fault, quotes nothing of the message. */
      readonly reason: string;
      /** As much as could be read. */
      readonly message: SipMessage | null;
    };

export type Fault = { readonly status: number; readonly reason: string };

/** Start line and headers, before it is known whether the body is all there. */
export type Head = {
  /** Null when the start line is not one of SIP. */
  readonly message: SipMessage | null;
  readonly fault: Fault | null;
  /** Of the header; undefined when it is absent or cannot be read. */
  readonly contentLength: number | undefined;
  /** False when a stream cannot be cut into messages any more after this head. */
  readonly framed: boolean;
  /** Index of the body's first byte. */
  readonly end: number;
};

/** Parses one datagram. Bytes beyond Content-Length are dropped (RFC 3261 18.3). */
export function parseMessage(bytes: Buffer): ParseResult {
  const head = parseHead(bytes);
  const length = head.contentLength ?? bytes.length - head.end;
  return finishMessage(head, bytes.subarray(head.end, Math.min(head.end + length, bytes.length)));
}

/** Puts head and body together. A body shorter than Content-Length is a fault (RFC 4475 3.1.2.2). */
export function finishMessage(head: Head, body: Buffer): ParseResult {
  const { message } = head;
  if (message !== null) message.body = body;
  const fault = head.fault ?? bodyFault(head, body);
  if (message !== null && fault === null) return { ok: true, message };
  return refuse(message, fault ?? bad('Not a SIP message'));
}

/** A refusal with the status that may be sent: responses, ACK and requests without a usable Via are only dropped. */
export function refuse(message: SipMessage | null, fault: Fault): ParseResult & { ok: false } {
  const top = message === null ? undefined : message.list('Via')[0];
  const answerable =
    message?.kind === 'request' &&
    message.method !== 'ACK' &&
    top !== undefined &&
    parseViaHead(top) !== undefined;
  return { ok: false, status: answerable ? fault.status : null, reason: fault.reason, message };
}

/** Reads start line and header lines up to the empty line, or to the end of `bytes`. */
export function parseHead(bytes: Buffer): Head {
  let start = 0;
  while (start < bytes.length && (bytes[start] === 0x0d || bytes[start] === 0x0a)) start++;
  const limit = Math.min(bytes.length, start + MAX_HEAD);
  const headEnd = endOfHead(bytes, start, limit);
  const complete = headEnd > 0;
  const end = complete ? headEnd : limit;
  const section = bytes.subarray(start, end);
  const encoding = isUtf8(section) ? 'utf8' : 'latin1';
  const lines = splitLines(section.toString(encoding));
  const message = parseStartLine(lines.list[0] ?? '');
  if (message === null) {
    return { message, fault: bad('Not a SIP message'), contentLength: 0, framed: false, end };
  }
  message.encoding = encoding;
  let fault = startLineFault(message, lines.list[0] ?? '');
  for (let at = 1; at < lines.list.length; at++) {
    const lineFault = addHeader(message, lines.list[at] ?? '');
    fault ??= lineFault;
  }
  fault = lines.fault ?? fault;
  if (limit < bytes.length && !complete) fault = tooLarge('Header section too long');
  else if (!complete && bytes[end - 1] !== 0x0a) fault ??= bad('Header section not ended');
  const length = contentLengthOf(message);
  const framed = complete && lines.fault === null && length !== null;
  if (length === null) fault ??= bad('Malformed Content-Length');
  fault ??= headerFault(message);
  return { message, fault, contentLength: length ?? undefined, framed, end };
}

/** The index after the empty line that ends the header section, 0 when there is none below `limit`. Bare LF counts. */
export function endOfHead(bytes: Buffer, from: number, limit: number): number {
  for (
    let at = bytes.indexOf(0x0a, from);
    at >= 0 && at < limit;
    at = bytes.indexOf(0x0a, at + 1)
  ) {
    if (at + 1 < limit && bytes[at + 1] === 0x0a) return at + 2;
    if (at + 2 < limit && bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return at + 3;
  }
  return 0;
}

/** Logical lines, folds undone (RFC 3261 7.3.1: a fold is one space). Stops at the limits. */
function splitLines(text: string): { readonly list: string[]; readonly fault: Fault | null } {
  const list: string[] = [];
  let folded: string[] | null = null;
  const closeFold = (): void => {
    if (folded !== null) list[list.length - 1] = folded.join(' ');
    folded = null;
  };
  let lineStart = 0;
  let fault: Fault | null = null;
  for (let at = 0; at < text.length;) {
    const feed = text.indexOf('\n', at);
    const next = feed < 0 ? text.length : feed + 1;
    let to = feed < 0 ? text.length : feed;
    if (text.charCodeAt(to - 1) === 0x0d) to--;
    if (to === at) break;
    const first = text.charCodeAt(at);
    if ((first === 0x20 || first === 0x09) && list.length > 1) {
      folded ??= [list[list.length - 1] ?? ''];
      folded.push(trim(text.slice(at, to)));
    } else {
      closeFold();
      lineStart = at;
      if (list.length > MAX_HEADER_LINES) return { list, fault: tooLarge('Too many header lines') };
      list.push(text.slice(at, to));
    }
    if (to - lineStart > MAX_HEADER_LINE) fault = tooLarge('Header line too long');
    at = next;
  }
  closeFold();
  return { list, fault };
}

/** A message with what the start line gives, however crooked; null when it is no SIP at all. */
function parseStartLine(line: string): SipMessage | null {
  if (line.slice(0, 4).toUpperCase() === 'SIP/') {
    const [, status = '', ...words] = line.split(' ');
    return SipMessage.response(parseNumber(status, 0xffff_ffff) ?? 0, words.join(' '));
  }
  const space = line.indexOf(' ');
  const method = line.slice(0, Math.max(space, 0));
  const versionAt = line.toUpperCase().lastIndexOf(' SIP/');
  if (!isToken(method) || versionAt < space) return null;
  return SipMessage.request(method, line.slice(space + 1, Math.max(versionAt, space + 1)));
}

function startLineFault(message: SipMessage, line: string): Fault | null {
  if (line.includes('\r')) return bad('Malformed start line');
  if (message.kind === 'response') {
    if (line.slice(0, 8).toUpperCase() !== 'SIP/2.0 ') return versionFault;
    const digits = line.slice(8, line.indexOf(' ', 8) < 0 ? line.length : line.indexOf(' ', 8));
    const isStatus = digits.length === 3 && message.status >= 100 && message.status <= 699;
    return isStatus ? null : bad('Malformed status line');
  }
  const version = line.slice(line.lastIndexOf(' ') + 1).toUpperCase();
  if (version !== 'SIP/2.0') {
    const isVersion = /^SIP\/\d{1,3}\.\d{1,3}$/.test(version);
    return isVersion ? versionFault : bad('Malformed request line');
  }
  if (!isUriText(message.uri)) return bad('Malformed Request-URI');
  const scheme = schemeOf(message.uri);
  if (scheme !== 'sip' && scheme !== 'sips') return null;
  const uri = parseUri(message.uri);
  if (uri === undefined) return bad('Malformed Request-URI');
  return uri.headers === '' ? null : bad('Header fields in Request-URI');
}

function addHeader(message: SipMessage, line: string): Fault | null {
  const colon = line.indexOf(':');
  const name = trim(line.slice(0, Math.max(colon, 0)));
  const isFoldOfNothing = skipSpace(line, 0) > 0;
  if (isFoldOfNothing || !isToken(name)) return bad('Malformed header line');
  const value = trim(line.slice(colon + 1));
  message.append(name, value);
  return value.includes('\r') ? bad('Malformed header line') : null;
}

/** Undefined when absent, null when it cannot be read. */
function contentLengthOf(message: SipMessage): number | undefined | null {
  const values = message.getAll('Content-Length');
  if (values.length === 0) return undefined;
  if (values.length > 1) return null;
  return parseNumber(values[0] ?? '', Number.MAX_SAFE_INTEGER) ?? null;
}

const SINGLE = ['Call-ID', 'CSeq', 'From', 'To', 'Max-Forwards'] as const;

/** What RFC 3261 8.1.1 demands of every message, and what RFC 4475 3.1.2 and 3.3 want refused. */
function headerFault(message: SipMessage): Fault | null {
  for (const name of SINGLE) {
    const count = message.getAll(name).length;
    if (count > 1) return bad(`More than one ${name}`);
    if (count === 0 && name !== 'Max-Forwards') return bad(`Missing ${name}`);
  }
  if (!message.has('Via')) return bad('Missing Via');
  if (message.topVia === undefined) return bad('Malformed Via');
  if (!isAddress(message.from)) return bad('Malformed From');
  if (!isAddress(message.to)) return bad('Malformed To');
  // The application's protocol names dialogs by these three: nothing outside the grammar may pass (RFC 3261 25.1).
  if (!isToken(message.from.tag ?? '-')) return bad('Malformed From tag');
  if (!isToken(message.to.tag ?? '-')) return bad('Malformed To tag');
  if (!isCallId(message.callId)) return bad('Malformed Call-ID');
  const cseq = parseCSeq(message.get('CSeq') ?? '');
  if (cseq === undefined) return bad('Malformed CSeq');
  if (message.kind === 'response') return null;
  if (cseq.method !== message.method) return bad('CSeq method does not match');
  const hops = message.get('Max-Forwards');
  // A number above 255 is out of range but says enough (RFC 4475 3.1.2.4); a word says nothing.
  if (hops !== undefined && parseNumber(hops, 0xffff_ffff) === undefined) {
    return bad('Malformed Max-Forwards');
  }
  return contactFault(message);
}

/** Empty = malformed; a star is for Contact alone. */
function isAddress(addr: NameAddr): boolean {
  return addr.uri !== '' && addr.uri !== '*';
}

function contactFault(message: SipMessage): Fault | null {
  const contacts = message.list('Contact');
  if (contacts.length > MAX_CONTACTS) return tooLarge('Too many Contact values');
  const isGood = contacts.every((contact) => parseNameAddr(contact) !== undefined);
  return isGood ? null : bad('Malformed Contact');
}

function bodyFault(head: Head, body: Buffer): Fault | null {
  if (head.end + body.length > MAX_MESSAGE) return tooLarge('Message too long');
  if (body.length > MAX_BODY) return { status: 413, reason: 'Request Entity Too Large' };
  const missing = (head.contentLength ?? 0) - body.length;
  return missing > 0 ? bad('Body shorter than Content-Length') : null;
}

const versionFault: Fault = { status: 505, reason: 'Version Not Supported' };

function bad(reason: string): Fault {
  return { status: 400, reason };
}

function tooLarge(reason: string): Fault {
  return { status: 513, reason };
}
