/** API keys (contract 1.2): `cy_` + 8 characters + `_` + 43 characters. Only the SHA-256 of a key is stored. */
import { createHash, randomBytes } from 'node:crypto';
import { systemClock, type Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import { StaleCache } from './stale-cache.ts';

export type ApiKeyRole = 'admin' | 'developer' | 'supervisor' | 'viewer';

/** A key as stored: of the key itself only the SHA-256. The facade compares (api/ports.ts states the same shape). */
export type StoredKey = {
  readonly keyId: Id;
  readonly accountId: Id;
  readonly role: ApiKeyRole;
  /** 32 bytes. */
  readonly keyHash: Uint8Array;
  /** Null = all agents of the account. */
  readonly agentIds: readonly Id[] | null;
  /** CIDR list; null = any address. */
  readonly ipAllow: readonly string[] | null;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
};

export type NewApiKey = {
  readonly accountId: Id;
  readonly name: string;
  readonly role: ApiKeyRole;
  readonly agentIds?: readonly Id[];
  readonly ipAllow?: readonly string[];
  readonly expiresAt?: Date;
  readonly createdBy?: Id;
};

export type ApiKeys = {
  /** `key` is shown this once. */
  create(wanted: NewApiKey): Promise<{ readonly id: Id; readonly key: string }>;
  /**
   * The key with this public prefix (8 characters), also when revoked or expired; notes the use, at most once a minute.
   * While the database is away, keys seen in the last ten minutes. Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT.
   */
  findKey(prefix: string): Promise<StoredKey | null>;
  /** False when the account has no such key. Revoking again is fine. */
  revoke(accountId: Id, id: Id): Promise<boolean>;
};

export const KEY_FORMAT = /^cy_([a-z0-9]{8})_([A-Za-z0-9_-]{43})$/;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** While the database is away a key that worked before still controls live calls, but not for ever. */
const STALE_MS = 10 * 60_000;
const USED_EVERY_MS = 60_000;

type KeyRow = {
  id: Id;
  user_id: Id;
  key_hash: Buffer;
  role: ApiKeyRole;
  agent_ids: Id[] | null;
  ip_allow: string[] | null;
  expires_at: Date | null;
  revoked_at: Date | null;
};

export function createApiKeys(database: Database, log: Log, clock: Clock = systemClock): ApiKeys {
  // Never fresh: the facade holds a key for seconds itself, and a revocation must work within 5 s.
  const cache = new StaleCache<StoredKey | null>({
    ...{ name: 'API keys', log, clock, freshMs: 0, staleMs: STALE_MS, patienceMs: 2_500 },
    // Guessed prefixes must not push out real keys.
    isKept: (key) => key !== null,
  });
  const usedMs = new Map<Id, number>();
  const noteUse = (id: Id): void => {
    const now = clock.now();
    if (now - (usedMs.get(id) ?? Number.NEGATIVE_INFINITY) < USED_EVERY_MS) return;
    if (usedMs.size >= 1_000) usedMs.clear();
    usedMs.set(id, now);
    const done = database.withSystem((sql) =>
      sql.run('UPDATE api_keys SET last_used_at = now() WHERE id = $1', [id]),
    );
    done.catch((error: unknown) => log.debug('apiKey.useNotNoted', { id, error }));
  };
  return {
    create: (wanted) => database.withSystem((sql) => insertKey(sql, wanted, generateKey())),
    async findKey(prefix) {
      const key = await cache.get(prefix, () => load(database, prefix));
      if (key !== null && key.revokedAtMs === null) noteUse(key.keyId);
      return key;
    },
    revoke: (accountId, id) =>
      database.withAccount(accountId, 'api-keys', async (sql) => {
        const found = await sql.rows<{ prefix: string }>(
          'UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING prefix',
          [id],
        );
        for (const { prefix } of found) cache.delete(prefix);
        return found.length > 0;
      }),
  };
}

/** A new key in the contract's format. */
export function generateKey(): string {
  let prefix = '';
  while (prefix.length < 8) {
    // 252 = 7 x 36: bytes above it would make some letters likelier than others.
    const [byte = 255] = randomBytes(1);
    if (byte < 252) prefix += LETTERS[byte % LETTERS.length];
  }
  return `cy_${prefix}_${randomBytes(32).toString('base64url')}`;
}

export function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

export function prefixOf(key: string): string {
  return key.slice(3, 11);
}

/** Stores a key under its hash. */
export async function insertKey(
  sql: Sql,
  wanted: NewApiKey,
  key: string,
): Promise<{ readonly id: Id; readonly key: string }> {
  const rows = await sql.rows<{ id: Id }>(
    `INSERT INTO api_keys (user_id, name, prefix, key_hash, role, agent_ids, ip_allow, expires_at, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7::cidr[], $8, $9) RETURNING id`,
    [
      ...[wanted.accountId, wanted.name, prefixOf(key), hashOf(key), wanted.role],
      ...[
        wanted.agentIds ?? null,
        wanted.ipAllow ?? null,
        wanted.expiresAt ?? null,
        wanted.createdBy ?? null,
      ],
    ],
  );
  return { id: (rows[0] as { id: Id }).id, key };
}

async function load(database: Database, prefix: string): Promise<StoredKey | null> {
  const [row] = await database.withSystem((sql) =>
    sql.rows<KeyRow>(
      `SELECT id, user_id, key_hash, role, agent_ids::text[], ip_allow::text[], expires_at, revoked_at
         FROM api_keys WHERE prefix = $1`,
      [prefix],
    ),
  );
  if (row === undefined) return null;
  return {
    keyId: row.id,
    accountId: row.user_id,
    role: row.role,
    keyHash: row.key_hash,
    agentIds: row.agent_ids,
    ipAllow: row.ip_allow,
    expiresAtMs: row.expires_at?.getTime() ?? null,
    revokedAtMs: row.revoked_at?.getTime() ?? null,
  };
}
