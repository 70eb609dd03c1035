/** Calls that come many at once, in odd moments and with odd contents: what holds, on the wire and in the records. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ADMIN_KEY, eventually, freshDatabase, startTestApp, type TestApp } from './_app.ts';
import { clientOf, dataOf, makeAgent } from './_answering.ts';
import { queryRows } from './_database.ts';
import { startFakeCarrier } from './_fake-carrier.ts';
import { PeerCall, SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';
import { startProxy } from './_tcp-proxy.ts';

type Row = Readonly<Record<string, unknown>>;
function msOf(row: Row | undefined, name: string): number {
  const value = row?.[name];
  assert.ok(value instanceof Date, name);
  return value.getTime();
}

type Dialled = { from?: string; called?: string; extra?: readonly string[]; name?: string };

const RULES = '/api/v1/call-answer-rules';

function sql(server: TestApp, text: string, values: unknown[] = []): Promise<Row[]> {
  return queryRows<Row>(`${server.databaseUrl}?options=-c%20role%3Dcallyard_system`, text, values);
}

async function openPeer(t: TestContext, server: TestApp): Promise<SipPeer> {
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  return peer;
}

/** An INVITE from and to any user part. */
function invite(peer: SipPeer, server: TestApp, dialled: Dialled = {}): PeerCall {
  const { from = '+15550100', called = '1000', extra = [], name = '"Peer"' } = dialled;
  const call = new PeerCall(peer, 'INVITE', server.sip);
  const lines = call
    .lines('INVITE')
    .map((line) =>
      line
        .replace('From: "Peer" <sip:+15550100@', `From: ${name} <sip:${from}@`)
        .replace(/^(INVITE|To: <)( ?)sip:1000@/, `$1$2sip:${called}@`),
    );
  peer.send([...lines, 'Content-Type: application/sdp', ...extra], SDP());
  return call;
}

/** The final answer, acknowledged. */
async function finalOf(call: PeerCall): Promise<string> {
  for (;;) {
    const response = await call.response('INVITE');
    if (response.status < 200) continue;
    if (response.status < 300) call.confirm(response).ack();
    else call.ackRefusal(response);
    return response.startLine;
  }
}

/** Rules and settings take effect within a second. */
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1100));

test('a hundred INVITEs at once: as many are answered as the account may have', async (t) => {
  const server = await startTestApp(t, { CALLYARD_MAX_CALLS: '200' });
  await sql(server, 'UPDATE account_settings SET max_concurrent_calls = 5');
  await settled();
  const peer = await openPeer(t, server);
  const calls = Array.from({ length: 100 }, () => invite(peer, server));
  const ends = await Promise.all(calls.map((call) => finalOf(call)));
  const count = (status: string): number => ends.filter((line) => line.includes(status)).length;
  assert.deepEqual([count(' 200 '), count(' 503 ')], [5, 95]);
  assert.equal(server.app.liveCalls(), 5);
  const answered = calls.filter((_, index) => ends[index]?.includes(' 200 ') === true);
  answered[0]?.send('BYE');
  await answered[0]?.response('BYE');
  assert.match(await finalOf(invite(peer, server)), / 200 /, 'room again');
  const rows = await eventually(
    () => sql(server, "SELECT id FROM call_records WHERE outcome = 'congestion'"),
    (found) => found.length === 95,
  );
  assert.equal(rows.length, 95, 'each refusal is in the records');
});

test('callers that a rule refuses keep nobody else out', async (t) => {
  const server = await startTestApp(t);
  const api = clientOf(server);
  await sql(server, 'UPDATE account_settings SET max_concurrent_calls = 1');
  const conditions = { callers: { type: 'include', prefixes: ['+1999'] } };
  // What a rule says is one line, whatever is in it.
  const reason = 'No\r\nX-Evil: 1\r\n\r\n"拒绝" <ü>';
  const action = { answer: false, reject: { status: 603, reason } };
  await dataOf(201, api('POST', RULES, { name: 'spam', priority: 1, conditions, action }));
  await settled();
  const peer = await openPeer(t, server);
  const spam = Array.from({ length: 40 }, (_, i) =>
    invite(peer, server, { from: `+1999555${String(i).padStart(4, '0')}` }),
  );
  const good = invite(peer, server);
  const [kept, ...ends] = await Promise.all([good, ...spam].map((call) => finalOf(call)));
  assert.match(kept ?? '', / 200 /);
  assert.deepEqual([...new Set(ends)], ['SIP/2.0 603 No X-Evil: 1 "拒绝" <ü>']);
});

test('names and numbers of any kind are in the record and spoil nothing', async (t) => {
  const server = await startTestApp(t);
  const peer = await openPeer(t, server);
  const names: [name: string, expected: RegExp | null][] = [
    [`"${'x'.repeat(2000)}"`, /^x{255}$/],
    ['"O\\"Brien \\\\ <sip:a@b>"', /^O"Brien \\ <sip:a@b>$/],
    ['"张伟 🙂"', /^张伟 🙂$/],
    [`"${'🙂'.repeat(300)}"`, /^(?:🙂){255}$/u],
  ];
  for (const [name, expected] of names) {
    const call = invite(peer, server, { name, from: `u${'9'.repeat(290)}` });
    assert.match(await finalOf(call), / 200 /);
    call.send('BYE');
    await call.response('BYE');
    const [row] = await eventually(
      () =>
        sql(server, 'SELECT caller_name, caller_phone FROM call_records WHERE sip_call_id = $1', [
          call.callId,
        ]),
      (rows) => rows.length === 1,
    );
    assert.match(String(row?.['caller_name']), expected ?? /^null$/);
    assert.equal(String(row?.['caller_phone']).length, 50);
  }
});

test('CANCEL at once, before anything is looked up: 487, abandoned, nothing left', async (t) => {
  const server = await startTestApp(t);
  const peer = await openPeer(t, server);
  const calls = Array.from({ length: 20 }, () => {
    const call = invite(peer, server);
    call.cancel();
    return call;
  });
  const ends = await Promise.all(calls.map((call) => finalOf(call)));
  assert.ok(
    ends.every((line) => / (?:487|200) /.test(line)),
    ends.join(),
  );
  for (const [index, call] of calls.entries()) {
    if (ends[index]?.includes(' 200 ') !== true) continue;
    call.send('BYE');
    await call.response('BYE');
  }
  await eventually(
    () => Promise.resolve(server.app.liveCalls()),
    (live) => live === 0,
  );
  assert.equal(server.app.liveCalls(), 0);
  const rows = await eventually(
    () => sql(server, "SELECT outcome FROM call_records WHERE status IN ('failed', 'ended')"),
    (found) => found.length === 20,
  );
  const outcomes = new Set(rows.map((row) => row['outcome']));
  for (const outcome of outcomes) assert.ok(['abandoned', 'completed'].includes(String(outcome)));
});

test('the database hangs: calls are answered, and rules that are known still hold', async (t) => {
  const databaseUrl = await freshDatabase(t);
  const proxy = await startProxy(databaseUrl);
  atEnd(t, () => proxy.close());
  const server = await startTestApp(t, {}, { databaseUrl: proxy.url });
  const api = clientOf(server);
  const conditions = { callers: { type: 'include', numbers: ['+15550199'] } };
  const action = { answer: false, reject: { status: 486 } };
  await dataOf(201, api('POST', RULES, { name: 'spam', priority: 1, conditions, action }));
  await settled();
  const peer = await openPeer(t, server);
  const warm = invite(peer, server);
  assert.match(await finalOf(warm), / 200 /);
  proxy.hang();
  await settled();
  const known = [
    [{ from: '+15550199' }, / 486 /],
    [{}, / 200 /],
    // Never dialled before: neither its account's agent nor its binding is in any cache.
    [{ from: '+15550199', called: '2000', extra: ['X-Caller-App: 钉钉'] }, / 486 /],
    [{ called: '2001' }, / 200 /],
  ] as const;
  for (const [dialled, expected] of known) {
    assert.match(await finalOf(invite(peer, server, dialled)), expected, JSON.stringify(dialled));
  }
  proxy.cut();
  proxy.restore();
});

function randomOf(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

const NUMBERS = [
  ...['+15550100', '057188880000', '+8657188880000', '13800138000', '+8613800138000'],
  ...['1001', '10086', '008613800138000', '57188880000', '+19005550100', '*98'],
];
const PREFIXES = ['0571', '+86', '138', '+1', '10', '+86571', '0', '00861', '1900', '*'];
const APPS = ['企业微信', ' 钉钉', 'WeCom', 'wecom ', 'ＷＥＣＯＭ', 'ß', 'SS', 'x'.repeat(60)];

test('what `evaluate` says is what the INVITE gets', async (t) => {
  const server = await startTestApp(t);
  const api = clientOf(server);
  await sql(server, "UPDATE account_settings SET country_code = '86', answer_default = 'reject'");
  const seed = Math.floor(Math.random() * 1e9);
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const list = (withAnonymous: boolean): Row => ({
    type: random() < 0.75 ? 'include' : 'exclude',
    numbers: [pick(NUMBERS), pick(NUMBERS)],
    ...(random() < 0.5 ? { prefixes: [pick(PREFIXES)] } : {}),
    ...(withAnonymous && random() < 0.4 ? { anonymous: random() < 0.7 } : {}),
  });
  const statuses = [403, 404, 480, 486, 503, 603];
  for (let index = 0; index < 16; index++) {
    const conditions = {
      ...(random() < 0.7 ? { callers: list(true) } : {}),
      ...(random() < 0.7 ? { calledNumbers: list(false) } : {}),
      ...(random() < 0.3 ? { apps: { type: 'include', list: [pick(APPS), pick(APPS)] } } : {}),
    };
    if (Object.keys(conditions).length < 2) continue;
    const reject = { status: pick(statuses), reason: `rule ${index}` };
    const priority = 1 + Math.floor(random() * 4);
    const rule = { name: `rule ${index}`, priority, conditions, action: { answer: false, reject } };
    await dataOf(201, api('POST', RULES, rule));
  }
  await settled();
  const peer = await openPeer(t, server);
  for (let index = 0; index < 60; index++) {
    const from = random() < 0.15 ? 'anonymous' : pick(NUMBERS);
    const called = pick(NUMBERS);
    const app = random() < 0.4 ? pick(APPS) : null;
    const end = await finalOf(
      invite(peer, server, { from, called, extra: app === null ? [] : [`X-Caller-App: ${app}`] }),
    );
    const said = await dataOf<{ action: { reject: { status: number; reason: string | null } } }>(
      200,
      api('POST', `${RULES}/evaluate`, {
        ...(from === 'anonymous' ? { anonymous: true } : { caller_phone: from }),
        ...(app === null ? {} : { caller_app: app }),
        called_number: called,
      }),
    );
    const { status, reason } = said.action.reject;
    const label = JSON.stringify({ seed, from, called, app });
    assert.equal(end, `SIP/2.0 ${status} ${reason ?? 'Decline'}`, label);
  }
});

test('one key twice at once is one call; hanging up twice, and during the dialling, is one end', async (t) => {
  const carrier = await startFakeCarrier(t);
  const server = await startTestApp(t, { CALLYARD_TRUNK: carrier.trunk });
  const post = (path: string, body: object | undefined, key?: string) =>
    fetch(server.app.httpUrl + path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const body = { phone_number: '+15550100' };
  const replies = await Promise.all(
    Array.from({ length: 6 }, () => post('/api/call/initiate', body, 'k1')),
  );
  const statuses = replies.map(({ status }) => status).sort((a, b) => a - b);
  assert.ok(statuses.every((status) => status === 201 || status === 409));
  const invites = await eventually(
    () => Promise.resolve(carrier.requests.filter(({ method }) => method === 'INVITE')),
    (sent) => sent.length > 0,
  );
  assert.equal(invites.length, 1);
  const again = await post('/api/call/initiate', body, 'k1');
  const { data } = (await again.json()) as { data: { call_id: string } };
  assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [201, 'true']);
  const ends = await Promise.all([
    post(`/api/call/${data.call_id}/terminate`, {}),
    post(`/v1/phone/calls/${data.call_id}/hangup`, undefined),
    post('/api/call-center/call/hangup', { callId: data.call_id }),
    post(`/api/call/${data.call_id}/terminate`, undefined),
  ]);
  assert.deepEqual(
    ends.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  const ended = carrier.requests.map(({ method }) => method).filter((method) => method !== 'ACK');
  assert.ok(ended.length === 2, ended.join(' '));
});

test('an agent that changes or goes during a call: the call keeps its copy, its record the name', async (t) => {
  const server = await startTestApp(t);
  const api = clientOf(server);
  const agent = await makeAgent(api, 'Night');
  const action = { answer: true, agentId: agent.id };
  const rule = { name: 'night', priority: 1, conditions: {}, action };
  const { id } = await dataOf<{ id: string }>(201, api('POST', RULES, rule));
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer, server);
  assert.match(await finalOf(call), / 200 /);
  await dataOf(200, api('DELETE', `${RULES}/${id}`));
  await dataOf(200, api('DELETE', `/api/v1/agents/${agent.id}`));
  assert.equal(server.app.liveCalls(), 1);
  call.send('BYE');
  await call.response('BYE');
  const [row] = await eventually(
    () => sql(server, "SELECT id, agent_id, rule_id FROM call_records WHERE outcome = 'completed'"),
    (rows) => rows.length === 1,
  );
  assert.deepEqual([row?.['agent_id'], row?.['rule_id']], [agent.id, id]);
  const record = await dataOf<Row>(200, api('GET', `/api/v1/call-records/${String(row?.['id'])}`));
  assert.equal(record['agent_name'], 'Night');
});

test('the recording notice is heard first, and what is recorded begins behind it', async (t) => {
  const server = await startTestApp(t);
  const notice = 'This call is recorded to help us serve you better.';
  await sql(server, 'UPDATE account_settings SET recording_default = true, recording_notice = $1', [
    notice,
  ]);
  await settled();
  const peer = await openPeer(t, server);
  const call = invite(peer, server);
  assert.match(await finalOf(call), / 200 /);
  const [record] = await eventually(
    () => sql(server, "SELECT * FROM call_records WHERE recording_status = 'active'"),
    (rows) => rows.length === 1,
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  call.send('BYE');
  await call.response('BYE');
  const [recording] = await eventually(
    () => sql(server, "SELECT * FROM recordings WHERE status = 'ready'"),
    (rows) => rows.length === 1,
  );
  const noticeMs = msOf(recording, 'notice_at');
  const answerMs = msOf(record, 'answer_time');
  assert.ok(noticeMs - answerMs > 1000, `${noticeMs - answerMs} ms of notice`);
  assert.equal(msOf(recording, 'started_at'), noticeMs);
  const [ended] = await eventually(
    () => sql(server, 'SELECT end_time, messages, recording_status FROM call_records'),
    (rows) => rows[0]?.['recording_status'] === 'ready',
  );
  const talkMs = msOf(ended, 'end_time') - noticeMs;
  const recordedMs = Number(recording?.['duration_ms']);
  assert.ok(Math.abs(recordedMs - talkMs) < 300, `${recordedMs} ms of ${talkMs}`);
  const messages = ended?.['messages'];
  const [first, second] = messages as { content: string }[];
  assert.equal(first?.content, notice);
  assert.notEqual(second?.content, notice);
});

test('numbers are the same in every spelling: owner, binding, rule, trunk', async (t) => {
  const carrier = await startFakeCarrier(t);
  const server = await startTestApp(t, { CALLYARD_TRUNK: carrier.trunk });
  const api = clientOf(server);
  const put = (value: string, agentId: string) =>
    dataOf<{ id: string; value: string }>(
      200,
      api('PUT', '/api/v1/agent-bindings', { kind: 'number', value, agent_id: agentId }),
    );
  const [old, young] = [await makeAgent(api, 'Old'), await makeAgent(api, 'Young')];
  // Bound before the account says which country it is in.
  const first = await put('057188880000', old.id);
  await sql(server, "UPDATE account_settings SET country_code = '86'");
  await settled();
  const second = await put('+86 571 8888 0000', young.id);
  assert.equal(second.id, first.id, 'one number, one binding');
  const numbers = '/v1/phone/numbers';
  const number = await dataOf<Row>(201, api('POST', numbers, { number: '057188880000' }));
  assert.deepEqual([number['number'], number['agent_id']], ['+8657188880000', young.id]);
  const peer = await openPeer(t, server);
  for (const called of ['057188880000', '+8657188880000', '8657188880000', '008657188880000']) {
    const call = invite(peer, server, { called });
    assert.match(await finalOf(call), / 200 /);
    call.send('BYE');
    await call.response('BYE');
    const [row] = await eventually(
      () => sql(server, 'SELECT agent_id FROM call_records WHERE sip_call_id = $1', [call.callId]),
      (rows) => rows.length === 1,
    );
    assert.equal(row?.['agent_id'], young.id, called);
  }
  const placed = await api('POST', '/v1/phone/calls', { to: '+15550100', from: '057188880000' });
  assert.equal(placed.status, 201, JSON.stringify(placed.body));
});

test('a key for some agents: everything else is missing, in every family', async (t) => {
  const carrier = await startFakeCarrier(t);
  const server = await startTestApp(t, { CALLYARD_TRUNK: carrier.trunk });
  const api = clientOf(server);
  const [own, other] = [await makeAgent(api, 'Own'), await makeAgent(api, 'Other')];
  const made = await dataOf<{ key: string }>(
    201,
    api('POST', '/api/v1/api-keys', { name: 'some', role: 'admin', agent_ids: [own.id] }),
  );
  const some = clientOf(server, made.key);
  const place = (client: typeof api, agentId?: string) =>
    client('POST', '/v1/phone/calls', {
      to: '+15550100',
      ...(agentId === undefined ? {} : { assistant_id: agentId }),
    });
  const theirs = await dataOf<{ id: string }>(201, place(api, other.id));
  const mine = await dataOf<{ id: string; assistant_id: string }>(201, place(some));
  assert.equal(mine.assistant_id, own.id);
  assert.equal((await place(some, other.id)).status, 422);
  const initiate = { phone_number: '+15550100', agent_id: other.id };
  assert.equal((await some('POST', '/api/call/initiate', initiate)).status, 422);
  const make = { phoneNumber: '+15550100', agentId: other.id };
  assert.equal((await some('POST', '/api/call-center/call/make', make)).status, 422);
  for (const id of [theirs.id]) {
    const missing: [string, string, object?][] = [
      ['GET', `/v1/phone/calls/${id}`],
      ['POST', `/v1/phone/calls/${id}/hangup`, {}],
      ['GET', `/api/call/${id}`],
      ['POST', `/api/call/${id}/terminate`, {}],
      ['GET', `/api/call/${id}/conversation`],
      ['GET', `/api/call-center/call/${id}/status`],
      ['POST', '/api/call-center/call/hangup', { callId: id }],
      ['GET', `/api/call-center/recordings/${id}/transcript`],
      ['GET', `/api/call-center/recordings/${id}/download`],
      ['GET', `/api/v1/call-records/${id}`],
      ['GET', `/api/v1/call-records/${id}/events`],
      ['GET', `/api/v1/call-records/${id}/recording`],
      ['PATCH', `/api/v1/call-records/${id}`, { summary: 'x' }],
      ['DELETE', `/api/v1/call-records/${id}`],
      ['POST', `/api/v1/call-records/${id}/generate-summary`, {}],
      ['POST', `/api/call-center/ai/analyze/${id}`, {}],
      ['POST', '/api/call-center/ai/check-compliance', { callId: id }],
      ['GET', `/api/v1/agents/${other.id}`],
      ['PATCH', `/v1/assistants/${other.id}`, { greeting: 'x' }],
      ['DELETE', `/api/v1/agents/${other.id}`],
    ];
    for (const [method, path, body] of missing) {
      const { status } = await some(method, path, body);
      // An id in a body that is no path of its own is a reference.
      const expected = path.endsWith('check-compliance') ? 422 : 404;
      assert.equal(status, expected, `${method} ${path}`);
    }
  }
  const lists: [path: string, idsOf: (data: Row) => unknown][] = [
    ['/v1/phone/calls', (data) => (data['calls'] as Row[]).map(({ id }) => id)],
    ['/v1/phone/calls?live=true', (data) => (data['calls'] as Row[]).map(({ id }) => id)],
    ['/api/call-center/calls/active', (data) => (data['calls'] as Row[]).map((c) => c['callId'])],
    ['/api/v1/agents', (data) => (data['agents'] as Row[]).map(() => mine.id)],
  ];
  for (const [path, idsOf] of lists) {
    assert.deepEqual(idsOf(await dataOf<Row>(200, some('GET', path))), [mine.id], path);
  }
  await dataOf(200, api('POST', `/api/call/${theirs.id}/terminate`, {}));
  await dataOf(200, some('POST', `/api/call/${mine.id}/terminate`, {}));
});
