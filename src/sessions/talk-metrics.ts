/** Who talked how much, how long and how fast, from the messages of a call. */
import type { Message } from '#lib/call-events.ts';
import { isKeys, isSpoken, sideOf } from './transcript.ts';

export type TalkMetrics = {
  /** Share of the talking that was ours, 0..1. */
  readonly talkRatio: number;
  /** How often the caller cut us short. */
  readonly interruptions: number;
  readonly longestMonologueSeconds: number;
  /** From the caller's last word to our first; null when no message tells it. */
  readonly avgLatencyMs: number | null;
};

/** Where a message has no times: about as fast as people and voices speak. */
const HAN_MS = 240;
const OTHER_MS = 65;

export function talkMetrics(messages: readonly Message[]): TalkMetrics {
  const spoken = messages.filter((message) => isSpoken(message) && !isKeys(message.content));
  const ours = spoken.filter((message) => sideOf(message) !== 'caller');
  const total = sum(spoken.map(durationMs));
  const latencies = ours.flatMap(({ latency_ms: ms }) => (ms === undefined ? [] : [ms]));
  return {
    talkRatio: total === 0 ? 0 : round(sum(ours.map(durationMs)) / total, 2),
    interruptions: ours.filter(({ interrupted }) => interrupted === true).length,
    longestMonologueSeconds: round(longestMonologueMs(spoken) / 1000, 1),
    avgLatencyMs: latencies.length === 0 ? null : Math.round(sum(latencies) / latencies.length),
  };
}

/** Talking of one side without a word of the other in between. */
function longestMonologueMs(spoken: readonly Message[]): number {
  let longest = 0;
  let current = 0;
  let isCaller: boolean | null = null;
  for (const message of spoken) {
    const isSame = isCaller === (message.role === 'user');
    current = (isSame ? current : 0) + durationMs(message);
    isCaller = message.role === 'user';
    longest = Math.max(longest, current);
  }
  return longest;
}

function durationMs({ start_ms: startMs, end_ms: endMs, content }: Message): number {
  if (startMs !== undefined && endMs !== undefined && endMs >= startMs) return endMs - startMs;
  const han = content.match(/\p{Script=Han}/gu)?.length ?? 0;
  return han * HAN_MS + (content.length - han) * OTHER_MS;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
