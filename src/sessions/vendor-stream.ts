/** What a vendor streams, with an end to every wait. */
import { withDeadline } from '#lib/deadline.ts';
import type { Clock } from '#lib/clock.ts';

export type StreamLimits = {
  /** What the next item may take, in ms. */
  readonly nextMs: () => number;
  /** For the error's message. */
  readonly what: string;
  readonly clock: Clock;
};

/** The items of `stream`, which is closed with this one. Errors: E_TIMEOUT naming `what`, and those of the stream. */
export async function* within<T>(
  stream: AsyncGenerator<T, unknown>,
  { nextMs, what, clock }: StreamLimits,
): AsyncGenerator<T, void> {
  try {
    for (;;) {
      const step = await withDeadline(stream.next(), nextMs(), what, clock);
      if (step.done === true) return;
      yield step.value;
    }
  } finally {
    // Not awaited: a generator stuck in its own await would never return.
    void stream.return(undefined).then(
      () => undefined,
      () => undefined, // it has failed already, or has said what it had to say
    );
  }
}
