/** Statistics of an account (contract 6): rolled-up days where there is a marker, the records themselves for the rest. */
import type { HangupReason } from '#lib/call-events.ts';
import type { CallStatistics, StatisticsPeriod } from '#lib/call-record.ts';
import type { Id } from '#lib/ids.ts';
import type { Database } from './pool.ts';

export type StatisticsQuery = {
  readonly period: StatisticsPeriod;
  /** Null: the whole account; a list: these agents alone. */
  readonly agentIds: readonly Id[] | null;
  /** Unix time; records that start later are not counted yet. */
  readonly nowMs: number;
};

export type Statistics = {
  /** Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  read(accountId: Id, query: StatisticsQuery): Promise<CallStatistics>;
};

export type StatisticsOptions = {
  readonly database: Database;
  /** Makes the account's settings when it has none yet. */
  readonly timeZone: (accountId: Id) => Promise<string>;
  /** Told when closed days had to be counted record by record. */
  readonly onUnrolled: (accountId: Id) => void;
};

/** Calls of one day, app or reason. */
export type Bucket = { readonly name: string; readonly calls: number; readonly seconds: number };

/** What the database counts. Names are '' for no app and no reason. */
export type Counts = {
  readonly days: readonly Bucket[];
  readonly apps: readonly Bucket[];
  readonly reasons: readonly (Bucket & { readonly timed: number })[];
};

type CountsRow = Counts & { readonly unrolled: number };

const TRUNC: Readonly<Record<StatisticsPeriod, string>> = {
  ...{ today: 'day', week: 'week', month: 'month', year: 'year' },
};
const ACTOR = 'api';
const MAX_APPS = 50;

export function createStatistics(options: StatisticsOptions): Statistics {
  const { database, timeZone, onUnrolled } = options;
  return {
    async read(accountId, query) {
      const zone = await timeZone(accountId);
      const { period, agentIds, nowMs } = query;
      const values = [accountId, new Date(nowMs), TRUNC[period], zone];
      const [row] = await database.accountRows<CountsRow>(
        ...([accountId, ACTOR, agentIds === null ? OF_ACCOUNT : OF_AGENTS] as const),
        agentIds === null ? values : [...values, agentIds],
      );
      if (row !== undefined && row.unrolled > 0) onUnrolled(accountId);
      return statisticsOf(row ?? { days: [], apps: [], reasons: [] });
    },
  };
}

/** The answer from the counts. Ratios are rounded half up, in whole numbers. */
export function statisticsOf(counts: Counts): CallStatistics {
  const hangupReasons = { user: 0, ai: 0, timeout: 0, silence: 0, error: 0 };
  let [calls, timed, seconds] = [0, 0, 0];
  for (const reason of counts.reasons) {
    calls += reason.calls;
    timed += reason.timed;
    seconds += reason.seconds;
    if (isReason(reason.name)) hangupReasons[reason.name] += reason.calls;
  }
  const success = hangupReasons.user + hangupReasons.ai + hangupReasons.silence;
  const failed = hangupReasons.timeout + hangupReasons.error;
  return {
    totalCalls: calls,
    totalDurationSeconds: seconds,
    avgDurationSeconds: divided(seconds, timed),
    successCalls: success,
    failedCalls: failed,
    otherCalls: calls - success - failed,
    successRate: divided(1000 * success, success + failed) / 10,
    hangupReasons,
    days: counts.days.map((day) => ({ date: day.name, calls: day.calls, seconds: day.seconds })),
    apps: topApps(counts.apps),
  };
}

function isReason(name: string): name is HangupReason {
  return ['user', 'ai', 'timeout', 'silence', 'error'].includes(name);
}

/** Rounded half up; 0 for nothing by nothing. */
function divided(dividend: number, divisor: number): number {
  return divisor === 0 ? 0 : Math.floor((2 * dividend + divisor) / (2 * divisor));
}

/** At most 50 names, the last of them `other` when there are more apps. */
function topApps(apps: readonly Bucket[]): { name: string; calls: number }[] {
  const byName = new Map<string, number>();
  const add = (name: string, calls: number): void => {
    byName.set(name, (byName.get(name) ?? 0) + calls);
  };
  for (const { name, calls } of apps) add(name === '' ? 'unknown' : name, calls);
  const sorted = sortApps(byName);
  if (sorted.length <= MAX_APPS) return sorted;
  byName.clear();
  for (const [at, app] of sorted.entries()) add(at < MAX_APPS - 1 ? app.name : 'other', app.calls);
  // An app of that very name may be among the first: then one more finds room, and no name comes twice.
  return sortApps(byName);
}

function sortApps(byName: ReadonlyMap<string, number>): { name: string; calls: number }[] {
  const apps = [...byName].map(([name, calls]) => ({ name, calls }));
  return apps.sort((a, b) => b.calls - a.calls || (a.name < b.name ? -1 : 1));
}

/**
 * The days of the period and the instants between which their records lie. A clock that is set back at midnight gives
 * a day two beginnings, and Postgres names the later one: hence two hours more, and the date itself is compared too.
 */
const DAYS = `
zone AS (SELECT coalesce((SELECT timezone FROM account_settings WHERE user_id = $1), $4) AS name),
span AS (SELECT name, date_trunc($3, $2::timestamptz AT TIME ZONE name) AS first, date_trunc('day', $2::timestamptz AT TIME ZONE name) AS last FROM zone),
days AS MATERIALIZED (
  SELECT d::date AS day, m.day IS NOT NULL AS is_rolled, (d AT TIME ZONE name) - interval '2 hours' AS from_at,
         ((d + interval '1 day') AT TIME ZONE name) AS before_at, name
    FROM span CROSS JOIN generate_series(first, last, interval '1 day') d
    LEFT JOIN call_stats_days m ON m.user_id = $1 AND m.day = d::date)`;

/** Aggregated inside LATERAL, so that each day is one range of the index whatever the planner believes. */
const rawCells = (filter: string): string => `
  SELECT d.day, r.kind, r.name, r.calls, r.timed, r.seconds FROM days d CROSS JOIN LATERAL (
    SELECT CASE grouping(app) WHEN 0 THEN 'app' ELSE 'reason' END AS kind, coalesce(app, reason) AS name,
           count(*) AS calls, count(duration_seconds) AS timed, coalesce(sum(duration_seconds), 0) AS seconds
      FROM (SELECT coalesce(caller_app, '') AS app, coalesce(hangup_reason::text, '') AS reason, duration_seconds
              FROM call_records WHERE user_id = $1 AND start_time >= d.from_at AND start_time < d.before_at
               AND start_time <= $2::timestamptz AND channel <> 'text' AND (start_time AT TIME ZONE d.name)::date = d.day ${filter}) c
     GROUP BY GROUPING SETS ((app), (reason))) r
   WHERE NOT d.is_rolled`;

const OF_PERIOD = `t.user_id = $1 AND t.day >= (SELECT first::date FROM span) AND t.day <= (SELECT last::date FROM span)`;

const ACCOUNT_CELLS = `
  SELECT t.day, t.kind, t.name, t.calls::bigint AS calls, t.timed_calls::bigint AS timed, t.seconds
    FROM call_stats_account_daily t JOIN days d ON d.day = t.day AND d.is_rolled WHERE ${OF_PERIOD}`;

const AGENT_CELLS = `
  SELECT t.day, CASE grouping(t.caller_app) WHEN 0 THEN 'app' ELSE 'reason' END AS kind,
         coalesce(t.caller_app, t.hangup_reason) AS name, sum(t.calls) AS calls, sum(t.timed_calls) AS timed,
         sum(t.seconds)::bigint AS seconds
    FROM call_stats_daily t JOIN days d ON d.day = t.day AND d.is_rolled
   WHERE ${OF_PERIOD} AND t.agent_id = ANY ($5::uuid[])
   GROUP BY GROUPING SETS ((t.day, t.caller_app), (t.day, t.hangup_reason))`;

/** One statement, one snapshot: no day is counted both ways, and none in neither. Each call is in one cell of either kind. */
const counting = (rolled: string, raw: string): string => `
WITH ${DAYS},
cells AS MATERIALIZED (${rolled} UNION ALL ${raw}),
by_day AS (SELECT day, sum(calls) AS calls, sum(seconds) AS seconds FROM cells WHERE kind = 'reason' GROUP BY day),
by_name AS (SELECT kind, name, sum(calls) AS calls, sum(timed) AS timed, sum(seconds) AS seconds FROM cells GROUP BY kind, name)
SELECT (SELECT jsonb_agg(jsonb_build_object('name', to_char(days.day, 'YYYY-MM-DD'), 'calls', coalesce(calls, 0), 'seconds', coalesce(seconds, 0)) ORDER BY days.day)
          FROM days LEFT JOIN by_day USING (day)) AS days,
       (SELECT coalesce(jsonb_agg(to_jsonb(n)) FILTER (WHERE kind = 'app'), '[]') FROM by_name n) AS apps,
       (SELECT coalesce(jsonb_agg(to_jsonb(n)) FILTER (WHERE kind = 'reason'), '[]') FROM by_name n) AS reasons,
       (SELECT count(*)::int FROM days WHERE NOT is_rolled AND before_at < $2::timestamptz - interval '24 hours') AS unrolled`;

const OF_ACCOUNT = counting(ACCOUNT_CELLS, rawCells(''));
const OF_AGENTS = counting(AGENT_CELLS, rawCells('AND agent_id = ANY ($5::uuid[])'));
