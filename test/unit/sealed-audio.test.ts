/** The sealed form of recordings: golden bytes, tampering of every kind, lengths. */
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  checkSealedHeader,
  looksSealed,
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkCount,
  sealedChunkOffset,
  sealedFileBytes,
  sealedHeader,
  SealedAudio,
} from '#lib/sealed-audio.ts';

const ID = '0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9';
const OTHER_ID = '1a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9';
const KEY = Buffer.from(Array.from({ length: 32 }, (_, at) => at));
const RANDOM = Buffer.from(Array.from({ length: 11 }, (_, at) => 0xa0 + at));
/** Ciphertext and tag of chunk 0 and the tag of the end, confirmed with another AES-GCM than Node's. */
const GOLDEN_CHUNK = '0ebbbbcba90fa98c3097ef78f17243560465556fd9b94dcc78a9e20a';
const GOLDEN_END_TAG = '8d47b27e4e54cde78c28455f07adda69';
const GOLDEN_LONG_SHA256 = '77ada047c93b9b6397cc9ff994c373a100cb8f3fd4eba6bb5c313cc0c24694dc';

const audio = (id = ID, key = KEY): SealedAudio => new SealedAudio({ recordingId: id, key });
const samples = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => (at * 7) & 0xff));

/** A whole file of `dataBytes`, with a fixed end nonce. */
function sealedFile(dataBytes: number): Buffer {
  const writer = audio();
  const plain = samples(dataBytes);
  const parts: Buffer[] = [writer.header];
  for (let at = 0, index = 0; at < dataBytes; at += SEALED_CHUNK_BYTES, index++) {
    parts.push(writer.sealChunk(index, plain.subarray(at, at + SEALED_CHUNK_BYTES)));
  }
  return Buffer.concat([...parts, writer.sealEnd(dataBytes, RANDOM)]);
}

/** Opens a whole file as a reader would; throws where a reader would stop. */
function openFile(file: Buffer, id = ID, key = KEY): Buffer {
  const reader = audio(id, key);
  checkSealedHeader(file.subarray(0, SEALED_HEADER_BYTES), id);
  const dataBytes = reader.openEnd(file.subarray(-SEALED_END_BYTES), file.length);
  const parts: Buffer[] = [];
  for (let index = 0; index < sealedChunkCount(dataBytes); index++) {
    const length = Math.min(SEALED_CHUNK_BYTES, dataBytes - index * SEALED_CHUNK_BYTES);
    const offset = sealedChunkOffset(index);
    parts.push(reader.openChunk(index, file.subarray(offset, offset + length + SEALED_TAG_BYTES)));
  }
  return Buffer.concat(parts);
}

test('golden bytes: the format of version 1 never changes', () => {
  const file = sealedFile(12);
  assert.equal(
    file.toString('hex'),
    [
      Buffer.from('CALLYREC').toString('hex'),
      '0001', // version
      '0040', // header bytes
      '00010000', // chunk bytes
      '00001f40', // samples per second
      '0002', // channels
      '0010', // bits
      ID.replaceAll('-', ''),
      '00'.repeat(24),
      GOLDEN_CHUNK,
      Buffer.from('CEND').toString('hex'),
      '000000000000000c',
      '01' + RANDOM.toString('hex'),
      GOLDEN_END_TAG,
    ].join(''),
  );
  const long = createHash('sha256')
    .update(sealedFile(SEALED_CHUNK_BYTES + 4))
    .digest('hex');
  assert.equal(long, GOLDEN_LONG_SHA256);
});

test('a chunk is what AES-256-GCM with the documented nonce and additional data gives', () => {
  const file = sealedFile(12);
  const nonce = Buffer.from('000000000000000000000000', 'hex');
  const bound = Buffer.concat([sealedHeader(ID), Buffer.from('0000000000', 'hex')]);
  const cipher = createCipheriv('aes-256-gcm', KEY, nonce).setAAD(bound);
  const chunk = Buffer.concat([cipher.update(samples(12)), cipher.final(), cipher.getAuthTag()]);
  assert.deepEqual(file.subarray(64, 64 + 28), chunk);
  const end = file.subarray(-40);
  const endBound = Buffer.concat([
    sealedHeader(ID),
    Buffer.from('0000000101' + '000000000000000c', 'hex'),
  ]);
  const decipher = createDecipheriv('aes-256-gcm', KEY, end.subarray(12, 24));
  decipher.setAAD(endBound).setAuthTag(end.subarray(24));
  assert.equal(decipher.final().length, 0);
});

test('what was sealed opens, at every length around the borders', () => {
  const full = SEALED_CHUNK_BYTES;
  for (const length of [0, 1, 4, full - 4, full, full + 4, 2 * full, 2 * full + 40]) {
    const file = sealedFile(length);
    assert.equal(file.length, sealedFileBytes(length), String(length));
    assert.deepEqual(openFile(file), samples(length), String(length));
  }
});

test('a flipped bit anywhere, one in each part and many at random, does not open', () => {
  const file = sealedFile(SEALED_CHUNK_BYTES + 100);
  const ends = file.length - SEALED_END_BYTES;
  const named: readonly [string, number][] = [
    ['magic', 0],
    ['version', 9],
    ['header length', 11],
    ['chunk size', 14],
    ['sample rate', 19],
    ['channels', 21],
    ['bits', 23],
    ['recording id', 30],
    ['reserved', 63],
    ['first sample', 64],
    ['last sample of chunk 0', 64 + SEALED_CHUNK_BYTES - 1],
    ['tag of chunk 0', 64 + SEALED_CHUNK_BYTES],
    ['last chunk', sealedChunkOffset(1) + 50],
    ['tag of the last chunk', ends - 1],
    ['end magic', ends],
    ['length, high', ends + 4],
    ['length, low', ends + 11],
    ['kind of the end nonce', ends + 12],
    ['end nonce', ends + 13],
    ['end tag', file.length - 1],
  ];
  let seed = 20_261_121;
  const random = Array.from({ length: 200 }, (): [string, number] => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return ['random', seed % file.length];
  });
  for (const [name, at] of [...named, ...random]) {
    for (const bit of [0x01, 0x80]) {
      const copy = Buffer.from(file);
      copy[at] = (copy[at] ?? 0) ^ bit;
      assert.throws(() => openFile(copy), { code: 'E_MEDIA' }, `${name} at ${at}`);
    }
  }
});

test('cut off at any byte near a border, or lengthened, it does not open', () => {
  const file = sealedFile(2 * SEALED_CHUNK_BYTES + 100);
  const borders = [
    0,
    64,
    sealedChunkOffset(1),
    sealedChunkOffset(2),
    file.length - 40,
    file.length,
  ];
  for (const border of borders) {
    for (let at = Math.max(0, border - 20); at < Math.min(file.length, border + 20); at++) {
      assert.throws(() => openFile(file.subarray(0, at)), { code: 'E_MEDIA' }, `cut at ${at}`);
    }
  }
  assert.throws(() => openFile(Buffer.concat([file, Buffer.alloc(1)])), { code: 'E_MEDIA' });
  const end = file.subarray(-SEALED_END_BYTES);
  assert.throws(() => openFile(Buffer.concat([file, end])), { code: 'E_MEDIA' });
  const shorter = Buffer.concat([file.subarray(0, sealedChunkOffset(1)), end]);
  assert.throws(() => openFile(shorter), { code: 'E_MEDIA' }, 'chunks taken out before the end');
});

test('chunks that change places, or come from another recording or key, do not open', () => {
  const file = sealedFile(2 * SEALED_CHUNK_BYTES);
  const chunk = (index: number): Buffer =>
    file.subarray(sealedChunkOffset(index), sealedChunkOffset(index + 1));
  const swapped = Buffer.concat([file.subarray(0, 64), chunk(1), chunk(0), file.subarray(-40)]);
  assert.throws(() => openFile(swapped), { code: 'E_MEDIA' });
  const doubled = Buffer.concat([file.subarray(0, 64), chunk(0), chunk(0), file.subarray(-40)]);
  assert.throws(() => openFile(doubled), { code: 'E_MEDIA' });
  assert.throws(() => audio(OTHER_ID).openChunk(0, chunk(0)), { code: 'E_MEDIA' });
  assert.throws(() => openFile(file, OTHER_ID), { code: 'E_MEDIA' });
  assert.throws(() => openFile(file, ID, Buffer.alloc(32, 1)), { code: 'E_MEDIA' });
});

test('two ends of one recording differ, and none shares a nonce with a chunk', () => {
  const writer = audio();
  const nonces = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const nonce = writer.sealEnd(64).subarray(12, 24);
    assert.equal(nonce[0], 1);
    nonces.add(nonce.toString('hex'));
  }
  assert.equal(nonces.size, 500);
});

test('misuse is refused', () => {
  assert.throws(() => new SealedAudio({ recordingId: ID, key: KEY.subarray(1) }), {
    code: 'E_INTERNAL',
  });
  assert.throws(() => new SealedAudio({ recordingId: 'x', key: KEY }), { code: 'E_INTERNAL' });
  for (const index of [-1, 0.5, 2 ** 32]) {
    assert.throws(() => audio().sealChunk(index, samples(4)), { code: 'E_INTERNAL' });
  }
  assert.throws(() => audio().openChunk(0, samples(15)), { code: 'E_MEDIA' });
  assert.throws(() => audio().openChunk(0, Buffer.alloc(SEALED_CHUNK_BYTES + 17)), {
    code: 'E_MEDIA',
  });
  assert.ok(looksSealed(sealedHeader(ID)) && !looksSealed(Buffer.from('RIFF')));
});
