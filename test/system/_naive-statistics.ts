/** Statistics counted the plain way (contract 6): record by record, local dates from the runtime's own tables. */
import type { CallStatistics, StatisticsPeriod } from '#lib/call-record.ts';

export type Plain = {
  readonly id: string;
  readonly agentId: string;
  readonly startMs: number;
  readonly app: string | null;
  readonly seconds: number | null;
  readonly reason: 'user' | 'ai' | 'timeout' | 'silence' | 'error' | null;
  readonly channel: string;
};

export type NaiveQuery = {
  readonly period: StatisticsPeriod;
  readonly agents: readonly string[] | null;
  readonly zone: string;
  readonly nowMs: number;
};

const formats = new Map<string, Intl.DateTimeFormat>();

function dateIn(zone: string, ms: number): string {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone });
    formats.set(zone, format);
  }
  return format.format(ms);
}

function plusDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

function firstDay(period: StatisticsPeriod, today: string): string {
  const weekday = (new Date(`${today}T00:00:00Z`).getUTCDay() + 6) % 7; // Monday is 0
  return {
    today,
    week: plusDays(today, -weekday),
    month: `${today.slice(0, 7)}-01`,
    year: `${today.slice(0, 4)}-01-01`,
  }[period];
}

export function naiveStatistics(records: readonly Plain[], query: NaiveQuery): CallStatistics {
  const { zone, nowMs, agents } = query;
  const today = dateIn(zone, nowMs);
  const first = firstDay(query.period, today);
  const counted = records
    .filter(
      (record) =>
        record.channel !== 'text' &&
        record.startMs <= nowMs &&
        (agents === null || agents.includes(record.agentId)),
    )
    .map((record) => ({ ...record, date: dateIn(zone, record.startMs) }))
    .filter(({ date }) => date >= first);
  const calls = (...reasons: Plain['reason'][]): number =>
    counted.filter(({ reason }) => reasons.includes(reason)).length;
  const sum = (list: readonly Plain[]): number =>
    list.reduce((total, { seconds }) => total + (seconds ?? 0), 0);
  const timed = counted.filter(({ seconds }) => seconds !== null).length;
  const success = calls('user', 'ai', 'silence');
  const failed = calls('timeout', 'error');
  const days: { date: string; calls: number; seconds: number }[] = [];
  for (let date = first; date <= today; date = plusDays(date, 1)) {
    const ofDay = counted.filter((record) => record.date === date);
    days.push({ date, calls: ofDay.length, seconds: sum(ofDay) });
  }
  return {
    totalCalls: counted.length,
    totalDurationSeconds: sum(counted),
    avgDurationSeconds: timed === 0 ? 0 : Math.round(sum(counted) / timed),
    successCalls: success,
    failedCalls: failed,
    otherCalls: counted.length - success - failed,
    successRate:
      success + failed === 0 ? 0 : Math.round((1000 * success) / (success + failed)) / 10,
    hangupReasons: {
      user: calls('user'),
      ai: calls('ai'),
      timeout: calls('timeout'),
      silence: calls('silence'),
      error: calls('error'),
    },
    days,
    apps: appsOf(counted),
  };
}

function appsOf(counted: readonly Plain[]): { name: string; calls: number }[] {
  const byName: Record<string, number> = {};
  for (const { app } of counted) {
    const name = app === null || app === '' ? 'unknown' : app;
    byName[name] = (byName[name] ?? 0) + 1;
  }
  return Object.entries(byName)
    .map(([name, calls]) => ({ name, calls }))
    .sort((a, b) => (a.calls === b.calls ? (a.name < b.name ? -1 : 1) : b.calls - a.calls));
}
