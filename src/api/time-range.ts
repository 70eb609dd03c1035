/** `from` and `to` of a list: times, or days of the account's zone (contract 1.1). */
import { Type } from 'typebox';
import { isLocalDate, nextLocalDate, startOfLocalDate } from '#lib/local-date.ts';
import { invalid } from './problem.ts';

export const timeRangeFields = {
  from: Type.Optional(
    Type.String({
      ...{ maxLength: 40, examples: ['2026-01-01'] },
      description: 'A time (inclusive), or a day of the account’s time zone',
    }),
  ),
  to: Type.Optional(
    Type.String({ maxLength: 40, description: 'A time (exclusive), or a day (inclusive)' }),
  ),
};

type RangeQuery = { readonly from?: string; readonly to?: string };

/** ISO-8601 in UTC; null where the range is open. */
export type TimeRange = { readonly from: string | null; readonly before: string | null };

/** True when the query names a day, so that the account's zone is needed. */
export function hasDay({ from, to }: RangeQuery): boolean {
  return [from, to].some((each) => each !== undefined && isLocalDate(each));
}

/** Errors: VALIDATION_FAILED. */
export function timeRangeOf({ from, to }: RangeQuery, zone: string): TimeRange {
  const fromMs = instantOf(from, '?from', (day) => startOfLocalDate(day, zone));
  const beforeMs = instantOf(to, '?to', (day) => startOfLocalDate(nextLocalDate(day), zone));
  if (fromMs !== null && beforeMs !== null && beforeMs < fromMs) throw invalid('?to', 'order');
  return { from: textOf(fromMs), before: textOf(beforeMs) };
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

function textOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
