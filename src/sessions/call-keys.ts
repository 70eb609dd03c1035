/**
 * Keys that reach a call both in its media and by SIP INFO, told once: exchanges send the INFO beside the event that the
 * phone has sent already, and it comes sooner or later than the end of the event.
 */
import type { Clock } from '#lib/clock.ts';
import { DtmfKeys } from '#media/dtmf/dtmf-keys.ts';
import type { MediaEvent } from '#media/types.ts';

export class CallKeys {
  readonly #clock: Clock;
  readonly #keys = new DtmfKeys();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What the media plane tells, without the keys that INFO has told. */
  media(tell: (event: MediaEvent) => void): (event: MediaEvent) => void {
    return (event) => {
      if (event.type === 'dtmf') {
        const way = event.mode === 'inband' ? 'inband' : 'event';
        if (!this.#isNew(event.digit, way, event.durationMs)) return;
      }
      tell(event);
    };
  }

  /** Keys by INFO, without those that the media plane has told. */
  info(tell: (digit: string, durationMs: number) => void): typeof tell {
    return (digit, durationMs) => {
      if (this.#isNew(digit, 'signal', durationMs)) tell(digit, durationMs);
    };
  }

  #isNew(digit: string, way: 'event' | 'inband' | 'signal', durationMs: number): boolean {
    const nowMs = this.#clock.now();
    return this.#keys.press(digit, way, nowMs - durationMs, nowMs);
  }
}
