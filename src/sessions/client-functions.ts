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

type Waiting = { readonly name: string; readonly settle: (content: string) => void };

export type ClientFunctionsOptions = {
  readonly story: Pick<CallStory, 'feed' | 'message' | 'callTimeMs'>;
  readonly clock: Clock;
};

/** What a client may answer with, as JSON. */
const MAX_RESULT_CHARS = 8000;

export class ClientFunctions {
  readonly #options: ClientFunctionsOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: ClientFunctionsOptions) {
    this.#options = options;
  }

  /**
   * Asks whoever is on the call; resolves with the answer as JSON, or with what went wrong, which the model is told
   * likewise. Errors: E_ABORTED as soon as `signal` aborts; the answer is kept all the same.
   */
  ask(call: ToolCall, offered: readonly AgentFunction[], signal: AbortSignal): Promise<string> {
    const asked = this.#ask(call, offered);
    return Promise.race([asked, whenAborted(signal)]);
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
    for (const { settle } of this.#waiting.values()) settle(fault('the call is over'));
  }

  async #ask(call: ToolCall, offered: readonly AgentFunction[]): Promise<string> {
    const { story } = this.#options;
    const { name, arguments: given } = call;
    const id = newId();
    const wanted = [{ id, name, arguments: given }];
    story.message({ role: 'assistant', content: '', tool_calls: wanted }, story.callTimeMs());
    const known = offered.find((each) => each.name === name);
    const content =
      known === undefined
        ? fault('there is no such function')
        : story.feed.hasListeners
          ? await this.#answered(id, call, known.timeoutMs)
          : fault('no client is connected that could answer');
    story.message({ role: 'function', name, content }, story.callTimeMs());
    return content;
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
    this.#waiting.set(id, { name, settle });
    story.feed.tell({ type: 'function_call', id, name, arguments: given, timeoutMs });
    return promise;
  }
}

function fault(why: string): string {
  return JSON.stringify({ error: why });
}

function whenAborted(signal: AbortSignal): Promise<never> {
  const error = (): AppError => new AppError('E_ABORTED', 'the reply was given up');
  if (signal.aborted) return Promise.reject(error());
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(error()), { once: true });
  });
}
