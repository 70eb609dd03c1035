/** Loudness: decibels as factors, changes of it without a step, and sums that saturate softly instead of wrapping. */

/** Below this a sum is what it is; above it is bent, so that no sum ever leaves 16 bits (-2.5 dBFS). */
export const KNEE = 24_576;
const ROOM = 32_767 - KNEE;

/** Of what can be asked for: 1/1000 to 10 times. */
export const MAX_GAIN_DB = 20;
export const MIN_GAIN_DB = -60;

export function factorOf(gainDb: number): number {
  return 10 ** (gainDb / 20);
}

/** A sum of samples as one of 16 bits: exact up to the knee, then smoothly towards full scale, which it never passes. */
export function soften(sum: number): number {
  if (sum > KNEE) return Math.round(KNEE + (ROOM * (sum - KNEE)) / (ROOM + sum - KNEE));
  if (sum < -KNEE) return -Math.round(KNEE + (ROOM * (-KNEE - sum)) / (ROOM - KNEE - sum));
  return Math.round(sum);
}

/** Multiplies samples `from` up to `to`; with factor 1 they stay what they are. */
export function amplify(pcm: Int16Array, factor: number, from = 0, to = pcm.length): void {
  if (factor === 1) return;
  for (let i = from; i < to; i++) pcm[i] = soften((pcm[i] as number) * factor);
}

/** Adds `pcm` times a factor that goes evenly from `before` to `after`. */
export function mixInto(into: Int16Array, pcm: Int16Array, before: number, after: number): void {
  const step = (after - before) / into.length;
  let factor = before;
  for (let i = 0; i < into.length; i++) {
    factor += step;
    const added = (pcm[i] as number) * factor;
    // Nothing added: also a loud sample stays as it is.
    if (added !== 0) into[i] = soften((into[i] as number) + added);
  }
}

/** A gain that gets to where it was set within one frame. */
export class Fader {
  #factor = 1;
  #wanted = 1;
  readonly #onChange: () => void;

  constructor(onChange: () => void = nothing) {
    this.#onChange = onChange;
  }

  /** It leaves frames as they are. */
  get isAtRest(): boolean {
    return this.#factor === 1 && this.#wanted === 1;
  }

  set(gainDb: number): void {
    this.#wanted = factorOf(gainDb);
    this.#onChange();
  }

  /** The next frame of the source. */
  shape(frame: Int16Array): void {
    const wanted = this.#wanted;
    if (this.#factor === wanted) {
      amplify(frame, wanted);
      return;
    }
    const step = (wanted - this.#factor) / frame.length;
    let factor = this.#factor;
    for (let i = 0; i < frame.length; i++) {
      factor += step;
      frame[i] = soften((frame[i] as number) * factor);
    }
    this.#factor = wanted;
  }
}

function nothing(): void {}
