/** One call for every family (contract 2.0): found, ended and read in one place; each family only renames. */
import type { Role } from '#lib/actor.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';
import {
  conversationStatusOf,
  isLiveStatus,
  type Conversation,
  type LiveCallView,
} from '#sessions/call-service-types.ts';
import { maySee, type Caller } from './auth.ts';
import type { PhoneCall } from './phone-call-schemas.ts';
import { Problem } from './problem.ts';
import { findRecord, fromNode, type RecordSource } from './record-source.ts';

/** What a live call (`LiveCallView`) and its record (`RecordDetail`) both tell. */
export type CallFacts = Pick<
  RecordDetail,
  | 'id'
  | 'agentId'
  | 'agentName'
  | 'direction'
  | 'channel'
  | 'status'
  | 'outcome'
  | 'hangupReason'
  | 'endedBy'
  | 'callerPhone'
  | 'fromNumber'
  | 'toNumber'
  | 'startTime'
  | 'answerTime'
  | 'endTime'
  | 'durationSeconds'
  | 'recordingStatus'
  | 'trunkId'
  | 'customerId'
  | 'campaignId'
  | 'squadId'
  | 'quality'
  | 'latency'
  | 'variables'
  | 'metadata'
> & {
  /** Of records alone. */
  readonly source?: 'api' | 'core';
  readonly cost?: RecordDetail['cost'];
};

/** The owner of a call knows it best, so it is asked before the database. Errors: NOT_FOUND, NODE_TIMEOUT. */
export async function findCall(source: RecordSource, caller: Caller, id: Id): Promise<CallFacts> {
  return (await liveCall(source, caller, id)) ?? (await findRecord(source, caller, id));
}

/** Null when the call service does not know the call. Errors: NOT_FOUND for another agent's, NODE_TIMEOUT. */
export async function liveCall(
  source: RecordSource,
  caller: Caller,
  id: Id,
): Promise<LiveCallView | null> {
  const call = await fromNode(source, source.calls.get(caller.accountId, id));
  if (call !== null && !maySee(caller, call.agentId)) throw new Problem('NOT_FOUND');
  return call;
}

/** Calls that are not over and that the caller may see, oldest first. Errors: NODE_TIMEOUT. */
export async function liveCalls(source: RecordSource, caller: Caller): Promise<LiveCallView[]> {
  const calls = await fromNode(source, source.calls.live(caller.accountId));
  return calls.filter((call) => maySee(caller, call.agentId));
}

/** Ends a call; one that is over stays as it is. Errors: NOT_FOUND, INVALID_STATE, NODE_TIMEOUT. */
export async function endCall(
  source: RecordSource,
  caller: Caller,
  id: Id,
  reason: string | null,
): Promise<CallFacts> {
  const before = await findCall(source, caller, id);
  if (!isLiveStatus(before.status)) return before;
  const how = { reason, by: 'api' } as const;
  const call = await fromNode(source, source.calls.hangup(caller.accountId, id, how));
  if (call !== null) return call;
  // Neither a client's own record nor a conversation in writing has a call behind it; another one has lost its owner.
  const hasNone = before.source === 'api' || before.channel === 'text';
  throw new Problem(hasNone ? 'INVALID_STATE' : 'NODE_TIMEOUT');
}

/** What was said; complete to the last second while the call is live. Errors: NOT_FOUND, NODE_TIMEOUT. */
export async function conversationOf(
  source: RecordSource,
  caller: Caller,
  id: Id,
): Promise<Conversation> {
  const call = await liveCall(source, caller, id);
  if (call !== null) {
    const conversation = await fromNode(source, source.calls.conversation(caller.accountId, id));
    if (conversation !== null) return conversation;
  }
  const record = await findRecord(source, caller, id);
  return {
    status: conversationStatusOf(record.status, record.outcome),
    messages: record.messages,
  };
}

export function remoteNumberOf(
  call: Pick<CallFacts, 'callerPhone' | 'direction' | 'fromNumber' | 'toNumber'>,
): string | null {
  return call.callerPhone ?? (call.direction === 'outbound' ? call.toNumber : call.fromNumber);
}

/** The call as `/v1` shows it, masked for viewers (contract 2.4, 7.3). */
export function phoneCallView(call: CallFacts, role: Role): PhoneCall {
  const isMasked = role === 'viewer';
  const number = (value: string | null): string | null =>
    isMasked && value !== null ? maskNumber(value) : value;
  const object = (value: object): object => (isMasked ? (maskDeep(value) as object) : value);
  const isLive = isLiveStatus(call.status);
  const isReady = call.recordingStatus === 'ready' && !isLive;
  return {
    id: call.id,
    direction: call.direction,
    channel: call.channel,
    status: call.status,
    from: number(call.fromNumber),
    to: number(call.toNumber),
    assistant_id: call.agentId,
    assistant_name: call.agentName,
    squad_id: call.squadId,
    customer_id: isMasked && call.customerId !== null ? maskText(call.customerId) : call.customerId,
    campaign_id: call.campaignId,
    trunk_id: call.trunkId,
    started_at: call.startTime,
    answered_at: call.answerTime,
    ended_at: call.endTime,
    duration_seconds: isLive ? null : call.durationSeconds,
    hangup_reason: call.hangupReason,
    outcome: call.outcome,
    ended_by: call.endedBy,
    recording_enabled: call.recordingStatus !== 'none',
    recording_url: isReady ? `/api/v1/call-records/${call.id}/recording` : null,
    cost: call.cost ?? null,
    variables: object(call.variables),
    metadata: object(call.metadata),
    quality: call.quality,
    latency: call.latency,
  };
}
