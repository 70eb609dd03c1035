/** After a crash: closes the calls that the journal shows as live, and mends the recordings they left open. */
import type { CallEvent, CallEntry, RecordingPatch } from '#lib/call-events.ts';
import { systemClock, type Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { LiveCall } from './live-calls.ts';

/** What could be saved of a recording; null when nothing could. */
export type RepairRecording = (
  recording: RecordingPatch,
  accountId: Id,
) => Promise<{
  readonly durationMs: number;
  readonly bytes: number;
  /** Of a sealed file, hex. */
  readonly sha256?: string;
} | null>;

export type RecoverOptions = {
  readonly journal: { liveCalls(): LiveCall[]; append(entry: CallEntry): void };
  /** This node's name, for the events. */
  readonly node: string;
  readonly repair: RepairRecording;
  readonly log: Log;
  readonly clock?: Clock;
};

export type Recovered = {
  /** Calls that got their final event now. */
  readonly calls: readonly Id[];
  readonly recordings: readonly RecordingPatch[];
};

/** As a call itself says it when it ends in the middle of a tool. */
const UNKNOWN_OUTCOME = JSON.stringify({
  error: 'unknown outcome: the server stopped before the answer',
});
const REPAIR_TIMEOUT_MS = 30_000;
const MAX_DURATION_S = 86_400;

/** To be run once, before the node takes calls. Appends to the journal; the projection does the rest. */
export async function recoverCalls(options: RecoverOptions): Promise<Recovered> {
  const { journal, log } = options;
  const calls: Id[] = [];
  const recordings: RecordingPatch[] = [];
  for (const call of journal.liveCalls()) {
    if (call.isText) continue; // nobody was cut off: it is gone on with
    // The call's own state moves on with every append: what it was is copied first.
    const found = {
      ...call,
      recordings: [...call.recordings.values()],
      openTools: [...call.openTools],
    };
    const mended: RecordingPatch[] = [];
    for (const recording of found.recordings)
      mended.push(await mend(recording, found.accountId, options));
    recordings.push(...mended);
    for (const entry of closingEntries(found, mended, options)) journal.append(entry);
    if (!found.isOver) calls.push(found.callId);
  }
  if (calls.length > 0 || recordings.length > 0) {
    log.warn('calls.recovered', { calls: calls.length, recordings: recordings.length });
  }
  return { calls, recordings };
}

async function mend(
  recording: RecordingPatch,
  accountId: Id,
  options: RecoverOptions,
): Promise<RecordingPatch> {
  const { repair, log, clock = systemClock } = options;
  try {
    const saved = await withDeadline(
      repair(recording, accountId),
      REPAIR_TIMEOUT_MS,
      'mending a recording',
      clock,
    );
    if (saved !== null) {
      const { durationMs, bytes, sha256 } = saved;
      return {
        ...recording,
        status: 'ready',
        duration_ms: Math.round(durationMs),
        bytes,
        truncated: true,
        ...(sha256 === undefined ? {} : { sha256 }),
      };
    }
  } catch (error) {
    log.error('recording.notMended', { recordingId: recording.id, error });
  }
  return { ...recording, status: 'failed', truncated: true };
}

type Found = Omit<LiveCall, 'recordings'>;

function closingEntries(
  call: Found,
  mended: readonly RecordingPatch[],
  options: RecoverOptions,
): CallEntry[] {
  const last = mended.at(-1);
  let seq = call.lastSeq;
  const time = new Date((options.clock ?? systemClock).wallMs()).toISOString();
  const eventOf = (rest: Pick<CallEvent, 'type' | 'data'>): CallEvent => ({
    id: newId(),
    time,
    account_id: call.accountId,
    call_id: call.callId,
    seq: ++seq,
    node: options.node,
    request_id: null,
    ...rest,
  });
  const entries: CallEntry[] = [];
  if (!call.isOver) {
    entries.push(...call.openTools.map((name) => unknownOutcome(call, name, eventOf)));
    entries.push(finalEntry(call, last?.status ?? 'none', eventOf));
  }
  for (const recording of mended) {
    const record =
      recording.id === last?.id
        ? { recording_status: recording.status, recording_id: recording.id }
        : null;
    const event =
      recording.status === 'ready'
        ? eventOf({
            type: 'recording.ready',
            data: {
              recording_id: recording.id,
              duration_ms: recording.duration_ms ?? 0,
              bytes: recording.bytes ?? 0,
            },
          })
        : eventOf({
            type: 'call-error',
            data: {
              code: 'E_MEDIA',
              message: 'the recording could not be saved after a crash',
              fault: 'us',
              fatal: false,
              retryable: false,
            },
          });
    entries.push({ event, record, recording });
  }
  return entries;
}

/** A tool was begun, and nobody knows whether it was done: nobody may take it for undone. */
function unknownOutcome(
  call: Found,
  name: string,
  eventOf: (rest: Pick<CallEvent, 'type' | 'data'>) => CallEvent,
): CallEntry {
  const timestamp = Date.parse(call.lastAt) / 1_000;
  const message = { role: 'function', name, content: UNKNOWN_OUTCOME, timestamp } as const;
  const event = eventOf({ type: 'conversation.message', data: { message } });
  return { event, record: null, recording: null };
}

function finalEntry(
  call: Found,
  recordingStatus: string,
  eventOf: (rest: Pick<CallEvent, 'type' | 'data'>) => CallEvent,
): CallEntry {
  const wasAnswered = call.answeredAt !== null;
  const duration = wasAnswered ? secondsBetween(call.answeredAt ?? call.lastAt, call.lastAt) : 0;
  const event = wasAnswered
    ? eventOf({
        type: 'call.ended',
        data: {
          ...{ duration, hangup_reason: 'error', outcome: 'node_lost', ended_by: 'system' },
          ...{ recording_status: recordingStatus, cost: call.cost, quality: null, latency: null },
        },
      })
    : eventOf({
        type: 'call.failed',
        data: {
          ...{ outcome: 'node_lost', hangup_reason: 'error', sip_status: null, q850: null },
          error: { code: 'E_INTERNAL', message: 'the node that held the call was lost' },
        },
      });
  return {
    event,
    record: {
      status: wasAnswered ? 'ended' : 'failed',
      end_time: call.lastAt > call.startedAt ? call.lastAt : call.startedAt,
      duration_seconds: duration,
      ...{ hangup_reason: 'error', outcome: 'node_lost', ended_by: 'system' },
    },
    recording: null,
  };
}

function secondsBetween(from: string, to: string): number {
  const seconds = Math.round((Date.parse(to) - Date.parse(from)) / 1_000);
  return Math.min(MAX_DURATION_S, Math.max(0, seconds));
}
