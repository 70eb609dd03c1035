/** Caller audio that a realtime model may not have heard: sent again when its connection had to be made anew. */
import { SAMPLES_PER_MS } from './rates.ts';

/** Kept at most. */
const KEPT_MS = 15_000;
/** A line may have been dead for so long before it was noticed (ws-channel.ts: 2.5 s), and some. */
const BLIND_MS = 3_000;
/** Before the vendor's word that speech began. */
const RUN_UP_MS = 1_000;

export class UnheardAudio {
  readonly #ring = new Int16Array(KEPT_MS * SAMPLES_PER_MS);
  /** Positions since the start, in samples: taken up to, sent up to, written up to. */
  #from = 0;
  #sentTo = 0;
  #to = 0;
  /** Where the utterance under way began; null: none is. */
  #speechAt: number | null = null;

  get unsent(): number {
    return this.#to - this.#sentTo;
  }

  append(pcm: Int16Array): void {
    const size = this.#ring.length;
    for (let done = 0; done < pcm.length;) {
      const at = this.#to % size;
      const count = Math.min(pcm.length - done, size - at);
      // A view is made only where the ring ends: making one costs more than the copying.
      this.#ring.set(count === pcm.length ? pcm : pcm.subarray(done, done + count), at);
      done += count;
      this.#to += count;
    }
    this.#from = Math.max(this.#from, this.#to - size);
    this.#sentTo = Math.max(this.#sentTo, this.#from);
  }

  /** As `append`, of what is sent at the same time; nothing before it may be unsent. */
  appendSent(pcm: Int16Array): void {
    this.append(pcm);
    this.#sentTo = this.#to;
  }

  /** Gives up to `limit` samples that were not sent yet, in one or two views. */
  read(limit: number, send: (pcm: Int16Array) => void): void {
    let left = Math.min(limit, this.unsent);
    while (left > 0) {
      const at = this.#sentTo % this.#ring.length;
      const count = Math.min(left, this.#ring.length - at);
      this.#sentTo += count;
      left -= count;
      send(this.#ring.subarray(at, at + count));
    }
  }

  /** The vendor heard speech begin in what was sent last. */
  speechStarted(): void {
    this.#speechAt ??= this.#sentTo - RUN_UP_MS * SAMPLES_PER_MS;
  }

  /** The vendor has taken what was sent into the conversation. */
  took(): void {
    this.#from = this.#sentTo;
    this.#speechAt = null;
  }

  /** To be sent again: an utterance from its beginning; else what may have gone into a dead line. */
  rewind(): void {
    const blind = this.#to - BLIND_MS * SAMPLES_PER_MS;
    const wanted = Math.min(this.#speechAt ?? blind, blind, this.#sentTo);
    this.#sentTo = Math.max(this.#from, wanted);
    this.#speechAt = null;
  }
}
