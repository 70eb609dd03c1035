/** What was said in a call, made ready for a language model or a rule: masked, bounded, in one line per message. */
import type { Message } from '#lib/call-events.ts';
import { maskText } from '#lib/mask.ts';
import type { Language } from '#providers/contract.ts';

export type Side = 'caller' | 'agent' | 'human';

/** One message of a party, on one line and masked (contract 7.3). */
export type Speech = { readonly side: Side; readonly text: string; readonly message: Message };

/** Contract 7.1. */
export const TRANSCRIPT_CHARS = 12_000;
const HEAD_CHARS = 3_000;
const TAIL_CHARS = 9_000;
const CUT_MARK = '[...]';

const LABELS: { readonly [S in Side]: string } = {
  caller: 'Caller',
  agent: 'Agent',
  human: 'Human agent',
};

/** Keys pressed stand in the transcript too; they are not words. */
const KEYS = /^\[DTMF [0-9A-D*#]\]$/;

/** True when a party said this; system and function messages are no speech, nor is what nobody has read. */
export function isSpoken(message: Message): boolean {
  return (message.role === 'user' || message.role === 'assistant') && message.content.trim() !== '';
}

export function sideOf(message: Message): Side {
  if (message.role === 'user') return 'caller';
  return speakerOf(message) === 'supervisor' ? 'human' : 'agent';
}

/** True for what the caller did with the keypad. */
export function isKeys(text: string): boolean {
  return KEYS.test(text.trim());
}

/** Everything said, in order, each masked after it was put on one line: a number may be broken over two. */
export function speechesOf(messages: readonly Message[]): Speech[] {
  return messages.filter(isSpoken).map(speechOf);
}

function speechOf(message: Message): Speech {
  return { side: sideOf(message), text: maskText(oneLine(message.content)), message };
}

/** White space and control characters as single spaces, half characters gone: no content can begin a line of its own. */
export function oneLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\s\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
}

/**
 * The transcript for a model (contract 7.1): `Caller:`, `Agent:`, `Human agent:`; above 12,000 characters its first 3,000
 * and last 9,000. Only what can be part of that is read, however long the call was.
 */
export function transcriptOf(messages: readonly Message[]): string {
  const spoken = messages.filter(isSpoken);
  const head = linesFrom(spoken, TRANSCRIPT_CHARS + 1);
  if (head.length <= TRANSCRIPT_CHARS) return head;
  const tail = linesFrom(spoken.toReversed(), TAIL_CHARS, 'backwards');
  return `${wholeEnd(head.slice(0, HEAD_CHARS))}\n${CUT_MARK}\n${wholeStart(tail.slice(-TAIL_CHARS))}`;
}

/** Lines of messages until there are `enough` characters. */
function linesFrom(
  messages: readonly Message[],
  enough: number,
  order: 'forwards' | 'backwards' = 'forwards',
): string {
  const lines: string[] = [];
  let chars = 0;
  for (const message of messages) {
    const { side, text } = speechOf(message);
    const line = `${LABELS[side]}: ${text}`;
    lines.push(line);
    chars += line.length + 1;
    if (chars > enough) break;
  }
  return (order === 'forwards' ? lines : lines.reverse()).join('\n');
}

/** A cut between the halves of a character leaves neither half. */
function wholeEnd(text: string): string {
  return text.isWellFormed() ? text : text.slice(0, -1);
}

function wholeStart(text: string): string {
  return text.isWellFormed() ? text : text.slice(1);
}

/** Contract 7.1: `zh` when at least 30 % of the letters in caller messages are Han. Without any, the agent's decide. */
export function languageOfCall(messages: readonly Message[]): Language {
  return (
    languageOfText(wordsOf(messages, 'user')) ??
    languageOfText(wordsOf(messages, 'assistant')) ??
    'en'
  );
}

function* wordsOf(messages: readonly Message[], role: Message['role']): Generator<string> {
  for (const message of messages) {
    if (message.role === role && !isKeys(message.content)) yield message.content;
  }
}

/** Null when there is no letter at all. */
export function languageOfText(texts: Iterable<string>): Language | null {
  let letters = 0;
  let han = 0;
  for (const text of texts) {
    letters += text.match(/\p{L}/gu)?.length ?? 0;
    han += text.match(/\p{Script=Han}/gu)?.length ?? 0;
  }
  if (letters === 0) return null;
  return han / letters >= 0.3 ? 'zh' : 'en';
}

/** Ends of sentences; a full stop ends one only before a space, so that 3.50 and example.com stay whole. */
const SENTENCE = /[^。！？!?；;…\n]*?(?:[。！？!?；;…]+["'”’）)」』]*|\.(?=\s|$)["'”’)]*|\n|$)/gu;
const ABBREVIATION =
  /(?:^|\s)(?:mr|mrs|ms|dr|prof|st|no|vs|etc|e\.g|i\.e|inc|ltd|co|u\.s|a\.m|p\.m)\.$/i;

/** Where the sentences of a text, Chinese or English, begin and end, white space left out; none is empty. */
export function sentenceSpans(text: string): { readonly start: number; readonly end: number }[] {
  const spans: { start: number; end: number }[] = [];
  let from = 0;
  const close = (to: number): void => {
    const part = text.slice(from, to);
    const start = from + (part.length - part.trimStart().length);
    if (part.trim() !== '') spans.push({ start, end: start + part.trim().length });
    from = to;
  };
  for (const match of text.matchAll(SENTENCE)) {
    const to = match.index + match[0].length;
    if (!ABBREVIATION.test(text.slice(Math.max(from, to - 8), to))) close(to);
  }
  close(text.length);
  return spans;
}

export function sentencesOf(text: string): string[] {
  return sentenceSpans(text).map(({ start, end }) => text.slice(start, end));
}

function speakerOf(message: Message): unknown {
  return (message as Message & { readonly speaker?: unknown }).speaker;
}
