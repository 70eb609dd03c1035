/** SIP timer values (RFC 3261 table 4) and a clock that knows how many timers are pending. */
import type { Clock, TimerHandle } from '#lib/clock.ts';

export type SipTimers = {
  /** Round-trip estimate: the first retransmission interval. */
  readonly t1Ms: number;
  /** Longest retransmission interval of non-INVITE requests and INVITE responses. */
  readonly t2Ms: number;
  /** How long a message may stay in the network. */
  readonly t4Ms: number;
  /** An INVITE of ours without any news is given up (our bound; RFC 3261 sets timer C for proxies only). */
  readonly proceedingLimitMs: number;
  /** An INVITE the application never answers is refused. */
  readonly inviteSilenceMs: number;
  /** An INVITE that only rings is refused. */
  readonly ringingLimitMs: number;
  /** A 1xx is repeated this often to keep proxies from giving up (RFC 3261 13.3.1.1). */
  readonly provisionalRepeatMs: number;
  /** A non-INVITE request the application never answers is refused; shorter than timer F of the peer. */
  readonly requestSilenceMs: number;
  /** Dialogs of an application that went away are hung up unless another one takes them over. */
  readonly orphanMs: number;
};

export const DEFAULT_TIMERS: SipTimers = {
  t1Ms: 500,
  t2Ms: 4000,
  t4Ms: 5000,
  proceedingLimitMs: 300_000,
  inviteSilenceMs: 64_000,
  ringingLimitMs: 600_000,
  provisionalRepeatMs: 60_000,
  requestSilenceMs: 30_000,
  orphanMs: 32_000,
};

/** 64*T1: timers B, F, H, L, M and the wait for an ACK. */
export function timeoutMsOf(timers: SipTimers): number {
  return 64 * timers.t1Ms;
}

/** Passes everything on to another clock and counts what is pending, for the census. */
export class CountingClock implements Clock {
  readonly #inner: Clock;
  readonly #pending = new Set<TimerHandle>();

  constructor(inner: Clock) {
    this.#inner = inner;
  }

  get pending(): number {
    return this.#pending.size;
  }

  now(): number {
    return this.#inner.now();
  }

  wallMs(): number {
    return this.#inner.wallMs();
  }

  setTimer(callback: () => void, delayMs: number): TimerHandle {
    const handle = this.#inner.setTimer(() => {
      this.#pending.delete(handle);
      callback();
    }, delayMs);
    this.#pending.add(handle);
    return handle;
  }

  clearTimer(handle: TimerHandle | undefined): void {
    if (handle === undefined) return;
    this.#pending.delete(handle);
    this.#inner.clearTimer(handle);
  }

  /** Clears every pending timer; the engine's last act. */
  clearAll(): void {
    for (const handle of this.#pending) this.#inner.clearTimer(handle);
    this.#pending.clear();
  }
}
