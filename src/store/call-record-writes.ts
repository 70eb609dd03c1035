/** Writes of clients to call records (contract 2.1). What calls themselves write comes through the journal. */
import type { Actor } from '#lib/actor.ts';
import type { CallStatus } from '#lib/call-events.ts';
import type {
  NewRecord,
  RecordChange,
  RecordDetail,
  RecordingRow,
  RecordRefusal,
} from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import { writeAudit } from './audit.ts';
import { changedColumns, type ChangeableRow, type ChangedColumns } from './call-record-changes.ts';
import {
  DETAIL_COLUMNS,
  DETAIL_TABLES,
  detailOf,
  recordingOf,
  RECORDING_COLUMNS,
  type DbDetail,
  type DbRecording,
} from './call-record-rows.ts';
import type { Database, Sql } from './pool.ts';

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. Records of agents that the actor may not see count as missing. */
export type RecordWrites = {
  /** Null when the actor has no such agent. */
  create(actor: Actor, record: NewRecord): Promise<RecordDetail | null>;
  /** The last writer wins. `nowMs`: unix time. */
  change(
    actor: Actor,
    id: Id,
    change: RecordChange,
    nowMs: number,
  ): Promise<RecordDetail | RecordRefusal>;
  /** The recordings that go when the record is deleted, or why it cannot be. */
  recordingsOf(actor: Actor, id: Id): Promise<readonly RecordingRow[] | RecordRefusal>;
  /** Deletes the record with its events; its recordings have been removed before. Null when it is done. */
  remove(actor: Actor, id: Id): Promise<RecordRefusal | null>;
};

/** Columns that hold JSON. */
const JSON_COLUMNS = new Set(['messages', 'metadata', 'summary_meta', 'patched']);

export function createRecordWrites(database: Database): RecordWrites {
  return {
    async create(actor, record) {
      const [row] = await database.accountRows<DbDetail>(
        ...([actor.accountId, actor.name, INSERT] as const),
        insertValues(actor, record),
      );
      return row === undefined ? null : detailOf(row);
    },
    change: (actor, id, change, nowMs) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const row = await lockRow(sql, actor, id);
        if (row === undefined) return 'missing';
        const columns = changedColumns(row, change, nowMs);
        if (typeof columns === 'string') return columns;
        return write(sql, actor.accountId, id, columns);
      }),
    recordingsOf: (actor, id) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const refusal = await whyKept(sql, actor, id);
        if (refusal !== null) return refusal;
        const rows = await sql.rows<DbRecording>(
          `SELECT ${RECORDING_COLUMNS} FROM recordings f WHERE f.call_id = $1 AND f.user_id = $2`,
          [id, actor.accountId],
        );
        return rows.map(recordingOf);
      }),
    remove: (actor, id) =>
      database.withAccount(actor.accountId, actor.name, (sql) => remove(sql, actor, id)),
  };
}

/** One statement, so that creating costs one round trip; an agent that is not there gives no row. */
const INSERT = `
WITH r AS (
  INSERT INTO call_records (user_id, agent_id, start_time, caller_name, caller_phone, caller_app, direction, from_number,
    to_number, metadata, source, channel, status)
  SELECT $1, a.id, $4::timestamptz, $5, $6, $7, $8, $9, $10, $11::jsonb, 'api', 'external', 'answered' FROM agents a
   WHERE a.id = $2 AND a.user_id = $1 AND a.deleted_at IS NULL AND ($3::uuid[] IS NULL OR a.id = ANY ($3::uuid[]))
  RETURNING *)
SELECT ${DETAIL_COLUMNS} FROM ${DETAIL_TABLES.replace('call_records r', 'r')}`;

function insertValues(actor: Actor, record: NewRecord): unknown[] {
  return [
    ...[actor.accountId, record.agentId, actor.agentIds, record.startTime, record.callerName],
    ...[record.callerPhone, record.callerApp, record.direction, record.fromNumber],
    ...[record.toNumber, JSON.stringify(record.metadata)],
  ];
}

async function lockRow(sql: Sql, actor: Actor, id: Id): Promise<ChangeableRow | undefined> {
  const [row] = await sql.rows<ChangeableRow>(
    `SELECT source, status, start_time, end_time, duration_seconds, hangup_reason, metadata, patched FROM call_records
      WHERE id = $1 AND user_id = $2 AND ($3::uuid[] IS NULL OR agent_id = ANY ($3::uuid[])) FOR UPDATE`,
    [id, actor.accountId, actor.agentIds],
  );
  return row;
}

async function write(
  sql: Sql,
  accountId: Id,
  id: Id,
  columns: ChangedColumns,
): Promise<RecordDetail | RecordRefusal> {
  const values: unknown[] = [id, accountId];
  const sets = [...columns].map(([name, value]) => {
    const isJson = JSON_COLUMNS.has(name) && value !== null;
    values.push(isJson ? JSON.stringify(value) : value);
    return `${name} = $${values.length}${isJson ? '::jsonb' : ''}`;
  });
  const [row] = await sql.rows<DbDetail>(
    `WITH r AS (UPDATE call_records SET ${[...sets, 'updated_at = now()'].join(', ')}
                 WHERE id = $1 AND user_id = $2 RETURNING *)
     SELECT ${DETAIL_COLUMNS} FROM ${DETAIL_TABLES.replace('call_records r', 'r')}`,
    values,
  );
  return row === undefined ? 'missing' : detailOf(row);
}

/** Locks the record. Null when it may be deleted. */
async function whyKept(sql: Sql, actor: Actor, id: Id): Promise<RecordRefusal | null> {
  const [row] = await sql.rows<{
    source: 'api' | 'core';
    status: CallStatus;
    recording_status: string;
  }>(
    `SELECT source, status, recording_status FROM call_records
      WHERE id = $1 AND user_id = $2 AND ($3::uuid[] IS NULL OR agent_id = ANY ($3::uuid[])) FOR UPDATE`,
    [id, actor.accountId, actor.agentIds],
  );
  if (row === undefined) return 'missing';
  return row.source === 'core' && isLive(row.status, row.recording_status) ? 'live' : null;
}

/** Events and rows of recordings go with the record, by their foreign keys. */
async function remove(sql: Sql, actor: Actor, id: Id): Promise<RecordRefusal | null> {
  const refusal = await whyKept(sql, actor, id);
  if (refusal !== null) return refusal;
  await sql.run('DELETE FROM call_records WHERE id = $1 AND user_id = $2', [id, actor.accountId]);
  await writeAudit(sql, actor, {
    action: 'call_record.delete',
    targetType: 'call_record',
    targetId: id,
  });
  return null;
}

/** A record that a client keeps is never live: `answered` only says that nobody has closed it. */
function isLive(status: CallStatus, recordingStatus: string): boolean {
  return (status !== 'ended' && status !== 'failed') || recordingStatus === 'active';
}
