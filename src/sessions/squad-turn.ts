/** One turn of a text conversation with a squad: who answers, what it says, and whether the conversation changes hands. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary } from '#lib/call-events.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Language } from '#providers/contract.ts';
import type { ConversationStatus } from './call-service-types.ts';
import {
  defaultNotice,
  handoffNote,
  handoffSummary,
  inConversation,
  languageOfText,
} from './squad-handoff.ts';
import type { Held, SquadDeskOptions } from './squad-held.ts';
import { writtenReply, type WrittenReply } from './squad-reply.ts';
import { routeTurn, type RoutedTurn } from './squad-router.ts';
import { noticeOf, primaryOf } from './squad-routing.ts';

export type Handoff = {
  readonly from: Id;
  readonly to: Id;
  readonly summary: HandoffSummary;
  readonly notice: string;
};

export type Answer = {
  readonly agentId: Id;
  readonly agentName: string;
  readonly intent: string;
  readonly confidence: number;
  readonly reply: string;
  readonly handoff: Handoff | null;
  readonly endsConversation: boolean;
};

export type TurnResult = Answer & {
  readonly conversationId: Id;
  readonly status: ConversationStatus;
  /** Unix seconds. */
  readonly expiresAtS: number;
};

export type TurnDeps = Pick<SquadDeskOptions, 'clock' | 'log' | 'desk' | 'providersFor'>;

/** Contract 8: five seconds in all. The model that routes gets its share, and at most this. */
const ROUTE_MS = 1_500;
const ROUTE_SHARE = 0.35;
/** Kept back for the primary member, should the chosen one not answer. */
const FALLBACK_MS = 1_500;

/** Journals what was said. `endMs`: monotonic. Errors: those of the model that had to answer last. */
export async function takeTurn(
  deps: TurnDeps,
  held: Held,
  turn: { readonly input: string; readonly endMs: number },
): Promise<Answer> {
  const { input, endMs } = turn;
  const { story, plan } = held;
  const startMs = deps.clock.now();
  held.language = languageOfText(input) ?? held.language;
  story.message('user', input);
  const leftMs = (): number => Math.max(0, endMs - deps.clock.now());
  const route = await routeTurn(deps.desk, plan, {
    ...{ accountId: story.facts.accountId, input, messages: story.messages },
    ...{ currentId: held.currentId, isSpoken: false },
    timeoutMs: Math.min(ROUTE_MS, leftMs() * ROUTE_SHARE),
    usage: story.usage,
  });
  const candidates = [...new Set([route.agentId, primaryOf(plan.members).agentId])];
  for (const [at, agentId] of candidates.entries()) {
    const isLast = at === candidates.length - 1;
    const timeoutMs = isLast ? leftMs() : Math.max(0, leftMs() - FALLBACK_MS);
    const attempt = attemptOf(held, route, agentId);
    try {
      const reply = await answerOf(deps, held, { attempt, input, timeoutMs });
      return commit(held, route, { attempt, reply, latencyMs: deps.clock.now() - startMs });
    } catch (error) {
      const { conversationId } = story.facts;
      deps.log.warn('squad.memberFailed', { conversationId, agentId, error: toAppError(error) });
      if (isLast) throw error;
    }
  }
  throw toAppError(null); // there is always a primary member
}

/** An agent about to answer; `summary` when it takes over. */
type Attempt = {
  readonly agent: AgentConfig;
  readonly language: Language;
  readonly note: string | null;
  readonly inherited: Readonly<Record<string, string>>;
  readonly handoff: Handoff | null;
};

function attemptOf(held: Held, route: RoutedTurn, agentId: Id): Attempt {
  const { story, plan, currentId } = held;
  const own = agentIn(held, agentId);
  const current = agentIn(held, currentId);
  const language = held.language ?? own.language;
  const inherited =
    agentId === currentId ? held.inherited : { ...held.inherited, ...current.variables };
  const agent = inConversation(own, { inherited, given: story.variables });
  if (agentId === currentId) return { agent, language, inherited, note: held.note, handoff: null };
  const { intent, keyInfo, pending } = route;
  const { messages } = story;
  const summary = handoffSummary({ intent, messages, language, keyInfo, pending });
  const said = messages.at(-1)?.content ?? '';
  const notice = noticeOf(plan, { from: currentId, to: agentId }, said) ?? defaultNotice(language);
  return {
    ...{ agent, language, inherited },
    note: handoffNote(summary, current.name, language),
    handoff: { from: currentId, to: agentId, summary, notice },
  };
}

function agentIn({ plan }: Held, agentId: Id): AgentConfig {
  const member = plan.members.find((each) => each.agentId === agentId);
  return (member ?? primaryOf(plan.members)).agent;
}

async function answerOf(
  deps: TurnDeps,
  held: Held,
  how: { readonly attempt: Attempt; readonly input: string; readonly timeoutMs: number },
): Promise<WrittenReply> {
  const { agent, note, language } = how.attempt;
  const { story, states, answered } = held;
  const { llm } = story.usage.watch(await deps.providersFor(agent), agent.id);
  const state = states.get(agent.id) ?? new Map<string, unknown>();
  states.set(agent.id, state);
  return writtenReply({
    ...{ llm, agent, note, language, state, clock: deps.clock },
    ...{ input: how.input, timeoutMs: how.timeoutMs, messages: story.messages },
    conversationId: story.facts.conversationId,
    isFirst: !answered.has(agent.id),
  });
}

/** From here on the answering agent is the present one. */
function commit(
  held: Held,
  { intent, confidence }: RoutedTurn,
  done: { readonly attempt: Attempt; readonly reply: WrittenReply; readonly latencyMs: number },
): Answer {
  const { agent, note, inherited, handoff } = done.attempt;
  const { text, endsConversation } = done.reply;
  const { story } = held;
  if (handoff !== null) {
    story.handedOver(handoff.from, handoff.to, handoff.summary);
    story.message('assistant', handoff.notice);
  }
  story.message('assistant', text, done.latencyMs);
  held.currentId = agent.id;
  held.note = note;
  held.inherited = inherited;
  held.answered.add(agent.id);
  return {
    ...{ agentId: agent.id, agentName: agent.name, intent, confidence },
    ...{ reply: text, handoff, endsConversation },
  };
}
