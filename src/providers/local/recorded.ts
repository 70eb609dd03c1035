/** The recorded prompts that come with Callyard: what it can say with no voice installed, and at once with one. */
import { readFileSync } from 'node:fs';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Language, WordMark } from '../contract.ts';
import { promptText } from '../prompts.ts';
import { excerptOf } from './excerpt.ts';
import type { Phrase } from './phrase.ts';
import { decodeWav } from './wav.ts';

export type RecordedPrompt = {
  readonly file: string;
  readonly language: Language;
  readonly text: string;
  readonly marks: readonly WordMark[];
};

export type RecordedPrompts = {
  /** The recording of exactly these words, or of whole clauses of a prompt. Reads the file the first time. Errors: E_CONFIG when it is damaged. */
  find(text: string, language: Language): Phrase | undefined;
  /** The closest there is: the recording of much the same words, else one that says there is none. */
  nearest(text: string, language: Language): { readonly phrase: Phrase; readonly text: string };
  /** Reads all files now. */
  preload(): void;
};

/** Where scripts/make-prompts.ts puts them. */
export const PROMPTS_DIR = new URL('./prompts/', import.meta.url);

/** Share of common character pairs from which two texts count as much the same. */
const MUCH_THE_SAME = 0.6;

export function openRecordedPrompts(dir: URL = PROMPTS_DIR): RecordedPrompts {
  const index = readIndex(dir);
  const byText = new Map(index.map((prompt) => [keyOf(prompt.text, prompt.language), prompt]));
  const phrases = new Map<RecordedPrompt, Phrase>();

  const read = (prompt: RecordedPrompt): Phrase => {
    const known = phrases.get(prompt);
    if (known !== undefined) return known;
    const phrase = { pcm: readWav(new URL(prompt.file, dir)), marks: prompt.marks };
    phrases.set(prompt, phrase);
    return phrase;
  };
  return {
    find(text, language) {
      const exact = byText.get(keyOf(text, language));
      if (exact !== undefined) return read(exact);
      const wanted = plain(text);
      for (const prompt of index) {
        const part = excerptOf(prompt.text, wanted, () => read(prompt));
        if (part !== undefined) return part;
      }
      return undefined;
    },
    nearest(text, language) {
      let best: RecordedPrompt | undefined;
      let bestShare = MUCH_THE_SAME;
      for (const prompt of index) {
        const share = prompt.language === language ? likeness(prompt.text, text) : 0;
        if (share > bestShare) [best, bestShare] = [prompt, share];
      }
      best ??= byText.get(keyOf(promptText('no_words', language), language));
      if (best === undefined) throw new AppError('E_CONFIG', `${dir.pathname} lacks no_words`);
      return { phrase: read(best), text: best.text };
    },
    preload() {
      for (const prompt of index) read(prompt);
    },
  };
}

function keyOf(text: string, language: Language): string {
  return `${language} ${plain(text)}`;
}

function plain(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function readIndex(dir: URL): readonly RecordedPrompt[] {
  const path = new URL('prompts.json', dir);
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { prompts: RecordedPrompt[] }).prompts;
  } catch (error) {
    const reason = messageOf(error);
    throw new AppError('E_CONFIG', `${path.pathname}: ${reason}`, { cause: error });
  }
}

function readWav(path: URL): Int16Array {
  try {
    return decodeWav(readFileSync(path), path.pathname);
  } catch (error) {
    const reason = messageOf(error);
    throw new AppError('E_CONFIG', `${path.pathname}: ${reason}`, { cause: error });
  }
}

/** Dice coefficient over pairs of characters, letters and digits only: 1 for the same words, 0 for none in common. */
function likeness(a: string, b: string): number {
  const left = pairsOf(a);
  const right = pairsOf(b);
  if (left.size === 0 || right.size === 0) return 0;
  let common = 0;
  for (const pair of left) if (right.has(pair)) common++;
  return (2 * common) / (left.size + right.size);
}

function pairsOf(text: string): Set<string> {
  const letters = text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
  const pairs = new Set<string>();
  for (let i = 0; i + 1 < letters.length; i++) pairs.add(letters.slice(i, i + 2));
  return pairs;
}
