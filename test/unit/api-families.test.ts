/** One call, four views (contract 2.0): statuses, shapes, placing, ending and listing through every family. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import type { CallStatus, Outcome } from '#lib/call-events.ts';
import type { LiveCallView, PlaceCall } from '#sessions/call-service-types.ts';
import {
  ACCOUNT,
  AGENT,
  assertDeclared,
  LIVE,
  makeApi,
  makeCall,
  makeFakes,
  makeRecord,
  MISSING,
  OTHER_ACCOUNT,
  OTHER_AGENT,
  RECORD,
  type Fakes,
} from './_api-fakes.ts';

const TRUNK = '99999999-9999-4999-8999-000000000001';
const SQUAD = '99999999-9999-4999-8999-000000000002';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());

beforeEach(() => {
  fakes.calls.clear();
  fakes.calls.set(LIVE, makeCall());
  fakes.records.clear();
  fakes.records.set(RECORD, makeRecord());
  fakes.placeResult = null;
  fakes.storeError = null;
  fakes.hangups.length = 0;
});

type Json = Record<string, unknown>;

async function get(url: string, headers = admin) {
  return app.inject({ url, headers });
}

async function post(url: string, payload: object, headers = admin) {
  return app.inject({ method: 'POST', url, headers, payload });
}

/** The paths by which each family reads one call. */
const READS: readonly [family: string, route: string, path: (id: string) => string][] = [
  ['v1', 'GET /v1/phone/calls/{id}', (id) => `/v1/phone/calls/${id}`],
  ['simple', 'GET /api/call/{id}', (id) => `/api/call/${id}`],
  [
    'console',
    'GET /api/call-center/call/{callId}/status',
    (id) => `/api/call-center/call/${id}/status`,
  ],
  [
    'console udp',
    'GET /api/call-center/call/udp/{callId}/status',
    (id) => `/api/call-center/call/udp/${id}/status`,
  ],
  ['records', 'GET /api/v1/call-records/{id}', (id) => `/api/v1/call-records/${id}`],
];

test('every status has its word in every family, live and stored', async () => {
  const rows: [CallStatus, Outcome | null, simple: string, conversation: string][] = [
    ['queued', null, 'connecting', 'pending'],
    ['dialing', null, 'connecting', 'pending'],
    ['ringing', null, 'ringing', 'pending'],
    ['answered', null, 'answered', 'active'],
    ['ended', 'completed', 'ended', 'completed'],
    ['ended', 'idle', 'ended', 'expired'],
    ['ended', 'media_lost', 'ended', 'completed'],
    ['failed', 'busy', 'failed', 'failed'],
    ['failed', 'cancelled', 'failed', 'failed'],
  ];
  for (const [status, outcome, simple, conversation] of rows) {
    for (const kind of ['live', 'stored'] as const) {
      const id = kind === 'live' ? LIVE : RECORD;
      if (kind === 'live') fakes.calls.set(id, makeCall({ status, outcome }));
      else fakes.records.set(id, makeRecord({ status, outcome }));
      const name = `${kind} ${status} ${outcome}`;
      for (const [family, , path] of READS) {
        const answer = await get(path(id));
        const isCore = family === 'v1' || family === 'records';
        assert.equal(answer.json().data.status, isCore ? status : simple, `${family}: ${name}`);
      }
      if (kind === 'stored') {
        const talk = await get(`/api/call/${id}/conversation`);
        assert.equal(talk.json().data.status, conversation, name);
      }
    }
  }
});

test('one call through every family: the same facts, each as declared', async () => {
  const known = {
    trunkId: TRUNK,
    squadId: SQUAD,
    customerId: 'C-1',
    variables: { name: 'Ann' },
    metadata: { note: 'x' },
  };
  fakes.calls.set(LIVE, makeCall({ ...known, recordingStatus: 'active' }));
  fakes.records.set(
    RECORD,
    makeRecord({ ...known, cost: { amount: 0.5, currency: 'CNY' }, recordingStatus: 'ready' }),
  );
  for (const id of [LIVE, RECORD]) {
    for (const [, route, path] of READS) {
      const answer = await get(path(id.toUpperCase()));
      assert.equal(answer.statusCode, 200, route);
      assertDeclared(app, route, 200, answer.json());
      const data = answer.json().data as Json;
      assert.equal(data['id'] ?? data['callId'] ?? data['call_id'], id, route);
      const remote =
        data['phone_number'] ?? data['phoneNumber'] ?? data['caller_phone'] ?? data['from'];
      assert.equal(remote, '+15550100123', route);
    }
  }
  const live = (await get(`/v1/phone/calls/${LIVE}`)).json().data;
  assert.deepEqual(live, {
    id: LIVE,
    direction: 'inbound',
    channel: 'phone',
    status: 'answered',
    from: '+15550100123',
    to: '1000',
    assistant_id: AGENT,
    assistant_name: 'Default agent',
    squad_id: SQUAD,
    customer_id: 'C-1',
    campaign_id: null,
    trunk_id: TRUNK,
    started_at: '2026-01-01T00:00:00.000Z',
    answered_at: '2026-01-01T00:00:01.000Z',
    ended_at: null,
    duration_seconds: null,
    hangup_reason: null,
    outcome: null,
    ended_by: null,
    recording_enabled: true,
    recording_url: null,
    cost: null,
    variables: { name: 'Ann' },
    metadata: { note: 'x' },
    quality: null,
    latency: null,
  });
  const stored = (await get(`/v1/phone/calls/${RECORD}`)).json().data;
  assert.deepEqual(
    [stored.duration_seconds, stored.ended_by, stored.cost.amount, stored.latency.turns],
    [42, 'caller', 0.5, 1],
  );
  assert.equal(stored.recording_url, `/api/v1/call-records/${RECORD}/recording`);
});

test('a viewer sees numbers and free-form values masked in every family', async () => {
  const viewer = { authorization: `Bearer ${fakes.addKey({ role: 'viewer' })}` };
  const personal = { customerId: '13800138000', metadata: { mail: 'ann@example.com' } };
  fakes.calls.set(LIVE, makeCall({ ...personal, callerPhone: '+8613800138000' }));
  for (const [, route, path] of READS) {
    const { body } = await get(path(LIVE), viewer);
    assert.doesNotMatch(body, /13800138000|15550100123|ann@example/, route);
  }
  const { body } = await get('/v1/phone/calls', viewer);
  assert.doesNotMatch(body, /13800138000|15550100123|ann@example/);
  const active = await get('/api/call-center/calls/active', viewer);
  assert.doesNotMatch(active.body, /13800138000|15550100123/);
});

test('what is not yours is not there, in any family', async () => {
  const stranger = { authorization: `Bearer ${fakes.addKey({ accountId: OTHER_ACCOUNT })}` };
  const narrow = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  for (const headers of [stranger, narrow]) {
    for (const [, route, path] of READS) {
      const hidden = await get(path(LIVE), headers);
      assert.deepEqual([hidden.statusCode, hidden.json().error.code], [404, 'NOT_FOUND'], route);
      assert.equal((await get(path(MISSING), headers)).body, hidden.body, route);
    }
    assert.deepEqual((await get('/v1/phone/calls?live=true', headers)).json().data.calls, []);
    const active = await get('/api/call-center/calls/active', headers);
    assert.deepEqual(active.json().data, { total: 0, calls: [] });
    for (const [url, body] of [
      [`/v1/phone/calls/${LIVE}/hangup`, {}],
      [`/api/call/${LIVE}/terminate`, {}],
      ['/api/call-center/call/hangup', { callId: LIVE }],
      ['/api/call-center/call/udp/hangup', { callId: LIVE }],
    ] as const) {
      assert.equal((await post(url, body, headers)).statusCode, 404, url);
    }
  }
  assert.deepEqual(fakes.hangups, []);
});

/** The request as the call service got it, without what every request carries. */
function lastPlaced(): Partial<PlaceCall> {
  const { requestId, signal, ...rest } = fakes.placed.at(-1) ?? {};
  assert.equal(typeof requestId, 'string');
  assert.equal(signal?.aborted, false);
  return rest;
}

test('placing: every field of every family reaches the one call service', async () => {
  const whole = {
    to: '00 1 (555) 010-0123',
    from: '+1 555 0199',
    assistant_id: AGENT.toUpperCase(),
    system_prompt: 'Be brief.',
    greeting: 'Hello.',
    variables: { name: 'Ann', visits: 3, deep: { a: [1] } },
    customer_id: 'C-1',
    recording_enabled: false,
    trunk_id: TRUNK,
    ring_timeout_s: 5,
    max_duration_s: 14_400,
    amd: true,
    metadata: { order: 7 },
  };
  const core = {
    accountId: ACCOUNT,
    to: '+15550100123',
    from: '+15550199',
    agentId: AGENT,
    prompt: 'Be brief.',
    greeting: 'Hello.',
    variables: { name: 'Ann', visits: '3', deep: '{"a":[1]}' },
    customerId: 'C-1',
    recordingEnabled: false,
    trunkId: TRUNK,
    ringTimeoutS: 5,
    maxDurationS: 14_400,
    amd: true,
    metadata: { order: 7 },
  };
  const bare = { accountId: ACCOUNT, to: '+15550100123' };
  const rows: [url: string, body: object, expected: Partial<PlaceCall>][] = [
    ['/v1/phone/calls', whole, core],
    ['/v1/voice/call', { type: 'phone', ...whole }, core],
    ['/v1/phone/calls', { to: '+15550100123' }, bare],
    ['/v1/phone/calls', { to: '+15550100123', squad_id: SQUAD }, { ...bare, squadId: SQUAD }],
    [
      '/v1/phone/calls',
      { to: 'sip:desk@pbx.example.net' },
      { ...bare, to: 'sip:desk@pbx.example.net' },
    ],
    ['/api/call/initiate', { phone_number: '+15550100123', media: 'sip' }, bare],
    [
      '/api/call-center/call/make',
      {
        phoneNumber: '+15550100123',
        customerId: 42,
        systemPrompt: 'Hi',
        agentId: AGENT,
        more: true,
      },
      { ...bare, customerId: '42', prompt: 'Hi', agentId: AGENT },
    ],
    [
      '/api/call-center/call/make',
      { phoneNumber: '+15550100123', customerId: 'C-1' },
      { ...bare, customerId: 'C-1' },
    ],
    [
      '/api/call-center/call/udp/make',
      { phoneNumber: '+15550100123' },
      { ...bare, trunkTransport: 'udp' },
    ],
  ];
  for (const [url, body, expected] of rows) {
    const answer = await post(url, body);
    assert.equal(answer.statusCode, 201, `${url} ${answer.body}`);
    assertDeclared(app, `POST ${url}`, 201, answer.json());
    assert.deepEqual(lastPlaced(), expected, url);
  }
  const made = await post('/api/call-center/call/make', { phoneNumber: '+15550100123' });
  assert.equal(made.json().data.status, 'connecting');
  assert.equal(made.json().data.message, made.json().message);
  const spoken = await post('/v1/voice/call', { type: 'phone', to: '+15550100123' });
  assert.deepEqual([spoken.json().data.ws_url, spoken.json().data.call.status], [null, 'queued']);
});

test('a key bound to agents: its first agent stands in, others do not exist, a squad is left to the service', async () => {
  const narrow = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT, AGENT] })}` };
  await post('/v1/phone/calls', { to: '+15550100' }, narrow);
  assert.equal(lastPlaced().agentId, OTHER_AGENT);
  await post('/v1/phone/calls', { to: '+15550100', squad_id: SQUAD }, narrow);
  assert.deepEqual(lastPlaced().allowedAgentIds, [OTHER_AGENT, AGENT]);
  assert.equal(lastPlaced().agentId, undefined);
  const count = fakes.placed.length;
  const other = await post('/v1/phone/calls', { to: '+15550100', assistant_id: MISSING }, narrow);
  assert.equal(other.json().error.code, 'REFERENCE_NOT_FOUND');
  const none = { authorization: `Bearer ${fakes.addKey({ agentIds: [] })}` };
  for (const body of [{ to: '+15550100' }, { to: '+15550100', squad_id: SQUAD }]) {
    assert.equal((await post('/v1/phone/calls', body, none)).statusCode, 422);
  }
  assert.equal(fakes.placed.length, count, 'the call service was not asked');
});

test('a refusal names the field as the family spells it', async () => {
  const v1 = { agent: '/assistant_id', squad: '/squad_id', trunk: '/trunk_id' };
  const rows = [
    ['REFERENCE_NOT_FOUND', 'agent', 422, [v1.agent, '/agent_id', '/agentId'], 'exists'],
    ['REFERENCE_NOT_FOUND', 'squad', 422, [v1.squad, '', ''], 'exists'],
    ['REFERENCE_NOT_FOUND', 'trunk', 422, [v1.trunk, '', ''], 'exists'],
    ['REFERENCE_NOT_FOUND', undefined, 422, [v1.agent, '/agent_id', '/agentId'], 'exists'],
    ['NUMBER_NOT_ALLOWED', undefined, 422, ['/to', '/phone_number', '/phoneNumber'], 'allowed'],
    ['NUMBER_NOT_ALLOWED', 'to', 422, ['/to', '/phone_number', '/phoneNumber'], 'allowed'],
    ['NUMBER_NOT_ALLOWED', 'from', 422, ['/from', '', ''], 'allowed'],
    ['CONSENT_MISSING', undefined, 422, null, null],
    ['NO_ROUTE', undefined, 422, null, null],
    ['CONCURRENCY_LIMIT', undefined, 429, null, null],
    ['OVERLOADED', undefined, 503, null, null],
    ['DRAINING', undefined, 503, null, null],
    ['UNAVAILABLE', undefined, 503, null, null],
  ] as const;
  const families = [
    ['/v1/phone/calls', { to: '+15550100' }],
    ['/api/call/initiate', { phone_number: '+15550100' }],
    ['/api/call-center/call/make', { phoneNumber: '+15550100' }],
  ] as const;
  for (const [code, field, status, paths, rule] of rows) {
    const refusal = { code, retryAfterS: 7, ...(field === undefined ? {} : { field }) };
    fakes.placeResult = async () => ({ ok: false, refusal });
    for (const [at, [url, body]] of families.entries()) {
      const answer = await post(url, body);
      const { error } = answer.json();
      assert.deepEqual([answer.statusCode, error.code], [status, code], url);
      assert.equal(answer.headers['retry-after'], '7');
      assertDeclared(app, `POST ${url}`, status, answer.json());
      const fault = error.details?.[0];
      assert.deepEqual(
        [fault?.path, fault?.rule],
        paths === null ? [undefined, undefined] : [paths[at], rule],
      );
    }
  }
});

test('a call is ended through every family, once, and stays ended', async () => {
  const rows = [
    [`/v1/phone/calls/${LIVE}/hangup`, { reason: 'enough' }, 'POST /v1/phone/calls/{id}/hangup'],
    [`/api/call/${LIVE}/terminate`, { reason: 'enough' }, 'POST /api/call/{id}/terminate'],
    ['/api/call-center/call/hangup', { callId: LIVE }, 'POST /api/call-center/call/hangup'],
    ['/api/call-center/call/udp/hangup', { callId: LIVE }, 'POST /api/call-center/call/udp/hangup'],
  ] as const;
  for (const [url, body, route] of rows) {
    fakes.calls.set(LIVE, makeCall());
    fakes.hangups.length = 0;
    const ended = await post(url, body);
    assert.equal(ended.statusCode, 200, ended.body);
    assertDeclared(app, route, 200, ended.json());
    const again = await post(url, body);
    assert.equal(again.body, ended.body, 'again: unchanged');
    assert.equal(fakes.hangups.length, 1, url);
    for (const [family, , path] of READS) {
      assert.equal((await get(path(LIVE))).json().data.status, 'ended', `${url} seen by ${family}`);
    }
  }
  assert.equal((await post('/api/call-center/call/hangup', { callId: MISSING })).statusCode, 404);
  fakes.records.set(RECORD, makeRecord({ source: 'api', status: 'answered', outcome: null }));
  const kept = await post(`/v1/phone/calls/${RECORD}/hangup`, {});
  assert.equal(kept.json().error.code, 'INVALID_STATE', 'a record that a client keeps');
});

const idOf = (at: number): string => `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`;

test('active calls: oldest first, at most 1000, udp trunks alone in the alias', async () => {
  const calls: LiveCallView[] = Array.from({ length: 1_050 }, (_, at) =>
    makeCall({ id: idOf(at), trunkTransport: at % 2 === 0 ? 'udp' : 'tcp' }),
  );
  fakes.calls.clear();
  for (const call of calls) fakes.calls.set(call.id, call);
  const all = await get('/api/call-center/calls/active');
  assertDeclared(app, 'GET /api/call-center/calls/active', 200, all.json());
  assert.equal(all.json().data.total, 1_050);
  assert.equal(all.json().data.calls.length, 1_000);
  assert.equal(all.json().data.calls[0].callId, idOf(0));
  const udp = await get('/api/call-center/calls/udp/active');
  assert.equal(udp.json().data.total, 525);
});

test('messages accompany every answer of the console, in the language of the client', async () => {
  const rows = [
    [undefined, 'active calls'],
    ['zh-CN,zh;q=0.9', '进行中的通话'],
  ] as const;
  for (const [language, message] of rows) {
    const headers = language === undefined ? admin : { ...admin, 'accept-language': language };
    assert.equal((await get('/api/call-center/calls/active', headers)).json().message, message);
  }
});
