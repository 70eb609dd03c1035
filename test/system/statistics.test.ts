/** Statistics against a naive recount (contract 6, 8): random records, time zones, clock changes, roll-up in between. */
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import type { CallStatistics, StatisticsPeriod } from '#lib/call-record.ts';
import { newId, type Id } from '#lib/ids.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { openPool, type Database } from '#store/pool.ts';
import { createStatistics, type Statistics } from '#store/statistics.ts';
import { StatisticsRollup } from '#store/statistics-rollup.ts';
import { createTestDatabase, type TestDatabase } from './_database.ts';
import { naiveStatistics, type Plain } from './_naive-statistics.ts';
import { until } from './_store.ts';

const DATA_SETS = 1_000;
const AT_ONCE = 4;
const DAY_MS = 86_400_000;
/** Two of them change their clocks at midnight, one by half an hour, one not at all. */
const ZONES = [
  ...['Asia/Shanghai', 'America/New_York', 'Europe/Berlin'],
  ...['Australia/Lord_Howe', 'America/Santiago', 'America/Havana'],
] as const;
const PERIODS: readonly StatisticsPeriod[] = ['today', 'week', 'month', 'year'];

let made: TestDatabase;
let database: Database;
let statistics: Statistics;
let rollup: StatisticsRollup;

before(async () => {
  made = await createTestDatabase();
  use(openPool({ url: made.url, log: silentLog }));
});

function use(pool: Database): void {
  database = pool;
  rollup = new StatisticsRollup({ database, log: silentLog });
  statistics = createStatistics({
    database,
    timeZone: async () => 'UTC',
    onUnrolled: () => undefined,
  });
}

after(async () => {
  await database.close();
  await made.drop();
});

type Random = () => number;

/** Park-Miller: the same numbers in every run. */
function randomFrom(seed: number): Random {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

const changesOf = new Map<string, number[]>();

/** Instants of 2026 at which the zone's clocks change. */
function clockChanges(zone: string): number[] {
  const known = changesOf.get(zone) ?? findClockChanges(zone);
  changesOf.set(zone, known);
  return known;
}

function findClockChanges(zone: string): number[] {
  const format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  const offsetAt = (ms: number): string =>
    format.formatToParts(ms).find(({ type }) => type === 'timeZoneName')?.value ?? '';
  const found: number[] = [];
  for (let ms = Date.UTC(2026, 0, 1); ms < Date.UTC(2027, 0, 1); ms += 1_800_000) {
    if (offsetAt(ms) !== offsetAt(ms + 1_800_000)) found.push(ms + 1_800_000);
  }
  return found;
}

/** Everything in a database of this test's own, where no other account is in the way. */
async function openFresh(t: TestContext): Promise<void> {
  const shared = { database, rollup, statistics };
  const fresh = await createTestDatabase();
  use(openPool({ url: fresh.url, log: silentLog }));
  t.after(async () => {
    await database.close();
    await fresh.drop();
    ({ database, rollup, statistics } = shared);
  });
}

type Account = { readonly id: Id; readonly agents: readonly Id[]; readonly zone: string };

async function makeAccount(zone: string): Promise<Account> {
  const account = { id: newId(), agents: [newId(), newId()], zone };
  await database.withSystem(async (sql) => {
    await sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [account.id, account.id]);
    await sql.run('INSERT INTO account_settings (user_id, timezone) VALUES ($1, $2)', [
      account.id,
      zone,
    ]);
    await sql.run("INSERT INTO agents (id, user_id, name) SELECT unnest($1::uuid[]), $2, 'Agent'", [
      account.agents,
      account.id,
    ]);
  });
  return account;
}

function makeRecord(random: Random, account: Account, aroundMs: number): Plain {
  // Most within a week before, many close to midnight and to the change of the clocks, some in the future.
  const spreadMs = random() < 0.01 ? 40 * DAY_MS : pick(random, [DAY_MS / 8, DAY_MS, 4 * DAY_MS]);
  const reasons = ['user', 'ai', 'timeout', 'silence', 'error', null, null] as const;
  return {
    id: newId(),
    agentId: pick(random, account.agents),
    startMs: Math.floor(aroundMs + (random() * 1.1 - 1) * spreadMs),
    app: pick(random, [
      '微信',
      '企业微信',
      'unknown',
      '',
      null,
      `app ${Math.floor(random() * 80)}`,
    ]),
    seconds: pick(random, [null, 0, 1, 59, Math.floor(random() * 86_400)]),
    reason: pick(random, reasons),
    channel: pick(random, ['phone', 'web', 'external', 'external', 'text']),
  };
}

async function insert(account: Account, records: readonly Plain[]): Promise<void> {
  const rows = records.map((record) => ({
    ...record,
    agent_id: record.agentId,
    start_time: new Date(record.startMs).toISOString(),
  }));
  await database.withAccount(account.id, 'test', (sql) =>
    sql.run(
      `INSERT INTO call_records (id, user_id, agent_id, start_time, caller_app, duration_seconds, hangup_reason, channel)
       SELECT id, $1, agent_id, start_time, app, seconds, reason, channel FROM jsonb_to_recordset($2::jsonb)
         AS r(id uuid, agent_id uuid, start_time timestamptz, app text, seconds int, reason call_hangup_reason, channel text)`,
      [account.id, JSON.stringify(rows)],
    ),
  );
}

async function replace(account: Account, record: Plain): Promise<void> {
  await database.withAccount(account.id, 'test', (sql) =>
    sql.run(
      `UPDATE call_records SET agent_id = $2, start_time = $3, caller_app = $4, duration_seconds = $5, hangup_reason = $6,
         channel = $7 WHERE id = $1`,
      [
        ...[record.id, record.agentId, new Date(record.startMs), record.app, record.seconds],
        ...[record.reason, record.channel],
      ],
    ),
  );
}

async function remove(account: Account, record: Plain): Promise<void> {
  await database.withAccount(account.id, 'test', (sql) =>
    sql.run('DELETE FROM call_records WHERE id = $1', [record.id]),
  );
}

/** Changes a few records, in the database and in `records`. */
async function change(random: Random, account: Account, records: Plain[], aroundMs: number) {
  for (let left = Math.floor(random() * 4); left > 0; left--) {
    const at = Math.floor(random() * records.length);
    const record = records[at];
    const kind = random();
    if (record === undefined || kind < 0.3) {
      const added = makeRecord(random, account, aroundMs);
      records.push(added);
      await insert(account, [added]);
    } else if (kind < 0.5) {
      records.splice(at, 1);
      await remove(account, record);
    } else {
      const changed = { ...makeRecord(random, account, aroundMs), id: record.id };
      records[at] = changed;
      await replace(account, changed);
    }
  }
}

async function read(
  account: Account,
  period: StatisticsPeriod,
  agentIds: readonly Id[] | null,
  nowMs: number,
): Promise<CallStatistics> {
  return statistics.read(account.id, { period, agentIds, nowMs });
}

async function oneDataSet(number: number): Promise<void> {
  const random = randomFrom(number * 7919 + 20_261_108);
  const zone = ZONES[number % ZONES.length] ?? 'UTC';
  const account = await makeAccount(zone);
  const changes = clockChanges(zone);
  const anchorMs =
    changes.length > 0 && random() < 0.7
      ? pick(random, changes)
      : Date.UTC(2026, Math.floor(random() * 12), 1 + Math.floor(random() * 28));
  const nowMs = Math.floor(anchorMs + (random() * 8 - 1) * DAY_MS);
  const aroundMs = random() < 0.5 ? anchorMs : nowMs;
  const records = Array.from({ length: Math.floor(random() * 25) }, () =>
    makeRecord(random, account, aroundMs),
  );
  if (records.length > 0) await insert(account, records);
  for (let round = 0; round < 3; round++) {
    if (random() < 0.6) await rollup.rollUp(account.id, nowMs);
    await change(random, account, records, aroundMs);
    const period = pick(random, PERIODS);
    const agents = pick(random, [null, null, [account.agents[0] ?? ''], [newId()], []]);
    assert.deepEqual(
      await read(account, period, agents, nowMs),
      naiveStatistics(records, { period, agents, zone, nowMs }),
      `data set ${number}, round ${round}: ${period} in ${zone} at ${new Date(nowMs).toISOString()}`,
    );
  }
}

test(`${DATA_SETS} random data sets equal a naive recount`, async () => {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < DATA_SETS) await oneDataSet(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const [rolled] = await database.withSystem((sql) =>
    sql.rows<{ days: number }>('SELECT count(*)::int AS days FROM call_stats_days'),
  );
  assert.equal((rolled?.days ?? 0) > DATA_SETS, true, 'the roll-up took part');
});

test('both clock-change days, hour by hour, rolled up and not', async () => {
  for (const zone of ZONES) {
    for (const changeMs of clockChanges(zone)) {
      const account = await makeAccount(zone);
      const records = Array.from({ length: 96 * 2 + 1 }, (_, at): Plain => ({
        ...{ id: newId(), agentId: account.agents[0] ?? '', app: null, reason: 'user' },
        ...{ startMs: changeMs + (at - 96) * 1_800_000, seconds: 1, channel: 'phone' },
      }));
      await insert(account, records);
      const nowMs = changeMs + 5 * DAY_MS;
      const expected = naiveStatistics(records, { period: 'year', agents: null, zone, nowMs });
      const text = `${zone} at ${new Date(changeMs).toISOString()}`;
      assert.deepEqual(await read(account, 'year', null, nowMs), expected, text);
      assert.equal((await rollup.rollUp(account.id, nowMs)) > 3, true);
      assert.deepEqual(await read(account, 'year', null, nowMs), expected, `${text}, rolled up`);
      assert.deepEqual(await read(account, 'year', account.agents, nowMs), expected, text);
    }
  }
});

test('the worked example, on a real database', async () => {
  const account = await makeAccount('Asia/Shanghai');
  const [agentId = ''] = account.agents;
  const rows: [string, string | null, number | null, Plain['reason']][] = [
    ['2026-11-15T15:59:59Z', '微信', 100, 'user'],
    ['2026-11-15T16:00:00Z', '微信', 300, 'user'],
    ['2026-11-16T03:00:00Z', '企业微信', 301, 'ai'],
    ['2026-11-16T08:00:00Z', null, 0, 'timeout'],
    ['2026-11-17T15:00:00Z', '微信', 46, 'silence'],
    ['2026-11-17T16:30:00Z', '钉钉', null, null],
    ['2026-11-18T02:00:00Z', '微信', 0, null],
  ];
  const records = rows.map(([at, app, seconds, reason]): Plain => ({
    ...{ id: newId(), agentId, startMs: Date.parse(at), app, seconds, reason, channel: 'phone' },
  }));
  await insert(account, records);
  const nowMs = Date.parse('2026-11-18T04:00:00Z');
  const expected = {
    ...{ totalCalls: 6, totalDurationSeconds: 647, avgDurationSeconds: 129 },
    ...{ successCalls: 3, failedCalls: 1, otherCalls: 2, successRate: 75 },
    hangupReasons: { user: 1, ai: 1, timeout: 1, silence: 1, error: 0 },
    days: [
      { date: '2026-11-16', calls: 3, seconds: 601 },
      { date: '2026-11-17', calls: 1, seconds: 46 },
      { date: '2026-11-18', calls: 2, seconds: 0 },
    ],
    apps: [
      { name: '微信', calls: 3 },
      { name: 'unknown', calls: 1 },
      { name: '企业微信', calls: 1 },
      { name: '钉钉', calls: 1 },
    ],
  };
  assert.deepEqual(await read(account, 'week', null, nowMs), expected);
  await rollup.rollUp(account.id, nowMs);
  assert.deepEqual(await read(account, 'week', null, nowMs), expected);
});

test('a changed time zone counts the same records on other days', async () => {
  const account = await makeAccount('Asia/Shanghai');
  const random = randomFrom(5);
  const nowMs = Date.UTC(2026, 5, 20);
  const records = Array.from({ length: 60 }, () => makeRecord(random, account, nowMs));
  await insert(account, records);
  for (const zone of ['Asia/Shanghai', 'America/New_York', 'Australia/Lord_Howe']) {
    await database.withAccount(account.id, 'test', (sql) =>
      sql.run('UPDATE account_settings SET timezone = $2 WHERE user_id = $1', [account.id, zone]),
    );
    const expected = naiveStatistics(records, { period: 'year', agents: null, zone, nowMs });
    assert.deepEqual(await read(account, 'year', null, nowMs), expected, zone);
    assert.equal((await rollup.rollUp(account.id, nowMs)) > 0, true, 'the markers were forgotten');
    assert.deepEqual(await read(account, 'year', null, nowMs), expected, `${zone}, rolled up`);
  }
});

test('rolling up while others write: nothing is counted twice and nothing is missed', async () => {
  const account = await makeAccount('Europe/Berlin');
  const zone = account.zone;
  const nowMs = Date.UTC(2026, 9, 28);
  const records: Plain[] = [];
  let isWriting = true;
  const write = async (seed: number): Promise<void> => {
    const random = randomFrom(seed);
    const mine: Plain[] = [];
    for (let round = 0; round < 40; round++) {
      await change(random, account, mine, nowMs - 3 * DAY_MS);
    }
    records.push(...mine);
  };
  const rolling = (async (): Promise<number> => {
    let days = 0;
    while (isWriting) days += await rollup.rollUp(account.id, nowMs);
    return days;
  })();
  await Promise.all([write(11), write(12), write(13)]);
  isWriting = false;
  assert.equal((await rolling) > 0, true);
  for (const period of PERIODS) {
    assert.deepEqual(
      await read(account, period, null, nowMs),
      naiveStatistics(records, { period, agents: null, zone, nowMs }),
      period,
    );
  }
  assert.deepEqual(
    await read(account, 'year', [account.agents[1] ?? ''], nowMs),
    naiveStatistics(records, { period: 'year', agents: [account.agents[1] ?? ''], zone, nowMs }),
  );
});

test('only days that ended more than 24 hours ago are rolled up; the sweep finds them by itself', async (t) => {
  await openFresh(t);
  const account = await makeAccount('Asia/Shanghai');
  const [agentId = ''] = account.agents;
  const nowMs = Date.parse('2026-06-10T15:59:59Z'); // 23:59:59 in Shanghai
  const plain = { agentId, app: null, seconds: 1, reason: 'user', channel: 'phone' } as const;
  await insert(account, [
    { ...plain, id: newId(), startMs: Date.parse('2026-06-06T04:00:00Z') },
    { ...plain, id: newId(), startMs: Date.parse('2026-06-08T04:00:00Z') },
  ]);
  const daysOf = async (): Promise<unknown[]> =>
    database.withAccount(account.id, 'test', (sql) =>
      sql.rows("SELECT to_char(day, 'MM-DD') AS day FROM call_stats_days ORDER BY day"),
    );
  await rollup.sweep(nowMs);
  assert.deepEqual(await daysOf(), [{ day: '06-06' }, { day: '06-07' }, { day: '06-08' }]);
  assert.equal(await rollup.rollUp(account.id, nowMs), 0);
  await rollup.sweep(nowMs + 2_000);
  assert.equal((await daysOf()).length, 4, 'the 9th ended 24 h ago by now');
  const elsewhere = newId();
  assert.equal(
    (await statistics.read(elsewhere, { period: 'year', agentIds: null, nowMs })).totalCalls,
    0,
  );
});

test('the worker rolls up by itself: soon after its start, and soon after a change', async (t) => {
  await openFresh(t);
  const clock = new SimulatedClock(Date.UTC(2026, 5, 20));
  const account = await makeAccount('Asia/Shanghai');
  const random = randomFrom(9);
  const aroundMs = clock.wallMs() - 3 * DAY_MS;
  await insert(
    account,
    Array.from({ length: 20 }, () => makeRecord(random, account, aroundMs)),
  );
  const worker = new StatisticsRollup({ database, log: silentLog, clock });
  const days = async (): Promise<number> =>
    database.withAccount(
      account.id,
      'test',
      async (sql) => (await sql.rows('SELECT FROM call_stats_days')).length,
    );
  const settled = async (count: number): Promise<void> =>
    until(async () => (await days()) === count, `${count} days rolled up`);
  try {
    worker.wake(account.id);
    worker.start();
    clock.advance(2_000);
    await until(async () => (await days()) > 3, 'the first days');
    await until(async () => worker.isIdle, 'the end of the run');
    // Past the first sweep, so that the timer under way is one of an hour.
    clock.advance(5_000);
    await until(async () => worker.isIdle, 'the end of the sweep');
    const all = await days();
    for (let round = 0; round < 2; round++) {
      await insert(account, [makeRecord(() => 0.5, account, aroundMs)]);
      assert.equal(await days(), all - 1, 'the change forgot its day');
      worker.wake(account.id);
      worker.wake(account.id);
      clock.advance(2_000);
      await settled(all);
      await until(async () => worker.isIdle, 'the end of the run');
    }
  } finally {
    await worker.stop();
  }
  assert.equal(clock.pending, 0);
});
