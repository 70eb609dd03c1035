/**
 * Whether the agent really speaks while it has the floor: by what has left in packets, not by what was to be said. One
 * that sends nothing for too long is released, whatever holds it up.
 */

/** What of an utterance is looked at. */
export type Watched = {
  readonly number: number;
  readonly sound: number;
  /** All of it is queued. */
  readonly isQueued: boolean;
  readonly audioMs: number;
};

export type FloorWatchOptions = {
  /** In the agent's time, which stands still on hold. */
  readonly now: () => number;
  /** As in `MediaSession.playedSamples`. */
  readonly playedSamples: (sound: number) => number | null;
  /** Called once for each utterance. */
  readonly onStuck: (number: number) => void;
};

/** Sound that waits to be sent; digits by tones stand in its way for 30 s at most. */
const QUEUED_MS = 35_000;
/** Longer than a tool may take (60 s) with a model that then says nothing (10 s). */
const MAKING_MS = 75_000;

export class FloorWatch {
  readonly #options: FloorWatchOptions;
  #sound = -1;
  #played = 0;
  #audioMs = 0;
  #isQueued = false;
  #sinceMs = 0;
  #isTold = false;

  constructor(options: FloorWatchOptions) {
    this.#options = options;
  }

  /** Looks at who has the floor; null: nobody. Call it every frame or so. */
  poll(utterance: Watched | null): void {
    if (utterance === null) {
      this.#sound = -1;
      return;
    }
    const { now, playedSamples, onStuck } = this.#options;
    const { number, sound, isQueued, audioMs } = utterance;
    const played = playedSamples(sound) ?? 0;
    if (sound !== this.#sound) this.#isTold = false;
    const hasMoved = played !== this.#played || audioMs !== this.#audioMs;
    if (sound !== this.#sound || hasMoved || isQueued !== this.#isQueued) {
      this.#sound = sound;
      this.#played = played;
      this.#audioMs = audioMs;
      this.#isQueued = isQueued;
      this.#sinceMs = now();
      return;
    }
    if (this.#isTold || now() - this.#sinceMs < (isQueued ? QUEUED_MS : MAKING_MS)) return;
    this.#isTold = true;
    onStuck(number);
  }
}
