/** One question, one answer, without streaming (contract 7.1): for summaries and analyses. */
import type OpenAI from 'openai';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Completion, CompletionRequest } from '../contract.ts';
import { classify, retryWaitMs } from './errors.ts';
import type { OpenAiLlmOptions } from './llm.ts';
import { presetFor } from './presets.ts';
import { thinkFilter } from './think-filter.ts';

type Body = OpenAI.ChatCompletionCreateParamsNonStreaming;
type Reply = OpenAI.ChatCompletion;

/** One second try for what may pass. Errors: E_PROVIDER_* by class, E_ABORTED. */
export async function complete(
  client: OpenAI,
  options: OpenAiLlmOptions,
  request: CompletionRequest,
  signal: AbortSignal,
): Promise<Completion> {
  const body = bodyOf(options, request);
  for (let attempt = 1; ; attempt++) {
    try {
      const reply = await client.chat.completions.create(body, { signal });
      return { text: textOf(reply), model: options.model, usage: usageOf(reply) };
    } catch (thrown) {
      if (signal.aborted) throw new AppError('E_ABORTED', 'the question was given up');
      const error = classify(thrown, options.apiKey, options.setting);
      const waitMs = attempt === 1 ? retryWaitMs(error, options.random) : null;
      if (waitMs === null) throw error;
      options.log.info('llm.retried', { code: error.code, reason: error.message });
      await delay(waitMs, signal, options.clock);
    }
  }
}

function bodyOf(options: OpenAiLlmOptions, request: CompletionRequest): Body {
  const { model, baseUrl } = options;
  const preset = options.preset ?? presetFor(baseUrl, model);
  return {
    model,
    messages: [
      { role: 'system', content: request.system },
      { role: 'user', content: request.user },
    ],
    stream: false,
    ...(preset.hasTemperature ? { temperature: request.temperature } : {}),
    [preset.maxTokensField]: request.maxTokens,
    ...preset.extraBody,
  };
}

/** Vendors leave out, or fill with null, what their protocol promises: everything is looked at before it is used. */
function textOf(reply: Reply): string {
  const choice = reply.choices?.[0];
  const refusal: unknown = choice?.message?.refusal;
  if (choice?.finish_reason === 'content_filter' || (typeof refusal === 'string' && refusal)) {
    throw new AppError('E_PROVIDER_CONTENT', 'language model: the answer was withheld');
  }
  const content: unknown = choice?.message?.content;
  const filter = thinkFilter();
  const text = typeof content === 'string' ? (filter.push(content) + filter.end()).trim() : '';
  if (text !== '') return text;
  throw new AppError('E_PROVIDER_SERVER', 'language model: the answer had nothing in it');
}

function usageOf(reply: Reply): Completion['usage'] {
  const { prompt_tokens: inputTokens, completion_tokens: outputTokens } = reply.usage ?? {};
  if (typeof inputTokens !== 'number' || typeof outputTokens !== 'number') return null;
  return { inputTokens, outputTokens };
}
