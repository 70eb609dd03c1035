/** Waiting with an end: every await on the outside has a deadline. */
import { AppError } from './errors.ts';
import { systemClock, type Clock } from './clock.ts';

/**
 * `work`, or an E_TIMEOUT error after `timeoutMs`. The work itself goes on: pass it a signal if it can be stopped.
 * Errors: E_TIMEOUT, whose message names `what`; otherwise whatever `work` rejects with.
 */
export async function withDeadline<T>(
  work: Promise<T>,
  timeoutMs: number,
  what: string,
  clock: Clock = systemClock,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = clock.setTimer(
    () => reject(new AppError('E_TIMEOUT', `${what} took longer than ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([work, promise]);
  } finally {
    clock.clearTimer(timer);
  }
}

/** Resolves after `ms`, or rejects with E_ABORTED when `signal` aborts first. */
export function delay(ms: number, signal?: AbortSignal, clock: Clock = systemClock): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal?.aborted) {
    reject(new AppError('E_ABORTED', 'the wait was given up'));
    return promise;
  }
  const onAbort = (): void => {
    clock.clearTimer(timer);
    reject(new AppError('E_ABORTED', 'the wait was given up'));
  };
  const timer = clock.setTimer(() => {
    signal?.removeEventListener('abort', onAbort);
    resolve();
  }, ms);
  signal?.addEventListener('abort', onAbort, { once: true });
  return promise;
}

/** Somebody may or may not wait for `promise`; its failure is told in another way, too. */
export function toldElsewhere(promise: Promise<unknown>): void {
  const settled = (): void => undefined;
  void promise.then(settled, settled);
}
