/** Word marks from the vendor's timestamps, and even ones for what it gave none. */
import type { WordMark } from '../contract.ts';
import { evenMarks } from '../marks.ts';
import { SAMPLES_PER_MS } from '../rates.ts';

/** A timestamp further ahead in the text than this belongs to words that the vendor reads differently. */
const MAX_SKIP_CHARS = 24;

export class SpokenWords {
  readonly #text: string;
  #chars = 0;
  #ms = 0;

  constructor(text: string) {
    this.#text = text.trimEnd();
  }

  /** `words`: `[{word, endTime}]`, seconds since the session began. `samples`: of audio so far. */
  add(words: unknown, samples: number): WordMark[] {
    if (!Array.isArray(words)) return [];
    const marks: WordMark[] = [];
    for (const each of words as readonly unknown[]) {
      if (typeof each !== 'object' || each === null) continue;
      const { word, endTime } = each as Record<string, unknown>;
      if (typeof word !== 'string' || typeof endTime !== 'number' || !(endTime >= 0)) continue;
      const mark = this.#mark(word, endTime * 1000, samples / SAMPLES_PER_MS);
      if (mark !== null) marks.push(mark);
    }
    return marks;
  }

  /** Marks up to the end, all audio being there. */
  rest(samples: number): WordMark[] {
    const totalMs = samples / SAMPLES_PER_MS;
    const left = this.#text.slice(this.#chars);
    if (left.trim() === '') return [];
    const [from, fromMs] = [this.#chars, this.#ms];
    const even = evenMarks(left, Math.max(0, totalMs - fromMs) * SAMPLES_PER_MS);
    if (even.length === 0) return [{ chars: this.#text.length, ms: Math.floor(totalMs) }];
    return even.map(({ chars, ms }) => ({ chars: from + chars, ms: Math.floor(fromMs + ms) }));
  }

  #mark(word: string, endMs: number, totalMs: number): WordMark | null {
    const wanted = word.trim();
    const at = wanted === '' ? -1 : this.#text.indexOf(wanted, this.#chars);
    if (at === -1 || at - this.#chars > MAX_SKIP_CHARS) return null;
    this.#chars = at + wanted.length;
    this.#ms = Math.floor(Math.max(this.#ms, Math.min(endMs, totalMs)));
    return { chars: this.#chars, ms: this.#ms };
  }
}
