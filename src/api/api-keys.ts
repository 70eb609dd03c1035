/** API keys (contract 2.8): make, list, rotate, revoke. A key is shown once; only its hash is stored. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { ApiKeyAdmin, ApiKeyRow, IssuedKey, WantedKey } from '#store/api-keys-admin.ts';
import { cidrOf } from './addresses.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem, type FieldFault } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import {
  answers,
  EXAMPLE_ID,
  IdParams,
  IdSchema,
  nullable,
  ok,
  PaginationSchema,
  ref,
  TimeSchema,
} from './schemas.ts';

const MAX_OVERLAP_S = 604_800;
const DEFAULT_OVERLAP_S = 86_400;
/** The last second that a four-digit year can write. */
const MAX_UNIX_S = 253_402_300_799;

const RoleSchema = Type.Enum(['admin', 'developer', 'supervisor', 'viewer']);

const keyFields = {
  id: IdSchema,
  name: Type.String(),
  prefix: Type.String({ description: 'The 8 characters behind `cy_`, to tell keys apart' }),
  role: RoleSchema,
  agent_ids: nullable(Type.Array(IdSchema, { description: 'Null: all agents' })),
  ip_allow: nullable(Type.Array(Type.String(), { description: 'Null: any address' })),
  expires_at: nullable(Type.Integer({ description: 'Unix seconds' })),
  last_used_at: nullable(TimeSchema),
  revoked_at: nullable(TimeSchema),
  created_at: TimeSchema,
};

const keyExample = {
  ...{ id: EXAMPLE_ID, name: 'Reporting', prefix: 'k3j9x2pq', role: 'viewer', agent_ids: null },
  ...{ ip_allow: ['192.0.2.0/24'], expires_at: 1798761600, last_used_at: null, revoked_at: null },
  created_at: '2026-01-01T00:00:00.000Z',
};

const ApiKeySchema = Type.Object(keyFields, { examples: [keyExample] });

const IssuedKeySchema = Type.Object(
  { ...keyFields, key: Type.String({ description: 'Shown this once' }) },
  { examples: [{ ...keyExample, key: `cy_k3j9x2pq_${'0'.repeat(43)}` }] },
);

const CreateBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 255 }),
    role: RoleSchema,
    agent_ids: Type.Optional(
      Type.Array(IdSchema, {
        ...{ minItems: 1, maxItems: 500 },
        description: 'The key sees and uses only these agents and their calls',
      }),
    ),
    ip_allow: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 50,
        description: 'Networks in CIDR notation; empty or left out: any address',
      }),
    ),
    expires_at: Type.Optional(
      Type.Integer({ minimum: 1, maximum: MAX_UNIX_S, description: 'Unix seconds, not past' }),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ name: 'Reporting', role: 'viewer', ip_allow: ['192.0.2.0/24'] }],
  },
);

const RotateBody = Type.Object(
  {
    overlap_s: Type.Optional(
      Type.Integer({
        ...{ minimum: 0, maximum: MAX_OVERLAP_S },
        description: 'How long the old key goes on working; default 86400',
      }),
    ),
  },
  { additionalProperties: false, examples: [{ overlap_s: 3600 }] },
);

const ListQuery = Type.Object(pageFields, { additionalProperties: false });
const TAGS = ['Administration'];

export type ApiKeysPart = { readonly apiKeys: ApiKeyAdmin; readonly clock: Clock };

export function addApiKeyRoutes(app: ApiServer, part: ApiKeysPart): void {
  addCreate(app, part);
  addList(app, part);
  addRotate(app, part);
  addRevoke(app, part);
}

function addCreate(app: ApiServer, part: ApiKeysPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/api-keys',
    config: { capability: 'adm', idempotent: true, holdsSecret: true },
    schema: {
      operationId: 'createApiKey',
      tags: TAGS,
      summary: 'Make an API key',
      description:
        'The answer is the only place where `key` is shown. A key that is bound to agents makes only keys that are bound to some of the same ones.',
      body: CreateBody,
      response: answers(201, IssuedKeySchema, {
        description: 'The key, shown once',
        hasBody: true,
        problems: ['REFERENCE_NOT_FOUND'],
      }),
    },
    handler: async (request, reply) => {
      const wanted = wantedOf(request.body, part.clock.wallMs());
      const work = part.apiKeys.create(actorOf(request), wanted).catch(nameAgents);
      const issued = await fromStore(part, work);
      reply.code(201);
      return ok(issuedView(issued));
    },
  });
}

/** The only reference in the body is to agents. */
function nameAgents(error: unknown): never {
  if (!(error instanceof AppError) || error.code !== 'E_REFERENCE') throw error;
  const faults = [{ path: '/agent_ids', rule: 'exists' }];
  throw new Problem('REFERENCE_NOT_FOUND', { faults, cause: error });
}

/** Errors: VALIDATION_FAILED. */
function wantedOf(body: Static<typeof CreateBody>, nowMs: number): WantedKey {
  const faults: FieldFault[] = [];
  const networks = (body.ip_allow ?? []).map((text, index) => {
    const network = cidrOf(text);
    if (network === null) faults.push({ path: `/ip_allow/${index}`, rule: 'cidr' });
    return network ?? text;
  });
  if (body.expires_at !== undefined && body.expires_at * 1000 <= nowMs) {
    faults.push({ path: '/expires_at', rule: 'future' });
  }
  if (body.name.trim() === '')
    faults.push({ path: '/name', rule: 'minLength', params: { limit: 1 } });
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
  return {
    name: body.name.trim(),
    role: body.role,
    agentIds: body.agent_ids?.map((id) => id.toLowerCase()) ?? null,
    ipAllow: networks.length === 0 ? null : networks,
    expiresAt: body.expires_at === undefined ? null : new Date(body.expires_at * 1000),
  };
}

function addList(app: ApiServer, part: ApiKeysPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/api-keys',
    config: { capability: 'adm' },
    schema: {
      operationId: 'listApiKeys',
      tags: TAGS,
      summary: 'List API keys, newest first, also revoked ones',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({ api_keys: Type.Array(ApiKeySchema), pagination: ref(PaginationSchema) }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.apiKeys.list(actorOf(request), page));
      return ok({ api_keys: found.rows.map(keyView), pagination: paginationOf(page, found) });
    },
  });
}

function addRotate(app: ApiServer, part: ApiKeysPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/api-keys/:id/rotate',
    config: { capability: 'adm', idempotent: true, holdsSecret: true },
    schema: {
      operationId: 'rotateApiKey',
      tags: TAGS,
      summary: 'Replace an API key by a new one with the same rights',
      description: 'The old key goes on working for `overlap_s`, then answers `KEY_REVOKED`.',
      params: IdParams,
      body: RotateBody,
      response: answers(201, IssuedKeySchema, {
        description: 'The new key, shown once',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE'],
      }),
    },
    handler: async (request, reply) => {
      const overlapS = request.body.overlap_s ?? DEFAULT_OVERLAP_S;
      const work = part.apiKeys.rotate(actorOf(request), request.params.id, overlapS);
      const rotated = await fromStore(part, work);
      if (rotated === 'missing') throw new Problem('NOT_FOUND');
      if (rotated === 'over') throw new Problem('INVALID_STATE');
      reply.code(201);
      return ok(issuedView(rotated));
    },
  });
}

function addRevoke(app: ApiServer, part: ApiKeysPart): void {
  app.route({
    method: 'DELETE',
    url: '/api/v1/api-keys/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'revokeApiKey',
      tags: TAGS,
      summary: 'Revoke an API key',
      description: 'Works on every node within 5 s. Again: 200.',
      params: IdParams,
      response: answers(200, Type.Null(), { description: 'Revoked', problems: ['NOT_FOUND'] }),
    },
    handler: async (request) => {
      const work = part.apiKeys.revoke(actorOf(request), request.params.id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function issuedView({ row, key }: IssuedKey) {
  return { ...keyView(row), key };
}

function keyView(row: ApiKeyRow) {
  return {
    ...{ id: row.id, name: row.name, prefix: row.prefix, role: row.role },
    agent_ids: row.agentIds === null ? null : [...row.agentIds],
    ip_allow: row.ipAllow === null ? null : [...row.ipAllow],
    expires_at: row.expiresAt === null ? null : Math.floor(row.expiresAt.getTime() / 1000),
    last_used_at: row.lastUsedAt?.toISOString() ?? null,
    revoked_at: row.revokedAt?.toISOString() ?? null,
    created_at: row.createdAt.toISOString(),
  };
}
