/** Migrations and row-level security on a real server. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { migrate, migrateDown } from '#store/migrate.ts';
import { openPool, type Database } from '#store/pool.ts';
import { sqlStateOf } from '#store/sql-errors.ts';
import { createTestDatabase, queryRows, type TestDatabase } from './_database.ts';

const ALL = [
  '0001_identity',
  '0002_calls',
  '0003_trunks',
  '0004_keys',
  '0005_row_level_security',
  '0006_rules_vendors',
  '0007_people_campaigns',
  '0008_hooks_accounting',
  '0009_row_level_security',
  '0010_record_patches',
  '0011_webhook_queue',
  '0013_campaign_dialling',
  '0014_tool_secrets',
];
const TENANT_TABLES = 31;

let made: TestDatabase[] = [];
let database: Database;
let url: string;

async function fresh(options?: { migrated: boolean }): Promise<string> {
  const one = await createTestDatabase(options);
  made.push(one);
  return one.url;
}

before(async () => {
  url = await fresh();
  database = openPool({ url, log: silentLog });
});

after(async () => {
  await database.close();
  for (const one of made) await one.drop();
  made = [];
});

async function makeAccount(email: string): Promise<Id> {
  return database.withSystem(async (sql) => {
    const [row] = await sql.rows<{ id: Id }>(
      'INSERT INTO auth.users (email) VALUES ($1) RETURNING id',
      [email],
    );
    return row?.id ?? '';
  });
}

test('migrations run once each, at the same time from two nodes, and can be undone', async () => {
  const empty = await fresh({ migrated: false });
  const runs = await Promise.all([
    migrate({ url: empty, login: null, log: silentLog }),
    migrate({ url: empty, login: null, log: silentLog }),
  ]);
  assert.deepEqual(runs.flat(), ALL);
  await migrateDown(empty, ALL.length);
  const left = await queryRows<{ n: number }>(
    empty,
    "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'agents'",
  );
  assert.equal(left[0]?.n, 0);
  assert.deepEqual(await migrate({ url: empty, login: null, log: silentLog }), ALL);
});

test('an auth schema and an agents table that exist already are kept', async () => {
  const hosted = await fresh({ migrated: false });
  await queryRows(
    hosted,
    `CREATE SCHEMA auth;
     CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, role text NOT NULL DEFAULT 'authenticated', created_at timestamptz DEFAULT now());
     CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $f$
       SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
         nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
     CREATE TABLE agents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES auth.users, name varchar(255) NOT NULL, mood text);`,
  );
  assert.deepEqual(await migrate({ url: hosted, login: null, log: silentLog }), ALL);
  const columns = await queryRows<{ name: string }>(
    hosted,
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'agents' AND table_schema = 'public' ORDER BY 1",
  );
  assert.deepEqual(
    columns.map(({ name }) => name),
    ['config', 'created_at', 'deleted_at', 'id', 'mood', 'name', 'updated_at', 'user_id'],
  );
});

test('every tenant table has row-level security that binds its owner too', async () => {
  const rows = await queryRows<{ forced: number; policies: number }>(
    url,
    `SELECT count(*) FILTER (WHERE relrowsecurity AND relforcerowsecurity)::int AS forced,
            (SELECT count(*)::int FROM pg_policies WHERE schemaname = 'public') AS policies
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace AND nspname = 'public' WHERE relkind = 'r'`,
  );
  assert.deepEqual(rows, [{ forced: TENANT_TABLES, policies: TENANT_TABLES * 2 + 2 }]);
});

test('an account sees and writes its own rows only; the bare login sees none', async () => {
  const [mine, other] = [await makeAccount('a@example.test'), await makeAccount('b@example.test')];
  const agent = newId();
  await database.withAccount(mine, 'test', (sql) =>
    sql.run("INSERT INTO agents (id, user_id, name) VALUES ($1, $2, 'Ann')", [agent, mine]),
  );
  const seenBy = (account: Id): Promise<unknown[]> =>
    database.withAccount(account, 'test', (sql) =>
      sql.rows('SELECT id FROM agents WHERE id = $1', [agent]),
    );
  assert.deepEqual(await seenBy(mine), [{ id: agent }]);
  assert.deepEqual(await seenBy(other), []);
  // Before PostgreSQL 16 membership is inherited unless the login has NOINHERIT, which is the operator's choice.
  const bare = await queryRows(
    url,
    "SELECT id FROM agents WHERE current_setting('server_version_num')::int >= 160000",
  );
  assert.deepEqual(bare, []);
  assert.deepEqual(await database.withSystem((sql) => sql.rows('SELECT id FROM agents')), [
    { id: agent },
  ]);
  const writes: [string, unknown[], string][] = [
    ["INSERT INTO agents (user_id, name) VALUES ($1, 'Eve')", [mine], 'E_DATABASE'],
    // The foreign key carries the account, so another's agent cannot be named either.
    [
      "INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'default', '', $2)",
      [other, agent],
      'E_REFERENCE',
    ],
  ];
  for (const [text, values, code] of writes) {
    await assert.rejects(
      database.withAccount(other, 'test', (sql) => sql.run(text, values)),
      { code },
    );
  }
  const changed = await database.withAccount(other, 'test', (sql) =>
    sql.run("UPDATE agents SET name = 'x'"),
  );
  assert.equal(changed, 0);
});

test('events are append-only for requests, and a connection returns to the pool without a role', async () => {
  const account = await makeAccount('c@example.test');
  for (const text of ['DELETE FROM call_events', "UPDATE call_events SET type = 'x'"]) {
    const refused = await database
      .withAccount(account, 'test', (sql) => sql.run(text))
      .then(
        () => null,
        (error: unknown) => error,
      );
    assert.equal(sqlStateOf(refused), '42501');
  }
  const who = await database.withSystem((sql) => sql.rows('SELECT current_user AS name'));
  assert.deepEqual(who, [{ name: 'callyard_system' }]);
});
