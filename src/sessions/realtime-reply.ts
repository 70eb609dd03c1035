/**
 * One turn of the agent that a realtime model fills: its words and sound, as they come, become an utterance. The sound
 * comes faster than it is heard; what the playout has no room for waits here, and not more of it than is bounded.
 */
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { SAMPLE_RATE_HZ, type MediaSession } from '#media/types.ts';
import { evenMarks } from '#providers/marks.ts';
import type { Utterance } from './utterance.ts';

/** One reply of the model; several make up a turn when it asks for tools in between. */
type Part = {
  /** Null: sound that is none of the model's. */
  readonly generation: number | null;
  text: string;
  samples: number;
  isDone: boolean;
  /** Where in the utterance it begins; null before it has an utterance, or a word. */
  chars: number | null;
  startSample: number;
};

type Step =
  | { readonly kind: 'sound'; readonly pcm: Int16Array }
  /** Its sound is complete. */
  | { readonly kind: 'end' };

export type RealtimeReplyOptions = {
  readonly media: Pick<MediaSession, 'beginUtterance' | 'write' | 'endUtterance'>;
  readonly log: Log;
};

/** A model that has more to say at once than this is cut short. */
const MAX_WAITING_SAMPLES = 120 * SAMPLE_RATE_HZ;
const MS_PER_SAMPLE = 1000 / SAMPLE_RATE_HZ;
const NO_BASE = { chars: 0, ms: 0 };

/** What of the model's replies is not to be heard: the last of them, as far as it was heard. */
export type ReplyCut = { readonly generation: number; readonly heardMs: number };

export class RealtimeReply {
  readonly #options: RealtimeReplyOptions;
  readonly #parts: Part[] = [];
  readonly #steps: Step[] = [];
  #utterance: Utterance | null = null;
  /** Sound that came, and of that, what waits for room. */
  #samples = 0;
  #waiting = 0;
  #isFull = false;
  #hasBegun = false;
  #isOver = false;
  /** Somebody waits for the next step, or for one to be over; null: nobody does. */
  #bell: PromiseWithResolvers<void> | null = null;

  constructor(options: RealtimeReplyOptions) {
    this.#options = options;
  }

  /** Whether the media plane knows of it. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Whether there is anything to be heard of it. */
  get hasSound(): boolean {
    return this.#samples > 0;
  }

  /** Of its sound, heard or not. */
  get soundMs(): number {
    return this.#samples * MS_PER_SAMPLE;
  }

  get hasWords(): boolean {
    return this.#parts.some(({ text }) => text.trim() !== '');
  }

  /** It has the floor: from here on it is played. */
  speak(utterance: Utterance): void {
    this.#utterance = utterance;
    for (const part of this.#parts) this.#show(part, part.text);
    if (this.hasSound) this.#marks();
    void this.#write(utterance);
  }

  // ---- What the model says ----

  begin(generation: number): void {
    this.#newPart(generation);
  }

  text(generation: number, text: string): void {
    const part = this.#part(generation);
    if (part === null || text === '') return;
    part.text += text;
    if (this.#utterance !== null) this.#show(part, text);
  }

  /** False: there is no more room for it. */
  audio(generation: number, pcm: Int16Array): boolean {
    const part = this.#part(generation);
    if (part === null || this.#isFull) return false;
    if (this.#waiting + pcm.length > MAX_WAITING_SAMPLES) {
      this.#isFull = true;
      this.#options.log.warn('realtime.tooLong', { generation });
      return false;
    }
    part.samples += pcm.length;
    this.#put(pcm);
    this.#marks();
    return true;
  }

  done(generation: number): void {
    const part = this.#part(generation);
    if (part === null) return;
    part.isDone = true;
    this.#settle(part);
    this.#step({ kind: 'end' });
  }

  /** Sound that is none of the model's; `title` stands for it in the transcript. */
  sound(pcm: Int16Array, title: string): void {
    if (this.#isOver) return;
    const part = this.#newPart(null);
    part.text = title;
    part.samples = pcm.length;
    part.isDone = true;
    this.#put(pcm);
    this.#step({ kind: 'end' });
    this.#show(part, title);
  }

  /** Nothing more comes. Resolves with true when all of it is in the playout, with false when it was given up. */
  async end(): Promise<boolean> {
    const utterance = this.#utterance;
    while (this.#steps.length > 0 && !this.#isOver) await this.#rung();
    if (this.#isOver || utterance === null) return false;
    this.#isOver = true;
    this.#ring();
    utterance.isTorn = this.#isFull;
    utterance.isQueued = true;
    utterance.frames?.queued(utterance);
    if (this.#hasBegun) this.#options.media.endUtterance(utterance.sound);
    return true;
  }

  /** Given up: nothing more of it is played. */
  giveUp(): void {
    this.#isOver = true;
    this.#steps.length = 0;
    this.#waiting = 0;
    this.#ring();
  }

  /** What the model is to forget when only `heardMs` of the utterance were heard; the transcript gets its marks. */
  cutAt(heardMs: number): readonly ReplyCut[] {
    const cuts: ReplyCut[] = [];
    for (const part of this.#parts) {
      if (!part.isDone) this.#settle(part);
      if (part.generation === null) continue;
      const startMs = part.startSample * MS_PER_SAMPLE;
      const endMs = startMs + part.samples * MS_PER_SAMPLE;
      if (part.isDone && heardMs >= endMs) continue;
      cuts.push({
        generation: part.generation,
        heardMs: Math.max(0, Math.round(heardMs - startMs)),
      });
    }
    return cuts;
  }

  // ---- Inside ----

  #newPart(generation: number | null): Part {
    const empty = { text: '', samples: 0, isDone: false, chars: null };
    const part: Part = { generation, ...empty, startSample: this.#samples };
    this.#parts.push(part);
    return part;
  }

  #part(generation: number): Part | null {
    if (this.#isOver) return null;
    const part = this.#parts.find((each) => each.generation === generation);
    return part === undefined || part.isDone ? null : part;
  }

  #show(part: Part, text: string): void {
    if (text === '' || this.#utterance === null) return;
    const chars = this.#utterance.append(text, part.chars === null);
    part.chars ??= chars;
    if (part.isDone) this.#settle(part);
  }

  /** Marks over its text, by its sound: models tell none. */
  #settle(part: Part): void {
    const utterance = this.#utterance;
    if (utterance === null || part.chars === null) return;
    const base = { chars: part.chars, ms: Math.floor(part.startSample * MS_PER_SAMPLE) };
    const text = part.text.trimStart();
    // However little of a sound is heard, the transcript names it.
    const isNamed = part.generation === null;
    const marks = isNamed ? [{ chars: text.length, ms: 0 }] : evenMarks(text, part.samples);
    utterance.addAudio(base, 0, marks);
  }

  #put(pcm: Int16Array): void {
    this.#samples += pcm.length;
    this.#waiting += pcm.length;
    this.#step({ kind: 'sound', pcm });
  }

  #step(step: Step): void {
    this.#steps.push(step);
    this.#ring();
  }

  /** The first sound of the answer has come. */
  #marks(): void {
    const times = this.#utterance?.times;
    times?.mark('llmFirst');
    times?.mark('pieceReady');
    times?.mark('audioReady');
  }

  /** Never rejects. */
  async #write(utterance: Utterance): Promise<void> {
    const { media, log } = this.#options;
    try {
      while (!this.#isOver) {
        const [step] = this.#steps;
        if (step === undefined) await this.#rung();
        else if (step.kind === 'end') {
          utterance.endPiece();
          this.#next();
        } else {
          if (!this.#hasBegun) media.beginUtterance(utterance.sound);
          this.#hasBegun = true;
          utterance.addAudio(NO_BASE, step.pcm.length, []);
          await media.write(utterance.sound, step.pcm);
          if (!this.#isOver) this.#waiting -= step.pcm.length;
          this.#next();
        }
      }
    } catch (thrown) {
      // Flushed, or the call is over.
      log.debug('realtime.notWritten', { error: toAppError(thrown) });
      this.giveUp();
    }
  }

  #next(): void {
    this.#steps.shift();
    this.#ring();
  }

  #rung(): Promise<void> {
    this.#bell ??= Promise.withResolvers<void>();
    return this.#bell.promise;
  }

  #ring(): void {
    const bell = this.#bell;
    this.#bell = null;
    bell?.resolve();
  }
}
