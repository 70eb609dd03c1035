/** Bodies and answers of the record routes beyond the record itself (contract 2.1, 3, 6). */
import { Type, type Static } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import {
  DirectionSchema,
  EXAMPLE_ID,
  HangupReasonSchema,
  IdSchema,
  nullable,
  TimeSchema,
} from './schemas.ts';

const EXAMPLE_AGENT = '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11';
/** 2000-01-01 and 2100-01-01: milliseconds by mistake lie far behind them. */
const [FIRST_TIMESTAMP, LAST_TIMESTAMP] = [946_684_800, 4_102_444_800];

const TimeInput = Type.String({ maxLength: 40, description: 'ISO-8601 with `Z` or an offset' });
const PhoneInput = Type.String({
  minLength: 1,
  maxLength: PHONE_MAX_CHARS,
  description:
    'The remote party. Kept in normal form; a national number is completed by the account’s `country_code`',
});
const NameInput = Type.String({ maxLength: 255 });
const AppInput = Type.String({ maxLength: 50, description: 'Commonly 微信, 企业微信 or 钉钉' });
const MetadataInput = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  description: 'At most 16 KiB as JSON, keys of at most 64 characters',
});

export const CreateRecordBody = Type.Object(
  {
    agent_id: IdSchema,
    start_time: Type.String({
      maxLength: 40,
      description: 'From 2000-01-01 to 24 h from now, ISO-8601 with `Z` or an offset',
    }),
    caller_name: Type.Optional(NameInput),
    caller_phone: Type.Optional(PhoneInput),
    caller_app: Type.Optional(AppInput),
    direction: Type.Optional(DirectionSchema),
    from_number: Type.Optional(Type.String({ maxLength: 255, description: 'Kept as it is' })),
    to_number: Type.Optional(Type.String({ maxLength: 255, description: 'Kept as it is' })),
    metadata: Type.Optional(MetadataInput),
  },
  {
    additionalProperties: false,
    examples: [
      {
        agent_id: EXAMPLE_AGENT,
        start_time: '2026-01-01T08:00:00+08:00',
        caller_name: 'Ann',
        caller_phone: '+1 555-0100',
        caller_app: '微信',
        metadata: { order: 'A-1024' },
      },
    ],
  },
);

const MessageInput = Type.Object(
  {
    role: Type.Enum(['system', 'user', 'assistant', 'function']),
    content: Type.String({ maxLength: 8000 }),
    timestamp: Type.Number({
      ...{ minimum: FIRST_TIMESTAMP, maximum: LAST_TIMESTAMP },
      description: 'Unix seconds, at most 3 decimals',
    }),
    name: Type.Optional(Type.String({ maxLength: 64 })),
    speaker: Type.Optional(Type.Literal('supervisor')),
    tool_calls: Type.Optional(
      Type.Array(
        Type.Object(
          {
            id: Type.String({ maxLength: 255 }),
            name: Type.String({ maxLength: 64 }),
            arguments: Type.Unsafe<Record<string, unknown>>({ type: 'object' }),
          },
          { additionalProperties: false },
        ),
        { maxItems: 64 },
      ),
    ),
    audio_url: Type.Optional(Type.String({ maxLength: 2000 })),
    start_ms: Type.Optional(Type.Number({ minimum: 0 })),
    end_ms: Type.Optional(Type.Number({ minimum: 0 })),
    confidence: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    latency_ms: Type.Optional(Type.Number({ minimum: 0 })),
    interrupted: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

export const PatchRecordBody = Type.Object(
  {
    end_time: Type.Optional(nullable(TimeInput)),
    duration_seconds: Type.Optional(
      nullable(
        Type.Integer({
          ...{ minimum: 0, maximum: 86_400 },
          description:
            'Without it, `end_time` sets it to the time from start to end; it may exceed that by 1 at most',
        }),
      ),
    ),
    hangup_reason: Type.Optional(nullable(HangupReasonSchema)),
    messages: Type.Optional(
      Type.Array(MessageInput, {
        maxItems: 5000,
        description: 'Replaces all messages; at most 4 MiB as JSON',
      }),
    ),
    caller_name: Type.Optional(nullable(NameInput)),
    caller_phone: Type.Optional(nullable(PhoneInput)),
    caller_app: Type.Optional(nullable(AppInput)),
    summary: Type.Optional(nullable(Type.String({ maxLength: 20_000 }))),
    metadata: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        description:
          'Merged one level deep into what is there; a null deletes its key. At most 16 KiB as JSON after that',
      }),
    ),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    examples: [
      { end_time: '2026-01-01T08:05:00+08:00', hangup_reason: 'user' },
      { summary: 'Wants a call back on Monday.', metadata: { order: null, ticket: 7 } },
    ],
  },
);
export type PatchRecordBody = Static<typeof PatchRecordBody>;

export const EventSchema = Type.Object(
  {
    id: IdSchema,
    type: Type.String({ description: 'Clients ignore types they do not know' }),
    alias: nullable(Type.String({ description: 'The same event under its older name' })),
    time: TimeSchema,
    account_id: IdSchema,
    call_id: nullable(IdSchema),
    conversation_id: nullable(IdSchema),
    seq: nullable(Type.Integer({ description: '1, 2, 3 … per call' })),
    node: nullable(Type.String()),
    request_id: nullable(Type.String({ description: 'Null in stored events' })),
    data: Type.Unsafe<object>({ type: 'object' }),
  },
  {
    $id: 'Event',
    examples: [
      {
        id: EXAMPLE_ID,
        type: 'call.ringing',
        alias: 'call-ringing',
        time: '2026-01-01T00:00:00.000Z',
        account_id: EXAMPLE_AGENT,
        call_id: EXAMPLE_ID,
        conversation_id: EXAMPLE_ID,
        seq: 2,
        node: 'node-1',
        request_id: null,
        data: { sip_status: 180, early_media: false },
      },
    ],
  },
);

export const StatisticsQuerySchema = Type.Object(
  {
    period: Type.Optional(
      Type.Enum(['today', 'week', 'month', 'year'], {
        description:
          'Default today; up to now, from midnight of the account’s time zone: of today, Monday, the 1st, 1 January',
      }),
    ),
    agent_id: Type.Optional(IdSchema),
  },
  { additionalProperties: false },
);

const count = (description?: string) =>
  Type.Integer({ minimum: 0, ...(description === undefined ? {} : { description }) });

export const StatisticsSchema = Type.Object(
  {
    total_calls: count('Calls by phone, web and of clients, finished or not'),
    total_duration_seconds: count(),
    avg_duration_seconds: count('Of the calls that have a duration'),
    success_calls: count('Ended by `user`, `ai` or `silence`'),
    failed_calls: count('Ended by `timeout` or `error`'),
    other_calls: count('Live, blocked, cancelled, or without a reason'),
    success_rate: Type.Number({
      description: 'Per cent of success and failure, one decimal; 0 without any',
    }),
    hangup_reasons: Type.Object({
      user: count(),
      ai: count(),
      timeout: count(),
      silence: count(),
      error: count(),
    }),
    daily_stats: Type.Array(
      Type.Object({ date: Type.String(), calls: count(), duration: count('Seconds') }),
      { description: 'Every day of the period, oldest first' },
    ),
    app_distribution: Type.Unsafe<Record<string, number>>({
      type: 'object',
      additionalProperties: { type: 'integer', minimum: 0 },
      description:
        'Calls by app, most frequent first; `unknown` without one. At most 50 names, the rest under `other`',
    }),
  },
  {
    $id: 'Statistics',
    examples: [
      {
        total_calls: 6,
        total_duration_seconds: 647,
        avg_duration_seconds: 129,
        success_calls: 3,
        failed_calls: 1,
        other_calls: 2,
        success_rate: 75,
        hangup_reasons: { user: 1, ai: 1, timeout: 1, silence: 1, error: 0 },
        daily_stats: [
          { date: '2026-11-16', calls: 3, duration: 601 },
          { date: '2026-11-17', calls: 1, duration: 46 },
          { date: '2026-11-18', calls: 2, duration: 0 },
        ],
        app_distribution: { 微信: 3, unknown: 1, 企业微信: 1, 钉钉: 1 },
      },
    ],
  },
);

/** To be registered with the server, so that `ref` finds them. */
export const RECORD_SCHEMAS = [EventSchema, StatisticsSchema] as const;
