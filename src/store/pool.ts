/** The pg pool: short transactions under one of two roles, so that row-level security decides who sees what. */
import pg from 'pg';
import { AppError } from '#lib/errors.ts';
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
  /** The rows of one statement in a transaction of its own, as `withAccount`, in one round trip. */
  accountRows<T extends object>(
    accountId: Id,
    actor: string,
    text: string,
    values?: readonly unknown[],
  ): Promise<T[]>;
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
    // Statements are sent without waiting for the answer to those before them.
    pipeline: true,
  });
  // An idle connection that the server closes raises here; without a listener the process would end.
  pool.on('error', (error) => log.debug('database.connectionLost', { error }));
  const setup = [
    ['statement_timeout', String(statementTimeoutMs)],
    ['search_path', 'public, pg_temp'],
    // Compiling a statement takes longer than any of ours runs.
    ['jit', 'off'],
  ]
    .map(([name, value]) => `set_config('${name}', '${value}', true)`)
    .join(', ');
  const asAccount = (accountId: Id, actor: string): string => {
    const claims = pg.escapeLiteral(JSON.stringify({ sub: accountId, actor }));
    return `BEGIN; SET LOCAL ROLE callyard_app; SELECT set_config('request.jwt.claims', ${claims}, true), ${setup}`;
  };
  const asSystem = `BEGIN; SET LOCAL ROLE callyard_system; SELECT ${setup}`;

  return {
    withAccount: (accountId, actor, work) => inTransaction(pool, asAccount(accountId, actor), work),
    withSystem: (work) => inTransaction(pool, asSystem, work),
    accountRows: (accountId, actor, text, values) =>
      onClient(pool, (client) => oneStatement(client, asAccount(accountId, actor), text, values)),
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

function inTransaction<T>(
  pool: pg.Pool,
  begin: string,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  return onClient(pool, async (client) => {
    const begun = settled(query(client, begin));
    const { sql, close } = sqlOn(client);
    try {
      const result = await work(sql);
      close();
      // What fails for want of a transaction fails because of its beginning.
      await begun.orThrow();
      const { command } = await query(client, 'COMMIT');
      // After a failed statement COMMIT is a rollback; work that swallowed the fault would take it for done.
      if (command !== 'COMMIT') throw new AppError('E_DATABASE', 'the transaction was rolled back');
      return result;
    } catch (error) {
      close();
      await begun.orThrow();
      throw error;
    }
  });
}

/** After a failed statement COMMIT is a rollback, so all three can be on their way at once. */
async function oneStatement<T extends object>(
  client: pg.PoolClient,
  begin: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<T[]> {
  const begun = settled(query(client, begin));
  const done = settled(query(client, text, values));
  const ended = settled(query(client, 'COMMIT'));
  await begun.orThrow();
  const { rows } = await done.orThrow();
  await ended.orThrow();
  return rows as T[];
}

/** Lends a connection to `work`, which leaves no transaction open unless it throws. */
async function onClient<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw toDatabaseError(error);
  });
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    // A rollback that fails leaves a connection in an unknown state: it is thrown away.
    await client.query('ROLLBACK').catch((failed: Error) => (broken ??= failed));
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

/** A promise that is awaited later: its rejection is held until then. */
function settled<T>(promise: Promise<T>): { readonly orThrow: () => Promise<T> } {
  const outcome = promise.then(
    (value) => () => value,
    (error: unknown) => () => {
      throw error;
    },
  );
  return { orThrow: async () => (await outcome)() };
}

/** Statements until `close`: later ones would meet the transaction of another account on the same connection. */
function sqlOn(client: pg.PoolClient): { readonly sql: Sql; readonly close: () => void } {
  let isOpen = true;
  const send: typeof query = async (...statement) => {
    if (!isOpen) throw new AppError('E_INTERNAL', 'a statement came after its transaction');
    return query(...statement);
  };
  return {
    sql: {
      rows: async (text, values) => (await send(client, text, values)).rows as never,
      run: async (text, values) => (await send(client, text, values)).rowCount ?? 0,
    },
    close: () => {
      isOpen = false;
    },
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
