/**
 * Masking of personal data (contract 7.3) for summaries, logs and viewers. The rules run in a fixed order, each on
 * what the one before left: a phone rule that ran first would cut an identity number in two and leave it readable.
 */
import { isId } from './ids.ts';

const DIGIT = '0-9０-９零〇一幺二三四五六七八九';
/** Spaces and hyphens, also those of Chinese text and of typesetters. */
const GAP = '[ \\u00a0\\u3000\\-\\u2010\\u2011\\u2212\\uff0d]';
const RUN = new RegExp(`[${DIGIT}](?:${GAP}?[${DIGIT}])*(?:${GAP}?[Xx](?![A-Za-z${DIGIT}]))?`, 'g');
/** Every character that counts as a digit, and the digit it is; an X may end an identity number. */
const DIGITS: ReadonlyMap<string, string> = new Map(
  ['0123456789X', '０１２３４５６７８９x', '零一二三四五六七八九', '〇幺'].flatMap((characters) =>
    Array.from(characters, (character, at) => [character, '0123456789X'.charAt(at)] as const),
  ),
);
const EMAIL =
  /(?<![A-Za-z0-9._%+*-])([A-Za-z0-9._%+*-])[A-Za-z0-9._%+*-]*@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})/g;

/** ISO 7064 MOD 11-2 weights of an 18-digit identity number. */
const WEIGHTS = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK_DIGITS = '10X98765432';

/** A stretch of digits, perhaps with single spaces or hyphens inside: the digits and where each one stands. */
type Run = { readonly digits: string; readonly at: readonly number[]; readonly plus: boolean };
/** Which digits of a run are to be hidden: from `start`, `length` digits, all but `head` and `tail`. */
type Hit = { start: number; length: number; head: number; tail: number };
type Rule = (run: Run, start: number) => Hit | null;

/** `text` with identity numbers, payment cards, telephone numbers and e-mail addresses masked. */
export function maskText(text: string): string {
  return maskNumbers(text).replace(EMAIL, '$1***@$2');
}

/** `maskText`, and where a place in the masked text was in the original. */
export function maskWithPlaces(text: string): {
  readonly text: string;
  originalIndex(maskedIndex: number): number;
} {
  /** Only addresses change their length: where each ends in the masked text, and by how much it was longer before. */
  const ends: { readonly at: number; readonly longer: number }[] = [];
  let longer = 0;
  const masked = maskNumbers(text).replace(
    EMAIL,
    (whole: string, first: string, domain: string, at: number) => {
      const short = `${first}***@${domain}`;
      ends.push({
        at: at - longer + short.length,
        longer: (longer += whole.length - short.length),
      });
      return short;
    },
  );
  return {
    text: masked,
    originalIndex: (index) => index + (ends.findLast(({ at }) => at <= index)?.longer ?? 0),
  };
}

/** Digit by digit, so that the text keeps its length. */
function maskNumbers(text: string): string {
  let masked = text;
  for (const rule of [identityNumber, paymentCard, mobileNumber, plusNumber]) {
    masked = applyRule(masked, rule);
  }
  return masked;
}

/** A number on its own (a record's `caller_phone`): also masked when only its place says that it is a number. */
export function maskNumber(number: string): string {
  const user = /^(sips?:)?([^@])[^@]*@(.+)$/i.exec(number);
  if (user !== null) return `${user[1] ?? ''}${user[2] ?? ''}***@${user[3] ?? ''}`;
  const masked = maskText(number);
  if (masked !== number) return masked;
  const digits = number.replace(/[^0-9]/g, '').length;
  if (digits <= 6) return number;
  let seen = 0;
  return number.replace(/[0-9]/g, (digit) => (++seen <= 3 || seen > digits - 2 ? digit : '*'));
}

/** A JSON value with every string in it masked; ids and keys stay. */
export function maskDeep(value: unknown): unknown {
  if (typeof value === 'string') return isId(value) ? value : maskText(value);
  if (typeof value === 'number') return maskNumeric(value);
  if (Array.isArray(value)) return value.map(maskDeep);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, maskDeep(each)]));
}

/** A telephone number written as a JSON number is still one; other numbers stay numbers. */
function maskNumeric(value: number): number | string {
  const masked = maskText(String(value));
  return masked === String(value) ? value : masked;
}

function applyRule(text: string, rule: Rule): string {
  let masked: string[] | null = null;
  for (const match of text.matchAll(RUN)) {
    if (match[0].length < 8) continue;
    const run = runOf(match[0], match.index, /[+＋]/.test(text.charAt(match.index - 1)));
    for (let start = 0; start < run.digits.length; start++) {
      if (!isEdge(run, start)) continue;
      const hit = rule(run, start);
      if (hit === null) continue;
      masked ??= text.split('');
      // Hits may overlap where numbers stand side by side: every one is hidden, rather than the first alone.
      hide(masked, run, hit);
    }
  }
  return masked === null ? text : masked.join('');
}

function hide(characters: string[], run: Run, hit: Hit): void {
  for (let offset = hit.head; offset < hit.length - hit.tail; offset++) {
    const at = run.at[hit.start + offset];
    if (at !== undefined) characters[at] = '*';
  }
}

function runOf(text: string, from: number, plus: boolean): Run {
  const at: number[] = [];
  let digits = '';
  for (let index = 0; index < text.length; index++) {
    const digit = DIGITS.get(text.charAt(index));
    if (digit === undefined) continue;
    digits += digit;
    at.push(from + index);
  }
  return { digits, at, plus };
}

/** True when digit `index` does not touch the digit before it: a separator or the run's end lies between. */
function isEdge(run: Run, index: number): boolean {
  if (index === 0 || index === run.digits.length) return true;
  return (run.at[index] ?? 0) - (run.at[index - 1] ?? 0) > 1;
}

function windowAt(run: Run, start: number, length: number): string | null {
  const end = start + length;
  if (end > run.digits.length) return null;
  // An X that ends the run is no digit, so what stands before it is not touched by one.
  const edge = isEdge(run, end) || run.digits.charAt(end) === 'X';
  return edge ? run.digits.slice(start, end) : null;
}

function identityNumber(run: Run, start: number): Hit | null {
  const long = windowAt(run, start, 18);
  if (long !== null && /^[0-9]{17}[0-9X]$/.test(long)) {
    if (isDay(long.slice(6, 14)) || checkDigitOf(long) === long.charAt(17)) {
      return { start, length: 18, head: 6, tail: 4 };
    }
  }
  const short = windowAt(run, start, 15);
  if (short === null || !/^[0-9]{15}$/.test(short)) return null;
  return isDay(`19${short.slice(6, 12)}`) ? { start, length: 15, head: 6, tail: 4 } : null;
}

function paymentCard(run: Run, start: number): Hit | null {
  for (let length = 19; length >= 13; length--) {
    const digits = windowAt(run, start, length);
    if (digits !== null && !digits.endsWith('X') && passesLuhn(digits)) {
      return { start, length, head: 0, tail: 4 };
    }
  }
  return null;
}

function mobileNumber(run: Run, start: number): Hit | null {
  // Behind a `+` stands a country code: +1 5xx is no mobile number of +86.
  const national = run.plus && start === 0 ? null : windowAt(run, start, 11);
  if (national !== null && /^1[3-9][0-9]{9}$/.test(national)) {
    return { start, length: 11, head: 3, tail: 4 };
  }
  const international = windowAt(run, start, 13);
  if (international === null || !/^861[3-9][0-9]{9}$/.test(international)) return null;
  return { start, length: 13, head: 5, tail: 4 };
}

function plusNumber(run: Run, start: number): Hit | null {
  if (!run.plus || start !== 0) return null;
  for (let length = 15; length >= 8; length--) {
    const digits = windowAt(run, start, length);
    if (digits !== null && /^[0-9]+$/.test(digits)) return { start, length, head: 3, tail: 2 };
  }
  return null;
}

function isDay(text: string): boolean {
  const year = Number(text.slice(0, 4));
  const month = Number(text.slice(4, 6));
  const day = Number(text.slice(6, 8));
  if (year < 1900 || year > 2100 || month < 1 || month > 12 || day < 1) return false;
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}

function checkDigitOf(number: string): string {
  const sum = WEIGHTS.reduce((total, weight, at) => total + weight * Number(number.charAt(at)), 0);
  return CHECK_DIGITS.charAt(sum % 11);
}

function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = digits.charCodeAt(digits.length - 1 - index) - 48;
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
