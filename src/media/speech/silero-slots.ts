/**
 * What a media worker and its Silero thread share: for each call a short queue of chunks, and the probability of speech
 * of the last one judged. One writer at each end, no messages, nothing allocated per chunk. A full queue drops the chunk.
 */

/** What the model takes at 8 kHz: 32 ms. */
export const CHUNK = 256;
/** Chunks that may wait: 128 ms; what is older is of no use. */
const QUEUE = 4;
/** Calls of one media worker that can have the model; the others keep the detector they have. */
export const SILERO_SLOTS = 512;

const BELL = 0;
const STATE = 1;
const HEAD = 2;
/** Of a slot: whether it is used, by which call, chunks written, judged. */
const FIELDS = 4;
const IN_USE = 0;
const CALL = 1;
const WRITTEN = 2;
const DONE = 3;

export type SileroState = 'starting' | 'ready' | 'failed';
const STATES: readonly SileroState[] = ['starting', 'ready', 'failed'];

export type SileroMemory = {
  readonly control: SharedArrayBuffer;
  readonly speech: SharedArrayBuffer;
  readonly chunks: SharedArrayBuffer;
};

export class SileroSlots {
  readonly memory: SileroMemory;
  readonly #control: Int32Array;
  readonly #speech: Float32Array;
  readonly #chunks: Int16Array;
  #lastTaken = -1;

  constructor(memory: SileroMemory) {
    this.memory = memory;
    this.#control = new Int32Array(memory.control);
    this.#speech = new Float32Array(memory.speech);
    this.#chunks = new Int16Array(memory.chunks);
  }

  static create(): SileroSlots {
    return new SileroSlots({
      control: new SharedArrayBuffer((HEAD + SILERO_SLOTS * FIELDS) * 4),
      speech: new SharedArrayBuffer(SILERO_SLOTS * 4),
      chunks: new SharedArrayBuffer(SILERO_SLOTS * QUEUE * CHUNK * 2),
    });
  }

  get state(): SileroState {
    return STATES[Atomics.load(this.#control, STATE)] ?? 'failed';
  }

  set state(state: SileroState) {
    Atomics.store(this.#control, STATE, STATES.indexOf(state));
    this.#ring();
  }

  // ---- The media worker's end ----

  /** A slot for a call; -1: all are taken. */
  take(): number {
    for (let i = 0; i < SILERO_SLOTS; i++) {
      // The one that was given back longest ago: the thread has long done with the call that had it.
      const slot = (this.#lastTaken + 1 + i) % SILERO_SLOTS;
      if (Atomics.load(this.#control, at(slot, IN_USE)) !== 0) continue;
      Atomics.store(this.#control, at(slot, WRITTEN), 0);
      Atomics.store(this.#control, at(slot, DONE), 0);
      Atomics.add(this.#control, at(slot, CALL), 1);
      Atomics.store(this.#control, at(slot, IN_USE), 1);
      this.#lastTaken = slot;
      return slot;
    }
    return -1;
  }

  release(slot: number): void {
    Atomics.store(this.#control, at(slot, IN_USE), 0);
  }

  /** Queues a chunk; false when it was dropped because too many wait. */
  push(slot: number, chunk: Int16Array): boolean {
    const written = Atomics.load(this.#control, at(slot, WRITTEN));
    if (written - Atomics.load(this.#control, at(slot, DONE)) >= QUEUE) return false;
    this.#chunks.set(chunk, (slot * QUEUE + (written % QUEUE)) * CHUNK);
    Atomics.store(this.#control, at(slot, WRITTEN), written + 1);
    this.#ring();
    return true;
  }

  /** Chunks that wait. */
  waiting(slot: number): number {
    return (
      Atomics.load(this.#control, at(slot, WRITTEN)) - Atomics.load(this.#control, at(slot, DONE))
    );
  }

  /** Chunks judged. */
  judged(slot: number): number {
    return Atomics.load(this.#control, at(slot, DONE));
  }

  /** Probability of speech in the last chunk judged. */
  speech(slot: number): number {
    return this.#speech[slot] as number;
  }

  // ---- The thread's end ----

  /** Which call has a slot: it changes with every call. */
  callOf(slot: number): number {
    return Atomics.load(this.#control, at(slot, CALL));
  }

  hasWork(slot: number): boolean {
    return Atomics.load(this.#control, at(slot, IN_USE)) !== 0 && this.waiting(slot) > 0;
  }

  /** The oldest chunk that waits, as samples of -1..1. */
  read(slot: number, into: Float32Array, from: number): void {
    const done = this.judged(slot);
    const chunk = (slot * QUEUE + (done % QUEUE)) * CHUNK;
    for (let i = 0; i < CHUNK; i++) into[from + i] = (this.#chunks[chunk + i] as number) / 32_768;
  }

  /** The oldest chunk of `call` has been judged. A slot that another call has taken since is left alone. */
  finish(slot: number, call: number, speech: number): void {
    if (this.callOf(slot) !== call) return;
    this.#speech[slot] = speech;
    Atomics.add(this.#control, at(slot, DONE), 1);
  }

  /** What `changed` compares with. */
  get bell(): number {
    return Atomics.load(this.#control, BELL);
  }

  /** Resolves when anything has come since `bell`, or after `timeoutMs`. */
  async changed(bell: number, timeoutMs: number): Promise<void> {
    const waiting = Atomics.waitAsync(this.#control, BELL, bell, timeoutMs);
    if (waiting.async) await waiting.value;
  }

  #ring(): void {
    Atomics.add(this.#control, BELL, 1);
    Atomics.notify(this.#control, BELL);
  }
}

function at(slot: number, field: number): number {
  return HEAD + slot * FIELDS + field;
}
