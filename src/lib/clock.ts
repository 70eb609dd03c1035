/** Time as a dependency: the system's clock in production, a simulated one in tests. */

/** Opaque handle of a pending timer. */
export type TimerHandle = { readonly id: unknown };

export type Clock = {
  /** Monotonic milliseconds with a fraction; only differences mean something. */
  now(): number;
  /** Unix time in milliseconds. May jump; never used for intervals. */
  wallMs(): number;
  setTimer(callback: () => void, delayMs: number): TimerHandle;
  clearTimer(handle: TimerHandle | undefined): void;
};

export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (callback, delayMs) => ({ id: setTimeout(callback, delayMs) }),
  clearTimer: (handle) => {
    if (handle !== undefined) clearTimeout(handle.id as NodeJS.Timeout);
  },
};

type SimulatedTimer = { dueMs: number; order: number; callback: () => void };

/** A clock that moves only when told to; timers fire in order of their due time. */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #wallStartMs: number;
  readonly #timers = new Map<number, SimulatedTimer>();

  constructor(wallStartMs = Date.UTC(2026, 0, 1)) {
    this.#wallStartMs = wallStartMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallStartMs + this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): TimerHandle {
    const order = ++this.#order;
    this.#timers.set(order, { dueMs: this.#nowMs + Math.max(0, delayMs), order, callback });
    return { id: order };
  }

  clearTimer(handle: TimerHandle | undefined): void {
    if (handle !== undefined) this.#timers.delete(handle.id as number);
  }

  /** Timers that are still to fire. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on by `ms`, firing every timer that falls due, including those set meanwhile. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#earliest();
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.delete(next.order);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  #earliest(): SimulatedTimer | undefined {
    let best: SimulatedTimer | undefined;
    for (const timer of this.#timers.values()) {
      if (best === undefined || timer.dueMs < best.dueMs) best = timer;
    }
    return best;
  }
}
