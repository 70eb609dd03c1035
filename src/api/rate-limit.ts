/** Token buckets (contract 1.6), one per key, in a table of bounded size. */
import type { Clock } from '#lib/clock.ts';

export type RateLimit = {
  readonly ratePerS: number;
  readonly burst: number;
};

/** What a bucket says: for the RateLimit-* headers and, when refused, Retry-After. Whole numbers, seconds. */
export type RateState = {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  readonly resetS: number;
  readonly retryAfterS: number;
};

type Bucket = { tokens: number; atMs: number };

export class RateLimiter {
  readonly #limit: RateLimit;
  readonly #capacity: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();
  #evicted = 0;

  constructor(limit: RateLimit, clock: Clock, capacity = 10_000) {
    this.#limit = limit;
    this.#clock = clock;
    this.#capacity = capacity;
  }

  /** Buckets that were forgotten, and so filled again, because the table was full. */
  get evicted(): number {
    return this.#evicted;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one token if there is one. */
  take(key: string): RateState {
    const bucket = this.#bucketOf(key);
    const allowed = bucket.tokens >= 1;
    if (allowed) bucket.tokens -= 1;
    // Insertion order is order of use, so the first key is the one to forget.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#capacity) this.#forgetOldest();
    return this.#stateOf(bucket, allowed);
  }

  /** Puts a token back that was taken too early. */
  giveBack(key: string): void {
    const bucket = this.#buckets.get(key);
    if (bucket !== undefined) bucket.tokens = Math.min(this.#limit.burst, bucket.tokens + 1);
  }

  /** The bucket's state, leaving it as it is. */
  peek(key: string): RateState {
    const bucket = this.#bucketOf(key);
    return this.#stateOf(bucket, bucket.tokens >= 1);
  }

  #bucketOf(key: string): Bucket {
    const nowMs = this.#clock.now();
    const bucket = this.#buckets.get(key) ?? { tokens: this.#limit.burst, atMs: nowMs };
    const refill = ((nowMs - bucket.atMs) / 1000) * this.#limit.ratePerS;
    bucket.tokens = Math.min(this.#limit.burst, bucket.tokens + refill);
    bucket.atMs = nowMs;
    return bucket;
  }

  #stateOf(bucket: Bucket, allowed: boolean): RateState {
    const { burst, ratePerS } = this.#limit;
    return {
      allowed,
      limit: burst,
      remaining: Math.floor(bucket.tokens),
      resetS: Math.ceil((burst - bucket.tokens) / ratePerS),
      retryAfterS: Math.max(1, Math.ceil((1 - bucket.tokens) / ratePerS)),
    };
  }

  #forgetOldest(): void {
    for (const key of this.#buckets.keys()) {
      this.#buckets.delete(key);
      this.#evicted++;
      return;
    }
  }
}

/** At most `limit` attempts of one key within any window; the refused ones do not count. In a table of bounded size. */
export class AttemptLimiter {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #attempts = new Map<string, number[]>();

  constructor(options: {
    readonly limit: number;
    readonly windowMs: number;
    readonly clock: Clock;
    readonly capacity?: number;
  }) {
    this.#limit = options.limit;
    this.#windowMs = options.windowMs;
    this.#clock = options.clock;
    this.#capacity = options.capacity ?? 10_000;
  }

  get size(): number {
    return this.#attempts.size;
  }

  take(key: string): RateState {
    const nowMs = this.#clock.now();
    const recent = (this.#attempts.get(key) ?? []).filter((ms) => nowMs - ms < this.#windowMs);
    const allowed = recent.length < this.#limit;
    if (allowed) recent.push(nowMs);
    this.#attempts.delete(key);
    this.#attempts.set(key, recent);
    if (this.#attempts.size > this.#capacity) this.#forgetOldest();
    const leftMs = (at: number | undefined): number => this.#windowMs - (nowMs - (at ?? nowMs));
    return {
      allowed,
      limit: this.#limit,
      remaining: this.#limit - recent.length,
      resetS: Math.ceil(leftMs(recent.at(-1)) / 1000),
      retryAfterS: Math.max(1, Math.ceil(leftMs(recent[0]) / 1000)),
    };
  }

  #forgetOldest(): void {
    const oldest = this.#attempts.keys().next();
    if (!oldest.done) this.#attempts.delete(oldest.value);
  }
}
