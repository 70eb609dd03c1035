/** The calls of `/v1` as one list: records from the database, and live calls from the node that carries them. */
import type { CallStatus } from '#lib/call-events.ts';
import type { Page } from '#lib/page.ts';
import { isLiveStatus, type LiveCallView } from '#sessions/call-service-types.ts';
import type { PhoneCallQuery, PhoneCallRow } from '#store/phone-calls.ts';
import type { CallFacts } from './call-view.ts';
import type { ListPage } from './paging.ts';
import type { PhoneCallsQuery } from './phone-call-schemas.ts';
import { invalid } from './problem.ts';

const MAX_COUNTED = 10_000;
const FINAL: readonly CallStatus[] = ['ended', 'failed'];
/** ISO-8601 with microseconds: the form of the sort keys here, which sort as texts. */
const KEY = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;

export type CallListRequest = {
  readonly page: ListPage;
  readonly query: PhoneCallsQuery;
  /** All live calls that the caller may see. */
  readonly live: readonly LiveCallView[];
  /** The records, from the database. */
  readonly stored: (query: PhoneCallQuery) => Promise<Page<PhoneCallRow>>;
};

type Entry = { readonly call: CallFacts; readonly key: string };

/**
 * One page, newest first. A live call counts as its owner knows it, whatever its record says so far, so no call stands
 * in the list twice and none is missing because its record is still on its way. `live: true` needs no database.
 */
export async function listPhoneCalls(request: CallListRequest): Promise<Page<CallFacts>> {
  const { page, query, live } = request;
  const offset = 'offset' in page.from ? page.from.offset : 0;
  const listed = live.filter((call) => isListed(call, query)).map(entryOfLive);
  const ahead = listed.filter((entry) => isBehindCursor(entry, page));
  // Of the rows before this page at most so many are live calls; the others must be skipped in the database.
  const overlap = Math.min(offset, ahead.length);
  const found = await storedPart(request, offset - overlap, page.limit + overlap);
  const merged = [...ahead, ...found.rows.map((row) => ({ call: row, key: row.startKey }))];
  merged.sort(newestFirst);
  const shown = merged.slice(overlap, overlap + page.limit);
  const last = shown.at(-1);
  const hasMore = merged.length > overlap + page.limit || found.next !== null;
  const total = listed.length + found.total;
  return {
    rows: shown.map(({ call }) => call),
    total: Math.min(total, MAX_COUNTED),
    totalExact: found.totalExact && total <= MAX_COUNTED,
    next: hasMore && last !== undefined ? { key: last.key, id: last.call.id } : null,
  };
}

/** The records of a page that begins `offset` records from the newest, or behind the cursor. */
async function storedPart(
  request: CallListRequest,
  offset: number,
  limit: number,
): Promise<Page<PhoneCallRow>> {
  const { page, query, live, stored } = request;
  const statuses = statusesOf(query);
  if (statuses?.length === 0) return { rows: [], total: 0, totalExact: true, next: null };
  return stored({
    limit,
    from: 'after' in page.from ? page.from : { offset },
    agentId: query.assistant_id ?? null,
    direction: query.direction ?? null,
    statuses,
    except: live.map((call) => call.id),
  });
}

/** Which records can be in the list; null: any, none: the database need not be asked. */
function statusesOf({ live, status }: PhoneCallsQuery): readonly CallStatus[] | null {
  if (live === true) return [];
  if (status === undefined) return live === false ? FINAL : null;
  return live === false && isLiveStatus(status) ? [] : [status];
}

function isListed(call: LiveCallView, query: PhoneCallsQuery): boolean {
  return (
    query.live !== false &&
    (call.channel === 'phone' || call.channel === 'web') &&
    (query.status === undefined || call.status === query.status) &&
    (query.direction === undefined || call.direction === query.direction) &&
    (query.assistant_id === undefined || call.agentId === query.assistant_id)
  );
}

function entryOfLive(call: LiveCallView): Entry {
  return { call, key: call.startTime.replace(/Z$/, '000Z') };
}

/** True for what a page by cursor has still to show. */
function isBehindCursor(entry: Entry, page: ListPage): boolean {
  if (!('after' in page.from)) return true;
  const { key, id } = page.from.after;
  return newestFirst({ key, call: { id } }, entry) < 0;
}

function newestFirst(
  a: { readonly key: string; readonly call: Pick<CallFacts, 'id'> },
  b: typeof a,
): number {
  if (a.key !== b.key) return a.key < b.key ? 1 : -1;
  if (a.call.id === b.call.id) return 0;
  return a.call.id < b.call.id ? 1 : -1;
}

/** Errors: VALIDATION_FAILED for a cursor that is not of this list. */
export function refuseForeignCursor(page: ListPage): void {
  if ('after' in page.from && !KEY.test(page.from.after.key)) throw invalid('?cursor', 'cursor');
}
