/** A call record as it is read: the shapes that the store gives and the facade shows (contract 2.1, in camelCase). */
import type {
  CallStatus,
  Channel,
  Direction,
  EndedBy,
  HangupReason,
  Latency,
  Message,
  Outcome,
  Quality,
} from './call-events.ts';
import type { Id } from './ids.ts';
import type { Page, PageQuery } from './page.ts';

export type RecordingStatus = 'none' | 'active' | 'ready' | 'failed' | 'expired';

/** One row of the list of records. Times are ISO-8601 UTC with milliseconds. */
export type RecordRow = {
  readonly id: Id;
  readonly agentId: Id;
  readonly agentName: string;
  readonly callerName: string | null;
  readonly callerPhone: string | null;
  readonly callerApp: string | null;
  readonly direction: Direction;
  readonly status: CallStatus;
  readonly startTime: string;
  readonly durationSeconds: number | null;
  readonly hangupReason: HangupReason | null;
  readonly outcome: Outcome | null;
  readonly summary: string | null;
  readonly recordingStatus: RecordingStatus;
};

export type RecordingRow = {
  readonly id: Id;
  readonly status: Exclude<RecordingStatus, 'none'>;
  readonly durationMs: number | null;
  /** Where the audio is, as the store keeps it; for RecordingFiles alone. */
  readonly uri: string;
};

export type RecordDetail = RecordRow & {
  readonly source: 'api' | 'core';
  readonly channel: Channel;
  readonly fromNumber: string | null;
  readonly toNumber: string | null;
  readonly answerTime: string | null;
  readonly endTime: string | null;
  readonly endedBy: EndedBy | null;
  readonly messages: readonly Message[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly customerId: string | null;
  readonly trunkId: Id | null;
  readonly ruleId: Id | null;
  readonly campaignId: Id | null;
  readonly squadId: Id | null;
  readonly recording: RecordingRow | null;
  readonly quality: Quality | null;
  readonly latency: Latency | null;
  readonly cost: { readonly amount: number; readonly currency: string } | null;
  readonly summaryMeta: {
    readonly source: 'llm' | 'extractive' | 'client';
    readonly model: string | null;
    readonly language: string;
    readonly generated_at: string;
  } | null;
  readonly sipCallId: string | null;
  readonly sipStatus: number | null;
  readonly node: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
};

/** Filters are ANDed; absent ones are null. Order is `start_time` descending, then id descending. */
export type RecordQuery = PageQuery & {
  /** Null: all agents; a list: these alone (a key with `agent_ids`). */
  readonly agentIds: readonly Id[] | null;
  readonly agentId: Id | null;
  readonly startFrom: string | null;
  /** Exclusive. */
  readonly startBefore: string | null;
  readonly direction: Direction | null;
  readonly status: CallStatus | null;
  readonly hangupReason: HangupReason | null;
  readonly outcome: Outcome | null;
  readonly channels: readonly Channel[];
  /** A prefix in normal form; without `+` also that of a number of the account's country. */
  readonly callerPhonePrefix: string | null;
  readonly customerId: string | null;
  readonly campaignId: Id | null;
  /** A substring of name, number or summary, case-insensitive; `%` and `_` are plain characters. */
  readonly search: string | null;
  /** Searches name and summary alone, with digits and mail addresses hidden: for those who see records masked. */
  readonly isSearchMasked?: boolean;
};

/** The key of a position is `start_time` as ISO-8601 or as Postgres writes it. */
export type RecordPage = Page<RecordRow>;

/** A record that a client keeps; absent values are null. */
export type NewRecord = {
  readonly agentId: Id;
  /** ISO-8601 UTC. */
  readonly startTime: string;
  readonly callerName: string | null;
  /** In normal form. */
  readonly callerPhone: string | null;
  readonly callerApp: string | null;
  readonly direction: Direction;
  readonly fromNumber: string | null;
  readonly toNumber: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
};

/** What a client sets; an absent field stays as it is, null clears it. */
export type RecordChange = {
  readonly endTime?: string | null;
  readonly durationSeconds?: number | null;
  readonly hangupReason?: HangupReason | null;
  readonly messages?: readonly Message[];
  readonly callerName?: string | null;
  readonly callerPhone?: string | null;
  readonly callerApp?: string | null;
  /** With `language`, that of the text. */
  readonly summary?: { readonly text: string; readonly language: string } | null;
  /** Merged one level deep; a null deletes its key. */
  readonly metadata?: Readonly<Record<string, unknown>>;
};

/** Why a record was not changed: expected, hence a value. */
export type RecordRefusal =
  | 'missing'
  | 'live'
  | 'readOnly'
  | 'endBeforeStart'
  | 'endTooLate'
  | 'durationTooLong'
  | 'metadataTooLarge';

/** An event of a call as stored (contract 3). */
export type StoredEvent = {
  readonly id: Id;
  readonly type: string;
  readonly time: string;
  readonly callId: Id;
  readonly seq: number;
  readonly node: string | null;
  readonly data: Readonly<Record<string, unknown>>;
};

export type StatisticsPeriod = 'today' | 'week' | 'month' | 'year';

/** Numbers of one period (contract 6). */
export type CallStatistics = {
  readonly totalCalls: number;
  readonly totalDurationSeconds: number;
  readonly avgDurationSeconds: number;
  readonly successCalls: number;
  readonly failedCalls: number;
  readonly otherCalls: number;
  /** Per cent, one decimal. */
  readonly successRate: number;
  readonly hangupReasons: Readonly<Record<HangupReason, number>>;
  /** Every day of the period, `YYYY-MM-DD` of the account's zone, oldest first. */
  readonly days: readonly {
    readonly date: string;
    readonly calls: number;
    readonly seconds: number;
  }[];
  /** Most frequent first. */
  readonly apps: readonly { readonly name: string; readonly calls: number }[];
};
