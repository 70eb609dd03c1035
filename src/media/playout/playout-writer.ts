/** The writing side of the playout ring: utterances in order, back-pressure by promises, nothing lost at a flush. */
import { AppError } from '#lib/errors.ts';
import type { SampleRing } from '#lib/sample-ring.ts';
import type { UtteranceMarks } from './utterance-marks.ts';

type Step =
  | { readonly type: 'begin'; readonly utterance: number; readonly gainDb: number }
  | { readonly type: 'end'; readonly utterance: number }
  | {
      readonly type: 'write';
      readonly utterance: number;
      readonly pcm: Int16Array;
      offset: number;
      readonly resolve: () => void;
      readonly reject: (error: AppError) => void;
    };

/** Steps that wait for room. A writer that awaits each write has one or two. */
const MAX_STEPS = 1024;
const WRITTEN = Promise.resolve();

export class PlayoutWriter {
  readonly #ring: SampleRing;
  readonly #marks: UtteranceMarks;
  #steps: Step[] = [];
  /** Utterance that takes samples, as the caller of this object sees it; 0 when none. */
  #open = 0;
  #last = 0;
  #isMarked = false;
  #isClosed = false;
  /** Ring positions at which utterances begin, of those that may still be playing. */
  readonly #starts = new Map<number, number>();

  constructor(ring: SampleRing, marks: UtteranceMarks) {
    this.#ring = ring;
    this.#marks = marks;
  }

  /** Opens utterance `utterance`, ending the one before. Errors: E_INTERNAL when the number does not rise. */
  begin(utterance: number, gainDb = 0): void {
    if (this.#isClosed) return;
    if (utterance <= this.#last) {
      throw new AppError('E_INTERNAL', `utterance ${utterance} after ${this.#last}`);
    }
    if (this.#open > 0) this.end(this.#open);
    this.#open = utterance;
    this.#last = utterance;
    this.#steps.push({ type: 'begin', utterance, gainDb });
    this.pump();
  }

  /** Resolves when all of `pcm` is in the ring. Errors: E_ABORTED, E_QUEUE_FULL. */
  write(utterance: number, pcm: Int16Array): Promise<void> {
    if (this.#isClosed || utterance !== this.#open) {
      return Promise.reject(new AppError('E_ABORTED', `utterance ${utterance} is not open`));
    }
    let offset = 0;
    if (this.#steps.length === 0) {
      // As it nearly always is: there is room for it, and nothing before it waits.
      offset = this.#ring.write(pcm);
      if (offset === pcm.length) return WRITTEN;
    }
    if (this.#steps.length >= MAX_STEPS) {
      return Promise.reject(new AppError('E_QUEUE_FULL', 'too many writes wait for room'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#steps.push({ type: 'write', utterance, pcm, offset, resolve, reject });
    this.pump();
    return promise;
  }

  /** No more audio for `utterance`. Does nothing when it is not the open one. */
  end(utterance: number): void {
    if (this.#isClosed || utterance !== this.#open) return;
    this.#open = 0;
    this.#steps.push({ type: 'end', utterance });
    this.pump();
  }

  /** Writes what there is room for. Call it when the reader tells of room. */
  pump(): void {
    for (let step = this.#steps[0]; step !== undefined; step = this.#steps[0]) {
      if (!this.#run(step)) return;
      this.#steps.shift();
    }
  }

  /** Samples of `utterance` that the reader has taken; null when none can be, or all of it is over. */
  played(utterance: number): number | null {
    const start = this.#starts.get(utterance);
    return start === undefined ? null : Math.max(0, this.#ring.consumed - start);
  }

  /** Utterances whose end the reader has not told, in order, and how many samples of each it has taken. */
  taken(): { readonly utterance: number; readonly samples: number }[] {
    const starts = [...this.#starts];
    return starts.map(([utterance, start], i) => {
      const end = Math.min(this.#ring.consumed, starts[i + 1]?.[1] ?? this.#ring.written);
      return { utterance, samples: Math.max(0, end - start) };
    });
  }

  /** It was sent or thrown away. */
  forget(utterance: number): void {
    this.#starts.delete(utterance);
  }

  /** Ends what is open, refuses what waits, and says up to where the reader is to throw away. */
  flush(): { count: number; position: number } {
    const waiting = this.#steps;
    this.#steps = [];
    this.#starts.clear();
    this.#open = 0;
    for (const step of waiting) {
      if (step.type !== 'write') continue;
      step.reject(new AppError('E_ABORTED', `utterance ${step.utterance} was flushed`));
    }
    if (this.#isMarked) this.#marks.end(this.#ring.written);
    this.#isMarked = false;
    return { count: this.#marks.count, position: this.#ring.written };
  }

  /** Refuses everything from now on. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
  }

  /** False when the step has to wait for the reader. */
  #run(step: Step): boolean {
    switch (step.type) {
      case 'begin':
        if (this.#marks.isFull) return this.#wait();
        this.#marks.begin(step.utterance, step.gainDb);
        this.#starts.set(step.utterance, this.#ring.written);
        this.#isMarked = true;
        return true;
      case 'end':
        this.#marks.end(this.#ring.written);
        this.#isMarked = false;
        return true;
      case 'write':
        step.offset += this.#ring.write(step.pcm, step.offset);
        if (step.offset < step.pcm.length) return this.#wait();
        step.resolve();
        return true;
    }
  }

  #wait(): false {
    this.#marks.askForRoom();
    return false;
  }
}
