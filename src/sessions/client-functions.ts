/**
 * Functions that the client on a call answers (contract 2.4): asked for by the agent's model, told as a frame, and kept in
 * the transcript, so that an answer counts even if the caller has interrupted meanwhile: nothing is asked for twice.
 */
import type { AgentFunction } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import type { ToolCall } from '#providers/contract.ts';
import type { CallStory } from './story.ts';

type Waiting = {
  /** What is asked: name and arguments. */
  readonly question: string;
  readonly content: Promise<string>;
  readonly settle: (content: string) => void;
};

export type ClientFunctionsOptions = {
  readonly story: Pick<CallStory, 'feed' | 'message' | 'callTimeMs'>;
  readonly clock: Clock;
};

/** What a client may answer with, as JSON. */
const MAX_RESULT_CHARS = 8000;

export class ClientFunctions {
  readonly #options: ClientFunctionsOptions;
  readonly #waiting = new Map<string, Waiting>();
  #isClosed = false;

  constructor(options: ClientFunctionsOptions) {
    this.#options = options;
  }

  /**
   * Asks whoever is on the call; resolves with the answer as JSON, or with what went wrong, which the model is told
   * likewise. Errors: E_ABORTED as soon as `signal` aborts; the answer is kept all the same. Nobody is asked for a reply
   * that was given up before, or once the call is over.
   */
  ask(call: ToolCall, offered: readonly AgentFunction[], signal: AbortSignal): Promise<string> {
    if (signal.aborted || this.#isClosed) return Promise.reject(givenUp());
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(givenUp());
    signal.addEventListener('abort', onAbort, { once: true });
    const asked = this.#ask(call, offered).finally(() =>
      signal.removeEventListener('abort', onAbort),
    );
    return Promise.race([asked, aborted]);
  }

  /** The client's answer; false when nobody waits for it (any more). */
  answer(id: string, result: unknown): boolean {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return false;
    const content = JSON.stringify(result ?? null);
    const isTooLong = content.length > MAX_RESULT_CHARS;
    waiting.settle(isTooLong ? fault(`longer than ${MAX_RESULT_CHARS} characters`) : content);
    return true;
  }

  /** Nobody answers any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const { settle } of this.#waiting.values()) settle(fault('the call is over'));
  }

  async #ask(call: ToolCall, offered: readonly AgentFunction[]): Promise<string> {
    const { story } = this.#options;
    const { name, arguments: given } = call;
    const pending = this.#pending(questionOf(call));
    if (pending !== null) return pending;
    const id = newId();
    const wanted = [{ id, name, arguments: given }];
    story.message({ role: 'assistant', content: '', tool_calls: wanted }, story.callTimeMs());
    const known = offered.find((each) => each.name === name);
    const content =
      known === undefined
        ? fault('there is no such function')
        : story.feed.canAnswer
          ? await this.#answered(id, call, known.timeoutMs)
          : fault('no client is connected that could answer');
    story.message({ role: 'function', name, content }, story.callTimeMs());
    return content;
  }

  /** The same question of a reply that was given up: it is out already. */
  #pending(question: string): Promise<string> | null {
    const same = [...this.#waiting.values()].find((each) => each.question === question);
    return same?.content ?? null;
  }

  #answered(id: string, { name, arguments: given }: ToolCall, timeoutMs: number): Promise<string> {
    const { story, clock } = this.#options;
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
    this.#waiting.set(id, {
      question: questionOf({ name, arguments: given }),
      content: promise,
      settle,
    });
    story.feed.tell({ type: 'function_call', id, name, arguments: given, timeoutMs });
    return promise;
  }
}

function questionOf({ name, arguments: given }: Omit<ToolCall, 'id'>): string {
  return JSON.stringify([name, given]);
}

function fault(why: string): string {
  return JSON.stringify({ error: why });
}

function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the reply was given up');
}
