/** Any model that speaks the OpenAI chat protocol, streaming, with deadlines fit for a telephone call. */
import OpenAI from 'openai';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { ChatMessage, LlmProvider, LlmUsage, ReplyPart, ReplyRequest } from '../contract.ts';
import { complete } from './complete.ts';
import { classify, retryWaitMs } from './errors.ts';
import { errorIn, fetchWithRefusals } from './answer-body.ts';
import { presetFor, type Preset } from './presets.ts';
import { Reasoning } from './reasoning.ts';
import { thinkFilter } from './think-filter.ts';
import { toOpenAi, ToolCalls, toolsOf } from './tools.ts';

export type OpenAiLlmOptions = {
  readonly log: Log;
  readonly clock: Clock;
  readonly baseUrl: string;
  /** Empty for servers that want none. */
  readonly apiKey: string;
  readonly model: string;
  /** Whom to name when the key is refused; absent: nobody. */
  readonly setting?: string;
  /** Of the vendor; absent: by the address. */
  readonly preset?: Preset;
  /** As agents name it. Default `openai`. */
  readonly vendor?: string;
  /** 0-2; null leaves the vendor's default. */
  readonly temperature?: number | null;
  readonly maxTokens?: number | null;
  readonly random?: () => number;
};

/** From asking to the first speakable text, connecting and the retry included. */
export const FIRST_TOKEN_MS = 5_000;
/** Between two chunks once text flows. */
export const STALL_MS = 5_000;

type Body = OpenAI.ChatCompletionCreateParamsStreaming;
type Chunk = OpenAI.ChatCompletionChunk;
type Outcome = {
  usage: LlmUsage | undefined;
  finish: string | null;
  readonly reasoning: Reasoning;
  readonly calls: ToolCalls;
};

/** Errors of `reply`: E_PROVIDER_* by class, E_TIMEOUT for a late first token or a stall, E_ABORTED. */
export function createOpenAiLlm(options: OpenAiLlmOptions): LlmProvider {
  const client = new OpenAI({
    baseURL: options.baseUrl,
    apiKey: options.apiKey === '' ? 'none' : options.apiKey,
    organization: null,
    project: null,
    maxRetries: 0,
    logLevel: 'off',
    fetch: fetchWithRefusals,
  });
  return {
    vendor: options.vendor ?? 'openai',
    reply: (request, signal) => replyWithRetry(client, options, request, signal),
    complete: (request, signal) => complete(client, options, request, signal),
  };
}

async function* replyWithRetry(
  client: OpenAI,
  options: OpenAiLlmOptions,
  request: ReplyRequest,
  signal: AbortSignal,
): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
  const { clock, log } = options;
  const untilMs = clock.now() + FIRST_TOKEN_MS;
  const reasoning = new Reasoning(request.state, presetOf(options).replaysReasoning);
  const body = bodyOf(options, request, reasoning);
  for (let attempt = 1; ; attempt++) {
    let hasSpoken = false;
    const parts = replyOnce({ client, clock, body, untilMs, reasoning }, signal);
    try {
      for (;;) {
        const next = await parts.next();
        if (next.done === true) return next.value;
        hasSpoken = true;
        yield next.value;
      }
    } catch (thrown) {
      const error = signal.aborted ? aborted() : classify(thrown, options.apiKey, options.setting);
      const waitMs = attempt === 1 && !hasSpoken ? retryWaitMs(error, options.random) : null;
      if (waitMs === null || clock.now() + waitMs >= untilMs) throw error;
      log.info('llm.retried', { code: error.code, reason: error.message });
      await delay(waitMs, signal, clock);
    } finally {
      await parts.return(undefined);
    }
  }
}

type Attempt = {
  readonly client: OpenAI;
  readonly clock: Clock;
  readonly body: Body;
  readonly untilMs: number;
  readonly reasoning: Reasoning;
};

async function* replyOnce(
  { client, clock, body, untilMs, reasoning }: Attempt,
  signal: AbortSignal,
): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
  const watch = watchdog(clock, signal);
  const filter = thinkFilter();
  const outcome: Outcome = {
    ...{ usage: undefined, finish: null, reasoning },
    calls: new ToolCalls(),
  };
  let hasSpoken = false;
  reasoning.begin();
  try {
    watch.set(untilMs - clock.now(), () => lateFirst(outcome));
    const stream = await client.chat.completions.create(body, { signal: watch.signal });
    const chunks = stream[Symbol.asyncIterator]();
    for (;;) {
      if (hasSpoken) watch.set(STALL_MS, stalled);
      const next = await chunks.next();
      watch.check();
      if (next.done === true) break;
      const text = filter.push(note(next.value, outcome));
      hasSpoken ||= outcome.calls.isAny;
      if (text === '') continue;
      hasSpoken ||= /\S/.test(text);
      if (hasSpoken) watch.clear();
      yield { type: 'text', text };
    }
    const rest = filter.end();
    if (rest !== '') yield { type: 'text', text: rest };
    const usage = finish(outcome, hasSpoken || rest.trim() !== '');
    const calls = outcome.calls.finish();
    reasoning.keep(calls);
    for (const call of calls) yield { type: 'tool_call', call };
    return usage;
  } catch (thrown) {
    watch.check();
    throw thrown;
  } finally {
    watch.close();
  }
}

/** Takes what a chunk says besides text, and returns its text. Reasoning is never spoken. */
function note(chunk: Chunk, outcome: Outcome): string {
  const error = errorIn(chunk);
  if (error !== null) throw error;
  if (chunk.usage) {
    const { prompt_tokens: inputTokens, completion_tokens: outputTokens } = chunk.usage;
    outcome.usage = { inputTokens, outputTokens };
  }
  const choice = chunk.choices?.[0];
  if (choice === undefined) return '';
  outcome.finish = choice.finish_reason ?? outcome.finish;
  const delta: { content?: unknown; reasoning_content?: unknown } = choice.delta ?? {};
  outcome.reasoning.push(delta.reasoning_content);
  outcome.calls.push(choice.delta?.tool_calls);
  return typeof delta.content === 'string' ? delta.content : '';
}

function finish(outcome: Outcome, hasSpoken: boolean): LlmUsage | undefined {
  if (outcome.finish === 'content_filter') {
    throw new AppError(
      'E_PROVIDER_CONTENT',
      'language model: the reply was withheld by moderation',
    );
  }
  if (outcome.finish === null) {
    throw new AppError('E_PROVIDER_SERVER', 'language model: the reply broke off');
  }
  if (!hasSpoken) {
    throw new AppError('E_PROVIDER_SERVER', 'language model: the reply had nothing to say in it');
  }
  return outcome.usage;
}

function lateFirst(outcome: Outcome): AppError {
  const why = outcome.reasoning.isAny
    ? '; it sent only reasoning: switch thinking off for voice'
    : '';
  const message = `language model: no text within ${FIRST_TOKEN_MS} ms${why}`;
  return new AppError('E_TIMEOUT', message);
}

function stalled(): AppError {
  return new AppError('E_TIMEOUT', `language model: the reply stalled for ${STALL_MS} ms`);
}

function aborted(): AppError {
  return new AppError('E_ABORTED', 'the reply was given up');
}

type Watchdog = {
  /** Aborts on the caller's signal and when the time set is over. */
  readonly signal: AbortSignal;
  set(ms: number, error: () => AppError): void;
  clear(): void;
  /** Throws what it aborted for: the client library ends an aborted stream without an error. */
  check(): void;
  close(): void;
};

function watchdog(clock: Clock, outer: AbortSignal): Watchdog {
  const controller = new AbortController();
  let timer: TimerHandle | undefined;
  let late: AppError | null = null;
  const onAbort = (): void => controller.abort();
  if (outer.aborted) onAbort();
  outer.addEventListener('abort', onAbort, { once: true });
  const clear = (): void => {
    clock.clearTimer(timer);
    timer = undefined;
  };
  return {
    signal: controller.signal,
    set(ms, error) {
      clear();
      timer = clock.setTimer(() => {
        late = error();
        controller.abort();
      }, ms);
    },
    clear,
    check() {
      if (outer.aborted) throw aborted();
      if (late !== null) throw late;
    },
    close() {
      clear();
      outer.removeEventListener('abort', onAbort);
      controller.abort();
    },
  };
}

function presetOf({ preset, baseUrl, model }: OpenAiLlmOptions): Preset {
  return preset ?? presetFor(baseUrl, model);
}

function bodyOf(options: OpenAiLlmOptions, request: ReplyRequest, reasoning: Reasoning): Body {
  const { model, temperature, maxTokens } = options;
  const preset = presetOf(options);
  const tools = preset.hasTools ? toolsOf(request.tools) : {};
  return {
    model,
    messages: messagesOf(request).map((message) => reasoning.with(message, toOpenAi(message))),
    stream: true,
    ...tools,
    ...(preset.hasStreamOptions ? { stream_options: { include_usage: true } } : {}),
    ...(preset.hasTemperature && typeof temperature === 'number' ? { temperature } : {}),
    ...(typeof maxTokens === 'number' ? { [preset.maxTokensField]: maxTokens } : {}),
    ...preset.extraBody,
    ...(tools.tools === undefined ? {} : preset.extraWithTools),
  };
}

/** Keys and unread speech have no words: the model is told in brackets what happened. */
export function messagesOf(request: ReplyRequest): ChatMessage[] {
  const messages = request.messages.filter(
    ({ content, toolCalls }) => content.trim() !== '' || toolCalls !== undefined,
  );
  const { input } = request;
  // What the caller said last is answered already: this is about the results.
  if (messages.at(-1)?.role === 'tool') return messages;
  if (input.kind === 'dtmf') {
    const last = messages.at(-1);
    if (last?.role === 'user' && last.content.includes(input.digits)) return messages;
    return [...messages, { role: 'user', content: `[The caller pressed ${input.digits}]` }];
  }
  if (input.kind === 'note') {
    // Some models answer a user's message alone.
    const content = '[The caller has said nothing new; go on now as the private note asks]';
    return [...messages, { role: 'user', content }];
  }
  if (input.text.trim() === '') {
    messages.push({ role: 'user', content: '[The caller spoke, but it could not be understood]' });
  } else if (messages.at(-1)?.role !== 'user') {
    messages.push({ role: 'user', content: input.text });
  }
  return messages;
}
