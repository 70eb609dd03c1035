/** A listener's end of its two rings. */
import { SampleRing } from '#lib/sample-ring.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ, type MediaTap } from '../types.ts';

/** What waits for longer is dropped. */
const KEPT = 2 * SAMPLE_RATE_HZ;
/** Twice what is kept: the writer never overtakes a reader in the middle of a frame. */
const RING = 2 * KEPT;

export class TapReader implements MediaTap {
  readonly #caller = SampleRing.create(RING);
  readonly #agent = SampleRing.create(RING);
  readonly #onClose: () => void;
  #dropped = 0;
  #isClosed = false;

  constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  /** For the worker. */
  get buffers(): { readonly caller: SharedArrayBuffer; readonly agent: SharedArrayBuffer } {
    return { caller: this.#caller.buffer, agent: this.#agent.buffer };
  }

  /** Frames that came and were not read in time. */
  get dropped(): number {
    return this.#dropped;
  }

  read(caller: Int16Array, agent: Int16Array): number {
    if (this.#isClosed) return 0;
    // The caller's ring is written first: up to here both are whole.
    const written = this.#agent.written;
    this.#dropped += Math.max(0, written - KEPT - this.#agent.consumed) / FRAME_SAMPLES;
    this.#caller.skipTo(written - KEPT);
    this.#agent.skipTo(written - KEPT);
    const fits = Math.min(caller.length, agent.length, written - this.#agent.consumed);
    const count = fits - (fits % FRAME_SAMPLES);
    this.#caller.read(caller, count);
    return this.#agent.read(agent, count);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
  }
}
