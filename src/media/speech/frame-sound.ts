/**
 * One frame of the caller and its levels, measured in one pass for all who judge it. There is one of these for all calls:
 * no frame is judged while another one is, and what a call touches with each packet is to be little.
 */
import { FRAME_SAMPLES } from '../types.ts';

const HALF = FRAME_SAMPLES / 2;

export class FrameSound {
  readonly samples = new Int16Array(FRAME_SAMPLES);
  /** Sum of squares, of the whole and of either half. */
  energy = 0;
  firstEnergy = 0;
  lastEnergy = 0;
  /** The largest size of a sample in either half. */
  firstPeak = 0;
  lastPeak = 0;

  get peak(): number {
    return this.firstPeak > this.lastPeak ? this.firstPeak : this.lastPeak;
  }

  /** Root of the mean square. */
  get level(): number {
    return Math.sqrt(this.energy / FRAME_SAMPLES);
  }

  /** Takes the frame that begins at `from`. */
  take(pcm: Int16Array, from: number): void {
    const to = this.samples;
    let first = 0;
    let last = 0;
    let firstPeak = 0;
    let lastPeak = 0;
    // Two squares are at most 2^31: added as integers, half the sums in floating point. Both halves at once, for a sum
    // waits for the one before.
    for (let i = 0; i < HALF; i += 2) {
      const a = pcm[from + i] as number;
      const b = pcm[from + i + 1] as number;
      const c = pcm[from + HALF + i] as number;
      const d = pcm[from + HALF + i + 1] as number;
      to[i] = a;
      to[i + 1] = b;
      to[HALF + i] = c;
      to[HALF + i + 1] = d;
      first += (Math.imul(a, a) + Math.imul(b, b)) >>> 0;
      last += (Math.imul(c, c) + Math.imul(d, d)) >>> 0;
      const ab = Math.max(Math.abs(a), Math.abs(b));
      const cd = Math.max(Math.abs(c), Math.abs(d));
      if (ab > firstPeak) firstPeak = ab;
      if (cd > lastPeak) lastPeak = cd;
    }
    this.firstEnergy = first;
    this.lastEnergy = last;
    this.energy = first + last;
    this.firstPeak = firstPeak;
    this.lastPeak = lastPeak;
  }
}
