/**
 * PCM between two threads: a ring of 16-bit samples in shared memory, one writer, one reader, no lock.
 * Positions are counts of samples since the start (exact up to 2^31 = 74 h at 8 kHz), so both sides can speak of
 * "sample 16,000 of this stream" in their messages.
 */

const HEADER_BYTES = 16;
const WRITE = 0;
const READ = 1;
const DROPPED = 2;

export class SampleRing {
  readonly buffer: SharedArrayBuffer;
  readonly #positions: Int32Array;
  readonly #samples: Int16Array;
  readonly #mask: number;
  /** Writer: up to here there was room when it was last looked. It only grows: the reader need not be asked each time. */
  #roomUntil = 0;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#positions = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#samples = new Int16Array(buffer, HEADER_BYTES);
    this.#mask = this.#samples.length - 1;
  }

  /** A new ring that holds at least `capacity` samples (rounded up to a power of two). */
  static create(capacity: number): SampleRing {
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, capacity)));
    return new SampleRing(new SharedArrayBuffer(HEADER_BYTES + size * 2));
  }

  /** The other thread's view of a ring. */
  static attach(buffer: SharedArrayBuffer): SampleRing {
    return new SampleRing(buffer);
  }

  get capacity(): number {
    return this.#samples.length;
  }

  /** Samples written since the start. */
  get written(): number {
    return Atomics.load(this.#positions, WRITE);
  }

  /** Samples read or skipped since the start. */
  get consumed(): number {
    return Atomics.load(this.#positions, READ);
  }

  get available(): number {
    return this.written - this.consumed;
  }

  get free(): number {
    return this.capacity - this.available;
  }

  /** Samples that did not fit, since the start. */
  get dropped(): number {
    return Atomics.load(this.#positions, DROPPED);
  }

  /** Writer: copies as much of `pcm` (from `offset`) as fits and returns how much that was. */
  write(pcm: Int16Array, offset = 0): number {
    const start = this.#own(WRITE);
    const free = this.capacity - (start - this.consumed);
    const count = Math.min(pcm.length - offset, free);
    this.#put(pcm, offset, count, start);
    return count;
  }

  /** Writer: all of `pcm` or nothing; what does not fit is dropped and counted. */
  push(pcm: Int16Array): boolean {
    const start = this.#own(WRITE);
    if (start + pcm.length > this.#roomUntil) {
      this.#roomUntil = this.consumed + this.capacity;
      if (start + pcm.length > this.#roomUntil) {
        Atomics.add(this.#positions, DROPPED, pcm.length);
        return false;
      }
    }
    this.#put(pcm, 0, pcm.length, start);
    return true;
  }

  /**
   * Writer: all of `pcm`, over what nobody has read. The reader of such a ring skips to the newest part first, well within
   * the capacity.
   */
  overwrite(pcm: Int16Array): void {
    this.#put(pcm, 0, pcm.length, this.#own(WRITE));
  }

  /** Reader: fills `into` from its start with up to `limit` samples and returns how many. */
  read(into: Int16Array, limit = into.length): number {
    const count = Math.min(limit, into.length, this.written - this.#own(READ));
    if (count <= 0) return 0;
    this.take(into, count);
    return count;
  }

  /** Reader: fills `into` from its start with `count` samples, which he knows to be there. */
  take(into: Int16Array, count: number): void {
    const start = this.#own(READ);
    const samples = this.#samples;
    const from = start & this.#mask;
    const straight = Math.min(count, samples.length - from);
    for (let i = 0; i < straight; i++) into[i] = samples[from + i] as number;
    for (let i = straight; i < count; i++) into[i] = samples[i - straight] as number;
    Atomics.store(this.#positions, READ, start + count);
  }

  /** Reader: skips to sample number `position` (at most what is written). Never goes back. */
  skipTo(position: number): void {
    const target = Math.min(position, this.written);
    if (target > this.#own(READ)) Atomics.store(this.#positions, READ, target);
  }

  /** A position that only this side moves: a plain read is enough, and a third of the price of an atomic one. */
  #own(position: typeof WRITE | typeof READ): number {
    return this.#positions[position] as number;
  }

  #put(pcm: Int16Array, offset: number, count: number, start: number): void {
    const samples = this.#samples;
    const from = start & this.#mask;
    const straight = Math.min(count, samples.length - from);
    for (let i = 0; i < straight; i++) samples[from + i] = pcm[offset + i] as number;
    for (let i = straight; i < count; i++) samples[i - straight] = pcm[offset + i] as number;
    Atomics.store(this.#positions, WRITE, start + count);
  }
}
