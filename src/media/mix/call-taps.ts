/**
 * Listeners of one call, on the worker's side: each tick one frame of either side into every listener's rings. A listener
 * that does not read loses what is old; nobody waits for it.
 */
import { SampleRing } from '#lib/sample-ring.ts';
import { FrameQueue } from './frame-queue.ts';
import { MAX_TAPS } from '../types.ts';

type Tap = { readonly id: number; readonly caller: SampleRing; readonly agent: SampleRing };

export class CallTaps {
  readonly #taps: Tap[] = [];
  /** Made when somebody listens. */
  #waiting: FrameQueue | null = null;
  readonly #onChange: () => void;

  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  get isOpen(): boolean {
    return this.#taps.length > 0;
  }

  add(id: number, caller: SharedArrayBuffer, agent: SharedArrayBuffer): void {
    if (this.#taps.length >= MAX_TAPS) return;
    this.#waiting ??= new FrameQueue();
    this.#taps.push({ id, caller: SampleRing.attach(caller), agent: SampleRing.attach(agent) });
    this.#onChange();
  }

  remove(id: number): void {
    const at = this.#taps.findIndex((tap) => tap.id === id);
    if (at >= 0) this.#taps.splice(at, 1);
    this.#onChange();
  }

  /** The caller's next frame. */
  caller(frame: Int16Array): void {
    if (this.#taps.length === 0) this.#waiting?.clear();
    else this.#waiting?.push(frame);
  }

  /** The end of a tick, with what the agent has sent in it. */
  tick(agent: Int16Array): void {
    const waiting = this.#waiting;
    if (this.#taps.length === 0 || waiting === null) return;
    const caller = waiting.head;
    for (const tap of this.#taps) {
      tap.caller.overwrite(caller);
      tap.agent.overwrite(agent);
    }
    waiting.shift();
  }
}
