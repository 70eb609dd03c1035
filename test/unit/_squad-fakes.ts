/** Squads in memory, for tests of the facade without a database. One account, every agent known but `missing`. */
import type { SquadPorts } from '#api/squads.ts';
import { newId } from '#lib/ids.ts';
import type { ExecuteRequest, ExecuteResult } from '#sessions/squad-desk.ts';
import type { SquadFields, SquadUse, StoredSquad } from '#store/squads.ts';
import type { Written } from '#store/references.ts';

const TIME = '2026-01-01T00:00:00.000Z';

export type SquadFakes = {
  readonly ports: SquadPorts;
  readonly squads: Map<string, StoredSquad>;
  readonly uses: Map<SquadUse, number>;
  /** Agents that do not exist. */
  readonly missing: Set<string>;
  readonly executed: ExecuteRequest[];
  /** What `execute` answers; null: an answer. */
  result: (() => Promise<ExecuteResult>) | null;
};

export function squadFakes(): SquadFakes {
  const squads = new Map<string, StoredSquad>();
  const fakes: SquadFakes = {
    ports: {} as SquadPorts,
    ...{ squads, uses: new Map(), missing: new Set(), executed: [], result: null },
  };
  const keep = (id: string, fields: SquadFields): Written<StoredSquad> => {
    const gone = fields.members.map(({ agentId }) => agentId);
    const missing = gone.filter((agentId) => fakes.missing.has(agentId));
    if (missing.length > 0) return { ok: false, missing };
    const members = fields.members.map((member) => ({ ...member, agentName: 'Agent' }));
    const value = { id, ...fields, members, createdAt: TIME, updatedAt: TIME };
    squads.set(id, value);
    return { ok: true, value };
  };
  const ports: SquadPorts = {
    squads: {
      create: async (_actor, fields) => keep(newId(), fields),
      list: async () => ({
        ...{ rows: [...squads.values()], total: squads.size },
        ...{ totalExact: true, next: null },
      }),
      get: async (_actor, id) => squads.get(id) ?? null,
      replace: async (_actor, id, fields) => (squads.has(id) ? keep(id, fields) : null),
      remove: async (_actor, id) => {
        if (!squads.has(id)) return null;
        if (fakes.uses.size === 0) squads.delete(id);
        return fakes.uses;
      },
      plan: async () => null,
    },
    squadTalk: {
      execute: async (request) => {
        fakes.executed.push(request);
        return fakes.result === null ? answerTo(request, squads) : fakes.result();
      },
    },
  };
  return Object.assign(fakes, { ports });
}

function answerTo(
  { squadId, conversationId, input }: ExecuteRequest,
  squads: ReadonlyMap<string, StoredSquad>,
): ExecuteResult {
  const member = squads.get(squadId)?.members[0];
  if (member === undefined) return { ok: false, refusal: 'squad' };
  const { agentId, agentName } = member;
  return {
    ok: true,
    turn: {
      ...{ agentId, agentName, intent: 'general', confidence: 0, reply: `You said ${input}` },
      ...{ handoff: null, endsConversation: false, status: 'active', expiresAtS: 1767227400 },
      conversationId: conversationId ?? newId(),
    },
  };
}
