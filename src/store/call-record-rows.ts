/** Rows of `call_records` as PostgreSQL gives them, and how they become the shapes of `lib/call-record.ts`. */
import type {
  CallStatus,
  Channel,
  Direction,
  EndedBy,
  HangupReason,
  Latency,
  Message,
  Outcome,
  Quality,
} from '#lib/call-events.ts';
import type {
  RecordDetail,
  RecordingRow,
  RecordingStatus,
  RecordRow,
  StoredEvent,
} from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';

/** A soft-deleted agent still gives its name. */
export const ROW_TABLES =
  'call_records r LEFT JOIN agents a ON a.id = r.agent_id AND a.user_id = r.user_id';

export const ROW_COLUMNS = `r.id, r.agent_id, coalesce(a.name, '') AS agent_name, r.caller_name, r.caller_phone,
  r.caller_app, r.direction, r.status, r.start_time, r.duration_seconds, r.hangup_reason, r.outcome, r.summary,
  r.recording_status`;

/** Without a recording_id the newest recording counts. */
export const DETAIL_TABLES = `${ROW_TABLES} LEFT JOIN LATERAL (
  SELECT id, status, duration_ms, uri FROM recordings WHERE call_id = r.id AND user_id = r.user_id
   ORDER BY (id = r.recording_id) DESC NULLS LAST, created_at DESC LIMIT 1) f ON true`;

/** Of recording `f`. */
export const RECORDING_COLUMNS =
  'f.id AS file_id, f.status AS file_status, f.duration_ms AS file_ms, f.uri AS file_uri';

export const DETAIL_COLUMNS = `${ROW_COLUMNS}, r.source, r.channel, r.from_number, r.to_number, r.answer_time, r.end_time,
  r.ended_by, r.messages, r.metadata, r.variables, r.customer_ref, r.trunk_id, r.rule_id, r.campaign_id, r.squad_id,
  r.quality, r.latency, r.cost, r.currency, r.summary_meta, r.sip_call_id, r.sip_status, r.node, r.created_at,
  r.updated_at, ${RECORDING_COLUMNS}`;

/** pg's types: times as Date, numeric as text. */
export type DbRow = {
  readonly id: Id;
  readonly agent_id: Id;
  readonly agent_name: string;
  readonly caller_name: string | null;
  readonly caller_phone: string | null;
  readonly caller_app: string | null;
  readonly direction: Direction;
  readonly status: CallStatus;
  readonly start_time: Date;
  readonly duration_seconds: number | null;
  readonly hangup_reason: HangupReason | null;
  readonly outcome: Outcome | null;
  readonly summary: string | null;
  readonly recording_status: RecordingStatus;
};

export type DbRecording = {
  readonly file_id: Id;
  readonly file_status: Exclude<RecordingStatus, 'none'>;
  readonly file_ms: number | null;
  readonly file_uri: string;
};

export type DbDetail = DbRow & {
  readonly source: 'api' | 'core';
  readonly channel: Channel;
  readonly from_number: string | null;
  readonly to_number: string | null;
  readonly answer_time: Date | null;
  readonly end_time: Date | null;
  readonly ended_by: EndedBy | null;
  readonly messages: Message[];
  readonly metadata: Record<string, unknown>;
  readonly variables: Record<string, unknown>;
  readonly customer_ref: string | null;
  readonly trunk_id: Id | null;
  readonly rule_id: Id | null;
  readonly campaign_id: Id | null;
  readonly squad_id: Id | null;
  readonly quality: Quality | null;
  readonly latency: Latency | null;
  readonly cost: string | null;
  readonly currency: string | null;
  readonly summary_meta: RecordDetail['summaryMeta'];
  readonly sip_call_id: string | null;
  readonly sip_status: number | null;
  readonly node: string | null;
  readonly created_at: Date;
  readonly updated_at: Date;
} & (DbRecording | { readonly file_id: null });

export function rowOf(row: DbRow): RecordRow {
  return {
    id: row.id,
    agentId: row.agent_id,
    agentName: row.agent_name,
    callerName: row.caller_name,
    callerPhone: row.caller_phone,
    callerApp: row.caller_app,
    direction: row.direction,
    status: row.status,
    startTime: row.start_time.toISOString(),
    durationSeconds: row.duration_seconds,
    hangupReason: row.hangup_reason,
    outcome: row.outcome,
    summary: row.summary,
    recordingStatus: row.recording_status,
  };
}

export function recordingOf(row: DbRecording): RecordingRow {
  return {
    id: row.file_id,
    status: row.file_status,
    durationMs: row.file_ms,
    uri: row.file_uri,
  };
}

export function detailOf(row: DbDetail): RecordDetail {
  return {
    ...rowOf(row),
    source: row.source,
    channel: row.channel,
    fromNumber: row.from_number,
    toNumber: row.to_number,
    answerTime: row.answer_time?.toISOString() ?? null,
    endTime: row.end_time?.toISOString() ?? null,
    endedBy: row.ended_by,
    messages: row.messages,
    metadata: row.metadata,
    variables: row.variables,
    customerId: row.customer_ref,
    trunkId: row.trunk_id,
    ruleId: row.rule_id,
    campaignId: row.campaign_id,
    squadId: row.squad_id,
    recording: row.file_id === null ? null : recordingOf(row),
    quality: row.quality,
    latency: row.latency,
    cost: row.cost === null ? null : { amount: Number(row.cost), currency: row.currency ?? 'CNY' },
    summaryMeta: row.summary_meta,
    sipCallId: row.sip_call_id,
    sipStatus: row.sip_status,
    node: row.node,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export type DbEvent = {
  readonly id: Id;
  readonly type: string;
  readonly at: Date;
  readonly call_id: Id;
  readonly seq: number;
  readonly node: string | null;
  readonly data: Record<string, unknown>;
};

export function eventOf(row: DbEvent): StoredEvent {
  return {
    id: row.id,
    type: row.type,
    time: row.at.toISOString(),
    callId: row.call_id,
    seq: row.seq,
    node: row.node,
    data: row.data,
  };
}
