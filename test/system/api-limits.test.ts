/** The facade on real sockets: slow, oversized and broken clients, downloads, overload, closing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { createApi, listenApi } from '#api/server.ts';
import type { ApiServer } from '#api/routing.ts';
import type { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { LIVE, makeFakes, RECORD, type Fakes } from '../unit/_api-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
let origin: string;
let port: number;
let authorization: string;

before(async () => {
  fakes = makeFakes();
  authorization = `Bearer ${fakes.addKey()}`;
  app = await createApi({
    ports: fakes.ports,
    log: silentLog,
    version: '0.0.0-test',
    limits: {
      headersTimeoutMs: 400,
      requestTimeoutMs: 800,
      checkIntervalMs: 100,
      maxInFlight: 2,
      requestRate: { ratePerS: 1000, burst: 10_000 },
    },
  });
  origin = await listenApi(app, '127.0.0.1', 0);
  port = (app.server.address() as AddressInfo).port;
});
after(() => app.close());

/** What the server sends on a socket of its own until it closes it. */
async function exchange(text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // The server may reset the connection behind its answer; what counts is what has arrived.
  socket.on('error', () => socket.destroy());
  socket.write(text);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

function codeIn(response: string): string {
  const [head = '', body = ''] = response.split('\r\n\r\n');
  const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1];
  assert.match(head, /cache-control: no-store/i);
  assert.match(head, /x-content-type-options: nosniff/i);
  assert.match(head, /x-request-id: /i);
  const failure = JSON.parse(body) as { success: boolean; error: { code: string } };
  assert.equal(failure.success, false);
  return `${status} ${failure.error.code}`;
}

const HEAD = 'Host: localhost\r\nConnection: close\r\n';

test('broken, oversized and slow requests are answered in the envelope, then closed', async () => {
  const post = `POST /api/call/initiate HTTP/1.1\r\n${HEAD}Authorization: ${authorization}\r\n`;
  const rows: [string, string, string][] = [
    ['nothing sent', '', '408 REQUEST_TIMEOUT'],
    ['slow headers', 'GET /health HTTP/1.1\r\nHost: a\r\nX-', '408 REQUEST_TIMEOUT'],
    [
      'slow body',
      `${post}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{`,
      '408 REQUEST_TIMEOUT',
    ],
    ['no HTTP', 'HELLO\r\n\r\n', '400 VALIDATION_FAILED'],
    ['no Host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', '400 VALIDATION_FAILED'],
    [
      'two lengths',
      `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      '400 VALIDATION_FAILED',
    ],
    [
      'header line of 30 KiB',
      `GET /health HTTP/1.1\r\n${HEAD}X: ${'a'.repeat(30_000)}\r\n\r\n`,
      '413 PAYLOAD_TOO_LARGE',
    ],
    [
      'headers above 16 KiB',
      `GET /health HTTP/1.1\r\n${HEAD}X: ${'a'.repeat(17_000)}\r\n\r\n`,
      '413 PAYLOAD_TOO_LARGE',
    ],
    [
      'many headers',
      `GET /health HTTP/1.1\r\n${HEAD}${'a:b\r\n'.repeat(10_000)}\r\n`,
      '413 PAYLOAD_TOO_LARGE',
    ],
    [
      'URL above 8 KiB',
      `GET /health?${'a'.repeat(8200)} HTTP/1.1\r\n${HEAD}\r\n`,
      '413 PAYLOAD_TOO_LARGE',
    ],
  ];
  const answers = await Promise.all(rows.map(async ([, text]) => exchange(text)));
  for (const [index, [name, , expected]] of rows.entries()) {
    assert.equal(codeIn(answers[index] ?? ''), expected, name);
  }
  const allowed = await exchange(
    `GET /health?${'a'.repeat(7_000)} HTTP/1.1\r\n${HEAD}X: ${'a'.repeat(15_000)}\r\n\r\n`,
  );
  assert.match(allowed, /^HTTP\/1\.1 200 /, 'a long URL and long headers within their limits');
});

test('100 clients that drip their headers are closed, and others are served meanwhile', async () => {
  const slow = Array.from({ length: 100 }, async () => exchange('GET / HTTP/1.1\r\nHost: a\r\nX'));
  for (let count = 0; count < 20; count++) {
    assert.equal((await fetch(`${origin}/health`)).status, 200);
  }
  for (const answer of await Promise.all(slow)) assert.equal(codeIn(answer), '408 REQUEST_TIMEOUT');
});

test('a body of 10 MB and one of 100,000 levels', async () => {
  const headers = { authorization, 'content-type': 'application/json' };
  const url = `${origin}/api/call/initiate`;
  const large = Buffer.alloc(10 * 1024 * 1024, 0x20);
  const chunked = { body: new Blob([large]).stream(), duplex: 'half' } as const;
  for (const body of [{ body: large }, chunked]) {
    const answer = await fetch(url, { method: 'POST', headers, ...body });
    assert.equal(answer.status, 413);
    assert.match(await answer.text(), /PAYLOAD_TOO_LARGE/);
  }
  const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const answer = await fetch(url, { method: 'POST', headers, body: deep });
  assert.equal(answer.status, 400);
  assert.match(await answer.text(), /INVALID_JSON/);
});

test('requests beyond the limit of those in work are OVERLOADED, health is not', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  fakes.placeResult = async () => {
    await promise;
    return { ok: false, refusal: { code: 'NO_ROUTE', retryAfterS: null } };
  };
  const placed = fakes.placed.length;
  const place = async (more: RequestInit = {}, headers: Record<string, string> = {}) =>
    fetch(`${origin}/api/call/initiate`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json', ...headers },
      body: '{"phone_number":"1001"}',
      ...more,
    });
  const gone = new AbortController();
  const aborted = place({ signal: gone.signal }, { 'idempotency-key': 'gone' });
  const kept = place();
  while (fakes.placed.length < placed + 2) await new Promise(setImmediate);
  const refused = await place();
  assert.equal(refused.status, 503);
  assert.ok(refused.headers.get('retry-after'));
  assert.match(await refused.text(), /OVERLOADED/);
  assert.equal((await fetch(`${origin}/health`)).status, 200);

  gone.abort();
  await assert.rejects(aborted);
  // The aborted request gives its place back as soon as its socket is seen to be closed.
  let status = 503;
  while (status === 503) {
    const answer = await fetch(`${origin}/api/call/${LIVE}`, { headers: { authorization } });
    status = answer.status;
    await answer.arrayBuffer();
  }
  assert.equal(status, 200);
  resolve();
  assert.equal((await kept).status, 422);
  const again = await place({}, { 'idempotency-key': 'gone' });
  assert.equal(again.headers.get('idempotency-replayed'), 'true', 'who left may ask again');
  fakes.placeResult = null;
});

test('a download that the client leaves ends its file', async () => {
  const closed = Promise.withResolvers<void>();
  const { recordings } = fakes.ports;
  const file = {
    bytes: 1 << 30,
    read: () =>
      new Readable({
        read() {
          this.push(Buffer.alloc(65_536));
        },
        destroy(error, done) {
          closed.resolve();
          done(error);
        },
      }),
  };
  const original = { ...recordings };
  Object.assign(recordings, { open: async () => file });
  const client = new AbortController();
  const answer = await fetch(`${origin}/api/v1/call-records/${RECORD}/recording`, {
    headers: { authorization },
    signal: client.signal,
  });
  assert.equal(answer.status, 200);
  client.abort();
  await closed.promise;
  Object.assign(recordings, original);
});

test('a busy port is one clear line', async () => {
  const second = await createApi({ ports: fakes.ports, log: silentLog, version: '0.0.0-test' });
  try {
    await assert.rejects(listenApi(second, '127.0.0.1', port), (error: AppError) => {
      assert.equal(error.code, 'E_PORT_IN_USE');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port} for HTTP is in use`));
      return true;
    });
  } finally {
    await second.close();
  }
});

test('closing ends idle connections and finishes the request in work', async () => {
  const server = await createApi({ ports: fakes.ports, log: silentLog, version: '0.0.0-test' });
  const url = await listenApi(server, '127.0.0.1', 0);
  await (await fetch(`${url}/health`)).arrayBuffer();
  const { promise, resolve } = Promise.withResolvers<void>();
  const placed = fakes.placed.length;
  fakes.placeResult = async () => {
    await promise;
    return { ok: false, refusal: { code: 'DRAINING', retryAfterS: null } };
  };
  const answer = fetch(`${url}/api/call/initiate`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: '{"phone_number":"1001"}',
  });
  while (fakes.placed.length === placed) await new Promise(setImmediate);
  const closing = server.close();
  resolve();
  assert.match(await (await answer).text(), /DRAINING/);
  await closing;
  await assert.rejects(fetch(`${url}/health`));
  fakes.placeResult = null;
});
