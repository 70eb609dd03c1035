/** Records and live calls in the shapes of the contract (2.1), masked for viewers (7.3). */
import type { Message } from '#lib/call-events.ts';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';
import { aliasOf, type PublicEvent } from '#lib/public-event.ts';
import { isLiveStatus, type LiveCallView } from '#sessions/call-service-types.ts';
import type { Role } from '#lib/actor.ts';
import type { RecordDetail, RecordRow, StoredEvent } from '#lib/call-record.ts';
import type { Caller } from './auth.ts';
import type { CallRecord, CallRow } from './schemas.ts';

export function rowView(row: RecordRow, role: Role): CallRow {
  const masks = masksFor(role);
  return {
    id: row.id,
    agent_id: row.agentId,
    agent_name: row.agentName,
    caller_name: masks.text(row.callerName),
    caller_phone: masks.number(row.callerPhone),
    caller_app: row.callerApp,
    direction: row.direction,
    status: row.status,
    start_time: row.startTime,
    duration_seconds: row.durationSeconds,
    hangup_reason: row.hangupReason,
    outcome: row.outcome,
    summary: masks.text(row.summary),
    recording_status: row.recordingStatus,
  };
}

export function recordView(record: RecordDetail, role: Role): CallRecord {
  const masks = masksFor(role);
  return {
    ...rowView(record, role),
    source: record.source,
    channel: record.channel,
    from_number: masks.number(record.fromNumber),
    to_number: masks.number(record.toNumber),
    answer_time: record.answerTime,
    end_time: record.endTime,
    ended_by: record.endedBy,
    messages: messagesView(record.messages, role),
    metadata: masks.object(record.metadata),
    variables: masks.object(record.variables),
    customer_id: masks.text(record.customerId),
    trunk_id: record.trunkId,
    rule_id: record.ruleId,
    campaign_id: record.campaignId,
    squad_id: record.squadId,
    recording: recordingView(record),
    quality: record.quality,
    latency: record.latency,
    cost: record.cost,
    summary_meta: record.summaryMeta,
    sip_call_id: record.sipCallId,
    sip_status: record.sipStatus,
    node: record.node,
    created_at: record.createdAt,
    updated_at: record.updatedAt,
  };
}

export function messagesView(messages: readonly Message[], role: Role): Message[] {
  if (role !== 'viewer') return [...messages];
  return messages.map((message) => maskDeep(message) as Message);
}

/** The remote party of a call as this role may see it. */
export function phoneView(number: string | null, role: Role): string | null {
  return masksFor(role).number(number);
}

/** A stored event in the shape of the contract (section 3). */
export function eventView(event: StoredEvent, caller: Pick<Caller, 'accountId' | 'role'>) {
  const { id, type, time, callId, seq, node, data } = event;
  return publicEventView(
    {
      ...{ id, type, alias: aliasOf(type), time, account_id: caller.accountId },
      // Where the request of an event is known, it goes out with the event itself; it is not stored.
      ...{ call_id: callId, conversation_id: callId, seq, node, request_id: null, data },
    },
    caller.role,
  );
}

export function publicEventView(event: PublicEvent, role: Role): PublicEvent {
  if (role !== 'viewer') return event;
  return { ...event, data: maskEventData(event.data as Readonly<Record<string, unknown>>) };
}

/** Numbers are masked by their place, and digits dialled one by one may be a card number or a PIN. */
function maskEventData(data: Readonly<Record<string, unknown>>): object {
  const masked = maskDeep(data) as Record<string, unknown>;
  for (const name of ['from', 'to']) {
    if (typeof data[name] === 'string') masked[name] = maskNumber(data[name]);
  }
  return typeof data['digit'] === 'string' ? { ...masked, digit: '*' } : masked;
}

/** A call whose record has not reached the database yet, as the record it will become. */
export function recordOfLive(call: LiveCallView, messages: readonly Message[]): RecordDetail {
  const isLive = isLiveStatus(call.status);
  return {
    ...call,
    durationSeconds: isLive ? null : call.durationSeconds,
    summary: null,
    source: 'core',
    messages,
    // Its URL is given from `recordingStatus` and this row; where the audio is, only the store knows.
    recording: null,
    quality: null,
    latency: null,
    cost: call.cost ?? null,
    summaryMeta: null,
    createdAt: call.startTime,
    updatedAt: call.endTime ?? call.answerTime ?? call.startTime,
  };
}

function recordingView(record: RecordDetail): CallRecord['recording'] {
  const { recording } = record;
  if (recording === null) return null;
  return {
    id: recording.id,
    status: recording.status,
    duration_ms: recording.durationMs,
    url: `/api/v1/call-records/${record.id}/recording`,
  };
}

type Masks = {
  text(value: string | null): string | null;
  number(value: string | null): string | null;
  object(value: object): object;
};

const NO_MASKS: Masks = {
  text: (value) => value,
  number: (value) => value,
  object: (value) => value,
};

const MASKS: Masks = {
  text: (value) => (value === null ? null : maskText(value)),
  number: (value) => (value === null ? null : maskNumber(value)),
  object: (value) => maskDeep(value) as object,
};

function masksFor(role: Role): Masks {
  return role === 'viewer' ? MASKS : NO_MASKS;
}
