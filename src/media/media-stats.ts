/** The counters of one call, put together from its stages. */
import type { CallQualityMeter } from './quality/call-quality.ts';
import type { CallerAudio } from './jitter/caller-audio.ts';
import { dropsOf, type MediaDrops } from './media-drops.ts';
import type { RtpReceiver } from './rtp/rtp-receiver.ts';
import type { RtpSender } from './rtp/rtp-sender.ts';
import type { SecureTransport } from './srtp/secure-transport.ts';
import type { MediaStats, NegotiatedAudio } from './types.ts';

export type CountedStages = {
  readonly receiver: RtpReceiver;
  readonly caller: CallerAudio;
  readonly sender: RtpSender;
  readonly quality: CallQualityMeter;
  readonly ends: {
    readonly callerRing: { readonly dropped: number };
    readonly transport: SecureTransport;
  };
  readonly audio: NegotiatedAudio | null;
  /** Of the stages that tell it themselves. */
  readonly dropped: MediaDrops;
};

export function statsOf(stages: CountedStages): MediaStats {
  const { receiver, caller, sender, quality, ends, audio } = stages;
  const { sequence } = receiver;
  const { transport } = ends;
  return {
    packetsReceived: receiver.packetsReceived,
    packetsSent: sender.packetsSent,
    lost: sequence.lost,
    late: caller.late,
    tooLate: receiver.tooLate,
    recoveredMs: receiver.recoveredMs,
    duplicated: sequence.duplicated,
    concealedMs: caller.concealedMs,
    jitterBuffer: caller.report,
    foreignDropped: receiver.foreignDropped,
    malformedDropped: receiver.malformedDropped,
    jitterMs: (sequence.jitterUnits * 1000) / receiver.clockHz,
    codec: audio?.codec ?? null,
    rtcpReceived: quality.rtcp.peer.reports,
    rtcpMalformed: quality.rtcp.malformed,
    rtcpForeign: quality.rtcp.foreign,
    quality: quality.record(receiver.packetsReceived),
    dropped: { ...dropsOf(receiver, caller, ends, quality.rtcp), ...stages.dropped },
    ...(transport.isSecure ? { srtp: { ...transport.counters } } : {}),
  };
}
