/** The one token that all nodes share for a vendor account, sealed, and the lock around its renewal. */
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';

/** The same shape as sessions/vendor-tokens.ts states. Times are unix milliseconds. */
export type SharedToken = {
  readonly token: string | null;
  readonly fetchedAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly refusedAtMs: number | null;
  readonly refusedCode: string | null;
};

export type TokenOwner = { readonly id: Id; readonly accountId: Id };

export type TokenRows = {
  read(owner: TokenOwner): Promise<SharedToken>;
  /**
   * Runs `work` under a lock of the whole database and stores what it returns, unless that is `current` itself. Null at
   * once while somebody else has the lock. Errors: those of `work`; E_DATABASE*.
   */
  exclusively(
    owner: TokenOwner,
    work: (current: SharedToken) => Promise<SharedToken>,
  ): Promise<SharedToken | null>;
};

/** Each holds a connection of the pool while its vendor answers. */
const MAX_AT_ONCE = 3;
/** The lock ends with its transaction: a node that hangs must not keep it. Above the two tries of a fetch. */
const LOCK_TIMEOUT_MS = 12_000;
const NOTHING: SharedToken = {
  ...{ token: null, fetchedAtMs: null, expiresAtMs: null },
  ...{ refusedAtMs: null, refusedCode: null },
};

type TokenRow = {
  token: string | null;
  fetched_at: Date | null;
  expires_at: Date | null;
  refused_at: Date | null;
  refused_code: string | null;
};

export function createTokenRows(options: {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly log: Log;
}): TokenRows {
  const { database, sealer, log } = options;
  let running = 0;
  const read = async (sql: Sql, owner: TokenOwner): Promise<SharedToken> => {
    const [row] = await sql.rows<TokenRow>(
      `SELECT token, fetched_at, expires_at, refused_at, refused_code FROM vendor_tokens
        WHERE config_id = $1 AND user_id = $2`,
      [owner.id, owner.accountId],
    );
    return row === undefined ? NOTHING : sharedOf(row, openToken(row.token, owner));
  };
  /** A token that does not open (another master key) is no loss: the next one is sealed with ours. */
  const openToken = (sealed: string | null, owner: TokenOwner): string | null => {
    if (sealed === null) return null;
    try {
      return sealer.open(sealed, tokenPlace(owner));
    } catch (error) {
      log.warn('vendorToken.unreadable', { configId: owner.id, error });
      return null;
    }
  };
  return {
    read: (owner) => database.withSystem((sql) => read(sql, owner)),
    async exclusively(owner, work) {
      if (running >= MAX_AT_ONCE) return null;
      running++;
      try {
        return await database.withSystem(async (sql) => {
          if (!(await tryLock(sql, owner))) return null;
          const current = await read(sql, owner);
          const next = await work(current);
          if (next !== current) await putToken(sql, sealer, owner, next);
          return next;
        });
      } finally {
        running--;
      }
    },
  };
}

async function tryLock(sql: Sql, owner: TokenOwner): Promise<boolean> {
  await sql.run(`SET LOCAL idle_in_transaction_session_timeout = ${LOCK_TIMEOUT_MS}`);
  // Not the row itself: saving another account deletes it and must not wait for a vendor.
  const [row] = await sql.rows<{ is_mine: boolean }>(
    `SELECT pg_try_advisory_xact_lock(hashtextextended('callyard vendor token ' || $1, 0)) AS is_mine`,
    [owner.id],
  );
  return row?.is_mine === true;
}

/** Stores the token of an account that is still active; that of a former one has no place any more. */
export async function putToken(
  sql: Sql,
  sealer: Sealer,
  owner: TokenOwner,
  { token, fetchedAtMs, expiresAtMs, refusedAtMs, refusedCode }: SharedToken,
): Promise<void> {
  await sql.run(
    `INSERT INTO vendor_tokens (config_id, user_id, token, fetched_at, expires_at, refused_at, refused_code)
     SELECT id, user_id, $3, $4, $5, $6, $7 FROM aliyun_configs WHERE id = $1 AND user_id = $2 AND is_active
     ON CONFLICT (config_id) DO UPDATE SET token = EXCLUDED.token, fetched_at = EXCLUDED.fetched_at,
       expires_at = EXCLUDED.expires_at, refused_at = EXCLUDED.refused_at, refused_code = EXCLUDED.refused_code`,
    [
      ...[owner.id, owner.accountId, token === null ? null : sealer.seal(token, tokenPlace(owner))],
      ...[fetchedAtMs, expiresAtMs, refusedAtMs].map((ms) => (ms === null ? null : new Date(ms))),
      refusedCode,
    ],
  );
}

function tokenPlace({ id, accountId }: TokenOwner) {
  return { table: 'vendor_tokens', column: 'token', accountId, rowId: id };
}

function sharedOf(row: TokenRow, token: string | null): SharedToken {
  return {
    token,
    fetchedAtMs: row.fetched_at?.getTime() ?? null,
    expiresAtMs: row.expires_at?.getTime() ?? null,
    refusedAtMs: row.refused_at?.getTime() ?? null,
    refusedCode: row.refused_code,
  };
}
