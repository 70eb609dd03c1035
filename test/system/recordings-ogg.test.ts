/** Recordings kept as Ogg/Opus, through the whole server: recorded, heard in parts, played into a call, alive after a kill. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { OGG_LAST, readOggPage, type FoundPage } from '#lib/ogg.ts';
import { decodeAudioFile } from '#media/mix/audio-file-decode.ts';
import { placeCall } from '#src/demo/phone.ts';
import { openPool } from '#store/pool.ts';
import { ADMIN_KEY, eventually, startTestApp } from './_app.ts';
import { atEnd } from './_store.ts';

const HEADERS = { authorization: `Bearer ${ADMIN_KEY}` };

type Row = {
  id: string;
  call_id: string;
  status: string;
  uri: string;
  format: string;
  sha256: Buffer;
  bytes: string;
  duration_ms: number;
  truncated: boolean;
};

const tone = (ms: number, hz: number): Int16Array =>
  Int16Array.from({ length: ms * 8 }, (_, at) => 8000 * Math.sin((2 * Math.PI * hz * at) / 8000));

async function recordedCall(t: TestContext) {
  const env = { CALLYARD_RECORDING_FORMAT: 'ogg' };
  const server = await startTestApp(t, env, { log: silentLog });
  const database = openPool({ url: server.databaseUrl, log: silentLog });
  atEnd(t, () => database.close());
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSpeech(0, 2000);
  await phone.say(tone(2000, 440));
  await phone.hangUp();
  const row = await eventually(
    () =>
      database.withSystem(async (sql) => {
        return (await sql.rows<Row>('SELECT * FROM recordings'))[0];
      }),
    (found) => found !== undefined && found.status !== 'active',
  );
  assert.ok(row !== undefined);
  const get = (headers: Record<string, string> = {}, method = 'GET') =>
    fetch(`${server.app.httpUrl}/api/v1/call-records/${row.call_id}/recording`, {
      ...{ method, headers: { ...HEADERS, ...headers } },
    });
  return { server, row, get };
}

function pagesOf(ogg: Buffer): FoundPage[] {
  const pages: FoundPage[] = [];
  for (let page = readOggPage(ogg, 0); page !== null; page = readOggPage(ogg, page.end)) {
    pages.push(page);
  }
  return pages;
}

const bodyOf = async (response: Response): Promise<Buffer> =>
  Buffer.from(await response.arrayBuffer());

test('a real call in Ogg: its row, its file, every part of it, many readers, and then it is gone', async (t) => {
  const { server, row, get } = await recordedCall(t);
  assert.deepEqual([row.status, row.format, row.truncated], ['ready', 'ogg', false]);
  const path = join(server.dataDir, row.uri);
  const sealed = readFileSync(path);
  assert.deepEqual(row.sha256, createHash('sha256').update(sealed).digest());
  assert.equal(sealed.indexOf('OggS'), -1, 'nothing in the clear');

  const whole = await get();
  const ogg = await bodyOf(whole);
  assert.deepEqual(
    [whole.status, whole.headers.get('content-type'), whole.headers.get('content-length')],
    [200, 'audio/ogg', row.bytes],
  );
  const pages = pagesOf(ogg);
  assert.equal(pages.at(-1)?.end, ogg.length);
  assert.equal(pages.at(-1)?.flags, OGG_LAST);
  const lastMs = ((pages.at(-1)?.granule ?? 0) - 312) / 48;
  assert.ok(Math.abs(lastMs - row.duration_ms) <= 1, `${lastMs} of ${row.duration_ms} ms`);
  const decoded = await decodeAudioFile(ogg);
  assert.ok(decoded.ok && Math.abs(decoded.pcm.length / 8 - row.duration_ms) <= 1);
  const spoken = decoded.pcm.subarray(-12_000, -4_000);
  const rms = Math.sqrt(spoken.reduce((sum, x) => sum + x * x, 0) / spoken.length);
  assert.ok(rms > 1500, `the tone is in it: ${rms}`);

  const ranges: [range: string, from: number, to: number][] = [
    ['bytes=0-3', 0, 4],
    ['bytes=100-2000', 100, 2001],
    [`bytes=${ogg.length - 1}-`, ogg.length - 1, ogg.length],
    ['bytes=-500', ogg.length - 500, ogg.length],
  ];
  const readers = Array.from(
    { length: 20 },
    (_, i) => ranges[i % ranges.length] as (typeof ranges)[0],
  );
  await Promise.all(
    readers.map(async ([range, from, to]) => {
      const part = await get({ range });
      assert.equal(part.status, 206, range);
      assert.equal(part.headers.get('content-range'), `bytes ${from}-${to - 1}/${ogg.length}`);
      assert.ok((await bodyOf(part)).equals(ogg.subarray(from, to)), range);
    }),
  );
  const head = await get({}, 'HEAD');
  assert.equal(head.headers.get('content-length'), String(ogg.length));
  const etag = whole.headers.get('etag') ?? '';
  assert.equal((await get({ 'if-none-match': etag })).status, 304);
  await unlink(path);
  const gone = await get();
  assert.deepEqual(
    [gone.status, ((await gone.json()) as { error: { code: string } }).error.code],
    [404, 'NO_RECORDING'],
  );
});
