/** Bodies and answers of live control (contract 2.7). */
import { Type } from 'typebox';
import { IdSchema } from './schemas.ts';

const strict = { additionalProperties: false } as const;
const Side = Type.Enum(['caller', 'agent']);
const On = Type.Boolean();
const interruptible = Type.Optional(
  Type.Boolean({
    description: 'Default true: the caller may talk over it, where the agent allows',
  }),
);

export const HangupBody = Type.Object(
  {
    reason: Type.Optional(
      Type.String({
        maxLength: 200,
        description: 'Told to the other side in the BYE; ASCII alone',
      }),
    ),
  },
  { ...strict, examples: [{ reason: 'The customer came by in person' }] },
);

export const PlayBody = Type.Object(
  {
    url: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 2048,
        description:
          'WAV (PCM, float, G.711) or MP3, at most 25 MiB and an hour. Redirects are not followed.',
      }),
    ),
    recording_id: Type.Optional(IdSchema),
    loop: Type.Optional(
      Type.Boolean({
        description: 'Default false: once. A loop ends with its round when something else waits.',
      }),
    ),
    interruptible,
  },
  { ...strict, examples: [{ url: 'https://example.com/welcome.wav', interruptible: false }] },
);
export const PlayedSchema = Type.Object(
  {
    playback_id: IdSchema,
    duration_ms: Type.Integer({ description: 'Of one round' }),
  },
  { examples: [{ playback_id: '4c1e8d0a-5b2f-4f7e-9a36-2d9d0c7b1e55', duration_ms: 4200 }] },
);

export const SayBody = Type.Object(
  {
    text: Type.String({ minLength: 1, maxLength: 2000 }),
    interrupt: Type.Optional(
      Type.Boolean({ description: 'Default false: after what is being said; else instead of it' }),
    ),
    interruptible,
  },
  { ...strict, examples: [{ text: 'One moment please, I am looking that up.' }] },
);
export const SaidSchema = Type.Object(
  { turn: Type.Integer({ description: 'The `turn` of its events' }) },
  { examples: [{ turn: 4 }] },
);

export const DtmfBody = Type.Object(
  {
    digits: Type.String({
      pattern: '^[0-9A-D*#w]{1,64}$',
      description: '`w`: a pause of 500 ms',
    }),
    tone_ms: Type.Optional(
      Type.Integer({ minimum: 40, maximum: 2000, description: 'Default 100' }),
    ),
    gap_ms: Type.Optional(Type.Integer({ minimum: 40, maximum: 2000, description: 'Default 100' })),
    mode: Type.Optional(
      Type.Enum(['rfc4733', 'info', 'inband'], {
        description:
          'Default: the trunk’s. `rfc4733` becomes `inband` where the far end takes none.',
      }),
    ),
  },
  { ...strict, examples: [{ digits: '1ww42#' }] },
);
export const DigitsSentSchema = Type.Object(
  { sent: Type.String() },
  { examples: [{ sent: '1ww42#' }] },
);

export const HoldBody = Type.Object(
  { on: On, music: Type.Optional(Type.Boolean({ description: 'Default true; else silence' })) },
  { ...strict, examples: [{ on: true }] },
);
export const HeldSchema = Type.Object({ on: On }, { examples: [{ on: true }] });

export const MuteBody = Type.Object(
  { side: Side, on: On },
  { ...strict, examples: [{ side: 'caller', on: true }] },
);
export const MutedSchema = Type.Object(
  { side: Side, on: On },
  { examples: [{ side: 'caller', on: true }] },
);

export const MessageBody = Type.Object(
  {
    text: Type.String({ minLength: 1, maxLength: 4000 }),
    respond: Type.Optional(
      Type.Boolean({ description: 'Default false; else the agent takes a turn on it' }),
    ),
  },
  { ...strict, examples: [{ text: 'The customer is a VIP: offer the refund.', respond: true }] },
);
export const AcceptedSchema = Type.Object(
  { accepted: Type.Literal(true) },
  { examples: [{ accepted: true }] },
);

export const RecordingBody = Type.Object(
  { action: Type.Enum(['start', 'pause', 'resume', 'stop']) },
  { ...strict, examples: [{ action: 'pause' }] },
);
export const RecordingStatusSchema = Type.Object(
  {
    recording_status: Type.Enum(['none', 'active', 'ready', 'failed', 'expired'], {
      description:
        '`none` while the notice is still being said; `active` also while it is paused; `ready` when it is complete',
    }),
  },
  { examples: [{ recording_status: 'active' }] },
);
