/** The settings of an account (contract 2.8): read by anyone in it, changed by its administrators. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { isLocalDate } from '#lib/local-date.ts';
import type { Settings, SettingsColumns, SettingsRow } from '#store/settings.ts';
import { languageOf } from './language.ts';
import { invalid, Problem, type FieldFault } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, EXAMPLE_ID, IdSchema, nullable, ok, TimeSchema } from './schemas.ts';

const MAX_HOLIDAYS = 1_000;
const MAX_DAYS = 36_500;

const HolidaySchema = Type.Object(
  {
    date: Type.String({ maxLength: 10, description: '`YYYY-MM-DD`, each day at most once' }),
    kind: Type.Enum(['off', 'work'], {
      description: '`work`: worked although the week says otherwise',
    }),
    name: Type.Optional(Type.String({ maxLength: 100 })),
  },
  { additionalProperties: false },
);

const days = (what: string) =>
  nullable(
    Type.Integer({
      ...{ minimum: 1, maximum: MAX_DAYS },
      description: `Days after which ${what} are removed; null: never`,
    }),
  );

const settingFields = {
  timezone: Type.String({ minLength: 1, maxLength: 64, description: 'IANA name' }),
  language: Type.String({ minLength: 2, maxLength: 35, description: 'BCP 47 tag' }),
  country_code: nullable(
    Type.String({
      pattern: '^[1-9][0-9]{0,3}$',
      description: 'Completes national numbers; null: numbers are never completed',
    }),
  ),
  currency: Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO 4217' }),
  answer_default: Type.Enum(['agent', 'ring', 'reject'], {
    description: 'What happens to a call that no answer rule matches',
  }),
  holidays: Type.Array(HolidaySchema, { maxItems: MAX_HOLIDAYS }),
  max_concurrent_calls: Type.Integer({ minimum: 1, maximum: 100_000 }),
  recording_default: Type.Boolean(),
  recording_notice: nullable(
    Type.String({ minLength: 1, maxLength: 1_000, description: 'Said before a recording begins' }),
  ),
  require_consent: Type.Boolean(),
  retain_records_days: days('call records'),
  retain_recordings_days: days('recordings'),
  retain_events_days: days('call events'),
  retain_audit_days: days('rows of the audit log'),
};

const SettingsSchema = Type.Object(
  { user_id: IdSchema, ...settingFields, updated_at: TimeSchema },
  {
    examples: [
      {
        ...{ user_id: EXAMPLE_ID, timezone: 'Asia/Shanghai', language: 'zh-CN' },
        ...{ country_code: '86', currency: 'CNY', answer_default: 'agent' },
        holidays: [{ date: '2026-10-01', kind: 'off', name: 'National Day' }],
        ...{ max_concurrent_calls: 100, recording_default: false, recording_notice: null },
        ...{ require_consent: false, retain_records_days: null, retain_recordings_days: 180 },
        ...{ retain_events_days: 90, retain_audit_days: 730 },
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const ChangeBody = Type.Partial(Type.Object(settingFields), {
  additionalProperties: false,
  examples: [{ timezone: 'Europe/Berlin', max_concurrent_calls: 50 }],
});

const NoQuery = Type.Object({}, { additionalProperties: false });
const TAGS = ['Administration'];
const SAVED = { en: 'Saved', zh: '已保存' } as const;

export type SettingsPart = { readonly settings: Settings; readonly clock: Clock };

export function addSettingsRoutes(app: ApiServer, part: SettingsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/settings',
    config: { capability: 'any' },
    schema: {
      operationId: 'getSettings',
      tags: TAGS,
      summary: 'Read the account’s settings',
      querystring: NoQuery,
      response: answers(200, SettingsSchema, { description: 'The settings', problems: [] }),
    },
    handler: async (request) =>
      ok(viewOf(await fromStore(part, part.settings.get(actorOf(request))))),
  });
  app.route({
    method: 'PATCH',
    url: '/api/v1/settings',
    config: { capability: 'adm' },
    schema: {
      operationId: 'updateSettings',
      tags: TAGS,
      summary: 'Change some of the account’s settings',
      description:
        'Fields left out stay as they are. A new time zone makes the statistics of all days new.',
      body: ChangeBody,
      response: answers(200, SettingsSchema, {
        description: 'The settings as they are now',
        ...{ hasBody: true, hasMessage: true, problems: [] },
      }),
    },
    handler: async (request) => {
      const changes = changesOf(request.body);
      const row = await fromStore(part, part.settings.change(actorOf(request), changes));
      if (row === 'timezone') throw invalid('/timezone', 'timezone');
      return ok(viewOf(row), SAVED[languageOf(request.headers['accept-language'])]);
    },
  });
}

/** Errors: VALIDATION_FAILED with every fault. */
function changesOf(body: Static<typeof ChangeBody>): Partial<SettingsColumns> {
  const faults: FieldFault[] = [];
  const { timezone, language, currency, holidays } = body;
  if (timezone !== undefined && !isTimeZone(timezone)) {
    faults.push({ path: '/timezone', rule: 'timezone' });
  }
  const tag = language === undefined ? undefined : languageTagOf(language);
  if (tag === null) faults.push({ path: '/language', rule: 'language' });
  if (currency !== undefined && !Intl.supportedValuesOf('currency').includes(currency)) {
    faults.push({ path: '/currency', rule: 'currency' });
  }
  // A notice is said before each recording; a blank one would be said as well, and tell nobody.
  if (body.recording_notice?.trim() === '') {
    faults.push({ path: '/recording_notice', rule: 'minLength', params: { limit: 1 } });
  }
  faults.push(...holidayFaults(holidays ?? []));
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
  const changes = { ...body, ...(tag === undefined || tag === null ? {} : { language: tag }) };
  return changes as Partial<SettingsColumns>;
}

function holidayFaults(holidays: readonly { readonly date: string }[]): FieldFault[] {
  const seen = new Set<string>();
  return holidays.flatMap(({ date }, index) => {
    const path = `/holidays/${index}/date`;
    if (!isLocalDate(date)) return [{ path, rule: 'date' }];
    if (seen.has(date)) return [{ path, rule: 'distinct' }];
    seen.add(date);
    return [];
  });
}

/** Offsets such as `+08:00` are no zones: they know no daylight saving. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The tag in its usual spelling (`zh-CN`), or null. */
function languageTagOf(tag: string): string | null {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function viewOf(row: SettingsRow): Static<typeof SettingsSchema> {
  return {
    ...row,
    holidays: row.holidays.map((each) => ({ ...each })),
    updated_at: row.updated_at.toISOString(),
  };
}
