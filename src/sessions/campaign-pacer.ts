/** Spaces the calls of one campaign: between two of them lies at least 1/cps second, whatever came before. */

export class Pacer {
  #intervalMs: number;
  #lastMs: number;

  /** The first call waits as long as any other: nobody knows what was dialled just before. */
  constructor(cps: number, nowMs: number) {
    this.#intervalMs = 1000 / cps;
    this.#lastMs = nowMs;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** When the next call may begin. Time that went by unused is not made up for. */
  get nextMs(): number {
    return this.#lastMs + this.#intervalMs;
  }

  /** A call began. */
  note(nowMs: number): void {
    this.#lastMs = Math.max(this.#lastMs, nowMs);
  }

  setRate(cps: number): void {
    this.#intervalMs = 1000 / cps;
  }
}
