/** The VoIP metrics block of RTCP extended reports (RFC 3611 4.7), in units of people. */
import { VmExtendedReport, XrPacket } from 'rtp.js/packets';

/** `null`: the other side does not know. */
export type VoipMetrics = {
  /** The source that is reported on. */
  ssrc: number;
  /** Of all packets, 0..100 in steps of 0.4. */
  lossPct: number;
  discardPct: number;
  /** Lost or discarded within bursts, and between them. */
  burstDensityPct: number;
  gapDensityPct: number;
  burstMs: number;
  gapMs: number;
  roundTripMs: number;
  /** From the wire to the ear, and from the mouth to the wire, of the side that reports. */
  endSystemMs: number;
  /** Of speech and of the pauses, dBm0. */
  signalLevelDbm: number | null;
  noiseLevelDbm: number | null;
  gmin: number;
  r: number | null;
  /** 1..5: of listening, and of conversation. */
  mosLq: number | null;
  mosCq: number | null;
  jitterBufferMs: number;
  jitterBufferMaxMs: number;
};

/** Of the block with its header. */
export const VOIP_METRICS_BYTES = 36;
/** Packets received in a row that end a burst (RFC 3611 4.7.2). */
export const GMIN = 16;
/** A figure that is not known. */
const UNKNOWN = 127;
const MAX_16 = 0xffff;
const CONCEALS_WELL = 3;
const ADAPTS = 3;

/** The packet that carries `metrics`, from `from`. */
export function voipReport(from: number, metrics: Readonly<VoipMetrics>): XrPacket {
  const block = new VmExtendedReport();
  block.setSsrc(metrics.ssrc);
  block.setLossRate(rate(metrics.lossPct));
  block.setDiscardRate(rate(metrics.discardPct));
  block.setBurstDensity(rate(metrics.burstDensityPct));
  block.setGapDensity(rate(metrics.gapDensityPct));
  block.setBurstDuration(ms(metrics.burstMs));
  block.setGapDuration(ms(metrics.gapMs));
  block.setRoundTripDelay(ms(metrics.roundTripMs));
  block.setEndSystemDelay(ms(metrics.endSystemMs));
  block.setSignalLevel(level(metrics.signalLevelDbm));
  block.setNoiseLevel(level(metrics.noiseLevelDbm));
  block.setResidualEchoReturnLoss(UNKNOWN);
  block.setGmin(metrics.gmin);
  block.setRFactor(metrics.r === null ? UNKNOWN : clamp(metrics.r, 0, 100));
  block.setExternalRFactor(UNKNOWN);
  block.setMosLQ(mos(metrics.mosLq));
  block.setMosCQ(mos(metrics.mosCq));
  block.setPacketLossConcealment(CONCEALS_WELL);
  block.setJitterBufferAdaptive(ADAPTS);
  block.setJitterBufferNominalDelay(ms(metrics.jitterBufferMs));
  block.setJitterBufferMaximumDelay(ms(metrics.jitterBufferMaxMs));
  block.setJitterBufferAbsoluteMaximumDelay(ms(metrics.jitterBufferMaxMs));
  const packet = new XrPacket();
  packet.setSsrc(from);
  packet.addReport(block);
  return packet;
}

/** The block at `at`, of whose length the caller is sure. */
export function readVoipMetrics(view: DataView, at: number): VoipMetrics {
  const percent = (offset: number): number => (view.getUint8(at + offset) * 100) / 256;
  const r = view.getUint8(at + 24);
  return {
    ssrc: view.getUint32(at + 4),
    lossPct: percent(8),
    discardPct: percent(9),
    burstDensityPct: percent(10),
    gapDensityPct: percent(11),
    burstMs: view.getUint16(at + 12),
    gapMs: view.getUint16(at + 14),
    roundTripMs: view.getUint16(at + 16),
    endSystemMs: view.getUint16(at + 18),
    signalLevelDbm: readLevel(view.getInt8(at + 20)),
    noiseLevelDbm: readLevel(view.getInt8(at + 21)),
    gmin: view.getUint8(at + 23),
    r: r > 100 ? null : r,
    mosLq: readMos(view.getUint8(at + 26)),
    mosCq: readMos(view.getUint8(at + 27)),
    jitterBufferMs: view.getUint16(at + 30),
    jitterBufferMaxMs: view.getUint16(at + 32),
  };
}

function rate(percent: number): number {
  return clamp(Math.floor((percent * 256) / 100), 0, 255);
}

function ms(value: number): number {
  return clamp(Math.round(value), 0, MAX_16);
}

/** Two's complement in one byte. */
function level(dbm: number | null): number {
  return dbm === null ? UNKNOWN : clamp(Math.round(dbm), -127, 126) & 0xff;
}

function mos(value: number | null): number {
  return value === null ? UNKNOWN : clamp(Math.round(value * 10), 10, 50);
}

function readLevel(value: number): number | null {
  return value === UNKNOWN ? null : value;
}

function readMos(value: number): number | null {
  return value < 10 || value > 50 ? null : value / 10;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, Math.round(value)));
}
