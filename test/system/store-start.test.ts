/** Starts without a database: refused the first time, degraded later; the embedded one; crashes. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { startEmbeddedPostgres } from '#store/embedded-postgres.ts';
import { openPool } from '#store/pool.ts';
import { scriptCall } from '../unit/_store-entries.ts';
import { atEnd, newDatabase, newDataDir, newStore, storeOptions, until } from './_store.ts';
import { startProxy } from './_tcp-proxy.ts';

const HOLDER = fileURLToPath(new URL('_postgres-holder.ts', import.meta.url));
const QUICK = ['fsync=off', 'full_page_writes=off'];

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process: that is the question.
    return false;
  }
}

test('a first start without the database is refused in one line that hides the password', async (t) => {
  const rows: [string, string][] = [
    ['postgresql://ann:hush@127.0.0.1:1/calls', 'E_DATABASE_UNREACHABLE'],
    ['mysql://ann:hush@127.0.0.1/calls', 'E_CONFIG'],
  ];
  for (const [url, code] of rows) {
    const refused = await newStore(t, storeOptions(newDataDir(t), url)).then(
      () => null,
      (error: unknown) => error,
    );
    assert.ok(refused instanceof AppError, url);
    assert.equal(refused.code, code);
    assert.match(refused.message, /DATABASE_URL/);
    assert.doesNotMatch(refused.message, /hush|\n/);
  }
});

test('a node that knows its database starts without it and catches up', async (t) => {
  const proxy = await startProxy(await newDatabase(t));
  atEnd(t, () => proxy.close());
  const dataDir = newDataDir(t);
  const first = await newStore(t, storeOptions(dataDir, proxy.url));
  const key = first.adminKey()?.key;
  const accountId = await first.defaultAccount();
  await first.close();

  proxy.cut();
  const store = await newStore(t, storeOptions(dataDir, proxy.url));
  assert.equal(store.state(), 'down');
  assert.equal(store.adminKey()?.key, key);
  assert.equal(await store.defaultAccount(), accountId);
  const agent = await store.agents.forInbound('1001');
  const call = scriptCall(agent.accountId, agent.id);
  store.journal.append(call.initiated());
  store.journal.append(call.ended());
  assert.equal(store.projection.lagEvents, 2);
  await assert.rejects(store.records.get(accountId, call.id), { code: 'E_DATABASE_UNREACHABLE' });
  proxy.restore();
  await until(
    () => store.state() === 'up' && store.projection.lagEvents === 0,
    'the database to be used',
  );
  assert.equal((await store.records.get(accountId, call.id))?.status, 'ended');
});

test('what a crash left in the journal is closed and projected at the next start', async (t) => {
  const url = await newDatabase(t);
  const dataDir = newDataDir(t);
  const first = await newStore(t, storeOptions(dataDir, url));
  const accountId = await first.defaultAccount();
  const call = scriptCall(accountId, (await first.agents.defaultFor(accountId)).id);
  for (const entry of [call.initiated(), call.answered(), call.says('user', 'hello')])
    first.journal.append(entry);
  await first.close(0);
  const second = await newStore(t, storeOptions(dataDir, url));
  assert.deepEqual((await second.recover(async () => null)).calls, [call.id]);
  await until(() => second.projection.lagEvents === 0, 'the replay');
  const record = await second.records.get(accountId, call.id);
  assert.deepEqual(
    [
      record?.status,
      record?.outcome,
      record?.hangupReason,
      record?.endedBy,
      record?.messages.length,
    ],
    ['ended', 'node_lost', 'error', 'system', 1],
  );
  assert.deepEqual((await second.recover(async () => null)).calls, []);
});

test('the embedded database: made, private, restarted after a crash, stopped cleanly', async (t) => {
  const dataDir = newDataDir(t);
  chmodSync(dataDir, 0o755);
  const log = silentLog;
  const server = await startEmbeddedPostgres({ dataDir, log, settings: QUICK });
  atEnd(t, () => server.stop());
  const state = path.join(dataDir, 'postgres.json');
  assert.match(readFileSync(state, 'utf8'), /"adminPassword"/);
  await assert.rejects(startEmbeddedPostgres({ dataDir, log }), { code: 'E_DATA_DIR_LOCKED' });
  const wrong = openPool({ url: server.url.replace(/:[^:@]+@/, ':wrong@'), log });
  await assert.rejects(wrong.ping(), { code: 'E_DATABASE' });
  await wrong.close();
  const pool = openPool({ url: server.url, log });
  atEnd(t, () => pool.close());
  await pool.ping();
  const before = server.pid;
  process.kill(before, 'SIGQUIT');
  const answers = (): Promise<boolean> =>
    pool.ping().then(
      () => server.pid !== before,
      () => false,
    );
  await until(answers, 'the restart');
  await pool.close();
  const { pid } = server;
  await server.stop();
  await server.stop();
  assert.equal(isAlive(pid), false);
  const logText = readFileSync(path.join(server.directory, 'server.log'), 'utf8');
  assert.doesNotMatch(logText, /PANIC/);
});

test('a server whose node was killed is adopted by the next one', async (t) => {
  const dataDir = newDataDir(t);
  chmodSync(dataDir, 0o755);
  const holder = fork(HOLDER, [dataDir], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const gone = new Promise((resolve) => holder.once('exit', resolve));
  const left = await new Promise<number>((resolve) => {
    holder.once('message', (pid) => resolve(Number(pid)));
  });
  atEnd(t, () => {
    if (isAlive(left)) process.kill(left, 'SIGQUIT');
  });
  holder.kill('SIGKILL');
  await gone;
  assert.equal(isAlive(left), true);
  const next = await startEmbeddedPostgres({ dataDir, log: silentLog, settings: QUICK });
  atEnd(t, () => next.stop());
  assert.deepEqual([next.adopted, next.pid], [true, left]);
  const pool = openPool({ url: next.url, log: silentLog });
  await pool.ping();
  await pool.close();
  await next.stop();
  assert.equal(isAlive(left), false);
});

test(
  'as root, a closed data directory moves the database to a place that its user can reach',
  {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  },
  async (t) => {
    // mkdtemp makes it 0700.
    const dataDir = newDataDir(t);
    const open = async (): Promise<string> => {
      const server = await startEmbeddedPostgres({ dataDir, log: silentLog, settings: QUICK });
      atEnd(t, () => rmSync(path.dirname(server.directory), { recursive: true, force: true }));
      await server.stop();
      return server.directory;
    };
    const first = await open();
    assert.equal(first.startsWith(dataDir), false);
    chmodSync(dataDir, 0o755);
    assert.equal(await open(), first, 'once placed, it stays');
    chmodSync(dataDir, 0o700);
    rmSync(path.join(dataDir, 'postgres.json'));
    assert.equal(await open(), first, 'a data directory that begins anew gets a new database');
    assert.equal(readdirSync(path.dirname(first)).length, 2);
  },
);
