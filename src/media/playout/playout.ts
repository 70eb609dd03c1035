/**
 * What the caller is to hear next: utterances out of the shared ring, frame by frame, with pause and resume at the
 * sample and an exact count of what was sent. Silence where there is nothing, and no click on the way there or back.
 */
import type { SampleRing } from '#lib/sample-ring.ts';
import { amplify, factorOf } from './gain.ts';
import { Seam } from './seam.ts';
import { FRAME_SAMPLES } from '../types.ts';
import type { UtteranceMarks } from './utterance-marks.ts';

/** Told after the frame they belong to has been sent; heard counts are samples. */
export type PlayoutListener = {
  started(utterance: number): void;
  done(utterance: number, heard: number): void;
  paused(utterance: number, heard: number): void;
  resumed(utterance: number): void;
  flushed(utterance: number, heard: number): void;
};

/** Why nothing of an utterance is sent: its voice gives nothing, playout stands still, or nothing may be sent. */
export type PlayoutWait = 'voice' | 'paused' | 'closed';

/** For a frame that begins late. One for all calls: no frame is worked on while another one is. */
const SCRATCH = new Int16Array(FRAME_SAMPLES);

/** First in it what every frame touches. */
export class Playout {
  /** In the middle of an utterance: the next frame is copied as it is, and `#last` ended the one before. */
  #isSmooth = false;
  /** Nothing was in the last frame, nor is anything left of what was before. */
  #isQuiet = true;
  #hasNews = false;
  #isAmplified = false;
  readonly #ring: SampleRing;
  readonly #marks: UtteranceMarks;
  #last = 0;
  #index = 0;
  /** Utterances begun, as last seen. */
  #begun = 0;
  /** Place in the ring, and up to where all is known to be there and of the utterance whose turn it is. */
  #at: number;
  #limit = 0;
  #heard = 0;
  #lastUtterance = 0;
  #lastHeard = 0;
  #isStarted = false;
  #isPaused = false;
  #isStanding = false;
  /** The latest frame was not full: what comes next of the same utterance has a beginning in its middle. */
  #isBroken = false;
  #factor = 1;
  readonly #seam = new Seam();
  /** What happened in the frame being filled: pairs of utterance and samples heard, -1 for its beginning. */
  readonly #inFrame: number[] = [];
  readonly #listener: PlayoutListener;

  constructor(ring: SampleRing, marks: UtteranceMarks, listener: PlayoutListener) {
    this.#ring = ring;
    this.#marks = marks;
    this.#listener = listener;
    this.#at = ring.consumed;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** An utterance is being played or waits to be. */
  get isActive(): boolean {
    if (this.#index < this.#begun) return true;
    this.#begun = this.#marks.count;
    return this.#index < this.#begun;
  }

  /** The next frame would be silence: it need not be taken. */
  get isStill(): boolean {
    return this.#isQuiet && (this.#isPaused || this.#isStanding || !this.isActive);
  }

  /**
   * What keeps the utterance whose turn it is from being sent, were it asked for a frame now; null: there is none, it has
   * nothing to be heard yet, or something else is heard in its place. `closed`: nobody has asked for the frames there are.
   */
  get wait(): PlayoutWait | null {
    if (!this.isActive || this.#isStanding) return null;
    const hasSound = this.#ring.available > 0;
    if (this.#isPaused) return hasSound || this.#heard > 0 ? 'paused' : null;
    if (hasSound) return 'closed';
    return this.#heard > 0 && this.#marks.endOf(this.#index) < 0 ? 'voice' : null;
  }

  /** The utterance whose turn it is, or the last one, and how many samples of it have been sent. */
  get utterance(): number {
    return this.isActive ? this.#marks.utterance(this.#index) : this.#lastUtterance;
  }

  get heard(): number {
    return this.isActive ? this.#heard : this.#lastHeard;
  }

  /** Fills the frame that is about to be sent; returns how many of its samples are utterance, from the start on. */
  take(frame: Int16Array): number {
    const { length } = frame;
    if (this.#isSmooth && this.#reaches(this.#at + length)) {
      this.#read(frame, length);
      this.#last = frame[length - 1] as number;
      return length;
    }
    this.#roughen();
    const filled = this.#isPaused || this.#isStanding ? 0 : this.#fill(frame);
    this.#isBroken = filled < length;
    this.#seam.shape(frame, filled);
    this.#isSmooth = !this.#isBroken && this.#isStarted && this.#seam.isAtRest;
    this.#isQuiet = filled === 0 && this.#seam.isStill;
    this.#last = frame[length - 1] as number;
    return filled;
  }

  /** The frame taken last has left: tells what began and ended in it. */
  sent(): void {
    if (!this.#hasNews) return;
    this.#hasNews = false;
    for (let i = 0; i < this.#inFrame.length; i += 2) {
      const utterance = this.#inFrame[i] as number;
      const heard = this.#inFrame[i + 1] as number;
      if (heard < 0) this.#listener.started(utterance);
      else this.#listener.done(utterance, heard);
    }
    this.#inFrame.length = 0;
  }

  /** Stands still from the next frame on. Answers with `paused`, also when it stood still already. */
  pause(): void {
    this.#isPaused = true;
    this.#roughen();
    this.#listener.paused(this.utterance, this.heard);
  }

  /** Stands still while something else is heard in its place; nothing is told. */
  stand(on: boolean): void {
    this.#isStanding = on;
    if (on) this.#roughen();
  }

  /** Goes on with the sample after the last one sent. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#listener.resumed(this.utterance);
  }

  /**
   * Throws away the utterances before number `count` (of the marks) and the ring up to `position`; ends a pause.
   * Each of them is told by `flushed`; when there was none, the last one played is, so that a flush is always answered.
   */
  flush(count: number, position: number): void {
    this.#isPaused = false;
    this.#roughen();
    this.#ring.skipTo(position);
    this.#at = this.#ring.consumed;
    if (this.#index >= count) {
      this.#listener.flushed(this.#lastUtterance, this.#lastHeard);
      return;
    }
    if (this.#heard > 0) this.#seam.jump();
    while (this.#index < count) {
      this.#listener.flushed(this.#marks.utterance(this.#index), this.#heard);
      this.#leave();
    }
  }

  /** What follows is no matter of copying alone: the seam must know where it begins. */
  #roughen(): void {
    if (!this.#isSmooth) return;
    this.#isSmooth = false;
    this.#seam.follow(this.#last);
  }

  /** Whether all up to `to` is there and of the utterance whose turn it is, and that goes on behind it. */
  #reaches(to: number): boolean {
    return to < this.#limit || (this.#look() < 0 ? to <= this.#limit : to < this.#limit);
  }

  /** Looks how far the utterance whose turn it is has been written. Returns where it ends, -1 while it is open. */
  #look(): number {
    // The order matters: what is written before the end is seen as open belongs to this utterance.
    const written = this.#ring.written;
    const end = this.#marks.endOf(this.#index);
    this.#limit = end < 0 ? written : end;
    return end;
  }

  #fill(frame: Int16Array): number {
    let filled = 0;
    while (this.isActive) {
      const end = this.#look();
      const count = Math.min(frame.length - filled, this.#limit - this.#at);
      if (count > 0) {
        this.#copy(frame, filled, count);
        filled += count;
      }
      if (end < 0 || this.#at < end) break;
      this.#tell(this.#heard);
      this.#leave();
    }
    return filled;
  }

  #copy(frame: Int16Array, offset: number, count: number): void {
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#factor = factorOf(this.#marks.gainDb(this.#index));
      this.#isAmplified = this.#factor !== 1;
      this.#tell(-1);
    } else if (this.#isBroken && offset === 0) this.#seam.rise();
    // Nearly always the frame is one utterance; only where two meet, or one begins late, is a second copy needed.
    const into = offset === 0 ? frame : SCRATCH;
    this.#read(into, count);
    if (offset > 0) for (let i = 0; i < count; i++) frame[offset + i] = into[i] as number;
  }

  #read(into: Int16Array, count: number): void {
    this.#ring.take(into, count);
    if (this.#isAmplified) amplify(into, this.#factor, 0, count);
    this.#at += count;
    this.#heard += count;
  }

  #tell(heard: number): void {
    this.#inFrame.push(this.#marks.utterance(this.#index), heard);
    this.#hasNews = true;
  }

  #leave(): void {
    this.#lastUtterance = this.#marks.utterance(this.#index);
    this.#lastHeard = this.#heard;
    this.#index++;
    this.#marks.markTaken(this.#index);
    this.#heard = 0;
    this.#isStarted = false;
  }
}
