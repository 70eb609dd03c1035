/** Word times of a voice as marks of the text that it was given (providers.md 1.4; `enable_subtitle`). */
import type { WordMark } from '../contract.ts';

/** One word of the speech; times as the vendor counts them, milliseconds. */
export type Subtitle = { readonly text: string; readonly beginMs: number; readonly endMs: number };

/** What is no word (the line for the whole sentence, entries of another form) is left out. */
export function readSubtitles(payload: Readonly<Record<string, unknown>>): Subtitle[] {
  const { subtitles } = payload;
  if (!Array.isArray(subtitles)) return [];
  return subtitles.flatMap((each: unknown) => {
    const {
      text,
      begin_time: begin,
      end_time: end,
      sentence,
    } = (each ?? {}) as Record<string, unknown>;
    if (typeof text !== 'string' || text.trim() === '' || sentence === true) return [];
    const [beginMs, endMs] = [timeOf(begin), timeOf(end)];
    return beginMs === null || endMs === null || endMs < beginMs ? [] : [{ text, beginMs, endMs }];
  });
}

/** A number, or a text of digits. */
function timeOf(value: unknown): number | null {
  const ms = typeof value === 'string' && /^\d{1,9}(?:\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof ms === 'number' && ms >= 0 && ms < 1e9 ? ms : null;
}

/** The vendor repeats words it has told, and counts from the sentence or from the task: both are understood. */
const SAME_MS = 1;
/** How far behind the last word the next one may be found in the text; numbers are read as other words. */
const REACH_CHARS = 40;

export class SubtitleMarks {
  readonly #text: string;
  #chars = 0;
  #endMs = 0;
  #baseMs = 0;
  #isNewSentence = false;
  #sentenceAtMs = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Of the text, how far the marks reach. */
  get chars(): number {
    return this.#chars;
  }

  /** `audioMs`: how much sound has come before it. */
  sentence(audioMs: number): void {
    this.#isNewSentence = true;
    this.#sentenceAtMs = audioMs;
  }

  /** The marks that these words add. */
  take(subtitles: readonly Subtitle[]): WordMark[] {
    const marks: WordMark[] = [];
    for (const { text, beginMs, endMs } of subtitles) {
      if (this.#isNewSentence) {
        this.#isNewSentence = false;
        this.#baseMs = beginMs + SAME_MS < this.#endMs ? this.#sentenceAtMs : 0;
      }
      if (beginMs + this.#baseMs + SAME_MS < this.#endMs) continue;
      const at = this.#text.indexOf(text, this.#chars);
      if (at < 0 || at > this.#chars + REACH_CHARS) continue;
      this.#chars = withPunctuation(this.#text, at + text.length);
      this.#endMs = endMs + this.#baseMs;
      marks.push({ chars: this.#chars, ms: Math.floor(this.#endMs) });
    }
    return marks;
  }
}

function withPunctuation(text: string, from: number): number {
  let at = from;
  while (at < text.length && /[\p{P}\p{S}]/u.test(text.charAt(at))) at++;
  return at;
}
