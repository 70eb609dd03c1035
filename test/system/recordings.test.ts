/** Recordings through the whole server: sealed on disk, heard over HTTP, alive after kill -9, gone after retention. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createDecipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { recordingPlace } from '#lib/recording-place.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { openPool, type Database } from '#store/pool.ts';
import { createRecordingRemoval } from '#store/recording-removal.ts';
import { Retention } from '#store/retention.ts';
import { createSealer } from '#store/sealed.ts';
import { ADMIN_KEY, eventually, freshDatabase, makeDataDir, SCRIPT, startTestApp } from './_app.ts';
import { NO_S3_CLIENT, S3_KEY_ID, S3_SECRET, startFakeS3 } from './_s3.ts';
import { atEnd, until } from './_store.ts';

const HEADERS = { authorization: `Bearer ${ADMIN_KEY}` };

type RecordingDbRow = {
  id: string;
  user_id: string;
  call_id: string;
  status: string;
  uri: string;
  key_enc: string | null;
  sha256: Buffer | null;
  bytes: string;
  duration_ms: number;
  truncated: boolean;
  expires_at: Date | null;
  started_at: Date;
  deleted_at: Date | null;
};

function poolOf(t: TestContext, url: string): Database {
  const database = openPool({ url, log: silentLog });
  atEnd(t, () => database.close());
  return database;
}

/** The newest recording, once it is no longer being written. */
async function recordingIn(database: Database): Promise<RecordingDbRow> {
  const row = await eventually(
    () =>
      database.withSystem(async (sql) => {
        const text = 'SELECT * FROM recordings ORDER BY created_at DESC LIMIT 1';
        return (await sql.rows<RecordingDbRow>(text))[0];
      }),
    (found) => found !== undefined && found.status !== 'active',
  );
  assert.ok(row !== undefined, 'there is a recording');
  return row;
}

/** The samples of a sealed file, by code that shares nothing with the server's but the key's own envelope. */
function plainOf(dataDir: string, row: RecordingDbRow, sealed: Buffer): Buffer {
  const master = Buffer.from(readFileSync(join(dataDir, 'master.key'), 'utf8').trim(), 'base64');
  const place = { table: 'recordings', column: 'key_enc', accountId: row.user_id, rowId: row.id };
  const key = Buffer.from(createSealer([master]).open(row.key_enc ?? '', place), 'base64url');
  assert.equal(sealed.toString('latin1', 0, 8), 'CALLYREC');
  const dataBytes = Number(sealed.readBigUInt64BE(sealed.length - 36));
  const parts: Buffer[] = [];
  let offset = 64;
  for (let done = 0, index = 0; done < dataBytes; done += 65_536, index++) {
    const length = Math.min(65_536, dataBytes - done);
    const numbered = Buffer.alloc(5);
    numbered.writeUInt32BE(index);
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(index, 8);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce);
    decipher.setAAD(Buffer.concat([sealed.subarray(0, 64), numbered]));
    decipher.setAuthTag(sealed.subarray(offset + length, offset + length + 16));
    parts.push(decipher.update(sealed.subarray(offset, offset + length)), decipher.final());
    offset += length + 16;
  }
  return Buffer.concat(parts);
}

const tone = (ms: number, hz: number): Int16Array =>
  Int16Array.from({ length: ms * 8 }, (_, at) => 8000 * Math.sin((2 * Math.PI * hz * at) / 8000));

/** Share of a channel's energy at `hz` in a stretch of the recording, 0..1 (Goertzel). */
function shareOf(samples: Buffer, channel: 0 | 1, hz: number, fromMs: number, ms: number): number {
  const count = ms * 8;
  const turn = (2 * Math.PI * hz) / 8000;
  let [re, im, all] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const value = samples.readInt16LE((fromMs * 8 + i) * 4 + channel * 2);
    re += value * Math.cos(turn * i);
    im += value * Math.sin(turn * i);
    all += value * value;
  }
  return all === 0 ? 0 : (2 * (re * re + im * im)) / count / all;
}

async function dial(t: TestContext, target: string): Promise<PhoneCall> {
  const phone = await placeCall({ target });
  atEnd(t, () => phone.hangUp());
  return phone;
}

test('a real call: sealed on disk, the same sample by sample over HTTP, then removed for good', async (t) => {
  const server = await startTestApp(t);
  const database = poolOf(t, server.databaseUrl);
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(server.app.httpUrl + path, { method, headers: { ...HEADERS, ...headers } });
  const phone = await dial(t, server.target);
  await phone.hearSpeech(0, 2000);
  const list = await eventually(
    () => server.get<{ items: { id: string; status: string }[] }>('/api/call-center/recordings'),
    ({ data }) => data.items.length > 0,
  );
  const id = list.data.items[0]?.id ?? '';
  const live = await server.get<Transcript>(`/api/call-center/recordings/${id}/transcript`);
  assert.deepEqual([live.status, live.data.status], [200, 'answered']);
  for (const path of [
    `/api/call-center/recordings/${id}/download`,
    `/api/v1/call-records/${id}/recording`,
  ]) {
    assert.equal((await get(path)).status, 409, 'while the call is live');
  }
  await phone.hearSilence(15_000);
  await phone.say(tone(3000, 440));
  await phone.hangUp();

  const row = await recordingIn(database);
  const path = join(server.dataDir, row.uri);
  const sealed = readFileSync(path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual([row.status, row.call_id, row.truncated], ['ready', id, false]);
  assert.match(row.uri, new RegExp(`^recordings/\\d{4}/\\d{2}/\\d{2}/${row.id}\\.cyr$`));
  assert.deepEqual(row.sha256, createHash('sha256').update(sealed).digest());
  const keptDays = ((row.expires_at?.getTime() ?? 0) - row.started_at.getTime()) / 86_400_000;
  assert.ok(keptDays > 180 && keptDays < 180.1, `kept ${keptDays} days`);

  const samples = plainOf(server.dataDir, row, sealed);
  assert.equal(Number(row.bytes), 44 + samples.length);
  const download = `/api/call-center/recordings/${id}/download`;
  const whole = await get(download);
  const wav = Buffer.from(await whole.arrayBuffer());
  assert.deepEqual(
    [whole.status, whole.headers.get('content-type'), whole.headers.get('content-length')],
    [200, 'audio/wav', row.bytes],
  );
  assert.ok(wav.subarray(44).equals(samples), 'every sample is the one on disk');
  assert.equal(wav.toString('latin1', 0, 4), 'RIFF');
  assert.deepEqual([wav.readUInt32LE(4), wav.readUInt32LE(40)], [wav.length - 8, samples.length]);
  const other = await get(`/api/v1/call-records/${id}/recording?disposition=inline`);
  assert.match(other.headers.get('content-disposition') ?? '', /^inline; /);
  assert.ok(Buffer.from(await other.arrayBuffer()).equals(wav), 'both routes give the same');
  // The caller's tone is on the left, near the end, and nothing of it in the clear on disk.
  const endMs = Math.floor(samples.length / 32);
  const [left, right] = [0, 1].map((side) =>
    shareOf(samples, side as 0 | 1, 440, endMs - 2000, 1500),
  );
  assert.ok((left ?? 0) > 0.9 && (right ?? 1) < 0.1, `${left} ${right}`);
  assert.equal(
    sealed.indexOf(samples.subarray(samples.length - 64_000, samples.length - 63_900)),
    -1,
  );

  for (const [range, from, to] of [
    ['bytes=0-99', 0, 100],
    ['bytes=65500-65700', 65_500, 65_701],
    ['bytes=-10', wav.length - 10, wav.length],
  ] as const) {
    const part = await get(download, { range });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes ${from}-${to - 1}/${wav.length}`);
    assert.ok(Buffer.from(await part.arrayBuffer()).equals(wav.subarray(from, to)), range);
  }
  assert.equal((await get(download, { range: `bytes=${wav.length}-` })).status, 416);
  const head = await get(download, {}, 'HEAD');
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(wav.length)]);

  await checkTranscript(server, id);
  await checkAudit(database, id, row.id);
  await checkExpiry(server, database, row, download);
});

type Transcript = {
  status: string;
  segments: {
    index: number;
    role: string;
    speaker: string;
    text: string;
    startMs: number | null;
  }[];
  fullText: string;
};
type Server = Awaited<ReturnType<typeof startTestApp>>;

async function checkTranscript(server: Server, id: string): Promise<void> {
  const { data } = await server.get<Transcript>(`/api/call-center/recordings/${id}/transcript`);
  assert.equal(data.status, 'ended');
  const [first] = data.segments;
  assert.deepEqual([first?.index, first?.role, first?.speaker], [0, 'assistant', 'ai']);
  assert.equal(first?.text, SCRIPT.greeting);
  assert.ok((first.startMs ?? -1) >= 0 && (first.startMs ?? 0) < 2000);
  assert.ok(data.fullText.startsWith(`ai: ${SCRIPT.greeting}`));
  type Page = { items: { id: string; hasRecording: boolean; recordingUrl: string | null }[] };
  const list = await server.get<Page>('/api/call-center/recordings?hasRecording=true');
  assert.deepEqual(
    list.data.items.map(({ id: each, hasRecording }) => [each, hasRecording]),
    [[id, true]],
  );
  assert.equal(list.data.items[0]?.recordingUrl, `/api/call-center/recordings/${id}/download`);
  const none = await server.get<Page>('/api/call-center/recordings?hasRecording=false');
  assert.deepEqual(none.data.items, []);
}

/** Who heard all of it left one row for the parts after it as well, and it holds no key. */
async function checkAudit(database: Database, callId: string, recordingId: string): Promise<void> {
  const rows = await database.withSystem((sql) =>
    sql.rows<{
      target_id: string;
      actor: string;
      changes: { recording_id: string; range?: string };
    }>(
      "SELECT target_id, actor, changes FROM audit_log WHERE action = 'recording.download' ORDER BY id",
    ),
  );
  assert.equal(rows.length, 1);
  for (const row of rows) {
    assert.deepEqual([row.target_id, row.changes.recording_id], [callId, recordingId]);
    assert.match(row.actor, /^key:/);
  }
}

async function checkExpiry(
  server: Server,
  database: Database,
  row: RecordingDbRow,
  download: string,
): Promise<void> {
  const place = recordingPlace(server.dataDir, null);
  const notes = join(server.dataDir, 'removals');
  const removal = createRecordingRemoval({ place, objects: null, notes, log: silentLog });
  const clock = new SimulatedClock(Date.now() + 181 * 86_400_000);
  const done = await new Retention({ database, removal, clock, log: silentLog }).run();
  assert.deepEqual([done.recordings, done.files, done.records], [1, 1, 0]);
  const gone = await fetch(server.app.httpUrl + download, { headers: HEADERS });
  const body = (await gone.json()) as { error: { code: string } };
  assert.deepEqual([gone.status, body.error.code], [410, 'RECORDING_EXPIRED']);
  const [after] = await database.withSystem((sql) =>
    sql.rows<RecordingDbRow>('SELECT * FROM recordings WHERE id = $1', [row.id]),
  );
  assert.deepEqual([after?.status, after?.key_enc], ['expired', null]);
  assert.deepEqual(readdirSync(join(server.dataDir, row.uri, '..')), []);
}

test('the key is nowhere in the clear: not in journal, events, log or audit', async (t) => {
  const lines: string[] = [];
  const note =
    (level: string) =>
    (event: string, fields: object = {}): void =>
      void lines.push(`${level} ${event} ${JSON.stringify(fields)}`);
  const log = {
    ...{ debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
    child: () => log,
  };
  const server = await startTestApp(t, {}, { log });
  const database = poolOf(t, server.databaseUrl);
  const phone = await dial(t, server.target);
  await phone.hearSpeech(0, 2000);
  await phone.hangUp();
  const row = await recordingIn(database);
  const master = readFileSync(join(server.dataDir, 'master.key'), 'utf8').trim();
  const place = { table: 'recordings', column: 'key_enc', accountId: row.user_id, rowId: row.id };
  const sealer = createSealer([Buffer.from(master, 'base64')]);
  const key = Buffer.from(sealer.open(row.key_enc ?? '', place), 'base64url');
  const forms = (['base64url', 'base64', 'hex'] as const).map((form) => key.toString(form));
  const folder = join(server.dataDir, 'journal');
  const journal = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'));
  const tables = await database.withSystem(async (sql) => [
    ...(await sql.rows('SELECT * FROM call_events')),
    ...(await sql.rows('SELECT * FROM audit_log')),
    ...(await sql.rows('SELECT * FROM call_records')),
    ...(await sql.rows('SELECT * FROM recordings')),
  ]);
  const api = await server.get(`/api/v1/call-records/${row.call_id}`);
  const text = [...journal, ...lines, JSON.stringify(tables), JSON.stringify(api)].join('\n');
  for (const form of forms) assert.ok(!text.includes(form));
  assert.ok(!text.includes(key.toString('latin1')));
  assert.ok(journal.join('').includes(row.key_enc ?? 'none'), 'sealed it is in the journal');
  assert.ok(!JSON.stringify(api).includes('cy1.'), 'and in no answer in any form');
});

test('kill -9 in a call: after the restart the recording opens up to the last seconds', async (t) => {
  const dataDir = makeDataDir(t);
  const databaseUrl = await freshDatabase(t);
  const child = await spawnServer(t, dataDir, databaseUrl);
  const phone = await placeCall({ target: child.target });
  await phone.hearSpeech(0, 4000);
  const startedMs = performance.now();
  await phone.say(tone(7000, 440));
  child.process.kill('SIGKILL');
  await once(child.process, 'exit');
  const talkedMs = performance.now() - startedMs;
  await phone.hangUp().catch((error: unknown) => assert.ok(error instanceof Error));
  const server = await startTestApp(t, {}, { dataDir, databaseUrl });
  const row = await recordingIn(poolOf(t, databaseUrl));
  assert.deepEqual([row.status, row.truncated], ['ready', true]);
  assert.ok(row.duration_ms > talkedMs - 4000, `${row.duration_ms} of ${talkedMs} ms are left`);
  assert.equal(row.duration_ms % 2048, 0, 'whole chunks');
  const answer = await fetch(`${server.app.httpUrl}/api/v1/call-records/${row.call_id}/recording`, {
    headers: HEADERS,
  });
  const wav = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.status, 200);
  assert.equal(wav.readUInt32LE(40), wav.length - 44);
  assert.equal(wav.length - 44, row.duration_ms * 32);
  const sealed = readFileSync(join(dataDir, row.uri));
  assert.ok(plainOf(dataDir, row, sealed).equals(wav.subarray(44)));
  assert.deepEqual(row.sha256, createHash('sha256').update(sealed).digest());
  assert.ok(shareOf(wav.subarray(44), 0, 440, row.duration_ms - 2000, 1500) > 0.9);
});

/** The server as a process of its own, so that it can be killed. */
async function spawnServer(
  t: TestContext,
  dataDir: string,
  databaseUrl: string,
): Promise<{ process: ChildProcess; target: string }> {
  const script = join(dataDir, 'sim.json');
  writeFileSync(script, JSON.stringify(SCRIPT));
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      ...{ CALLYARD_HTTP_PORT: '0', CALLYARD_SIP_HOST: '127.0.0.1', CALLYARD_SIP_PORT: '0' },
      ...{ CALLYARD_DATA_DIR: dataDir, CALLYARD_ADMIN_KEY: ADMIN_KEY, CALLYARD_LANGUAGE: 'en' },
      ...{ CALLYARD_STT_VENDOR: 'sim', CALLYARD_LLM_VENDOR: 'sim', CALLYARD_TTS_VENDOR: 'sim' },
      ...{ CALLYARD_SIM_SCRIPT: script, DATABASE_URL: databaseUrl, CALLYARD_LOG_LEVEL: 'error' },
    },
  });
  atEnd(t, () => void child.kill('SIGKILL'));
  let banner = '';
  for await (const text of child.stdout.setEncoding('utf8')) {
    banner += String(text);
    const port = /sip:hello@[\d.]+:(\d+)/.exec(banner)?.[1];
    if (port !== undefined) return { process: child, target: `sip:8001@127.0.0.1:${port}` };
  }
  throw new Error(`the server did not start: ${banner}`);
}

test(
  'with a bucket set, the recording of a call moves there and is heard from there',
  { skip: NO_S3_CLIENT },
  async (t) => {
    const s3 = await startFakeS3(t);
    const endpoint = encodeURIComponent(s3.endpoint);
    const env = {
      CALLYARD_RECORDINGS_URL: `s3://calls?endpoint=${endpoint}&path_style=true`,
      CALLYARD_S3_ACCESS_KEY_ID: S3_KEY_ID,
      CALLYARD_S3_SECRET_ACCESS_KEY: S3_SECRET,
    };
    const server = await startTestApp(t, env, { log: silentLog });
    s3.faults.push(503);
    const phone = await dial(t, server.target);
    await phone.hearSpeech(0, 2000);
    await phone.hangUp();
    const database = poolOf(t, server.databaseUrl);
    const before = await recordingIn(database);
    const url = `${server.app.httpUrl}/api/v1/call-records/${before.call_id}/recording`;
    const local = Buffer.from(await (await fetch(url, { headers: HEADERS })).arrayBuffer());
    // Uploads look every ten seconds, and wait a little after a failure.
    await until(async () => (await recordingIn(database)).uri.startsWith('s3:'), 'the upload');
    const moved = await recordingIn(database);
    assert.match(moved.uri, new RegExp(`^s3://calls/\\d{4}/\\d{2}/\\d{2}/${before.id}\\.cyr$`));
    assert.deepEqual([...s3.objects.keys()], [moved.uri.slice('s3://'.length)]);
    const answer = await fetch(url, { headers: HEADERS });
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), local);
    assert.deepEqual(s3.unsigned, []);
  },
);

test('what is refused: bad queries, strangers, roles that may not hear', async (t) => {
  const server = await startTestApp(t, { CALLYARD_RECORDING: 'off' });
  const phone = await dial(t, server.target);
  await phone.hearSpeech(0, 2000);
  await phone.hangUp();
  type Page = { items: { id: string; status: string }[]; pagination: { total: number } };
  const list = await eventually(
    () => server.get<Page>('/api/call-center/recordings'),
    ({ data }) => data.items[0]?.status === 'ended',
  );
  const id = list.data.items[0]?.id ?? '';
  const base = '/api/call-center/recordings';
  const rows: readonly [path: string, status: number, code: string | null, count?: number][] = [
    [`${base}/${id}/download`, 404, 'NO_RECORDING'],
    [`${base}/${newId()}/download`, 404, 'NOT_FOUND'],
    [`${base}/${newId()}/transcript`, 404, 'NOT_FOUND'],
    [`${base}/x/transcript`, 400, 'VALIDATION_FAILED'],
    [`${base}/x/download`, 400, 'VALIDATION_FAILED'],
    [`${base}/${id}/download?disposition=sideways`, 400, 'VALIDATION_FAILED'],
    [`${base}?page=0`, 400, 'VALIDATION_FAILED'],
    [`${base}?pageSize=101`, 400, 'VALIDATION_FAILED'],
    [`${base}?page=600&pageSize=100`, 400, 'VALIDATION_FAILED'],
    [`${base}?cursor=forged`, 400, 'VALIDATION_FAILED'],
    [`${base}?phoneNumber=abc`, 400, 'VALIDATION_FAILED'],
    [`${base}?hasRecording=maybe`, 400, 'VALIDATION_FAILED'],
    [`${base}?dateRange=2026-01-01`, 400, 'VALIDATION_FAILED'],
    [`${base}?dateRange=2026-02-30,2026-03-01`, 400, 'VALIDATION_FAILED'],
    [`${base}?dateRange=2026-03-02,2026-03-01`, 400, 'VALIDATION_FAILED'],
    [`${base}?dateRange=2026-03-01,2026-03-02,2026-03-03`, 400, 'VALIDATION_FAILED'],
    [`${base}?dateRange=a&dateRange=b`, 400, 'VALIDATION_FAILED'],
    [
      `${base}?dateRange=2026-03-01&dateRange=2026-03-02&dateRange=2026-03-03`,
      400,
      'VALIDATION_FAILED',
    ],
    [`${base}?dateRange=2020-01-01,2020-01-31`, 200, null, 0],
    [`${base}?dateRange=2020-01-01&dateRange=2099-01-01`, 200, null, 1],
    [`${base}?dateRange=2020-01-01,`, 200, null, 1],
    [`${base}?dateRange=,2020-01-01`, 200, null, 0],
    [`${base}?phoneNumber=999999`, 200, null, 0],
    [`${base}?hasRecording=false&unknown=ignored`, 200, null, 1],
    [`${base}?hasRecording=true`, 200, null, 0],
  ];
  for (const [path, status, code, count] of rows) {
    const answer = await server.get<Page & { error?: { code: string } }>(path);
    assert.equal(answer.status, status, path);
    assert.equal(answer.data.error?.code ?? null, code, path);
    if (count !== undefined) assert.equal(answer.data.items.length, count, path);
  }
});
