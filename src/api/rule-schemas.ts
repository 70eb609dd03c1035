/** Shapes of answer rules (contract section 5), as bodies and as answers. */
import { Type, type Static, type TSchema } from 'typebox';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { EXAMPLE_ID, IdSchema, nullable, TimeSchema } from './schemas.ts';

export const MAX_DRAFTS = 500;
const MAX_DATES = 1_000;

const closed = { additionalProperties: false } as const;
const strict = <T extends Record<string, TSchema>>(fields: T, more: object = {}) =>
  Type.Object(fields, { ...closed, ...more });

const DateText = Type.String({
  pattern: String.raw`^\d{4}-\d{2}-\d{2}$`,
  description: 'A day YYYY-MM-DD',
});
const DateList = Type.Array(
  Type.Union([DateText, Type.Array(DateText, { minItems: 2, maxItems: 2 })]),
  { maxItems: MAX_DATES, description: 'Days, or pairs of the first and the last day of a span' },
);
const ListType = Type.Enum(['include', 'exclude']);
const Numbers = Type.Array(Type.String({ maxLength: PHONE_MAX_CHARS }), { maxItems: 1_000 });
const Prefixes = Type.Array(Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS }), {
  maxItems: 100,
});

export const ConditionsSchema = strict(
  {
    timeRange: Type.Optional(
      strict({
        start: Type.String({
          pattern: String.raw`^(?:[01]\d|2[0-3]):[0-5]\d$`,
          description: 'HH:mm, inclusive',
        }),
        end: Type.String({
          pattern: String.raw`^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$`,
          description:
            'HH:mm or 24:00, exclusive. Before `start`: overnight; equal to it: the whole day',
        }),
        weekdays: Type.Optional(
          Type.Array(Type.Integer({ minimum: 1, maximum: 7 }), {
            minItems: 1,
            maxItems: 7,
            description: '1 = Monday … 7 = Sunday; tested on the day on which the range began',
          }),
        ),
        timezone: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 64,
            description: 'IANA name; default: the account’s',
          }),
        ),
      }),
    ),
    dates: Type.Optional(
      strict({
        include: Type.Optional(DateList),
        exclude: Type.Optional(DateList),
        holidays: Type.Optional(Type.Enum(['only', 'except'])),
      }),
    ),
    apps: Type.Optional(
      strict({
        type: ListType,
        list: Type.Array(Type.String({ minLength: 1, maxLength: 100 }), {
          minItems: 1,
          maxItems: 50,
        }),
      }),
    ),
    callers: Type.Optional(
      strict({
        type: ListType,
        numbers: Type.Optional(Numbers),
        prefixes: Type.Optional(Prefixes),
        anonymous: Type.Optional(
          Type.Boolean({ description: 'Adds calls without a usable number' }),
        ),
      }),
    ),
    calledNumbers: Type.Optional(
      strict({
        type: ListType,
        numbers: Type.Optional(Numbers),
        prefixes: Type.Optional(Prefixes),
      }),
    ),
  },
  { description: 'All that are present must hold; `{}` matches every call' },
);

const Greeting = Type.String({ minLength: 1, maxLength: 500 });
const RejectStatus = Type.Enum([403, 404, 480, 486, 503, 603], { description: 'The SIP status' });

export const ActionSchema = strict(
  {
    answer: Type.Boolean(),
    useAgent: Type.Optional(
      Type.Boolean({
        description:
          'Default true unless `forward` or `voicemail` is given; false with `greeting` alone is an announcement',
      }),
    ),
    agentId: Type.Optional(IdSchema),
    squadId: Type.Optional(IdSchema),
    greeting: Type.Optional(Greeting),
    delayRingMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 60_000,
        description: 'Rings before anything else. Default 0',
      }),
    ),
    reject: Type.Optional(
      strict({
        status: RejectStatus,
        reason: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
      }),
    ),
    forward: Type.Optional(
      strict({
        to: Type.String({ minLength: 1, maxLength: 255, description: 'A number or a SIP URI' }),
        timeoutMs: Type.Optional(
          Type.Integer({ minimum: 1, maximum: 600_000, description: 'Default 20000' }),
        ),
        callerId: Type.Optional(
          Type.Enum(['original', 'own'], { description: 'Default `original`' }),
        ),
      }),
    ),
    voicemail: Type.Optional(
      strict({
        greeting: Type.Optional(Greeting),
        maxSeconds: Type.Optional(
          Type.Integer({ minimum: 1, maximum: 300, description: 'Default 120' }),
        ),
      }),
    ),
  },
  { description: 'What happens to the call' },
);

const Name = Type.String({ minLength: 1, maxLength: 255 });
const Priority = Type.Integer({
  minimum: 1,
  maximum: 10_000,
  description: '1 is looked at first',
});
const Enabled = Type.Boolean({ description: 'Default true' });

const ruleExample = {
  name: 'Office hours',
  priority: 1,
  conditions: {
    timeRange: { start: '09:00', end: '18:00', weekdays: [1, 2, 3, 4, 5] },
    dates: { holidays: 'except' },
  },
  action: { answer: true, useAgent: true, delayRingMs: 2000 },
  enabled: true,
} as const;

export const RuleBody = strict(
  {
    name: Name,
    priority: Priority,
    conditions: ConditionsSchema,
    action: ActionSchema,
    enabled: Type.Optional(Enabled),
  },
  { examples: [ruleExample] },
);
export type RuleBody = Static<typeof RuleBody>;

export const RulePatch = strict(
  {
    name: Type.Optional(Name),
    priority: Type.Optional(Priority),
    conditions: Type.Optional(ConditionsSchema),
    action: Type.Optional(ActionSchema),
    enabled: Type.Optional(Enabled),
  },
  { examples: [{ enabled: false }] },
);

export const ReorderBody = strict(
  { ids: Type.Array(IdSchema, { maxItems: 500, description: 'Exactly the account’s rules' }) },
  { examples: [{ ids: [EXAMPLE_ID] }] },
);

const Draft = strict({
  id: Type.Optional(IdSchema),
  name: Type.Optional(Name),
  priority: Type.Optional(Priority),
  conditions: ConditionsSchema,
  action: ActionSchema,
  enabled: Type.Optional(Enabled),
  created_at: Type.Optional(Type.String({ maxLength: 40 })),
  updated_at: Type.Optional(Type.String({ maxLength: 40 })),
});
export type RuleDraft = Static<typeof Draft>;

export const EvaluateBody = strict(
  {
    caller_phone: Type.Optional(Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS })),
    anonymous: Type.Optional(Type.Boolean({ description: 'Default false' })),
    caller_app: Type.Optional(Type.String({ maxLength: 100 })),
    called_number: Type.Optional(Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS })),
    trunk_id: Type.Optional(IdSchema),
    at: Type.Optional(Type.String({ maxLength: 40, description: 'ISO-8601. Default: now' })),
    rules: Type.Optional(
      Type.Array(Draft, {
        maxItems: MAX_DRAFTS,
        description: 'Drafts to try instead of the stored rules; without `priority`, in this order',
      }),
    ),
  },
  {
    examples: [
      { caller_phone: '+15550100', caller_app: '企业微信', at: '2026-11-20T10:00:00+08:00' },
    ],
  },
);
export type EvaluateBody = Static<typeof EvaluateBody>;

export const RuleSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    enabled: Type.Boolean(),
    priority: Type.Integer(),
    conditions: ConditionsSchema,
    action: ActionSchema,
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'AnswerRule',
    examples: [
      {
        id: EXAMPLE_ID,
        ...ruleExample,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const CompleteActionSchema = Type.Object({
  answer: Type.Boolean(),
  useAgent: Type.Boolean(),
  agentId: nullable(IdSchema),
  squadId: nullable(IdSchema),
  greeting: nullable(Type.String()),
  delayRingMs: Type.Integer(),
  reject: nullable(Type.Object({ status: RejectStatus, reason: nullable(Type.String()) })),
  forward: nullable(
    Type.Object({
      to: Type.String(),
      timeoutMs: Type.Integer(),
      callerId: Type.Enum(['original', 'own']),
    }),
  ),
  voicemail: nullable(
    Type.Object({ greeting: nullable(Type.String()), maxSeconds: Type.Integer() }),
  ),
});

export const EvaluationSchema = Type.Object(
  {
    matched: Type.Boolean(),
    rule_id: nullable(IdSchema),
    rule_name: nullable(Type.String()),
    default_used: Type.Boolean(),
    action: CompleteActionSchema,
    agent: nullable(Type.Object({ id: IdSchema, name: Type.String() })),
    trace: Type.Array(
      Type.Object({
        rule_id: nullable(IdSchema),
        name: Type.String(),
        priority: Type.Integer(),
        matched: Type.Boolean(),
        failed: nullable(
          Type.Enum(['timeRange', 'dates', 'apps', 'callers', 'calledNumbers'], {
            description: 'The first condition that does not hold',
          }),
        ),
      }),
      { description: 'The rules looked at, in order' },
    ),
  },
  { $id: 'AnswerEvaluation' },
);
