/**
 * Keys as tones in the caller's audio (ITU-T Q.23, Q.24), by Goertzel's question asked of 15 ms every 5 ms: two tones of
 * the eight, alone, steady, at their own frequency. Tones of 40 ms are found, of 23 ms are not. Nothing is allocated
 * per frame, and what is quiet costs nothing.
 */
import { DTMF_COLUMNS_HZ, DTMF_KEYPAD, DTMF_ROWS_HZ } from './dtmf-tones.ts';
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** `startMs` and `endMs` are call times of the tone. */
export type InbandListener = (digit: string, startMs: number, endMs: number) => void;

/** Samples between two looks, and looks that a window is made of. */
const HOP = 40;
const HOPS = 3;
const WINDOW = HOP * HOPS;
const HOP_MS = (HOP * 1000) / SAMPLE_RATE_HZ;
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
const MAX_HOLE_MS = 60;

const HZ = [...DTMF_ROWS_HZ, ...DTMF_COLUMNS_HZ];
/** Counted from the midst of a hop: a cosine is even there and a sine odd, so half of either is enough. */
const HALF = HOP / 2;
const COS = new Float64Array(TONES * HALF);
const SIN = new Float64Array(TONES * HALF);
/** Of the hop looked at: sums and differences of samples as far from its midst to either side. */
const even = new Float64Array(HALF);
const odd = new Float64Array(HALF);
/** One hop's turn of each tone. */
const TURN_RE = new Float64Array(TONES);
const TURN_IM = new Float64Array(TONES);
for (const [tone, hz] of HZ.entries()) {
  const step = (2 * Math.PI * hz) / SAMPLE_RATE_HZ;
  for (let i = 0; i < HALF; i++) {
    COS[tone * HALF + i] = Math.cos(step * (i + 0.5));
    SIN[tone * HALF + i] = -Math.sin(step * (i + 0.5));
  }
  TURN_RE[tone] = Math.cos(step * HOP);
  TURN_IM[tone] = -Math.sin(step * HOP);
}

export class InbandDtmf {
  readonly #onKey: InbandListener;
  #needed = HITS;
  /** Of the last three hops, by tone: correlation with it, counted from the hop's own midst. */
  readonly #re = new Float64Array(TONES * HOPS);
  readonly #im = new Float64Array(TONES * HOPS);
  readonly #energies = new Float64Array(HOPS);
  #hop = 0;
  #filled = 0;
  /** Of the window, by tone. */
  readonly #sumRe = new Float64Array(TONES);
  readonly #sumIm = new Float64Array(TONES);
  readonly #powers = new Float64Array(TONES);
  /** The tone that goes on: place on the keypad, -1: none. */
  #key = -1;
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
  #frameEndMs = -1;
  /** Frames of call time that are tone. */
  readonly #slots = new Int32Array(SLOTS).fill(-1);

  constructor(onKey: InbandListener) {
    this.#onKey = onKey;
  }

  /** Whether keys are expected to come as events: tones must then last longer to be believed. */
  expectEvents(on: boolean): void {
    this.#needed = on ? STRICT_HITS : HITS;
  }

  /** One 20 ms frame in order; `startMs`: its call time. True while it is, or may become, a key's tone. */
  hear(frame: Int16Array, startMs: number): boolean {
    if (Math.abs(startMs - this.#frameEndMs) > 1) this.#jump(startMs);
    this.#frameEndMs = startMs + FRAME_MS;
    for (let at = 0; at < FRAME_SAMPLES; at += HOP)
      this.#take(frame, at, startMs + ((at + HOP) * 1000) / SAMPLE_RATE_HZ);
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
    if (this.#key >= 0 && callMs - this.#frameEndMs > MAX_HOLE_MS * 2) this.#end();
  }

  /** Audio is missing: a tone may go on behind a short hole. */
  #jump(startMs: number): void {
    this.#filled = 0;
    this.#misses = 0;
    const isNear = startMs > this.#frameEndMs && startMs - this.#frameEndMs <= MAX_HOLE_MS;
    if (!isNear) this.#end();
    // Phases say nothing over a hole.
    this.#lastRowPower = 0;
  }

  #take(frame: Int16Array, from: number, endMs: number): void {
    const energy = energyOf(frame, from);
    const isQuiet = energy < (MIN_RMS * MIN_RMS * HOP) / 4;
    this.#energies[this.#hop] = energy;
    if (isQuiet) {
      this.#filled = 0;
      this.#miss();
      return;
    }
    this.#correlate(frame, from);
    this.#hop = (this.#hop + 1) % HOPS;
    if (this.#filled < HOPS) this.#filled++;
    if (this.#filled < HOPS) return this.#key >= 0 ? this.#miss() : undefined;
    const key = this.#look();
    if (key < 0) return this.#miss();
    if (key !== this.#key) {
      this.#end();
      this.#begin(key, endMs);
    } else if (!this.#goesOn()) {
      if (!this.#isKey) this.#begin(key, endMs);
    }
    this.#hit(endMs);
  }

  #correlate(frame: Int16Array, from: number): void {
    for (let i = 0; i < HALF; i++) {
      const late = frame[from + HALF + i] as number;
      const early = frame[from + HALF - 1 - i] as number;
      even[i] = late + early;
      odd[i] = late - early;
    }
    const base = this.#hop * TONES;
    for (let tone = 0; tone < TONES; tone++) {
      let re = 0;
      let im = 0;
      const table = tone * HALF;
      for (let i = 0; i < HALF; i++) {
        re += (even[i] as number) * (COS[table + i] as number);
        im += (odd[i] as number) * (SIN[table + i] as number);
      }
      this.#re[base + tone] = re;
      this.#im[base + tone] = im;
    }
  }

  /** The key whose tones the window holds and nothing else; -1: none. */
  #look(): number {
    let energy = 0;
    for (let i = 0; i < HOPS; i++) energy += this.#energies[i] as number;
    if (energy < MIN_RMS * MIN_RMS * WINDOW) return -1;
    for (let tone = 0; tone < TONES; tone++) this.#sum(tone);
    const row = this.#strongest(0);
    const column = this.#strongest(ROWS);
    if (row < 0 || column < 0) return -1;
    const rowPower = this.#powers[row] as number;
    const columnPower = this.#powers[column] as number;
    if (columnPower > rowPower * MAX_TWIST || rowPower > columnPower * MAX_REVERSE_TWIST) return -1;
    if ((2 * (rowPower + columnPower)) / (WINDOW * energy) < MIN_SHARE) return -1;
    this.#energy = energy;
    return row * ROWS + (column - ROWS);
  }

  /** The three hops as one window that ends now, each turned by its age. */
  #sum(tone: number): void {
    const turnRe = TURN_RE[tone] as number;
    const turnIm = TURN_IM[tone] as number;
    let re = 0;
    let im = 0;
    for (let age = 0; age < HOPS; age++) {
      // Horner: the newest hop first, so that it is turned most often.
      const at = ((this.#hop + HOPS - 1 - age) % HOPS) * TONES + tone;
      const turned = re * turnRe - im * turnIm + (this.#re[at] as number);
      im = re * turnIm + im * turnRe + (this.#im[at] as number);
      re = turned;
    }
    this.#sumRe[tone] = re;
    this.#sumIm[tone] = im;
    this.#powers[tone] = re * re + im * im;
  }

  /** The strongest of four tones when it stands out from the others; -1: none does. */
  #strongest(from: number): number {
    let best = from;
    for (let tone = from + 1; tone < from + ROWS; tone++)
      if ((this.#powers[tone] as number) > (this.#powers[best] as number)) best = tone;
    const limit = (this.#powers[best] as number) / OVER_GROUP;
    for (let tone = from; tone < from + ROWS; tone++)
      if (tone !== best && (this.#powers[tone] as number) > limit) return -1;
    return best;
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
      (isWithin(this.#powers[row] as number, this.#lastRowPower) &&
        isWithin(this.#powers[column] as number, this.#lastColumnPower));
    if (this.#lastRowPower > 0 && this.#misses === 0) {
      this.#turn(0, row);
      this.#turn(1, column);
    }
    return isSteady;
  }

  /** How much further than its frequency says a tone has turned within one hop. */
  #turn(which: 0 | 1, tone: number): void {
    const re = this.#sumRe[tone] as number;
    const im = this.#sumIm[tone] as number;
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
    this.#lastRowPower = this.#powers[row] as number;
    this.#lastColumnPower = this.#powers[column] as number;
    this.#energySum += this.#energy;
    this.#rowSum += this.#lastRowPower;
    this.#columnSum += this.#lastColumnPower;
    this.#lastRe[0] = this.#sumRe[row] as number;
    this.#lastIm[0] = this.#sumIm[row] as number;
    this.#lastRe[1] = this.#sumRe[column] as number;
    this.#lastIm[1] = this.#sumIm[column] as number;
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
    if (++this.#misses >= MISSES || !this.#isKey) this.#end();
  }

  #end(): void {
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

function energyOf(frame: Int16Array, from: number): number {
  let energy = 0;
  for (let i = from; i < from + HOP; i++) energy += (frame[i] as number) ** 2;
  return energy;
}
