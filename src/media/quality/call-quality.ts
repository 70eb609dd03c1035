/**
 * How well a call is heard, measured while it runs: RTCP both ways, what became of the caller's packets, what his audio
 * is like; in the end one record with scores (E-model, by windows of five seconds) and what was wrong. No timer of its
 * own and no allocation per frame.
 */
import { CODEC_FACTS, type CodecName } from '#lib/audio-codec.ts';
import type { Clock } from '#lib/clock.ts';
import { CODEC_IMPAIRMENTS, burstRatioOf, mosOf, rFactor } from './e-model.ts';
import { faultsOf, type FaultFacts, type QualityFault } from './quality-faults.ts';
import { FarBook, type FarQuality } from './quality-far.ts';
import { LossBook } from './quality-loss.ts';
import { SignalBook } from './quality-signal.ts';
import { QualityScores, WINDOW_MS } from './quality-window.ts';
import { RtcpSession, type SentStream } from '../rtcp/rtcp-session.ts';
import { GMIN, type VoipMetrics } from '../rtcp/rtcp-xr.ts';
import type { RtpSequence } from '../rtp/rtp-sequence.ts';
import type { RtpTransport } from '../rtp/rtp-socket.ts';
import { FRAME_MS, SAMPLE_RATE_HZ, type NegotiatedAudio } from '../types.ts';

/** The quality of a call. Scores are 1..4.5, shares 0..100. */
export type CallQuality = {
  /** Of what we hear: mean over time, and the worst window. */
  readonly mos: number;
  readonly mosMin: number;
  readonly r: number;
  /** Of the caller's packets: lost or too late; of these the ones too late, and those recovered and heard all the same. */
  readonly lossPct: number;
  readonly discardedPct: number;
  readonly recoveredPct: number;
  /** Runs of loss against random ones. */
  readonly burstRatio: number;
  readonly jitterMs: number;
  /** Mouth to ear, as far as it is ours to know. */
  readonly delayMs: number;
  /** Null: the far end answered none of our reports. */
  readonly roundTripMs: number | null;
  /** Of what the far end hears, by its reports; null: it sent none. */
  readonly far: FarQuality | null;
  /** Level of the caller's voice, and of his pauses; null: not to be told from each other. */
  readonly voiceDbov: number | null;
  readonly noiseDbov: number | null;
  /** What was wrong, the most important first, and that one; null: nothing. */
  readonly faults: readonly QualityFault[];
  readonly fault: QualityFault | null;
};

export type CallQualityParts = {
  readonly clock: Clock;
  readonly transport: RtpTransport;
  readonly sender: SentStream;
  readonly sequence: RtpSequence;
  readonly cname: string;
  readonly random?: () => number;
  /** Times that the jitter buffer gave out audio, and the mean of how long it had held it, since the start of the call. */
  readonly held: () => number;
  readonly meanHeldMs: () => number;
  /** Of the caller's RTP: the unit of his jitter. */
  readonly clockHz: () => number;
  /** Packets that came in time for the buffer but not for their decoder. */
  readonly dropped: () => number;
  /** The far end lost so much of what we sent since its report before, 0..100. */
  readonly farLoss?: (lossPct: number) => void;
  /** Packets in a row that failed their authentication, at most. Absent: 0. */
  readonly forgedRun?: () => number;
};

/** One way over the network while no round trip is known: a country's width. */
const ASSUMED_NETWORK_MS = 20;
const WALK_MS = 500;
/** 0 dBov is so much above 0 dBm0 (G.711 has its limit at 3.14 dBm0, of a sine). */
const DBM0_OF_DBOV = 6.2;
const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;

export class CallQualityMeter {
  readonly rtcp: RtcpSession;
  /** What is told of with every frame goes there at once. */
  readonly signal = new SignalBook();
  readonly #parts: CallQualityParts;
  readonly #loss: LossBook;
  readonly #heard = new QualityScores();
  readonly #far = new FarBook();
  #codec: CodecName = 'PCMU';
  #sentPacketMs = FRAME_MS;
  #packetMs = FRAME_MS;
  #openFrames = 0;
  #windowMs = 0;
  #walkMs = 0;
  /** Counts at the start of the window. */
  #expected = 0;
  #bad = 0;
  #runs = 0;
  #dropped = 0;
  #held = 0;
  #heldSumMs = 0;
  /** Of the window before. */
  #bufferBeforeMs = 0;
  #jitterSumMs = 0;
  #jitterWindows = 0;
  #isEnded = false;

  constructor(parts: CallQualityParts) {
    const { clock, transport, sender, sequence, cname, random } = parts;
    this.#parts = parts;
    this.#loss = new LossBook(sequence);
    this.rtcp = new RtcpSession({
      ...{ clock, transport, sender, sequence, cname },
      ...(random === undefined ? {} : { random }),
      voip: () => this.#voipMetrics(),
      reported: (lossPct, nowMs) => this.#onFarReport(lossPct, nowMs),
    });
  }

  start(nowMs: number): void {
    this.#windowMs = nowMs;
    this.#walkMs = nowMs;
    this.#far.start(nowMs);
    this.rtcp.start(nowMs);
  }

  negotiate(audio: NegotiatedAudio): void {
    this.#codec = audio.codec;
    this.#sentPacketMs = audio.ptimeMs ?? FRAME_MS;
    this.rtcp.negotiate(audio);
  }

  /** Packet `sequence`, of `length` samples, came; `isLate`: after its time. */
  packet(sequence: number, length: number, isLate: boolean): void {
    this.#packetMs = length / SAMPLES_PER_MS;
    if (isLate) this.#loss.late(sequence);
  }

  /** The sound of packet `sequence` was lost and recovered in time. */
  recovered(sequence: number): void {
    this.#loss.recovered(sequence);
  }

  /** Every so many frames. `isOpen`: both sides were to hear each other in them; `canReach`: the far end has an address. */
  tick(nowMs: number, canReach: boolean, isOpen: boolean, frames = 1): void {
    if (isOpen) this.#openFrames += frames;
    this.rtcp.tick(nowMs, canReach);
    if (nowMs - this.#walkMs < WALK_MS) return;
    this.#walkMs = nowMs;
    this.#walk(false);
    if (nowMs - this.#windowMs >= WINDOW_MS) this.#closeWindow(nowMs);
  }

  /** The call is over: what is left of a window counts too. Idempotent. */
  end(nowMs: number): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#walk(true);
    this.#closeWindow(nowMs);
  }

  /** Null when there was nothing to judge: no packet, and no time for one either. */
  record(packetsReceived: number): CallQuality | null {
    const faults = faultsOf(this.#faultFacts(packetsReceived));
    const isDumb = faults.includes('one_way_audio') || faults.includes('srtp_mismatch');
    if (packetsReceived === 0 && !isDumb) return null;
    const { expected, lost, discarded, recovered, runs } = this.#loss.counts;
    const isDeaf = packetsReceived === 0;
    const perfect = { codec: this.#impairment, lossPct: 0, burstRatio: 1, delayMs: this.#delayMs };
    const r = isDeaf ? 0 : (this.#heard.r ?? rFactor(perfect));
    const mos = isDeaf ? 1 : (this.#heard.mos ?? mosOf(r));
    return {
      ...{ mos, r },
      mosMin: isDeaf ? 1 : (this.#heard.worstMos ?? mos),
      lossPct: isDeaf ? 100 : share(lost + discarded + recovered, expected),
      discardedPct: share(discarded, expected),
      recoveredPct: share(recovered, expected),
      burstRatio: burstRatioOf(lost + discarded, expected, runs),
      jitterMs: this.#jitterMs,
      delayMs: this.#heard.delayMs ?? this.#delayMs,
      roundTripMs: this.rtcp.peer.roundTripMs,
      far: this.#farQuality(),
      voiceDbov: this.signal.levels.voiceDbov,
      noiseDbov: this.signal.levels.noiseDbov,
      faults,
      fault: faults[0] ?? null,
    };
  }

  get #impairment() {
    return CODEC_IMPAIRMENTS[this.#codec];
  }

  /** Mouth to ear of what we hear: the far end's packet, the network, our buffer. */
  get #delayMs(): number {
    return this.#networkMs + this.#packetMs + this.#bufferMs + this.#impairment.lookaheadMs;
  }

  /** Mean of the window so far; in its first moments, and where nothing is heard, that of the one before. */
  get #bufferMs(): number {
    const { held, meanHeldMs } = this.#parts;
    const count = held() - this.#held;
    if (count <= 0) return this.#bufferBeforeMs;
    return Math.max(0, (held() * meanHeldMs() - this.#heldSumMs) / count);
  }

  get #networkMs(): number {
    const trip = this.rtcp.peer.roundTripMs;
    return trip === null ? ASSUMED_NETWORK_MS : trip / 2;
  }

  /** Mean of the windows; before the first one, as it is now. */
  get #jitterMs(): number {
    if (this.#jitterWindows > 0) return this.#jitterSumMs / this.#jitterWindows;
    return this.#jitterNowMs;
  }

  get #jitterNowMs(): number {
    return (this.#parts.sequence.jitterUnits * 1000) / this.#parts.clockHz();
  }

  #walk(isLast: boolean): void {
    const dropped = this.#parts.dropped();
    if (dropped > this.#dropped) this.#loss.dropped(dropped - this.#dropped);
    this.#dropped = dropped;
    this.#loss.walk(isLast);
  }

  #closeWindow(nowMs: number): void {
    const { expected, lost, discarded, runs } = this.#loss.counts;
    const facts = {
      codec: this.#impairment,
      expected: expected - this.#expected,
      bad: lost + discarded - this.#bad,
      runs: runs - this.#runs,
      delayMs: this.#delayMs,
      durationMs: nowMs - this.#windowMs,
    };
    this.#windowMs = nowMs;
    this.#bufferBeforeMs = this.#bufferMs;
    this.#held = this.#parts.held();
    this.#heldSumMs = this.#held * this.#parts.meanHeldMs();
    if (facts.expected > 0) {
      this.#heard.add(facts);
      this.#jitterSumMs += this.#jitterNowMs;
      this.#jitterWindows++;
    }
    this.#expected = expected;
    this.#bad = lost + discarded;
    this.#runs = runs;
  }

  #onFarReport(lossPct: number, nowMs: number): void {
    this.#parts.farLoss?.(lossPct);
    const wayMs = this.#networkMs + this.#sentPacketMs;
    const { voipMetrics: voip } = this.rtcp.peer;
    this.#far.report({ lossPct, voip, codec: this.#impairment, wayMs }, nowMs);
  }

  #farQuality(): FarQuality | null {
    const { jitterUnits, voipMetrics } = this.rtcp.peer;
    const jitterMs = ((jitterUnits ?? 0) * 1000) / CODEC_FACTS[this.#codec].clockHz;
    return this.#far.quality(jitterMs, voipMetrics?.mosCq ?? null);
  }

  #faultFacts(packetsReceived: number): FaultFacts {
    const signal = this.signal;
    const { expected, lost, discarded } = this.#loss.counts;
    return {
      packetsReceived,
      forgedRun: this.#parts.forgedRun?.() ?? 0,
      packetsSent: this.#parts.sender.packetsSent,
      openFrames: this.#openFrames,
      farHearsNothing: this.rtcp.peer.hearsNothing,
      expected,
      lostPct: share(lost, expected),
      discardedPct: share(discarded, expected),
      farLossPct: this.#far.lossPct(WINDOW_MS),
      jitterMs: this.#jitterMs,
      delayMs: this.rtcp.peer.roundTripMs === null ? null : this.#heard.delayMs,
      frames: signal.frames,
      silentFrames: signal.silentFrames,
      clippedFrames: signal.clippedFrames,
      loudFrames: signal.loudFrames,
      speechFrames: signal.speechFrames,
      voiceFrames: signal.levels.voiceFrames,
      voiceDbov: signal.levels.voiceDbov,
      echoFrames: signal.echoFrames,
      agentFrames: signal.agentFrames,
      doubleFrames: signal.doubleFrames,
    };
  }

  /** What we tell of the stream that we receive (RFC 3611 4.7), since its beginning. */
  #voipMetrics(): VoipMetrics | null {
    const { sequence } = this.#parts;
    const { expected, lost, discarded, runs } = this.#loss.counts;
    if (expected === 0) return null;
    const bad = share(lost + discarded, expected);
    const input = {
      codec: this.#impairment,
      lossPct: bad,
      burstRatio: burstRatioOf(lost + discarded, expected, runs),
    };
    const r = rFactor({ ...input, delayMs: this.#delayMs });
    const bufferMs = this.#bufferMs;
    return {
      ssrc: sequence.ssrc,
      lossPct: share(lost, expected),
      discardPct: share(discarded, expected),
      burstDensityPct: 100 * this.#loss.burstDensity,
      gapDensityPct: 100 * this.#loss.gapDensity,
      burstMs: this.#loss.burstLength * this.#packetMs,
      gapMs: this.#loss.gapLength * this.#packetMs,
      roundTripMs: this.rtcp.peer.roundTripMs ?? 0,
      endSystemMs: bufferMs + this.#packetMs + this.#sentPacketMs,
      signalLevelDbm: dbm0Of(this.signal.levels.voiceDbov),
      noiseLevelDbm: dbm0Of(this.signal.levels.noiseDbov),
      gmin: GMIN,
      r,
      mosLq: mosOf(rFactor({ ...input, delayMs: 0 })),
      mosCq: mosOf(r),
      jitterBufferMs: bufferMs,
      jitterBufferMaxMs: bufferMs,
    };
  }
}

function share(part: number, whole: number): number {
  return whole <= 0 ? 0 : (100 * part) / whole;
}

function dbm0Of(dbov: number | null): number | null {
  return dbov === null ? null : dbov + DBM0_OF_DBOV;
}
