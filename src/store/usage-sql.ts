/**
 * Adds what calls have used, and what it costs, to `usage_daily` and to their records, in the transaction that stores their
 * events: each event counts once.
 */
import { FINAL_EVENTS, type CallEntry, type EventData } from '#lib/call-events.ts';
import type { Sql } from './pool.ts';

/**
 * Entries that were not stored before, after their records. A call belongs to the day it began on, in the account's time
 * zone. Errors: those of `sql`.
 */
export async function addUsage(sql: Sql, entries: readonly CallEntry[]): Promise<void> {
  const rows = entries.flatMap(rowsOf);
  if (rows.length === 0) return;
  await sql.run(
    `INSERT INTO usage_daily AS u (user_id, day, agent_id, vendor, currency, calls, answered, call_seconds, stt_seconds,
       tts_chars, realtime_seconds, llm_tokens_in, llm_tokens_out, cost)
     SELECT r.user_id, (r.start_time AT TIME ZONE coalesce(s.timezone, current_setting('TimeZone')))::date,
            coalesce(n.agent_id, r.agent_id), coalesce(n.vendor, ''), coalesce(n.currency, s.currency, 'CNY'),
            ${sumOf('calls')}, ${sumOf('answered')}, ${sumOf('call_seconds')}, ${sumOf('stt_seconds')},
            ${sumOf('tts_chars')}, ${sumOf('realtime_seconds')}, ${sumOf('llm_tokens_in')}, ${sumOf('llm_tokens_out')},
            ${sumOf('cost')}
       FROM jsonb_to_recordset($1::jsonb) AS n(call_id uuid, user_id uuid, agent_id uuid, vendor text, calls integer,
            answered integer, call_seconds bigint, stt_seconds numeric, tts_chars bigint, realtime_seconds numeric,
            llm_tokens_in bigint, llm_tokens_out bigint, cost numeric, currency text)
       JOIN call_records r ON r.id = n.call_id AND r.user_id = n.user_id
       LEFT JOIN account_settings s ON s.user_id = r.user_id
      WHERE n.calls IS NULL OR r.channel IN ('phone', 'web')
      GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
     ON CONFLICT (user_id, day, agent_id, vendor, currency) DO UPDATE SET ${COUNTS.map(
       (name) => `${name} = u.${name} + EXCLUDED.${name}`,
     ).join(', ')}`,
    [JSON.stringify(rows)],
  );
  if (rows.some((row) => 'cost' in row)) await addCosts(sql, rows);
}

/** A record has one currency: that of its first cost. */
async function addCosts(sql: Sql, rows: readonly object[]): Promise<void> {
  await sql.run(
    `WITH used AS (
       SELECT n.call_id, n.user_id, n.currency, sum(n.cost) AS cost
         FROM jsonb_to_recordset($1::jsonb) AS n(call_id uuid, user_id uuid, cost numeric, currency text)
        WHERE n.cost IS NOT NULL AND n.currency IS NOT NULL GROUP BY 1, 2, 3),
     one AS (
       SELECT DISTINCT ON (u.call_id) u.call_id, u.user_id, u.currency, u.cost
         FROM used u JOIN call_records r ON r.id = u.call_id AND r.user_id = u.user_id
        WHERE r.currency IS NULL OR r.currency = u.currency
        ORDER BY u.call_id, u.currency)
     UPDATE call_records r SET cost = coalesce(r.cost, 0) + o.cost, currency = o.currency, updated_at = now()
       FROM one o WHERE r.id = o.call_id AND r.user_id = o.user_id`,
    [JSON.stringify(rows)],
  );
}

const COUNTS = [
  ...['calls', 'answered', 'call_seconds', 'stt_seconds', 'tts_chars', 'realtime_seconds'],
  ...['llm_tokens_in', 'llm_tokens_out', 'cost'],
];

function sumOf(name: string): string {
  return `coalesce(sum(n.${name}), 0)`;
}

function rowsOf({ event, usage = [] }: CallEntry): object[] {
  const of = { call_id: event.call_id, user_id: event.account_id };
  const vendors = usage.map((patch) => ({ ...of, ...patch }));
  if (!FINAL_EVENTS.includes(event.type)) return vendors;
  const isAnswered = event.type === 'call.ended';
  const seconds = isAnswered ? (event.data as EventData['call.ended']).duration : 0;
  return [...vendors, { ...of, calls: 1, answered: isAnswered ? 1 : 0, call_seconds: seconds }];
}
