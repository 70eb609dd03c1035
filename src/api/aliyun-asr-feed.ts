/** Audio of a client on its way to the vendor: in frames and at a pace that it takes, and never silent for too long. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { ClientTime } from './client-time.ts';

export type FeedOptions = {
  readonly clock: Clock;
  readonly rateHz: 8000 | 16000;
  send(bytes: Uint8Array): void;
  /** The client sends faster than it is heard; once in a while. */
  onOverrun(): void;
};

/** 20 to 200 ms are taken. */
const MIN_FRAME_MS = 20;
const MAX_FRAME_MS = 100;
/** A little faster than real time, after a burst. */
const SPEED = 1.6;
const BURST_MS = 1_500;
/** What may wait; of more the oldest is dropped. */
const MAX_WAITING_MS = 30_000;
/** A client may send samples one by one: so many pieces become one. */
const MAX_PIECES = 256;
/** The vendor ends a session after 10 s without audio. */
const SILENCE_EVERY_MS = 4_000;
const SILENCE_MS = 100;

export class AsrFeed {
  readonly time = new ClientTime();
  readonly #options: FeedOptions;
  readonly #bytesPerMs: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #sentMs = 0;
  #budgetMs = BURST_MS;
  #countedAtMs: number;
  #pace: TimerHandle | undefined;
  #quiet: TimerHandle | undefined;
  #isOpen = false;
  #isOver = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#bytesPerMs = (options.rateHz / 1000) * 2;
    this.#countedAtMs = options.clock.now();
  }

  /** The vendor listens. */
  open(): void {
    this.#isOpen = true;
    this.#countedAtMs = this.#options.clock.now();
    this.#rest();
    this.#go();
  }

  push(bytes: Buffer): void {
    if (this.#isOver || this.#onEmpty !== null || bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waiting.length > MAX_PIECES) this.#waiting = [Buffer.concat(this.#waiting)];
    const tooMany = this.#waitingBytes - MAX_WAITING_MS * this.#bytesPerMs;
    if (tooMany > 0) this.#drop(tooMany);
    this.#go();
  }

  /** Of audio that waits. */
  get pieces(): number {
    return this.#waiting.length;
  }

  /** Resolves when all that was pushed is sent; nothing is taken any more. */
  drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    this.#go();
    return promise;
  }

  /** Idempotent. */
  close(): void {
    this.#isOver = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#options.clock.clearTimer(this.#pace);
    this.#options.clock.clearTimer(this.#quiet);
    this.#onEmpty?.();
  }

  #go(): void {
    if (!this.#isOpen || this.#isOver || this.#pace !== undefined) return;
    const { clock } = this.#options;
    const nowMs = clock.now();
    this.#budgetMs = Math.min(BURST_MS, this.#budgetMs + (nowMs - this.#countedAtMs) * SPEED);
    this.#countedAtMs = nowMs;
    for (;;) {
      const bytes = this.#frameBytes();
      if (bytes === 0) break;
      if (this.#budgetMs <= 0) {
        this.#pace = clock.setTimer(() => {
          this.#pace = undefined;
          this.#go();
        }, MAX_FRAME_MS / SPEED);
        return;
      }
      this.#send(this.#take(bytes));
    }
    if (this.#onEmpty !== null) this.close();
  }

  /** Of the next frame; 0: wait for more. At the end a short one will do, and half a sample is left out. */
  #frameBytes(): number {
    const whole = this.#waitingBytes - (this.#waitingBytes % 2);
    const bytes = Math.min(whole, MAX_FRAME_MS * this.#bytesPerMs);
    return bytes >= MIN_FRAME_MS * this.#bytesPerMs || this.#onEmpty !== null ? bytes : 0;
  }

  #take(bytes: number): Buffer {
    const all =
      this.#waiting.length === 1 ? (this.#waiting[0] as Buffer) : Buffer.concat(this.#waiting);
    const rest = all.subarray(bytes);
    this.#waiting = rest.length === 0 ? [] : [rest];
    this.#waitingBytes = rest.length;
    return all.subarray(0, bytes);
  }

  #send(frame: Buffer): void {
    const ms = frame.length / this.#bytesPerMs;
    this.#budgetMs -= ms;
    this.#sentMs += ms;
    this.#options.send(frame);
    this.#rest();
  }

  #drop(tooMany: number): void {
    // Whole frames, so that not every push drops a little.
    const bytes = Math.min(this.#waitingBytes, tooMany + 1_000 * this.#bytesPerMs) & ~1;
    this.#take(bytes);
    this.time.note(this.#sentMs, -bytes / this.#bytesPerMs);
    this.#options.onOverrun();
  }

  /** Silence, when the client has sent nothing for a while. */
  #rest(): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#quiet);
    this.#quiet = clock.setTimer(() => {
      this.time.note(this.#sentMs, SILENCE_MS);
      this.#send(Buffer.alloc(SILENCE_MS * this.#bytesPerMs));
    }, SILENCE_EVERY_MS);
  }
}
