/** What tools and memory keep in the database: secrets per account, and what a number's earlier calls were about. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { agentIdByName } from '#store/agent-names.ts';
import { createCallerMemory } from '#store/caller-memory.ts';
import { openPool } from '#store/pool.ts';
import { createSealer } from '#store/sealed.ts';
import { createToolSecrets } from '#store/tool-secrets.ts';
import { queryRows } from './_database.ts';
import { atEnd, newDatabase } from './_store.ts';

async function setUp(t: TestContext) {
  const url = await newDatabase(t);
  const database = openPool({ url, log: silentLog, size: 4 });
  atEnd(t, () => database.close());
  const [mine, others] = [newId(), newId()];
  for (const id of [mine, others])
    await queryRows(url, 'INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
      id,
      `${id}@x.test`,
    ]);
  const agent = async (accountId: Id, name: string): Promise<Id> => {
    const id = newId();
    await database.withSystem((sql) =>
      sql.run(`INSERT INTO agents (id, user_id, name, config) VALUES ($1, $2, $3, '{}')`, [
        ...[id, accountId, name],
      ]),
    );
    return id;
  };
  return { database, mine, others, agent };
}

test('an account remembers a number by agent, the latest first, unless the number said no', async (t) => {
  const { database, mine, others, agent } = await setUp(t);
  const [desk, bills, foreign] = [
    await agent(mine, 'Desk'),
    await agent(mine, 'Bills'),
    await agent(others, 'Desk'),
  ];
  const call = (user: Id, by: Id, phone: string, day: number, summary: string | null) =>
    database.withSystem((sql) =>
      sql.run(
        `INSERT INTO call_records (id, user_id, agent_id, caller_phone, start_time, summary)
         VALUES ($1, $2, $3, $4, $5, $6)`,
        [newId(), user, by, phone, `2026-11-${String(day).padStart(2, '0')}T08:00:00Z`, summary],
      ),
    );
  await call(mine, desk, '+8613800138000', 1, 'first');
  await call(mine, desk, '13800138000', 2, 'second');
  await call(mine, desk, '+8613800138000', 3, null);
  await call(mine, desk, '+8613800138000', 4, 'third');
  await call(mine, desk, '+8613800138001', 5, 'another number');
  await call(mine, bills, '+8613800138000', 6, 'another agent');
  await call(others, foreign, '+8613800138000', 7, 'another account');
  const memory = createCallerMemory({ database, countryCode: async () => '86' });
  const wanted = { accountId: mine, agentId: desk, number: '+8613800138000', calls: 2 };
  assert.deepEqual(await memory.recall(wanted), [
    { startTime: '2026-11-04T08:00:00.000Z', summary: 'third' },
    { startTime: '2026-11-02T08:00:00.000Z', summary: 'second' },
  ]);
  const consent = (granted: boolean) =>
    database.withSystem((sql) =>
      sql.run(
        `INSERT INTO consents (user_id, phone, kind, granted, source, created_at)
         VALUES ($1, '+8613800138000', 'data', $2, 'test', clock_timestamp())`,
        [mine, granted],
      ),
    );
  await consent(false);
  assert.deepEqual(await memory.recall(wanted), []);
  await consent(true);
  assert.equal((await memory.recall(wanted)).length, 2);
});

test('each account has one secret, whoever asks first, and two while it is changed', async (t) => {
  const { database, mine, others } = await setUp(t);
  const sealer = createSealer([Buffer.alloc(32, 7)]);
  const open = () => createToolSecrets({ database, sealer, clock: systemClock, log: silentLog });
  const [here, there] = [open(), open()];
  const actor = {
    ...{ accountId: mine, name: 'somebody', role: 'admin' as const, requestId: newId() },
    ...{ ip: null, agentIds: null },
  };
  const all = await Promise.all([here.of(mine), there.of(mine), here.get(actor)]);
  const [first] = all[0];
  assert.deepEqual(all[1], [first]);
  assert.equal(all[2].secret, first);
  assert.notEqual((await here.of(others))[0], first);
  const { secret } = await here.rotate(actor, 60);
  assert.deepEqual(await here.of(mine), [secret, first]);
  const last = await here.rotate(actor, 0);
  assert.deepEqual(await here.of(mine), [last.secret]);
  const rows = await database.withSystem((sql) =>
    sql.rows<{ text: string }>('SELECT to_jsonb(t)::text AS text FROM tool_secrets t'),
  );
  for (const { text } of rows) assert.doesNotMatch(text, /whsec_/);
});

test('agents are found by name, when it names one alone', async (t) => {
  const { database, mine, others, agent } = await setUp(t);
  const id = await agent(mine, 'Billing');
  await agent(others, 'Support');
  await agent(mine, 'Twin');
  await agent(mine, 'twin');
  const rows: [string, Id | null][] = [
    ['billing ', id],
    ['Support', null],
    ['Twin', null],
  ];
  for (const [name, expected] of rows)
    assert.equal(await agentIdByName(database, mine, name), expected, name);
});
