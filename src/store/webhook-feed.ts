/**
 * Queues events for webhooks, in the transaction that stores them (docs/decisions/0008-webhooks.md): an event is stored
 * with all its deliveries or not at all, so none is lost or made twice by a crash.
 */
import type { JournalEntry } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import { aliasOf, publicEvent } from '#lib/public-event.ts';
import type { Sql } from './pool.ts';

/** Deliveries made. `toJson` writes JSON that the database takes. Errors: E_DATABASE*. */
export async function feedWebhooks(
  sql: Sql,
  entries: readonly JournalEntry[],
  toJson: (value: unknown) => string,
): Promise<number> {
  const events = entries.map(({ event }) => event).filter(leaves);
  if (events.length === 0) return 0;
  // Most accounts have no hook: their events need not be sent to the database once more.
  const hooked = await sql.rows<{ user_id: Id }>(
    'SELECT DISTINCT user_id FROM webhooks WHERE enabled AND user_id = ANY ($1::uuid[])',
    [[...new Set(events.map((event) => event.account_id))]],
  );
  if (hooked.length === 0) return 0;
  const accounts = new Set(hooked.map((row) => row.user_id));
  const rows = events
    .filter((event) => accounts.has(event.account_id))
    .map((event, place) => ({
      ...{ id: event.id, user_id: event.account_id, call_id: event.call_id, seq: event.seq },
      ...{ type: event.type, alias: aliasOf(event.type), payload: publicEvent(event), place },
    }));
  let made = 0;
  for (const json of statements(rows, toJson)) made += await sql.run(INSERT, [json]);
  return made;
}

/**
 * Characters of one statement: it writes as much for each of up to 50 hooks, and one that met its deadline would be
 * tried, and end, in the same way for ever.
 */
const MAX_CHARS = 256 * 1_024;

/** The rows as JSON lists of about `MAX_CHARS` each, or of one row that is larger. */
function* statements(
  rows: readonly object[],
  toJson: (value: unknown) => string,
): Generator<string, void> {
  let [part, chars]: [string[], number] = [[], 0];
  for (const row of rows) {
    const json = toJson(row);
    if (part.length > 0 && chars + json.length > MAX_CHARS) {
      yield `[${part.join()}]`;
      [part, chars] = [[], 0];
    }
    part.push(json);
    chars += json.length;
  }
  if (part.length > 0) yield `[${part.join()}]`;
}

/**
 * The lock keeps a hook from being deleted between the two: its deliveries would break the foreign key, and with it the
 * whole batch. A microsecond apart, the rows of a batch keep their order in lists.
 */
const INSERT = `
  INSERT INTO webhook_deliveries (user_id, webhook_id, event_id, event_type, call_id, seq, payload, next_attempt_at, created_at)
  SELECT w.user_id, w.id, e.id, e.type, e.call_id, e.seq, e.payload, '-infinity', now() + e.place * interval '1 microsecond'
    FROM jsonb_to_recordset($1::jsonb) AS e(id uuid, user_id uuid, call_id uuid, seq integer, type text, alias text,
           payload jsonb, place integer)
    JOIN webhooks w ON w.user_id = e.user_id AND w.enabled
   WHERE EXISTS (SELECT FROM unnest(w.events) AS p(pattern)
                  WHERE pattern IN ('*', e.type, e.alias)
                     OR (right(pattern, 2) = '.*' AND starts_with(e.type, left(pattern, -1))))
     FOR KEY SHARE OF w
  ON CONFLICT (webhook_id, event_id) DO NOTHING`;

/** Contract 3: of speech only what is final leaves by webhook. */
function leaves(event: JournalEntry['event']): boolean {
  return event.type !== 'user-speech' || !('is_final' in event.data) || event.data.is_final;
}
