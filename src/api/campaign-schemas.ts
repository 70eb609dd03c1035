/** Shapes of campaigns and their targets (contract 2.8). */
import { Type, type Static } from 'typebox';
import {
  CAMPAIGN_LIMITS,
  CAMPAIGN_STATUSES,
  MAX_WINDOWS,
  DEFAULT_RETRY_ON,
  RETRY_CAUSES,
  TARGET_STATUSES,
  WINDOW_END,
  WINDOW_START,
} from '#lib/campaign.ts';
import { PHONE_MAX_CHARS } from '#lib/phone.ts';
import { pageFields } from './paging.ts';
import { EXAMPLE_ID, IdSchema, nullable, PaginationSchema, ref, TimeSchema } from './schemas.ts';

export const MAX_LISTED = 10_000;
const closed = { additionalProperties: false } as const;

const Window = Type.Object(
  {
    weekdays: Type.Array(Type.Integer({ minimum: 1, maximum: 7 }), {
      ...{ minItems: 1, maxItems: 7, uniqueItems: true },
      description: '1 = Monday … 7 = Sunday; of the day on which the window begins',
    }),
    start: Type.String({
      pattern: WINDOW_START,
      description: 'HH:mm, inclusive',
    }),
    end: Type.String({
      pattern: WINDOW_END,
      description:
        'HH:mm or 24:00, exclusive. Before `start`: on the next day; equal to it: 24 hours later',
    }),
  },
  closed,
);

const TimeInput = Type.String({ maxLength: 40, description: 'ISO-8601 with `Z` or an offset' });
const ZoneInput = Type.String({ minLength: 1, maxLength: 64, description: 'IANA name' });

const ScheduleInput = Type.Object(
  {
    start_at: Type.Optional(nullable(TimeInput)),
    end_at: Type.Optional(nullable(TimeInput)),
    windows: Type.Optional(nullable(Type.Array(Window, { minItems: 1, maxItems: MAX_WINDOWS }))),
    timezone: Type.Optional(nullable(ZoneInput)),
  },
  {
    ...closed,
    description:
      'Without `windows` calls go out 09:00-20:00 every day. Without `timezone` the account’s holds',
  },
);

function within([minimum, maximum]: readonly [number, number]) {
  return { minimum, maximum };
}

const settingFields = {
  concurrency: Type.Integer({
    ...within(CAMPAIGN_LIMITS.concurrency),
    description: 'Calls at one time',
  }),
  cps: Type.Number({ ...within(CAMPAIGN_LIMITS.cps), description: 'Calls begun per second' }),
  ring_timeout_s: Type.Integer(within(CAMPAIGN_LIMITS.ringTimeoutS)),
  max_attempts: Type.Integer({
    ...within(CAMPAIGN_LIMITS.maxAttempts),
    description: 'Calls to one number',
  }),
  retry_delay_s: Type.Integer({
    ...within(CAMPAIGN_LIMITS.retryDelayS),
    description: 'From the end of a call to the next one to the same number',
  }),
  retry_on: Type.Array(Type.Enum([...RETRY_CAUSES]), {
    maxItems: RETRY_CAUSES.length,
    uniqueItems: true,
  }),
  amd: Type.Boolean({
    description: 'Whether it is found out if a person or a machine answers',
  }),
  voicemail: Type.Enum(['hangup', 'message'], {
    description:
      'What happens at a voicemail box: `message` leaves the assistant’s `voicemail.message`. Needs `amd`',
  }),
  stop_failure_pct: Type.Integer({
    ...within(CAMPAIGN_LIMITS.stopFailurePct),
    description:
      'Pauses when so many of the last `stop_window` calls ended in congestion, auth_failed or carrier_error; 0 never does',
  }),
  stop_window: Type.Integer(within(CAMPAIGN_LIMITS.stopWindow)),
};

const SettingsInput = Type.Partial(Type.Object(settingFields), closed);

export const CampaignBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 255, pattern: '\\S' }),
    agent_id: IdSchema,
    trunk_id: Type.Optional(nullable(IdSchema)),
    from_number: Type.Optional(
      nullable(
        Type.String({
          ...{ minLength: 1, maxLength: PHONE_MAX_CHARS },
          description: 'A number of the account, or what the trunk shows',
        }),
      ),
    ),
    schedule: Type.Optional(nullable(ScheduleInput)),
    settings: Type.Optional(nullable(SettingsInput)),
  },
  {
    ...closed,
    examples: [
      {
        name: 'Appointments of May',
        agent_id: EXAMPLE_ID,
        schedule: {
          windows: [{ weekdays: [1, 2, 3, 4, 5], start: '10:00', end: '18:30' }],
          timezone: 'Asia/Shanghai',
        },
        settings: { concurrency: 10, cps: 2, max_attempts: 2 },
      },
    ],
  },
);
export type CampaignInput = Static<typeof CampaignBody>;

export const CountsSchema = Type.Object({
  pending: Type.Integer(),
  dialing: Type.Integer(),
  done: Type.Integer({ description: 'Answered' }),
  failed: Type.Integer({ description: 'Given up' }),
  skipped: Type.Integer({ description: 'May not be called' }),
  attempts: Type.Integer({ description: 'Calls to all of them' }),
});

const scheduleExample = { start_at: null, end_at: null, windows: null, timezone: null };
const settingsExample = {
  ...{ concurrency: 5, cps: 1, ring_timeout_s: 30, max_attempts: 3, retry_delay_s: 1800 },
  ...{ retry_on: [...DEFAULT_RETRY_ON], amd: true, voicemail: 'hangup' },
  ...{ stop_failure_pct: 50, stop_window: 20 },
};

export const CampaignSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    agent_id: IdSchema,
    trunk_id: nullable(IdSchema),
    from_number: nullable(Type.String()),
    schedule: Type.Object({
      start_at: nullable(TimeSchema),
      end_at: nullable(TimeSchema),
      windows: nullable(Type.Array(Type.Object(Window.properties))),
      timezone: nullable(Type.String()),
    }),
    settings: Type.Object(settingFields),
    status: Type.Enum([...CAMPAIGN_STATUSES]),
    counts: CountsSchema,
    pause_reason: nullable(
      Type.String({
        description:
          '`user`, `carrier_failures`, `no_route`, `from_number_not_allowed`, `agent_missing`, `trunk_missing`, `timezone_unknown`; of a completed one `end_at` when some were left',
      }),
    ),
    started_at: nullable(TimeSchema),
    finished_at: nullable(TimeSchema),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'Campaign',
    examples: [
      {
        ...{ id: EXAMPLE_ID, name: 'Appointments of May', agent_id: EXAMPLE_ID },
        ...{ trunk_id: null, from_number: null },
        ...{ schedule: scheduleExample, settings: settingsExample, status: 'draft' },
        counts: { pending: 2, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 },
        ...{ pause_reason: null, started_at: null, finished_at: null },
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

export const CampaignsListQuery = Type.Object(
  { ...pageFields, status: Type.Optional(Type.Enum([...CAMPAIGN_STATUSES])) },
  closed,
);

export const CampaignsListSchema = Type.Object({
  campaigns: Type.Array(ref(CampaignSchema)),
  pagination: ref(PaginationSchema),
});

const TargetInput = Type.Object(
  {
    phone: Type.String({ minLength: 1, maxLength: PHONE_MAX_CHARS }),
    name: Type.Optional(nullable(Type.String({ minLength: 1, maxLength: 255 }))),
    variables: Type.Optional(
      nullable(
        Type.Unsafe<Record<string, unknown>>({
          type: 'object',
          description:
            'For the agent’s prompt and greeting; at most 16 KiB as JSON, keys of at most 64 characters',
        }),
      ),
    ),
  },
  closed,
);

export const TargetsBody = Type.Object(
  { targets: Type.Array(TargetInput, { maxItems: MAX_LISTED }) },
  {
    ...closed,
    examples: [
      { targets: [{ phone: '+15550101', name: 'Ann', variables: { time: '3 pm' } }] },
      { targets: [{ phone: '+15550102' }] },
    ],
  },
);

export const TargetsAddedSchema = Type.Object(
  {
    added: Type.Integer(),
    duplicates: Type.Integer({ description: 'Numbers that are in the campaign already' }),
    rejected: Type.Array(Type.Object({ line: Type.Integer(), reason: Type.String() }), {
      description: `The first ${MAX_LISTED} of them`,
    }),
    rejected_total: Type.Integer(),
  },
  {
    examples: [
      {
        ...{ added: 2, duplicates: 0, rejected_total: 1 },
        rejected: [{ line: 3, reason: 'phone is no number' }],
      },
    ],
  },
);

export const TargetSchema = Type.Object(
  {
    id: IdSchema,
    phone: Type.String({ description: 'With the account’s country code where it has one' }),
    name: nullable(Type.String()),
    variables: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    status: Type.Enum([...TARGET_STATUSES]),
    attempts: Type.Integer(),
    next_attempt_at: nullable(TimeSchema),
    last_call_id: nullable(IdSchema),
    last_outcome: nullable(
      Type.String({ description: 'Of the last call; `consent_missing`, `number_not_allowed`' }),
    ),
    created_at: TimeSchema,
  },
  {
    $id: 'CampaignTarget',
    examples: [
      {
        ...{ id: EXAMPLE_ID, phone: '+15550101', name: 'Ann', variables: { time: '3 pm' } },
        ...{ status: 'done', attempts: 1, next_attempt_at: null, last_call_id: EXAMPLE_ID },
        ...{ last_outcome: 'completed', created_at: '2026-01-01T00:00:00.000Z' },
      },
    ],
  },
);

export const TargetsListQuery = Type.Object(
  { ...pageFields, status: Type.Optional(Type.Enum([...TARGET_STATUSES])) },
  closed,
);

export const TargetsListSchema = Type.Object({
  targets: Type.Array(ref(TargetSchema)),
  pagination: ref(PaginationSchema),
});

/** To be registered with the server, so that `ref` finds them. */
export const CAMPAIGN_SCHEMAS = [CampaignSchema, TargetSchema] as const;
