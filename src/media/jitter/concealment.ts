/**
 * Fills holes in the caller's audio, in place and with no allocation. Where nothing is there behind the hole, the sound
 * goes on and fades from 10 ms to silence at 60 ms, and overlap-add leads back to the signal. Where the signal after
 * the hole is there already, what went before goes on, what comes after goes back, and the one is led over into the other.
 */
import { EMPTY_SAMPLE } from './jitter-buffer.ts';
import { MEMORY, SoundExtension } from './sound-extension.ts';

const HOLD = 80;
const GONE = 480;
/** Holes up to this long are filled from both ends. */
export const MAX_BRIDGE = 960;
/** At least so much must be there behind a hole. */
export const MIN_AFTER = 160;
/** Faded over at the return: 4 ms, and as much again for every 10 ms that were missing. */
const BLEND = 32;
const MAX_BLEND = 80;
/** Where silence is expected the sound falls in 5 ms. */
const FALL = 40;

/** What went before the frame at hand; of whichever call. */
const recent = new Int16Array(MEMORY);
/** For the bridge at hand. */
const one = new Float64Array(MAX_BRIDGE);
const other = new Float64Array(MAX_BRIDGE);
const behind = new Int16Array(MEMORY);

/** Where what was given out is kept. */
export type SoundPast = {
  /** Copies the last `count` samples before the frame at hand to the start of `into`. */
  copyPast(into: Int16Array, count: number): void;
  /** The frame at hand has become this. */
  keep(frame: Int16Array): void;
};

/** A power of two above MEMORY. */
const KEPT = 1024;

/** A ring, and its place. */
class OwnPast implements SoundPast {
  readonly #samples = new Int16Array(KEPT);
  #at = 0;

  copyPast(into: Int16Array, count: number): void {
    const from = this.#at + KEPT - count;
    for (let i = 0; i < count; i++) into[i] = this.#samples[(from + i) & (KEPT - 1)] as number;
  }

  keep(frame: Int16Array): void {
    for (let i = 0; i < frame.length; i++) {
      this.#samples[this.#at] = frame[i] as number;
      this.#at = (this.#at + 1) & (KEPT - 1);
    }
  }
}

export class Concealment {
  readonly #history: SoundPast;
  readonly #past = new SoundExtension();
  readonly #future = new SoundExtension();
  /** What was made for a hole whose end is known, from both ends, and how long it is; 0: one whose end is not. */
  readonly #bridge = new Float64Array(MAX_BRIDGE);
  #bridgeLength = 0;
  /** Samples since the hole began; 0 while the signal is there. */
  #missing = 0;
  #blendLeft = 0;
  #blend = BLEND;
  #lastGain = 0;
  #bridgeAt = 0;
  #isSilent = false;
  #concealed = 0;
  #heardAny = false;

  /** `history`: whoever keeps what is given out anyway; absent: it is kept here. */
  constructor(history: SoundPast = new OwnPast()) {
    this.#history = history;
  }

  /** Milliseconds of sound that were made up. */
  get concealedMs(): number {
    return this.#concealed / 8;
  }

  /** Whether a hole would begin with the next frame that is one. */
  get isIntact(): boolean {
    return this.#missing === 0 && this.#heardAny;
  }

  /** Nothing is missing and nothing is led over: a whole frame would be left as it is, and need not be shown. */
  get isAtRest(): boolean {
    return this.#missing === 0 && this.#blendLeft === 0 && this.#heardAny;
  }

  /** No sound is expected now (a telephone event, a pause of the sender): the hole is silent, and not counted. */
  expectSilence(): void {
    this.#isSilent = true;
  }

  /**
   * Before the first frame of a hole: it is `length` samples long (up to MAX_BRIDGE), and behind it is `after`, of which
   * the first `count` (MIN_AFTER at least) are there.
   */
  bridge(length: number, after: Int16Array, count: number): void {
    if (!this.isIntact || length > MAX_BRIDGE || count < MIN_AFTER) return;
    // Backwards its end is its beginning; what is missing there is the beginning said again.
    for (let i = 0; i < MEMORY; i++) behind[i] = after[i % count] as number;
    this.#learnPast(after, 0);
    this.#future.learn(behind, true);
    for (let i = 0; i < length; i++) {
      one[i] = this.#past.next();
      other[i] = this.#future.next();
    }
    this.#cross(length);
    this.#bridgeLength = length;
  }

  /** From one end of a hole to the other: the middle half goes over, as loud where both are unlike as where they are one. */
  #cross(length: number): void {
    let dot = 0;
    let energy = 1;
    let otherEnergy = 1;
    for (let i = length >> 2; i < length - (length >> 2); i++) {
      const [a, b] = [one[i] as number, other[length - 1 - i] as number];
      dot += a * b;
      energy += a * a;
      otherEnergy += b * b;
    }
    const likeness = Math.max(0, dot / Math.sqrt(energy * otherEnergy));
    for (let i = 0; i < length; i++) {
      const late = Math.max(0, Math.min(1, (2 * (i + 0.5)) / length - 0.5));
      const early = 1 - late;
      const gain = 1 / Math.sqrt(early * early + late * late + 2 * likeness * early * late);
      const a = (one[i] as number) * early * fadeOf(i, length);
      const b = (other[length - 1 - i] as number) * late * fadeOf(length - 1 - i, length);
      this.#bridge[i] = (a + b) * gain;
    }
  }

  /** Replaces every EMPTY_SAMPLE of a frame (160 at most), of whose samples `present` are there. */
  fill(frame: Int16Array, present: number): void {
    const count = frame.length;
    if (present === count && this.#missing === 0 && this.#blendLeft === 0) {
      this.#history.keep(frame);
      this.#heardAny = true;
      this.#isSilent = false;
      this.#bridgeLength = 0;
      return;
    }
    for (let from = 0; from < count;) {
      const isHole = frame[from] === EMPTY_SAMPLE;
      let to = from + 1;
      while (to < count && (frame[to] === EMPTY_SAMPLE) === isHole) to++;
      if (isHole) this.#invent(frame, from, to);
      else this.#rejoin(frame, from, to);
      from = to;
    }
    this.#history.keep(frame);
    this.#isSilent = false;
  }

  /** Learns how it would go on from sample `from` of the frame at hand. */
  #learnPast(frame: Int16Array, from: number): void {
    const before = MEMORY - from;
    this.#history.copyPast(recent, before);
    for (let i = 0; i < from; i++) recent[before + i] = frame[i] as number;
    this.#past.learn(recent);
  }

  #invent(frame: Int16Array, from: number, to: number): void {
    if (!this.#heardAny) {
      frame.fill(0, from, to);
      return;
    }
    const isBridged = this.#bridgeLength > 0;
    if (this.#missing === 0) {
      this.#blendLeft = 0;
      if (!isBridged) this.#learnPast(frame, from);
    }
    const isSound = this.#past.isSound || (isBridged && this.#future.isSound);
    for (let i = from; i < to; i++) {
      const gain = this.#isSilent ? Math.max(0, 1 - this.#missing / FALL) : gainAt(this.#missing);
      if (isBridged && !this.#isSilent) {
        frame[i] = clipped(this.#bridge[this.#missing] ?? 0);
        if (isSound) this.#concealed++;
      } else {
        frame[i] = gain <= 0 ? 0 : clipped(this.#past.next() * gain);
        if (gain > 0 && isSound && !this.#isSilent) this.#concealed++;
      }
      this.#missing++;
    }
    if (this.#isSilent) this.#missing = Math.max(this.#missing, GONE);
  }

  #rejoin(frame: Int16Array, from: number, to: number): void {
    if (this.#missing > 0) {
      const steps = Math.floor(this.#missing / HOLD);
      this.#blend = Math.min(MAX_BLEND, BLEND + steps * BLEND);
      // A bridge ends where the signal begins, unless that has come earlier than it seemed.
      this.#blendLeft = this.#missing === this.#bridgeLength ? 0 : this.#blend;
      this.#lastGain = gainAt(this.#missing);
      this.#bridgeAt = this.#missing;
    }
    this.#missing = 0;
    this.#heardAny = true;
    for (let i = from; i < to && this.#blendLeft > 0; i++, this.#blendLeft--) {
      const share = (this.#blendLeft - 0.5) / this.#blend;
      frame[i] = clipped((frame[i] as number) * (1 - share) + this.#goOn() * share);
    }
    if (this.#blendLeft === 0) this.#bridgeLength = 0;
  }

  /** The next sample of what was made up, after the signal has come back. */
  #goOn(): number {
    if (this.#bridgeLength > 0)
      return this.#bridgeAt < this.#bridgeLength ? (this.#bridge[this.#bridgeAt++] as number) : 0;
    return this.#lastGain <= 0 ? 0 : this.#past.next() * this.#lastGain;
  }
}

/** How loud the made-up sound is after so many samples. */
function gainAt(missing: number): number {
  if (missing <= HOLD) return 1;
  return missing >= GONE ? 0 : 1 - ((missing - HOLD) / (GONE - HOLD)) ** 1.5;
}

/** The same in a hole whose end is known: a short one is crossed at full strength. */
function fadeOf(at: number, length: number): number {
  return length <= GONE ? 1 : gainAt(at);
}

/** Whole and never EMPTY_SAMPLE. */
function clipped(value: number): number {
  return Math.round(Math.max(-32_767, Math.min(32_767, value)));
}
