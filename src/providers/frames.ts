/** Caller audio as a vendor wants it: at its rate, in frames of one length. */
import type { StreamResampler } from '#lib/stream-resampler.ts';
import { SAMPLE_RATE_HZ } from './rates.ts';

export class Framer {
  readonly #frame: Int16Array;
  readonly #resampler: StreamResampler | null;
  #fill = 0;

  /** `resampler`: from 8 kHz to `rateHz`; null when they are the same. */
  constructor(rateHz: number, frameMs: number, resampler: StreamResampler | null) {
    this.#frame = new Int16Array((rateHz * frameMs) / 1000);
    this.#resampler = rateHz === SAMPLE_RATE_HZ ? null : resampler;
  }

  /** `send` gets each frame that is full, as a view that is used again. */
  push(pcm: Int16Array, send: (frame: Int16Array) => void): void {
    const samples = this.#resampler === null ? pcm : this.#resampler.convert(pcm);
    // As it nearly always is where nothing is computed anew: then it needs no copy.
    if (this.#fill === 0 && samples.length === this.#frame.length) return send(samples);
    for (let at = 0; at < samples.length;) {
      const count = Math.min(this.#frame.length - this.#fill, samples.length - at);
      this.#frame.set(samples.subarray(at, at + count), this.#fill);
      this.#fill += count;
      at += count;
      if (this.#fill < this.#frame.length) return;
      this.#fill = 0;
      send(this.#frame);
    }
  }

  /** What does not fill a frame, made up with silence. */
  flush(send: (frame: Int16Array) => void): void {
    if (this.#fill === 0) return;
    this.#frame.fill(0, this.#fill);
    this.#fill = 0;
    send(this.#frame);
  }

  close(): void {
    this.#resampler?.close();
  }
}
