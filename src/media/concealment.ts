/**
 * Fills holes in the caller's audio: the last pitch period is repeated and faded to silence over 60 ms, and the real
 * signal is faded in when it comes back. Works in place, with no allocation.
 */
import { EMPTY_SAMPLE } from './jitter-buffer.ts';

/** Three frames: every fill() takes one, so a whole frame never wraps. */
const HISTORY = 480;
const MIN_LAG = 40;
const MAX_LAG = 160;
const MATCH = 160;
const HOLD = 80;
const FADE = 400;
const BLEND = 40;

export class Concealment {
  readonly #history = new Int16Array(HISTORY);
  #historyEnd = 0;
  /** Samples since the hole began; 0 while the signal is there. */
  #missing = 0;
  #lag = MIN_LAG;
  #blendLeft = 0;
  #concealed = 0;
  #heardAny = false;

  /** Milliseconds of sound that were made up. */
  get concealedMs(): number {
    return this.#concealed / 8;
  }

  /** No sound is expected now (a telephone event, a held call): the hole stays silent. */
  expectSilence(): void {
    if (this.#missing < HOLD + FADE) this.#missing = HOLD + FADE;
  }

  /** Replaces every EMPTY_SAMPLE of a 20 ms `frame`, of whose samples `present` are there. */
  fill(frame: Int16Array, present: number): void {
    if (present === frame.length && this.#missing === 0 && this.#blendLeft === 0) {
      this.#heardAny = true;
      this.#history.set(frame, this.#historyEnd);
      this.#historyEnd = (this.#historyEnd + frame.length) % HISTORY;
      return;
    }
    for (let i = 0; i < frame.length; i++) {
      const sample = frame[i] as number;
      const out = sample === EMPTY_SAMPLE ? this.#invent() : this.#rejoin(sample);
      frame[i] = out;
      this.#history[this.#historyEnd] = out;
      this.#historyEnd = (this.#historyEnd + 1) % HISTORY;
    }
  }

  #invent(): number {
    if (!this.#heardAny) return 0;
    if (this.#missing === 0) this.#lag = this.#findLag();
    const gain = this.#gain();
    if (this.#missing < HOLD + FADE) {
      this.#missing++;
      this.#concealed++;
    }
    if (gain <= 0) return 0;
    const previous = this.#ago(this.#lag);
    // Each repeated period was faded already: undo that, so that the fade stays linear.
    const before = this.#missing > this.#lag ? this.#gainAt(this.#missing - this.#lag) : 1;
    return Math.round((previous / Math.max(before, 0.05)) * gain);
  }

  #rejoin(sample: number): number {
    if (this.#missing > 0) {
      this.#missing = 0;
      this.#blendLeft = BLEND;
    }
    this.#heardAny = true;
    if (this.#blendLeft === 0) return sample;
    const made = this.#ago(this.#lag);
    const share = this.#blendLeft / (BLEND + 1);
    this.#blendLeft--;
    return Math.round(sample * (1 - share) + made * share);
  }

  #gain(): number {
    return this.#gainAt(this.#missing);
  }

  #gainAt(missing: number): number {
    if (missing < HOLD) return 1;
    return Math.max(0, 1 - (missing - HOLD) / FADE);
  }

  #ago(samples: number): number {
    return this.#history[(this.#historyEnd - samples + HISTORY) % HISTORY] as number;
  }

  /** The lag at which the recent signal resembles itself most: normalised cross-correlation, every second sample. */
  #findLag(): number {
    let bestLag = MAX_LAG;
    let best = 0;
    for (let lag = MIN_LAG; lag <= MAX_LAG; lag++) {
      let product = 0;
      let energy = 1;
      for (let i = 1; i <= MATCH; i += 2) {
        const earlier = this.#ago(lag + i);
        product += this.#ago(i) * earlier;
        energy += earlier * earlier;
      }
      const score = product <= 0 ? 0 : (product * product) / energy;
      if (score > best) {
        best = score;
        bestLag = lag;
      }
    }
    return bestLag;
  }
}
