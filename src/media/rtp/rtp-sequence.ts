/** Sequence numbers, loss and jitter of one incoming RTP stream (RFC 3550 A.1, A.3, A.8). */

/** 'stray': does not belong to the stream, unless its successor follows (RFC 3550 A.1, two in sequence). */
export type SequenceVerdict = 'next' | 'reordered' | 'duplicate' | 'restart' | 'stray';

/** Numbers this far back are still told apart as new or duplicate. */
const HISTORY = 1024;
/** A jump further than this is a new start, not loss (RFC 3550 A.1 MAX_DROPOUT). */
const MAX_DROPOUT = 3000;
/** Packets in sequence that are believed: when the line was silent, and while another stream goes on. */
const MIN_SEQUENTIAL = 2;
const SURE = 4;
/** Packets in sequence whose time stands still: so many, and only while nothing else comes, before that is believed. */
const SURE_STANDING = 6;
/** Time stamps that are no whole steps are believed when they are at least so near to the packets' own lengths. */
const LOOSE = 0.25;
/** A stream whose last packet is younger than this goes on. */
const ALIVE_S = 0.035;
/** Packets are whole multiples of 2.5 ms (all codecs of RFC 3551 and Opus) and at most 120 ms long. */
const STEPS_PER_S = 400;
const MAX_STEPS = 48;
/** Sound in perfect order may run this far ahead of real time (a player that sends in bursts); other sound this far. */
const MAX_AHEAD_S = 2;
const MAX_EARLY_S = 0.2;
/** After more lost packets than this, only what is exactly on the line of number and time is believed at once. */
const MAX_STEP_OFF_LINE = 3;
/** What is kept, packet by packet, of how late the sound has become: clocks differ a little. */
const LATE_KEPT = 0.999;
/** After a pause, sound is where the clock says, within this. */
const MAX_PAUSE_ERROR_S = 0.25;
/** What comes later than this was not reordered on the way. */
const MAX_LATE_S = 2;
/** Nothing for so long is a pause of the sender: what comes next is placed by the clock. */
const PAUSE_S = 0.055;
/** A key is not held for longer; its packets all carry the time of its beginning (RFC 4733 2.3). */
const MAX_EVENT_S = 60;
/** Before the first packet of a stream came no more than this were overtaken (RFC 3550 A.1 MAX_MISORDER). */
const MAX_MISORDER = 100;
/** One cycle, so that packets reordered before the first keep positive numbers. */
const HEAD_ROOM = 65_536;

export class RtpSequence {
  #ssrc = -1;
  #first = 0;
  #highest = -1;
  #latest = HEAD_ROOM - 1;
  #receivedHere = 0;
  #lostBefore = 0;
  #duplicated = 0;
  #strays = 0;
  #lastTransit = 0;
  #jitterUnits = 0;
  #restarts = 0;
  #straySsrc = -1;
  #strayNext = -1;
  #strayTimestamp = 0;
  #strayRun = 0;
  #strayUnits = 0;
  /** Time stamp and arrival of the last packet of sound in order, arrival of the last of any kind. */
  #lastTimestamp = 0;
  #lastSoundUnits = 0;
  #lastUnits = 0;
  #wasEvent = false;
  /** Units from packet to packet, as of late; and how far the sound is behind the earliest it has been. */
  #frame = -1;
  #late = 0;
  /** Of a sender who stamps by a clock of his own: no whole steps. */
  #isLoose = false;
  #clockHz = 8000;
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

  /** Packets that belonged to no stream. The first one of a new stream is among them. */
  get strays(): number {
    return this.#strays;
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

  /** First number of the stream, and the one noted last, on the scale of `highest`; -1 before the first packet. */
  get first(): number {
    return this.#highest < 0 ? -1 : this.#first - HEAD_ROOM;
  }

  get latest(): number {
    return this.#latest - HEAD_ROOM;
  }

  /** Whether packet `number` (on the scale of `highest`, of the last 1024) has come. */
  has(number: number): boolean {
    const extended = number + HEAD_ROOM;
    return this.#seen[extended & (HISTORY - 1)] === extended + 1;
  }

  /** Interarrival jitter in RTP time units (RFC 3550 6.4.1). */
  get jitterUnits(): number {
    return this.#jitterUnits;
  }

  /**
   * Takes note of a packet. `arrivalUnits` is its arrival in units of the RTP clock, `clockHz`; `isEvent`: a key, whose
   * time stamp stands still. One whose number and time do not belong together is a stray like one of another stream: it
   * must not take the place of the packet that is still to come under that number.
   */
  note(
    ssrc: number,
    sequence: number,
    timestamp: number,
    arrivalUnits: number,
    clockHz = 8000,
    isEvent = false,
  ): SequenceVerdict {
    if (this.#highest < 0) {
      this.#clockHz = clockHz;
      return this.#restart(ssrc, sequence, timestamp, arrivalUnits, isEvent);
    }
    const step = ((sequence - this.#highest) << 16) >> 16;
    const isFar = ssrc !== this.#ssrc || step > MAX_DROPOUT || step <= -HISTORY;
    if (isFar) return this.#probe(ssrc, sequence, timestamp, arrivalUnits, clockHz, isEvent);
    const extended = this.#highest + step;
    const slot = extended & (HISTORY - 1);
    // Another clock under the same SSRC (RFC 7160 4.2): its time has no relation to that of before.
    const isTurn = !isEvent && clockHz !== this.#clockHz && step > 0 && step <= MAX_STEP_OFF_LINE;
    if (
      extended < this.#first - MAX_MISORDER ||
      (!isTurn && !this.#fits(step, timestamp, arrivalUnits, clockHz, isEvent))
    ) {
      return this.#probe(ssrc, sequence, timestamp, arrivalUnits, clockHz, isEvent);
    }
    this.#latest = extended;
    if (this.#seen[slot] === extended + 1) {
      this.#duplicated++;
      return 'duplicate';
    }
    if (extended < this.#first) this.#first = extended;
    this.#seen[slot] = extended + 1;
    this.#receivedHere++;
    if (step < 0) return 'reordered';
    this.#highest = extended;
    if (isTurn) this.#lastSoundUnits = arrivalUnits;
    if (!isEvent) this.#clockHz = clockHz;
    this.#place(isTurn ? 0 : step, timestamp, arrivalUnits, isEvent);
    this.#measureJitter(timestamp, arrivalUnits);
    return 'next';
  }

  /** Whether a packet `step` numbers after the highest can have this time. */
  #fits(
    step: number,
    timestamp: number,
    arrivalUnits: number,
    clockHz: number,
    isEvent: boolean,
  ): boolean {
    const passed = (timestamp - this.#lastTimestamp) | 0;
    const elapsed = arrivalUnits - this.#lastSoundUnits;
    const unit = clockHz / STEPS_PER_S;
    if (isEvent) {
      return passed <= elapsed + MAX_AHEAD_S * clockHz && passed >= -MAX_EVENT_S * clockHz;
    }
    // The stamps stand still, and have before.
    if (passed === 0 && this.#frame === 0) return elapsed <= MAX_LATE_S * clockHz || step > 0;
    if (step <= 0) {
      const isBehind = passed <= step * unit && passed >= step * MAX_STEPS * unit;
      return isBehind && elapsed - passed <= MAX_LATE_S * clockHz;
    }
    const steps = passed / unit;
    const isPause = this.#wasEvent || arrivalUnits - this.#lastUnits >= PAUSE_S * clockHz;
    const isOnClock = Math.abs(passed - elapsed) <= MAX_PAUSE_ERROR_S * clockHz;
    if (isPause && isOnClock && steps >= step) return true;
    const isWhole = this.#isLoose || Number.isInteger(steps);
    if (!isWhole || steps < step || steps > step * MAX_STEPS) return false;
    if (step === 1 && passed === this.#frame) return passed <= elapsed + MAX_AHEAD_S * clockHz;
    const isOnLine = this.#isLoose || passed === step * this.#frame || step <= MAX_STEP_OFF_LINE;
    return isOnLine && passed <= elapsed + this.#late + MAX_EARLY_S * clockHz;
  }

  #place(step: number, timestamp: number, arrivalUnits: number, isEvent: boolean): void {
    const passed = (timestamp - this.#lastTimestamp) | 0;
    if (!isEvent && step === 1 && !this.#wasEvent) this.#frame = passed;
    this.#wasEvent = isEvent;
    const elapsed = arrivalUnits - this.#lastSoundUnits;
    this.#lastUnits = arrivalUnits;
    if (isEvent) return;
    this.#late = step === 0 ? 0 : Math.max(0, this.#late * LATE_KEPT + elapsed - passed);
    this.#lastTimestamp = timestamp;
    this.#lastSoundUnits = arrivalUnits;
  }

  /**
   * Two in sequence, and in time, begin a stream (RFC 3550 A.1); one alone never does. While the stream of before goes on
   * it takes four: what is made of its own packets may now and then look like two. Time that stands still takes six, and
   * that nothing else goes on.
   */
  #probe(
    ssrc: number,
    sequence: number,
    timestamp: number,
    arrivalUnits: number,
    clockHz: number,
    isEvent: boolean,
  ): SequenceVerdict {
    const passed = (timestamp - this.#strayTimestamp) | 0;
    const limit = Math.max(0, arrivalUnits - this.#strayUnits) + MAX_AHEAD_S * clockHz;
    const isInTime = passed >= 0 && passed <= limit;
    const isNext = ssrc === this.#straySsrc && sequence === this.#strayNext && isInTime;
    this.#strayRun = isNext ? this.#strayRun + 1 : 1;
    const isAlive = arrivalUnits - this.#lastUnits < ALIVE_S * clockHz;
    const stands = passed === 0 && !isEvent;
    const needed = stands ? SURE_STANDING : isAlive ? SURE : MIN_SEQUENTIAL;
    if (this.#strayRun >= needed && !(stands && isAlive)) {
      this.#clockHz = clockHz;
      if (!isEvent) this.#learn(ssrc, passed, clockHz);
      return this.#restart(ssrc, sequence, timestamp, arrivalUnits, isEvent);
    }
    this.#straySsrc = ssrc;
    this.#strayNext = (sequence + 1) & 0xffff;
    this.#strayTimestamp = timestamp;
    this.#strayUnits = arrivalUnits;
    this.#strays++;
    return 'stray';
  }

  /** How the time stamps of the stream run that begins, from the packet before to this one. */
  #learn(ssrc: number, passed: number, clockHz: number): void {
    const isWhole = Number.isInteger((passed * STEPS_PER_S) / clockHz);
    const isNear = Math.abs(passed - this.#frame) <= this.#frame * LOOSE;
    this.#isLoose = !isWhole && ssrc === this.#ssrc && isNear;
    this.#frame = passed;
  }

  #restart(
    ssrc: number,
    sequence: number,
    timestamp: number,
    arrivalUnits: number,
    isEvent: boolean,
  ): SequenceVerdict {
    if (this.#highest >= 0) {
      this.#lostBefore += this.#lostHere();
      this.#restarts++;
    }
    this.#ssrc = ssrc;
    this.#straySsrc = -1;
    this.#strayRun = 0;
    this.#highest = HEAD_ROOM + sequence;
    this.#first = this.#highest;
    this.#latest = this.#highest;
    this.#receivedHere = 1;
    this.#lastTransit = Number.NaN;
    this.#seen.fill(0);
    this.#seen[this.#highest & (HISTORY - 1)] = this.#highest + 1;
    this.#lastTimestamp = timestamp;
    this.#lastSoundUnits = arrivalUnits;
    this.#place(0, timestamp, arrivalUnits, isEvent);
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
