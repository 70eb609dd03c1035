/** One answer of one agent: what its language model says, as it comes, or all of it in writing within its time. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Message } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type {
  ChatMessage,
  Language,
  LlmProvider,
  ReplyPart,
  ReplyRequest,
  ToolSpec,
  UtteranceAudio,
} from '#providers/contract.ts';
import { cutAtSentence } from './extractive.ts';
import { fillIn, historyOf } from './history.ts';
import { wordsWithoutModel } from './squad-handoff.ts';
import { within } from './vendor-stream.ts';

export type WrittenReply = { readonly text: string; readonly endsConversation: boolean };

type Speaking = {
  readonly llm: LlmProvider;
  /** As it takes part in this conversation. */
  readonly agent: AgentConfig;
  readonly conversationId: string;
  readonly input: string;
  /** The conversation, the input last. */
  readonly messages: readonly Message[];
  /** What this agent alone is told; null: nothing. */
  readonly note: string | null;
  readonly language: Language;
  /** The agent's memory at its provider. */
  readonly state: Map<string, unknown>;
  /** It has not answered in this conversation before. */
  readonly isFirst: boolean;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
};

export type ReplyOptions = Speaking & { readonly timeoutMs: number };

export type PartsOptions = Speaking & {
  /** What the next part may take, in ms. */
  readonly nextMs: () => number;
  /** The input as it was spoken. */
  readonly audio?: UtteranceAudio;
  /** Functions that the model may ask for. */
  readonly tools?: readonly ToolSpec[];
  /** What is not in `messages` yet: functions asked for with their results, and the input behind them. */
  readonly round?: readonly ChatMessage[];
};

const MAX_CHARS = 8_000;

/**
 * What came until the time was over is an answer too. Errors: AppError E_PROVIDER_*, E_TIMEOUT, and E_ABORTED once
 * `signal` aborts.
 */
export async function writtenReply(options: ReplyOptions): Promise<WrittenReply> {
  const { clock, timeoutMs } = options;
  const endMs = clock.now() + timeoutMs;
  const said = { text: '', endsConversation: false };
  try {
    const nextMs = (): number => Math.max(0, endMs - clock.now());
    for await (const part of replyParts({ ...options, nextMs })) {
      if (part.type === 'text' || part.type === 'audio') said.text += part.text;
      else if (part.type === 'end_call') said.endsConversation = true;
    }
  } catch (error) {
    const isLate = error instanceof AppError && error.code === 'E_TIMEOUT';
    const text = cleanText(said.text);
    if (!isLate || text === '') throw error;
    const isWhole = /[.!?。！？…]$/u.test(text);
    return { text: isWhole ? text : cutAtSentence(text, text.length - 1), endsConversation: false };
  }
  const text = cleanText(said.text);
  if (text !== '') return { ...said, text };
  throw new AppError('E_PROVIDER_SERVER', 'language model: the reply had nothing to say in it');
}

/**
 * What the agent says and wants, as it comes; no more than a message holds. Errors: AppError E_PROVIDER_*, E_TIMEOUT, and
 * E_ABORTED once `signal` aborts.
 */
export async function* replyParts(options: PartsOptions): AsyncGenerator<ReplyPart, void> {
  const { llm, agent, language, isFirst, audio, clock, nextMs, signal: outer } = options;
  // The built-in agent is made for the ear: it repeats what it heard and reads its menu.
  if (llm.vendor === 'local' && audio === undefined) {
    const greeting =
      isFirst && agent.greeting !== null ? fillIn(agent.greeting, agent.variables) : null;
    yield { type: 'text', text: wordsWithoutModel(agent, language, greeting) };
    return;
  }
  const giveUp = new AbortController();
  const onAbort = (): void => giveUp.abort();
  if (outer?.aborted === true) onAbort();
  outer?.addEventListener('abort', onAbort, { once: true });
  let chars = 0;
  try {
    const parts = llm.reply(requestOf(options), giveUp.signal);
    for await (const part of within(parts, { nextMs, clock, what: 'the vendor of the model' })) {
      if (chars > MAX_CHARS) return;
      if ('text' in part) chars += part.text.length;
      yield part;
    }
  } finally {
    outer?.removeEventListener('abort', onAbort);
    giveUp.abort();
  }
}

function requestOf(options: PartsOptions): ReplyRequest {
  const { agent, messages, conversationId, input, language, state, note } = options;
  const { audio = null, tools = [], round = [] } = options;
  return {
    ...{ callId: conversationId, language, state, tools },
    messages: [...withNote(historyOf(agent, messages), note), ...round],
    input: { kind: 'speech', text: input, audio },
  };
}

/** The note stands with the system prompt: not every model takes a second system message. */
export function withNote(history: readonly ChatMessage[], note: string | null): ChatMessage[] {
  if (note === null) return [...history];
  const [first, ...rest] = history;
  if (first?.role !== 'system') return [{ role: 'system', content: note }, ...history];
  return [{ role: 'system', content: `${first.content}\n\n${note}` }, ...rest];
}

/** As a message keeps it. */
export function cleanText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '').trim().slice(0, MAX_CHARS);
}
