/** So many at a time, and of these half for any one owner: whoever has a slow server does not stop everybody else. */
import type { Clock } from '#lib/clock.ts';

export type FairGateOptions = {
  readonly atOnce: number;
  readonly waiting: number;
  readonly waitMs: number;
  readonly clock: Clock;
};

type Waiting = { readonly owner: string; readonly answer: (isLetIn: boolean) => void };

export class FairGate {
  readonly #options: FairGateOptions;
  readonly #running = new Map<string, number>();
  /** Longest waiting first. */
  #waiting: Waiting[] = [];

  constructor(options: FairGateOptions) {
    this.#options = options;
  }

  /** True: go on, and `leave` in the end. False: too many wait, or it took too long. */
  async enter(owner: string): Promise<boolean> {
    const { waiting, waitMs, clock } = this.#options;
    if (this.#hasPlace(owner)) return this.#letIn(owner);
    const mine = this.#waiting.filter((each) => each.owner === owner).length;
    if (this.#waiting.length >= waiting || mine >= waiting / 2) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const entry = { owner, answer: resolve };
    this.#waiting.push(entry);
    const timer = clock.setTimer(() => {
      this.#waiting = this.#waiting.filter((each) => each !== entry);
      resolve(false);
    }, waitMs);
    const isLetIn = await promise;
    clock.clearTimer(timer);
    return isLetIn;
  }

  leave(owner: string): void {
    const left = (this.#running.get(owner) ?? 0) - 1;
    if (left > 0) this.#running.set(owner, left);
    else this.#running.delete(owner);
    const next = this.#waiting.find((each) => this.#hasPlace(each.owner));
    if (next === undefined) return;
    this.#waiting = this.#waiting.filter((each) => each !== next);
    next.answer(this.#letIn(next.owner));
  }

  #hasPlace(owner: string): boolean {
    const { atOnce } = this.#options;
    const all = [...this.#running.values()].reduce((sum, count) => sum + count, 0);
    return all < atOnce && (this.#running.get(owner) ?? 0) < Math.max(1, atOnce / 2);
  }

  #letIn(owner: string): true {
    this.#running.set(owner, (this.#running.get(owner) ?? 0) + 1);
    return true;
  }
}
