/** Making API keys: the form of a key, its hash, its row. */
import { createHash, randomBytes } from 'node:crypto';
import type { Id } from '#lib/ids.ts';
import type { Sql } from './pool.ts';

export type ApiKeyRole = 'admin' | 'developer' | 'supervisor' | 'viewer';

export type NewApiKey = {
  readonly accountId: Id;
  readonly name: string;
  readonly role: ApiKeyRole;
  readonly agentIds?: readonly Id[] | null;
  readonly ipAllow?: readonly string[] | null;
  readonly expiresAt?: Date | null;
  /** A user or a key. */
  readonly createdBy?: Id | null;
};

export const KEY_FORMAT = /^cy_([a-z0-9]{8})_([A-Za-z0-9_-]{43})$/;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

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
