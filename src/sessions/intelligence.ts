/** Everything a model does for finished calls and for people, as one part that the facade asks (contract 2.6, 7). */
import type { Actor } from '#lib/actor.ts';
import type { Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Language } from '#providers/contract.ts';
import { analyseCall, type Analysis } from './analysis.ts';
import { ModelDesk, type LlmCompletion } from './completion.ts';
import { checkCompliance, type ComplianceInput, type ComplianceResult } from './compliance.ts';
import { writeScript, type Script, type ScriptRequest } from './script-writer.ts';
import type { SpeechToText } from './speech-to-text.ts';
import {
  modelOf,
  Summaries,
  type AgentLookup,
  type Summary,
  type SummaryRequest,
} from './summary.ts';

export type StoredSummary = {
  readonly summary: string;
  readonly meta: {
    readonly source: Summary['source'];
    readonly model: string | null;
    readonly language: string;
    readonly generated_at: string;
  };
};

/** Where summaries are kept. Errors: E_DATABASE*. */
export type SummaryWriter = {
  /** Overwrites whatever was there. False when the account has no such record. */
  save(actor: Actor, id: Id, summary: StoredSummary): Promise<boolean>;
};

export type CallText = {
  readonly accountId: Id;
  readonly agentId: Id;
  readonly messages: readonly Message[];
  readonly language: Language | null;
};

export type Intelligence = {
  /** Makes and keeps a summary (contract 7.2). Null when there is no such record to keep it in. */
  summarise(actor: Actor, request: SummaryRequest): Promise<Summary | null>;
  analyse(call: CallText): Promise<Analysis>;
  writeScript(
    request: Omit<ScriptRequest, 'agent'> & { readonly agentId: Id | null },
  ): Promise<Script>;
  checkCompliance(
    input: ComplianceInput,
    asker: { readonly accountId: Id; readonly agentId: Id | null },
  ): Promise<ComplianceResult>;
} & SpeechToText;

export type IntelligenceOptions = {
  readonly completion: LlmCompletion;
  readonly speech: SpeechToText;
  readonly agents: AgentLookup;
  readonly writer: SummaryWriter;
  readonly clock: Clock;
  readonly log: Log;
};

/** `summaries` is shared with the worker, so that nobody asks a model twice at one time. */
export function createIntelligence(options: IntelligenceOptions): {
  readonly intelligence: Intelligence;
  readonly summaries: Summaries;
} {
  const { completion, speech, agents, writer, clock, log } = options;
  const desk = new ModelDesk({ completion, clock, log });
  const summaries = new Summaries({ desk, agents, clock, log });
  const saving = new WeakMap<Summary, Promise<boolean>>();
  const agentOf = (accountId: Id, agentId: Id | null) =>
    agentId === null ? null : modelOf({ agents, clock, log }, accountId, agentId);
  const intelligence: Intelligence = {
    async summarise(actor, request) {
      const summary = await summaries.make(request);
      // Whoever shared the question shares the write as well.
      const saved = saving.get(summary) ?? writer.save(actor, request.callId, storedOf(summary));
      saving.set(summary, saved);
      return (await saved) ? summary : null;
    },
    async analyse({ accountId, agentId, ...call }) {
      const agent = await agentOf(accountId, agentId);
      return analyseCall({ desk, clock }, { ...call, accountId, agent });
    },
    async writeScript({ agentId, ...request }) {
      return writeScript(desk, { ...request, agent: await agentOf(request.accountId, agentId) });
    },
    async checkCompliance(input, { accountId, agentId }) {
      return checkCompliance(desk, input, { accountId, agent: await agentOf(accountId, agentId) });
    },
    recognise: (...asked) => speech.recognise(...asked),
  };
  return { intelligence, summaries };
}

export function storedOf(summary: Summary): StoredSummary {
  const { text, source, model, language, generatedAt } = summary;
  return { summary: text, meta: { source, model, language, generated_at: generatedAt } };
}
