/** The functions of an agent: those with a URL go to a server, the others to the client on the call (contract 2.4). */
import type { AgentConfig, AgentFunction } from '#lib/agent-config.ts';
import type { ClientFunctions } from '../client-functions.ts';
import { fault } from './answers.ts';
import type { HttpTools, Tool, ToolSource, ToolStory, ToolTask } from './types.ts';

export type FunctionSourceParts = {
  readonly story: ToolStory;
  readonly client: ClientFunctions;
  readonly http: HttpTools | null;
};

export function functionSource(parts: FunctionSourceParts): ToolSource {
  return {
    offered: ({ functions }: AgentConfig) => functions.map((each) => toolOf(parts, each)),
    close: () => parts.client.close(),
  };
}

function toolOf({ story, client, http }: FunctionSourceParts, known: AgentFunction): Tool {
  const { name, description, parameters, timeoutMs } = known;
  const url = known.url ?? null;
  const run = async ({ id, arguments: given, agent }: ToolTask): Promise<string> => {
    if (url === null) return client.ask({ id, name, arguments: given, timeoutMs });
    if (http === null) return fault('functions with a URL are not called here');
    const call = story.snapshot();
    return http.call({ url, id, name, arguments: given, agent, call, timeoutMs });
  };
  return { name, description, parameters, run };
}
