/** The databases of the bench: PostgreSQL of this machine's own packages when there is one, and the embedded one. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '#lib/log.ts';
import { startEmbeddedPostgres } from '#store/embedded-postgres.ts';

export type BenchDatabase = {
  readonly name: string;
  /** Of the schema's owner. */
  readonly url: string;
  stop(): Promise<void>;
};

const PACKAGES = '/usr/lib/postgresql';

/** DATABASE_URL_BENCH, else a throw-away server of Debian's packages with fsync on; null when there is neither. */
export async function realDatabase(): Promise<BenchDatabase | null> {
  const given = process.env['DATABASE_URL_BENCH'];
  if (given !== undefined) {
    return {
      ...{ name: 'PostgreSQL of DATABASE_URL_BENCH', url: given },
      stop: async () => undefined,
    };
  }
  const versions = debianVersions();
  const version = versions.at(-1);
  return version === undefined || process.getuid?.() !== 0 ? null : debianDatabase(version);
}

export async function embeddedDatabase(): Promise<BenchDatabase> {
  const dataDir = newFolder();
  const server = await startEmbeddedPostgres({ dataDir, log: silentLog });
  return {
    // Each transaction takes its own role, so the login makes no difference to what it costs.
    ...{ name: 'embedded PostgreSQL', url: server.adminUrl },
    async stop() {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function debianVersions(): string[] {
  try {
    return readdirSync(PACKAGES).sort((a, b) => Number(a) - Number(b));
  } catch {
    // Not Debian, or not installed.
    return [];
  }
}

async function debianDatabase(version: string): Promise<BenchDatabase> {
  const folder = newFolder();
  const data = join(folder, 'postgres');
  mkdirSync(data);
  execFileSync('chown', ['postgres', data]);
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(
      'runuser',
      ['-u', 'postgres', '--', join(PACKAGES, version, 'bin', command), ...args],
      { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] },
    );
  run('initdb', ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-locale', '-E', 'UTF8']);
  const port = await freePort();
  const options = `-p ${port} -h 127.0.0.1 -k ${data}`;
  run('pg_ctl', ['-D', data, '-l', join(data, 'log'), '-o', options, '-w', 'start']);
  const psql = (database: string, statement: string): string =>
    run('psql', ['-h', data, '-p', String(port), '-d', database, '-qc', statement]);
  // As a hosted database gives it: the login owns its database and may make roles, but is no superuser.
  psql('postgres', 'CREATE ROLE app LOGIN CREATEROLE');
  psql('postgres', 'CREATE DATABASE callyard OWNER app');
  return {
    name: `PostgreSQL ${version}, Debian's package and defaults`,
    url: `postgres://app@127.0.0.1:${port}/callyard`,
    async stop() {
      run('pg_ctl', ['-D', data, '-m', 'fast', '-w', 'stop']);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-bench-'));
  // The server runs as another user, who must be able to enter.
  chmodSync(folder, 0o755);
  return folder;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}
