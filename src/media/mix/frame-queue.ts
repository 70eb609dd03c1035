/** Caller frames that wait for their tick: the jitter buffer gives none in one tick and two in the next. */
import { FRAME_SAMPLES } from '../types.ts';

const WAITING = 2;

export class FrameQueue {
  readonly #waiting = Array.from({ length: WAITING }, () => new Int16Array(FRAME_SAMPLES));
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  #first = 0;
  #count = 0;

  /** Copies the frame; with more than two waiting the oldest goes, so that nobody hears him late. */
  push(frame: Int16Array): void {
    if (this.#count === WAITING) this.shift();
    const at = (this.#first + this.#count) % WAITING;
    this.#waiting[at]?.set(frame);
    this.#count++;
  }

  /** The oldest; silence when there is none. Valid until the next `push`. */
  get head(): Int16Array {
    return this.#count > 0 ? (this.#waiting[this.#first] as Int16Array) : this.#silence;
  }

  /** The oldest has been used. */
  shift(): void {
    if (this.#count === 0) return;
    this.#first = (this.#first + 1) % WAITING;
    this.#count--;
  }

  clear(): void {
    this.#count = 0;
  }
}
