/** Ties calls to the contacts they are with: `call_records.contact_id`, and when a contact was last called. */
import type { CallEntry } from '#lib/call-events.ts';
import type { Sql } from './pool.ts';

/** Entries that were not stored before, after their records. Errors: those of `sql`. */
export async function linkContacts(sql: Sql, entries: readonly CallEntry[]): Promise<void> {
  const calls = entries.flatMap(({ event, record }) => {
    const phone = record?.caller_phone ?? null;
    if (event.type !== 'call.initiated' || phone === null) return [];
    return { call_id: event.call_id, user_id: event.account_id, phone, at: event.time };
  });
  if (calls.length === 0) return;
  // Contacts are kept with country code; the other side may have come without (contract 1.1). `kept`: one that is
  // deleted meanwhile is left out, and imports take the same order.
  await sql.run(
    `WITH found AS (
       SELECT DISTINCT ON (n.call_id) n.call_id, n.user_id, n.at, c.id
         FROM jsonb_to_recordset($1::jsonb) AS n(call_id uuid, user_id uuid, phone text, at timestamptz)
         LEFT JOIN account_settings s ON s.user_id = n.user_id
         JOIN contacts c ON c.user_id = n.user_id AND c.phone IN (n.phone,
              CASE WHEN n.phone ~ '^[0-9]{7,}$' THEN '+' || s.country_code || regexp_replace(n.phone, '^0', '') END)
        ORDER BY n.call_id, c.created_at, c.id
     ), kept AS MATERIALIZED (
       SELECT c.id FROM contacts c WHERE c.id IN (SELECT id FROM found) ORDER BY c.id FOR NO KEY UPDATE
     ), linked AS (
       UPDATE call_records r SET contact_id = f.id FROM found f JOIN kept k ON k.id = f.id
        WHERE r.id = f.call_id AND r.user_id = f.user_id
     ), latest AS (
       SELECT f.user_id, f.id, max(f.at) AS at FROM found f JOIN kept k ON k.id = f.id GROUP BY f.user_id, f.id
     )
     UPDATE contacts c SET last_call_at = greatest(c.last_call_at, l.at)
       FROM latest l WHERE c.user_id = l.user_id AND c.id = l.id`,
    [JSON.stringify(calls)],
  );
}
