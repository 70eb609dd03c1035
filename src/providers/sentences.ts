/** Cuts a stream of text into pieces to speak: sentence by sentence, the first as short as sense allows. */
import { isHan, speakable, unitsOf } from './speakable.ts';

export type SentenceSplitter = {
  /** More text; returns the pieces that are complete with it. How the text was chunked makes no difference. */
  push(delta: string): string[];
  /** No more text; returns what is left. */
  end(): string[];
};

/** The first piece may end at a comma when it says at least this much. */
const FIRST_CLAUSE_UNITS = 4;
/** A later sentence that says less is spoken together with the next one. */
const LATER_MIN_UNITS = 2;
/** Beyond this a comma will do; beyond the second a space will. */
const SOFT_MAX_CHARS = 100;
const HARD_MAX_CHARS = 180;

const CLOSERS = '\u201d\u2019\u300d\u300f\u3011\uff09\u300b\u3009\u3015"\')]*_`~';
const WIDE_ENDS = '\u3002\uff01\uff1f\u2026\uff1b';
const NARROW_ENDS = '.!?';
const WIDE_CLAUSES = '\uff0c\u3001\uff1a';
const NARROW_CLAUSES = ',;:';

/** Words whose full stop does not end a sentence. Lower case, without the stop. */
const ABBREVIATIONS = new Set(
  (
    'mr mrs ms dr prof st sr jr vs etc inc ltd co corp dept est fig no vol approx appt apt ave blvd ' +
    'gen col sgt capt lt rev hon e.g i.e a.m p.m u.s u.k u.n ph.d jan feb mar apr jun jul aug sep sept oct nov dec'
  ).split(' '),
);

export function sentenceSplitter(): SentenceSplitter {
  let buffer = '';
  let isFirst = true;

  const take = (length: number, pieces: string[]): void => {
    const piece = speakable(buffer.slice(0, length));
    buffer = buffer.slice(length);
    if (piece === '') return;
    pieces.push(piece);
    isFirst = false;
  };
  return {
    push(delta) {
      const pieces: string[] = [];
      buffer += delta;
      for (let cut = findCut(buffer, isFirst); cut > 0; cut = findCut(buffer, isFirst)) {
        take(cut, pieces);
      }
      return pieces;
    },
    end() {
      const pieces: string[] = [];
      if (buffer !== '') take(buffer.length, pieces);
      return pieces;
    },
  };
}

/** All pieces of a whole text. */
export function splitSentences(text: string): string[] {
  const splitter = sentenceSplitter();
  return [...splitter.push(text), ...splitter.end()];
}

/** Where the first piece of `text` ends, or 0 when only more text can tell. */
function findCut(text: string, isFirst: boolean): number {
  let lastBreak = 0;
  for (let i = 0; i < text.length; i++) {
    if (i >= HARD_MAX_CHARS) return lastBreak > 0 ? lastBreak : whole(text, i);
    const kind = breakAt(text, i);
    if (kind === null) continue;
    if (kind.after >= text.length && kind.type !== 'line') return 0;
    if (kind.type === 'space') {
      lastBreak = kind.after;
      continue;
    }
    const units = unitsOf(speakable(text.slice(0, kind.after)));
    if (isGoodCut(kind.type, units, kind.after, isFirst)) return kind.after;
    if (kind.type !== 'line') lastBreak = kind.after;
  }
  return 0;
}

function isGoodCut(
  type: 'sentence' | 'line' | 'clause',
  units: number,
  length: number,
  isFirst: boolean,
): boolean {
  if (type === 'clause') return isFirst ? units >= FIRST_CLAUSE_UNITS : length >= SOFT_MAX_CHARS;
  return isFirst ? units >= 1 : units >= LATER_MIN_UNITS;
}

type Break = {
  readonly type: 'sentence' | 'line' | 'clause' | 'space';
  /** Index after the break with its closing quotes. Equal to the length when more text could change it. */
  readonly after: number;
};

function breakAt(text: string, i: number): Break | null {
  const char = text.charAt(i);
  if (char === '\n') return { type: 'line', after: i + 1 };
  if (char === ' ' || char === '\t') return { type: 'space', after: i + 1 };
  if (WIDE_ENDS.includes(char)) return { type: 'sentence', after: skipEnds(text, i + 1) };
  if (WIDE_CLAUSES.includes(char)) return { type: 'clause', after: i + 1 };
  const isEnd = NARROW_ENDS.includes(char);
  if (!isEnd && !NARROW_CLAUSES.includes(char)) return null;
  const after = isEnd ? skipEnds(text, i + 1) : i + 1;
  if (after >= text.length) return { type: 'clause', after: text.length };
  // Decimals, times and host names go on without a space: 3.5, 10:30, example.com.
  const next = text.charAt(after);
  if (!/\s/.test(next) && !isHan(next)) return null;
  if (char === '.' && !endsSentence(text.slice(0, i))) return null;
  return { type: isEnd ? 'sentence' : 'clause', after };
}

function skipEnds(text: string, from: number): number {
  let at = from;
  while (at < text.length && (CLOSERS + WIDE_ENDS + NARROW_ENDS).includes(text.charAt(at))) at++;
  return at;
}

/** Whether a full stop after `before` ends a sentence, not an abbreviation, an initial or the number of a list. */
function endsSentence(before: string): boolean {
  const word = /[\p{L}\p{N}.]*$/u.exec(before)?.[0] ?? '';
  if (word === '' || isHan(word.at(-1) ?? '')) return true;
  if (/^[A-Z]$/.test(word) && word !== 'I') return false;
  if (/^\d+$/.test(word) && /(?:^|\n)\s*\d+$/.test(before)) return false;
  return !ABBREVIATIONS.has(word.toLowerCase());
}

/** `at`, or one less where a cut would split a surrogate pair. */
function whole(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff ? at - 1 : at;
}
