/**
 * How much of what is sent an encoder should take for lost, by the reports of the far end. Loss is believed at once, its
 * end only over several reports: the next burst of a bad line is never far. Redundancy itself stays on, for no report
 * comes in time for a first loss.
 */

/** While nothing is known of the path. */
const UNKNOWN = 10;
/** Of libopus, redundancy of 1 % costs 0.4 dB of the voice itself; beyond 25 % it grows no better. */
const LEAST = 1;
const MOST = 25;
/** Of the way down, each report. */
const FALL = 0.25;
/** Differences that are not worth a change. */
const STEP = 3;

export class ExpectedLoss {
  #level = UNKNOWN;
  #percent = UNKNOWN;

  /** 1 to 25. */
  get percent(): number {
    return this.#percent;
  }

  /** The far end lost so much since its report before, 0..100. Returns whether `percent` is another one now. */
  report(lossPct: number): boolean {
    const loss = Math.max(LEAST, Math.min(MOST, lossPct));
    this.#level = loss > this.#level ? loss : this.#level + (loss - this.#level) * FALL;
    const next = Math.round(this.#level);
    if (Math.abs(next - this.#percent) < STEP) return false;
    this.#percent = next;
    return true;
  }
}
