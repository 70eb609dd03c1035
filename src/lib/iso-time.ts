/** Instants as clients send them (contract 1.1). */
import { isLocalDate } from './local-date.ts';

const TIME =
  /^(\d{4}-\d{2}-\d{2})[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Unix ms of an ISO-8601 time with `Z` or an offset, in the years 1900 to 2999; null for anything else. */
export function parseIsoTime(text: string): number | null {
  const day = TIME.exec(text)?.[1];
  if (day === undefined || !isLocalDate(day)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
