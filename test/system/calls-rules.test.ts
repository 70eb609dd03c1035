/** Calls through the whole server as the account's rules, trunks, limits and contacts want them, on the wire. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { placeCall } from '#src/demo/phone.ts';
import type { AppTiming } from '#src/app.ts';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { queryRows } from './_database.ts';
import { header, SDP, SipPeer, type PeerCall } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Row = Readonly<Record<string, unknown>>;

const SDP_TYPE = 'Content-Type: application/sdp';

/** Statements as the system role: the tables' owner is held back by row-level security like anybody. */
function sql<T extends object = Row>(server: TestApp, text: string, values: unknown[] = []) {
  return queryRows<T>(`${server.databaseUrl}?options=-c%20role%3Dcallyard_system`, text, values);
}

async function accountOf(server: TestApp): Promise<Id> {
  const [row] = await sql<{ user_id: Id }>(server, 'SELECT user_id FROM account_settings');
  return row?.user_id ?? 'none';
}

/** Rules take effect within a second: 500 ms of cache and a little. */
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 700));

async function addRule(server: TestApp, conditions: Row, action: Row, priority = 1): Promise<Id> {
  const id = newId();
  await sql(
    server,
    `INSERT INTO call_answer_rules (id, user_id, name, priority, conditions, action)
     VALUES ($1, $2, 'rule', $3, $4, $5)`,
    [id, await accountOf(server), priority, conditions, action],
  );
  return id;
}

/** The record once it is over, its events by `seq`, and how many records there are. */
async function recordAt(server: TestApp, newest = 0) {
  const list = await eventually(
    () =>
      sql(server, `SELECT * FROM call_records ORDER BY start_time DESC, id DESC`) as Promise<Row[]>,
    (rows) => ['ended', 'failed'].includes(String(rows[newest]?.['status'])),
  );
  const record = list[newest] ?? {};
  const events = await sql<{ type: string; data: Row }>(
    server,
    'SELECT type, data FROM call_events WHERE call_id = $1 ORDER BY seq',
    [record['id']],
  );
  return { record, events, types: events.map(({ type }) => type), count: list.length };
}

async function openPeer(t: TestContext, server?: TestApp): Promise<SipPeer> {
  const peer = await SipPeer.open(server?.sip ?? { address: '127.0.0.1', port: 9 });
  atEnd(t, () => peer.close());
  return peer;
}

function invite(peer: SipPeer, extra: readonly string[] = []): PeerCall {
  return peer.start('INVITE', { body: SDP(), extra: [SDP_TYPE, ...extra] });
}

test('a rule refuses on the wire: status, reason, one record with call.failed blocked', async (t) => {
  const server = await startTestApp(t);
  const reject = { status: 486, reason: 'Not at this hour' };
  const anonymous = { callers: { type: 'include', numbers: ['+15550100'] } };
  const ruleId = await addRule(server, anonymous, { answer: false, reject });
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer);
  const refusal = await call.response('INVITE');
  assert.equal(refusal.startLine, 'SIP/2.0 486 Not at this hour');
  call.ackRefusal(refusal);
  const { record, types, events, count } = await recordAt(server);
  assert.deepEqual([count, types], [1, ['call.initiated', 'call.failed']]);
  assert.deepEqual(
    ['outcome', 'status', 'rule_id', 'sip_status', 'hangup_reason'].map((name) => record[name]),
    ['blocked', 'failed', ruleId, 486, null],
  );
  assert.equal(events[1]?.data['outcome'], 'blocked');
  assert.equal(server.app.liveCalls(), 0);
});

test('delay ring: 180, the wait, then the agent of the rule; the app is in the record', async (t) => {
  const server = await startTestApp(t);
  const account = await accountOf(server);
  const agentId = newId();
  await sql(server, `INSERT INTO agents (id, user_id, name, config) VALUES ($1, $2, 'Night', $3)`, [
    ...[agentId, account, { greeting: 'Night line.' }],
  ]);
  const apps = { apps: { type: 'include', list: ['企业微信'] } };
  const ruleId = await addRule(server, apps, { answer: true, agentId, delayRingMs: 600 });
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer, ['X-Caller-App: 企业微信']);
  const sentMs = performance.now();
  assert.equal((await call.response('INVITE')).status, 180);
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200);
  assert.ok(performance.now() - sentMs >= 590, 'it rang first');
  call.confirm(answer).ack();
  call.send('BYE');
  await call.response('BYE');
  const { record, types } = await recordAt(server);
  assert.deepEqual(
    ['outcome', 'rule_id', 'agent_id', 'caller_app'].map((name) => record[name]),
    ['completed', ruleId, agentId, '企业微信'],
  );
  assert.deepEqual(types.slice(0, 3), ['call.initiated', 'call.ringing', 'call.answered']);
});

test('CANCEL while a rule lets it ring: 487, abandoned', async (t) => {
  const server = await startTestApp(t);
  await addRule(server, {}, { answer: true, delayRingMs: 60_000 });
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer);
  assert.equal((await call.response('INVITE')).status, 180);
  call.cancel();
  const end = await call.response('INVITE');
  assert.equal(end.status, 487);
  call.ackRefusal(end);
  const { record, types } = await recordAt(server);
  assert.equal(record['outcome'], 'abandoned');
  assert.deepEqual(types, ['call.initiated', 'call.ringing', 'call.failed']);
  assert.equal(server.app.liveCalls(), 0);
});

test('answer: false rings for another device, then 480', async (t) => {
  const timing: AppTiming = { ringElsewhereMs: 400 };
  const server = await startTestApp(t, {}, { timing });
  await addRule(server, {}, { answer: false });
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer);
  assert.equal((await call.response('INVITE')).status, 180);
  const refusal = await call.response('INVITE');
  assert.equal(refusal.status, 480);
  call.ackRefusal(refusal);
  assert.equal((await recordAt(server)).record['outcome'], 'blocked');
});

test('an announcement is heard, then the server hangs up', async (t) => {
  const server = await startTestApp(t);
  const text = 'We are closed. Please call again tomorrow.';
  await addRule(server, {}, { answer: true, useAgent: false, greeting: text });
  await settled();
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSpeech(0, 2000);
  const isOver = await eventually(
    () => Promise.resolve(phone.sip.isOver),
    (over) => over,
  );
  assert.ok(isOver, 'the phone got its BYE');
  const { record } = await recordAt(server);
  assert.deepEqual(
    ['outcome', 'hangup_reason', 'ended_by'].map((name) => record[name]),
    ['completed', 'ai', 'agent'],
  );
  const messages = record['messages'] as { role: string; content: string }[];
  assert.deepEqual(
    messages.map(({ role, content }) => [role, content]),
    [['assistant', text]],
  );
});

test('at its limit the account gets 503 with Retry-After, and a record says congestion', async (t) => {
  const server = await startTestApp(t);
  await sql(server, 'UPDATE account_settings SET max_concurrent_calls = 1');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  const peer = await openPeer(t, server);
  const call = invite(peer);
  const refusal = await call.response('INVITE');
  assert.equal(refusal.status, 503);
  assert.ok(header(refusal, 'retry-after') !== '');
  call.ackRefusal(refusal);
  const { record } = await recordAt(server);
  assert.deepEqual([record['outcome'], record['sip_status']], ['congestion', 503]);
});

type Trunk = { name: string; port: number; priority: number } & Partial<{
  transport: string;
  host: string;
  from_number: string;
  deny_prefixes: string[];
  max_calls: number;
}>;

async function addTrunk(server: TestApp, trunk: Trunk): Promise<Id> {
  const id = newId();
  const row = {
    ...{ id, user_id: await accountOf(server), host: '127.0.0.1', transport: 'udp' },
    ...trunk,
  };
  const names = Object.keys(row);
  await sql(
    server,
    `INSERT INTO sip_configs (${names.join(', ')}) VALUES (${names.map((_, at) => `$${at + 1}`).join(', ')})`,
    Object.values(row),
  );
  return id;
}

type Placed = { id: Id; from: string; trunk_id: Id; error: { code: string } };

function place(server: TestApp, body: Row) {
  return server.post<Placed>('/v1/phone/calls', { to: '+15550100', ...body });
}

test('two trunks: 503 of the first, the second carries the call; one record names the second', async (t) => {
  const server = await startTestApp(t);
  const [first, second] = [await openPeer(t), await openPeer(t)];
  await addTrunk(server, { name: 'tls', port: 5061, priority: 1, transport: 'tls' });
  const a = { name: 'a', port: first.port, priority: 2, from_number: '+15550198' };
  const firstId = await addTrunk(server, a);
  const b = { name: 'b', port: second.port, priority: 3, from_number: '+15550199' };
  const secondId = await addTrunk(server, b);
  const placed = await place(server, { customer_id: 'c-1', metadata: { order: 7 } });
  assert.deepEqual([placed.status, placed.data.trunk_id], [201, firstId]);
  first.aim(server.sip);
  second.aim(server.sip);
  const one = await first.invite();
  assert.match(header(one, 'from'), /\+15550198/);
  first.respond(one, '503 Service Unavailable', { toTag: 'a' });
  const two = await second.invite();
  assert.match(header(two, 'from'), /\+15550199/);
  second.respond(two, '100 Trying');
  second.respond(two, '180 Ringing', { toTag: 'b' });
  second.respond(two, '603 Decline', { toTag: 'b' });
  const { record, types, count } = await recordAt(server);
  assert.equal(count, 1);
  assert.deepEqual(
    ['outcome', 'trunk_id', 'from_number', 'customer_ref'].map((name) => record[name]),
    ['declined', secondId, '+15550199', 'c-1'],
  );
  assert.equal((record['metadata'] as Row)['order'], 7);
  const told = types.filter((type) => type !== 'call.trying');
  assert.deepEqual(told, ['call.initiated', 'call.ringing', 'call.failed']);
  assert.ok(types.includes('call.trying'));
});

test('a trunk that says nothing is left for the next one', async (t) => {
  const server = await startTestApp(t);
  const [silent, second] = [await openPeer(t), await openPeer(t)];
  await addTrunk(server, { name: 'silent', port: silent.port, priority: 1 });
  const secondId = await addTrunk(server, { name: 'b', port: second.port, priority: 2 });
  assert.equal((await place(server, {})).status, 201);
  second.aim(server.sip);
  await silent.invite();
  await new Promise((resolve) => setTimeout(resolve, 2500)); // more than half of what it is given
  const two = await second.invite();
  second.respond(two, '486 Busy Here', { toTag: 'b' });
  const { record } = await recordAt(server);
  assert.deepEqual([record['outcome'], record['trunk_id']], ['busy', secondId]);
});

test('what may not be dialled is refused with its code, and nothing is sent', async (t) => {
  const server = await startTestApp(t);
  const peer = await openPeer(t);
  const account = await accountOf(server);
  await addTrunk(server, {
    ...{ name: 'a', port: peer.port, priority: 1, from_number: '+15550198' },
    ...{ deny_prefixes: ['+1900'], max_calls: 1 },
  });
  const contact =
    'INSERT INTO contacts (user_id, name, phone, do_not_call) VALUES ($1, $2, $3, true)';
  await sql(server, contact, [account, 'No', '+15550166']);
  const consent =
    "INSERT INTO consents (user_id, phone, kind, granted, source, created_at) VALUES ($1, $2, 'outbound', $3, 'test', now() + $4 * interval '1 second')";
  for (const [phone, granted, after] of [
    ['+15550167', true, 0],
    ['+15550167', false, 1],
    ['+15550168', false, 0],
    ['+15550168', true, 1],
  ])
    await sql(server, consent, [account, phone, granted, after]);
  await sql(server, "INSERT INTO phone_numbers (user_id, number) VALUES ($1, '+15550111')", [
    account,
  ]);
  const rows: [body: Row, status: number, code: string][] = [
    [{ assistant_id: newId() }, 422, 'REFERENCE_NOT_FOUND'],
    [{ squad_id: newId() }, 422, 'REFERENCE_NOT_FOUND'],
    [{ trunk_id: newId() }, 422, 'REFERENCE_NOT_FOUND'],
    [{ to: '110' }, 422, 'NUMBER_NOT_ALLOWED'],
    [{ to: '+19005550100' }, 422, 'NUMBER_NOT_ALLOWED'],
    [{ to: 'sip:someone@pbx.example' }, 422, 'NUMBER_NOT_ALLOWED'],
    [{ from: '+15550122' }, 422, 'NUMBER_NOT_ALLOWED'],
    [{ to: '+15550166' }, 422, 'CONSENT_MISSING'],
    [{ to: '+15550167' }, 422, 'CONSENT_MISSING'],
  ];
  for (const [body, status, code] of rows) {
    const answer = await place(server, body);
    assert.deepEqual([answer.status, answer.data.error.code], [status, code], JSON.stringify(body));
  }
  assert.deepEqual(peer.unread, []);
  peer.aim(server.sip);
  const placed = await place(server, { to: '+15550168', from: '+15550111' });
  assert.deepEqual([placed.status, placed.data.from], [201, '+15550111']);
  const one = await peer.invite();
  assert.match(header(one, 'from'), /\+15550111/);
  const full = await place(server, {});
  assert.deepEqual([full.status, full.data.error.code], [429, 'CONCURRENCY_LIMIT']);
  peer.respond(one, '486 Busy Here', { toTag: 'b' });
  const { record, count } = await recordAt(server);
  assert.deepEqual([record['outcome'], count], ['busy', 1]);
  assert.equal((await place(server, {})).status, 201, 'room again');
});

test('a call on a trunk belongs to the account of its row', async (t) => {
  const before = await startTestApp(t);
  const owner = newId();
  await queryRows(before.databaseUrl, 'INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
    ...[owner, 'owner@example.test'],
  ]);
  const trunkId = newId();
  await sql(
    before,
    `INSERT INTO sip_configs (id, user_id, name, host, source_ips) VALUES ($1, $2, 'in', '192.0.2.20', '{127.0.0.0/8}')`,
    [trunkId, owner],
  );
  await before.app.stop(0);
  const { dataDir, databaseUrl } = before;
  const server = await startTestApp(t, {}, { dataDir, databaseUrl });
  const peer = await openPeer(t, server);
  const call = invite(peer);
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200);
  call.confirm(answer).ack();
  call.send('BYE');
  await call.response('BYE');
  const { record } = await recordAt(server);
  assert.deepEqual([record['user_id'], record['trunk_id']], [owner, trunkId]);
});

test('with require_consent only those who agreed are recorded', async (t) => {
  const server = await startTestApp(t, { CALLYARD_RECORDING: 'on' });
  const account = await accountOf(server);
  await sql(server, 'UPDATE account_settings SET require_consent = true');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const peer = await openPeer(t, server);
  const talk = async (): Promise<unknown> => {
    const call = invite(peer);
    const answer = await call.response('INVITE');
    call.confirm(answer).ack();
    call.send('BYE');
    await call.response('BYE');
    await eventually(
      () => Promise.resolve(server.app.liveCalls()),
      (live) => live === 0,
    );
    const { record } = await recordAt(server);
    return record['recording_id'];
  };
  assert.equal(await talk(), null);
  await sql(
    server,
    "INSERT INTO consents (user_id, phone, kind, granted, source) VALUES ($1, '+15550100', 'recording', true, 'test')",
    [account],
  );
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.notEqual(await talk(), null);
});
