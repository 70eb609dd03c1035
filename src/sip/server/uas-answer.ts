/** Repeats the 2xx to an INVITE until its ACK comes (RFC 3261 13.3.1.4), since its transaction does not. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { AwaitedAck } from './dialog.ts';
import { timeoutMsOf } from './timers.ts';
import type { SipTimers } from './timers.ts';

export type AnswerOptions = {
  readonly cseq: number;
  readonly clock: Clock;
  readonly timers: SipTimers;
  /** On TCP the 2xx cannot be lost on the way to the next hop: only the ACK is waited for. */
  readonly reliable: boolean;
  repeat(): void;
  /** No ACK within 64*T1. */
  onTimeout(): void;
};

export function awaitAck(options: AnswerOptions): AwaitedAck {
  const { clock, timers } = options;
  let intervalMs = timers.t1Ms;
  let again: TimerHandle | undefined;
  const end = clock.setTimer(() => {
    clock.clearTimer(again);
    options.onTimeout();
  }, timeoutMsOf(timers));
  const repeat = (): void => {
    options.repeat();
    intervalMs = Math.min(intervalMs * 2, timers.t2Ms);
    again = clock.setTimer(repeat, intervalMs);
  };
  if (!options.reliable) again = clock.setTimer(repeat, intervalMs);
  return {
    cseq: options.cseq,
    dispose: () => {
      clock.clearTimer(again);
      clock.clearTimer(end);
    },
  };
}
