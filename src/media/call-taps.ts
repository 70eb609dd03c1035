/**
 * Listeners of one call, on the worker's side: each tick one frame of either side into every listener's rings. A listener
 * that does not read loses what is old; nobody waits for it.
 */
import { SampleRing } from '#lib/sample-ring.ts';
import { FRAME_SAMPLES, MAX_TAPS } from './types.ts';

/** Caller frames that wait for their tick: the jitter buffer gives none in one tick and two in the next. */
const WAITING = 2;

type Tap = { readonly id: number; readonly caller: SampleRing; readonly agent: SampleRing };

export class CallTaps {
  readonly #taps: Tap[] = [];
  readonly #waiting = Array.from({ length: WAITING }, () => new Int16Array(FRAME_SAMPLES));
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  #first = 0;
  #count = 0;

  add(id: number, caller: SharedArrayBuffer, agent: SharedArrayBuffer): void {
    if (this.#taps.length >= MAX_TAPS) return;
    this.#taps.push({ id, caller: SampleRing.attach(caller), agent: SampleRing.attach(agent) });
  }

  remove(id: number): void {
    const at = this.#taps.findIndex((tap) => tap.id === id);
    if (at >= 0) this.#taps.splice(at, 1);
  }

  /** The caller's next frame; with more than two waiting the oldest goes, so that nobody hears him late. */
  caller(frame: Int16Array): void {
    if (this.#taps.length === 0) {
      this.#count = 0;
      return;
    }
    if (this.#count === WAITING) this.#shift();
    const at = (this.#first + this.#count) % WAITING;
    this.#waiting[at]?.set(frame);
    this.#count++;
  }

  /** The end of a tick, with what the agent has sent in it. */
  tick(agent: Int16Array): void {
    if (this.#taps.length === 0) return;
    const caller = this.#count > 0 ? (this.#waiting[this.#first] as Int16Array) : this.#silence;
    for (const tap of this.#taps) {
      tap.caller.overwrite(caller);
      tap.agent.overwrite(agent);
    }
    if (this.#count > 0) this.#shift();
  }

  #shift(): void {
    this.#first = (this.#first + 1) % WAITING;
    this.#count--;
  }
}
