/**
 * From the written text to what a voice is to say: figures, dates, money, codes and links in words, so that every voice
 * reads them alike. Which part of the writing each part of the speech stands for is kept, so that marks of the voice can
 * be told in the written text.
 */
import type { Language } from '../contract.ts';
import { EN_RULES } from './en.ts';
import { groupsOf, type Rule } from './rule.ts';
import { ZH_RULES } from './zh.ts';

/** A part of the text; `isRead`: said otherwise than it is written, so it has been said when all of it has. */
type Span = {
  readonly spokenEnd: number;
  readonly writtenEnd: number;
  readonly isRead: boolean;
};

export type SpokenForm = {
  /** What the voice says. */
  readonly text: string;
  /**
   * How many UTF-16 units of the written text have been said with the first `chars` of the spoken one: of what is read
   * otherwise than written, all or nothing. Rises with `chars`; the end is the end.
   */
  written(chars: number): number;
};

const RULES: { readonly [L in Language]: readonly Rule[] } = { zh: ZH_RULES, en: EN_RULES };

/** Nothing else can be the beginning of something that is read otherwise than written. */
const WORTH_READING =
  /[\d½⅓⅔¼¾⅛&#＃*＊]|@|https?:|www\.|\.(?:com|cn|org|net|io|ai|edu|gov|app|dev)/u;
const BEFORE_CHARS = 40;
const AFTER_CHARS = 16;

/** `before`: what was said right before this text. */
export function spokenForm(text: string, language: Language, before = ''): SpokenForm {
  if (!WORTH_READING.test(text)) return { text, written: (chars) => within(chars, text.length) };
  const rules = RULES[language];
  const spans: Span[] = [];
  let spoken = '';
  let copiedTo = 0;
  const copyTo = (end: number): void => {
    if (end <= copiedTo) return;
    spoken += text.slice(copiedTo, end);
    spans.push({ spokenEnd: spoken.length, writtenEnd: end, isRead: false });
    copiedTo = end;
  };
  for (let at = 0; at < text.length;) {
    const found = readAt(rules, text, at, before);
    if (found === null) {
      at = skip(text, at);
      continue;
    }
    copyTo(at);
    const words = spaced(spoken, found.words, text.slice(found.end));
    spoken += words;
    at = found.end;
    copiedTo = at;
    spans.push({ spokenEnd: spoken.length, writtenEnd: at, isRead: true });
  }
  copyTo(text.length);
  return { text: spoken, written: (chars) => writtenOf(spans, within(chars, spoken.length)) };
}

function readAt(
  rules: readonly Rule[],
  text: string,
  at: number,
  before: string,
): { readonly words: string; readonly end: number } | null {
  for (const { pattern, read } of rules) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null || match[0] === '') continue;
    const end = at + match[0].length;
    const told = (before + text.slice(Math.max(0, at - BEFORE_CHARS), at)).slice(-BEFORE_CHARS);
    const words = read(groupsOf(match), {
      before: told,
      after: text.slice(end, end + AFTER_CHARS),
    });
    if (words !== null) return { words, end };
  }
  return null;
}

/** To the next place where something may begin: words of letters and digits are taken as a whole. */
function skip(text: string, at: number): number {
  let next = at + 1;
  if (!isWord(text, at)) return next;
  while (next < text.length && isWord(text, next)) next++;
  return next;
}

function isWord(text: string, at: number): boolean {
  return /[A-Za-z0-9]/.test(text.charAt(at));
}

/** Words of letters are kept apart from letters and figures around them. */
function spaced(before: string, words: string, after: string): string {
  const isLetter = (char: string): boolean => /[A-Za-z0-9]/.test(char);
  const first = isLetter(before.slice(-1)) && isLetter(words.charAt(0)) ? ' ' : '';
  const last = isLetter(words.slice(-1)) && isLetter(after.charAt(0)) ? ' ' : '';
  return first + words + last;
}

function writtenOf(spans: readonly Span[], chars: number): number {
  let spokenAt = 0;
  let writtenAt = 0;
  for (const { spokenEnd, writtenEnd, isRead } of spans) {
    if (chars < spokenEnd) return isRead ? writtenAt : writtenAt + (chars - spokenAt);
    spokenAt = spokenEnd;
    writtenAt = writtenEnd;
  }
  return writtenAt;
}

function within(chars: number, length: number): number {
  return Math.max(0, Math.min(length, chars));
}
