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
/** Jitter and lateness are kept in so many parts of a unit, as RFC 3550 A.8 does it. */
const PARTS = 64;
const MOST_LATE = 2 ** 24;
/** A change of transit beyond this is a pause of the sender's time stamps, no jitter. */
const MAX_JITTER = 8000;

/**
 * Times and SSRCs are kept modulo 2^32 as integers of 32 bits, and what the usual packet needs comes first: a number with a
 * fraction, or above 2^31, is an object of its own, and each cache line of a call is far away when its packet comes.
 */
export class RtpSequence {
  #ssrc = 0;
  #highest = -1;
  #first = 0;
  #latest = HEAD_ROOM - 1;
  #receivedHere = 0;
  /** Time stamp and arrival of the last packet of sound in order, arrival of the last of any kind. */
  #lastTimestamp = 0;
  #lastSoundUnits = 0;
  #lastUnits = 0;
  #wasEvent = false;
  /** Units from packet to packet, as of late; and how far (in parts) the sound is behind the earliest it has been. */
  #frame = -1;
  #late = 0;
  #clockHz = 8000;
  /** Of a sender who stamps by a clock of his own: no whole steps. */
  #isLoose = false;
  #hasTransit = false;
  #lastTransit = 0;
  /** In parts. */
  #jitter = 0;
  /** All numbers after this one, up to the highest, have come, and are not in `#seen`. */
  #noted = -1;
  #lostBefore = 0;
  #duplicated = 0;
  #strays = 0;
  #restarts = 0;
  #straySsrc = 0;
  #strayNext = -1;
  #strayTimestamp = 0;
  #strayRun = 0;
  #strayUnits = 0;
  /** Extended number + 1 of the packet last seen in each slot. */
  readonly #seen = new Int32Array(HISTORY);

  /** Of the current stream; -1 before the first packet. */
  get ssrc(): number {
    return this.#highest < 0 ? -1 : this.#ssrc >>> 0;
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
    return this.#has(number + HEAD_ROOM);
  }

  /** Interarrival jitter in RTP time units (RFC 3550 6.4.1). */
  get jitterUnits(): number {
    return this.#jitter / PARTS;
  }

  /**
   * Takes note of a packet. `arrival` is its arrival in units of the RTP clock, `clockHz`; `isEvent`: a key, whose
   * time stamp stands still. One whose number and time do not belong together is a stray like one of another stream: it
   * must not take the place of the packet that is still to come under that number.
   */
  note(
    fullSsrc: number,
    sequence: number,
    fullTimestamp: number,
    arrival: number,
    clockHz = 8000,
    isEvent = false,
  ): SequenceVerdict {
    const ssrc = fullSsrc | 0;
    const timestamp = fullTimestamp | 0;
    const arrivalUnits = arrival | 0;
    if (this.#highest < 0) {
      this.#clockHz = clockHz;
      return this.#restart(ssrc, sequence, timestamp, arrivalUnits, isEvent);
    }
    const step = ((sequence - this.#highest) << 16) >> 16;
    const isFar = ssrc !== this.#ssrc || step > MAX_DROPOUT || step <= -HISTORY;
    if (isFar) return this.#probe(ssrc, sequence, timestamp, arrivalUnits, clockHz, isEvent);
    const extended = this.#highest + step;
    // Another clock under the same SSRC (RFC 7160 4.2): its time has no relation to that of before.
    const isTurn = !isEvent && clockHz !== this.#clockHz && step > 0 && step <= MAX_STEP_OFF_LINE;
    if (
      extended < this.#first - MAX_MISORDER ||
      (!isTurn && !this.#fits(step, timestamp, arrivalUnits, clockHz, isEvent))
    ) {
      return this.#probe(ssrc, sequence, timestamp, arrivalUnits, clockHz, isEvent);
    }
    this.#latest = extended;
    if (step !== 1 && !this.#mark(step, extended)) {
      this.#duplicated++;
      return 'duplicate';
    }
    this.#receivedHere++;
    if (step < 0) return 'reordered';
    this.#highest = extended;
    if (isTurn) this.#lastSoundUnits = arrivalUnits;
    if (!isEvent) this.#clockHz = clockHz;
    this.#place(isTurn ? 0 : step, timestamp, arrivalUnits, isEvent);
    this.#measureJitter(timestamp, arrivalUnits);
    return 'next';
  }

  #has(extended: number): boolean {
    if (extended > this.#highest || extended <= this.#highest - HISTORY) return false;
    return extended > this.#noted || this.#seen[extended & (HISTORY - 1)] === extended + 1;
  }

  /** Remembers a packet that is not the one after the highest; false when it has come before. */
  #mark(step: number, extended: number): boolean {
    if (step <= 0 && this.#has(extended)) return false;
    const seen = this.#seen;
    for (let at = Math.max(this.#noted, this.#highest - HISTORY) + 1; at <= this.#highest; at++)
      seen[at & (HISTORY - 1)] = at + 1;
    seen[extended & (HISTORY - 1)] = extended + 1;
    this.#noted = Math.max(this.#highest, extended);
    if (extended < this.#first) this.#first = extended;
    return true;
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
    const elapsed = (arrivalUnits - this.#lastSoundUnits) | 0;
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
    const isPause = this.#wasEvent || ((arrivalUnits - this.#lastUnits) | 0) >= PAUSE_S * clockHz;
    const isOnClock = Math.abs(passed - elapsed) <= MAX_PAUSE_ERROR_S * clockHz;
    if (isPause && isOnClock && steps >= step) return true;
    const isWhole = this.#isLoose || Number.isInteger(steps);
    if (!isWhole || steps < step || steps > step * MAX_STEPS) return false;
    if (step === 1 && passed === this.#frame) return passed <= elapsed + MAX_AHEAD_S * clockHz;
    const isOnLine = this.#isLoose || passed === step * this.#frame || step <= MAX_STEP_OFF_LINE;
    return isOnLine && passed <= elapsed + this.#late / PARTS + MAX_EARLY_S * clockHz;
  }

  #place(step: number, timestamp: number, arrivalUnits: number, isEvent: boolean): void {
    const passed = (timestamp - this.#lastTimestamp) | 0;
    if (!isEvent && step === 1 && !this.#wasEvent) this.#frame = passed;
    this.#wasEvent = isEvent;
    const elapsed = (arrivalUnits - this.#lastSoundUnits) | 0;
    this.#lastUnits = arrivalUnits;
    if (isEvent) return;
    const late = Math.floor(this.#late * LATE_KEPT) + (elapsed - passed) * PARTS;
    this.#late = step === 0 ? 0 : Math.max(0, Math.min(MOST_LATE * PARTS, late));
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
    const limit = Math.max(0, (arrivalUnits - this.#strayUnits) | 0) + MAX_AHEAD_S * clockHz;
    const isInTime = passed >= 0 && passed <= limit;
    const isSame = this.#strayRun > 0 && ssrc === this.#straySsrc;
    const isNext = isSame && sequence === this.#strayNext && isInTime;
    this.#strayRun = isNext ? this.#strayRun + 1 : 1;
    const isAlive = ((arrivalUnits - this.#lastUnits) | 0) < ALIVE_S * clockHz;
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
    this.#strayRun = 0;
    this.#highest = HEAD_ROOM + sequence;
    this.#first = this.#highest;
    this.#latest = this.#highest;
    this.#receivedHere = 1;
    this.#hasTransit = false;
    this.#seen.fill(0);
    this.#noted = this.#highest - 1;
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
    const transit = (arrivalUnits - timestamp) | 0;
    const change = Math.abs((transit - this.#lastTransit) | 0);
    this.#lastTransit = transit;
    const hadTransit = this.#hasTransit;
    this.#hasTransit = true;
    if (!hadTransit || change > MAX_JITTER) return;
    this.#jitter += Math.round((change * PARTS - this.#jitter) / 16);
  }
}
