/** Scripted language model: replies by the caller's text, turn or keys, paced and with faults as the script says. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { LlmProvider, LlmUsage, ReplyPart, ReplyRequest, TurnInput } from '../contract.ts';
import { createSimCompletion } from './complete.ts';
import { faultAt, textMatcher, type FaultKind, type SimReply, type SimScript } from './script.ts';
import { hang } from './wait.ts';

export type SimLlmOptions = { readonly script: SimScript; readonly clock: Clock };

const TURNS = 'sim.turns';
const DEFAULT_REPLY = 'You said: {text}';
const SENTENCE = /[^\u3002\uff01\uff1f.!?]*(?:[\u3002\uff01\uff1f.!?]+\s*|$)/g;

export function createSimLlm(options: SimLlmOptions): LlmProvider {
  return {
    vendor: 'sim',
    greeting: () => options.script.greeting ?? null,
    reply: (request, signal) => reply(options, request, signal),
    ...(options.script.completions === undefined ? {} : { complete: createSimCompletion(options) }),
  };
}

async function* reply(
  { script, clock }: SimLlmOptions,
  request: ReplyRequest,
  signal: AbortSignal,
): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
  const turn = Number(request.state.get(TURNS) ?? 0) + 1;
  request.state.set(TURNS, turn);
  const text = resultOf(request) ?? wordsOf(request.input);
  const fault = faultAt(script, 'llm', turn, text);
  const found = script.replies?.find((candidate) => fits(candidate, request, turn));
  const { sentenceMs = 0, llmMs = 0 } = script.delays ?? {};

  await delay(found?.delayMs ?? llmMs, signal, clock);
  if (fault === 'error') throw scripted();
  if (fault === 'hang') await hang(signal);
  if (fault === 'malformed') return yield* malformed(signal);
  const words = (found?.reply ?? script.defaultReply ?? DEFAULT_REPLY).replaceAll('{text}', text);
  if (found?.language !== undefined) yield { type: 'language', language: found.language };
  for (const [index, sentence] of (words.match(SENTENCE) ?? []).filter(Boolean).entries()) {
    if (index > 0) await midway(fault, sentenceMs, signal, clock);
    yield { type: 'text', text: sentence };
  }
  if (fault === 'error_midway') throw scripted();
  if (found?.endCall === true) yield { type: 'end_call' };
  const { call } = found ?? {};
  if (call !== undefined && request.tools?.some(({ name }) => name === call.name) === true)
    yield { type: 'tool_call', call: { id: `call_${turn}`, ...call } };
  return { inputTokens: text.length, outputTokens: words.length };
}

async function midway(
  fault: FaultKind | null,
  sentenceMs: number,
  signal: AbortSignal,
  clock: Clock,
): Promise<void> {
  if (fault === 'error_midway') throw scripted();
  await delay(sentenceMs, signal, clock);
}

/** The result that this round is about; null when it is about what the caller did. */
function resultOf({ messages }: ReplyRequest): string | null {
  const last = messages.at(-1);
  return last?.role === 'tool' ? last.content : null;
}

function wordsOf(input: TurnInput): string {
  return input.kind === 'dtmf' ? input.digits : input.text;
}

function fits(candidate: SimReply, request: ReplyRequest, turn: number): boolean {
  const { input } = request;
  if (candidate.turn !== undefined && candidate.turn !== turn) return false;
  if (candidate.note !== undefined && !hasNote(request, candidate.note)) return false;
  const result = resultOf(request);
  if (result !== null)
    return candidate.result !== undefined && textMatcher(candidate.result)(result);
  if (candidate.result !== undefined) return false;
  if (input.kind === 'dtmf') return candidate.dtmf === input.digits;
  if (candidate.dtmf !== undefined) return false;
  return candidate.match === undefined || textMatcher(candidate.match)(input.text);
}

function hasNote({ messages }: ReplyRequest, note: string): boolean {
  const fitsNote = textMatcher(note);
  return messages.some(({ role, content }) => role === 'system' && fitsNote(content));
}

/** What a broken model may send: nothing to say, half a character, markup, a very long word. */
async function* malformed(signal: AbortSignal): AsyncGenerator<ReplyPart, undefined> {
  const texts = [
    '',
    '\u0000\u0007',
    '\ud83d',
    '**',
    '<|im_end|>',
    '```json\n{"a":',
    'x'.repeat(3000),
  ];
  for (const text of texts) {
    if (signal.aborted) throw new AppError('E_ABORTED', 'the reply was given up');
    yield { type: 'text', text };
  }
  return undefined;
}

function scripted(): AppError {
  return new AppError('E_PROVIDER_SERVER', 'scripted language model fault');
}
