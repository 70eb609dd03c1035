/** What the caller says, from the detector's word to the transcript; and what of it nobody has answered yet. */
import type { SttEvent, TurnInput, UtteranceAudio } from '#providers/contract.ts';
import { Hearing, type HeardUtterance } from './hearing.ts';
import type { CallStory } from './story.ts';

export class CallerWords {
  readonly #story: CallStory;
  readonly #hearing = new Hearing();
  #beganMs = 0;

  constructor(story: CallStory) {
    this.#story = story;
  }

  get averageConfidence(): number | null {
    return this.#hearing.averageConfidence;
  }

  /** The detector heard speech begin. */
  began(startMs: number): void {
    this.#beganMs = Math.round(startMs);
  }

  /** What the recogniser takes it for so far: clients are told, nobody keeps it. */
  partial(text: string, atMs: number): void {
    const times = { startMs: this.#beganMs, endMs: Math.max(this.#beganMs, Math.round(atMs)) };
    if (text !== '') this.#story.heardSoFar(text, times);
  }

  /** Written instead of spoken. */
  written(text: string, atMs: number): void {
    const times = { startMs: Math.round(atMs), endMs: Math.round(atMs) };
    const heard = { ...times, text, confidence: null, audio: () => null };
    this.#tell(heard, null);
    this.#hearing.keep(heard);
  }

  /** The detector heard an utterance end; `audio` is called only if someone wants the sound. */
  stopped(startMs: number, endMs: number, audio: () => UtteranceAudio): void {
    this.#hearing.stopped(startMs, endMs, audio);
  }

  /** The recogniser's word; `isNoise`: not worth telling. False when it comes too late for its utterance. */
  read(final: Extract<SttEvent, { type: 'final' }>, isNoise: boolean): boolean {
    const heard = this.#hearing.read(final);
    if (heard === null) return false;
    if (isNoise) return true;
    this.#tell(heard, final.language);
    this.#hearing.keep(heard);
    return true;
  }

  /** Everything said since the last reply, as one input. */
  takeInput(): TurnInput {
    return this.#hearing.takeInput();
  }

  /** Speech that no recogniser has read is in the transcript all the same, without words. */
  giveUp(): void {
    for (const unread of this.#hearing.giveUp()) this.#tell(unread, null);
  }

  #tell({ startMs, endMs, text, confidence }: HeardUtterance, language: string | null): void {
    const times = { start_ms: startMs, end_ms: endMs };
    this.#story.fact('user-speech', { text, is_final: true, ...times, confidence, language });
    const sure = confidence === null ? {} : { confidence };
    this.#story.message({ role: 'user', content: text, ...times, ...sure }, startMs);
  }
}
