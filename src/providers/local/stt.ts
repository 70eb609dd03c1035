/** Hears that the caller spoke, and when; does not read what was said. */
import type { SttProvider } from '../contract.ts';

export function createLocalStt(): SttProvider {
  return {
    vendor: 'local',
    reads: false,
    open(options) {
      let isClosed = false;
      return {
        push: () => undefined,
        speechStarted: () => undefined,
        speechStopped({ startMs, endMs }) {
          // Never from inside the caller's own call: it may still be changing state.
          queueMicrotask(() => {
            if (isClosed) return;
            options.onEvent({
              type: 'final',
              text: '',
              confidence: null,
              startMs,
              endMs,
              language: null,
            });
          });
        },
        close() {
          isClosed = true;
        },
      };
    },
  };
}
