/**
 * Questions to the account's language model outside a conversation: summaries, analyses, scripts. Whoever asks has an
 * answer of its own at hand, so a model that is late, refuses or fails is no error here but null.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { CompletionRequest, LlmProvider, ProviderSet } from '#providers/contract.ts';

/** What of an agent decides which model answers. */
export type AgentModel = Pick<AgentConfig, 'vendors' | 'vendorConfigs' | 'llm'>;

export type Asked = CompletionRequest & {
  readonly accountId: Id;
  /** Null: the account's model, else the installation's. */
  readonly agent: AgentModel | null;
  /** Of a question about a conversation: puts its meter between the model and whoever asks. */
  readonly count?: Counting;
  readonly signal: AbortSignal;
};

export type Counting = (set: ProviderSet) => ProviderSet;

export type LlmCompletion = {
  /** Null when no language model is set up. Errors: AppError E_PROVIDER_*, E_CONFIG, E_ABORTED. */
  complete(request: Asked): Promise<{ readonly text: string; readonly model: string } | null>;
};

export type CompletionOptions = {
  /** The model of the agent, else of the account, else of the installation. Errors: E_CONFIG. */
  llmFor(
    accountId: Id,
    agent: AgentModel | null,
    count?: Counting,
  ): LlmProvider | Promise<LlmProvider>;
};

export function createCompletion(options: CompletionOptions): LlmCompletion {
  return {
    async complete({ accountId, agent, count, signal, ...request }) {
      const counted = count === undefined ? [] : ([count] as const);
      const llm = await options.llmFor(accountId, agent, ...counted);
      return (await llm.complete?.(request, signal)) ?? null;
    },
  };
}

/** Contract 7.2: the model's share of the five seconds. */
export const MODEL_TIMEOUT_MS = 4_000;
/** Questions at one time in this process; more are answered without a model. */
const MAX_ASKED = 128;
/** Above whatever is asked for: a model that does not stop must not hold everybody up. */
const MAX_ANSWER_CHARS = 64_000;

export type Question = Omit<Asked, 'signal'> & {
  /** For the log: what the answer is for. */
  readonly purpose: string;
  readonly timeoutMs?: number;
  /** Aborts when the process goes down. */
  readonly signal?: AbortSignal;
};

export type Answered = { readonly text: string; readonly model: string };

export type AskOptions = {
  readonly completion: LlmCompletion;
  readonly clock: Clock;
  readonly log: Log;
};

/** Asks with a deadline, and never rejects: null is "do without a model". */
export class ModelDesk {
  readonly #options: AskOptions;
  #asked = 0;

  constructor(options: AskOptions) {
    this.#options = options;
  }

  async ask(question: Question): Promise<Answered | null> {
    const { purpose, timeoutMs = MODEL_TIMEOUT_MS, signal: outer, ...request } = question;
    const { completion, clock, log } = this.#options;
    if (timeoutMs <= 0 || outer?.aborted === true) return null;
    if (this.#asked >= MAX_ASKED) {
      log.warn('model.busy', { purpose, asked: this.#asked });
      return null;
    }
    const controller = new AbortController();
    const onAbort = (): void => controller.abort();
    outer?.addEventListener('abort', onAbort, { once: true });
    this.#asked++;
    try {
      // The race ends the wait also where an adapter does not listen to its signal.
      const work = completion.complete({ ...request, signal: controller.signal });
      const answer = await withDeadline(work, timeoutMs, 'the language model', clock);
      return answer === null
        ? null
        : { ...answer, text: answer.text.slice(0, MAX_ANSWER_CHARS).trim() };
    } catch (error) {
      log.warn('model.failed', { purpose, error: toAppError(error) });
      return null;
    } finally {
      this.#asked--;
      outer?.removeEventListener('abort', onAbort);
      controller.abort();
    }
  }
}
