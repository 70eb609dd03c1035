/**
 * Connections made before they are needed: a reply does not wait for a handshake. Whoever takes one makes the next be
 * opened; one that has waited too long is closed, since vendors close idle ones at the worst moment.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';

export type Spare = { readonly isOpen: boolean; close(): void };

export type SpareOptions<T extends Spare> = {
  readonly clock: Clock;
  /** Errors: AppError. */
  open(signal: AbortSignal): Promise<T>;
  /** How long one may wait unused. */
  readonly maxIdleMs: number;
  /** Spares that are kept; 0 keeps only what is given back. Default 1. */
  readonly keep?: number;
  /** Those given back that are kept, with the spares. Default `keep`, at least 1. */
  readonly keepAtMost?: number;
  /** Without use for so long, none is kept. Default 60 s. */
  readonly restMs?: number;
};

type Waiting<T> = { readonly spare: T; readonly timer: TimerHandle };

export class SpareSockets<T extends Spare> {
  readonly #options: SpareOptions<T>;
  readonly #abort = new AbortController();
  readonly #waiting: Waiting<T>[] = [];
  #opening = 0;
  #usedAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: SpareOptions<T>) {
    this.#options = options;
  }

  /**
   * One that is open, or a new one; also after `close`, for whoever is in the middle of something. The taker owns it.
   * Errors: those of `open`.
   */
  async take(signal: AbortSignal): Promise<T> {
    this.#usedAtMs = this.#options.clock.now();
    const spare = this.#pick();
    if (spare !== null) {
      this.#prepare();
      return spare;
    }
    const made = await this.#options.open(signal);
    this.#prepare();
    return made;
  }

  /** For the next taker, if it is still good; else it is closed. */
  giveBack(spare: T): void {
    const { keep = 1, keepAtMost = Math.max(1, keep) } = this.#options;
    if (this.#isClosed || !spare.isOpen || this.#waiting.length >= keepAtMost) spare.close();
    else this.#put(spare);
  }

  /** Opens spares now: a call has begun. */
  warm(): void {
    this.#usedAtMs = this.#options.clock.now();
    this.#prepare();
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#abort.abort();
    for (const { spare, timer } of this.#waiting.splice(0)) {
      this.#options.clock.clearTimer(timer);
      spare.close();
    }
  }

  #pick(): T | null {
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) {
      this.#options.clock.clearTimer(next.timer);
      if (next.spare.isOpen) return next.spare;
      next.spare.close();
    }
    return null;
  }

  #put(spare: T): void {
    const timer = this.#options.clock.setTimer(() => {
      const at = this.#waiting.findIndex((each) => each.spare === spare);
      if (at >= 0) this.#waiting.splice(at, 1);
      spare.close();
      const { clock, restMs = 60_000 } = this.#options;
      if (clock.now() - this.#usedAtMs < restMs) this.#prepare();
    }, this.#options.maxIdleMs);
    this.#waiting.push({ spare, timer });
  }

  #prepare(): void {
    const { keep = 1 } = this.#options;
    if (this.#isClosed || this.#waiting.length + this.#opening >= keep) return;
    this.#opening += 1;
    this.#options.open(this.#abort.signal).then(
      (spare) => {
        this.#opening -= 1;
        if (this.#isClosed) spare.close();
        else this.#put(spare);
      },
      () => {
        // Whoever needs one opens it himself, and is told what is wrong.
        this.#opening -= 1;
      },
    );
  }
}
