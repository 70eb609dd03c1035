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

/** The place behind which a cursor goes on. `startTime` is the column's text in full: ISO-8601, or as Postgres writes it. */
export type RecordPosition = { readonly startTime: string; readonly id: Id };

/** Filters are ANDed; absent ones are null. Order is `start_time` descending, then id descending. */
export type RecordQuery = {
  readonly limit: number;
  /** Rows to skip (page mode), or the row to go on behind (cursor mode). */
  readonly from: { readonly offset: number } | { readonly after: RecordPosition };
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
  /** A prefix in normal form. */
  readonly callerPhonePrefix: string | null;
  readonly customerId: string | null;
  readonly campaignId: Id | null;
  /** A substring of name, number or summary, case-insensitive; `%` and `_` are plain characters. */
  readonly search: string | null;
};

export type RecordPage = {
  readonly rows: readonly RecordRow[];
  /** Exact up to 10,000; 10,000 with `totalExact: false` above. */
  readonly total: number;
  readonly totalExact: boolean;
  /** Behind the last row of this page; null on the last page. */
  readonly next: RecordPosition | null;
};
