/**
 * What the far end says in its RTCP about the call: how our audio reaches it, the round trip, its sender's clock. Believes
 * only what fits: blocks on our stream, answers to sender reports that we sent.
 */
import type { ReceptionBlock, RtcpSink } from './rtcp-reader.ts';
import type { VoipMetrics } from './rtcp-xr.ts';

/** Sender reports that may still be answered: those of 40 s. */
const KEPT_REPORTS = 8;
/** A longer round trip than this is no conversation, and more likely a lie. */
const MAX_ROUND_TRIP_MS = 10_000;
/** The far end may round its delay up, so that a short trip comes out below zero. */
const SLACK_MS = 50;
const UNITS_PER_MS = 65.536;
/** Weight of a new round trip in the mean (that of RFC 6298). */
const SMOOTHING = 1 / 8;
/** Reports in a row, each after a second of our audio or more, without a new packet of ours: ten seconds and more. */
const DEAF_REPORTS = 3;
const MIN_SENT = 50;

export type RtcpPeerEvents = {
  /** A report on our stream came; `lossPct` (0..100) since the one before. */
  reported(lossPct: number, nowMs: number): void;
};

export class RtcpPeer implements RtcpSink {
  #ourSsrc: number;
  readonly #events: RtcpPeerEvents;
  readonly #sentNtp = new Float64Array(KEPT_REPORTS).fill(-1);
  readonly #sentAtMs = new Float64Array(KEPT_REPORTS);
  #sentReports = 0;
  #nowMs = 0;
  #roundTripMs: number | null = null;
  #jitterUnits: number | null = null;
  #totalLost = 0;
  #voip: VoipMetrics | null = null;
  #senderSsrc = -1;
  #senderNtp = 0;
  #senderAtMs = 0;
  #highest = -1;
  /** Whether the packet that is read tells of new packets of ours. */
  #isAdvancing = false;
  #deaf = 0;
  /** It is one that reports on what it hears at all: some gateways never do, and that says nothing. */
  #doesReport = false;
  #packetsBefore = 0;
  #reports = 0;
  #saidBye = false;

  constructor(ourSsrc: number, events: RtcpPeerEvents) {
    this.#ourSsrc = ourSsrc;
    this.#events = events;
  }

  /** Our stream goes on under another SSRC, which nobody has reported on yet. */
  follow(ourSsrc: number): void {
    if (ourSsrc === this.#ourSsrc) return;
    this.#ourSsrc = ourSsrc;
    this.#totalLost = 0;
    this.#highest = -1;
  }

  /** Smoothed; null before the far end has answered one of our sender reports. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** Of our stream, as last reported, in RTP time units; null: it was not. */
  get jitterUnits(): number | null {
    return this.#jitterUnits;
  }

  /** Of our packets, in all, as last reported. */
  get totalLost(): number {
    return this.#totalLost;
  }

  /** The latest VoIP metrics on our stream. */
  get voipMetrics(): VoipMetrics | null {
    return this.#voip;
  }

  /** Compound packets read. */
  get reports(): number {
    return this.#reports;
  }

  get saidBye(): boolean {
    return this.#saidBye;
  }

  /** It says, report after report and while we send, that nothing of ours arrives, or has ceased to say that it does. */
  get hearsNothing(): boolean {
    return this.#deaf >= DEAF_REPORTS;
  }

  /** We sent a sender report with this time (middle 32 bits) in it. */
  sent(ntp: number, nowMs: number): void {
    const slot = this.#sentReports++ % KEPT_REPORTS;
    this.#sentNtp[slot] = ntp;
    this.#sentAtMs[slot] = nowMs;
  }

  /** A compound packet that came at `nowMs` is about to be read. */
  begin(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#isAdvancing = false;
  }

  /** It has been read; `packetsSent`: ours so far. */
  end(packetsSent: number): void {
    this.#reports++;
    if (this.#isAdvancing) this.#deaf = 0;
    else if (this.#doesReport && packetsSent - this.#packetsBefore >= MIN_SENT) this.#deaf++;
    this.#packetsBefore = packetsSent;
  }

  /** LSR of our report on stream `ssrc`: 0 when no report of its sender has come. */
  lastReportOf(ssrc: number): number {
    return ssrc === this.#senderSsrc ? this.#senderNtp : 0;
  }

  /** DLSR, 1/65536 s. */
  delaySinceReportOf(ssrc: number, nowMs: number): number {
    if (ssrc !== this.#senderSsrc) return 0;
    return Math.min(0xffff_ffff, Math.round((nowMs - this.#senderAtMs) * UNITS_PER_MS));
  }

  report(ssrc: number, ntp: number | null): void {
    if (ntp === null) return;
    this.#senderSsrc = ssrc;
    this.#senderNtp = ntp;
    this.#senderAtMs = this.#nowMs;
  }

  reception(_from: number, block: Readonly<ReceptionBlock>): void {
    this.#doesReport = true;
    if (block.ssrc !== this.#ourSsrc) return;
    // A receiver that has had nothing may still send a block, with the numbers of before or with none.
    this.#isAdvancing ||= block.highestSequence !== this.#highest && block.highestSequence !== 0;
    this.#highest = block.highestSequence;
    this.#totalLost = Math.max(0, block.totalLost);
    this.#jitterUnits = block.jitterUnits;
    this.#measureTrip(block);
    this.#events.reported((block.fractionLost * 100) / 256, this.#nowMs);
  }

  voip(_from: number, metrics: Readonly<VoipMetrics>): void {
    if (metrics.ssrc === this.#ourSsrc) this.#voip = metrics;
  }

  bye(): void {
    this.#saidBye = true;
  }

  /** 6.4.1: now, less the sender report that is answered, less the time it lay there. */
  #measureTrip({ lastReport, delaySinceReport }: Readonly<ReceptionBlock>): void {
    if (lastReport === 0) return;
    const slot = this.#sentNtp.indexOf(lastReport);
    if (slot < 0) return;
    const sinceMs = this.#nowMs - (this.#sentAtMs[slot] as number);
    const tripMs = sinceMs - delaySinceReport / UNITS_PER_MS;
    if (tripMs < -SLACK_MS || tripMs > MAX_ROUND_TRIP_MS) return;
    const trip = Math.max(0, tripMs);
    this.#roundTripMs =
      this.#roundTripMs === null
        ? trip
        : this.#roundTripMs + (trip - this.#roundTripMs) * SMOOTHING;
  }
}
