/** Functions that an agent has asked the client for, where the answer comes with the next request (contract 2.4). */
import type { AgentConfig, AgentFunction } from '#lib/agent-config.ts';
import type { Message } from '#lib/call-events.ts';
import type { ChatMessage, ToolCall } from '#providers/contract.ts';

export type FunctionResult = { readonly callId: string; readonly result: unknown };

/** Those that the client answers: a server is asked in live calls alone. */
export function clientFunctions({ functions }: AgentConfig): readonly AgentFunction[] {
  return functions.filter(({ url = null }) => url === null);
}

/** Calls that nothing has been said behind: a turn with calls ends with them. */
export function pendingCalls(messages: readonly Message[]): readonly ToolCall[] {
  return messages.at(-1)?.tool_calls ?? [];
}

/** The answer to each call as JSON, in the order of the calls; one that is missing says so. */
export function answersTo(
  calls: readonly ToolCall[],
  results: readonly FunctionResult[],
): { readonly call: ToolCall; readonly content: string }[] {
  return calls.map((call) => {
    const given = results.find(({ callId }) => callId === call.id);
    const fault = { error: 'the client did not answer' };
    return { call, content: JSON.stringify(given === undefined ? fault : (given.result ?? null)) };
  });
}

/** The conversation before `calls`, and the round that they belong to as a model wants it. */
export function roundOf(
  messages: readonly Message[],
  answers: ReturnType<typeof answersTo>,
): { readonly before: readonly Message[]; readonly round: ChatMessage[] } {
  if (answers.length === 0) return { before: messages, round: [] };
  const before = messages.slice(0, -1);
  // What was said in the same breath is the same message.
  const content = before.at(-1)?.role === 'assistant' ? (before.pop()?.content ?? '') : '';
  const toolCalls = answers.map(({ call }) => call);
  const results = answers.map(({ call, content: result }): ChatMessage => {
    return { role: 'tool', content: result, toolCallId: call.id };
  });
  return { before, round: [{ role: 'assistant', content, toolCalls }, ...results] };
}
