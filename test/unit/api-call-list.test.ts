/** The list of `/v1/phone/calls`, made of live calls and records, and bad input of every call family. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
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
  OTHER_AGENT,
  RECORD,
  type Fakes,
} from './_api-fakes.ts';

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
});

async function get(url: string, headers = admin) {
  return app.inject({ url, headers });
}

async function post(url: string, payload: object, headers = admin) {
  return app.inject({ method: 'POST', url, headers, payload });
}

const idOf = (at: number): string => `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`;
const timeOf = (at: number): string => new Date(Date.UTC(2026, 0, 1) + at * 1000).toISOString();

/** Calls 1 to `count` a second apart; `live` are live, and those of them in `both` have a record that lags behind. */
function fill(count: number, live: (at: number) => boolean, both: (at: number) => boolean): void {
  fakes.calls.clear();
  fakes.records.clear();
  for (let at = 1; at <= count; at++) {
    const common = { id: idOf(at), startTime: timeOf(at) };
    if (live(at)) fakes.calls.set(idOf(at), makeCall({ ...common, status: 'answered' }));
    if (!live(at) || both(at)) {
      fakes.records.set(
        idOf(at),
        makeRecord({ ...common, status: live(at) ? 'dialing' : 'ended' }),
      );
    }
  }
}

async function listed(
  query: string,
): Promise<{ ids: string[]; next: string | null; total: number }> {
  const answer = await get(`/v1/phone/calls?${query}`);
  assert.equal(answer.statusCode, 200, answer.body);
  assertDeclared(app, 'GET /v1/phone/calls', 200, answer.json());
  const { calls, pagination } = answer.json().data;
  return {
    ids: calls.map((call: { id: string }) => call.id),
    next: pagination.next_cursor,
    total: pagination.total,
  };
}

test('the list shows each call once, in order, by page and by cursor, however live and stored ones mix', async () => {
  const mixes: [name: string, live: (at: number) => boolean, both: (at: number) => boolean][] = [
    ['none live', () => false, () => false],
    ['all live, half of them stored', () => true, (at) => at % 2 === 0],
    ['the newest live', (at) => at > 15, () => true],
    ['the oldest live', (at) => at < 6, () => true],
    ['every third live', (at) => at % 3 === 0, (at) => at % 2 === 0],
  ];
  const all = Array.from({ length: 20 }, (_, at) => idOf(20 - at));
  for (const [name, live, both] of mixes) {
    fill(20, live, both);
    for (const size of [1, 3, 7, 20, 100]) {
      const paged: string[] = [];
      for (let page = 1; page <= Math.ceil(20 / size); page++) {
        const found = await listed(`page=${page}&page_size=${size}`);
        assert.equal(found.total, 20, name);
        paged.push(...found.ids);
      }
      assert.deepEqual(paged, all, `${name}, pages of ${size}`);
      const followed: string[] = [];
      let query = `page_size=${size}`;
      for (let turn = 0; turn < 30; turn++) {
        const found = await listed(query);
        followed.push(...found.ids);
        if (found.next === null) break;
        query = `page_size=${size}&cursor=${found.next}`;
      }
      assert.deepEqual(followed, all, `${name}, cursors of ${size}`);
    }
    assert.deepEqual((await listed('page=99')).ids, [], 'a page past the end');
  }
});

test('the list counts a live call as its owner knows it', async () => {
  fill(
    6,
    (at) => at > 3,
    () => true,
  );
  const rows: [query: string, ids: number[]][] = [
    ['live=true', [6, 5, 4]],
    ['live=false', [3, 2, 1]],
    ['status=answered', [6, 5, 4]],
    ['status=dialing', []],
    ['status=ended', [3, 2, 1]],
    ['live=true&status=ended', []],
    ['live=false&status=answered', []],
    ['live=true&status=answered&page_size=2', [6, 5]],
    ['direction=inbound', [6, 5, 4, 3, 2, 1]],
    ['direction=outbound', []],
    [`assistant_id=${AGENT}`, [6, 5, 4, 3, 2, 1]],
    [`assistant_id=${OTHER_AGENT}`, []],
  ];
  for (const [query, ids] of rows) {
    assert.deepEqual((await listed(query)).ids, ids.map(idOf), query);
  }
  fakes.records.set(RECORD, makeRecord({ channel: 'external', source: 'api' }));
  assert.ok(!(await listed('page_size=100')).ids.includes(RECORD), 'phone and web calls alone');
});

test('live calls are listed while the database is away', async () => {
  fill(
    3,
    () => true,
    () => false,
  );
  const list = fakes.families.ports.phoneCalls;
  const away = new AppError('E_DATABASE_UNREACHABLE', 'away');
  const real = list.list.bind(list);
  Object.assign(list, { list: () => Promise.reject(away) });
  try {
    assert.equal((await get('/v1/phone/calls?live=true')).json().data.calls.length, 3);
    assert.equal((await get('/v1/phone/calls')).json().error.code, 'UNAVAILABLE');
  } finally {
    Object.assign(list, { list: real });
  }
});

test('bad input of the call families', async () => {
  const to = '+15550100';
  const big = { text: 'x'.repeat(16 * 1024) };
  const rows: [url: string, body: object, path: string, rule: string][] = [
    ['/v1/phone/calls', {}, '/to', 'required'],
    ['/v1/phone/calls', { to: 'abc' }, '/to', 'phone'],
    ['/v1/phone/calls', { to: '' }, '/to', 'minLength'],
    ['/v1/phone/calls', { to: 5 }, '/to', 'type'],
    ['/v1/phone/calls', { to: `sip:${'a'.repeat(260)}@x` }, '/to', 'maxLength'],
    ['/v1/phone/calls', { to: 'sip:a@b\r\nX-Evil: 1' }, '/to', 'phone'],
    ['/v1/phone/calls', { to: 'sip:<a>@b' }, '/to', 'phone'],
    ['/v1/phone/calls', { to: 'sip:a@b?Replaces=1' }, '/to', 'phone'],
    ['/v1/phone/calls', { to: 'sip:a@b@c' }, '/to', 'phone'],
    ['/v1/phone/calls', { to: 'sip:"a"@b' }, '/to', 'phone'],
    ['/v1/phone/calls', { to, from: 'nobody' }, '/from', 'phone'],
    ['/v1/phone/calls', { to, from: 'sip:a@b' }, '/from', 'phone'],
    ['/v1/phone/calls', { to, assistant_id: 'x' }, '/assistant_id', 'uuid'],
    ['/v1/phone/calls', { to, assistant_id: AGENT, squad_id: SQUAD }, '/squad_id', 'exclusive'],
    ['/v1/phone/calls', { to, system_prompt: 'x'.repeat(20_001) }, '/system_prompt', 'maxLength'],
    ['/v1/phone/calls', { to, customer_id: 'x'.repeat(65) }, '/customer_id', 'maxLength'],
    ['/v1/phone/calls', { to, customer_id: 5 }, '/customer_id', 'type'],
    ['/v1/phone/calls', { to, ring_timeout_s: 4 }, '/ring_timeout_s', 'minimum'],
    ['/v1/phone/calls', { to, ring_timeout_s: 121 }, '/ring_timeout_s', 'maximum'],
    ['/v1/phone/calls', { to, ring_timeout_s: '30' }, '/ring_timeout_s', 'type'],
    ['/v1/phone/calls', { to, max_duration_s: 9 }, '/max_duration_s', 'minimum'],
    ['/v1/phone/calls', { to, max_duration_s: 14_401 }, '/max_duration_s', 'maximum'],
    ['/v1/phone/calls', { to, max_duration_s: 60.5 }, '/max_duration_s', 'type'],
    ['/v1/phone/calls', { to, variables: [] }, '/variables', 'type'],
    ['/v1/phone/calls', { to, variables: big }, '/variables', 'size'],
    [
      '/v1/phone/calls',
      { to, metadata: { ['k'.repeat(65)]: 1 } },
      `/metadata/${'k'.repeat(65)}`,
      'name',
    ],
    ['/v1/phone/calls', { to, greeting: 'a\0b' }, '/greeting', 'text'],
    ['/v1/phone/calls', { to, phoneNumber: to }, '/phoneNumber', 'unknown'],
    ['/v1/phone/calls?x=1', { to }, '?x', 'unknown'],
    ['/v1/voice/call', { from: to }, '/from', 'exclusive'],
    ['/v1/voice/call', { type: 'web', trunk_id: MISSING }, '/trunk_id', 'exclusive'],
    ['/v1/voice/call', { to: 'sip:a@192.0.2.1' }, '/to', 'phone'],
    ['/v1/voice/call', { amd: true }, '/amd', 'unsupported'],
    ['/v1/voice/call', { variables: big }, '/variables', 'size'],
    ['/v1/voice/call', { type: 'fax', to }, '/type', 'enum'],
    ['/v1/voice/call', { type: 'phone' }, '/to', 'required'],
    [`/v1/phone/calls/${LIVE}/hangup`, { reason: 'x'.repeat(201) }, '/reason', 'maxLength'],
    [`/v1/phone/calls/${LIVE}/hangup`, { cause: 'x' }, '/cause', 'unknown'],
    ['/v1/phone/calls/udp/hangup', {}, '/id', 'uuid'],
    ['/api/call/initiate', {}, '/phone_number', 'required'],
    ['/api/call/initiate', { phone_number: 'sip:a@b' }, '/phone_number', 'phone'],
    ['/api/call/initiate', { phone_number: 'x', media: 'websocket' }, '/phone_number', 'phone'],
    ['/api/call-center/call/make', {}, '/phoneNumber', 'required'],
    ['/api/call-center/call/make', { phone_number: to }, '/phoneNumber', 'required'],
    ['/api/call-center/call/make', { phoneNumber: 'sip:a@b' }, '/phoneNumber', 'phone'],
    ['/api/call-center/call/make', { phoneNumber: to, agentId: 'x' }, '/agentId', 'uuid'],
    ['/api/call-center/call/udp/make', { phoneNumber: 'x' }, '/phoneNumber', 'phone'],
    ['/api/call-center/call/hangup', {}, '/callId', 'required'],
    ['/api/call-center/call/hangup', { callId: 'udp' }, '/callId', 'uuid'],
    ['/api/call-center/call/udp/hangup', { callId: 5 }, '/callId', 'type'],
  ];
  const count = fakes.placed.length;
  for (const [url, body, path, rule] of rows) {
    const answer = await post(url, body);
    const name = `${url} ${JSON.stringify(body).slice(0, 80)}`;
    assert.equal(answer.statusCode, 400, `${name}: ${answer.body}`);
    const { code, details } = answer.json().error;
    assert.equal(code, 'VALIDATION_FAILED', name);
    const faults = details.map((one: { path: string; rule: string }) => `${one.path} ${one.rule}`);
    assert.ok(faults.includes(`${path} ${rule}`), `${name}: ${faults.join(', ')}`);
  }
  for (const customerId of [1.5, 1e300, '', 'x'.repeat(65), true, {}]) {
    const answer = await post('/api/call-center/call/make', { phoneNumber: to, customerId });
    assert.equal(answer.statusCode, 400, JSON.stringify(customerId));
  }
  assert.equal(fakes.placed.length, count, 'nothing was dialled');
  assert.deepEqual(fakes.sockets.placed, [], 'nor begun on the web');
  const reads: [url: string, status: number, code: string][] = [
    ['/v1/phone/calls?live=1', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?status=connecting', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?agent_id=1', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?page=0', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?page_size=101', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?page=101&page_size=100', 400, 'VALIDATION_FAILED'],
    ['/v1/phone/calls?cursor=xyz', 400, 'VALIDATION_FAILED'],
    [
      `/v1/phone/calls?cursor=${Buffer.from(`1|2|2026-01-01 00:00:00+00|${LIVE}`).toString('base64url')}`,
      400,
      'VALIDATION_FAILED',
    ],
    ['/v1/phone/calls/nonsense', 400, 'VALIDATION_FAILED'],
    [`/v1/phone/calls/${MISSING}`, 404, 'NOT_FOUND'],
    ['/v1/phone/calls/', 404, 'ROUTE_NOT_FOUND'],
    ['/api/call-center/call/udp/status', 400, 'VALIDATION_FAILED'],
    ['/api/call-center/call/udp/udp/status', 400, 'VALIDATION_FAILED'],
    [`/api/call-center/call/${MISSING}/status`, 404, 'NOT_FOUND'],
    ['/api/call-center/call/make', 405, 'METHOD_NOT_ALLOWED'],
    ['/api/call-center/call/udp/make', 405, 'METHOD_NOT_ALLOWED'],
  ];
  for (const [url, status, code] of reads) {
    const answer = await get(url);
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code], url);
  }
});
