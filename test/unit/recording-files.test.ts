/** Recordings as files to hear: any range of a sealed one is that slice of the WAV; damage is never passed on. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { byteRangeOf } from '#api/byte-range.ts';
import { createRecordingFiles } from '#api/recording-files.ts';
import { openedAudio } from '#api/sealed-stream.ts';
import type { RecordingRow } from '#lib/call-record.ts';
import { SimulatedClock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { silentLog } from '#lib/log.ts';
import { recordingPlace } from '#lib/recording-place.ts';
import {
  SEALED_CHUNK_BYTES,
  sealedChunkOffset,
  SealedAudio,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { wavHeader } from '#lib/wav.ts';
import { repairSealed } from '#media/recording/sealed-repair.ts';
import { createRecordingMending } from '#store/recording-mending.ts';
import { createRecordingRemoval } from '#store/recording-removal.ts';
import type { KeptRecording } from '#store/recordings.ts';

const SEAL: RecordingSeal = {
  recordingId: '0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9',
  key: Buffer.alloc(32, 7),
};
const ACCOUNT = '11111111-1111-4111-8111-111111111111';
const CHUNK = SEALED_CHUNK_BYTES;

/** Seeded: the same numbers in every run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function made(dataBytes: number): { sealed: Buffer; wav: Buffer } {
  const audio = new SealedAudio(SEAL);
  const random = randomFrom(dataBytes + 1);
  const samples = Buffer.from(Array.from({ length: dataBytes }, () => random(256)));
  const parts: Buffer[] = [audio.header];
  for (let at = 0; at < dataBytes; at += CHUNK) {
    parts.push(audio.sealChunk(at / CHUNK, samples.subarray(at, at + CHUNK)));
  }
  const sealed = Buffer.concat([...parts, audio.sealEnd(dataBytes)]);
  return { sealed, wav: Buffer.concat([wavHeader(dataBytes), samples]) };
}

/** Bytes in pieces of `size`, as a disk or a network might give them; counts what was asked for. */
function sourceOf(sealed: Buffer, dataBytes: number, size: number) {
  const asked: { from: number; to: number }[] = [];
  return {
    asked,
    audio: new SealedAudio(SEAL),
    dataBytes,
    read: async (from: number, to: number) => {
      asked.push({ from, to });
      return (async function* pieces() {
        for (let at = from; at <= to; at += size)
          yield sealed.subarray(at, Math.min(at + size, to + 1));
      })();
    },
  };
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

test('every range around every border is that slice of the WAV', async () => {
  for (const dataBytes of [0, 4, 100, CHUNK - 4, CHUNK, CHUNK + 4, 2 * CHUNK + 4]) {
    const { sealed, wav } = made(dataBytes);
    const borders = [0, 44, 44 + CHUNK, 44 + 2 * CHUNK, wav.length];
    const points = new Set<number>();
    for (const border of borders) {
      for (const near of [-3, -2, -1, 0, 1, 2]) {
        if (border + near >= 0 && border + near < wav.length) points.add(border + near);
      }
    }
    for (const from of points) {
      for (const to of points) {
        if (to < from) continue;
        const source = sourceOf(sealed, dataBytes, 10_007);
        const got = await collect(openedAudio(source, from, to));
        assert.ok(got.equals(wav.subarray(from, to + 1)), `${dataBytes} bytes: ${from}-${to}`);
      }
    }
  }
});

test('random ranges and piece sizes, seeded; only the chunks that hold the range are read', async () => {
  const random = randomFrom(20_261_121);
  const dataBytes = 5 * CHUNK + 1234;
  const { sealed, wav } = made(dataBytes);
  for (let round = 0; round < 150; round++) {
    const from = random(wav.length);
    const to = from + random(wav.length - from);
    const source = sourceOf(sealed, dataBytes, 1 + random(90_000));
    const got = await collect(openedAudio(source, from, to));
    assert.ok(got.equals(wav.subarray(from, to + 1)), `round ${round}: ${from}-${to}`);
    const [read] = source.asked;
    if (read === undefined) {
      assert.ok(to < 44);
      continue;
    }
    const first = Math.floor(Math.max(0, from - 44) / CHUNK);
    const last = Math.floor((to - 44) / CHUNK);
    assert.equal(read.from, sealedChunkOffset(first));
    assert.ok(read.to < sealedChunkOffset(last + 1));
  }
});

test('the smallest range costs one chunk, and is lazy: nothing is read before it is asked for', async () => {
  const { sealed, wav } = made(3 * CHUNK);
  const source = sourceOf(sealed, 3 * CHUNK, 65_536);
  const stream = openedAudio(source, 44 + CHUNK + 5, 44 + CHUNK + 5);
  assert.deepEqual(source.asked, []);
  assert.deepEqual(await collect(stream), wav.subarray(44 + CHUNK + 5, 44 + CHUNK + 6));
  const [{ from, to } = { from: 0, to: 0 }] = source.asked;
  assert.equal(to - from + 1, CHUNK + 16);
});

test('a damaged chunk ends the stream before its first byte; what lies before it was right', async () => {
  const { sealed, wav } = made(3 * CHUNK);
  sealed[sealedChunkOffset(1) + 40_000] = (sealed[sealedChunkOffset(1) + 40_000] ?? 0) ^ 1;
  const parts: Buffer[] = [];
  await assert.rejects(
    async () => {
      const source = sourceOf(sealed, 3 * CHUNK, 4096);
      for await (const part of openedAudio(source, 0, wav.length - 1))
        parts.push(Buffer.from(part));
    },
    { code: 'E_MEDIA' },
  );
  assert.deepEqual(Buffer.concat(parts), wav.subarray(0, 44 + CHUNK));
  const beyond = sourceOf(sealed, 3 * CHUNK, 4096);
  const rest = await collect(openedAudio(beyond, 44 + 2 * CHUNK, wav.length - 1));
  assert.deepEqual(rest, wav.subarray(44 + 2 * CHUNK), 'other chunks can be heard');
});

test('a source that ends too soon is an error, not a short recording', async () => {
  const { sealed } = made(2 * CHUNK);
  for (const kept of [0, 1000, CHUNK + 16, CHUNK + 17]) {
    const source = {
      ...sourceOf(sealed, 2 * CHUNK, 4096),
      read: async () =>
        (async function* short() {
          yield sealed.subarray(64, 64 + kept);
        })(),
    };
    const all = collect(openedAudio(source, 44, 43 + 2 * CHUNK));
    await assert.rejects(all, { code: 'E_MEDIA' }, `${kept} bytes`);
  }
});

// ---- Files on a disk ----

async function setUp(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), 'callyard-files-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const place = recordingPlace(dataDir, null);
  const logged: string[] = [];
  const log: Log = { ...silentLog, error: (event) => logged.push(event) };
  const rows = new Map<string, KeptRecording>();
  const steps: string[] = [];
  const removal = createRecordingRemoval({
    ...{ place, objects: null, log },
    notes: join(dataDir, 'removals'),
  });
  const clock = new SimulatedClock(Date.UTC(2026, 0, 3));
  const mend = createRecordingMending({
    ...{ place, clock, log, repair: repairSealed },
    recordings: {
      noteClosed: async (_account, id, closed) => {
        steps.push(`closed ${closed.durationMs} ms, ${closed.bytes} bytes`);
        rows.set(id, { ...(rows.get(id) as KeptRecording), isClosed: true });
      },
    },
  });
  const files = createRecordingFiles({
    ...{ place, objects: null, log, removal, mend },
    recordings: {
      find: async (_account, id) => rows.get(id) ?? null,
      callOf: async () => null,
      shred: async (_account, id) => {
        steps.push('shred');
        const row = rows.get(id);
        if (row === undefined) return [];
        rows.set(id, { ...row, key: null, status: 'expired' });
        return [{ id, uri: row.uri }];
      },
      markRemoved: async (ids) => void steps.push(`removed ${ids.length}`),
      noteHeard: async () => void steps.push('heard'),
    },
  });
  const put = async (bytes: Uint8Array, changes: Partial<KeptRecording> = {}) => {
    const { path, uri } = place.newFile(SEAL.recordingId, Date.UTC(2026, 0, 2));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    const row: KeptRecording = {
      ...{ id: SEAL.recordingId, status: 'ready', uri, key: SEAL.key },
      ...changes,
    };
    rows.set(row.id, row);
    return { path, uri };
  };
  const recording: RecordingRow = {
    ...{ id: SEAL.recordingId, status: 'ready', durationMs: 1, uri: 'recordings/x' },
  };
  return { dataDir, place, files, removal, rows, put, logged, steps, recording, clock };
}

test('sealed and plain files are read alike, each with its range', async (t) => {
  const { files, put, recording } = await setUp(t);
  const { sealed, wav } = made(CHUNK + 1000);
  for (const [bytes, key] of [
    [sealed, SEAL.key],
    [wav, null],
  ] as const) {
    await put(bytes, { key });
    const file = await files.open(ACCOUNT, recording);
    assert.equal(file?.bytes, wav.length);
    assert.deepEqual(await collect(file.read(0, wav.length - 1)), wav);
    assert.deepEqual(await collect(file.read(40, 70_000)), wav.subarray(40, 70_001));
  }
});

test('what cannot be heard: gone, expired, without its key, damaged at either end', async (t) => {
  const { files, put, rows, logged, recording } = await setUp(t);
  const { sealed } = made(CHUNK + 1000);
  assert.equal(await files.open(ACCOUNT, recording), null, 'no row');
  await put(sealed, { status: 'active' });
  await assert.rejects(files.open(ACCOUNT, recording), { problem: 'CALL_LIVE' });
  await put(sealed, { status: 'expired', key: null });
  await assert.rejects(files.open(ACCOUNT, recording), { problem: 'RECORDING_EXPIRED' });
  await put(sealed, { key: null });
  assert.equal(await files.open(ACCOUNT, recording), null, 'sealed, and no key any more');
  for (const bytes of [sealed.subarray(0, 5000), sealed.subarray(0, 50), sealed.subarray(1)]) {
    await put(bytes);
    await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_MEDIA' });
  }
  assert.deepEqual(new Set(logged), new Set(['recording.damaged']));
  await put(sealed, { key: Buffer.alloc(32, 8) });
  await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_MEDIA' }, 'another key');
  const { path } = await put(sealed);
  await rm(path);
  assert.equal(await files.open(ACCOUNT, recording), null, 'no file');
  rows.set(recording.id, { id: recording.id, status: 'ready', uri: 's3://b/k', key: SEAL.key });
  await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_STORAGE' });
});

test('a disk that hung at the end of the call: what is there is closed when it is first asked for, once', async (t) => {
  const { files, put, rows, logged, steps, recording, clock } = await setUp(t);
  const { sealed, wav } = made(2 * CHUNK + 1000);
  const torn = sealed.subarray(0, sealedChunkOffset(1) + 777);
  const { path } = await put(torn, { isClosed: false });
  const writtenS = clock.wallMs() / 1000;
  await utimes(path, writtenS - 10, writtenS - 10);
  await assert.rejects(files.open(ACCOUNT, recording), { problem: 'CALL_LIVE' });
  assert.deepEqual(await readFile(path), torn, 'its writer may still be at it');
  await utimes(path, writtenS - 60, writtenS - 60);
  const opened = await Promise.all([1, 2, 3].map(() => files.open(ACCOUNT, recording)));
  for (const file of opened) {
    assert.equal(file?.bytes, 44 + CHUNK);
    const found = await collect(file.read(0, 43 + CHUNK));
    assert.deepEqual(found.subarray(44), wav.subarray(44, 44 + CHUNK));
  }
  assert.deepEqual(steps, [`closed 2048 ms, ${44 + CHUNK} bytes`]);
  assert.deepEqual(logged, []);
  await files.open(ACCOUNT, recording);
  assert.equal(steps.length, 1);

  // Closed once, and cut off since: that is damage, and is not mended away.
  const cut = await put(torn, { isClosed: true });
  await utimes(cut.path, writtenS - 60, writtenS - 60);
  await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_MEDIA' });
  assert.deepEqual(await readFile(cut.path), torn);
  // Another recording's bytes are none that could be closed.
  const alien = await put(Buffer.alloc(500, 3), { isClosed: false });
  await utimes(alien.path, writtenS - 60, writtenS - 60);
  await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_MEDIA' });
  assert.equal(rows.get(recording.id)?.isClosed, false);
  await rm(alien.path);
  assert.equal(await files.open(ACCOUNT, recording), null);
});

test('Ogg: every range around the borders of chunks, and random ones, are those of the file; seeded', async (t) => {
  const { files, put, recording } = await setUp(t);
  const random = randomFrom(6);
  for (const dataBytes of [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 4321]) {
    const audio = new SealedAudio({ ...SEAL, format: 'ogg' });
    const ogg = Buffer.from(Array.from({ length: dataBytes }, () => random(256)));
    const parts: Buffer[] = [audio.header];
    for (let at = 0; at < dataBytes; at += CHUNK)
      parts.push(audio.sealChunk(at / CHUNK, ogg.subarray(at, at + CHUNK)));
    await put(Buffer.concat([...parts, audio.sealEnd(dataBytes)]));
    const file = await files.open(ACCOUNT, recording);
    assert.equal(file?.format, 'ogg');
    assert.equal(file.bytes, dataBytes);
    const edges = [0, CHUNK, 2 * CHUNK, 3 * CHUNK, dataBytes].flatMap((edge) =>
      [-2, -1, 0, 1].map((near) => edge + near),
    );
    const pick = (): number =>
      random(2) === 0 ? (edges[random(edges.length)] as number) : random(dataBytes + 10);
    for (let round = 0; round < 60; round++) {
      const [first, last] = [Math.max(0, pick()), Math.max(0, pick())];
      const header = [`bytes=${first}-${last}`, `bytes=${first}-`, `bytes=-${last}`][random(3)];
      const range = byteRangeOf(header, file.bytes);
      const wanted = naiveSlice(ogg, header ?? '');
      const shown = `${header} of ${dataBytes}`;
      if (range === 'none') assert.equal(wanted, null, shown);
      else {
        const { from, to } = range === 'whole' ? { from: 0, to: dataBytes - 1 } : range;
        const found = await collect(file.read(from, to));
        assert.equal(found.length, to - from + 1, `${shown}: what Content-Length promises`);
        assert.ok(found.equals(wanted ?? Buffer.alloc(0)), shown);
      }
    }
  }
});

/** RFC 9110 14.1.2 by its words; null: not satisfiable. */
function naiveSlice(bytes: Buffer, header: string): Buffer | null {
  const [first = '', last = ''] = header.slice('bytes='.length).split('-');
  if (first === '') {
    const count = Number(last);
    return count === 0 ? null : bytes.subarray(Math.max(0, bytes.length - count));
  }
  if (last !== '' && Number(last) < Number(first)) return bytes;
  if (Number(first) >= bytes.length) return null;
  return bytes.subarray(Number(first), last === '' ? bytes.length : Number(last) + 1);
}

test('a place outside our folders is refused', async (t) => {
  const { files, rows, recording } = await setUp(t);
  const uris = ['../a.cyr', '/etc/hostname', '..', '', 'x/../../a.cyr', 'file:///etc/hostname'];
  for (const uri of uris) {
    rows.set(recording.id, { id: recording.id, status: 'ready', uri, key: SEAL.key });
    await assert.rejects(files.open(ACCOUNT, recording), { code: 'E_MEDIA' }, uri);
  }
});

test('removal destroys the key first; a file that will not go is noted and goes later', async (t) => {
  const { dataDir, files, removal, put, rows, steps, logged, recording } = await setUp(t);
  const { path } = await put(made(100).sealed);
  await files.remove(ACCOUNT, recording);
  assert.deepEqual(steps, ['shred', 'removed 1']);
  await assert.rejects(stat(path), { code: 'ENOENT' });
  await files.remove(ACCOUNT, recording); // again: nothing to do, and no error

  // A folder with something in it stands where the file should be, so that it cannot be removed.
  await mkdir(join(path, 'stuck'), { recursive: true });
  rows.set(recording.id, { ...(rows.get(recording.id) as KeptRecording), key: SEAL.key });
  await files.remove(ACCOUNT, recording);
  assert.equal(rows.get(recording.id)?.key, null, 'the key is gone all the same');
  assert.ok(logged.includes('recording.notRemoved'));
  assert.equal((await readdir(join(dataDir, 'removals'))).length, 1);
  assert.equal(await removal.retry(), 1);
  await rm(path, { recursive: true });
  await writeFile(path, 'x');
  assert.equal(await removal.retry(), 0);
  await assert.rejects(stat(path), { code: 'ENOENT' });
  assert.deepEqual(await readdir(join(dataDir, 'removals')), []);
});

test('with its row gone already, the file goes by the place that the caller knows', async (t) => {
  const { files, put, rows, steps, recording } = await setUp(t);
  const { path, uri } = await put(made(100).sealed);
  rows.clear();
  await files.remove(ACCOUNT, { ...recording, uri });
  assert.deepEqual(steps, ['shred']);
  await assert.rejects(stat(path), { code: 'ENOENT' });
});

test('places: by day, relative or as file URLs, and their names in a bucket', async (t) => {
  const { dataDir, place } = await setUp(t);
  const day = Date.UTC(2026, 10, 8, 23, 59);
  const inside = place.newFile('a', day);
  assert.equal(inside.uri, 'recordings/2026/11/08/a.cyr');
  assert.equal(inside.path, join(dataDir, inside.uri));
  assert.equal(place.nameOf(inside.uri), '2026/11/08/a.cyr');
  assert.equal(place.pathOf('s3://bucket/a'), null);
  const other = recordingPlace(dataDir, join(dataDir, '..', 'else where'));
  const outside = other.newFile('a', day);
  assert.match(outside.uri, /^file:\/\/.*else%20where\/2026\/11\/08\/a\.cyr$/);
  assert.equal(other.pathOf(outside.uri), outside.path);
  assert.equal(other.nameOf(outside.uri), '2026/11/08/a.cyr');
  assert.equal(other.pathOf(inside.uri), inside.path, 'older ones stay readable');
  assert.throws(() => place.pathOf(outside.uri), { code: 'E_MEDIA' });
});
