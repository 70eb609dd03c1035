/** The simple API `/api/call` (contract 2.5): place, read and end calls. Unknown input is ignored here. */
import { Type } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { conversationOf, endCall, findCall, remoteNumberOf } from './call-view.ts';
import { ConsoleStatusSchema } from './console-schemas.ts';
import { consoleStatusOf } from './console-view.ts';
import { PLACE_PROBLEMS, placeCall, present } from './place-call.ts';
import type { RecordSource } from './record-source.ts';
import { messagesView, phoneView } from './record-view.ts';
import { callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  DirectionSchema,
  EXAMPLE_ID,
  HangupReasonSchema,
  IdParams,
  IdSchema,
  MessageSchema,
  nullable,
  ok,
  OutcomeSchema,
  ref,
  TimeSchema,
} from './schemas.ts';
import { NO_OPENING, openingOf, placeWebCall, type WebCallsPart } from './web-call.ts';

const ConversationStatusSchema = Type.Enum(['pending', 'active', 'completed', 'expired', 'failed']);

const InitiateBody = Type.Object(
  {
    phone_number: Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS }),
    prompt: Type.Optional(
      Type.String({ maxLength: 20_000, description: 'Replaces the system prompt of the agent' }),
    ),
    agent_id: Type.Optional(IdSchema),
    media: Type.Optional(Type.Enum(['sip', 'websocket'], { description: 'Default sip' })),
    variables: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        description:
          'At most 16 KiB as JSON, keys of at most 64 characters; a value that is no string is kept as its JSON text',
      }),
    ),
  },
  { examples: [{ phone_number: '+15550100', prompt: 'Remind the customer of the appointment.' }] },
);

const InitiatedSchema = Type.Object(
  {
    call_id: IdSchema,
    phone_number: Type.String(),
    status: ConsoleStatusSchema,
    media: Type.Enum(['sip', 'websocket']),
    ws_url: nullable(Type.String()),
    ticket: nullable(Type.String()),
    expires_at: nullable(Type.Integer({ description: 'Unix seconds' })),
  },
  {
    examples: [
      {
        call_id: EXAMPLE_ID,
        phone_number: '+15550100',
        status: 'connecting',
        media: 'sip',
        ws_url: null,
        ticket: null,
        expires_at: null,
      },
    ],
  },
);

const SimpleCallSchema = Type.Object(
  {
    call_id: IdSchema,
    phone_number: nullable(Type.String({ description: 'The remote party' })),
    direction: DirectionSchema,
    status: ConsoleStatusSchema,
    start_time: TimeSchema,
    answer_time: nullable(TimeSchema),
    end_time: nullable(TimeSchema),
    duration: Type.Integer({ description: 'Whole seconds since the answer; 0 before it' }),
    hangup_reason: nullable(HangupReasonSchema),
    outcome: nullable(OutcomeSchema),
    agent_id: IdSchema,
  },
  {
    examples: [
      {
        call_id: EXAMPLE_ID,
        phone_number: '+15550100',
        direction: 'outbound',
        status: 'ended',
        start_time: '2026-01-01T00:00:00.000Z',
        answer_time: '2026-01-01T00:00:04.120Z',
        end_time: '2026-01-01T00:00:46.500Z',
        duration: 42,
        hangup_reason: 'user',
        outcome: 'completed',
        agent_id: '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11',
      },
    ],
  },
);

const TerminatedSchema = Type.Object(
  {
    call_id: IdSchema,
    status: ConsoleStatusSchema,
    duration: Type.Integer(),
  },
  { examples: [{ call_id: EXAMPLE_ID, status: 'ended', duration: 42 }] },
);

const ConversationSchema = Type.Object(
  {
    call_id: IdSchema,
    status: ConversationStatusSchema,
    messages: Type.Array(ref(MessageSchema)),
    total: Type.Integer(),
  },
  {
    examples: [
      {
        call_id: EXAMPLE_ID,
        status: 'active',
        messages: [
          { role: 'assistant', content: 'Hello, how can I help?', timestamp: 1767225600.25 },
        ],
        total: 1,
      },
    ],
  },
);

const TAGS = ['Calls'];

/** What this family does not take is decided by the account: nothing of the body is at fault then. */
const FIELDS = {
  to: '/phone_number',
  agent: '/agent_id',
  variables: '/variables',
  ...{ from: '', squad: '', trunk: '', metadata: '' },
} as const;

export function addCallRoutes(app: ApiServer, source: RecordSource & WebCallsPart): void {
  addInitiate(app, source);
  addGet(app, source);
  addTerminate(app, source);
  addConversation(app, source);
}

function addInitiate(app: ApiServer, source: RecordSource & WebCallsPart): void {
  app.route({
    method: 'POST',
    url: '/api/call/initiate',
    config: { capability: 'ops', placesCalls: true, idempotent: true },
    schema: {
      operationId: 'initiateCall',
      tags: TAGS,
      summary: 'Place a call',
      description:
        'Answers before the far end does. With `media: websocket` nobody is dialled: the call waits 60 s for a client that opens `ws_url?ticket=…` and becomes the caller side.',
      body: InitiateBody,
      response: answers(201, InitiatedSchema, {
        description: 'The call is being placed',
        hasBody: true,
        problems: PLACE_PROBLEMS,
      }),
    },
    handler: async (request, reply) => {
      const { body } = request;
      const { media = 'sip' } = body;
      const wish = present({
        to: body.phone_number,
        prompt: body.prompt,
        agentId: body.agent_id,
        variables: body.variables,
      });
      const caller = callerOf(request);
      const options = { caller, requestId: request.id, fields: FIELDS, takesUri: false };
      const { tickets } = app.sockets;
      if (media === 'websocket') tickets.refuseFull();
      const call = await (media === 'sip'
        ? placeCall(source, wish, options)
        : placeWebCall(source, wish, options));
      const opening =
        media === 'sip' ? NO_OPENING : openingOf(tickets, request, `/ws/call/${call.id}`, call.id);
      reply.code(201);
      return ok({
        call_id: call.id,
        phone_number: call.callerPhone ?? call.toNumber ?? body.phone_number,
        status: consoleStatusOf(call.status),
        media,
        ...opening,
      });
    },
  });
}

function addGet(app: ApiServer, source: RecordSource): void {
  app.route({
    method: 'GET',
    url: '/api/call/:id',
    config: { capability: 'any' },
    schema: {
      operationId: 'getCall',
      tags: TAGS,
      summary: 'Read the state of a call',
      params: IdParams,
      response: answers(200, SimpleCallSchema, {
        description: 'The call, live or over',
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const call = await findCall(source, caller, request.params.id);
      return ok({
        call_id: call.id,
        phone_number: phoneView(remoteNumberOf(call), caller.role),
        direction: call.direction,
        status: consoleStatusOf(call.status),
        start_time: call.startTime,
        answer_time: call.answerTime,
        end_time: call.endTime,
        duration: call.durationSeconds ?? 0,
        hangup_reason: call.hangupReason,
        outcome: call.outcome,
        agent_id: call.agentId,
      });
    },
  });
}

function addTerminate(app: ApiServer, source: RecordSource): void {
  app.route({
    method: 'POST',
    url: '/api/call/:id/terminate',
    config: { capability: 'ops', idempotent: true },
    schema: {
      operationId: 'terminateCall',
      tags: TAGS,
      summary: 'End a call',
      description: 'A call that is over stays as it is and is answered with 200.',
      params: IdParams,
      body: Type.Object({ reason: Type.Optional(Type.String({ maxLength: 200 })) }),
      response: answers(200, TerminatedSchema, {
        description: 'The call is over',
        hasBody: true,
        problems: ['NOT_FOUND', 'INVALID_STATE', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const reason = request.body.reason ?? null;
      const call = await endCall(source, callerOf(request), request.params.id, reason);
      return ok({
        call_id: call.id,
        status: consoleStatusOf(call.status),
        duration: call.durationSeconds ?? 0,
      });
    },
  });
}

function addConversation(app: ApiServer, source: RecordSource): void {
  app.route({
    method: 'GET',
    url: '/api/call/:id/conversation',
    config: { capability: 'any' },
    schema: {
      operationId: 'getConversation',
      tags: TAGS,
      summary: 'Read what was said so far',
      params: IdParams,
      response: answers(200, ConversationSchema, {
        description: 'While the call is live, complete to the last second',
        problems: ['NOT_FOUND', 'NODE_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const { status, messages } = await conversationOf(source, caller, id);
      return ok({
        call_id: id,
        status,
        messages: messagesView(messages, caller.role),
        total: messages.length,
      });
    },
  });
}
