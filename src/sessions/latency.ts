/**
 * The latency waterfall, measured at the wire (design.md 4.9): last caller packet with speech -> first agent packet of
 * the reply. The parts are differences of consecutive instants, so they add up to the whole by construction.
 * All instants are wire time: `performance.timeOrigin + performance.now()`, comparable across threads.
 */
import type { Latency, LatencyPart, Percentiles } from '#lib/call-events.ts';
import type { TurnStages, VendorStage } from '#lib/turn-stages.ts';

/** Instants of one turn, in the order they happen; a missing one takes the time of the one before. */
const INSTANTS = [
  'speechEnd',
  'detected',
  'asked',
  'read',
  'llmFirst',
  'pieceReady',
  'audioReady',
  'firstPacket',
] as const;

export type Instant = (typeof INSTANTS)[number];

/** Which part of the waterfall ends at which instant. */
const PART_ENDING_AT: Record<Exclude<Instant, 'speechEnd'>, LatencyPart> = {
  detected: 'endpointing',
  read: 'stt',
  asked: 'endpointing',
  llmFirst: 'llm',
  pieceReady: 'llm',
  audioReady: 'tts',
  firstPacket: 'pacing',
};

export type TurnLatency = TurnStages & { readonly totalMs: number };

/** Stopwatch of one turn. Each instant is kept the first time it is marked. */
export class TurnTimes {
  readonly #wireMs = new Map<Instant, number>();
  readonly #now: () => number;
  readonly #vendors = new Map<VendorStage, string>();
  /** What the jitter buffer held back of the last speech frame, ms: taken out of the end-pointing part. */
  jitterMs = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  now(): number {
    return this.#now();
  }

  mark(instant: Instant, wireMs = this.#now()): void {
    if (!this.#wireMs.has(instant)) this.#wireMs.set(instant, wireMs);
  }

  /** Whose work a stage was; the first word stands. */
  servedBy(stage: VendorStage, vendor: string): void {
    if (!this.#vendors.has(stage)) this.#vendors.set(stage, vendor);
  }

  at(instant: Instant): number | undefined {
    return this.#wireMs.get(instant);
  }

  /** A stopwatch for another reply to the same words: the caller's side is kept, the agent's begins anew. */
  again(): TurnTimes {
    const copy = new TurnTimes(this.#now);
    copy.jitterMs = this.jitterMs;
    for (const instant of ['speechEnd', 'detected', 'read'] as const) {
      const wireMs = this.#wireMs.get(instant);
      if (wireMs !== undefined) copy.mark(instant, wireMs);
    }
    const stt = this.#vendors.get('stt');
    if (stt !== undefined) copy.servedBy('stt', stt);
    return copy;
  }

  /** Null unless both ends of the waterfall are known. */
  latency(): TurnLatency | null {
    const start = this.#wireMs.get('speechEnd');
    const end = this.#wireMs.get('firstPacket');
    if (start === undefined || end === undefined || end < start) return null;
    const partsMs = { jitter: 0, endpointing: 0, stt: 0, llm: 0, tts: 0, pacing: 0 };
    let previous = start;
    const known = INSTANTS.slice(1)
      .map((instant) => ({
        instant: instant as Exclude<Instant, 'speechEnd'>,
        at: this.#wireMs.get(instant),
      }))
      .filter((entry) => entry.at !== undefined)
      .sort((a, b) => (a.at as number) - (b.at as number));
    for (const { instant, at } of known) {
      const until = Math.min(Math.max(at as number, previous), end);
      partsMs[PART_ENDING_AT[instant]] += until - previous;
      previous = until;
    }
    partsMs.jitter = Math.min(this.jitterMs, partsMs.endpointing);
    partsMs.endpointing -= partsMs.jitter;
    return { totalMs: end - start, partsMs, vendors: Object.fromEntries(this.#vendors) };
  }
}

/** The record's `latency`: percentiles over the turns of a call; null without a measured turn. */
export function summarise(turns: readonly TurnLatency[]): Latency | null {
  if (turns.length === 0) return null;
  const part = (name: LatencyPart): Percentiles =>
    percentiles(turns.map((turn) => turn.partsMs[name]));
  return {
    turns: turns.length,
    mouth_to_ear_ms: percentiles(turns.map((turn) => turn.totalMs)),
    parts_ms: {
      jitter: part('jitter'),
      endpointing: part('endpointing'),
      stt: part('stt'),
      llm: part('llm'),
      tts: part('tts'),
      pacing: part('pacing'),
    },
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
  return { p50: at(0.5), p90: at(0.9), max: at(1) };
}
