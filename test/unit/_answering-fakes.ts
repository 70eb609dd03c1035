/** Agents, bindings and rules in memory, for tests of the facade without a database. One account, every id known. */
import type { AnswerRule, RoutingRules } from '#lib/answer-rule.ts';
import { newId } from '#lib/ids.ts';
import type { AnsweringPorts } from '#api/answering.ts';
import type { StoredAgent } from '#store/agent-admin.ts';
import type { Binding } from '#store/bindings.ts';
import { squadFakes, type SquadFakes } from './_squad-fakes.ts';

const TIME = '2026-01-01T00:00:00.000Z';

export type AnsweringFakes = {
  readonly ports: AnsweringPorts;
  readonly rules: Map<string, AnswerRule>;
  readonly agents: Map<string, StoredAgent>;
  readonly bindings: Map<string, Binding>;
  readonly squads: SquadFakes;
};

export function answeringFakes(): AnsweringFakes {
  const fakes = {
    rules: new Map<string, AnswerRule>(),
    agents: new Map<string, StoredAgent>(),
    bindings: new Map<string, Binding>(),
    squads: squadFakes(),
  };
  const ports = { ...agentFakes(fakes), rules: ruleFakes(fakes.rules), ...fakes.squads.ports };
  return { ...fakes, ports };
}

function agentFakes(fakes: Pick<AnsweringFakes, 'agents' | 'bindings'>) {
  const { agents, bindings } = fakes;
  const keepAgent = (agent: StoredAgent): StoredAgent => {
    agents.set(agent.id, agent);
    return agent;
  };
  const agentAdmin: AnsweringPorts['agentAdmin'] = {
    create: async (_actor, fields) => ({
      ok: true,
      value: keepAgent({ id: newId(), ...fields, createdAt: TIME, updatedAt: TIME }),
    }),
    list: async () => ({
      ...{ rows: [...agents.values()], total: agents.size },
      ...{ totalExact: true, next: null },
    }),
    get: async (_actor, id) => agents.get(id) ?? null,
    update: async (_actor, id, change) => {
      const known = agents.get(id);
      if (known === undefined) return null;
      return { ok: true, value: keepAgent({ ...known, ...change(known) }) };
    },
    remove: async (_actor, id) => (agents.delete(id) ? new Map() : null),
    preview: async (_actor, { agentId }) => {
      const agent = agents.get(agentId ?? '') ?? [...agents.values()][0];
      return agent === undefined ? null : { id: agent.id, name: agent.name };
    },
  };
  return {
    agentAdmin,
    bindings: {
      list: async () => [...bindings.values()],
      put: async (_actor, fields) => {
        const value = { id: newId(), ...fields };
        bindings.set(value.id, value);
        return { ok: true, value };
      },
      remove: async (_actor, id) => {
        if (bindings.get(id)?.kind === 'default') return false;
        return bindings.delete(id) ? true : null;
      },
    } satisfies AnsweringPorts['bindings'],
  };
}

function ruleFakes(rules: Map<string, AnswerRule>): AnsweringPorts['rules'] {
  const ordered = (): AnswerRule[] =>
    [...rules.values()].sort((left, right) => left.priority - right.priority);
  const routing = async (): Promise<RoutingRules> => ({
    accountId: '',
    calendar: {
      ...{ timezone: 'Asia/Shanghai', countryCode: '86' },
      ...{ holidays: [], answerDefault: 'agent' as const },
    },
    rules: ordered(),
  });
  const keep = (rule: AnswerRule): AnswerRule => {
    rules.set(rule.id, rule);
    return rule;
  };
  return {
    list: async (_actor, enabled) =>
      ordered().filter((rule) => enabled === null || rule.enabled === enabled),
    get: async (_actor, id) => rules.get(id) ?? null,
    create: async (_actor, fields) => ({
      ok: true,
      value: keep({ id: newId(), ...fields, createdAt: TIME, updatedAt: TIME }),
    }),
    update: async (_actor, id, changes) => {
      const known = rules.get(id);
      return known === undefined ? null : { ok: true, value: keep({ ...known, ...changes }) };
    },
    remove: async (_actor, id) => rules.delete(id),
    reorder: async (_actor, ids) => {
      const unknown = ids.filter((id) => !rules.has(id));
      if (unknown.length > 0) return { fault: 'unknown', ids: unknown };
      if (ids.length < rules.size) return { fault: 'missing', ids: [] };
      for (const [index, id] of ids.entries()) {
        keep({ ...(rules.get(id) as AnswerRule), priority: index + 1 });
      }
      return ordered();
    },
    routing,
    missing: async () => [],
    forRouting: routing,
  };
}
