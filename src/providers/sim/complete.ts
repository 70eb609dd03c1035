/** Scripted answers to questions outside a conversation, by the words of the prompt, with delays and faults. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { LlmProvider } from '../contract.ts';
import { faultAt, textMatcher, type SimScript } from './script.ts';
import { hang } from './wait.ts';

export const SIM_MODEL = 'sim-1';

/** What a broken model may send instead of an answer. */
const MALFORMED = '```json\n{"summary": "\ud83d\u0000", <|im_end|>';

export function createSimCompletion(options: {
  readonly script: SimScript;
  readonly clock: Clock;
}): NonNullable<LlmProvider['complete']> {
  const { script, clock } = options;
  let count = 0;
  return async ({ system, user }, signal) => {
    const number = ++count;
    const prompt = `${system}\n${user}`;
    const fault = faultAt(script, 'completion', number, prompt);
    const rule = script.completions?.find(
      ({ match }) => match === undefined || textMatcher(match)(prompt),
    );
    await delay(rule?.delayMs ?? script.delays?.llmMs ?? 0, signal, clock);
    if (fault === 'hang') await hang(signal);
    if (fault === 'malformed') return { text: MALFORMED, model: SIM_MODEL, usage: null };
    if (fault !== null || rule === undefined) {
      throw new AppError('E_PROVIDER_SERVER', 'scripted language model fault');
    }
    const text = rule.reply.replaceAll('{count}', String(number));
    const usage = { inputTokens: prompt.length, outputTokens: text.length };
    return { text, model: SIM_MODEL, usage };
  };
}
