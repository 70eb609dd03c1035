/** What a call needs from the outside, stated here and plugged in by app.ts: the journal, the agents, the trunk. */
import type { JournalEntry } from '#lib/call-events.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { RoutingRules } from '#lib/answer-rule.ts';
import type { Id } from '#lib/ids.ts';
import type { PublicEvent } from '#lib/public-event.ts';
import type { TurnStages } from '#lib/turn-stages.ts';
import type { AccountTrunks, TrunkSource } from '#lib/trunk.ts';

/** The node's append-only journal. Returning means the entry was written with write(2); fsync follows within 100 ms. */
export type CallJournal = {
  /** Never throws: while the disk refuses, entries wait in memory (bounded), are retried, and the fault is logged as E_JOURNAL once. */
  append(entry: JournalEntry): void;
  /** What is true for a moment only, for whoever listens now: it is not kept and has no place among the call's events. */
  interim?(event: PublicEvent, agentId: Id): void;
  /** A turn was measured on the wire: for statistics alone. */
  measured?(turn: TurnStages): void;
};

export type AgentDirectory = {
  /** The agent that answers an inbound call to `called`. Works from a cache while the database is away. */
  forInbound(called: string): Promise<AgentConfig>;
  /** Null when the account has no such agent. */
  byId(accountId: Id, agentId: Id): Promise<AgentConfig | null>;
  defaultFor(accountId: Id): Promise<AgentConfig>;
  /**
   * The agent of a call (contract 2.3): the one named, else by binding of the number, the app, the trunk, `default`.
   * A named one that is gone, or a squad without a primary member, is passed over. Works from caches while the
   * database is away. Errors: E_DATABASE_UNREACHABLE when not even the default agent is known.
   */
  forCall(accountId: Id, choice: AgentChoice): Promise<ChosenAgent>;
  /** The account a number belongs to, else the default account: for calls on the environment's trunk. */
  accountOfNumber(called: string): Promise<Id>;
};

/** What decides which agent answers; `called` as dialled. */
export type AgentChoice = {
  readonly agentId?: Id | null;
  /** Stands for its primary member. */
  readonly squadId?: Id | null;
  readonly called: string | null;
  readonly app: string | null;
  readonly trunkId: Id | null;
};

export type ChosenAgent = {
  readonly agent: AgentConfig;
  /** The squad that `agent` is the primary member of, when a squad was named or bound. */
  readonly squadId: Id | null;
};

export type RuleDirectory = {
  /**
   * The account's rules and calendar, at most 500 ms old; older while the database is away. Never rejects: without any
   * knowledge it is no rules and the installation's defaults. `decideAnswer` of answer-rules.ts takes it as it is.
   */
  forRouting(accountId: Id): Promise<RoutingRules>;
};

export type TrunkDirectory = {
  /** The account's trunks; the environment's when none of its rows is active (contract 4.6). */
  of(accountId: Id): Promise<AccountTrunks>;
  /** The trunks that calls from this address arrive on, in priority order. Empty for the environment's and for others. */
  at(sourceAddress: string): readonly TrunkSource[];
  /** This machine or a trunk: what it says about the calling app is believed. */
  believes(sourceAddress: string): boolean;
};

/** Which numbers an account may show and reach. Errors: E_DATABASE_UNREACHABLE while the database is away. */
export type ContactPolicy = {
  /** False for `do_not_call` and for a revoked `outbound` consent. At most 1 s old. */
  mayCall(accountId: Id, number: string): Promise<boolean>;
  /** True when the newest `recording` consent of this number is granted. At most 1 s old. */
  mayRecord(accountId: Id, number: string): Promise<boolean>;
  /** An active number of the account, with the trunk it belongs to; null for any other. */
  ownNumber(accountId: Id, number: string): Promise<{ readonly trunkId: Id | null } | null>;
};

/** Settings of an account that decide about its calls. */
export type AccountPolicy = {
  /** Digits; null: numbers are never completed. */
  readonly countryCode: string | null;
  readonly maxConcurrentCalls: number;
  readonly recordingDefault: boolean;
  readonly requireConsent: boolean;
  /** Said before anything is recorded (contract 4.6); null: nothing is. */
  readonly recordingNotice: string | null;
};

export type AccountDirectory = {
  /** From a cache while the database is away. Null when there is no such account. */
  settings(accountId: Id): Promise<AccountPolicy | null>;
};
