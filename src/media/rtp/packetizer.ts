/**
 * Frames of 20 ms into packets of 10 to 60 ms. Time is counted in steps of 10 ms: packets of whole frames leave with a
 * frame's tick, those of 10, 30 and 50 ms also between two, so that each leaves when its time has come and never two at
 * once.
 */
import { FRAME_SAMPLES } from '../types.ts';

/** 10 ms. */
const STEP_SAMPLES = FRAME_SAMPLES / 2;
/** A packet of 60 ms, and a frame that comes while 50 ms wait. */
const CAPACITY = 1280;

export class Packetizer {
  readonly pcm = new Int16Array(CAPACITY);
  #fill = 0;
  #length = FRAME_SAMPLES;
  #waitSteps = 0;
  #isCut = false;

  /** Samples that wait. */
  get pending(): number {
    return this.#fill;
  }

  /** Whether packets leave between two frames. */
  get needsHalf(): boolean {
    return this.#length % FRAME_SAMPLES !== 0;
  }

  /** Samples of a packet from now on, a multiple of 80. What waits leaves with the next frame. */
  set length(samples: number) {
    if (samples === this.#length) return;
    this.#length = samples;
    this.#isCut = this.#fill > 0;
    this.#waitSteps = 0;
  }

  /** Whether a frame that comes now is a packet of its own, and leaves: it need not be added. */
  isStraight(): boolean {
    const isDue = this.#waitSteps <= FRAME_SAMPLES / STEP_SAMPLES;
    if (this.#fill > 0 || this.#length !== FRAME_SAMPLES || this.#isCut || !isDue) return false;
    this.#waitSteps = FRAME_SAMPLES / STEP_SAMPLES;
    return true;
  }

  add(frame: Int16Array): void {
    this.pcm.set(frame, this.#fill);
    this.#fill += frame.length;
  }

  /** `steps` of 10 ms have gone by: the samples that are to leave now, 0: none. */
  due(steps: number): number {
    this.#waitSteps -= steps;
    // More than a frame too many: a tick between frames was left out. Nothing may pile up.
    if (this.#isCut || this.#fill > this.#length + FRAME_SAMPLES) {
      this.#isCut = false;
      this.#waitSteps = this.#length / STEP_SAMPLES;
      return this.#fill;
    }
    if (this.#waitSteps > 0 || this.#fill < this.#length) return 0;
    this.#waitSteps = this.#length / STEP_SAMPLES;
    return this.#length;
  }

  /** The first `samples` have left. */
  shift(samples: number): void {
    this.pcm.copyWithin(0, samples, this.#fill);
    this.#fill -= samples;
  }

  /** All have left or will never leave; the next frame begins a packet. */
  clear(): void {
    this.#fill = 0;
    this.#waitSteps = 0;
    this.#isCut = false;
  }
}
