/** What the far end hears of us, as its reports have it: scored by the same model, window by window. */
import type { CodecImpairment } from './e-model.ts';
import { QualityScores } from './quality-window.ts';
import type { VoipMetrics } from '../rtcp/rtcp-xr.ts';

export type FarQuality = {
  readonly mos: number;
  readonly mosMin: number;
  readonly lossPct: number;
  readonly jitterMs: number;
  /** Conversation score by its own reckoning (RFC 3611); null: it does not tell. */
  readonly reportedMos: number | null;
};

/** One report on our stream. */
export type FarReport = {
  /** 0..100, since the report before. */
  readonly lossPct: number;
  readonly voip: VoipMetrics | null;
  readonly codec: CodecImpairment;
  /** From our mouth to its jitter buffer: packet and network. */
  readonly wayMs: number;
};

/** What a far end's jitter buffer holds when it does not say. */
const ASSUMED_BUFFER_MS = 60;

export class FarBook {
  readonly #scores = new QualityScores();
  #sinceMs = 0;
  #lossSum = 0;
  #weightMs = 0;

  start(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  /** The window is from report to report. */
  report({ lossPct, voip, codec, wayMs }: FarReport, nowMs: number): void {
    const durationMs = nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    if (durationMs <= 0) return;
    const bufferMs = voip === null ? ASSUMED_BUFFER_MS : voip.jitterBufferMs;
    const delayMs = wayMs + bufferMs + codec.lookaheadMs;
    const badPct = Math.min(100, lossPct + (voip?.discardPct ?? 0));
    this.#scores.score(codec, badPct, 1, delayMs, durationMs);
    this.#lossSum += badPct * durationMs;
    this.#weightMs += durationMs;
  }

  /** Mean share of our packets that it did not get; null while its reports are about less than `leastMs`. */
  lossPct(leastMs: number): number | null {
    return this.#weightMs < leastMs ? null : this.#lossSum / this.#weightMs;
  }

  /** Null: it sent no report on our stream. */
  quality(jitterMs: number, reportedMos: number | null): FarQuality | null {
    const { mos, worstMos } = this.#scores;
    if (mos === null || worstMos === null) return null;
    return { mos, mosMin: worstMos, lossPct: this.lossPct(0) ?? 0, jitterMs, reportedMos };
  }
}
