/**
 * How long the caller's silence must last before the agent takes the floor. Pure: the turn machine asks again whenever
 * one of the facts changes, and waits until the silence is as long as the latest answer.
 */

export type PauseFacts = {
  readonly language: 'zh' | 'en';
  /** Everything the caller has said in this turn so far, finals and the latest partial; empty: nothing was read. */
  readonly text: string;
  /** Whether the recogniser reads at all; if not, only the length of speech tells something. */
  readonly reads: boolean;
  /** All utterances of the turn were read; false: `text` may still change. */
  readonly isFinal: boolean;
  /** Sum of the caller's speech in this turn. */
  readonly speechMs: number;
  /** What the agent said last; null: nothing. A question for a number makes long pauses likely. */
  readonly lastAgentText: string | null;
  /** Of a semantic model, if one is plugged in: how likely the turn is over, 0..1; null: unknown. */
  readonly likelihood: number | null;
};

export type PauseDials = {
  /** Never less, never more than this much silence. */
  readonly minMs: number;
  readonly maxMs: number;
  /** 0: waits long for more words; 1: answers as soon as it may be right. */
  readonly responsiveness: number;
};

/** Judges whether a turn is over by what was said: a plugged-in model. Null: no opinion (too late, failed). */
export type EndOfTurnModel = {
  /** 0..1 within 100 ms; aborting `signal` gives up. */
  likelihood(
    facts: Pick<PauseFacts, 'language' | 'text' | 'lastAgentText'>,
    signal: AbortSignal,
  ): Promise<number | null>;
};

/** Without words to judge by. */
const BLIND_MS = 500;

/** Silence in ms since the last speech, within the dials. */
export function endOfTurnMs(facts: PauseFacts, { minMs, maxMs }: PauseDials): number {
  return Math.min(maxMs, Math.max(minMs, facts.reads ? minMs : BLIND_MS));
}
