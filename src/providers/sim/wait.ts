/** Never answering, as a fault to be played. */
import { AppError } from '#lib/errors.ts';

/** Rejects with E_ABORTED when `signal` aborts; until then nothing happens. */
export function hang(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new AppError('E_ABORTED', 'the wait was given up'));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return promise;
}
