/** Statistics of an account's calls (contract 6). */
import type { CallStatistics } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { Caller } from './auth.ts';
import { StatisticsQuerySchema, StatisticsSchema } from './record-schemas.ts';
import { fromStore } from './record-source.ts';
import type { RecordsPart } from './records.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { answers, ok, ref } from './schemas.ts';

export function addStatisticsRoute(app: ApiServer, part: RecordsPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/call-records/statistics',
    config: { capability: 'any' },
    schema: {
      operationId: 'getCallStatistics',
      tags: ['Call records'],
      summary: 'Count calls by result, day and app',
      description:
        'Exact: a record that was written a second ago is counted. Days are those of the account’s time zone. An agent that does not exist gives zeros.',
      querystring: StatisticsQuerySchema,
      response: answers(200, ref(StatisticsSchema), {
        description: 'The numbers of the period',
        problems: [],
      }),
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const { period = 'today', agent_id: agentId } = request.query;
      const reading = part.keeping.statistics(caller.accountId, {
        period,
        agentIds: agentsOf(caller, agentId),
        nowMs: part.clock.wallMs(),
      });
      return ok(viewOf(await fromStore(part, reading)));
    },
  });
}

/** A key with `agent_ids` counts these alone. */
function agentsOf(caller: Caller, agentId: Id | undefined): readonly Id[] | null {
  if (agentId === undefined) return caller.agentIds;
  return caller.agentIds === null || caller.agentIds.includes(agentId) ? [agentId] : [];
}

function viewOf(counted: CallStatistics) {
  return {
    total_calls: counted.totalCalls,
    total_duration_seconds: counted.totalDurationSeconds,
    avg_duration_seconds: counted.avgDurationSeconds,
    success_calls: counted.successCalls,
    failed_calls: counted.failedCalls,
    other_calls: counted.otherCalls,
    success_rate: counted.successRate,
    hangup_reasons: counted.hangupReasons,
    daily_stats: counted.days.map(({ date, calls, seconds }) => ({
      date,
      calls,
      duration: seconds,
    })),
    app_distribution: Object.fromEntries(counted.apps.map(({ name, calls }) => [name, calls])),
  };
}
