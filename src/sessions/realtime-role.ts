/** Who a realtime model is to be: the agent's prompt, the functions it may ask for, and what was said before. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { Language, RealtimeProvider, ToolSpec } from '#providers/contract.ts';
import type { CallContext } from './call-context.ts';
import type { LinkRole } from './realtime-link.ts';
import type { CallTools } from './tools/call-tools.ts';

/** Tools that have to be asked for by then are done without. */
const OFFER_MS = 1_000;

export function roleOf(parts: {
  readonly agent: AgentConfig;
  readonly provider: RealtimeProvider;
  readonly language: Language;
  readonly tools: Pick<CallTools, 'offered' | 'pendingIds'>;
  readonly context: Pick<CallContext, 'history'>;
  readonly clock: Clock;
}): LinkRole {
  const { agent, provider, language, tools, context, clock } = parts;
  const offered = async (): Promise<readonly ToolSpec[]> => {
    try {
      return await withDeadline(tools.offered(agent), OFFER_MS, 'the list of tools', clock);
    } catch {
      // Late, and nothing worse: it never rejects by itself.
      return agent.functions;
    }
  };
  const history = (): ReturnType<LinkRole['history']> => context.history(agent, tools.pendingIds);
  return { provider, language, history, tools: offered };
}

/** Whether the agent's own voice says what is to be said word for word; else the model is asked to. */
export function hasOwnVoice({ vendors, vendorConfigs }: AgentConfig): boolean {
  return vendors.tts !== null || (vendorConfigs?.tts ?? null) !== null;
}
