/** Numbers, dates and addresses that are given in parts: whether all parts were said. */
import { lengthsOf, type Asked } from './end-of-turn-asked.ts';
import type { TurnForm } from './end-of-turn.ts';
import { digitsOf } from './turn-words-digits.ts';

/** What the caller himself announces. */
const ANNOUNCED: readonly (readonly [Asked, RegExp])[] = [
  ['identity', /身份证|social security/],
  ['card', /卡号|card number/],
  ['code', /验证码|尾号|后四位|ending in|code is/],
  ['phone', /电话|手机|微信|号码是|my (?:phone |cell )?number is|reach me at|call me at/],
  ['number', /单号|编号|(?:order|tracking|policy|account|serial) number/],
];
const NUMBERS: ReadonlySet<Asked> = new Set(['phone', 'identity', 'card', 'code', 'number']);

const AMOUNT = /\b(?:hundred|thousand)\b/;
/** Takes back what was said last. */
const MENDS = /(?:不对|不是|错了|等等|sorry|i mean|wait|scratch that|no)$/;
/** The letters that some numbers begin with. */
const CODE_AHEAD_ZH = /\p{Script=Han}\s*(?!(?:ok|app|vip|hi|no)$)[a-z]{1,3}$/u;
const CODE_AHEAD_EN = /(?:^|\b(?:is|it's) )(?!(?:ok|hi|no|yes|one|two|six|ten)$)[a-z]{1,3}$/;

/** Letters and figures together make short codes: plates, bookings. */
const PLATE = 5;
/** Figures from here on are no amount and no time of day. */
const MANY = 5;

/** Null: the end of the text is no part of such a thing. `tail` is lower case and has no marks at its end. */
export function formOfNumber(
  tail: string,
  asked: Asked,
  agentText: string | null,
): TurnForm | null {
  if (asked === 'birth') return formOfBirth(tail);
  if (asked === 'address') return formOfAddress(tail);
  const digits = digitsOf(tail);
  if (digits.total > 2 && MENDS.test(tail)) return 'unfinished';
  if (CODE_AHEAD_ZH.test(tail) || (asked === 'number' && CODE_AHEAD_EN.test(tail))) return 'short';
  if (digits.tail === '') return null;
  const spelled = digits.tail.replace(/[0-9]/g, '').length;
  if (spelled >= 2 && spelled === digits.tail.length) return 'dictating';
  const wanted = announcedBy(tail) ?? asked;
  if (!NUMBERS.has(wanted)) return AMOUNT.test(tail) ? null : formOfUnasked(digits.tail);
  const lengths = lengthsOf(wanted, digits.tail, wanted === asked ? agentText : sideOf(tail));
  if (lengths === null && spelled > 0 && digits.tail.length >= PLATE) return 'plain';
  if (lengths === null) return 'dictating';
  return formOfCount(digits.tail.length, digits.total, lengths);
}

function announcedBy(tail: string): Asked | null {
  for (const [asked, sign] of ANNOUNCED) if (sign.test(tail)) return asked;
  return null;
}

/** Stands in for the agent's words: only their language counts. */
const sideOf = (tail: string): string => (/\p{Script=Han}/u.test(tail) ? '号' : 'number');

function formOfCount(count: number, total: number, [usual = 0, ...others]: number[]): TurnForm {
  if (count === usual) return 'closed';
  if (others.includes(count)) return 'dictating';
  // A group was said again: which figures count, nobody can tell.
  if (total > count && total >= usual) return 'parts';
  return count > usual ? 'finished' : 'short';
}

/** Nobody asked for a number: a mobile number or something long is one all the same. */
function formOfUnasked(digits: string): TurnForm | null {
  if (digits.length < MANY) return null;
  if (/[a-z]/.test(digits)) return 'plain';
  return /^1[3-9]/.test(digits) && digits.length < 11 ? 'short' : 'dictating';
}

const MONTH_EN = /\b(?:jan|febr?|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:\w*)\b/;
const YEAR_EN = /\b(?:(?:19|20)\d\d|(?:nineteen|twenty|two thousand)\b.+|\d{2})$/;

function formOfBirth(tail: string): TurnForm | null {
  if (/\p{Script=Han}/u.test(tail)) {
    if (/月[^月]*[日号](?:的|生的|出生的?)?$/.test(tail)) return 'closed';
    if (/月.*[0-9一二三四五六七八九十]$/.test(tail))
      return /月.*[十0-9]$/.test(tail) ? 'plain' : 'finished';
    return /[年月0-9零一二三四五六七八九]$/.test(tail) ? 'short' : null;
  }
  if (MONTH_EN.test(tail)) {
    const after = tail.slice(tail.search(MONTH_EN)).split(' ').slice(2).join(' ');
    return YEAR_EN.test(after) ? 'closed' : 'short';
  }
  const { tail: digits } = digitsOf(tail);
  if (digits === '') return null;
  if (digits.length === 8) return 'closed';
  return digits.length >= 5 ? 'plain' : 'short';
}

/** With the last of these the address has been told down to the door. */
const DOOR_ZH =
  /(?:室|户|(?:单元|栋|幢|座|楼|层|号)[0-9零幺一二三四五六七八九十]{2,5}|门卫|前台|门口|对面|旁边)$/;
const PLACE_ZH = /(?:[路街道巷弄区市县镇乡村号栋幢座楼]|单元)$/;
const ESTATE_ZH = /(?:[园苑城里厦院城]|小区|公寓)$/;
const PLACE_EN =
  /\b(?:street|st|avenue|ave|road|rd|drive|dr|lane|ln|court|ct|boulevard|blvd|way|place|highway|route|north|south|east|west|main)\b/;
const DOOR_EN = /\b(?:apartment|apt|unit|suite|room|floor|number|zip|zip code)\b.{1,16}$/;

function formOfAddress(tail: string): TurnForm | null {
  if (DOOR_ZH.test(tail) || DOOR_EN.test(tail)) return 'finished';
  if (ESTATE_ZH.test(tail)) return 'parts';
  if (PLACE_ZH.test(tail)) return 'dictating';
  if (PLACE_EN.test(tail)) return 'parts';
  return digitsOf(tail).tail === '' ? null : 'dictating';
}
