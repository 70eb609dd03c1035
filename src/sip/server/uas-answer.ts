/**
 * Repeats the 2xx to an INVITE until its ACK comes, since its transaction does not. On TCP too: a hop behind the next one
 * may be UDP (RFC 3261 13.3.1.4).
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { AwaitedAck } from './dialog.ts';
import { timeoutMsOf } from './timers.ts';
import type { SipTimers } from './timers.ts';

export type AnswerOptions = {
  readonly cseq: number;
  readonly clock: Clock;
  readonly timers: SipTimers;
  repeat(): void;
  /** No ACK within 64*T1. */
  onTimeout(): void;
};

export function awaitAck(options: AnswerOptions): AwaitedAck {
  const { clock, timers } = options;
  let intervalMs = timers.t1Ms;
  let again: TimerHandle;
  const end = clock.setTimer(() => {
    clock.clearTimer(again);
    options.onTimeout();
  }, timeoutMsOf(timers));
  const repeat = (): void => {
    options.repeat();
    intervalMs = Math.min(intervalMs * 2, timers.t2Ms);
    again = clock.setTimer(repeat, intervalMs);
  };
  again = clock.setTimer(repeat, intervalMs);
  return {
    cseq: options.cseq,
    dispose: () => {
      clock.clearTimer(again);
      clock.clearTimer(end);
    },
  };
}
