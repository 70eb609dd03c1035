/** The account's contacts (contract 2.6 row 13, 2.8). Numbers are kept in the form for comparison, one contact each. */
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone } from '#lib/phone.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import { importContacts, type ContactImport, type ImportedContact } from './contact-import.ts';
import { maskedForSearch } from './masked-search.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';

export type Contact = {
  readonly id: Id;
  readonly name: string;
  readonly phone: string;
  readonly email: string | null;
  readonly company: string | null;
  readonly tags: readonly string[];
  readonly note: string | null;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly doNotCall: boolean;
  readonly lastCallAt: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type ContactFields = {
  readonly name: string;
  /** In normal form. */
  readonly phone: string;
  readonly email: string | null;
  readonly company: string | null;
  readonly tags: readonly string[];
  readonly note: string | null;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly doNotCall: boolean;
};

export type ContactQuery = PageQuery & {
  /**
   * A part of name, phone, e-mail or company, case-insensitive; `%` and `_` are plain characters. A viewer's is looked
   * for in name and company as masking leaves them.
   */
  readonly keyword: string | null;
  readonly tag?: string | null;
  readonly doNotCall?: boolean | null;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE; of those that write also E_CONFLICT for a number that is taken. */
export type Contacts = {
  /** Newest first. */
  list(actor: Actor, query: ContactQuery): Promise<Page<Contact>>;
  get(actor: Actor, id: Id): Promise<Contact | null>;
  add(actor: Actor, fields: ContactFields): Promise<Contact>;
  /** Changes the fields given; null when there is no such contact. */
  update(actor: Actor, id: Id, fields: Partial<ContactFields>): Promise<Contact | null>;
  /** False when there is no such contact. */
  remove(actor: Actor, id: Id): Promise<boolean>;
  /** Adds and changes by number, all or nothing; `contacts` name each number once, see `importContacts`. */
  import(actor: Actor, contacts: readonly ImportedContact[]): Promise<ContactImport>;
};

type ContactRow = {
  readonly id: Id;
  readonly name: string;
  readonly phone: string;
  readonly email: string | null;
  readonly company: string | null;
  readonly tags: string[];
  readonly note: string | null;
  readonly attributes: Record<string, unknown>;
  readonly do_not_call: boolean;
  readonly last_call_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
};

const COLUMNS =
  'id, name, phone, email, company, tags, note, attributes, do_not_call, last_call_at, created_at, updated_at';
const SOURCE = {
  columns: COLUMNS,
  tables: 'contacts c',
  key: 'c.created_at',
  keyType: 'timestamptz',
  id: 'c.id',
};
const TARGET = 'contact';

/** `countryCode`: the installation's, for an account that has no settings yet. */
export function createContacts(database: Database, countryCode: string | null = null): Contacts {
  const inAccount = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  const codeFor = (sql: Sql, actor: Actor): Promise<string | null> =>
    countryCodeOf(sql, actor.accountId, countryCode);
  return {
    list: (actor, query) =>
      inAccount(actor, (sql) => readPage(sql, SOURCE, matching(actor, query), query, contactOf)),
    get: (actor, id) => inAccount(actor, (sql) => find(sql, actor, id)),
    add: (actor, fields) =>
      inAccount(actor, async (sql) => add(sql, actor, fields, await codeFor(sql, actor))),
    update: (actor, id, fields) =>
      inAccount(actor, async (sql) => update(sql, actor, id, fields, await codeFor(sql, actor))),
    remove: (actor, id) => inAccount(actor, (sql) => remove(sql, actor, id)),
    import: (actor, contacts) =>
      inAccount(actor, async (sql) =>
        importContacts(sql, actor, contacts, await codeFor(sql, actor)),
      ),
  };
}

function matching(actor: Actor, query: ContactQuery): Where {
  const text =
    actor.role === 'viewer'
      ? maskedForSearch("concat_ws(E'\\n', c.name, c.company)")
      : "concat_ws(E'\\n', c.name, c.phone, c.email, c.company)";
  return new Where()
    .add('c.user_id = ?', actor.accountId)
    .addUnlessNull(`position(lower(?) IN lower(${text})) > 0`, query.keyword)
    .addUnlessNull('? = ANY (c.tags)', query.tag)
    .addUnlessNull('c.do_not_call = ?', query.doNotCall);
}

async function find(sql: Sql, actor: Actor, id: Id): Promise<Contact | null> {
  const [row] = await sql.rows<ContactRow>(
    `SELECT ${COLUMNS} FROM contacts WHERE user_id = $1 AND id = $2`,
    [actor.accountId, id],
  );
  return row === undefined ? null : contactOf(row);
}

async function add(
  sql: Sql,
  actor: Actor,
  fields: ContactFields,
  countryCode: string | null,
): Promise<Contact> {
  const id = newId();
  const [row] = await sql.rows<ContactRow>(
    `INSERT INTO contacts (id, user_id, name, phone, email, company, tags, note, attributes, do_not_call)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
    [
      ...[id, actor.accountId, fields.name, comparablePhone(fields.phone, countryCode)],
      ...[fields.email, fields.company, fields.tags, fields.note],
      ...[JSON.stringify(fields.attributes), fields.doNotCall],
    ],
  );
  await audit(sql, actor, 'create', id, fields);
  return contactOf(row as ContactRow);
}

async function update(
  sql: Sql,
  actor: Actor,
  id: Id,
  fields: Partial<ContactFields>,
  countryCode: string | null,
): Promise<Contact | null> {
  const phone = fields.phone === undefined ? undefined : comparablePhone(fields.phone, countryCode);
  const columns: [name: string, value: unknown][] = [
    ['name', fields.name],
    ['phone', phone],
    ['email', fields.email],
    ['company', fields.company],
    ['tags', fields.tags],
    ['note', fields.note],
    ['attributes', fields.attributes === undefined ? undefined : JSON.stringify(fields.attributes)],
    ['do_not_call', fields.doNotCall],
  ];
  const given = columns.filter(([, value]) => value !== undefined);
  const set = given.map(([name], at) => `${name} = $${at + 3}`);
  const [row] = await sql.rows<ContactRow>(
    `UPDATE contacts SET ${[...set, 'updated_at = now()'].join(', ')}
      WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
    [actor.accountId, id, ...given.map(([, value]) => value)],
  );
  if (row === undefined) return null;
  await audit(sql, actor, 'update', id, fields);
  return contactOf(row);
}

async function remove(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const [gone] = await sql.rows<{ phone: string }>(
    'DELETE FROM contacts WHERE user_id = $1 AND id = $2 RETURNING phone',
    [actor.accountId, id],
  );
  if (gone === undefined) return false;
  await audit(sql, actor, 'delete', id, { phone: gone.phone });
  return true;
}

/** Whether somebody may be called is worth a line; what is noted about them stays with the contact. */
function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  { phone, doNotCall, ...others }: Partial<ContactFields>,
): Promise<void> {
  const fields = Object.entries(others).flatMap(([name, value]) =>
    value === undefined ? [] : name,
  );
  return writeAudit(sql, actor, {
    ...{ action: `${TARGET}.${verb}`, targetType: TARGET, targetId },
    changes: {
      ...(phone === undefined ? {} : { phone }),
      ...(doNotCall === undefined ? {} : { do_not_call: doNotCall }),
      ...(fields.length === 0 ? {} : { fields }),
    },
  });
}

function contactOf(row: ContactRow): Contact {
  return {
    id: row.id,
    name: row.name,
    phone: row.phone,
    email: row.email,
    company: row.company,
    tags: row.tags,
    note: row.note,
    attributes: row.attributes,
    doNotCall: row.do_not_call,
    lastCallAt: row.last_call_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
