/** What a tool answers, as a model is told it. */

/** Of one answer (contract 2.1: the content of a message). */
export const MAX_ANSWER_CHARS = 8_000;

export function fault(why: string, more: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ error: why, ...more });
}

/** A value as JSON; of one that is too long the model gets the beginning, and is told so. */
export function answerOf(value: unknown): string {
  const content = JSON.stringify(value ?? null);
  if (content.length <= MAX_ANSWER_CHARS) return content;
  const note = `longer than ${MAX_ANSWER_CHARS} characters: this is its beginning`;
  // Quotes and line ends take two characters each inside a string, control characters six.
  for (let chars = MAX_ANSWER_CHARS - 200; ; chars = Math.floor(chars * 0.7)) {
    const cut = JSON.stringify({ note, beginning: content.slice(0, chars).toWellFormed() });
    if (cut.length <= MAX_ANSWER_CHARS) return cut;
  }
}

/** What a server sent: JSON where it is JSON, else text. */
export function answerOfBody(body: Buffer): string {
  const text = body.toString('utf8').trim();
  if (text === '') return JSON.stringify({ ok: true });
  try {
    return answerOf(JSON.parse(text));
  } catch {
    return answerOf(text); // plain text is an answer too
  }
}
