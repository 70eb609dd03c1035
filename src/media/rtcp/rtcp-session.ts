/** RTCP of one call, both ways: reports at their times on the pacer's tick, and what the far end reports. */
import type { Clock } from '#lib/clock.ts';
import { RtcpPeer, type RtcpPeerEvents } from './rtcp-peer.ts';
import { RtcpReader } from './rtcp-reader.ts';
import { RtcpSource } from './rtcp-source.ts';
import { rtcpIntervalMs } from './rtcp-timer.ts';
import type { VoipMetrics } from './rtcp-xr.ts';
import { RtcpReporter, shortNtp, type RtcpFigures } from './rtcp.ts';
import type { RtpSender } from '../rtp/rtp-sender.ts';
import type { RtpSequence } from '../rtp/rtp-sequence.ts';
import type { RtpTransport } from '../rtp/rtp-socket.ts';
import type { NegotiatedAudio } from '../types.ts';

/** Our stream, as reports tell of it. */
export type SentStream = Pick<
  RtpSender,
  'ssrc' | 'timestamp' | 'packetsSent' | 'streamPackets' | 'octetsSent'
>;

export type RtcpParts = {
  readonly clock: Clock;
  readonly transport: RtpTransport;
  readonly sender: SentStream;
  readonly sequence: RtpSequence;
  readonly cname: string;
  /** 0..1; default: Math.random. Its only use is not to be in step with others. */
  readonly random?: () => number;
  /** What we measured of the stream we receive; null: nothing yet. */
  readonly voip: (nowMs: number) => VoipMetrics | null;
  readonly reported: RtcpPeerEvents['reported'];
};

/** UDP over IPv4, which the interval counts (RFC 3550 6.2). */
const LOWER_BYTES = 28;
/** One voice at 64 kbit/s with its headers; it decides the interval only if packets grow beyond 250 bytes. */
const SESSION_BPS = 80_000;
/** Before any packet is known. */
const FIRST_BYTES = 128;

export class RtcpSession {
  readonly peer: RtcpPeer;
  readonly #parts: RtcpParts;
  readonly #reporter: RtcpReporter;
  readonly #reader = new RtcpReader();
  readonly #source = new RtcpSource();
  readonly #random: () => number;
  /** Unix time less the clock's: read once, so that a step of the system's clock is not taken for a long trip. */
  readonly #wallOriginMs: number;
  #nextMs = Number.POSITIVE_INFINITY;
  #meanBytes = FIRST_BYTES;
  /** Packets sent at the last two reports. */
  #sentBefore = 0;
  #sentLast = 0;
  #restarts = 0;
  #lostBefore = 0;
  #foreign = 0;
  #malformed = 0;

  constructor(parts: RtcpParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    this.#reporter = new RtcpReporter(parts.cname);
    this.#wallOriginMs = parts.clock.wallMs() - parts.clock.now();
    this.peer = new RtcpPeer(parts.sender.ssrc, { reported: parts.reported });
    parts.transport.onRtcp((bytes, address, port, atMs = parts.clock.now()) =>
      this.datagram(bytes, address, port, atMs),
    );
  }

  /** Packets of others than the call's far end. */
  get foreign(): number {
    return this.#foreign;
  }

  /** Packets of the far end that were none. */
  get malformed(): number {
    return this.#malformed;
  }

  /** The first report is due one to three seconds from now. */
  start(nowMs: number): void {
    this.#plan(nowMs, true);
  }

  negotiate(audio: NegotiatedAudio): void {
    this.#source.negotiate(audio);
    this.#route();
  }

  /** The source of the audio is known. */
  latched(address: string, port: number): void {
    this.#source.latched(address, port);
    this.#route();
  }

  /** Call it every frame; `canReach`: there is somebody to report to, be the call on hold or not (RFC 3264 5.1). */
  tick(nowMs: number, canReach: boolean): void {
    if (nowMs < this.#nextMs) return;
    this.#plan(nowMs, false);
    if (canReach) this.send(false);
  }

  /** A report now; with `isBye` the last one. */
  send(isBye: boolean): void {
    const { clock, transport, sender } = this.#parts;
    const nowMs = clock.now();
    const wallMs = this.#wallOriginMs + nowMs;
    const isSender = sender.packetsSent > this.#sentBefore;
    this.peer.follow(sender.ssrc);
    this.#sentBefore = this.#sentLast;
    this.#sentLast = sender.packetsSent;
    const figures: RtcpFigures = {
      ssrc: sender.ssrc,
      isSender,
      wallMs,
      rtpTimestamp: sender.timestamp,
      packetsSent: sender.streamPackets,
      octetsSent: sender.octetsSent,
      remote: this.#remote(nowMs),
      voip: this.#parts.voip(nowMs),
    };
    const bytes = this.#reporter.report(figures, isBye);
    if (isSender) this.peer.sent(shortNtp(wallMs), nowMs);
    this.#meanBytes += (bytes.length + LOWER_BYTES - this.#meanBytes) / 16;
    transport.sendRtcp(bytes);
  }

  /** Takes a datagram as it came; never throws for what is in it. */
  datagram(bytes: Uint8Array, address: string, port: number, nowMs: number): void {
    const verdict = this.#source.judge(address, port);
    if (verdict === 'foreign' || (verdict === 'probe' && !this.#isOfStream(bytes))) {
      this.#foreign++;
      return;
    }
    this.peer.begin(nowMs);
    if (!this.#reader.read(bytes, this.peer)) {
      this.#malformed++;
      return;
    }
    this.peer.end(this.#parts.sender.packetsSent);
    this.#meanBytes += (bytes.length + LOWER_BYTES - this.#meanBytes) / 16;
    if (verdict !== 'probe') return;
    this.#source.learn(port);
    this.#route();
  }

  /** Whether it names the sender of the audio we hear: a number that only who hears or sends it knows. */
  #isOfStream(bytes: Uint8Array): boolean {
    const { sequence } = this.#parts;
    if (bytes.length < 8 || sequence.highest < 0) return false;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return view.getUint32(4) === sequence.ssrc;
  }

  #remote(nowMs: number): RtcpFigures['remote'] {
    const { sequence } = this.#parts;
    if (sequence.highest < 0) return null;
    if (sequence.restarts !== this.#restarts) {
      // The counter goes on over new streams, a report is on this one: what it lost before its first report is let go.
      this.#restarts = sequence.restarts;
      this.#lostBefore = sequence.lost;
    }
    return {
      ssrc: sequence.ssrc,
      lost: Math.max(0, sequence.lost - this.#lostBefore),
      expected: sequence.expected,
      highestSequence: sequence.highest,
      jitterUnits: sequence.jitterUnits,
      lastReport: this.peer.lastReportOf(sequence.ssrc),
      delaySinceReport: this.peer.delaySinceReportOf(sequence.ssrc, nowMs),
    };
  }

  #plan(nowMs: number, isFirst: boolean): void {
    const interval = { packetBytes: this.#meanBytes, sessionBps: SESSION_BPS, isFirst };
    this.#nextMs = nowMs + rtcpIntervalMs({ ...interval, random: this.#random() });
  }

  #route(): void {
    const { isMuxed, port } = this.#source.route;
    this.#parts.transport.routeRtcp(isMuxed, port);
  }
}
