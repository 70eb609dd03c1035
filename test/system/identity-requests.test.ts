/** What surrounds a request: Idempotency-Key over nodes and outages, guesses, proxies, web pages, traces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { systemClock } from '#lib/clock.ts';
import { listenApi } from '#api/server.ts';
import type { Log, LogFields } from '#lib/log.ts';
import { silentLog } from '#lib/log.ts';
import type { PlaceResult } from '#sessions/call-service-types.ts';
import { makeApi, RECORD } from '../unit/_api-fakes.ts';
import { ask, makeApiKey, startIdentityServer, systemRows } from './_identity.ts';
import { atEnd, newDatabase } from './_store.ts';

const INITIATE = '/api/call/initiate';
const CALL = { phone_number: '1001' };

test('Idempotency-Key holds over two nodes on one database', async (t) => {
  const databaseUrl = await newDatabase(t);
  const one = await startIdentityServer(t, { databaseUrl });
  const two = await startIdentityServer(t, { databaseUrl });
  const { key: token } = await makeApiKey(one, one.accountId);
  const place = async (origin: string, key: string, body: object = CALL, by = token) =>
    ask(origin, 'POST', INITIATE, { token: by, body, headers: { 'idempotency-key': key } });
  const replayed = (reply: { headers: Headers }) => reply.headers.get('idempotency-replayed');

  const first = await place(one.origin, 'k1');
  assert.equal(first.status, 201, first.text);
  for (const { origin } of [one, two]) {
    const again = await place(origin, 'k1');
    assert.deepEqual([again.status, again.text, replayed(again)], [201, first.text, 'true']);
  }
  assert.equal(one.fakes.placed.length + two.fakes.placed.length, 1, 'one call was placed');
  const other = await place(two.origin, 'k1', { phone_number: '1002' });
  assert.deepEqual([other.status, other.code], [422, 'IDEMPOTENCY_MISMATCH']);
  const { key: colleague } = await makeApiKey(one, one.accountId);
  assert.equal((await place(two.origin, 'k1', CALL, colleague)).code, 'IDEMPOTENCY_MISMATCH');

  const gate = Promise.withResolvers<PlaceResult>();
  const entered = Promise.withResolvers<void>();
  one.fakes.placeResult = async () => {
    entered.resolve();
    return gate.promise;
  };
  const running = place(one.origin, 'k2');
  await entered.promise;
  for (const { origin } of [one, two]) {
    const busy = await place(origin, 'k2');
    assert.deepEqual(
      [busy.code, busy.headers.get('retry-after')],
      ['IDEMPOTENCY_IN_PROGRESS', '1'],
    );
  }
  // A node that died a minute ago holds nothing any more.
  await systemRows(
    databaseUrl,
    "UPDATE idempotency_keys SET created_at = now() - interval '61 s' WHERE key = 'k2'",
  );
  assert.equal((await place(two.origin, 'k2')).status, 201);
  gate.resolve({ ok: false, refusal: { code: 'NO_ROUTE', retryAfterS: null } });
  assert.equal((await running).code, 'NO_ROUTE');
  const kept = await place(two.origin, 'k2');
  assert.deepEqual(
    [kept.status, replayed(kept)],
    [201, 'true'],
    'the late answer replaces nothing',
  );

  one.fakes.placeResult = async () => {
    throw new Error('broken');
  };
  assert.equal((await place(one.origin, 'k3')).status, 500);
  assert.equal((await place(two.origin, 'k3')).status, 201, 'above 499: not kept');
  await systemRows(
    databaseUrl,
    "UPDATE idempotency_keys SET created_at = now() - interval '24 h 1 s' WHERE key = 'k1'",
  );
  one.fakes.placeResult = null;
  assert.equal(replayed(await place(one.origin, 'k1')), null, '24 h');
});

test('an answer that shows a secret is kept sealed', async (t) => {
  const server = await startIdentityServer(t);
  const { key: token } = await makeApiKey(server, server.accountId);
  const make = async () =>
    ask(server.origin, 'POST', '/api/v1/api-keys', {
      ...{ token, body: { name: 'n', role: 'viewer' }, headers: { 'idempotency-key': 'make' } },
    });
  const made = await make();
  const secret = String(made.data['key']);
  assert.match(secret, /^cy_/);
  const again = await make();
  assert.deepEqual([again.text, again.headers.get('idempotency-replayed')], [made.text, 'true']);
  const rows = await systemRows<{ row: string }>(
    server.databaseUrl,
    'SELECT to_jsonb(k)::text AS row FROM idempotency_keys k UNION ALL SELECT to_jsonb(a)::text FROM audit_log a',
  );
  assert.equal(rows.length, 2);
  assert.ok(rows.some(({ row }) => row.includes('cy1.')));
  assert.ok(!rows.some(({ row }) => row.includes(secret)), 'in no table');
});

test('while the table is away a call is hung up, once, and answered the same afterwards', async (t) => {
  const server = await startIdentityServer(t);
  const { identity } = server.store;
  let isAway = true;
  const away = async (): Promise<never> => {
    throw new AppError('E_DATABASE_UNREACHABLE', 'away');
  };
  const table = identity.idempotency;
  assert.ok(table !== null);
  const idempotency = {
    claim: async (...given: Parameters<typeof table.claim>) =>
      isAway ? away() : table.claim(...given),
    settle: async (...given: Parameters<typeof table.settle>) =>
      isAway ? away() : table.settle(...given),
  };
  const ports = { ...server.fakes.ports, identity: { ...identity, idempotency } };
  const api = await makeApi({ ...server.fakes, ports }, { clock: systemClock });
  atEnd(t, () => api.close());
  const origin = await listenApi(api, '127.0.0.1', 0);
  const { key: token } = await makeApiKey(server, server.accountId);
  const place = async (key: string) =>
    ask(origin, 'POST', INITIATE, { token, body: CALL, headers: { 'idempotency-key': key } });
  const first = await place('k1');
  assert.equal(first.status, 201, first.text);
  assert.equal((await place('k1')).text, first.text);
  isAway = false;
  assert.equal(
    (await place('k1')).text,
    first.text,
    'the database is back and knows nothing of it',
  );
  assert.equal(server.fakes.placed.length, 1);

  // The claim is in the table, the answer no longer gets there.
  server.fakes.placeResult = async () => {
    isAway = true;
    return { ok: false, refusal: { code: 'NO_ROUTE', retryAfterS: null } };
  };
  const second = await place('k2');
  isAway = false;
  const again = await place('k2');
  assert.deepEqual([again.text, again.headers.get('idempotency-replayed')], [second.text, 'true']);
});

test('guessed keys stop costing look-ups; a proven key goes on from the same address', async (t) => {
  const server = await startIdentityServer(t);
  const { identity } = server.store;
  let lookUps = 0;
  const findKey = async (prefix: string) => {
    lookUps++;
    return identity.keys.findKey(prefix);
  };
  const ports = { ...server.fakes.ports, identity: { ...identity, keys: { findKey } } };
  const limits = { requestRate: { ratePerS: 1, burst: 5 } };
  const api = await makeApi({ ...server.fakes, ports }, { limits });
  atEnd(t, () => api.close());
  const origin = await listenApi(api, '127.0.0.1', 0);
  const { key: good } = await makeApiKey(server, server.accountId);
  const { key: late } = await makeApiKey(server, server.accountId);
  const use = async (token: string) =>
    ask(origin, 'GET', `/api/v1/call-records/${RECORD}`, { token });
  assert.notEqual((await use(good)).status, 401);
  assert.equal(lookUps, 1);
  const guesses = await Promise.all(
    Array.from({ length: 40 }, async (_, at) =>
      use(`cy_${String(at).padStart(8, 'a')}_${'0'.repeat(43)}`),
    ),
  );
  const statuses = guesses.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 401).length, 5);
  assert.equal(statuses.filter((status) => status === 429).length, 35);
  assert.equal(lookUps, 6);
  assert.notEqual((await use(good)).status, 429, 'proven before');
  assert.equal((await use(late)).status, 429, 'not proven yet');
});

test('behind a trusted proxy the client is who X-Forwarded-For names, elsewhere not', async (t) => {
  const server = await startIdentityServer(t, { api: { trustedProxies: ['127.0.0.0/8'] } });
  const direct = await startIdentityServer(t);
  for (const [at, forwarded, ok, recorded] of [
    [server, '192.0.2.7', true, '192.0.2.7'],
    [server, '203.0.113.1, 192.0.2.7', true, '192.0.2.7'],
    [server, '192.0.2.7, 203.0.113.1', false, null],
    [server, '192.0.2.7:4711', true, '192.0.2.7'],
    [server, '[2001:db8::5]:4711', true, '2001:db8::5'],
    [server, 'unknown', false, null],
    [direct, '192.0.2.7', false, null],
  ] as const) {
    const ipAllow = ['192.0.2.0/24', '2001:db8::/32'];
    const { key } = await makeApiKey(at, at.accountId, { ipAllow });
    const reply = await ask(at.origin, 'PATCH', '/api/v1/settings', {
      token: key,
      body: { max_concurrent_calls: 1 + Math.floor(Math.random() * 1e5) },
      headers: { 'x-forwarded-for': forwarded },
    });
    assert.equal(reply.code, ok ? null : 'IP_NOT_ALLOWED', forwarded);
    if (recorded === null) continue;
    const [row] = await systemRows<{ ip: string }>(
      at.databaseUrl,
      'SELECT host(ip) AS ip FROM audit_log ORDER BY id DESC LIMIT 1',
    );
    assert.equal(row?.ip, recorded);
  }
});

test('pages of configured origins alone may call', async (t) => {
  const origin = 'https://desk.example.net';
  const open = await startIdentityServer(t, { api: { corsOrigins: [origin] } });
  const preflight = async (from: string, at = open) =>
    ask(at.origin, 'OPTIONS', '/api/v1/settings', {
      headers: { origin: from, 'access-control-request-method': 'PATCH' },
    });
  const yes = await preflight(origin);
  assert.equal(yes.status, 204);
  const seen = Object.fromEntries(yes.headers);
  assert.equal(seen['access-control-allow-origin'], origin);
  assert.equal(
    seen['access-control-allow-headers'],
    'Authorization, Content-Type, Idempotency-Key, X-Request-Id, X-Account-Id, Accept-Language',
  );
  assert.match(seen['access-control-allow-methods'] ?? '', /PATCH.*DELETE/);
  assert.deepEqual(
    [seen['access-control-max-age'], seen['access-control-allow-credentials']],
    ['600', undefined],
  );
  assert.deepEqual(
    [seen['cache-control'], seen['x-content-type-options'], seen['vary']],
    ['no-store', 'nosniff', 'Origin'],
  );
  const refused = await ask(open.origin, 'GET', '/api/v1/settings', { headers: { origin } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('access-control-allow-origin'), origin, 'errors are readable');
  assert.equal(
    refused.headers.get('access-control-expose-headers'),
    'X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Idempotency-Replayed, Content-Disposition',
  );
  for (const from of ['https://evil.example.net', 'null', `${origin}.evil.example`]) {
    assert.equal((await preflight(from)).headers.get('access-control-allow-origin'), null, from);
  }
  const closed = await startIdentityServer(t);
  const none = await preflight(origin, closed);
  assert.deepEqual(
    [none.status, none.headers.get('access-control-allow-origin')],
    [405, null],
    'none by default',
  );
});

test('a trace that the client began is in the log lines', async (t) => {
  const lines: [string, LogFields | undefined][] = [];
  const log: Log = { ...silentLog, debug: (event, fields) => lines.push([event, fields]) };
  const server = await startIdentityServer(t, { api: { log } });
  const id = '4bf92f3577b34da6a3ce929d0e0e4736';
  for (const [traceparent, expected] of [
    [`00-${id}-00f067aa0ba902b7-01`, id],
    [`cc-${id}-00f067aa0ba902b7-01-later`, id],
    [`ff-${id}-00f067aa0ba902b7-01`, undefined],
    [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, undefined],
    [`00-${id}-${'0'.repeat(16)}-01`, undefined],
    ['nonsense', undefined],
  ] as const) {
    await ask(server.origin, 'GET', '/health', { headers: { traceparent } });
    const [, fields] = lines.findLast(([event]) => event === 'request.answered') ?? [];
    assert.equal(fields?.['traceId'], expected, traceparent);
  }
});
