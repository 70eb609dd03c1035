/** What playout tells, as events of the call. */
import type { Playout, PlayoutListener } from './playout.ts';
import { FRAME_MS, FRAME_SAMPLES, type MediaEvent } from '../types.ts';

/** `callMs` is the call time now, `wireMs` the same instant for other threads. */
export function playoutEvents(options: {
  readonly emit: (event: MediaEvent) => void;
  readonly callMs: () => number;
  readonly wireMs: () => number;
}): PlayoutListener {
  const { emit, callMs, wireMs } = options;
  const tell =
    (type: 'playout.done' | 'playout.paused' | 'playout.flushed') =>
    (utterance: number, heard: number): void =>
      emit({ type, atMs: callMs(), utterance, heardMs: msOf(heard) });
  return {
    started: (utterance) =>
      emit({ type: 'playout.started', atMs: callMs(), utterance, wireMs: wireMs() }),
    done: tell('playout.done'),
    paused: tell('playout.paused'),
    resumed: (utterance) => emit({ type: 'playout.resumed', atMs: callMs(), utterance }),
    flushed: tell('playout.flushed'),
  };
}

/** That nothing was sent for `waitingMs`; null when nothing keeps it (any more). */
export function stalledEvent(
  { wait, utterance, heard }: Pick<Playout, 'wait' | 'utterance' | 'heard'>,
  atMs: number,
  waitingMs: number,
): MediaEvent | null {
  if (wait === null) return null;
  return { type: 'playout.stalled', atMs, utterance, heardMs: msOf(heard), waitingMs, why: wait };
}

function msOf(samples: number): number {
  return (samples * FRAME_MS) / FRAME_SAMPLES;
}
