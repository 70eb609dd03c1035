/** The pool on a real server: statements that are sent ahead fail as exactly as statements that wait. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { openPool, type Database, type Sql } from '#store/pool.ts';
import { sqlStateOf } from '#store/sql-errors.ts';
import { createTestDatabase, queryRows, type TestDatabase } from './_database.ts';
import { startProxy } from './_tcp-proxy.ts';

let made: TestDatabase;
let database: Database;
let account: Id;

before(async () => {
  made = await createTestDatabase();
  // One connection: what one transaction leaves behind would meet the next.
  database = openPool({ url: made.url, log: silentLog, size: 1, statementTimeoutMs: 1_000 });
  account = newId();
  await database.withSystem((sql) =>
    sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [account, 'a@example.test']),
  );
});

after(async () => {
  await database.close();
  await made.drop();
});

const INSERT = 'INSERT INTO agents (id, user_id, name) VALUES ($1, $2, $3) RETURNING name';

async function agents(): Promise<number> {
  const rows = await database.accountRows<{ n: number }>(
    ...([account, 'test', 'SELECT count(*)::int AS n FROM agents'] as const),
  );
  return rows[0]?.n ?? -1;
}

test('one statement is one transaction: kept when it works, undone when it does not', async () => {
  const id = newId();
  assert.deepEqual(await database.accountRows(account, 'test', INSERT, [id, account, 'Ann']), [
    { name: 'Ann' },
  ]);
  const refused: [string, unknown[], string, string][] = [
    [INSERT, [id, account, 'Again'], 'E_CONFLICT', '23505'],
    [INSERT, [newId(), newId(), 'Eve'], 'E_DATABASE', '42501'],
    [INSERT, [newId(), account, 'x'.repeat(256)], 'E_DATABASE', '22001'],
    ['SELECT 1 / 0', [], 'E_DATABASE', '22012'],
    ['SELECT nonsense', [], 'E_DATABASE', '42703'],
    ['SELECT pg_sleep(5)', [], 'E_DATABASE', '57014'],
  ];
  for (const [text, values, code, state] of refused) {
    const error: unknown = await database.accountRows(account, 'test', text, values).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    assert.deepEqual([(error as { code: string }).code, sqlStateOf(error)], [code, state], text);
    assert.equal(await agents(), 1, 'the connection is of use again');
  }
});

test('statements of one transaction may be sent together; the first fault is the one that is told', async () => {
  const [before_, ...rest] = await database.withAccount(account, 'test', (sql) =>
    Promise.all([
      sql.rows('SELECT 1 AS n'),
      sql.rows("SELECT current_user AS role, current_setting('jit') AS jit"),
      sql.rows("SELECT current_setting('request.jwt.claims')::jsonb ->> 'actor' AS actor"),
    ]),
  );
  assert.deepEqual(
    [before_, ...rest],
    [[{ n: 1 }], [{ role: 'callyard_app', jit: 'off' }], [{ actor: 'test' }]],
  );
  const failing = database.withAccount(account, 'test', (sql) =>
    Promise.all([
      sql.run(INSERT, [newId(), account, 'Lost']),
      sql.rows('SELECT 1 / 0'),
      sql.rows('SELECT 1'),
    ]),
  );
  assert.equal(sqlStateOf(await failing.catch((error: unknown) => error)), '22012');
  assert.equal(await agents(), 1, 'what came before the fault is undone');
});

test('a transaction that works throws is undone, and nothing of it stays on the connection', async () => {
  await assert.rejects(
    database.withAccount(account, 'test', async (sql) => {
      await sql.run(INSERT, [newId(), account, 'Lost']);
      throw new Error('changed my mind');
    }),
    /changed my mind/,
  );
  assert.equal(await agents(), 1);
  const who = await database.withSystem((sql) =>
    sql.rows("SELECT current_user AS role, current_setting('request.jwt.claims', true) AS claims"),
  );
  assert.deepEqual(who, [{ role: 'callyard_system', claims: '' }]);
});

test('a fault that the work swallowed has undone everything: that is told, not success', async () => {
  const swallowing = database.withAccount(account, 'test', async (sql) => {
    await sql.run(INSERT, [newId(), account, 'Lost']);
    await sql.rows('SELECT 1 / 0').catch(() => []);
    return 'done';
  });
  const error: unknown = await swallowing.catch((thrown: unknown) => thrown);
  assert.equal((error as { code?: string }).code, 'E_DATABASE');
  assert.equal(await agents(), 1);
});

test('a statement that comes after the end of its transaction reaches no connection', async () => {
  const kept: { sql?: Sql } = {};
  await database.withAccount(account, 'test', async (sql) => void (kept.sql = sql));
  const straggler = database.withAccount(account, 'test', (sql) =>
    Promise.all([
      sql.rows('SELECT 1 / 0'),
      sql.rows('SELECT pg_sleep(0)').then(async () => {
        await agents().catch(() => -1);
        await sql.run(INSERT, [newId(), account, 'Late']);
      }),
    ]),
  );
  assert.equal(sqlStateOf(await straggler.catch((thrown: unknown) => thrown)), '22012');
  await assert.rejects(kept.sql?.run(INSERT, [newId(), account, 'Late']) ?? Promise.resolve(), {
    code: 'E_INTERNAL',
  });
  assert.equal(await agents(), 1);
});

test('a beginning that fails is what is told, and no statement runs without it', async () => {
  // A login of its own: roles belong to the whole server, and other tests are using theirs.
  const name = `nobody_${newId().slice(0, 8)}`;
  await queryRows(made.url, `CREATE ROLE ${name} LOGIN PASSWORD 'nobody'`);
  const url = new URL(made.url);
  url.username = name;
  url.password = 'nobody';
  const stranger = openPool({ url: url.href, log: silentLog });
  try {
    const write = (): Promise<unknown> =>
      stranger.accountRows(account, 'test', INSERT, [newId(), account, 'Lost']);
    const inWork = (): Promise<unknown> =>
      stranger.withAccount(account, 'test', (sql) => sql.run(INSERT, [newId(), account, 'Lost']));
    for (const attempt of [write, inWork]) {
      const error: unknown = await attempt().catch((thrown: unknown) => thrown);
      assert.equal(sqlStateOf(error), '42501');
      assert.match(String(error), /set role/);
    }
  } finally {
    await stranger.close();
    await queryRows(made.url, `DROP ROLE ${name}`);
  }
  assert.equal(await agents(), 1);
});

test('a connection that is cut under way is told as such, and the next one works', async () => {
  const cut = (): Promise<unknown> =>
    queryRows(
      made.url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'callyard' AND pid <> pg_backend_pid() AND datname = current_database()",
    );
  const ways: (() => Promise<unknown>)[] = [
    () => database.accountRows(account, 'test', 'SELECT pg_sleep(0.5)'),
    () => database.withAccount(account, 'test', (sql) => sql.rows('SELECT pg_sleep(0.5)')),
  ];
  for (const way of ways) {
    const running = way().catch((thrown: unknown) => thrown);
    await untilBusy();
    await cut();
    assert.equal(((await running) as { code: string }).code, 'E_DATABASE_UNREACHABLE');
    assert.equal(await agents(), 1);
  }
});

test('a server that hangs costs its requests and those behind them an answer, and nothing afterwards', async () => {
  const proxy = await startProxy(made.url);
  const slow = openPool({
    ...{ url: proxy.url, log: silentLog, size: 1 },
    ...{ connectTimeoutMs: 800, statementTimeoutMs: 800 },
  });
  const ask = (): Promise<unknown> => slow.accountRows(account, 'test', 'SELECT 1 AS n');
  try {
    assert.deepEqual(await ask(), [{ n: 1 }]);
    proxy.hang();
    const failed = await Promise.allSettled([ask(), ask(), slow.ping()]);
    for (const each of failed) {
      assert.equal(each.status === 'rejected' && each.reason.code, 'E_DATABASE_UNREACHABLE');
    }
    proxy.restore();
    assert.deepEqual(await ask(), [{ n: 1 }]);
  } finally {
    await slow.close();
    await proxy.close();
  }
});

async function untilBusy(): Promise<void> {
  for (;;) {
    const [row] = await queryRows<{ n: number }>(
      made.url,
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active' AND datname = current_database()",
    );
    if ((row?.n ?? 0) > 0) return;
  }
}
