/** Schemas that several routes share. From them come validation, the handlers' types and the OpenAPI document. */
import { Type, type Static, type TSchema, type TUnsafe } from 'typebox';
import { PROBLEMS, type ProblemCode } from './problem.ts';
import { UUID_PATTERN } from './validation.ts';

export const EXAMPLE_ID = '3f6c1d2a-0b7e-4c55-9a41-5d2f8e6b7c90';

export const IdSchema = Type.String({ pattern: UUID_PATTERN, description: 'UUID' });
export const TimeSchema = Type.String({ description: 'ISO-8601, UTC with milliseconds' });

export function nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

export const IdParams = Type.Object({ id: IdSchema });

export const DirectionSchema = Type.Enum(['inbound', 'outbound']);
export const StatusSchema = Type.Enum([
  'queued',
  'dialing',
  'ringing',
  'answered',
  'ended',
  'failed',
]);
export const HangupReasonSchema = Type.Enum(['user', 'ai', 'timeout', 'silence', 'error']);
export const ChannelSchema = Type.Enum(['phone', 'web', 'external', 'text']);
export const OutcomeSchema = Type.Enum([
  'completed',
  'transferred',
  'voicemail',
  'silence',
  'max_duration',
  'idle',
  'no_answer',
  'abandoned',
  'busy',
  'declined',
  'cancelled',
  'blocked',
  'invalid_number',
  'unreachable',
  'congestion',
  'auth_failed',
  'carrier_error',
  'incompatible_media',
  'media_lost',
  'provider_error',
  'node_lost',
  'internal_error',
]);
const RecordingStatusSchema = Type.Enum(['none', 'active', 'ready', 'failed', 'expired']);

export const MessageSchema = Type.Object(
  {
    role: Type.Enum(['system', 'user', 'assistant', 'function']),
    content: Type.String({ description: 'What was said; empty when no recogniser has read it' }),
    timestamp: Type.Number({ description: 'Unix seconds, at most 3 decimals' }),
    name: Type.Optional(Type.String({ description: 'Of the function' })),
    speaker: Type.Optional(Type.Literal('supervisor')),
    tool_calls: Type.Optional(
      Type.Array(
        Type.Object({
          id: Type.String(),
          name: Type.String(),
          arguments: Type.Unsafe<object>({ type: 'object' }),
        }),
      ),
    ),
    audio_url: Type.Optional(Type.String()),
    start_ms: Type.Optional(Type.Number({ description: 'From the answer' })),
    end_ms: Type.Optional(Type.Number()),
    confidence: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    latency_ms: Type.Optional(Type.Number()),
    interrupted: Type.Optional(
      Type.Boolean({ description: '`content` is then cut to what the caller heard' }),
    ),
  },
  {
    $id: 'Message',
    examples: [
      { role: 'assistant', content: 'Hello, how can I help?', timestamp: 1767225600.25 },
      { role: 'user', content: 'I have a question.', timestamp: 1767225603, start_ms: 2750 },
    ],
  },
);

const rowFields = {
  id: IdSchema,
  agent_id: IdSchema,
  agent_name: Type.String(),
  caller_name: nullable(Type.String()),
  caller_phone: nullable(Type.String({ description: 'The remote party, also on outbound calls' })),
  caller_app: nullable(Type.String()),
  direction: DirectionSchema,
  status: StatusSchema,
  start_time: TimeSchema,
  duration_seconds: nullable(Type.Integer({ description: 'From the answer to the end' })),
  hangup_reason: nullable(HangupReasonSchema),
  outcome: nullable(OutcomeSchema),
  summary: nullable(Type.String()),
  recording_status: RecordingStatusSchema,
};

const rowExample = {
  id: EXAMPLE_ID,
  agent_id: '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11',
  agent_name: 'Default agent',
  caller_name: null,
  caller_phone: '+15550100',
  caller_app: null,
  direction: 'inbound',
  status: 'ended',
  start_time: '2026-01-01T00:00:00.000Z',
  duration_seconds: 42,
  hangup_reason: 'user',
  outcome: 'completed',
  summary: null,
  recording_status: 'ready',
};

export const CallRowSchema = Type.Object(rowFields, { $id: 'CallRow', examples: [rowExample] });
export type CallRow = Static<typeof CallRowSchema>;

const Percentiles = Type.Object({ p50: Type.Number(), p90: Type.Number(), max: Type.Number() });
const Quality = Type.Object({
  mos: Type.Number(),
  mos_min: Type.Number(),
  loss_pct: Type.Number(),
  jitter_ms: Type.Number(),
  codec: Type.String(),
  fault: nullable(Type.String()),
});
const Latency = Type.Object({
  turns: Type.Integer(),
  mouth_to_ear_ms: Percentiles,
  parts_ms: Type.Object({
    jitter: Percentiles,
    endpointing: Percentiles,
    stt: Percentiles,
    llm: Percentiles,
    tts: Percentiles,
    pacing: Percentiles,
  }),
});
const Money = Type.Object({ amount: Type.Number(), currency: Type.String() });

export const CallRecordSchema = Type.Object(
  {
    ...rowFields,
    source: Type.Enum(['api', 'core']),
    channel: ChannelSchema,
    from_number: nullable(Type.String()),
    to_number: nullable(Type.String()),
    answer_time: nullable(TimeSchema),
    end_time: nullable(TimeSchema),
    ended_by: nullable(Type.Enum(['caller', 'agent', 'api', 'supervisor', 'system'])),
    messages: Type.Array(ref(MessageSchema)),
    metadata: Type.Unsafe<object>({ type: 'object' }),
    variables: Type.Unsafe<object>({ type: 'object' }),
    customer_id: nullable(Type.String()),
    trunk_id: nullable(IdSchema),
    rule_id: nullable(IdSchema),
    campaign_id: nullable(IdSchema),
    squad_id: nullable(IdSchema),
    recording: nullable(
      Type.Object({
        id: IdSchema,
        status: Type.String(),
        duration_ms: nullable(Type.Integer()),
        url: Type.String({ description: 'A path on this server' }),
      }),
    ),
    quality: nullable(Quality),
    latency: nullable(Latency),
    cost: nullable(Money),
    summary_meta: nullable(
      Type.Object({
        source: Type.Enum(['llm', 'extractive', 'client']),
        model: nullable(Type.String()),
        language: Type.String(),
        generated_at: TimeSchema,
      }),
    ),
    sip_call_id: nullable(Type.String()),
    sip_status: nullable(Type.Integer()),
    node: nullable(Type.String()),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  { $id: 'CallRecord' },
);
export type CallRecord = Static<typeof CallRecordSchema>;

export const PaginationSchema = Type.Object(
  {
    page: Type.Integer(),
    page_size: Type.Integer(),
    total: Type.Integer({ description: 'Exact up to 10,000' }),
    total_exact: Type.Boolean(),
    total_pages: Type.Integer(),
    has_next: Type.Boolean(),
    next_cursor: nullable(Type.String({ description: 'Opaque; null on the last page' })),
  },
  { $id: 'Pagination' },
);
export type Pagination = Static<typeof PaginationSchema>;

export const FailureSchema = Type.Object(
  {
    success: Type.Literal(false),
    error: Type.Object({
      code: Type.Enum(Object.keys(PROBLEMS)),
      message: Type.String({ description: 'For people; may change' }),
      details: Type.Optional(
        Type.Union([
          Type.Array(
            Type.Object({
              path: Type.String({ description: 'JSON pointer, or `?name` for a query parameter' }),
              rule: Type.String(),
              message: Type.String(),
            }),
            { maxItems: 20 },
          ),
          Type.Object(
            { vendor_code: Type.String({ description: "The vendor's own code for its refusal" }) },
            { description: 'Of `PROVIDER_REJECTED`' },
          ),
        ]),
      ),
    }),
    message: Type.String(),
  },
  { $id: 'Failure' },
);

export const SHARED_SCHEMAS = [
  MessageSchema,
  CallRowSchema,
  CallRecordSchema,
  PaginationSchema,
  FailureSchema,
] as const;

/** A reference to a shared schema, typed as the schema it names. */
export function ref<T extends TSchema>(schema: T): TUnsafe<Static<T>> {
  return Type.Unsafe<Static<T>>({ $ref: refOf(schema) });
}

function refOf(schema: TSchema): string {
  return `${String((schema as { $id?: string }).$id)}#`;
}

export type Answer<T extends TSchema> = {
  readonly success: true;
  readonly data: Static<T>;
  readonly message?: string;
};

/** A success in the envelope; `message` where the route's answers are declared with `hasMessage` (contract 1.5). */
export function ok<T>(
  data: T,
  message?: string,
): { readonly success: true; readonly data: T; readonly message?: string } {
  return { success: true, data, ...(message === undefined ? {} : { message }) };
}

export type AnswerOptions = {
  /** What the route can refuse with, beyond what every authenticated route can. */
  readonly problems: readonly ProblemCode[];
  readonly description: string;
  readonly hasBody?: boolean;
  /** The success carries an outer `message` for people: `/api/call-center` and configuration writes. */
  readonly hasMessage?: boolean;
};

const COMMON: readonly ProblemCode[] = [
  'VALIDATION_FAILED',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'KEY_REVOKED',
  'FORBIDDEN',
  'ACCOUNT_FORBIDDEN',
  'IP_NOT_ALLOWED',
  'REQUEST_TIMEOUT',
  // Also a URL or headers beyond their limits.
  'PAYLOAD_TOO_LARGE',
  'RATE_LIMITED',
  'INTERNAL',
  'UNAVAILABLE',
  'OVERLOADED',
  'DRAINING',
];
const WITH_BODY: readonly ProblemCode[] = [
  'INVALID_JSON',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_MISMATCH',
];

const MESSAGE = Type.String({ description: 'For people; may change' });

/** The `response` part of a route's schema: its success in the envelope, and every failure it can give. */
export function answers<const S extends number, T extends TSchema>(
  status: S,
  data: T,
  options: AnswerOptions,
): Record<S, TUnsafe<Answer<T>>> {
  const envelope = Type.Object(
    {
      success: Type.Literal(true),
      data,
      ...(options.hasMessage === true ? { message: MESSAGE } : {}),
    },
    { description: options.description },
  );
  return { [status]: envelope, ...failures(options) } as unknown as Record<S, TUnsafe<Answer<T>>>;
}

/** Failures by status, each naming its codes and showing one. */
export function failures(options: Omit<AnswerOptions, 'description'>): Record<number, TSchema> {
  const codes = [...COMMON, ...(options.hasBody === true ? WITH_BODY : []), ...options.problems];
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of new Set(codes)) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const schemas: Record<number, TSchema> = {};
  for (const [status, list] of byStatus) {
    schemas[status] = Type.Unsafe({
      $ref: refOf(FailureSchema),
      description: list.map((code) => `\`${code}\`: ${PROBLEMS[code].en}`).join('. '),
    });
  }
  return schemas;
}
