/** The families of the facade on the whole server: real calls over SIP, a real database, HTTP (contract 2.0, 2.4 to 2.6, 2.9). */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { queryRows } from './_database.ts';
import { header, SDP, SipPeer, type PeerMessage } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Json = Record<string, unknown>;
type Carrier = { readonly server: TestApp; readonly carrier: SipPeer };

/** A server whose trunk is a scripted carrier on this machine. */
async function withCarrier(
  t: TestContext,
  transport = 'udp',
  env: Record<string, string> = {},
): Promise<Carrier> {
  const carrier = await SipPeer.open({ address: '127.0.0.1', port: 9 });
  atEnd(t, () => carrier.close());
  const server = await startTestApp(t, {
    CALLYARD_TRUNK: `sip:127.0.0.1:${carrier.port};transport=${transport}`,
    CALLYARD_TRUNK_USER: 'node',
    CALLYARD_RECORDING: 'off',
    CALLYARD_RATE_LIMIT: '10000',
    CALLYARD_RATE_BURST: '10000',
    ...env,
  });
  carrier.aim(server.sip);
  return { server, carrier };
}

/** Statements as the system role: the tables' owner is held back by row-level security like anybody. */
function sql<T extends object>(server: TestApp, text: string, values: unknown[] = []) {
  return queryRows<T>(`${server.databaseUrl}?options=-c%20role%3Dcallyard_system`, text, values);
}

async function accountOf(server: TestApp): Promise<string> {
  const [row] = await sql<{ user_id: string }>(server, 'SELECT user_id FROM account_settings');
  return row?.user_id ?? 'none';
}

/** How each family places a call, and where its answer has the id. */
const PLACE: readonly [name: string, url: string, body: Json, id: (data: Json) => unknown][] = [
  ['v1', '/v1/phone/calls', { to: '+15550100', customer_id: '7' }, (data) => data['id']],
  [
    'v1 voice',
    '/v1/voice/call',
    { type: 'phone', to: '+15550100', customer_id: '7' },
    (data) => (data['call'] as Json)['id'],
  ],
  ['simple', '/api/call/initiate', { phone_number: '+15550100' }, (data) => data['call_id']],
  [
    'console',
    '/api/call-center/call/make',
    { phoneNumber: '+15550100', customerId: 7 },
    (data) => data['callId'],
  ],
  [
    'console udp',
    '/api/call-center/call/udp/make',
    { phoneNumber: '+15550100', customerId: 7 },
    (data) => data['callId'],
  ],
];

const HANG_UP: readonly [name: string, request: (id: string) => [url: string, body: Json]][] = [
  ['v1', (id) => [`/v1/phone/calls/${id}/hangup`, { reason: 'test' }]],
  ['simple', (id) => [`/api/call/${id}/terminate`, {}]],
  ['console', (id) => ['/api/call-center/call/hangup', { callId: id }]],
  ['console udp', (id) => ['/api/call-center/call/udp/hangup', { callId: id }]],
];

/** The status of a call in every family, in one order. */
async function statuses(server: TestApp, id: string): Promise<unknown[]> {
  const paths = [
    `/v1/phone/calls/${id}`,
    `/api/call/${id}`,
    `/api/call-center/call/${id}/status`,
    `/api/call-center/call/udp/${id}/status`,
  ];
  const answers = await Promise.all(paths.map((path) => server.get<Json>(path)));
  return answers.map(({ data }) => data['status']);
}

async function until(server: TestApp, id: string, wanted: string): Promise<void> {
  const found = await eventually(
    () => statuses(server, id),
    (all) => all.every((status) => status === wanted),
  );
  assert.deepEqual(
    found,
    Array.from({ length: 4 }, () => wanted),
  );
}

/** Where live calls are listed, by family. */
async function listedLive(server: TestApp): Promise<string[][]> {
  const v1 = await server.get<{ calls: { id: string }[] }>('/v1/phone/calls?live=true');
  const lists = [v1.data.calls.map(({ id }) => id)];
  for (const path of ['calls/active', 'calls/udp/active']) {
    const { data } = await server.get<{ calls: { callId: string }[] }>(`/api/call-center/${path}`);
    lists.push(data.calls.map(({ callId }) => callId));
  }
  return lists;
}

async function ended(carrier: SipPeer, invite: PeerMessage, isAnswered: boolean): Promise<void> {
  const id = header(invite, 'call-id');
  const method = isAnswered ? 'BYE' : 'CANCEL';
  const goodbye = await carrier.next(
    method,
    (one) => one.method === method && header(one, 'call-id') === id,
  );
  carrier.respond(goodbye, '200 OK', { toTag: 'c' });
  if (!isAnswered) carrier.respond(invite, '487 Request Terminated', { toTag: 'c' });
}

test('a call placed through one family is seen and ended through every other', async (t) => {
  const { server, carrier } = await withCarrier(t);
  const placed: string[] = [];
  for (const [at, [name, url, body, idOf]] of PLACE.entries()) {
    const [ender, hangUp] = HANG_UP[at % HANG_UP.length] ?? [];
    const isAnswered = at !== 1;
    const answer = await server.post<Json>(url, body);
    assert.equal(answer.status, 201, `${name}: ${JSON.stringify(answer.data)}`);
    const id = String(idOf(answer.data));
    placed.unshift(id);
    const invite = await carrier.invite();
    assert.match(invite.startLine, /^INVITE sip:\+15550100@127\.0\.0\.1/);
    carrier.respond(invite, '180 Ringing', { toTag: 'c' });
    await until(server, id, 'ringing');
    if (isAnswered) {
      carrier.respond(invite, '200 OK', { toTag: 'c', body: SDP() });
      await until(server, id, 'answered');
    }
    assert.deepEqual(await listedLive(server), [[id], [id], [id]], `${name} is live`);
    const [endUrl, endBody] = hangUp?.(id) ?? ['', {}];
    const [over] = await Promise.all([
      server.post<Json>(endUrl, endBody),
      ended(carrier, invite, isAnswered),
    ]);
    assert.equal(over.status, 200, `${name} ended by ${ender}`);
    await until(server, id, isAnswered ? 'ended' : 'failed');
    assert.deepEqual(await listedLive(server), [[], [], []]);
    assert.equal((await server.post(endUrl, endBody)).status, 200, 'a call that is over: 200');
    const { data: call } = await server.get<Json>(`/v1/phone/calls/${id}`);
    assert.deepEqual(
      [call['outcome'], call['ended_by'], call['direction'], call['to']],
      [isAnswered ? 'completed' : 'cancelled', 'api', 'outbound', '+15550100'],
    );
    assert.equal(call['customer_id'], name === 'simple' ? null : '7', name);
    const { data: seen } = await server.get<Json>(`/api/call-center/call/${id}/status`);
    assert.deepEqual([seen['customerId'], seen['phoneNumber']], [call['customer_id'], '+15550100']);
    const talk = await server.get<Json>(`/api/call/${id}/conversation`);
    assert.equal(talk.data['status'], isAnswered ? 'completed' : 'failed');
  }
  await listsEachOnce(server, placed);
});

/** Stored by now: by pages and by cursor each call is there once, newest first. */
async function listsEachOnce(server: TestApp, placed: readonly string[]): Promise<void> {
  type List = { calls: { id: string }[]; pagination: { next_cursor: string | null } };
  await eventually(
    () => sql(server, "SELECT FROM call_records WHERE status IN ('ended', 'failed')"),
    (rows) => rows.length === placed.length,
  );
  const followed: string[] = [];
  let query = 'page_size=2';
  for (let turn = 0; turn < 9; turn++) {
    const { data } = await server.get<List>(`/v1/phone/calls?${query}`);
    followed.push(...data.calls.map(({ id }) => id));
    if (data.pagination.next_cursor === null) break;
    query = `page_size=2&cursor=${data.pagination.next_cursor}`;
  }
  assert.deepEqual(followed, placed);
  const rows: [query: string, count: number][] = [
    ['status=failed', 1],
    ['status=ended', placed.length - 1],
    ['live=false', placed.length],
    ['live=true', 0],
    ['direction=inbound', 0],
    ['page=2&page_size=3', placed.length - 3],
  ];
  for (const [each, count] of rows) {
    const { data } = await server.get<List>(`/v1/phone/calls?${each}`);
    assert.equal(data.calls.length, count, each);
  }
}

test('an inbound call is in every family; a live one is listed as it is now', async (t) => {
  const { server } = await withCarrier(t);
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  const call = peer.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200);
  call.confirm(answer).ack();
  const [v1 = [], active] = await listedLive(server);
  assert.equal(v1.length, 1);
  assert.deepEqual(active, v1);
  const id = v1[0] ?? '';
  await until(server, id, 'answered');
  const { data } = await server.get<{ calls: Json[] }>('/v1/phone/calls');
  assert.deepEqual(
    data.calls.map((one) => [one['id'], one['status'], one['direction'], one['from']]),
    [[id, 'answered', 'inbound', '+15550100']],
  );
  const account = await accountOf(server);
  await sql(
    server,
    `INSERT INTO extensions (user_id, extension, name, kind, enabled) VALUES
       ($1, '1000', 'Line', 'number', true), ($1, '1001', 'Desk', 'sip', true), ($1, '1002', 'Off', 'sip', false)`,
    [account],
  );
  const { data: extensions } = await server.get<{ total: number; items: Json[] }>(
    '/api/call-center/extensions',
  );
  assert.deepEqual(
    extensions.items.map((one) => [one['extension'], one['status'], one['enabled']]),
    [
      ['1000', 'busy', true],
      ['1001', 'offline', true],
      ['1002', 'disabled', false],
    ],
  );
  call.send('BYE');
  await call.response('BYE');
  await until(server, id, 'ended');
});

test('the udp alias takes udp trunks alone; what the account does not have is refused by name', async (t) => {
  const { server } = await withCarrier(t, 'tcp');
  const id = '00000000-0000-4000-8000-00000000dead';
  const rows: [url: string, body: Json, status: number, code: string, path?: string][] = [
    ['/api/call-center/call/udp/make', { phoneNumber: '+15550100' }, 422, 'NO_ROUTE'],
    ['/v1/phone/calls', { to: '110' }, 422, 'NUMBER_NOT_ALLOWED', '/to'],
    ['/api/call/initiate', { phone_number: '110' }, 422, 'NUMBER_NOT_ALLOWED', '/phone_number'],
    [
      '/api/call-center/call/make',
      { phoneNumber: '110' },
      422,
      'NUMBER_NOT_ALLOWED',
      '/phoneNumber',
    ],
    ['/v1/phone/calls', { to: '+15550100', from: '+15550199' }, 422, 'NUMBER_NOT_ALLOWED', '/from'],
    [
      '/v1/phone/calls',
      { to: '+15550100', assistant_id: id },
      422,
      'REFERENCE_NOT_FOUND',
      '/assistant_id',
    ],
    ['/v1/phone/calls', { to: '+15550100', squad_id: id }, 422, 'REFERENCE_NOT_FOUND', '/squad_id'],
    ['/v1/phone/calls', { to: '+15550100', trunk_id: id }, 422, 'REFERENCE_NOT_FOUND', '/trunk_id'],
    [
      '/api/call-center/call/make',
      { phoneNumber: '+15550100', agentId: id },
      422,
      'REFERENCE_NOT_FOUND',
      '/agentId',
    ],
    ['/v1/voice/call', { trunk_id: id }, 400, 'VALIDATION_FAILED', '/trunk_id'],
    ['/v1/voice/call', { assistant_id: id }, 422, 'REFERENCE_NOT_FOUND', '/assistant_id'],
    [`/v1/phone/calls/${id}/hangup`, {}, 404, 'NOT_FOUND'],
    ['/api/call-center/call/hangup', { callId: id }, 404, 'NOT_FOUND'],
  ];
  for (const [url, body, status, code, path] of rows) {
    const { status: got, data } = await server.post<{ error: Json & { details?: Json[] } }>(
      url,
      body,
    );
    assert.deepEqual([got, data.error['code']], [status, code], `${url} ${JSON.stringify(body)}`);
    if (path !== undefined) assert.equal(data.error.details?.[0]?.['path'], path, url);
  }
  assert.equal(server.app.liveCalls(), 0);
});

test('what a call is placed with is on the wire, in the record and in every view of it', async (t) => {
  const { server, carrier } = await withCarrier(t);
  const asked = {
    to: '+15550100',
    greeting: 'Hello {{name}}.',
    variables: { name: 'Ann', visits: 3 },
    customer_id: 'C-1024',
    metadata: { order: 7, tags: ['a'] },
    recording_enabled: true,
    max_duration_s: 600,
  };
  const placed = await server.post<Json>('/v1/phone/calls', asked);
  assert.equal(placed.status, 201);
  const id = String(placed.data['id']);
  const invite = await carrier.invite();
  carrier.respond(invite, '200 OK', { toTag: 'c', body: SDP() });
  await until(server, id, 'answered');
  const live = await server.get<Json>(`/v1/phone/calls/${id}`);
  assert.equal(live.data['recording_enabled'], true);
  assert.equal(live.data['recording_url'], null, 'not before it is ready');
  assert.equal(live.data['duration_seconds'], null);
  type Talk = { messages: { content: string }[] };
  const talk = await eventually(
    () => server.get<Talk>(`/api/call/${id}/conversation`),
    ({ data }) => data.messages.length > 0,
  );
  await Promise.all([
    server.post(`/v1/phone/calls/${id}/hangup`, {}),
    ended(carrier, invite, true),
  ]);
  const over = await eventually(
    () => server.get<Json & { metadata: Json }>(`/v1/phone/calls/${id}`),
    ({ data }) => data['recording_url'] !== null,
  );
  assert.deepEqual(over.data['variables'], { name: 'Ann', visits: '3' });
  assert.deepEqual([over.data.metadata['order'], over.data.metadata['tags']], [7, ['a']]);
  assert.ok('total_tokens' in over.data.metadata);
  const record = await eventually(
    () => server.get<Json & Talk>(`/api/v1/call-records/${id}`),
    ({ data }) => data['status'] === 'ended' && data['recording'] !== null,
  );
  assert.deepEqual(
    [record.data['customer_id'], record.data['variables'], record.data['metadata']],
    ['C-1024', over.data['variables'], over.data.metadata],
  );
  const said = [...talk.data.messages, ...record.data.messages].map(({ content }) => content);
  for (const words of said) assert.ok('Hello Ann.'.startsWith(words), words);
  const wav = await fetch(server.app.httpUrl + String(over.data['recording_url']), {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  assert.deepEqual([wav.status, wav.headers.get('content-type')], [200, 'audio/wav']);
  await wav.arrayBuffer();
});

test('overview and realtime status: trunks, the day, vendors, node', async (t) => {
  const { server, carrier } = await withCarrier(t);
  const before = await server.get<Json & { vos: Json; server: Json }>('/api/call-center/overview');
  assert.deepEqual(
    [before.data.vos['source'], before.data.vos['port'], before.data['activeCalls']],
    ['environment', carrier.port, 0],
  );
  assert.doesNotMatch(JSON.stringify(before.data), /"node"|password|username/);
  const { data: call } = await server.post<Json>('/v1/phone/calls', { to: '+15550100' });
  const invite = await carrier.invite();
  const during = await server.get<Json & { sip: { trunks: Json[] }; providers: Json[] }>(
    '/api/call-center/realtime/status',
  );
  assert.equal(during.status, 200);
  assert.equal(during.data['activeCalls'], 1);
  assert.deepEqual(during.data.sip.trunks, [{ name: 'environment', state: 'static', calls: 1 }]);
  assert.deepEqual(
    during.data.providers.map((one) => [one['kind'], one['vendor'], one['state']]),
    [
      ['stt', 'sim', 'up'],
      ['llm', 'sim', 'up'],
      ['tts', 'sim', 'up'],
    ],
  );
  carrier.respond(invite, '486 Busy Here', { toTag: 'c' });
  await until(server, String(call['id']), 'failed');
  await sql(
    server,
    `INSERT INTO sip_configs (user_id, name, host, port, transport, username, password)
     VALUES ($1, 'Row', 'sip.example.net', 5070, 'tcp', 'who', 'sealed')`,
    [await accountOf(server)],
  );
  const after = await eventually(
    () => server.get<Json & { vos: Json; today: Json }>('/api/call-center/overview'),
    ({ data }) => data.today['failed'] === 1,
  );
  assert.deepEqual(after.data.today, { calls: 1, answered: 0, failed: 1, totalDuration: 0 });
  assert.deepEqual(after.data.vos, {
    configured: true,
    active: true,
    name: 'Row',
    host: 'sip.example.net',
    port: 5070,
    transport: 'tcp',
    registered: false,
    registeredUntil: null,
    source: 'database',
    lastError: null,
  });
});

test('contacts are found by a part of them, wildcards being plain characters', async (t) => {
  const { server } = await withCarrier(t);
  await sql(
    server,
    `INSERT INTO contacts (user_id, name, phone, email, company, tags, do_not_call, created_at)
     SELECT $1, 'Contact ' || n, '+1555010' || n, CASE n WHEN 3 THEN '100%_sure@example.com' END,
            CASE n WHEN 4 THEN '公司' END, '{a,b}', n = 2, now() + n * interval '1 second' FROM generate_series(1, 5) n`,
    [await accountOf(server)],
  );
  type List = { items: Json[]; pagination: Json };
  const find = async (query: string) => {
    const { status, data } = await server.get<List>(`/api/call-center/contacts?${query}`);
    assert.equal(status, 200, query);
    return data.items.map((one) => String(one['name']).at(-1)).join('');
  };
  const rows: [query: string, names: string][] = [
    ['', '54321'],
    ['page=2&pageSize=2', '32'],
    ['keyword=CONTACT', '54321'],
    ['keyword=0104', '4'],
    [`keyword=${encodeURIComponent('%_')}`, '3'],
    ['keyword=%25', '3'],
    ['keyword=_', '3'],
    [`keyword=${encodeURIComponent('公')}`, '4'],
    [`keyword=${encodeURIComponent("' OR 1=1 --")}`, ''],
  ];
  for (const [query, names] of rows) assert.equal(await find(query), names, query);
  const { data } = await server.get<List>(
    '/api/call-center/contacts?pageSize=1&keyword=Contact%202',
  );
  const { id: _id, ...contact } = data.items[0] ?? {};
  assert.deepEqual(contact, {
    name: 'Contact 2',
    phone: '+15550102',
    email: null,
    company: null,
    tags: ['a', 'b'],
    doNotCall: true,
    lastCallAt: null,
  });
  const page = await server.get<List>('/api/call-center/contacts?pageSize=2');
  const next = await find(`pageSize=2&cursor=${String(page.data.pagination['nextCursor'])}`);
  assert.equal(next, '32');
});
