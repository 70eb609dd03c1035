/** What playout tells, as events of the call. */
import type { PlayoutListener } from './playout.ts';
import { FRAME_MS, FRAME_SAMPLES, type MediaEvent } from './types.ts';

/** `callMs` is the call time now, `wireMs` the same instant for other threads. */
export function playoutEvents(options: {
  readonly emit: (event: MediaEvent) => void;
  readonly callMs: () => number;
  readonly wireMs: () => number;
}): PlayoutListener {
  const { emit, callMs, wireMs } = options;
  const heardMs = (samples: number): number => (samples * FRAME_MS) / FRAME_SAMPLES;
  const tell =
    (type: 'playout.done' | 'playout.paused' | 'playout.flushed') =>
    (utterance: number, heard: number): void =>
      emit({ type, atMs: callMs(), utterance, heardMs: heardMs(heard) });
  return {
    started: (utterance) =>
      emit({ type: 'playout.started', atMs: callMs(), utterance, wireMs: wireMs() }),
    done: tell('playout.done'),
    paused: tell('playout.paused'),
    resumed: (utterance) => emit({ type: 'playout.resumed', atMs: callMs(), utterance }),
    flushed: tell('playout.flushed'),
  };
}
