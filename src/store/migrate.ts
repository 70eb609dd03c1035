/** Brings a database to this version's schema: numbered SQL files, each run once, under an advisory lock. */
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { isServerAway, redactUrl, sqlStateOf, toDatabaseError } from './sql-errors.ts';

const MIGRATIONS = fileURLToPath(new URL('migrations', import.meta.url));
const LOCK_TIMEOUT_MS = 60_000;
/** The two roles that queries run under; made by the first migration. */
const ROLES = 'callyard_app, callyard_system';

export type MigrateOptions = {
  /** A role that owns the database (or may create in it) and may create roles. */
  readonly url: string;
  /** The role the pool logs in as; null = the role of `url`. */
  readonly login: string | null;
  readonly log: Log;
  readonly connectTimeoutMs?: number;
};

/**
 * Runs what is missing and returns the names of what ran.
 * Errors: E_DATABASE_UNREACHABLE; E_DATABASE when a statement fails or a right is missing.
 */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const { url, log, connectTimeoutMs = 5_000 } = options;
  const client = await connect(url, connectTimeoutMs);
  try {
    await client.query(`SET search_path = public; SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const ran = await runner({
      dbClient: client,
      dir: MIGRATIONS,
      direction: 'up',
      migrationsSchema: 'callyard',
      createMigrationsSchema: false,
      migrationsTable: 'migrations',
      advisoryLockMode: 'wait',
      singleTransaction: true,
      log: () => undefined,
      ...((await schemaExists(client)) ? {} : { createMigrationsSchema: true }),
    });
    await grantRoles(client, options.login);
    const names = ran.map(({ name }) => name);
    if (names.length > 0) log.info('database.migrated', { migrations: names });
    return names;
  } catch (error) {
    throw migrationError(error, url);
  } finally {
    await client.end();
  }
}

/** Undoes the newest `count` migrations and returns their names. It drops tables with their rows. */
export async function migrateDown(url: string, count: number): Promise<string[]> {
  const client = await connect(url, 5_000);
  try {
    await client.query('SET search_path = public');
    if (!(await schemaExists(client))) return [];
    const undone = await runner({
      dbClient: client,
      dir: MIGRATIONS,
      direction: 'down',
      count,
      migrationsSchema: 'callyard',
      migrationsTable: 'migrations',
      advisoryLockMode: 'wait',
      singleTransaction: true,
      log: () => undefined,
    });
    return undone.map(({ name }) => name);
  } catch (error) {
    throw migrationError(error, url);
  } finally {
    await client.end();
  }
}

/** Errors: E_DATABASE_UNREACHABLE with one line that says what to look at. */
async function connect(url: string, timeoutMs: number): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: timeoutMs,
    application_name: 'callyard migrate',
  });
  // The same fault rejects the query under way; this listener only keeps it from ending the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    throw unreachable(error, url);
  }
}

/** The one clear line for a database that cannot be used at start. The password is left out. */
export function unreachable(error: unknown, url: string): AppError {
  if (error instanceof AppError && error.code === 'E_DATABASE_UNREACHABLE') return error;
  return new AppError(
    'E_DATABASE_UNREACHABLE',
    `the database at ${redactUrl(url)} cannot be reached: ${messageOf(error)}; check DATABASE_URL and that the server runs`,
    { cause: error },
  );
}

/** Asked first because CREATE SCHEMA IF NOT EXISTS needs the right to create even when there is nothing to do. */
async function schemaExists(client: pg.Client): Promise<boolean> {
  const found = await client.query("SELECT to_regnamespace('callyard') IS NOT NULL AS yes");
  return (found.rows[0] as { yes: boolean }).yes;
}

/**
 * Lets the pool's login take either role by SET ROLE, and nothing else: inherited, the system role's policies would
 * show every row to a query outside a transaction of ours. Before PostgreSQL 16 only NOINHERIT on the login does that.
 */
async function grantRoles(client: pg.Client, login: string | null): Promise<void> {
  const grantee = login === null ? 'CURRENT_USER' : pg.escapeIdentifier(login);
  const found = await client.query("SELECT current_setting('server_version_num')::int AS version");
  const { version } = found.rows[0] as { version: number };
  try {
    await client.query(
      `GRANT ${ROLES} TO ${grantee}${version >= 160_000 ? ' WITH INHERIT FALSE, SET TRUE' : ''}`,
    );
  } catch (error) {
    if (login !== null || !(await canSetRoles(client))) throw error;
  }
}

async function canSetRoles(client: pg.Client): Promise<boolean> {
  try {
    await client.query(
      'BEGIN; SET LOCAL ROLE callyard_app; SET LOCAL ROLE NONE; SET LOCAL ROLE callyard_system; COMMIT',
    );
    return true;
  } catch (error) {
    await client.query('ROLLBACK');
    if (sqlStateOf(error) === '42501') return false;
    throw error;
  }
}

function migrationError(error: unknown, url: string): AppError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (isServerAway(cause)) return unreachable(cause, url);
  const database = redactUrl(url);
  if (sqlStateOf(cause) === '42501') {
    return new AppError(
      'E_DATABASE',
      `the database role of ${database} lacks a right: ${messageOf(cause)}; it must own the database and either have CREATEROLE or be granted ${ROLES}`,
      { cause },
    );
  }
  return new AppError(
    'E_DATABASE',
    `the schema of ${database} could not be brought up to date: ${messageOf(cause)}`,
    {
      cause: toDatabaseError(cause),
    },
  );
}
