/** The guard of outgoing URLs: what is refused, what is pinned, and that time and size have their ends. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type RequestListener } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { isNamedAddress, isPublicAddress, networkList } from '#lib/public-address.ts';
import { guardedFetch, urlFault, type GuardedRequest } from '#lib/safe-fetch.ts';

const NOT_PUBLIC = [
  ...['0.0.0.0', '0.1.2.3', '10.0.0.1', '10.255.255.255', '100.64.0.1', '100.127.255.255'],
  ...['127.0.0.1', '127.255.255.254', '169.254.0.1', '169.254.169.254', '172.16.0.1'],
  ...['172.31.255.255', '192.0.0.1', '192.0.2.7', '192.88.99.1', '192.168.0.1', '192.168.255.255'],
  ...['198.18.0.1', '198.19.255.255', '198.51.100.9', '203.0.113.9', '224.0.0.1', '239.1.2.3'],
  ...['240.0.0.1', '255.255.255.255', '::', '::1', '::2', '::127.0.0.1', '::ffff:127.0.0.1'],
  ...['::ffff:7f00:1', '::ffff:10.0.0.1', '::FFFF:169.254.169.254', '64:ff9b::7f00:1'],
  ...['64:ff9b::10.0.0.1', '64:ff9b:1::8.8.8.8', '100::1', 'fc00::1', 'fd12:3456:789a::1'],
  ...['fe80::1', 'fe80::1%eth0', 'febf::1', 'fec0::1', 'ff02::1', 'ff0e::1', '2001::1'],
  ...['2001:2::1', '2001:10::1', '2001:20::1', '2001:db8::1', '2002:7f00:1::', '2002:808:808::1'],
  ...['3fff::1', '5f00::1', '4000::1', 'not an address', '', '1.2.3', '1.2.3.4.5', '127.1'],
];

const PUBLIC = [
  ...['1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.1', '100.63.255.255', '100.128.0.1'],
  ...['126.255.255.255', '128.0.0.1', '169.253.255.255', '172.15.255.255', '172.32.0.1'],
  ...['191.255.255.255', '192.0.1.1', '192.167.255.255', '192.169.0.1', '198.17.255.255'],
  ...['198.20.0.1', '223.255.255.255', '2606:4700:4700::1111', '2a00:1450:4001:80b::200e'],
  ...['2001:4860:4860::8888', '2400:3200::1', '::ffff:8.8.8.8', '64:ff9b::8.8.8.8', '3ffe::1'],
];

test('addresses: every special-purpose range is told apart from the public internet', () => {
  for (const address of NOT_PUBLIC) assert.equal(isPublicAddress(address), false, address);
  for (const address of PUBLIC) assert.equal(isPublicAddress(address), true, address);
});

test('addresses: networks that are named, also behind their IPv6 wrappings', () => {
  const named = networkList([
    '10.1.0.0/16',
    'fd00:1::/32',
    '127.0.0.1',
    '::1',
    'nonsense',
    '1.2.3.4/99',
  ]);
  const rows: [string, boolean][] = [
    ...([
      ['10.1.2.3', true],
      ['10.2.0.1', false],
      ['127.0.0.1', true],
      ['127.0.0.2', false],
    ] as const),
    ...([
      ['::1', true],
      ['::2', false],
      ['fd00:1::9', true],
      ['fd00:2::9', false],
    ] as const),
    ...([
      ['::ffff:10.1.2.3', true],
      ['::ffff:10.2.2.3', false],
      ['64:ff9b::a01:203', true],
    ] as const),
    ...([
      ['1.2.3.4', false],
      ['', false],
      ['10.1.2', false],
    ] as const),
  ].map(([address, expected]) => [address, expected]);
  for (const [address, expected] of rows)
    assert.equal(isNamedAddress(address, named), expected, address);
});

const NOTHING = { allowPrivate: [] };
const LOOPBACK = { allowPrivate: ['127.0.0.0/8', '::1'] };

test('URLs at save: what can be told without DNS', () => {
  const rows: [string, Parameters<typeof urlFault>[1], ReturnType<typeof urlFault>][] = [
    ['https://hooks.example.net/a?b=c', NOTHING, null],
    ['https://hooks.example.net:8443/', NOTHING, null],
    ['https://8.8.8.8/', NOTHING, null],
    ['https://[2606:4700:4700::1111]/', NOTHING, null],
    ['http://hooks.example.net/', NOTHING, 'https'],
    ['http://8.8.8.8/', NOTHING, 'https'],
    ['http://8.8.8.8/', { allowPrivate: [], allowHttp: true }, null],
    ['http://hooks.example.net/', { allowPrivate: [], allowHttp: true }, null],
    ['http://hooks.example.net/', LOOPBACK, null],
    ['http://8.8.8.8/', LOOPBACK, 'https'],
    ['ftp://hooks.example.net/', NOTHING, 'url'],
    ['file:///etc/passwd', NOTHING, 'url'],
    ['javascript:alert(1)', NOTHING, 'url'],
    ['gopher://127.0.0.1:25/', NOTHING, 'url'],
    ['//hooks.example.net/', NOTHING, 'url'],
    ['hooks.example.net', NOTHING, 'url'],
    ['', NOTHING, 'url'],
    ['https://', NOTHING, 'url'],
    ['https://user@hooks.example.net/', NOTHING, 'url'],
    ['https://user:secret@hooks.example.net/', NOTHING, 'url'],
    ['https://hooks.example.net@127.0.0.1/', NOTHING, 'url'],
    ['https://256.256.256.256/', NOTHING, 'url'],
    ...[
      ...['https://127.0.0.1/', 'https://127.0.0.1./', 'https://127.1/', 'https://2130706433/'],
      ...['https://0x7f000001/', 'https://0x7f.0.0.1/', 'https://0177.0.0.1/', 'https://0/'],
      ...['https://017700000001/', 'https://１２７.0.0.1/', 'https://127%2e0%2e0%2e1/'],
      ...['https://localhost/', 'https://LOCALHOST:9/', 'https://localhost./'],
      ...['https://api.localhost/', 'https://[::1]/', 'https://[::]/', 'https://[::ffff:7f00:1]/'],
      ...['https://[::ffff:127.0.0.1]/', 'https://[64:ff9b::7f00:1]/', 'https://[fe80::1]/'],
      ...['https://[fd00::1]/', 'https://[2002:7f00:1::]/', 'https://169.254.169.254/latest'],
      ...['https://10.0.0.1/', 'https://192.168.1.1/', 'https://100.64.1.1/', 'https://0.0.0.0/'],
      ...['https://224.0.0.1/', 'https://[ff02::1]/', 'https://255.255.255.255/'],
    ].map((url): [string, typeof NOTHING, 'public_host'] => [url, NOTHING, 'public_host']),
    ['https://127.0.0.1/', LOOPBACK, null],
    ['http://127.0.0.1:9/', LOOPBACK, null],
    ['http://localhost:9/', LOOPBACK, null],
    ['http://[::1]:9/', LOOPBACK, null],
    ['http://[::ffff:127.0.0.1]:9/', LOOPBACK, null],
    ['http://10.0.0.1/', LOOPBACK, 'public_host'],
  ];
  for (const [url, reach, expected] of rows) {
    assert.equal(urlFault(url, reach), expected, url);
  }
});

const LIMITS = { timeoutMs: 5_000, maxBytes: 1_000 };

async function failure(url: string, options: Partial<GuardedRequest>): Promise<AppError> {
  const work = guardedFetch(url, { ...NOTHING, ...LIMITS, ...options });
  const error = await work.then(
    () => assert.fail(`${url} was fetched`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof AppError, String(error));
  return error;
}

async function withServer(
  listener: RequestListener,
  work: (port: number) => Promise<void>,
): Promise<void> {
  const server = createServer(listener);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  try {
    await work((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    await closed.promise;
  }
}

test('connections: a name that leads inside is refused, whatever else it leads to', async () => {
  const rows = [
    ['127.0.0.1'],
    ['8.8.8.8', '10.0.0.1'],
    ['2606:4700:4700::1111', '::1'],
    ['::ffff:192.168.0.1'],
    ['169.254.169.254'],
  ];
  for (const addresses of rows) {
    const resolve = async () =>
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    const error = await failure('https://hooks.example.net/', { resolve });
    assert.equal(error.code, 'E_URL_NOT_ALLOWED', addresses.join());
    assert.deepEqual(error.details, { rule: 'public_host' });
  }
  const outside = async () => [{ address: '8.8.8.8', family: 4 }];
  const plain = await failure('http://hooks.example.net/', { ...LOOPBACK, resolve: outside });
  assert.deepEqual(plain.details, { rule: 'https' });
  const nothing = await failure('https://hooks.example.net/', { resolve: async () => [] });
  assert.deepEqual([nothing.code, nothing.details['reason']], ['E_UNREACHABLE', 'ENOTFOUND']);
});

test('connections: the checked address is the one that is used, and the name stays the Host', async () => {
  const hosts: (string | undefined)[] = [];
  await withServer(
    (request, response) => {
      hosts.push(request.headers.host);
      response.end('here');
    },
    async (port) => {
      let asked = 0;
      const resolve = async () => {
        asked++;
        return [{ address: asked === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }];
      };
      const answer = await guardedFetch(`http://inside.example.net:${port}/x`, {
        ...LOOPBACK,
        ...LIMITS,
        resolve,
      });
      assert.deepEqual([answer.status, answer.body.toString(), asked], [200, 'here', 1]);
      assert.deepEqual(hosts, [`inside.example.net:${port}`]);
    },
  );
});

test('answers: method, headers and body go out; every status comes back; redirects are not followed', async () => {
  const seen: unknown[] = [];
  await withServer(
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method, url, headers } = request;
        seen.push([method, url, headers['x-test'], Buffer.concat(chunks).toString()]);
        const status = Number(url?.slice(1, 4));
        response.writeHead(status, status === 302 ? { location: '/200' } : {}).end('answer');
      });
    },
    async (port) => {
      for (const status of [200, 204, 302, 404, 410, 500]) {
        const answer = await guardedFetch(`http://127.0.0.1:${port}/${status}`, {
          ...{ ...LOOPBACK, ...LIMITS, method: 'POST', body: '你好', headers: { 'x-test': 'a' } },
        });
        assert.equal(answer.status, status);
        assert.ok(Number.isInteger(answer.durationMs) && answer.durationMs >= 0);
        assert.deepEqual(seen.pop(), ['POST', `/${status}`, 'a', '你好']);
      }
      assert.deepEqual(seen, []);
    },
  );
});

test('answers: a body over its limit is refused or cut, and the connection ends', async () => {
  let isClosed = Promise.withResolvers<void>();
  await withServer(
    (_request, response) => {
      response.on('close', () => isClosed.resolve());
      const more = (): void => {
        if (!response.destroyed) response.write('x'.repeat(600), () => setImmediate(more));
      };
      more();
    },
    async (port) => {
      const url = `http://127.0.0.1:${port}/`;
      const error = await failure(url, LOOPBACK);
      assert.equal(error.code, 'E_TOO_LARGE');
      await isClosed.promise;
      isClosed = Promise.withResolvers();
      const cut = await guardedFetch(url, { ...LOOPBACK, ...LIMITS, whenTooLong: 'cut' });
      assert.equal(cut.body.length, 1_000);
      await isClosed.promise;
    },
  );
});

test('deadline: one for everything, also while the answer drips or the name is looked up', async () => {
  const clock = new SimulatedClock();
  const arrived = Promise.withResolvers<void>();
  await withServer(
    (_request, response) => {
      response.write('a little');
      arrived.resolve();
    },
    async (port) => {
      const work = failure(`http://127.0.0.1:${port}/secret-path`, { ...LOOPBACK, clock });
      await arrived.promise;
      clock.advance(5_000);
      const error = await work;
      assert.equal(error.code, 'E_TIMEOUT');
      assert.doesNotMatch(error.message, /secret-path/);
    },
  );
  const { promise: never } = Promise.withResolvers<never>();
  const lookup = failure('https://hooks.example.net/', { clock, resolve: () => never });
  clock.advance(5_000);
  assert.equal((await lookup).code, 'E_TIMEOUT');
  assert.equal(clock.pending, 0);
});

test('giving up: before and during the request', async () => {
  assert.equal(
    (await failure('https://8.8.8.8/', { signal: AbortSignal.abort() })).code,
    'E_ABORTED',
  );
  const giveUp = new AbortController();
  await withServer(
    () => giveUp.abort(),
    async (port) => {
      const error = await failure(`http://127.0.0.1:${port}/`, {
        ...LOOPBACK,
        signal: giveUp.signal,
      });
      assert.equal(error.code, 'E_ABORTED');
    },
  );
});

test('failures: a closed port, a server that hangs up, one that breaks off, one without TLS', async () => {
  let port = 0;
  await withServer(
    (request, response) => {
      if (request.url === '/hang-up') request.socket.destroy();
      else if (request.url === '/no-length') request.socket.end('HTTP/1.0 200 OK\r\n\r\nall of it');
      else
        response.writeHead(200, { 'content-length': '50' }).write('part', () => response.destroy());
    },
    async (used) => {
      port = used;
      for (const path of ['hang-up', 'break-off']) {
        const error = await failure(`http://127.0.0.1:${used}/${path}`, LOOPBACK);
        assert.deepEqual(
          [error.code, error.details],
          ['E_UNREACHABLE', { reason: 'ECONNRESET' }],
          path,
        );
      }
      const whole = await guardedFetch(`http://127.0.0.1:${used}/no-length`, {
        ...LOOPBACK,
        ...LIMITS,
      });
      assert.equal(whole.body.toString(), 'all of it');
      const noTls = await failure(`https://127.0.0.1:${used}/`, LOOPBACK);
      assert.equal(noTls.code, 'E_UNREACHABLE');
      assert.match(String(noTls.details['reason']), /^E[A-Z_]+/);
    },
  );
  const refused = await failure(`http://127.0.0.1:${port}/`, LOOPBACK);
  assert.deepEqual([refused.code, refused.details], ['E_UNREACHABLE', { reason: 'ECONNREFUSED' }]);
});

test('answers: where the head is enough, a body that breaks off or never ends takes nothing away', async () => {
  const clock = new SimulatedClock();
  let then: () => void = () => undefined;
  const onHead = (): void => void setImmediate(() => then());
  subscribe('http.client.response.finish', onHead);
  await withServer(
    (request, response) => {
      then = () => (request.url === '/drip' ? clock.advance(5_000) : response.destroy());
      response.writeHead(request.url === '/refused' ? 500 : 201, { 'content-length': '50' });
      response.write('part');
    },
    async (port) => {
      for (const [path, status] of [
        ['break-off', 201],
        ['refused', 500],
        ['drip', 201],
      ] as const) {
        const options = { ...LOOPBACK, ...LIMITS, clock, isHeadEnough: true };
        const answer = await guardedFetch(`http://127.0.0.1:${port}/${path}`, options);
        assert.equal(answer.status, status, path);
      }
    },
  ).finally(() => unsubscribe('http.client.response.finish', onHead));
  assert.equal(clock.pending, 0);
});

test('connections: an address far away has time to answer before the next one is tried', async (t) => {
  const { mock } = t.mock.method(Socket.prototype, 'connect');
  await withServer(
    (_request, response) => response.end(),
    async (port) => {
      const url = `http://inside.example.net:${port}/`;
      const resolve = async () => [
        { address: '127.0.0.1', family: 4 },
        { address: '::1', family: 6 },
      ];
      await guardedFetch(url, { ...LOOPBACK, ...LIMITS, resolve });
    },
  );
  // Node's default of 250 ms is less than one way around the world and back.
  const given = mock.calls.map(
    (call) => (call.arguments as unknown as [[Record<string, unknown>]])[0][0],
  );
  assert.deepEqual(
    given.map((options) => options['autoSelectFamilyAttemptTimeout']),
    [2_500],
  );
});
