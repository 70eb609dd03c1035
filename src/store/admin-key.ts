/** The first API key of an installation: set by CALLYARD_ADMIN_KEY, else generated into `<data>/admin.key`. */
import path from 'node:path';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { generateKey, hashOf, insertKey, KEY_FORMAT, prefixOf } from './api-keys-new.ts';
import type { Database, Sql } from './pool.ts';
import { createSecret, readSecret, replaceSecret } from './secret-files.ts';

export type AdminKey = { readonly key: string; readonly source: 'setting' | 'file' };

const NAME = 'Admin key of this installation';

/**
 * Makes sure that the key works. A set key replaces the former one; a generated key is kept over restarts until it is
 * revoked, and leaves those of other nodes alone. Errors: E_CONFIG when the setting has not the form of a key.
 */
export async function ensureAdminKey(options: {
  readonly database: Database;
  readonly accountId: Id;
  readonly setting: string | undefined;
  readonly dataDir: string;
}): Promise<AdminKey> {
  const { database, accountId, setting, dataDir } = options;
  if (setting !== undefined) {
    checkAdminKey(setting);
    await database.withSystem((sql) => putSetKey(sql, accountId, setting));
    return { key: setting, source: 'setting' };
  }
  const file = path.join(dataDir, 'admin.key');
  const known = await readSecret(file);
  if (known !== null && KEY_FORMAT.test(known)) {
    if (await database.withSystem((sql) => keepKey(sql, accountId, known)))
      return { key: known, source: 'file' };
    const fresh = generateKey();
    await replaceSecret(file, fresh);
    await database.withSystem((sql) => insertKey(sql, newKey(accountId), fresh));
    return { key: fresh, source: 'file' };
  }
  if (known !== null)
    throw new AppError('E_CONFIG', `${file} holds no API key; delete it to get a new one`);
  const key = await createSecret(file, generateKey());
  await database.withSystem((sql) => keepKey(sql, accountId, key));
  return { key, source: 'file' };
}

/** Errors: E_CONFIG. Can be asked before the database is there. */
export function checkAdminKey(setting: string): void {
  if (KEY_FORMAT.test(setting)) return;
  throw new AppError(
    'E_CONFIG',
    'CALLYARD_ADMIN_KEY must be cy_ + 8 characters a-z 0-9 + _ + 43 characters base64url',
  );
}

function newKey(accountId: Id): { accountId: Id; name: string; role: 'admin' } {
  return { accountId, name: NAME, role: 'admin' };
}

/** True when the key is in the database and not revoked; a missing one is put in (the database is new). */
async function keepKey(sql: Sql, accountId: Id, key: string): Promise<boolean> {
  const [row] = await sql.rows<{ user_id: Id; key_hash: Buffer; is_usable: boolean }>(
    `SELECT user_id, key_hash, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS is_usable
       FROM api_keys WHERE prefix = $1`,
    [prefixOf(key)],
  );
  if (row === undefined) {
    await insertKey(sql, newKey(accountId), key);
    return true;
  }
  return row.is_usable && row.user_id === accountId && row.key_hash.equals(hashOf(key));
}

async function putSetKey(sql: Sql, accountId: Id, key: string): Promise<void> {
  await sql.run(
    `UPDATE api_keys SET revoked_at = now()
      WHERE user_id = $1 AND name = $2 AND created_by IS NULL AND revoked_at IS NULL AND key_hash <> $3`,
    [accountId, NAME, hashOf(key)],
  );
  // The same prefix with another secret is the operator's wish as well: the old secret must stop working.
  await sql.run(
    `INSERT INTO api_keys (user_id, name, prefix, key_hash, role) VALUES ($1, $2, $3, $4, 'admin')
     ON CONFLICT (prefix) DO UPDATE SET user_id = EXCLUDED.user_id, name = EXCLUDED.name, key_hash = EXCLUDED.key_hash,
       role = 'admin', agent_ids = NULL, ip_allow = NULL, expires_at = NULL, revoked_at = NULL, replaced_by = NULL,
       created_by = NULL`,
    [accountId, NAME, prefixOf(key), hashOf(key)],
  );
}
