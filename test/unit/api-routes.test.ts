/** The facade's routes: what each answers, held against the OpenAPI document it publishes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import { AppError } from '#lib/errors.ts';
import {
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

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());

async function get(url: string, headers = admin) {
  return app.inject({ url, headers });
}

async function post(url: string, payload: object, headers: Record<string, string> = admin) {
  return app.inject({ method: 'POST', url, headers, payload });
}

test('records: list, one record, and both hide what belongs to another account', async () => {
  const list = await get('/api/v1/call-records');
  assert.equal(list.statusCode, 200);
  assertDeclared(app, 'GET /api/v1/call-records', 200, list.json());
  assert.deepEqual(list.json().data.pagination, {
    page: 1,
    page_size: 20,
    total: 1,
    total_exact: true,
    total_pages: 1,
    has_next: false,
    next_cursor: null,
  });
  const one = await get(`/api/v1/call-records/${RECORD}`);
  assertDeclared(app, 'GET /api/v1/call-records/{id}', 200, one.json());
  assert.equal(one.json().data.recording.url, `/api/v1/call-records/${RECORD}/recording`);
  assert.equal(one.json().data.messages[1].start_ms, 2000);
  assert.equal((await get(`/api/v1/call-records/${RECORD.toUpperCase()}`)).statusCode, 200);

  const stranger = { authorization: `Bearer ${fakes.addKey({ accountId: OTHER_ACCOUNT })}` };
  const hidden = await get(`/api/v1/call-records/${RECORD}`, stranger);
  const missing = await get(`/api/v1/call-records/${MISSING}`, stranger);
  assert.equal(hidden.statusCode, 404);
  assert.equal(hidden.body, missing.body);
  assertDeclared(app, 'GET /api/v1/call-records/{id}', 404, hidden.json());
});

test('a record that is not in the database yet is read from the live call', async () => {
  fakes.messages.set(LIVE, [{ role: 'assistant', content: 'Hi', timestamp: 1767225601 }]);
  const live = await get(`/api/v1/call-records/${LIVE}`);
  assertDeclared(app, 'GET /api/v1/call-records/{id}', 200, live.json());
  assert.equal(live.json().data.status, 'answered');
  assert.equal(live.json().data.duration_seconds, null);
  assert.equal(live.json().data.messages.length, 1);
});

test('a call through /api/call: placed, read, talked in, ended', async () => {
  const body = {
    phone_number: '00 1 (555) 010-0123',
    agent_id: AGENT.toUpperCase(),
    prompt: 'Be brief.',
    variables: { name: 'Ann', visits: 3 },
    unknown_field: 'ignored',
  };
  const placed = await post('/api/call/initiate?unknown=1', body);
  assert.equal(placed.statusCode, 201);
  assertDeclared(app, 'POST /api/call/initiate', 201, placed.json());
  assert.equal(placed.json().data.status, 'connecting');
  assert.equal(placed.json().data.phone_number, '+15550100123');
  const { requestId, signal, ...request } = fakes.placed.at(-1) ?? {};
  assert.equal(signal?.aborted, false);
  assert.equal(requestId, placed.headers['x-request-id']);
  assert.deepEqual(request, {
    accountId: makeCall().accountId,
    to: '+15550100123',
    prompt: 'Be brief.',
    agentId: AGENT,
    variables: { name: 'Ann', visits: '3' },
  });

  const read = await get(`/api/call/${LIVE}`);
  assertDeclared(app, 'GET /api/call/{id}', 200, read.json());
  assert.equal(read.json().data.duration, 7);
  const talk = await get(`/api/call/${LIVE}/conversation`);
  assertDeclared(app, 'GET /api/call/{id}/conversation', 200, talk.json());
  assert.deepEqual([talk.json().data.status, talk.json().data.total], ['active', 1]);

  const ended = await post(`/api/call/${LIVE}/terminate`, { reason: 'enough' });
  assertDeclared(app, 'POST /api/call/{id}/terminate', 200, ended.json());
  assert.equal(ended.json().data.status, 'ended');
  const again = await app.inject({
    method: 'POST',
    url: `/api/call/${LIVE}/terminate`,
    headers: admin,
  });
  assert.equal(again.body, ended.body, 'a call that is over answers alike, also without a body');
  assert.deepEqual(fakes.hangups, [{ id: LIVE, reason: 'enough' }]);
  fakes.calls.set(LIVE, makeCall());
});

test('a call that is over is read from its record', async () => {
  const read = await get(`/api/call/${RECORD}`);
  assertDeclared(app, 'GET /api/call/{id}', 200, read.json());
  assert.equal(read.json().data.duration, 42);
  const talk = await get(`/api/call/${RECORD}/conversation`);
  assert.deepEqual([talk.json().data.status, talk.json().data.total], ['completed', 2]);
  const ended = await post(`/api/call/${RECORD}/terminate`, {});
  assert.deepEqual(ended.json().data, { call_id: RECORD, status: 'ended', duration: 42 });
});

test('a live record without a call: kept by a client, or its owner is gone', async () => {
  const id = '88888888-8888-4888-8888-888888888888';
  const rows = [
    ['api', 409, 'INVALID_STATE'],
    ['core', 504, 'NODE_TIMEOUT'],
  ] as const;
  for (const [source, status, code] of rows) {
    fakes.records.set(id, makeRecord({ id, source, status: 'answered', outcome: null }));
    const answer = await post(`/api/call/${id}/terminate`, {});
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code]);
    assertDeclared(app, 'POST /api/call/{id}/terminate', status, answer.json());
  }
  fakes.records.delete(id);
});

test('every refusal of the call service has its answer', async () => {
  const rows = [
    ['NO_ROUTE', 422, undefined],
    ['NUMBER_NOT_ALLOWED', 422, undefined],
    ['REFERENCE_NOT_FOUND', 422, undefined],
    ['CONCURRENCY_LIMIT', 429, '1'],
    ['OVERLOADED', 503, '2'],
    ['UNAVAILABLE', 503, '2'],
    ['DRAINING', 503, '30'],
  ] as const;
  for (const [code, status, retryAfter] of rows) {
    fakes.placeResult = async () => ({ ok: false, refusal: { code, retryAfterS: null } });
    const answer = await post('/api/call/initiate', { phone_number: '1001' });
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code]);
    assert.equal(answer.headers['retry-after'], retryAfter, code);
    assertDeclared(app, 'POST /api/call/initiate', status, answer.json());
  }
  fakes.placeResult = async () => ({
    ok: false,
    refusal: { code: 'CONCURRENCY_LIMIT', retryAfterS: 9 },
  });
  const limited = await post('/api/call/initiate', { phone_number: '1001' });
  assert.equal(limited.headers['retry-after'], '9');
  fakes.placeResult = null;
});

test('a viewer sees numbers, names, summary, transcript and free-form values masked', async () => {
  const viewer = { authorization: `Bearer ${fakes.addKey({ role: 'viewer' })}` };
  const { data } = (await get(`/api/v1/call-records/${RECORD}`, viewer)).json();
  assert.equal(data.caller_phone, '+155******23');
  assert.equal(data.from_number, '+155******23');
  assert.equal(data.summary, 'Call back at 138****8000');
  assert.equal(data.messages[1].content, 'My number is 138****8000');
  assert.equal(data.metadata.note, 'mail a***@example.com');
  const list = (await get('/api/v1/call-records', viewer)).json();
  assert.equal(list.data.records[0].caller_phone, '+155******23');
  const call = (await get(`/api/call/${LIVE}`, viewer)).json();
  assert.equal(call.data.phone_number, '+155******23');
  const talk = (await get(`/api/call/${RECORD}/conversation`, viewer)).json();
  assert.equal(talk.data.messages[1].content, 'My number is 138****8000');
});

test('a key bound to agents sees and uses these alone', async () => {
  const bound = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  for (const url of [
    `/api/v1/call-records/${RECORD}`,
    `/api/v1/call-records/${RECORD}/recording`,
    `/api/call/${RECORD}`,
    `/api/call/${LIVE}`,
    `/api/call/${LIVE}/conversation`,
  ]) {
    assert.equal((await get(url, bound)).statusCode, 404, url);
  }
  assert.equal((await post(`/api/call/${LIVE}/terminate`, {}, bound)).statusCode, 404);
  await get('/api/v1/call-records', bound);
  assert.deepEqual(fakes.queries.at(-1)?.agentIds, [OTHER_AGENT]);
  const foreign = { phone_number: '1001', agent_id: AGENT };
  const refused = await post('/api/call/initiate', foreign, bound);
  assert.equal(refused.json().error.code, 'REFERENCE_NOT_FOUND');
  await post('/api/call/initiate', { phone_number: '1001' }, bound);
  assert.equal(fakes.placed.at(-1)?.agentId, OTHER_AGENT);
});

test('with the database away: records 503, calls of this node go on', async () => {
  fakes.storeError = new AppError('E_DATABASE_UNREACHABLE', 'connection to 192.0.2.9 refused');
  const list = await get('/api/v1/call-records');
  assert.deepEqual([list.statusCode, list.json().error.code], [503, 'UNAVAILABLE']);
  assert.equal(list.headers['retry-after'], '2');
  assert.doesNotMatch(list.body, /192\.0\.2\.9/);
  assert.equal((await get(`/api/v1/call-records/${MISSING}`)).statusCode, 503);
  assert.equal((await get(`/api/v1/call-records/${LIVE}`)).statusCode, 200);
  assert.equal((await get(`/api/call/${LIVE}`)).statusCode, 200);
  fakes.storeError = new Error('secret detail of a fault of ours');
  const fault = await get('/api/v1/call-records');
  assert.deepEqual([fault.statusCode, fault.json().error.code], [500, 'INTERNAL']);
  assert.doesNotMatch(fault.body, /secret/);
  assertDeclared(app, 'GET /api/v1/call-records', 500, fault.json());
  fakes.storeError = null;
});

test('recording: whole, ranges, disposition, HEAD', async () => {
  const url = `/api/v1/call-records/${RECORD}/recording`;
  const whole = await get(url);
  assert.equal(whole.statusCode, 200);
  assert.equal(whole.headers['content-type'], 'audio/wav');
  assert.equal(whole.headers['accept-ranges'], 'bytes');
  assert.equal(whole.headers['content-length'], '256');
  assert.equal(whole.headers['content-disposition'], `attachment; filename="call-${RECORD}.wav"`);
  assert.deepEqual(whole.rawPayload, fakes.audio);
  const part = await get(`${url}?disposition=inline`, { ...admin, range: 'bytes=250-' });
  assert.equal(part.statusCode, 206);
  assert.equal(part.headers['content-range'], 'bytes 250-255/256');
  assert.match(String(part.headers['content-disposition']), /^inline;/);
  assert.deepEqual([...part.rawPayload], [250, 251, 252, 253, 254, 255]);
  const stale = await get(url, { ...admin, range: 'bytes=0-1', 'if-range': '"other"' });
  assert.equal(stale.statusCode, 200);
  const etag = String(whole.headers['etag']);
  const fresh = await get(url, { ...admin, range: 'bytes=0-1', 'if-range': etag });
  assert.equal(fresh.statusCode, 206);
  const outside = await get(url, { ...admin, range: 'bytes=256-' });
  assert.deepEqual([outside.statusCode, outside.json().error.code], [416, 'RANGE_NOT_SATISFIABLE']);
  assert.equal(outside.headers['content-range'], 'bytes */256');
  assert.equal(outside.headers['content-disposition'], undefined);
  const head = await app.inject({ method: 'HEAD', url, headers: admin });
  assert.deepEqual([head.statusCode, head.headers['content-length'], head.body], [200, '256', '']);
});

test('recording: none, live, expired, gone', async () => {
  const url = `/api/v1/call-records/${RECORD}/recording`;
  const { recording } = makeRecord();
  assert.ok(recording);
  const active = { ...recording, status: 'active' } as const;
  const expired = { ...recording, status: 'expired' } as const;
  const rows = [
    [{ recordingStatus: 'none', recording: null }, 404, 'NO_RECORDING'],
    [{ recordingStatus: 'failed', recording: null }, 404, 'NO_RECORDING'],
    [{ recordingStatus: 'active', recording: active }, 409, 'CALL_LIVE'],
    [{ status: 'answered' }, 409, 'CALL_LIVE'],
    [{ status: 'answered', recordingStatus: 'none', recording: null }, 409, 'CALL_LIVE'],
    [{ status: 'dialing', recordingStatus: 'none', recording: null }, 409, 'CALL_LIVE'],
    [
      { status: 'answered', source: 'api', recordingStatus: 'none', recording: null },
      404,
      'NO_RECORDING',
    ],
    [{ recordingStatus: 'ready', recording: null }, 409, 'CALL_LIVE'],
    [{ recordingStatus: 'expired', recording: null }, 410, 'RECORDING_EXPIRED'],
    [{ recordingStatus: 'ready', recording: expired }, 410, 'RECORDING_EXPIRED'],
  ] as const;
  for (const [changes, status, code] of rows) {
    fakes.records.set(RECORD, makeRecord(changes));
    const answer = await get(url);
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code]);
    assertDeclared(app, 'GET /api/v1/call-records/{id}/recording', status, answer.json());
  }
  fakes.records.set(RECORD, makeRecord());
  const { audio } = fakes;
  fakes.audio = null;
  assert.equal((await get(url)).json().error.code, 'NO_RECORDING');
  fakes.audio = audio;
  assert.equal(
    (await get(`/api/v1/call-records/${LIVE}/recording`)).json().error.code,
    'CALL_LIVE',
  );
});

test('health and readiness', async () => {
  const health = await app.inject('/health');
  assertDeclared(app, 'GET /health', 200, health.json());
  const rows = [
    ['accepting', {}, 200, 'ready'],
    ['accepting', { database: 'down' }, 200, 'degraded'],
    ['accepting', { bus: 'down' }, 200, 'degraded'],
    ['accepting', { sip: 'down' }, 503, 'not_ready'],
    ['accepting', { media: 'down' }, 503, 'not_ready'],
    ['starting', {}, 503, 'not_ready'],
    ['draining', { sip: 'down' }, 503, 'draining'],
    ['overloaded', {}, 503, 'overloaded'],
  ] as const;
  const { ready } = fakes;
  for (const [state, changes, status, expected] of rows) {
    fakes.ready = { state, checks: { ...ready.checks, ...changes } };
    const answer = await app.inject('/ready');
    assert.deepEqual([answer.statusCode, answer.json().status], [status, expected]);
    assertDeclared(app, 'GET /ready', status, answer.json());
  }
  fakes.ready = ready;
});

test('a key bound to no agent places no call; a call nobody waits for any more is told so', async () => {
  const none = { authorization: `Bearer ${fakes.addKey({ agentIds: [] })}` };
  const payload = { phone_number: '+15550100' };
  const refused = await app.inject({
    method: 'POST',
    url: '/api/call/initiate',
    headers: none,
    payload,
  });
  assert.deepEqual([refused.statusCode, refused.json().error.code], [422, 'REFERENCE_NOT_FOUND']);
  fakes.placeResult = () => Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away'));
  const failed = await post('/api/call/initiate', payload);
  fakes.placeResult = null;
  assert.equal(failed.statusCode, 503);
  assert.equal(fakes.placed.at(-1)?.signal?.aborted, true);
});
