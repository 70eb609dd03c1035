/** What the caller has said and nobody has answered yet: utterances waiting to be read, and the input of the next turn. */
import type { SttEvent, TurnInput, UtteranceAudio } from '#providers/contract.ts';
import { joinPieces } from '#providers/speakable.ts';

type Final = Extract<SttEvent, { type: 'final' }>;

/** One utterance of the caller, read (`text`) or not (empty). Times are call time in whole ms. */
export type HeardUtterance = {
  readonly startMs: number;
  readonly endMs: number;
  readonly text: string;
  readonly confidence: number | null;
  readonly audio: () => UtteranceAudio | null;
};

/** More than this unread means that the recogniser is gone; the oldest are given up. */
const MAX_UNREAD = 16;

export class Hearing {
  readonly #unread: Omit<HeardUtterance, 'text' | 'confidence'>[] = [];
  #unanswered: HeardUtterance[] = [];
  /** What the latest input was made of. */
  #taken: HeardUtterance[] = [];
  #confidenceSum = 0;
  #confidenceCount = 0;

  /** Mean of what recognisers said of themselves, 0..1; null when none did. */
  get averageConfidence(): number | null {
    return this.#confidenceCount === 0 ? null : this.#confidenceSum / this.#confidenceCount;
  }

  /** The detector heard an utterance end; `audio` is called only if someone wants the sound. */
  stopped(startMs: number, endMs: number, audio: () => UtteranceAudio): void {
    if (this.#unread.length >= MAX_UNREAD) this.#unread.shift();
    this.#unread.push({ startMs: Math.round(startMs), endMs: Math.round(endMs), audio });
  }

  /** Nobody waits for the recogniser any more: what it never read, as utterances without words. */
  giveUp(): HeardUtterance[] {
    const given = this.#unread.splice(0);
    return given.map((utterance) => ({ ...utterance, text: '', confidence: null }));
  }

  /**
   * The recogniser's word for the oldest unread utterance; its own times win where it gives them. Null for a word that
   * comes too late: its utterance was given up, and the transcript has it without words.
   */
  read(final: Final): HeardUtterance | null {
    const oldest = this.#unread[0];
    if (oldest === undefined) return null;
    if (final.endMs !== null && final.endMs <= oldest.startMs) return null;
    const detected = this.#unread.shift();
    if (final.confidence !== null) {
      this.#confidenceSum += final.confidence;
      this.#confidenceCount++;
    }
    const startMs = Math.round(final.startMs ?? detected?.startMs ?? 0);
    const endMs = Math.max(startMs, Math.round(final.endMs ?? detected?.endMs ?? 0));
    const { text, confidence } = final;
    return { startMs, endMs, text, confidence, audio: detected?.audio ?? (() => null) };
  }

  /** Part of the next turn's input. */
  keep(utterance: HeardUtterance): void {
    this.#unanswered.push(utterance);
  }

  /** The words of everything said since the last reply. */
  get unanswered(): string {
    return joinPieces(this.#unanswered.map(({ text }) => text).filter((text) => text !== ''));
  }

  /** Everything said since the last reply, as one input; the audio is that of the last utterance. */
  takeInput(): TurnInput {
    const text = this.unanswered;
    const audio = this.#unanswered.at(-1)?.audio() ?? null;
    this.#taken = this.#unanswered.splice(0);
    return { kind: 'speech', text, audio };
  }

  /** Nothing of the answer to the latest input was heard: it is part of the next one. Idempotent. */
  giveBack(): void {
    this.#unanswered.unshift(...this.#taken.splice(0));
  }
}
