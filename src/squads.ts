/**
 * Squads as one part of the process: their rows, the desk of conversations that are no calls, and what live calls hand
 * over by.
 */
import { systemClock } from '#lib/clock.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Log } from '#lib/log.ts';
import type { SquadPorts } from '#api/squads.ts';
import type { ProviderSet } from '#providers/contract.ts';
import { PhraseStore } from '#providers/phrase-store.ts';
import type { Providers } from '#providers/registry.ts';
import { createCompletion, ModelDesk, type AgentModel } from '#sessions/completion.ts';
import type { CallsOptions } from '#sessions/calls.ts';
import { SquadDesk } from '#sessions/squad-desk.ts';
import { createVoiceTurns, type VoiceTurns } from '#sessions/voice-turns.ts';
import { createSquadConversations } from '#store/squad-conversations.ts';
import { createSquads } from '#store/squads.ts';
import type { Store } from '#store/store.ts';
import type { RunningIntelligence } from './intelligence.ts';
import type { Telemetry } from './telemetry.ts';
import type { Vendors } from './vendors.ts';

const NO_WISH: AgentModel = {
  vendors: { stt: null, llm: null, tts: null },
  llm: { model: null, temperature: null, maxTokens: null },
};

export type SquadsOptions = {
  readonly store: Store;
  readonly telemetry: Pick<Telemetry, 'journal' | 'providersFor'>;
  readonly intelligence: Pick<RunningIntelligence, 'callEnded'>;
  readonly node: string;
  readonly log: Log;
  readonly providers: Providers;
  readonly vendors: Pick<Vendors, 'forCalls'>;
};

export type RunningSquads = {
  readonly ports: SquadPorts;
  /** What live calls take of it. */
  readonly forCalls: Required<Pick<CallsOptions, 'providersFor' | 'texts' | 'squads'>>;
  /** Conversations with one agent, spoken turn by turn. */
  readonly voiceTurns: VoiceTurns;
  /** Sound of what is said in many calls, which they share with the spoken turns. */
  readonly phrases: PhraseStore;
  close(): Promise<void>;
};

/** To be called after the store has recovered: what a former process left open is gone on with from here. */
export function openSquads(options: SquadsOptions): RunningSquads {
  const { store, vendors, telemetry, intelligence, node, log } = options;
  const clock = systemClock;
  const squads = createSquads({ database: store.database, log });
  const completion = createCompletion({
    llmFor: async (accountId, agent, count) => {
      const own = await vendors.forCalls(accountId);
      const set = options.providers.forAgent(agent ?? NO_WISH, own);
      return (count?.(set) ?? set).llm;
    },
  });
  const providersFor = async (agent: AgentConfig): Promise<ProviderSet> =>
    telemetry.providersFor(agent, await vendors.forCalls(agent.accountId));
  const models = new ModelDesk({ completion, clock, log });
  const desk = new SquadDesk({
    ...{ journal: telemetry.journal, clock, log, node, squads, providersFor },
    onEnded: intelligence.callEnded,
    desk: models,
    agents: store.agents,
    stored: createSquadConversations(store.database),
  });
  const open = store.journal.liveCalls().filter(({ isText, isOver }) => isText && !isOver);
  desk.resume(
    open.map(({ callId, accountId, startedAt, lastAt, lastSeq }) => ({
      ...{ id: callId, accountId, seq: lastSeq },
      startedMs: Date.parse(startedAt),
      lastMs: Date.parse(lastAt),
    })),
  );
  const phrases = new PhraseStore({ clock });
  const voiceTurns = createVoiceTurns({
    ...{ desk, agents: store.agents, clock, log, providersFor, phrases },
  });
  return {
    ports: { squads, squadTalk: desk },
    voiceTurns,
    phrases,
    forCalls: { providersFor, texts: desk, squads: { squads, desk: models } },
    async close() {
      await voiceTurns.close();
      desk.close();
    },
  };
}
