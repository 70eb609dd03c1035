/** A voice that is given the spoken form of a text, and tells how far it has come in the written one. */
import type { TtsChunk, TtsProvider, TtsRequest, WordMark } from './contract.ts';
import { spokenForm } from './spoken-form/spoken-form.ts';

/**
 * As `tts.speak`; `before`: what was said right before it, which tells what a number is. A number has been said when all
 * of it has.
 */
export async function* speakWritten(
  tts: Pick<TtsProvider, 'speak'>,
  request: TtsRequest,
  signal: AbortSignal,
  before = '',
): AsyncGenerator<TtsChunk, void> {
  const form = spokenForm(request.text, request.language, before);
  if (form.text === request.text) return yield* tts.speak(request, signal);
  let told = 0;
  const toWritten = ({ chars, ms }: WordMark): WordMark[] => {
    // Where a number begins, only the space before it has been said.
    const written = request.text.slice(0, form.written(chars)).trimEnd().length;
    if (written === told || written === 0) return [];
    told = written;
    return [{ chars: written, ms }];
  };
  for await (const chunk of tts.speak({ ...request, text: form.text }, signal)) {
    yield { ...chunk, marks: chunk.marks.flatMap(toWritten) };
  }
}
