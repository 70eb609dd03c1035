/** Speech as clients of `/v1/voice/stream` get it (contract 2.4): 16 kHz, in pieces of at most 200 ms. */
import { SAMPLE_RATE_HZ } from '#media/types.ts';
import type { StreamResampler, StreamResampling } from '#lib/stream-resampler.ts';

export const OUT_RATE_HZ = 16_000;
const MAX_PIECE_SAMPLES = OUT_RATE_HZ / 5;
/** What the converter holds back comes out behind it. */
const TAIL_SAMPLES = SAMPLE_RATE_HZ / 100;

/** One reply: what it is given at 8 kHz comes out at 16 kHz, its first sound at once, the rest in whole pieces. */
export class SoundPieces {
  readonly #converter: StreamResampler;
  readonly #piece = new Int16Array(MAX_PIECE_SAMPLES);
  #filled = 0;
  #hasBegun = false;

  constructor(resampling: StreamResampling) {
    this.#converter = resampling.open(SAMPLE_RATE_HZ, OUT_RATE_HZ);
  }

  /** The pieces that are complete with `pcm`. */
  *write(pcm: Int16Array): Generator<Int16Array, void> {
    yield* this.#cut(this.#converter.convert(pcm));
    // Whoever listens waits for the first sound, and not for a whole piece of it.
    if (!this.#hasBegun) yield* this.flush();
  }

  /** What is left of a sentence. */
  *flush(): Generator<Int16Array, void> {
    if (this.#filled === 0) return;
    this.#hasBegun = true;
    yield this.#piece.slice(0, this.#filled);
    this.#filled = 0;
  }

  /** The very last of it. */
  *end(): Generator<Int16Array, void> {
    if (!this.#hasBegun) return;
    yield* this.#cut(this.#converter.convert(new Int16Array(TAIL_SAMPLES)));
    yield* this.flush();
  }

  /** Gives the memory back. Idempotent. */
  close(): void {
    this.#converter.close();
  }

  *#cut(pcm: Int16Array): Generator<Int16Array, void> {
    for (let at = 0; at < pcm.length;) {
      const part = pcm.subarray(at, at + MAX_PIECE_SAMPLES - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === MAX_PIECE_SAMPLES) yield* this.flush();
    }
  }
}
