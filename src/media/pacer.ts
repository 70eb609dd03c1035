/**
 * The clock of the outgoing packets: every stream is due each 20 ms at an absolute monotonic time, streams are spread
 * over four slots 5 ms apart, and over four between them when those are crowded. With few streams a timer does the coarse
 * waiting and sockets are served as they have something. With many the thread goes in rounds: it waits for the next slot,
 * sends, and then takes all that has come meanwhile at once, 2.5 ms old at most. To wake for each packet costs more than
 * to serve it.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { FRAME_MS } from './types.ts';

/** A stream that is sent every 20 ms. */
export type PacedStream = {
  /** `dueMs` is the ideal time on the clock, `nowMs` when the slot's turn began: reading a clock costs a microsecond. */
  tick(dueMs: number, nowMs: number): void;
  /** What is not sending, once every stream of the slot has sent: nobody's packet waits for it. */
  settle?(dueMs: number, nowMs: number): void;
  /** The process stood still for so long that `frames` packets are left out rather than sent in a burst. */
  skip(frames: number): void;
};

/** Lateness of packets against their ideal times since the last reset, ms. */
export type PacingStats = {
  readonly packets: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly skippedFrames: number;
};

export type PacerOptions = {
  readonly clock: Clock;
  /** Absent: the clock's timers are exact (simulated clock). */
  readonly fine?: FineWait;
};

export type FineWait = {
  /** So long before a slot is due the thread looks after nothing else. */
  readonly guardMs: number;
  /** Blocks the thread. */
  readonly wait: (ms: number) => void;
  /** Calls back when the sockets that have something now have been served. */
  readonly soon: (callback: () => void) => void;
};

/** Even ones first: slots 5 ms apart leave the thread time to receive between them. */
const SLOTS = 8;
const SLOT_MS = FRAME_MS / SLOTS;
/** A slot with more streams than this makes the last of them wait for a quarter of a millisecond. */
const CROWD = 24;
/** From this many streams on the thread goes in rounds of a slot's length. */
const MANY = 16;
/** After a stall, packets follow at twice the rate until the grid is met again. */
const CATCH_UP_MS = FRAME_MS / 2;
/** Stalls longer than this are skipped, not caught up. */
const MAX_BEHIND_MS = 500;
const BUCKET_MS = 0.1;
const BUCKETS = 1000;

type Slot = { readonly streams: PacedStream[]; dueMs: number; earliestMs: number };

export class Pacer {
  readonly #clock: Clock;
  readonly #fine: PacerOptions['fine'];
  readonly #slots: Slot[] = [];
  readonly #lateness = new Uint32Array(BUCKETS);
  readonly #onTimer = (): void => this.#run();
  #timer: TimerHandle | undefined;
  /** A round is to begin. */
  #isSoon = false;
  /** When the next slot is due. */
  #nextMs = Number.POSITIVE_INFINITY;
  #count = 0;
  #originMs = -1;
  #maxMs = 0;
  #packets = 0;
  #skippedFrames = 0;

  constructor(options: PacerOptions) {
    this.#clock = options.clock;
    this.#fine = options.fine;
    for (let i = 0; i < SLOTS; i++) this.#slots.push({ streams: [], dueMs: 0, earliestMs: 0 });
  }

  /** Streams being paced. */
  get size(): number {
    return this.#count;
  }

  /** Timers set: 0 when nothing is paced. */
  get timers(): number {
    return this.#count === 0 || (this.#timer === undefined && !this.#isSoon) ? 0 : 1;
  }

  /** Begins pacing a stream in the emptiest slot; its first tick is due within 20 ms. */
  add(stream: PacedStream): void {
    if (this.#originMs < 0) this.#originMs = this.#clock.now();
    const best = this.#emptiest();
    if (best.streams.length === 0) this.#alignSlot(best);
    best.streams.push(stream);
    this.#count++;
    this.#arm();
  }

  /** Ticks `half` 10 ms after each tick of `stream`, until it is removed like a stream. */
  addHalf(stream: PacedStream, half: PacedStream): void {
    const at = this.#slots.findIndex(({ streams }) => streams.includes(stream));
    const slot = this.#slots[(at + SLOTS / 2) % SLOTS] as Slot;
    if (at < 0 || slot.streams.includes(half)) return;
    if (slot.streams.length === 0) this.#alignSlot(slot);
    slot.streams.push(half);
    this.#count++;
    this.#arm();
  }

  /** Ends pacing a stream. Idempotent. */
  remove(stream: PacedStream): void {
    for (const slot of this.#slots) {
      const at = slot.streams.indexOf(stream);
      if (at < 0) continue;
      slot.streams.splice(at, 1);
      this.#count--;
    }
    if (this.#count > 0) return;
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  /** Sends what has become due, between two datagrams of a burst. `nowMs`: the clock. */
  keepTime(nowMs: number): void {
    if (nowMs >= this.#nextMs) this.#serveDue(0);
  }

  stats(): PacingStats {
    return {
      packets: this.#packets,
      p50Ms: this.#percentile(0.5),
      p99Ms: this.#percentile(0.99),
      maxMs: this.#maxMs,
      skippedFrames: this.#skippedFrames,
    };
  }

  resetStats(): void {
    this.#lateness.fill(0);
    this.#packets = 0;
    this.#maxMs = 0;
    this.#skippedFrames = 0;
  }

  #emptiest(): Slot {
    let best = this.#slots[0] as Slot;
    for (let i = 2; i < SLOTS; i += 2) best = emptier(this.#slots[i] as Slot, best);
    if (best.streams.length < CROWD) return best;
    for (let i = 1; i < SLOTS; i += 2) best = emptier(this.#slots[i] as Slot, best);
    return best;
  }

  #alignSlot(slot: Slot): void {
    const offsetMs = this.#originMs + this.#slots.indexOf(slot) * SLOT_MS;
    const cycles = Math.ceil((this.#clock.now() - offsetMs) / FRAME_MS);
    slot.dueMs = offsetMs + Math.max(0, cycles) * FRAME_MS;
    slot.earliestMs = 0;
  }

  #nextSlot(): Slot | undefined {
    let next: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.streams.length === 0) continue;
      if (next === undefined || wakeOf(slot) < wakeOf(next)) next = slot;
    }
    return next;
  }

  #arm(): void {
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
    const slot = this.#nextSlot();
    this.#nextMs = slot === undefined ? Number.POSITIVE_INFINITY : wakeOf(slot);
    if (slot === undefined || this.#isSoon) return;
    if (this.#fine !== undefined && this.#count >= MANY) {
      this.#isSoon = true;
      this.#fine.soon(this.#onTimer);
      return;
    }
    const waitMs = this.#nextMs - this.#clock.now() - (this.#fine?.guardMs ?? 0);
    // Real timers know whole milliseconds, one at least.
    const delayMs =
      this.#fine === undefined ? Math.max(0, waitMs) : Math.max(1, Math.floor(waitMs));
    this.#timer = this.#clock.setTimer(this.#onTimer, delayMs);
  }

  #run(): void {
    this.#timer = undefined;
    if (this.#isSoon) {
      this.#isSoon = false;
      this.#fine?.wait(Math.min(SLOT_MS, Math.max(0, this.#nextMs - this.#clock.now())));
      this.#serveDue(0);
    } else {
      this.#serveDue(this.#fine?.guardMs ?? 0);
    }
    this.#arm();
  }

  /** Serves each slot once that is due, or will be within `guardMs`. */
  #serveDue(guardMs: number): void {
    for (let turn = 0; turn < SLOTS; turn++) {
      const slot = this.#nextSlot();
      if (slot === undefined) return;
      const leftMs = wakeOf(slot) - this.#clock.now();
      this.#nextMs = wakeOf(slot);
      if (leftMs > guardMs) return;
      if (leftMs > 0) this.#fine?.wait(leftMs);
      this.#serve(slot);
    }
  }

  #serve(slot: Slot): void {
    const nowMs = this.#clock.now();
    const dueMs = slot.dueMs;
    const behindFrames = Math.floor((nowMs - dueMs) / FRAME_MS);
    if (behindFrames * FRAME_MS > MAX_BEHIND_MS) {
      slot.dueMs += behindFrames * FRAME_MS;
      this.#skippedFrames += behindFrames * slot.streams.length;
      for (const stream of slot.streams) stream.skip(behindFrames);
      return;
    }
    slot.dueMs = dueMs + FRAME_MS;
    slot.earliestMs = nowMs + CATCH_UP_MS;
    // Backwards: a stream may remove itself.
    const count = slot.streams.length;
    for (let i = count - 1; i >= 0; i--) slot.streams[i]?.tick(dueMs, nowMs);
    this.#record(count, nowMs - dueMs, this.#clock.now() - dueMs);
    for (let i = slot.streams.length - 1; i >= 0; i--) slot.streams[i]?.settle?.(dueMs, nowMs);
  }

  /** The packets of a slot left one after another between two lateness values. */
  #record(count: number, firstMs: number, lastMs: number): void {
    for (let i = 1; i <= count; i++) {
      const lateMs = firstMs + ((lastMs - firstMs) * i) / count;
      const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor(lateMs / BUCKET_MS)));
      this.#lateness[bucket] = (this.#lateness[bucket] as number) + 1;
    }
    this.#packets += count;
    this.#maxMs = Math.max(this.#maxMs, lastMs);
  }

  #percentile(share: number): number {
    let left = this.#packets * share;
    if (left === 0) return 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#lateness[bucket] as number;
      if (left <= 0) return (bucket + 1) * BUCKET_MS;
    }
    return this.#maxMs;
  }
}

function emptier(one: Slot, other: Slot): Slot {
  return one.streams.length < other.streams.length ? one : other;
}

function wakeOf(slot: Slot): number {
  return Math.max(slot.dueMs, slot.earliestMs);
}

const sleepWord = new Int32Array(new SharedArrayBuffer(4));

/** Waiting in a worker: blocks the thread for 2.5 ms at most, well before sockets fill. */
export const workerFineWait: FineWait = {
  guardMs: 2,
  wait: (ms) => {
    Atomics.wait(sleepWord, 0, 0, ms);
  },
  soon: (callback) => setImmediate(callback),
};
