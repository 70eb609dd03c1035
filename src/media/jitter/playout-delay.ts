/**
 * How long a caller's packet is waited for, learnt from how late packets are: a quantile of their delays with a long
 * memory, raised at once by a short one, lowered when seconds have passed without need. Also tells when the whole
 * path has become longer or shorter (a new route, a clock that runs fast or slow). All in samples at 8 kHz.
 */
import { DelayHistogram } from './delay-histogram.ts';

const MS = 8;
/** Share of packets that may come later than the target, in the long memory (about 12 s) and in the short one (1.2 s). */
const LONG_SHARE = 0.004;
const LONG_KEEP = 1 - 1 / 600;
const SHORT_SHARE = 0.03;
const SHORT_KEEP = 1 - 1 / 60;
const PRIOR_PACKETS = 25;
/**
 * A line that was never late: what the target does not go below, unless told otherwise. A hole costs so much and no
 * more, and two packets behind it are there by then: filled from both sides it is a sixth nearer to what was lost.
 */
export const LEAST_TARGET = 45 * MS;
const MAX_TARGET = 500 * MS;
/** Before anything is known of a line. */
const FIRST_TARGET = 45 * MS;
const LEARNT_PACKETS = 50;
/** Time is looked back on in parts of half a second. */
const PART = 500 * MS;
const MIN_PARTS = 8;
const MAX_PARTS = 6;
/** A line whose latest delays are all below this share of the target has become calm. */
const CALM = 0.7;
const FADE = 0.5;
const RECOUNT_PACKETS = 8;
/** Differences of the path that are not worth a change, also as a share of the target: jitter moves the least delay. */
const TOLERANCE = 2 * MS;
const TOLERANCE_SHARE = 0.25;
const NONE = 1e9;

/**
 * The usual packet touches whole numbers of this object only: what it adds to the histograms waits until that is needed,
 * and the parts of time are looked back on when one of them changes.
 */
export class PlayoutDelay {
  #target = FIRST_TARGET;
  #wish = 0;
  #packets = 0;
  #partSince = 0;
  /** Of the part that goes on. */
  #partLeast = NONE;
  #partMost = 0;
  #earliest = 0;
  /** Delays that are not in the histograms yet. */
  #waiting = 0;
  readonly #delays = Array.from({ length: RECOUNT_PACKETS }, () => 0);
  readonly #leastTarget: number;
  readonly #long = new DelayHistogram({ keep: LONG_KEEP, prior: PRIOR_PACKETS });
  readonly #short = new DelayHistogram({ keep: SHORT_KEEP, prior: PRIOR_PACKETS });
  readonly #least = new Int32Array(MIN_PARTS).fill(NONE);
  readonly #most = new Int32Array(MAX_PARTS);
  #part = 0;

  constructor(leastTarget = LEAST_TARGET) {
    this.#leastTarget = leastTarget;
  }

  /** How long after its time a packet is waited for. */
  get target(): number {
    return this.#target;
  }

  /**
   * By how much the stream should be placed later (less than 0: earlier) because all its packets have been later, or
   * one of them has been earlier than any could be. 0: it is well placed.
   */
  get wish(): number {
    return this.#wish;
  }

  /** What a packet is delayed by as a rule: where a new stream is placed. */
  get usual(): number {
    this.#fill();
    return this.#packets < LEARNT_PACKETS ? 0 : Math.round(this.#long.above(0.5));
  }

  /** A packet came `delay` after its time (less than 0: before it). `arrival`: call time. */
  note(delay: number, arrival: number): void {
    this.#delays[this.#waiting++] = delay;
    this.#packets++;
    if (arrival - this.#partSince >= PART) this.#turn(arrival);
    if (delay < this.#partLeast || delay > this.#partMost || delay < this.#earliest)
      this.#widen(delay);
    if (delay > this.#target || this.#packets % RECOUNT_PACKETS === 0) this.#recount();
  }

  /** The stream has been placed `samples` later. */
  moved(samples: number): void {
    this.#fill();
    this.#long.shift(samples);
    this.#short.shift(samples);
    for (let i = 0; i < MIN_PARTS; i++)
      if (this.#least[i] !== NONE) this.#least[i] = (this.#least[i] as number) - samples;
    for (let i = 0; i < MAX_PARTS; i++)
      this.#most[i] = Math.max(0, (this.#most[i] as number) - samples);
    // Moved later, what was early once says nothing more: the path is another one.
    this.#earliest = samples > 0 ? 0 : Math.min(0, this.#earliest - samples);
    this.#look();
    this.#recount();
  }

  /** A new stream on the same path: where it lies has to be learnt again, how much it varies has not. */
  restart(): void {
    this.#least.fill(NONE);
    this.#earliest = 0;
    this.#look();
    this.#wish = 0;
  }

  /** Of the part that goes on this is the least or the most. */
  #widen(delay: number): void {
    const least = this.#part % MIN_PARTS;
    const most = this.#part % MAX_PARTS;
    this.#least[least] = Math.min(this.#least[least] as number, delay);
    this.#most[most] = Math.max(this.#most[most] as number, delay);
    this.#earliest = Math.min(this.#earliest, delay);
    this.#look();
    this.#wish = this.#wishNow();
  }

  #turn(arrival: number): void {
    this.#fill();
    // After a pause the parts between hold nothing, and say nothing.
    this.#partSince = arrival - this.#partSince >= 2 * PART ? arrival : this.#partSince + PART;
    this.#part++;
    let most = 0;
    for (let i = 0; i < MAX_PARTS; i++) most = Math.max(most, this.#most[i] as number);
    if (this.#part >= MAX_PARTS && most < this.#target * CALM && this.#target > this.#leastTarget) {
      this.#long.fadeAbove(most, FADE);
      this.#short.fadeAbove(most, FADE);
    }
    this.#least[this.#part % MIN_PARTS] = NONE;
    this.#most[this.#part % MAX_PARTS] = 0;
    this.#look();
    this.#recount();
  }

  /** The part that goes on, where the next packet finds it. */
  #look(): void {
    this.#partLeast = this.#least[this.#part % MIN_PARTS] as number;
    this.#partMost = this.#most[this.#part % MAX_PARTS] as number;
  }

  #fill(): void {
    for (let i = 0; i < this.#waiting; i++) {
      this.#long.add(this.#delays[i] as number);
      this.#short.add(this.#delays[i] as number);
    }
    this.#waiting = 0;
  }

  #recount(): void {
    this.#fill();
    const quantile = Math.max(this.#long.above(LONG_SHARE), this.#short.above(SHORT_SHARE));
    const least = this.#packets < LEARNT_PACKETS ? FIRST_TARGET : this.#leastTarget;
    this.#target = Math.round(Math.min(MAX_TARGET, Math.max(least, quantile)));
    this.#wish = this.#wishNow();
  }

  #wishNow(): number {
    const tolerance = Math.max(TOLERANCE, Math.round(this.#target * TOLERANCE_SHARE));
    if (this.#earliest < -TOLERANCE) return this.#earliest;
    let least = NONE;
    for (let i = 0; i < MIN_PARTS; i++) {
      const each = this.#least[i] as number;
      if (each === NONE) return 0;
      least = Math.min(least, each);
    }
    return least > tolerance ? least - (tolerance >> 1) : 0;
  }
}
