/** The account's numbers and operation (contract 2.4, 2.9) on the whole server with a real database. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { queryRows } from './_database.ts';
import { header, SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Json = Record<string, unknown>;
type Failed = { error: Json & { details?: { path: string; rule: string }[] } };

/** Statements as the system role: the tables' owner is held back by row-level security like anybody. */
function sql<T extends object>(server: TestApp, text: string, values: unknown[] = []) {
  return queryRows<T>(`${server.databaseUrl}?options=-c%20role%3Dcallyard_system`, text, values);
}

async function send(server: TestApp, method: string, path: string, body?: Json) {
  const response = await fetch(server.app.httpUrl + path, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as { data?: Json | null } & Partial<Failed>;
  return { status: response.status, data: answer.data ?? {}, error: answer.error };
}

test('numbers: registered in full, one account each, changed, bound, released, audited', async (t) => {
  const server = await startTestApp(t, { CALLYARD_COUNTRY_CODE: '86' });
  const [settings] = await sql<{ user_id: string }>(server, 'SELECT user_id FROM account_settings');
  const account = settings?.user_id ?? '';
  const trunk = newId();
  const stranger = newId();
  await sql(server, "INSERT INTO auth.users (id, email) VALUES ($1, 'other@example.test')", [
    stranger,
  ]);
  await sql(
    server,
    `INSERT INTO sip_configs (id, user_id, name, host) VALUES ($1, $2, 'Own', 'sip.example.net')`,
    [trunk, account],
  );
  const foreignTrunk = newId();
  await sql(
    server,
    `INSERT INTO sip_configs (id, user_id, name, host) VALUES ($1, $2, 'Not yours', 'sip.example.net')`,
    [foreignTrunk, stranger],
  );
  await sql(server, "INSERT INTO phone_numbers (user_id, number) VALUES ($1, '+8621000777')", [
    stranger,
  ]);
  const made = await send(server, 'POST', '/v1/phone/numbers', {
    number: '021-000 123',
    label: 'Front desk',
    trunk_id: trunk,
  });
  assert.equal(made.status, 201, JSON.stringify(made.error));
  assert.deepEqual(
    [made.data['number'], made.data['label'], made.data['trunk_id'], made.data['status']],
    ['+8621000123', 'Front desk', trunk, 'active'],
  );
  const own = `/v1/phone/numbers/${String(made.data['id'])}`;
  const rows: [method: string, path: string, body: Json, status: number, code: string][] = [
    ['POST', '/v1/phone/numbers', { number: '+86 21 000123' }, 409, 'CONFLICT'],
    ['POST', '/v1/phone/numbers', { number: '021000777' }, 409, 'CONFLICT'],
    [
      'POST',
      '/v1/phone/numbers',
      { number: '021000124', trunk_id: foreignTrunk },
      422,
      'REFERENCE_NOT_FOUND',
    ],
    ['PATCH', own, { trunk_id: foreignTrunk }, 422, 'REFERENCE_NOT_FOUND'],
    [
      'POST',
      '/v1/phone/numbers',
      { number: '021000124', carrier: 'acme' },
      422,
      'CARRIER_UNSUPPORTED',
    ],
    ['PATCH', `/v1/phone/numbers/${stranger}`, { label: 'x' }, 404, 'NOT_FOUND'],
    ['PATCH', own, {}, 400, 'VALIDATION_FAILED'],
  ];
  for (const [method, path, body, status, code] of rows) {
    const answer = await send(server, method, path, body);
    assert.deepEqual([answer.status, answer.error?.['code']], [status, code], JSON.stringify(body));
    assert.doesNotMatch(JSON.stringify(answer), new RegExp(`${stranger}|other@`));
  }
  const [agent] = await sql<{ id: string }>(server, 'SELECT id FROM agents LIMIT 1');
  await sql(
    server,
    `INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'number', '+8621000123', $2)`,
    [account, agent?.id],
  );
  const changed = await send(server, 'PATCH', own, { label: null });
  assert.deepEqual(
    [changed.data['label'], changed.data['trunk_id'], changed.data['agent_id']],
    [null, trunk, agent?.id],
  );
  const list = await send(server, 'GET', '/v1/phone/numbers');
  assert.equal((list.data['numbers'] as Json[]).length, 1, 'another account’s is not there');
  assert.equal((await send(server, 'DELETE', own)).status, 200);
  assert.equal((await send(server, 'GET', own)).status, 404);
  assert.equal((await send(server, 'DELETE', own)).status, 404);
  const again = await send(server, 'POST', '/v1/phone/numbers', { number: '+8621000123' });
  assert.equal(again.status, 201, 'a released number is free');
  const audit = await sql<{ action: string; changes: Json }>(
    server,
    "SELECT action, changes FROM audit_log WHERE target_type = 'phone_number' ORDER BY id",
  );
  assert.deepEqual(
    audit.map(({ action }) => action),
    ['create', 'update', 'release', 'create'].map((verb) => `phone_number.${verb}`),
  );
  assert.deepEqual(audit[1]?.changes, { label: null });
});

test('operation: metrics of real calls, readiness, documents that can be switched off', async (t) => {
  const server = await startTestApp(t, { CALLYARD_DOCS: 'off' });
  const read = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(server.app.httpUrl + path, { headers });
    return { status: response.status, text: await response.text() };
  };
  for (const path of ['/docs', '/openapi.json']) assert.equal((await read(path)).status, 404, path);
  const ready = await read('/ready');
  assert.deepEqual(JSON.parse(ready.text), {
    status: 'ready',
    checks: { sip: 'up', media: 'up', database: 'up', bus: 'off' },
  });
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  const call = peer.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  const answer = await call.response('INVITE');
  call.confirm(answer).ack();
  assert.ok(header(answer, 'contact') !== '');
  const lines = async (): Promise<string[]> => (await read('/metrics')).text.split('\n');
  assert.ok((await lines()).includes('callyard_active_calls{direction="inbound"} 1'));
  call.send('BYE');
  await call.response('BYE');
  const after = await eventually(lines, (all) =>
    all.includes('callyard_calls_total{direction="inbound",outcome="completed"} 1'),
  );
  assert.ok(after.includes('callyard_active_calls{direction="inbound"} 0'));
  assert.ok(after.includes('callyard_calls_total{direction="inbound",outcome="completed"} 1'));
  assert.ok(after.some((line) => line.startsWith('callyard_rtp_lost_total ')));
  await eventually(lines, (all) => all.includes('callyard_outbox_pending 0'));
  assert.ok((await lines()).includes('callyard_outbox_pending 0'));
  assert.ok(
    after.includes('http_requests_total{method="GET",route="unknown",status="404"} 2'),
    'both documents are gone',
  );
  assert.doesNotMatch(after.join('\n'), /15550100|testkey1/);
  const proxied = await read('/metrics', { 'x-forwarded-for': '192.0.2.7' });
  assert.equal(proxied.status, 403);
});
