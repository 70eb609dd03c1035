/**
 * RTP time of a caller's stream, whatever its clock, as one time in samples of 8 kHz that runs on through changes of codec
 * and of SSRC. The difference of two of its values is what counts.
 */
import { SAMPLE_RATE_HZ } from './types.ts';

/** A stream that goes on within this of its due time goes on without a seam. */
const SEAMLESS_MS = 60;
const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;

export class StreamTime {
  #clockHz = 0;
  #timestamp = 0;
  #time = 0;
  /** Behind the latest packet, and when that came. */
  #end = 0;
  #endMs = Number.NEGATIVE_INFINITY;

  /** Behind the sound that came last. */
  get end(): number {
    return this.#end;
  }

  /** The time of a packet. */
  at(timestamp: number, clockHz: number): number {
    if (this.#clockHz !== clockHz) return this.#end;
    const step = (timestamp - this.#timestamp) | 0;
    return Math.round(this.#time + (step * SAMPLE_RATE_HZ) / clockHz);
  }

  /** A packet of `samples` samples, in order. */
  note(timestamp: number, clockHz: number, samples: number, arrivalMs: number): void {
    const time = this.at(timestamp, clockHz);
    this.#clockHz = clockHz;
    this.#timestamp = timestamp;
    this.#time = time;
    this.#end = time + samples;
    this.#endMs = arrivalMs + samples / SAMPLES_PER_MS;
  }

  /**
   * The clock or the numbering of time changes with this packet: it is taken to follow the one before when it comes when
   * that would have been due (true), and else to have no relation to it (false).
   */
  turn(timestamp: number, clockHz: number, arrivalMs: number): boolean {
    const isSeamless = Math.abs(arrivalMs - this.#endMs) <= SEAMLESS_MS;
    this.#clockHz = clockHz;
    this.#timestamp = timestamp;
    this.#time = isSeamless ? this.#end : timestamp;
    this.#end = this.#time;
    return isSeamless;
  }
}
