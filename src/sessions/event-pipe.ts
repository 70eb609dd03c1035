/** A stream of events from one who makes them to one who reads them, with room for so much sound and no more. */
import { AppError } from '#lib/errors.ts';

type Item<T> = { readonly event: T; readonly soundMs: number };

export class EventPipe<T> implements AsyncIterable<T> {
  readonly #roomMs: number;
  readonly #items: Item<T>[] = [];
  #waitingMs = 0;
  #takenMs = 0;
  #isEnded = false;
  #isClosed = false;
  /** Told of every change, whoever waits for one. */
  #waiting: (() => void)[] = [];

  /** `roomMs`: of sound that waits to be read. */
  constructor(roomMs: number) {
    this.#roomMs = roomMs;
  }

  /** Sound that the reader has taken, ms. */
  get takenMs(): number {
    return this.#takenMs;
  }

  /** Nobody reads any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What has no sound needs no room. */
  tell(event: T): void {
    if (this.#isEnded || this.#isClosed) return;
    this.#items.push({ event, soundMs: 0 });
    this.#changed();
  }

  /** Resolves as soon as there is room for it. Errors: E_ABORTED when nobody reads any more. */
  async write(event: T, soundMs: number): Promise<void> {
    while (!this.#isClosed && this.#waitingMs > 0 && this.#waitingMs + soundMs > this.#roomMs) {
      await this.#change();
    }
    if (this.#isClosed) throw gone();
    this.#items.push({ event, soundMs });
    this.#waitingMs += soundMs;
    this.#changed();
  }

  /** True once everything has been taken; false when nobody reads any more. */
  async drained(): Promise<boolean> {
    while (!this.#isClosed && this.#items.length > 0) await this.#change();
    return !this.#isClosed;
  }

  /** Nothing more comes. Idempotent. */
  end(): void {
    this.#isEnded = true;
    this.#changed();
  }

  /** The reader has gone: what it has not taken is thrown away. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#items.length = 0;
    this.#changed();
  }

  /** One reader alone; when it leaves the pipe is closed. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const done = { done: true, value: undefined } as const;
    return {
      next: async () => {
        while (!this.#isClosed && !this.#isEnded && this.#items.length === 0) await this.#change();
        const item = this.#items.shift();
        if (item === undefined) return done;
        this.#waitingMs -= item.soundMs;
        this.#takenMs += item.soundMs;
        this.#changed();
        return { done: false, value: item.event };
      },
      return: async () => {
        this.close();
        return done;
      },
    };
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

function gone(): AppError {
  return new AppError('E_ABORTED', 'nobody reads any more');
}
