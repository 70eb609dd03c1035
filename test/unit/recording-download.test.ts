/** Hearing a recording over HTTP: ranges and conditions as RFC 9110 has them, in both formats. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeApi, makeFakes, RECORD } from './_api-fakes.ts';

type Row = readonly [
  name: string,
  method: 'GET' | 'HEAD',
  headers: Record<string, string>,
  status: number,
  /** First and last byte of the body; null: none. */
  body: readonly [from: number, to: number] | null,
];

test('ranges and conditions', async (t) => {
  const fakes = makeFakes();
  fakes.audio = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
  const app = await makeApi(fakes);
  t.after(() => app.close());
  const authorization = `Bearer ${fakes.addKey()}`;
  const url = `/api/v1/call-records/${RECORD}/recording`;
  const ask = (method: 'GET' | 'HEAD', headers: Record<string, string>) =>
    app.inject({ method, url, headers: { authorization, ...headers } });
  const etag = String((await ask('GET', {})).headers.etag);
  assert.match(etag, /^"[^"]+"$/, 'a strong one');
  const rows: Row[] = [
    ['whole', 'GET', {}, 200, [0, 255]],
    ['one byte', 'GET', { range: 'bytes=7-7' }, 206, [7, 7]],
    ['to the end', 'GET', { range: 'bytes=250-' }, 206, [250, 255]],
    ['further than the end', 'GET', { range: 'bytes=250-9999' }, 206, [250, 255]],
    ['suffix', 'GET', { range: 'bytes=-6' }, 206, [250, 255]],
    ['suffix longer than the file', 'GET', { range: 'bytes=-999' }, 206, [0, 255]],
    ['spaces', 'GET', { range: ' bytes = 1 - 2 ' }, 206, [1, 2]],
    ['unit in capitals', 'GET', { range: 'BYTES=1-2' }, 206, [1, 2]],
    ['suffix of nothing', 'GET', { range: 'bytes=-0' }, 416, null],
    ['beyond the end', 'GET', { range: 'bytes=256-' }, 416, null],
    ['beyond all numbers', 'GET', { range: `bytes=${'9'.repeat(40)}-` }, 416, null],
    ['several', 'GET', { range: 'bytes=0-1,5-6' }, 200, [0, 255]],
    ['backwards', 'GET', { range: 'bytes=5-4' }, 200, [0, 255]],
    ['another unit', 'GET', { range: 'seconds=1-2' }, 200, [0, 255]],
    ['no range at all', 'GET', { range: 'bytes=-' }, 200, [0, 255]],
    ['If-Range fits', 'GET', { range: 'bytes=0-1', 'if-range': etag }, 206, [0, 1]],
    ['If-Range of another', 'GET', { range: 'bytes=0-1', 'if-range': '"x"' }, 200, [0, 255]],
    ['If-Range, weak', 'GET', { range: 'bytes=0-1', 'if-range': `W/${etag}` }, 200, [0, 255]],
    [
      'If-Range, a date',
      'GET',
      { range: 'bytes=0-1', 'if-range': 'Sat, 21 Nov 2026 15:00:00 GMT' },
      200,
      [0, 255],
    ],
    ['known already', 'GET', { 'if-none-match': etag }, 304, null],
    ['known, one of many', 'GET', { 'if-none-match': `"a", W/${etag}` }, 304, null],
    ['known, whatever it is', 'GET', { 'if-none-match': '*' }, 304, null],
    ['known, also for a part', 'GET', { 'if-none-match': etag, range: 'bytes=999-' }, 304, null],
    ['another one is known', 'GET', { 'if-none-match': '"a"' }, 200, [0, 255]],
    ['HEAD', 'HEAD', {}, 200, null],
    ['HEAD of a part: a range is for GET', 'HEAD', { range: 'bytes=1-2' }, 200, null],
    ['HEAD beyond the end', 'HEAD', { range: 'bytes=999-' }, 200, null],
    ['HEAD, known', 'HEAD', { 'if-none-match': etag }, 304, null],
  ];
  for (const [name, method, headers, status, body] of rows) {
    fakes.heard.length = 0;
    const answer = await ask(method, headers);
    assert.equal(answer.statusCode, status, name);
    const isHeard = method === 'GET' && status < 300;
    assert.equal(fakes.heard.length, isHeard ? 1 : 0, `${name}: noted`);
    if (status === 416) assert.equal(answer.headers['content-range'], 'bytes */256', name);
    if (status >= 400) continue;
    assert.equal(answer.headers.etag, etag, name);
    if (status === 304) {
      assert.equal(answer.rawPayload.length, 0, name);
      continue;
    }
    assert.equal(answer.headers['accept-ranges'], 'bytes', name);
    assert.equal(answer.headers['content-type'], 'audio/wav', name);
    const [from, to] = body ?? [0, 255];
    assert.equal(answer.headers['content-length'], String(to - from + 1), name);
    const part = status === 206 ? `bytes ${from}-${to}/256` : undefined;
    assert.equal(answer.headers['content-range'], part, name);
    const expected: Buffer = body === null ? Buffer.alloc(0) : fakes.audio.subarray(from, to + 1);
    assert.deepEqual(answer.rawPayload, expected, name);
  }
});

test('a recording in Ogg says so, and bears the right name', async (t) => {
  const fakes = makeFakes();
  fakes.audio = Buffer.from('OggS and so on');
  fakes.audioFormat = 'ogg';
  const app = await makeApi(fakes);
  t.after(() => app.close());
  const authorization = `Bearer ${fakes.addKey()}`;
  for (const base of ['/api/v1/call-records', '/api/call-center/recordings']) {
    const route = base.endsWith('records') ? 'recording' : 'download';
    const url = `${base}/${RECORD}/${route}?disposition=inline`;
    const answer = await app.inject({ url, headers: { authorization } });
    assert.equal(answer.headers['content-type'], 'audio/ogg');
    const disposition = `inline; filename="call-${RECORD}.ogg"`;
    assert.equal(answer.headers['content-disposition'], disposition);
    assert.equal(answer.headers['content-length'], '14');
  }
});
