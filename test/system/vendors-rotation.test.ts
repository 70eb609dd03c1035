/** The master key is changed under real rows: cut short by a kill, run again, nothing lost, nothing left of the old one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test, type TestContext } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createIdempotency } from '#store/idempotency.ts';
import { loadMasterKeys } from '#store/master-keys.ts';
import { openPool, type Database } from '#store/pool.ts';
import { countOld, rewrapAll, SEALED_COLUMNS, startRewrapping } from '#store/rewrap.ts';
import { createSealer, keyIdOf, type Sealer } from '#store/sealed.ts';
import { queryRows } from './_database.ts';
import { atEnd, newDatabase, newDataDir, until } from './_store.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const [OLD, NEW] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as [Buffer, Buffer];
const EACH = 7;

/** Columns that a row needs besides the sealed ones, by table; `$n` counts from 0. */
const MORE: Readonly<Record<string, (n: number, ids: Ids) => Record<string, unknown>>> = {
  aliyun_configs: (n) => ({ access_key_id: 'k', app_key: 'a', is_active: n === 0 }),
  volcengine_configs: (n) => ({ app_id: 'a', is_active: n === 0 }),
  provider_configs: (n) => ({ kind: 'llm', vendor: 'openai', name: `m${n}` }),
  sip_configs: (n) => ({ name: `t${n}`, host: '192.0.2.1' }),
  extensions: (n) => ({ extension: `10${n}`, name: 'x', kind: 'sip' }),
  webhooks: () => ({ url: 'https://hook.example.test/' }),
  recordings: (_n, { callId }) => ({ call_id: callId, status: 'ready', uri: 'x' }),
};

type Ids = { readonly accountId: string; readonly callId: string };

async function setUp(t: TestContext) {
  const url = await newDatabase(t);
  const database = openPool({ url, log: silentLog, size: 4 });
  atEnd(t, () => database.close());
  const [accountId, agentId, callId] = [newId(), newId(), newId()];
  await queryRows(url, 'INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
    ...[accountId, `${accountId}@example.test`],
  ]);
  await database.withSystem(async (sql) => {
    await sql.run(`INSERT INTO agents (id, user_id, name, config) VALUES ($1, $2, 'a', '{}')`, [
      ...[agentId, accountId],
    ]);
    await sql.run(
      `INSERT INTO call_records (id, user_id, agent_id, start_time) VALUES ($1, $2, $3, now())`,
      [callId, accountId, agentId],
    );
  });
  return { url, database, accountId, ids: { accountId, callId } };
}

/** `EACH` rows in every sealed table; gives what each value must open to. */
async function fill(database: Database, sealer: Sealer, ids: Ids): Promise<number> {
  let values = 0;
  for (const table of Object.keys(MORE)) {
    const columns = SEALED_COLUMNS.filter((column) => column.table === table);
    for (let n = 0; n < EACH; n++) {
      const id = newId();
      const row: Record<string, unknown> = { id, user_id: ids.accountId, ...MORE[table]?.(n, ids) };
      for (const { column } of columns) {
        const place = { table, column, accountId: ids.accountId, rowId: id };
        row[column] = sealer.seal(`${table} ${column} ${id}`, place);
        values++;
      }
      const names = Object.keys(row);
      const marks = names.map((_, at) => `$${at + 1}`);
      await database.withSystem((sql) =>
        sql.run(
          `INSERT INTO ${table} (${names.join()}) VALUES (${marks.join()})`,
          Object.values(row),
        ),
      );
      if (table === 'aliyun_configs') {
        const place = {
          ...{ table: 'vendor_tokens', column: 'token' },
          ...{ accountId: ids.accountId, rowId: id },
        };
        const token = sealer.seal(`vendor_tokens token ${id}`, place);
        await database.withSystem((sql) =>
          sql.run('INSERT INTO vendor_tokens (config_id, user_id, token) VALUES ($1, $2, $3)', [
            ...[id, ids.accountId, token],
          ]),
        );
        values++;
      }
    }
  }
  values += await fillToolSecret(database, sealer, ids);
  return values;
}

/** An account has one, which is bound to the account itself. */
async function fillToolSecret(database: Database, sealer: Sealer, ids: Ids): Promise<number> {
  const { accountId } = ids;
  const sealed = ['secret', 'old_secret'].map((column) =>
    sealer.seal(`tool_secrets ${column} ${accountId}`, {
      ...{ table: 'tool_secrets', column, accountId, rowId: accountId },
    }),
  );
  await database.withSystem((sql) =>
    sql.run('INSERT INTO tool_secrets (user_id, secret, old_secret) VALUES ($1, $2, $3)', [
      ...[accountId, ...sealed],
    ]),
  );
  return sealed.length;
}

/** Every value of every column, opened; fails when one does not open or says something else. */
async function openAll(database: Database, sealer: Sealer, keyId?: string): Promise<number> {
  let opened = 0;
  for (const { table, column, rowId } of SEALED_COLUMNS) {
    if (table === 'idempotency_keys') continue;
    const rows = await database.withSystem((sql) =>
      sql.rows<{ id: string; user_id: string; text: string }>(
        `SELECT ${rowId} AS id, user_id, ${column} AS text FROM ${table} WHERE ${column} IS NOT NULL`,
      ),
    );
    for (const { id, user_id: accountId, text } of rows) {
      const plain = sealer.open(text, { table, column, accountId, rowId: id });
      assert.equal(plain, `${table} ${column} ${id}`);
      if (keyId !== undefined) assert.equal(text.split('.')[1], keyId);
      opened++;
    }
  }
  return opened;
}

test('every sealed column is rewrapped; cut short anywhere it goes on where it was', async (t) => {
  const { database, accountId, ids } = await setUp(t);
  const values = await fill(database, createSealer([OLD]), ids);
  const scope = { accountId, route: 'POST /api/v1/api-keys', key: 'ключ-"1"' };
  const before = createIdempotency({ database, sealer: createSealer([OLD]) });
  const claimed = await before.claim(scope, createHash('sha256').digest());
  assert.ok('token' in claimed);
  await before.settle(scope, claimed.token, { status: 201, body: '{"key":"once"}' }, true);

  const sealer = createSealer([NEW, OLD]);
  assert.equal(await openAll(database, sealer), values);
  const cut = new AbortController();
  let batches = 0;
  const counting: Database = {
    ...database,
    withSystem: (work) => {
      if (++batches === 9) cut.abort();
      return database.withSystem(work);
    },
  };
  const options = { sealer, log: silentLog, batchSize: 2 };
  const first = await rewrapAll({ ...options, database: counting, signal: cut.signal });
  const firstCount = first.reduce((sum, { rewrapped }) => sum + rewrapped, 0);
  assert.ok(firstCount > 0 && firstCount < values, `${firstCount} of ${values}`);
  assert.equal(await openAll(database, sealer), values, 'old and new ones open meanwhile');
  assert.notDeepEqual(await countOld({ database, sealer }), []);

  const second = await rewrapAll({ ...options, database });
  const secondCount = second.reduce((sum, { rewrapped }) => sum + rewrapped, 0);
  assert.equal(firstCount + secondCount, values + 1);
  assert.deepEqual(await countOld({ database, sealer }), []);
  const newAlone = createSealer([NEW]);
  assert.equal(await openAll(database, newAlone, keyIdOf(NEW)), values);
  await assert.rejects(openAll(database, createSealer([OLD])), { code: 'E_CONFIG' });
  const after = createIdempotency({ database, sealer: newAlone });
  const replay = await after.claim(scope, createHash('sha256').digest());
  assert.deepEqual('answer' in replay && replay.answer, { status: 201, body: '{"key":"once"}' });
  const third = await rewrapAll({ ...options, database });
  assert.ok(third.every(({ rewrapped, failed }) => rewrapped + failed === 0));
});

test('a value of an unknown key is counted, named and left; the others are rewrapped', async (t) => {
  const { database, ids } = await setUp(t);
  const values = await fill(database, createSealer([OLD]), ids);
  const foreign = createSealer([Buffer.alloc(32, 9)]);
  const stray = await database.withSystem(async (sql) => {
    const [row] = await sql.rows<{ id: string }>('SELECT id FROM sip_configs ORDER BY id LIMIT 1');
    const id = row?.id ?? '';
    const place = { table: 'sip_configs', column: 'password', accountId: ids.accountId, rowId: id };
    const text = foreign.seal('x', place);
    await sql.run('UPDATE sip_configs SET password = $2 WHERE id = $1', [id, text]);
    return { id, text };
  });
  const sealer = createSealer([NEW, OLD]);
  const results = await rewrapAll({ database, sealer, log: silentLog, batchSize: 3 });
  assert.equal(
    results.reduce((sum, { rewrapped }) => sum + rewrapped, 0),
    values - 1,
  );
  assert.equal(results.find(({ table }) => table === 'sip_configs')?.failed, 1);
  assert.deepEqual(await countOld({ database, sealer }), [
    { table: 'sip_configs', column: 'password', count: 1 },
  ]);
  const [kept] = await database.withSystem((sql) =>
    sql.rows<{ password: string }>('SELECT password FROM sip_configs WHERE id = $1', [stray.id]),
  );
  assert.equal(kept?.password, stray.text);
});

test('a node with former keys rewraps in the background, and again for what others sealed since', async (t) => {
  const { database, ids } = await setUp(t);
  const values = await fill(database, createSealer([OLD]), ids);
  const clock = new SimulatedClock();
  const sealer = createSealer([NEW, OLD]);
  const stop = startRewrapping({ database, sealer, log: silentLog, clock });
  const isDone = async (): Promise<boolean> =>
    (await countOld({ database, sealer })).length === 0 && clock.pending === 1;
  await until(isDone, 'the first sweep');
  await database.withSystem((sql) => sql.run('DELETE FROM extensions'));
  const late = newId();
  const place = { table: 'extensions', column: 'password', accountId: ids.accountId, rowId: late };
  await database.withSystem((sql) =>
    sql.run(
      `INSERT INTO extensions (id, user_id, extension, name, kind, password) VALUES ($1, $2, '1', 'x', 'sip', $3)`,
      [late, ids.accountId, createSealer([OLD]).seal(`extensions password ${late}`, place)],
    ),
  );
  clock.advance(3_600_000);
  await until(isDone, 'the second sweep');
  await stop();
  await stop();
  assert.equal(clock.pending, 0);
  assert.equal(await openAll(database, createSealer([NEW])), values - EACH + 1);
  await startRewrapping({ database, sealer: createSealer([NEW]), log: silentLog, clock })();
  assert.equal(clock.pending, 0);
});

type Run = { readonly code: number | null; readonly out: string };

function rotate(
  t: TestContext,
  env: Record<string, string>,
): { readonly done: Promise<Run>; kill(): void } {
  const child = spawn(process.execPath, [MAIN, 'rotate-key'], {
    env: { PATH: process.env['PATH'] ?? '', CALLYARD_LOG_LEVEL: 'silent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  atEnd(t, () => void child.kill('SIGKILL'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (out += chunk.toString()));
  }
  const { promise, resolve } = Promise.withResolvers<Run>();
  child.once('close', (code) => resolve({ code, out }));
  return { done: promise, kill: () => void child.kill('SIGKILL') };
}

test('callyard rotate-key: killed in the middle, run again, and the former key is put aside', async (t) => {
  const { url, database, ids } = await setUp(t);
  const dataDir = newDataDir(t);
  const env = { DATABASE_URL: url, CALLYARD_DATA_DIR: dataDir };
  const settings = { dataDir, masterKey: undefined };
  const [former] = await loadMasterKeys(settings);
  const values = await fill(database, createSealer([former]), ids);

  // A row that somebody else holds stops it in the middle: after the vendors, before the recordings.
  const release = Promise.withResolvers<void>();
  const holding = Promise.withResolvers<void>();
  const held = database.withSystem(async (sql) => {
    await sql.rows('SELECT FROM webhooks FOR UPDATE');
    holding.resolve();
    await release.promise;
  });
  await holding.promise;
  const first = rotate(t, env);
  const during = async (): Promise<Sealer> => createSealer(await loadMasterKeys(settings));
  const isHalfWay = async (): Promise<boolean> => {
    const sealer = await during();
    if (sealer.oldKeyIds.length === 0) return false;
    const left = await countOld({ database, sealer });
    return left.length > 0 && !left.some(({ table }) => table === 'extensions');
  };
  await until(isHalfWay, 'half of it');
  first.kill();
  assert.equal((await first.done).code, null);
  release.resolve();
  await held;
  const halfWay = await during();
  assert.equal(await openAll(database, halfWay), values, 'a node started now opens everything');
  assert.notDeepEqual(await countOld({ database, sealer: halfWay }), []);

  const second = await rotate(t, env).done;
  assert.equal(second.code, 0, second.out);
  assert.match(
    second.out,
    /cut short.*Rewrapped \d+ values.*recordings\.key_enc +7\n.*backups made before/s,
  );
  const keys = await loadMasterKeys(settings);
  assert.equal(keys.length, 1);
  assert.equal(await openAll(database, createSealer(keys), halfWay.keyId), values);
  assert.ok(readdirSync(dataDir).includes(`master.key.retired-${keyIdOf(former)}`));
  for (const secret of [former, keys[0]]) {
    assert.ok(!second.out.includes(secret.toString('base64')), 'a key was printed');
  }
});

test('callyard rotate-key with a set key wants the former one as well', async (t) => {
  const { url, database, ids } = await setUp(t);
  const dataDir = newDataDir(t);
  const env = { DATABASE_URL: url, CALLYARD_DATA_DIR: dataDir };
  const [old, fresh] = [OLD, NEW].map((key) => key.toString('base64')) as [string, string];
  const refused = await rotate(t, { ...env, CALLYARD_MASTER_KEY: old }).done;
  assert.deepEqual([refused.code, /CALLYARD_MASTER_KEY_OLD/.test(refused.out)], [1, true]);
  const values = await fill(database, createSealer([OLD]), ids);
  const both = { ...env, CALLYARD_MASTER_KEY: fresh, CALLYARD_MASTER_KEY_OLD: old };
  const done = await rotate(t, both).done;
  assert.deepEqual(
    [done.code, /CALLYARD_MASTER_KEY_OLD can go/.test(done.out)],
    [0, true],
    done.out,
  );
  assert.equal(await openAll(database, createSealer([NEW]), keyIdOf(NEW)), values);
  assert.ok(!readdirSync(path.join(dataDir)).some((file) => file.startsWith('master.key')));
});
