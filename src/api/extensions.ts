/** The account's extensions (contract 2.8): short numbers for a phone, a number elsewhere, or an agent. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Role } from '#lib/actor.ts';
import { maskNumber } from '#lib/mask.ts';
import { normalizePhone } from '#lib/phone.ts';
import type {
  Extension,
  ExtensionChanges,
  ExtensionFields,
  Extensions,
} from '#store/extensions.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { present } from './place-call.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { referenced } from './references.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
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

export type ExtensionsPart = { readonly extensions: Extensions; readonly clock: Clock };

const URL = '/api/v1/extensions';
const TAGS = ['Extensions'];

const fields = {
  extension: Type.String({ pattern: '^[0-9*#]{2,16}$' }),
  name: Type.String({ minLength: 1, maxLength: 255, pattern: '\\S' }),
  kind: Type.Enum(['sip', 'number', 'agent'], {
    description: 'A phone that registers here, a number or URI elsewhere, or an agent',
  }),
};
const optional = {
  target: Type.Optional(
    nullable(
      Type.String({
        ...{ minLength: 1, maxLength: 255 },
        description: 'Required for `number`: a number or a `sip:` URI',
      }),
    ),
  ),
  agent_id: Type.Optional(nullable(Type.String({ ...IdSchema, description: 'Of an `agent`' }))),
  password: Type.Optional(
    nullable(
      Type.String({
        ...{ minLength: 8, maxLength: 128, pattern: '^[\\x21-\\x7e]+$' },
        description: 'Of the phone; kept sealed, never returned. Left out it stays as it is',
      }),
    ),
  ),
  department: Type.Optional(nullable(Type.String({ minLength: 1, maxLength: 255 }))),
  enabled: Type.Optional(Type.Boolean({ description: 'Default true' })),
};

const ExtensionBody = Type.Object(
  { ...fields, ...optional },
  {
    additionalProperties: false,
    examples: [{ extension: '801', name: 'Front desk', kind: 'number', target: '+15550100' }],
  },
);

const ExtensionPatch = Type.Object(
  {
    extension: Type.Optional(fields.extension),
    name: Type.Optional(fields.name),
    kind: Type.Optional(fields.kind),
    ...optional,
  },
  { additionalProperties: false, minProperties: 1, examples: [{ enabled: false }] },
);

export const ExtensionSchema = Type.Object(
  {
    id: IdSchema,
    extension: Type.String(),
    name: Type.String(),
    kind: fields.kind,
    target: nullable(Type.String()),
    agent_id: nullable(IdSchema),
    has_password: Type.Boolean(),
    department: nullable(Type.String()),
    enabled: Type.Boolean(),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'Extension',
    examples: [
      {
        id: EXAMPLE_ID,
        extension: '801',
        name: 'Front desk',
        kind: 'number',
        target: '+15550100',
        agent_id: null,
        has_password: false,
        department: null,
        enabled: true,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

export function addExtensionRoutes(app: ApiServer, part: ExtensionsPart): void {
  addCreate(app, part);
  addReads(app, part);
  addReplace(app, part);
  addPatch(app, part);
  addDelete(app, part);
}

function addCreate(app: ApiServer, part: ExtensionsPart): void {
  app.route({
    method: 'POST',
    url: URL,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'createExtension',
      tags: TAGS,
      summary: 'Add an extension',
      body: ExtensionBody,
      response: answers(201, ref(ExtensionSchema), {
        description: 'The extension',
        hasBody: true,
        problems: ['CONFLICT', 'REFERENCE_NOT_FOUND'],
      }),
    },
    handler: async (request, reply) => {
      const wanted = wholeOf(request.body);
      const password = request.body.password ?? null;
      const work = part.extensions.add(actorOf(request), { ...wanted, password });
      const made = await referenced('/agent_id', fromStore(part, work));
      reply.code(201);
      return ok(extensionView(made, callerOf(request).role));
    },
  });
}

function addReads(app: ApiServer, part: ExtensionsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listExtensions',
      tags: TAGS,
      summary: 'List extensions, newest first',
      querystring: Type.Object(pageFields, { additionalProperties: false }),
      response: answers(
        200,
        Type.Object({
          extensions: Type.Array(ref(ExtensionSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.extensions.page(actorOf(request), page));
      return ok({
        extensions: found.rows.map((row) => extensionView(row, callerOf(request).role)),
        pagination: paginationOf(page, found),
      });
    },
  });
  app.route({
    method: 'GET',
    url: `${URL}/:id`,
    config: { capability: 'any' },
    schema: {
      operationId: 'getExtension',
      tags: TAGS,
      summary: 'Read an extension',
      params: IdParams,
      response: answers(200, ref(ExtensionSchema), {
        description: 'The extension, without its password',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.extensions.get(actorOf(request), request.params.id);
      return ok(extensionView(existing(await fromStore(part, work)), callerOf(request).role));
    },
  });
}

function addReplace(app: ApiServer, part: ExtensionsPart): void {
  app.route({
    method: 'PUT',
    url: `${URL}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'replaceExtension',
      tags: TAGS,
      summary: 'Replace an extension',
      description: 'What is left out gets its default; a password that is left out stays.',
      params: IdParams,
      body: ExtensionBody,
      response: answers(200, ref(ExtensionSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'CONFLICT', 'REFERENCE_NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { password } = request.body;
      const wanted = { ...wholeOf(request.body), ...present({ password }) };
      const result = await changed(part, request, () => wanted);
      return ok(extensionView(result, callerOf(request).role));
    },
  });
}

function addPatch(app: ApiServer, part: ExtensionsPart): void {
  app.route({
    method: 'PATCH',
    url: `${URL}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'updateExtension',
      tags: TAGS,
      summary: 'Change fields of an extension',
      params: IdParams,
      body: ExtensionPatch,
      response: answers(200, ref(ExtensionSchema), {
        description: 'As it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'CONFLICT', 'REFERENCE_NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { agent_id: agentId, target, ...rest } = request.body;
      const given = { ...rest, ...present({ agentId, target: targetOf(target) }) };
      const result = await changed(part, request, (current) => {
        refuseUnfit({ ...current, ...given });
        return given;
      });
      return ok(extensionView(result, callerOf(request).role));
    },
  });
}

function addDelete(app: ApiServer, part: ExtensionsPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteExtension',
      tags: TAGS,
      summary: 'Delete an extension',
      params: IdParams,
      response: answers(200, Type.Null(), {
        description: 'The extension is gone',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.extensions.remove(actorOf(request), request.params.id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

async function changed(
  part: ExtensionsPart,
  request: Parameters<typeof actorOf>[0] & { readonly params: { readonly id: string } },
  change: (current: Extension) => ExtensionChanges,
): Promise<Extension> {
  const work = part.extensions.update(actorOf(request), request.params.id, change);
  return existing(await referenced('/agent_id', fromStore(part, work)));
}

function wholeOf(body: Static<typeof ExtensionBody>): ExtensionFields {
  const { extension, name, kind, department = null, enabled = true } = body;
  const target = targetOf(body.target) ?? null;
  const agentId = body.agent_id ?? null;
  const whole = { extension, name, kind, department, enabled, target, agentId };
  refuseUnfit(whole);
  return whole;
}

/** What each kind is nothing without. Errors: VALIDATION_FAILED. */
function refuseUnfit({ kind, target, agentId }: ExtensionFields): void {
  if (kind === 'number' && target === null) throw invalid('/target', 'required');
  if (kind === 'agent' && agentId === null) throw invalid('/agent_id', 'required');
}

const SIP_URI = /^sips?:[^\s<>"]+$/i;

/** Numbers in normal form, URIs as they are. Errors: VALIDATION_FAILED. */
function targetOf(target: string | null | undefined): string | null | undefined {
  if (target === null || target === undefined || SIP_URI.test(target)) return target;
  const number = normalizePhone(target);
  if (number === null) throw invalid('/target', 'phone');
  return number;
}

function existing(extension: Extension | null): Extension {
  if (extension === null) throw new Problem('NOT_FOUND');
  return extension;
}

/** A viewer sees the numbers of people masked (contract 1.3). */
function extensionView(extension: Extension, role: Role): Static<typeof ExtensionSchema> {
  const { target } = extension;
  return {
    id: extension.id,
    extension: extension.extension,
    name: extension.name,
    kind: extension.kind,
    target: role === 'viewer' && target !== null ? maskNumber(target) : target,
    agent_id: extension.agentId,
    has_password: extension.hasPassword,
    department: extension.department,
    enabled: extension.enabled,
    created_at: extension.createdAt,
    updated_at: extension.updatedAt,
  };
}
