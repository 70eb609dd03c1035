/** Scores of one direction: the E-model over each window, their mean weighted by time, and the worst. */
import { burstRatioOf, mosOf, rFactor, type CodecImpairment } from './e-model.ts';

/** What a window of one direction was like. */
export type WindowFacts = {
  readonly codec: CodecImpairment;
  readonly expected: number;
  /** Lost or too late. */
  readonly bad: number;
  readonly runs: number;
  readonly delayMs: number;
  readonly durationMs: number;
};

export const WINDOW_MS = 5000;
/** A shorter rest of a call says little by itself: one lost packet would be a tenth of it. */
const MIN_WORST_MS = WINDOW_MS / 2;

export class QualityScores {
  #weightMs = 0;
  #rSum = 0;
  #mosSum = 0;
  #delaySum = 0;
  #worst = Number.POSITIVE_INFINITY;
  #windows = 0;
  #lastR: number | null = null;
  #lastMos: number | null = null;

  /** A window with nothing to judge is left out. */
  add(facts: WindowFacts): void {
    if (facts.expected <= 0 || facts.durationMs <= 0) return;
    const { codec, bad, expected, runs, delayMs } = facts;
    const lossPct = (100 * bad) / expected;
    this.score(codec, lossPct, burstRatioOf(bad, expected, runs), delayMs, facts.durationMs);
  }

  /** The same, of a loss and burst ratio that somebody else measured. */
  score(
    codec: CodecImpairment,
    lossPct: number,
    burstRatio: number,
    delayMs: number,
    durationMs: number,
  ): void {
    const r = rFactor({ codec, lossPct, burstRatio, delayMs });
    const mos = mosOf(r);
    this.#weightMs += durationMs;
    this.#rSum += r * durationMs;
    this.#mosSum += mos * durationMs;
    this.#delaySum += delayMs * durationMs;
    this.#windows++;
    if (durationMs >= MIN_WORST_MS || this.#windows === 1) this.#worst = Math.min(this.#worst, mos);
    this.#lastR = r;
    this.#lastMos = mos;
  }

  get windows(): number {
    return this.#windows;
  }

  /** Mean over time; null before the first window. */
  get r(): number | null {
    return this.#mean(this.#rSum);
  }

  get mos(): number | null {
    return this.#mean(this.#mosSum);
  }

  get delayMs(): number | null {
    return this.#mean(this.#delaySum);
  }

  get worstMos(): number | null {
    return this.#windows === 0 ? null : this.#worst;
  }

  /** Of the latest window. */
  get lastR(): number | null {
    return this.#lastR;
  }

  get lastMos(): number | null {
    return this.#lastMos;
  }

  #mean(sum: number): number | null {
    return this.#weightMs === 0 ? null : sum / this.#weightMs;
  }
}
