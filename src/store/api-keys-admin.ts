/** API keys as their owners see them (contract 2.8): make, list, rotate, revoke. On behalf of a request. */
import type { Actor } from '#lib/actor.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import {
  generateKey,
  insertKey,
  prefixOf,
  type ApiKeyRole,
  type NewApiKey,
} from './api-keys-new.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';

export type ApiKeyRow = {
  readonly id: Id;
  readonly name: string;
  readonly prefix: string;
  readonly role: ApiKeyRole;
  readonly agentIds: readonly Id[] | null;
  readonly ipAllow: readonly string[] | null;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
  readonly createdAt: Date;
};

/** `key` is shown this once. */
export type IssuedKey = { readonly row: ApiKeyRow; readonly key: string };

export type WantedKey = Omit<NewApiKey, 'accountId' | 'createdBy'>;

/** An actor that is bound to agents sees, ends and makes only keys that are bound to some of the same agents. */
export type ApiKeyAdmin = {
  /** Errors: E_REFERENCE for an agent that does not exist. */
  create(actor: Actor, wanted: WantedKey): Promise<IssuedKey>;
  list(actor: Actor, query: PageQuery): Promise<Page<ApiKeyRow>>;
  /** `missing`, or `over` for a key that is revoked, expired or already replaced. */
  rotate(actor: Actor, id: Id, overlapS: number): Promise<IssuedKey | 'missing' | 'over'>;
  /** False when the account has no such key. Revoking again is fine. */
  revoke(actor: Actor, id: Id): Promise<boolean>;
};

type KeyRow = {
  id: Id;
  name: string;
  prefix: string;
  role: ApiKeyRole;
  agent_ids: Id[] | null;
  ip_allow: string[] | null;
  expires_at: Date | null;
  last_used_at: Date | null;
  revoked_at: Date | null;
  created_at: Date;
};

const COLUMNS = `id, name, prefix, role, agent_ids::text[], ip_allow::text[], expires_at, last_used_at, revoked_at, created_at`;

/** `forget` drops a key from what this node remembers. */
export function createApiKeyAdmin(
  database: Database,
  forget: (prefix: string) => void,
): ApiKeyAdmin {
  const within = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    create: (actor, wanted) => within(actor, (sql) => create(sql, actor, wanted)),
    list: (actor, query) =>
      within(actor, (sql) =>
        readPage<KeyRow, ApiKeyRow>(
          sql,
          {
            ...{ columns: COLUMNS, tables: 'api_keys', key: 'created_at', keyType: 'timestamptz' },
            id: 'id',
          },
          mine(actor),
          query,
          rowOf,
        ),
      ),
    async rotate(actor, id, overlapS) {
      const rotated = await within(actor, (sql) => rotate(sql, actor, id, overlapS));
      if (typeof rotated === 'string') return rotated;
      forget(rotated.oldPrefix);
      return rotated.issued;
    },
    async revoke(actor, id) {
      const prefix = await within(actor, (sql) => revoke(sql, actor, id));
      if (prefix !== null) forget(prefix);
      return prefix !== null;
    },
  };
}

async function create(sql: Sql, actor: Actor, wanted: WantedKey): Promise<IssuedKey> {
  const agentIds = wanted.agentIds ?? actor.agentIds;
  if (agentIds !== null) await requireAgents(sql, actor, agentIds);
  const issued = await insert(sql, actor, { ...wanted, agentIds });
  const { id, name, role, ipAllow, expiresAt } = issued.row;
  await writeAudit(sql, actor, {
    ...{ action: 'api_key.create', targetType: 'api_key', targetId: id },
    changes: { name, role, agent_ids: agentIds, ip_allow: ipAllow, expires_at: expiresAt },
  });
  return issued;
}

async function rotate(
  sql: Sql,
  actor: Actor,
  id: Id,
  overlapS: number,
): Promise<'missing' | 'over' | { readonly issued: IssuedKey; readonly oldPrefix: string }> {
  const where = mine(actor).add('id = ?', id);
  const [old] = await sql.rows<KeyRow & { is_over: boolean }>(
    `SELECT ${COLUMNS}, replaced_by IS NOT NULL OR revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false) AS is_over
       FROM api_keys WHERE ${where.text} FOR UPDATE`,
    where.values,
  );
  if (old === undefined) return 'missing';
  if (old.is_over) return 'over';
  const { name, role, agentIds, ipAllow, expiresAt } = rowOf(old);
  const issued = await insert(sql, actor, { name, role, agentIds, ipAllow, expiresAt });
  await sql.run(
    `UPDATE api_keys SET replaced_by = $3, revoked_at = now() + make_interval(secs => $4)
      WHERE user_id = $1 AND id = $2`,
    [actor.accountId, id, issued.row.id, overlapS],
  );
  await writeAudit(sql, actor, {
    ...{ action: 'api_key.rotate', targetType: 'api_key', targetId: id },
    changes: { replaced_by: issued.row.id, overlap_s: overlapS },
  });
  return { issued, oldPrefix: old.prefix };
}

/** The prefix of the key that is revoked, now or before. */
async function revoke(sql: Sql, actor: Actor, id: Id): Promise<string | null> {
  const where = mine(actor).add('id = ?', id);
  const [key] = await sql.rows<{ prefix: string; is_revoked: boolean }>(
    `SELECT prefix, coalesce(revoked_at <= now(), false) AS is_revoked FROM api_keys
      WHERE ${where.text} FOR UPDATE`,
    where.values,
  );
  if (key === undefined) return null;
  if (key.is_revoked) return key.prefix;
  await sql.run('UPDATE api_keys SET revoked_at = now() WHERE user_id = $1 AND id = $2', [
    ...[actor.accountId, id],
  ]);
  await writeAudit(sql, actor, {
    ...{ action: 'api_key.revoke', targetType: 'api_key', targetId: id },
  });
  return key.prefix;
}

async function insert(sql: Sql, actor: Actor, wanted: WantedKey): Promise<IssuedKey> {
  const key = generateKey();
  const { accountId } = actor;
  await insertKey(sql, { ...wanted, accountId, createdBy: creatorOf(actor) }, key);
  const [row] = await sql.rows<KeyRow>(
    `SELECT ${COLUMNS} FROM api_keys WHERE user_id = $1 AND prefix = $2`,
    [accountId, prefixOf(key)],
  );
  return { row: rowOf(row as KeyRow), key };
}

/** Errors: E_REFERENCE, also for agents that a bound actor may not use. */
async function requireAgents(sql: Sql, actor: Actor, agentIds: readonly Id[]): Promise<void> {
  const wanted = new Set(agentIds);
  const [found] = await sql.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM agents
      WHERE user_id = $1 AND id = ANY ($2::uuid[]) AND deleted_at IS NULL`,
    [actor.accountId, [...wanted]],
  );
  const isWithin = actor.agentIds === null || agentIds.every((id) => actor.agentIds?.includes(id));
  if (found?.n === wanted.size && isWithin) return;
  throw new AppError('E_REFERENCE', 'an agent of the key does not exist');
}

function mine(actor: Actor): Where {
  return new Where()
    .add('user_id = ?', actor.accountId)
    .addUnlessNull('agent_ids <@ ?::uuid[]', actor.agentIds);
}

/** The id in `user:<id>` or `key:<id>`. */
function creatorOf(actor: Actor): Id | null {
  return /^(?:user|key):(.+)$/.exec(actor.name)?.[1] ?? null;
}

function rowOf(row: KeyRow): ApiKeyRow {
  return {
    ...{ id: row.id, name: row.name, prefix: row.prefix, role: row.role },
    ...{ agentIds: row.agent_ids, ipAllow: row.ip_allow, expiresAt: row.expires_at },
    ...{ lastUsedAt: row.last_used_at, revokedAt: row.revoked_at, createdAt: row.created_at },
  };
}
