/**
 * The caller's sound on its way up: 20 ms at a time, in real time. What piled up while there was no connection goes twice
 * as fast, and without its long silences.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';

export type PacedAudioOptions = {
  readonly clock: Clock;
  readonly frameMs: number;
  /** So much of a silence is sent in any case: the vendor must notice that a turn is over. */
  readonly keptQuietMs: number;
  send(frame: Uint8Array): void;
};

/** A caller who has to be heard again was kept for 15 s (realtime-unheard.ts). */
const MAX_WAITING_MS = 16_000;
const SPEED = 2;
const BURST_MS = 200;
const BEHIND_MS = 300;
const QUIET_PEAK = 400;

export class PacedAudio {
  readonly #options: PacedAudioOptions;
  readonly #waiting: Uint8Array[] = [];
  #timer: TimerHandle | undefined;
  /** Sound sent ahead of its time, as of `#atMs`. */
  #aheadMs = 0;
  #atMs: number;
  #quietMs = 0;
  #isOver = false;

  constructor(options: PacedAudioOptions) {
    this.#options = options;
    this.#atMs = options.clock.now();
  }

  /** `frame`: 16-bit little-endian; kept. */
  push(frame: Uint8Array): void {
    if (this.#isOver) return;
    const { frameMs, keptQuietMs } = this.#options;
    const waitingMs = this.#waiting.length * frameMs;
    this.#quietMs = isQuiet(frame) ? this.#quietMs + frameMs : 0;
    if (waitingMs > BEHIND_MS && this.#quietMs > keptQuietMs) return;
    if (waitingMs >= MAX_WAITING_MS) this.#waiting.shift();
    this.#waiting.push(frame);
    if (this.#timer === undefined) this.#send();
  }

  close(): void {
    this.#isOver = true;
    this.#options.clock.clearTimer(this.#timer);
    this.#waiting.length = 0;
  }

  #send(): void {
    const { clock, frameMs } = this.#options;
    const now = clock.now();
    this.#aheadMs = Math.max(0, this.#aheadMs - (now - this.#atMs) * SPEED);
    this.#atMs = now;
    while (this.#aheadMs + frameMs <= BURST_MS) {
      const frame = this.#waiting.shift();
      if (frame === undefined) return;
      this.#aheadMs += frameMs;
      this.#options.send(frame);
      if (this.#isOver) return;
    }
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      this.#send();
    }, frameMs);
  }
}

function isQuiet(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  for (let at = 0; at + 1 < frame.length; at += 8) {
    if (Math.abs(view.getInt16(at, true)) > QUIET_PEAK) return false;
  }
  return true;
}
