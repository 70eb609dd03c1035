/** Calls in the developer API (contract 2.4): place, list, read and end them. */
import { Type } from 'typebox';
import type { LiveCallView } from '#sessions/call-service-types.ts';
import type { PhoneCalls } from '#store/phone-calls.ts';
import type { Caller } from './auth.ts';
import { findCall, liveCalls, phoneCallView } from './call-view.ts';
import { pageOf, paginationOf } from './paging.ts';
import { listPhoneCalls, refuseForeignCursor } from './phone-call-list.ts';
import {
  PhoneCallSchema,
  PhoneCallsQuery,
  PlaceBody,
  VoiceCallBody,
  VoiceCallSchema,
} from './phone-call-schemas.ts';
import { PLACE_PROBLEMS, placeCall, present } from './place-call.ts';
import { invalid } from './problem.ts';
import { fromStore, type RecordSource } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, PaginationSchema, ref } from './schemas.ts';
import { NO_OPENING, openingOf, placeWebCall, type WebCallsPart } from './web-call.ts';

export type PhoneCallsPart = RecordSource & WebCallsPart & { readonly phoneCalls: PhoneCalls };

const TAGS = ['Phone calls'];
const NoQuery = Type.Object({}, { additionalProperties: false });
const FIELDS = {
  agent: '/assistant_id',
  squad: '/squad_id',
  trunk: '/trunk_id',
  to: '/to',
  from: '/from',
  variables: '/variables',
  metadata: '/metadata',
} as const;

export function addPhoneCallRoutes(app: ApiServer, part: PhoneCallsPart): void {
  addPlace(app, part);
  addList(app, part);
  addGet(app, part);
  addVoiceCall(app, part);
}

function addPlace(app: ApiServer, part: PhoneCallsPart): void {
  app.route({
    method: 'POST',
    url: '/v1/phone/calls',
    config: { capability: 'ops', placesCalls: true, idempotent: true },
    schema: {
      operationId: 'placePhoneCall',
      tags: TAGS,
      summary: 'Place a call',
      description:
        'Answers before the far end does; follow the call with `GET /v1/phone/calls/{id}`. At most one of `assistant_id` and `squad_id`.',
      querystring: NoQuery,
      body: PlaceBody,
      response: answers(201, ref(PhoneCallSchema), {
        description: 'The call is being placed',
        hasBody: true,
        problems: PLACE_PROBLEMS,
      }),
    },
    handler: async (request, reply) => {
      const caller = callerOf(request);
      const call = await place(part, caller, request.body, request.id);
      reply.code(201);
      return ok(phoneCallView(call, caller.role));
    },
  });
}

/** Errors: those of `placeCall`. */
async function place(
  part: PhoneCallsPart,
  caller: Caller,
  body: PlaceBody,
  requestId: string,
): Promise<LiveCallView> {
  const { from, trunk_id: trunkId, amd } = body;
  const wish = { ...wishOf(body), ...present({ from, trunkId, amd }) };
  const options = { caller, requestId, fields: FIELDS, takesUri: true };
  return placeCall(part, { ...wish, to: body.to }, options);
}

/** What calls of every medium may ask for. Errors: VALIDATION_FAILED. */
function wishOf(body: Omit<PlaceBody, 'to'>) {
  if (body.assistant_id !== undefined && body.squad_id !== undefined) {
    throw invalid('/squad_id', 'exclusive', { other: 'assistant_id' });
  }
  return present({
    prompt: body.system_prompt,
    greeting: body.greeting,
    agentId: body.assistant_id,
    squadId: body.squad_id,
    variables: body.variables,
    customerId: body.customer_id,
    recordingEnabled: body.recording_enabled,
    ringTimeoutS: body.ring_timeout_s,
    maxDurationS: body.max_duration_s,
    metadata: body.metadata,
  });
}

/** Errors: those of `placeWebCall`. */
async function placeWeb(
  part: PhoneCallsPart,
  caller: Caller,
  body: Omit<PlaceBody, 'to'> & { readonly to?: string },
  requestId: string,
): Promise<LiveCallView> {
  for (const name of ['from', 'trunk_id'] as const) {
    if (body[name] !== undefined) throw invalid(`/${name}`, 'exclusive', { other: 'type web' });
  }
  // Nobody is called who could have a voicemail box.
  if (body.amd === true) throw invalid('/amd', 'unsupported');
  const wish = { ...wishOf(body), ...present({ to: body.to }) };
  return placeWebCall(part, wish, { caller, requestId, fields: FIELDS, takesUri: false });
}

function addList(app: ApiServer, part: PhoneCallsPart): void {
  app.route({
    method: 'GET',
    url: '/v1/phone/calls',
    config: { capability: 'any' },
    schema: {
      operationId: 'listPhoneCalls',
      tags: TAGS,
      summary: 'List phone and web calls, newest first',
      description: 'Live calls are shown as they are now. Filters are combined.',
      querystring: PhoneCallsQuery,
      response: answers(
        200,
        Type.Object({
          calls: Type.Array(ref(PhoneCallSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: ['NODE_TIMEOUT'] },
      ),
    },
    handler: async (request) => {
      const { query } = request;
      const actor = actorOf(request);
      const caller = callerOf(request);
      const page = pageOf(query);
      refuseForeignCursor(page);
      const found = await listPhoneCalls({
        page,
        query,
        live: await liveCalls(part, caller),
        stored: (wanted) => fromStore(part, part.phoneCalls.list(actor, wanted)),
      });
      return ok({
        calls: found.rows.map((call) => phoneCallView(call, caller.role)),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: PhoneCallsPart): void {
  app.route({
    method: 'GET',
    url: '/v1/phone/calls/:id',
    config: { capability: 'any' },
    schema: {
      operationId: 'getPhoneCall',
      tags: TAGS,
      summary: 'Read a call, live or over',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(PhoneCallSchema), {
        description: 'The call',
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      return ok(phoneCallView(await findCall(part, caller, request.params.id), caller.role));
    },
  });
}

function addVoiceCall(app: ApiServer, part: PhoneCallsPart): void {
  app.route({
    method: 'POST',
    url: '/v1/voice/call',
    config: { capability: 'ops', placesCalls: true, idempotent: true },
    schema: {
      operationId: 'startVoiceCall',
      tags: TAGS,
      summary: 'Start a conversation on the web or by phone',
      description:
        '`web`: nobody is dialled; the call waits 60 s for a client that opens `ws_url?ticket=…` and sends `start`. `from` and `trunk_id` are for `phone`, which is as `POST /v1/phone/calls`.',
      querystring: NoQuery,
      body: VoiceCallBody,
      response: answers(201, VoiceCallSchema, {
        description: 'The call is being placed',
        hasBody: true,
        problems: PLACE_PROBLEMS,
      }),
    },
    handler: async (request, reply) => {
      const { type = 'web', to, ...rest } = request.body;
      if (type === 'phone' && to === undefined) throw invalid('/to', 'required');
      const caller = callerOf(request);
      if (type === 'phone' && to !== undefined) {
        const call = await place(part, caller, { ...rest, to }, request.id);
        reply.code(201);
        return ok({ call: phoneCallView(call, caller.role), ...NO_OPENING });
      }
      const { tickets } = app.sockets;
      tickets.refuseFull();
      const call = await placeWeb(part, caller, { ...rest, ...present({ to }) }, request.id);
      const opening = openingOf(tickets, request, '/v1/voice/ws', call.id);
      reply.code(201);
      return ok({ call: phoneCallView(call, caller.role), ...opening });
    },
  });
}
