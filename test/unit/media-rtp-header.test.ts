import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtpPacket } from 'rtp.js/packets';
import { RtpHeader } from '#media/rtp/rtp-header.ts';
import { randomOf } from './_media-fuzz.ts';

type Case = { readonly name: string; readonly hex: string; readonly payload: string | null };

/** Version 2, type 8 marked, number 0x1234, time 0xfedcba98, SSRC 0xdeadbeef. */
const REST = '881234fedcba98deadbeef';
const CASES: readonly Case[] = [
  { name: 'plain', hex: `80${REST}d5d4`, payload: 'd5d4' },
  { name: 'no payload', hex: `80${REST}`, payload: '' },
  { name: 'two CSRCs', hex: `82${REST}0000000100000002d5`, payload: 'd5' },
  { name: 'an extension', hex: `90${REST}bede000110aa0000d5`, payload: 'd5' },
  { name: 'an extension without length', hex: `90${REST}bede0000d5`, payload: 'd5' },
  { name: 'nonsense in an extension', hex: `90${REST}bede0001ffffffffd5`, payload: 'd5' },
  { name: 'padding', hex: `a0${REST}d5000003`, payload: 'd5' },
  { name: 'all of it', hex: `b1${REST}00000001100000010000000ad5d50002`, payload: 'd5d5' },
  { name: 'nothing', hex: '', payload: null },
  { name: 'shorter than a header', hex: `80${REST}`.slice(0, 22), payload: null },
  { name: 'version 1', hex: `40${REST}d5`, payload: null },
  { name: 'version 3', hex: `c0${REST}d5`, payload: null },
  { name: 'CSRCs that are not there', hex: `8f${REST}00000001`, payload: null },
  { name: 'an extension that is not there', hex: `90${REST}bede`, payload: null },
  { name: 'an extension longer than the packet', hex: `90${REST}bede0002d5d5d5d5`, payload: null },
  { name: 'more padding than payload', hex: `a0${REST}d504`, payload: null },
];

for (const { name, hex, payload } of CASES) {
  test(`an RTP header: ${name}`, () => {
    // In the midst of a larger buffer, as sockets give them.
    const bytes = Buffer.from(`ffff${hex}ffff`, 'hex').subarray(2, 2 + hex.length / 2);
    const header = new RtpHeader();
    assert.equal(header.read(bytes), payload !== null);
    if (payload === null) return;
    const { payloadType, isMarked, sequence, timestamp, ssrc } = header;
    assert.deepEqual([payloadType, isMarked, sequence], [8, true, 0x1234]);
    assert.deepEqual([timestamp, ssrc], [0xfedcba98, 0xdeadbeef]);
    assert.equal(hexOf(header.payload), payload);
  });
}

test('a header that is kept does not change with the buffer it came in', () => {
  const bytes = Buffer.from(`80${REST}d5d4`, 'hex');
  const header = new RtpHeader();
  assert.ok(header.read(bytes));
  const kept = header.copy();
  bytes.fill(0x80);
  assert.ok(header.read(bytes));
  assert.equal(kept.sequence, 0x1234);
  assert.equal(hexOf(kept.payload), 'd5d4');
});

test('whatever arrives is read as by another reader of RTP, or refused', () => {
  const random = randomOf(12_345);
  const header = new RtpHeader();
  const seen = { read: 0, refused: 0 };
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from({ length: random(40) }, () => random(256));
    if (bytes.length > 0 && random(8) > 0) {
      // A profile's own extension: the other reader looks into those of RFC 8285.
      bytes[0] = 0x80 | (random(2) << 5) | (random(2) << 4) | random(3);
      const at = 12 + ((bytes[0] as number) & 15) * 4;
      bytes.set(
        [0x12, 0x34, 0, random(4)].slice(0, Math.max(0, bytes.length - at)),
        Math.min(at, bytes.length),
      );
      if (bytes.length > 0 && bytes.length > at + 4) bytes[bytes.length - 1] = random(6);
    }
    const other = readByOther(bytes);
    assert.equal(header.read(bytes), other !== null, Buffer.from(bytes).toString('hex'));
    if (other === null) {
      seen.refused++;
      continue;
    }
    seen.read++;
    assert.equal(header.ssrc, other.getSsrc());
    assert.equal(header.timestamp, other.getTimestamp());
    assert.equal(header.sequence, other.getSequenceNumber());
    assert.equal(header.payloadType, other.getPayloadType());
    assert.equal(hexOf(header.payload), hexOf(other.getPayload()));
  }
  assert.ok(seen.read > 3000 && seen.refused > 3000, JSON.stringify(seen));
});

function readByOther(bytes: Uint8Array): RtpPacket | null {
  try {
    return new RtpPacket(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch {
    return null;
  }
}

function hexOf({ buffer, byteOffset, byteLength }: DataView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}
