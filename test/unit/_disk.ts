/** Disks for recordings, made of arrays: one that keeps all, one that is slow, full or broken by a script. */
import { delay } from '#lib/deadline.ts';
import type { SimulatedClock } from '#lib/clock.ts';
import type { RecordingHandle } from '#media/recording/recording-writer.ts';

/** A disk that keeps what is written from `keepFrom` on (and the header), and fails from `failAt` bytes on. */
export class MemoryDisk implements RecordingHandle {
  bytes = new Uint8Array(1 << 16);
  end = 0;
  isClosed = false;
  isRemoved = false;
  readonly failAt: number;
  readonly keepFrom: number;
  /** Whether writes wait for `release()`. */
  gate: Promise<void> | null = null;

  constructor(failAt = Number.POSITIVE_INFINITY, keepFrom = 44) {
    this.failAt = failAt;
    this.keepFrom = keepFrom;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    if (this.gate !== null) await this.gate;
    const end = position + bytes.length;
    if (end > this.failAt && position > 0) throw new Error('ENOSPC: no space left on device');
    this.end = Math.max(this.end, end);
    if (position > 0 && position < this.keepFrom) return;
    const at = position === 0 ? 0 : position - this.keepFrom + 44;
    while (at + bytes.length > this.bytes.length) {
      const larger = new Uint8Array(this.bytes.length * 2);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes.set(bytes, at);
  }

  truncate(bytes: number): Promise<void> {
    this.end = Math.min(this.end, bytes);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  remove(): Promise<void> {
    this.isRemoved = true;
    return Promise.resolve();
  }

  /** Samples of one channel (0 caller, 1 agent), from `keepFrom` on. */
  channel(which: 0 | 1): Int16Array {
    const view = new DataView(this.bytes.buffer);
    const pcm = new Int16Array(Math.floor((this.end - this.keepFrom) / 4));
    for (let i = 0; i < pcm.length; i++) pcm[i] = view.getInt16(44 + i * 4 + which * 2, true);
    return pcm;
  }
}

/** What becomes of one write: it takes `ms`; `takes` bytes of it are written before it fails with `fault`. */
export type WriteFate = {
  readonly ms?: number;
  readonly fault?: 'ENOSPC' | 'EIO';
  readonly takes?: number;
};

/** A disk on a simulated clock that does with each write what `fateOf` says. */
export class ScriptedDisk implements RecordingHandle {
  bytes = Buffer.alloc(0);
  writes = 0;
  isRemoved = false;
  isClosed = false;
  readonly #clock: SimulatedClock;
  readonly #fateOf: (write: number, nowMs: number) => WriteFate;

  constructor(
    clock: SimulatedClock,
    fateOf: (write: number, nowMs: number) => WriteFate = () => ({}),
  ) {
    this.#clock = clock;
    this.#fateOf = fateOf;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const { ms = 0, fault, takes = 0 } = this.#fateOf(this.writes++, this.#clock.now());
    // What is given must stay as it is until it has been written.
    if (ms > 0) await delay(ms, undefined, this.#clock);
    const part = fault === undefined ? bytes : bytes.subarray(0, takes);
    const end = position + part.length;
    if (end > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.length)]);
    }
    this.bytes.set(part, position);
    if (fault !== undefined)
      throw Object.assign(new Error(`${fault}: as scripted`), { code: fault });
  }

  async truncate(bytes: number): Promise<void> {
    this.bytes = this.bytes.subarray(0, bytes);
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  async remove(): Promise<void> {
    this.isRemoved = true;
  }
}
