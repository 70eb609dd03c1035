/**
 * A fresh database for each test file, copied from a migrated template. The server is the one of the run
 * (_global-setup.ts), else DATABASE_URL's, else one of this file's own, which ends with the process.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { silentLog } from '#lib/log.ts';
import { migrate } from '#store/migrate.ts';
import { startTestServer } from './_test-server.ts';

export type TestDatabase = {
  /** A DATABASE_URL: a role that owns the database and is no superuser. */
  readonly url: string;
  drop(): Promise<void>;
};

const MIGRATIONS = fileURLToPath(new URL('../../src/store/migrations/', import.meta.url));

let ownServer: Promise<string> | undefined;

/** `migrated: false` gives an empty database. */
export async function createTestDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const server = await serverUrl();
  const name = `callyard_test_${randomBytes(6).toString('hex')}`;
  await withClient(server, async (client) => {
    const template = migrated ? await makeTemplate(client, server) : 'template0';
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  });
  return {
    url: urlOf(server, name),
    drop: () => withClient(server, (client) => dropDatabase(client, name)),
  };
}

/**
 * FORCE would also end a vacuum worker, which is the server's own and not this role's to end; without it DROP sends such
 * workers away by itself.
 */
async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await client.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user',
    [name],
  );
  await client.query(`DROP DATABASE IF EXISTS ${name}`);
}

/** Runs statements in a test's database as its owner, past the application. */
export async function queryRows<T extends object>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<T[]> {
  return withClient(url, async (client) => (await client.query(text, values)).rows as T[]);
}

async function serverUrl(): Promise<string> {
  const given = process.env['TEST_DATABASE_SERVER'] ?? process.env['DATABASE_URL'];
  if (given !== undefined) return given;
  ownServer ??= startTestServer().then((server) => {
    process.once('beforeExit', () => void server.stop());
    return server.url;
  });
  return ownServer;
}

/** Made once per server and version of the schema; the lock keeps two files from making it at once. */
async function makeTemplate(client: pg.Client, server: string): Promise<string> {
  const hash = createHash('sha256');
  for (const file of readdirSync(MIGRATIONS).sort()) hash.update(readFileSync(MIGRATIONS + file));
  const name = `callyard_template_${hash.digest('hex').slice(0, 16)}`;
  await client.query("SELECT pg_advisory_lock(hashtext('callyard test template'))");
  const known = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
  if (known.rowCount === 0) {
    await client.query(`CREATE DATABASE ${name}_new TEMPLATE template0`);
    await migrate({ url: urlOf(server, `${name}_new`), login: null, log: silentLog });
    await client.query(`ALTER DATABASE ${name}_new RENAME TO ${name}`);
  }
  await client.query("SELECT pg_advisory_unlock(hashtext('callyard test template'))");
  return name;
}

function urlOf(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
