/** What a call needs from the outside, stated here and plugged in by app.ts: the journal, the agents, the trunk. */
import type { JournalEntry } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { Trunk } from '#sip/types.ts';

/** The node's append-only journal. Returning means the entry was written with write(2); fsync follows within 100 ms. */
export type CallJournal = {
  /** Never throws: while the disk refuses, entries wait in memory (bounded), are retried, and the fault is logged as E_JOURNAL once. */
  append(entry: JournalEntry): void;
};

/** An agent as a call copies it at its start (contract 2.3; fields of later versions are ignored here). */
export type AgentConfig = {
  readonly id: Id;
  readonly accountId: Id;
  readonly name: string;
  readonly systemPrompt: string;
  /** Null: the built-in bilingual greeting. */
  readonly greeting: string | null;
  readonly language: 'zh' | 'en';
  readonly vendors: {
    readonly stt: string | null;
    readonly llm: string | null;
    readonly tts: string | null;
  };
  readonly llm: {
    readonly model: string | null;
    readonly temperature: number | null;
    readonly maxTokens: number | null;
  };
  readonly voice: string | null;
  readonly turn: {
    readonly endpointMinMs: number;
    readonly bargeIn: boolean;
    readonly bargeInConfirmMs: number;
    readonly falseBargeInMs: number;
  };
  readonly silence: {
    readonly promptAfterS: number;
    readonly prompts: number;
    readonly promptText: string | null;
    readonly hangupAfterS: number;
  };
  readonly maxDurationS: number;
  readonly maxHistory: number;
  /** Null: the installation's default decides. */
  readonly recording: boolean | null;
  readonly variables: Readonly<Record<string, string>>;
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
