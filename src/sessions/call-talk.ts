/** What a live call's conversation is lent by the process: its tools, and what its model is told besides. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { CallContext, type CallerMemory } from './call-context.ts';
import type { CallStory } from './story.ts';
import { CallTools } from './tools/call-tools.ts';
import type { SendKeys, ToolPorts } from './tools/types.ts';

export type CallTalk = {
  readonly tools: ToolPorts;
  readonly memory: CallerMemory;
  /** IANA; null: unknown. Errors: E_DATABASE*. */
  timeZone(accountId: Id): Promise<string | null>;
};

export type TalkOf = { readonly tools: CallTools; readonly context: CallContext };

/** Made when the call is: what is to be read is read while it rings. */
export function talkOf(
  talk: CallTalk,
  call: {
    readonly story: CallStory;
    readonly agent: AgentConfig;
    readonly clock: Clock;
    readonly log: Log;
    readonly sendKeys: SendKeys;
  },
): TalkOf {
  const { story, agent, clock, sendKeys } = call;
  const log = call.log.child({ callId: story.callId });
  const tools = new CallTools({
    ...{ story, clock, log, ports: talk.tools },
    sendKeys: story.channel === 'phone' ? sendKeys : null,
  });
  const context = new CallContext({
    ...{ story, clock, log, memory: talk.memory },
    timeZone: () => talk.timeZone(story.accountId),
    // It is asked for summaries alone, which are paid for too.
    llmFor: async (of) => story.usage.watchQuestions(await talk.tools.providersFor(of), of.id).llm,
  });
  tools.warmUp(agent);
  context.begin(agent);
  return { tools, context };
}
