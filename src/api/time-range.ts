/** `from` and `to` of a list: times, or days of the account's zone (contract 1.1). */
import { Type } from 'typebox';
import { parseIsoTime } from '#lib/iso-time.ts';
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

type RangeQuery = { readonly from?: string | undefined; readonly to?: string | undefined };

/** Unix ms, `beforeMs` exclusive; null where the range is open. */
export type TimeRange = { readonly fromMs: number | null; readonly beforeMs: number | null };

/** True when the query names a day, so that the account's zone is needed. */
export function hasDay({ from, to }: RangeQuery): boolean {
  return [from, to].some((each) => each !== undefined && isLocalDate(each));
}

/** `names` are the parameters as the route spells them. Errors: VALIDATION_FAILED. */
export function timeRangeOf(
  { from, to }: RangeQuery,
  zone: string,
  names: { readonly from: string; readonly to: string } = { from: '?from', to: '?to' },
): TimeRange {
  const fromMs = instantOf(from, names.from, (day) => startOfLocalDate(day, zone));
  const beforeMs = instantOf(to, names.to, (day) => startOfLocalDate(nextLocalDate(day), zone));
  if (fromMs === null || beforeMs === null) return { fromMs, beforeMs };
  // A day ends just before the instant that bounds it.
  const endMs = isLocalDate(to ?? '') ? beforeMs - 1 : beforeMs;
  if (endMs < fromMs) throw invalid(names.to, 'order');
  return { fromMs, beforeMs };
}

function instantOf(
  text: string | undefined,
  path: string,
  ofDay: (day: string) => number,
): number | null {
  if (text === undefined) return null;
  if (isLocalDate(text)) return ofDay(text);
  // A `+` that was not escaped in the URL arrives as a space.
  const ms = parseIsoTime(text.replace(/ (?=\d{2}:\d{2}$)/, '+'));
  if (ms === null) throw invalid(path, 'time');
  return ms;
}

/** ISO-8601 in UTC. */
export function isoOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
