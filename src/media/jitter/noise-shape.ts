/**
 * Noise of the spectrum and loudness of a sound: linear prediction of its last 20 ms (autocorrelation, Levinson-Durbin)
 * and white noise through the filter. Allocates nothing after it was made.
 */

const ORDER = 10;
const LENGTH = 160;
/** White noise 40 dB below, so that the filter of a pure tone stays tame. */
const WHITE = 1e-4;

const window = Float64Array.from(
  { length: LENGTH },
  (_, i) => 0.54 - 0.46 * Math.cos((2 * Math.PI * (i + 0.5)) / LENGTH),
);

export class NoiseShape {
  readonly #windowed = new Float64Array(LENGTH);
  readonly #r = new Float64Array(ORDER + 1);
  readonly #a = new Float64Array(ORDER + 1);
  readonly #old = new Float64Array(ORDER + 1);
  /** The last outputs, newest first. */
  readonly #state = new Float64Array(ORDER);
  #gain = 0;
  #seed = 0x2545f491;

  /** Takes the spectrum of the last 20 ms before `end`, and goes on from there. */
  learn(sound: Float64Array, end: number): void {
    const x = this.#windowed;
    let power = 0;
    for (let i = 0; i < LENGTH; i++) {
      x[i] = (sound[end - LENGTH + i] as number) * (window[i] as number);
      power += (window[i] as number) ** 2;
    }
    for (let lag = 0; lag <= ORDER; lag++) {
      let sum = 0;
      for (let i = lag; i < LENGTH; i++) sum += (x[i] as number) * (x[i - lag] as number);
      this.#r[lag] = sum;
    }
    this.#r[0] = (this.#r[0] as number) * (1 + WHITE) + 1;
    const error = this.#solve();
    this.#gain = Math.sqrt(Math.max(0, error) / power);
    for (let i = 0; i < ORDER; i++) this.#state[i] = sound[end - 1 - i] as number;
  }

  next(): number {
    let value = this.#white() * this.#gain;
    const state = this.#state;
    for (let i = 0; i < ORDER; i++) value -= (this.#a[i + 1] as number) * (state[i] as number);
    state.copyWithin(1, 0);
    state[0] = value;
    return value;
  }

  /** Levinson-Durbin; returns the energy that the prediction leaves. */
  #solve(): number {
    const [r, a, old] = [this.#r, this.#a, this.#old];
    a.fill(0);
    a[0] = 1;
    let error = r[0] as number;
    for (let m = 1; m <= ORDER; m++) {
      let sum = r[m] as number;
      for (let i = 1; i < m; i++) sum += (a[i] as number) * (r[m - i] as number);
      const k = -sum / error;
      old.set(a);
      for (let i = 1; i < m; i++) a[i] = (old[i] as number) + k * (old[m - i] as number);
      a[m] = k;
      error *= 1 - k * k;
    }
    return error;
  }

  /** Even between +-sqrt(3): power 1. */
  #white(): number {
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    return (this.#seed / 2_147_483_648) * 1.7320508;
  }
}
