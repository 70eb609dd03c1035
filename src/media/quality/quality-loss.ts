/**
 * What became of each packet of the caller: come, lost, or come too late to be heard; and how losses cluster (bursts and
 * gaps of RFC 3611 4.7.2, runs for the E-model). Walks behind the stream, so that a packet has had time to come.
 */
import type { RtpSequence } from '../rtp/rtp-sequence.ts';
import { GMIN } from '../rtcp/rtcp-xr.ts';

/** Packets marked late that the walk has not passed yet; it is at most a second behind, of 10 ms packets. */
const LATE_SLOTS = 256;

/** Counters that only grow; a window is the difference of two. */
export type LossCounts = {
  expected: number;
  /** Neither come nor brought along by another packet. */
  lost: number;
  discarded: number;
  /** Lost on the way, and heard all the same: the packet behind them carried their sound. */
  recovered: number;
  /** Runs of packets lost or discarded. */
  runs: number;
};

export class LossBook {
  readonly counts: LossCounts = { expected: 0, lost: 0, discarded: 0, recovered: 0, runs: 0 };
  readonly #sequence: RtpSequence;
  /** Number + 1 of a packet that was late, by slot. */
  readonly #late = new Int32Array(LATE_SLOTS);
  /** The same of one that was recovered. */
  readonly #recovered = new Int32Array(LATE_SLOTS);
  #restarts = -1;
  /** The next packet to be judged, and the newest one that may be. */
  #next = 0;
  #ripe = -1;
  #wasBad = false;
  /** Good packets since the last bad one, and what the burst in progress holds. */
  #goodRun = GMIN;
  #burstPackets = 0;
  #burstBad = 0;
  #burstsPackets = 0;
  #burstsBad = 0;
  #bursts = 0;

  constructor(sequence: RtpSequence) {
    this.#sequence = sequence;
  }

  /** Packet `sequence` (16 bits), one of the latest, came too late to be heard. */
  late(sequence: number): void {
    this.#follow();
    const { latest } = this.#sequence;
    const number = latest + (((sequence - latest) << 16) >> 16);
    if (number >= 0) this.#late[number & (LATE_SLOTS - 1)] = number + 1;
  }

  /** The sound of packet `sequence` (16 bits), which did not come, was in the one behind it. */
  recovered(sequence: number): void {
    const { highest } = this.#sequence;
    if (highest < 0) return;
    this.#follow();
    const number = highest + (((sequence - highest) << 16) >> 16);
    if (number >= this.#next) this.#recovered[number & (LATE_SLOTS - 1)] = number + 1;
  }

  /** `count` packets that had come were dropped, nobody knows which. */
  dropped(count: number): void {
    this.counts.discarded += count;
    this.counts.runs += count;
  }

  /** Judges what had come by the call before: call it twice a second. `isLast`: judges everything. */
  walk(isLast = false): void {
    const sequence = this.#sequence;
    if (sequence.highest < 0) return;
    this.#follow();
    const until = isLast ? sequence.highest : this.#ripe;
    for (; this.#next <= until; this.#next++) this.#judge(this.#next);
    this.#ripe = sequence.highest;
  }

  /** Another stream has other numbers: what was noted of the one before means nothing there. */
  #follow(): void {
    const { restarts, first } = this.#sequence;
    if (restarts === this.#restarts) return;
    this.#restarts = restarts;
    this.#next = first;
    this.#ripe = -1;
    this.#late.fill(0);
    this.#recovered.fill(0);
  }

  /** Of all packets of bursts, and of all others, the share lost or discarded, 0..1. */
  get burstDensity(): number {
    const { packets, bad } = this.#inBursts;
    return packets === 0 ? 0 : bad / packets;
  }

  get gapDensity(): number {
    const { packets, bad } = this.#inBursts;
    const others = this.counts.expected - packets;
    return others <= 0 ? 0 : (this.counts.lost + this.counts.discarded - bad) / others;
  }

  /** Mean length in packets. */
  get burstLength(): number {
    const { packets, count } = this.#inBursts;
    return count === 0 ? 0 : packets / count;
  }

  get gapLength(): number {
    const { packets, count } = this.#inBursts;
    return (this.counts.expected - packets) / (count + 1);
  }

  #judge(number: number): void {
    const counts = this.counts;
    counts.expected++;
    const slot = number & (LATE_SLOTS - 1);
    const hasCome = this.#sequence.has(number);
    const isRecovered = !hasCome && this.#recovered[slot] === number + 1;
    const isLost = !hasCome && !isRecovered;
    const isDiscarded = hasCome && this.#late[slot] === number + 1;
    if (isRecovered) counts.recovered++;
    if (isLost) counts.lost++;
    else if (isDiscarded) counts.discarded++;
    const isBad = isLost || isDiscarded;
    if (isBad && !this.#wasBad) counts.runs++;
    this.#wasBad = isBad;
    this.#cluster(isBad);
  }

  /** A burst begins and ends with a bad packet and has no GMIN good ones in a row; one bad packet alone is none. */
  #cluster(isBad: boolean): void {
    if (!isBad) {
      this.#goodRun++;
      if (this.#goodRun === GMIN) this.#endBurst();
      return;
    }
    if (this.#goodRun >= GMIN) {
      this.#burstPackets = 1;
      this.#burstBad = 1;
    } else {
      this.#burstPackets += this.#goodRun + 1;
      this.#burstBad++;
    }
    this.#goodRun = 0;
  }

  #endBurst(): void {
    if (this.#burstBad > 1) {
      this.#bursts++;
      this.#burstsPackets += this.#burstPackets;
      this.#burstsBad += this.#burstBad;
    }
    this.#burstPackets = 0;
    this.#burstBad = 0;
  }

  /** Bursts that are over, and the one in progress. */
  get #inBursts(): { packets: number; bad: number; count: number } {
    const isOpen = this.#burstBad > 1;
    return {
      packets: this.#burstsPackets + (isOpen ? this.#burstPackets : 0),
      bad: this.#burstsBad + (isOpen ? this.#burstBad : 0),
      count: this.#bursts + (isOpen ? 1 : 0),
    };
  }
}
