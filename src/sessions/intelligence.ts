/** Everything a model does for finished calls and for people, as one part that the facade asks (contract 2.6, 7). */
import type { Actor } from '#lib/actor.ts';
import type { Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Language } from '#providers/contract.ts';
import { analyseCall, type Analysis } from './analysis.ts';
import { MODEL_TIMEOUT_MS, ModelDesk, type LlmCompletion } from './completion.ts';
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
  /** What is left of the time limit; at most 4 s. */
  readonly modelTimeoutMs?: number;
};

export type Intelligence = {
  /** Makes and keeps a summary (contract 7.2). Null when there is no such record to keep it in. */
  summarise(actor: Actor, request: SummaryRequest): Promise<Summary | null>;
  analyse(call: CallText): Promise<Analysis>;
  writeScript(
    request: Omit<ScriptRequest, 'agent' | 'timeoutMs'> & {
      readonly agentId: Id | null;
      readonly modelTimeoutMs?: number;
    },
  ): Promise<Script>;
  checkCompliance(
    input: ComplianceInput,
    asker: {
      readonly accountId: Id;
      readonly agentId: Id | null;
      readonly modelTimeoutMs?: number;
    },
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
  /** Whose model is asked, and how long: finding that out is part of the time. */
  const askedOf = async (accountId: Id, agentId: Id | null, ms = MODEL_TIMEOUT_MS) => {
    const endMs = clock.now() + Math.min(MODEL_TIMEOUT_MS, ms);
    const needsAgent = agentId !== null && ms > 0;
    const agent = needsAgent ? await modelOf({ agents, clock, log }, accountId, agentId) : null;
    return { accountId, agent, timeoutMs: endMs - clock.now() };
  };
  const intelligence: Intelligence = {
    async summarise(actor, request) {
      const summary = await summaries.make(request);
      // Whoever shared the question shares the write as well.
      const saved = saving.get(summary) ?? writer.save(actor, request.callId, storedOf(summary));
      saving.set(summary, saved);
      return (await saved) ? summary : null;
    },
    async analyse({ accountId, agentId, modelTimeoutMs, ...call }) {
      const asked = await askedOf(accountId, agentId, modelTimeoutMs);
      return analyseCall({ desk, clock }, { ...call, ...asked });
    },
    async writeScript({ agentId, modelTimeoutMs, ...request }) {
      const asked = await askedOf(request.accountId, agentId, modelTimeoutMs);
      return writeScript(desk, { ...request, ...asked });
    },
    async checkCompliance(input, { accountId, agentId, modelTimeoutMs }) {
      return checkCompliance(desk, input, await askedOf(accountId, agentId, modelTimeoutMs));
    },
    recognise: (...asked) => speech.recognise(...asked),
  };
  return { intelligence, summaries };
}

export function storedOf(summary: Summary): StoredSummary {
  const { text, source, model, language, generatedAt } = summary;
  return { summary: text, meta: { source, model, language, generated_at: generatedAt } };
}
