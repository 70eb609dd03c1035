/** The account's telephone numbers (contract 2.4). */
import { Type, type Static } from 'typebox';
import { normalizePhone, PHONE_MAX_CHARS } from '#lib/phone.ts';
import { NUMBER_MAX_CHARS, type PhoneNumber, type PhoneNumbers } from '#store/phone-numbers.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { present } from './place-call.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { referenced } from './references.ts';
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
import type { Clock } from '#lib/clock.ts';

export type NumbersPart = { readonly numbers: PhoneNumbers; readonly clock: Clock };

const TAGS = ['Phone numbers'];
const NoQuery = Type.Object({}, { additionalProperties: false });

export const PhoneNumberSchema = Type.Object(
  {
    id: IdSchema,
    number: Type.String({ description: 'With the account’s country code where it has one' }),
    label: nullable(Type.String()),
    trunk_id: nullable(IdSchema),
    carrier: Type.String(),
    status: Type.Enum(['pending', 'active', 'released']),
    monthly_cost: nullable(Type.Object({ amount: Type.Number(), currency: Type.String() })),
    agent_id: nullable(
      Type.String({ ...IdSchema, description: 'By `PUT /api/v1/agent-bindings`' }),
    ),
    created_at: TimeSchema,
  },
  {
    $id: 'PhoneNumber',
    examples: [
      {
        id: EXAMPLE_ID,
        number: '+15550100',
        label: 'Front desk',
        trunk_id: null,
        carrier: 'manual',
        status: 'active',
        monthly_cost: null,
        agent_id: null,
        created_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const label = Type.String({ minLength: 1, maxLength: 255 });

const AddBody = Type.Object(
  {
    carrier: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description:
          'Default `manual`, which registers a number you own; no other is supported yet',
      }),
    ),
    number: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: PHONE_MAX_CHARS,
        description: 'Required for `manual`',
      }),
    ),
    country: Type.Optional(
      Type.String({ pattern: '^[A-Za-z]{2}$', description: 'ISO 3166; for numbers to be bought' }),
    ),
    area_code: Type.Optional(
      Type.String({ pattern: '^[0-9]{1,8}$', description: 'For numbers to be bought' }),
    ),
    trunk_id: Type.Optional(IdSchema),
    label: Type.Optional(label),
  },
  { additionalProperties: false, examples: [{ number: '+15550100', label: 'Front desk' }] },
);

const PatchBody = Type.Object(
  {
    label: Type.Optional(nullable(label)),
    trunk_id: Type.Optional(nullable(IdSchema)),
  },
  { additionalProperties: false, minProperties: 1, examples: [{ label: 'Support' }] },
);

const ListQuery = Type.Object(pageFields, { additionalProperties: false });

export function addNumberRoutes(app: ApiServer, part: NumbersPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addPatch(app, part);
  addRelease(app, part);
}

function addCreate(app: ApiServer, part: NumbersPart): void {
  app.route({
    method: 'POST',
    url: '/v1/phone/numbers',
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'addPhoneNumber',
      tags: TAGS,
      summary: 'Register a number you own',
      description: 'Calls to it then belong to this account. A number belongs to one account.',
      querystring: NoQuery,
      body: AddBody,
      response: answers(201, ref(PhoneNumberSchema), {
        description: 'The number, active at once',
        hasBody: true,
        problems: ['CONFLICT', 'REFERENCE_NOT_FOUND', 'CARRIER_UNSUPPORTED'],
      }),
    },
    handler: async (request, reply) => {
      const { carrier = 'manual', number, label: given, trunk_id: trunkId } = request.body;
      if (carrier !== 'manual') throw new Problem('CARRIER_UNSUPPORTED');
      const fields = present({ number: usable(number), label: given, trunkId });
      const made = await stored(part, part.numbers.add(actorOf(request), fields));
      reply.code(201);
      return ok(numberView(made));
    },
  });
}

/** In normal form. Errors: VALIDATION_FAILED. */
function usable(text: string | undefined): string {
  if (text === undefined) throw invalid('/number', 'required');
  const number = normalizePhone(text);
  if (number === null) throw invalid('/number', 'phone');
  if (number.length > NUMBER_MAX_CHARS) {
    throw invalid('/number', 'maxLength', { limit: NUMBER_MAX_CHARS });
  }
  return number;
}

/** A trunk is the only reference that a number has. */
function stored<T>(part: NumbersPart, work: Promise<T>): Promise<T> {
  return referenced('/trunk_id', fromStore(part, work));
}

function addList(app: ApiServer, part: NumbersPart): void {
  app.route({
    method: 'GET',
    url: '/v1/phone/numbers',
    config: { capability: 'any' },
    schema: {
      operationId: 'listPhoneNumbers',
      tags: TAGS,
      summary: 'List the account’s numbers, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({
          numbers: Type.Array(ref(PhoneNumberSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.numbers.list(actorOf(request), page));
      return ok({
        numbers: found.rows.map(numberView),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: NumbersPart): void {
  app.route({
    method: 'GET',
    url: '/v1/phone/numbers/:id',
    config: { capability: 'any' },
    schema: {
      operationId: 'getPhoneNumber',
      tags: TAGS,
      summary: 'Read a number',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(PhoneNumberSchema), {
        description: 'The number',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.numbers.get(actorOf(request), request.params.id);
      return ok(numberView(existing(await fromStore(part, work))));
    },
  });
}

function addPatch(app: ApiServer, part: NumbersPart): void {
  app.route({
    method: 'PATCH',
    url: '/v1/phone/numbers/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'updatePhoneNumber',
      tags: TAGS,
      summary: 'Change label or trunk of a number',
      description: '`null` clears a field; a field that is left out stays as it is.',
      params: IdParams,
      querystring: NoQuery,
      body: PatchBody,
      response: answers(200, ref(PhoneNumberSchema), {
        description: 'The number as it is now',
        hasBody: true,
        problems: ['NOT_FOUND', 'REFERENCE_NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { label: given, trunk_id: trunkId } = request.body;
      const fields = present({ label: given, trunkId });
      const work = part.numbers.update(actorOf(request), request.params.id, fields);
      return ok(numberView(existing(await stored(part, work))));
    },
  });
}

function addRelease(app: ApiServer, part: NumbersPart): void {
  app.route({
    method: 'DELETE',
    url: '/v1/phone/numbers/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'releasePhoneNumber',
      tags: TAGS,
      summary: 'Release a number',
      description: 'It is then free for any account.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        description: 'The number is released',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const work = part.numbers.release(actorOf(request), request.params.id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function existing(number: PhoneNumber | null): PhoneNumber {
  if (number === null) throw new Problem('NOT_FOUND');
  return number;
}

function numberView(number: PhoneNumber): Static<typeof PhoneNumberSchema> {
  return {
    id: number.id,
    number: number.number,
    label: number.label,
    trunk_id: number.trunkId,
    carrier: number.carrier,
    status: number.status,
    monthly_cost: number.monthlyCost,
    agent_id: number.agentId,
    created_at: number.createdAt,
  };
}
