/** The conversation as a language model gets it: system prompt with its variables, then what was really heard. */
import type { Message } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { ChatMessage } from '#providers/contract.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { withoutFillers } from './speaker-fillers.ts';

/** What a model is told besides. */
export type HistoryContext = {
  /** Facts of the call; null: none. */
  readonly facts: string | null;
  /** Of the caller's earlier calls; null: nothing. */
  readonly memory: string | null;
  /** Of what is before `from`; null: nothing is summed up. */
  readonly summary: string | null;
  /** The first message (of `spokenHistory`) that is given in its own words. */
  readonly from: number;
  /** Tools that are at work. */
  readonly pendingIds: ReadonlySet<Id>;
};

export function historyOf(
  agent: AgentConfig,
  messages: readonly Message[],
  context: HistoryContext | null = null,
): ChatMessage[] {
  const history: ChatMessage[] = [];
  const prompt = fillIn(agent.systemPrompt, agent.variables);
  // Not every model takes a second system message at the beginning.
  const system = [prompt, context?.facts ?? '', context?.memory ?? '']
    .filter((part) => part !== '')
    .join('\n\n');
  if (system !== '') history.push({ role: 'system', content: system });
  const summary = context?.summary ?? null;
  if (summary !== null)
    history.push({ role: 'system', content: `[What was said before, summed up: ${summary}]` });
  const told = spokenHistory(messages);
  const shown = context === null ? told.slice(-agent.maxHistory) : told.slice(context.from);
  for (const { role, content: heard, name, interrupted } of shown) {
    // What was said to pass the time are not the model's words.
    const content = role === 'assistant' ? withoutFillers(heard, agent.filler, interrupted) : heard;
    if (content === '') continue;
    // Of a round that is over the protocol knows no results, but the model must.
    if (role !== 'function') history.push({ role, content });
    else history.push({ role: 'system', content: `[Function ${name ?? ''} answered: ${content}]` });
  }
  if (context !== null) history.push(...atWork(messages, context.pendingIds));
  return history;
}

/** Messages with something in them: what a model is shown, and what `maxHistory` counts. */
export function spokenHistory(messages: readonly Message[]): Message[] {
  return messages.filter(({ content }) => content !== '');
}

/** What was begun for a reply that the caller cut short: asked again it would be done twice. */
function atWork(messages: readonly Message[], pendingIds: ReadonlySet<Id>): ChatMessage[] {
  if (pendingIds.size === 0) return [];
  const calls = messages.flatMap(({ tool_calls: wanted = [] }) => wanted);
  return calls
    .filter(({ id }) => pendingIds.has(id))
    .map(({ name, arguments: given }) => ({
      role: 'system',
      content: `[Function ${name} is at work with ${JSON.stringify(given)}; its answer will follow. Do not ask for it again.]`,
    }));
}

/** `{{name}}` becomes the variable's value; an unknown name stays as it is, so that a slip is seen, not hidden. */
export function fillIn(template: string, variables: Readonly<Record<string, string>>): string {
  return template.replace(/\{\{\s*([\w.-]+)\s*\}\}/g, (whole, name: string) =>
    Object.hasOwn(variables, name) ? (variables[name] as string) : whole,
  );
}
