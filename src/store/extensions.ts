/** The account's extensions (contract 2.6 row 14, 2.8). Their passwords are sealed, written and never read back. */
import type { Actor } from '#lib/actor.ts';
import { AppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';

export type ExtensionFields = {
  readonly extension: string;
  readonly name: string;
  readonly kind: 'sip' | 'number' | 'agent';
  /** Number or URI that the extension stands for. */
  readonly target: string | null;
  readonly agentId: Id | null;
  readonly department: string | null;
  readonly enabled: boolean;
};

export type Extension = ExtensionFields & {
  readonly id: Id;
  readonly hasPassword: boolean;
  readonly createdAt: string;
  readonly updatedAt: string;
};

/** `password`: null takes it away, absent leaves it as it is. */
export type ExtensionChanges = Partial<ExtensionFields> & { readonly password?: string | null };

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE; of those that write also E_CONFLICT for an extension that is taken and E_REFERENCE for an agent that is not there. */
export type Extensions = {
  /** By extension, at most `MAX_EXTENSIONS`, and how many there are. */
  list(actor: Actor): Promise<{ readonly total: number; readonly items: readonly Extension[] }>;
  /** Newest first. */
  page(actor: Actor, query: PageQuery): Promise<Page<Extension>>;
  get(actor: Actor, id: Id): Promise<Extension | null>;
  add(
    actor: Actor,
    fields: ExtensionFields & { readonly password: string | null },
  ): Promise<Extension>;
  /**
   * What `change` makes of it, read and written in one transaction; whatever it throws, nothing is changed. Null when
   * there is no such extension.
   */
  update(
    actor: Actor,
    id: Id,
    change: (current: Extension) => ExtensionChanges,
  ): Promise<Extension | null>;
  /** False when there is no such extension. */
  remove(actor: Actor, id: Id): Promise<boolean>;
};

export const MAX_EXTENSIONS = 10_000;

type ExtensionRow = {
  readonly id: Id;
  readonly extension: string;
  readonly name: string;
  readonly kind: Extension['kind'];
  readonly target: string | null;
  readonly agent_id: Id | null;
  readonly department: string | null;
  readonly enabled: boolean;
  readonly has_password: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
};

const COLUMNS = `id, extension, name, kind, target, agent_id, department, enabled,
  password IS NOT NULL AS has_password, created_at, updated_at`;
const SOURCE = {
  columns: COLUMNS,
  tables: 'extensions',
  key: 'created_at',
  keyType: 'timestamptz',
  id: 'id',
};
const TARGET = 'extension';
/** A key that sees some agents alone sees no extension of another one. `$2` is its list, null for all. */
const VISIBLE = '($2::uuid[] IS NULL OR agent_id IS NULL OR agent_id = ANY ($2::uuid[]))';

export function createExtensions(database: Database, sealer: Sealer): Extensions {
  const inAccount = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor) => inAccount(actor, (sql) => listAll(sql, actor)),
    page: (actor, query) =>
      inAccount(actor, (sql) => {
        const where = new Where()
          .add('user_id = ?', actor.accountId)
          .addUnlessNull('(agent_id IS NULL OR agent_id = ANY (?::uuid[]))', actor.agentIds);
        return readPage(sql, SOURCE, where, query, extensionOf);
      }),
    get: (actor, id) => inAccount(actor, (sql) => find(sql, actor, id)),
    add: (actor, fields) => inAccount(actor, (sql) => add(sql, sealer, actor, fields)),
    update: (actor, id, change) =>
      inAccount(actor, async (sql) => {
        const current = await find(sql, actor, id, 'FOR UPDATE');
        return current === null ? null : write(sql, sealer, actor, current, change(current));
      }),
    remove: (actor, id) => inAccount(actor, (sql) => remove(sql, actor, id)),
  };
}

async function listAll(
  sql: Sql,
  actor: Actor,
): Promise<{ total: number; items: readonly Extension[] }> {
  const rows = await sql.rows<ExtensionRow>(
    `SELECT ${COLUMNS} FROM extensions WHERE user_id = $1 AND ${VISIBLE} ORDER BY extension, id LIMIT ${MAX_EXTENSIONS}`,
    [actor.accountId, actor.agentIds],
  );
  const items = rows.map(extensionOf);
  if (items.length < MAX_EXTENSIONS) return { total: items.length, items };
  const [count] = await sql.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM extensions WHERE user_id = $1 AND ${VISIBLE}`,
    [actor.accountId, actor.agentIds],
  );
  return { total: count?.n ?? items.length, items };
}

async function find(
  sql: Sql,
  actor: Actor,
  id: Id,
  lock: '' | 'FOR UPDATE' = '',
): Promise<Extension | null> {
  const [row] = await sql.rows<ExtensionRow>(
    `SELECT ${COLUMNS} FROM extensions WHERE user_id = $1 AND ${VISIBLE} AND id = $3 ${lock}`,
    [actor.accountId, actor.agentIds, id],
  );
  return row === undefined ? null : extensionOf(row);
}

function sealed(sealer: Sealer, accountId: Id, rowId: Id, password: string | null): string | null {
  const place = { table: 'extensions', column: 'password', accountId, rowId };
  return password === null ? null : sealer.seal(password, place);
}

async function add(
  sql: Sql,
  sealer: Sealer,
  actor: Actor,
  fields: ExtensionFields & { readonly password: string | null },
): Promise<Extension> {
  const id = newId();
  const { accountId } = actor;
  await refuseGoneAgent(sql, actor, fields.agentId);
  const [row] = await sql.rows<ExtensionRow>(
    `INSERT INTO extensions (id, user_id, extension, name, kind, target, agent_id, department, enabled, password)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
    [
      ...[id, accountId, fields.extension, fields.name, fields.kind, fields.target],
      ...[fields.agentId, fields.department, fields.enabled],
      sealed(sealer, accountId, id, fields.password),
    ],
  );
  await audit(sql, actor, 'create', id, fields);
  return extensionOf(row as ExtensionRow);
}

async function write(
  sql: Sql,
  sealer: Sealer,
  actor: Actor,
  current: Extension,
  changes: ExtensionChanges,
): Promise<Extension> {
  const { password, ...fields } = changes;
  const next = { ...current, ...fields };
  if (fields.agentId !== undefined) await refuseGoneAgent(sql, actor, fields.agentId);
  const [row] = await sql.rows<ExtensionRow>(
    `UPDATE extensions SET extension = $3, name = $4, kind = $5, target = $6, agent_id = $7, department = $8,
            enabled = $9, password = CASE WHEN $10 THEN $11 ELSE password END, updated_at = now()
      WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
    [
      ...[actor.accountId, current.id, next.extension, next.name, next.kind, next.target],
      ...[next.agentId, next.department, next.enabled],
      ...[password !== undefined, sealed(sealer, actor.accountId, current.id, password ?? null)],
    ],
  );
  await audit(sql, actor, 'update', current.id, changes);
  return extensionOf(row as ExtensionRow);
}

/** The foreign key would let an agent pass that is kept for its records alone, or that this key may not use. */
async function refuseGoneAgent(sql: Sql, actor: Actor, agentId: Id | null): Promise<void> {
  if (agentId === null) return;
  const known = await sql.rows<{ id: Id }>(
    `SELECT id FROM agents WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL
        AND ($3::uuid[] IS NULL OR id = ANY ($3)) FOR SHARE`,
    [actor.accountId, agentId, actor.agentIds],
  );
  if (known.length === 0) throw new AppError('E_REFERENCE', 'the account has no such agent');
}

async function remove(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const known = await find(sql, actor, id, 'FOR UPDATE');
  if (known === null) return false;
  await sql.run('DELETE FROM extensions WHERE user_id = $1 AND id = $2', [actor.accountId, id]);
  await audit(sql, actor, 'delete', id, { extension: known.extension });
  return true;
}

function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  { agentId, password, ...rest }: ExtensionChanges,
): Promise<void> {
  return writeAudit(sql, actor, {
    ...{ action: `${TARGET}.${verb}`, targetType: TARGET, targetId },
    changes: {
      ...rest,
      ...(agentId === undefined ? {} : { agent_id: agentId }),
      ...(password === undefined ? {} : { password: password === null ? null : '***' }),
    },
  });
}

function extensionOf(row: ExtensionRow): Extension {
  const { id, extension, name, kind, target, department, enabled } = row;
  return {
    ...{ id, extension, name, kind, target, department, enabled },
    agentId: row.agent_id,
    hasPassword: row.has_password,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
