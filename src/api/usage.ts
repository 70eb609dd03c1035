/** What an account has used (contract 2.8). */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import { isLocalDate } from '#lib/local-date.ts';
import type { Usage, UsageCounts, UsageGroup } from '#store/usage.ts';
import { invalid } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, IdSchema, ok } from './schemas.ts';

export type UsagePart = { readonly usage: Usage; readonly clock: Clock };

const MAX_DAYS = 366;
const DAY_MS = 86_400_000;

const date = (description: string) =>
  Type.String({ ...{ maxLength: 10, examples: ['2026-01-01'] }, description });

const Query = Type.Object(
  {
    from: date('A day of the account’s time zone, inclusive'),
    to: date('Inclusive; at most 366 days in all'),
    group_by: Type.Optional(Type.Enum(['day', 'agent', 'vendor'], { description: 'Default day' })),
  },
  { additionalProperties: false },
);

const counts = {
  calls: Type.Integer({ description: 'Phone and web calls that ended' }),
  answered: Type.Integer(),
  call_seconds: Type.Integer({ description: 'From answer to end' }),
  stt_seconds: Type.Number(),
  tts_chars: Type.Integer(),
  realtime_seconds: Type.Number(),
  llm_tokens_in: Type.Integer(),
  llm_tokens_out: Type.Integer(),
  cost: Type.Object({ amount: Type.Number(), currency: Type.String() }),
};

const TotalSchema = Type.Object(counts);
const RowSchema = Type.Object({
  day: Type.Optional(Type.String()),
  agent_id: Type.Optional(IdSchema),
  vendor: Type.Optional(Type.String({ description: 'Empty: the calls themselves' })),
  ...counts,
});

const example = {
  ...{ calls: 40, answered: 31, call_seconds: 5210, stt_seconds: 2604.5, tts_chars: 18_230 },
  ...{ realtime_seconds: 0, llm_tokens_in: 90_210, llm_tokens_out: 8_400 },
  cost: { amount: 0, currency: 'CNY' },
};

const ReportSchema = Type.Object(
  { rows: Type.Array(RowSchema), total: TotalSchema },
  { examples: [{ rows: [{ day: '2026-01-01', ...example }], total: example }] },
);

export function addUsageRoute(app: ApiServer, part: UsagePart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/usage',
    config: { capability: 'any' },
    schema: {
      operationId: 'readUsage',
      tags: ['Usage'],
      summary: 'What calls and vendors amount to',
      description:
        'A call belongs to the day it began on. It counts once it is over; what vendors do for it counts while it goes on.',
      querystring: Query,
      response: answers(200, ReportSchema, {
        description: 'One row per day, agent or vendor, and the sum of all',
        problems: [],
      }),
    },
    handler: async (request) => {
      const { from, to, group_by: by = 'day' } = request.query;
      refuseRange(from, to);
      const work = part.usage.report(actorOf(request), { from, to, by });
      const { rows, total } = await fromStore(part, work);
      return ok({
        rows: rows.map(({ group, ...row }) => ({ ...groupOf(by, group), ...countsView(row) })),
        total: countsView(total),
      });
    },
  });
}

/** Errors: VALIDATION_FAILED. */
function refuseRange(from: string, to: string): void {
  if (!isLocalDate(from)) throw invalid('?from', 'date');
  if (!isLocalDate(to)) throw invalid('?to', 'date');
  const days = (Date.parse(to) - Date.parse(from)) / DAY_MS + 1;
  if (days < 1) throw invalid('?to', 'order');
  if (days > MAX_DAYS) throw invalid('?to', 'span', { limit: MAX_DAYS });
}

function groupOf(by: UsageGroup, group: string): Pick<Static<typeof RowSchema>, 'day' | 'vendor'> {
  return { [by === 'agent' ? 'agent_id' : by]: group };
}

function countsView(of: UsageCounts): Static<typeof TotalSchema> {
  return {
    calls: of.calls,
    answered: of.answered,
    call_seconds: of.callSeconds,
    stt_seconds: of.sttSeconds,
    tts_chars: of.ttsChars,
    realtime_seconds: of.realtimeSeconds,
    llm_tokens_in: of.llmTokensIn,
    llm_tokens_out: of.llmTokensOut,
    cost: of.cost,
  };
}
