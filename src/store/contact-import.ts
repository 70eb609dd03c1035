/** Many contacts at once: new numbers are added, known ones changed in what the import says of them. */
import type { Actor } from '#lib/actor.ts';
import { comparablePhone } from '#lib/phone.ts';
import { writeAudit } from './audit.ts';
import type { Sql } from './pool.ts';

/** A field that is absent stays as it is, or gets its default in a new contact. */
export type ImportedContact = {
  /** Where it stood: line of the file, or place in the list, from 1. */
  readonly line: number;
  readonly name: string;
  /** In normal form. */
  readonly phone: string;
  readonly email?: string | null;
  readonly company?: string | null;
  readonly tags?: readonly string[];
  readonly note?: string | null;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly doNotCall?: boolean;
};

export type ContactImport = {
  readonly created: number;
  readonly updated: number;
  readonly rejected: readonly { readonly line: number; readonly reason: string }[];
};

/** One statement takes this many: bounded memory on both sides. */
const BATCH = 1_000;

/** A number that comes twice counts once, with its first line. Errors: those of `sql`; then nothing was changed. */
export async function importContacts(
  sql: Sql,
  actor: Actor,
  contacts: readonly ImportedContact[],
  countryCode: string | null,
): Promise<ContactImport> {
  const rejected: { line: number; reason: string }[] = [];
  const byPhone = new Map<string, ImportedContact>();
  for (const contact of contacts) {
    const phone = comparablePhone(contact.phone, countryCode);
    const first = byPhone.get(phone);
    if (first === undefined) byPhone.set(phone, contact);
    else rejected.push({ line: contact.line, reason: `same number as line ${first.line}` });
  }
  let created = 0;
  // One at a time and in one order: two imports of the same people would else wait for each other.
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard contact import ${actor.accountId}`,
  ]);
  await sql.rows(
    `SELECT id FROM contacts WHERE user_id = $1 AND phone = ANY ($2::text[]) ORDER BY id FOR NO KEY UPDATE`,
    [actor.accountId, [...byPhone.keys()]],
  );
  const rows = [...byPhone].sort(([a], [b]) => (a < b ? -1 : 1));
  for (let from = 0; from < rows.length; from += BATCH) {
    created += await upsert(sql, actor, rows.slice(from, from + BATCH));
  }
  const updated = rows.length - created;
  const changes = { created, updated, rejected: rejected.length };
  await writeAudit(sql, actor, { action: 'contact.import', targetType: 'contact', changes });
  return { created, updated, rejected };
}

/** How many of them are new. */
async function upsert(
  sql: Sql,
  actor: Actor,
  rows: readonly (readonly [phone: string, contact: ImportedContact])[],
): Promise<number> {
  const given = rows.map(([phone, contact]) => ({
    ...{ phone, name: contact.name },
    ...{ email: contact.email, company: contact.company, note: contact.note },
    ...{ tags: contact.tags, attributes: contact.attributes, do_not_call: contact.doNotCall },
    // JSON leaves out what is undefined, so that null can say "cleared".
    says: ['email', 'company', 'note'].filter(
      (name) => contact[name as 'email' | 'company' | 'note'] !== undefined,
    ),
  }));
  const kept = (name: string): string =>
    `${name} = CASE WHEN '${name}' = ANY (n.says) THEN n.${name} ELSE c.${name} END`;
  const [counted] = await sql.rows<{ created: number }>(
    `WITH n AS (
       SELECT * FROM jsonb_to_recordset($2::jsonb) AS r(phone text, name text, email text, company text, note text,
         tags text[], attributes jsonb, do_not_call boolean, says text[])
     ), known AS (
       UPDATE contacts c SET name = n.name, ${kept('email')}, ${kept('company')}, ${kept('note')},
              tags = coalesce(n.tags, c.tags), attributes = coalesce(n.attributes, c.attributes),
              do_not_call = coalesce(n.do_not_call, c.do_not_call), updated_at = now()
         FROM n WHERE c.user_id = $1 AND c.phone = n.phone RETURNING c.phone
     ), made AS (
       INSERT INTO contacts (user_id, name, phone, email, company, note, tags, attributes, do_not_call)
       SELECT $1, name, phone, email, company, note, coalesce(tags, '{}'), coalesce(attributes, '{}'),
              coalesce(do_not_call, false)
         FROM n WHERE phone NOT IN (SELECT phone FROM known)
       RETURNING phone
     ) SELECT count(*)::int AS created FROM made`,
    [actor.accountId, JSON.stringify(given)],
  );
  return counted?.created ?? 0;
}
