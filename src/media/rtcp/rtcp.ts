/** What we report in RTCP (RFC 3550 6.4, 6.5, 6.6): a report, the CNAME, the VoIP metrics (RFC 3611), BYE at the end. */
import {
  ByePacket,
  CompoundPacket,
  ReceiverReportPacket,
  ReceptionReport,
  SdesChunk,
  SdesPacket,
  SenderReportPacket,
} from 'rtp.js/packets';
import { voipReport, type VoipMetrics } from './rtcp-xr.ts';

/** Figures of both directions that a report carries. */
export type RtcpFigures = {
  readonly ssrc: number;
  /** Whether we have sent since the report before last: else the report has no sender's part (6.4). */
  readonly isSender: boolean;
  /** Unix time, ms with a fraction. */
  readonly wallMs: number;
  readonly rtpTimestamp: number;
  readonly packetsSent: number;
  readonly octetsSent: number;
  /** The stream we receive; null before its first packet. */
  readonly remote: {
    readonly ssrc: number;
    /** Of this stream. */
    readonly lost: number;
    readonly expected: number;
    readonly highestSequence: number;
    readonly jitterUnits: number;
    /** Middle 32 bits of the NTP time of its last sender report, and 1/65536 s since it came; 0 and 0: none came. */
    readonly lastReport: number;
    readonly delaySinceReport: number;
  } | null;
  /** Null before there is anything to tell. */
  readonly voip: VoipMetrics | null;
};

/** Seconds between 1900 (NTP) and 1970 (Unix). */
const NTP_OFFSET_S = 2_208_988_800;
const CNAME = 1;
const MAX_LOST = 0x7f_ffff;

/** Middle 32 bits of the NTP time at unix time `wallMs`: 1/65536 s. */
export function shortNtp(wallMs: number): number {
  const seconds = Math.floor(wallMs / 1000);
  return (((seconds + NTP_OFFSET_S) & 0xffff) * 65_536 + (fractionOf(wallMs) >>> 16)) >>> 0;
}

export class RtcpReporter {
  readonly #cname: string;
  #ssrcBefore = -1;
  #lostBefore = 0;
  #expectedBefore = 0;

  /** `cname` names the source without saying anything about people or hosts (RFC 7022). */
  constructor(cname: string) {
    this.#cname = cname;
  }

  /** A compound packet: report, CNAME, and BYE when the call ends. */
  report(figures: RtcpFigures, isBye: boolean): Uint8Array {
    const compound = new CompoundPacket();
    const reports = figures.remote === null ? [] : [this.#reception(figures.remote)];
    compound.addPacket(
      figures.isSender ? senderReport(figures, reports) : receiverReport(figures, reports),
    );
    const chunk = new SdesChunk();
    chunk.setSsrc(figures.ssrc);
    chunk.addItem(CNAME, this.#cname);
    const sdes = new SdesPacket();
    sdes.addChunk(chunk);
    compound.addPacket(sdes);
    if (figures.voip !== null) compound.addPacket(voipReport(figures.ssrc, figures.voip));
    if (isBye) {
      const bye = new ByePacket();
      bye.addSsrc(figures.ssrc);
      compound.addPacket(bye);
    }
    compound.serialize();
    const view = compound.getView();
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  }

  #reception(remote: NonNullable<RtcpFigures['remote']>): ReceptionReport {
    if (remote.ssrc !== this.#ssrcBefore) {
      this.#ssrcBefore = remote.ssrc;
      this.#lostBefore = 0;
      this.#expectedBefore = 0;
    }
    const expected = Math.max(0, remote.expected - this.#expectedBefore);
    const lost = Math.max(0, remote.lost - this.#lostBefore);
    this.#expectedBefore = remote.expected;
    this.#lostBefore = remote.lost;
    const report = new ReceptionReport();
    report.setSsrc(remote.ssrc);
    report.setFractionLost(expected === 0 ? 0 : Math.min(255, Math.floor((lost * 256) / expected)));
    report.setTotalLost(Math.min(remote.lost, MAX_LOST));
    report.setHighestSeqNumber(Math.max(0, remote.highestSequence) >>> 0);
    report.setJitter(Math.round(remote.jitterUnits));
    report.setLastSRTimestamp(remote.lastReport);
    report.setDelaySinceLastSR(remote.delaySinceReport);
    return report;
  }
}

function fractionOf(wallMs: number): number {
  return Math.floor(((wallMs % 1000) / 1000) * 2 ** 32) >>> 0;
}

function senderReport(figures: RtcpFigures, reports: ReceptionReport[]): SenderReportPacket {
  const packet = new SenderReportPacket();
  packet.setSsrc(figures.ssrc);
  const seconds = Math.floor(figures.wallMs / 1000);
  packet.setNtpSeconds((seconds + NTP_OFFSET_S) >>> 0);
  packet.setNtpFraction(fractionOf(figures.wallMs));
  packet.setRtpTimestamp(figures.rtpTimestamp);
  packet.setPacketCount(figures.packetsSent >>> 0);
  packet.setOctetCount(figures.octetsSent >>> 0);
  packet.setReports(reports);
  return packet;
}

function receiverReport(figures: RtcpFigures, reports: ReceptionReport[]): ReceiverReportPacket {
  const packet = new ReceiverReportPacket();
  packet.setSsrc(figures.ssrc);
  packet.setReports(reports);
  return packet;
}
