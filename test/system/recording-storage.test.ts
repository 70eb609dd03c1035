/** Recordings in an object store: up, down in ranges, away, and every fault on the way. */
import assert from 'node:assert/strict';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createRecordingFiles } from '#api/recording-files.ts';
import { systemClock, SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { recordingPlace } from '#lib/recording-place.ts';
import { SEALED_CHUNK_BYTES, SealedAudio } from '#lib/sealed-audio.ts';
import { wavHeader } from '#lib/wav.ts';
import { openObjectStorage, parseStorageUrl } from '#store/object-storage.ts';
import { openPool } from '#store/pool.ts';
import { createRecordingRemoval } from '#store/recording-removal.ts';
import { RecordingUploads } from '#store/recording-uploads.ts';
import { createRecordings } from '#store/recordings.ts';
import { createSealer } from '#store/sealed.ts';
import { NO_S3_CLIENT, S3_KEY_ID, S3_SECRET, startFakeS3 } from './_s3.ts';
import { atEnd, newDatabase, newDataDir, until } from './_store.ts';

const CREDENTIALS = { accessKeyId: S3_KEY_ID, secretAccessKey: S3_SECRET };

async function setUp(t: TestContext) {
  const s3 = await startFakeS3(t);
  const endpoint = encodeURIComponent(s3.endpoint);
  const url = `s3://calls/kept/here?endpoint=${endpoint}&region=eu-test-1&path_style=true`;
  const objects = await openObjectStorage(parseStorageUrl(url, CREDENTIALS));
  atEnd(t, () => objects.close());
  const dataDir = newDataDir(t);
  const database = openPool({ url: await newDatabase(t), log: silentLog });
  atEnd(t, () => database.close());
  const place = recordingPlace(dataDir, null);
  const sealer = createSealer([Buffer.alloc(32, 1)]);
  const recordings = createRecordings({ database, sealer, clock: systemClock });
  const removal = createRecordingRemoval({
    ...{ place, objects, log: silentLog },
    notes: join(dataDir, 'removals'),
  });
  const files = createRecordingFiles({ place, recordings, removal, objects, log: silentLog });
  const rows = <T extends object>(text: string, values: unknown[] = []): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text, values));
  const [account] = await rows<{ id: string }>(
    "INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), 'a@example.com') RETURNING id",
  );
  const accountId = account?.id ?? '';
  const [agent] = await rows<{ id: string }>(
    "INSERT INTO agents (user_id, name) VALUES ($1, 'A') RETURNING id",
    [accountId],
  );
  /** A ready recording of `dataBytes` on the local disk. */
  const record = async (dataBytes: number, status = 'ready') => {
    const callId = newId();
    const { seal, keyEnc } = recordings.newKey(accountId);
    const audio = new SealedAudio(seal);
    const samples = Buffer.alloc(dataBytes, callId);
    const parts: Buffer[] = [audio.header];
    for (let at = 0; at < dataBytes; at += SEALED_CHUNK_BYTES) {
      const chunk = samples.subarray(at, at + SEALED_CHUNK_BYTES);
      parts.push(audio.sealChunk(at / SEALED_CHUNK_BYTES, chunk));
    }
    const sealed = Buffer.concat([...parts, audio.sealEnd(dataBytes)]);
    const { path, uri } = place.newFile(seal.recordingId, Date.UTC(2026, 0, 2));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, sealed);
    await rows(
      `INSERT INTO call_records (id, user_id, agent_id, start_time, status, recording_status, recording_id)
       VALUES ($1, $2, $3, now(), 'ended', $4, $5)`,
      [callId, accountId, agent?.id, status, seal.recordingId],
    );
    await rows(
      'INSERT INTO recordings (id, user_id, call_id, status, uri, key_enc) VALUES ($1, $2, $3, $4, $5, $6)',
      [seal.recordingId, accountId, callId, status, uri, keyEnc],
    );
    const wav = Buffer.concat([wavHeader(dataBytes), samples]);
    return { id: seal.recordingId, path, uri, sealed, wav };
  };
  const uriOf = async (id: string): Promise<string> => {
    const [row] = await rows<{ uri: string }>('SELECT uri FROM recordings WHERE id = $1', [id]);
    return row?.uri ?? 'none';
  };
  const newUploads = (clock: SimulatedClock, mend?: () => Promise<boolean>): RecordingUploads => {
    const parts = {
      ...{ database, objects, place, removal, log: silentLog },
      ...(mend === undefined ? {} : { mend }),
    };
    const uploads = new RecordingUploads({ ...parts, clock });
    atEnd(t, () => uploads.close());
    return uploads;
  };
  return {
    ...{ s3, objects, dataDir, place, recordings, removal, files, rows, accountId },
    ...{ record, uriOf, newUploads },
  };
}

const gone = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => false,
    () => true,
  );

async function collect(stream: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  assert.ok(stream !== undefined, 'there is nothing to hear');
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** One pass of the uploads: the timer fires, and the next one is armed when it is over. */
async function pass(clock: SimulatedClock, afterMs: number): Promise<void> {
  clock.advance(afterMs);
  await until(() => clock.pending > 0, 'the pass is over');
}

test(
  'a ready recording moves up, is heard from there in ranges, and leaves the disk',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(2 * SEALED_CHUNK_BYTES + 1000);
    const active = await kit.record(1000, 'active');
    const clock = new SimulatedClock();
    const uploads = kit.newUploads(clock);
    uploads.start();
    await pass(clock, 0);
    assert.equal(uploads.moved, 1);
    const key = `kept/here/2026/01/02/${made.id}.cyr`;
    assert.equal(await kit.uriOf(made.id), `s3://calls/${key}`);
    assert.deepEqual(kit.s3.objects.get(`calls/${key}`), made.sealed);
    assert.ok(await gone(made.path));
    assert.ok(!(await gone(active.path)), 'one being written stays');
    const file = await kit.files.open(kit.accountId, { id: made.id });
    assert.equal(file?.bytes, made.wav.length);
    assert.deepEqual(await collect(file.read(0, made.wav.length - 1)), made.wav);
    for (const [from, to] of [
      [0, 43],
      [44, 44],
      [65_500, 65_700],
      [made.wav.length - 5, made.wav.length - 1],
    ] as const) {
      assert.deepEqual(await collect(file.read(from, to)), made.wav.subarray(from, to + 1));
    }
    assert.deepEqual(kit.s3.unsigned, []);
    await kit.files.remove(kit.accountId, {
      ...{ id: made.id, status: 'ready', durationMs: 1, uri: await kit.uriOf(made.id) },
    });
    assert.equal(kit.s3.objects.size, 0);
    await assert.rejects(kit.files.open(kit.accountId, { id: made.id }), {
      problem: 'RECORDING_EXPIRED',
    });
  },
);

test(
  'one whose disk hung at the end of its call stays here until it is closed, and its row says what became of it',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(SEALED_CHUNK_BYTES);
    const other = await kit.record(1000, 'active');
    let isClosed = false;
    const clock = new SimulatedClock();
    const uploads = kit.newUploads(clock, () => Promise.resolve(isClosed));
    uploads.start();
    await pass(clock, 0);
    assert.equal(uploads.moved, 0);
    assert.ok(!(await gone(made.path)));
    assert.equal((await kit.recordings.find(kit.accountId, made.id))?.isClosed, false);
    const closed = { durationMs: 2048.4, bytes: 65_580, sha256: 'ab'.repeat(32) };
    for (const [id, what] of [
      [made.id, closed],
      [made.id, { ...closed, bytes: 1 }],
      [other.id, closed],
    ] as const)
      await kit.recordings.noteClosed(kit.accountId, id, what);
    const rows = await kit.rows<{ bytes: string; duration_ms: number; truncated: boolean }>(
      `SELECT bytes, duration_ms, truncated FROM recordings WHERE sha256 = decode($1, 'hex')`,
      [closed.sha256],
    );
    assert.deepEqual(
      rows.map((row) => ({ ...row, bytes: Number(row.bytes) })),
      [{ bytes: 65_580, duration_ms: 2048, truncated: true }],
      'once, and not one that is still being written',
    );
    assert.equal((await kit.recordings.find(kit.accountId, made.id))?.isClosed, true);
    isClosed = true;
    await pass(clock, 10_000);
    assert.equal(uploads.moved, 1);
  },
);

test(
  'while the store refuses or breaks off nothing is lost, and waits grow',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = [await kit.record(1000), await kit.record(70_000), await kit.record(5)];
    const clock = new SimulatedClock();
    const uploads = kit.newUploads(clock);
    kit.s3.faults.push(...([503, 503, 503, 503, 'reset', 'reset', 'reset', 'reset'] as const));
    uploads.start();
    await pass(clock, 0);
    assert.equal(uploads.moved, 0);
    const local = await readdir(join(kit.dataDir, 'recordings', '2026', '01', '02'));
    assert.equal(local.length, 3);
    for (let i = 0; i < 8 && uploads.moved < 3; i++) await pass(clock, 300_000);
    assert.equal(uploads.moved, 3);
    for (const each of made) {
      assert.match(await kit.uriOf(each.id), /^s3:/);
      const file = await kit.files.open(kit.accountId, { id: each.id });
      assert.deepEqual(await collect(file?.read(0, file.bytes - 1)), each.wav);
    }
    const requests = kit.s3.requests.length;
    await pass(clock, 10_000);
    assert.equal(kit.s3.requests.length, requests, 'nothing is put twice');
  },
);

test(
  'a restart goes on: what was put but not noted is put again, what was noted loses its copy',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const [first, second] = [await kit.record(1000), await kit.record(2000)];
    // As after a crash between the database and the unlink.
    const uri = await kit.objects.putFile(kit.place.nameOf(first.uri), first.path);
    await kit.rows('UPDATE recordings SET uri = $1 WHERE id = $2', [uri, first.id]);
    // As after a crash between the put and the database.
    await kit.objects.putFile(kit.place.nameOf(second.uri), second.path);
    const clock = new SimulatedClock();
    const uploads = kit.newUploads(clock);
    uploads.start();
    await pass(clock, 0);
    assert.ok((await gone(first.path)) && (await gone(second.path)));
    assert.equal(uploads.moved, 1);
    assert.equal(kit.s3.objects.size, 2);
    for (const each of [first, second]) assert.match(await kit.uriOf(each.id), /^s3:/);
  },
);

test(
  'one that is destroyed while it moves up leaves nothing up there',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(1000);
    const clock = new SimulatedClock();
    const uploads = kit.newUploads(clock);
    const { objects } = kit;
    const original = { ...objects };
    Object.assign(objects, {
      putFile: async (name: string, path: string) => {
        const uri = await original.putFile(name, path);
        await kit.recordings.shred(kit.accountId, made.id);
        kit.s3.faults.push(500, 500); // and the bucket refuses just then
        return uri;
      },
    });
    uploads.start();
    await pass(clock, 0);
    assert.equal(kit.s3.objects.size, 1);
    assert.equal(await kit.removal.retry(), 0);
    assert.equal(kit.s3.objects.size, 0);
    assert.equal(uploads.moved, 0);
    assert.ok(kit.s3.requests.some((request) => request.startsWith('PUT ')));
  },
);

test(
  'reading while the store is away is E_STORAGE; an object that is gone is nothing to hear',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(200_000);
    const clock = new SimulatedClock();
    kit.newUploads(clock).start();
    await pass(clock, 0);
    kit.s3.faults.push(503, 503);
    await assert.rejects(kit.files.open(kit.accountId, { id: made.id }), { code: 'E_STORAGE' });
    const file = await kit.files.open(kit.accountId, { id: made.id });
    kit.s3.faults.push('reset', 'reset');
    await assert.rejects(collect(file?.read(44, 100_000)), { code: 'E_STORAGE' });
    kit.s3.objects.clear();
    assert.equal(await kit.files.open(kit.accountId, { id: made.id }), null);
    assert.ok(await kit.removal.remove(await kit.uriOf(made.id)), 'gone is gone');
    kit.s3.faults.push(500, 500);
    assert.equal(await kit.removal.removeOrNote(await kit.uriOf(made.id)), true);
    assert.equal((await readdir(join(kit.dataDir, 'removals'))).length, 1);
    assert.equal(await kit.removal.retry(), 0);
  },
);

test('a store that never answers is given up in time', { skip: NO_S3_CLIENT }, async (t) => {
  const s3 = await startFakeS3(t);
  const settings = parseStorageUrl(
    `s3://calls?endpoint=${s3.endpoint}&path_style=true`,
    CREDENTIALS,
  );
  const clock = new SimulatedClock();
  const objects = await openObjectStorage(settings, clock);
  atEnd(t, () => objects.close());
  s3.faults.push('hang');
  const asked = objects.size('s3://calls/a');
  await until(() => s3.requests.length === 1, 'the question has arrived');
  clock.advance(15_000);
  await assert.rejects(asked, { code: 'E_STORAGE', message: /no answer in 15000 ms/ });
});

test('the setting: what it means, and what it refuses', () => {
  assert.deepEqual(
    parseStorageUrl(
      's3://b/a/c/?endpoint=https%3A%2F%2Fs3.example.com&region=r&path_style=true',
      null,
    ),
    {
      ...{ bucket: 'b', prefix: 'a/c', region: 'r', endpoint: 'https://s3.example.com' },
      ...{ pathStyle: true, credentials: null },
    },
  );
  assert.deepEqual(parseStorageUrl('s3://b', CREDENTIALS), {
    ...{ bucket: 'b', prefix: '', region: 'us-east-1', endpoint: null, pathStyle: false },
    credentials: CREDENTIALS,
  });
  for (const wrong of [
    's3://',
    's3:b',
    'http://b',
    's3://id:secret@b',
    's3://b?regoin=x',
    's3://b?endpoint=ftp://x',
    's3://b?path_style=yes',
  ]) {
    assert.throws(
      () => parseStorageUrl(wrong, CREDENTIALS),
      (error: Error & { code?: string }) =>
        error.code === 'E_CONFIG' && !error.message.includes('secret@'),
      wrong,
    );
  }
});

test(
  'a stop does not wait for an upload that hangs; the next start makes it again',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(1000);
    kit.s3.faults.push('hang');
    const clock = new SimulatedClock();
    const hanging = kit.newUploads(clock);
    hanging.start();
    clock.advance(0);
    await until(() => kit.s3.requests.length === 1, 'the upload has begun');
    await hanging.close();
    assert.equal(clock.pending, 0);
    assert.equal(await kit.uriOf(made.id), made.uri);
    const next = new SimulatedClock();
    kit.newUploads(next).start();
    await pass(next, 0);
    assert.match(await kit.uriOf(made.id), /^s3:/);
  },
);

test(
  'what was put up by an upload that was cut off goes with its local copy',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const kit = await setUp(t);
    const made = await kit.record(1000);
    await kit.objects.putFile(kit.place.nameOf(made.uri), made.path);
    await kit.files.remove(kit.accountId, {
      ...{ id: made.id, status: 'ready', durationMs: 1, uri: made.uri },
    });
    assert.ok(await gone(made.path));
    assert.equal(kit.s3.objects.size, 0, 'nothing would ever have looked for it');
  },
);
