/** What a hostile client tries at the edge: forged cursors, headers sent twice, odd request targets, names that are unknown. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { pageOf } from '#api/paging.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { ensureAdminKey } from '#store/admin-key.ts';
import { openPool } from '#store/pool.ts';
import { ask, makeApiKey, makeToken, startIdentityServer, systemRows } from './_identity.ts';
import { atEnd } from './_store.ts';

/** What the server sends on a socket of its own until it closes it. */
async function exchange(origin: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(origin).port), '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(text);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

test('a forged cursor is refused before the database sees it', async (t) => {
  const server = await startIdentityServer(t);
  const token = await makeToken(server, server.accountId);
  const keys = [
    ...['0000-01-01 00:00:00Z', '2026-01-01 00:00:00+99', '2026-01-01 00:00:00+08:99'],
    ...['2026-01-01 00:00:00+16', '2026-01-01 00:00:00+15:59:60', '2026-02-30 00:00:00Z'],
    ...['infinity', 'now', '1', '', "2026-01-01 00:00:00Z'"],
  ];
  for (const path of ['api-keys', 'members']) {
    for (const key of keys) {
      const cursor = Buffer.from(`1|2|${key}|${newId()}`).toString('base64url');
      const reply = await ask(server.origin, 'GET', `/api/v1/${path}?cursor=${cursor}`, { token });
      assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], `${path} ${key}`);
    }
  }
});

test('a cursor of numbers holds what the database can count to', () => {
  const read = (text: string) =>
    pageOf({ cursor: Buffer.from(text).toString('base64url') }, 'number').from;
  const id = newId();
  for (const key of ['0', '-1', '2147483647']) {
    assert.deepEqual(read(`1|2|${key}|${id}`), { after: { key, id } });
  }
  for (const row of [`2147483648|${id}`, `999999999999999|${id}`, `1e3|${id}`, '1|1', '1|']) {
    assert.throws(() => read(`1|2|${row}`), { problem: 'VALIDATION_FAILED' }, row);
  }
});

test('an unknown query parameter is refused by every route of the strict families', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const { id } = await makeApiKey(server, accountId);
  const rows: [string, string, object?][] = [
    ['POST', '/api/v1/api-keys', { name: 'n', role: 'viewer' }],
    ['POST', `/api/v1/api-keys/${id}/rotate`, {}],
    ['DELETE', `/api/v1/api-keys/${id}`],
    ['PATCH', '/api/v1/settings', { currency: 'EUR' }],
    ['POST', '/api/v1/members', { email: 'a@example.test', role: 'viewer' }],
    ['PUT', `/api/v1/members/${id}`, { role: 'viewer' }],
    ['DELETE', `/api/v1/members/${id}`],
  ];
  for (const [method, path, body] of rows) {
    const reply = await ask(origin, method, `${path}?overlap_s=1`, { token, body });
    assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], `${method} ${path}`);
    assert.ok(reply.text.includes('"path":"?overlap_s"'), reply.text);
  }
  const [audit] = await systemRows<{ n: number }>(
    server.databaseUrl,
    'SELECT count(*)::int AS n FROM audit_log',
  );
  assert.equal(audit?.n, 0, 'nothing was done');
});

test('headers that say who asks are taken once, and odd targets are the paths they name', async (t) => {
  const server = await startIdentityServer(t);
  const { key } = await makeApiKey(server, server.accountId);
  const host = 'Host: localhost\r\nConnection: close\r\n';
  const right = `Authorization: Bearer ${key}\r\n`;
  const wrong = 'Authorization: Bearer nobody\r\n';
  const target = 'GET /api/v1/settings HTTP/1.1\r\n';
  const rows: [string, string, number, string | null][] = [
    ['token, then another', `${target}${host}${right}${wrong}`, 400, 'VALIDATION_FAILED'],
    ['no token, then one', `${target}${host}${wrong}${right}`, 400, 'VALIDATION_FAILED'],
    ['two hosts', `${target}${host}Host: other\r\n${right}`, 400, 'VALIDATION_FAILED'],
    ['expectation', `${target}${host}${right}Expect: a miracle\r\n`, 200, null],
    ['whole URL', `GET http://x/api/v1/settings HTTP/1.1\r\n${host}${right}`, 200, null],
    ['its 404', `GET http://x/api/v1/nothing HTTP/1.1\r\n${host}`, 404, 'ROUTE_NOT_FOUND'],
    ['its 405', `PUT http://x/api/v1/settings HTTP/1.1\r\n${host}`, 405, 'METHOD_NOT_ALLOWED'],
  ];
  for (const [name, head, status, code] of rows) {
    const reply = await exchange(server.origin, `${head}\r\n`);
    assert.match(reply, new RegExp(`^HTTP/1\\.1 ${status} `), name);
    for (const header of ['cache-control: no-store', 'x-request-id: ', 'ratelimit-limit: ']) {
      assert.ok(reply.toLowerCase().includes(`\r\n${header}`), `${name}: ${header} in ${reply}`);
    }
    if (code !== null) assert.ok(reply.includes(`"code":"${code}"`), `${name}: ${reply}`);
  }
});

test('a set admin key that was rotated can be rotated again once it is set anew', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId, databaseUrl, dataDir } = server;
  const setting = `cy_setadmin_${'s'.repeat(43)}`;
  const database = openPool({ url: databaseUrl, log: silentLog, size: 1 });
  atEnd(t, () => database.close());
  const owner = await makeToken(server, accountId);
  for (const round of ['first', 'second']) {
    await ensureAdminKey({ database, accountId, setting, dataDir });
    const [row] = await systemRows<{ id: string }>(
      databaseUrl,
      "SELECT id FROM api_keys WHERE prefix = 'setadmin'",
    );
    const path = `/api/v1/api-keys/${row?.id}/rotate`;
    const reply = await ask(origin, 'POST', path, { token: owner, body: { overlap_s: 0 } });
    assert.equal(reply.status, 201, `${round}: ${reply.text}`);
  }
});

test('a key that is bound to agents reads of the audit log what it and they did', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId, databaseUrl } = server;
  const [mine, other] = [newId(), newId()];
  const { id, key: token } = await makeApiKey(server, accountId, { agentIds: [mine] });
  await systemRows(
    databaseUrl,
    `INSERT INTO audit_log (user_id, actor, actor_role, action, target_type, target_id) VALUES
       ($1, 'user:x', 'owner', 'agent.update', 'agent', $2), ($1, 'user:x', 'owner', 'agent.update', 'agent', $3),
       ($1, 'user:x', 'owner', 'member.add', 'member', $4), ($1, 'key:' || $5, 'admin', 'api_key.create', 'api_key', $4)`,
    [accountId, mine, other, newId(), id],
  );
  const actionsOf = async (by: string): Promise<string[]> => {
    const reply = await ask(origin, 'GET', '/api/v1/audit-log', { token: by });
    const { entries } = reply.data as unknown as { entries: { action: string }[] };
    return entries.map(({ action }) => action);
  };
  assert.deepEqual(await actionsOf(token), ['api_key.create', 'agent.update']);
  assert.equal((await actionsOf((await makeApiKey(server, accountId)).key)).length, 4);
});

test('a notice that says nothing and a number that is none are refused', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const reply = await ask(origin, 'PATCH', '/api/v1/settings', {
    token,
    body: { recording_notice: ' \u3000' },
  });
  assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], reply.text);
  const response = await fetch(`${origin}/api/v1/call-records`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: `{"agent_id":"${newId()}","start_time":"2026-01-01T00:00:00Z","metadata":{"amount":1e400}}`,
  });
  const text = await response.text();
  assert.equal(response.status, 400, 'it would be kept as null');
  assert.match(text, /"path":"\/metadata\/amount","rule":"finite"/);
});
