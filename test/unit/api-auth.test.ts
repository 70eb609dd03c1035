/** Who gets in: keys, roles, accounts, addresses, rates, idempotency. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { countingKey, isAllowed } from '#api/addresses.ts';
import { can } from '#api/auth.ts';
import { IdempotencyStore } from '#api/idempotency.ts';
import type { StoredKey } from '#api/ports.ts';
import { RateLimiter } from '#api/rate-limit.ts';
import type { ApiServer } from '#api/routing.ts';
import type { Role } from '#lib/actor.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import {
  ACCOUNT,
  LIVE,
  makeApi,
  makeFakes,
  OTHER_ACCOUNT,
  RECORD,
  type Fakes,
} from './_api-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
const clock = new SimulatedClock();

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes, { clock });
});
after(() => app.close());

async function status(url: string, headers: Record<string, string>) {
  const answer = await app.inject({ url, headers });
  return [answer.statusCode, answer.json().error?.code ?? null] as const;
}

test('tokens: missing, wrong, revoked, expired, from elsewhere, for another account', async () => {
  const nowMs = clock.wallMs();
  const good = fakes.addKey();
  const forged = `${good.slice(0, -4)}AAAA`;
  const rows: [string, Record<string, string>, number, string | null][] = [
    ['none', {}, 401, 'UNAUTHENTICATED'],
    ['other scheme', { authorization: `Basic ${good}` }, 401, 'UNAUTHENTICATED'],
    ['no scheme', { authorization: good }, 401, 'UNAUTHENTICATED'],
    [
      'unknown prefix',
      { authorization: `Bearer cy_zzzzzzzz${good.slice(11)}` },
      401,
      'UNAUTHENTICATED',
    ],
    ['known prefix, other key', { authorization: `Bearer ${forged}` }, 401, 'UNAUTHENTICATED'],
    ['too long', { authorization: `Bearer ${good}A` }, 401, 'UNAUTHENTICATED'],
    ['a JWT', { authorization: 'Bearer e30.e30.AAAA' }, 401, 'UNAUTHENTICATED'],
    ['good', { authorization: `Bearer ${good}` }, 200, null],
    ['scheme in lower case', { authorization: `bearer ${good}` }, 200, null],
    [
      'revoked',
      { authorization: `Bearer ${fakes.addKey({ revokedAtMs: nowMs - 1 })}` },
      401,
      'KEY_REVOKED',
    ],
    [
      'to be revoked later (overlap)',
      { authorization: `Bearer ${fakes.addKey({ revokedAtMs: nowMs + 1000 })}` },
      200,
      null,
    ],
    [
      'expired',
      { authorization: `Bearer ${fakes.addKey({ expiresAtMs: nowMs })}` },
      401,
      'TOKEN_EXPIRED',
    ],
    [
      'address not allowed',
      { authorization: `Bearer ${fakes.addKey({ ipAllow: ['192.0.2.0/24'] })}` },
      403,
      'IP_NOT_ALLOWED',
    ],
    [
      'address allowed',
      { authorization: `Bearer ${fakes.addKey({ ipAllow: ['127.0.0.0/8', '::1'] })}` },
      200,
      null,
    ],
    ['own account', { authorization: `Bearer ${good}`, 'x-account-id': ACCOUNT }, 200, null],
    [
      'other account',
      { authorization: `Bearer ${good}`, 'x-account-id': OTHER_ACCOUNT },
      403,
      'ACCOUNT_FORBIDDEN',
    ],
    [
      'account that is no id',
      { authorization: `Bearer ${good}`, 'x-account-id': 'mine' },
      400,
      'VALIDATION_FAILED',
    ],
  ];
  for (const [name, headers, code, problem] of rows) {
    assert.deepEqual(await status('/api/v1/call-records', headers), [code, problem], name);
  }
  const answer = await app.inject('/api/v1/call-records');
  assert.equal(answer.headers['www-authenticate'], 'Bearer');
});

test('a revocation works within 5 s, a burst of requests asks the store once', async () => {
  const prefixes: string[] = [];
  const own = makeFakes();
  const time = new SimulatedClock();
  const { identity } = own.ports;
  const findKey = async (prefix: string) => {
    prefixes.push(prefix);
    return identity.keys.findKey(prefix);
  };
  const ports = { ...own.ports, identity: { ...identity, keys: { findKey } } };
  const server = await makeApi({ ...own, ports }, { clock: time });
  const key = own.addKey();
  const headers = { authorization: `Bearer ${key}` };
  for (let count = 0; count < 5; count++)
    await server.inject({ url: `/api/call/${LIVE}`, headers });
  assert.equal(prefixes.length, 1);
  const prefix = key.slice(3, 11);
  own.keys.set(prefix, { ...(own.keys.get(prefix) as StoredKey), revokedAtMs: time.wallMs() });
  time.advance(4_999);
  const answer = await server.inject({ url: `/api/call/${LIVE}`, headers });
  assert.equal(answer.json().error.code, 'KEY_REVOKED');
  await server.close();
});

test('without the store nobody new gets in: 503', async () => {
  const own = makeFakes();
  const findKey = async (): Promise<never> => {
    throw new AppError('E_DATABASE_UNREACHABLE', 'away');
  };
  const ports = { ...own.ports, identity: { ...own.ports.identity, keys: { findKey } } };
  const server = await makeApi({ ...own, ports });
  const headers = { authorization: `Bearer ${own.addKey()}` };
  const answer = await server.inject({ url: `/api/call/${LIVE}`, headers });
  assert.deepEqual([answer.statusCode, answer.json().error.code], [503, 'UNAVAILABLE']);
  await server.close();
});

test('roles have the capabilities of contract 1.3', () => {
  const table: Record<Role, string> = {
    owner: 'any ops sup dev adm own',
    admin: 'any ops sup dev adm',
    developer: 'any ops dev',
    supervisor: 'any ops sup',
    viewer: 'any',
  };
  for (const [role, capabilities] of Object.entries(table)) {
    const granted = (['any', 'ops', 'sup', 'dev', 'adm', 'own'] as const).filter((each) =>
      can(role as Role, each),
    );
    assert.equal(granted.join(' '), capabilities, role);
  }
});

test('each route is open to exactly the roles that have its capability', async () => {
  const routes = [
    ['GET', '/api/v1/call-records', 'admin developer supervisor viewer'],
    ['GET', `/api/v1/call-records/${RECORD}`, 'admin developer supervisor viewer'],
    ['GET', `/api/v1/call-records/${RECORD}/recording`, 'admin supervisor'],
    ['POST', '/api/call/initiate', 'admin developer supervisor'],
    ['GET', `/api/call/${LIVE}`, 'admin developer supervisor viewer'],
    ['GET', `/api/call/${LIVE}/conversation`, 'admin developer supervisor viewer'],
    ['POST', `/api/call/${RECORD}/terminate`, 'admin developer supervisor'],
  ] as const;
  for (const [method, url, expected] of routes) {
    const open: string[] = [];
    for (const role of ['admin', 'developer', 'supervisor', 'viewer'] as const) {
      const headers = { authorization: `Bearer ${fakes.addKey({ role })}` };
      const payload = method === 'POST' ? { payload: { phone_number: '1001' } } : {};
      const answer = await app.inject({ method, url, headers, ...payload });
      if (answer.statusCode < 300) open.push(role);
      else assert.equal(answer.json().error.code, 'FORBIDDEN', `${method} ${url} ${role}`);
    }
    assert.equal(open.join(' '), expected, `${method} ${url}`);
  }
});

test('networks', () => {
  const rows: [string, string[], boolean][] = [
    ['192.0.2.7', ['192.0.2.0/24'], true],
    ['192.0.3.7', ['192.0.2.0/24'], false],
    ['::ffff:192.0.2.7', ['192.0.2.0/24'], true],
    ['192.0.2.7', ['192.0.2.7'], true],
    ['192.0.2.7', ['0.0.0.0/0'], true],
    ['2001:db8::1', ['2001:db8::/32'], true],
    ['2001:db9::1', ['2001:db8::/32'], false],
    ['192.0.2.7', ['nonsense', '192.0.2.0/99', '192.0.2.0/x'], false],
    ['', ['0.0.0.0/0'], false],
  ];
  for (const [address, networks, expected] of rows) {
    assert.equal(isAllowed(address, networks), expected, `${address} ${networks.join()}`);
  }
  assert.equal(countingKey('::ffff:192.0.2.7'), '192.0.2.7');
  assert.equal(countingKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(countingKey('2001:db8::9'), '2001:db8:0:0::/64');
});

test('token bucket: burst, refill, headers, a bounded table', () => {
  const time = new SimulatedClock();
  const limiter = new RateLimiter({ ratePerS: 10, burst: 3 }, time, 2);
  assert.deepEqual(limiter.take('a'), {
    allowed: true,
    limit: 3,
    remaining: 2,
    resetS: 1,
    retryAfterS: 1,
  });
  limiter.take('a');
  assert.equal(limiter.take('a').allowed, true);
  assert.equal(limiter.take('a').allowed, false);
  assert.equal(limiter.peek('a').remaining, 0);
  time.advance(100);
  assert.equal(limiter.take('a').allowed, true);
  assert.equal(limiter.take('a').allowed, false);
  time.advance(60_000);
  assert.equal(limiter.peek('a').remaining, 3, 'never above the burst');
  limiter.take('b');
  limiter.take('c');
  assert.deepEqual([limiter.size, limiter.evicted], [2, 1]);
});

test('rates per key over HTTP: RateLimit headers, then 429 with Retry-After', async () => {
  const own = makeFakes();
  const time = new SimulatedClock();
  const server = await makeApi(own, {
    clock: time,
    limits: { requestRate: { ratePerS: 50, burst: 4 }, callRate: { ratePerS: 1, burst: 1 } },
  });
  const headers = { authorization: `Bearer ${own.addKey()}` };
  const place = async () =>
    server.inject({
      method: 'POST',
      url: '/api/call/initiate',
      headers,
      payload: { phone_number: '1001' },
    });
  const first = await place();
  assert.equal(first.statusCode, 201);
  assert.equal(first.headers['ratelimit-limit'], '1', 'the bucket for calls is the tighter one');
  const second = await place();
  assert.deepEqual([second.statusCode, second.json().error.code], [429, 'RATE_LIMITED']);
  assert.equal(second.headers['retry-after'], '1');
  assert.equal(second.headers['ratelimit-remaining'], '0');
  for (const [remaining, code] of [
    ['1', 200],
    ['0', 200],
    ['0', 429],
  ] as const) {
    const answer = await server.inject({ url: `/api/call/${LIVE}`, headers });
    assert.equal(answer.statusCode, code);
    assert.equal(answer.headers['ratelimit-limit'], '4');
    assert.equal(answer.headers['ratelimit-remaining'], remaining);
  }
  const other = { authorization: `Bearer ${own.addKey()}` };
  assert.equal((await server.inject({ url: `/api/call/${LIVE}`, headers: other })).statusCode, 200);
  for (let count = 0; count < 4; count++) await server.inject('/api/v1/call-records');
  const stranger = await server.inject('/api/v1/call-records');
  assert.equal(stranger.statusCode, 429, 'who keeps failing to authenticate is slowed down');
  assert.equal((await server.inject('/health')).headers['ratelimit-limit'], undefined);
  await server.close();
});

test('Idempotency-Key: replayed, mismatched, still running, not kept', async () => {
  const key = fakes.addKey();
  const place = async (idempotencyKey: string, body: object, token = key) =>
    app.inject({
      method: 'POST',
      url: '/api/call/initiate',
      headers: { authorization: `Bearer ${token}`, 'idempotency-key': idempotencyKey },
      payload: body,
    });
  const body = { phone_number: '1001' };
  const first = await place('k1', body);
  const placed = fakes.placed.length;
  const again = await place('k1', body);
  assert.equal(again.statusCode, 201);
  assert.equal(again.body, first.body);
  assert.equal(again.headers['idempotency-replayed'], 'true');
  assert.equal(first.headers['idempotency-replayed'], undefined);
  assert.equal(fakes.placed.length, placed, 'no second call');
  const other = await place('k1', { phone_number: '1002' });
  assert.deepEqual([other.statusCode, other.json().error.code], [422, 'IDEMPOTENCY_MISMATCH']);
  const stranger = await place('k1', body, fakes.addKey({ accountId: OTHER_ACCOUNT }));
  assert.equal(stranger.headers['idempotency-replayed'], undefined, 'keys belong to an account');
  for (const bad of ['', 'a b', 'ü', 'a'.repeat(256)]) {
    const answer = await place(bad, body);
    assert.equal(answer.json().error?.details[0].path, 'Idempotency-Key', bad);
  }

  const { promise, resolve } = Promise.withResolvers<void>();
  fakes.placeResult = async () => {
    await promise;
    return { ok: false, refusal: { code: 'NO_ROUTE', retryAfterS: null } };
  };
  const running = place('k2', body);
  while (fakes.placed.length === placed + 1) await new Promise(setImmediate);
  const meanwhile = await place('k2', body);
  assert.deepEqual(
    [meanwhile.statusCode, meanwhile.json().error.code, meanwhile.headers['retry-after']],
    [409, 'IDEMPOTENCY_IN_PROGRESS', '1'],
  );
  resolve();
  assert.equal((await running).statusCode, 422);
  assert.equal(
    (await place('k2', body)).headers['idempotency-replayed'],
    'true',
    'below 500: kept',
  );
  for (const code of ['OVERLOADED', 'CONCURRENCY_LIMIT'] as const) {
    fakes.placeResult = async () => ({ ok: false, refusal: { code, retryAfterS: null } });
    await place(`k3-${code}`, body);
    fakes.placeResult = null;
    assert.equal((await place(`k3-${code}`, body)).statusCode, 201, `${code} is not kept`);
  }
  clock.advance(24 * 3600 * 1000 + 1);
  assert.equal((await place('k1', body)).headers['idempotency-replayed'], undefined, '24 h');
});

test('Idempotency-Key: the same key for another call is a mismatch', async () => {
  const headers = {
    authorization: `Bearer ${fakes.addKey()}`,
    'idempotency-key': 'terminate-1',
  };
  const end = async (id: string) =>
    app.inject({ method: 'POST', url: `/api/call/${id}/terminate`, headers });
  assert.equal((await end(RECORD)).statusCode, 200);
  assert.equal((await end(LIVE)).json().error.code, 'IDEMPOTENCY_MISMATCH');
});

test('the table of stored answers is bounded and never forgets a running request', () => {
  const store = new IdempotencyStore(new SimulatedClock(), 2);
  const begin = (key: string) => store.begin({ accountId: ACCOUNT, route: 'POST /x', key }, '');
  const running = begin('running');
  const done = begin('done');
  if ('claim' in done) done.claim.store({ status: 200, body: '{}' });
  begin('third');
  assert.deepEqual([store.size, store.evicted], [2, 1]);
  assert.throws(() => begin('running'), /still running/);
  if ('claim' in running) running.claim.release();
  assert.ok('claim' in begin('running'));
});
