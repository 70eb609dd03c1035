/** What the facade needs from the rest of the process, stated here and plugged in by app.ts. */
import type { Readable } from 'node:stream';
import type { Actor } from '#lib/actor.ts';
import type {
  CallStatistics,
  RecordDetail,
  RecordingRow,
  RecordPage,
  RecordQuery,
} from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { RecordingFormat } from '#lib/sealed-audio.ts';
import type { CallService } from '#sessions/call-service-types.ts';
import type { Intelligence } from '#sessions/intelligence.ts';
import type { VoiceTurns } from '#sessions/voice-turns.ts';
import type { Reach } from '#lib/safe-fetch.ts';
import type { CallControlPorts } from './call-control.ts';
import type { VendorPorts } from './vendor-part.ts';
import type { AnsweringPorts } from './answering.ts';
import type { CampaignPorts } from './campaigns.ts';
import type { TrunkPorts } from './trunks.ts';
import type { FamilyPorts } from './families.ts';
import type { WebhookPorts } from './webhook-part.ts';
import type { SocketPorts } from './socket-attach.ts';
import type { RecordWrites } from '#store/call-record-writes.ts';
import type { CallRecords } from '#store/call-records.ts';
import type { HeardRecording, Recordings } from '#store/recordings.ts';
import type { Identity } from '#store/identity.ts';
import type { StatisticsQuery } from '#store/statistics.ts';

export type { StoredKey } from '#store/api-keys.ts';

export type { Identity } from '#store/identity.ts';

/** Records of one account. Rejects with E_DATABASE* while the database is away. */
export type RecordsReader = {
  list(accountId: Id, query: RecordQuery): Promise<RecordPage>;
  get(accountId: Id, id: Id): Promise<RecordDetail | null>;
  /** IANA name; days in filters are days of this zone. */
  timeZone(accountId: Id): Promise<string>;
};

/** What clients write to records, and what is counted of them. Errors: E_DATABASE*. */
export type RecordKeeping = RecordWrites &
  Pick<CallRecords, 'events' | 'storedPhone'> & {
    statistics(accountId: Id, query: StatisticsQuery): Promise<CallStatistics>;
    /** A record that starts at this time (ISO-8601; null: unknown) has changed: its day may have to be counted again. */
    noteChange(accountId: Id, startTime: string | null): void;
  };

/** The audio of one recording. */
export type RecordingFile = {
  /** What the bytes are. */
  readonly format: RecordingFormat;
  readonly bytes: number;
  /** The bytes `from` to `to`, both inclusive. The caller consumes or destroys the stream. */
  read(from: number, to: number): Readable;
};

export type RecordingFiles = {
  /** The call that it is of; null when the account has no such recording. */
  callOf(accountId: Id, recordingId: Id): Promise<Id | null>;
  /** Null when the audio is gone. Errors: RECORDING_EXPIRED when its key was destroyed, CALL_LIVE. */
  open(accountId: Id, recording: Pick<RecordingRow, 'id'>): Promise<RecordingFile | null>;
  /** Writes the audit row of somebody who is about to hear it. */
  noteHeard(actor: Actor, heard: HeardRecording): Promise<void>;
  /** Destroys the key, then the file; a file that will not go is tried again later. Idempotent. */
  remove(accountId: Id, recording: RecordingRow): Promise<void>;
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
  readonly identity: Identity;
  readonly records: RecordsReader;
  readonly recordKeeping: RecordKeeping;
  readonly recordings: RecordingFiles;
  readonly recordingList: Pick<Recordings, 'listForConsole'>;
  readonly readiness: Readiness;
  readonly calls: CallService;
  readonly callControl: CallControlPorts;
  readonly sockets: SocketPorts;
  readonly voiceTurns: VoiceTurns;
  readonly families: FamilyPorts;
  readonly answering: AnsweringPorts;
  readonly vendors: VendorPorts;
  readonly trunks: TrunkPorts;
  readonly intelligence: Intelligence;
  readonly webhooks: WebhookPorts;
  readonly campaigns: CampaignPorts;
  /** What URLs of customers may lead to. */
  readonly reach: Reach;
};
