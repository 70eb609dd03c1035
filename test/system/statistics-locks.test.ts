/** The locks between the roll-up and those who write: few, whatever one statement touches, and never in a circle. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { openPool, type Database } from '#store/pool.ts';
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
