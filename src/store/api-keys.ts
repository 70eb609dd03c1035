/** API keys in use (contract 1.2): `cy_` + 8 characters + `_` + 43 characters. Only the SHA-256 of a key is stored. */
import { systemClock, type Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { createApiKeyAdmin, type ApiKeyAdmin } from './api-keys-admin.ts';
import type { ApiKeyRole } from './api-keys-new.ts';
import type { Database } from './pool.ts';
import { StaleCache } from './stale-cache.ts';

export { generateKey, hashOf, KEY_FORMAT, prefixOf } from './api-keys-new.ts';

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

export type KeyFinder = {
  /**
   * The key with this public prefix (8 characters), also when revoked or expired; notes the use, at most once a minute.
   * While the database is away, keys seen in the last ten minutes. Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT.
   */
  findKey(prefix: string): Promise<StoredKey | null>;
};

export type ApiKeys = KeyFinder & ApiKeyAdmin;

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
    ...createApiKeyAdmin(database, (prefix) => cache.delete(prefix)),
    async findKey(prefix) {
      const key = await cache.get(prefix, () => load(database, prefix));
      if (key !== null && (key.revokedAtMs ?? Number.POSITIVE_INFINITY) > clock.wallMs()) {
        noteUse(key.keyId);
      }
      return key;
    },
  };
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
