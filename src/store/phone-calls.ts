/** Calls as `/v1` lists them: whole records without their messages, newest first (contract 2.4). */
import type { Actor } from '#lib/actor.ts';
import type { CallStatus, Direction } from '#lib/call-events.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { DETAIL_COLUMNS, detailOf, ROW_TABLES, type DbDetail } from './call-record-rows.ts';
import { readPage, Where } from './paging.ts';
import type { Database } from './pool.ts';

export type PhoneCallQuery = PageQuery & {
  readonly agentId: Id | null;
  readonly direction: Direction | null;
  /** Null: any; else one of these. */
  readonly statuses: readonly CallStatus[] | null;
  /** Calls that the caller of this function has from elsewhere. */
  readonly except: readonly Id[];
};

/** A record whose messages and recording row were left in the database. */
export type PhoneCallRow = Omit<RecordDetail, 'messages' | 'recording'> & {
  /** `start_time` in full, as ISO-8601 with microseconds: texts of this form sort as times do. */
  readonly startKey: string;
};

export type PhoneCalls = {
  /** Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  list(actor: Actor, query: PhoneCallQuery): Promise<Page<PhoneCallRow>>;
};

/** A page of transcripts may be 100 times 4 MiB, and `f`, the recording, costs a join for each row skipped. */
const COLUMNS = DETAIL_COLUMNS.replace('r.messages', "'[]'::jsonb AS messages").replace(
  /\bf\.\w+/g,
  'NULL',
);
const START_KEY = `to_char(r.start_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS start_key`;

export function createPhoneCalls(database: Database): PhoneCalls {
  return {
    list: (actor, query) =>
      database.withAccount(actor.accountId, actor.name, (sql) => {
        const where = new Where()
          .add('r.user_id = ?', actor.accountId)
          .add("r.channel IN ('phone', 'web')")
          .addUnlessNull('r.agent_id = ANY (?::uuid[])', actor.agentIds)
          .addUnlessNull('r.agent_id = ?', query.agentId)
          .addUnlessNull('r.direction = ?', query.direction)
          .addUnlessNull('r.status = ANY (?::call_status[])', query.statuses);
        if (query.except.length > 0) where.add('r.id <> ALL (?::uuid[])', query.except);
        const source = {
          columns: `${COLUMNS}, ${START_KEY}`,
          tables: ROW_TABLES,
          key: 'r.start_time',
          keyType: 'timestamptz',
          id: 'r.id',
        };
        return readPage<ListRow, PhoneCallRow>(sql, source, where, query, rowOf);
      }),
  };
}

type ListRow = DbDetail & { readonly start_key: string };

function rowOf(row: ListRow): PhoneCallRow {
  const { messages: _messages, recording: _recording, ...rest } = detailOf(row);
  return { ...rest, startKey: row.start_key };
}
