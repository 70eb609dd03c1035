/** One provider of the pool: a vendor on an account, as all calls share it. What is known of it outlives each of them. */
import type { Clock } from '#lib/clock.ts';
import { RollingMedian } from '#lib/metrics.ts';
import type { ProviderKind } from '../contract.ts';
import { CircuitBreaker } from './breaker.ts';
import { failureOf, type FailureClass } from './failures.ts';
import { AdaptiveRate, type RateBounds } from './rate-limit.ts';

/** Told as it happens; must not throw. */
export type PoolEvents = {
  requested(member: PoolMember): void;
  failed(member: PoolMember, failure: FailureClass): void;
  /** `to` was asked because `from` had failed, or was too slow. */
  failedOver(from: PoolMember, to: PoolMember): void;
};

export const NO_EVENTS: PoolEvents = {
  requested: () => undefined,
  failed: () => undefined,
  failedOver: () => undefined,
};

export type MemberOptions = {
  readonly kind: ProviderKind;
  readonly vendor: string;
  readonly clock: Clock;
  readonly rate?: RateBounds;
  readonly random?: () => number;
  /** False for what runs in this process: to leave it alone for a while would mend nothing. */
  readonly isRemote: boolean;
  readonly events?: PoolEvents;
};

export const RATE: RateBounds = { minPerS: 1, maxPerS: 500 };
/** First results that a patience is learnt from. */
const LEARNT_FROM = 5;
const LATENCIES = 21;
/** Sound of a reply in proportion to its length, learnt slowly. */
const PACE_SMOOTHING = 0.2;

export class PoolMember {
  readonly kind: ProviderKind;
  readonly vendor: string;
  readonly isRemote: boolean;
  readonly breaker: CircuitBreaker;
  readonly rate: AdaptiveRate;
  readonly events: PoolEvents;
  readonly #clock: Clock;
  readonly #firstMs = new RollingMedian(LATENCIES);
  #firsts = 0;
  /** Requests under way, and open sessions. */
  inFlight = 0;
  /** Why it was last refused or failed. */
  lastError: unknown = null;
  /** Has ever told a partial text, so that its silence means something. */
  givesPartials = false;
  /** Of a voice: how long a unit of `speechWeight` takes; null: not learnt yet. */
  paceMs: number | null = null;

  constructor(options: MemberOptions) {
    const { kind, vendor, clock, random, isRemote, events = NO_EVENTS, rate = RATE } = options;
    this.kind = kind;
    this.vendor = vendor;
    this.isRemote = isRemote;
    this.events = events;
    this.#clock = clock;
    this.breaker = new CircuitBreaker(clock, random);
    this.rate = new AdaptiveRate(clock, rate);
  }

  /** Until it may be asked; 0: now. */
  get waitMs(): number {
    return Math.max(this.breaker.waitMs, this.rate.waitMs);
  }

  /** Null: it is not to be asked now. */
  begin(): Attempt | null {
    const isTrial = this.breaker.state === 'half_open';
    if (this.rate.waitMs > 0 || !this.breaker.tryBegin()) return null;
    this.rate.tryTake();
    this.inFlight += 1;
    this.events.requested(this);
    return new Attempt(this, this.#clock, isTrial);
  }

  /** How long its first result is waited for before another one is asked as well: by what it usually takes. */
  patienceMs({ minMs, maxMs }: { readonly minMs: number; readonly maxMs: number }): number {
    const usualMs = this.#firsts < LEARNT_FROM ? null : this.#firstMs.value;
    if (usualMs === null) return maxMs;
    // Whoever is always slow is not left at every turn.
    return Math.min(Math.max(minMs, 3 * usualMs), Math.max(maxMs, 1.5 * usualMs + 100));
  }

  learnFirst(ms: number): void {
    this.#firsts += 1;
    this.#firstMs.add(ms);
  }

  learnPace(ms: number): void {
    this.paceMs = this.paceMs === null ? ms : this.paceMs + (ms - this.paceMs) * PACE_SMOOTHING;
  }
}

/** One request, or one session with many answers. */
export class Attempt {
  readonly member: PoolMember;
  readonly #clock: Clock;
  readonly #startMs: number;
  /** The breaker waits for its outcome. */
  readonly #isTrial: boolean;
  #isOver = false;
  #hasAnswered = false;

  constructor(member: PoolMember, clock: Clock, isTrial: boolean) {
    this.member = member;
    this.#clock = clock;
    this.#startMs = clock.now();
    this.#isTrial = isTrial;
  }

  /** It works; the first time tells how fast. `ms`: since when it was waited for, for sessions. */
  answered(ms = this.#clock.now() - this.#startMs, isSession = false): void {
    if (this.#hasAnswered && !isSession) return;
    this.#hasAnswered = true;
    this.member.learnFirst(ms);
    this.member.rate.note(true, ms);
    this.member.breaker.succeeded();
  }

  /** It did all that it was asked for; how long that took says nothing of its first word. */
  worked(): void {
    this.#hasAnswered = true;
    this.member.rate.note(true, null);
    this.member.breaker.succeeded();
  }

  /** It failed; ends it. What we gave up ourselves says nothing. */
  failed(error: unknown, failure: FailureClass = failureOf(error)): void {
    if (this.#isOver) return;
    if (failure === 'aborted') return this.end();
    const { member } = this;
    member.lastError = error;
    member.events.failed(member, failure);
    const isItsFault = failure === 'server' || failure === 'quota' || failure === 'auth';
    if (isItsFault) member.rate.note(false, null);
    if (member.isRemote) member.breaker.failed(failure);
    this.end();
  }

  /** Nothing more comes of it. Idempotent. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.member.inFlight -= 1;
    if (this.#isTrial && !this.#hasAnswered) this.member.breaker.released();
  }
}
