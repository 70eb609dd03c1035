/** The main thread's end of a web call's audio. */
import { LossyRing } from '../lossy-ring.ts';
import type { WebAudio } from '../types.ts';
import { WEB_RING_SAMPLES, type WebBuffers } from './web-transport.ts';

export class WebRings implements WebAudio {
  readonly #uplink = LossyRing.create(WEB_RING_SAMPLES);
  readonly #downlink = LossyRing.create(WEB_RING_SAMPLES);

  /** For the worker. */
  get buffers(): WebBuffers {
    return { uplink: this.#uplink.buffer, downlink: this.#downlink.buffer };
  }

  get sent(): number {
    return this.#downlink.written;
  }

  get consumed(): number {
    return this.#downlink.consumed;
  }

  push(pcm: Int16Array): number {
    return this.#uplink.write(pcm);
  }

  read(into: Int16Array): number {
    return this.#downlink.read(into);
  }

  clear(): void {
    this.#downlink.clear();
  }
}
