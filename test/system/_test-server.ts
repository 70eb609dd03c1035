/** The PostgreSQL server of a test run: the embedded one, without fsync, in a folder that is removed afterwards. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { silentLog } from '#lib/log.ts';
import { startEmbeddedPostgres } from '#store/embedded-postgres.ts';

export type TestServer = { readonly url: string; stop(): Promise<void> };

const PREFIX = 'callyard-test-postgres-';

export async function startTestServer(): Promise<TestServer> {
  await removeLeftovers();
  const dataDir = mkdtempSync(path.join(tmpdir(), PREFIX));
  // As root the server runs as another user, who must be able to enter.
  chmodSync(dataDir, 0o755);
  const server = await startEmbeddedPostgres({
    dataDir,
    log: silentLog,
    settings: [
      'fsync=off',
      'synchronous_commit=off',
      'full_page_writes=off',
      'max_connections=100',
    ],
  });
  const onExit = (): void => endAtOnce(server.pid);
  process.on('exit', onExit);
  return {
    url: await makeOwner(server.adminUrl),
    async stop() {
      process.off('exit', onExit);
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A role such as hosted databases give: it owns its databases and may make roles, but is no superuser. */
async function makeOwner(adminUrl: string): Promise<string> {
  const client = new pg.Client(adminUrl);
  await client.connect();
  try {
    await client.query("CREATE ROLE callyard_owner LOGIN CREATEROLE CREATEDB PASSWORD 'owner'");
  } finally {
    await client.end();
  }
  const url = new URL(adminUrl);
  url.username = 'callyard_owner';
  url.password = 'owner';
  url.pathname = '/postgres';
  return url.href;
}

/** A run that was killed leaves its server: nobody else would ever end it. */
async function removeLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const dataDir = path.join(tmpdir(), name);
    const owner = ownerOf(dataDir);
    if (owner === null || isAlive(owner)) continue;
    const server = await startEmbeddedPostgres({ dataDir, log: silentLog });
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function ownerOf(dataDir: string): number | null {
  try {
    const state = JSON.parse(readFileSync(path.join(dataDir, 'postgres.json'), 'utf8')) as {
      owner: { pid: number } | null;
    };
    return state.owner?.pid ?? null;
  } catch {
    // Still being made, or already removed, by its own run.
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process: that is the question.
    return false;
  }
}

function endAtOnce(pid: number): void {
  if (isAlive(pid)) process.kill(pid, 'SIGQUIT');
}
