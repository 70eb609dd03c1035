/** How what is written in figures is said in Chinese: rules, the more special ones first. */
import { enOrdinal } from './en-numbers.ts';
import { MAIL_PATTERN, readLink, trimLink, URL_PATTERN, ZH_LINK_SIGNS } from './links.ts';
import { bare, DECIMAL, isDay, type Groups, type Rule } from './rule.ts';
import {
  zhCode,
  zhCount,
  zhDate,
  zhDigits,
  zhInteger,
  zhNumber,
  zhTime,
  zhYuan,
} from './zh-numbers.ts';
import {
  COUNTS,
  isCode,
  isDateCue,
  isFlat,
  isScoreCue,
  isShortNumber,
  YEARS_COUNTED,
  ZH_MONEY,
  ZH_SIGNS,
  ZH_UNITS,
  ZH_VULGAR,
} from './zh-words.ts';

const DASH = '[-–—~～至到]';
const UNIT = `(?:${ZH_UNITS.map(([unit]) => unit.replace(/[/]/g, '\\/')).join('|')})`;
const UNIT_NAMES = new Map(ZH_UNITS);
const CURRENCY = '(?:HK\\$|US\\$|[￥¥$€£])';
const CURRENCY_CODE = '(?:CNY|RMB|USD|EUR|GBP|HKD|JPY|TWD)';
const NEGATIVE = '(?<![A-Za-z\\d.)])[-−]';

const LINK = { signs: ZH_LINK_SIGNS, digits: (digits: string) => zhDigits(digits) };

function link(matched: string): string {
  return readLink(matched, LINK);
}

function signed(sign: string, read: string): string {
  return sign === '' ? read : `负${read}`;
}

function money(sign: string, amount: string, scale: string, unit: string): string {
  if (scale !== '') return signed(sign, `${zhNumber(amount)}${scale}${unit}`);
  if (unit === '元') return signed(sign, zhYuan(amount));
  const short = bare(amount)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
  return signed(sign, `${zhCount(short)}${unit}`);
}

function date(year: string, month: string, day: string, dayWord = '日'): string | null {
  if (!isDay(Number(month), day === '' ? 1 : Number(day))) return null;
  return zhDate(year, month, day, dayWord);
}

function isClock(hour: string, minute: string): boolean {
  return Number(hour) <= 24 && Number(minute) <= 59;
}

/** Of a word of letters and digits: digits one by one, except of names with one or two at the end (A4, T3, G20). */
function mixed(word: string): string | null {
  const simple = /^([A-Za-z]+)-?(\d{1,2})$/.exec(word);
  if (simple !== null) {
    const [, letters = '', digits = ''] = simple;
    return `${letters.length > 3 || /[a-z]/.test(letters) ? letters : zhDigits(letters)} ${zhInteger(digits)}`;
  }
  const head = /^(\d{1,3})([A-Z]{1,2})$/.exec(word);
  if (head !== null) return `${zhInteger(head[1] ?? '')} ${zhDigits(head[2] ?? '')}`;
  const name = /^([A-Za-z]{4,})(\d{3,})$/.exec(word);
  if (name !== null) return `${name[1] ?? ''} ${zhDigits(name[2] ?? '', true)}`;
  return /[A-Z]/.test(word) || /\d{3}/.test(word) ? zhDigits(word, true) : null;
}

const LINKS: readonly Rule[] = [
  { pattern: MAIL_PATTERN, read: (m) => link(m(0)) },
  { pattern: URL_PATTERN, read: (m) => link(trimLink(m(0))) },
  {
    pattern: /(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])/uy,
    read: (m) => [1, 2, 3, 4].map((i) => zhDigits(m(i), true)).join('点'),
  },
];

const DATES: readonly Rule[] = [
  {
    pattern: /(\d{4})年(\d{1,2})月(\d{1,2})([日号]?)(?!\d)/uy,
    read: (m) => date(m(1), m(2), m(3), m(4) === '' ? '日' : m(4)),
  },
  {
    pattern: /(\d{4})([-/.])(\d{1,2})\2(\d{1,2})([日号]?)(?!\d)/uy,
    read: (m) => date(m(1), m(3), m(4), m(5) === '' ? '日' : m(5)),
  },
  // Between the date and the time as machines write them.
  { pattern: /T(?=\d\d:\d\d)/uy, read: (_, { before }) => (/\d$/.test(before) ? ' ' : null) },
  {
    // The month first; where that cannot be, the day.
    pattern: /(\d{1,2})([-/])(\d{1,2})\2((?:19|20)\d\d)(?!\d)/uy,
    read: (m) => date(m(4), m(1), m(3)) ?? date(m(4), m(3), m(1)),
  },
  {
    pattern: new RegExp(
      `(\\d{1,2})/(\\d{1,2})\\s?${DASH}\\s?(\\d{1,2})/(\\d{1,2})(?![\\d/])`,
      'uy',
    ),
    read: (m) => {
      const [from, to] = [date('', m(1), m(2)), date('', m(3), m(4))];
      return from === null || to === null ? null : `${from}到${to}`;
    },
  },
  // From one date or hour to another.
  { pattern: /(?<=[\d][日号月年点分时])\s?[-–—~～]\s?(?=\d)/uy, read: () => '到' },
  {
    pattern: /((?:19|20)\d\d)([到至])((?:19|20)\d\d)(?!\d)/uy,
    read: (m, { before }) =>
      /[从自]$/u.test(before) ? `${zhDigits(m(1))}${m(2)}${zhDigits(m(3))}` : null,
  },
  {
    pattern: /(\d{2}|\d{4})年(\d{1,2})月/uy,
    read: (m) => date(m(1), m(2), ''),
  },
  {
    pattern: /((?:19|20)\d\d)[-/](0[1-9]|1[0-2])(?![\d-])/uy,
    read: (m) => date(m(1), m(2), ''),
  },
  {
    pattern: /([12]\d{3})(年?)[-–—~～至到]([12]\d{3})(?=(?:学|财)?年|赛季)/uy,
    read: (m) => `${zhDigits(m(1))}${m(2)}到${zhDigits(m(3))}`,
  },
  {
    pattern: /([12]\d{3})(?=年(?!级))/uy,
    read: (m, { before, after }) =>
      /[约近有过满]$/u.test(before) || (m(1).endsWith('00') && YEARS_COUNTED.test(after.slice(1)))
        ? null
        : zhDigits(m(1)),
  },
  {
    pattern: /((?:19|20)\d\d)(?=\s?(?:世界杯|奥运|年度|届|款|财年|春|夏|秋|冬|版))/uy,
    read: (m) => zhDigits(m(1)),
  },
  {
    pattern: /(\d{1,2})\/(\d{1,2})(?![\d/.%])/uy,
    read: (m, { before, after }) => {
      const isFraction = Number(m(1)) < Number(m(2)) && Number(m(2)) <= 10;
      if (isFraction && !isDateCue(before, after)) return null;
      return date('', m(1), m(2));
    },
  },
  {
    pattern: /(\d{1,2})-(\d{1,2})(?![\d-]|\s*[\p{L}%])/uy,
    read: (m, { before, after }) => (isDateCue(before, after) ? date('', m(1), m(2)) : null),
  },
];

const HALF = '(?:\\s?([AaPp])\\.?[Mm](?:\\.(?!\\s*$))?(?![A-Za-z]))?';

const TIMES: readonly Rule[] = [
  {
    pattern: /7\s?[x×*/]\s?24\s?(?:小时|h)?|24\s?[x×*/]\s?7(?:小时)?/uy,
    read: () => '七乘二十四小时',
  },
  {
    pattern: new RegExp(
      `(\\d{1,2})[:：](\\d{2})\\s?${DASH}\\s?(\\d{1,2})[:：](\\d{2})(?![\\d:：])${HALF}`,
      'uy',
    ),
    read: (m) => {
      if (!isClock(m(1), m(2)) || !isClock(m(3), m(4))) return null;
      return `${zhTime(m(1), m(2))}到${zhTime(m(3), m(4), '', m(5))}`;
    },
  },
  {
    pattern: new RegExp(`(\\d{1,2})[:：]([0-5]\\d)(?:[:：]([0-5]\\d))?(?![\\d:：])${HALF}`, 'uy'),
    read: (m, { before }) =>
      !isClock(m(1), m(2)) || isScoreCue(before) ? null : zhTime(m(1), m(2), m(3), m(4)),
  },
  {
    pattern: /(\d{1,2})\s?([AaPp])\.?[Mm]\b/uy,
    read: (m) => (Number(m(1)) <= 12 ? zhTime(m(1), '', '', m(2)) : null),
  },
  {
    pattern: /(\d{1,2})(?=点(?:[0-5]?\d分|[0-5]\d(?!\d)|(?!\d|[几零多])))/uy,
    read: (m) => zhCount(String(Number(m(1)))),
  },
  {
    pattern: /(\d{1,4})[:：](\d{1,4})(?![\d:：])/uy,
    read: (m) => `${zhInteger(m(1))}比${zhInteger(m(2))}`,
  },
];

const CODES: readonly Rule[] = [
  {
    pattern: /\+(\d{1,3})[- ]?(\d[\d -]{5,16}\d)(?!\d)/uy,
    read: (m) => `加${zhDigits(m(1), true)}，${zhPhone(m(2))}`,
  },
  {
    pattern: /1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d.])(?!\s*[元个万亿])/uy,
    read: (m) => zhPhone(m(0)),
  },
  {
    pattern: /(?:1[- ])?\(?\d{3}\)?[- ]\d{3}-\d{4}(?![\d-])/uy,
    read: (m) => zhCode(m(0)),
  },
  { pattern: /\(?0\d{2,3}\)?[- ]\d{7,8}(?!\d)/uy, read: (m) => zhPhone(m(0)) },
  { pattern: /0\d{2,3}-\d{7,8}-\d{1,6}(?!\d)/uy, read: (m) => zhPhone(m(0)) },
  { pattern: /[48]00[- ]?\d{3,4}[- ]\d{3,4}(?!\d)/uy, read: (m) => zhPhone(m(0)) },
  { pattern: /400\d{7}(?!\d)/uy, read: (m) => zhPhone(`400-${m(0).slice(3, 6)}-${m(0).slice(6)}`) },
  { pattern: /1(?:10|19|20|22)(?=报警|急救|火警|电话)/uy, read: (m) => zhDigits(m(0), true) },
  { pattern: /955\d\d(?!\d)(?!\s*[元个])/uy, read: (m) => zhDigits(m(0), true) },
  {
    pattern: /(?:1\d{2}|1[02]\d{3}|96\d{3,4})(?![\d.]|,\d)/uy,
    read: (m, { before, after }) =>
      isShortNumber(m(0), before, after) ? zhDigits(m(0), true) : null,
  },
  {
    // A number of which the middle is not told.
    pattern: /(\d{1,6})([*＊]{2,12})(\d{2,4})(?!\d)/uy,
    read: (m) =>
      `${zhDigits(m(1), true)}，${zhCount(String(m(2).length))}个星号，${zhDigits(m(3), true)}`,
  },
  // Shelf, row and place; house, entrance and flat.
  { pattern: /\d{1,4}(?:-\d{1,5}){2,4}(?![\d-])/uy, read: (m) => zhCode(m(0)) },
  {
    pattern: /\d{3,4}(?![\d.,/:-])/uy,
    read: (m, { before, after }) => (isFlat(before, after) ? zhDigits(m(0), true) : null),
  },
  {
    pattern: /\d{17}[\dXx](?![\dA-Za-z])/uy,
    read: (m) => zhCode(m(0)),
  },
  { pattern: /\d{4}(?:[ -]\d{4}){2,4}(?:[ -]\d{1,3})?(?!\d)/uy, read: (m) => zhCode(m(0)) },
  { pattern: /\d(?: \d){2,31}(?![\d.])/uy, read: (m) => zhCode(m(0).replaceAll(' ', '')) },
  { pattern: /\d{3,4}(?=号?房|室)/uy, read: (m) => zhDigits(m(0), true) },
  {
    // A code is two digits or more, and may have letters: by the words before it.
    pattern:
      /(?=[A-Za-z-]{0,6}\d)[A-Za-z0-9]{2,32}(?:[- ](?=[A-Za-z-]{0,6}\d)[A-Za-z0-9]{2,16}){0,5}(?![.\d]\d|[A-Za-z])/uy,
    read: (m, { before, after }) => (isCode(before, after) ? zhCode(m(0)) : null),
  },
];

/** Groups as written; a mobile number in one is 3-4-4. */
function zhPhone(written: string): string {
  const digits = written.replace(/\D/g, '');
  if (/^1[3-9]\d{9}$/.test(digits)) return zhCode(digits);
  return zhCode(written.replace(/[()]/g, ' '));
}

const MONEY: readonly Rule[] = [
  {
    pattern: new RegExp(
      `(-?)${CURRENCY}(-?)\\s?(${DECIMAL})\\s?${DASH}\\s?${CURRENCY}?(${DECIMAL})`,
      'uy',
    ),
    read: (m) => {
      const unit = unitOfMoney(m(0));
      return `${zhNumber(m(3))}到${zhNumber(m(4))}${unit}`;
    },
  },
  {
    pattern: new RegExp(
      `(-?)${CURRENCY}(-?)\\s?(${DECIMAL})\\s?([万亿]|[KMB](?![A-Za-z]))?元?`,
      'uy',
    ),
    read: (m) => {
      const scale: Readonly<Record<string, string>> = { K: '千', M: '百万', B: '十亿' };
      return money(m(1) || m(2), m(3), scale[m(4)] ?? m(4), unitOfMoney(m(0)));
    },
  },
  {
    pattern: new RegExp(`${CURRENCY_CODE}\\s?(-?)(${DECIMAL})(万|亿)?`, 'uy'),
    read: (m) => money(m(1), m(2), m(3), unitOfMoney(m(0))),
  },
  {
    pattern: new RegExp(
      `(${NEGATIVE})?(${DECIMAL})\\s?(万|亿)?(${CURRENCY_CODE})(?![A-Za-z])`,
      'uy',
    ),
    read: (m) => money(m(1), m(2), m(3), ZH_MONEY[m(4)] ?? ''),
  },
  {
    pattern: new RegExp(`(${NEGATIVE})?(${DECIMAL})\\s?元(?!素|旦|宵|件)`, 'uy'),
    read: (m) => money(m(1), m(2), '', '元'),
  },
];

function unitOfMoney(matched: string): string {
  const sign = /HK\$|US\$|[￥¥$€£]|[A-Z]{3}/.exec(matched)?.[0] ?? '';
  return ZH_MONEY[sign] ?? '';
}

const SHARES: readonly Rule[] = [
  {
    pattern: new RegExp(`(${DECIMAL})\\s?[%％]?\\s?${DASH}\\s?(${DECIMAL})\\s?[%％]`, 'uy'),
    read: (m) => `百分之${zhNumber(m(1))}到百分之${zhNumber(m(2))}`,
  },
  {
    pattern: new RegExp(`(${NEGATIVE}|\\+)?(${DECIMAL})\\s?[%％]`, 'uy'),
    read: (m) => `${m(1) === '' || m(1) === '+' ? '' : '负'}百分之${zhNumber(m(2))}`,
  },
  { pattern: new RegExp(`(${DECIMAL})\\s?‰`, 'uy'), read: (m) => `千分之${zhNumber(m(1))}` },
  {
    pattern: /(\d{1,4}) (\d{1,3})\/(\d{1,3})(?![\d/])/uy,
    read: (m) => `${zhInteger(m(1))}又${fraction(m(2), m(3))}`,
  },
  {
    pattern: /(\d{2,3})\/(\d{2,3})(?![\d/])/uy,
    read: (m, { before }) => {
      if (/血压[^\d，。]{0,4}$/u.test(before)) return `${zhInteger(m(1))}，${zhInteger(m(2))}`;
      return Number(m(1)) + Number(m(2)) === 100 ? `${zhInteger(m(1))}比${zhInteger(m(2))}` : null;
    },
  },
  { pattern: /(\d{1,4})\/(\d{1,4})(?![\d/])/uy, read: (m) => fraction(m(1), m(2)) },
  {
    pattern: /(\d*)([½⅓⅔¼¾⅛])/uy,
    read: (m) => `${m(1) === '' ? '' : `${zhInteger(m(1))}又`}${ZH_VULGAR[m(2)] ?? ''}`,
  },
];

function fraction(top: string, bottom: string): string | null {
  return Number(bottom) === 0 ? null : `${zhInteger(bottom)}分之${zhInteger(top)}`;
}

const VERSIONS: readonly Rule[] = [
  {
    pattern: /([Vv](?:er)?\.?\s?)(\d+(?:\.\d+){0,4})(?![\d.]*[A-Za-z])/uy,
    read: (m, { before }) => (/版本?\s*$/u.test(before) ? '' : 'V ') + dotted(m(2)),
  },
  { pattern: /\d+(?:\.\d+){2,4}(?!\d)/uy, read: (m) => dotted(m(0)) },
];

function dotted(version: string): string {
  return version
    .split('.')
    .map((part, i) =>
      i === 0
        ? zhInteger(part)
        : part.length > 1 && part.startsWith('0')
          ? zhDigits(part)
          : zhInteger(part),
    )
    .join('点');
}

const AMOUNTS: readonly Rule[] = [
  {
    pattern: new RegExp(
      `([-−+]?)(${DECIMAL})\\s?${DASH}\\s?([-−]?)(${DECIMAL})\\s?(${UNIT})(?![A-Za-z0-9])`,
      'uy',
    ),
    read: (m) =>
      `${signed(m(1), zhNumber(m(2)))}到${signed(m(3), zhNumber(m(4)))}${UNIT_NAMES.get(m(5)) ?? ''}`,
  },
  {
    pattern: new RegExp(`(${NEGATIVE})?(${DECIMAL})\\s?(${UNIT})(?![A-Za-z0-9])`, 'uy'),
    read: amount,
  },
  {
    pattern: new RegExp(`(${DECIMAL})\\s?${DASH}\\s?(${DECIMAL})(?![\\d.]|-\\d)`, 'uy'),
    read: (m, { before, after }) => {
      const to = isScoreCue(before) ? '比' : '到';
      const count = COUNTS.test(after) || after.startsWith('点') ? zhCount : zhNumber;
      return `${count(m(1))}${to}${count(m(2))}`;
    },
  },
  {
    pattern: new RegExp(`(${DECIMAL})\\s?([+×*÷=≥≤><≈≠±])\\s?(?=\\d)`, 'uy'),
    read: (m) => `${zhNumber(m(1))}${ZH_SIGNS[m(2)] ?? ''}`,
  },
  { pattern: /(?:[<>]=?|[≥≤≈±])(?=\s?\d)/uy, read: (m) => ZH_SIGNS[m(0)] ?? null },
  // 8.5折 is said without its point, 1米75 as a height is.
  { pattern: /([1-9])\.([1-9])(?=\s?折)/uy, read: (m) => zhDigits(m(1) + m(2)) },
  { pattern: /([12])米(\d{2})(?![\d.])/uy, read: (m) => `${zhCount(m(1))}米${zhDigits(m(2))}` },
  {
    pattern:
      /\/(?=(?:个?月|年|季度?|[天日人次晚位件份间张套户]|小时|分钟|平米)(?!\p{Script=Han}*\/))/uy,
    read: (_, { before }) => (/[\d元块角分][\p{L}]{0,2}$/u.test(before) ? '每' : null),
  },
  { pattern: /[“"'「]?[#＃][”"'」]?(?:号?键|号)/uy, read: () => '井号键' },
  { pattern: /[“"'「]?[*＊][”"'」]?(?:号?键|号)/uy, read: () => '星号键' },
  {
    pattern: /[#＃*＊]/uy,
    read: (m, { before }) =>
      /[按拨]下?[“"'「\s]?$/u.test(before) ? (/[#＃]/.test(m(0)) ? '井号键' : '星号键') : null,
  },
  { pattern: /[~～](?=\d)/uy, read: () => '约' },
  { pattern: new RegExp(`(${DECIMAL})\\+(?!\\d)`, 'uy'), read: (m) => `${zhNumber(m(1))}多` },
  { pattern: /(?:No|NO|no)\.\s?(\d+)/uy, read: (m) => `${zhInteger(m(1))}号` },
  { pattern: /#(\d{1,6})(?!\d)/uy, read: (m) => `${zhInteger(m(1))}号` },
  { pattern: /(\d{1,5})#/uy, read: (m) => `${zhInteger(m(1))}号` },
  {
    pattern: /(\d{1,2}[05]0|[1-9]0|0\d)(?=后)/uy,
    read: (m) => (m(1).length === 2 ? zhDigits(m(1)) : zhInteger(m(1))),
  },
];

function amount(m: Groups): string {
  const unit = UNIT_NAMES.get(m(3)) ?? '';
  const read = COUNTS.test(unit) ? zhCount(bare(m(2))) : zhNumber(m(2));
  if (m(1) === '') return read + unit;
  return /[摄华]氏度/.test(unit) ? `零下${read}${unit}` : `负${read}${unit}`;
}

const WORDS: readonly Rule[] = [
  // 1st, 22nd: English in a Chinese sentence stays English.
  {
    pattern: new RegExp(`第(\\d+)${DASH}(\\d+)`, 'uy'),
    read: (m) => `第${zhInteger(m(1))}到${zhInteger(m(2))}`,
  },
  { pattern: /第(\d+)/uy, read: (m) => `第${zhInteger(m(1))}` },
  {
    pattern: /([A-Z])(\d{1,2})[-~～至到]\1(\d{1,2})(?![\dA-Za-z])/uy,
    read: (m) => `${m(1)} ${zhInteger(m(2))}到 ${m(1)} ${zhInteger(m(3))}`,
  },
  { pattern: /(\d{1,9})(st|nd|rd|th)(?![A-Za-z])/uy, read: (m) => enOrdinal(m(1)) },
  {
    pattern: /(?=[A-Za-z]*\d)[A-Za-z0-9]{1,32}(?![A-Za-z0-9])/uy,
    read: (m) => (/[A-Za-z]/.test(m(0)) ? mixed(m(0)) : null),
  },
  {
    pattern: /([A-Z]{2,6})-(\d{1,4})(?!\d)/uy,
    read: (m) => `${m(1)} ${m(2).length < 3 ? zhInteger(m(2)) : zhDigits(m(2), true)}`,
  },
  { pattern: /&/uy, read: () => '和' },
];

const NUMBERS: readonly Rule[] = [
  {
    pattern: new RegExp(`(${NEGATIVE})(${DECIMAL})`, 'uy'),
    read: (m) => `负${zhNumber(m(2))}`,
  },
  { pattern: /\+(\d+(?:\.\d+)?)/uy, read: (m) => `加${zhNumber(m(1))}` },
  {
    pattern: new RegExp(`(${DECIMAL})`, 'uy'),
    read: (m, { before, after }) => {
      const written = m(1);
      // Nobody says so long a number as an amount, unless it is a round one.
      if (/^\d{9,}$/.test(written) && !/0000$/.test(written) && !/^\s*[万亿]/u.test(after)) {
        return zhCode(written);
      }
      if (bare(written) === '2' && COUNTS.test(after) && !before.endsWith('第')) return '两';
      return zhNumber(written);
    },
  },
];

export const ZH_RULES: readonly Rule[] = [
  ...LINKS,
  ...MONEY,
  ...DATES,
  ...TIMES,
  ...SHARES.slice(0, 3),
  ...CODES,
  ...VERSIONS,
  ...SHARES.slice(3),
  ...AMOUNTS,
  ...WORDS,
  ...NUMBERS,
];
