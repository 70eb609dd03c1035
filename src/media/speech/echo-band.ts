/**
 * The lower part of the spectrum, up to 0.9 kHz at 2 kHz, levelled so that no one part of it outweighs the others: enough to
 * know a voice by, and a sixteenth of the work.
 */
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** Samples at 8 kHz to one here. */
export const BAND_STEP = 4;
export const BAND_FRAME = FRAME_SAMPLES / BAND_STEP;

const TAPS = 24;
const EDGE_HZ = 900;
/** Voices fall by 6 dB an octave and more. */
const LEVELLED = 0.9;

/** A windowed sinc; symmetrical, so its order does not matter. */
const FILTER = Float64Array.from({ length: TAPS }, (_, i) => {
  const at = i - (TAPS - 1) / 2;
  const sinc = Math.sin((2 * Math.PI * EDGE_HZ * at) / SAMPLE_RATE_HZ) / (Math.PI * at);
  return sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * i) / (TAPS - 1)));
});

const HALF = TAPS / 2;

/** The end of the frame before, then the frame. One for all signals: what a call touches each frame is to be little. */
const wide = new Float64Array(TAPS + FRAME_SAMPLES);

/** One signal, frame by frame; it must be told where frames are missing. */
export class EchoBand {
  /** The end of the frame before. */
  readonly #before = new Int16Array(TAPS);
  #last = 0;

  restart(): void {
    this.#before.fill(0);
    this.#last = 0;
  }

  /** 40 samples into `into` from `at` on. */
  take(frame: Int16Array, into: Float32Array, at: number): void {
    const before = this.#before;
    for (let i = 0; i < TAPS; i++) wide[i] = before[i] as number;
    for (let i = 0; i < FRAME_SAMPLES; i++) wide[TAPS + i] = frame[i] as number;
    for (let i = 0; i < TAPS; i++) before[i] = frame[FRAME_SAMPLES - TAPS + i] as number;
    let last = this.#last;
    for (let k = 0; k < BAND_FRAME; k++) {
      const from = (k + 1) * BAND_STEP;
      const to = from + TAPS - 1;
      let sum = 0;
      // The filter is symmetrical: both samples that share a tap are multiplied at once.
      for (let i = 0; i < HALF; i++)
        sum += ((wide[from + i] as number) + (wide[to - i] as number)) * (FILTER[i] as number);
      into[at + k] = sum - LEVELLED * last;
      last = sum;
    }
    this.#last = last;
  }
}
