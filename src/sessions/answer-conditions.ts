/** The conditions of an answer rule (contract section 5), made ready once and tested for each call. */
import type {
  AccountCalendar,
  CallFacts,
  Conditions,
  DateSpan,
  NumberList,
  TimeRange,
} from '#lib/answer-rule.ts';
import { foldApp } from '#lib/app-name.ts';
import { comparablePhone, normalizePhone, normalizePhonePrefix, phoneForms } from '#lib/phone.ts';
import { wallTimeAt, type WallTime } from '#lib/wall-time.ts';

export type CompiledCondition = {
  readonly name: keyof Conditions;
  holds(call: ReadFacts): boolean;
};

/** A call's facts in the forms that conditions compare, read once for all rules. */
export type ReadFacts = {
  /** Comparable form; null for a call without a usable number. */
  readonly caller: ComparedNumber | null;
  readonly called: ComparedNumber | null;
  /** Folded; null for a call without an app. */
  readonly app: string | null;
  wallTime(timeZone: string): WallTime;
};

type ComparedNumber = {
  readonly text: string;
  /** By length: the beginnings of the number in each form in which it may be written. */
  readonly beginnings: readonly (readonly string[])[];
};

const DAY_MINUTES = 24 * 60;
const DAY_MS = 86_400_000;

export function readFacts(facts: CallFacts, calendar: AccountCalendar): ReadFacts {
  const { countryCode } = calendar;
  const walls = new Map<string, WallTime>();
  return {
    caller: facts.anonymous ? null : comparedNumber(facts.callerNumber, countryCode),
    called: comparedNumber(facts.calledNumber, countryCode),
    app: facts.callerApp === null ? null : foldApp(facts.callerApp) || null,
    wallTime(timeZone) {
      let wall = walls.get(timeZone);
      if (wall === undefined) walls.set(timeZone, (wall = wallTimeAt(facts.atMs, timeZone)));
      return wall;
    },
  };
}

/** Errors: anything thrown for conditions of another shape than section 5 has. */
export function compileConditions(
  conditions: Conditions,
  calendar: AccountCalendar,
): CompiledCondition[] {
  const { timeRange, dates, apps, callers, calledNumbers } = conditions;
  const compiled: CompiledCondition[] = [];
  const timeZone = timeRange?.timezone ?? calendar.timezone;
  const beganOn = dayOf(timeRange, timeZone);
  if (timeRange !== undefined) {
    compiled.push({ name: 'timeRange', holds: timeTest(timeRange, beganOn, calendar) });
  }
  if (dates !== undefined) {
    compiled.push({ name: 'dates', holds: dateTest(dates, beganOn, calendar) });
  }
  if (apps !== undefined) {
    const listed = new Set(apps.list.map(foldApp));
    const wanted = isInclude(apps.type);
    compiled.push({
      name: 'apps',
      holds: ({ app }) => (app !== null && listed.has(app)) === wanted,
    });
  }
  if (callers !== undefined) {
    const isListed = numberTest(callers, calendar.countryCode);
    const wanted = isInclude(callers.type);
    const anonymous = callers.anonymous ?? false;
    compiled.push({
      name: 'callers',
      holds: ({ caller }) => (caller === null ? anonymous : isListed(caller)) === wanted,
    });
  }
  if (calledNumbers !== undefined) {
    const isListed = numberTest(calledNumbers, calendar.countryCode);
    const wanted = isInclude(calledNumbers.type);
    compiled.push({
      name: 'calledNumbers',
      holds: ({ called }) => (called !== null && isListed(called)) === wanted,
    });
  }
  return compiled;
}

/** The local day that weekdays and dates are tested on, as UTC midnight in ms; null outside the range. */
type BeganOn = (call: ReadFacts) => number | null;

function dayOf(range: TimeRange | undefined, timeZone: string): BeganOn {
  if (range === undefined) return (call) => call.wallTime(timeZone).dayMs;
  const [start, end] = [minuteOf(range.start), minuteOf(range.end)];
  return (call) => {
    const { dayMs, minute } = call.wallTime(timeZone);
    if (start === end) return dayMs;
    if (start < end) return minute >= start && minute < end ? dayMs : null;
    if (minute >= start) return dayMs;
    // After midnight the day is the one on which the range began.
    return minute < end ? dayMs - DAY_MS : null;
  };
}

function timeTest(
  range: TimeRange,
  beganOn: BeganOn,
  calendar: AccountCalendar,
): CompiledCondition['holds'] {
  if (range.weekdays === undefined) return (call) => beganOn(call) !== null;
  const weekdays = new Set(range.weekdays);
  const hasWorkday = [1, 2, 3, 4, 5].some((weekday) => weekdays.has(weekday));
  const workDays = daysOfKind(calendar, 'work');
  return (call) => {
    const dayMs = beganOn(call);
    if (dayMs === null) return false;
    return workDays.has(dayMs) ? hasWorkday : weekdays.has(weekdayOf(dayMs));
  };
}

function dateTest(
  dates: NonNullable<Conditions['dates']>,
  beganOn: BeganOn,
  calendar: AccountCalendar,
): CompiledCondition['holds'] {
  const include = dates.include?.map(spanOf);
  const exclude = (dates.exclude ?? []).map(spanOf);
  const offDays = daysOfKind(calendar, 'off');
  return (call) => {
    const dayMs = beganOn(call);
    if (dayMs === null) return false;
    const isIn = ([firstMs, lastMs]: readonly [number, number]): boolean =>
      dayMs >= firstMs && dayMs <= lastMs;
    if (include !== undefined && !include.some(isIn)) return false;
    if (exclude.some(isIn)) return false;
    return dates.holidays === undefined || offDays.has(dayMs) === (dates.holidays === 'only');
  };
}

function daysOfKind(calendar: AccountCalendar, kind: 'off' | 'work'): ReadonlySet<number> {
  const days = calendar.holidays.filter((holiday) => holiday.kind === kind);
  return new Set(days.map(({ date }) => dayMsOf(date)));
}

function spanOf(span: DateSpan): readonly [number, number] {
  const [first, last] = typeof span === 'string' ? [span, span] : span;
  return [dayMsOf(first), dayMsOf(last)];
}

function dayMsOf(date: string): number {
  const ms = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(ms)) throw new TypeError('a date is not YYYY-MM-DD');
  return ms;
}

function minuteOf(time: string): number {
  const [, hours, minutes] = /^(\d{2}):(\d{2})$/.exec(time) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  if (!(minute <= DAY_MINUTES)) throw new TypeError('a time is not HH:mm');
  return minute;
}

/** 1 = Monday … 7 = Sunday; 1970-01-01 was a Thursday. */
function weekdayOf(dayMs: number): number {
  return ((((dayMs / DAY_MS + 3) % 7) + 7) % 7) + 1;
}

function isInclude(type: 'include' | 'exclude'): boolean {
  if (type !== 'include' && type !== 'exclude') throw new TypeError('a list has no known type');
  return type === 'include';
}

function numberTest(
  list: Pick<NumberList, 'numbers' | 'prefixes'>,
  countryCode: string | null,
): (number: ComparedNumber) => boolean {
  const numbers = new Set<string>();
  for (const text of list.numbers ?? []) {
    const compared = comparableOf(text, countryCode);
    if (compared !== null) numbers.add(compared);
  }
  // A prefix written nationally means the numbers of the account's country: `0571` is `+86571` there (contract 1.1).
  const prefixes = new Set((list.prefixes ?? []).map((text) => normalizePhonePrefix(text) ?? text));
  // A hundred prefixes have few different lengths: one look-up for each instead of one comparison for each prefix.
  const lengths = [...new Set([...prefixes].map((prefix) => prefix.length))];
  return ({ text, beginnings }) =>
    numbers.has(text) ||
    lengths.some((length) => {
      return beginnings[length]?.some((beginning) => prefixes.has(beginning)) === true;
    });
}

/** Null for what is no number, such as `anonymous` or a name. */
function comparedNumber(given: string | null, countryCode: string | null): ComparedNumber | null {
  const text = given === null ? null : comparableOf(given, countryCode);
  if (text === null) return null;
  const forms = phoneForms(text, countryCode);
  const longest = Math.max(...forms.map((form) => form.length));
  const beginnings = Array.from({ length: longest + 1 }, (_, length) => [
    ...new Set(forms.filter((form) => form.length >= length).map((form) => form.slice(0, length))),
  ]);
  return { text, beginnings };
}

function comparableOf(text: string, countryCode: string | null): string | null {
  const normal = normalizePhone(text);
  return normal === null ? null : comparablePhone(normal, countryCode);
}
