/** Cuts single clauses out of a recorded prompt, for replies that are spoken piece by piece. */
import type { WordMark } from '../contract.ts';
import { unitsOf } from '../speakable.ts';
import type { Phrase } from './phrase.ts';

/** Shorter pieces are too likely to be part of something else; one long word will do. */
const MIN_UNITS = 2;
const MIN_CHARS = 7;
/** Kept before the first sound and after the last one. */
const LEAD_MS = 10;
const TAIL_MS = 150;
/** What counts as sound, of 32767. */
const SOUND = 300;
/** A pause between clauses is shorter than this. */
const MAX_PAUSE_MS = 700;

/**
 * The part of the recording of `whole` that says `text`; undefined when `text` is not one or more whole clauses of it.
 */
export function excerptOf(whole: string, text: string, read: () => Phrase): Phrase | undefined {
  if (text.length < MIN_CHARS && unitsOf(text) < MIN_UNITS) return undefined;
  for (let from = whole.indexOf(text); from >= 0; from = whole.indexOf(text, from + 1)) {
    const to = from + text.length;
    if (isClauseStart(whole, from) && isClauseEnd(whole, to)) return cut(read(), whole, from, to);
  }
  return undefined;
}

function isClauseStart(whole: string, at: number): boolean {
  const before = whole.slice(0, at).trimEnd();
  return before === '' || /\p{P}$/u.test(before);
}

function isClauseEnd(whole: string, at: number): boolean {
  return at >= whole.trimEnd().length || /\p{P}/u.test(whole.charAt(at - 1) + whole.charAt(at));
}

function cut(phrase: Phrase, whole: string, from: number, to: number): Phrase {
  const { pcm, marks } = phrase;
  const last = marks.find((mark) => mark.chars >= to || isQuiet(whole.slice(mark.chars, to)));
  const before = marks.findLast((mark) => mark.chars <= from);
  const start = before === undefined ? 0 : soundAfter(pcm, before.ms * 8);
  const next = last === undefined ? pcm.length : soundAfter(pcm, last.ms * 8);
  const end = last === undefined ? pcm.length : Math.min(next, (last.ms + TAIL_MS) * 8);
  const own: WordMark[] = [];
  for (const mark of marks) {
    if (mark.chars <= from || mark.ms * 8 > end) continue;
    const chars = Math.min(mark.chars, to) - from;
    own.push({ chars, ms: Math.max(0, Math.round(mark.ms - start / 8)) });
    if (mark === last) break;
  }
  const final = own.pop();
  if (final !== undefined) own.push({ chars: to - from, ms: final.ms });
  return { pcm: pcm.subarray(start, end), marks: own };
}

function isQuiet(text: string): boolean {
  return !/[^\p{P}\s]/u.test(text);
}

/** The sample shortly before sound begins again after `at`. */
function soundAfter(pcm: Int16Array, at: number): number {
  const limit = Math.min(pcm.length, at + MAX_PAUSE_MS * 8);
  // The end of a word still rings at its mark: first silence, then sound.
  let i = at;
  while (i < limit && !isSilent(pcm, i)) i += 40;
  while (i < limit && isSilent(pcm, i)) i += 40;
  return Math.max(at, Math.min(pcm.length, i - LEAD_MS * 8));
}

function isSilent(pcm: Int16Array, at: number): boolean {
  for (let i = at; i < at + 80 && i < pcm.length; i++) {
    if (Math.abs(pcm[i] ?? 0) > SOUND) return false;
  }
  return true;
}
