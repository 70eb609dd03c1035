/** Agent bindings: who answers a number, an app, a trunk, and everything else (contract 2.3). */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { normalizePhone } from '#lib/phone.ts';
import { MAX_BINDINGS, type Binding, type BindingFields, type Bindings } from '#store/bindings.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { missingProblem } from './references.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { Faults } from './rule-checks.ts';
import { answers, EXAMPLE_ID, IdParams, IdSchema, nullable, ok, ref } from './schemas.ts';
import { UUID_PATTERN } from './validation.ts';

export type BindingsPart = { readonly bindings: Bindings; readonly clock: Clock };

const URL = '/api/v1/agent-bindings';
const TAGS = ['Agents'];
const NoQuery = Type.Object({}, { additionalProperties: false });
const Kind = Type.Enum(['number', 'app', 'trunk', 'default']);
const UUID = new RegExp(UUID_PATTERN);

export const BindingSchema = Type.Object(
  {
    id: IdSchema,
    kind: Kind,
    value: nullable(Type.String({ description: 'Null for `default`' })),
    agent_id: nullable(IdSchema),
    squad_id: nullable(IdSchema),
  },
  {
    $id: 'AgentBinding',
    examples: [
      { id: EXAMPLE_ID, kind: 'number', value: '+15550100', agent_id: EXAMPLE_ID, squad_id: null },
    ],
  },
);

const BindingBody = Type.Object(
  {
    kind: Kind,
    value: Type.Optional(
      nullable(
        Type.String({
          minLength: 1,
          maxLength: 100,
          description: 'A number, the name of an app, or the id of a trunk; none for `default`',
        }),
      ),
    ),
    agent_id: Type.Optional(nullable(IdSchema)),
    squad_id: Type.Optional(nullable(IdSchema)),
  },
  {
    additionalProperties: false,
    examples: [{ kind: 'number', value: '+15550100', agent_id: EXAMPLE_ID }],
  },
);
type BindingBody = Static<typeof BindingBody>;

export function addBindingRoutes(app: ApiServer, part: BindingsPart): void {
  addList(app, part);
  addPut(app, part);
  addDelete(app, part);
}

function addList(app: ApiServer, part: BindingsPart): void {
  app.route({
    method: 'GET',
    url: URL,
    config: { capability: 'any' },
    schema: {
      operationId: 'listAgentBindings',
      tags: TAGS,
      summary: 'List which agent or squad answers what',
      querystring: NoQuery,
      response: answers(200, Type.Object({ bindings: Type.Array(ref(BindingSchema)) }), {
        description: 'All bindings: numbers, apps, trunks, the default',
        problems: [],
      }),
    },
    handler: async (request) => {
      const bindings = await fromStore(part, part.bindings.list(actorOf(request)));
      return ok({ bindings: bindings.map(bindingView) });
    },
  });
}

function addPut(app: ApiServer, part: BindingsPart): void {
  app.route({
    method: 'PUT',
    url: URL,
    config: { capability: 'dev' },
    schema: {
      operationId: 'putAgentBinding',
      tags: TAGS,
      summary: 'Bind an agent or a squad to a number, an app, a trunk, or everything else',
      description: 'Replaces the binding of the same `kind` and `value`.',
      querystring: NoQuery,
      body: BindingBody,
      response: answers(200, ref(BindingSchema), {
        description: 'The binding',
        problems: ['NOT_FOUND', 'CONFLICT', 'REFERENCE_NOT_FOUND'],
        hasBody: true,
      }),
    },
    handler: async (request) => {
      const binding = readBinding(request.body);
      const put = await fromStore(part, part.bindings.put(actorOf(request), binding));
      if (put === null) throw new Problem('NOT_FOUND');
      if (put === 'full') {
        const params = { limit: MAX_BINDINGS[binding.kind] };
        throw new Problem('CONFLICT', { faults: [{ path: '/kind', rule: 'full', params }] });
      }
      if (!put.ok) throw missingProblem(put.missing, namedIn(binding));
      return ok(bindingView(put.value));
    },
  });
}

function addDelete(app: ApiServer, part: BindingsPart): void {
  app.route({
    method: 'DELETE',
    url: `${URL}/:id`,
    config: { capability: 'dev' },
    schema: {
      operationId: 'deleteAgentBinding',
      tags: TAGS,
      summary: 'Remove a binding',
      description: 'The default one can only be replaced.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        description: 'It is gone',
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const isGone = await fromStore(
        part,
        part.bindings.remove(actorOf(request), request.params.id),
      );
      if (isGone === null) throw new Problem('NOT_FOUND');
      if (!isGone) {
        throw new Problem('CONFLICT', { faults: [{ path: '', rule: 'replaceable' }] });
      }
      return ok(null);
    },
  });
}

/** Errors: VALIDATION_FAILED. */
function readBinding(body: BindingBody): BindingFields {
  const faults = new Faults();
  const { kind } = body;
  const [agentId, squadId] = [body.agent_id ?? null, body.squad_id ?? null];
  if (agentId === null && squadId === null) faults.add('/agent_id', 'required');
  if (agentId !== null && squadId !== null) {
    faults.add('/squad_id', 'exclusive', { other: 'agent_id' });
  }
  const value = readValue(kind, body.value ?? null, faults);
  faults.refuse();
  return {
    ...{ kind, value },
    agentId: agentId?.toLowerCase() ?? null,
    squadId: squadId?.toLowerCase() ?? null,
  };
}

function readValue(kind: Binding['kind'], given: string | null, faults: Faults): string | null {
  if (kind === 'default') {
    if (given !== null) faults.add('/value', 'exclusive', { other: 'kind: default' });
    return null;
  }
  if (given === null) {
    faults.add('/value', 'required');
    return null;
  }
  if (kind === 'number') {
    const number = normalizePhone(given);
    if (number === null) faults.add('/value', 'phone');
    return number;
  }
  if (kind === 'trunk') {
    if (!UUID.test(given)) faults.add('/value', 'uuid');
    return given.toLowerCase();
  }
  const app = given.normalize('NFKC').trim();
  if (app === '') faults.add('/value', 'minLength', { limit: 1 });
  return app;
}

function namedIn({ kind, value, agentId, squadId }: BindingFields): ReadonlyMap<string, Id> {
  const named = new Map<string, Id>();
  if (agentId !== null) named.set('/agent_id', agentId);
  if (squadId !== null) named.set('/squad_id', squadId);
  if (kind === 'trunk' && value !== null) named.set('/value', value);
  return named;
}

function bindingView(binding: Binding): Static<typeof BindingSchema> {
  const { id, kind, value, agentId, squadId } = binding;
  return { id, kind, value, agent_id: agentId, squad_id: squadId };
}
