/** The account's stored events in the order of time, whatever call they belong to (contract 2.7, `/ws/events`). */
import type { Id } from '#lib/ids.ts';
import { aliasOf, type PublicEvent } from '#lib/public-event.ts';
import type { Database } from './pool.ts';

export type LoggedEvent = {
  readonly event: PublicEvent;
  /** Of the call's record; null for events that belong to no call. */
  readonly agentId: Id | null;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type EventLog = {
  /** When an event happened, ISO-8601; null when the account has no such event. */
  timeOf(accountId: Id, id: Id): Promise<string | null>;
  /** Events from `time` (ISO-8601) on, oldest first, the first `limit` of them. */
  since(accountId: Id, time: string, limit: number): Promise<LoggedEvent[]>;
  /** Events from `from` to before `time`, oldest first, the last `limit` of them. */
  before(
    accountId: Id,
    range: { readonly from: string; readonly time: string; readonly limit: number },
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

export function createEventLog(database: Database): EventLog {
  return {
    timeOf: async (accountId, id) => {
      const rows = await database.withAccount(accountId, ACTOR, (sql) =>
        sql.rows<{ at: Date }>('SELECT at FROM call_events WHERE user_id = $1 AND id = $2', [
          accountId,
          id,
        ]),
      );
      return rows[0]?.at.toISOString() ?? null;
    },
    since: (accountId, time, limit) =>
      read(database, accountId, 'e.at >= $2::timestamptz', 'ASC', [time, limit]),
    before: async (accountId, { from, time, limit }) => {
      const span = 'e.at < $2::timestamptz AND e.at >= $4::timestamptz';
      const found = await read(database, accountId, span, 'DESC', [time, limit, from]);
      return found.toReversed();
    },
  };
}

async function read(
  database: Database,
  accountId: Id,
  span: string,
  order: 'ASC' | 'DESC',
  values: readonly unknown[],
): Promise<LoggedEvent[]> {
  const rows = await database.withAccount(accountId, ACTOR, (sql) =>
    sql.rows<Row>(
      `SELECT e.id, e.type, e.at, e.call_id, e.seq, e.node, e.data, r.agent_id
         FROM call_events e LEFT JOIN call_records r ON r.id = e.call_id AND r.user_id = e.user_id
        WHERE e.user_id = $1 AND ${span} ORDER BY e.at ${order}, e.seq ${order}, e.id ${order} LIMIT $3`,
      [accountId, ...values],
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
