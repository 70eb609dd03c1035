/** What the caller heard of an utterance that was cut short, from its word marks and the milliseconds played. */
import type { WordMark } from './contract.ts';
import { isHan } from './speakable.ts';

export type HeardOptions = {
  readonly text: string;
  /** In any order; marks beyond the text are taken as its end. */
  readonly marks: readonly WordMark[];
  readonly heardMs: number;
  /** Length of the whole utterance, when known: then a voice without marks is cut in proportion. */
  readonly totalMs?: number;
};

/**
 * The prefix of `text` that was spoken within `heardMs`: whole characters of Chinese, whole words of other scripts, a
 * word counting once it has ended. Without trailing spaces. Never longer than `text`.
 */
export function heardText(options: HeardOptions): string {
  const { text, marks, heardMs, totalMs } = options;
  if (heardMs <= 0) return '';
  let chars = 0;
  if (marks.length > 0) {
    for (const mark of marks) if (mark.ms <= heardMs) chars = Math.max(chars, mark.chars);
  } else if (totalMs !== undefined && totalMs > 0) {
    chars = Math.floor((text.length * Math.min(heardMs, totalMs)) / totalMs);
  }
  return text.slice(0, snap(text, Math.min(chars, text.length))).trimEnd();
}

/** Goes back to the start of a word (or surrogate pair) that `at` would cut. */
function snap(text: string, at: number): number {
  let cut = at;
  while (cut > 0 && cut < text.length && isInside(text, cut)) cut--;
  return cut;
}

function isInside(text: string, at: number): boolean {
  return isInWord(text.charAt(at - 1), text.charAt(at)) || isInNumber(text, at);
}

/** 1,299.99 and 10:30 are one. */
function isInNumber(text: string, at: number): boolean {
  return (
    /\d[.,:/]?$/.test(text.slice(Math.max(0, at - 2), at)) &&
    /^[.,:/]?\d/.test(text.slice(at, at + 2))
  );
}

const WORD = /[\p{L}\p{N}'’]/u;

function isInWord(left: string, right: string): boolean {
  if (/[\udc00-\udfff]/.test(right) && /[\ud800-\udbff]/.test(left)) return true;
  return WORD.test(left) && WORD.test(right) && !isHan(left) && !isHan(right);
}
