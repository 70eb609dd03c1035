/** Who was noted as hearing what, so that a player that seeks leaves one audit row and not hundreds. */
import type { Clock } from '#lib/clock.ts';

/** A player that goes on longer is noted again. */
const FRESH_MS = 5 * 60_000;
const MAX_NOTES = 5_000;

type Note = { readonly atMs: number; readonly written: Promise<void> };

export class HeardNotes {
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #notes = new Map<string, Note>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Calls `write` unless one of `keys` was noted in the last five minutes, and notes the first of them. Whoever comes
   * while it is being written waits for it. Errors: those of `write`; nothing is noted then.
   */
  async once(keys: readonly [string, ...string[]], write: () => Promise<void>): Promise<void> {
    const nowMs = this.#clock.now();
    this.#forget(nowMs);
    const known = keys.map((key) => this.#notes.get(key)).find((note) => note !== undefined);
    if (known !== undefined) return known.written;
    const [key] = keys;
    const note = { atMs: nowMs, written: write() };
    this.#notes.set(key, note);
    try {
      await note.written;
    } catch (error) {
      if (this.#notes.get(key) === note) this.#notes.delete(key);
      throw error;
    }
  }

  #forget(nowMs: number): void {
    for (const [key, { atMs }] of this.#notes) {
      if (nowMs - atMs < FRESH_MS && this.#notes.size < MAX_NOTES) return;
      this.#notes.delete(key);
    }
  }
}
