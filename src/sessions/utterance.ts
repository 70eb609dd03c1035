/** One thing the agent says: its text, its word marks, how much was queued and what of it was heard. */
import { SAMPLE_RATE_HZ } from '#media/types.ts';
import { heardText } from '#providers/heard-text.ts';
import { speechWeight } from '#providers/marks.ts';
import { joinPieces } from '#providers/speakable.ts';
import type { TurnTimes } from './latency.ts';
import type { SpeechFrames } from './speech-frames.ts';
import type { WordMark } from '#providers/contract.ts';

/** Of a unit of `speechWeight`: nobody speaks much faster. */
const PACE_MS = 100;

export class Utterance {
  /** Its turn: unique, not always rising, because what waits for the floor has its number already. */
  readonly number: number;
  /** Its number in the media plane, in the order of playing. */
  readonly sound: number;
  /** The stopwatch from the caller's last word to this utterance's first packet. */
  readonly times: TurnTimes;
  readonly abort = new AbortController();
  /** Call time (ms) at which its first sample was sent; null before. */
  startedAtMs: number | null = null;
  /** End of caller speech to first sample on the wire, ms; null for what nobody asked for (greeting, prompts). */
  latencyMs: number | null = null;
  /** Its first sample that is no filler's; null: there is nothing but fillers yet. */
  answerFrom: number | null = 0;
  /** Call time (ms) since which it stands still; null while it plays. */
  pausedAtMs: number | null = null;
  /** Call time (ms) at which the caller began to speak over it; null if nobody did, or it was resumed. */
  interruptedSinceMs: number | null = null;
  /** Making it failed half-way: the end of `text` has no audio. */
  isTorn = false;
  /** All parts are queued: `text` and `audioMs` are final. */
  isQueued = false;
  isTold = false;
  /** Sound that is played as it is, not speech. */
  isSound = false;
  /** Of sound: played over and over; false: it ends with this round. */
  repeats = false;
  /** Tells clients of it; null: nobody is told. */
  frames: SpeechFrames | null = null;
  #text = '';
  #samples = 0;
  readonly #marks: WordMark[] = [];

  constructor(number: number, sound: number, times: TurnTimes) {
    this.number = number;
    this.sound = sound;
    this.times = times;
  }

  /** Nothing is missing from it. */
  get isWhole(): boolean {
    return this.isQueued && !this.isTorn;
  }

  /** What is being said; of a torn utterance only what has audio. */
  get text(): string {
    return this.isTorn ? this.heard(this.audioMs) : this.#text.trimEnd();
  }

  /** Of its sound so far. */
  get samples(): number {
    return this.#samples;
  }

  get audioMs(): number {
    return Math.round((this.#samples * 1000) / SAMPLE_RATE_HZ);
  }

  /** Adds a piece of text whose audio follows; marks given to `addAudio` then count from this piece's start. */
  addPiece(text: string): PieceBase {
    this.frames?.piece(this, text);
    this.#text = joinPieces([this.#text, text].filter((piece) => piece !== ''));
    return { chars: this.#text.length - text.length, ms: (this.#samples * 1000) / SAMPLE_RATE_HZ };
  }

  /**
   * More of the text as a realtime model tells it, with its own spaces; its sound comes beside it. `isNew`: the first words
   * of a reply. Returns where in the text they begin.
   */
  append(text: string, isNew: boolean): number {
    const isFirst = this.#text === '';
    const words = isNew || isFirst ? text.trimStart() : text;
    this.frames?.piece(this, words);
    this.#text = isNew && !isFirst ? joinPieces([this.#text.trimEnd(), words]) : this.#text + words;
    return this.#text.length - words.length;
  }

  /** All sound of the piece has been added. */
  endPiece(): void {
    this.frames?.pieceEnd(this, this.#samples);
  }

  /** What is added next is a filler. */
  beginFiller(): void {
    if (this.#samples === 0) this.answerFrom = null;
  }

  /** What is added from here on is the answer. Idempotent. */
  beginAnswer(): void {
    this.answerFrom ??= this.#samples;
  }

  addAudio(base: PieceBase, samples: number, marks: readonly WordMark[]): void {
    this.#samples += samples;
    for (const mark of marks)
      this.#marks.push({ chars: base.chars + mark.chars, ms: base.ms + mark.ms });
  }

  /** What of the text the caller has heard after `heardMs` of audio: per character in Chinese, per word in English. */
  heard(heardMs: number): string {
    if (this.isWhole && heardMs >= this.audioMs) return this.#text.trimEnd();
    const text = this.#text;
    const marks = this.#marks;
    // Without marks the text is told by its share of the sound, of which some may be to come, or was never made.
    const isGuessed = marks.length === 0 && !this.isWhole;
    const atLeastMs = isGuessed ? speechWeight(text) * PACE_MS : 0;
    return heardText({ text, marks, heardMs, totalMs: Math.max(this.audioMs, atLeastMs) });
  }
}

/** Where a piece begins within its utterance. */
export type PieceBase = { readonly chars: number; readonly ms: number };
