/** One thing the agent says: its text, its word marks, how much was queued and what of it was heard. */
import { SAMPLE_RATE_HZ } from '#media/types.ts';
import { heardText } from '#providers/heard-text.ts';
import { joinPieces } from '#providers/speakable.ts';
import type { TurnTimes } from './latency.ts';
import type { WordMark } from '#providers/contract.ts';

export class Utterance {
  readonly number: number;
  /** The stopwatch from the caller's last word to this utterance's first packet. */
  readonly times: TurnTimes;
  readonly abort = new AbortController();
  /** Call time (ms) at which its first sample was sent; null before. */
  startedAtMs: number | null = null;
  /** End of caller speech to first sample on the wire, ms; null for what nobody asked for (greeting, prompts). */
  latencyMs: number | null = null;
  /** Call time (ms) since which it stands still; null while it plays. */
  pausedAtMs: number | null = null;
  /** Call time (ms) at which the caller began to speak over it; null if nobody did, or it was resumed. */
  interruptedSinceMs: number | null = null;
  /** Making it failed half-way: the end of `text` has no audio. */
  isTorn = false;
  /** All parts are queued: `text` and `audioMs` are final. */
  isQueued = false;
  isTold = false;
  #text = '';
  #samples = 0;
  readonly #marks: WordMark[] = [];

  constructor(number: number, times: TurnTimes) {
    this.number = number;
    this.times = times;
  }

  /** What is being said; of a torn utterance only what has audio. */
  get text(): string {
    return this.isTorn ? this.heard(this.audioMs) : this.#text;
  }

  get audioMs(): number {
    return Math.round((this.#samples * 1000) / SAMPLE_RATE_HZ);
  }

  /** Adds a piece of text whose audio follows; marks given to `addAudio` then count from this piece's start. */
  addPiece(text: string): PieceBase {
    this.#text = joinPieces([this.#text, text].filter((piece) => piece !== ''));
    return { chars: this.#text.length - text.length, ms: (this.#samples * 1000) / SAMPLE_RATE_HZ };
  }

  addAudio(base: PieceBase, samples: number, marks: readonly WordMark[]): void {
    this.#samples += samples;
    for (const mark of marks)
      this.#marks.push({ chars: base.chars + mark.chars, ms: base.ms + mark.ms });
  }

  /** What of the text the caller has heard after `heardMs` of audio: per character in Chinese, per word in English. */
  heard(heardMs: number): string {
    if (this.isQueued && !this.isTorn && heardMs >= this.audioMs) return this.#text;
    return heardText({ text: this.#text, marks: this.#marks, heardMs, totalMs: this.audioMs });
  }
}

/** Where a piece begins within its utterance. */
export type PieceBase = { readonly chars: number; readonly ms: number };
