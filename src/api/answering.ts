/** What decides who answers a call: agents, squads, bindings, rules. Their ports and routes in one place. */
import type { Clock } from '#lib/clock.ts';
import type { Reach } from '#lib/safe-fetch.ts';
import type { AgentAdmin } from '#store/agent-admin.ts';
import type { AnswerRules } from '#store/answer-rules.ts';
import type { Bindings } from '#store/bindings.ts';
import { AgentSchema } from './agent-schemas.ts';
import { addAgentRoutes } from './agents.ts';
import { addBindingRoutes, BindingSchema } from './bindings.ts';
import type { ApiServer } from './routing.ts';
import { EvaluationSchema, RuleSchema } from './rule-schemas.ts';
import { addSquadRoutes, SQUAD_SCHEMAS, type SquadPorts } from './squads.ts';
import { addRuleRoutes } from './rules.ts';

export type AnsweringPorts = SquadPorts & {
  readonly agentAdmin: AgentAdmin;
  readonly bindings: Bindings;
  readonly rules: AnswerRules;
};

/** To be registered with the server, so that `ref` finds them. */
export const ANSWERING_SCHEMAS = [
  AgentSchema,
  BindingSchema,
  RuleSchema,
  EvaluationSchema,
  ...SQUAD_SCHEMAS,
] as const;

export function addAnsweringRoutes(
  app: ApiServer,
  part: AnsweringPorts & { readonly reach: Reach; readonly clock: Clock },
): void {
  addAgentRoutes(app, part);
  addBindingRoutes(app, part);
  addRuleRoutes(app, part);
  addSquadRoutes(app, part);
}
