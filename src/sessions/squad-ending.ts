/** When a text conversation is over (contract 2.0, 2.4), and what its final event then says. */
import type { EventData, Outcome, RecordPatch } from '#lib/call-events.ts';
import type { Money } from '#lib/prices.ts';

export type TextOutcome = Extract<
  Outcome,
  'completed' | 'idle' | 'max_duration' | 'provider_error'
>;

/** Contract 2.4: kept so long after its last turn. */
export const IDLE_MS = 30 * 60_000;
/** The longest duration a record can hold. */
export const LONGEST_MS = 86_400_000;

/** When a conversation ends by itself, in unix ms, and how. */
export function expiryOf(
  startedMs: number,
  lastMs: number,
): { atMs: number; outcome: TextOutcome } {
  const idleMs = lastMs + IDLE_MS;
  const longestMs = startedMs + LONGEST_MS;
  return idleMs <= longestMs
    ? { atMs: idleMs, outcome: 'idle' }
    : { atMs: longestMs, outcome: 'max_duration' };
}

/** Final event and columns of a conversation. Times are unix ms; `cost`: of its vendors. */
export function endingFor(
  outcome: TextOutcome,
  startedMs: number,
  endedMs: number,
  cost: Money | null = null,
): { readonly data: EventData['call.ended']; readonly patch: RecordPatch } {
  const lengthMs = Math.min(LONGEST_MS, Math.max(0, endedMs - startedMs));
  const duration = Math.round(lengthMs / 1000);
  const how = {
    ...{ outcome, hangup_reason: REASONS[outcome] },
    ended_by: outcome === 'completed' ? 'agent' : 'system',
  } as const;
  const none = { recording_status: 'none', cost, quality: null, latency: null } as const;
  return {
    data: { duration, ...how, ...none },
    patch: {
      ...{ status: 'ended', ...how, duration_seconds: duration },
      end_time: new Date(startedMs + lengthMs).toISOString(),
    },
  };
}

const REASONS = {
  completed: 'ai',
  idle: 'timeout',
  max_duration: 'timeout',
  provider_error: 'error',
} as const;
