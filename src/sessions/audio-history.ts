/** The last seconds of the caller's voice, addressable by call time: an utterance is cut out of it when it ends. */
import { SAMPLE_RATE_HZ } from '#media/types.ts';
import type { UtteranceAudio } from '#providers/contract.ts';

const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;
const KEEP_MS = 16_000;
/** Speech detectors cut the first consonant; this much before the start is kept. */
const LEAD_MS = 200;

export class AudioHistory {
  readonly #ring = new Int16Array(KEEP_MS * SAMPLES_PER_MS);
  #written = 0;

  /** Appends caller audio; sample n of everything appended is call time n / 8 ms. */
  append(pcm: Int16Array): void {
    for (const sample of pcm) this.#ring[this.#written++ % this.#ring.length] = sample;
  }

  /** A copy of the audio between two call times; cut to what is still kept (the last 16 s). */
  utterance(startMs: number, endMs: number): UtteranceAudio {
    const oldest = Math.max(0, this.#written - this.#ring.length);
    const from = Math.max(oldest, Math.round((startMs - LEAD_MS) * SAMPLES_PER_MS));
    const to = Math.min(this.#written, Math.round(endMs * SAMPLES_PER_MS));
    const pcm = new Int16Array(Math.max(0, to - from));
    for (let i = 0; i < pcm.length; i++)
      pcm[i] = this.#ring[(from + i) % this.#ring.length] as number;
    return { pcm, startMs, endMs };
  }
}
