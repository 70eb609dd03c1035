/**
 * Levels of voice and of the pauses, from how often each level was heard: the loud frames are the voice when they stand out
 * from the quiet ones. Asks no detector of speech, which is deaf to the very callers that are too quiet.
 */

/** Half an octave of power: 1.5 dB. */
const BINS_PER_OCTAVE = 2;
/** 30 octaves: the square of a 16-bit sample. */
const BINS = 30 * BINS_PER_OCTAVE + 1;
const DBOV_OF_BIN = 10 * Math.log10(2 ** (1 / BINS_PER_OCTAVE));
const FULL_SCALE_DB = 20 * Math.log10(32_768);
/** Voice is what is within 15 dB of the loudest twentieth (P.56 in spirit: its margin is 15.9 dB). */
const LOUD_SHARE = 0.05;
const MARGIN_BINS = 10;
/** Pauses: the level that a tenth of all frames stay below. */
const QUIET_SHARE = 0.1;
/** A line whose loud and quiet frames are closer than 9 dB carries a tone or noise, no voice. */
const LEAST_SPREAD_BINS = 6;

/**
 * The counts lie elsewhere than what a call touches with each frame, and are gone for with every fourth one only: till then
 * bins wait in one small integer, under a leading 1.
 */
const BIN_BITS = 6;
const FULL = 1 << (4 * BIN_BITS);

/** Levels of no frame yet, to be packed. */
export const NO_LEVELS = 1;

/** The same with one frame more, by the mean square of its samples. Up to four fit. */
export function packLevel(packed: number, meanSquare: number): number {
  const bin = Math.floor(Math.log2(meanSquare + 1) * BINS_PER_OCTAVE);
  return (packed << BIN_BITS) | Math.min(BINS - 1, bin);
}

export function isFull(packed: number): boolean {
  return packed >= FULL;
}

export class LevelBook {
  readonly #counts = new Uint32Array(BINS);
  #frames = 0;

  /** One frame, by the mean square of its samples. */
  note(meanSquare: number): void {
    this.take(packLevel(NO_LEVELS, meanSquare));
  }

  /** Frames whose levels were packed. */
  take(packed: number): void {
    for (let rest = packed; rest > NO_LEVELS; rest >>= BIN_BITS) {
      const bin = rest & ((1 << BIN_BITS) - 1);
      this.#counts[bin] = (this.#counts[bin] as number) + 1;
      this.#frames++;
    }
  }

  /** Frames of voice; 0 when nothing stands out. */
  get voiceFrames(): number {
    const from = this.#voiceFrom();
    if (from < 0) return 0;
    let frames = 0;
    for (let bin = from; bin < BINS; bin++) frames += this.#counts[bin] as number;
    return frames;
  }

  /** Mean level of voice, dBov; null when there is none. */
  get voiceDbov(): number | null {
    const from = this.#voiceFrom();
    return from < 0 ? null : this.#mean(from, BINS);
  }

  /** Mean level of all that is no voice; null when there is nothing else. */
  get noiseDbov(): number | null {
    const from = this.#voiceFrom();
    return this.#mean(0, from < 0 ? BINS : from);
  }

  /** The first bin of voice; -1: there is none. */
  #voiceFrom(): number {
    const loud = this.#below(this.#frames * (1 - LOUD_SHARE));
    const quiet = this.#below(this.#frames * QUIET_SHARE);
    return loud - quiet < LEAST_SPREAD_BINS ? -1 : Math.max(quiet + 1, loud - MARGIN_BINS);
  }

  /** The bin below which there are at most `frames`. */
  #below(frames: number): number {
    let sum = 0;
    for (let bin = 0; bin < BINS; bin++) {
      sum += this.#counts[bin] as number;
      if (sum > frames) return bin;
    }
    return BINS - 1;
  }

  #mean(from: number, to: number): number | null {
    let frames = 0;
    let power = 0;
    for (let bin = from; bin < to; bin++) {
      const count = this.#counts[bin] as number;
      frames += count;
      power += count * 10 ** (((bin + 0.5) * DBOV_OF_BIN) / 10);
    }
    return frames === 0 ? null : 10 * Math.log10(power / frames) - FULL_SCALE_DB;
  }
}
