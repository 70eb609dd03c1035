/** Made-up keys and packets for tests of SRTP, sealed and opened on buffers of their own. */
import assert from 'node:assert/strict';
import type { SrtpKey, SrtpSuite } from '#lib/srtp-params.ts';
import { SUITE_FACTS } from '#media/srtp/srtp-keys.ts';
import type { SrtpOpener, SrtpSealer } from '#media/srtp/srtp.ts';

export const SUITES = Object.keys(SUITE_FACTS) as SrtpSuite[];
export const hex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
export const asHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export function keyOf(suite: SrtpSuite, seed = 1): SrtpKey {
  const { keyBytes, saltBytes } = SUITE_FACTS[suite];
  const fill = (length: number, from: number): Uint8Array =>
    Uint8Array.from({ length }, (_, i) => (from * 31 + i * 7) & 0xff);
  return { suite, key: fill(keyBytes, seed), salt: fill(saltBytes, seed + 100) };
}

export function rtp(
  sequence: number,
  payload: number | Uint8Array = 160,
  ssrc = 0xdecafbad,
): Uint8Array {
  const body =
    typeof payload === 'number'
      ? Uint8Array.from({ length: payload }, (_, i) => (i * 13 + sequence) & 0xff)
      : payload;
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x8000);
  view.setUint16(2, sequence & 0xffff);
  view.setUint32(4, sequence * 160);
  view.setUint32(8, ssrc);
  bytes.set(body, 12);
  return bytes;
}

export function rtcp(ssrc = 0xdecafbad, words = 7): Uint8Array {
  const bytes = new Uint8Array(words * 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x80c8);
  view.setUint16(2, words - 1);
  view.setUint32(4, ssrc);
  for (let i = 8; i < bytes.length; i++) bytes[i] = i;
  return bytes;
}

export function seal(
  sealer: SrtpSealer,
  plain: Uint8Array,
  kind: 'rtp' | 'rtcp' = 'rtp',
): Uint8Array {
  const room = new Uint8Array(2100);
  room.set(plain);
  const length = sealer[kind](room, plain.length);
  assert.ok(length > plain.length, String(length));
  return room.slice(0, length);
}

export function open(
  opener: SrtpOpener,
  sealed: Uint8Array,
  kind: 'rtp' | 'rtcp' = 'rtp',
): Uint8Array | number {
  const bytes = sealed.slice();
  const length = opener[kind](bytes);
  if (length < 0) {
    assert.deepEqual(bytes, sealed, 'what is refused is not touched');
    return length;
  }
  return bytes.slice(0, length);
}
