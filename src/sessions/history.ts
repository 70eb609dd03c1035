/** The conversation as a language model gets it: system prompt with its variables, then what was really heard. */
import type { Message } from '#lib/call-events.ts';
import type { ChatMessage } from '#providers/contract.ts';
import type { AgentConfig } from '#lib/agent-config.ts';

export function historyOf(agent: AgentConfig, messages: readonly Message[]): ChatMessage[] {
  const history: ChatMessage[] = [];
  const system = fillIn(agent.systemPrompt, agent.variables);
  if (system !== '') history.push({ role: 'system', content: system });
  const told = messages.filter(({ content }) => content !== '');
  for (const { role, content, name } of told.slice(-agent.maxHistory)) {
    // Of a round that is over the protocol knows no results, but the model must.
    if (role !== 'function') history.push({ role, content });
    else history.push({ role: 'system', content: `[Function ${name ?? ''} answered: ${content}]` });
  }
  return history;
}

/** `{{name}}` becomes the variable's value; an unknown name stays as it is, so that a slip is seen, not hidden. */
export function fillIn(template: string, variables: Readonly<Record<string, string>>): string {
  return template.replace(/\{\{\s*([\w.-]+)\s*\}\}/g, (whole, name: string) =>
    Object.hasOwn(variables, name) ? (variables[name] as string) : whole,
  );
}
