/**
 * What the caller's voice over the agent's means: "I am listening", "stop", or nothing yet (design.md 4.5). Pure, and
 * cheap enough to be asked about every partial.
 */
import {
  bareWords,
  isListening,
  isListeningSoFar,
  isNothing,
  isStopping,
} from './turn-words-backchannels.ts';

export type InterruptionFacts = {
  /** What was read of the caller's words since he began; empty: nothing yet, or nothing at all. */
  readonly text: string;
  /** What was said has been read whole: `text` does not change any more. */
  readonly isFinal: boolean;
  /** How long he has been speaking over the agent; the whole length once he has stopped. */
  readonly speechMs: number;
  /** How long the agent had been heard in this utterance when the caller began. */
  readonly agentSpokeMs: number;
  /** What the agent has said in this utterance so far, as heard; null: nothing. */
  readonly lastAgentText: string | null;
  /** A question ended around the moment at which the caller began (`asksAround`). */
  readonly asks?: boolean;
  /** 0: only plain words interrupt; 1: any speech does. */
  readonly sensitivity: number;
  /** Speech this long is an interruption; a recogniser gets time to read it first. */
  readonly confirmMs: number;
  /** Whether the recogniser gives text; if not, only the length of speech decides. */
  readonly reads: boolean;
};

/** `wait`: not known yet, ask again with more; `backchannel`: the agent may go on; `interrupt`: the caller has the floor. */
export type InterruptionVerdict = 'backchannel' | 'wait' | 'interrupt';

/** In the first moments a backchannel answers what was said before: then it never stops the agent. */
export const PROTECTED_MS = 1000;
/** From here on a backchannel is speech like any other. */
const ANY_SPEECH = 0.9;
/** What a recogniser needs to read the first words, at a sensitivity of 0; at 1 nobody waits for it. */
const READING_MS = 3000;
/** Backchannels as words so far, and still speaking: after this much more, something else is being said. */
const GOES_ON_MS = 700;
/** An echo is of the agent's last words, so many characters. */
const ECHO_TAIL = 80;
/** Pairs of words in common that are no coincidence, and their share of all that was heard. */
const ECHO_PAIRS = 2;
const ECHO_SHARE = 0.6;

/** True when `text` is nothing but backchannels in Chinese or English. Punctuation and case do not count. */
export function isBackchannel(text: string): boolean {
  return isListening(bareWords(text));
}

/** True when `text` begins with words that ask the agent to stop: 等等, 不是, "hold on", "okay wait". */
export function isInterruptionWord(text: string): boolean {
  return isStopping(bareWords(text));
}

export function judgeInterruption(facts: InterruptionFacts): InterruptionVerdict {
  const bare = bareWords(facts.text);
  if (bare === '') return judgeSound(facts);
  if (isListening(bare)) return judgeListening(facts);
  if (isStopping(bare)) return 'interrupt';
  if (facts.sensitivity < ANY_SPEECH) {
    if (isNothing(bare)) return judgeSound(facts);
    if (isEcho(bare, facts)) return facts.isFinal ? 'backchannel' : 'wait';
    if (!facts.isFinal && isListeningSoFar(bare)) return judgeListening(facts);
  }
  const isEnough = weightOf(bare) >= weightNeeded(facts.sensitivity);
  if (isEnough || facts.speechMs >= soundLimitMs(facts)) return 'interrupt';
  if (!facts.isFinal) return 'wait';
  // One short word, read whole: at a low sensitivity it may have been anything.
  return facts.sensitivity < 0.25 ? 'backchannel' : 'interrupt';
}

/** Nothing was read: noise, or too early. */
function judgeSound(facts: InterruptionFacts): InterruptionVerdict {
  if (facts.reads && facts.isFinal) return 'backchannel';
  if (facts.speechMs >= soundLimitMs(facts)) return 'interrupt';
  return facts.isFinal ? 'backchannel' : 'wait';
}

function judgeListening(facts: InterruptionFacts): InterruptionVerdict {
  const { isFinal, agentSpokeMs, sensitivity, speechMs, lastAgentText } = facts;
  const isProtected = agentSpokeMs < PROTECTED_MS;
  const isAnswer = facts.asks === true || endsInQuestion(lastAgentText);
  if (!isProtected && (sensitivity >= ANY_SPEECH || isAnswer)) return 'interrupt';
  if (isFinal) return 'backchannel';
  return !isProtected && speechMs >= soundLimitMs(facts) + GOES_ON_MS ? 'interrupt' : 'wait';
}

/**
 * Speech of this length interrupts though nothing was read of it: when to ask again. Infinity: only words do (a
 * sensitivity of 0, and a recogniser that reads).
 */
export function soundLimitMs({
  sensitivity,
  confirmMs,
  reads,
}: Pick<InterruptionFacts, 'sensitivity' | 'confirmMs' | 'reads'>): number {
  if (!reads) return confirmMs * (1.5 - sensitivity);
  if (sensitivity <= 0) return Number.POSITIVE_INFINITY;
  return Math.max(confirmMs * (1.5 - sensitivity), READING_MS * (1 - sensitivity));
}

/** In words: two Chinese characters, or one English word. */
function weightOf(bare: string): number {
  let weight = 0;
  for (const word of bare.split(' ')) {
    const characters = word.match(/\p{Script=Han}/gu)?.length ?? 0;
    weight += characters > 0 ? characters / 2 : 1;
  }
  return weight;
}

function weightNeeded(sensitivity: number): number {
  return 3.5 - sensitivity * 3;
}

/** How long after a question an answer begins, though the agent has gone on; and how long before its end. */
export const ANSWER_MS = { after: 700, before: 300 } as const;

/** Whether a question ends in what `soon` has more than `before`: heard to ANSWER_MS after and before the moment. */
export function asksAround(before: string, soon: string): boolean {
  return /[?？吗]/u.test(soon.slice(before.length));
}

/** A question that has just been heard makes of "yes" an answer. */
function endsInQuestion(text: string | null): boolean {
  return text !== null && /(?:[?？]|[吗呢么])\s*$/u.test(text);
}

/**
 * The agent hears itself: pairs of characters or words that it has just said itself. A recogniser misreads an echo here
 * and there; while it still reads, one pair makes it suspicious.
 */
function isEcho(bare: string, { lastAgentText, isFinal }: InterruptionFacts): boolean {
  if (lastAgentText === null) return false;
  const tail = bareWords(lastAgentText.slice(-ECHO_TAIL));
  const said = pairsOf(tail);
  const heard = [...pairsOf(bare)];
  if (heard.length === 0) return !isFinal && tail.includes(bare);
  const known = heard.filter((pair) => said.has(pair)).length;
  return known >= (isFinal ? ECHO_PAIRS : 1) && known / heard.length >= ECHO_SHARE;
}

/** Of Chinese characters, of English words. */
function pairsOf(bare: string): Set<string> {
  const units = bare.match(/\p{Script=Han}|[^\s\p{Script=Han}]+/gu) ?? [];
  return new Set(units.slice(1).map((unit, index) => `${units[index]} ${unit}`));
}
