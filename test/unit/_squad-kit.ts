/** A squad with agents whose models tests hold in their hands, a desk on a simulated clock, and its journal. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { CallEntry, EventData, JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { ChatMessage, LlmProvider, ProviderSet, ReplyPart } from '#providers/contract.ts';
import type { Question } from '#sessions/completion.ts';
import { SquadDesk, type ExecuteRequest } from '#sessions/squad-desk.ts';
import type { SquadDeskOptions, StoredConversation } from '#sessions/squad-held.ts';
import type { SquadPlan } from '#sessions/squad-router.ts';
import type { RoutedTransfer } from '#sessions/squad-routing.ts';
import { AGENT } from './_fakes.ts';

export const SQUAD = '00000000-0000-4000-8000-0000000000c1';
export const FRONT = '00000000-0000-4000-8000-0000000000a1';
export const MONEY = '00000000-0000-4000-8000-0000000000a2';
export const TECH = '00000000-0000-4000-8000-0000000000a3';
export const { accountId: ACCOUNT } = AGENT;

/** What an agent's model says to these messages. */
export type Says = (
  messages: readonly ChatMessage[],
  signal: AbortSignal,
) => AsyncIterable<ReplyPart>;

export function agentCalled(
  id: string,
  name: string,
  changes: Partial<AgentConfig> = {},
): AgentConfig {
  return { ...AGENT, id, name, systemPrompt: `You are ${name}.`, greeting: null, ...changes };
}

export function planOf(
  changes: Readonly<Record<string, Partial<AgentConfig>>> = {},
  transfers: readonly RoutedTransfer[] = [],
): SquadPlan {
  const of = (id: string, name: string, skills: readonly string[]) => ({
    ...{ agentId: id, skills, priority: 1, agent: agentCalled(id, name, changes[id]) },
    role: id === FRONT ? ('primary' as const) : ('specialist' as const),
  });
  return {
    squadId: SQUAD,
    members: [
      of(FRONT, 'Front', []),
      of(MONEY, 'Money', ['refund', '退款']),
      of(TECH, 'Tech', ['installation', '安装']),
    ],
    transfers,
  };
}

export async function* text(...parts: string[]): AsyncGenerator<ReplyPart> {
  for (const part of parts) yield { type: 'text', text: part };
}

export type Kit = {
  readonly clock: SimulatedClock;
  readonly journal: JournalEntry[];
  readonly desk: SquadDesk;
  readonly heard: { agentId: string; messages: readonly ChatMessage[] }[];
  readonly asked: Question[];
  readonly ended: string[];
  readonly says: Map<string, Says>;
  readonly stored: Map<string, StoredConversation>;
  /** The router's model; null: none. */
  model: ((question: Question) => Promise<string | null>) | null;
  plan: SquadPlan | null;
  vendor: string;
  execute(input: string, more?: Partial<ExecuteRequest>): ReturnType<SquadDesk['execute']>;
  /** Events as `type` and data. */
  events(): { type: string; data: Record<string, unknown> }[];
};

export function makeKit(plan: SquadPlan = planOf(), clock = new SimulatedClock()): Kit {
  const kit: Omit<Kit, 'desk' | 'execute' | 'events'> = {
    ...{ clock, journal: [], heard: [], asked: [], ended: [], says: new Map(), stored: new Map() },
    ...{ model: null, plan, vendor: 'test' },
  };
  const llmOf = (agent: AgentConfig): LlmProvider => ({
    vendor: kit.vendor,
    reply: (request, signal) => {
      kit.heard.push({ agentId: agent.id, messages: request.messages });
      const says = kit.says.get(agent.id) ?? (() => text(`${agent.name} here.`));
      return replyOf(says(request.messages, signal));
    },
  });
  const options: SquadDeskOptions = {
    ...{ clock, log: silentLog, node: 'node-1' },
    journal: { append: (entry) => void kit.journal.push(entry) },
    desk: {
      ask: async (question) => {
        kit.asked.push(question);
        const answer = (await kit.model?.(question)) ?? null;
        return answer === null ? null : { text: answer, model: 'test-1' };
      },
    },
    agents: {
      byId: async (_account, id) =>
        kit.plan?.members.find(({ agentId }) => agentId === id)?.agent ?? null,
    },
    squads: { plan: async (_account, id) => (id === SQUAD ? kit.plan : null) },
    stored: { read: async (_account, id) => kit.stored.get(id) ?? null },
    providersFor: (agent) => ({ llm: llmOf(agent), stt: NO_STT, tts: NO_TTS }),
    onEnded: ({ story }) => void kit.ended.push(story.callId),
  };
  const desk = new SquadDesk(options);
  return Object.assign(kit, {
    desk,
    execute: (input: string, more: Partial<ExecuteRequest> = {}) =>
      desk.execute({
        ...{ accountId: ACCOUNT, squadId: SQUAD, agentIds: null, variables: {} },
        ...{ requestId: 'r-1', timeoutMs: 4_800, input, ...more },
      }),
    events: () => kit.journal.map(({ event }) => ({ type: event.type, data: { ...event.data } })),
  });
}

/** Everything of a journal that is about calls, as the database would have it. */
export function storedOf(journal: readonly JournalEntry[], id: string): StoredConversation {
  const entries = journal.filter((entry): entry is CallEntry => entry.event.call_id === id);
  const messages = entries.flatMap(({ event: { type, data } }) =>
    type === 'conversation.message' ? [(data as EventData[typeof type]).message] : [],
  );
  const last = entries.findLast(({ event }) => event.type === 'call.handoff');
  const handoff = last !== undefined && 'to_agent_id' in last.event.data ? last.event.data : null;
  const final = entries.find(({ record }) => record?.outcome !== undefined);
  const timeOf = (entry: CallEntry | undefined): number => Date.parse(entry?.event.time ?? '');
  const isMessage = ({ event }: CallEntry): boolean => event.type === 'conversation.message';
  return {
    ...{ squadId: SQUAD, agentId: FRONT, agentName: 'Front', messages },
    outcome: final?.record?.outcome ?? null,
    startedMs: timeOf(entries[0]),
    lastMs: timeOf(entries.findLast(isMessage)),
    seq: entries.at(-1)?.event.seq ?? 0,
    variables:
      entries.findLast(({ record }) => record?.variables !== undefined)?.record?.variables ?? {},
    handoff:
      handoff === null
        ? null
        : { fromId: handoff.from_agent_id, toId: handoff.to_agent_id, summary: handoff.summary },
  };
}

async function* replyOf(parts: AsyncIterable<ReplyPart>): AsyncGenerator<ReplyPart, undefined> {
  yield* parts;
  return undefined;
}

const NO_STT = { vendor: 'test', reads: false } as unknown as ProviderSet['stt'];
const NO_TTS = { vendor: 'test' } as unknown as ProviderSet['tts'];
