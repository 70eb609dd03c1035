/** The list of records over HTTP (contract 1.7, 2.1): filters against a naive one, paging while rows come in, viewers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { startRecordsServer, type RecordsServer } from './_records-server.ts';

type Row = {
  id: Id;
  agent_id: Id;
  start_time: string;
  channel: string;
  direction: string;
  status: string;
  hangup_reason: string | null;
  outcome: string | null;
  caller_name: string | null;
  caller_phone: string | null;
  customer_ref: string | null;
  campaign_id: Id | null;
  summary: string | null;
};
type List = {
  records: { id: Id; [name: string]: unknown }[];
  pagination: {
    page: number;
    total: number;
    total_exact: boolean;
    total_pages: number;
    has_next: boolean;
    next_cursor: string | null;
  };
};

const ROUTE = 'GET /api/v1/call-records';

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

const CAMPAIGNS = [newId(), newId()];
const PHONES = ['+8613800138000', '+8613900139000', '+862155550100', '+15550100', '1001', null];

function makeRow(random: () => number, agents: readonly Id[]): Row {
  return {
    id: newId(),
    agent_id: pick(random, agents),
    // Few instants, so that many records share one and the id decides.
    start_time: new Date(
      Date.UTC(2026, 2, 1) + Math.floor(random() * 200) * 21_600_000,
    ).toISOString(),
    channel: pick(random, ['phone', 'web', 'external', 'text']),
    direction: pick(random, ['inbound', 'outbound']),
    status: pick(random, ['answered', 'ended', 'failed']),
    hangup_reason: pick(random, ['user', 'ai', 'timeout', 'silence', 'error', null]),
    outcome: pick(random, ['completed', 'voicemail', 'busy', null]),
    caller_name: pick(random, ['Ann Bee', 'ann_cee', '100% Dee', null]),
    caller_phone: pick(random, PHONES),
    customer_ref: pick(random, ['A-1', 'A-2', null, null]),
    campaign_id: pick(random, [...CAMPAIGNS, null, null]),
    summary: pick(random, [
      'Wants a REFUND',
      '要求退款',
      'call 13800138000 or ann@example.com',
      null,
    ]),
  };
}

async function insert(server: RecordsServer, rows: readonly Row[]): Promise<void> {
  await server.store.database.withSystem((sql) =>
    sql.run(
      `INSERT INTO call_records (id, user_id, agent_id, start_time, channel, direction, status, hangup_reason, outcome,
         caller_name, caller_phone, customer_ref, campaign_id, summary)
       SELECT id, $1, agent_id, start_time, channel, direction, status, hangup_reason, outcome, caller_name, caller_phone,
              customer_ref, campaign_id, summary FROM jsonb_populate_recordset(NULL::call_records, $2::jsonb)`,
      [server.accountId, JSON.stringify(rows)],
    ),
  );
}

function newestFirst(a: Row, b: Row): number {
  if (a.start_time !== b.start_time) return a.start_time < b.start_time ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}

type Filter = {
  readonly query: Readonly<Record<string, string>>;
  readonly takes: (row: Row) => boolean;
};

const DAY_MS = 86_400_000;
/** Days of Shanghai, which has no other time than +08:00 in this year. */
const dayStart = (day: string): number => Date.parse(`${day}T00:00:00+08:00`);

function randomFilters(random: () => number, agents: readonly Id[]): Filter[] {
  const equal = (
    name: keyof Row,
    parameter: string,
    values: readonly (string | null)[],
  ): Filter => {
    const value = pick(random, values) ?? 'A-1';
    return { query: { [parameter]: value }, takes: (row) => row[name] === value };
  };
  const day = `2026-03-${String(1 + Math.floor(random() * 28)).padStart(2, '0')}`;
  const time = new Date(Date.UTC(2026, 2, 1) + Math.floor(random() * 50) * DAY_MS).toISOString();
  const q = pick(random, ['ann', 'n_', '0%', '退款', 'refund', '1380013', 'zz', 'EXAMPLE']);
  const prefix = pick(random, [
    '+86',
    '138',
    '+8613',
    '021',
    '1',
    '+1',
    '10',
    '9',
    '+861390013900',
    '0086139',
  ]);
  const all: Filter[] = [
    equal('agent_id', 'agent_id', [...agents, newId()]),
    equal('direction', 'direction', ['inbound', 'outbound']),
    equal('status', 'status', ['answered', 'ended', 'failed', 'queued']),
    equal('hangup_reason', 'hangup_reason', ['user', 'ai', 'timeout', 'silence', 'error']),
    equal('outcome', 'outcome', ['completed', 'voicemail', 'busy', 'blocked']),
    equal('channel', 'channel', ['phone', 'web', 'external', 'text']),
    equal('customer_ref', 'customer_id', ['A-1', 'A-2', 'A-3']),
    equal('campaign_id', 'campaign_id', [...CAMPAIGNS, newId()]),
    { query: { start_date: day }, takes: (row) => Date.parse(row.start_time) >= dayStart(day) },
    {
      query: { end_date: day },
      takes: (row) => Date.parse(row.start_time) < dayStart(day) + DAY_MS,
    },
    { query: { start_date: time }, takes: (row) => row.start_time >= time },
    { query: { end_date: time }, takes: (row) => row.start_time < time },
    { query: { caller_phone: prefix }, takes: (row) => beginsWith(row.caller_phone, prefix) },
    {
      query: { q, start_date: '2026-03-05', end_date: '2026-03-31' },
      takes: (row) =>
        `${row.caller_name ?? ''}\n${row.caller_phone ?? ''}\n${row.summary ?? ''}`
          .toLowerCase()
          .includes(q.toLowerCase()) &&
        Date.parse(row.start_time) >= dayStart('2026-03-05') &&
        Date.parse(row.start_time) < dayStart('2026-04-01'),
    },
  ];
  const chosen = all.filter(() => random() < 0.2);
  // A later filter must not take the place of an earlier one with the same name.
  const names = new Set<string>();
  return chosen.filter(({ query }) => {
    const isFree = Object.keys(query).every((name) => !names.has(name));
    if (isFree) for (const name of Object.keys(query)) names.add(name);
    return isFree;
  });
}

function beginsWith(phone: string | null, prefix: string): boolean {
  if (phone === null) return false;
  const normal = prefix.replace(/^00/, '+');
  const national = normal.startsWith('+') ? null : `+86${normal.replace(/^0/, '')}`;
  return phone.startsWith(normal) || (national !== null && phone.startsWith(national));
}

test('random filter combinations equal a naive filter, page by page', async (t) => {
  const server = await startRecordsServer(t);
  const random = randomFrom(20_261_121);
  const agents = [server.agentId, await server.makeAgent()];
  const rows = Array.from({ length: 400 }, () => makeRow(random, agents));
  await insert(server, rows);
  rows.sort(newestFirst);
  let matched = 0;
  for (let round = 0; round < 300; round++) {
    const filters = randomFilters(random, agents);
    const query: Record<string, string> = Object.assign({}, ...filters.map((each) => each.query));
    const { start_date: from, end_date: to } = query;
    if (from !== undefined && to !== undefined && instant(from, 0) > instant(to, DAY_MS)) continue;
    const isText = query['channel'] !== undefined;
    const expected = rows.filter(
      (row) => (isText || row.channel !== 'text') && filters.every(({ takes }) => takes(row)),
    );
    matched += expected.length;
    const text = new URLSearchParams(query).toString();
    const size = 1 + Math.floor(random() * 100);
    const page = 1 + Math.floor(random() * 3);
    const { status, data, error } = await server.send<List>(
      `${ROUTE}?${text}&page=${page}&page_size=${size}`,
    );
    assert.equal(status, 200, JSON.stringify(error));
    const shown = expected.slice((page - 1) * size, page * size);
    assert.deepEqual(
      data.records.map(({ id }) => id),
      shown.map(({ id }) => id),
      text,
    );
    assert.deepEqual(
      [
        data.pagination.total,
        data.pagination.total_exact,
        data.pagination.total_pages,
        data.pagination.has_next,
      ],
      [expected.length, true, Math.ceil(expected.length / size), expected.length > page * size],
      text,
    );
  }
  assert.equal(matched > 1_000, true, 'the filters let something through');
});

function instant(text: string, dayMs: number): number {
  return text.length === 10 ? dayStart(text) + dayMs : Date.parse(text);
}

test('a cursor neither repeats nor skips a record that was there, while others come and go', async (t) => {
  const server = await startRecordsServer(t);
  const random = randomFrom(7);
  const before = Array.from({ length: 250 }, () => ({
    ...makeRow(random, [server.agentId]),
    channel: 'phone',
  }));
  await insert(server, before);
  const seen: Id[] = [];
  let query = '?page_size=9';
  for (let page = 1; ; page++) {
    const { status, data } = await server.send<List>(ROUTE + query);
    assert.deepEqual([status, data.pagination.page], [200, page]);
    seen.push(...data.records.map(({ id }) => id));
    if (data.pagination.next_cursor === null) break;
    query = `?page_size=9&cursor=${data.pagination.next_cursor}`;
    await insert(
      server,
      Array.from({ length: 5 }, () => makeRow(random, [server.agentId])),
    );
  }
  assert.equal(new Set(seen).size, seen.length, 'no record twice');
  const known = new Set(before.map(({ id }) => id));
  const expected = before.toSorted(newestFirst).map(({ id }) => id);
  assert.deepEqual(
    seen.filter((id) => known.has(id)),
    expected,
  );
});

test('what the list refuses', async (t) => {
  const server = await startRecordsServer(t);
  const rows: [string, string][] = [
    ['page=0', '?page minimum'],
    ['page=x', '?page type'],
    ['page_size=101', '?page_size maximum'],
    ['page=501&page_size=20', '?page maximum'],
    ['cursor=abc', '?cursor cursor'],
    ['cursor=abc&page=1', '?cursor exclusive'],
    ['agent_id=1', '?agent_id uuid'],
    ['start_date=2026-02-30', '?start_date time'],
    ['start_date=2026-01-01T00:00:00', '?start_date time'],
    ['start_date=2026-01-02&end_date=2026-01-01', '?end_date order'],
    ['q=x&start_date=2026-01-01&end_date=2026-01-02', '?q minLength'],
    ['q=xx', '?q span'],
    ['q=xx&start_date=2026-01-01&end_date=2026-02-02', '?q span'],
    ['caller_phone=Ann', '?caller_phone phone'],
    ['status=over', '?status enum'],
    ['channel=fax', '?channel enum'],
    ['sort=asc', '?sort unknown'],
  ];
  for (const [query, fault] of rows) {
    const { status, error } = await server.send(`${ROUTE}?${query}`);
    const [first] = error?.details ?? [];
    assert.deepEqual(
      [status, error?.code, `${first?.path} ${first?.rule}`],
      [400, 'VALIDATION_FAILED', fault],
      query,
    );
  }
  const past = await server.send<List>(`${ROUTE}?page=500`);
  assert.deepEqual([past.status, past.data.records, past.data.pagination.total], [200, [], 0]);
});

test('filters tell a viewer nothing that masking hides', async (t) => {
  const server = await startRecordsServer(t);
  const random = randomFrom(3);
  const hidden: Row = {
    ...makeRow(random, [server.agentId]),
    ...{ channel: 'phone', start_time: '2026-03-10T00:00:00.000Z', caller_name: 'Ann 13800138000' },
    ...{
      caller_phone: '+8613800138000',
      customer_ref: '13800138000',
      summary: '电话一三八零零一三八零零零, write to annabel@example.com',
    },
  };
  await insert(server, [hidden]);
  const key = await server.makeKey({ role: 'viewer' });
  const range = 'start_date=2026-03-01&end_date=2026-03-31';
  const ask = async (query: string): Promise<unknown[]> => {
    const { status, data, error } = await server.send<List>(`${ROUTE}?${query}`, undefined, {
      key,
    });
    return [status, status === 200 ? data.records.length : error?.details?.[0]?.rule];
  };
  const rows: [string, unknown[]][] = [
    ['caller_phone=%2B86', [200, 1]],
    ['caller_phone=%2B861', [200, 1]],
    ['caller_phone=%2B862', [200, 0]],
    ['caller_phone=%2B8613', [400, 'masked']],
    ['caller_phone=1380', [400, 'masked']],
    ['caller_phone=%2B+8-6(1)3', [400, 'masked']],
    ['customer_id=13800138000', [400, 'masked']],
    ['customer_id=A-1', [200, 0]],
    [`q=Ann&${range}`, [200, 1]],
    [`q=write+to&${range}`, [200, 1]],
    [`q=example.com&${range}`, [200, 1]],
    [`q=1380&${range}`, [200, 0]],
    [`q=${encodeURIComponent('一三八')}&${range}`, [200, 0]],
    [`q=annabel&${range}`, [200, 0]],
    [`q=nabel%40example&${range}`, [200, 0]],
  ];
  for (const [query, expected] of rows) assert.deepEqual(await ask(query), expected, query);
  const admin = await server.send<List>(
    `${ROUTE}?caller_phone=1380013&customer_id=13800138000&q=annabel&${range}`,
  );
  assert.equal(admin.data.records.length, 1);
});
