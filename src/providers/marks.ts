/** Word marks for voices that give none: as if every character and every word took its share of the time. */
import { SAMPLE_RATE_HZ } from './rates.ts';
import { isHan } from './speakable.ts';
import type { WordMark } from './contract.ts';

/**
 * Marks of `text` spoken in `samples` (8 kHz): one after each Chinese character and each word of other scripts, by their
 * length; the last is at the end of text and sound.
 */
export function evenMarks(text: string, samples: number): WordMark[] {
  const trimmed = text.trimEnd();
  const totalMs = (samples * 1000) / SAMPLE_RATE_HZ;
  const units = [...trimmed.matchAll(UNIT)].map((match) => ({
    end: match.index + match[0].length,
    weight: weightOf(match[0]),
  }));
  const total = units.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return [];
  let done = 0;
  const marks = units.map(({ end, weight }) => {
    done += weight;
    return { chars: end, ms: Math.floor((totalMs * done) / total) };
  });
  const last = marks.at(-1);
  if (last !== undefined && last.chars < trimmed.length) {
    marks[marks.length - 1] = { chars: trimmed.length, ms: last.ms };
  }
  return marks;
}

/** How long `text` takes to say, in units that every voice has its own pace for (a Chinese syllable is 2). */
export function speechWeight(text: string): number {
  return [...text.matchAll(UNIT)].reduce((sum, match) => sum + weightOf(match[0]), 0);
}

const UNIT = /(?:\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{N}'’])+)[\p{P}\p{S}]*/gu;

/** A Chinese character is a syllable; other words have about one for three letters. Punctuation is a breath. */
function weightOf(unit: string): number {
  const pause = /[\p{P}\p{S}]/u.test(unit) ? 1 : 0;
  if (isHan(unit.charAt(0))) return 2 + pause;
  return Math.max(2, Math.round((unit.length * 2) / 3)) + pause;
}
