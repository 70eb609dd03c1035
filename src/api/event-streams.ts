/** Answers that are streams of events (text/event-stream): how many there may be, when they end, and their form. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { whenClosed } from './closed-reply.ts';
import { Problem } from './problem.ts';

export type EventStreamsOptions = {
  readonly clock: Clock;
  /** Open at one time; more are refused. */
  readonly max: number;
  /** And of one account; absent: as many as all may have. */
  readonly maxOfOne?: number;
};

/** One event on its way out; `data` is sent as JSON. */
export type StreamEvent = { readonly event: string; readonly data: object };

/** The place of one answer among those that are open. */
export type StreamPlace = {
  /** Aborts when the client has gone, and, with the Problem as its reason, when the server stops. */
  readonly signal: AbortSignal;
};

/** A client that is told the end and does not read it is cut off after this long. */
const LINGER_MS = 2_000;

export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #open = new Map<FastifyReply, AbortController>();
  /** Open ones of each account. */
  readonly #counts = new Map<string, number>();
  #isClosing = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: EventStreamsOptions) {
    this.#options = options;
  }

  /** Held until the answer is over, however it ends. `accountId`: whose it is. Errors: OVERLOADED, DRAINING. */
  enter(reply: FastifyReply, accountId = ''): StreamPlace {
    const { max, maxOfOne = max } = this.#options;
    if (this.#isClosing) throw new Problem('DRAINING');
    if (this.#open.size >= max || this.#countOf(accountId) >= maxOfOne)
      throw new Problem('OVERLOADED');
    const over = new AbortController();
    this.#open.set(reply, over);
    this.#counts.set(accountId, this.#countOf(accountId) + 1);
    whenClosed(reply, () => {
      this.#open.delete(reply);
      this.#leave(accountId);
      over.abort();
      if (this.#open.size === 0) this.#onEmpty?.();
    });
    return { signal: over.signal };
  }

  #countOf(accountId: string): number {
    return this.#counts.get(accountId) ?? 0;
  }

  #leave(accountId: string): void {
    const left = this.#countOf(accountId) - 1;
    if (left > 0) this.#counts.set(accountId, left);
    else this.#counts.delete(accountId);
  }

  /** Every stream is told DRAINING; resolves when all have ended. */
  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#open.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    for (const over of this.#open.values()) over.abort(new Problem('DRAINING'));
    try {
      await withDeadline(promise, LINGER_MS, 'the last event streams', this.#options.clock);
    } catch {
      // It is time, whoever still reads.
      for (const { raw } of this.#open.keys()) raw.destroy();
    }
  }
}

/** Sends `events` as they come and as fast as they are read. The headers go out at once, whenever the first one comes. */
export function sendEvents(reply: FastifyReply, events: AsyncIterable<StreamEvent>): FastifyReply {
  return reply
    .type('text/event-stream')
    .header('x-accel-buffering', 'no')
    .send(Readable.from(frames(events)));
}

async function* frames(events: AsyncIterable<StreamEvent>): AsyncGenerator<string, void> {
  // A comment (WHATWG HTML 9.2.5): nobody is told of it.
  yield ': callyard\n\n';
  for await (const event of events) yield frameOf(event);
}

export function frameOf({ event, data }: StreamEvent): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
