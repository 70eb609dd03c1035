/** People allowed into an account (contract 2.8). The owner alone decides. */
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Member, Members } from '#store/members.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import {
  answers,
  EXAMPLE_ID,
  IdSchema,
  nullable,
  ok,
  PaginationSchema,
  ref,
  TimeSchema,
} from './schemas.ts';

const RoleSchema = Type.Enum(['admin', 'developer', 'supervisor', 'viewer']);

const MemberSchema = Type.Object(
  { user_id: IdSchema, email: nullable(Type.String()), role: RoleSchema, created_at: TimeSchema },
  {
    examples: [
      {
        ...{ user_id: EXAMPLE_ID, email: 'ann@example.com', role: 'supervisor' },
        created_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const AddBody = Type.Object(
  {
    email: Type.String({ maxLength: 255, pattern: '^[^\\s@]{1,64}@[^\\s@]+$' }),
    role: RoleSchema,
    password: Type.Optional(
      Type.String({
        ...{ minLength: 12, maxLength: 128 },
        description: 'Of a user that is made now; an existing user keeps its own',
      }),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ email: 'ann@example.com', role: 'supervisor', password: 'a long pass phrase' }],
  },
);

const RoleBody = Type.Object(
  { role: RoleSchema },
  { additionalProperties: false, examples: [{ role: 'viewer' }] },
);

const MemberParams = Type.Object({ user_id: IdSchema });
const ListQuery = Type.Object(pageFields, { additionalProperties: false });
const TAGS = ['Administration'];

export type MembersPart = { readonly members: Members; readonly clock: Clock };

export function addMemberRoutes(app: ApiServer, part: MembersPart): void {
  addAdd(app, part);
  addList(app, part);
  addSetRole(app, part);
  addRemove(app, part);
}

function addAdd(app: ApiServer, part: MembersPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/members',
    config: { capability: 'own', idempotent: true },
    schema: {
      operationId: 'addMember',
      tags: TAGS,
      summary: 'Let a person into the account',
      description:
        'An existing user is added. Otherwise a user is made, except with an outside issuer of tokens, where the person must have come in once before (`REFERENCE_NOT_FOUND`).',
      body: AddBody,
      response: answers(201, MemberSchema, {
        description: 'The member',
        ...{ hasBody: true, problems: ['CONFLICT', 'REFERENCE_NOT_FOUND'] as const },
      }),
    },
    handler: async (request, reply) => {
      const { email, role, password = null } = request.body;
      const wanted = { email: email.toLowerCase(), role, password };
      const member = await fromStore(part, part.members.add(actorOf(request), wanted));
      if (member === null) {
        const faults = [{ path: '/email', rule: 'exists' }];
        throw new Problem('REFERENCE_NOT_FOUND', { faults });
      }
      reply.code(201);
      return ok(viewOf(member));
    },
  });
}

function addList(app: ApiServer, part: MembersPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/members',
    config: { capability: 'own' },
    schema: {
      operationId: 'listMembers',
      tags: TAGS,
      summary: 'List the people in the account, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({ members: Type.Array(MemberSchema), pagination: ref(PaginationSchema) }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.members.list(actorOf(request), page));
      return ok({ members: found.rows.map(viewOf), pagination: paginationOf(page, found) });
    },
  });
}

function addSetRole(app: ApiServer, part: MembersPart): void {
  app.route({
    method: 'PUT',
    url: '/api/v1/members/:user_id',
    config: { capability: 'own' },
    schema: {
      operationId: 'updateMember',
      tags: TAGS,
      summary: 'Change the role of a member',
      params: MemberParams,
      body: RoleBody,
      response: answers(200, MemberSchema, {
        description: 'The member',
        ...{ hasBody: true, problems: ['NOT_FOUND'] as const },
      }),
    },
    handler: async (request) => {
      const { user_id: userId } = request.params;
      const work = part.members.setRole(actorOf(request), userId, request.body.role);
      const member = await fromStore(part, work);
      if (member === null) throw new Problem('NOT_FOUND');
      return ok(viewOf(member));
    },
  });
}

function addRemove(app: ApiServer, part: MembersPart): void {
  app.route({
    method: 'DELETE',
    url: '/api/v1/members/:user_id',
    config: { capability: 'own' },
    schema: {
      operationId: 'removeMember',
      tags: TAGS,
      summary: 'End a membership',
      description:
        'Works on every node within 3 s. API keys that the person has made stay: revoke them apart.',
      params: MemberParams,
      response: answers(200, Type.Null(), { description: 'Ended', problems: ['NOT_FOUND'] }),
    },
    handler: async (request) => {
      const work = part.members.remove(actorOf(request), request.params.user_id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function viewOf({ userId, email, role, createdAt }: Member) {
  return { user_id: userId, email, role, created_at: createdAt.toISOString() };
}
