/**
 * Keeps calls from waiting for a provider that is known not to serve. Open: it is not asked. Half-open: one request tries
 * it out. How soon depends on the class of the failure (providers.md 0.5):
 * - `auth`: open at once, for 5 min; an account that was changed is another provider, with a breaker of its own.
 * - `quota`: 0.5, 1, then 2 s, give or take a quarter, until a request works.
 * - `server`: after 3 in a row, or 5 of the last 10: 5 s, doubled each time up to 60 s.
 * - `param`, `content`, `idle`, `aborted`: never held against it.
 */
import type { Clock } from '#lib/clock.ts';
import type { FailureClass } from './failures.ts';

export type BreakerState = 'closed' | 'open' | 'half_open';

const AUTH_MS = 5 * 60_000;
const QUOTA_MS = [500, 1_000, 2_000] as const;
const QUOTA_JITTER = 0.25;
const SERVER_MS = 5_000;
const SERVER_MAX_MS = 60_000;
const IN_A_ROW = 3;
const WINDOW = 10;
const OF_WINDOW = 5;
/** A trial that nobody told the end of: a session may be silent for long, and others wait. */
const TRIAL_MS = 5_000;
/** How soon to look again whether a trial is over. */
const TRIAL_LOOK_MS = 100;

export class CircuitBreaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  #until: number | null = null;
  #trialUntil = 0;
  /** The latest outcomes, true for a failure of the server. */
  #recent: boolean[] = [];
  #inARow = 0;
  #openings = 0;
  #quotas = 0;

  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  get state(): BreakerState {
    if (this.#until === null) return 'closed';
    return this.#clock.now() < this.#until ? 'open' : 'half_open';
  }

  /** Until it may be asked; 0: now. While it is tried out: until it is worth looking again. */
  get waitMs(): number {
    const nowMs = this.#clock.now();
    if (this.#until === null) return 0;
    if (nowMs < this.#until) return this.#until - nowMs;
    return Math.min(TRIAL_LOOK_MS, Math.max(0, this.#trialUntil - nowMs));
  }

  /** Whether to ask now; half-open, this one is the trial. */
  tryBegin(): boolean {
    if (this.waitMs > 0) return false;
    if (this.#until !== null) this.#trialUntil = this.#clock.now() + TRIAL_MS;
    return true;
  }

  succeeded(): void {
    // What was asked before it opened says nothing about now.
    if (this.state === 'open') return;
    this.#until = null;
    this.#trialUntil = 0;
    this.#openings = 0;
    this.#quotas = 0;
    this.#inARow = 0;
    this.#note(false);
  }

  failed(failure: FailureClass): void {
    const wasOpen = this.state === 'open';
    if (failure === 'auth') return this.#open(AUTH_MS);
    if (failure === 'quota' && !wasOpen) {
      const ms = QUOTA_MS[Math.min(this.#quotas, QUOTA_MS.length - 1)] ?? 0;
      this.#quotas += 1;
      return this.#open(ms * (1 + QUOTA_JITTER * (2 * this.#random() - 1)));
    }
    if (failure === 'server' && !wasOpen) this.#serverFailed();
  }

  /** The trial ended without a word about the provider. */
  released(): void {
    this.#trialUntil = 0;
  }

  #serverFailed(): void {
    this.#inARow += 1;
    this.#note(true);
    const failed = this.#recent.filter(Boolean).length;
    if (this.#until === null && this.#inARow < IN_A_ROW && failed < OF_WINDOW) return;
    this.#open(Math.min(SERVER_MAX_MS, SERVER_MS * 2 ** this.#openings));
    this.#openings += 1;
    this.#recent = [];
  }

  #note(isFailure: boolean): void {
    this.#recent.push(isFailure);
    if (this.#recent.length > WINDOW) this.#recent.shift();
  }

  #open(ms: number): void {
    this.#until = this.#clock.now() + ms;
    this.#trialUntil = 0;
  }
}
