/** Records and live calls as the console shows them (contract 2.6), masked for viewers (7.3). */
import type { Role } from '#lib/actor.ts';
import type { CallStatus } from '#lib/call-events.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import { maskNumber, maskText } from '#lib/mask.ts';
import type { LiveCallView } from '#sessions/call-service-types.ts';
import type { ConsoleCall, ConsoleRecord } from './console-schemas.ts';

/** What the console shows of a call, live (`LiveCallView`) or from its record (`RecordDetail`). */
export type ConsoleCallFacts = Pick<
  LiveCallView,
  | 'id'
  | 'agentId'
  | 'agentName'
  | 'direction'
  | 'status'
  | 'outcome'
  | 'hangupReason'
  | 'callerPhone'
  | 'fromNumber'
  | 'toNumber'
  | 'startTime'
  | 'answerTime'
  | 'endTime'
  | 'customerId'
> & { readonly durationSeconds: number | null };

export type ConsoleRecordFacts = ConsoleCallFacts &
  Pick<RecordDetail, 'callerName' | 'summary' | 'recordingStatus'>;

/** Whose eyes it is for, and when now is: the duration of a live call counts on. */
export type ConsoleViewer = { readonly role: Role; readonly nowMs: number };

export function consoleCallOf(call: ConsoleCallFacts, viewer: ConsoleViewer): ConsoleCall {
  const isMasked = viewer.role === 'viewer';
  const number = consoleNumberOf(call);
  return {
    callId: call.id,
    phoneNumber: isMasked ? maskNumber(number) : number,
    direction: call.direction,
    status: consoleStatusOf(call.status),
    customerId: isMasked && call.customerId !== null ? maskText(call.customerId) : call.customerId,
    agentId: call.agentId,
    agentName: call.agentName,
    startTime: call.startTime,
    answerTime: call.answerTime,
    endTime: call.endTime,
    duration: durationOf(call, viewer.nowMs),
    hangupReason: call.hangupReason,
    outcome: call.outcome,
  };
}

export function consoleRecordOf(record: ConsoleRecordFacts, viewer: ConsoleViewer): ConsoleRecord {
  const text = (value: string | null): string | null =>
    viewer.role === 'viewer' && value !== null ? maskText(value) : value;
  const hasRecording = record.recordingStatus === 'ready';
  return {
    ...consoleCallOf(record, viewer),
    id: record.id,
    customerName: text(record.callerName),
    hasRecording,
    recordingUrl: hasRecording ? `/api/call-center/recordings/${record.id}/download` : null,
    summary: text(record.summary),
  };
}

/** The status in the console's words (contract 2.0). */
export function consoleStatusOf(status: CallStatus): ConsoleCall['status'] {
  return status === 'queued' || status === 'dialing' ? 'connecting' : status;
}

/** The remote party; empty when it hid its number. */
function consoleNumberOf(call: ConsoleCallFacts): string {
  return (
    call.callerPhone ?? (call.direction === 'outbound' ? call.toNumber : call.fromNumber) ?? ''
  );
}

function durationOf(call: ConsoleCallFacts, nowMs: number): number {
  if (call.durationSeconds !== null) return call.durationSeconds;
  if (call.answerTime === null) return 0;
  const endMs = call.endTime === null ? nowMs : Date.parse(call.endTime);
  return Math.max(0, Math.round((endMs - Date.parse(call.answerTime)) / 1000));
}
