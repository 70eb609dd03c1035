/** How what is written in figures is said in English: rules, the more special ones first. */
import {
  enCode,
  enDate,
  enDecade,
  enDigits,
  enFraction,
  enInteger,
  enMoney,
  enNumber,
  enOrdinal,
  enTime,
  enYear,
  plural,
} from './en-numbers.ts';
import {
  EN_MONEY,
  EN_MONTHS,
  EN_SIGNS,
  EN_UNITS,
  EN_VULGAR,
  isEnglishCode,
  isEnglishDateCue,
  isYearCue,
  MONTH,
} from './en-words.ts';
import { EN_LINK_SIGNS, MAIL_PATTERN, readLink, trimLink, URL_PATTERN } from './links.ts';
import { bare, DECIMAL, isDay, NUMBER, type Rule } from './rule.ts';

const DASH = '[-–—~～]';
const UNIT = `(?:${EN_UNITS.map(([unit]) => unit.replace(/[/]/g, '\\/')).join('|')})`;
const UNIT_NAMES = new Map(EN_UNITS.map(([unit, ...names]) => [unit, names] as const));
const CURRENCY = '(?:HK\\$|US\\$|[￥¥$€£])';
const CURRENCY_CODE = '(?:CNY|RMB|USD|EUR|GBP|HKD|JPY|元)';
const SCALE = '(thousand|million|billion|trillion|[KkMBT](?![A-Za-z]))';
const SCALES: Readonly<Record<string, string>> = {
  K: 'thousand',
  k: 'thousand',
  M: 'million',
  B: 'billion',
  T: 'trillion',
};
const NEGATIVE = '(?<![\\p{L}\\d.])[-−]';

const LINK = { signs: EN_LINK_SIGNS, digits: enDigits };

function signed(sign: string, read: string): string {
  return sign === '' ? read : `minus ${read}`;
}

function money(sign: string, amount: string, scale: string, currency: string): string {
  const names = EN_MONEY[currency] ?? [];
  if (scale === '') return signed(sign, enMoney(amount, names));
  return signed(sign, `${enNumber(amount)} ${SCALES[scale] ?? scale} ${names[1] ?? ''}`);
}

function currencyOf(matched: string): string {
  return /HK\$|US\$|[￥¥$€£元]|[A-Z]{3}/.exec(matched)?.[0] ?? '';
}

function monthOf(name: string): number {
  return EN_MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1;
}

function date(year: string, month: number, day: string): string | null {
  return isDay(month, day === '' ? 1 : Number(day)) ? enDate(year, month, day) : null;
}

const LINKS: readonly Rule[] = [
  { pattern: MAIL_PATTERN, read: (m) => readLink(m(0), LINK) },
  { pattern: URL_PATTERN, read: (m) => readLink(trimLink(m(0)), LINK) },
  {
    pattern: /(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])/uy,
    read: (m) => [1, 2, 3, 4].map((i) => enDigits(m(i))).join(' dot '),
  },
];

const MONEY: readonly Rule[] = [
  {
    pattern: new RegExp(
      `${CURRENCY}\\s?(${DECIMAL})\\s?${DASH}\\s?${CURRENCY}?(${DECIMAL})(?:\\s?${SCALE})?`,
      'uy',
    ),
    read: (m) => `${enNumber(m(1))} to ${money('', m(2), m(3), currencyOf(m(0)))}`,
  },
  {
    pattern: new RegExp(`(-?)${CURRENCY}(-?)\\s?(${DECIMAL})(?:\\s?${SCALE})?`, 'uy'),
    read: (m) => money(m(1) || m(2), m(3), m(4), currencyOf(m(0))),
  },
  {
    pattern: new RegExp(`${CURRENCY_CODE}\\s?(-?)(${DECIMAL})(?:\\s?${SCALE})?`, 'uy'),
    read: (m) => money(m(1), m(2), m(3), currencyOf(m(0))),
  },
  {
    pattern: new RegExp(
      `(${NEGATIVE})?(${DECIMAL})(?:\\s?${SCALE})?\\s?${CURRENCY_CODE}(?![A-Za-z])`,
      'uy',
    ),
    read: (m) => money(m(1), m(2), m(3), currencyOf(m(0).replace(/^[^A-Z元]*/, ''))),
  },
];

const DATES: readonly Rule[] = [
  {
    pattern: /(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)/uy,
    read: (m) => date(m(1), Number(m(2)), m(3)),
  },
  {
    pattern: /(\d{4})年(\d{1,2})月(?:(\d{1,2})[日号])?/uy,
    read: (m) => date(m(1), Number(m(2)), m(3)),
  },
  { pattern: /T(?=\d\d:\d\d)/uy, read: (_, { before }) => (/\d$/.test(before) ? ' ' : null) },
  {
    pattern: /(\d{1,2})\/(\d{1,2})\/(\d\d)(?![\d/])/uy,
    read: (m) => date((Number(m(3)) < 70 ? '20' : '19') + m(3), Number(m(1)), m(2)),
  },
  {
    pattern: new RegExp(
      `(\\d{1,2})/(\\d{1,2})\\s?${DASH}\\s?(\\d{1,2})/(\\d{1,2})(?![\\d/])`,
      'uy',
    ),
    read: (m) => {
      const [from, to] = [date('', Number(m(1)), m(2)), date('', Number(m(3)), m(4))];
      return from === null || to === null ? null : `${from} to ${to}`;
    },
  },
  {
    // From one day of a month to another.
    pattern: new RegExp(
      `(${MONTH})\\s(\\d{1,2})(?:st|nd|rd|th)?\\s?${DASH}\\s?(\\d{1,2})(?:st|nd|rd|th)?(?:,?\\s(\\d{4}))?(?![\\d:%]|[.,]\\d)`,
      'uy',
    ),
    read: (m) => {
      const from = date('', monthOf(m(1)), m(2));
      if (from === null || !isDay(monthOf(m(1)), Number(m(3)))) return null;
      return `${from} to ${enOrdinal(m(3))}${m(4) === '' ? '' : `, ${enYear(m(4))}`}`;
    },
  },
  {
    // The month first; where that cannot be, the day.
    pattern: /(\d{1,2})([-/])(\d{1,2})\2((?:19|20)\d\d)(?!\d)/uy,
    read: (m) => date(m(4), Number(m(1)), m(3)) ?? date(m(4), Number(m(3)), m(1)),
  },
  {
    pattern: new RegExp(
      `(${MONTH})\\s(\\d{1,2})(?:st|nd|rd|th)?(?:,?\\s(\\d{4})(?!\\d))?(?![\\d:%]|[.,]\\d)`,
      'uy',
    ),
    read: (m) => date(m(3), monthOf(m(1)), m(2)),
  },
  {
    pattern: new RegExp(
      `(\\d{1,2})(?:st|nd|rd|th)?\\s(?:of\\s)?(${MONTH})(?:,?\\s(\\d{4})(?!\\d))?`,
      'uy',
    ),
    read: (m, { before }) => {
      if (!isDay(monthOf(m(2)), Number(m(1)))) return null;
      const the = /\bthe\s*$/i.test(before) ? '' : 'the ';
      return `${the}${enOrdinal(m(1))} of ${enDate(m(3), monthOf(m(2)), '')}`;
    },
  },
  {
    pattern: new RegExp(`(${MONTH})\\s(\\d{4})(?!\\d)`, 'uy'),
    read: (m) => enDate(m(2), monthOf(m(1)), ''),
  },
  {
    pattern: /(\d{1,2})\/(\d{1,2})(?![\d/.%])/uy,
    read: (m, { before, after }) => {
      const isDate = isEnglishDateCue(before, after);
      const isFraction = Number(m(1)) < Number(m(2)) && Number(m(2)) <= 10;
      if (isFraction && !isDate) return null;
      if (/^(?:5\/5|10\/10)$/.test(m(0)) && !isDate)
        return `${enInteger(m(1))} out of ${enInteger(m(2))}`;
      return m(0) === '24/7' ? null : date('', Number(m(1)), m(2));
    },
  },
  { pattern: /((?:1[1-9]|20)\d0)s\b/uy, read: (m) => enDecade(m(1)) },
  { pattern: /['’]?([2-9]0)s\b/uy, read: (m) => enDecade(m(1)) },
  {
    pattern: /((?:1[1-9]|20)\d\d)\s?[-–—]\s?((?:1[1-9]|20)\d\d)(?![\d-])/uy,
    read: (m) => `${enYear(m(1))} to ${enYear(m(2))}`,
  },
  {
    pattern: /((?:1[1-9]|20)\d\d)(?![\d%]|[.,:]\d)/uy,
    read: (m, { before, after }) => {
      const isAlone =
        /^(?:19|20)/.test(m(1)) && /^\s*[A-Z][a-z]+/u.test(after) && /(?:the|The)\s*$/.test(before);
      return isYearCue(before, after) || isAlone ? enYear(m(1)) : null;
    },
  },
];

const HALF_TOLD = '(?:\\s?([AaPp])\\.?[Mm](?:\\.(?!\\s*$))?(?![A-Za-z]))';
const HALF = `${HALF_TOLD}?`;

function isClock(hour: string, minute: string): boolean {
  return Number(hour) <= 24 && Number(minute) <= 59;
}

const TIMES: readonly Rule[] = [
  { pattern: /24\/7\/365/uy, read: () => 'twenty-four seven, three sixty-five' },
  { pattern: /24\/7/uy, read: () => 'twenty-four seven' },
  {
    // Each with its own half of the day.
    pattern: new RegExp(
      `(\\d{1,2})(?::([0-5]\\d))?${HALF_TOLD}\\s?${DASH}\\s?(\\d{1,2})(?::([0-5]\\d))?${HALF_TOLD}`,
      'uy',
    ),
    read: (m) =>
      Number(m(1)) <= 12 && Number(m(4)) <= 12
        ? `${enTime(m(1), m(2), '', m(3))} to ${enTime(m(4), m(5), '', m(6))}`
        : null,
  },
  {
    pattern: new RegExp(
      `(\\d{1,2}):(\\d{2})${HALF}\\s?${DASH}\\s?(\\d{1,2}):(\\d{2})(?![\\d:])${HALF}`,
      'uy',
    ),
    read: (m) => {
      if (!isClock(m(1), m(2)) || !isClock(m(4), m(5))) return null;
      return `${enTime(m(1), m(2), '', m(3))} to ${enTime(m(4), m(5), '', m(6))}`;
    },
  },
  {
    pattern: new RegExp(`(\\d{1,2}):([0-5]\\d)(?::([0-5]\\d))?(?![\\d:])${HALF}`, 'uy'),
    read: (m) => (isClock(m(1), m(2)) ? enTime(m(1), m(2), m(3), m(4)) : null),
  },
  {
    pattern: new RegExp(
      `(\\d{1,2})\\s?${DASH}\\s?(\\d{1,2})\\s?([AaPp])\\.?[Mm](?![A-Za-z])`,
      'uy',
    ),
    read: (m) =>
      Number(m(1)) <= 12 && Number(m(2)) <= 12
        ? `${enInteger(m(1))} to ${enTime(m(2), '', '', m(3))}`
        : null,
  },
  {
    pattern: /(\d{1,2})\s?([AaPp])\.?[Mm](?:\.(?!\s*$))?(?![A-Za-z])/uy,
    read: (m) => (Number(m(1)) <= 12 ? enTime(m(1), '', '', m(2)) : null),
  },
  {
    pattern: /(\d{1,4}):(\d{1,4})(?![\d:])/uy,
    read: (m) => `${enInteger(m(1))} to ${enInteger(m(2))}`,
  },
];

const CODES: readonly Rule[] = [
  {
    pattern: /\+(\d{1,3})[- .]?(\(?\d[\d() .-]{5,16}\d)(?!\d)/uy,
    read: (m) => `plus ${enDigits(m(1))}, ${enCode(m(2))}`,
  },
  { pattern: /(?:1[- .])?\(?\d{3}\)?[- .]\d{3}[- .]\d{4}(?!\d)/uy, read: (m) => enCode(m(0)) },
  { pattern: /1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d.])/uy, read: (m) => phoneOf(m(0)) },
  { pattern: /(?:\d{3}|\d{5})-\d{4}(?![\d-])/uy, read: (m) => enCode(m(0)) },
  {
    pattern: /(\d{1,6})([*xX]{2,12})(\d{2,4})(?!\d)/uy,
    read: (m) => `${enDigits(m(1))}, ${enInteger(String(m(2).length))} stars, ${enDigits(m(3))}`,
  },
  {
    pattern: /([A-Z]{2}) ?(\d{1,4})(?![\d.,:%A-Za-z])/uy,
    read: (m, { before }) =>
      /\b[Ff]light(?: (?:number|no\.))? $/.test(before)
        ? `${enDigits(m(1))} ${enDigits(m(2))}`
        : null,
  },
  { pattern: /0\d{2,3}[- ]\d{7,8}(?!\d)/uy, read: (m) => enCode(m(0)) },
  { pattern: /\d(?: \d){2,31}(?![\d.])/uy, read: (m) => enCode(m(0).replaceAll(' ', '')) },
  { pattern: /\d{4}(?:[ -]\d{4}){2,4}(?:[ -]\d{1,3})?(?!\d)/uy, read: (m) => enCode(m(0)) },
  {
    pattern: /(?:911|999|112|411|311)(?![\d.,:%]|\s?[A-Za-z]*s\b)/uy,
    read: (m, { before }) => (/(?:call|dial|phone|ring)\s*$/i.test(before) ? enDigits(m(0)) : null),
  },
  {
    pattern:
      /#?((?=[A-Za-z-]{0,6}\d)[A-Za-z0-9]{2,32}(?:[- ](?=[A-Za-z-]{0,6}\d)[A-Za-z0-9]{2,16}){0,5})(?![.,:\d]\d|[A-Za-z%])/uy,
    read: (m, { before, after }) =>
      !/\d(?:st|nd|rd|th)$/.test(m(1)) && isEnglishCode(m(1), before, after) ? enCode(m(1)) : null,
  },
];

function phoneOf(written: string): string {
  return enCode(written.replace(/\D/g, ''));
}

const SHARES: readonly Rule[] = [
  {
    pattern: new RegExp(`(${DECIMAL})\\s?%?\\s?${DASH}\\s?(${DECIMAL})\\s?%`, 'uy'),
    read: (m) => `${enNumber(m(1))} to ${enNumber(m(2))} percent`,
  },
  {
    pattern: new RegExp(`(${NEGATIVE})?(${DECIMAL})\\s?%`, 'uy'),
    read: (m) => signed(m(1), `${enNumber(m(2))} percent`),
  },
  {
    pattern: /(\d{1,4}) (\d{1,3})\/(\d{1,3})(?![\d/])/uy,
    read: (m) => {
      const part = fraction(m(2), m(3));
      return part === null
        ? null
        : `${enInteger(m(1))} and ${part.replace(/^one half$/, 'a half').replace(/^one quarter$/, 'a quarter')}`;
    },
  },
  {
    pattern: /(\d{2,3})\/(\d{2,3})(?![\d/])/uy,
    read: (m, { before }) => {
      const [one, other] = [enInteger(m(1)), enInteger(m(2))];
      if (/pressure[^\d.]{0,12}$/i.test(before)) return `${one} over ${other}`;
      return Number(m(1)) + Number(m(2)) === 100 ? `${one} ${other}` : null;
    },
  },
  { pattern: /(\d{1,4})\/(\d{1,4})(?![\d/])/uy, read: (m) => fraction(m(1), m(2)) },
  {
    pattern: /(\d*)([½⅓⅔¼¾⅛])/uy,
    read: (m) => {
      const part = EN_VULGAR[m(2)] ?? '';
      return m(1) === ''
        ? part
        : `${enInteger(m(1))} and ${part.replace(/^one (half|quarter)/, 'a $1')}`;
    },
  },
];

function fraction(top: string, bottom: string): string | null {
  return Number(bottom) === 0 ? null : enFraction(top, String(Number(bottom)));
}

const VERSIONS: readonly Rule[] = [
  // 9-1-1, 3-2-501: no amount has so many parts.
  { pattern: /\d{1,4}(?:-\d{1,5}){2,4}(?![\d-])/uy, read: (m) => enCode(m(0)) },
  {
    pattern: /(?:[Vv]ersion |[Vv](?:er)?\.?\s?)(\d+(?:\.\d+){0,4})(?![\d.]*[A-Za-z])/uy,
    read: (m, { before }) => (/version\s*$/i.test(before) ? '' : 'version ') + dotted(m(1)),
  },
  { pattern: /\d+(?:\.\d+){2,4}(?!\d)/uy, read: (m) => dotted(m(0)) },
];

function dotted(version: string): string {
  return version.split('.').map(enInteger).join(' point ');
}

const AMOUNTS: readonly Rule[] = [
  {
    pattern: new RegExp(
      `(${NEGATIVE})?(${DECIMAL})\\s?${DASH}\\s?([-−]?)(${DECIMAL})\\s?(${UNIT})(?![A-Za-z0-9])`,
      'uy',
    ),
    read: (m) =>
      `${signed(m(1), enNumber(m(2)))} to ${signed(m(3), enNumber(m(4)))} ${UNIT_NAMES.get(m(5))?.[1] ?? ''}`,
  },
  {
    pattern: new RegExp(`(${NEGATIVE})?(${DECIMAL})\\s?(${UNIT})(?![A-Za-z0-9])`, 'uy'),
    read: (m, { before }) => {
      // "5 s" may be anything; "5s" is a time.
      if (/^[-−]?[\d.,]+\s[a-zA-Z]$/.test(m(0)) && !/\s[gmLWV]$/.test(m(0))) return null;
      if (m(3) === 'm' && /[$€£]$/.test(before)) return null;
      const [one, many] = UNIT_NAMES.get(m(3)) ?? [];
      return signed(m(1), plural(m(2), one ?? '', many));
    },
  },
  {
    pattern: new RegExp(`(${DECIMAL})\\s?${DASH}\\s?(${DECIMAL})(?![\\d.]|-\\d)`, 'uy'),
    read: (m) => `${enNumber(m(1))} to ${enNumber(m(2))}`,
  },
  {
    pattern: new RegExp(`(${DECIMAL})\\s?([+×*÷=≥≤><≈≠±x])\\s?(?=\\d)`, 'uy'),
    read: (m) => `${enNumber(m(1))} ${EN_SIGNS[m(2)] ?? ''} `,
  },
  { pattern: /(?:[<>]=?|[≥≤≈±])(?=\s?\d)/uy, read: (m) => `${EN_SIGNS[m(0)] ?? ''} ` },
  { pattern: /(?<![\p{L}\d.)])\.(\d{1,4})(?![\d.])/uy, read: (m) => `point ${enDigits(m(1))}` },
  { pattern: /(\d+\.\d+)M(?![A-Za-z])/uy, read: (m) => `${enNumber(m(1))} million` },
  {
    pattern: /\/\s?(month|mo|year|yr|week|wk|day|hour|hr|night|person|user|seat|minute|min)\b/uy,
    read: (m, { before }) => (/\d[A-Za-z]{0,3}$/.test(before) ? ` per ${PER[m(1)] ?? m(1)}` : null),
  },
  {
    // The keys of a telephone.
    pattern: /(["“']?)([#*])["”']?( (?:key|sign|button))?/uy,
    read: (m, { before }) =>
      m(3) !== '' || /\b(?:press|dial|enter|hit|the) (?:the )?$/i.test(before)
        ? (m(2) === '#' ? 'pound' : 'star') + m(3)
        : null,
  },
  { pattern: /[~～](?=\d)/uy, read: () => 'about ' },
  {
    pattern: new RegExp(`(${NUMBER})\\+(?!\\d)`, 'uy'),
    read: (m) => `more than ${enInteger(m(1))}`,
  },
  {
    pattern: new RegExp(
      `(\\d{1,4})(?:st|nd|rd|th)\\s?${DASH}\\s?(\\d{1,4})(?:st|nd|rd|th)(?![A-Za-z])`,
      'uy',
    ),
    read: (m) => `${enOrdinal(m(1))} to ${enOrdinal(m(2))}`,
  },
  { pattern: /(\d{1,9})(?:st|nd|rd|th)(?![A-Za-z])/uy, read: (m) => enOrdinal(m(1)) },
  { pattern: /(?:No|NO|no)\.\s?(\d+)/uy, read: (m) => `number ${enInteger(m(1))}` },
  {
    pattern: /#(\d{1,9})(?!\d)/uy,
    read: (m) => `number ${m(1).length > 4 ? enCode(m(1)) : enInteger(m(1))}`,
  },
  {
    pattern: new RegExp(`(${DECIMAL})k(?![A-Za-z])`, 'uy'),
    read: (m) => `${enNumber(m(1))} thousand`,
  },
  {
    pattern: new RegExp(`(${DECIMAL})x(?![A-Za-z])`, 'uy'),
    read: (m) => `${enNumber(m(1))} times`,
  },
  { pattern: /第(\d+)/uy, read: (m) => `number ${enInteger(m(1))} ` },
];

const PER: Readonly<Record<string, string>> = {
  mo: 'month',
  yr: 'year',
  wk: 'week',
  hr: 'hour',
  min: 'minute',
};

/** Of letters and digits: digits one by one, except of names with one or two at the end (B2, MP3, G20). */
function mixed(word: string): string | null {
  const simple = /^([A-Za-z]+)(\d{1,2})$/.exec(word);
  if (simple !== null) {
    const [, letters = '', digits = ''] = simple;
    const name = letters.length > 3 || /[a-z]/.test(letters) ? letters : enDigits(letters);
    return `${name} ${enInteger(digits)}`;
  }
  const head = /^(\d{1,3})([A-Z]{1,2})$/.exec(word);
  if (head !== null) return `${enInteger(head[1] ?? '')} ${enDigits(head[2] ?? '')}`;
  const name = /^([A-Za-z]{4,})(\d{3,})$/.exec(word);
  if (name !== null) return `${name[1] ?? ''} ${enDigits(name[2] ?? '')}`;
  return /[A-Z]/.test(word) || /\d{3}/.test(word) ? enCode(word) : null;
}

const WORDS: readonly Rule[] = [
  { pattern: /(UTC|GMT)[-−](\d{1,2})/uy, read: (m) => `${m(1)} minus ${enInteger(m(2))}` },
  {
    pattern: /([A-Z])(\d{1,2})[-–~～]\1(\d{1,2})(?![\dA-Za-z])/uy,
    read: (m) => `${m(1)} ${enInteger(m(2))} to ${m(1)} ${enInteger(m(3))}`,
  },
  {
    pattern: /([4-7])['’′](\d{1,2})(?:["”″]|(?![\d.]))/uy,
    read: (m) => `${enInteger(m(1))} foot ${enInteger(m(2))}`,
  },
  {
    pattern: /(?=[A-Za-z]*\d)[A-Za-z0-9]{1,32}(?![A-Za-z0-9])/uy,
    read: (m) => (/[A-Za-z]/.test(m(0)) ? mixed(m(0)) : null),
  },
  {
    pattern: /([A-Z][A-Za-z]{1,11})-(\d{1,4})(?!\d)/uy,
    read: (m) => `${m(1)} ${m(2).length < 3 ? enInteger(m(2)) : enDigits(m(2))}`,
  },
  { pattern: /([A-Z]{2,3})&(?=[A-Z])/uy, read: (m) => `${enDigits(m(1))} and ` },
  { pattern: /&/uy, read: () => 'and' },
];

const NUMBERS: readonly Rule[] = [
  { pattern: new RegExp(`${NEGATIVE}(${DECIMAL})`, 'uy'), read: (m) => `minus ${enNumber(m(1))}` },
  { pattern: /\+(\d+(?:\.\d+)?)/uy, read: (m) => `plus ${enNumber(m(1))}` },
  {
    pattern: new RegExp(DECIMAL, 'uy'),
    // Nobody says so long a number as an amount, unless it is a round one.
    read: (m) =>
      /^\d{9,}$/.test(m(0)) && !m(0).endsWith('000') ? enCode(m(0)) : enNumber(bare(m(0))),
  },
];

export const EN_RULES: readonly Rule[] = [
  ...LINKS,
  ...MONEY,
  ...TIMES,
  ...SHARES.slice(0, 2),
  ...CODES,
  ...DATES,
  ...VERSIONS,
  ...SHARES.slice(2),
  ...AMOUNTS,
  ...WORDS,
  ...NUMBERS,
];
