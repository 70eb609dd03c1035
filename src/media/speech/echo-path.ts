/**
 * What a line or a room makes of the agent's voice: the filter of so many taps (a multiple of four) that comes closest, by least squares over what
 * was sent and heard. Older frames count less and less. Allocates nothing once made.
 */

/** Added to the diagonal, as a share of the energy: what is not known stays small, the more so the later it comes. */
const RIDGE = 0.004;
const RIDGE_GROWTH = 0.05;

const MOST_TAPS = 64;
/** Samples before one, by which it is foretold for `richness`. */
const FOLLOWS = 8;

/** Of the solution under way; every path is solved in one go. */
const lower = new Float64Array(MOST_TAPS * MOST_TAPS);
const halfway = new Float64Array(MOST_TAPS);

export class EchoPath {
  readonly #taps: number;
  readonly #covariance: Float64Array;
  readonly #cross: Float64Array;
  readonly #filter: Float64Array;
  #richness = 0;

  constructor(taps: number) {
    this.#taps = taps;
    this.#covariance = new Float64Array(taps * taps);
    this.#cross = new Float64Array(taps);
    this.#filter = new Float64Array(taps);
  }

  get taps(): number {
    return this.#taps;
  }

  clear(): void {
    this.#covariance.fill(0);
    this.#cross.fill(0);
    this.#filter.fill(0);
  }

  /** The tap that weighs most. */
  get peak(): number {
    const filter = this.#filter;
    let peak = 0;
    for (let i = 1; i < filter.length; i++)
      if (Math.abs(filter[i] as number) > Math.abs(filter[peak] as number)) peak = i;
    return peak;
  }

  /** The first tap that weighs a third of that. */
  get onset(): number {
    const least = Math.abs(this.#filter[this.peak] as number) / 3;
    return this.#filter.findIndex((tap) => Math.abs(tap) >= least);
  }

  /** Share of what was sent that does not follow from the 4 ms before it, when last solved: of one tone or three, none. */
  get richness(): number {
    return this.#richness;
  }

  /**
   * Takes `count` samples of `heard` from `from` on; `at`: the place in `sent` of what the first tap makes the first of
   * them of. What was known before counts `keep` times.
   */
  add(
    heard: Float32Array,
    from: number,
    count: number,
    sent: Float32Array,
    at: number,
    keep: number,
  ): void {
    const taps = this.#taps;
    const covariance = this.#covariance;
    const end = at + count;
    for (let tap = 0; tap < taps; tap++) {
      let cross = 0;
      let sum = 0;
      for (let n = 0; n < count; n++) {
        const before = sent[at + n - tap] as number;
        cross += (heard[from + n] as number) * before;
        sum += (sent[at + n] as number) * before;
      }
      this.#cross[tap] = keep * (this.#cross[tap] as number) + cross;
      // Along a diagonal each element is the one before, with one sample more at the front and one less at the end.
      covariance[tap] = keep * (covariance[tap] as number) + sum;
      for (let i = 1; i < taps - tap; i++) {
        sum +=
          (sent[at - i] as number) * (sent[at - i - tap] as number) -
          (sent[end - i] as number) * (sent[end - i - tap] as number);
        const k = i * taps + i + tap;
        covariance[k] = keep * (covariance[k] as number) + sum;
      }
    }
  }

  /** Finds the filter, by Cholesky's decomposition. */
  solve(): void {
    const taps = this.#taps;
    const covariance = this.#covariance;
    const filter = this.#filter;
    const ridge = (covariance[0] as number) * RIDGE + 1;
    for (let i = 0; i < taps; i++) {
      const row = i * taps;
      for (let j = 0; j <= i; j++) {
        const other = j * taps;
        let sum = covariance[other + i] as number;
        if (i === j) sum += ridge * (1 + i * RIDGE_GROWTH);
        sum -= product(row, other, j);
        lower[row + j] =
          i === j ? Math.sqrt(Math.max(ridge, sum)) : sum / (lower[other + j] as number);
      }
      let sum = this.#cross[i] as number;
      for (let k = 0; k < i; k++) sum -= (lower[row + k] as number) * (halfway[k] as number);
      halfway[i] = sum / (lower[row + i] as number);
    }
    const follows = lower[FOLLOWS * taps + FOLLOWS] as number;
    this.#richness = (follows * follows) / Math.max(1, covariance[0] as number);
    for (let i = taps - 1; i >= 0; i--) {
      let sum = halfway[i] as number;
      for (let k = i + 1; k < taps; k++)
        sum -= (lower[k * taps + i] as number) * (filter[k] as number);
      filter[i] = sum / (lower[i * taps + i] as number);
    }
  }

  /** Energy of what is left of `heard` without what the filter makes of `sent`; places as for `add`. */
  residual(
    heard: Float32Array,
    from: number,
    count: number,
    sent: Float32Array,
    at: number,
  ): number {
    const filter = this.#filter;
    let energy = 0;
    for (let n = 0; n < count; n++) {
      const k = at + n;
      let e0 = heard[from + n] as number;
      let e1 = 0;
      let e2 = 0;
      let e3 = 0;
      for (let tap = 0; tap < filter.length; tap += 4) {
        e0 -= (filter[tap] as number) * (sent[k - tap] as number);
        e1 += (filter[tap + 1] as number) * (sent[k - tap - 1] as number);
        e2 += (filter[tap + 2] as number) * (sent[k - tap - 2] as number);
        e3 += (filter[tap + 3] as number) * (sent[k - tap - 3] as number);
      }
      const left = e0 - e1 - e2 - e3;
      energy += left * left;
    }
    return energy;
  }
}

/** Of the first `count` elements of two rows of the decomposition; four sums, for one would wait for itself. */
function product(row: number, other: number, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 3 < count; k += 4) {
    s0 += (lower[row + k] as number) * (lower[other + k] as number);
    s1 += (lower[row + k + 1] as number) * (lower[other + k + 1] as number);
    s2 += (lower[row + k + 2] as number) * (lower[other + k + 2] as number);
    s3 += (lower[row + k + 3] as number) * (lower[other + k + 3] as number);
  }
  for (; k < count; k++) s0 += (lower[row + k] as number) * (lower[other + k] as number);
  return s0 + s1 + s2 + s3;
}
