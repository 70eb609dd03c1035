/** Models and rules as one part of the process: what they are asked through, and the worker that sums calls up. */
import { systemClock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { ProviderSet } from '#providers/contract.ts';
import type { Providers } from '#providers/registry.ts';
import { AutoSummary } from '#sessions/auto-summary.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { CallStory } from '#sessions/story.ts';
import { createCompletion, type AgentModel } from '#sessions/completion.ts';
import { createIntelligence, type Intelligence } from '#sessions/intelligence.ts';
import type { CallJournal } from '#sessions/ports.ts';
import { createSpeechToText } from '#sessions/speech-to-text.ts';
import type { Store } from '#store/store.ts';
import { createSummaries } from '#store/summaries.ts';
import type { Vendors } from './vendors.ts';

export type IntelligenceOptions = {
  readonly store: Store;
  readonly providers: Providers;
  readonly vendors: Pick<Vendors, 'forCalls'>;
  readonly journal: CallJournal;
  readonly node: string;
  readonly log: Log;
};

/** A call or a conversation in writing whose last events are journaled. */
type Ended = {
  readonly story: Pick<CallStory, 'callId' | 'accountId' | 'transcript' | 'usage' | 'summaryReady'>;
  readonly agent: AgentConfig;
};

export type RunningIntelligence = {
  readonly intelligence: Intelligence;
  /** Queues the summary of a call that is over. Returns at once. */
  readonly callEnded: (call: Ended) => void;
  /** Looks for calls that a former process left without summary. */
  start(): void;
  close(): Promise<void>;
};

const NO_WISH: AgentModel = {
  vendors: { stt: null, llm: null, tts: null },
  llm: { model: null, temperature: null, maxTokens: null },
};

export function openIntelligence(options: IntelligenceOptions): RunningIntelligence {
  const { store, log, node, journal } = options;
  const clock = systemClock;
  const providersOf = async (accountId: Id, agent: AgentModel | null): Promise<ProviderSet> =>
    options.providers.forAgent(agent ?? NO_WISH, await options.vendors.forCalls(accountId));
  const rows = createSummaries(store.database);
  const { intelligence, summaries } = createIntelligence({
    completion: createCompletion({
      llmFor: async (accountId, agent, count) => {
        const set = await providersOf(accountId, agent);
        return (count?.(set) ?? set).llm;
      },
    }),
    speech: createSpeechToText({
      clock,
      sttFor: async (accountId) => {
        const agent = await store.agents.defaultFor(accountId);
        return { stt: (await providersOf(accountId, agent)).stt, language: agent.language };
      },
    }),
    agents: store.agents,
    writer: rows,
    ...{ clock, log },
  });
  let isSettled = false;
  const worker = new AutoSummary({
    ...{ summaries, store: rows, journal, node, clock, log },
    isSettled: () => (isSettled ||= store.projection.lagEvents === 0),
  });
  return {
    intelligence,
    callEnded: ({ story, agent }) => {
      if (!agent.autoSummary) return;
      const { callId, accountId, transcript: messages, usage } = story;
      const tell = story.summaryReady.bind(story);
      worker.callEnded({ callId, accountId, agentId: agent.id, messages, usage, tell });
    },
    start: () => worker.start(),
    close: () => worker.close(),
  };
}
