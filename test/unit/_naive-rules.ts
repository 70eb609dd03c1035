/**
 * A second matcher of answer rules, written from section 5 of the contract and sharing no code with the first: it works
 * on the strings a clock shows, walks days one by one and asks every question anew. Slow, and meant to be.
 */
import type { AccountCalendar, AnswerRule, CallFacts, DateSpan } from '#lib/answer-rule.ts';

export type NaiveDecision = {
  readonly ruleId: string | null;
  /** Every rule looked at, with the first condition that did not hold. */
  readonly looked: readonly (readonly [string, string | null])[];
};

const formats = new Map<string, Intl.DateTimeFormat>();

/** `YYYY-MM-DD HH:mm` as the wall shows it. Swedish writes it that way. */
function wallText(atMs: number, zone: string): string {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('sv-SE', {
      timeZone: zone,
      dateStyle: 'short',
      timeStyle: 'short',
    });
    formats.set(zone, format);
  }
  return format.format(new Date(atMs));
}

/** The day before, found by counting down the days of the month. */
function dayBefore(day: string): string {
  const [year = 0, month = 0, date = 0] = day.split('-').map(Number);
  const pad = (value: number, width = 2): string => String(value).padStart(width, '0');
  if (date > 1) return `${pad(year, 4)}-${pad(month)}-${pad(date - 1)}`;
  if (month === 1) return `${pad(year - 1, 4)}-12-31`;
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return `${pad(year, 4)}-${pad(month - 1)}-${pad(lengths[month - 2] ?? 0)}`;
}

/** Zeller's congruence, turned to 1 = Monday … 7 = Sunday. */
function weekdayNumber(day: string): number {
  let [year = 0, month = 0, date = 0] = day.split('-').map(Number);
  if (month < 3) {
    month += 12;
    year -= 1;
  }
  const k = year % 100;
  const j = Math.floor(year / 100);
  const h =
    (date +
      Math.floor((13 * (month + 1)) / 5) +
      k +
      Math.floor(k / 4) +
      Math.floor(j / 4) +
      5 * j) %
    7;
  // Zeller: 0 = Saturday, 1 = Sunday, 2 = Monday …
  return ((h + 5) % 7) + 1;
}

/** The day a call belongs to under the range, or null when the clock is outside it. */
function dayUnder(rule: AnswerRule, facts: CallFacts, calendar: AccountCalendar): string | null {
  const range = rule.conditions.timeRange;
  const shown = wallText(facts.atMs, range?.timezone ?? calendar.timezone);
  const [day = '', time = ''] = shown.split(' ');
  if (range === undefined) return day;
  const { start, end } = range;
  // `HH:mm` compares as text; `24:00` is above every time.
  if (start === end) return day;
  if (start < end) return start <= time && time < end ? day : null;
  if (time >= start) return day;
  return time < end ? dayBefore(day) : null;
}

function spanHolds(span: DateSpan, day: string): boolean {
  return typeof span === 'string' ? span === day : span[0] <= day && day <= span[1];
}

/** `+` form by the words of 1.1. */
function plusForm(text: string | null, code: string | null): string | null {
  if (text === null) return null;
  let number = text
    .split('')
    .filter((sign) => !' -().'.includes(sign))
    .join('');
  if (number.startsWith('00')) number = `+${number.slice(2)}`;
  const digits = number.startsWith('+') ? number.slice(1) : number;
  if (digits.length < 2 || digits.length > 32) return null;
  if (digits.split('').some((sign) => !'0123456789*#'.includes(sign))) return null;
  const isPlain = number.split('').every((sign) => '0123456789'.includes(sign));
  if (!isPlain || number.length <= 6 || code === null) return number;
  return `+${code}${number.startsWith('0') ? number.slice(1) : number}`;
}

function listedNumber(
  number: string,
  list: { numbers?: readonly string[]; prefixes?: readonly string[] },
  code: string | null,
): boolean {
  for (const each of list.numbers ?? []) if (plusForm(each, code) === number) return true;
  for (const each of list.prefixes ?? []) {
    if (number.slice(0, each.length) === each) return true;
    // Written nationally: with the country's code in place of one leading 0.
    const isPlain = each.split('').every((sign) => '0123456789'.includes(sign));
    if (!isPlain || code === null || !number.startsWith(`+${code}`)) continue;
    const national = number.slice(code.length + 1);
    if (national.length <= 6) continue;
    if (national.startsWith(each) || `0${national}`.startsWith(each)) return true;
  }
  return false;
}

function firstFailure(
  rule: AnswerRule,
  facts: CallFacts,
  calendar: AccountCalendar,
): string | null {
  const { timeRange, dates, apps, callers, calledNumbers } = rule.conditions;
  const kindOf = (day: string, kind: string): boolean =>
    calendar.holidays.some((holiday) => holiday.date === day && holiday.kind === kind);
  const day = dayUnder(rule, facts, calendar);
  if (timeRange !== undefined) {
    if (day === null) return 'timeRange';
    const wanted = timeRange.weekdays;
    if (wanted !== undefined) {
      const isGood = kindOf(day, 'work')
        ? wanted.some((weekday) => weekday <= 5)
        : wanted.includes(weekdayNumber(day));
      if (!isGood) return 'timeRange';
    }
  }
  if (dates !== undefined && day !== null) {
    if (dates.include !== undefined && !dates.include.some((span) => spanHolds(span, day)))
      return 'dates';
    if (dates.exclude?.some((span) => spanHolds(span, day)) === true) return 'dates';
    if (dates.holidays === 'only' && !kindOf(day, 'off')) return 'dates';
    if (dates.holidays === 'except' && kindOf(day, 'off')) return 'dates';
  }
  const fold = (name: string): string => name.normalize('NFKC').trim().toLowerCase();
  if (apps !== undefined) {
    const app = facts.callerApp === null ? '' : fold(facts.callerApp);
    const isListed = app !== '' && apps.list.some((each) => fold(each) === app);
    if (apps.type === 'include' ? !isListed : isListed) return 'apps';
  }
  const code = calendar.countryCode;
  if (callers !== undefined) {
    const number = facts.anonymous ? null : plusForm(facts.callerNumber, code);
    const isListed =
      number === null ? callers.anonymous === true : listedNumber(number, callers, code);
    if (callers.type === 'include' ? !isListed : isListed) return 'callers';
  }
  if (calledNumbers !== undefined) {
    const number = plusForm(facts.calledNumber, code);
    const isListed = number !== null && listedNumber(number, calledNumbers, code);
    if (calledNumbers.type === 'include' ? !isListed : isListed) return 'calledNumbers';
  }
  return null;
}

export function naiveDecision(
  rules: readonly AnswerRule[],
  facts: CallFacts,
  calendar: AccountCalendar,
): NaiveDecision {
  const looked: [string, string | null][] = [];
  let rest = rules.filter((rule) => rule.enabled);
  while (rest.length > 0) {
    let first = rest[0] as AnswerRule;
    for (const rule of rest) {
      const isBefore =
        rule.priority < first.priority ||
        (rule.priority === first.priority && rule.createdAt < first.createdAt);
      if (isBefore) first = rule;
    }
    rest = rest.filter((rule) => rule !== first);
    const failed = firstFailure(first, facts, calendar);
    looked.push([first.id, failed]);
    if (failed === null) return { ruleId: first.id, looked };
  }
  return { ruleId: null, looked };
}
