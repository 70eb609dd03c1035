/**
 * Call time: milliseconds since the media of one call began, on the clock of its worker. It begins with a whole one: each
 * packet asks for it, and a number with a fraction is an object of its own.
 */
import type { Clock } from '#lib/clock.ts';
import { FRAME_MS, FRAME_SAMPLES } from './types.ts';

export const SAMPLES_PER_MS = FRAME_SAMPLES / FRAME_MS;

export class CallTime {
  readonly #clock: Clock;
  #startedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The call begins at this time of the clock. */
  start(clockMs: number): void {
    this.#startedMs = Math.floor(clockMs);
  }

  now(): number {
    return this.#clock.now() - this.#startedMs;
  }

  /** Of a time on the clock. */
  at(clockMs: number): number {
    return clockMs - this.#startedMs;
  }

  /** The same in samples. */
  samplesAt(clockMs: number): number {
    return Math.round((clockMs - this.#startedMs) * SAMPLES_PER_MS);
  }
}
