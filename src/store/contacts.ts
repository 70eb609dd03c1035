/** The account's contacts (contract 2.6 row 13): reading. */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { readPage, Where } from './paging.ts';
import type { Database } from './pool.ts';

export type Contact = {
  readonly id: Id;
  readonly name: string;
  readonly phone: string;
  readonly email: string | null;
  readonly company: string | null;
  readonly tags: readonly string[];
  readonly doNotCall: boolean;
  readonly lastCallAt: string | null;
};

export type ContactQuery = PageQuery & {
  /** A part of name, phone, e-mail or company, case-insensitive; `%` and `_` are plain characters. */
  readonly keyword: string | null;
};

export type Contacts = {
  /** Newest first. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  list(actor: Actor, query: ContactQuery): Promise<Page<Contact>>;
};

type ContactRow = {
  readonly id: Id;
  readonly name: string;
  readonly phone: string;
  readonly email: string | null;
  readonly company: string | null;
  readonly tags: string[];
  readonly do_not_call: boolean;
  readonly last_call_at: Date | null;
};

const SOURCE = {
  columns: 'c.id, c.name, c.phone, c.email, c.company, c.tags, c.do_not_call, c.last_call_at',
  tables: 'contacts c',
  key: 'c.created_at',
  keyType: 'timestamptz',
  id: 'c.id',
};

export function createContacts(database: Database): Contacts {
  return {
    list: (actor, query) =>
      database.withAccount(actor.accountId, actor.name, (sql) => {
        const where = new Where()
          .add('c.user_id = ?', actor.accountId)
          .addUnlessNull(
            "position(lower(?) IN lower(concat_ws(E'\\n', c.name, c.phone, c.email, c.company))) > 0",
            query.keyword,
          );
        return readPage<ContactRow, Contact>(sql, SOURCE, where, query, contactOf);
      }),
  };
}

function contactOf(row: ContactRow): Contact {
  return {
    id: row.id,
    name: row.name,
    phone: row.phone,
    email: row.email,
    company: row.company,
    tags: row.tags,
    doNotCall: row.do_not_call,
    lastCallAt: row.last_call_at?.toISOString() ?? null,
  };
}
