/** The caller's last seconds, for a session that takes over. Fifty pieces a second go in and hardly one ever comes out. */
import { SAMPLES_PER_MS } from '../rates.ts';

export class KeptAudio {
  readonly #ring: Int16Array;
  /** Where the next sample goes, and how many before it are kept. */
  #at = 0;
  #kept = 0;

  constructor(maxMs: number) {
    this.#ring = new Int16Array(maxMs * SAMPLES_PER_MS);
  }

  /** Keeps `pcm`, and of what came before as much as makes `limitMs` together, at most what was asked for at first. */
  push(pcm: Int16Array, limitMs: number): void {
    const ring = this.#ring;
    const size = ring.length;
    let at = this.#at;
    for (let i = Math.max(0, pcm.length - size); i < pcm.length; i++) {
      ring[at] = pcm[i] as number;
      at = at + 1 === size ? 0 : at + 1;
    }
    this.#at = at;
    this.#kept = Math.min(this.#kept + pcm.length, limitMs * SAMPLES_PER_MS, size);
  }

  /** All that is kept, oldest first, in one view or two. */
  read(take: (pcm: Int16Array) => void): void {
    const from = this.#at - this.#kept;
    if (from < 0) take(this.#ring.subarray(from));
    if (from < this.#at && this.#at > 0) take(this.#ring.subarray(Math.max(0, from), this.#at));
  }

  forget(): void {
    this.#kept = 0;
  }
}
