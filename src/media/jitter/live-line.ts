/**
 * The caller's audio for people who listen in real time: what the jitter buffer has given out, in fits and starts, becomes
 * one frame every 20 ms, as far behind as it has lately had to be. When that changes, silence is shortened or lengthened at once and
 * speech by whole pitch periods; where nothing is there, the sound is continued. Allocates nothing after it was made.
 */
import { Concealment } from './concealment.ts';
import { EMPTY_SAMPLE } from './jitter-buffer.ts';
import { PlayoutDelay } from './playout-delay.ts';
import { blend, levelOf, MAX_PERIOD, PeriodFinder } from './time-stretch.ts';

const MS = 8;
const FRAME = 160;
const KEPT = 8192;
const MASK = KEPT - 1;
/** Further behind than all that waiting and stalls explain: the rest is left out. */
const MAX_LAG = 4096;
/** Differences that nobody changes anything for. */
const SLACK = 6 * MS;
/** In the middle of speech it is not worth it for less than this. */
const SPEECH_SLACK = 20 * MS;
/** Speech is changed in every other frame at most, unless the line is so far off. */
const FAR = 60 * MS;
const MAX_SKIP = 320;
const LEAST_TARGET = 10 * MS;
const MATCH = 320;
const PART = 40;
const ALIKE = 0.6;
/** Mean size of a sample: what is below is no speech, and so is what is far below the loudest of late. */
const QUIET = 60;
const QUIET_SHARE = 0.06;

export class LiveLine {
  readonly #samples = new Int16Array(KEPT);
  readonly #work = new Int16Array(FRAME + MAX_SKIP + MATCH);
  readonly #concealment = new Concealment();
  readonly #period = new PeriodFinder();
  readonly #delay = new PlayoutDelay(LEAST_TARGET);
  #isRunning = false;
  /** Call time, in samples, of the next sample to be heard, and behind the last one there is. */
  #at = 0;
  #end = 0;
  #loudest = 0;
  #hasRest = true;
  #isHeard = false;
  #accelerated = 0;
  #expanded = 0;
  #madeUp = 0;

  /** Milliseconds that were left out of speech and pauses, and that were added. */
  get acceleratedMs(): number {
    return this.#accelerated / MS;
  }

  get expandedMs(): number {
    return this.#expanded / MS;
  }

  /** Samples that nothing was there for. */
  get madeUp(): number {
    return this.#madeUp;
  }

  /** How far the next sample is behind call time `now`. */
  lag(now: number): number {
    return now - this.#at;
  }

  /**
   * What the jitter buffer has given out next; `position`: call time of its first sample. `isHeard` false: nothing of it
   * came, and how late it is tells nothing.
   */
  push(pcm: Int16Array, position: number, isHeard = true): void {
    this.#isHeard = isHeard;
    for (let i = 0; i < pcm.length; i++) this.#samples[(position + i) & MASK] = pcm[i] as number;
    this.#end = position + pcm.length;
  }

  /** Nobody listens: begins anew when somebody does. */
  stop(): void {
    this.#isRunning = false;
  }

  /** The frame to be heard at call time `now`; once each tick, after all that is due was pushed. */
  next(into: Int16Array, now: number): void {
    // What a frame would have had to be behind to be there now.
    const needed = Math.ceil(now) - this.#end + FRAME;
    if (this.#isHeard && needed < MAX_LAG) this.#delay.note(needed, Math.floor(now));
    const { target } = this.#delay;
    if (!this.#isRunning) {
      this.#isRunning = true;
      // Before the call there is silence.
      this.#at = Math.min(this.#end, Math.round(now - target));
    }
    if (now - this.#at > MAX_LAG) this.#jump(Math.round(now - target));
    const there = Math.min(FRAME, this.#end - this.#at);
    if (there < FRAME) return this.#continue(into, Math.max(0, there));
    const off = now - this.#at - target;
    const change = Math.abs(off) <= SLACK ? 0 : this.#change(off);
    const count = FRAME + change;
    const base = change < 0 ? -change : 0;
    this.#copy(this.#at - base, base + Math.max(FRAME, count));
    blend(this.#work, base, base + change, FRAME, into);
    this.#at += count;
    if (change > 0) this.#accelerated += change;
    else this.#expanded -= change;
    this.#concealment.fill(into, FRAME);
  }

  /** Too little is there: the rest is made up, and the line stays where it is. */
  #continue(into: Int16Array, there: number): void {
    this.#copy(this.#at, there);
    for (let i = 0; i < FRAME; i++) into[i] = i < there ? (this.#work[i] as number) : EMPTY_SAMPLE;
    this.#concealment.fill(into, there);
    this.#at += there;
    this.#expanded += FRAME - there;
    this.#madeUp += FRAME - there;
  }

  #jump(to: number): void {
    const by = Math.min(to, this.#end) - this.#at;
    if (by <= 0) return;
    this.#at += by;
    this.#accelerated += by;
  }

  /** Samples by which this frame takes more (less than 0: less) than it gives, unheard; 0: none. */
  #change(off: number): number {
    const length = Math.min(FRAME + MAX_SKIP, this.#end - this.#at);
    this.#copy(this.#at, length);
    // The loudest part counts: a word that begins at the end of it is not to be cut.
    let level = 0;
    for (let from = 0; from < length; from += PART)
      level = Math.max(level, levelOf(this.#work, from, Math.min(PART, length - from)));
    this.#loudest = Math.max(level, this.#loudest * 0.998);
    const most = Math.min(off > 0 ? this.#end - this.#at - FRAME : MAX_PERIOD, MAX_SKIP);
    if (level < Math.max(QUIET, this.#loudest * QUIET_SHARE)) {
      this.#hasRest = true;
      const wanted = Math.min(Math.abs(Math.round(off)), most);
      return off > 0 ? wanted : -wanted;
    }
    if (Math.abs(off) < SPEECH_SLACK) return 0;
    const isFar = Math.abs(off) > FAR;
    this.#hasRest = !this.#hasRest;
    if (this.#hasRest && !isFar) return 0;
    const match = Math.min(MATCH, length);
    this.#period.find(this.#work, 0, match, Math.min(MAX_PERIOD, match - 40));
    const { period, likeness } = this.#period;
    if (period > most || period > 2 * Math.abs(off)) return 0;
    if (likeness < (isFar ? ALIKE / 2 : ALIKE)) return 0;
    return off > 0 ? period : -period;
  }

  #copy(from: number, count: number): void {
    for (let i = 0; i < count; i++) this.#work[i] = this.#samples[(from + i) & MASK] as number;
  }
}
