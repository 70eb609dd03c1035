/**
 * The binary frame of all openspeech v3 sockets, big-endian (providers.md 7.1): four bytes of header, then whatever its
 * flags and its event announce, then the payload. Read by its flags; every length is checked before it is believed.
 */
import { constants, gunzipSync, gzipSync } from 'node:zlib';
import { AppError, messageOf } from '#lib/errors.ts';

export const FRAME = {
  fullClient: 1,
  audioClient: 2,
  fullServer: 9,
  audioServer: 11,
  error: 15,
} as const;

/** Low half of the second byte; 1 with 2 is a negative sequence number, which is the last. */
export const FLAG = { sequence: 1, last: 2, event: 4 } as const;

export type VolcFrame = {
  /** One of `FRAME`. */
  readonly type: number;
  readonly flags: number;
  readonly isJson: boolean;
  /** Of an error frame. */
  readonly errorCode: number | null;
  readonly sequence: number | null;
  readonly event: number | null;
  /** Of the server's events 50 to 52. */
  readonly connectId: string | null;
  /** Of every event but those of the connection. */
  readonly sessionId: string | null;
  /** Uncompressed; a view of what was decoded. */
  readonly payload: Uint8Array;
};

export type FrameToSend = {
  readonly type: number;
  /** Besides those that follow from `event`. Default 0. */
  readonly flags?: number;
  readonly isJson?: boolean;
  readonly isGzip?: boolean;
  readonly sequence?: number;
  readonly event?: number;
  readonly sessionId?: string;
  readonly payload: Uint8Array;
};

const TYPES: readonly number[] = Object.values(FRAME);
const MAX_ID_BYTES = 256;
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

/** Speech of 8 kHz as 16 kHz shrinks little; more effort gains nothing. */
const GZIP = { level: constants.Z_BEST_SPEED };

export function encodeFrame(frame: FrameToSend): Buffer {
  const { event, sequence, sessionId, isJson = false, isGzip = false } = frame;
  const flags =
    (frame.flags ?? 0) |
    (event === undefined ? 0 : FLAG.event) |
    (sequence === undefined ? 0 : FLAG.sequence);
  const payload = isGzip ? gzipSync(frame.payload, GZIP) : frame.payload;
  const idBytes = sessionId === undefined ? 0 : Buffer.byteLength(sessionId);
  const optional =
    (sequence === undefined ? 0 : 4) +
    (event === undefined ? 0 : 4) +
    (sessionId === undefined ? 0 : 4 + idBytes);
  const bytes = Buffer.allocUnsafe(8 + optional + payload.length);
  bytes[0] = 0x11;
  bytes[1] = (frame.type << 4) | flags;
  bytes[2] = ((isJson ? 1 : 0) << 4) | (isGzip ? 1 : 0);
  bytes[3] = 0;
  let at = 4;
  if (sequence !== undefined) at = bytes.writeInt32BE(sequence, at);
  if (event !== undefined) at = bytes.writeInt32BE(event, at);
  if (sessionId !== undefined) {
    at = bytes.writeUInt32BE(idBytes, at);
    at += bytes.write(sessionId, at, 'utf8');
  }
  at = bytes.writeUInt32BE(payload.length, at);
  bytes.set(payload, at);
  return bytes;
}

/** Errors: E_PROVIDER_SERVER, and nothing else, for bytes that are no whole frame, or inflate beyond `maxPayloadBytes`. */
export function decodeFrame(bytes: Uint8Array, maxPayloadBytes = MAX_PAYLOAD_BYTES): VolcFrame {
  const reader = new Reader(bytes);
  const [head = 0, kind = 0, form = 0] = reader.bytes(4, 'header');
  const headerBytes = (head & 15) * 4;
  if (head >> 4 !== 1 || headerBytes < 4)
    throw bad(`version and header size 0x${head.toString(16)}`);
  reader.bytes(headerBytes - 4, 'header');
  const type = kind >> 4;
  const flags = kind & 15;
  if (!TYPES.includes(type)) throw bad(`message type ${type}`);
  if (flags > 7) throw bad(`flags ${flags}`);
  const serialization = form >> 4;
  const compression = form & 15;
  if (compression > 1) throw bad(`compression ${compression}`);
  const errorCode = type === FRAME.error ? reader.uint32('error code') : null;
  const sequence = (flags & FLAG.sequence) === 0 ? null : reader.int32('sequence');
  const event = (flags & FLAG.event) === 0 ? null : reader.int32('event');
  const connectId = isServerConnect(event) ? reader.text('connect id') : null;
  const sessionId = isOfSession(event) ? reader.text('session id') : null;
  const packed = reader.bytes(reader.uint32('payload length'), 'payload');
  if (reader.left > 0) throw bad(`${reader.left} bytes after the payload`);
  const payload = compression === 1 ? inflate(packed, maxPayloadBytes) : packed;
  if (payload.length > maxPayloadBytes) throw bad(`a payload of ${payload.length} bytes`);
  const isJson = serialization === 1;
  return { type, flags, isJson, errorCode, sequence, event, connectId, sessionId, payload };
}

/** The payload as an object; {} for an empty one. Errors: E_PROVIDER_SERVER. */
export function jsonOf(frame: VolcFrame): Readonly<Record<string, unknown>> {
  if (frame.payload.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(textOf(frame));
  } catch (error) {
    throw bad(`a payload that is no JSON: ${messageOf(error)}`, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad('a payload that is no object');
  }
  return value as Record<string, unknown>;
}

export function textOf({ payload }: VolcFrame): string {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
}

export function jsonPayload(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

function isServerConnect(event: number | null): boolean {
  return event !== null && event >= 50 && event <= 52;
}

/** The client's own connect events, 1 and 2, carry no id at all. */
function isOfSession(event: number | null): boolean {
  return event !== null && event > 2 && !isServerConnect(event);
}

/** No more than `limit` bytes are ever made of it, whatever it says it holds. */
function inflate(packed: Uint8Array, limit: number): Uint8Array {
  if (packed.length === 0) return packed;
  try {
    return gunzipSync(packed, { maxOutputLength: limit });
  } catch (error) {
    throw bad(`a payload that does not inflate: ${messageOf(error)}`, error);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.#skip(4, what));
  }

  int32(what: string): number {
    return this.#view.getInt32(this.#skip(4, what));
  }

  text(what: string): string {
    const length = this.uint32(what);
    if (length > MAX_ID_BYTES) throw bad(`a ${what} of ${length} bytes`);
    return Buffer.from(this.bytes(length, what)).toString('utf8');
  }

  bytes(length: number, what: string): Uint8Array {
    const from = this.#skip(length, what);
    return this.#bytes.subarray(from, from + length);
  }

  #skip(length: number, what: string): number {
    if (length > this.left) throw bad(`${what}: ${length} bytes announced, ${this.left} there`);
    const from = this.#at;
    this.#at += length;
    return from;
  }
}

function bad(what: string, cause?: unknown): AppError {
  return new AppError('E_PROVIDER_SERVER', `a frame that cannot be read: ${what}`, { cause });
}
