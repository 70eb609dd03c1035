/** What a page of the list reads: as good as nothing for a filter that matches nothing, whatever the filter (contract 8). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RecordQuery } from '#lib/call-record.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createCallRecords } from '#store/call-records.ts';
import { openPool, type Database } from '#store/pool.ts';
import { createTestDatabase, queryRows, type TestDatabase } from './_database.ts';

const RECORDS = 20_000;
/** Pages of 8 KiB. All the records lie in about 400, and an index of them all in about 250. */
const MAX_PAGES = 60;
const account = newId();
const agent = newId();

let made: TestDatabase;
let database: Database;

before(async () => {
  made = await createTestDatabase();
  database = openPool({ url: made.url, log: silentLog, size: 2 });
  await database.withSystem(async (sql) => {
    await sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
      account,
      'a@example.test',
    ]);
    // Without settings the trigger of the statistics has nothing to forget.
    await sql.run('INSERT INTO agents (id, user_id, name) VALUES ($1, $2, $3)', [
      agent,
      account,
      'Ann',
    ]);
    await sql.run(
      `INSERT INTO call_records (user_id, agent_id, start_time, end_time, hangup_reason, status, direction, channel, outcome, caller_phone)
       SELECT $1, $2, now() - n * interval '1 minute', now() - n * interval '1 minute', 'ai', 'ended', 'inbound', 'external',
              CASE WHEN n % 2 = 0 THEN 'transferred' END, '+1555010' || n
         FROM generate_series(1, $3::int) n`,
      [account, agent, RECORDS],
    );
  });
  await queryRows(made.url, 'VACUUM (ANALYZE) call_records');
});

after(async () => {
  await database.close();
  await made.drop();
});

const ALL: RecordQuery = {
  ...{
    limit: 20,
    from: { offset: 0 },
    agentIds: null,
    agentId: null,
    startFrom: null,
    startBefore: null,
  },
  ...{ direction: null, status: null, hangupReason: null, outcome: null, callerPhonePrefix: null },
  ...{ customerId: null, campaignId: null, search: null, channels: ['phone', 'web', 'external'] },
};

const MATCHING_NOTHING: readonly Partial<RecordQuery>[] = [
  ...[{ agentId: newId() }, { agentIds: [newId(), newId()] }, { campaignId: newId() }],
  ...[{ startFrom: '2100-01-01T00:00:00Z' }, { startBefore: '2000-01-01T00:00:00Z' }],
  ...(['user', 'timeout', 'silence', 'error'] as const).map((hangupReason) => ({ hangupReason })),
  ...(['queued', 'dialing', 'ringing', 'answered', 'failed'] as const).map((status) => ({
    status,
  })),
  ...(['completed', 'busy', 'idle'] as const).map((outcome) => ({ outcome })),
  ...(['phone', 'web', 'text'] as const).map((channel) => ({ channels: [channel] })),
  ...[{ hangupReason: 'error', outcome: 'transferred', direction: 'inbound' } as const],
  ...[{ direction: 'outbound' as const }, { callerPhonePrefix: '+999' }, { customerId: 'C-1' }],
];

/** Pages that the statements of one list read. */
async function pagesOf(filter: Partial<RecordQuery>): Promise<{ pages: number; total: number }> {
  let pages = 0;
  const measured: Database = {
    ...database,
    withAccount: (accountId, actor, work) =>
      database.withAccount(accountId, actor, (sql) =>
        work({
          run: (text, values) => sql.run(text, values),
          async rows(text, values) {
            const [plan] = await sql.rows<{
              'QUERY PLAN': readonly { Plan: Record<string, number> }[];
            }>(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values);
            const { Plan: top } = plan?.['QUERY PLAN'][0] ?? { Plan: {} };
            pages += (top['Shared Hit Blocks'] ?? 0) + (top['Shared Read Blocks'] ?? 0);
            return sql.rows(text, values);
          },
        }),
      ),
  };
  const settings = { timezone: 'UTC', countryCode: null };
  const records = createCallRecords(measured, async () => settings);
  const { total } = await records.list(account, { ...ALL, ...filter });
  return { pages, total };
}

test('a record that its owner has written past the server is listed by the status it shows', async () => {
  const id = newId();
  await database.withAccount(account, 'test', (sql) =>
    sql.run(
      `INSERT INTO call_records (id, user_id, agent_id, start_time, end_time) VALUES ($1, $2, $3, now(), now())`,
      [id, account, agent],
    ),
  );
  try {
    assert.equal((await pagesOf({ status: 'answered' })).total, 1);
  } finally {
    await database.withAccount(account, 'test', (sql) =>
      sql.run('DELETE FROM call_records WHERE id = $1', [id]),
    );
  }
});

for (const filter of MATCHING_NOTHING) {
  test(`${JSON.stringify(filter).replaceAll(/[0-9a-f-]{36}/g, 'id')} reads few pages`, async () => {
    const { pages, total } = await pagesOf(filter);
    assert.equal(total, 0);
    assert.equal(pages > 0 && pages <= MAX_PAGES, true, `${pages} pages`);
  });
}
