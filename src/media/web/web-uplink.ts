/**
 * Caller audio of a web call, frame by frame. A socket delivers in bursts and carries no time stamps: a little is
 * gathered before it flows, and a delay that a stall of the network left behind is worked off in the caller's pauses.
 */
import type { LossyRing } from '../lossy-ring.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** Gathered after an underrun before audio flows again: 60 ms, or whatever is there after as long. */
const GATHER_FRAMES = 3;
/** Holes are concealed by the chain for this long; then the caller is silent. */
const HOLE_FRAMES = 3;
/** More than this waiting at every moment of a second is delay, not jitter. */
const BEHIND_SAMPLES = 0.16 * SAMPLE_RATE_HZ;
const CAUGHT_UP_SAMPLES = 0.08 * SAMPLE_RATE_HZ;
const WINDOW_FRAMES = 50;
/** Peak of a frame that nobody misses (-44 dBFS), also where it is never that quiet; and the loudest room (-30 dBFS). */
const QUIET = 200;
const LOUDEST_ROOM = 1000;

export class WebUplink {
  readonly #ring: LossyRing;
  #isFlowing = false;
  #waited = 0;
  #missing = HOLE_FRAMES;
  #least = Number.POSITIVE_INFINITY;
  #inWindow = 0;
  #isCatchingUp = false;
  /** Peak of the softest frame: in this window so far, and in the one before, which tells the noise of the room. */
  #softest = Number.POSITIVE_INFINITY;
  #room = 0;

  constructor(ring: LossyRing) {
    this.#ring = ring;
  }

  /** Fills `frame`; false: nothing for now, and the gap is so young that it should be concealed. */
  take(frame: Int16Array): boolean {
    const { available } = this.#ring;
    this.#watch(available);
    if (!this.#mayFlow(available)) {
      frame.fill(0);
      return ++this.#missing > HOLE_FRAMES;
    }
    this.#missing = 0;
    let count = this.#ring.read(frame);
    if (this.#isPause(frame, count) && this.#isCatchingUp) count = this.#ring.read(frame);
    frame.fill(0, count);
    return true;
  }

  #mayFlow(available: number): boolean {
    if (this.#isFlowing && available >= FRAME_SAMPLES) return true;
    this.#isFlowing = false;
    if (available === 0) {
      this.#waited = 0;
      return false;
    }
    this.#waited++;
    if (available < GATHER_FRAMES * FRAME_SAMPLES && this.#waited <= GATHER_FRAMES) return false;
    this.#waited = 0;
    this.#isFlowing = true;
    return true;
  }

  #watch(available: number): void {
    if (available <= CAUGHT_UP_SAMPLES) this.#isCatchingUp = false;
    this.#least = Math.min(this.#least, available);
    if (++this.#inWindow < WINDOW_FRAMES) return;
    if (this.#least > BEHIND_SAMPLES) this.#isCatchingUp = true;
    this.#least = Number.POSITIVE_INFINITY;
    this.#inWindow = 0;
    if (this.#softest < Number.POSITIVE_INFINITY) this.#room = this.#softest;
    this.#softest = Number.POSITIVE_INFINITY;
  }

  /** Nothing but the room is heard. */
  #isPause(frame: Int16Array, count: number): boolean {
    const peak = peakOf(frame, count);
    this.#softest = Math.min(this.#softest, peak);
    return peak <= Math.max(QUIET, Math.min(LOUDEST_ROOM, 1.5 * this.#room));
  }
}

function peakOf(frame: Int16Array, count: number): number {
  let peak = 0;
  for (let i = 0; i < count; i++) peak = Math.max(peak, Math.abs(frame[i] as number));
  return peak;
}
