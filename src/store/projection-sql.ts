/** Writes journal entries into `call_records`, `call_events` and `recordings`, each event once. */
import {
  FINAL_EVENTS,
  isCallEntry,
  type CallEntry,
  type EventData,
  type JournalEntry,
  type RecordingPatch,
  type RecordPatch,
} from '#lib/call-events.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { linkContacts } from './contact-links.ts';
import { takenKeys, withFreeSeq } from './event-seq.ts';
import type { Sql } from './pool.ts';
import { EXPIRES_AT } from './recording-rows.ts';
import { isSuspectData } from './sql-errors.ts';
import { feedWebhooks } from './webhook-feed.ts';
import { addUsage } from './usage-sql.ts';

/** Characters, bytes of UTF-8, or how else a value is made to fit. */
type Kind = number | { readonly maxBytes: number } | 'json' | 'plain';

/** Columns of `call_records` that core writes. An index refuses entries over 2,704 bytes, so the Call-ID has its limit. */
const COLUMNS: Record<string, Kind> = {
  ...{ agent_id: 'plain', caller_name: 255, caller_phone: 50, caller_app: 50, start_time: 'plain' },
  ...{ answer_time: 'plain', end_time: 'plain', duration_seconds: 'plain', hangup_reason: 'plain' },
  ...{ channel: 'plain', direction: 'plain', from_number: 255, to_number: 255, status: 'plain' },
  ...{
    outcome: 'plain',
    ended_by: 'plain',
    trunk_id: 'plain',
    node: 'plain',
    sip_call_id: { maxBytes: 512 },
  },
  ...{ sip_status: 'plain', variables: 'json', metadata: 'json', recording_status: 'plain' },
  ...{
    recording_id: 'plain',
    quality: 'json',
    latency: 'json',
    customer_ref: 64,
    campaign_id: 'plain',
    squad_id: 'plain',
    rule_id: 'plain',
  },
} satisfies Record<keyof RecordPatch, Kind>;

const RECORDING_COLUMNS = [
  'status',
  'uri',
  'format',
  'started_at',
  'notice_at',
  'duration_ms',
  'bytes',
  'truncated',
  'key_enc',
  'sha256',
] as const;

type Change = { readonly accountId: Id; readonly columns: Map<string, unknown> };

/** Calls whose messages these entries changed: true when the call is over. */
export type Touched = Map<Id, boolean>;

/** What a batch leads to. */
export type Applied = {
  readonly touched: Touched;
  /** To webhooks, queued with the events. */
  readonly deliveries: number;
};

/** What else a call is counted and looked up for: never worth more than its events. */
const EXTRAS = [
  ['contacts', linkContacts],
  ['usage', addUsage],
] as const;

/**
 * One batch, in the order of the journal, inside the caller's transaction. With `onExtraLost` contacts and usage that
 * the database refuses are told and left out. Errors: E_DATABASE, E_DATABASE_UNREACHABLE.
 */
export async function applyEntries(
  sql: Sql,
  entries: readonly JournalEntry[],
  onExtraLost?: (what: string, error: unknown) => void,
): Promise<Applied> {
  const all = entries.filter(isCallEntry);
  // Sent one behind the other, and worked on in this order: each answer that is waited for by itself costs a round trip.
  const [isNew, isKept, taken] = await Promise.all([
    notYetStored(sql, entries),
    notDeleted(sql, all),
    takenKeys(sql, all),
  ]);
  const unstored = entries.filter(isNew);
  const fresh = await withFreeSeq(sql, unstored.filter(isCallEntry).filter(isKept), taken);
  for (const [callId, change] of mergeRecords(fresh)) await writeRecord(sql, callId, change);
  const stored = [...fresh, ...unstored.filter((entry) => !isCallEntry(entry))];
  const [, deliveries] = await Promise.all([
    writeEvents(sql, stored),
    feedWebhooks(sql, stored, toJson),
    ...(onExtraLost === undefined ? EXTRAS.map(([, extra]) => extra(sql, fresh)) : []),
  ]);
  for (const { event, recording } of fresh) {
    if (recording !== null) await writeRecording(sql, event.account_id, event.call_id, recording);
  }
  if (onExtraLost !== undefined) {
    for (const [what, extra] of EXTRAS)
      await withoutLoss(sql, () => extra(sql, fresh), onExtraLost.bind(null, what));
  }
  const touched: Touched = new Map();
  for (const { event } of fresh) {
    const isFinal = FINAL_EVENTS.includes(event.type);
    const isOver = (touched.get(event.call_id) ?? false) || isFinal;
    if (isFinal || event.type === 'conversation.message') touched.set(event.call_id, isOver);
  }
  return { touched, deliveries };
}

/** `work`, undone alone when its data are at fault. Errors: those of `sql` that would meet any other data too. */
async function withoutLoss(
  sql: Sql,
  work: () => Promise<void>,
  onLost: (error: unknown) => void,
): Promise<void> {
  await sql.run('SAVEPOINT extra');
  try {
    await work();
  } catch (error) {
    // What is no AppError failed before it became a statement: that too is these data alone.
    if (error instanceof AppError && !isSuspectData(error)) throw error;
    await sql.run('ROLLBACK TO SAVEPOINT extra');
    onLost(error);
  }
}

/** The records' `messages` are what their events say, so they can be made again at any time. */
export async function writeMessages(sql: Sql, callIds: readonly Id[]): Promise<void> {
  if (callIds.length === 0) return;
  await sql.run(
    `UPDATE call_records r SET messages = m.list, updated_at = now()
       FROM unnest($1::uuid[]) AS c (id),
            LATERAL (SELECT coalesce(jsonb_agg(data -> 'message' ORDER BY seq), '[]'::jsonb) AS list
                       FROM call_events WHERE call_id = c.id AND type = 'conversation.message') m
      WHERE r.id = c.id AND r.source = 'core' AND r.messages IS DISTINCT FROM m.list`,
    [callIds],
  );
}

type Filter<T> = (entry: T) => boolean;

/** What is still said of a call whose record a user has deleted is dropped: it must neither come back nor be parked. */
async function notDeleted(sql: Sql, entries: readonly CallEntry[]): Promise<Filter<CallEntry>> {
  const found = await sql.rows<{ user_id: Id; call_id: Id }>(
    `SELECT user_id, target_id AS call_id FROM audit_log
      WHERE action = 'call_record.delete' AND target_id = ANY ($1::text[])`,
    [[...new Set(entries.map(({ event }) => event.call_id))]],
  );
  const deleted = new Set(found.map((row) => `${row.user_id} ${row.call_id}`));
  return ({ event }) => !deleted.has(`${event.account_id} ${event.call_id}`);
}

/** A replayed event changes nothing: what a user has set by PATCH since then stays. To be asked once for each entry. */
async function notYetStored(
  sql: Sql,
  entries: readonly JournalEntry[],
): Promise<Filter<JournalEntry>> {
  const found = await sql.rows<{ id: Id }>(
    'SELECT id FROM call_events WHERE id = ANY ($1::uuid[])',
    [entries.map(({ event }) => event.id)],
  );
  const seen = new Set(found.map(({ id }) => id));
  return ({ event }) => {
    if (seen.has(event.id)) return false;
    seen.add(event.id);
    return true;
  };
}

function mergeRecords(entries: readonly CallEntry[]): Map<Id, Change> {
  const changes = new Map<Id, Change>();
  for (const { event, record } of entries) {
    const columns = { ...record, ...initiatedColumns(event) };
    if (Object.keys(columns).length === 0) continue;
    const change = changes.get(event.call_id) ?? {
      accountId: event.account_id,
      columns: new Map(),
    };
    changes.set(event.call_id, change);
    for (const [name, value] of Object.entries(columns)) {
      if (value === undefined || COLUMNS[name] === undefined) continue;
      const before = change.columns.get(name);
      const merged =
        name === 'metadata' && isObject(before) && isObject(value)
          ? { ...before, ...value }
          : value;
      change.columns.set(name, merged);
    }
  }
  return changes;
}

/** What the first event knows and a RecordPatch does not carry. */
function initiatedColumns(event: CallEntry['event']): Record<string, unknown> {
  if (event.type !== 'call.initiated') return {};
  const { customer_id, campaign_id } = event.data as EventData['call.initiated'];
  return {
    ...(customer_id == null ? {} : { customer_ref: customer_id }),
    ...(campaign_id == null ? {} : { campaign_id }),
  };
}

async function writeRecord(sql: Sql, callId: Id, { accountId, columns }: Change): Promise<void> {
  const names = [...columns.keys()];
  const values = names.map((name) => fit(columns.get(name), COLUMNS[name]));
  const given = [callId, accountId, ...values];
  const isFirst = columns.has('agent_id') && columns.has('start_time');
  const set = (name: string, value: string): string => `${name} = ${keptOr(name, value)}`;
  const written = isFirst
    ? await sql.run(
        `INSERT INTO call_records AS r (id, user_id, source, ${names.join(', ')})
         VALUES ($1, $2, 'core', ${names.map((_, at) => `$${at + 3}`).join(', ')})
         ON CONFLICT (id) DO UPDATE SET ${names.map((name) => set(name, `EXCLUDED.${name}`)).join(', ')}, updated_at = now()
         WHERE r.user_id = EXCLUDED.user_id`,
        given,
      )
    : await sql.run(
        `UPDATE call_records r SET ${names.map((name, at) => set(name, `$${at + 3}${name === 'metadata' ? '::jsonb' : ''}`)).join(', ')}, updated_at = now()
          WHERE id = $1 AND user_id = $2`,
        given,
      );
  if (written === 0)
    throw new AppError('E_DATABASE', 'the call has no record of this account', {
      cause: { code: '23503' },
    });
}

/** What a user has set by PATCH stays, also while the call goes on; of `metadata` that is each key for itself. */
function keptOr(name: string, value: string): string {
  if (name === 'caller_name') {
    return `CASE WHEN r.patched ? 'caller_name' THEN r.caller_name ELSE ${value} END`;
  }
  if (name !== 'metadata') return value;
  const patch = "coalesce(r.patched -> 'metadata', '{}'::jsonb)";
  const deleted = `ARRAY(SELECT key FROM jsonb_each(${patch}) WHERE value = 'null'::jsonb)`;
  return `(r.metadata || ${value} || ${patch}) - ${deleted}`;
}

async function writeEvents(sql: Sql, entries: readonly JournalEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const rows = entries.map(({ event }) => ({
    id: event.id,
    user_id: event.account_id,
    call_id: event.call_id,
    seq: event.seq,
    type: event.type,
    at: event.time,
    data: event.data,
    node: event.node,
  }));
  await sql.run(
    `INSERT INTO call_events (id, user_id, call_id, seq, type, at, data, node)
     SELECT id, user_id, call_id, seq, type, at, data, node FROM jsonb_to_recordset($1::jsonb)
       AS e(id uuid, user_id uuid, call_id uuid, seq integer, type text, at timestamptz, data jsonb, node text)
     ON CONFLICT (id) DO NOTHING`,
    [toJson(rows)],
  );
}

async function writeRecording(
  sql: Sql,
  accountId: Id,
  callId: Id,
  patch: RecordingPatch,
): Promise<void> {
  const names = RECORDING_COLUMNS.filter((name) => patch[name] !== undefined);
  const values = names.map((name) =>
    name === 'sha256' ? Buffer.from(patch.sha256 ?? '', 'hex') : patch[name],
  );
  // The key comes with the first patch alone: one that was destroyed since must not come back.
  const later = names.filter((name) => name !== 'key_enc');
  await sql.run(
    `INSERT INTO recordings AS r (id, user_id, call_id, ${names.join(', ')})
     VALUES ($1, $2, $3, ${names.map((_, at) => `$${at + 4}`).join(', ')})
     ON CONFLICT (id) DO UPDATE SET ${later.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}
       WHERE r.user_id = EXCLUDED.user_id AND r.status = 'active'`,
    [patch.id, accountId, callId, ...values],
  );
  if (patch.status === 'active') return;
  await sql.run(
    `UPDATE recordings r SET expires_at = ${EXPIRES_AT} WHERE id = $1 AND user_id = $2`,
    [patch.id, accountId],
  );
}

function fit(value: unknown, kind: Kind | undefined): unknown {
  if (value === null) return null;
  if (kind === 'json') return toJson(value);
  if (typeof value !== 'string') return value;
  const text = clean(value);
  if (typeof kind === 'object') return cutBytes(text, kind.maxBytes);
  return typeof kind === 'number' && text.length > kind
    ? Array.from(text).slice(0, kind).join('')
    : text;
}

/** At most so many bytes of UTF-8; never part of a character. */
function cutBytes(text: string, maxBytes: number): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(maxBytes)).read);
}

/** PostgreSQL's jsonb takes neither U+0000 nor half a surrogate pair, and remote parties send both. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'string') return clean(inner);
    if (!isObject(inner) || Object.keys(inner).every((key) => clean(key) === key)) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [clean(key), each]));
  });
}

function clean(text: string): string {
  return text.replaceAll('\0', '').toWellFormed();
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
