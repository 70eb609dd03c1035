/** Rows of `campaigns` as campaigns, changes of their state, and the events that tell of them. */
import type { Actor } from '#lib/actor.ts';
import {
  CAMPAIGN_LIMITS,
  DEFAULT_CAMPAIGN_SETTINGS,
  MAX_WINDOWS,
  RETRY_CAUSES,
  WINDOW_END,
  WINDOW_START,
  type Campaign,
  type CampaignEvent,
  type CampaignSchedule,
  type CampaignSettings,
  type CampaignStatus,
  type CampaignWindow,
} from '#lib/campaign.ts';
import type { CampaignCounts } from '#lib/call-events.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Sql } from './pool.ts';

/** Of `campaigns c`. The counts are columns (migration 0013), so a list reads its rows and nothing else. */
export const CAMPAIGN_COLUMNS = `c.id, c.user_id, c.name, c.agent_id, c.trunk_id, c.from_number, c.status, c.pause_reason,
  c.schedule, c.settings, c.started_at, c.finished_at, c.created_at, c.updated_at, c.recent_ends, c.targets_pending,
  c.targets_dialing, c.targets_done, c.targets_failed, c.targets_skipped, c.attempts`;

export type CampaignRow = {
  readonly id: Id;
  readonly user_id: Id;
  readonly name: string;
  readonly agent_id: Id;
  readonly trunk_id: Id | null;
  readonly from_number: string | null;
  readonly status: CampaignStatus;
  readonly pause_reason: string | null;
  readonly schedule: unknown;
  readonly settings: unknown;
  readonly started_at: Date | null;
  readonly finished_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly recent_ends: string;
  readonly targets_pending: number;
  readonly targets_dialing: number;
  readonly targets_done: number;
  readonly targets_failed: number;
  readonly targets_skipped: number;
  readonly attempts: number;
};

export function campaignOf(row: CampaignRow): Campaign {
  return {
    id: row.id,
    accountId: row.user_id,
    name: row.name,
    agentId: row.agent_id,
    trunkId: row.trunk_id,
    fromNumber: row.from_number,
    schedule: scheduleOf(row.schedule),
    settings: settingsOf(row.settings),
    status: row.status,
    counts: countsOf(row),
    pauseReason: row.pause_reason,
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export function countsOf(row: CampaignRow): CampaignCounts {
  return {
    pending: row.targets_pending,
    dialing: row.targets_dialing,
    done: row.targets_done,
    failed: row.targets_failed,
    skipped: row.targets_skipped,
    attempts: row.attempts,
  };
}

type Stored = Readonly<Record<string, unknown>>;

/**
 * Rows may be written past the API (the policies allow it): what they leave out, or what the API would have refused, has
 * its default. A dialler serves many accounts, and none of them may stop it with a row, or call faster than is allowed.
 */
export function scheduleOf(stored: unknown): CampaignSchedule {
  const { start_at: startAt, end_at: endAt, windows, timezone } = stored as Stored;
  return {
    startAt: typeof startAt === 'string' ? startAt : null,
    endAt: typeof endAt === 'string' ? endAt : null,
    windows: areWindows(windows) ? windows : null,
    timezone: typeof timezone === 'string' ? timezone : null,
  };
}

export function scheduleJson(schedule: CampaignSchedule): string {
  const { startAt, endAt, windows, timezone } = schedule;
  return JSON.stringify({ start_at: startAt, end_at: endAt, windows, timezone });
}

const SETTING_NAMES = {
  concurrency: 'concurrency',
  cps: 'cps',
  ringTimeoutS: 'ring_timeout_s',
  maxAttempts: 'max_attempts',
  retryDelayS: 'retry_delay_s',
  retryOn: 'retry_on',
  amd: 'amd',
  voicemail: 'voicemail',
  stopFailurePct: 'stop_failure_pct',
  stopWindow: 'stop_window',
} as const satisfies Record<keyof CampaignSettings, string>;

export function settingsOf(stored: unknown): CampaignSettings {
  const given = Object.entries(SETTING_NAMES).flatMap(([name, column]) => {
    const value = (stored as Stored)[column];
    return isSound(name as keyof CampaignSettings, value) ? [[name, value]] : [];
  });
  return { ...DEFAULT_CAMPAIGN_SETTINGS, ...(Object.fromEntries(given) as object) };
}

function isSound(name: keyof CampaignSettings, value: unknown): boolean {
  if (name === 'amd') return typeof value === 'boolean';
  if (name === 'voicemail') return value === 'hangup' || value === 'message';
  if (name === 'retryOn')
    return Array.isArray(value) && value.every((each) => RETRY_CAUSES.includes(each));
  const [least, most] = CAMPAIGN_LIMITS[name];
  const isNumber = name === 'cps' ? typeof value === 'number' : Number.isInteger(value);
  return isNumber && Number(value) >= least && Number(value) <= most;
}

const [START, END] = [new RegExp(WINDOW_START), new RegExp(WINDOW_END)];

function areWindows(value: unknown): value is readonly CampaignWindow[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_WINDOWS) return false;
  return value.every((each: unknown) => {
    if (typeof each !== 'object' || each === null) return false;
    const { weekdays, start, end } = each as Stored;
    const areDays = Array.isArray(weekdays) && weekdays.every((day) => isWeekday(day));
    return areDays && isTime(start, START) && isTime(end, END);
  });
}

function isWeekday(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 7;
}

function isTime(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value);
}

export function settingsJson(settings: CampaignSettings): string {
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(SETTING_NAMES).map(([name, column]) => [
        column,
        settings[name as keyof CampaignSettings],
      ]),
    ),
  );
}

/** Who tells: the node, and the request behind it. */
export type Teller = { readonly node: string; readonly requestId: string | null };

export type StatusChange = {
  readonly to: CampaignStatus;
  /** Of a pause; else why it ended before everybody was called, or null. */
  readonly reason: string | null;
};

const EVENTS: Partial<Record<CampaignStatus, CampaignEvent['type']>> = {
  running: 'campaign.started',
  paused: 'campaign.paused',
  completed: 'campaign.completed',
  cancelled: 'campaign.completed',
};

/**
 * Puts a campaign, whose row the transaction has locked, into another state. The event is kept in the row until somebody
 * has journaled it, so a crash in between loses nothing; its id stays the same.
 */
export async function changeStatus(
  sql: Sql,
  id: Id,
  change: StatusChange,
  teller: Teller,
): Promise<{ readonly campaign: Campaign; readonly news: readonly CampaignEvent[] }> {
  const { to, reason } = change;
  const keeps = to === 'paused' || to === 'completed';
  const [row] = await sql.rows<CampaignRow>(
    `UPDATE campaigns c SET status = $2, pause_reason = $3, updated_at = now(),
            started_at = CASE WHEN $2 = 'running' THEN coalesce(started_at, now()) ELSE started_at END,
            finished_at = CASE WHEN $2 IN ('completed', 'cancelled') THEN now() END,
            recent_ends = CASE WHEN $2 = 'running' THEN '' ELSE recent_ends END,
            driver_until = CASE WHEN $2 = 'running' THEN driver_until END
      WHERE id = $1 RETURNING ${CAMPAIGN_COLUMNS}`,
    [id, to, keeps ? reason : null],
  );
  const campaign = campaignOf(row as CampaignRow);
  const type = EVENTS[to];
  if (type === undefined) return { campaign, news: [] };
  const event: CampaignEvent = {
    ...{ id: newId(), type, time: new Date().toISOString(), account_id: campaign.accountId },
    ...{ call_id: null, seq: null, node: teller.node, request_id: teller.requestId },
    data: { campaign_id: id, counts: campaign.counts, reason },
  };
  await sql.run('UPDATE campaigns SET untold = untold || $2::jsonb WHERE id = $1', [
    id,
    JSON.stringify([event]),
  ]);
  return { campaign, news: [event] };
}

/** A key that sees some agents alone sees their campaigns alone. `$2` is its list, null for all. */
export async function lockCampaign(sql: Sql, actor: Actor, id: Id): Promise<CampaignRow | null> {
  const [row] = await sql.rows<CampaignRow>(
    `SELECT ${CAMPAIGN_COLUMNS} FROM campaigns c
      WHERE c.id = $1 AND c.user_id = $3 AND ($2::uuid[] IS NULL OR c.agent_id = ANY ($2::uuid[])) FOR NO KEY UPDATE`,
    [id, actor.agentIds, actor.accountId],
  );
  return row ?? null;
}
