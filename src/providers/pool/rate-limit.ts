/**
 * How many requests a second a provider is given, learnt from how it copes: over a window of at least 5 s and 10 requests,
 * less than 80 % that work makes it x0.8, more than 99 % x1.2 - unless the window's median wait for the first result has
 * doubled, which is how a vendor says "enough" before it refuses. Where there is too little to do for that, a minute
 * without a failure makes it x1.2.
 */
import type { Clock } from '#lib/clock.ts';

export type RateBounds = { readonly minPerS: number; readonly maxPerS: number };

const WINDOW_MS = 5_000;
const MIN_REQUESTS = 10;
/** A window this old is begun anew: what is in it says nothing about now. */
const STALE_MS = 60_000;
const LESS = 0.8;
const MORE = 1.2;
const BAD_SHARE = 0.8;
const GOOD_SHARE = 0.99;
const SLOW = 2;
/** Of one window in the usual latency. */
const SMOOTHING = 0.3;
const MAX_LATENCIES = 101;

export class AdaptiveRate {
  readonly #clock: Clock;
  readonly #bounds: RateBounds;
  #perS: number;
  #tokens: number;
  #filledMs: number;
  #sinceMs: number;
  #requests = 0;
  #good = 0;
  #latencies: number[] = [];
  #usualMs: number | null = null;

  /** Begins at the upper bound. */
  constructor(clock: Clock, bounds: RateBounds) {
    this.#clock = clock;
    this.#bounds = bounds;
    this.#perS = bounds.maxPerS;
    this.#tokens = this.#burst;
    this.#filledMs = clock.now();
    this.#sinceMs = clock.now();
  }

  get perS(): number {
    return this.#perS;
  }

  /** Until the next request may be made; 0: now. */
  get waitMs(): number {
    this.#fill();
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) * 1_000) / this.#perS);
  }

  tryTake(): boolean {
    if (this.waitMs > 0) return false;
    this.#tokens -= 1;
    return true;
  }

  /** `latencyMs`: until the first result; null where there was none. */
  note(isGood: boolean, latencyMs: number | null): void {
    const oldMs = this.#clock.now() - this.#sinceMs;
    if (oldMs > STALE_MS) {
      if (this.#good === this.#requests)
        this.#set(this.#perS * MORE ** Math.floor(oldMs / STALE_MS));
      this.#begin();
    }
    this.#requests += 1;
    if (isGood) this.#good += 1;
    if (latencyMs !== null && this.#latencies.length < MAX_LATENCIES) {
      this.#latencies.push(latencyMs);
    }
    if (this.#requests < MIN_REQUESTS || this.#clock.now() - this.#sinceMs < WINDOW_MS) return;
    this.#adapt();
    this.#begin();
  }

  #adapt(): void {
    const share = this.#good / this.#requests;
    const sorted = this.#latencies.sort((a, b) => a - b);
    const medianMs = sorted[Math.floor(sorted.length / 2)] ?? null;
    const isSlow =
      medianMs !== null && this.#usualMs !== null && medianMs > SLOW * Math.max(50, this.#usualMs);
    if (share < BAD_SHARE) this.#set(this.#perS * LESS);
    else if (share > GOOD_SHARE && !isSlow) this.#set(this.#perS * MORE);
    if (medianMs === null) return;
    this.#usualMs =
      this.#usualMs === null
        ? medianMs
        : this.#usualMs + (medianMs - this.#usualMs) * (isSlow ? SMOOTHING / 10 : SMOOTHING);
  }

  #begin(): void {
    this.#sinceMs = this.#clock.now();
    this.#requests = 0;
    this.#good = 0;
    this.#latencies = [];
  }

  #set(perS: number): void {
    this.#fill();
    this.#perS = Math.min(this.#bounds.maxPerS, Math.max(this.#bounds.minPerS, perS));
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** What may be asked at one moment: a second's worth. */
  get #burst(): number {
    return Math.max(1, this.#perS);
  }

  #fill(): void {
    const nowMs = this.#clock.now();
    this.#tokens = Math.min(
      this.#burst,
      this.#tokens + ((nowMs - this.#filledMs) * this.#perS) / 1_000,
    );
    this.#filledMs = nowMs;
  }
}
