/** Talks to the embedded server as its owner: is it ours, does it answer, has it the pool's login and database. */
import pg from 'pg';
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { messageOf } from '#lib/errors.ts';
import type { ClusterState } from './postgres-cluster.ts';

const CONNECT_TIMEOUT_MS = 2_000;

export function serverUrl(port: number, role: string, password: string, database: string): string {
  return `postgresql://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
}

/** Null when the server of `directory` answers on `port` within `waitMs`, else why not. */
export async function checkServer(
  port: number,
  state: ClusterState,
  directory: string,
  waitMs: number,
  clock: Clock,
): Promise<string | null> {
  const endMs = clock.now() + waitMs;
  for (;;) {
    const fault = await tryServer(port, state, directory);
    if (fault === null || clock.now() >= endMs) return fault;
    await delay(100, undefined, clock);
  }
}

async function tryServer(
  port: number,
  state: ClusterState,
  directory: string,
): Promise<string | null> {
  try {
    return await withAdmin(port, state, 'postgres', async (client) => {
      const found = await client.query('SHOW data_directory');
      const actual = (found.rows[0] as { data_directory: string }).data_directory;
      return actual === directory ? null : `it serves ${actual}`;
    });
  } catch (error) {
    return messageOf(error);
  }
}

/** The pool's login has no right but to take Callyard's two roles; the migrations grant those. */
export async function prepareServer(port: number, state: ClusterState): Promise<void> {
  await withAdmin(port, state, 'postgres', async (client) => {
    const known = await client.query("SELECT FROM pg_roles WHERE rolname = 'callyard'");
    const verb = known.rowCount === 0 ? 'CREATE' : 'ALTER';
    const password = pg.escapeLiteral(state.loginPassword);
    await client.query(
      `${verb} ROLE callyard LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD ${password}`,
    );
    const made = await client.query("SELECT FROM pg_database WHERE datname = 'callyard'");
    if (made.rowCount === 0) await client.query('CREATE DATABASE callyard');
  });
}

async function withAdmin<T>(
  port: number,
  state: ClusterState,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString: serverUrl(port, 'postgres', state.adminPassword, database),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: 30_000,
  });
  // The same fault rejects the query under way; this listener only keeps it from ending the process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
