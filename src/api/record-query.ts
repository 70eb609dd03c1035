/** The query of the record list (contract 1.7, 2.1): pages, cursors, days of the account's zone, filters. */
import { Type, type Static } from 'typebox';
import { maskText } from '#lib/mask.ts';
import { normalizePhonePrefix } from '#lib/phone.ts';
import type { Caller } from './auth.ts';
import type { RecordQuery } from '#lib/call-record.ts';
import { pageFields, pageOf, type ListPage } from './paging.ts';
import { invalid } from './problem.ts';
import {
  ChannelSchema,
  DirectionSchema,
  HangupReasonSchema,
  IdSchema,
  OutcomeSchema,
  StatusSchema,
} from './schemas.ts';
import { hasDay, isoOf, timeRangeFields, timeRangeOf, type TimeRange } from './time-range.ts';

const DAY_MS = 86_400_000;
const SEARCH_MAX_DAYS = 31;
const RANGE_NAMES = { from: '?start_date', to: '?end_date' };
/** What masking (contract 7.3) shows of the beginning of every number. */
const VISIBLE_DIGITS = 3;

export const RecordListQuery = Type.Object(
  {
    ...pageFields,
    agent_id: Type.Optional(IdSchema),
    start_date: timeRangeFields.from,
    end_date: timeRangeFields.to,
    direction: Type.Optional(DirectionSchema),
    status: Type.Optional(StatusSchema),
    hangup_reason: Type.Optional(HangupReasonSchema),
    outcome: Type.Optional(OutcomeSchema),
    channel: Type.Optional(ChannelSchema),
    caller_phone: Type.Optional(
      Type.String({
        maxLength: 50,
        description:
          'A prefix; without `+` also of numbers of the account’s country. A viewer may give 3 digits, which is what masking shows',
      }),
    ),
    customer_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    campaign_id: Type.Optional(IdSchema),
    q: Type.Optional(
      Type.String({
        minLength: 2,
        maxLength: 64,
        description:
          'A part of name, number or summary; needs a range of at most 31 days. For a viewer it is looked for in name and summary alone, digits and mail addresses left out',
      }),
    ),
  },
  { additionalProperties: false },
);
export type RecordListQuery = Static<typeof RecordListQuery>;

/** The store's query for a request. Errors: VALIDATION_FAILED. */
export function recordQueryOf(
  query: RecordListQuery,
  caller: Caller,
  zone: string,
  nowMs: number,
): { readonly page: ListPage; readonly query: RecordQuery } {
  const page = pageOf(query);
  if (caller.role === 'viewer') refuseGuesses(query);
  const range = timeRangeOf({ from: query.start_date, to: query.end_date }, zone, RANGE_NAMES);
  if (query.q !== undefined) refuseLongSearch(range, nowMs);
  return {
    page,
    query: {
      limit: page.limit,
      from: page.from,
      agentIds: caller.agentIds,
      agentId: query.agent_id ?? null,
      startFrom: isoOf(range.fromMs),
      startBefore: isoOf(range.beforeMs),
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
      isSearchMasked: caller.role === 'viewer',
    },
  };
}

/** True when the query names a day, so that the account's zone is needed. */
export function namesDay(query: RecordListQuery): boolean {
  return hasDay({ from: query.start_date, to: query.end_date });
}

/** A filter must not tell a viewer what masking hides: longer and longer prefixes would give every number away. */
function refuseGuesses(query: RecordListQuery): void {
  const { caller_phone: prefix, customer_id: customer } = query;
  const digits = prefix === undefined ? '' : (normalizePhonePrefix(prefix) ?? '').replace('+', '');
  if (digits.length > VISIBLE_DIGITS) {
    throw invalid('?caller_phone', 'masked', { limit: `${VISIBLE_DIGITS} digits` });
  }
  if (customer !== undefined && maskText(customer) !== customer) {
    throw invalid('?customer_id', 'masked', { limit: 'what is shown' });
  }
}

/** A substring search reads every row of its range, so the range is bounded; an open end is now. */
function refuseLongSearch(range: TimeRange, nowMs: number): void {
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
