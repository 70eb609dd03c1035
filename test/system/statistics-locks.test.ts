/** The locks between the roll-up and those who write: few, whatever one statement touches, and never in a circle. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { openPool, type Database } from '#store/pool.ts';
import { createStatistics } from '#store/statistics.ts';
import { StatisticsRollup } from '#store/statistics-rollup.ts';
import { createTestDatabase, type TestDatabase } from './_database.ts';

let made: TestDatabase;
let database: Database;

before(async () => {
  made = await createTestDatabase();
  database = openPool({ url: made.url, log: silentLog, size: 2, statementTimeoutMs: 60_000 });
});

after(async () => {
  await database.close();
  await made.drop();
});

async function makeAccount(): Promise<{ readonly id: Id; readonly agent: Id }> {
  const [id, agent] = [newId(), newId()];
  await database.withSystem(async (sql) => {
    await sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [id, `${id}@example.test`]);
    await sql.run('INSERT INTO account_settings (user_id, timezone) VALUES ($1, $2)', [id, 'UTC']);
    await sql.run('INSERT INTO agents (id, user_id, name) VALUES ($1, $2, $3)', [agent, id, 'Ann']);
  });
  return { id, agent };
}

/** One record on each day from 2000 on. */
const EVERY_DAY = `INSERT INTO call_records (user_id, agent_id, start_time)
  SELECT $1, $2, d FROM generate_series('2000-01-01T12:00:00Z'::timestamptz, '2026-06-30T12:00:00Z', '1 day') d`;

const LOCKS = `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`;

test('one statement may write records of every day since 2000 without filling the table of locks', async () => {
  const account = await makeAccount();
  const counts = await database.withSystem(async (sql) => {
    const inserted = await sql.run(EVERY_DAY, [account.id, account.agent]);
    const [locks] = await sql.rows<{ n: number }>(LOCKS);
    return { inserted, locks: locks?.n ?? -1 };
  });
  assert.equal(counts.inserted, 9678);
  assert.equal(counts.locks > 1 && counts.locks <= 401, true, `${counts.locks} locks`);
  const deleted = await database.withSystem((sql) =>
    sql.run('DELETE FROM call_records WHERE user_id = $1', [account.id]),
  );
  assert.equal(deleted, 9678);
});

const ZONES = ['UTC', 'Africa/Cairo', 'America/Havana', 'Asia/Shanghai'] as const;
const NOW_MS = Date.UTC(2026, 10, 18, 12);
const WRITES = 6;

/** Days of the year that changes touch, all of them old enough to be rolled up; a few lie around midnight. */
const SOME_DAYS = `SELECT $1::uuid, $2::uuid, date_trunc('day', '2026-11-15T00:00:00Z'::timestamptz - d * interval '1 day')
    + (n % 48) * interval '30 minutes', (ARRAY['a', 'b', NULL])[1 + n % 3], n % 200,
    (ARRAY['user', 'ai', 'timeout', 'error', NULL])[1 + n % 5]::call_hangup_reason
  FROM generate_series($3::int, $3::int + 30) d, generate_series($3::int, $3::int + 3) n ORDER BY d`;

async function writeAndForget(account: { id: Id; agent: Id }, seed: number): Promise<void> {
  for (let round = 0; round < WRITES; round++) {
    const from = (seed * 7 + round * 5) % 180;
    const values = [account.id, account.agent, from];
    await database.withSystem((sql) =>
      round % 4 === 3
        ? sql.run(
            `DELETE FROM call_records WHERE user_id = $1 AND id IN (SELECT id FROM call_records
              WHERE user_id = $1 AND caller_name = $2 ORDER BY start_time DESC LIMIT 25)`,
            [account.id, `w${seed}`],
          )
        : sql.run(
            `INSERT INTO call_records (user_id, agent_id, start_time, caller_app, duration_seconds, hangup_reason, caller_name)
             SELECT s.*, 'w${seed}' FROM (${SOME_DAYS}) s`,
            values,
          ),
    );
  }
}

/** By day of the zone, past everything that is tested. */
const RECOUNT = `SELECT to_char(start_time AT TIME ZONE $2, 'YYYY-MM-DD') AS date, count(*)::int AS calls,
    coalesce(sum(duration_seconds), 0)::int AS seconds FROM call_records WHERE user_id = $1
    AND to_char(start_time AT TIME ZONE $2, 'YYYY') = '2026' GROUP BY 1 ORDER BY 1`;

test('two nodes roll up, others write many days at once, the zone changes: the numbers are exact', async () => {
  const account = await makeAccount();
  const other = openPool({ url: made.url, log: silentLog, size: 2 });
  const rollups = [database, other].map(
    (each) => new StatisticsRollup({ database: each, log: silentLog }),
  );
  let isWriting = true;
  const rolling = rollups.map(async (rollup) => {
    let days = 0;
    while (isWriting) days += await rollup.rollUp(account.id, NOW_MS);
    return days;
  });
  const flipping = async (): Promise<void> => {
    for (let round = 0; round < 6; round++) {
      await other.withSystem((sql) =>
        sql.run('UPDATE account_settings SET timezone = $2 WHERE user_id = $1', [
          account.id,
          ZONES[round % ZONES.length],
        ]),
      );
      await writeAndForget(account, 10 + round);
    }
  };
  try {
    await flipping();
    isWriting = false;
    const rolled = await Promise.all(rolling);
    assert.equal((rolled[0] ?? 0) + (rolled[1] ?? 0) > 0, true);
    for (const zone of ZONES) {
      await database.withSystem((sql) =>
        sql.run('UPDATE account_settings SET timezone = $2 WHERE user_id = $1', [account.id, zone]),
      );
      await Promise.all(rollups.map((rollup) => rollup.rollUp(account.id, NOW_MS)));
      await assertExact(account, zone);
    }
  } finally {
    isWriting = false;
    await Promise.allSettled(rolling);
    await other.close();
  }
});

async function assertExact(account: { id: Id; agent: Id }, zone: string): Promise<void> {
  const statistics = createStatistics({
    database,
    timeZone: async () => zone,
    onUnrolled: () => undefined,
  });
  const expected = await database.withSystem((sql) =>
    sql.rows<{ date: string; calls: number; seconds: number }>(RECOUNT, [account.id, zone]),
  );
  for (const agentIds of [null, [account.agent]]) {
    const found = await statistics.read(account.id, { period: 'year', agentIds, nowMs: NOW_MS });
    assert.deepEqual(
      found.days.filter(({ calls }) => calls > 0),
      expected,
      zone,
    );
    assert.equal(
      found.apps.reduce((sum, { calls }) => sum + calls, 0),
      found.totalCalls,
    );
  }
}
