/** Memory for what disks have not taken yet: bounded for each recording and for all of them, in equal shares. */

export type RecordingRoomOptions = {
  /** Of all recordings, and of one at most, bytes of samples. */
  readonly maxBytes?: number;
  readonly maxEachBytes?: number;
};

/** A second of stereo is 32,000 bytes: 12 s of one, and of a thousand at once their 32 KB each. */
const MAX_BYTES = 32 << 20;
const MAX_EACH_BYTES = 384 << 10;
/** However many there are, each may have this much: two chunks of the recorder. */
const LEAST_EACH_BYTES = 32 << 10;

/** What a place of recordings has lost and holds. */
export type RecordingLoad = {
  readonly recordings: number;
  readonly waitingBytes: number;
  /** Since the start. */
  readonly droppedBytes: number;
};

export class RecordingRoom {
  readonly #maxBytes: number;
  readonly #maxEachBytes: number;
  #recordings = 0;
  #waitingBytes = 0;
  #droppedBytes = 0;

  constructor(options: RecordingRoomOptions = {}) {
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#maxEachBytes = options.maxEachBytes ?? MAX_EACH_BYTES;
  }

  get load(): RecordingLoad {
    return {
      recordings: this.#recordings,
      waitingBytes: this.#waitingBytes,
      droppedBytes: this.#droppedBytes,
    };
  }

  enter(): void {
    this.#recordings++;
  }

  leave(): void {
    this.#recordings--;
  }

  /** Whether a recording that holds `heldBytes` may hold `bytes` more; what it may not is counted as dropped. */
  take(heldBytes: number, bytes: number): boolean {
    const share = Math.floor(this.#maxBytes / Math.max(1, this.#recordings));
    const limit = Math.max(LEAST_EACH_BYTES, Math.min(this.#maxEachBytes, share));
    if (heldBytes + bytes > limit) {
      this.#droppedBytes += bytes;
      return false;
    }
    this.#waitingBytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#waitingBytes -= bytes;
  }

  /** Taken, and then lost after all. */
  lose(bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#droppedBytes += bytes;
  }
}
