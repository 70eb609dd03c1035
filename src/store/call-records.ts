/** Reads call records, always inside the account's own transaction (contract 2.1). */
import type { Id } from '#lib/ids.ts';
import {
  DETAIL_COLUMNS,
  DETAIL_TABLES,
  detailOf,
  ROW_COLUMNS,
  ROW_TABLES,
  rowOf,
  type DbDetail,
  type DbRow,
} from './call-record-rows.ts';
import type { RecordDetail, RecordPage, RecordQuery } from '#lib/call-record.ts';
import type { Database, Sql } from './pool.ts';

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type CallRecords = {
  list(accountId: Id, query: RecordQuery): Promise<RecordPage>;
  /** Null when it is missing or another account's. */
  get(accountId: Id, id: Id): Promise<RecordDetail | null>;
  /** IANA name of the account's zone. */
  timeZone(accountId: Id): Promise<string>;
};

const MAX_COUNTED = 10_000;
const ACTOR = 'api';

export function createCallRecords(
  database: Database,
  timeZone: (accountId: Id) => Promise<string>,
): CallRecords {
  return {
    timeZone,
    list: (accountId, query) =>
      database.withAccount(accountId, ACTOR, (sql) => list(sql, accountId, query)),
    get: (accountId, id) =>
      database.withAccount(accountId, ACTOR, async (sql) => {
        const [row] = await sql.rows<DbDetail>(
          `SELECT ${DETAIL_COLUMNS} FROM ${DETAIL_TABLES} WHERE r.id = $1 AND r.user_id = $2`,
          [id, accountId],
        );
        return row === undefined ? null : detailOf(row);
      }),
  };
}

async function list(sql: Sql, accountId: Id, query: RecordQuery): Promise<RecordPage> {
  const where = filterOf(accountId, query);
  const [count] = await sql.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM (SELECT FROM call_records r WHERE ${where.text} LIMIT ${MAX_COUNTED + 1}) t`,
    where.values,
  );
  if ('after' in query.from) {
    where.add(
      '(r.start_time, r.id) < (?::timestamptz, ?::uuid)',
      query.from.after.startTime,
      query.from.after.id,
    );
  }
  const offset = 'offset' in query.from ? query.from.offset : 0;
  const found = await sql.rows<DbRow & { start_text: string }>(
    `SELECT ${ROW_COLUMNS}, r.start_time::text AS start_text FROM ${ROW_TABLES} WHERE ${where.text}
      ORDER BY r.start_time DESC, r.id DESC LIMIT ${where.next(query.limit + 1)} OFFSET ${where.next(offset)}`,
    where.values,
  );
  const shown = found.slice(0, query.limit);
  const last = found.length > query.limit ? shown.at(-1) : undefined;
  const total = count?.n ?? 0;
  return {
    rows: shown.map(rowOf),
    total: Math.min(total, MAX_COUNTED),
    totalExact: total <= MAX_COUNTED,
    next: last === undefined ? null : { startTime: last.start_text, id: last.id },
  };
}

/** Conditions joined by AND; each `?` becomes the next parameter. */
class Where {
  readonly values: unknown[] = [];
  readonly #parts: string[] = [];

  add(condition: string, ...values: unknown[]): void {
    const places = values.map((value) => this.next(value));
    this.#parts.push(condition.replaceAll('?', () => places.shift() ?? '?'));
  }

  /** The placeholder of one more parameter. */
  next(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  get text(): string {
    return this.#parts.join(' AND ');
  }
}

function filterOf(accountId: Id, query: RecordQuery): Where {
  const where = new Where();
  where.add('r.user_id = ?', accountId);
  where.add('r.channel = ANY (?::text[])', query.channels);
  const conditions: readonly (readonly [string, unknown])[] = [
    ['r.agent_id = ANY (?::uuid[])', query.agentIds],
    ['r.agent_id = ?', query.agentId],
    ['r.start_time >= ?::timestamptz', query.startFrom],
    ['r.start_time < ?::timestamptz', query.startBefore],
    ['r.direction = ?', query.direction],
    ['r.status = ?', query.status],
    ['r.hangup_reason = ?', query.hangupReason],
    ['r.outcome = ?', query.outcome],
    ['r.customer_ref = ?', query.customerId],
    ['r.campaign_id = ?', query.campaignId],
  ];
  for (const [condition, value] of conditions) if (value !== null) where.add(condition, value);
  if (query.callerPhonePrefix !== null && query.callerPhonePrefix !== '') {
    // As a range: under row-level security a LIKE prefix cannot use the index (contract 4).
    where.add(
      'r.caller_phone ~>=~ ? AND r.caller_phone ~<~ ?',
      query.callerPhonePrefix,
      prefixEnd(query.callerPhonePrefix),
    );
  }
  if (query.search !== null) {
    // position() has no wildcards: `%` and `_` are what they are.
    where.add(
      "position(lower(?) IN lower(concat_ws(E'\\n', r.caller_name, r.caller_phone, r.summary))) > 0",
      query.search,
    );
  }
  return where;
}

/** The smallest text above every number that starts with `prefix`; its characters are all ASCII. */
function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
