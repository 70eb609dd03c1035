/** Sealed recordings on disk: the writer, full and stuck disks, and repair after a crash at any byte. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import {
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  SealedAudio,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import { Recorder } from '#media/recording/recorder.ts';
import type { RecordingHandle } from '#media/recording/recording-writer.ts';
import { repairSealed } from '#media/recording/sealed-repair.ts';

const SEAL: RecordingSeal = {
  recordingId: '0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9',
  key: Buffer.from(Array.from({ length: 32 }, (_, at) => 31 - at)),
};
const FRAME = 160;
const CHUNK_FRAMES = SEALED_CHUNK_BYTES / 4 / FRAME; // 102.4 frames of 20 ms
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const frame = (value: number): Int16Array => new Int16Array(FRAME).fill(value);

/** A disk in memory with a size; writing beyond it fails as a full disk does, overwriting does not. */
class Disk implements RecordingHandle {
  bytes = Buffer.alloc(0);
  capacity = Number.POSITIVE_INFINITY;
  gate: Promise<void> | null = null;
  isRemoved = false;

  async write(bytes: Uint8Array, position: number): Promise<void> {
    if (this.gate !== null) await this.gate;
    const end = position + bytes.length;
    const fits = Math.min(end, Math.max(this.capacity, this.bytes.length));
    if (fits > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(fits - this.bytes.length)]);
    }
    this.bytes.set(bytes.subarray(0, Math.max(0, fits - position)), position);
    if (end > fits) throw new Error('ENOSPC: no space left on device');
  }

  async truncate(bytes: number): Promise<void> {
    this.bytes = this.bytes.subarray(0, bytes);
  }

  async close(): Promise<void> {
    await turn();
  }

  async remove(): Promise<void> {
    this.isRemoved = true;
    await turn();
  }
}

function setUp(disk = new Disk()) {
  const failures: string[] = [];
  const file = new RecordingFile({
    path: '/made/up.cyr',
    seal: SEAL,
    clock: new SimulatedClock(),
    open: () => Promise.resolve(disk),
    onFailed: (message) => failures.push(message),
  });
  return { disk, failures, recorder: new Recorder(file) };
}

/** Samples of both sides, interleaved, as the reader gets them. */
function openAll(file: Buffer): Int16Array {
  const audio = new SealedAudio(SEAL);
  const dataBytes = audio.openEnd(file.subarray(-SEALED_END_BYTES), file.length);
  const parts: Buffer[] = [];
  for (let at = 0, index = 0; at < dataBytes; at += SEALED_CHUNK_BYTES, index++) {
    const length = Math.min(SEALED_CHUNK_BYTES, dataBytes - at) + SEALED_TAG_BYTES;
    const offset = sealedChunkOffset(index);
    parts.push(audio.openChunk(index, file.subarray(offset, offset + length)));
  }
  const plain = Buffer.concat(parts);
  return Int16Array.from({ length: plain.length / 2 }, (_, at) => plain.readInt16LE(at * 2));
}

const channel = (pcm: Int16Array, which: 0 | 1): Int16Array =>
  pcm.filter((_, at) => at % 2 === which);

async function speak(recorder: Recorder, frames: number, from = 1): Promise<void> {
  for (let i = from; i < from + frames; i++) {
    recorder.writeCaller(frame(i));
    recorder.writeAgent(frame(-i));
    if (i % 10 === 0) await turn();
  }
}

test('five seconds: every sample in its place, the hash is the file’s, nothing of it in the clear', async () => {
  const { disk, recorder } = setUp();
  await speak(recorder, 250);
  const result = await recorder.finish();
  assert.deepEqual(result, {
    path: '/made/up.cyr',
    durationMs: 5000,
    bytes: 44 + 250 * FRAME * 4,
    truncated: false,
    sha256: createHash('sha256').update(disk.bytes).digest('hex'),
  });
  const pcm = openAll(disk.bytes);
  const [caller, agent] = [channel(pcm, 0), channel(pcm, 1)];
  assert.equal(caller.length, 250 * FRAME);
  for (let i = 0; i < 250 * FRAME; i++) {
    const value = Math.floor(i / FRAME) + 1;
    assert.ok(caller[i] === value && agent[i] === -value, `sample ${i}`);
  }
  const clear = Buffer.from(frame(7).buffer).subarray(0, 12);
  assert.equal(disk.bytes.indexOf(clear), -1);
});

test('a call of no sample is a file that opens as empty', async () => {
  const { disk, recorder } = setUp();
  assert.equal((await recorder.finish())?.durationMs, 0);
  assert.equal(openAll(disk.bytes).length, 0);
});

test('while the call runs, all but the last two seconds are on disk in whole chunks', async () => {
  const { disk, recorder } = setUp();
  await speak(recorder, 500);
  for (let i = 0; i < 5; i++) await turn();
  const chunks = Math.floor(500 / CHUNK_FRAMES);
  assert.equal(disk.bytes.length, sealedChunkOffset(chunks));
  await recorder.finish();
});

test('a disk that fills up at any point leaves a file that opens up to there', async () => {
  const full = sealedChunkOffset(2);
  const rows: [name: string, capacity: number, chunks: number][] = [
    ['in the third chunk', full + 1000, 2],
    ['no byte after the second chunk: the end takes its place', full, 1],
    ['39 bytes after the second chunk', full + 39, 1],
    ['just the end after the second chunk', full + 40, 2],
    ['in the second chunk', full - 1, 1],
  ];
  for (const [name, capacity, chunks] of rows) {
    const disk = new Disk();
    disk.capacity = capacity;
    const { failures, recorder } = setUp(disk);
    await speak(recorder, 400);
    const result = await recorder.finish();
    assert.ok(result?.truncated, name);
    assert.equal(result.bytes, 44 + chunks * SEALED_CHUNK_BYTES, name);
    assert.equal(failures.length, 1, name);
    const caller = channel(openAll(disk.bytes), 0);
    assert.equal(caller.length, (chunks * SEALED_CHUNK_BYTES) / 4, name);
    assert.equal(caller.at(-1), Math.ceil((chunks * SEALED_CHUNK_BYTES) / 4 / FRAME), name);
    assert.equal(result.sha256, createHash('sha256').update(disk.bytes).digest('hex'), name);
    assert.equal(disk.isRemoved, false, name);
  }
});

test('full before the first chunk, or only at the very end', async () => {
  const empty = new Disk();
  empty.capacity = SEALED_HEADER_BYTES + 100;
  const first = setUp(empty);
  await speak(first.recorder, 400);
  assert.equal(await first.recorder.finish(), null);
  assert.ok(empty.isRemoved);

  const last = new Disk();
  const second = setUp(last);
  await speak(second.recorder, 250);
  last.capacity = last.bytes.length;
  const result = await second.recorder.finish();
  assert.equal(openAll(last.bytes).length * 2, (result?.bytes ?? 0) - 44);
  assert.equal(result?.bytes, 44 + SEALED_CHUNK_BYTES, 'the end took the place of the last chunk');
});

test('a stuck disk: what was lost is silence, what follows keeps its place', async () => {
  const disk = new Disk();
  const opened = Promise.withResolvers<void>();
  disk.gate = opened.promise;
  const { failures, recorder } = setUp(disk);
  await speak(recorder, 1000);
  opened.resolve();
  for (let i = 0; i < 50; i++) await turn();
  await speak(recorder, 100, 1001);
  const result = await recorder.finish();
  assert.ok(result?.truncated);
  assert.equal(failures.length, 1);
  const caller = channel(openAll(disk.bytes), 0);
  assert.equal(result.durationMs, 22_000);
  assert.equal(caller[100 * FRAME], 101);
  assert.equal(caller[300 * FRAME], 301, 'twelve seconds are kept in memory');
  assert.equal(caller[800 * FRAME], 0);
  assert.equal(caller[1099 * FRAME], 1100);
});

test('on a real disk the file is private, and holds what the writer says', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-sealed-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a', 'call.cyr');
  const onFailed = (message: string): never => assert.fail(message);
  const recorder = new Recorder(
    new RecordingFile({ path, seal: SEAL, clock: new SimulatedClock(), onFailed }),
  );
  await speak(recorder, 120);
  const result = await recorder.finish();
  const bytes = await readFile(path);
  assert.equal(result?.sha256, createHash('sha256').update(bytes).digest('hex'));
  assert.equal(openAll(bytes).length, 2 * 120 * FRAME);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

/** A complete file of three full chunks and a part, and a place on a real disk for it. */
async function realFile(): Promise<{ folder: string; path: string; whole: Buffer }> {
  const { disk, recorder } = setUp();
  await speak(recorder, 350);
  await recorder.finish();
  const folder = await mkdtemp(join(tmpdir(), 'callyard-sealed-'));
  const path = join(folder, 'call.cyr');
  await writeFile(path, disk.bytes);
  return { folder, path, whole: disk.bytes };
}

test('repair: whatever a crash left, the file opens up to the last whole chunk, twice alike', async (t) => {
  const { folder, path, whole } = await realFile();
  t.after(() => rm(folder, { recursive: true }));
  const all = openAll(whole);
  const cuts = [0, 1, 63, 64, 65, 1000];
  for (const index of [1, 2, 3]) {
    const border = sealedChunkOffset(index);
    cuts.push(border - 17, border - 1, border, border + 1, border + 40, border + 5000);
  }
  cuts.push(whole.length - 41, whole.length - 40, whole.length - 1);
  for (const cut of cuts) {
    await writeFile(path, whole.subarray(0, cut));
    const chunks = Math.max(0, Math.floor((cut - 64) / (SEALED_CHUNK_BYTES + SEALED_TAG_BYTES)));
    const first = await repairSealed(path, SEAL);
    const repaired = await readFile(path);
    assert.equal(first.bytes, 44 + chunks * SEALED_CHUNK_BYTES, `cut at ${cut}`);
    assert.equal(first.durationMs, chunks * 2048, `cut at ${cut}`);
    assert.equal(first.sha256, createHash('sha256').update(repaired).digest('hex'));
    assert.deepEqual(openAll(repaired), all.subarray(0, (chunks * SEALED_CHUNK_BYTES) / 2));
    assert.deepEqual(await repairSealed(path, SEAL), first, `again, cut at ${cut}`);
    assert.deepEqual(await readFile(path), repaired);
  }
  await writeFile(path, whole);
  assert.equal((await repairSealed(path, SEAL)).bytes, 44 + 350 * FRAME * 4);
  assert.deepEqual(await readFile(path), whole, 'a whole file stays as it is');
});

test('repair after a loss of power: blocks that never reached the disk are dropped from the end', async (t) => {
  const { folder, path, whole } = await realFile();
  t.after(() => rm(folder, { recursive: true }));
  const torn = Buffer.from(whole.subarray(0, sealedChunkOffset(3)));
  torn.fill(0, sealedChunkOffset(1) + 8192);
  await writeFile(path, torn);
  assert.equal((await repairSealed(path, SEAL)).bytes, 44 + SEALED_CHUNK_BYTES);
});

test('repair leaves alone what is not this recording', async (t) => {
  const { folder, path, whole } = await realFile();
  t.after(() => rm(folder, { recursive: true }));
  const other = { ...SEAL, recordingId: '1a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9' };
  await assert.rejects(repairSealed(path, other), { code: 'E_MEDIA' });
  assert.deepEqual(await readFile(path), whole);
  for (const text of ['RIFF, and long enough for a header of sixty-four bytes, that it is', 'x']) {
    await writeFile(path, text);
    await assert.rejects(repairSealed(path, SEAL), { code: 'E_MEDIA' });
    assert.equal(await readFile(path, 'utf8'), text);
  }
  await assert.rejects(repairSealed(join(folder, 'missing'), SEAL), { code: 'E_MEDIA' });
});

test('repair on a full disk: the end takes the place of the last chunk, also when it begins to fit', async (t) => {
  const { folder, path, whole } = await realFile();
  t.after(() => rm(folder, { recursive: true }));
  const left = sealedChunkOffset(3);
  for (const room of [0, 13]) {
    await writeFile(path, whole.subarray(0, left));
    const repaired = await repairSealed(path, SEAL, async (...given) => {
      const file = await open(...given);
      const write = file.write.bind(file) as (...all: unknown[]) => Promise<object>;
      const onFullDisk = (bytes: Buffer, from: number, length: number, position: number) => {
        const fits = Math.min(length, left + room - position);
        if (fits <= 0) return Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
        return write(bytes, from, fits, position);
      };
      return Object.assign(file, { write: onFullDisk });
    });
    assert.equal(repaired.bytes, 44 + 2 * SEALED_CHUNK_BYTES);
    const opened = openAll(await readFile(path));
    assert.deepEqual(opened, openAll(whole).subarray(0, SEALED_CHUNK_BYTES), `${room} bytes left`);
  }
});
