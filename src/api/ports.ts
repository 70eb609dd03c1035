/** What the facade needs from the rest of the process, stated here and plugged in by app.ts. */
import type { Readable } from 'node:stream';
import type { Role } from '#lib/actor.ts';
import type { RecordDetail, RecordingRow, RecordPage, RecordQuery } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { CallService } from '#sessions/call-service-types.ts';

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
