/** Cuts a TCP stream into SIP messages by Content-Length, and finds keep-alives (RFC 3261 18.3, RFC 5626 3.5.1). */
import { MAX_BODY, MAX_HEAD } from './limits.ts';
import { endOfHead, finishMessage, parseHead, refuse } from './parse.ts';
import type { Head, ParseResult } from './parse.ts';

export type Frame =
  | { readonly kind: 'message'; readonly result: ParseResult }
  /** A double CRLF; wants a single CRLF back. */
  | { readonly kind: 'ping' }
  /** The stream cannot be cut any further: answer `result` if it may be answered, then close. */
  | { readonly kind: 'broken'; readonly result: ParseResult & { ok: false } };

const CR = 0x0d;
const LF = 0x0a;
const FIRST_SIZE = 4_096;

/** One per connection. Holds at most one message's head and body; work is linear however the bytes are split. */
export class StreamFramer {
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Where the search for the end of the head goes on. */
  #scanned = 0;
  #head: Head | null = null;
  #newlines = 0;
  #isBroken = false;

  /** True while a message has begun and is not complete. */
  get isPartial(): boolean {
    return this.#end > this.#start || this.#head !== null;
  }

  /** Complete frames, in order. After a `broken` one nothing more comes. Messages own their bytes. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    if (this.#isBroken) return frames;
    this.#append(chunk);
    for (;;) {
      const frame = this.#next();
      if (frame === null) break;
      frames.push(frame);
      if (frame.kind === 'broken') {
        this.#isBroken = true;
        this.#buffer = Buffer.alloc(0);
        this.#start = this.#end = 0;
        break;
      }
    }
    if (this.#start === this.#end) this.#start = this.#end = this.#scanned = 0;
    return frames;
  }

  #next(): Frame | null {
    if (this.#head === null) {
      if (this.#skipNewlines()) return { kind: 'ping' };
      const head = this.#takeHead();
      if (head === null) return null;
      if (!head.framed || head.message === null) {
        const fault = head.fault ?? { status: 400, reason: 'Stream out of step' };
        return { kind: 'broken', result: refuse(head.message, fault) };
      }
      if ((head.contentLength ?? 0) > MAX_BODY) {
        const fault = { status: 413, reason: 'Request Entity Too Large' };
        return { kind: 'broken', result: refuse(head.message, fault) };
      }
      this.#head = head;
    }
    const length = this.#head.contentLength ?? 0;
    if (this.#end - this.#start < length) return null;
    const body = Buffer.from(this.#buffer.subarray(this.#start, this.#start + length));
    const result = finishMessage(this.#head, body);
    this.#head = null;
    this.#start += length;
    this.#scanned = this.#start;
    return { kind: 'message', result };
  }

  /** Eats line ends between messages; true for each second CRLF in a row. */
  #skipNewlines(): boolean {
    while (this.#start < this.#end) {
      const byte = this.#buffer[this.#start];
      if (byte !== CR && byte !== LF) {
        this.#newlines = 0;
        return false;
      }
      this.#start++;
      this.#scanned = this.#start;
      if (byte === LF && ++this.#newlines === 2) {
        this.#newlines = 0;
        return true;
      }
    }
    return false;
  }

  #takeHead(): Head | null {
    const bytes = this.#buffer.subarray(this.#start, this.#end);
    if (bytes.length === 0) return null;
    const limit = Math.min(bytes.length, MAX_HEAD);
    const end = endOfHead(bytes, this.#scanned - this.#start, limit);
    if (end === 0 && bytes.length <= MAX_HEAD) {
      // The last three bytes may be the beginning of the empty line.
      this.#scanned = Math.max(this.#start, this.#end - 3);
      return null;
    }
    const head = parseHead(end === 0 ? bytes : bytes.subarray(0, end));
    this.#start += head.end;
    this.#scanned = this.#start;
    return head;
  }

  #append(chunk: Buffer): void {
    const held = this.#end - this.#start;
    if (this.#end + chunk.length > this.#buffer.length) {
      const needed = held + chunk.length;
      const isRoomy = needed * 2 <= this.#buffer.length;
      const target = isRoomy ? this.#buffer : Buffer.allocUnsafe(Math.max(FIRST_SIZE, needed * 2));
      this.#buffer.copy(target, 0, this.#start, this.#end);
      this.#buffer = target;
      this.#scanned -= this.#start;
      this.#start = 0;
      this.#end = held;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }
}
