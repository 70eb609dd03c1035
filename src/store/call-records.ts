/** Reads call records, always inside the account's own transaction (contract 2.1). */
import type { RecordDetail, RecordPage, RecordQuery, StoredEvent } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone } from '#lib/phone.ts';
import {
  DETAIL_COLUMNS,
  DETAIL_TABLES,
  detailOf,
  eventOf,
  ROW_COLUMNS,
  ROW_TABLES,
  rowOf,
  type DbDetail,
  type DbEvent,
  type DbRow,
} from './call-record-rows.ts';
import { createRecordWrites, type RecordWrites } from './call-record-writes.ts';
import { maskedForSearch } from './masked-search.ts';
import { readPage, Where, type PageSource } from './paging.ts';
import type { Database } from './pool.ts';

/** What of an account's settings its records depend on. */
export type RecordSettings = {
  /** IANA name. */
  readonly timezone: string;
  readonly countryCode: string | null;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type CallRecords = RecordWrites & {
  list(accountId: Id, query: RecordQuery): Promise<RecordPage>;
  /** Null when it is missing or another account's. */
  get(accountId: Id, id: Id): Promise<RecordDetail | null>;
  /** Oldest first. */
  events(accountId: Id, id: Id, query: PageQuery): Promise<Page<StoredEvent>>;
  /** IANA name of the account's zone. */
  timeZone(accountId: Id): Promise<string>;
  /** A number as it is stored: completed to its `+` form where the account's country is known (contract 1.1). */
  storedPhone(accountId: Id, normal: string): Promise<string>;
};

const ACTOR = 'api';

/** A record by `$1`, its id, of account `$2`. */
export const RECORD_BY_ID = `SELECT ${DETAIL_COLUMNS} FROM ${DETAIL_TABLES} WHERE r.id = $1 AND r.user_id = $2`;

/** The page is found in the index; only the rows shown are read whole. */
const PAGES: PageSource = {
  columns: ROW_COLUMNS,
  tables: 'call_records r',
  rows: ROW_TABLES,
  ...{ key: 'r.start_time', keyType: 'timestamptz', id: 'r.id' },
};

const EVENT_PAGES: PageSource = {
  columns: 'e.id, e.type, e.at, e.call_id, e.seq, e.node, e.data',
  tables: 'call_events e',
  ...{ key: 'e.seq', keyType: 'int', id: 'e.id', order: 'ASC' },
};

export function createCallRecords(
  database: Database,
  settings: (accountId: Id) => Promise<RecordSettings>,
): CallRecords {
  return {
    ...createRecordWrites(database),
    timeZone: async (accountId) => (await settings(accountId)).timezone,
    storedPhone: async (accountId, normal) =>
      comparablePhone(normal, (await settings(accountId)).countryCode),
    async list(accountId, query) {
      const needsCountry = query.callerPhonePrefix !== null;
      const countryCode = needsCountry ? (await settings(accountId)).countryCode : null;
      return database.withAccount(accountId, ACTOR, (sql) =>
        readPage<DbRow, RecordPage['rows'][number]>(
          ...([sql, PAGES, filterOf(accountId, query, countryCode), query, rowOf] as const),
        ),
      );
    },
    async get(accountId, id) {
      const [row] = await database.accountRows<DbDetail>(
        ...([accountId, ACTOR] as const),
        RECORD_BY_ID,
        [id, accountId],
      );
      return row === undefined ? null : detailOf(row);
    },
    events: (accountId, id, query) =>
      database.withAccount(accountId, ACTOR, (sql) => {
        const where = new Where().add('e.user_id = ?', accountId).add('e.call_id = ?', id);
        return readPage<DbEvent, StoredEvent>(sql, EVENT_PAGES, where, query, eventOf);
      }),
  };
}

function filterOf(accountId: Id, query: RecordQuery, countryCode: string | null): Where {
  const where = new Where()
    .add('r.user_id = ?', accountId)
    .add('r.channel = ANY (?::text[])', query.channels)
    .addUnlessNull('r.agent_id = ANY (?::uuid[])', query.agentIds)
    .addUnlessNull('r.agent_id = ?', query.agentId)
    .addUnlessNull('r.start_time >= ?::timestamptz', query.startFrom)
    .addUnlessNull('r.start_time < ?::timestamptz', query.startBefore)
    .addUnlessNull('r.direction = ?', query.direction)
    .addUnlessNull('r.status = ?', query.status)
    .addUnlessNull('r.hangup_reason = ?', query.hangupReason)
    .addUnlessNull('r.outcome = ?', query.outcome)
    .addUnlessNull('r.customer_ref = ?', query.customerId)
    .addUnlessNull('r.campaign_id = ?', query.campaignId);
  addPrefix(where, query.callerPhonePrefix, countryCode);
  if (query.search !== null) addSearch(where, query.search, query.isSearchMasked === true);
  return where;
}

/** As ranges: under row-level security a LIKE prefix cannot use the index (contract 4). */
export function addPrefix(where: Where, prefix: string | null, countryCode: string | null): void {
  if (prefix === null || prefix === '') return;
  const prefixes = [...new Set([prefix, ...completed(prefix, countryCode)])];
  const ranges = prefixes.map(() => '(r.caller_phone ~>=~ ? AND r.caller_phone ~<~ ?)');
  where.add(`(${ranges.join(' OR ')})`, ...prefixes.flatMap((each) => [each, prefixEnd(each)]));
}

/** The beginning of a national number as stored numbers of the account's country begin. */
function completed(prefix: string, countryCode: string | null): string[] {
  const code = countryCode?.replace(/^\+/, '') ?? '';
  return code === '' || !/^[0-9]+$/.test(prefix) ? [] : [`+${code}${prefix.replace(/^0/, '')}`];
}

/** The smallest text above every number that starts with `prefix`; its characters are all ASCII. */
function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** position() has no wildcards: `%` and `_` are what they are. */
function addSearch(where: Where, search: string, isMasked: boolean): void {
  const text = isMasked
    ? maskedForSearch("concat_ws(E'\\n', r.caller_name, r.summary)")
    : "concat_ws(E'\\n', r.caller_name, r.caller_phone, r.summary)";
  where.add(`position(lower(?) IN lower(${text})) > 0`, search);
}
