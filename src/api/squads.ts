/** Squads: agents that share a conversation (contract 2.4). */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Written } from '#store/references.ts';
import type { SquadFields, Squads, StoredSquad } from '#store/squads.ts';
import { inUseProblem } from './agent-view.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { missingProblem } from './references.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { Faults } from './rule-checks.ts';
import { answers, IdParams, ok, PaginationSchema, ref } from './schemas.ts';
import { addSquadExecute, type SquadTalk } from './squads-execute.ts';
import { SquadBody, SquadSchema, type SquadView } from './squad-schemas.ts';

export type SquadPorts = { readonly squads: Squads; readonly squadTalk: SquadTalk };
export type SquadsPart = SquadPorts & { readonly clock: Clock };

export const SQUAD_TAGS = ['Squads'];
export const SQUAD_SCHEMAS = [SquadSchema] as const;

const URL = '/v1/squads';
const NoQuery = Type.Object({}, { additionalProperties: false });
const ListQuery = Type.Object(pageFields, { additionalProperties: false });

export function addSquadRoutes(app: ApiServer, part: SquadsPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addPut(app, part);
  addDelete(app, part);
  addSquadExecute(app, part);
}

function addCreate(app: ApiServer, part: SquadsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'dev', idempotent: true },
    schema: {
      operationId: 'createSquad',
      tags: SQUAD_TAGS,
      summary: 'Create a squad',
      querystring: NoQuery,
      body: SquadBody,
      response: answers(201, ref(SquadSchema), {
        description: 'It can be bound, called with, and talked to',
        problems: ['REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request, reply) => {
      const squad = squadOfBody(request.body);
      const made = await fromStore(part, part.squads.create(actorOf(request), squad));
      return reply.code(201).send(ok(squadView(writtenSquad(made, squad))));
    },
  });
}

function addList(app: ApiServer, part: SquadsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listSquads',
      tags: SQUAD_TAGS,
      summary: 'List squads, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({ squads: Type.Array(ref(SquadSchema)), pagination: ref(PaginationSchema) }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.squads.list(actorOf(request), page));
      return ok({ squads: found.rows.map(squadView), pagination: paginationOf(page, found) });
    },
  });
}

function addGet(app: ApiServer, part: SquadsPart): void {
  app.route({
    method: 'GET',
    url: `${URL}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getSquad',
      tags: SQUAD_TAGS,
      summary: 'Read one squad',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(SquadSchema), {
        description: 'As it was written',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const squad = await fromStore(part, part.squads.get(actorOf(request), request.params.id));
      if (squad === null) throw new Problem('NOT_FOUND');
      return ok(squadView(squad));
    },
  });
}

function addPut(app: ApiServer, part: SquadsPart): void {
  app.route({
    method: 'PUT',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'replaceSquad',
      tags: SQUAD_TAGS,
      summary: 'Replace a squad as a whole',
      description: 'Conversations started afterwards use it; a running one keeps its copy.',
      params: IdParams,
      querystring: NoQuery,
      body: SquadBody,
      response: answers(200, ref(SquadSchema), {
        description: 'As it is now',
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const squad = squadOfBody(request.body);
      const work = part.squads.replace(actorOf(request), request.params.id, squad);
      const changed = await fromStore(part, work);
      if (changed === null) throw new Problem('NOT_FOUND');
      return ok(squadView(writtenSquad(changed, squad)));
    },
  });
}

function addDelete(app: ApiServer, part: SquadsPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'deleteSquad',
      tags: SQUAD_TAGS,
      summary: 'Delete a squad',
      description: 'Its agents stay. Not while bindings or rules name it.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        description: 'It is gone',
        problems: ['NOT_FOUND', 'IN_USE'],
      }),
    },
    handler: async (request) => {
      const work = part.squads.remove(actorOf(request), request.params.id);
      const uses = await fromStore(part, work);
      if (uses === null) throw new Problem('NOT_FOUND');
      if (uses.size > 0) throw inUseProblem(uses);
      return ok(null);
    },
  });
}

/** Errors: VALIDATION_FAILED. */
function squadOfBody(body: SquadBody): SquadFields {
  refuseBad(body);
  return {
    name: body.name,
    members: body.members.map((member) => ({
      ...{
        agentId: member.agent_id.toLowerCase(),
        role: member.role,
        priority: member.priority ?? 1,
      },
      skills: (member.skills ?? []).map((skill) => skill.trim()),
    })),
    transfers: (body.transfers ?? []).map((transfer) => ({
      ...{ from: transfer.from.toLowerCase(), to: transfer.to.toLowerCase() },
      when: transfer.when.trim(),
      notice: transfer.notice?.trim() ?? null,
    })),
  };
}

/** What the schema cannot say. */
function refuseBad({ name, members, transfers = [] }: SquadBody): void {
  const faults = new Faults();
  const refuseBlank = (path: string, text: string): void => {
    if (text.trim() === '') faults.add(path, 'minLength', { limit: 1 });
  };
  refuseBlank('/name', name);
  const ids = new Set<Id>();
  for (const [at, member] of members.entries()) {
    const id = member.agent_id.toLowerCase();
    if (ids.has(id)) faults.add(`/members/${at}/agent_id`, 'distinct');
    ids.add(id);
    const skills = new Set<string>();
    for (const [index, skill] of (member.skills ?? []).entries()) {
      refuseBlank(`/members/${at}/skills/${index}`, skill);
      if (skills.has(skill.trim())) faults.add(`/members/${at}/skills/${index}`, 'distinct');
      skills.add(skill.trim());
    }
  }
  if (members.filter(({ role }) => role === 'primary').length !== 1) {
    faults.add('/members', 'primary');
  }
  for (const [at, { when, notice, ...ways }] of transfers.entries()) {
    const [from, to] = [ways.from.toLowerCase(), ways.to.toLowerCase()];
    if (!ids.has(from)) faults.add(`/transfers/${at}/from`, 'member');
    if (!ids.has(to)) faults.add(`/transfers/${at}/to`, 'member');
    if (from === to) faults.add(`/transfers/${at}/to`, 'distinct');
    refuseBlank(`/transfers/${at}/when`, when);
    if (notice !== undefined && notice !== null) refuseBlank(`/transfers/${at}/notice`, notice);
  }
  faults.refuse();
}

/** Errors: REFERENCE_NOT_FOUND. */
function writtenSquad(written: Written<StoredSquad>, squad: SquadFields): StoredSquad {
  if (written.ok) return written.value;
  const named = squad.members.map(({ agentId }, at) => {
    return [`/members/${at}/agent_id`, agentId] as const;
  });
  throw missingProblem(written.missing, new Map(named));
}

function squadView(squad: StoredSquad): SquadView {
  return {
    ...{ id: squad.id, name: squad.name },
    members: squad.members.map((member) => ({
      ...{ agent_id: member.agentId, agent_name: member.agentName, role: member.role },
      ...{ skills: [...member.skills], priority: member.priority },
    })),
    transfers: squad.transfers.map((transfer) => ({ ...transfer })),
    ...{ created_at: squad.createdAt, updated_at: squad.updatedAt },
  };
}
