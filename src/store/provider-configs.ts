/** Accounts at every other vendor (contract 2.8, provider-configs); credentials sealed as one JSON, never read back. */
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';

export type ProviderKind = 'stt' | 'llm' | 'tts' | 'realtime';

/** By the names of lib/prices.ts; `currency` is a text. */
export type StoredPrices = Readonly<Record<string, number | string>>;

export type ProviderConfig = {
  readonly id: Id;
  readonly kind: ProviderKind;
  readonly vendor: string;
  readonly name: string;
  readonly hasCredentials: boolean;
  readonly options: Readonly<Record<string, unknown>>;
  readonly prices: StoredPrices;
  readonly priority: number;
  readonly isActive: boolean;
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type ProviderConfigFields = {
  readonly kind: ProviderKind;
  readonly vendor: string;
  readonly name: string;
  readonly credentials: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly prices: StoredPrices;
  readonly priority: number;
  readonly isActive: boolean;
};

/** Errors throughout: E_CONFLICT for a name that is taken, E_DATABASE*. */
export type ProviderConfigs = {
  create(actor: Actor, wanted: ProviderConfigFields): Promise<ProviderConfig>;
  list(actor: Actor, page: PageQuery): Promise<Page<ProviderConfig>>;
  get(actor: Actor, id: Id): Promise<ProviderConfig | null>;
  /** Changes the fields given; null when there is no such row. */
  update(
    actor: Actor,
    id: Id,
    changes: Partial<ProviderConfigFields>,
  ): Promise<ProviderConfig | null>;
  /** Of the account: prices are in it. */
  currency(actor: Actor): Promise<string>;
  /** False when there is no such row. `inUse` names what refers to it; nothing is deleted then. */
  remove(actor: Actor, id: Id): Promise<'deleted' | 'missing' | { readonly inUse: Id[] }>;
};

export type ProviderConfigsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  /** Told after every change. */
  readonly onChange: (accountId: Id) => void;
};

type ConfigRow = {
  id: Id;
  kind: ProviderKind;
  vendor: string;
  name: string;
  has_credentials: boolean;
  options: Record<string, unknown>;
  prices: Record<string, number | string>;
  priority: number;
  is_active: boolean;
  created_at: Date;
  updated_at: Date;
};

const COLUMNS = `id, kind, vendor, name, credentials IS NOT NULL AS has_credentials, options, prices, priority, is_active,
  created_at, updated_at`;
const TARGET = 'provider_config';

export function createProviderConfigs(options: ProviderConfigsOptions): ProviderConfigs {
  const { database, sealer, onChange } = options;
  const change = async <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> => {
    const result = await database.withAccount(actor.accountId, actor.name, work);
    onChange(actor.accountId);
    return result;
  };
  return {
    create: (actor, wanted) =>
      change(actor, async (sql) => {
        const row = await insert(sql, sealer, actor.accountId, wanted);
        await audit(sql, actor, 'create', row.id, wanted);
        return configOf(row);
      }),
    list: (actor, page) =>
      database.withAccount(actor.accountId, actor.name, (sql) =>
        readPage<ConfigRow, ProviderConfig>(
          sql,
          {
            ...{ columns: COLUMNS, tables: 'provider_configs' },
            ...{ key: 'created_at', keyType: 'timestamptz', id: 'id' },
          },
          new Where().add('user_id = ?', actor.accountId),
          page,
          configOf,
        ),
      ),
    get: (actor, id) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const [row] = await sql.rows<ConfigRow>(
          `SELECT ${COLUMNS} FROM provider_configs WHERE user_id = $1 AND id = $2`,
          [actor.accountId, id],
        );
        return row === undefined ? null : configOf(row);
      }),
    update: (actor, id, changes) =>
      change(actor, async (sql) => {
        const row = await updateRow(sql, sealer, { accountId: actor.accountId, id }, changes);
        if (row === null) return null;
        await audit(sql, actor, 'update', id, changes);
        return configOf(row);
      }),
    remove: (actor, id) => change(actor, (sql) => removeRow(sql, actor, id)),
    currency: (actor) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const [row] = await sql.rows<{ currency: string }>(
          'SELECT currency FROM account_settings WHERE user_id = $1',
          [actor.accountId],
        );
        return row?.currency ?? 'CNY';
      }),
  };
}

type Place = { readonly accountId: Id; readonly id: Id };

function sealCredentials(
  sealer: Sealer,
  { accountId, id }: Place,
  credentials: Readonly<Record<string, string>>,
): string | null {
  if (Object.keys(credentials).length === 0) return null;
  const place = { table: 'provider_configs', column: 'credentials', accountId, rowId: id };
  return sealer.seal(JSON.stringify(credentials), place);
}

async function insert(
  sql: Sql,
  sealer: Sealer,
  accountId: Id,
  wanted: ProviderConfigFields,
): Promise<ConfigRow> {
  const id = newId();
  const rows = await sql.rows<ConfigRow>(
    `INSERT INTO provider_configs (id, user_id, kind, vendor, name, credentials, options, prices, priority, is_active)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
    [
      ...[id, accountId, wanted.kind, wanted.vendor, wanted.name],
      sealCredentials(sealer, { accountId, id }, wanted.credentials),
      ...[JSON.stringify(wanted.options), JSON.stringify(wanted.prices)],
      ...[wanted.priority, wanted.isActive],
    ],
  );
  return rows[0] as ConfigRow;
}

/** Null in a field leaves it as it is; whether credentials are written is told apart, as theirs may become null. */
async function updateRow(
  sql: Sql,
  sealer: Sealer,
  place: Place,
  changes: Partial<ProviderConfigFields>,
): Promise<ConfigRow | null> {
  const { credentials, options, prices } = changes;
  const [row] = await sql.rows<ConfigRow>(
    `UPDATE provider_configs SET kind = coalesce($3, kind), vendor = coalesce($4, vendor), name = coalesce($5, name),
       credentials = CASE WHEN $6 THEN $7 ELSE credentials END, options = coalesce($8, options),
       prices = coalesce($9, prices), priority = coalesce($10, priority), is_active = coalesce($11, is_active),
       updated_at = now()
      WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
    [
      ...[place.accountId, place.id, changes.kind ?? null, changes.vendor ?? null],
      ...[changes.name ?? null, credentials !== undefined],
      credentials === undefined ? null : sealCredentials(sealer, place, credentials),
      ...[options, prices].map((each) => (each === undefined ? null : JSON.stringify(each))),
      ...[changes.priority ?? null, changes.isActive ?? null],
    ],
  );
  return row ?? null;
}

/** An agent that names the row would fail at its next call. */
async function removeRow(
  sql: Sql,
  actor: Actor,
  id: Id,
): Promise<'deleted' | 'missing' | { inUse: Id[] }> {
  const [row] = await sql.rows<{ name: string }>(
    'SELECT name FROM provider_configs WHERE user_id = $1 AND id = $2 FOR UPDATE',
    [actor.accountId, id],
  );
  if (row === undefined) return 'missing';
  const users = await sql.rows<{ id: Id }>(
    `SELECT id FROM agents WHERE user_id = $1 AND deleted_at IS NULL
        AND (jsonb_path_exists(config, '$.*.config_id ? (@ == $id)', jsonb_build_object('id', $2::text))
          OR jsonb_path_exists(config, '$.*.fallback[*].config_id ? (@ == $id)', jsonb_build_object('id', $2::text)))
      ORDER BY id LIMIT 20`,
    [actor.accountId, id],
  );
  if (users.length > 0) return { inUse: users.map((user) => user.id) };
  await sql.run('DELETE FROM provider_configs WHERE user_id = $1 AND id = $2', [
    actor.accountId,
    id,
  ]);
  await audit(sql, actor, 'delete', id, { name: row.name });
  return 'deleted';
}

function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  changes: Partial<ProviderConfigFields>,
): Promise<void> {
  const { isActive, credentials, ...rest } = changes;
  return writeAudit(sql, actor, {
    ...{ action: `${TARGET}.${verb}`, targetType: TARGET, targetId },
    changes: {
      ...rest,
      ...(isActive === undefined ? {} : { is_active: isActive }),
      ...(credentials === undefined ? {} : { credentials: '***' }),
    },
  });
}

function configOf(row: ConfigRow): ProviderConfig {
  return {
    id: row.id,
    kind: row.kind,
    vendor: row.vendor,
    name: row.name,
    hasCredentials: row.has_credentials,
    options: row.options,
    prices: row.prices,
    priority: row.priority,
    isActive: row.is_active,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
