/** From a template to the words that a caller says, and where he may pause. */
import type { Random } from './_turn-random.ts';
import { fillSlot } from './_turn-slots.ts';

export type Language = 'zh' | 'en';

/** What the agent said, and what callers answer. */
export type Exchange = readonly [agent: string, callers: readonly string[]];

/** One kind of call: how it opens, and what is asked afterwards. */
export type Domain = readonly Exchange[];

/** Of the pause before a word: between phrases, between sentences, to think, between groups of a number. */
export type Gap = 'none' | 'phrase' | 'sentence' | 'think' | 'group';

export type Token = {
  readonly spoken: string;
  /** As a recogniser writes it that turns number words into figures. */
  readonly written: string;
  readonly gap: Gap;
  readonly isDigit: boolean;
};

const DIGITS: Readonly<Record<Language, readonly string[]>> = {
  zh: ['零', '幺', '二', '三', '四', '五', '六', '七', '八', '九'],
  en: ['oh', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'],
};
const MARKS: Readonly<Record<string, Gap>> = {
  '//': 'sentence',
  '/': 'phrase',
  '…': 'think',
  '^': 'group',
};
const RANK: readonly Gap[] = ['none', 'phrase', 'group', 'sentence', 'think'];

/** One way of saying it. */
export function tokensOf(template: string, language: Language, random: Random): Token[] {
  return tokenize(expand(template, language, random), language, random);
}

/** Chooses among `(a|b)`, `[x]` and the contents of `{slots}`; nothing is nested deeper than one level. */
function expand(template: string, language: Language, random: Random): string {
  let text = template;
  for (let round = 0; round < 4; round++) {
    text = text
      .replace(/\[([^[\]]*)\]/g, (_, part: string) => (random.chance(0.5) ? part : ''))
      .replace(/\(([^()]*)\)/g, (_, parts: string) => random.pick(parts.split('|')))
      .replace(/\{(\w+)\}/g, (_, slot: string) => fillSlot(slot, language, random));
  }
  return text;
}

/** `<~138>` are digits one by one, `<spoken=written>` is one word that may be written in figures. */
const PIECE = /\/\/|[/…^]|<~(\w+)>|<([^=<>]+)=([^<>]+)>|[A-Za-z][A-Za-z'-]*|\p{L}|\d+/gu;

function tokenize(text: string, language: Language, random: Random): Token[] {
  const tokens: Token[] = [];
  let gap: Gap = 'none';
  const add = (spoken: string, written: string, isDigit: boolean): void => {
    tokens.push({ spoken, written, gap, isDigit });
    gap = 'none';
  };
  for (const [piece, digits, spoken, written] of text.matchAll(PIECE)) {
    const mark = MARKS[piece];
    if (mark !== undefined) gap = RANK.indexOf(mark) > RANK.indexOf(gap) ? mark : gap;
    else if (digits !== undefined)
      for (const digit of digits) add(spell(digit, language, random), digit, true);
    else if (spoken !== undefined && written !== undefined) add(spoken, written, false);
    else add(piece, piece, false);
  }
  return tokens;
}

function spell(digit: string, language: Language, random: Random): string {
  if (digit === '1' && language === 'zh' && random.chance(0.25)) return '一';
  if (digit === '0' && language === 'en' && random.chance(0.4)) return 'zero';
  return DIGITS[language][Number(digit)] ?? digit;
}
