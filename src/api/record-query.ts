/** The query of the record list (contract 1.7, 2.1): pages, cursors, days of the account's zone, filters. */
import { Type, type Static } from 'typebox';
import { isId } from '#lib/ids.ts';
import { isLocalDate, nextLocalDate, startOfLocalDate } from '#lib/local-date.ts';
import { normalizePhonePrefix } from '#lib/phone.ts';
import type { Caller } from './auth.ts';
import type { RecordPage, RecordPosition, RecordQuery } from '#lib/call-record.ts';
import { invalid } from './problem.ts';
import {
  ChannelSchema,
  DirectionSchema,
  HangupReasonSchema,
  IdSchema,
  OutcomeSchema,
  StatusSchema,
  type Pagination,
} from './schemas.ts';

const DAY_MS = 86_400_000;
const MAX_ROWS_BY_PAGE = 10_000;
const SEARCH_MAX_DAYS = 31;
const DEFAULT_PAGE_SIZE = 20;

export const RecordListQuery = Type.Object(
  {
    page: Type.Optional(Type.Integer({ minimum: 1, description: 'Default 1; not with `cursor`' })),
    page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20' })),
    cursor: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: '`next_cursor` of the last answer',
      }),
    ),
    agent_id: Type.Optional(IdSchema),
    start_date: Type.Optional(
      Type.String({
        maxLength: 40,
        description: 'A time (inclusive), or a day of the account’s time zone',
        examples: ['2026-01-01'],
      }),
    ),
    end_date: Type.Optional(
      Type.String({ maxLength: 40, description: 'A time (exclusive), or a day (inclusive)' }),
    ),
    direction: Type.Optional(DirectionSchema),
    status: Type.Optional(StatusSchema),
    hangup_reason: Type.Optional(HangupReasonSchema),
    outcome: Type.Optional(OutcomeSchema),
    channel: Type.Optional(ChannelSchema),
    caller_phone: Type.Optional(Type.String({ maxLength: 50, description: 'A prefix' })),
    customer_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    campaign_id: Type.Optional(IdSchema),
    q: Type.Optional(
      Type.String({
        minLength: 2,
        maxLength: 64,
        description: 'A part of name, number or summary; needs a range of at most 31 days',
      }),
    ),
  },
  { additionalProperties: false },
);
export type RecordListQuery = Static<typeof RecordListQuery>;

type Page = {
  readonly number: number;
  readonly size: number;
  readonly from: RecordQuery['from'];
};

/** The store's query for a request. Errors: VALIDATION_FAILED. */
export function recordQueryOf(
  query: RecordListQuery,
  caller: Caller,
  zone: string,
  nowMs: number,
): { readonly page: Page; readonly query: RecordQuery } {
  const page = pageOf(query);
  const range = rangeOf(query, zone);
  if (query.q !== undefined) refuseLongSearch(range, nowMs);
  return {
    page,
    query: {
      limit: page.size,
      from: page.from,
      agentIds: caller.agentIds,
      agentId: query.agent_id ?? null,
      startFrom: timeOf(range.fromMs),
      startBefore: timeOf(range.beforeMs),
      direction: query.direction ?? null,
      status: query.status ?? null,
      hangupReason: query.hangup_reason ?? null,
      outcome: query.outcome ?? null,
      // Text conversations are listed only when asked for.
      channels: query.channel === undefined ? ['phone', 'web', 'external'] : [query.channel],
      callerPhonePrefix: prefixOf(query.caller_phone),
      customerId: query.customer_id ?? null,
      campaignId: query.campaign_id ?? null,
      search: query.q ?? null,
    },
  };
}

export function paginationOf(page: Page, found: RecordPage): Pagination {
  return {
    page: page.number,
    page_size: page.size,
    total: found.total,
    total_exact: found.totalExact,
    total_pages: Math.ceil(found.total / page.size),
    has_next: found.next !== null,
    next_cursor: found.next === null ? null : cursorOf(page.number + 1, found.next),
  };
}

/** True when the query names a day, so that the account's zone is needed. */
export function namesDay(query: RecordListQuery): boolean {
  return [query.start_date, query.end_date].some((each) => each !== undefined && isLocalDate(each));
}

function pageOf(query: RecordListQuery): Page {
  const size = query.page_size ?? DEFAULT_PAGE_SIZE;
  if (query.cursor !== undefined) {
    if (query.page !== undefined) throw invalid('?cursor', 'exclusive', { other: 'page' });
    const { page, after } = positionOf(query.cursor);
    return { number: page, size, from: { after } };
  }
  const number = query.page ?? 1;
  if (number * size > MAX_ROWS_BY_PAGE) {
    throw invalid('?page', 'maximum', { limit: Math.floor(MAX_ROWS_BY_PAGE / size) });
  }
  return { number, size, from: { offset: (number - 1) * size } };
}

/** A cursor is the page it leads to and the row before it: opaque to clients, and safe to have forged. */
function cursorOf(page: number, after: RecordPosition): string {
  return Buffer.from(`1|${page}|${after.startTime}|${after.id}`).toString('base64url');
}

/** ISO-8601, or a timestamptz as Postgres writes it: a space for the T, an offset of hours alone. */
const POSITION_TIME =
  /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.\d{1,6})?(?:Z|[+-]\d{2}(?::\d{2}){0,2})$/;

function positionOf(cursor: string): { readonly page: number; readonly after: RecordPosition } {
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const [version, page = '', startTime = '', id = '', ...rest] = text.split('|');
  const [, day = '', time = ''] = POSITION_TIME.exec(startTime) ?? [];
  const isTime = isLocalDate(day) && !Number.isNaN(Date.parse(`${day}T${time}Z`));
  const isWhole = version === '1' && rest.length === 0 && /^[1-9]\d{0,8}$/.test(page);
  if (!isWhole || !isTime || !isId(id)) throw invalid('?cursor', 'cursor');
  return { page: Number(page), after: { startTime, id } };
}

type Range = { readonly fromMs: number | null; readonly beforeMs: number | null };

function rangeOf(query: RecordListQuery, zone: string): Range {
  const fromMs = instantOf(query.start_date, '?start_date', (day) => startOfLocalDate(day, zone));
  const beforeMs = instantOf(query.end_date, '?end_date', (day) =>
    startOfLocalDate(nextLocalDate(day), zone),
  );
  if (fromMs !== null && beforeMs !== null && beforeMs < fromMs) {
    throw invalid('?end_date', 'order');
  }
  return { fromMs, beforeMs };
}

const TIME =
  /^(\d{4}-\d{2}-\d{2})[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

function instantOf(
  text: string | undefined,
  path: string,
  ofDay: (day: string) => number,
): number | null {
  if (text === undefined) return null;
  if (isLocalDate(text)) return ofDay(text);
  // A `+` that was not escaped in the URL arrives as a space.
  const time = text.replace(/ (?=\d{2}:\d{2}$)/, '+');
  const day = TIME.exec(time)?.[1];
  const ms = day !== undefined && isLocalDate(day) ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid(path, 'time');
  return ms;
}

/** A substring search reads every row of its range, so the range is bounded; an open end is now. */
function refuseLongSearch(range: Range, nowMs: number): void {
  const endMs = range.beforeMs ?? nowMs;
  // One day more is allowed for the hour that a change of clocks adds to 31 local days.
  const maxMs = SEARCH_MAX_DAYS * DAY_MS + 3_600_000;
  if (range.fromMs === null || endMs - range.fromMs > maxMs) {
    throw invalid('?q', 'span', { limit: SEARCH_MAX_DAYS });
  }
}

function prefixOf(text: string | undefined): string | null {
  if (text === undefined || text === '') return null;
  const prefix = normalizePhonePrefix(text);
  if (prefix === null) throw invalid('?caller_phone', 'phone');
  return prefix === '' ? null : prefix;
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
