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
 * The score is of what we hear: the mean over the call, and its worst five seconds. Null when there was nothing to judge:
 * no packet, and too short a call to miss one. `fault` names the most important thing that was wrong, as measured
 * (docs/operation.md, "Call quality").
 */
function qualityOf({ stats, codec, cause }: FinalInput): Quality | null {
  const quality = stats?.quality ?? null;
  if (quality === null || codec === null) return null;
  // Why nothing was heard says more than that the call was ended for it.
  const isKnown = quality.fault === 'one_way_audio' || quality.fault === 'srtp_mismatch';
  const isLost = cause.type === 'media.lost' && !isKnown;
  return {
    mos: rounded(quality.mos, 100),
    mos_min: rounded(quality.mosMin, 100),
    loss_pct: rounded(quality.lossPct, 100),
    jitter_ms: rounded(quality.jitterMs, 10),
    codec,
    fault: isLost ? 'media_lost' : quality.fault,
  };
}

function rounded(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}
