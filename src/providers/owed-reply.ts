/** How long a vendor may take with what it owes. Every piece of a reply puts the end off, so that must cost next to nothing. */
import type { Clock, TimerHandle } from '#lib/clock.ts';

export class OwedReply {
  readonly #clock: Clock;
  readonly #onMissed: (ms: number) => void;
  #timer: TimerHandle | undefined;
  #timerAtMs = 0;
  #ms = 0;
  #dueMs = 0;

  /** `onMissed` is told how long it was waited for. */
  constructor(clock: Clock, onMissed: (ms: number) => void) {
    this.#clock = clock;
    this.#onMissed = onMissed;
  }

  /** Something comes within `ms`; null: nothing is owed any more. */
  expect(ms: number | null): void {
    if (ms === null) {
      this.#clock.clearTimer(this.#timer);
      this.#timer = undefined;
      return;
    }
    this.#ms = ms;
    this.#dueMs = this.#clock.now() + ms;
    // A timer that ends sooner is left to: it looks then what is still to be waited for.
    if (this.#timer === undefined || this.#timerAtMs > this.#dueMs) this.#wait(ms);
  }

  #wait(forMs: number): void {
    const clock = this.#clock;
    clock.clearTimer(this.#timer);
    this.#timerAtMs = clock.now() + forMs;
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      const leftMs = this.#dueMs - clock.now();
      if (leftMs > 0) this.#wait(leftMs);
      else this.#onMissed(this.#ms);
    }, forMs);
  }
}
