/** The account's SIP trunks (contract 2.8): kept by administrators, used from the next call on, tried out. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { RegistrationState, TrunkTest } from '#lib/trunk.ts';
import type { CallService } from '#sessions/call-service-types.ts';
import type { SavedTrunk, StoredTrunk, TrunkAdmin } from '#store/trunk-admin.ts';
import { languageOf, type Language } from './language.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, ref } from './schemas.ts';
import { changesOf, needsUsername, wholeTrunk } from './trunk-fields.ts';
import {
  SipTrunkSchema,
  TrunkBody,
  TrunkListSchema,
  TrunkPatch,
  TrunkTestSchema,
} from './trunk-schemas.ts';
import { NoBody, NoQuery } from './vendor-fields.ts';

export type TrunkPorts = {
  readonly admin: TrunkAdmin;
  /** Null for a trunk that is not registered from here. */
  state(trunkId: Id): RegistrationState | null;
  /** The account's rows have changed: calls in and out and registrations follow. Never rejects; 1 s at most. */
  changed(accountId: Id): Promise<void>;
  /** Within 5 s; null when the account has no such trunk. Errors: E_DATABASE*. */
  test(accountId: Id, trunkId: Id): Promise<TrunkTest | null>;
};

export type TrunksPart = TrunkPorts & {
  readonly calls: Pick<CallService, 'live'>;
  readonly clock: Clock;
};

const PATH = '/api/v1/sip-trunks';
const TAGS = ['Trunks'];
const saved = { hasBody: true, hasMessage: true } as const;

export function addTrunkRoutes(app: ApiServer, part: TrunksPart): void {
  app.addSchema(SipTrunkSchema);
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addReplace(app, part);
  addPatch(app, part);
  addDelete(app, part);
  addTest(app, part);
}

function addCreate(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'POST',
    url: PATH,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'createSipTrunk',
      tags: TAGS,
      summary: 'Add a SIP trunk',
      description:
        'Calls go out over the active trunks by priority, and calls from its `host`, its proxy and `source_ips` are taken, at once. With `register` it is registered from now on.',
      querystring: NoQuery,
      body: TrunkBody,
      response: answers(201, ref(SipTrunkSchema), {
        ...{ ...saved, description: 'The trunk', problems: ['CONFLICT'] },
      }),
    },
    handler: async (request, reply) => {
      const actor = actorOf(request);
      const made = await fromStore(part, part.admin.create(actor, wholeTrunk(request.body)));
      await part.changed(actor.accountId);
      reply.code(201);
      const data = trunkView(made, part, await callsByTrunk(part, actor.accountId));
      return ok(data, textOf('saved', request));
    },
  });
}

function addList(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'GET',
    url: PATH,
    config: { capability: 'adm' },
    schema: {
      operationId: 'listSipTrunks',
      tags: TAGS,
      summary: 'List the SIP trunks, newest first',
      querystring: Type.Object(pageFields, { additionalProperties: false }),
      response: answers(200, TrunkListSchema, {
        description: 'One page, without passwords',
        problems: [],
      }),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const { accountId } = callerOf(request);
      const found = await fromStore(part, part.admin.list(actorOf(request), page));
      const calls = await callsByTrunk(part, accountId);
      return ok({
        sip_trunks: found.rows.map((row) => trunkView(row, part, calls)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'GET',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'getSipTrunk',
      tags: TAGS,
      summary: 'Read a SIP trunk',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(SipTrunkSchema), {
        description: 'The trunk without its password, and how it does',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { accountId } = callerOf(request);
      const found = await fromStore(part, part.admin.get(actorOf(request), request.params.id));
      if (found === null) throw new Problem('NOT_FOUND');
      return ok(trunkView(found, part, await callsByTrunk(part, accountId)));
    },
  });
}

function addReplace(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'PUT',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'replaceSipTrunk',
      tags: TAGS,
      summary: 'Replace a SIP trunk',
      description:
        'What is left out gets its default, except `password`: as nobody can read it, it stays when it is left out, and null removes it.',
      params: IdParams,
      querystring: NoQuery,
      body: TrunkBody,
      response: answers(200, ref(SipTrunkSchema), {
        ...{ ...saved, description: 'The trunk as it is now' },
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const wanted = wholeTrunk(request.body);
      const result = await fromStore(part, part.admin.update(actor, request.params.id, wanted));
      return ok(await afterSaving(part, actor.accountId, result), textOf('saved', request));
    },
  });
}

function addPatch(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'PATCH',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'updateSipTrunk',
      tags: TAGS,
      summary: 'Change fields of a SIP trunk',
      description:
        'Lists and `options` are replaced, not merged. A `carrier` fills `codecs` and `dtmf_mode` when these are not given too.',
      params: IdParams,
      querystring: NoQuery,
      body: TrunkPatch,
      response: answers(200, ref(SipTrunkSchema), {
        ...{ ...saved, description: 'The trunk as it is now' },
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const changes = changesOf(request.body);
      const result = await fromStore(part, part.admin.update(actor, request.params.id, changes));
      return ok(await afterSaving(part, actor.accountId, result), textOf('saved', request));
    },
  });
}

function addDelete(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'DELETE',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteSipTrunk',
      tags: TAGS,
      summary: 'Delete a SIP trunk',
      description:
        'Not while it carries calls: deactivate it first, and it gets no new ones. Numbers and campaigns that named it name none then; an agent bound to it is bound no more.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        ...{ description: 'It is gone', hasMessage: true },
        problems: ['NOT_FOUND', 'IN_USE'],
      }),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const { id } = request.params;
      const live = await part.calls.live(actor.accountId);
      const carried = live.filter(({ trunkId }) => trunkId === id);
      if (carried.length > 0) {
        const faults = carried.map(({ id: call }) => ({ path: `/calls/${call}`, rule: 'carried' }));
        throw new Problem('IN_USE', { faults });
      }
      const isGone = await fromStore(part, part.admin.remove(actor, id));
      if (!isGone) throw new Problem('NOT_FOUND');
      await part.changed(actor.accountId);
      return ok(null, textOf('deleted', request));
    },
  });
}

function addTest(app: ApiServer, part: TrunksPart): void {
  app.route({
    method: 'POST',
    url: `${PATH}/:id/test`,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'testSipTrunk',
      tags: TAGS,
      summary: 'Try a SIP trunk out',
      description:
        'OPTIONS, and REGISTER where the trunk is to be registered (which then decides), within 5 s. An inactive trunk can be tried too. Answers 200 also when it does not work.',
      params: IdParams,
      querystring: NoQuery,
      body: NoBody,
      response: answers(200, TrunkTestSchema, {
        ...{ description: 'Whether it works', hasBody: true },
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const { accountId } = callerOf(request);
      const result = await fromStore(part, part.test(accountId, request.params.id));
      if (result === null) throw new Problem('NOT_FOUND');
      const { ok: isGood, sipStatus, roundTripMs, error } = result;
      return ok({
        ok: isGood,
        sip_status: sipStatus,
        round_trip_ms: roundTripMs === null ? null : Math.round(roundTripMs),
        error,
      });
    },
  });
}

async function afterSaving(part: TrunksPart, accountId: Id, result: SavedTrunk) {
  if (result === 'missing') throw new Problem('NOT_FOUND');
  if ('needs' in result) throw needsUsername();
  await part.changed(accountId);
  return trunkView(result, part, await callsByTrunk(part, accountId));
}

async function callsByTrunk(part: TrunksPart, accountId: Id): Promise<ReadonlyMap<Id, number>> {
  const counts = new Map<Id, number>();
  for (const { trunkId } of await part.calls.live(accountId)) {
    if (trunkId !== null) counts.set(trunkId, (counts.get(trunkId) ?? 0) + 1);
  }
  return counts;
}

const TEXTS = {
  saved: { en: 'The trunk is saved', zh: '中继已保存' },
  deleted: { en: 'The trunk is deleted', zh: '中继已删除' },
} as const satisfies Record<string, Record<Language, string>>;

function textOf(
  what: keyof typeof TEXTS,
  request: { readonly headers: { readonly 'accept-language'?: string | undefined } },
): string {
  return TEXTS[what][languageOf(request.headers['accept-language'])];
}

function trunkView(
  trunk: StoredTrunk,
  part: TrunkPorts,
  calls: ReadonlyMap<Id, number>,
): Static<typeof SipTrunkSchema> {
  const { id, name, priority, carrier, host, port, transport, username, realm, domain } = trunk;
  return {
    ...{ id, name, is_active: trunk.isActive, priority, carrier, host, port, transport },
    ...{ username, has_password: trunk.hasPassword, realm, domain },
    ...{ outbound_proxy: trunk.outboundProxy, register: trunk.register },
    ...{ register_interval_s: trunk.registerIntervalS, local_host: trunk.localHost },
    ...{ local_port: trunk.localPort, display_name: trunk.displayName },
    ...{ from_number: trunk.fromNumber, codecs: [...trunk.codecs], dtmf_mode: trunk.dtmfMode },
    ...{ max_calls: trunk.maxCalls, max_cps: trunk.maxCps, source_ips: [...trunk.sourceIps] },
    allow_prefixes: [...trunk.allowPrefixes],
    deny_prefixes: [...trunk.denyPrefixes],
    options: trunk.options,
    state: stateView(trunk, part.state(id), calls.get(id) ?? 0),
    ...{ created_at: trunk.createdAt, updated_at: trunk.updatedAt },
  };
}

function stateView(trunk: StoredTrunk, state: RegistrationState | null, calls: number) {
  const { isActive, register, transport } = trunk;
  const flaw = transport === 'tls' ? 'tls_unsupported' : null;
  if (!isActive || !register) {
    return { registered: null, expires_at: null, last_error: flaw, calls };
  }
  const expiresAtMs = state?.expiresAtMs ?? null;
  return {
    registered: state?.registered ?? false,
    expires_at: expiresAtMs === null ? null : Math.floor(expiresAtMs / 1000),
    last_error: flaw ?? state?.error ?? null,
    calls,
  };
}
