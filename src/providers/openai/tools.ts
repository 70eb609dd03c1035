/** Functions in the chat protocol: offered to the model, asked for in pieces, answered by messages. */
import { randomUUID } from 'node:crypto';
import type OpenAI from 'openai';
import { AppError } from '#lib/errors.ts';
import type { ChatMessage, ToolCall, ToolSpec } from '../contract.ts';

type Delta = OpenAI.ChatCompletionChunk.Choice.Delta.ToolCall;
type Asked = { id: string; name: string; text: string };

/** At most this much is gathered for one call: a model that runs away must not fill the memory. */
const MAX_ARGUMENT_CHARS = 64 * 1024;
const MAX_CALLS = 16;
/** As deep as a body of the API may be (contract 1.5). */
const MAX_DEPTH = 32;

/** The calls of one reply, which a stream brings in pieces. */
export class ToolCalls {
  readonly #asked = new Map<number, Asked>();

  get isAny(): boolean {
    return this.#asked.size > 0;
  }

  /** Errors: E_PROVIDER_SERVER for more than any function takes. */
  push(deltas: readonly Delta[] | undefined | null): void {
    for (const { index = 0, id, function: named } of deltas ?? []) {
      const asked = this.#asked.get(index) ?? { id: '', name: '', text: '' };
      this.#asked.set(index, asked);
      asked.id ||= id ?? '';
      asked.name += named?.name ?? '';
      asked.text += named?.arguments ?? '';
      const chars = asked.name.length + asked.text.length;
      if (chars > MAX_ARGUMENT_CHARS || this.#asked.size > MAX_CALLS) {
        throw new AppError('E_PROVIDER_SERVER', 'language model: a function call without end');
      }
    }
  }

  /** In the order asked. Errors: E_PROVIDER_SERVER for arguments that are no JSON object. */
  finish(): ToolCall[] {
    const inOrder = [...this.#asked].sort(([a], [b]) => a - b);
    return inOrder.map(([index, { id, name, text }]) => ({
      // Some servers give no ids; the place alone would be another reply's too.
      id: id === '' ? `call_${index}_${randomUUID()}` : id,
      name,
      arguments: argumentsOf(text),
    }));
  }
}

function argumentsOf(text: string): ToolCall['arguments'] {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && !isDeep(value, 1))
      return value as ToolCall['arguments'];
  } catch (cause) {
    throw new AppError('E_PROVIDER_SERVER', 'language model: a function call is no JSON', {
      cause,
    });
  }
  throw new AppError('E_PROVIDER_SERVER', 'language model: arguments of a function are no object');
}

/** Neither a journal line nor a column could hold what is nested by the thousand. */
function isDeep(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth > MAX_DEPTH || Object.values(value).some((each) => isDeep(each, depth + 1));
}

export function toolsOf(tools: readonly ToolSpec[] = []): {
  tools?: OpenAI.ChatCompletionFunctionTool[];
} {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(({ name, description, parameters }) => ({
      type: 'function',
      function: { name, description, parameters },
    })),
  };
}

export function toOpenAi(message: ChatMessage): OpenAI.ChatCompletionMessageParam {
  const { role, content, toolCalls, toolCallId = '' } = message;
  if (role === 'tool') return { role, content, tool_call_id: toolCallId };
  if (role !== 'assistant' || toolCalls === undefined) return { role, content };
  return {
    role,
    content: content === '' ? null : content,
    tool_calls: toolCalls.map(({ id, name, arguments: given }) => ({
      ...{ id, type: 'function' as const },
      function: { name, arguments: JSON.stringify(given) },
    })),
  };
}
