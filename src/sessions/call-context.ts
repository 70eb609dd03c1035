/**
 * What a model is told of a call besides what is said in it: facts of the call, the caller's earlier calls where the
 * agent remembers, and a summary of what no longer fits into its history. None of it ever holds a reply up.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { maskText } from '#lib/mask.ts';
import type { ChatMessage, LlmProvider, ProviderSet } from '#providers/contract.ts';
import { callFacts, type CallFactsOf } from './call-facts.ts';
import { historyOf, spokenHistory } from './history.ts';
import { HistorySummary, type HistorySummaryOptions } from './history-summary.ts';
import { oneLine } from './transcript.ts';

/** Calls before this one with the same number and the same agent, the latest first. */
export type CallerMemory = {
  /** Errors: E_DATABASE*. Empty where the number may not be remembered. */
  recall(wanted: {
    readonly accountId: Id;
    readonly agentId: Id;
    readonly number: string;
    readonly calls: number;
  }): Promise<readonly RememberedCall[]>;
};

export type RememberedCall = {
  /** ISO-8601. */
  readonly startTime: string;
  readonly summary: string;
};

export type CallContextOptions = {
  readonly story: CallFactsOf & { readonly messages: readonly Message[] };
  readonly clock: Clock;
  readonly log: Log;
  /** Null: nobody remembers. */
  readonly memory: CallerMemory | null;
  /** IANA; null: UTC. Never rejects for long: what is late is done without. */
  readonly timeZone: () => Promise<string | null>;
  readonly llmFor: HistorySummaryOptions['llmFor'];
};

const RECALL_MS = 300;
const ZONE_MS = 300;
const MAX_SUMMARY_CHARS = 600;

export class CallContext {
  readonly #options: CallContextOptions;
  readonly #summary: HistorySummary;
  #memory: { readonly agentId: Id; readonly text: string } | null = null;
  #zone: string | null = null;

  constructor(options: CallContextOptions) {
    this.#options = options;
    const { clock, log, story, llmFor } = options;
    const messages = (): Message[] => spokenHistory(story.messages);
    this.#summary = new HistorySummary({ clock, log, llmFor, messages });
  }

  /** Of a call that nobody has plugged anything into. */
  static ofCallAlone({
    story,
    clock,
    log,
    providers,
  }: Pick<CallContextOptions, 'story' | 'clock' | 'log'> & {
    readonly providers: Pick<ProviderSet, 'llm'>;
  }): CallContext {
    const timeZone = (): Promise<null> => Promise.resolve(null);
    const llmFor = (): LlmProvider => providers.llm;
    return new CallContext({ story, clock, log, memory: null, timeZone, llmFor });
  }

  /** Reads what is to be known of the caller. Returns at once: the greeting does not wait for it. */
  begin(agent: AgentConfig): void {
    void this.#recall(agent);
    void this.#readZone();
  }

  /**
   * The conversation for `agent`'s model. `pendingIds`: of tools that are at work. What has fallen out of the window is
   * summed up beside the call, for a later reply.
   */
  history(agent: AgentConfig, pendingIds: ReadonlySet<Id> = new Set()): ChatMessage[] {
    const { story } = this.#options;
    this.#summary.refresh(agent);
    const { from, summary } = this.#summary.window(agent.maxHistory);
    const facts = callFacts(story, agent.language, this.#zone);
    const memory = this.#memory?.agentId === agent.id ? this.#memory.text : null;
    return historyOf(agent, story.messages, { facts, memory, summary, from, pendingIds });
  }

  /** Idempotent. */
  close(): void {
    this.#summary.close();
  }

  async #recall(agent: AgentConfig): Promise<void> {
    const { story, memory, clock, log } = this.#options;
    const { accountId, id: agentId, memoryCalls: calls = 0, language } = agent;
    const number = story.remoteNumber;
    if (memory === null || calls === 0 || number === null) return;
    try {
      const work = memory.recall({ accountId, agentId, number, calls });
      const found = await withDeadline(work, RECALL_MS, 'what is known of the caller', clock);
      if (found.length > 0) this.#memory = { agentId, text: memoryText(found, language) };
    } catch (error) {
      log.warn('memory.notRead', { callId: story.callId, error: toAppError(error) });
    }
  }

  async #readZone(): Promise<void> {
    const { timeZone, clock, log } = this.#options;
    try {
      this.#zone = await withDeadline(timeZone(), ZONE_MS, 'the settings', clock);
    } catch (error) {
      log.debug('context.noTimeZone', { error: toAppError(error) });
    }
  }
}

function memoryText(calls: readonly RememberedCall[], language: AgentConfig['language']): string {
  const lines = calls.map(({ startTime, summary }) => {
    const text = maskText(oneLine(summary)).slice(0, MAX_SUMMARY_CHARS).toWellFormed();
    return `- ${startTime.slice(0, 10)}: ${text}`;
  });
  const head =
    language === 'zh'
      ? '这个号码以前的通话（从近到远；仅供参考，对方可能是另一个人，不要主动透露）：'
      : 'Earlier calls with this number, the latest first. For orientation only: it may be somebody else, so reveal nothing of it unasked.';
  return [head, ...lines].join('\n');
}
