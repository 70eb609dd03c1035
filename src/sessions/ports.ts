/** What a call needs from the outside, stated here and plugged in by app.ts: the journal, the agents, the trunk. */
import type { JournalEntry } from '#lib/call-events.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Id } from '#lib/ids.ts';
import type { Trunk } from '#sip/types.ts';

/** The node's append-only journal. Returning means the entry was written with write(2); fsync follows within 100 ms. */
export type CallJournal = {
  /** Never throws: while the disk refuses, entries wait in memory (bounded), are retried, and the fault is logged as E_JOURNAL once. */
  append(entry: JournalEntry): void;
};

export type AgentDirectory = {
  /** The agent that answers an inbound call to `called`. Works from a cache while the database is away. */
  forInbound(called: string): Promise<AgentConfig>;
  /** Null when the account has no such agent. */
  byId(accountId: Id, agentId: Id): Promise<AgentConfig | null>;
  defaultFor(accountId: Id): Promise<AgentConfig>;
};

export type TrunkDirectory = {
  /** The trunk for outbound calls of this account: the active row, else the environment's; null when there is none. */
  trunkFor(accountId: Id): Promise<Trunk | null>;
};
