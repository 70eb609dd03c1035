/** The account's telephone numbers (contract 2.4, 4.3). A number belongs to one account of the installation at a time. */
import type { Actor } from '#lib/actor.ts';
import { AppError } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone } from '#lib/phone.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';

export type PhoneNumber = {
  readonly id: Id;
  /** In the form for comparison (`#lib/phone.ts`): with country code where the account has one. */
  readonly number: string;
  readonly label: string | null;
  readonly trunkId: Id | null;
  readonly carrier: string;
  readonly status: 'pending' | 'active' | 'released';
  readonly monthlyCost: { readonly amount: number; readonly currency: string } | null;
  /** The agent bound to the number; null when none or a squad is. */
  readonly agentId: Id | null;
  readonly createdAt: string;
};

/** Width of the column; `add` is given at most this. */
export const NUMBER_MAX_CHARS = 32;

export type NumberFields = { readonly label?: string | null; readonly trunkId?: Id | null };

/** Released numbers are gone for all of these. Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type PhoneNumbers = {
  /** Newest first. */
  list(actor: Actor, query: PageQuery): Promise<Page<PhoneNumber>>;
  get(actor: Actor, id: Id): Promise<PhoneNumber | null>;
  /** `number` in normal form. Errors: E_CONFLICT when any account has the number, E_REFERENCE for a trunk that is not the account's. */
  add(actor: Actor, fields: NumberFields & { readonly number: string }): Promise<PhoneNumber>;
  /** Null when there is no such number. Errors: E_REFERENCE. */
  update(actor: Actor, id: Id, fields: NumberFields): Promise<PhoneNumber | null>;
  /** False when there is no such number. */
  release(actor: Actor, id: Id): Promise<boolean>;
};

type NumberRow = {
  readonly id: Id;
  readonly number: string;
  readonly label: string | null;
  readonly trunk_id: Id | null;
  readonly carrier: string;
  readonly status: PhoneNumber['status'];
  readonly monthly_cost: string | null;
  readonly currency: string | null;
  readonly agent_id: Id | null;
  readonly created_at: Date;
};

/** A binding may have been written without the `+` or before the account had its country code, as calls read them. */
const SOURCE = {
  columns:
    'p.id, p.number, p.label, p.trunk_id, p.carrier, p.status, p.monthly_cost, p.currency, b.agent_id, p.created_at',
  tables: `phone_numbers p LEFT JOIN account_settings t ON t.user_id = p.user_id
    LEFT JOIN LATERAL (
    SELECT agent_id FROM agent_bindings
     WHERE user_id = p.user_id AND kind = 'number' AND (value IN (p.number, ltrim(p.number, '+'))
           OR (length(p.number) > length(t.country_code) + 7 AND starts_with(p.number, '+' || t.country_code)
               AND value IN (substr(p.number, length(t.country_code) + 2), '0' || substr(p.number, length(t.country_code) + 2))))
     ORDER BY (value = p.number) DESC, created_at, id LIMIT 1) b ON true`,
  key: 'p.created_at',
  keyType: 'timestamptz',
  id: 'p.id',
};

/** `countryCode`: the installation's, for an account that has no settings yet. */
export function createPhoneNumbers(
  database: Database,
  countryCode: string | null = null,
): PhoneNumbers {
  const inAccount = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor, query) =>
      inAccount(actor, (sql) => readPage(sql, SOURCE, visibleTo(actor), query, numberOf)),
    get: (actor, id) => inAccount(actor, (sql) => find(sql, actor, id)),
    add: (actor, fields) => inAccount(actor, (sql) => add(sql, actor, fields, countryCode)),
    update: (actor, id, fields) => inAccount(actor, (sql) => update(sql, actor, id, fields)),
    release: (actor, id) => inAccount(actor, (sql) => release(sql, actor, id)),
  };
}

/** A key that is bound to agents sees the numbers of these alone. */
function visibleTo(actor: Actor): Where {
  return new Where()
    .add('p.user_id = ?', actor.accountId)
    .add("p.status <> 'released'")
    .addUnlessNull('b.agent_id = ANY (?::uuid[])', actor.agentIds);
}

async function find(sql: Sql, actor: Actor, id: Id): Promise<PhoneNumber | null> {
  return read(sql, visibleTo(actor).add('p.id = ?', id));
}

async function read(sql: Sql, where: Where): Promise<PhoneNumber | null> {
  const [row] = await sql.rows<NumberRow>(
    `SELECT ${SOURCE.columns} FROM ${SOURCE.tables} WHERE ${where.text}`,
    where.values,
  );
  return row === undefined ? null : numberOf(row);
}

async function add(
  sql: Sql,
  actor: Actor,
  fields: NumberFields & { readonly number: string },
  standardCode: string | null,
): Promise<PhoneNumber> {
  const { label = null, trunkId = null } = fields;
  const number = await fullNumber(sql, actor, fields.number, standardCode);
  const id = newId();
  await sql.run(
    'INSERT INTO phone_numbers (id, user_id, number, label, trunk_id) VALUES ($1, $2, $3, $4, $5)',
    [id, actor.accountId, number, label, trunkId],
  );
  const changes = { number, label, trunk_id: trunkId, carrier: 'manual' };
  const target = { targetType: 'phone_number', targetId: id };
  await writeAudit(sql, actor, { action: 'phone_number.create', ...target, changes });
  // Not by `find`: a key that is bound to agents may add a number that no agent of its has yet.
  const own = new Where().add('p.user_id = ?', actor.accountId).add('p.id = ?', id);
  const made = await read(sql, own);
  if (made === null) throw new AppError('E_INTERNAL', 'a number just added cannot be read');
  return made;
}

/** In the form for comparison, so that one number cannot be registered twice in two spellings. */
async function fullNumber(
  sql: Sql,
  actor: Actor,
  normal: string,
  standardCode: string | null,
): Promise<string> {
  const full = comparablePhone(normal, await countryCodeOf(sql, actor.accountId, standardCode));
  return full.length <= NUMBER_MAX_CHARS ? full : normal;
}

async function update(
  sql: Sql,
  actor: Actor,
  id: Id,
  fields: NumberFields,
): Promise<PhoneNumber | null> {
  if ((await find(sql, actor, id)) === null) return null;
  const { label, trunkId } = fields;
  await sql.run(
    `UPDATE phone_numbers SET label = CASE WHEN $3 THEN $4 ELSE label END,
            trunk_id = CASE WHEN $5 THEN $6::uuid ELSE trunk_id END, updated_at = now()
      WHERE id = $1 AND user_id = $2 AND status <> 'released'`,
    [
      ...[id, actor.accountId],
      ...[label !== undefined, label ?? null],
      ...[trunkId !== undefined, trunkId ?? null],
    ],
  );
  const changes = {
    ...(label === undefined ? {} : { label }),
    ...(trunkId === undefined ? {} : { trunk_id: trunkId }),
  };
  const target = { targetType: 'phone_number', targetId: id };
  await writeAudit(sql, actor, { action: 'phone_number.update', ...target, changes });
  return find(sql, actor, id);
}

async function release(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const known = await find(sql, actor, id);
  if (known === null) return false;
  await sql.run(
    "UPDATE phone_numbers SET status = 'released', updated_at = now() WHERE id = $1 AND user_id = $2",
    [id, actor.accountId],
  );
  const changes = { number: known.number, status: 'released' };
  const target = { targetType: 'phone_number', targetId: id };
  await writeAudit(sql, actor, { action: 'phone_number.release', ...target, changes });
  return true;
}

function numberOf(row: NumberRow): PhoneNumber {
  const { monthly_cost: amount, currency } = row;
  return {
    id: row.id,
    number: row.number,
    label: row.label,
    trunkId: row.trunk_id,
    carrier: row.carrier,
    status: row.status,
    monthlyCost: amount === null || currency === null ? null : { amount: Number(amount), currency },
    agentId: row.agent_id,
    createdAt: row.created_at.toISOString(),
  };
}
