/**
 * A sound as if it went on (in the spirit of ITU-T G.711 Appendix I): a voice by its last pitch period, after 15 ms by two,
 * after 30 ms by three, a noise by noise of the same spectrum, and what is between by both. Allocates nothing after it
 * was made.
 */
import { NoiseShape } from './noise-shape.ts';

const MIN_LAG = 32;
const MAX_LAG = 160;
/** Three periods and the quarter before them: what is looked at. */
export const MEMORY = 3 * MAX_LAG + MAX_LAG / 4;
/** Compared for the pitch. */
const MATCH = 140;
/** The loop has one period more after each 15 ms. */
const GROW = 120;
const MOST_PERIODS = 3;
/** How like the sound of a period before: below a noise, above a voice, between a mixture. */
const NOISY = 0.2;
const VOICED = 0.5;
/** The step from the last real sample is taken back within 4 ms. */
const SETTLE = 32;
/** What is quieter is nothing that anybody would miss. */
const SOUND = 24;

export class SoundExtension {
  readonly #before = new Float64Array(MEMORY);
  readonly #noise = new NoiseShape();
  #lag = MIN_LAG;
  #voiced = 0;
  #isSound = false;
  /** Place in the loop, and how many periods it has; the same of the loop before, while it is faded out. */
  #at = 0;
  #periods = 1;
  #oldAt = 0;
  #oldPeriods = 1;
  #fadeLeft = 0;
  #made = 0;
  #step = 0;

  /** Samples of a pitch period, as far as it has one. */
  get lag(): number {
    return this.#lag;
  }

  /** How much of it is a voice, 0..1; 0 also where there is nothing to be heard. */
  get voiced(): number {
    return this.#voiced;
  }

  get isSound(): boolean {
    return this.#isSound;
  }

  /** Takes the last `MEMORY` samples, the newest at the end; `backwards`: the newest first, so that it goes on to the past. */
  learn(sound: Int16Array, backwards = false): void {
    const before = this.#before;
    for (let i = 0; i < MEMORY; i++) before[i] = sound[backwards ? MEMORY - 1 - i : i] as number;
    let energy = 0;
    for (let i = MEMORY - MATCH; i < MEMORY; i++) energy += (before[i] as number) ** 2;
    this.#isSound = energy > SOUND * SOUND * MATCH;
    const likeness = this.#isSound ? this.#findLag() : 0;
    this.#voiced = Math.min(1, Math.max(0, (likeness - NOISY) / (VOICED - NOISY)));
    if (this.#voiced < 1) this.#noise.learn(before, MEMORY);
    this.#at = 0;
    this.#made = 0;
    this.#periods = 1;
    this.#fadeLeft = 0;
    this.#step = (before[MEMORY - 1] as number) - (before[MEMORY - this.#lag - 1] as number);
  }

  /** The next sample. */
  next(): number {
    let voice = 0;
    if (this.#voiced > 0) voice = this.#nextOfLoop();
    if (this.#voiced >= 1) return voice;
    const noise = this.#noise.next();
    return voice * this.#voiced + noise * Math.sqrt(1 - this.#voiced * this.#voiced);
  }

  #nextOfLoop(): number {
    if (this.#made >= GROW * this.#periods && this.#periods < MOST_PERIODS) this.#grow();
    let value = this.#loop(this.#periods, this.#at);
    this.#at = (this.#at + 1) % (this.#periods * this.#lag);
    if (this.#fadeLeft > 0) {
      const share = this.#fadeLeft / (this.#lag >> 2);
      value += (this.#loop(this.#oldPeriods, this.#oldAt) - value) * share;
      this.#oldAt = (this.#oldAt + 1) % (this.#oldPeriods * this.#lag);
      this.#fadeLeft--;
    }
    if (this.#made < SETTLE) value += this.#step * (1 - this.#made / SETTLE);
    this.#made++;
    return value;
  }

  /** One period more in the loop, beginning with the earliest at the same phase. */
  #grow(): void {
    this.#oldAt = this.#at;
    this.#oldPeriods = this.#periods;
    this.#at %= this.#lag;
    this.#periods++;
    this.#fadeLeft = this.#lag >> 2;
  }

  /** Sample `at` of the last `periods` periods; the last quarter is faded into what was before the first. */
  #loop(periods: number, at: number): number {
    const length = periods * this.#lag;
    const from = MEMORY - length;
    const value = this.#before[from + at] as number;
    const quarter = this.#lag >> 2;
    const into = at - (length - quarter);
    if (into < 0) return value;
    const other = this.#before[from - quarter + into] as number;
    return value + ((other - value) * (into + 1)) / (quarter + 1);
  }

  /** Sets the lag at which the recent sound is most like itself; returns how like it is (normalised correlation). */
  #findLag(): number {
    let best = -1;
    for (let lag = MIN_LAG; lag <= MAX_LAG; lag += 2) best = this.#tryLag(lag, 2, best);
    const near = this.#lag;
    best = -1;
    for (let lag = Math.max(MIN_LAG, near - 2); lag <= Math.min(MAX_LAG, near + 2); lag++)
      best = this.#tryLag(lag, 1, best);
    return best;
  }

  #tryLag(lag: number, step: number, best: number): number {
    const before = this.#before;
    let dot = 0;
    let now = 1;
    let then = 1;
    for (let i = MEMORY - MATCH; i < MEMORY; i += step) {
      const a = before[i] as number;
      const b = before[i - lag] as number;
      dot += a * b;
      now += a * a;
      then += b * b;
    }
    const likeness = dot / Math.sqrt(now * then);
    if (likeness <= best) return best;
    this.#lag = lag;
    return likeness;
  }
}
