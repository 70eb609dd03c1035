/**
 * Numbers of events that are taken. After a power loss the database may hold an event that the journal has lost; what
 * the restart appends for that call then begins with a number in use.
 */
import { FINAL_EVENTS, type CallEntry } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { Sql } from './pool.ts';

type Stored = { call_id: Id; last: number; is_over: boolean };

/**
 * The entries, none of which is stored yet, with every number of its call free: from the first one that is taken, the
 * call's events get the next numbers without a gap. A second final event is left out. `taken`: by `takenKeys`, of these
 * entries at least. Errors: those of `sql`.
 */
export async function withFreeSeq(
  sql: Sql,
  entries: readonly CallEntry[],
  taken: ReadonlySet<string>,
): Promise<readonly CallEntry[]> {
  const clashing = new Set<Id>();
  const given = new Set<string>();
  for (const { event } of entries) {
    const key = keyOf(event.call_id, event.seq);
    if (taken.has(key) || given.has(key)) clashing.add(event.call_id);
    given.add(key);
  }
  if (clashing.size === 0) return entries;
  const stored = await storedOf(sql, [...clashing]);
  return renumber(entries, taken, stored);
}

/** Of the entries' numbers, those that the database has. Errors: those of `sql`. */
export async function takenKeys(
  sql: Sql,
  entries: readonly CallEntry[],
): Promise<ReadonlySet<string>> {
  if (entries.length === 0) return new Set();
  const found = await sql.rows<{ call_id: Id; seq: number }>(
    `SELECT e.call_id, e.seq FROM call_events e
       JOIN unnest($1::uuid[], $2::integer[]) AS n (call_id, seq) ON e.call_id = n.call_id AND e.seq = n.seq`,
    [entries.map(({ event }) => event.call_id), entries.map(({ event }) => event.seq)],
  );
  return new Set(found.map(({ call_id, seq }) => keyOf(call_id, seq)));
}

async function storedOf(sql: Sql, callIds: readonly Id[]): Promise<Map<Id, Stored>> {
  const found = await sql.rows<Stored>(
    `SELECT call_id, max(seq) AS last, bool_or(type = ANY ($2::text[])) AS is_over
       FROM call_events WHERE call_id = ANY ($1::uuid[]) GROUP BY call_id`,
    [callIds, FINAL_EVENTS],
  );
  return new Map(found.map((row) => [row.call_id, row]));
}

function renumber(
  entries: readonly CallEntry[],
  taken: ReadonlySet<string>,
  stored: ReadonlyMap<Id, Stored>,
): CallEntry[] {
  const used = new Set(taken);
  const last = new Map([...stored].map(([callId, row]) => [callId, row.last]));
  const moved = new Set<Id>();
  const result: CallEntry[] = [];
  for (const entry of entries) {
    const { call_id: callId, seq, type } = entry.event;
    const isTaken = used.has(keyOf(callId, seq));
    if (isTaken) moved.add(callId);
    // What the database heard of the call's end is true; the restart only guessed that it was cut off.
    const isSecondEnd = stored.get(callId)?.is_over === true && FINAL_EVENTS.includes(type);
    if (moved.has(callId) && isSecondEnd) continue;
    const free = moved.has(callId) ? (last.get(callId) ?? 0) + 1 : seq;
    last.set(callId, Math.max(last.get(callId) ?? 0, free));
    used.add(keyOf(callId, free));
    result.push(free === seq ? entry : { ...entry, event: { ...entry.event, seq: free } });
  }
  return result;
}

function keyOf(callId: Id, seq: number): string {
  return `${callId} ${seq}`;
}
