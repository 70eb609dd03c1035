/** Calls of the console API (contract 2.6 rows 2 to 5) and their `udp` aliases. Unknown input is ignored here. */
import { Type } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { endCall, findCall, liveCalls, remoteNumberOf } from './call-view.ts';
import { consoleMessage } from './console-messages.ts';
import { ConsoleCallSchema, ConsoleStatusSchema } from './console-schemas.ts';
import { consoleCallOf, consoleStatusOf } from './console-view.ts';
import { PLACE_PROBLEMS, placeCall, present } from './place-call.ts';
import type { RecordSource } from './record-source.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { answers, EXAMPLE_ID, IdSchema, ok, ref } from './schemas.ts';

const TAGS = ['Call center'];
const MAX_ACTIVE = 1_000;

/** A path of the console and what it is an alias for; `udp` takes trunks with that transport alone. */
type Alias = { readonly path: string; readonly operationId: string; readonly isUdp: boolean };

const MakeBody = Type.Object(
  {
    phoneNumber: Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS }),
    customerId: Type.Optional(
      Type.Union([
        Type.String({ minLength: 1, maxLength: 64 }),
        Type.Integer({
          minimum: Number.MIN_SAFE_INTEGER,
          maximum: Number.MAX_SAFE_INTEGER,
          description: 'Kept as its decimal string',
        }),
      ]),
    ),
    systemPrompt: Type.Optional(
      Type.String({ maxLength: 20_000, description: 'Replaces the system prompt of the agent' }),
    ),
    agentId: Type.Optional(IdSchema),
  },
  {
    examples: [
      { phoneNumber: '+15550100', customerId: 1024, systemPrompt: 'Confirm the appointment.' },
    ],
  },
);

const MadeSchema = Type.Object(
  {
    callId: IdSchema,
    phoneNumber: Type.String(),
    status: ConsoleStatusSchema,
    message: Type.String({ description: 'For people; may change' }),
  },
  {
    examples: [
      {
        callId: EXAMPLE_ID,
        phoneNumber: '+15550100',
        status: 'connecting',
        message: 'call started',
      },
    ],
  },
);

const CallIdParams = Type.Object({ callId: IdSchema });
const HangupBody = Type.Object({ callId: IdSchema }, { examples: [{ callId: EXAMPLE_ID }] });

const ActiveSchema = Type.Object({
  total: Type.Integer(),
  calls: Type.Array(ref(ConsoleCallSchema), { description: 'Oldest first, at most 1000' }),
});

/** What the body does not name is decided by the account: no field is at fault then. */
const FIELDS = {
  to: '/phoneNumber',
  agent: '/agentId',
  ...{ from: '', squad: '', trunk: '', variables: '', metadata: '' },
} as const;

export function addConsoleCallRoutes(app: ApiServer, source: RecordSource): void {
  const base = '/api/call-center';
  for (const isUdp of [false, true]) {
    const udp = isUdp ? '/udp' : '';
    const suffix = isUdp ? 'Udp' : '';
    const alias = (path: string, name: string): Alias => ({
      path: `${base}${path}`,
      operationId: `${name}${suffix}`,
      isUdp,
    });
    addMake(app, source, alias(`/call${udp}/make`, 'makeConsoleCall'));
    addHangup(app, source, alias(`/call${udp}/hangup`, 'hangupConsoleCall'));
    addStatus(app, source, alias(`/call${udp}/:callId/status`, 'getConsoleCallStatus'));
    addActive(app, source, alias(`/calls${udp}/active`, 'listActiveConsoleCalls'));
  }
}

function addMake(app: ApiServer, source: RecordSource, alias: Alias): void {
  app.route({
    method: 'POST',
    url: alias.path,
    config: { capability: 'ops', placesCalls: true, idempotent: true },
    schema: {
      operationId: alias.operationId,
      tags: TAGS,
      summary: alias.isUdp ? 'Place a call over a UDP trunk' : 'Place a call',
      description: 'Answers before the far end does.',
      body: MakeBody,
      response: answers(201, MadeSchema, {
        description: 'The call is being placed',
        hasBody: true,
        hasMessage: true,
        problems: PLACE_PROBLEMS,
      }),
    },
    handler: async (request, reply) => {
      const { phoneNumber, customerId, systemPrompt, agentId } = request.body;
      const wish = present({
        to: phoneNumber,
        prompt: systemPrompt,
        agentId,
        customerId: typeof customerId === 'number' ? String(customerId) : customerId,
        trunkTransport: alias.isUdp ? ('udp' as const) : undefined,
      });
      const call = await placeCall(source, wish, {
        caller: callerOf(request),
        requestId: request.id,
        fields: FIELDS,
        takesUri: false,
      });
      const message = consoleMessage(request, 'callStarted');
      reply.code(201);
      const made = {
        callId: call.id,
        phoneNumber: remoteNumberOf(call) ?? phoneNumber,
        status: consoleStatusOf(call.status),
        message,
      };
      return ok(made, message);
    },
  });
}

function addHangup(app: ApiServer, source: RecordSource, alias: Alias): void {
  app.route({
    method: 'POST',
    url: alias.path,
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: alias.operationId,
      tags: TAGS,
      summary: 'End a call',
      description: 'A call that is over stays as it is and is answered with 200.',
      body: HangupBody,
      response: answers(200, Type.Null(), {
        description: 'The call is over',
        hasBody: true,
        hasMessage: true,
        problems: ['NOT_FOUND', 'INVALID_STATE', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      await endCall(source, callerOf(request), request.body.callId, null);
      return ok(null, consoleMessage(request, 'callEnded'));
    },
  });
}

function addStatus(app: ApiServer, source: RecordSource, alias: Alias): void {
  app.route({
    method: 'GET',
    url: alias.path,
    config: { capability: 'any' },
    schema: {
      operationId: alias.operationId,
      tags: TAGS,
      summary: 'Read the state of a call',
      params: CallIdParams,
      response: answers(200, ref(ConsoleCallSchema), {
        description: 'The call, live or over',
        hasMessage: true,
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const call = await findCall(source, caller, request.params.callId);
      const viewer = { role: caller.role, nowMs: source.clock.wallMs() };
      return ok(consoleCallOf(call, viewer), consoleMessage(request, 'callRead'));
    },
  });
}

function addActive(app: ApiServer, source: RecordSource, alias: Alias): void {
  app.route({
    method: 'GET',
    url: alias.path,
    config: { capability: 'any' },
    schema: {
      operationId: alias.operationId,
      tags: TAGS,
      summary: alias.isUdp ? 'List live calls on UDP trunks' : 'List live calls',
      response: answers(200, ActiveSchema, {
        description: 'Calls that are not over',
        hasMessage: true,
        problems: ['NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const live = await liveCalls(source, caller);
      const calls = alias.isUdp ? live.filter((call) => call.trunkTransport === 'udp') : live;
      const viewer = { role: caller.role, nowMs: source.clock.wallMs() };
      const shown = calls.slice(0, MAX_ACTIVE).map((call) => consoleCallOf(call, viewer));
      return ok({ total: calls.length, calls: shown }, consoleMessage(request, 'activeCalls'));
    },
  });
}
