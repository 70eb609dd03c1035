/** Reading what a provider streams: with an end to every wait, and at once over when nobody wants it any more. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';

/** A provider that says nothing for this long has failed, whatever its own deadlines are. */
const PROVIDER_STALL_MS = 10_000;

export type StreamWatch = {
  /** For the error's message. */
  readonly what: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Rejects when there is no use in going on; handled by whoever made it. */
  readonly failed?: Promise<never>;
};

/**
 * Runs `each` over a provider's stream, which is closed whatever comes. Errors: E_TIMEOUT for a stream that stalls,
 * E_ABORTED as soon as `signal` aborts, those of the stream, of `each` and of `failed`.
 */
export async function eachWithin<T, R>(
  stream: AsyncGenerator<T, R>,
  { what, signal, clock, failed }: StreamWatch,
  each: (item: T) => void | Promise<void>,
): Promise<R> {
  const { promise: broken, reject } = Promise.withResolvers<never>();
  void broken.then(undefined, () => undefined); // told by whatever waits for it then
  const onAbort = (): void => reject(givenUp());
  const onStall = (): void =>
    reject(new AppError('E_TIMEOUT', `${what} took longer than ${PROVIDER_STALL_MS} ms`));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  let timer: TimerHandle | undefined;
  try {
    for (;;) {
      timer = clock.setTimer(onStall, PROVIDER_STALL_MS);
      const next = stream.next();
      const step = await Promise.race(
        failed === undefined ? [broken, next] : [broken, failed, next],
      );
      clock.clearTimer(timer);
      if (signal.aborted) throw givenUp();
      if (step.done === true) return step.value;
      await each(step.value);
      if (signal.aborted) throw givenUp();
    }
  } catch (error) {
    // Not awaited: a generator stuck in its own await would never return.
    void stream.return(undefined as R).then(
      () => undefined,
      () => undefined, // it has failed already, with the error that is thrown here
    );
    throw error;
  } finally {
    clock.clearTimer(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

export function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the reply was given up');
}
