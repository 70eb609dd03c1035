/** What a vendor sends, kept until it is asked for: bounded, ended once, and given up at once. */
import type { Clock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { vendorError } from './nls-errors.ts';

export class Intake<T extends { readonly bytes: number }> {
  readonly #maxBytes: number;
  readonly #items: T[] = [];
  #bytes = 0;
  #end: { readonly error: AppError | null } | null = null;
  #wake: (() => void) | null = null;
  #onRoom: (() => void) | null = null;
  #roomAt = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Ends with E_QUEUE_FULL when there is too much. */
  push(item: T): void {
    if (this.#end !== null) return;
    this.#bytes += item.bytes;
    if (this.#bytes > this.#maxBytes) {
      this.fail(vendorError('E_QUEUE_FULL', 'the speech is not taken as fast as it is made'));
      return;
    }
    this.#items.push(item);
    this.#wake?.();
  }

  /** No more will come. */
  end(): void {
    this.#finish(null);
  }

  fail(error: AppError): void {
    this.#finish(error);
  }

  /** What came before the end, in order; then its error, or null. */
  async next(): Promise<T | null> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#bytes -= item.bytes;
        this.#tellRoom();
        return item;
      }
      if (this.#end?.error) throw this.#end.error;
      if (this.#end !== null) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Resolves once no more than `bytes` wait, or the end has come. One waiter at a time. */
  async room(bytes: number): Promise<void> {
    if (this.#end !== null || this.#bytes <= bytes) return;
    this.#roomAt = bytes;
    await new Promise<void>((resolve) => (this.#onRoom = resolve));
  }

  get isEnded(): boolean {
    return this.#end !== null;
  }

  #finish(error: AppError | null): void {
    if (this.#end !== null) return;
    this.#end = { error };
    // What is given up is not heard to its end.
    if (error?.code === 'E_ABORTED') this.#items.length = 0;
    this.#wake?.();
    this.#tellRoom();
  }

  #tellRoom(): void {
    if (this.#end === null && this.#bytes > this.#roomAt) return;
    this.#onRoom?.();
    this.#onRoom = null;
  }
}

/** `work`, or null after `ms`; the work goes on. */
export async function within<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = clock.setTimer(() => resolve(null), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clock.clearTimer(timer);
  }
}
