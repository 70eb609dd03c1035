/** Numbers as they are read in English. */
import { bare, grouped } from './rule.ts';

const ONES = (
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen ' +
  'seventeen eighteen nineteen'
).split(' ');
const TENS = '- - twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');
const SCALES = ['', ' thousand', ' million', ' billion', ' trillion'];
const ORDINALS: Readonly<Record<string, string>> = {
  one: 'first',
  two: 'second',
  three: 'third',
  five: 'fifth',
  eight: 'eighth',
  nine: 'ninth',
  twelve: 'twelfth',
};
const MONTHS =
  'January February March April May June July August September October November December'.split(
    ' ',
  );
/** Longer ones are read digit by digit. */
const MAX_DIGITS = 15;

/** Digit by digit; letters one by one. */
export function enDigits(text: string): string {
  return Array.from(text)
    .filter((char) => /[A-Za-z0-9]/.test(char))
    .map((char) => (/\d/.test(char) ? (ONES[Number(char)] ?? '') : char.toUpperCase()))
    .join(' ');
}

/** A telephone number or code, with a pause between its groups. */
export function enCode(text: string): string {
  return grouped(text).map(enDigits).join(', ');
}

/** 1024 -> one thousand twenty-four. Leading zeros or too many digits: digit by digit. */
export function enInteger(written: string): string {
  const digits = bare(written);
  if (/^0\d/.test(digits) || digits.length > MAX_DIGITS) return enDigits(digits);
  let rest = Number(digits);
  if (rest === 0) return 'zero';
  const parts: string[] = [];
  for (const scale of SCALES) {
    const group = rest % 1000;
    if (group > 0) parts.unshift(enGroup(group) + scale);
    rest = Math.floor(rest / 1000);
  }
  return parts.join(' ');
}

function enGroup(value: number): string {
  const hundreds = Math.floor(value / 100);
  const rest = value % 100;
  const said = hundreds === 0 ? [] : [`${ONES[hundreds] ?? ''} hundred`];
  if (rest > 0) said.push(enBelowHundred(rest));
  return said.join(' ');
}

function enBelowHundred(value: number): string {
  if (value < 20) return ONES[value] ?? '';
  const one = value % 10;
  return (TENS[Math.floor(value / 10)] ?? '') + (one === 0 ? '' : `-${ONES[one] ?? ''}`);
}

export function enNumber(written: string): string {
  const [whole = '', part] = written.split('.');
  return enInteger(whole) + (part === undefined ? '' : ` point ${enDigits(part)}`);
}

/** 21 -> twenty-first. */
export function enOrdinal(written: string): string {
  const said = enInteger(String(Number(bare(written))));
  const last = /[a-z]+$/.exec(said)?.[0] ?? '';
  return said.slice(0, said.length - last.length) + ordinalOf(last);
}

function ordinalOf(word: string): string {
  const known = ORDINALS[word];
  if (known !== undefined) return known;
  return word.endsWith('y') ? `${word.slice(0, -1)}ieth` : `${word}th`;
}

/** 2026 -> twenty twenty-six, 2005 -> two thousand five, 1900 -> nineteen hundred. Four digits. */
export function enYear(written: string): string {
  const value = Number(written);
  const century = Math.floor(value / 100);
  const rest = value % 100;
  if (value % 1000 < 10) return enInteger(written);
  if (rest === 0) return `${enBelowHundred(century)} hundred`;
  const low = rest < 10 ? `oh ${ONES[rest] ?? ''}` : enBelowHundred(rest);
  return `${enBelowHundred(century)} ${low}`;
}

/** 1990 -> nineteen nineties, 90 -> nineties. */
export function enDecade(written: string): string {
  const said = written.length === 4 ? enYear(written) : enInteger(written);
  return said.endsWith('y') ? `${said.slice(0, -1)}ies` : `${said}s`;
}

/** 2026, 11, 21 -> November twenty-first, twenty twenty-six; year and day may be empty. */
export function enDate(year: string, month: number, day: string): string {
  const name = MONTHS[month - 1] ?? '';
  const date = day === '' ? name : `${name} ${enOrdinal(day)}`;
  if (year === '') return date;
  return `${date}${day === '' ? '' : ','} ${enYear(year)}`;
}

/** 10, 05 -> ten oh five. `half`: AM or PM. */
export function enTime(hour: string, minute: string, exact = '', half = ''): string {
  const second = exact === '00' ? '' : exact;
  const h = Number(hour);
  const m = Number(minute === '' ? '0' : minute);
  const suffix = /^a/i.test(half) ? ' A M' : /^p/i.test(half) ? ' P M' : '';
  const low = m < 10 ? `oh ${ONES[m] ?? ''}` : enBelowHundred(m);
  const whole = suffix !== '' ? '' : h > 12 || h === 0 ? ' hundred' : " o'clock";
  const said = `${enInteger(String(h))}${m === 0 ? (second === '' ? whole : ' hundred') : ` ${low}`}`;
  const seconds = second === '' ? '' : ` and ${plural(second, 'second')}`;
  return said + seconds + suffix;
}

/** 1 dollar, 2 dollars. */
export function plural(written: string, one: string, many = `${one}s`): string {
  return `${enNumber(written)} ${bare(written) === '1' ? one : many}`;
}

/** 12.50 -> twelve dollars and fifty cents. */
export function enMoney(written: string, [one, many, small, smalls]: readonly string[]): string {
  const amount = bare(written);
  const [whole = '', part = ''] = amount.split('.');
  if (part === '00' || part === '0') return plural(whole, one ?? '', many);
  if (small === undefined || smalls === undefined || part.length !== 2) {
    return plural(amount.replace(/(\.\d*?)0+$/, '$1'), one ?? '', many);
  }
  const cents = plural(String(Number(part)), small, smalls);
  return Number(whole) === 0 ? cents : `${plural(whole, one ?? '', many)} and ${cents}`;
}

const HALVES: Readonly<Record<string, readonly [string, string]>> = {
  2: ['half', 'halves'],
  4: ['quarter', 'quarters'],
};

/** 3/4 -> three quarters; 7/16 -> seven sixteenths; 5/120 -> five over one hundred twenty. */
export function enFraction(top: string, bottom: string): string {
  if (Number(bottom) > 100 || Number(bottom) < 2)
    return `${enInteger(top)} over ${enInteger(bottom)}`;
  const [one, many] = HALVES[bottom] ?? [enOrdinal(bottom), `${enOrdinal(bottom)}s`];
  return `${enInteger(top)} ${Number(top) === 1 ? one : many}`;
}
