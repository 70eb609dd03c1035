/** What people have allowed or refused (contract 2.8, 4.6). Append-only: the newest row per number and kind is in force. */
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone, phoneForms } from '#lib/phone.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';

export type ConsentKind = 'recording' | 'outbound' | 'data';

export type ConsentFields = {
  /** In normal form. */
  readonly phone: string;
  readonly kind: ConsentKind;
  readonly granted: boolean;
  /** How it came about, e.g. `web form`. */
  readonly source: string;
  readonly evidence: Readonly<Record<string, unknown>>;
};

export type Consent = ConsentFields & {
  readonly id: Id;
  /** The call in which it was given, if it was. */
  readonly callId: Id | null;
  readonly createdAt: string;
};

export type ConsentQuery = PageQuery & {
  /** In normal form, however it was written down. */
  readonly phone: string | null;
  readonly kind: ConsentKind | null;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type Consents = {
  /** Newest first. */
  list(actor: Actor, query: ConsentQuery): Promise<Page<Consent>>;
  add(actor: Actor, fields: ConsentFields): Promise<Consent>;
};

type ConsentRow = {
  readonly id: Id;
  readonly phone: string;
  readonly kind: ConsentKind;
  readonly granted: boolean;
  readonly source: string;
  readonly call_id: Id | null;
  readonly evidence: Record<string, unknown>;
  readonly created_at: Date;
};

const COLUMNS = 'id, phone, kind, granted, source, call_id, evidence, created_at';
const SOURCE = {
  columns: COLUMNS,
  tables: 'consents',
  key: 'created_at',
  keyType: 'timestamptz',
  id: 'id',
};

/** `countryCode`: the installation's, for an account that has no settings yet. */
export function createConsents(database: Database, countryCode: string | null = null): Consents {
  const inAccount = <T>(
    actor: Actor,
    work: (sql: Sql, code: string | null) => Promise<T>,
  ): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, async (sql) =>
      work(sql, await countryCodeOf(sql, actor.accountId, countryCode)),
    );
  return {
    list: (actor, query) =>
      inAccount(actor, (sql, code) => {
        const forms = query.phone === null ? null : phoneForms(query.phone, code);
        const where = new Where()
          .add('user_id = ?', actor.accountId)
          .addUnlessNull('phone = ANY (?::text[])', forms)
          .addUnlessNull('kind = ?', query.kind);
        return readPage(sql, SOURCE, where, query, consentOf);
      }),
    add: (actor, fields) => inAccount(actor, (sql, code) => add(sql, actor, fields, code)),
  };
}

async function add(
  sql: Sql,
  actor: Actor,
  { phone, kind, granted, source, evidence }: ConsentFields,
  countryCode: string | null,
): Promise<Consent> {
  const id = newId();
  const full = comparablePhone(phone, countryCode);
  const [row] = await sql.rows<ConsentRow>(
    `INSERT INTO consents (id, user_id, phone, kind, granted, source, evidence, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp()) RETURNING ${COLUMNS}`,
    [id, actor.accountId, full, kind, granted, source, JSON.stringify(evidence)],
  );
  const changes = { phone: full, kind, granted, source };
  const target = { targetType: 'consent', targetId: id };
  await writeAudit(sql, actor, { action: 'consent.record', ...target, changes });
  return consentOf(row as ConsentRow);
}

function consentOf(row: ConsentRow): Consent {
  const { id, phone, kind, granted, source, evidence } = row;
  return {
    ...{ id, phone, kind, granted, source, evidence },
    callId: row.call_id,
    createdAt: row.created_at.toISOString(),
  };
}
