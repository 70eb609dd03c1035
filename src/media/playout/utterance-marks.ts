/**
 * Where utterances begin and end in the playout ring, in shared memory: the writer's thread marks them at once, so the
 * reader never plays a sample under the wrong number however late its messages are.
 */

const HEADER = 3;
const COUNT = 0;
const WAITING = 1;
const TAKEN = 2;
const ENTRY = 3;
const UTTERANCE = 0;
const END = 1;
/** In hundredths of a decibel. */
const GAIN = 2;
const OPEN = -1;

/** Utterances that may be queued at once. */
export const MAX_MARKS = 64;

export class UtteranceMarks {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static create(): UtteranceMarks {
    return new UtteranceMarks(new SharedArrayBuffer((HEADER + MAX_MARKS * ENTRY) * 4));
  }

  /** The other thread's view. */
  static attach(buffer: SharedArrayBuffer): UtteranceMarks {
    return new UtteranceMarks(buffer);
  }

  /** Utterances begun since the start. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /** Reader: utterances before number `index` are over. */
  markTaken(index: number): void {
    Atomics.store(this.#words, TAKEN, index);
  }

  /** Writer: no entry is free, so no utterance may be begun now. */
  get isFull(): boolean {
    return this.count - Atomics.load(this.#words, TAKEN) >= MAX_MARKS;
  }

  /** Writer: what is written to the ring from now on is utterance `utterance`, to be played so much louder. */
  begin(utterance: number, gainDb = 0): void {
    const index = this.count;
    const at = this.#entry(index);
    Atomics.store(this.#words, at + UTTERANCE, utterance);
    Atomics.store(this.#words, at + END, OPEN);
    Atomics.store(this.#words, at + GAIN, Math.round(gainDb * 100));
    Atomics.store(this.#words, COUNT, index + 1);
  }

  /** Writer: the last utterance ends at ring position `position`. */
  end(position: number): void {
    Atomics.store(this.#words, this.#entry(this.count - 1) + END, position);
  }

  utterance(index: number): number {
    return Atomics.load(this.#words, this.#entry(index) + UTTERANCE);
  }

  gainDb(index: number): number {
    return Atomics.load(this.#words, this.#entry(index) + GAIN) / 100;
  }

  /** Ring position of the end, or -1 while the utterance is open. */
  endOf(index: number): number {
    return Atomics.load(this.#words, this.#entry(index) + END);
  }

  /** Writer: asks the reader to tell when there is room again. Reader: takes that wish, if there is one. */
  askForRoom(): void {
    Atomics.store(this.#words, WAITING, 1);
  }

  takeWish(): boolean {
    return Atomics.exchange(this.#words, WAITING, 0) === 1;
  }

  get hasWish(): boolean {
    return Atomics.load(this.#words, WAITING) === 1;
  }

  #entry(index: number): number {
    return HEADER + (index % MAX_MARKS) * ENTRY;
  }
}
