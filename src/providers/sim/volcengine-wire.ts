/**
 * The frames of openspeech v3 as the vendor reads and writes them. Written from providers.md 7.1 on its own: the client
 * has another codec, so that the two cannot be wrong together.
 */
import { gunzipSync, gzipSync } from 'node:zlib';

export type WireFrame = {
  readonly kind: number;
  readonly flags: number;
  readonly isJson: boolean;
  readonly isGzip: boolean;
  readonly sequence: number | null;
  readonly event: number | null;
  readonly sessionId: string | null;
  readonly body: Buffer;
};

/** A frame of a client. Throws an Error that says what is wrong with it. */
export function readClientFrame(data: Buffer): WireFrame {
  if (data.length < 8) throw new Error('a frame has at least 8 bytes');
  if (data[0] !== 0x11) throw new Error('version and header size must be 0x11');
  if (data[3] !== 0) throw new Error('the reserved byte must be 0');
  const kind = (data[1] ?? 0) >> 4;
  const flags = (data[1] ?? 0) % 16;
  if (kind !== 1 && kind !== 2) throw new Error(`a client sends no type ${kind}`);
  if (flags > 4) throw new Error(`flags ${flags}`);
  let rest = data.subarray(4);
  const number = (): number => {
    const value = rest.readInt32BE(0);
    rest = rest.subarray(4);
    return value;
  };
  const sequence = flags === 1 || flags === 3 ? number() : null;
  const event = flags === 4 ? number() : null;
  let sessionId: string | null = null;
  if (event !== null && event !== 1 && event !== 2) {
    const length = number();
    sessionId = rest.toString('latin1', 0, length);
    rest = rest.subarray(length);
  }
  const length = number();
  if (rest.length !== length)
    throw new Error(`payload of ${rest.length} bytes, ${length} announced`);
  const isGzip = (data[2] ?? 0) % 16 === 1;
  const isJson = (data[2] ?? 0) >> 4 === 1;
  const body = isGzip ? gunzipSync(rest, { maxOutputLength: 1 << 20 }) : rest;
  return { kind, flags, isJson, isGzip, sequence, event, sessionId, body };
}

/** An event with JSON, of the connection (50 to 52, with its id) or of a session. */
export function eventFrame(event: number, id: string, json: unknown): Buffer {
  return Buffer.concat([
    Buffer.from([0x11, 0x94, 0x10, 0]),
    int(event),
    sized(Buffer.from(id)),
    sized(Buffer.from(JSON.stringify(json))),
  ]);
}

/** TTSResponse: raw sound. */
export function audioFrame(sessionId: string, sound: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([0x11, 0xb4, 0, 0]),
    int(352),
    sized(Buffer.from(sessionId)),
    sized(sound),
  ]);
}

/** A result of recognition; a negative sequence is the last. */
export function resultFrame(sequence: number, json: unknown): Buffer {
  return Buffer.concat([
    Buffer.from([0x11, sequence < 0 ? 0x93 : 0x91, 0x11, 0]),
    int(sequence),
    sized(gzipSync(Buffer.from(JSON.stringify(json)))),
  ]);
}

/** With an event and a session where `session` is given, as some services do. */
export function errorFrame(
  code: number,
  message: string,
  session: { readonly event: number; readonly id: string } | null = null,
): Buffer {
  const optional = session === null ? [] : [int(session.event), sized(Buffer.from(session.id))];
  return Buffer.concat([
    Buffer.from([0x11, session === null ? 0xf0 : 0xf4, 0x10, 0]),
    int(code),
    ...optional,
    sized(Buffer.from(JSON.stringify({ code, message }))),
  ]);
}

/** A small frame that inflates to `bytes`. */
export function bombFrame(bytes: number, session: string | null): Buffer {
  const packed = gzipSync(Buffer.alloc(bytes, 0x20));
  const optional = session === null ? [] : [int(350), sized(Buffer.from(session))];
  const flags = session === null ? 0x90 : 0x94;
  return Buffer.concat([Buffer.from([0x11, flags, 0x11, 0]), ...optional, sized(packed)]);
}

/** Announces more than it has. */
export function lyingFrame(session: string | null): Buffer {
  const frame = eventFrame(350, session ?? '', {});
  frame.writeUInt32BE(0xffff_fff0, frame.length - 6);
  return frame;
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function sized(bytes: Buffer): Buffer {
  return Buffer.concat([int(bytes.length), bytes]);
}
