/** Shapes of the calls of `/v1` (contract 2.4). */
import { Type, type Static } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { pageFields } from './paging.ts';
import { URI_MAX_CHARS } from './place-call.ts';
import {
  CallRecordSchema,
  ChannelSchema,
  DirectionSchema,
  EXAMPLE_ID,
  HangupReasonSchema,
  IdSchema,
  nullable,
  OutcomeSchema,
  ref,
  StatusSchema,
  TimeSchema,
} from './schemas.ts';

const AGENT_EXAMPLE = '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11';
const record = CallRecordSchema.properties;

const callExample = {
  id: EXAMPLE_ID,
  direction: 'outbound',
  channel: 'phone',
  status: 'dialing',
  from: '+15550199',
  to: '+15550100',
  assistant_id: AGENT_EXAMPLE,
  assistant_name: 'Default agent',
  squad_id: null,
  customer_id: 'C-1024',
  campaign_id: null,
  trunk_id: null,
  started_at: '2026-01-01T00:00:00.000Z',
  answered_at: null,
  ended_at: null,
  duration_seconds: null,
  hangup_reason: null,
  outcome: null,
  ended_by: null,
  recording_enabled: false,
  recording_url: null,
  cost: null,
  variables: { name: 'Ann' },
  metadata: {},
  quality: null,
  latency: null,
};

export const PhoneCallSchema = Type.Object(
  {
    id: IdSchema,
    direction: DirectionSchema,
    channel: ChannelSchema,
    status: StatusSchema,
    from: nullable(Type.String()),
    to: nullable(Type.String()),
    assistant_id: IdSchema,
    assistant_name: Type.String(),
    squad_id: nullable(IdSchema),
    customer_id: nullable(Type.String()),
    campaign_id: nullable(IdSchema),
    trunk_id: nullable(IdSchema),
    started_at: TimeSchema,
    answered_at: nullable(TimeSchema),
    ended_at: nullable(TimeSchema),
    duration_seconds: nullable(
      Type.Integer({ description: 'From the answer to the end; null while the call is live' }),
    ),
    hangup_reason: nullable(HangupReasonSchema),
    outcome: nullable(OutcomeSchema),
    ended_by: record.ended_by,
    recording_enabled: Type.Boolean({ description: 'True once the call is being recorded' }),
    recording_url: nullable(
      Type.String({ description: 'A path on this server, once the recording is ready' }),
    ),
    cost: record.cost,
    variables: record.variables,
    metadata: record.metadata,
    quality: record.quality,
    latency: record.latency,
  },
  { $id: 'Call', examples: [callExample] },
);
export type PhoneCall = Static<typeof PhoneCallSchema>;

const freeForm = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    description: `${description}; at most 16 KiB as JSON, keys of at most 64 characters`,
  });

const callFields = {
  from: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: PHONE_MAX_CHARS,
      description: 'A number of the account, or the trunk’s own; default: the trunk’s',
    }),
  ),
  assistant_id: Type.Optional(
    Type.String({ ...IdSchema, description: 'Default: the account’s default assistant' }),
  ),
  squad_id: Type.Optional(
    Type.String({ ...IdSchema, description: 'Its primary member takes the call' }),
  ),
  system_prompt: Type.Optional(
    Type.String({ maxLength: 20_000, description: 'Replaces the prompt of the assistant' }),
  ),
  greeting: Type.Optional(
    Type.String({ maxLength: 2_000, description: 'Replaces the greeting of the assistant' }),
  ),
  variables: Type.Optional(
    freeForm('Fill the placeholders of prompt and greeting; what is no string is kept as its JSON'),
  ),
  customer_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  recording_enabled: Type.Optional(
    Type.Boolean({ description: 'Default: the assistant’s setting, else the account’s' }),
  ),
  trunk_id: Type.Optional(Type.String({ ...IdSchema, description: 'Default: by priority' })),
  ring_timeout_s: Type.Optional(
    Type.Integer({ minimum: 5, maximum: 120, description: 'Default 30' }),
  ),
  max_duration_s: Type.Optional(
    Type.Integer({ minimum: 10, maximum: 14_400, description: 'Default: the assistant’s limit' }),
  ),
  amd: Type.Optional(
    Type.Boolean({
      description:
        'Default false. Finds out whether a person, a voicemail box, a menu or a fax answers (`amd.result`), and does what `voicemail` of the assistant says; telephone calls only',
    }),
  ),
  metadata: Type.Optional(freeForm('Kept with the record')),
};

const toField = Type.String({
  minLength: 1,
  maxLength: URI_MAX_CHARS,
  description: 'A number, or a `sip:` URI where the trunk allows it',
});

export const PlaceBody = Type.Object(
  { to: toField, ...callFields },
  {
    additionalProperties: false,
    examples: [
      { to: '+15550100', assistant_id: AGENT_EXAMPLE, variables: { name: 'Ann' } },
      { to: '+15550100', customer_id: 'C-1024', ring_timeout_s: 45, max_duration_s: 600 },
    ],
  },
);
export type PlaceBody = Static<typeof PlaceBody>;

export const VoiceCallBody = Type.Object(
  {
    type: Type.Optional(
      Type.Enum(['web', 'phone'], { description: 'Default `web`: over a WebSocket, without SIP' }),
    ),
    to: Type.Optional(toField),
    ...callFields,
  },
  {
    additionalProperties: false,
    examples: [
      { type: 'web', assistant_id: AGENT_EXAMPLE },
      { type: 'phone', to: '+15550100' },
    ],
  },
);

export const VoiceCallSchema = Type.Object(
  {
    call: ref(PhoneCallSchema),
    ws_url: nullable(Type.String({ description: 'Null for phone calls' })),
    ticket: nullable(Type.String()),
    expires_at: nullable(Type.Integer({ description: 'Unix seconds' })),
  },
  {
    examples: [
      { call: callExample, ws_url: null, ticket: null, expires_at: null },
      {
        call: { ...callExample, channel: 'web', direction: 'inbound', from: null, to: null },
        ws_url: 'wss://calls.example.net/v1/voice/ws',
        ticket: 'tk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG',
        expires_at: 1767225660,
      },
    ],
  },
);

export const PhoneCallsQuery = Type.Object(
  {
    ...pageFields,
    live: Type.Optional(
      Type.Boolean({ description: 'true: calls that are not over; false: those that are' }),
    ),
    status: Type.Optional(StatusSchema),
    direction: Type.Optional(DirectionSchema),
    assistant_id: Type.Optional(IdSchema),
  },
  { additionalProperties: false },
);
export type PhoneCallsQuery = Static<typeof PhoneCallsQuery>;
