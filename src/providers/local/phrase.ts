/** A finished utterance in memory, and how it is handed out. */
import { AppError } from '#lib/errors.ts';
import type { TtsChunk, WordMark } from '../contract.ts';

export type Phrase = { readonly pcm: Int16Array; readonly marks: readonly WordMark[] };

const SLICE_SAMPLES = 1600;

/** The phrase in slices of 200 ms, each with the marks that fall into it. The PCM is a view: read it only. */
export async function* slicesOf(
  phrase: Phrase,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  let mark = 0;
  for (let at = 0; at < phrase.pcm.length; at += SLICE_SAMPLES) {
    throwIfAborted(signal);
    const end = Math.min(at + SLICE_SAMPLES, phrase.pcm.length);
    const marks: WordMark[] = [];
    const isLast = end === phrase.pcm.length;
    for (; mark < phrase.marks.length; mark++) {
      const next = phrase.marks[mark] as WordMark;
      if (next.ms > end / 8 && !isLast) break;
      marks.push(next);
    }
    yield { pcm: phrase.pcm.subarray(at, end), marks };
  }
}

/** Chunks put together again. */
export function phraseOf(chunks: readonly TtsChunk[]): Phrase {
  const pcm = new Int16Array(chunks.reduce((sum, chunk) => sum + chunk.pcm.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    pcm.set(chunk.pcm, at);
    at += chunk.pcm.length;
  }
  return { pcm, marks: chunks.flatMap((chunk) => chunk.marks) };
}

export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('E_ABORTED', 'the speech was given up');
}
