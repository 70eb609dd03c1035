/** Shapes of webhooks and their deliveries (contract 2.8). */
import { Type } from 'typebox';
import { EXAMPLE_ID, IdSchema, nullable, TimeSchema } from './schemas.ts';

const MAX_OVERLAP_S = 604_800;
/** A name that no server has. */
const EXAMPLE_URL = 'https://receiver.example/callyard';

const fields = {
  id: IdSchema,
  url: Type.String(),
  events: Type.Array(Type.String()),
  description: nullable(Type.String()),
  enabled: Type.Boolean(),
  disabled_reason: nullable(
    Type.Enum(['gone', 'failing'], {
      description: 'Why the server disabled it: it answered 410, or five days passed in failure',
    }),
  ),
  failing_since: nullable(
    Type.String({ description: 'Since when every attempt has failed; null after a success' }),
  ),
  old_secret_until: nullable(
    Type.String({ description: 'Until when the secret before the last rotation signs as well' }),
  ),
  created_at: TimeSchema,
  updated_at: TimeSchema,
};

const example = {
  ...{ id: EXAMPLE_ID, url: EXAMPLE_URL, events: ['call.*'], description: 'Desk', enabled: true },
  ...{ disabled_reason: null, failing_since: null, old_secret_until: null },
  ...{ created_at: '2026-01-01T00:00:00.000Z', updated_at: '2026-01-01T00:00:00.000Z' },
};

export const WebhookSchema = Type.Object(fields, { $id: 'Webhook', examples: [example] });

export const IssuedWebhookSchema = Type.Object(
  { ...fields, secret: Type.String({ description: 'Shown this once' }) },
  { examples: [{ ...example, secret: `whsec_${'A'.repeat(43)}=` }] },
);

const bodyFields = {
  url: Type.String({
    ...{ minLength: 1, maxLength: 2_048 },
    description: 'https; without a user name in it; no host of a private network',
  }),
  events: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
    ...{ minItems: 1, maxItems: 50 },
    description: 'Types, aliases, `call.*`, or `*` for all',
  }),
  description: nullable(Type.String({ maxLength: 255 })),
  enabled: Type.Boolean(),
};

export const WebhookBody = Type.Object(
  {
    url: bodyFields.url,
    events: Type.Optional({ ...bodyFields.events, default: ['*'] } as typeof bodyFields.events),
    description: Type.Optional(bodyFields.description),
    enabled: Type.Optional(Type.Boolean({ description: 'Default true' })),
  },
  {
    additionalProperties: false,
    examples: [{ url: EXAMPLE_URL, events: ['call.*'], description: 'Desk' }],
  },
);

export const WebhookPatch = Type.Partial(Type.Object(bodyFields), {
  ...{ additionalProperties: false, minProperties: 1 },
  examples: [{ enabled: false }],
});

export const RotateSecretBody = Type.Object(
  {
    overlap_s: Type.Optional(
      Type.Integer({
        ...{ minimum: 0, maximum: MAX_OVERLAP_S },
        description: 'How long the old secret goes on signing besides the new one; default 86400',
      }),
    ),
  },
  { additionalProperties: false, examples: [{ overlap_s: 3600 }] },
);

export const WebhookTestSchema = Type.Object(
  {
    ok: Type.Boolean({ description: 'A 2xx came within 15 s' }),
    response_status: nullable(Type.Integer()),
    response_ms: Type.Integer(),
    error: nullable(Type.String()),
  },
  { examples: [{ ok: true, response_status: 204, response_ms: 38, error: null }] },
);

export const DeliveryStatusSchema = Type.Enum(['pending', 'delivered', 'dead']);

export const DeliverySchema = Type.Object(
  {
    id: IdSchema,
    event_id: Type.String({ description: 'Also the header `webhook-id`' }),
    event_type: Type.String(),
    status: DeliveryStatusSchema,
    attempts: Type.Integer(),
    next_attempt_at: nullable(
      Type.String({
        description:
          'Not while the webhook is disabled; null: at once, or never. While an attempt is under way: when it is taken for lost',
      }),
    ),
    response_status: nullable(Type.Integer({ description: 'Of the last answer' })),
    response_ms: nullable(Type.Integer()),
    last_error: nullable(Type.String()),
    created_at: TimeSchema,
    delivered_at: nullable(TimeSchema),
  },
  {
    $id: 'WebhookDelivery',
    examples: [
      {
        ...{ id: EXAMPLE_ID, event_id: '8a1d5c0e-7a53-4a0b-8a43-1f0f6f5d9a11' },
        ...{ event_type: 'call.ended', status: 'pending', attempts: 2 },
        ...{ next_attempt_at: '2026-01-01T00:05:05.000Z', response_status: 500, response_ms: 41 },
        ...{ last_error: 'answered 500', created_at: '2026-01-01T00:00:00.000Z' },
        delivered_at: null,
      },
    ],
  },
);

export const WEBHOOK_SCHEMAS = [WebhookSchema, DeliverySchema] as const;
