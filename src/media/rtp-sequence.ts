/** Sequence numbers, loss and jitter of one incoming RTP stream (RFC 3550 A.1, A.3, A.8). */

/** 'stray': does not belong to the stream, unless its successor follows (RFC 3550 A.1, two in sequence). */
export type SequenceVerdict = 'next' | 'reordered' | 'duplicate' | 'restart' | 'stray';

/** Numbers this far back are still told apart as new or duplicate. */
const HISTORY = 1024;
/** A jump further than this is a new start, not loss (RFC 3550 A.1 MAX_DROPOUT). */
const MAX_DROPOUT = 3000;
/** One cycle, so that packets reordered before the first keep positive numbers. */
const HEAD_ROOM = 65_536;

export class RtpSequence {
  #ssrc = -1;
  #first = 0;
  #highest = -1;
  #receivedHere = 0;
  #lostBefore = 0;
  #duplicated = 0;
  #lastTransit = 0;
  #jitterUnits = 0;
  #restarts = 0;
  #straySsrc = -1;
  #strayNext = -1;
  /** Extended number + 1 of the packet last seen in each slot. */
  readonly #seen = new Int32Array(HISTORY);

  get ssrc(): number {
    return this.#ssrc;
  }

  /** Packets that never came, as of now; one that comes late is taken off again. */
  get lost(): number {
    return this.#lostBefore + this.#lostHere();
  }

  get duplicated(): number {
    return this.#duplicated;
  }

  /** New streams after the first: changes of SSRC and jumps. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Packets of the current stream that should have come by now (RFC 3550 A.3). */
  get expected(): number {
    return this.#highest < 0 ? 0 : this.#highest - this.#first + 1;
  }

  /** Highest extended sequence number of the stream (RFC 3550 6.4.1); -1 before the first packet. */
  get highest(): number {
    return this.#highest < 0 ? -1 : this.#highest - HEAD_ROOM;
  }

  /** Interarrival jitter in RTP time units (RFC 3550 6.4.1). */
  get jitterUnits(): number {
    return this.#jitterUnits;
  }

  /** Takes note of a packet. `arrivalUnits` is its arrival in RTP time units. */
  note(ssrc: number, sequence: number, timestamp: number, arrivalUnits: number): SequenceVerdict {
    if (this.#highest < 0) return this.#restart(ssrc, sequence);
    const step = ((sequence - this.#highest) << 16) >> 16;
    if (ssrc !== this.#ssrc || step > MAX_DROPOUT || step <= -HISTORY) {
      return this.#probe(ssrc, sequence);
    }
    const extended = this.#highest + step;
    const slot = extended & (HISTORY - 1);
    if (extended < this.#first) this.#first = extended;
    if (this.#seen[slot] === extended + 1) {
      this.#duplicated++;
      return 'duplicate';
    }
    this.#seen[slot] = extended + 1;
    this.#receivedHere++;
    if (step < 0) return 'reordered';
    this.#highest = extended;
    this.#measureJitter(timestamp, arrivalUnits);
    return 'next';
  }

  #probe(ssrc: number, sequence: number): SequenceVerdict {
    if (ssrc === this.#straySsrc && sequence === this.#strayNext) {
      return this.#restart(ssrc, sequence);
    }
    this.#straySsrc = ssrc;
    this.#strayNext = (sequence + 1) & 0xffff;
    return 'stray';
  }

  #restart(ssrc: number, sequence: number): SequenceVerdict {
    if (this.#highest >= 0) {
      this.#lostBefore += this.#lostHere();
      this.#restarts++;
    }
    this.#ssrc = ssrc;
    this.#straySsrc = -1;
    this.#highest = HEAD_ROOM + sequence;
    this.#first = this.#highest;
    this.#receivedHere = 1;
    this.#lastTransit = Number.NaN;
    this.#seen.fill(0);
    this.#seen[this.#highest & (HISTORY - 1)] = this.#highest + 1;
    return 'restart';
  }

  #lostHere(): number {
    if (this.#highest < 0) return 0;
    return Math.max(0, this.expected - this.#receivedHere);
  }

  #measureJitter(timestamp: number, arrivalUnits: number): void {
    const transit = arrivalUnits - timestamp;
    const change = (transit - this.#lastTransit) % 4_294_967_296;
    this.#lastTransit = transit;
    // A pause of the sender's time stamps is not jitter.
    if (Number.isNaN(change) || Math.abs(change) > 8000) return;
    this.#jitterUnits += (Math.abs(change) - this.#jitterUnits) / 16;
  }
}
