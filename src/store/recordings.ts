/** Recordings of an account: their keys, their destruction, and the console's list (contract 2.6, 4.6). */
import { randomBytes } from 'node:crypto';
import type { Actor } from '#lib/actor.ts';
import type {
  ConsoleRecordPage,
  ConsoleRecordQuery,
  ConsoleRecordRow,
} from '#lib/console-record.ts';
import type { Clock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import { SEALED_KEY_BYTES, type RecordingSeal } from '#lib/sealed-audio.ts';
import { writeAudit } from './audit.ts';
import { ROW_COLUMNS, ROW_TABLES, rowOf, type DbRow } from './call-record-rows.ts';
import { addPrefix } from './call-records.ts';
import { HeardNotes } from './heard-notes.ts';
import { readPage, Where, type PageSource } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { SHRED, type ShreddedRow } from './recording-rows.ts';
import type { Sealer, SealPlace } from './sealed.ts';

export type KeptRecording = {
  readonly id: Id;
  readonly status: 'active' | 'ready' | 'failed' | 'expired';
  readonly uri: string;
  /** Null for a plain WAV, and after the key was destroyed. */
  readonly key: Uint8Array | null;
  /** False: its call ended before its file had. Absent: it has. */
  readonly isClosed?: boolean;
};

/** What a file has become that was closed later than its call. */
export type ClosedRecording = {
  readonly durationMs: number;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
};

/** Errors of all that ask the database: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type Recordings = {
  /** A fresh key for a recording that begins, and the same sealed. Asks nobody. */
  newKey(accountId: Id): { readonly seal: RecordingSeal; readonly keyEnc: string };
  /** The key of a patch from the journal. Errors: E_CONFIG, E_DATABASE when it does not open. */
  openKey(accountId: Id, recordingId: Id, keyEnc: string): RecordingSeal;
  /** Null when there is no such recording. Errors also: those of openKey. */
  find(accountId: Id, recordingId: Id): Promise<KeptRecording | null>;
  /** Its file has its end now; the row says how long it is. Does nothing to one that had it before. */
  noteClosed(accountId: Id, recordingId: Id, closed: ClosedRecording): Promise<void>;
  /** The call that it is of; null when there is no such recording. */
  callOf(accountId: Id, recordingId: Id): Promise<Id | null>;
  /** Destroys the key and marks the call. What is still being written stays. Idempotent. */
  shred(accountId: Id, recordingId: Id): Promise<readonly ShreddedRow[]>;
  /** The file is gone too. */
  markRemoved(recordingIds: readonly Id[]): Promise<void>;
  /** Somebody is about to hear it: an audit row (contract 1.3), one in five minutes for all parts that a player asks for. */
  noteHeard(actor: Actor, recording: HeardRecording): Promise<void>;
  /** Phone and web calls of the account, newest first. */
  listForConsole(actor: Actor, query: ConsoleRecordQuery): Promise<ConsoleRecordPage>;
};

export type HeardRecording = {
  readonly callId: Id;
  readonly recordingId: Id;
  /** The Range header of the request. */
  readonly range: string | null;
};

export type RecordingsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly clock: Clock;
};

const ACTOR = 'api';

export function createRecordings({ database, sealer, clock }: RecordingsOptions): Recordings {
  const openKey = (accountId: Id, recordingId: Id, keyEnc: string): RecordingSeal => ({
    recordingId,
    key: Buffer.from(sealer.open(keyEnc, placeOf(accountId, recordingId)), 'base64url'),
  });
  const heard = new HeardNotes(clock);
  return {
    newKey(accountId) {
      const seal = { recordingId: newId(), key: randomBytes(SEALED_KEY_BYTES) };
      const place = placeOf(accountId, seal.recordingId);
      return { seal, keyEnc: sealer.seal(seal.key.toString('base64url'), place) };
    },
    openKey,
    async find(accountId, recordingId) {
      const [row] = await database.withAccount(accountId, ACTOR, (sql) =>
        sql.rows<Omit<KeptRecording, 'key'> & { key_enc: string | null }>(
          `SELECT id, status, uri, key_enc, sha256 IS NOT NULL AS "isClosed" FROM recordings
            WHERE id = $1 AND user_id = $2`,
          [recordingId, accountId],
        ),
      );
      if (row === undefined) return null;
      const { key_enc: keyEnc, ...kept } = row;
      const key = keyEnc === null ? null : openKey(accountId, recordingId, keyEnc).key;
      return { ...kept, key };
    },
    noteClosed: (...what) => noteClosed(database, ...what),
    async callOf(accountId, recordingId) {
      const [row] = await database.withAccount(accountId, ACTOR, (sql) =>
        sql.rows<{ call_id: Id }>('SELECT call_id FROM recordings WHERE id = $1 AND user_id = $2', [
          recordingId,
          accountId,
        ]),
      );
      return row?.call_id ?? null;
    },
    shred: (accountId, recordingId) =>
      database.withAccount(accountId, ACTOR, (sql) =>
        sql.rows<ShreddedRow>(SHRED, [[recordingId], new Date(clock.wallMs()).toISOString()]),
      ),
    async markRemoved(recordingIds) {
      await database.withSystem((sql) =>
        sql.run('UPDATE recordings SET deleted_at = $2 WHERE id = ANY ($1::uuid[])', [
          recordingIds,
          new Date(clock.wallMs()).toISOString(),
        ]),
      );
    },
    noteHeard(actor, { callId, recordingId, range }) {
      const whole = [actor.accountId, actor.name, actor.ip, recordingId].join(' ');
      // Who was noted for all of it needs no note for a part; the other way round it would be left out.
      const keys = range === null ? ([whole] as const) : ([`${whole} part`, whole] as const);
      return heard.once(keys, () =>
        database.withAccount(actor.accountId, actor.name, (sql) =>
          writeAudit(sql, actor, {
            action: 'recording.download',
            targetType: 'call_record',
            targetId: callId,
            changes: { recording_id: recordingId, ...(range === null ? {} : { range }) },
          }),
        ),
      );
    },
    listForConsole: (actor, query) => listForConsole(database, actor, query),
  };
}

async function noteClosed(
  database: Database,
  accountId: Id,
  recordingId: Id,
  { durationMs, bytes, sha256 }: ClosedRecording,
): Promise<void> {
  await database.withAccount(accountId, ACTOR, (sql) =>
    sql.run(
      `UPDATE recordings SET duration_ms = $3, bytes = $4, sha256 = decode($5, 'hex'), truncated = true
        WHERE id = $1 AND user_id = $2 AND status = 'ready' AND sha256 IS NULL`,
      [recordingId, accountId, Math.round(durationMs), bytes, sha256],
    ),
  );
}

function placeOf(accountId: Id, rowId: Id): SealPlace {
  return { table: 'recordings', column: 'key_enc', accountId, rowId };
}

const CONSOLE_COLUMNS = `${ROW_COLUMNS}, r.answer_time, r.end_time, r.customer_ref, r.from_number, r.to_number`;

type ConsoleDbRow = DbRow & {
  readonly answer_time: Date | null;
  readonly end_time: Date | null;
  readonly customer_ref: string | null;
  readonly from_number: string | null;
  readonly to_number: string | null;
};

/** The page is found in the index; only the rows shown are read whole. */
const CONSOLE_PAGES: PageSource = {
  columns: CONSOLE_COLUMNS,
  tables: 'call_records r',
  rows: ROW_TABLES,
  ...{ key: 'r.start_time', keyType: 'timestamptz', id: 'r.id' },
};

function listForConsole(
  database: Database,
  actor: Actor,
  query: ConsoleRecordQuery,
): Promise<ConsoleRecordPage> {
  return database.withAccount(actor.accountId, actor.name, async (sql) => {
    const where = new Where()
      .add('r.user_id = ?', actor.accountId)
      .add("r.channel IN ('phone', 'web')")
      .addUnlessNull('r.agent_id = ANY (?::uuid[])', actor.agentIds)
      .addUnlessNull('r.start_time >= ?::timestamptz', query.startFrom)
      .addUnlessNull('r.start_time < ?::timestamptz', query.startBefore);
    if (query.hasRecording !== null) {
      where.add(`r.recording_status ${query.hasRecording ? '=' : '<>'} 'ready'`);
    }
    if (query.phonePrefix !== null) {
      addPrefix(where, query.phonePrefix, await countryCodeOf(sql, actor.accountId));
    }
    return readPage<ConsoleDbRow, ConsoleRecordRow>(sql, CONSOLE_PAGES, where, query, (row) => ({
      ...rowOf(row),
      answerTime: row.answer_time?.toISOString() ?? null,
      endTime: row.end_time?.toISOString() ?? null,
      customerId: row.customer_ref,
      fromNumber: row.from_number,
      toNumber: row.to_number,
    }));
  });
}

async function countryCodeOf(sql: Sql, accountId: Id): Promise<string | null> {
  const [row] = await sql.rows<{ country_code: string | null }>(
    'SELECT country_code FROM account_settings WHERE user_id = $1',
    [accountId],
  );
  return row?.country_code ?? null;
}
