/** Another agent of the account takes a call over because the present one asks for it (docs/tools.md, `hand_off`). */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { isId } from '#lib/ids.ts';
import { maskText } from '#lib/mask.ts';
import type { Voice } from '../speaker.ts';
import { handoffNote, handoffSummary, inConversation } from '../squad-handoff.ts';
import type { ToolPorts, ToolStory } from './types.ts';

const LOOKUP_MS = 1_500;
const MAX_SUMMARY_CHARS = 1_000;

export type HandOffWish = { readonly to: string; readonly summary: string };

export type HandOff = {
  readonly voice: Voice;
  readonly summary: HandoffSummary;
  /** What the present agent wrote, masked. */
  readonly words: string;
};

/** Errors: AppError whose message is for the model. */
export async function prepareHandOff(
  wish: HandOffWish,
  from: AgentConfig,
  parts: {
    readonly story: ToolStory;
    readonly ports: Pick<ToolPorts, 'agents' | 'providersFor'>;
    readonly clock: Clock;
  },
): Promise<HandOff> {
  const { story, ports, clock } = parts;
  const { accountId } = story;
  const { agents } = ports;
  const find = isId(wish.to) ? agents.byId(accountId, wish.to) : agents.byName(accountId, wish.to);
  const found = await withDeadline(find, LOOKUP_MS, 'reading the agent', clock);
  if (found === null) throw new AppError('E_REFERENCE', 'there is no such agent');
  if (found.id === from.id) throw new AppError('E_REFERENCE', 'that is you: go on yourself');
  const { language } = found;
  const words = maskText(wish.summary.slice(0, MAX_SUMMARY_CHARS));
  const summary = handoffSummary({ intent: words, messages: story.messages, language });
  const own = inConversation(found, { inherited: from.variables, given: {} });
  // What the caller said fills in no variables.
  const told = handoffNote({ ...summary, intent: words }, from.name, language);
  const note = told.replaceAll(/\{(?=\{)/g, '{ ');
  const systemPrompt = own.systemPrompt === '' ? note : `${own.systemPrompt}\n\n${note}`;
  const agent = { ...own, systemPrompt };
  const providers = await withDeadline(
    Promise.resolve(ports.providersFor(agent)),
    LOOKUP_MS,
    'the vendors of the agent',
    clock,
  );
  return { voice: { agent, providers: story.usage.watch(providers, agent.id) }, summary, words };
}
