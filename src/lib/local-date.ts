/** Calendar days of a time zone as instants: what a `Date` filter of the contract (1.1) means. */

const DAY_MS = 86_400_000;
const SHAPE = /^(?:19|2\d)\d{2}-\d{2}-\d{2}$/;
const formatters = new Map<string, Intl.DateTimeFormat>();

/** True for a day that exists, written `YYYY-MM-DD`, in the years 1900 to 2999. */
export function isLocalDate(text: string): boolean {
  if (!SHAPE.test(text)) return false;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

/** The day after `date`. */
export function nextLocalDate(date: string): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + DAY_MS).toISOString().slice(0, 10);
}

/**
 * Unix ms of the first second of `date` in `timeZone` (IANA name), also where the clocks skip midnight.
 * Searches, because an offset cannot be asked for by local time.
 */
export function startOfLocalDate(date: string, timeZone: string): number {
  const utcMidnightMs = Date.parse(`${date}T00:00:00Z`);
  let beforeS = utcMidnightMs / 1000 - 26 * 3600;
  let afterS = utcMidnightMs / 1000 + 26 * 3600;
  while (afterS - beforeS > 1) {
    const middleS = Math.floor((beforeS + afterS) / 2);
    if (localDateAt(middleS * 1000, timeZone) < date) beforeS = middleS;
    else afterS = middleS;
  }
  return afterS * 1000;
}

/** The day that `timeZone` has at the instant `ms`. */
export function localDateAt(ms: number, timeZone: string): string {
  const parts = formatterFor(timeZone).formatToParts(ms);
  const part = (type: string): string => parts.find((each) => each.type === type)?.value ?? '';
  return `${part('year').padStart(4, '0')}-${part('month')}-${part('day')}`;
}

/** Making a formatter costs far more than using it; there are only as many as there are time zones. */
function formatterFor(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-CA', {
      timeZone,
      calendar: 'gregory',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}
