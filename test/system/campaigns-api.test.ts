/** Campaigns over HTTP on a real database: every route, its states, bad input, who sees what, lists and tables of people. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { ADMIN_KEY } from './_app.ts';
import {
  dataOf,
  makeAgent,
  refused,
  setUp,
  type Answering,
  type Client,
  type Reply,
} from './_answering.ts';

const URL = '/api/v1/campaigns';

type Campaign = {
  readonly id: string;
  readonly status: string;
  readonly agent_id: string;
  readonly pause_reason: string | null;
  readonly started_at: string | null;
  readonly counts: Record<string, number>;
  readonly schedule: Record<string, unknown>;
  readonly settings: Record<string, unknown>;
} & Record<string, unknown>;
type Target = { readonly id: string; readonly phone: string } & Record<string, unknown>;
type Added = {
  readonly added: number;
  readonly duplicates: number;
  readonly rejected: { line: number; reason: string }[];
  readonly rejected_total: number;
};

const SETTINGS = {
  ...{ concurrency: 5, cps: 1, ring_timeout_s: 30, max_attempts: 3, retry_delay_s: 1800 },
  ...{ retry_on: ['busy', 'no_answer', 'unreachable', 'congestion'], amd: true },
  ...{ voicemail: 'hangup', stop_failure_pct: 50, stop_window: 20 },
};
const NO_SCHEDULE = { start_at: null, end_at: null, windows: null, timezone: null };
const NO_COUNTS = { pending: 0, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 };
/** A window that is never open: what is started here calls nobody. */
const CLOSED = { windows: [{ weekdays: [1], start: '00:00', end: '00:01' }], timezone: 'UTC' };

async function start(t: Parameters<typeof setUp>[0]) {
  const world = await setUp(t);
  const agent = await makeAgent(world.api, 'Ann');
  const make = (more: object = {}): Promise<Campaign> =>
    dataOf(201, world.api('POST', URL, { name: 'c', agent_id: agent.id, ...more }));
  return { ...world, agent, make };
}

async function sendCsv(world: Answering, id: string, body: string | Buffer, headers = {}) {
  const response = await fetch(`${world.app.app.httpUrl}${URL}/${id}/targets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'text/csv', ...headers },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  });
  return { status: response.status, body: (await response.json()) as Reply['body'] };
}

test('a campaign is made, listed, read, replaced and deleted', async (t) => {
  const { api, agent, make } = await start(t);
  const made = await make();
  assert.deepEqual(made, {
    ...{ id: made.id, name: 'c', agent_id: agent.id, trunk_id: null, from_number: null },
    ...{ schedule: NO_SCHEDULE, settings: SETTINGS, status: 'draft', counts: NO_COUNTS },
    ...{ pause_reason: null, started_at: null, finished_at: null },
    ...{ created_at: made['created_at'], updated_at: made['updated_at'] },
  });
  assert.deepEqual(await dataOf(200, api('GET', `${URL}/${made.id}`)), made);
  const window = { weekdays: [1, 7], start: '22:00', end: '02:00' };
  const full = {
    ...{ name: 'New', agent_id: agent.id.toUpperCase(), trunk_id: null, from_number: null },
    schedule: {
      ...{ start_at: '2031-01-01T00:00:00+08:00', end_at: '2031-02-01T00:00:00Z' },
      ...{ windows: [window], timezone: 'Europe/Berlin' },
    },
    settings: { ...SETTINGS, cps: 0.5, retry_on: [], amd: false, voicemail: 'message' },
  };
  const put = await dataOf<Campaign>(200, api('PUT', `${URL}/${made.id}`, full));
  assert.deepEqual(put.schedule, {
    ...full.schedule,
    start_at: '2030-12-31T16:00:00.000Z',
    end_at: '2031-02-01T00:00:00.000Z',
  });
  assert.deepEqual([put.settings, put['name'], put.agent_id], [full.settings, 'New', agent.id]);
  const { name, agent_id, schedule, settings } = put;
  const again = await dataOf<Campaign>(
    200,
    api('PUT', `${URL}/${made.id}`, { name, agent_id, schedule, settings }),
  );
  assert.deepEqual(
    { ...again, updated_at: put['updated_at'] },
    put,
    'what was read can be written',
  );
  const second = await make({ name: 'second' });
  type List = { campaigns: Campaign[]; pagination: { total: number } };
  const list = await dataOf<List>(200, api('GET', `${URL}?page_size=1`));
  assert.deepEqual([list.campaigns.map(({ id }) => id), list.pagination.total], [[second.id], 2]);
  const none = await dataOf<List>(200, api('GET', `${URL}?status=running`));
  assert.deepEqual(none.campaigns, []);
  assert.equal(await dataOf(200, api('DELETE', `${URL}/${made.id}`)), null);
  for (const method of ['GET', 'DELETE'])
    await refused(api(method, `${URL}/${made.id}`), 404, 'NOT_FOUND');
  await refused(api('PUT', `${URL}/${made.id}`, full), 404, 'NOT_FOUND');
});

test('commands lead through the states; what a state does not allow is 409', async (t) => {
  const { api, make, rows } = await start(t);
  const { id } = await make({ schedule: CLOSED });
  const command = (name: string): Promise<Reply> => api('POST', `${URL}/${id}/${name}`);
  const body = { name: 'x', agent_id: (await make()).agent_id };
  const targets = { targets: [{ phone: '+15550101' }] };
  for (const name of ['pause', 'resume']) await refused(command(name), 409, 'INVALID_STATE');
  await dataOf(201, api('POST', `${URL}/${id}/targets`, targets));
  const started = await dataOf<Campaign>(200, command('start'));
  assert.deepEqual([started.status, started.pause_reason], ['running', null]);
  assert.ok(started.started_at !== null);
  for (const name of ['start', 'resume']) await refused(command(name), 409, 'INVALID_STATE');
  await refused(api('PUT', `${URL}/${id}`, body), 409, 'INVALID_STATE');
  await refused(api('DELETE', `${URL}/${id}`), 409, 'INVALID_STATE');
  assert.equal(
    (await dataOf<Added>(201, api('POST', `${URL}/${id}/targets`, targets))).duplicates,
    1,
  );
  const paused = await dataOf<Campaign>(200, command('pause'));
  assert.deepEqual([paused.status, paused.pause_reason], ['paused', 'user']);
  await refused(api('DELETE', `${URL}/${id}`), 409, 'INVALID_STATE');
  const resumed = await dataOf<Campaign>(200, command('resume'));
  assert.deepEqual([resumed.status, resumed.pause_reason], ['running', null]);
  assert.equal(resumed.started_at, started.started_at);
  const cancelled = await dataOf<Campaign>(200, command('cancel'));
  assert.deepEqual([cancelled.status, cancelled.counts['pending']], ['cancelled', 1]);
  assert.equal((await dataOf<Campaign>(200, command('cancel'))).status, 'cancelled');
  for (const name of ['start', 'pause', 'resume'])
    await refused(command(name), 409, 'INVALID_STATE');
  await refused(api('POST', `${URL}/${id}/targets`, targets), 409, 'INVALID_STATE');
  assert.equal((await dataOf<Campaign>(200, api('PUT', `${URL}/${id}`, body))).status, 'cancelled');

  const later = await make({ schedule: { start_at: '2099-01-01T00:00:00Z' } });
  const scheduled = await dataOf<Campaign>(200, api('POST', `${URL}/${later.id}/start`));
  assert.deepEqual([scheduled.status, scheduled.started_at], ['scheduled', null]);
  await refused(api('POST', `${URL}/${later.id}/start`), 409, 'INVALID_STATE');
  await dataOf(200, api('DELETE', `${URL}/${later.id}`));
  await rows("UPDATE campaigns SET status = 'completed' WHERE id = $1", [id]);
  for (const name of ['start', 'pause', 'resume', 'cancel'])
    await refused(command(name), 409, 'INVALID_STATE');
  await dataOf(200, api('DELETE', `${URL}/${id}`));
  await refused(api('POST', `${URL}/${newId()}/start`), 404, 'NOT_FOUND');
  await refused(api('POST', `${URL}/x/start`), 400, 'VALIDATION_FAILED');
});

test('each command is told once as an event of the account, with the counts', async (t) => {
  const { api, make, rows } = await start(t);
  const { id } = await make({ schedule: CLOSED });
  await dataOf(201, api('POST', `${URL}/${id}/targets`, { targets: [{ phone: '+15550101' }] }));
  for (const name of ['start', 'pause', 'resume', 'cancel'])
    await dataOf(200, api('POST', `${URL}/${id}/${name}`));
  type Event = { type: string; call_id: null; seq: null; data: { reason: string | null } };
  const read = (): Promise<Event[]> =>
    rows(
      "SELECT type, call_id, seq, data FROM call_events WHERE type LIKE 'campaign.%' ORDER BY at",
    );
  let events = await read();
  for (let tries = 0; events.length < 4 && tries < 100; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    events = await read();
  }
  assert.deepEqual(
    events.map(({ type, data }) => [type, data.reason]),
    [
      ['campaign.started', null],
      ['campaign.paused', 'user'],
      ['campaign.started', 'resumed'],
      ['campaign.completed', 'cancelled'],
    ],
  );
  const counts = { ...NO_COUNTS, pending: 1 };
  assert.deepEqual(events[0]?.data, { campaign_id: id, counts, reason: null });
  const [left] = await rows<{ untold: unknown[] }>('SELECT untold FROM campaigns');
  assert.deepEqual(left?.untold, []);
});

test('every bad campaign is told what is wrong with it', async (t) => {
  const { api, agent, rows, client } = await start(t);
  const good = { name: 'c', agent_id: agent.id };
  const window = { weekdays: [1], start: '09:00', end: '10:00' };
  const bodies: [object, string][] = [
    [{ ...good, name: '' }, '/name'],
    [{ ...good, name: ' ' }, '/name'],
    [{ ...good, name: 'x'.repeat(256) }, '/name'],
    [{ name: 'c' }, '/agent_id'],
    [{ ...good, agent_id: 'x' }, '/agent_id'],
    [{ ...good, status: 'running' }, '/status'],
    [{ ...good, from_number: 'nobody' }, '/from_number'],
    [{ ...good, schedule: { start_at: 'tomorrow' } }, '/schedule/start_at'],
    [{ ...good, schedule: { start_at: '2026-01-01' } }, '/schedule/start_at'],
    [{ ...good, schedule: { start_at: '2026-01-01T00:00:00' } }, '/schedule/start_at'],
    [
      { ...good, schedule: { start_at: '2026-01-02T00:00:00Z', end_at: '2026-01-02T00:00:00Z' } },
      '/schedule/end_at',
    ],
    [{ ...good, schedule: { timezone: 'Mars/Olympus' } }, '/schedule/timezone'],
    [{ ...good, schedule: { timezone: '+08:00' } }, '/schedule/timezone'],
    [{ ...good, schedule: { windows: [] } }, '/schedule/windows'],
    [
      { ...good, schedule: { windows: [{ ...window, weekdays: [] }] } },
      '/schedule/windows/0/weekdays',
    ],
    [
      { ...good, schedule: { windows: [{ ...window, weekdays: [0] }] } },
      '/schedule/windows/0/weekdays/0',
    ],
    [
      { ...good, schedule: { windows: [{ ...window, start: '24:00' }] } },
      '/schedule/windows/0/start',
    ],
    [{ ...good, schedule: { windows: [{ ...window, end: '9:00' }] } }, '/schedule/windows/0/end'],
    [
      { ...good, schedule: { windows: [{ start: '09:00', end: '10:00' }] } },
      '/schedule/windows/0/weekdays',
    ],
    [{ ...good, settings: { concurrency: 0 } }, '/settings/concurrency'],
    [{ ...good, settings: { concurrency: 501 } }, '/settings/concurrency'],
    [{ ...good, settings: { cps: 0.09 } }, '/settings/cps'],
    [{ ...good, settings: { cps: 20.1 } }, '/settings/cps'],
    [{ ...good, settings: { cps: '5' } }, '/settings/cps'],
    [{ ...good, settings: { max_attempts: 11 } }, '/settings/max_attempts'],
    [{ ...good, settings: { ring_timeout_s: 4 } }, '/settings/ring_timeout_s'],
    [{ ...good, settings: { retry_delay_s: 0 } }, '/settings/retry_delay_s'],
    [{ ...good, settings: { retry_on: ['declined'] } }, '/settings/retry_on/0'],
    [{ ...good, settings: { retry_on: ['busy', 'busy'] } }, '/settings/retry_on'],
    [{ ...good, settings: { voicemail: 'sing' } }, '/settings/voicemail'],
    [{ ...good, settings: { stop_failure_pct: 101 } }, '/settings/stop_failure_pct'],
    [{ ...good, settings: { speed: 1 } }, '/settings/speed'],
  ];
  for (const [body, path] of bodies) {
    await refused(api('POST', URL, body), 400, 'VALIDATION_FAILED', path);
  }
  for (const query of ['status=open', 'page=0', 'q=x'])
    await refused(api('GET', `${URL}?${query}`), 400, 'VALIDATION_FAILED');
  await refused(
    api('POST', URL, { ...good, agent_id: newId() }),
    422,
    'REFERENCE_NOT_FOUND',
    '/agent_id',
  );
  await refused(
    api('POST', URL, { ...good, trunk_id: newId() }),
    422,
    'REFERENCE_NOT_FOUND',
    '/trunk_id',
  );
  const stranger = await client();
  await refused(stranger('POST', URL, good), 422, 'REFERENCE_NOT_FOUND', '/agent_id');
  const from = { ...good, from_number: '+1 555 0100' };
  await refused(api('POST', URL, from), 422, 'NUMBER_NOT_ALLOWED', '/from_number');
  const [user] = await rows<{ id: string }>('SELECT user_id AS id FROM agents WHERE id = $1', [
    agent.id,
  ]);
  const trunk = newId();
  await rows(
    `INSERT INTO sip_configs (id, user_id, name, host, from_number, is_active) VALUES ($1, $2, 't', '192.0.2.1', '+15550100', true)`,
    [trunk, user?.id],
  );
  const made = await dataOf<Campaign>(201, api('POST', URL, { ...from, trunk_id: trunk }));
  assert.equal(made['from_number'], '+15550100');
  await dataOf(201, api('POST', URL, from));
  await rows("INSERT INTO phone_numbers (user_id, number) VALUES ($1, '+15550102')", [user?.id]);
  await dataOf(201, api('POST', URL, { ...good, from_number: '+15550102', trunk_id: trunk }));
  await refused(
    api('POST', URL, { ...good, from_number: '+15550103', trunk_id: trunk }),
    422,
    'NUMBER_NOT_ALLOWED',
  );
});

test('people are added as a list, each number once, and shown page by page', async (t) => {
  const { api, make, client, accountId } = await start(t);
  const { id } = await make();
  const url = `${URL}/${id}/targets`;
  const added = await dataOf<Added>(
    201,
    api('POST', url, {
      targets: [
        { phone: '+1 (555) 010-1', name: 'Ann', variables: { time: '3 pm', n: 2 } },
        { phone: '0015550101' },
        { phone: 'nobody' },
        { phone: '+15550102', name: null, variables: null },
        { phone: '+15550103', variables: { big: 'x'.repeat(17_000) } },
      ],
    }),
  );
  assert.deepEqual(added, {
    ...{ added: 2, duplicates: 1, rejected_total: 2 },
    rejected: [
      { line: 3, reason: 'phone is no number' },
      { line: 5, reason: 'variables are too large' },
    ],
  });
  type List = { targets: Target[]; pagination: { total: number; next_cursor: string | null } };
  const list = await dataOf<List>(200, api('GET', url));
  const [second, first] = list.targets;
  assert.deepEqual(first, {
    ...{ id: first?.id, phone: '+15550101', name: 'Ann', variables: { time: '3 pm', n: 2 } },
    ...{ status: 'pending', attempts: 0, next_attempt_at: null, last_call_id: null },
    ...{ last_outcome: null, created_at: first?.['created_at'] },
  });
  assert.equal(second?.phone, '+15550102');
  const one = await dataOf<List>(200, api('GET', `${url}?page_size=1&status=pending`));
  const next = await dataOf<List>(
    200,
    api('GET', `${url}?page_size=1&status=pending&cursor=${one.pagination.next_cursor ?? ''}`),
  );
  assert.deepEqual([...one.targets, ...next.targets], list.targets);
  assert.deepEqual((await dataOf<List>(200, api('GET', `${url}?status=done`))).targets, []);
  const viewer = await client({ accountId, role: 'viewer' });
  const masked = await dataOf<List>(200, viewer('GET', url));
  assert.ok(!JSON.stringify(masked).includes('+15550101'), 'a viewer sees no number');
  const many = Array.from({ length: 10_001 }, (_, at) => ({ phone: `+1556${at}` }));
  for (const body of [
    {},
    { targets: [{}] },
    { targets: [{ phone: '' }] },
    { targets: many },
    { targets: [{ phone: '+1555', x: 1 }] },
  ])
    await refused(api('POST', url, body), 400, 'VALIDATION_FAILED');
  for (const query of ['status=open', 'page_size=0', 'cursor=x'])
    await refused(api('GET', `${url}?${query}`), 400, 'VALIDATION_FAILED');
  for (const method of ['GET', 'POST'])
    await refused(
      api(method, `${URL}/${newId()}/targets`, method === 'POST' ? { targets: [] } : undefined),
      404,
      'NOT_FOUND',
    );
  assert.equal((await dataOf<Added>(201, api('POST', url, { targets: [] }))).added, 0);
});

test('people are added as a table: BOM, CRLF, quotes, bad lines, other columns', async (t) => {
  const world = await start(t);
  const { api, make } = world;
  const { id } = await make();
  const table = [
    '\ufeffPhone,Name,Order Id,empty',
    '+15550101,"Li, Ann",A-1,',
    '"+1 555 0102","says ""hi""\r\ntwice",,',
    'nobody,x,,',
    '',
    '+15550103,王小明,订单,x',
    '+15550101,again,,',
    '+15550104,a,b,c,d',
    '+15550105,"x"y,,',
    '+15550106',
  ].join('\r\n');
  const { status, body } = await sendCsv(world, id, table);
  assert.equal(status, 201, JSON.stringify(body));
  assert.deepEqual(body.data as unknown as Added, {
    ...{ added: 4, duplicates: 1, rejected_total: 3 },
    rejected: [
      { line: 5, reason: 'phone is no number' },
      { line: 9, reason: 'more cells than columns' },
      { line: 10, reason: 'not readable as CSV' },
    ],
  });
  const list = await dataOf<{ targets: Target[] }>(200, api('GET', `${URL}/${id}/targets`));
  assert.deepEqual(
    list.targets.map(({ phone, name, variables }) => [phone, name, variables]).toReversed(),
    [
      ['+15550101', 'Li, Ann', { 'Order Id': 'A-1' }],
      ['+15550102', 'says "hi"\ntwice', {}],
      ['+15550103', '王小明', { 'Order Id': '订单', empty: 'x' }],
      ['+15550106', null, {}],
    ],
  );
});

test('one quote that does not end costs its line, and no table at all is refused', async (t) => {
  const world = await start(t);
  const { make } = world;
  const { id } = await make();
  const lines = Array.from({ length: 5_000 }, (_, at) => `+1555${at + 10_000},n${at}`);
  lines[2_500] = '+15550199,"never ends';
  const { body } = await sendCsv(world, id, ['phone,name', ...lines].join('\n'));
  assert.deepEqual(body.data as unknown as Added, {
    ...{ added: 4_999, duplicates: 0, rejected_total: 1 },
    rejected: [{ line: 2_502, reason: 'not readable as CSV' }],
  });
  const bad: (string | Buffer)[] = [
    ...['', '\n\n', 'name\nAnn', 'phone,phone\n+15550101,x', 'phone,\n+15550101,x'],
    Buffer.from([0x70, 0x68, 0x6f, 0x6e, 0x65, 0x0a, 0xc4, 0xe3]),
    Buffer.from('phone\n+15550101', 'utf16le'),
  ];
  for (const table of bad) {
    const answer = await sendCsv(world, id, table);
    const code = answer.body.error?.code;
    assert.deepEqual([answer.status, code], [400, 'VALIDATION_FAILED'], JSON.stringify(table));
  }
  const big = await sendCsv(world, id, Buffer.alloc(26 * 1024 * 1024, 'x'));
  assert.deepEqual([big.status, big.body.error?.code], [413, 'PAYLOAD_TOO_LARGE']);
  const missing = await sendCsv(world, newId(), 'phone\n+15550101');
  assert.equal(missing.status, 404);
  const once = { 'idempotency-key': 'table-1' };
  const first = await sendCsv(world, id, 'phone\n+15550188', once);
  const again = await sendCsv(world, id, 'phone\n+15550188', once);
  assert.deepEqual([first.body, again.body.data], [again.body, first.body.data]);
  const other = await sendCsv(world, id, 'phone\n+15550189', once);
  assert.equal(other.body.error?.code, 'IDEMPOTENCY_MISMATCH', 'as long, and another');
});

test('a key bound to agents sees and makes campaigns of these alone; another account sees none', async (t) => {
  const { api, make, client, accountId, agent } = await start(t);
  const mine = await makeAgent(api, 'Mine');
  const other = await make();
  const bound = await client({ accountId, role: 'developer', agentIds: [mine.id] });
  const made = await dataOf<Campaign>(201, bound('POST', URL, { name: 'm', agent_id: mine.id }));
  await refused(bound('POST', URL, { name: 'm', agent_id: agent.id }), 422, 'REFERENCE_NOT_FOUND');
  const listed = await dataOf<{ campaigns: Campaign[] }>(200, bound('GET', URL));
  assert.deepEqual(
    listed.campaigns.map(({ id }) => id),
    [made.id],
  );
  const body = { name: 'x', agent_id: mine.id };
  const all: [Client, string][] = [
    [bound, other.id],
    [await client(), made.id],
  ];
  for (const [who, id] of all) {
    await refused(who('GET', `${URL}/${id}`), 404, 'NOT_FOUND');
    await refused(who('DELETE', `${URL}/${id}`), 404, 'NOT_FOUND');
    await refused(who('GET', `${URL}/${id}/targets`), 404, 'NOT_FOUND');
    await refused(
      who('POST', `${URL}/${id}/targets`, { targets: [{ phone: '+15550101' }] }),
      404,
      'NOT_FOUND',
    );
    for (const command of ['start', 'pause', 'resume', 'cancel'])
      await refused(who('POST', `${URL}/${id}/${command}`), 404, 'NOT_FOUND');
  }
  await refused(bound('PUT', `${URL}/${other.id}`, body), 404, 'NOT_FOUND');
  await refused(
    bound('PUT', `${URL}/${made.id}`, { ...body, agent_id: agent.id }),
    422,
    'REFERENCE_NOT_FOUND',
  );
});
