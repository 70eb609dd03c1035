/** A SIP message: start line, ordered header lines, body. Header values are parsed when asked for, then kept. */
import { parseCSeq, parseNameAddr, parseVia, splitList } from './header-grammar.ts';
import type { CSeq, NameAddr, Via } from './header-grammar.ts';
import { headerName, isListHeader } from './headers.ts';
import type { Header } from './headers.ts';

const NO_BODY = Buffer.alloc(0);
const NO_CSEQ: CSeq = { number: 0, method: '' };
const NO_ADDR: NameAddr = { display: '', uri: '', params: new Map(), tag: undefined };

/**
 * A request or a response. Names are matched without regard to case, compact forms are the long ones.
 * Every message that `parseMessage` accepted has Via, From, To, Call-ID and CSeq in good form; in a message that is
 * still being built an absent one reads as empty (`''`, number 0) or undefined. Nothing here throws.
 */
export class SipMessage {
  readonly kind: 'request' | 'response';
  /** Of a request; empty in a response. */
  method = '';
  uri = '';
  /** Of a response; 0 in a request. */
  status = 0;
  reason = '';
  body: Buffer = NO_BODY;
  /** How header bytes become text and back: latin1 only where they were not valid UTF-8, so that echoes are exact. */
  encoding: 'utf8' | 'latin1' = 'utf8';
  #headers: Header[] = [];
  readonly #parsed = new Map<string, unknown>();

  constructor(kind: 'request' | 'response') {
    this.kind = kind;
  }

  static request(method: string, uri: string): SipMessage {
    const message = new SipMessage('request');
    message.method = method;
    message.uri = uri;
    return message;
  }

  static response(status: number, reason: string): SipMessage {
    const message = new SipMessage('response');
    message.status = status;
    message.reason = reason;
    return message;
  }

  /** A response with what RFC 3261 8.2.6.2 copies: Via, From, To (without a new tag), Call-ID, CSeq. */
  static responseTo(request: SipMessage, status: number, reason: string): SipMessage {
    const message = SipMessage.response(status, reason);
    message.encoding = request.encoding;
    for (const header of request.#headers) {
      if (COPIED.has(header.key)) message.#headers.push(header);
    }
    return message;
  }

  /** Header lines in order of arrival. Change them through `set`, `add`, `prepend`, `remove`. */
  get headers(): readonly Header[] {
    return this.#headers;
  }

  /** The first line's value. */
  get(name: string): string | undefined {
    const { key } = headerName(name);
    return this.#headers.find((header) => header.key === key)?.value;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /** Each line's value. */
  getAll(name: string): string[] {
    const { key } = headerName(name);
    const values: string[] = [];
    for (const header of this.#headers) if (header.key === key) values.push(header.value);
    return values;
  }

  /** Each value across all lines; a list header is split at commas outside quotes and angle brackets. */
  list(name: string): string[] {
    const values = this.getAll(name);
    return isListHeader(name) ? values.flatMap((value) => splitList(value)) : values;
  }

  /** Puts `value` where the first line of that name is (else at the end) and removes the others. */
  set(name: string, value: string): this {
    const entry = lineOf(name, value);
    const at = this.#headers.findIndex((header) => header.key === entry.key);
    if (at < 0) return this.#put(this.#headers.length, entry);
    this.#headers = this.#headers.filter(
      (header, index) => index === at || header.key !== entry.key,
    );
    this.#headers[at] = entry;
    this.#parsed.delete(entry.key);
    return this;
  }

  /** Adds a line after the last one of that name, or at the end. */
  add(name: string, value: string): this {
    const entry = lineOf(name, value);
    const at = this.#headers.findLastIndex((header) => header.key === entry.key);
    return this.#put(at < 0 ? this.#headers.length : at + 1, entry);
  }

  /** Adds a line before the first one of that name, or at the top. */
  prepend(name: string, value: string): this {
    const entry = lineOf(name, value);
    const at = this.#headers.findIndex((header) => header.key === entry.key);
    return this.#put(Math.max(at, 0), entry);
  }

  remove(name: string): this {
    const { key } = headerName(name);
    this.#headers = this.#headers.filter((header) => header.key !== key);
    this.#parsed.delete(key);
    return this;
  }

  /** Replaces the first value of a list header (the top Via), leaving what shares its line. */
  replaceTop(name: string, value: string): this {
    return this.#replaceTop(name, [value]);
  }

  /** Removes and returns the first value of a list header (a Via or a Route that is used up). */
  takeTop(name: string): string | undefined {
    const top = this.list(name)[0];
    if (top !== undefined) this.#replaceTop(name, []);
    return top;
  }

  get callId(): string {
    return this.get('Call-ID') ?? '';
  }

  get cseq(): CSeq {
    return this.#lazy('cseq', parseCSeq) ?? NO_CSEQ;
  }

  get from(): NameAddr {
    return this.#lazy('from', parseNameAddr) ?? NO_ADDR;
  }

  get to(): NameAddr {
    return this.#lazy('to', parseNameAddr) ?? NO_ADDR;
  }

  get topVia(): Via | undefined {
    return this.#lazy('via', (value) => parseVia(splitList(value)[0] ?? ''));
  }

  /** The branch of the top Via, or `''`. */
  get viaBranch(): string {
    return this.topVia?.branch ?? '';
  }

  /** The first Contact; `*` has the uri `*`. */
  get contact(): NameAddr | undefined {
    return this.#lazy('contact', (value) => parseNameAddr(splitList(value)[0] ?? ''));
  }

  /** The bytes for the wire; Content-Length is counted anew, after all other headers. */
  serialize(): Buffer {
    const start =
      this.kind === 'request'
        ? `${this.method} ${this.uri} SIP/2.0`
        : `SIP/2.0 ${this.status} ${this.reason}`;
    let head = `${oneLine(start)}\r\n`;
    for (const header of this.#headers) {
      if (header.key !== 'content-length') head += `${header.name}: ${header.value}\r\n`;
    }
    head += `Content-Length: ${this.body.length}\r\n\r\n`;
    const bytes = Buffer.from(head, this.encoding);
    return this.body.length === 0 ? bytes : Buffer.concat([bytes, this.body]);
  }

  /** An independent copy; the body's bytes are shared, since nobody writes into them. */
  clone(): SipMessage {
    const copy = new SipMessage(this.kind);
    copy.method = this.method;
    copy.uri = this.uri;
    copy.status = this.status;
    copy.reason = this.reason;
    copy.body = this.body;
    copy.encoding = this.encoding;
    copy.#headers = [...this.#headers];
    return copy;
  }

  /** For the parser: adds a line at the very end, in order of arrival. */
  append(name: string, value: string): void {
    const { name: canonical, key } = headerName(name);
    this.#headers.push({ name: canonical, key, value });
    this.#parsed.delete(key);
  }

  #put(at: number, entry: Header): this {
    this.#headers.splice(at, 0, entry);
    this.#parsed.delete(entry.key);
    return this;
  }

  #replaceTop(name: string, replacement: readonly string[]): this {
    const { key } = headerName(name);
    const at = this.#headers.findIndex((header) => header.key === key);
    const line = this.#headers[at];
    if (line === undefined) return this;
    const rest = isListHeader(name) ? splitList(line.value).slice(1) : [];
    const value = oneLine([...replacement, ...rest].join(', '));
    if (value === '') this.#headers.splice(at, 1);
    else this.#headers[at] = { ...line, value };
    this.#parsed.delete(key);
    return this;
  }

  #lazy<T>(key: string, parse: (value: string) => T | undefined): T | undefined {
    if (this.#parsed.has(key)) return this.#parsed.get(key) as T | undefined;
    const value = this.get(key);
    const parsed = value === undefined ? undefined : parse(value);
    this.#parsed.set(key, parsed);
    return parsed;
  }
}

const COPIED = new Set(['via', 'from', 'to', 'call-id', 'cseq']);

function lineOf(name: string, value: string): Header {
  return { ...headerName(oneLine(name)), value: oneLine(value) };
}

/** No value can smuggle in a further header line. */
function oneLine(text: string): string {
  return text.includes('\n') || text.includes('\r') ? text.replace(/[\r\n]+/g, ' ') : text;
}
