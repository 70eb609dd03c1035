/** What the facade needs from the rest of the process, stated here and plugged in by app.ts. */
import type { Readable } from 'node:stream';
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
} from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { CallService } from '#sessions/call-service-types.ts';

export type Role = 'owner' | 'admin' | 'developer' | 'supervisor' | 'viewer';

/** An API key as stored: the key itself is nowhere, only the SHA-256 of the whole of it. */
export type StoredKey = {
  readonly keyId: Id;
  readonly accountId: Id;
  readonly role: Exclude<Role, 'owner'>;
  /** 32 bytes. */
  readonly keyHash: Uint8Array;
  /** Null: all agents of the account. */
  readonly agentIds: readonly Id[] | null;
  /** CIDR notation; null or empty: any address. */
  readonly ipAllow: readonly string[] | null;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
};

/** Asked at most every few seconds per key, so the store may note the last use here. */
export type Authenticator = {
  /** The key with this public prefix (8 characters), also when revoked or expired. Rejects while the store is away. */
  findKey(prefix: string): Promise<StoredKey | null>;
};

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

/** Records of one account. Rejects with E_DATABASE* while the database is away. */
export type RecordsReader = {
  list(accountId: Id, query: RecordQuery): Promise<RecordPage>;
  get(accountId: Id, id: Id): Promise<RecordDetail | null>;
  /** IANA name; days in filters are days of this zone. */
  timeZone(accountId: Id): Promise<string>;
};

/** The audio of one recording. */
export type RecordingFile = {
  readonly bytes: number;
  /** The bytes `from` to `to`, both inclusive. The caller consumes or destroys the stream. */
  read(from: number, to: number): Readable;
};

export type RecordingFiles = {
  /** Null when the audio is gone. */
  open(accountId: Id, recording: RecordingRow): Promise<RecordingFile | null>;
};

/** `off`: not part of this installation (the bus of a single node). */
export type PartState = 'up' | 'down' | 'off';

export type Readiness = {
  check(): {
    readonly state: 'accepting' | 'starting' | 'draining' | 'overloaded';
    readonly checks: Readonly<Record<'sip' | 'media' | 'database' | 'bus', PartState>>;
  };
};

export type ApiPorts = {
  readonly authenticator: Authenticator;
  readonly records: RecordsReader;
  readonly recordings: RecordingFiles;
  readonly readiness: Readiness;
  readonly calls: CallService;
};
