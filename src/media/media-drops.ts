/** What the media plane throws away, by where: each queue and each judge of packets has its counter here. */
import type { SrtpCounters } from './srtp/secure-transport.ts';

const FRAME_SAMPLES = 160;

/**
 * `foreign`, `malformed`, `stray`: RTP of others, no RTP, of no stream; `late`: after its time had been read;
 * `caller_ring`: frames that nobody fetched; `send`: packets the system did not take; `rtcp`: RTCP of others or none;
 * `srtp`: packets of either direction that could not be opened or sealed; `tap`: frames a listener did not fetch;
 * `event`: facts of a call that nobody had asked for yet; `effect`: sounds that found no room; `party`: frames that people
 * on a call said too fast or did not fetch; `recording`: frames that the disk did not take.
 */
export const MEDIA_DROPS = [
  'foreign',
  'malformed',
  'stray',
  'late',
  'caller_ring',
  'send',
  'rtcp',
  'srtp',
  'tap',
  'event',
  'effect',
  'party',
  'recording',
] as const;

export type MediaDrop = (typeof MEDIA_DROPS)[number];
export type MediaDrops = { readonly [What in MediaDrop]?: number };

/** The sum of both, kind by kind. */
export function addDrops(one: MediaDrops, other: MediaDrops): MediaDrops {
  const sum: { [What in MediaDrop]?: number } = {};
  for (const what of MEDIA_DROPS) {
    const count = (one[what] ?? 0) + (other[what] ?? 0);
    if (count > 0) sum[what] = count;
  }
  return sum;
}

type Receiver = {
  readonly foreignDropped: number;
  readonly malformedDropped: number;
  readonly tooLate: number;
  readonly sequence: { readonly strays: number };
};

/** The counters of a call's stages. */
export function dropsOf(
  { foreignDropped, malformedDropped, tooLate, sequence }: Receiver,
  caller: { readonly late: number },
  ends: {
    readonly callerRing: { readonly dropped: number };
    readonly transport: { readonly sendErrors: number; readonly counters: SrtpCounters };
  },
  rtcp: { readonly malformed: number; readonly foreign: number },
): MediaDrops {
  const { forged, replayed, unreadable, unsent } = ends.transport.counters;
  return {
    foreign: foreignDropped,
    malformed: malformedDropped,
    stray: sequence.strays,
    late: caller.late + tooLate,
    caller_ring: ends.callerRing.dropped / FRAME_SAMPLES,
    send: ends.transport.sendErrors,
    rtcp: rtcp.malformed + rtcp.foreign,
    srtp: forged + replayed + unreadable + unsent,
  };
}
