/** Agents, and the same under their other name `assistants` (contract 2.3, 2.4). */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Reach } from '#lib/safe-fetch.ts';
import type { AgentAdmin, StoredAgent } from '#store/agent-admin.ts';
import type { Written } from '#store/references.ts';
import { AgentBody, AgentPatch, AgentSchema } from './agent-schemas.ts';
import { agentOfBody, agentView, agentWithPatch, configIdsIn, inUseProblem } from './agent-view.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { missingProblem } from './references.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, PaginationSchema, ref } from './schemas.ts';

export type AgentsPart = {
  readonly agentAdmin: AgentAdmin;
  readonly reach: Reach;
  readonly clock: Clock;
};

/** One family of paths: the same handlers, other words. */
type Family = {
  readonly url: string;
  readonly tag: string;
  readonly noun: 'Agent' | 'Assistant';
  readonly listKey: 'agents' | 'assistants';
};

const FAMILIES: readonly Family[] = [
  { url: '/api/v1/agents', tag: 'Agents', noun: 'Agent', listKey: 'agents' },
  { url: '/v1/assistants', tag: 'Assistants', noun: 'Assistant', listKey: 'assistants' },
];

const NoQuery = Type.Object({}, { additionalProperties: false });
const ListQuery = Type.Object(
  {
    ...pageFields,
    q: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'A part of the name' }),
    ),
  },
  { additionalProperties: false },
);

export function addAgentRoutes(app: ApiServer, part: AgentsPart): void {
  for (const family of FAMILIES) {
    addCreate(app, part, family);
    addList(app, part, family);
    addGet(app, part, family);
    addPut(app, part, family);
    addPatch(app, part, family);
    addDelete(app, part, family);
  }
}

function addCreate(app: ApiServer, part: AgentsPart, { url, tag, noun }: Family): void {
  app.route({
    method: 'POST',
    url,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: `create${noun}`,
      tags: [tag],
      summary: `Create an ${noun.toLowerCase()}`,
      querystring: NoQuery,
      body: AgentBody,
      response: answers(201, ref(AgentSchema), {
        description: 'It answers the calls of what is bound to it',
        problems: ['REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request, reply) => {
      // A key that sees some agents alone would never see the one it made.
      if (callerOf(request).agentIds !== null) throw new Problem('FORBIDDEN');
      const agent = agentOfBody(request.body, part.reach);
      const named = configIdsIn(request.body);
      const made = await fromStore(
        part,
        part.agentAdmin.create(actorOf(request), agent, idsOf(named)),
      );
      return reply.code(201).send(ok(agentView(writtenAgent(made, named))));
    },
  });
}

function addList(app: ApiServer, part: AgentsPart, { url, tag, noun, listKey }: Family): void {
  app.route({
    method: 'GET',
    url,
    config: { capability: 'any' },
    schema: {
      operationId: `list${noun}s`,
      tags: [tag],
      summary: `List ${listKey}, newest first`,
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({ [listKey]: Type.Array(ref(AgentSchema)), pagination: ref(PaginationSchema) }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(
        part,
        part.agentAdmin.list(actorOf(request), page, request.query.q ?? null),
      );
      return ok({
        [listKey]: found.rows.map(agentView),
        pagination: paginationOf(page, found),
      } as never);
    },
  });
}

function addGet(app: ApiServer, part: AgentsPart, { url, tag, noun }: Family): void {
  app.route({
    method: 'GET',
    url: `${url}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: `get${noun}`,
      tags: [tag],
      summary: `Read one ${noun.toLowerCase()}`,
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(AgentSchema), {
        description: 'As it was written',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const agent = await fromStore(part, part.agentAdmin.get(actorOf(request), request.params.id));
      if (agent === null) throw new Problem('NOT_FOUND');
      return ok(agentView(agent));
    },
  });
}

function addPut(app: ApiServer, part: AgentsPart, { url, tag, noun }: Family): void {
  app.route({
    method: 'PUT',
    url: `${url}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: `replace${noun}`,
      tags: [tag],
      summary: `Replace an ${noun.toLowerCase()} as a whole`,
      description: 'Calls started afterwards use it; a running call keeps its copy.',
      params: IdParams,
      querystring: NoQuery,
      body: AgentBody,
      response: answers(200, ref(AgentSchema), {
        description: 'As it is now',
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const agent = agentOfBody(request.body, part.reach);
      const named = configIdsIn(request.body);
      const changed = await fromStore(
        part,
        part.agentAdmin.update(actorOf(request), request.params.id, () => agent, idsOf(named)),
      );
      if (changed === null) throw new Problem('NOT_FOUND');
      return ok(agentView(writtenAgent(changed, named)));
    },
  });
}

function addPatch(app: ApiServer, part: AgentsPart, { url, tag, noun }: Family): void {
  app.route({
    method: 'PATCH',
    url: `${url}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: `change${noun}`,
      tags: [tag],
      summary: `Change fields of an ${noun.toLowerCase()}`,
      description: 'Each field given is replaced as a whole; null takes an optional one away.',
      params: IdParams,
      querystring: NoQuery,
      body: AgentPatch,
      response: answers(200, ref(AgentSchema), {
        description: 'As it is now',
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const { body, params } = request;
      const named = configIdsIn(body);
      const change = (known: StoredAgent) => agentWithPatch(known, body, part.reach);
      const changed = await fromStore(
        part,
        part.agentAdmin.update(actorOf(request), params.id, change, idsOf(named)),
      );
      if (changed === null) throw new Problem('NOT_FOUND');
      return ok(agentView(writtenAgent(changed, named)));
    },
  });
}

function addDelete(app: ApiServer, part: AgentsPart, { url, tag, noun }: Family): void {
  app.route({
    method: 'DELETE',
    url: `${url}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: `delete${noun}`,
      tags: [tag],
      summary: `Delete an ${noun.toLowerCase()}`,
      description:
        'Records keep its name. Not while bindings, rules, squads, extensions or unfinished campaigns name it.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        description: 'It is gone',
        problems: ['NOT_FOUND', 'IN_USE'],
      }),
    },
    handler: async (request) => {
      const uses = await fromStore(
        part,
        part.agentAdmin.remove(actorOf(request), request.params.id),
      );
      if (uses === null) throw new Problem('NOT_FOUND');
      if (uses.size > 0) throw inUseProblem(uses);
      return ok(null);
    },
  });
}

function idsOf(named: ReadonlyMap<string, Id>): Id[] {
  return [...new Set(named.values())];
}

/** Errors: REFERENCE_NOT_FOUND. */
function writtenAgent(written: Written<StoredAgent>, named: ReadonlyMap<string, Id>): StoredAgent {
  if (written.ok) return written.value;
  throw missingProblem(written.missing, named);
}
