/** The console beside its calls (contract 2.6 rows 1, 13 to 15), and the account's numbers (2.4), on fakes. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { extensionStatusOf } from '#api/console-status.ts';
import type { ApiServer } from '#api/routing.ts';
import { SimulatedClock } from '#lib/clock.ts';
import type { TrunkFacts } from '#store/console-reads.ts';
import type { Contact } from '#store/contacts.ts';
import {
  AGENT,
  assertDeclared,
  LIVE,
  makeApi,
  makeCall,
  makeFakes,
  MISSING,
  OTHER_AGENT,
  type Fakes,
} from './_api-fakes.ts';

const TRUNK = '99999999-9999-4999-8999-000000000001';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;
const clock = new SimulatedClock();

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes, { clock });
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());
beforeEach(() => {
  fakes.families.trunks = [];
  fakes.families.environmentTrunk = null;
});

async function get(url: string, headers = admin) {
  const answer = await app.inject({ url, headers });
  return { status: answer.statusCode, body: answer.body, json: answer.json() };
}

function trunk(changes: Partial<TrunkFacts> = {}): TrunkFacts {
  return {
    id: TRUNK,
    name: 'Main trunk',
    isActive: true,
    host: 'sip.example.net',
    port: 5080,
    transport: 'tcp',
    registers: true,
    ...changes,
  };
}

const ENVIRONMENT = {
  name: 'environment',
  host: '192.0.2.7',
  port: 5060,
  transport: 'udp',
} as const;

test('overview: which trunk is in use, the server, today in the account’s zone', async () => {
  const { families } = fakes;
  const rows = [
    [[], null, { configured: false, active: false, name: null, source: 'none' }],
    [
      [],
      ENVIRONMENT,
      { configured: true, active: true, name: 'environment', source: 'environment' },
    ],
    [
      [trunk(), trunk({ name: 'Spare' })],
      ENVIRONMENT,
      { configured: true, active: true, name: 'Main trunk', source: 'database' },
    ],
    [
      [trunk({ isActive: false })],
      ENVIRONMENT,
      { configured: true, active: true, name: 'environment', source: 'environment' },
    ],
    [
      [trunk({ isActive: false })],
      null,
      { configured: true, active: false, name: 'Main trunk', source: 'database' },
    ],
  ] as const;
  for (const [trunks, environment, expected] of rows) {
    families.trunks = [...trunks];
    families.environmentTrunk = environment;
    const { status, json } = await get('/api/call-center/overview');
    assert.equal(status, 200);
    assertDeclared(app, 'GET /api/call-center/overview', 200, json);
    const { configured, active, name, source } = json.data.vos;
    assert.deepEqual({ configured, active, name, source }, expected);
    assert.deepEqual([json.data.vos.registered, json.data.vos.registeredUntil], [false, null]);
    assert.equal(json.data.configured, configured);
  }
  const { json } = await get('/api/call-center/overview');
  assert.equal(json.message, 'overview');
  assert.equal(json.data.activeCalls, 1);
  assert.deepEqual(json.data.server, {
    version: '0.0.0-test',
    startedAt: '2025-12-31T23:59:00.000Z',
    uptimeSeconds: 60,
    nodes: 1,
  });
  assert.deepEqual(json.data.today, { calls: 3, answered: 2, failed: 1, totalDuration: 84 });
  // The clock stands at 2026-01-01 00:00 UTC: 08:00 in Shanghai, whose day began at 16:00 UTC.
  assert.equal(families.countedSince.at(-1), '2025-12-31T16:00:00.000Z');
});

test('realtime status: calls, trunks, vendors, nodes; a second old at most, by who asks', async () => {
  const { families } = fakes;
  families.trunks = [trunk(), trunk({ id: MISSING, name: 'Off', isActive: false })];
  families.environmentTrunk = ENVIRONMENT;
  const extra = [
    makeCall({ id: MISSING, status: 'ringing', trunkId: TRUNK, trunkTransport: 'tcp' }),
    makeCall({ id: AGENT, status: 'queued', agentId: OTHER_AGENT }),
  ];
  for (const call of extra) fakes.calls.set(call.id, call);
  const first = await get('/api/call-center/realtime/status');
  assertDeclared(app, 'GET /api/call-center/realtime/status', 200, first.json);
  assert.deepEqual(first.json.data, {
    activeCalls: 3,
    ringingCalls: 1,
    queuedCalls: 1,
    todayCalls: 3,
    todayAnswered: 2,
    sip: {
      registered: false,
      trunks: [
        { name: 'Main trunk', state: 'unregistered', calls: 1 },
        { name: 'Off', state: 'disabled', calls: 0 },
      ],
    },
    providers: [{ kind: 'llm', vendor: 'sim', state: 'up', p50Ms: null }],
    nodes: [{ id: 'node-1', calls: 3, load: 0.25, state: 'accepting' }],
    updatedAt: '2026-01-01T00:00:00.000Z',
  });
  for (const call of extra) fakes.calls.delete(call.id);
  clock.advance(999);
  assert.equal((await get('/api/call-center/realtime/status')).json.data.activeCalls, 3, 'kept');
  const narrow = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  const own = await get('/api/call-center/realtime/status', narrow);
  assert.equal(own.json.data.activeCalls, 0, 'another key has a status of its own');
  clock.advance(1);
  const next = await get('/api/call-center/realtime/status');
  assert.equal(next.json.data.activeCalls, 1, 'a second later it is new');
  families.trunks = [trunk({ registers: false })];
  clock.advance(1_000);
  fakes.calls.set(MISSING, makeCall({ id: MISSING, trunkId: null, trunkTransport: 'udp' }));
  assert.deepEqual((await get('/api/call-center/realtime/status')).json.data.sip.trunks, [
    { name: 'Main trunk', state: 'static', calls: 0 },
  ]);
  families.trunks = [];
  clock.advance(1_000);
  assert.deepEqual((await get('/api/call-center/realtime/status')).json.data.sip.trunks, [
    { name: 'environment', state: 'static', calls: 1 },
  ]);
  fakes.calls.delete(MISSING);
});

test('a status that could not be had is not kept', async () => {
  const { ports } = fakes.families;
  const real = ports.console.trunks.bind(ports.console);
  clock.advance(1_000);
  Object.assign(ports.console, { trunks: () => Promise.reject(new Error('broken')) });
  assert.equal((await get('/api/call-center/realtime/status')).status, 500);
  Object.assign(ports.console, { trunks: real });
  assert.equal((await get('/api/call-center/realtime/status')).status, 200);
});

test('the state of an extension', () => {
  const base = { extension: '801', kind: 'agent', target: null, enabled: true } as const;
  const to801 = makeCall({ toNumber: '801', status: 'answered' });
  const rows = [
    [{}, [], 'idle'],
    [{ kind: 'number', target: '+15550100' }, [], 'idle'],
    [{ kind: 'sip' }, [], 'offline'],
    [{ kind: 'sip' }, [to801], 'busy'],
    [{ enabled: false }, [to801], 'disabled'],
    [{}, [to801], 'busy'],
    [{}, [makeCall({ toNumber: '801', status: 'ringing' })], 'ringing'],
    [{}, [makeCall({ toNumber: '801', status: 'dialing' })], 'ringing'],
    [{}, [makeCall({ toNumber: '801', status: 'ringing' }), to801], 'busy'],
    [{}, [makeCall({ toNumber: '802', fromNumber: '803' })], 'idle'],
    [{}, [makeCall({ toNumber: '+15550100', fromNumber: '801', direction: 'outbound' })], 'busy'],
    [{ kind: 'number', target: '+15550100' }, [makeCall({ toNumber: '+15550100' })], 'busy'],
    [{}, [makeCall({ toNumber: null, fromNumber: null })], 'idle'],
  ] as const;
  for (const [changes, live, expected] of rows) {
    assert.equal(
      extensionStatusOf({ ...base, ...changes }, live),
      expected,
      JSON.stringify(changes),
    );
  }
});

test('contacts: pages, keyword, masked for viewers; extensions', async () => {
  const { families } = fakes;
  families.contacts = Array.from({ length: 3 }, (_, at): Contact => ({
    id: `00000000-0000-4000-8000-00000000000${at}`,
    name: `Contact ${at}`,
    phone: '+8613800138000',
    email: 'ann@example.com',
    company: null,
    tags: ['vip'],
    doNotCall: at === 1,
    lastCallAt: null,
    ...{ note: null, attributes: {} },
    ...{ createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' },
  }));
  const first = await get('/api/call-center/contacts?pageSize=2&unknown=1');
  assertDeclared(app, 'GET /api/call-center/contacts', 200, first.json);
  const { items, pagination } = first.json.data;
  assert.deepEqual(
    items.map((item: { name: string }) => item.name),
    ['Contact 2', 'Contact 1'],
  );
  assert.deepEqual([pagination.total, pagination.totalPages, pagination.hasNext], [3, 2, true]);
  const found = await get('/api/call-center/contacts?keyword=%20contact%201');
  assert.equal(found.json.data.items.length, 1);
  assert.equal((await get('/api/call-center/contacts?keyword=')).json.data.items.length, 3);
  const viewer = { authorization: `Bearer ${fakes.addKey({ role: 'viewer' })}` };
  const masked = await get('/api/call-center/contacts', viewer);
  assert.doesNotMatch(masked.body, /13800138000|ann@/);
  for (const query of [
    'page=0',
    'pageSize=101',
    'pageSize=a',
    'cursor=x',
    `keyword=${'k'.repeat(101)}`,
  ]) {
    assert.equal((await get(`/api/call-center/contacts?${query}`)).status, 400, query);
  }
  families.extensions = [
    {
      id: LIVE,
      extension: '1000',
      name: 'Desk',
      kind: 'agent',
      target: null,
      department: 'Sales',
      enabled: true,
      ...{ agentId: null, hasPassword: false },
      ...{ createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' },
    },
  ];
  const { json } = await get('/api/call-center/extensions');
  assertDeclared(app, 'GET /api/call-center/extensions', 200, json);
  assert.deepEqual([json.data.total, json.data.items[0].status], [1, 'busy']);
});

test('numbers: added, read, changed, released', async () => {
  const url = '/v1/phone/numbers';
  fakes.families.trunkIds.add(TRUNK);
  const send = async (method: 'POST' | 'PATCH' | 'DELETE', path: string, payload?: object) => {
    const answer = await app.inject({
      method,
      url: path,
      headers: admin,
      ...(payload && { payload }),
    });
    return { status: answer.statusCode, json: answer.json() };
  };
  const made = await send('POST', url, { number: '00 1 (555) 0100', label: 'Desk', country: 'US' });
  assert.equal(made.status, 201);
  assertDeclared(app, 'POST /v1/phone/numbers', 201, made.json);
  const { id, ...rest } = made.json.data;
  assert.deepEqual(rest, {
    number: '+15550100',
    label: 'Desk',
    trunk_id: null,
    carrier: 'manual',
    status: 'active',
    monthly_cost: null,
    agent_id: null,
    created_at: '2026-01-01T00:00:00.000Z',
  });
  const list = await get(url);
  assertDeclared(app, 'GET /v1/phone/numbers', 200, list.json);
  assert.equal(list.json.data.pagination.total, 1);
  const own = `${url}/${id}`;
  const changed = await send('PATCH', own, { label: null, trunk_id: TRUNK });
  assertDeclared(app, 'PATCH /v1/phone/numbers/{id}', 200, changed.json);
  assert.deepEqual([changed.json.data.label, changed.json.data.trunk_id], [null, TRUNK]);
  const rows = [
    ['POST', url, {}, 400, 'VALIDATION_FAILED', '/number required'],
    ['POST', url, { number: 'abc' }, 400, 'VALIDATION_FAILED', '/number phone'],
    ['POST', url, { number: 5 }, 400, 'VALIDATION_FAILED', '/number type'],
    ['POST', url, { number: `+${'1'.repeat(32)}` }, 400, 'VALIDATION_FAILED', '/number maxLength'],
    ['POST', url, { number: '+15550199', carrier: 'acme' }, 422, 'CARRIER_UNSUPPORTED', null],
    ['POST', url, { carrier: 'acme', country: 'US' }, 422, 'CARRIER_UNSUPPORTED', null],
    ['POST', url, { number: '+15550100' }, 409, 'CONFLICT', null],
    [
      'POST',
      url,
      { number: '+15550199', trunk_id: MISSING },
      422,
      'REFERENCE_NOT_FOUND',
      '/trunk_id exists',
    ],
    [
      'POST',
      url,
      { number: '+15550199', trunk_id: 'x' },
      400,
      'VALIDATION_FAILED',
      '/trunk_id uuid',
    ],
    ['POST', url, { number: '+15550199', label: '' }, 400, 'VALIDATION_FAILED', '/label minLength'],
    [
      'POST',
      url,
      { number: '+15550199', country: 'USA' },
      400,
      'VALIDATION_FAILED',
      '/country pattern',
    ],
    [
      'POST',
      url,
      { number: '+15550199', status: 'active' },
      400,
      'VALIDATION_FAILED',
      '/status unknown',
    ],
    ['PATCH', own, {}, 400, 'VALIDATION_FAILED', ' minProperties'],
    ['PATCH', own, { number: '+15550199' }, 400, 'VALIDATION_FAILED', '/number unknown'],
    ['PATCH', own, { trunk_id: MISSING }, 422, 'REFERENCE_NOT_FOUND', '/trunk_id exists'],
    ['PATCH', `${url}/${MISSING}`, { label: 'x' }, 404, 'NOT_FOUND', null],
    ['PATCH', `${url}/x`, { label: 'x' }, 400, 'VALIDATION_FAILED', '/id uuid'],
    ['DELETE', `${url}/${MISSING}`, undefined, 404, 'NOT_FOUND', null],
  ] as const;
  for (const [method, path, body, status, code, fault] of rows) {
    const answer = await send(method, path, body);
    const name = `${method} ${JSON.stringify(body)}`;
    assert.deepEqual([answer.status, answer.json.error.code], [status, code], name);
    const faults = (answer.json.error.details ?? []) as { path: string; rule: string }[];
    if (fault !== null)
      assert.ok(
        faults.some((one) => `${one.path} ${one.rule}` === fault),
        name,
      );
  }
  const supervisor = { authorization: `Bearer ${fakes.addKey({ role: 'developer' })}` };
  const refused = await app.inject({ method: 'POST', url, headers: supervisor, payload: {} });
  assert.equal(refused.statusCode, 403);
  const gone = await send('DELETE', own);
  assertDeclared(app, 'DELETE /v1/phone/numbers/{id}', 200, gone.json);
  assert.equal(gone.json.data, null);
  assert.equal((await get(own)).status, 404);
});
