/** API keys over HTTP on a real database: made, listed, rotated, revoked, bound to addresses and agents. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import {
  ask,
  makeApiKey,
  makeToken,
  makeUser,
  startIdentityServer,
  systemRows,
  type IdentityServer,
  type Reply,
} from './_identity.ts';
import { until } from './_store.ts';

type Key = {
  id: Id;
  key: string;
  prefix: string;
  agent_ids: Id[] | null;
  ip_allow: string[] | null;
  expires_at: number | null;
  revoked_at: string | null;
  last_used_at: string | null;
};

const KEYS = '/api/v1/api-keys';
const keyIn = (reply: Reply): Key => reply.data as unknown as Key;

async function makeAgent(server: IdentityServer, accountId: Id): Promise<Id> {
  const [row] = await systemRows<{ id: Id }>(
    server.databaseUrl,
    "INSERT INTO agents (user_id, name) VALUES ($1, 'A') RETURNING id",
    [accountId],
  );
  return row?.id ?? '';
}

test('a key is made, used, listed, rotated with overlap, revoked', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const owner = await makeToken(server, accountId);
  const agent = await makeAgent(server, accountId);
  const body = {
    ...{ name: 'Reporting', role: 'viewer', agent_ids: [agent.toUpperCase()] },
    ...{ ip_allow: ['127.0.0.0/8', '2001:DB8::/32'], expires_at: 1893456000 },
  };
  const made = await ask(origin, 'POST', KEYS, { token: owner, body });
  assert.equal(made.status, 201, made.text);
  const first = keyIn(made);
  assert.match(first.key, /^cy_[a-z0-9]{8}_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(
    [first.agent_ids, first.ip_allow, first.expires_at, first.last_used_at],
    [[agent], ['127.0.0.0/8', '2001:db8::/32'], 1893456000, null],
  );
  const use = async (key: string) => ask(origin, 'GET', '/api/v1/settings', { token: key });
  assert.equal((await use(first.key)).status, 200);
  const list = await ask(origin, 'GET', `${KEYS}?page_size=1`, { token: owner });
  const { api_keys: rows, pagination } = list.data as unknown as {
    api_keys: Key[];
    pagination: { total: number; has_next: boolean };
  };
  assert.deepEqual([rows[0]?.id, pagination.total, pagination.has_next], [first.id, 2, true]);
  assert.ok(!list.text.includes(first.key.slice(12)), 'the list never shows a key');

  const rotated = await ask(origin, 'POST', `${KEYS}/${first.id}/rotate`, {
    ...{ token: owner, body: { overlap_s: 3600 } },
  });
  assert.equal(rotated.status, 201, rotated.text);
  const second = keyIn(rotated);
  assert.deepEqual(
    [second.agent_ids, second.ip_allow, second.expires_at],
    [first.agent_ids, first.ip_allow, first.expires_at],
  );
  assert.deepEqual([(await use(first.key)).status, (await use(second.key)).status], [200, 200]);
  const again = await ask(origin, 'POST', `${KEYS}/${first.id}/rotate`, { token: owner, body: {} });
  assert.deepEqual([again.status, again.code], [409, 'INVALID_STATE']);

  for (const expected of [200, 200]) {
    const gone = await ask(origin, 'DELETE', `${KEYS}/${first.id}`, { token: owner });
    assert.deepEqual([gone.status, gone.text], [expected, '{"success":true,"data":null}']);
  }
  // The key was used a moment ago, so it is believed for up to 3 s.
  await until(async () => (await use(first.key)).code === 'KEY_REVOKED', 'the key is revoked');
  const now = await ask(origin, 'POST', `${KEYS}/${second.id}/rotate`, {
    ...{ token: owner, body: { overlap_s: 0 } },
  });
  await until(async () => (await use(second.key)).code === 'KEY_REVOKED', 'no overlap');
  assert.equal((await use(keyIn(now).key)).status, 200);
});

test('what a key may not: other address, other account, expired, revoked', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const past = new Date(Date.now() - 1000);
  const other = await makeUser(server);
  const rows: [string, Parameters<typeof makeApiKey>[2], Record<string, string>, string | null][] =
    [
      ['plain', {}, {}, null],
      ['own address', { ipAllow: ['127.0.0.1'] }, {}, null],
      ['other address', { ipAllow: ['192.0.2.0/24'] }, {}, 'IP_NOT_ALLOWED'],
      ['expired', { expiresAt: past }, {}, 'TOKEN_EXPIRED'],
      ['revoked', { revokedAt: past }, {}, 'KEY_REVOKED'],
      ['own account named', {}, { 'x-account-id': accountId.toUpperCase() }, null],
      ['other account named', {}, { 'x-account-id': other }, 'ACCOUNT_FORBIDDEN'],
      ['no account named', {}, { 'x-account-id': 'mine' }, 'VALIDATION_FAILED'],
    ];
  for (const [name, wanted, headers, code] of rows) {
    const { key } = await makeApiKey(server, accountId, wanted);
    const reply = await ask(origin, 'GET', '/api/v1/settings', { token: key, headers });
    assert.equal(reply.code, code, name);
  }
});

test('bad input of the key routes', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const other = await makeUser(server);
  const foreign = await makeAgent(server, other);
  const good = { name: 'n', role: 'viewer' };
  const rows: [unknown, number, string, string?][] = [
    [{}, 400, 'VALIDATION_FAILED', '/name'],
    [{ ...good, role: 'owner' }, 400, 'VALIDATION_FAILED', '/role'],
    [{ ...good, name: ' ' }, 400, 'VALIDATION_FAILED', '/name'],
    [{ ...good, name: 'x'.repeat(256) }, 400, 'VALIDATION_FAILED', '/name'],
    [{ ...good, secret: 1 }, 400, 'VALIDATION_FAILED', '/secret'],
    [{ ...good, ip_allow: ['192.0.2.7/24'] }, 400, 'VALIDATION_FAILED', '/ip_allow/0'],
    [{ ...good, ip_allow: ['10.0.0.0/33'] }, 400, 'VALIDATION_FAILED', '/ip_allow/0'],
    [{ ...good, ip_allow: ['example.com'] }, 400, 'VALIDATION_FAILED', '/ip_allow/0'],
    [{ ...good, ip_allow: Array(51).fill('192.0.2.1') }, 400, 'VALIDATION_FAILED', '/ip_allow'],
    [{ ...good, expires_at: 1 }, 400, 'VALIDATION_FAILED', '/expires_at'],
    [{ ...good, expires_at: 1893456000000 }, 400, 'VALIDATION_FAILED', '/expires_at'],
    [{ ...good, expires_at: '1893456000' }, 400, 'VALIDATION_FAILED', '/expires_at'],
    [{ ...good, agent_ids: [] }, 400, 'VALIDATION_FAILED', '/agent_ids'],
    [{ ...good, agent_ids: ['x'] }, 400, 'VALIDATION_FAILED', '/agent_ids/0'],
    [{ ...good, agent_ids: [newId()] }, 422, 'REFERENCE_NOT_FOUND'],
    [{ ...good, agent_ids: [foreign] }, 422, 'REFERENCE_NOT_FOUND'],
  ];
  for (const [body, status, code, path] of rows) {
    const reply = await ask(origin, 'POST', KEYS, { token, body });
    assert.deepEqual([reply.status, reply.code], [status, code], JSON.stringify(body));
    if (path !== undefined) assert.ok(reply.text.includes(`"path":"${path}"`), reply.text);
  }
  const { id: theirs } = await makeApiKey(server, other);
  for (const [method, path, body, status, code] of [
    ['POST', `${KEYS}/${newId()}/rotate`, {}, 404, 'NOT_FOUND'],
    ['POST', `${KEYS}/${theirs}/rotate`, {}, 404, 'NOT_FOUND'],
    ['POST', `${KEYS}/${theirs}/rotate`, { overlap_s: 604_801 }, 400, 'VALIDATION_FAILED'],
    ['DELETE', `${KEYS}/${theirs}`, undefined, 404, 'NOT_FOUND'],
    ['DELETE', `${KEYS}/x`, undefined, 400, 'VALIDATION_FAILED'],
    ['GET', `${KEYS}?page=0`, undefined, 400, 'VALIDATION_FAILED'],
    ['GET', `${KEYS}?cursor=x`, undefined, 400, 'VALIDATION_FAILED'],
  ] as const) {
    const reply = await ask(origin, method, path, { token, body });
    assert.deepEqual([reply.status, reply.code], [status, code], `${method} ${path}`);
  }
});

test('a key that is bound to agents cannot make, see or renew a wider one', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const mine = await makeAgent(server, accountId);
  const other = await makeAgent(server, accountId);
  const wide = await makeApiKey(server, accountId);
  const bound = await makeApiKey(server, accountId, { agentIds: [mine] });
  const token = bound.key;
  const made = await ask(origin, 'POST', KEYS, { token, body: { name: 'n', role: 'admin' } });
  assert.deepEqual(keyIn(made).agent_ids, [mine], 'it inherits');
  const wider = { name: 'n', role: 'admin', agent_ids: [mine, other] };
  const refused = await ask(origin, 'POST', KEYS, { token, body: wider });
  assert.equal(refused.code, 'REFERENCE_NOT_FOUND');
  const renewed = await ask(origin, 'POST', `${KEYS}/${wide.id}/rotate`, { token, body: {} });
  assert.equal(renewed.code, 'NOT_FOUND');
  assert.equal((await ask(origin, 'DELETE', `${KEYS}/${wide.id}`, { token })).code, 'NOT_FOUND');
  const list = await ask(origin, 'GET', KEYS, { token });
  const { api_keys: rows } = list.data as unknown as { api_keys: Key[] };
  assert.deepEqual(rows.map(({ id }) => id).sort(), [bound.id, keyIn(made).id].sort());
});
