/**
 * Who of a squad speaks in a live call (contract 2.4): asked after each turn of the caller, before the reply. What it
 * costs is bounded; where nobody else fits, or the other one cannot be had, the present agent goes on.
 */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary, Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Language, ProviderSet, TurnInput } from '#providers/contract.ts';
import type { Answered, ModelDesk, Question } from './completion.ts';
import {
  defaultNotice,
  handoffNote,
  handoffSummary,
  inConversation,
  languageOfText,
} from './squad-handoff.ts';
import { routeTurn, type RoutedTurn, type SquadPlan } from './squad-router.ts';
import { GENERAL, noticeOf, primaryOf } from './squad-routing.ts';
import type { Voice } from './speaker.ts';
import type { UsageMeter } from './usage-meter.ts';

/** What a call lets the floor see and tell. */
export type FloorStory = {
  readonly callId: Id;
  readonly messages: readonly Message[];
  /** Counts what routing takes. */
  readonly usage?: UsageMeter;
  handedOver(fromId: Id, toId: Id, summary: HandoffSummary): void;
  /** What is said from here on is masked before it is stored. */
  maskFromNow(): void;
};

export type FloorPorts = {
  readonly desk: Pick<ModelDesk, 'ask'>;
  readonly squads: { plan(accountId: Id, squadId: Id): Promise<SquadPlan | null> };
  readonly agents: { byId(accountId: Id, agentId: Id): Promise<AgentConfig | null> };
  readonly clock: Clock;
  readonly log: Log;
};

export type SquadFloorOptions = FloorPorts & {
  readonly squadId: Id;
  /** The primary member as this call has it. */
  readonly agent: AgentConfig;
  readonly story: FloorStory;
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
};

/** Somebody else takes over: `notice` is said by the present voice, then the other one replies. */
export type Handover = { readonly voice: Voice; readonly notice: string };

/** A model's share of the caller's waiting. */
const ROUTE_MS = 800;
/** Read at the beginning of the call: it is there long before the first turn, or the database is away. */
const PLAN_MS = 200;
const PROVIDERS_MS = 500;
const EXISTS_MS = 200;
/** A model that was late so often in a row is asked no more for a while: the caller would wait for nothing. */
const MAX_LATE = 2;
const REST_MS = 60_000;

export class SquadFloor {
  readonly #options: SquadFloorOptions;
  readonly #plan: Promise<SquadPlan | null>;
  #known: SquadPlan | null = null;
  #current: Voice | null = null;
  #late = 0;
  #restUntilMs = 0;
  /** Members whose models failed, and until when the call is not handed to them again. */
  readonly #failedUntilMs = new Map<Id, number>();

  constructor(options: SquadFloorOptions) {
    this.#options = options;
    this.#plan = this.#load();
  }

  /** Who speaks now. */
  get agentId(): Id {
    return (this.#current?.agent ?? this.#options.agent).id;
  }

  /** Null: the present agent goes on. Never rejects. The hand-over is journaled when this resolves. */
  async beforeReply(
    input: TurnInput,
    how: { readonly language: Language; readonly signal: AbortSignal },
  ): Promise<Handover | null> {
    const text = input.kind === 'speech' ? input.text.trim() : '';
    if (text === '') return null;
    try {
      const plan = this.#known ?? (await this.#planSoon());
      if (plan === null || plan.members.length < 2) return null;
      return await this.#choose(plan, text, how);
    } catch (error) {
      const { story, log } = this.#options;
      log.warn('squad.notRouted', { callId: story.callId, error: toAppError(error) });
      return null;
    }
  }

  /** The present agent's model has failed: the primary member's voice, or null when that is the one. Never rejects. */
  async afterFailure(language: Language, signal: AbortSignal): Promise<Voice | null> {
    const plan = this.#known;
    if (plan === null) return null;
    const primary = primaryOf(plan.members).agentId;
    if (primary === this.agentId) return null;
    this.#failedUntilMs.set(this.agentId, this.#options.clock.now() + REST_MS);
    const { messages } = this.#options.story;
    const summary = handoffSummary({ intent: GENERAL, messages, language });
    return this.#take(plan, primary, { summary, language, signal });
  }

  async #choose(
    plan: SquadPlan,
    text: string,
    { language: spoken, signal }: { readonly language: Language; readonly signal: AbortSignal },
  ): Promise<Handover | null> {
    const { agent, clock, story } = this.#options;
    const currentId = this.agentId;
    const { messages, usage } = story;
    const ask = (question: Question): Promise<Answered | null> => this.#ask(question);
    const route: RoutedTurn = await routeTurn({ ask }, plan, {
      ...{ accountId: agent.accountId, input: text, messages, currentId, signal },
      ...{ timeoutMs: clock.now() < this.#restUntilMs ? 0 : ROUTE_MS, isSpoken: true },
      ...(usage === undefined ? {} : { usage }),
    });
    if (route.agentId === currentId || signal.aborted) return null;
    if (clock.now() < (this.#failedUntilMs.get(route.agentId) ?? 0)) return null;
    const { intent, keyInfo, pending } = route;
    const language = languageOfText(text) ?? spoken;
    const summary = handoffSummary({ intent, messages, language, keyInfo, pending });
    const notice =
      noticeOf(plan, { from: currentId, to: route.agentId }, text) ?? defaultNotice(language);
    const voice = await this.#take(plan, route.agentId, { summary, language, signal });
    return voice === null ? null : { voice, notice };
  }

  async #ask(question: Question): Promise<Answered | null> {
    const { clock, desk } = this.#options;
    const startMs = clock.now();
    const answer = await desk.ask(question);
    if (question.signal?.aborted === true) return answer;
    const isLate = answer === null && clock.now() - startMs >= ROUTE_MS;
    this.#late = isLate ? this.#late + 1 : 0;
    if (this.#late >= MAX_LATE) this.#restUntilMs = clock.now() + REST_MS;
    return answer;
  }

  /** Null when the agent is gone, its vendors cannot be had, or the caller has gone on meanwhile. */
  async #take(
    plan: SquadPlan,
    agentId: Id,
    told: {
      readonly summary: HandoffSummary;
      readonly language: Language;
      readonly signal: AbortSignal;
    },
  ): Promise<Voice | null> {
    const { agent: first, story, clock, log } = this.#options;
    const member = plan.members.find((each) => each.agentId === agentId);
    if (member === undefined || !(await this.#exists(agentId))) return null;
    const from = this.#current?.agent ?? first;
    const own = agentId === first.id ? first : this.#agentHere(plan, member.agent);
    // What the caller said fills in no variables.
    const note = handoffNote(told.summary, from.name, told.language).replaceAll(/\{(?=\{)/g, '{ ');
    const agent = { ...own, systemPrompt: joined(own.systemPrompt, note) };
    try {
      const work = Promise.resolve(this.#options.providersFor(agent));
      const providers = await withDeadline(work, PROVIDERS_MS, 'the vendors of the agent', clock);
      const fromId = this.agentId;
      if (told.signal.aborted || fromId === agentId) return null;
      this.#current = { agent, providers };
      if (agent.maskAtRest) story.maskFromNow();
      story.handedOver(fromId, agentId, told.summary);
      return this.#current;
    } catch (error) {
      log.warn('squad.targetFailed', { callId: story.callId, agentId, error: toAppError(error) });
      return null;
    }
  }

  /** With what the call was placed with, which shows by its difference from the primary member's own. */
  #agentHere(plan: SquadPlan, agent: AgentConfig): AgentConfig {
    const { agent: first } = this.#options;
    const own = primaryOf(plan.members).agent.variables;
    const entries = Object.entries(first.variables);
    const given = Object.fromEntries(entries.filter(([name, value]) => own[name] !== value));
    const inherited = this.#current?.agent.variables ?? first.variables;
    return inConversation(agent, { inherited, given });
  }

  /** A running call keeps its copy of the squad, but an agent that was deleted since speaks no more. */
  async #exists(agentId: Id): Promise<boolean> {
    const { agents, agent, clock, log } = this.#options;
    try {
      const found = agents.byId(agent.accountId, agentId);
      return (await withDeadline(found, EXISTS_MS, 'reading the agent', clock)) !== null;
    } catch (error) {
      log.debug('squad.agentUnread', { agentId, error: toAppError(error) });
      return true; // the database is away, and what is known of the agent is as good as ever
    }
  }

  async #load(): Promise<SquadPlan | null> {
    const { squads, agent, squadId, story, log } = this.#options;
    try {
      this.#known = await squads.plan(agent.accountId, squadId);
    } catch (error) {
      log.warn('squad.unread', { callId: story.callId, squadId, error: toAppError(error) });
    }
    return this.#known;
  }

  async #planSoon(): Promise<SquadPlan | null> {
    return withDeadline(this.#plan, PLAN_MS, 'reading the squad', this.#options.clock);
  }
}

function joined(prompt: string, note: string): string {
  return prompt === '' ? note : `${prompt}\n\n${note}`;
}
