/** What a vendor sends, kept until it is taken: bounded, in order, ended once. */
import { AppError } from '#lib/errors.ts';

export class Inbox<T> {
  readonly #max: number;
  readonly #items: T[] = [];
  #end: { readonly error: AppError | null } | null = null;
  #wake: (() => void) | null = null;

  /** Holds at most `max` items; one more ends it with E_QUEUE_FULL. */
  constructor(max: number) {
    this.#max = max;
  }

  push(item: T): void {
    if (this.#end !== null) return;
    if (this.#items.length >= this.#max) {
      this.fail(new AppError('E_QUEUE_FULL', 'the vendor sends faster than anybody listens'));
      return;
    }
    this.#items.push(item);
    this.#rouse();
  }

  /** No more will come; what has come is still taken. */
  end(): void {
    this.#end ??= { error: null };
    this.#rouse();
  }

  /** What waits is thrown away: the next `take` fails. */
  fail(error: AppError): void {
    if (this.#end !== null) return;
    this.#end = { error };
    this.#items.length = 0;
    this.#rouse();
  }

  /** The next item; null after the last. One taker at a time. Errors: that of `fail`. */
  async take(): Promise<T | null> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) return item;
      if (this.#end?.error) throw this.#end.error;
      if (this.#end !== null) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
