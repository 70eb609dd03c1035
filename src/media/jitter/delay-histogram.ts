/**
 * How late packets come, as weights by delay that fade with every new packet. A second, short memory lets the quantile
 * rise within a second. Delays in samples at 8 kHz; allocates nothing after it was made.
 */

/** 2.5 ms each; the last one holds everything beyond a second. */
const BUCKET = 20;
const BUCKETS = 401;
/** Weights grow instead of fading all the others; beyond this they are scaled back. */
const MAX_WEIGHT = 1e6;

export type HistogramOptions = {
  /** What is left of a packet's weight after each later one: 1 - 1/n remembers about n packets. */
  readonly keep: number;
  /** Weight, in packets, of the belief at the start that delays are short. */
  readonly prior?: number;
};

export class DelayHistogram {
  readonly #weights = new Float64Array(BUCKETS);
  readonly #growth: number;
  readonly #prior: number;
  #weight = 1;
  #total = 0;
  /** No bucket above this one has weight. */
  #top = 0;
  /** What the buckets have not been moved by yet, less than one bucket. */
  #offset = 0;

  constructor({ keep, prior = 0 }: HistogramOptions) {
    this.#growth = 1 / keep;
    this.#prior = prior;
    this.reset();
  }

  /** Weight of all that is remembered, in packets. */
  get packets(): number {
    return this.#total / this.#weight;
  }

  reset(): void {
    this.#weights.fill(0);
    this.#weights[0] = this.#prior;
    this.#total = this.#prior;
    this.#weight = 1;
    this.#top = 0;
    this.#offset = 0;
  }

  add(delay: number): void {
    this.#weight *= this.#growth;
    const at = bucketOf(delay + this.#offset);
    this.#weights[at] = (this.#weights[at] as number) + this.#weight;
    this.#total += this.#weight;
    if (at > this.#top) this.#top = at;
    if (this.#weight > MAX_WEIGHT) this.#rescale();
  }

  /** The delay that at most `share` of the weight exceeds. */
  above(share: number): number {
    let left = share * this.#total;
    for (let at = this.#top; at > 0; at--) {
      const weight = this.#weights[at] as number;
      // Within a bucket delays are taken to be spread evenly.
      if (weight > left) return Math.max(0, (at + 1 - left / weight) * BUCKET - this.#offset);
      left -= weight;
      if (weight === 0 && at === this.#top) this.#top--;
    }
    return BUCKET;
  }

  /** Every delay was measured against a place that has moved by `samples`: later ones read so much less. */
  shift(samples: number): void {
    this.#offset += samples;
    const steps = Math.trunc(this.#offset / BUCKET);
    if (steps === 0) return;
    this.#offset -= steps * BUCKET;
    const weights = this.#weights;
    if (steps > 0) {
      let low = 0;
      for (let at = 0; at < Math.min(steps, BUCKETS); at++) low += weights[at] as number;
      weights.copyWithin(0, steps);
      weights.fill(0, Math.max(0, BUCKETS - steps));
      weights[0] = (weights[0] as number) + low;
    } else {
      let high = 0;
      for (let at = Math.max(0, BUCKETS + steps); at < BUCKETS; at++) high += weights[at] as number;
      weights.copyWithin(-steps, 0);
      weights.fill(0, 0, Math.min(BUCKETS, -steps));
      weights[BUCKETS - 1] = (weights[BUCKETS - 1] as number) + high;
    }
    this.#top = BUCKETS - 1;
  }

  /** The line has become calm: what is above `delay` counts for `share` of what it did. */
  fadeAbove(delay: number, share: number): void {
    const first = bucketOf(delay + this.#offset) + 1;
    for (let at = first; at <= this.#top; at++) {
      const weight = this.#weights[at] as number;
      this.#total -= weight * (1 - share);
      this.#weights[at] = weight * share;
    }
  }

  #rescale(): void {
    let total = 0;
    for (let at = 0; at < BUCKETS; at++) {
      const weight = (this.#weights[at] as number) / this.#weight;
      this.#weights[at] = weight;
      total += weight;
    }
    this.#total = total;
    this.#weight = 1;
  }
}

function bucketOf(delay: number): number {
  const at = Math.floor(delay / BUCKET);
  return at < 0 ? 0 : at >= BUCKETS ? BUCKETS - 1 : at;
}
