/** The hours in which a campaign calls (contract 2.8), by the clock on the wall of its time zone. */
import type { CampaignWindow } from '#lib/campaign.ts';
import { wallTimeAt } from '#lib/wall-time.ts';

export const DEFAULT_WINDOWS: readonly CampaignWindow[] = [
  { weekdays: [1, 2, 3, 4, 5, 6, 7], start: '09:00', end: '20:00' },
];

const DAY_MS = 86_400_000;

/** `timeZone` is an IANA name, `atMs` Unix time. Errors: RangeError for an unknown zone. */
export function isCallingTime(
  windows: readonly CampaignWindow[] | null,
  timeZone: string,
  atMs: number,
): boolean {
  const { dayMs, minute } = wallTimeAt(atMs, timeZone);
  return (windows ?? DEFAULT_WINDOWS).some(({ weekdays, start, end }) => {
    const [from, to] = [minuteOf(start), minuteOf(end)];
    const isToday = minute >= from && (to <= from || minute < to);
    // What began yesterday and ends today.
    const isYesterday = to <= from && minute < to;
    return (
      (isToday && weekdays.includes(weekdayOf(dayMs))) ||
      (isYesterday && weekdays.includes(weekdayOf(dayMs - DAY_MS)))
    );
  });
}

/** 1 = Monday … 7 = Sunday; the first of January 1970 was a Thursday. */
function weekdayOf(dayMs: number): number {
  return ((Math.floor(dayMs / DAY_MS) + 3) % 7) + 1;
}

function minuteOf(text: string): number {
  const [hour = '0', minute = '0'] = text.split(':');
  return Number(hour) * 60 + Number(minute);
}
