/**
 * How loud the place is that the caller calls from, and from where on a sound stands out of it. The floor is the quietest
 * of the last seconds, so it follows a step up also while the detector takes the noise for speech; the margin above it
 * is learnt from how much the noise swings. Levels are RMS of 16-bit frames of 20 ms; allocates nothing.
 */
import { FRAME_SAMPLES } from '../types.ts';

/** Levels are kept in so many parts of a decibel: as small integers they lie in the object, as fractions each elsewhere. */
const DB = 65_536;
/** Silence of A-law is 8, comfort noise about as much: a line that is cut off between words tells nothing of the place. */
const CUT_OFF = 20 * DB;
const CUT_OFF_ENERGY = 10 ** 2 * FRAME_SAMPLES;
/** About -44 dBm0: nothing below is speech. */
const LEAST_GATE = 40 * DB;
/** Where the floor is assumed before any quiet frame was heard: steady noise at the start is then not speech. */
const FIRST_FLOOR = Math.round(50.4 * DB);
/** Of a line that has been nothing but cut off so far. */
const CLEAN_FLOOR = 30 * DB;
const CLEAN_AFTER_FRAMES = 2;
/** The quietest of 10 frames each: 1.6 s of them count, 3 s while somebody speaks, whose words leave gaps. */
const BLOCK_FRAMES = 10;
const BLOCKS = 15;
const BLOCKS_QUIET = 8;
/** Speech stands out by what noise swings and this much more, within these bounds. */
const OVER_SWING = 3 * DB;
const LEAST_MARGIN = 5.5 * DB;
const MOST_MARGIN = 15 * DB;
const FIRST_SWING = 5 * DB;
/** The swing is what 19 of 20 frames of noise stay under. */
const SWING_STEP = 0.5 * DB;
const SWING_QUANTILE = 0.95;
/** A frame that sounds like speech and is below the gate may be the caller speaking low: it counts this much. */
const VOICED_SHARE = 0.25;
/** What began like speech and was none tells that the margin is too small. */
const MISTAKEN = 1.5 * DB;
/** No level; above all of them, and below. */
const HIGHEST = 0x3fff_ffff;
const NONE = -1;

/** The level of a frame by its energy, as `NoiseFloor` wants it; 0 for all that is cut off. */
export function decibelsOf(energy: number): number {
  if (energy < CUT_OFF_ENERGY) return 0;
  return (10 * DB * Math.log10(energy / FRAME_SAMPLES)) | 0;
}

export class NoiseFloor {
  #floor = FIRST_FLOOR;
  #swing = FIRST_SWING;
  #smooth = FIRST_FLOOR;
  /** Level of the frame before; NONE: none that counts. */
  #held = NONE;
  #lowest = HIGHEST;
  #frames = 0;
  #silent = 0;
  #isNew = true;
  #block = 0;
  readonly #blocks = new Int32Array(BLOCKS).fill(FIRST_FLOOR);

  /** Whether a sound of this level is speech if it is the caller's. */
  standsOut(db: number): boolean {
    const margin = Math.min(MOST_MARGIN, this.#swing + OVER_SWING);
    return db > LEAST_GATE && db > this.#floor + Math.max(LEAST_MARGIN, margin);
  }

  /** Whether it may be a sound of its own, however much the place swings. */
  isSound(db: number): boolean {
    return db > LEAST_GATE && db > this.#floor + LEAST_MARGIN;
  }

  /**
   * A frame that is not the agent's own voice or a key's tone. `isVoiced`: the detector takes it for speech by its sound;
   * `isSpeaking`: it is part of what was told as speech.
   */
  hear(db: number, isVoiced: boolean, isSpeaking: boolean): void {
    if (db < CUT_OFF) return this.#cutOff();
    // A frame that is cut off in its middle is quieter than the place: first and last of what is heard do not count.
    if (this.#held !== NONE) this.#lower(this.#held);
    this.#held = this.#silent > 0 ? NONE : db;
    this.#silent = 0;
    if (++this.#frames === BLOCK_FRAMES) this.#endBlock(isSpeaking);
    if (isSpeaking) return;
    const isOver = db - this.#floor > this.#swing;
    const share = isOver && isVoiced ? VOICED_SHARE : 1;
    const step = share * SWING_STEP * (isOver ? SWING_QUANTILE : SWING_QUANTILE - 1);
    this.#swing = Math.min(this.#swing + step, MOST_MARGIN) | 0;
  }

  /** What had been told as speech was too short to be any. */
  mistaken(): void {
    this.#swing = Math.min(this.#swing + MISTAKEN, MOST_MARGIN);
  }

  #lower(db: number): void {
    this.#smooth += ((db - this.#smooth) * (db < this.#smooth ? 0.5 : 0.3)) | 0;
    this.#lowest = Math.min(this.#lowest, this.#smooth);
    this.#floor = Math.min(this.#floor, this.#lowest);
    this.#isNew = false;
  }

  #cutOff(): void {
    this.#held = NONE;
    this.#silent++;
    // What lets nothing through between words has words alone behind it: their quietest is no place's noise, and a gate
    // above it would shut out the caller, a little more with each thing he says.
    if (this.#silent % BLOCK_FRAMES === 0 && !this.#isNew) {
      this.#lowest = CLEAN_FLOOR;
      this.#smooth = CLEAN_FLOOR;
      this.#endBlock(false);
    }
    if (this.#silent < CLEAN_AFTER_FRAMES || !this.#isNew) return;
    this.#blocks.fill(CLEAN_FLOOR);
    this.#floor = CLEAN_FLOOR;
    this.#smooth = CLEAN_FLOOR;
    this.#isNew = false;
  }

  #endBlock(isSpeaking: boolean): void {
    this.#blocks[this.#block] = this.#lowest;
    this.#block = (this.#block + 1) % BLOCKS;
    this.#frames = 0;
    this.#lowest = HIGHEST;
    const count = isSpeaking ? BLOCKS : BLOCKS_QUIET;
    let lowest = HIGHEST;
    for (let i = 1; i <= count; i++)
      lowest = Math.min(lowest, this.#blocks[(this.#block + BLOCKS - i) % BLOCKS] as number);
    this.#floor = lowest;
  }
}
