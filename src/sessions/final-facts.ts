/** What the final event says about a call, from what its parts know at the end. */
import type { Latency, Quality } from '#lib/call-events.ts';
import type { MediaStats } from '#media/types.ts';
import type { AmdFacts } from './answer-watch.ts';
import type { EndCause, Ending } from './outcome.ts';
import type { FinalFacts } from './story.ts';

export type FinalInput = {
  readonly cause: EndCause;
  readonly ending: Ending;
  readonly stats: MediaStats | null;
  readonly codec: string | null;
  readonly latency: Latency | null;
  readonly tokens: number;
  readonly confidence: number | null;
  readonly recordingStatus: 'none' | 'ready' | 'failed';
  /** Who had answered; absent or null: nobody asked. */
  readonly amd?: AmdFacts | null;
};

export function finalFactsOf(input: FinalInput): FinalFacts {
  const { cause, ending, latency, recordingStatus } = input;
  return {
    ending,
    sipStatus: 'status' in cause ? cause.status : null,
    q850: 'q850' in cause ? cause.q850 : null,
    error: errorOf(cause),
    quality: qualityOf(input),
    latency,
    recordingStatus,
    metadata: {
      ...{ total_tokens: input.tokens, avg_confidence: input.confidence },
      ...(input.amd == null ? {} : { amd: input.amd }),
    },
  };
}

function errorOf(cause: EndCause): FinalFacts['error'] {
  if (cause.type === 'fault') return { code: cause.code, message: cause.message };
  if (cause.type === 'callee.refused')
    return { code: 'E_SIP_REJECTED', message: `refused with ${cause.status ?? 'no answer'}` };
  return null;
}

/**
 * E-model for G.711 with concealment (ITU-T G.107, G.113: Ie 0, Bpl 25.1), one-way delay taken as 100 ms until RTCP
 * measures it. `mos_min` equals `mos` while quality is judged over the whole call.
 */
function qualityOf({ stats, codec, cause }: FinalInput): Quality | null {
  if (stats === null || codec === null || stats.packetsReceived === 0) return null;
  const expected = stats.packetsReceived + stats.lost;
  const lossPct = (100 * (stats.lost + stats.late)) / Math.max(1, expected);
  const delayMs = 100;
  const r = 93.2 - 0.024 * delayMs - (95 * lossPct) / (lossPct + 25.1);
  const mos = r <= 0 ? 1 : 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6;
  const rounded = Math.round(Math.min(4.5, Math.max(1, mos)) * 100) / 100;
  return {
    mos: rounded,
    mos_min: rounded,
    loss_pct: Math.round(lossPct * 100) / 100,
    jitter_ms: Math.round(stats.jitterMs * 10) / 10,
    codec,
    fault: cause.type === 'media.lost' ? 'MEDIA_LOST' : null,
  };
}
