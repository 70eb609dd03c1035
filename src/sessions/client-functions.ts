/** Functions that the client on a call answers (contract 2.4): told as a frame, answered by another. */
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { CallFeed } from './call-frames.ts';
import { fault, MAX_ANSWER_CHARS } from './tools/answers.ts';

export type ClientFunctionsOptions = {
  readonly feed: Pick<CallFeed, 'canAnswer' | 'tell'>;
  readonly clock: Clock;
};

export type ClientQuestion = {
  readonly id: Id;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
};

export class ClientFunctions {
  readonly #options: ClientFunctionsOptions;
  readonly #waiting = new Map<Id, (content: string) => void>();
  #isClosed = false;

  constructor(options: ClientFunctionsOptions) {
    this.#options = options;
  }

  /** Resolves with the answer as JSON, or with what went wrong, which the model is told likewise. Never rejects. */
  ask({ id, name, arguments: given, timeoutMs }: ClientQuestion): Promise<string> {
    const { feed, clock } = this.#options;
    if (this.#isClosed) return Promise.resolve(fault('the call is over'));
    if (!feed.canAnswer) return Promise.resolve(fault('no client is connected that could answer'));
    const { promise, resolve } = Promise.withResolvers<string>();
    const settle = (content: string): void => {
      clock.clearTimer(timer);
      this.#waiting.delete(id);
      resolve(content);
    };
    const timer = clock.setTimer(
      () => settle(fault(`no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.#waiting.set(id, settle);
    feed.tell({ type: 'function_call', id, name, arguments: given, timeoutMs });
    return promise;
  }

  /** The client's answer; false when nobody waits for it (any more). */
  answer(id: string, result: unknown): boolean {
    const settle = this.#waiting.get(id);
    if (settle === undefined) return false;
    const content = JSON.stringify(result ?? null);
    const isTooLong = content.length > MAX_ANSWER_CHARS;
    settle(isTooLong ? fault(`longer than ${MAX_ANSWER_CHARS} characters`) : content);
    return true;
  }

  /** Nobody answers any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const settle of this.#waiting.values()) settle(fault('the call is over'));
  }
}
