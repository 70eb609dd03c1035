/** The pg pool: short transactions under one of two roles, so that row-level security decides who sees what. */
import pg from 'pg';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { toDatabaseError } from './sql-errors.ts';

export type Row = Record<string, unknown>;
export type Sql = {
  /** Rows of one statement. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  rows<T extends object = Row>(text: string, values?: readonly unknown[]): Promise<T[]>;
  /** Rows that an INSERT, UPDATE or DELETE touched. */
  run(text: string, values?: readonly unknown[]): Promise<number>;
};

export type Database = {
  /** One transaction that sees and changes only this account's rows. `actor` is the person or key behind it. */
  withAccount<T>(accountId: Id, actor: string, work: (sql: Sql) => Promise<T>): Promise<T>;
  /** One transaction over all accounts: routing, projection, first keys. Never on behalf of a request. */
  withSystem<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Errors: E_DATABASE_UNREACHABLE. */
  ping(): Promise<void>;
  close(): Promise<void>;
};

export type PoolOptions = {
  readonly url: string;
  readonly log: Log;
  /** Connections at most. */
  readonly size?: number;
  readonly connectTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
};

export function openPool(options: PoolOptions): Database {
  const { url, log, size = 10, connectTimeoutMs = 2_000, statementTimeoutMs = 10_000 } = options;
  const pool = new pg.Pool({
    connectionString: url,
    max: size,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: 30_000,
    // The server ends a statement first; this one is for a peer that no longer answers at all.
    query_timeout: statementTimeoutMs + 2_000,
    keepAlive: true,
    application_name: 'callyard',
  });
  // An idle connection that the server closes raises here; without a listener the process would end.
  pool.on('error', (error) => log.debug('database.connectionLost', { error }));
  const setup = `SET LOCAL statement_timeout = ${statementTimeoutMs}; SET LOCAL search_path = public, pg_temp`;

  return {
    withAccount(accountId, actor, work) {
      const claims = pg.escapeLiteral(JSON.stringify({ sub: accountId, actor }));
      const begin = `BEGIN; SET LOCAL ROLE callyard_app; ${setup}; SELECT set_config('request.jwt.claims', ${claims}, true)`;
      return inTransaction(pool, begin, work);
    },
    withSystem(work) {
      return inTransaction(pool, `BEGIN; SET LOCAL ROLE callyard_system; ${setup}`, work);
    },
    async ping() {
      await pool.query('SELECT 1').catch((error: unknown) => {
        throw toDatabaseError(error);
      });
    },
    async close() {
      if (!pool.ended) await pool.end();
    },
  };
}

async function inTransaction<T>(
  pool: pg.Pool,
  begin: string,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw toDatabaseError(error);
  });
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await query(client, begin);
    const result = await work(sqlOn(client));
    await query(client, 'COMMIT');
    return result;
  } catch (error) {
    // A rollback that fails leaves a connection in an unknown state: it is thrown away.
    await client.query('ROLLBACK').catch((failed: Error) => (broken ??= failed));
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

function sqlOn(client: pg.PoolClient): Sql {
  return {
    rows: async (text, values) => (await query(client, text, values)).rows as never,
    run: async (text, values) => (await query(client, text, values)).rowCount ?? 0,
  };
}

async function query(
  client: pg.PoolClient,
  text: string,
  values?: readonly unknown[],
): Promise<pg.QueryResult> {
  try {
    return values === undefined
      ? await client.query(text)
      : await client.query(text, values as unknown[]);
  } catch (error) {
    throw toDatabaseError(error);
  }
}
