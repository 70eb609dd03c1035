/** A text conversation in memory, and what its desk needs from outside. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary, Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Money } from '#lib/prices.ts';
import type { Log } from '#lib/log.ts';
import type { Language, ProviderSet } from '#providers/contract.ts';
import type { ModelDesk } from './completion.ts';
import type { CallJournal } from './ports.ts';
import type { SquadPlan } from './squad-router.ts';
import type { SquadStory } from './squad-story.ts';

export type SquadDeskOptions = {
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly log: Log;
  readonly node: string;
  readonly desk: Pick<ModelDesk, 'ask'>;
  /** Errors: E_DATABASE*. */
  readonly squads: { plan(accountId: Id, squadId: Id): Promise<SquadPlan | null> };
  /** Null when the account has no such agent. Errors: E_DATABASE*. */
  readonly agents: { byId(accountId: Id, agentId: Id): Promise<AgentConfig | null> };
  /** Errors: E_DATABASE*. */
  readonly stored: { read(accountId: Id, id: Id): Promise<StoredConversation | null> };
  /** Errors: E_CONFIG for a vendor nobody set up. */
  providersFor(agent: AgentConfig): ProviderSet | Promise<ProviderSet>;
  /** Told once the final event is journaled. Returns at once; never throws. */
  onEnded?(ended: { readonly story: SquadStory; readonly agent: AgentConfig }): void;
};

/** As store/squad-conversations.ts gives it. */
export type StoredConversation = {
  readonly squadId: Id | null;
  readonly agentId: Id;
  readonly agentName: string;
  /** Null while it goes on. */
  readonly outcome: string | null;
  /** Unix ms. */
  readonly startedMs: number;
  readonly lastMs: number;
  readonly seq: number;
  readonly messages: readonly Message[];
  readonly variables: Readonly<Record<string, string>>;
  readonly cost?: Money | null;
  readonly handoff: {
    readonly fromId: Id;
    readonly toId: Id;
    readonly summary: HandoffSummary;
  } | null;
};

/** The plan of a conversation with one agent by itself. */
export function planOfOne(agent: AgentConfig): SquadPlan {
  const member = { agentId: agent.id, role: 'primary', skills: [], priority: 1, agent } as const;
  return { squadId: null, members: [member], transfers: [] };
}

export type Held = {
  readonly story: SquadStory;
  /** The squad, or the one agent, as it was at the start: a running conversation keeps its copy. */
  readonly plan: SquadPlan;
  currentId: Id;
  /** Of what the other side wrote last; null while nothing tells. */
  language: Language | null;
  /** What the present agent alone was told when it took over. */
  note: string | null;
  /** Variables of those who spoke before it. */
  inherited: Readonly<Record<string, string>>;
  /** Each agent's memory at its provider. */
  readonly states: Map<Id, Map<string, unknown>>;
  readonly answered: Set<Id>;
  /** Turns under way or waiting. */
  waiting: number;
  tail: Promise<void>;
};
