/** Plays what was heard of a turn to something that takes the floor, and says when it took it. */
import type { Heard } from './_turn-hearing.ts';
import type { Turn } from './_turn-world.ts';

/**
 * `atMs`: when the floor was taken, with all words read. `decidedMs`: when the silence was long enough for these words;
 * what lies between is the recogniser's time, which the waterfall counts by itself.
 */
export type Taken = { readonly atMs: number; readonly decidedMs: number };

/** Hears one turn. */
export type Taker = {
  hear(event: Heard): void;
  /** Lets time pass; when the floor was taken, or null. */
  until(ms: number): Taken | null;
  stop(): void;
};

export type Outcome = {
  /** The agent would have been heard while the caller had more to say, or was saying it. */
  readonly cut: boolean;
  /** The floor was taken too early, whether or not anything was heard before it was given back. */
  readonly early: boolean;
  /** From the caller's last sound to the decision, and to the floor. */
  readonly delayMs: number;
  readonly floorMs: number;
};

/** Later than this after the last sound, the end was missed. */
export const MISSED_MS = 2000;
const NEVER_MS = 5000;
/** A reply makes no sound sooner than this after the floor was taken: 80 ms for a quick voice, and one frame. */
const FIRST_SOUND_MS = 100;

export function play(turn: Turn, heard: readonly Heard[], taker: Taker): Outcome {
  const endMs = turn.endMs + NEVER_MS;
  let taken: Taken | null = null;
  for (const event of heard) {
    taken = taker.until(event.at);
    if (taken !== null) break;
    taker.hear(event);
  }
  taken ??= taker.until(endMs) ?? { atMs: endMs, decidedMs: endMs };
  taker.stop();
  const delayMs = taken.decidedMs - turn.endMs;
  const { atMs } = taken;
  const early = atMs < turn.endMs;
  // Speech that is detected before the first sound holds the reply back.
  const isHeldBack = heard.some(
    ({ type, at }) => type === 'speech.started' && at >= atMs && at <= atMs + FIRST_SOUND_MS,
  );
  return { cut: early && !isHeldBack, early, delayMs, floorMs: atMs - turn.endMs };
}
