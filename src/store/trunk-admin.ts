/** The account's SIP trunks (contract 2.8, `sip_configs`) as an administrator keeps them; passwords sealed, never read back. */
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';

/** What is written; null where nothing is set. */
export type TrunkFields = {
  readonly name: string;
  readonly isActive: boolean;
  readonly priority: number;
  readonly carrier: string;
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp' | 'tls';
  readonly username: string | null;
  /** Undefined: it stays as it is. */
  readonly password: string | null | undefined;
  readonly realm: string | null;
  readonly domain: string | null;
  readonly outboundProxy: string | null;
  readonly register: boolean;
  readonly registerIntervalS: number;
  readonly localHost: string | null;
  readonly localPort: number | null;
  readonly displayName: string | null;
  readonly fromNumber: string | null;
  readonly codecs: readonly string[];
  readonly dtmfMode: 'rfc4733' | 'info' | 'inband';
  readonly maxCalls: number;
  readonly maxCps: number;
  /** Networks without host bits. */
  readonly sourceIps: readonly string[];
  readonly allowPrefixes: readonly string[];
  readonly denyPrefixes: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
};

export type StoredTrunk = Omit<TrunkFields, 'password'> & {
  readonly id: Id;
  readonly hasPassword: boolean;
  readonly createdAt: string;
  readonly updatedAt: string;
};

/** `username`: the row would be registered without a name to register. */
export type SavedTrunk = StoredTrunk | 'missing' | { readonly needs: 'username' };

/** Errors throughout: E_CONFLICT for a name that is taken, E_DATABASE*. */
export type TrunkAdmin = {
  create(actor: Actor, wanted: TrunkFields): Promise<StoredTrunk>;
  /** Newest first. */
  list(actor: Actor, page: PageQuery): Promise<Page<StoredTrunk>>;
  get(actor: Actor, id: Id): Promise<StoredTrunk | null>;
  /** Changes the fields given. */
  update(actor: Actor, id: Id, changes: Partial<TrunkFields>): Promise<SavedTrunk>;
  /** False when there is no such row. Numbers and campaigns that named it name none then, its binding goes with it. */
  remove(actor: Actor, id: Id): Promise<boolean>;
};

type Column = { readonly name: string; readonly type: string };

const COLUMNS = {
  name: { name: 'name', type: 'text' },
  isActive: { name: 'is_active', type: 'boolean' },
  priority: { name: 'priority', type: 'integer' },
  carrier: { name: 'carrier', type: 'text' },
  host: { name: 'host', type: 'text' },
  port: { name: 'port', type: 'integer' },
  transport: { name: 'transport', type: 'text' },
  username: { name: 'username', type: 'text' },
  password: { name: 'password', type: 'text' },
  realm: { name: 'realm', type: 'text' },
  domain: { name: 'domain', type: 'text' },
  outboundProxy: { name: 'outbound_proxy', type: 'text' },
  register: { name: 'register', type: 'boolean' },
  registerIntervalS: { name: 'register_interval_s', type: 'integer' },
  localHost: { name: 'local_host', type: 'text' },
  localPort: { name: 'local_port', type: 'integer' },
  displayName: { name: 'display_name', type: 'text' },
  fromNumber: { name: 'from_number', type: 'text' },
  codecs: { name: 'codecs', type: 'text[]' },
  dtmfMode: { name: 'dtmf_mode', type: 'text' },
  maxCalls: { name: 'max_calls', type: 'integer' },
  maxCps: { name: 'max_cps', type: 'integer' },
  sourceIps: { name: 'source_ips', type: 'cidr[]' },
  allowPrefixes: { name: 'allow_prefixes', type: 'text[]' },
  denyPrefixes: { name: 'deny_prefixes', type: 'text[]' },
  options: { name: 'options', type: 'jsonb' },
} as const satisfies Record<keyof TrunkFields, Column>;

const FIELDS = Object.keys(COLUMNS) as (keyof TrunkFields)[];
const TARGET = 'sip_trunk';

/** Every field under its own name. */
const SHOWN = [
  'id',
  'password IS NOT NULL AS "hasPassword"',
  'source_ips::text[] AS "sourceIps"',
  ...FIELDS.filter((field) => field !== 'password' && field !== 'sourceIps').map(
    (field) => `${COLUMNS[field].name} AS "${field}"`,
  ),
  'created_at AS "createdAt"',
  'updated_at AS "updatedAt"',
].join(', ');

type TrunkRow = Omit<StoredTrunk, 'createdAt' | 'updatedAt'> & {
  readonly createdAt: Date;
  readonly updatedAt: Date;
};

export function createTrunkAdmin(options: {
  readonly database: Database;
  readonly sealer: Sealer;
}): TrunkAdmin {
  const { database, sealer } = options;
  const inAccount = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    create: (actor, wanted) => inAccount(actor, (sql) => insert(sql, sealer, actor, wanted)),
    list: (actor, page) =>
      inAccount(actor, (sql) =>
        readPage<TrunkRow, StoredTrunk>(
          sql,
          {
            ...{ columns: SHOWN, tables: 'sip_configs' },
            ...{ key: 'created_at', keyType: 'timestamptz', id: 'id' },
          },
          new Where().add('user_id = ?', actor.accountId),
          page,
          trunkOf,
        ),
      ),
    get: (actor, id) => inAccount(actor, (sql) => find(sql, actor.accountId, id)),
    update: (actor, id, changes) =>
      inAccount(actor, (sql) => update(sql, sealer, actor, id, changes)),
    remove: (actor, id) => inAccount(actor, (sql) => remove(sql, actor, id)),
  };
}

async function find(sql: Sql, accountId: Id, id: Id): Promise<StoredTrunk | null> {
  const [row] = await sql.rows<TrunkRow>(
    `SELECT ${SHOWN} FROM sip_configs WHERE user_id = $1 AND id = $2`,
    [accountId, id],
  );
  return row === undefined ? null : trunkOf(row);
}

async function insert(
  sql: Sql,
  sealer: Sealer,
  actor: Actor,
  wanted: TrunkFields,
): Promise<StoredTrunk> {
  const id = newId();
  const { names, places, values } = written(wanted, sealer, actor.accountId, id);
  const rows = await sql.rows<TrunkRow>(
    `INSERT INTO sip_configs (id, user_id, ${names.join(', ')})
     VALUES ($1, $2, ${places.join(', ')}) RETURNING ${SHOWN}`,
    [id, actor.accountId, ...values],
  );
  await audit(sql, actor, 'create', id, wanted);
  return trunkOf(rows[0] as TrunkRow);
}

async function update(
  sql: Sql,
  sealer: Sealer,
  actor: Actor,
  id: Id,
  changes: Partial<TrunkFields>,
): Promise<SavedTrunk> {
  const { accountId } = actor;
  const [before] = await sql.rows<Pick<TrunkFields, 'register' | 'username'>>(
    'SELECT register, username FROM sip_configs WHERE user_id = $1 AND id = $2 FOR UPDATE',
    [accountId, id],
  );
  if (before === undefined) return 'missing';
  const after = { ...before, ...changes };
  if (after.register && after.username === null) return { needs: 'username' };
  const { names, places, values } = written(changes, sealer, accountId, id);
  const set = names.map((name, at) => `${name} = ${places[at] ?? ''}`);
  const rows = await sql.rows<TrunkRow>(
    `UPDATE sip_configs SET ${[...set, 'updated_at = now()'].join(', ')}
      WHERE id = $1 AND user_id = $2 RETURNING ${SHOWN}`,
    [id, accountId, ...values],
  );
  await audit(sql, actor, 'update', id, changes);
  return trunkOf(rows[0] as TrunkRow);
}

async function remove(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const [row] = await sql.rows<{ name: string }>(
    'DELETE FROM sip_configs WHERE user_id = $1 AND id = $2 RETURNING name',
    [actor.accountId, id],
  );
  if (row === undefined) return false;
  // A binding names its trunk by value: no foreign key takes it along.
  await sql.run("DELETE FROM agent_bindings WHERE user_id = $1 AND kind = 'trunk' AND value = $2", [
    actor.accountId,
    id,
  ]);
  await audit(sql, actor, 'delete', id, { name: row.name });
  return true;
}

/** Columns, placeholders from `$3` on, and values of the fields that are given. */
function written(fields: Partial<TrunkFields>, sealer: Sealer, accountId: Id, id: Id) {
  const given = FIELDS.filter((field) => fields[field] !== undefined);
  const valueOf = (field: keyof TrunkFields): unknown => {
    const value = fields[field];
    if (field === 'options') return JSON.stringify(value);
    if (field !== 'password' || typeof value !== 'string') return value;
    return sealer.seal(value, {
      ...{ table: 'sip_configs', column: 'password', accountId, rowId: id },
    });
  };
  return {
    names: given.map((field) => COLUMNS[field].name),
    places: given.map((field, at) => `$${at + 3}::${COLUMNS[field].type}`),
    values: given.map(valueOf),
  };
}

function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  changes: Partial<TrunkFields>,
): Promise<void> {
  const named = FIELDS.filter((field) => changes[field] !== undefined).map((field) => [
    COLUMNS[field].name,
    changes[field],
  ]);
  return writeAudit(sql, actor, {
    ...{ action: `${TARGET}.${verb}`, targetType: TARGET, targetId },
    changes: Object.fromEntries(named) as Record<string, unknown>,
  });
}

function trunkOf(row: TrunkRow): StoredTrunk {
  const { createdAt, updatedAt } = row;
  return { ...row, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
}
