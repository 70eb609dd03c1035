/** The simple API `/api/call` (contract 2.5): place, read and end calls. Unknown input is ignored here. */
import { Type, type Static } from 'typebox';
import type { CallStatus } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import { normalizePhone, PHONE_MAX_CHARS } from '#lib/phone.ts';
import {
  conversationStatusOf,
  isLiveStatus,
  type Conversation,
  type LiveCallView,
} from '#sessions/call-service-types.ts';
import { maySee, type Caller } from './auth.ts';
import { invalid, Problem, problemOfRefusal } from './problem.ts';
import { findRecord, fromNode, fromStore, type RecordSource } from './record-source.ts';
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
import { refuseFreeForm } from './validation.ts';

const SimpleStatusSchema = Type.Enum(['connecting', 'ringing', 'answered', 'ended', 'failed']);
type SimpleStatus = Static<typeof SimpleStatusSchema>;

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
    status: SimpleStatusSchema,
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
    status: SimpleStatusSchema,
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
    status: SimpleStatusSchema,
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

export function addCallRoutes(app: ApiServer, source: RecordSource): void {
  addInitiate(app, source);
  addGet(app, source);
  addTerminate(app, source);
  addConversation(app, source);
}

function addInitiate(app: ApiServer, source: RecordSource): void {
  app.route({
    method: 'POST',
    url: '/api/call/initiate',
    config: { capability: 'ops', placesCalls: true, idempotent: true },
    schema: {
      operationId: 'initiateCall',
      tags: TAGS,
      summary: 'Place a call',
      description:
        'Answers before the far end does. `Idempotency-Key` is kept 24 h in memory: a restart forgets it. `media: websocket` is not supported yet.',
      body: InitiateBody,
      response: answers(201, InitiatedSchema, {
        description: 'The call is being placed',
        hasBody: true,
        problems: ['REFERENCE_NOT_FOUND', 'NO_ROUTE', 'NUMBER_NOT_ALLOWED', 'CONCURRENCY_LIMIT'],
      }),
    },
    handler: async (request, reply) => {
      const call = await place(source, callerOf(request), request.body, request.id);
      reply.code(201);
      return ok({
        call_id: call.id,
        phone_number: call.toNumber ?? request.body.phone_number,
        status: simpleStatusOf(call.status),
        media: 'sip' as const,
        ws_url: null,
        ticket: null,
        expires_at: null,
      });
    },
  });
}

async function place(
  source: RecordSource,
  caller: Caller,
  body: Static<typeof InitiateBody>,
  requestId: string,
): Promise<LiveCallView> {
  const to = normalizePhone(body.phone_number);
  if (to === null) throw invalid('/phone_number', 'phone');
  if (body.media === 'websocket') throw invalid('/media', 'unsupported');
  if (body.variables !== undefined) refuseFreeForm(body.variables, '/variables');
  if (body.agent_id !== undefined && !maySee(caller, body.agent_id)) {
    throw problemOfRefusal('REFERENCE_NOT_FOUND', null);
  }
  // A key that is bound to no agent at all may use none.
  if (caller.agentIds?.length === 0) throw problemOfRefusal('REFERENCE_NOT_FOUND', null);
  // A key that is bound to agents uses these alone, so its first one stands in for the account's default.
  const agentId = body.agent_id ?? caller.agentIds?.[0];
  // Placing reads the agent and the trunk, so it has the database's time, not a command's.
  const giveUp = new AbortController();
  const placed = await fromStore(
    source,
    source.calls.place({
      signal: giveUp.signal,
      accountId: caller.accountId,
      to,
      requestId,
      ...(body.prompt === undefined ? {} : { prompt: body.prompt }),
      ...(agentId === undefined ? {} : { agentId }),
      ...(body.variables === undefined ? {} : { variables: textsOf(body.variables) }),
    }),
  ).catch((error: unknown) => {
    giveUp.abort();
    throw error;
  });
  if (placed.ok) return placed.call;
  throw problemOfRefusal(placed.refusal.code, placed.refusal.retryAfterS);
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
        status: simpleStatusOf(call.status),
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
      const call = await terminate(source, callerOf(request), request.params.id, reason);
      return ok({
        call_id: call.id,
        status: simpleStatusOf(call.status),
        duration: call.durationSeconds ?? 0,
      });
    },
  });
}

async function terminate(
  source: RecordSource,
  caller: Caller,
  id: Id,
  reason: string | null,
): Promise<CallFacts> {
  const before = await findCall(source, caller, id);
  if (!isLiveStatus(before.status)) return before;
  const how = { reason, by: 'api' } as const;
  const call = await fromNode(source, source.calls.hangup(caller.accountId, id, how));
  if (call !== null) return call;
  // A record that a client keeps has no call behind it; one of ours without a call has lost its owner.
  throw new Problem(before.source === 'api' ? 'INVALID_STATE' : 'NODE_TIMEOUT');
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

async function conversationOf(source: RecordSource, caller: Caller, id: Id): Promise<Conversation> {
  const call = await liveCall(source, caller, id);
  if (call !== null) {
    const conversation = await fromNode(source, source.calls.conversation(caller.accountId, id));
    if (conversation !== null) return conversation;
  }
  const record = await findRecord(source, caller, id);
  return {
    status: conversationStatusOf(record.status, record.outcome),
    messages: record.messages,
  };
}

/** What the routes here read of a call, live or from its record. */
type CallFacts = Pick<
  LiveCallView,
  | 'id'
  | 'agentId'
  | 'direction'
  | 'status'
  | 'outcome'
  | 'hangupReason'
  | 'callerPhone'
  | 'fromNumber'
  | 'toNumber'
  | 'startTime'
  | 'answerTime'
  | 'endTime'
> & { readonly durationSeconds: number | null; readonly source?: 'api' | 'core' };

/** The owner of a call knows it best, so it is asked before the database. Errors: NOT_FOUND, NODE_TIMEOUT. */
async function findCall(source: RecordSource, caller: Caller, id: Id): Promise<CallFacts> {
  return (await liveCall(source, caller, id)) ?? (await findRecord(source, caller, id));
}

async function liveCall(
  source: RecordSource,
  caller: Caller,
  id: Id,
): Promise<LiveCallView | null> {
  const call = await fromNode(source, source.calls.get(caller.accountId, id));
  if (call !== null && !maySee(caller, call.agentId)) throw new Problem('NOT_FOUND');
  return call;
}

function remoteNumberOf(call: CallFacts): string | null {
  return call.callerPhone ?? (call.direction === 'outbound' ? call.toNumber : call.fromNumber);
}

/** The status as this family names it (contract 2.0). */
export function simpleStatusOf(status: CallStatus): SimpleStatus {
  return status === 'queued' || status === 'dialing' ? 'connecting' : status;
}

function textsOf(variables: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
}
