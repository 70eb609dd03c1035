/** The agent's own time: call time that stands still while the call is on hold. All in ms. */
export class TurnTime {
  readonly #callTimeMs: () => number;
  /** How long the call has been on hold, without a hold that is going on. */
  #heldMs = 0;
  #heldSinceMs: number | null = null;
  /** Call times of the latest hold that is over. */
  #lastHold = { fromMs: 0, toMs: 0 };

  constructor(callTimeMs: () => number) {
    this.#callTimeMs = callTimeMs;
  }

  get stands(): boolean {
    return this.#heldSinceMs !== null;
  }

  now(): number {
    return this.of(this.#callTimeMs());
  }

  /** A moment of the call in the agent's time; one within a hold is the hold's beginning. */
  of(callMs: number): number {
    return Math.min(callMs, this.#heldSinceMs ?? callMs) - this.#heldMs;
  }

  /** The moment of the call that `turnMs`, of now or shortly before, was. */
  toCall(turnMs: number): number {
    return turnMs + this.#heldMs;
  }

  stop(): void {
    this.#heldSinceMs ??= this.#callTimeMs();
  }

  go(): void {
    if (this.#heldSinceMs === null) return;
    const toMs = this.#callTimeMs();
    this.#lastHold = { fromMs: this.#heldSinceMs, toMs };
    this.#heldMs += toMs - this.#heldSinceMs;
    this.#heldSinceMs = null;
  }

  /** Whether a moment of the call lies in the present hold or the one before. */
  isWithinHold(callMs: number): boolean {
    if (this.#heldSinceMs !== null && callMs >= this.#heldSinceMs) return true;
    return callMs >= this.#lastHold.fromMs && callMs < this.#lastHold.toMs;
  }
}
