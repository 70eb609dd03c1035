/**
 * PCM between two threads where being late must not pile up: a ring that holds so many samples and no more, the oldest
 * excess is dropped by the writer and counted. One writer, one reader; both may move the reading position, so both do
 * it by compare-and-exchange, and a reader that was overtaken reads again.
 */

const HEADER_BYTES = 16;
const WRITE = 0;
const READ = 1;
const DROPPED = 2;

export class LossyRing {
  readonly buffer: SharedArrayBuffer;
  /** Samples that may wait. */
  readonly limit: number;
  readonly #positions: Int32Array;
  readonly #samples: Int16Array;
  readonly #mask: number;

  private constructor(buffer: SharedArrayBuffer, limit: number) {
    this.buffer = buffer;
    this.limit = limit;
    this.#positions = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#samples = new Int16Array(buffer, HEADER_BYTES);
    this.#mask = this.#samples.length - 1;
  }

  static create(limit: number): LossyRing {
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, limit)));
    return new LossyRing(new SharedArrayBuffer(HEADER_BYTES + size * 2), limit);
  }

  /** The other thread's view; `limit` as it was created with. */
  static attach(buffer: SharedArrayBuffer, limit: number): LossyRing {
    return new LossyRing(buffer, limit);
  }

  /** Samples written since the start (up to 2^31, 74 h at 8 kHz). */
  get written(): number {
    return Atomics.load(this.#positions, WRITE);
  }

  /** Samples read or dropped since the start. */
  get consumed(): number {
    return Atomics.load(this.#positions, READ);
  }

  get available(): number {
    return this.written - this.consumed;
  }

  /** Samples dropped since the start. */
  get dropped(): number {
    return Atomics.load(this.#positions, DROPPED);
  }

  /** Writer: takes all of `pcm` and returns how many of the oldest samples were dropped for it. */
  write(pcm: Int16Array): number {
    const unheard = Math.max(0, pcm.length - this.limit);
    const fresh = pcm.length - unheard;
    const start = this.written;
    const dropped = unheard + this.#makeRoom(start, fresh);
    for (let i = 0; i < fresh; i++) {
      this.#samples[(start + i) & this.#mask] = pcm[unheard + i] as number;
    }
    Atomics.store(this.#positions, WRITE, start + fresh);
    if (dropped > 0) Atomics.add(this.#positions, DROPPED, dropped);
    return dropped;
  }

  /** Reader: fills `into` from its start with up to `limit` samples and returns how many. */
  read(into: Int16Array, limit = into.length): number {
    for (;;) {
      const start = this.consumed;
      const count = Math.min(limit, into.length, this.written - start);
      for (let i = 0; i < count; i++) {
        into[i] = this.#samples[(start + i) & this.#mask] as number;
      }
      if (this.#advance(start, start + count)) return count;
    }
  }

  /** Reader: what waits is not wanted any more. */
  clear(): void {
    for (;;) {
      const start = this.consumed;
      if (this.#advance(start, this.written)) return;
    }
  }

  /** Reader: what was written before `position` (a `written` of the past) is not wanted any more. */
  skipTo(position: number): void {
    for (;;) {
      const start = this.consumed;
      if (start >= position || this.#advance(start, position)) return;
    }
  }

  #makeRoom(written: number, count: number): number {
    for (;;) {
      const start = this.consumed;
      const excess = written - start + count - this.limit;
      if (excess <= 0) return 0;
      if (this.#advance(start, start + excess)) return excess;
    }
  }

  #advance(from: number, to: number): boolean {
    return Atomics.compareExchange(this.#positions, READ, from, to) === from;
  }
}
