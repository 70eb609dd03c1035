/** What a PATCH does to a record (contract 2.1), as a plain function of the record and the change. */
import type { CallStatus, HangupReason } from '#lib/call-events.ts';
import type { RecordChange, RecordRefusal } from '#lib/call-record.ts';

/** The columns that a change depends on. */
export type ChangeableRow = {
  readonly source: 'api' | 'core';
  readonly status: CallStatus;
  readonly start_time: Date;
  readonly end_time: Date | null;
  readonly duration_seconds: number | null;
  readonly hangup_reason: HangupReason | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly patched: Patched | null;
};

/** What users have set on a record of the server's own; the projection leaves it alone from then on. */
export type Patched = {
  readonly caller_name?: true;
  /** As patched, nulls included: a deleted key stays deleted. */
  readonly metadata?: Readonly<Record<string, unknown>>;
};

/** Columns of `call_records` and their new values; JSON columns hold objects. */
export type ChangedColumns = ReadonlyMap<string, unknown>;

const MAX_DURATION_S = 86_400;
const MAX_METADATA_BYTES = 16 * 1024;
const CORE_FIELDS: readonly (keyof RecordChange)[] = ['callerName', 'summary', 'metadata'];

/** The new values of the columns that change, or why nothing may change. */
export function changedColumns(
  row: ChangeableRow,
  change: RecordChange,
  nowMs: number,
): ChangedColumns | RecordRefusal {
  const names = Object.keys(change) as (keyof RecordChange)[];
  if (row.source === 'core' && !names.every((name) => CORE_FIELDS.includes(name))) {
    return 'readOnly';
  }
  const times = changedEnd(row, change);
  if (typeof times === 'string') return times;
  const columns = new Map<string, unknown>(times);
  if (change.callerName !== undefined) columns.set('caller_name', change.callerName);
  if (change.callerPhone !== undefined) columns.set('caller_phone', change.callerPhone);
  if (change.callerApp !== undefined) columns.set('caller_app', change.callerApp);
  if (change.messages !== undefined) columns.set('messages', change.messages);
  if (change.summary !== undefined) {
    columns.set('summary', change.summary?.text ?? null);
    columns.set('summary_meta', change.summary === null ? null : metaOf(change.summary, nowMs));
  }
  if (change.metadata !== undefined) {
    const merged = merge(row.metadata, change.metadata);
    if (Buffer.byteLength(JSON.stringify(merged)) > MAX_METADATA_BYTES) return 'metadataTooLarge';
    columns.set('metadata', merged);
  }
  if (row.source === 'core') columns.set('patched', patchedBy(row.patched ?? {}, change));
  return columns;
}

/** End, duration, reason and the status that follows from them. */
function changedEnd(
  row: ChangeableRow,
  change: RecordChange,
): readonly (readonly [string, unknown])[] | RecordRefusal {
  const columns: (readonly [string, unknown])[] = [];
  const end = change.endTime === undefined ? row.end_time : dateOf(change.endTime);
  const spanS = end === null ? null : (end.getTime() - row.start_time.getTime()) / 1000;
  let durationS = change.durationSeconds;
  if (change.endTime !== undefined) {
    if (spanS !== null && spanS < 0) return 'endBeforeStart';
    columns.push(['end_time', change.endTime]);
    durationS = durationS === undefined ? roundHalfUp(spanS) : durationS;
    if (durationS !== null && durationS > MAX_DURATION_S) return 'endTooLate';
  }
  if (durationS !== undefined) {
    const isTooLong = durationS !== null && spanS !== null && durationS > spanS + 1;
    if (isTooLong) return 'durationTooLong';
    columns.push(['duration_seconds', durationS]);
  }
  const reason = change.hangupReason === undefined ? row.hangup_reason : change.hangupReason;
  if (change.hangupReason !== undefined) columns.push(['hangup_reason', reason]);
  if (change.endTime !== undefined || change.hangupReason !== undefined) {
    columns.push(['status', end === null && reason === null ? 'answered' : 'ended']);
  }
  return columns;
}

function dateOf(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}

function roundHalfUp(seconds: number | null): number | null {
  return seconds === null ? null : Math.floor(seconds + 0.5);
}

function metaOf(summary: { readonly language: string }, nowMs: number): object {
  return {
    source: 'client',
    model: null,
    language: summary.language,
    generated_at: new Date(nowMs).toISOString(),
  };
}

/** One level deep; a null deletes its key. */
function merge(
  known: Readonly<Record<string, unknown>>,
  patch: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const entries = Object.entries({ ...known, ...patch });
  return Object.fromEntries(entries.filter(([key]) => !(key in patch && patch[key] === null)));
}

function patchedBy(before: Patched, change: RecordChange): Patched {
  const isNamed = before.caller_name === true || change.callerName !== undefined;
  return {
    ...(isNamed ? { caller_name: true } : {}),
    ...(before.metadata === undefined && change.metadata === undefined
      ? {}
      : { metadata: { ...before.metadata, ...change.metadata } }),
  };
}
