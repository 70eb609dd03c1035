/**
 * Caller audio between arrival and use: a window of samples addressed by call time. Packets are written where their RTP
 * time stamp says, so reordering and any packet length come for free; holes stay marked until they are read.
 *
 * Call time of a packet is when it arrived if the network had no jitter. Whoever reads is not a loudspeaker: what is
 * there without a hole before it is due at once, and only a hole is waited for, as long as packets of this line are
 * late. So sample n is call time n however the wait changes; real-time listeners are paced by LiveLine.
 *
 * What has been read stays for half a second: concealment goes on from it. A call is touched every 20 ms, and each cache
 * line of it is then far away: fields of the usual packet are together, and small integers (a double is boxed).
 */
import type { SoundPast } from './concealment.ts';
import { LEAST_TARGET, PlayoutDelay } from './playout-delay.ts';
import { levelOf, PeriodFinder, stretch } from './time-stretch.ts';

/** Not a value any decoder produces: G.711 stays within +-32,256, others are clamped to -32,767. */
export const EMPTY_SAMPLE = -32_768;

const MS = 8;
const FRAME = 160;
const WINDOW = 16_384;
const MASK = WINDOW - 1;
/** What was read and is still there, as much as a listener in real time may be behind; how far ahead may be written. */
export const KEPT = 5120;
const REACH = WINDOW - KEPT;
/** Longest packet: 200 ms. */
const MAX_PACKET = 1600;
/** Time stamps this far ahead of their arrival have jumped; so far behind, they may have, or the line stood still. */
const MAX_AHEAD = 400 * MS;
const MAX_BEHIND = 1000 * MS;
/** After a placing that was a guess, packets so far ahead within so long say that the line had stood still after all. */
const BURST_AHEAD = 80 * MS;
const BURST_WINDOW = 1000 * MS;
/** Too late after a silence of so long: the line stood still, or the sender's time stamps did while he paused. */
const STOOD_STILL = 200 * MS;
/** In-order packets that all came too late for so long: the path has become longer. */
const LATE_RUN = 200 * MS;
/** Nothing at all comes in the middle of speech: the line stands still, and what was said is worth waiting for. */
const MAX_STALL = 500 * MS;
/** In a pause too, but not of a sender who is known to send nothing then. */
const QUIET_STALL = 200 * MS;
/** A time stamp gap longer than this, with no number missing, is a pause of the sender (silence suppression). */
const PAUSE = 60 * MS;
/** Mean size of a sample: what is below is no speech, and so is what is far below the loudest of late. */
const QUIET = 60;
const QUIET_SHARE = 0.06;
/** A stretch of speech must be this much like its neighbour, and is wanted at least by half of a period. */
const ALIKE = 0.7;
/** Shortest part of a packet that two copies are faded over. */
const MIN_BLEND = 40;
/** So much of a difference is not made good in the middle of speech unless it lasts. */
const URGENT = 16 * MS;
/** Levels are kept in so many parts of one. */
const LEVEL_PARTS = 256;
const LOUDEST_FADING = 0.998;

/** For the packet at hand, of whichever call. */
const period = new PeriodFinder();
const stretched = new Int16Array(2 * MAX_PACKET);

export class JitterBuffer implements SoundPast {
  readonly #delay = new PlayoutDelay();
  /** From `#readPosition` to `#end` a sample or EMPTY_SAMPLE; behind that nothing, whatever is left there from before. */
  readonly #samples = new Int16Array(WINDOW);
  #readPosition = 0;
  /** Up to here nothing is waited for any more: it is there, or it is known that it will not come. */
  #settled = 0;
  /** Behind the last sample written. */
  #end = 0;
  #hasBase = false;
  /** The packet before was placed by a guess; and what was settled and written before that. */
  #isGuess = false;
  #lastTimestamp = 0;
  #lastPosition = 0;
  #lastArrival = 0;
  #lateRunSince = -1;
  #level = 0;
  #loudest = 0;
  #heard = 0;
  #heldSum = 0;
  #heldMost = 0;
  #heldNow = 0;
  #pauseFrom = 0;
  #pauseTo = 0;
  #hasPaused = false;
  #gap = 0;
  /** What the placing was before the last guess, and when that was. */
  #oldOffset = 0;
  #guessedAt = -BURST_WINDOW;
  #settledBefore = 0;
  #endBefore = 0;
  #late = 0;
  #jumps = 0;
  #adapted = 0;
  #inserted = 0;
  #removed = 0;
  #lateRunLeast = 0;

  /** Call time, in samples, of the next sample to be read. */
  get readPosition(): number {
    return this.#readPosition;
  }

  /** How long a missing packet is waited for, in samples. */
  get target(): number {
    return this.#delay.target;
  }

  /** Packets that came after their time had been read. */
  get late(): number {
    return this.#late;
  }

  /** Times the time stamps jumped and the stream was placed anew. */
  get jumps(): number {
    return this.#jumps;
  }

  /** Times the place of the stream was changed to follow the path or the sender's clock. */
  get adapted(): number {
    return this.#adapted;
  }

  /** Samples that were added to and taken out of the stream by that. */
  get inserted(): number {
    return this.#inserted;
  }

  get removed(): number {
    return this.#removed;
  }

  /** How long audio stayed here after its call time, in samples: the latest frame, the mean and the longest. */
  get held(): number {
    return this.#heldNow;
  }

  /** Times that audio was read. */
  get heard(): number {
    return this.#heard;
  }

  get meanHeld(): number {
    return this.#heard === 0 ? 0 : this.#heldSum / this.#heard;
  }

  get mostHeld(): number {
    return this.#heldMost;
  }

  /** Whether what is read next lies in a pause of the sender, where no audio is not loss. */
  get isPause(): boolean {
    return this.#readPosition >= this.#pauseFrom && this.#readPosition < this.#pauseTo;
  }

  /** The packet placed last may be moved yet. */
  get isGuess(): boolean {
    return this.#isGuess;
  }

  /** Whether nothing is to be read but `length` samples from `position` on, with no hole. */
  isAllThere(position: number, length: number): boolean {
    const end = position + length;
    return position === this.#readPosition && end === this.#end && end === this.#settled;
  }

  /** Whether the next sample to be read is missing. */
  get isHole(): boolean {
    return this.#isMissing(this.#readPosition);
  }

  /** Forgets where the stream is placed: the next packet is placed by its arrival. */
  restart(): void {
    this.#hasBase = false;
    this.#delay.restart();
  }

  /**
   * Writes a packet's samples; `arrival` is its call time in samples, `inOrder` false for a reordered one, `follows`
   * true where no number is missing before it. Returns the call time of its first sample.
   */
  put(
    timestamp: number,
    pcm: Int16Array,
    length: number,
    arrival: number,
    inOrder: boolean,
    follows = false,
  ): number {
    const next = this.#lastPosition + ((timestamp - this.#lastTimestamp) | 0);
    if (inOrder && follows && this.#isUsual(next, length, arrival)) {
      this.#lastTimestamp = timestamp | 0;
      this.#lastPosition = next;
      this.#lastArrival = arrival;
      this.#lateRunSince = -1;
      this.#delay.note(arrival - next, arrival);
      this.#hear(pcm, length);
      if (this.#delay.wish === 0) this.#append(pcm, length);
      else this.#follow(pcm, length, next, arrival - next, arrival);
      return next;
    }
    const position = this.#place(timestamp, length, arrival, inOrder);
    if (position + length <= this.#readPosition) this.#late++;
    const late = arrival - position;
    if (!inOrder) {
      if (late > 0 && late < MAX_BEHIND) this.#delay.note(late, arrival);
      this.#write(pcm, length, position);
      return position;
    }
    if (late < MAX_BEHIND) this.#delay.note(late, arrival);
    // Not while something else is missing: what lies before the packet's forerunner may still come.
    if (follows && this.#settled >= this.#end) {
      if (position - this.#end > PAUSE && this.#end > 0) this.#hasPaused = true;
      this.#settle(position);
    }
    this.#hear(pcm, length);
    this.#follow(pcm, length, position, late, arrival);
    return position;
  }

  /**
   * How many samples, a frame at most, can be read at call time `now`: they are there, or have been waited for.
   * `mayStall` false: what does not come is not speech held up on its way.
   */
  due(now: number, mayStall = true): number {
    const at = this.#readPosition;
    if (at > now) return 0;
    if (this.#settled > at) return Math.min(FRAME, this.#settled - at);
    if (now - at < LEAST_TARGET) return 0;
    const isStill = mayStall && this.#end <= at && this.#hasBase;
    const patience = isStill ? Math.max(this.#stall, this.#delay.target) : this.#delay.target;
    return now - at < patience ? 0 : this.#holeLength();
  }

  /** Copies what is read next to `into`, EMPTY_SAMPLE where none came; returns how many were there. */
  look(into: Int16Array): number {
    const count = into.length;
    const at = this.#readPosition;
    const there = Math.min(count, Math.max(0, this.#end - at));
    let present = 0;
    for (let i = 0; i < there; i++) {
      const sample = this.#samples[(at + i) & MASK] as number;
      into[i] = sample;
      if (sample !== EMPTY_SAMPLE) present++;
    }
    for (let i = there; i < count; i++) into[i] = EMPTY_SAMPLE;
    return present;
  }

  /** The next `count` samples have been read at call time `now`; `present` of them were there. */
  pass(count: number, present: number, now: number): void {
    if (present > 0) this.#noteHeld(now - this.#readPosition);
    this.#readPosition += count;
    if (this.#settled < this.#readPosition || this.#settled < this.#end)
      this.#settle(this.#readPosition);
  }

  /** Both at once. */
  take(into: Int16Array, now = this.#readPosition): number {
    const present = this.look(into);
    this.pass(into.length, present, now);
    return present;
  }

  /** What was made of what is read next: others may ask for it when it has been read. */
  keep(frame: Int16Array): void {
    const at = this.#readPosition;
    for (let i = 0; i < frame.length; i++) this.#samples[(at + i) & MASK] = frame[i] as number;
  }

  /** Copies the last `count` samples that were read, KEPT at most, to the start of `into`. */
  copyPast(into: Int16Array, count: number): void {
    const from = this.#readPosition - count;
    for (let i = 0; i < count; i++) into[i] = this.#samples[(from + i) & MASK] as number;
  }

  #isMissing(position: number): boolean {
    return position >= this.#end || this.#samples[position & MASK] === EMPTY_SAMPLE;
  }

  /** Whether a packet that follows the one before lies where all that went before ends, and within what is to be read. */
  #isUsual(position: number, length: number, arrival: number): boolean {
    const late = arrival - position;
    return (
      position === this.#end &&
      position === this.#settled &&
      position >= this.#readPosition &&
      position + length <= this.#readPosition + REACH &&
      late < MAX_BEHIND &&
      late >= -BURST_AHEAD &&
      length > 0 &&
      this.#hasBase &&
      !this.#isGuess
    );
  }

  /** Writes behind all there is. */
  #append(pcm: Int16Array, length: number): void {
    const samples = this.#samples;
    const end = this.#end;
    const at = end & MASK;
    if (at + length <= WINDOW) for (let i = 0; i < length; i++) samples[at + i] = pcm[i] as number;
    else for (let i = 0; i < length; i++) samples[(end + i) & MASK] = pcm[i] as number;
    this.#end = end + length;
    this.#settled = this.#end;
  }

  /** How long it is waited when nothing comes at all. */
  get #stall(): number {
    if (this.#isLoud()) return MAX_STALL;
    return this.#hasPaused ? 0 : QUIET_STALL;
  }

  /** From where is read to the next sample that is there, a frame at most. */
  #holeLength(): number {
    let length = 1;
    while (length < FRAME && this.#isMissing(this.#readPosition + length)) length++;
    return length;
  }

  /**
   * Copies what is there behind the hole at the reading position to `into`, up to its length, and returns how much that
   * is; `gap` is then how long the hole is. 0: nothing within `reach`.
   */
  peekBehind(into: Int16Array, reach: number): number {
    const at = this.#readPosition;
    let gap = 0;
    while (gap < reach && this.#isMissing(at + gap)) gap++;
    this.#gap = gap;
    if (gap === reach) return 0;
    for (let i = 0; i < into.length; i++) {
      if (this.#isMissing(at + gap + i)) return i;
      into[i] = this.#samples[(at + gap + i) & MASK] as number;
    }
    return into.length;
  }

  get gap(): number {
    return this.#gap;
  }

  #noteHeld(held: number): void {
    this.#heldNow = held;
    this.#heard++;
    this.#heldSum += held;
    if (held > this.#heldMost) this.#heldMost = held;
  }

  /** Up to `position` nothing is waited for; nor for what is there behind it. */
  #settle(position: number): void {
    if (position > this.#settled) {
      if (position - this.#settled > PAUSE && position > this.#readPosition) {
        this.#pauseFrom = this.#settled;
        this.#pauseTo = position;
      }
      this.#settled = position;
    }
    while (!this.#isMissing(this.#settled)) this.#settled++;
  }

  #write(pcm: Int16Array, length: number, position: number): void {
    const from = Math.max(0, this.#readPosition - position);
    const to = Math.min(length, this.#readPosition + REACH - position);
    const gap = Math.max(this.#end, this.#readPosition);
    if (to > from)
      for (let at = gap; at < position + from; at++) this.#samples[at & MASK] = EMPTY_SAMPLE;
    for (let i = from; i < to; i++) this.#samples[(position + i) & MASK] = pcm[i] as number;
    if (to > 0 && position + to > this.#end) this.#end = position + to;
    if (position <= this.#settled) this.#settle(this.#settled);
  }

  #place(timestamp: number, length: number, arrival: number, inOrder: boolean): number {
    const step = (timestamp - this.#lastTimestamp) | 0;
    let position = this.#lastPosition + step;
    if (!inOrder) return position;
    const passed = arrival - this.#lastArrival;
    const wasGuess = this.#isGuess;
    this.#lastArrival = arrival;
    this.#isGuess = false;
    if (wasGuess && passed < step / 2) position = this.#takeBack(position);
    const ahead = position - arrival;
    const isUnheard = passed > STOOD_STILL && position + length <= this.#readPosition;
    if (!this.#hasBase) {
      position = this.#anchor(arrival);
    } else if (
      ahead > BURST_AHEAD + this.#delay.target &&
      arrival - this.#guessedAt < BURST_WINDOW
    ) {
      position += this.#oldOffset;
      this.#guessedAt = -BURST_WINDOW;
    } else if (ahead > MAX_AHEAD || step < -MAX_BEHIND) {
      this.#jumps++;
      position = this.#anchor(arrival);
    } else if (isUnheard || (ahead < -MAX_BEHIND && !wasGuess)) {
      this.#jumps++;
      this.#isGuess = true;
      this.#settledBefore = this.#settled;
      this.#endBefore = this.#end;
      const placed = this.#anchor(arrival);
      this.#oldOffset = position - placed;
      this.#guessedAt = arrival;
      position = placed;
    }
    // As an integer of 32 bits: only differences count.
    this.#lastTimestamp = timestamp | 0;
    this.#lastPosition = position;
    return position;
  }

  /**
   * The packet placed by a guess was the first of many that come at once: the line had stood still, and its time is as it
   * was before. What was written is forgotten unless somebody has read it.
   */
  #takeBack(position: number): number {
    this.#end = this.#endBefore;
    this.#settled = Math.max(this.#readPosition, this.#settledBefore);
    this.#pauseTo = this.#pauseFrom;
    this.#guessedAt = -BURST_WINDOW;
    return position + this.#oldOffset;
  }

  /** Where a stream of which nothing is known begins: it has come as late as others did. */
  #anchor(arrival: number): number {
    const position = Math.max(arrival - this.#delay.usual, Math.min(arrival, this.#readPosition));
    this.#hasBase = true;
    this.#delay.restart();
    this.#lateRunSince = -1;
    if (this.#end < position) this.#settle(position);
    return position;
  }

  #hear(pcm: Int16Array, length: number): void {
    const level = Math.round(levelOf(pcm, 0, length) * LEVEL_PARTS);
    this.#level = level;
    this.#loudest = Math.max(level, Math.floor(this.#loudest * LOUDEST_FADING));
  }

  #isLoud(): boolean {
    return this.#level > Math.max(QUIET * LEVEL_PARTS, this.#loudest * QUIET_SHARE);
  }

  /** Writes an in-order packet, made shorter or longer where the stream has to move. */
  #follow(pcm: Int16Array, length: number, position: number, late: number, arrival: number): void {
    if (this.#isLongerPath(length, late, arrival)) {
      const by = this.#lateRunLeast;
      this.#lateRunSince = -1;
      this.#lastPosition += by;
      this.#moved(by);
      this.#inserted += by;
      return this.#write(pcm, length, position + by);
    }
    const { wish } = this.#delay;
    const change =
      wish === 0 || position < this.#readPosition ? 0 : this.#change(pcm, length, wish);
    if (change === 0) return this.#write(pcm, length, position);
    const total = stretch(pcm, length, change, stretched);
    this.#write(stretched, total, position);
    this.#lastPosition += change;
    this.#moved(change);
    if (change > 0) this.#inserted += change;
    else this.#removed -= change;
  }

  #moved(by: number): void {
    this.#delay.moved(by);
    this.#adapted++;
  }

  /** Samples by which this packet can be made longer (less than 0: shorter) towards `wish`, unheard; 0: not at all. */
  #change(pcm: Int16Array, length: number, wish: number): number {
    const most = length - MIN_BLEND;
    if (most < MIN_BLEND) return 0;
    const wanted = Math.abs(wish);
    if (!this.#isLoud()) return Math.sign(wish) * Math.min(wanted, most);
    if (wanted < URGENT) return 0;
    period.find(pcm, 0, length, Math.min(128, most));
    if (period.likeness < ALIKE || period.period > 2 * wanted) return 0;
    return Math.sign(wish) * period.period;
  }

  /** Whether every in-order packet of the last 200 ms has come too late to be read. */
  #isLongerPath(length: number, late: number, arrival: number): boolean {
    if (this.#lastPosition + length > this.#readPosition) {
      this.#lateRunSince = -1;
      return false;
    }
    this.#lateRunLeast = this.#lateRunSince < 0 ? late : Math.min(this.#lateRunLeast, late);
    if (this.#lateRunSince < 0) this.#lateRunSince = arrival;
    return arrival - this.#lateRunSince >= LATE_RUN;
  }
}
