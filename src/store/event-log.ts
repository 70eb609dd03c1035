/** The account's stored events in the order of time, whatever call they belong to (contract 2.7, `/ws/events`). */
import type { Id } from '#lib/ids.ts';
import { aliasOf, type PublicEvent } from '#lib/public-event.ts';
import { Where } from './paging.ts';
import type { Database } from './pool.ts';

export type LoggedEvent = {
  readonly event: PublicEvent;
  /** Of the call's record; null for events that belong to no call. */
  readonly agentId: Id | null;
};

/** What a listener is told of; the rest is not there for it. */
export type EventFilter = {
  /** Of a key that sees some agents alone; null: all, and the events of the account. */
  readonly agentIds: readonly Id[] | null;
  readonly agentId: Id | null;
  readonly callId: Id | null;
  readonly types: readonly string[];
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type EventLog = {
  /** When an event happened, ISO-8601; null when there is no such event of the account, or of these agents. */
  timeOf(accountId: Id, id: Id, agentIds: readonly Id[] | null): Promise<string | null>;
  /** Events from `time` (ISO-8601) on, oldest first, the first `limit` of them. */
  since(
    accountId: Id,
    range: { readonly time: string; readonly limit: number },
    filter: EventFilter,
  ): Promise<LoggedEvent[]>;
  /** Events from `from` to before `time`, oldest first, the last `limit` of them. */
  before(
    accountId: Id,
    range: { readonly from: string; readonly time: string; readonly limit: number },
    filter: EventFilter,
  ): Promise<LoggedEvent[]>;
};

type Row = {
  readonly id: Id;
  readonly type: string;
  readonly at: Date;
  readonly call_id: Id | null;
  readonly seq: number | null;
  readonly node: string | null;
  readonly data: Record<string, unknown>;
  readonly agent_id: Id | null;
};

const ACTOR = 'api';
const TABLES =
  'call_events e LEFT JOIN call_records r ON r.id = e.call_id AND r.user_id = e.user_id';

export function createEventLog(database: Database): EventLog {
  return {
    timeOf: async (accountId, id, agentIds) => {
      const where = new Where()
        .add('e.user_id = ?', accountId)
        .add('e.id = ?', id)
        .addUnlessNull('r.agent_id = ANY (?::uuid[])', agentIds);
      const rows = await database.withAccount(accountId, ACTOR, (sql) =>
        sql.rows<{ at: Date }>(`SELECT e.at FROM ${TABLES} WHERE ${where.text}`, where.values),
      );
      return rows[0]?.at.toISOString() ?? null;
    },
    since: (accountId, { time, limit }, filter) => {
      const where = matching(accountId, filter).add('e.at >= ?::timestamptz', time);
      return read(database, accountId, where, 'ASC', limit);
    },
    before: async (accountId, { from, time, limit }, filter) => {
      const where = matching(accountId, filter)
        .add('e.at >= ?::timestamptz', from)
        .add('e.at < ?::timestamptz', time);
      const found = await read(database, accountId, where, 'DESC', limit);
      return found.toReversed();
    },
  };
}

/** Here, and not in what reads the rows: whoever wants one call must get on past the thousands of others. */
function matching(accountId: Id, { agentIds, agentId, callId, types }: EventFilter): Where {
  return new Where()
    .add('e.user_id = ?', accountId)
    .addUnlessNull('r.agent_id = ANY (?::uuid[])', agentIds)
    .addUnlessNull('r.agent_id = ?', agentId)
    .addUnlessNull('e.call_id = ?', callId)
    .add('e.type = ANY (?::text[])', types);
}

async function read(
  database: Database,
  accountId: Id,
  where: Where,
  order: 'ASC' | 'DESC',
  limit: number,
): Promise<LoggedEvent[]> {
  const count = where.next(limit);
  const rows = await database.withAccount(accountId, ACTOR, (sql) =>
    sql.rows<Row>(
      `SELECT e.id, e.type, e.at, e.call_id, e.seq, e.node, e.data, r.agent_id FROM ${TABLES}
        WHERE ${where.text} ORDER BY e.at ${order}, e.seq ${order}, e.id ${order} LIMIT ${count}`,
      where.values,
    ),
  );
  return rows.map((row) => ({ event: eventOf(row, accountId), agentId: row.agent_id }));
}

function eventOf(row: Row, accountId: Id): PublicEvent {
  return {
    ...{ id: row.id, type: row.type, alias: aliasOf(row.type), time: row.at.toISOString() },
    ...{ account_id: accountId, call_id: row.call_id, conversation_id: row.call_id },
    // Where the request of an event is known, it goes out with the event itself; it is not stored.
    ...{ seq: row.seq, node: row.node, request_id: null, data: row.data },
  };
}
