/** Journal entries of made-up calls, for the store's tests. */
import type {
  CallEvent,
  EventData,
  EventType,
  CallEntry,
  RecordingPatch,
  RecordPatch,
} from '#lib/call-events.ts';
import { newId, type Id } from '#lib/ids.ts';

export type CallScript = {
  readonly id: Id;
  readonly accountId: Id;
  readonly agentId: Id;
  /** The next entry of this call; time moves on by 100 ms each. */
  entry<T extends EventType>(
    type: T,
    data: EventData[T],
    record?: RecordPatch | null,
    recording?: RecordingPatch | null,
  ): CallEntry;
  initiated(patch?: RecordPatch): CallEntry;
  answered(): CallEntry;
  says(role: 'user' | 'assistant', content: string): CallEntry;
  ended(): CallEntry;
};

export function scriptCall(
  accountId: Id,
  agentId: Id,
  startMs = Date.UTC(2026, 10, 8, 10),
): CallScript {
  const id = newId();
  let seq = 0;
  const timeNow = (): string => new Date(startMs + seq * 100).toISOString();
  const entry: CallScript['entry'] = (type, data, record = null, recording = null) => {
    seq++;
    const event: CallEvent = {
      ...{ id: newId(), type, time: timeNow(), account_id: accountId, call_id: id, seq },
      ...{ node: 'node-1', request_id: null, data },
    };
    return { event, record, recording };
  };
  return {
    id,
    accountId,
    agentId,
    entry,
    initiated: (patch = {}) =>
      entry(
        'call.initiated',
        {
          ...{
            direction: 'inbound',
            channel: 'phone',
            from: '+15550100',
            to: '1001',
            agent_id: agentId,
          },
          ...{ trunk_id: null, customer_id: null, campaign_id: null },
        },
        {
          ...{
            agent_id: agentId,
            start_time: new Date(startMs).toISOString(),
            direction: 'inbound',
          },
          ...{
            channel: 'phone',
            status: 'dialing',
            caller_phone: '+15550100',
            node: 'node-1',
            ...patch,
          },
        },
      ),
    answered: () =>
      entry(
        'call.answered',
        { answered_at: timeNow(), setup_ms: 12, codec: 'PCMA' },
        { status: 'answered', answer_time: timeNow() },
      ),
    says: (role, content) =>
      entry('conversation.message', {
        message: { role, content, timestamp: Math.round((startMs + seq * 100) / 100) / 10 },
      }),
    ended: () =>
      entry(
        'call.ended',
        {
          ...{ duration: 1, hangup_reason: 'user', outcome: 'completed', ended_by: 'caller' },
          ...{ recording_status: 'none', cost: null, quality: null, latency: null },
        },
        {
          ...{ status: 'ended', end_time: timeNow(), duration_seconds: 1, hangup_reason: 'user' },
          ...{ outcome: 'completed', ended_by: 'caller', metadata: { total_tokens: 0 } },
        },
      ),
  };
}
