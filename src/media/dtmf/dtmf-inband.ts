/**
 * Keys as tones in the caller's audio (ITU-T Q.23, Q.24), by Goertzel's question asked of 15 ms every 5 ms: two tones of
 * the eight, alone, steady, at their own frequency. Tones of 40 ms are found, of 23 ms are not. Nothing is allocated
 * per frame, and what cannot be a tone costs nothing.
 */
import { FrameSound } from '../speech/frame-sound.ts';
import { isAudible, mayBeTone } from './dtmf-gate.ts';
import { DTMF_COLUMNS_HZ, DTMF_KEYPAD, DTMF_ROWS_HZ } from './dtmf-tones.ts';
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** `startMs` and `endMs` are call times of the tone. */
export type InbandListener = (digit: string, startMs: number, endMs: number) => void;

/** Samples between two looks, and looks that a window is made of. */
const HOP = 40;
const HOPS = 3;
const WINDOW = HOP * HOPS;
/** What is looked at with a frame: the end of the one before it, and itself. */
const BEFORE = HOP * (HOPS - 1);
const STRETCH = BEFORE + FRAME_SAMPLES;
const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;
const HOP_MS = HOP / SAMPLES_PER_MS;
const TONES = 8;
const ROWS = 4;
/** About -36 dBm0 for both tones together: Q.24 asks for -25 to -29 dBm each. */
const MIN_RMS = 250;
/** Of a window's energy, what is seen of the two tones: off by 1.8 % at 1633 Hz, half of one is. */
const MIN_SHARE = 0.55;
/** Of the energy of all looks, the two tones at the frequencies they were found to have. */
const MIN_PURITY = 0.8;
/** Over the others of its group: 8 dB. */
const OVER_GROUP = 6.3;
/** The upper tone may be 6 dB stronger and 10 dB weaker than the lower one. */
const MAX_TWIST = 4;
const MAX_REVERSE_TWIST = 10;
/** Looks in a row that make a key: 28 ms of tone or more, 31 ms for sure. */
const HITS = 5;
/** Where events were agreed on, tones come from those who do not keep to it: real keys, no shorter than 55 ms. */
const STRICT_HITS = 10;
/** Looks that see the beginning of one: nobody takes it for speech. */
const SUSPECT = 3;
/** Looks without it that end a tone: a break of 10 ms does not (Q.24), a pause of 40 ms does. */
const MISSES = 5;
/** Off its frequency by this share and these hertz (what noise does): 1.8 % must be taken, 3.5 % must not. */
const MAX_OFF = 0.021;
const OFF_HZ = 4;
/** Levels of one tone from look to look: 2.5 dB. A voice swells. */
const STEADY = 1.8;
/** Frames whose tones are remembered: longer than any jitter buffer. */
const SLOTS = 128;
/** Missing audio that a tone is taken to go on through. */
const MAX_HOLE = 60 * SAMPLES_PER_MS;

const HZ = [...DTMF_ROWS_HZ, ...DTMF_COLUMNS_HZ];
/**
 * Counted from the midst of a hop: a cosine is even there and a sine odd, so half of either is enough. By sample, then by
 * tone: several tones are worked out at once, for a sum waits for the one before.
 */
const HALF = HOP / 2;
const COS = new Float64Array(TONES * HALF);
const SIN = new Float64Array(TONES * HALF);
/** Of the hop looked at: sums and differences of samples as far from its midst to either side. */
const even = new Float64Array(HALF);
const odd = new Float64Array(HALF);
/** The stretch of the frame at hand, of whichever call; of its hops, by tone: correlation with it from the midst on. */
const stretch = new Int16Array(STRETCH);
const hopEnergies = new Float64Array(STRETCH / HOP);
const hopRe = new Float64Array((STRETCH / HOP) * TONES);
const hopIm = new Float64Array((STRETCH / HOP) * TONES);
/** Of the window looked at, by tone. */
const windowRe = new Float64Array(TONES);
const windowIm = new Float64Array(TONES);
const powers = new Float64Array(TONES);
/** Where nobody has measured the frame. */
const measured = new FrameSound();
/** One hop's turn of each tone. */
const TURN_RE = new Float64Array(TONES);
const TURN_IM = new Float64Array(TONES);
for (const [tone, hz] of HZ.entries()) {
  const step = (2 * Math.PI * hz) / SAMPLE_RATE_HZ;
  for (let i = 0; i < HALF; i++) {
    COS[i * TONES + tone] = Math.cos(step * (i + 0.5));
    SIN[i * TONES + tone] = -Math.sin(step * (i + 0.5));
  }
  TURN_RE[tone] = Math.cos(step * HOP);
  TURN_IM[tone] = -Math.sin(step * HOP);
}

export class InbandDtmf {
  readonly #onKey: InbandListener;
  #needed = HITS;
  /** The tone that goes on: place on the keypad, -1: none. */
  #key = -1;
  /** Call time, in samples, behind the frame heard last; one that is too quiet for a tone is not kept. */
  #end = -1;
  /** Its end: a tone may have begun there. */
  readonly #before = new Int16Array(BEFORE);
  #hits = 0;
  #misses = 0;
  #isKey = false;
  #startMs = 0;
  #endMs = 0;
  #lastRowPower = 0;
  #lastColumnPower = 0;
  /** Of the window looked at, and of all looks at this tone so far. */
  #energy = 0;
  #energySum = 0;
  #rowSum = 0;
  #columnSum = 0;
  /** Where the two stood in the look before, and how far they have turned beyond what they should since the first. */
  readonly #lastRe = new Float64Array(2);
  readonly #lastIm = new Float64Array(2);
  readonly #turned = new Float64Array(2);
  /** Frames of call time that are tone. */
  readonly #slots = new Int32Array(SLOTS).fill(-1);

  constructor(onKey: InbandListener) {
    this.#onKey = onKey;
  }

  /** Whether keys are expected to come as events: tones must then last longer to be believed. */
  expectEvents(on: boolean): void {
    this.#needed = on ? STRICT_HITS : HITS;
  }

  /** A tone goes on: every frame is to be heard. Between tones those that cannot be one need not. */
  get isOpen(): boolean {
    return this.#key >= 0;
  }

  /**
   * One 20 ms frame in order; `startMs`: its call time; `sound`: the frame with its levels. True while it is, or may become,
   * a key's tone.
   */
  hear(frame: Int16Array, startMs: number, sound = measure(frame)): boolean {
    const isGoingOn = this.#key >= 0;
    if (!isGoingOn && !isAudible(sound)) return false;
    const at = Math.round(startMs * SAMPLES_PER_MS);
    const isNext = Math.abs(at - this.#end) <= SAMPLES_PER_MS;
    if (!isNext) this.#jump(at);
    this.#end = at + FRAME_SAMPLES;
    const before = this.#before;
    const isLikely = isGoingOn || mayBeTone(sound);
    if (isLikely) {
      if (isNext) stretch.set(before);
      stretch.set(frame, BEFORE);
      this.#take(isNext ? 0 : HOPS - 1, startMs);
    }
    for (let i = 0; i < BEFORE; i++) before[i] = frame[FRAME_SAMPLES - BEFORE + i] as number;
    const isTone = this.#key >= 0 && this.#hits >= SUSPECT;
    if (isTone) this.#mark(startMs);
    return isTone;
  }

  /** Whether the frame at this call time was found to be a key's tone. */
  isTone(startMs: number): boolean {
    const frame = Math.round(startMs / FRAME_MS);
    return this.#slots[frame & (SLOTS - 1)] === frame;
  }

  /** Ends a tone when no audio comes any more. */
  tick(callMs: number): void {
    if (this.#key < 0) return;
    if (callMs * SAMPLES_PER_MS - this.#end > MAX_HOLE * 2) this.#finish();
  }

  /** Audio is missing: a tone may go on behind a short hole. */
  #jump(at: number): void {
    this.#misses = 0;
    const isNear = at > this.#end && at - this.#end <= MAX_HOLE;
    if (!isNear) this.#finish();
    // Phases say nothing over a hole.
    this.#lastRowPower = 0;
  }

  /** The hops of the stretch from `first` on; windows that end in the frame are looked at. */
  #take(first: number, startMs: number): void {
    let filled = 0;
    for (let hop = first; hop < STRETCH / HOP; hop++) {
      const energy = energyOf(hop);
      const isQuiet = energy < (MIN_RMS * MIN_RMS * HOP) / 4;
      hopEnergies[hop] = energy;
      filled = isQuiet ? 0 : filled + 1;
      if (!isQuiet) correlate(hop);
      if (hop < HOPS - 1) continue;
      if (filled < HOPS) this.#miss();
      else this.#look(hop, startMs + (hop + 2 - HOPS) * HOP_MS);
    }
  }

  #look(hop: number, endMs: number): void {
    const key = this.#keyAt(hop);
    if (key < 0) return this.#miss();
    if (key !== this.#key) {
      this.#finish();
      this.#begin(key, endMs);
    } else if (!this.#goesOn()) {
      if (!this.#isKey) this.#begin(key, endMs);
    }
    this.#hit(endMs);
  }

  /** The key whose tones the window that ends with `hop` holds and nothing else; -1: none. */
  #keyAt(hop: number): number {
    let energy = 0;
    for (let age = 0; age < HOPS; age++) energy += hopEnergies[hop - age] as number;
    if (energy < MIN_RMS * MIN_RMS * WINDOW) return -1;
    for (let tone = 0; tone < TONES; tone++) sumUp(hop, tone);
    const row = strongest(0);
    const column = strongest(ROWS);
    if (row < 0 || column < 0) return -1;
    const rowPower = powers[row] as number;
    const columnPower = powers[column] as number;
    if (columnPower > rowPower * MAX_TWIST || rowPower > columnPower * MAX_REVERSE_TWIST) return -1;
    if ((2 * (rowPower + columnPower)) / (WINDOW * energy) < MIN_SHARE) return -1;
    this.#energy = energy;
    return row * ROWS + (column - ROWS);
  }

  #begin(key: number, endMs: number): void {
    this.#key = key;
    this.#hits = 0;
    this.#misses = 0;
    this.#isKey = false;
    // The first window that shows it holds about three quarters of it.
    this.#startMs = endMs - HOP_MS * (HOPS - 1);
    this.#turned.fill(0);
    this.#lastRowPower = 0;
    this.#energySum = 0;
    this.#rowSum = 0;
    this.#columnSum = 0;
  }

  /** Whether the tones are as strong as in the look before, once the window is full of them; follows their phases. */
  #goesOn(): boolean {
    const row = this.#key >> 2;
    const column = ROWS + (this.#key & 3);
    const isSteady =
      this.#lastRowPower === 0 ||
      this.#hits < 2 ||
      this.#misses > 0 ||
      (isWithin(powers[row] as number, this.#lastRowPower) &&
        isWithin(powers[column] as number, this.#lastColumnPower));
    if (this.#lastRowPower > 0 && this.#misses === 0) {
      this.#turn(0, row);
      this.#turn(1, column);
    }
    return isSteady;
  }

  /** How much further than its frequency says a tone has turned within one hop. */
  #turn(which: 0 | 1, tone: number): void {
    const re = windowRe[tone] as number;
    const im = windowIm[tone] as number;
    // The window began one hop later: a tone at its frequency has turned back by as much.
    const lastRe = this.#lastRe[which] as number;
    const lastIm = this.#lastIm[which] as number;
    const wantRe = lastRe * (TURN_RE[tone] as number) + lastIm * (TURN_IM[tone] as number);
    const wantIm = lastIm * (TURN_RE[tone] as number) - lastRe * (TURN_IM[tone] as number);
    this.#turned[which] =
      (this.#turned[which] as number) +
      Math.atan2(im * wantRe - re * wantIm, re * wantRe + im * wantIm);
  }

  #hit(endMs: number): void {
    const row = this.#key >> 2;
    const column = ROWS + (this.#key & 3);
    this.#hits++;
    this.#misses = 0;
    this.#endMs = endMs - HOP_MS / 2;
    this.#lastRowPower = powers[row] as number;
    this.#lastColumnPower = powers[column] as number;
    this.#energySum += this.#energy;
    this.#rowSum += this.#lastRowPower;
    this.#columnSum += this.#lastColumnPower;
    this.#lastRe[0] = windowRe[row] as number;
    this.#lastIm[0] = windowIm[row] as number;
    this.#lastRe[1] = windowRe[column] as number;
    this.#lastIm[1] = windowIm[column] as number;
    if (!this.#isKey && this.#hits >= this.#needed) this.#decide();
  }

  /** Enough looks in a row: a key, if both tones are at their frequencies and there is nothing else. */
  #decide(): void {
    const rowHz = HZ[this.#key >> 2] as number;
    const columnHz = HZ[ROWS + (this.#key & 3)] as number;
    const row = this.#offHz(0);
    const column = this.#offHz(1);
    const seen = this.#rowSum / shownOf(row) + this.#columnSum / shownOf(column);
    this.#isKey =
      row <= rowHz * MAX_OFF + OFF_HZ &&
      column <= columnHz * MAX_OFF + OFF_HZ &&
      (2 * seen) / (WINDOW * this.#energySum) >= MIN_PURITY;
    if (!this.#isKey) return this.#begin(this.#key, this.#endMs);
    for (let ms = this.#startMs; ms < this.#endMs; ms += FRAME_MS / 2)
      this.#mark(Math.floor(ms / FRAME_MS) * FRAME_MS);
  }

  /** How far a tone is from its frequency, by the phases of the looks. */
  #offHz(which: 0 | 1): number {
    const perHop = (this.#turned[which] as number) / Math.max(1, this.#hits - 1);
    return Math.abs((perHop * SAMPLE_RATE_HZ) / (2 * Math.PI * HOP));
  }

  #miss(): void {
    if (this.#key < 0) return;
    if (++this.#misses >= MISSES || !this.#isKey) this.#finish();
  }

  #finish(): void {
    if (this.#key < 0) return;
    const [key, isKey] = [this.#key, this.#isKey];
    this.#key = -1;
    this.#hits = 0;
    this.#isKey = false;
    if (isKey) this.#onKey(DTMF_KEYPAD[key] as string, this.#startMs, this.#endMs);
  }

  #mark(startMs: number): void {
    if (!this.#isKey) return;
    const frame = Math.round(startMs / FRAME_MS);
    this.#slots[frame & (SLOTS - 1)] = frame;
  }
}

/** How much of a tone's power a window shows that is off by so much. */
function shownOf(offHz: number): number {
  const half = (Math.PI * offHz * WINDOW) / SAMPLE_RATE_HZ;
  return half < 0.01 ? 1 : (Math.sin(half) / half) ** 2;
}

function isWithin(power: number, before: number): boolean {
  return power < before * STEADY && power > before / STEADY;
}

function measure(frame: Int16Array): FrameSound {
  measured.take(frame, 0);
  return measured;
}

function energyOf(hop: number): number {
  let energy = 0;
  for (let i = hop * HOP; i < (hop + 1) * HOP; i++) {
    const sample = stretch[i] as number;
    energy += sample * sample;
  }
  return energy;
}

function correlate(hop: number): void {
  const from = hop * HOP;
  for (let i = 0; i < HALF; i++) {
    const late = stretch[from + HALF + i] as number;
    const early = stretch[from + HALF - 1 - i] as number;
    even[i] = late + early;
    odd[i] = late - early;
  }
  correlateTwo(hop, 0);
  correlateTwo(hop, 2);
  correlateTwo(hop, 4);
  correlateTwo(hop, 6);
}

/** With a tone and the next one. */
function correlateTwo(hop: number, tone: number): void {
  let re0 = 0;
  let im0 = 0;
  let re1 = 0;
  let im1 = 0;
  for (let i = 0, at = tone; i < HALF; i++, at += TONES) {
    const e = even[i] as number;
    const o = odd[i] as number;
    re0 += e * (COS[at] as number);
    im0 += o * (SIN[at] as number);
    re1 += e * (COS[at + 1] as number);
    im1 += o * (SIN[at + 1] as number);
  }
  const at = hop * TONES + tone;
  hopRe[at] = re0;
  hopIm[at] = im0;
  hopRe[at + 1] = re1;
  hopIm[at + 1] = im1;
}

/** Three hops as one window that ends with `hop`, each turned by its age. */
function sumUp(hop: number, tone: number): void {
  const turnRe = TURN_RE[tone] as number;
  const turnIm = TURN_IM[tone] as number;
  let re = 0;
  let im = 0;
  for (let age = 0; age < HOPS; age++) {
    // Horner: the newest hop first, so that it is turned most often.
    const at = (hop - age) * TONES + tone;
    const turned = re * turnRe - im * turnIm + (hopRe[at] as number);
    im = re * turnIm + im * turnRe + (hopIm[at] as number);
    re = turned;
  }
  windowRe[tone] = re;
  windowIm[tone] = im;
  powers[tone] = re * re + im * im;
}

/** The strongest of four tones when it stands out from the others; -1: none does. */
function strongest(from: number): number {
  let best = from;
  for (let tone = from + 1; tone < from + ROWS; tone++)
    if ((powers[tone] as number) > (powers[best] as number)) best = tone;
  const limit = (powers[best] as number) / OVER_GROUP;
  for (let tone = from; tone < from + ROWS; tone++)
    if (tone !== best && (powers[tone] as number) > limit) return -1;
  return best;
}
