/** Numbers as they are read in Chinese. */
import { bare, grouped } from './rule.ts';

const DIGITS = '零一二三四五六七八九';
const PLACES = ['', '十', '百', '千'];
const GROUPS = ['', '万', '亿', '万亿'];
/** Longer ones are read digit by digit. */
const MAX_DIGITS = 16;

/** Digit by digit; `phone`: 幺 for 1, as over the telephone. Letters are said one by one. */
export function zhDigits(text: string, phone = false): string {
  let said = '';
  for (const char of text) {
    if (char >= '0' && char <= '9') {
      said += phone && char === '1' ? '幺' : DIGITS.charAt(Number(char));
      continue;
    }
    if (!/[A-Za-z]/.test(char)) continue;
    said += `${said === '' || said.endsWith(' ') ? '' : ' '}${char.toUpperCase()} `;
  }
  return said.trimEnd();
}

/** A telephone number or code: 幺 for 1, a pause between groups. */
export function zhCode(text: string): string {
  return grouped(text)
    .map((group) => zhDigits(group, true))
    .join('，');
}

/** 1024 -> 一千零二十四. Commas of thousands are passed over; leading zeros or too many digits: digit by digit. */
export function zhInteger(written: string): string {
  const digits = bare(written);
  if (/^0+$/.test(digits)) return digits.length === 1 ? '零' : zhDigits(digits);
  if (digits.startsWith('0') || digits.length > MAX_DIGITS) return zhDigits(digits);
  const groups: string[] = [];
  for (let end = digits.length; end > 0; end -= 4)
    groups.unshift(digits.slice(Math.max(0, end - 4), end));
  let said = '';
  let gap = false;
  for (const [i, group] of groups.entries()) {
    if (Number(group) === 0) {
      gap = said !== '';
      continue;
    }
    const needsZero = said !== '' && (gap || group.startsWith('0'));
    const read = zhGroup(group.replace(/^0+/, ''));
    said += (needsZero ? '零' : '') + read + (GROUPS[groups.length - 1 - i] ?? '');
    gap = false;
  }
  // 十 to 十九 have no 一 in front; 两 stands before 千, 万 and 亿.
  return said.replace(/^一十/, '十').replace(/^二(?=[千万亿])/, '两');
}

function zhGroup(group: string): string {
  let said = '';
  let gap = false;
  for (const [i, char] of Array.from(group).entries()) {
    if (char === '0') {
      gap = true;
      continue;
    }
    said += (gap && said !== '' ? '零' : '') + DIGITS.charAt(Number(char));
    said += PLACES[group.length - 1 - i] ?? '';
    gap = false;
  }
  return said;
}

/** 12.50 -> 十二点五零; without a point as `zhInteger`. */
export function zhNumber(written: string): string {
  const [whole = '', part] = written.split('.');
  return zhInteger(whole) + (part === undefined ? '' : `点${zhDigits(part)}`);
}

/** Of a count: 两 instead of 二 where it is the whole number. */
export function zhCount(written: string): string {
  return written === '2' ? '两' : zhNumber(written);
}

/** 12.50 元 -> 十二元五角; anything but whole or two places: 点. */
export function zhYuan(written: string): string {
  const amount = bare(written);
  const [whole = '', part = ''] = amount.split('.');
  if (part.length !== 2) return `${zhCount(amount)}元`;
  const jiao = part.charAt(0);
  const fen = part.charAt(1);
  const yuan = Number(whole) === 0 ? '' : `${zhCount(whole)}元`;
  if (part === '00') return yuan === '' ? '零元' : yuan;
  const small = jiao === '0' ? `${yuan === '' ? '' : '零'}` : `${zhDigits(jiao)}角`;
  return yuan + small + (fen === '0' ? '' : `${zhDigits(fen)}分`);
}

/** 2026, 11, 21 -> 二零二六年十一月二十一日. */
export function zhDate(year: string, month: string, day: string, dayWord = '日'): string {
  const said = year === '' ? '' : `${zhDigits(year)}年`;
  return `${said}${zhMonth(month)}月${day === '' ? '' : `${zhInteger(String(Number(day)))}${dayWord}`}`;
}

function zhMonth(month: string): string {
  return zhInteger(String(Number(month)));
}

/** 10, 5 -> 十点零五分. `half`: AM or PM. */
export function zhTime(hour: string, minute: string, second = '', half = ''): string {
  const h = Number(hour);
  const noon = /^p/i.test(half) ? (h === 12 ? '中午' : '下午') : /^a/i.test(half) ? '上午' : '';
  const hours = `${noon}${zhCount(String(h))}点`;
  const minutes = minute === '' || minute === '00' ? '' : `${zhMinute(minute)}分`;
  if (second === '' || second === '00') return hours + minutes;
  const exact = minutes === '' ? '零分' : minutes;
  return `${hours}${exact}${zhMinute(second)}秒`;
}

function zhMinute(minute: string): string {
  const value = Number(minute);
  return value < 10 ? `零${zhInteger(String(value))}` : zhInteger(String(value));
}
