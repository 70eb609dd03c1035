/**
 * A stream that breaks off and goes on, without clicks: where it ends its last value falls to nothing over 5 ms, also into
 * the next frame and under what comes next; where it goes on in the middle of something it rises over 5 ms.
 */

/** 5 ms. */
export const RAMP = 40;

export class Seam {
  /** The last sample given out. */
  #last = 0;
  #fallsFrom = 0;
  /** Samples that are still to fall, and to rise. */
  #falling = 0;
  #rising = 0;
  #isSilent = true;

  /** Nothing falls or rises: whole frames stay as they are. */
  get isAtRest(): boolean {
    return this.#falling === 0 && this.#rising === 0;
  }

  /** Nothing of the source was in the end of the last frame, and nothing of what was before it is left. */
  get isStill(): boolean {
    return this.#isSilent && this.isAtRest;
  }

  /** Whole frames have gone by while it was at rest; `last` is their last sample. */
  follow(last: number): void {
    this.#last = last;
  }

  /** The next samples of the source go on in the middle of something. */
  rise(): void {
    this.#rising = RAMP;
  }

  /** What comes next has nothing to do with what was last. */
  jump(): void {
    if (this.#isSilent && this.#falling === 0) return;
    this.#fall(this.#last);
  }

  /** Shapes a frame of which the first `filled` samples are the source's; the rest becomes silence. */
  shape(frame: Int16Array, filled: number): void {
    if (filled < frame.length) frame.fill(0, filled);
    if (this.#rising > 0 && filled > 0) this.#rise(frame, filled);
    if (filled > 0) {
      this.#add(frame, 0, filled);
      if (filled < frame.length) this.#fall(frame[filled - 1] as number);
    } else if (!this.#isSilent) this.#fall(this.#last);
    if (filled < frame.length) this.#add(frame, filled, frame.length);
    this.#isSilent = filled < frame.length;
    this.#last = frame[frame.length - 1] as number;
  }

  #fall(value: number): void {
    this.#isSilent = true;
    this.#fallsFrom = value;
    this.#falling = value === 0 ? 0 : RAMP - 1;
  }

  #rise(frame: Int16Array, filled: number): void {
    const count = Math.min(this.#rising, filled);
    for (let i = 0; i < count; i++) {
      const part = (RAMP - this.#rising + i + 1) / RAMP;
      frame[i] = Math.round((frame[i] as number) * part);
    }
    this.#rising = filled < frame.length ? 0 : this.#rising - count;
  }

  /** What is left of the fall, on top of samples `from` up to `to`. */
  #add(frame: Int16Array, from: number, to: number): void {
    for (let i = from; i < to && this.#falling > 0; i++, this.#falling--) {
      const sum = (frame[i] as number) + Math.round((this.#fallsFrom * this.#falling) / RAMP);
      frame[i] = Math.max(-32_768, Math.min(32_767, sum));
    }
  }
}
