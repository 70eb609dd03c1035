/**
 * The message that carries a piece of the caller's sound up, up to fifty a second and call. It is written into bytes that
 * all calls share: their own would be out of the processor's caches each time.
 */
import { base64Length, writeBase64 } from '#lib/base64.ts';

const HEAD = '{"type":"input_audio_buffer.append","audio":"';
const TAIL = '"}';
/** Sizes of pieces that come again and again; others are made for the occasion. */
const MAX_KEPT = 16;

const kept = new Map<number, Buffer>();

/** UTF-8 of the message; used again by the next call, whoever's it is. */
export function appendMessage(audio: Uint8Array): Buffer {
  const size = HEAD.length + base64Length(audio.length) + TAIL.length;
  const bytes = kept.get(size) ?? newMessage(size);
  writeBase64(audio, bytes, HEAD.length);
  return bytes;
}

function newMessage(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.write(HEAD, 'latin1');
  bytes.write(TAIL, size - TAIL.length, 'latin1');
  if (kept.size < MAX_KEPT) kept.set(size, bytes);
  return bytes;
}
