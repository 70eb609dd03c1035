/**
 * The shared memory of calls, used again: what two threads share is freed only when the collectors of both have found it,
 * long after the call. A set is wiped before the next call gets it, and comes back only when the worker has let go of it.
 */
import { SampleRing } from '#lib/sample-ring.ts';
import { SAMPLE_RATE_HZ } from './types.ts';
import { UtteranceMarks } from './playout/utterance-marks.ts';

const CALLER_RING_S = 4;
const PLAYOUT_RING_S = 8;
/** Sets that wait for a call, 192 KB each. */
const MAX_SPARE = 64;

export type CallRings = {
  readonly caller: SampleRing;
  readonly playout: SampleRing;
  readonly marks: UtteranceMarks;
};

type Buffers = { readonly [Part in keyof CallRings]: SharedArrayBuffer };

export class RingPool {
  readonly #spare: Buffers[] = [];

  /** Sets that wait for a call. */
  get spare(): number {
    return this.#spare.length;
  }

  take(): CallRings {
    const buffers = this.#spare.pop();
    if (buffers === undefined) {
      return {
        caller: SampleRing.create(CALLER_RING_S * SAMPLE_RATE_HZ),
        playout: SampleRing.create(PLAYOUT_RING_S * SAMPLE_RATE_HZ),
        marks: UtteranceMarks.create(),
      };
    }
    return {
      caller: SampleRing.attach(buffers.caller),
      playout: SampleRing.attach(buffers.playout),
      marks: UtteranceMarks.attach(buffers.marks),
    };
  }

  /** Nobody reads or writes these any more. */
  give({ caller, playout, marks }: CallRings): void {
    if (this.#spare.length >= MAX_SPARE) return;
    const buffers = { caller: caller.buffer, playout: playout.buffer, marks: marks.buffer };
    for (const buffer of Object.values(buffers)) new Uint8Array(buffer).fill(0);
    this.#spare.push(buffers);
  }
}
