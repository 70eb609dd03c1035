/**
 * Campaigns as the dialler works through them: who dials (a lease), who is called next (a claim), what became of it. Each
 * step is one transaction that first locks the campaign's row, so what is counted there holds while it is decided.
 */
import type {
  Campaign,
  CampaignEvent,
  CampaignLead,
  CampaignSettings,
  ClaimDecision,
  ClaimedTarget,
  ClaimFacts,
  ClaimResult,
  OpenClaim,
  TargetClaim,
} from '#lib/campaign.ts';
import type { Outcome } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import {
  CAMPAIGN_COLUMNS,
  campaignOf,
  changeStatus,
  countsOf,
  scheduleOf,
  settingsOf,
  type CampaignRow,
} from './campaign-rows.ts';
import type { Database, Sql } from './pool.ts';

export type ClaimWish = {
  readonly campaignId: Id;
  readonly driver: string;
  /** The call that will be placed. */
  readonly callId: Id;
  /** Now, by the clock that retries are timed with. */
  readonly nowMs: number;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE; then nothing was changed, or it is not known. */
export type CampaignDialling = {
  /** Scheduled campaigns whose time has come are running now. */
  startDue(nowMs: number): Promise<readonly CampaignEvent[]>;
  /** The running campaigns that `driver` dials from now on; takes those that nobody dials, up to `limit` in all. */
  lead(driver: string, limit: number, nowMs: number): Promise<readonly CampaignLead[]>;
  /** Others may dial at once. */
  release(driver: string): Promise<void>;
  claim(wish: ClaimWish): Promise<ClaimResult>;
  /** Writes what `decide` makes of a target that is still claimed for this call; else does nothing. */
  settle(
    claim: TargetClaim,
    decide: (facts: ClaimFacts) => ClaimDecision,
  ): Promise<readonly CampaignEvent[]>;
  /** Everybody who is being called, oldest claim first, behind `after`. */
  openClaims(after: ClaimPlace | null, limit: number): Promise<readonly (OpenClaim & ClaimPlace)[]>;
  /** Ends a running campaign in which nobody is being called; with `reason` though some are left. */
  complete(campaignId: Id, reason: string | null): Promise<readonly CampaignEvent[]>;
  /** Pauses it if it is running. */
  pause(campaignId: Id, reason: string): Promise<readonly CampaignEvent[]>;
  /** Events older than `olderThanMs` that nobody has confirmed as journaled. */
  untold(nowMs: number, olderThanMs: number): Promise<readonly CampaignEvent[]>;
  told(events: readonly CampaignEvent[]): Promise<void>;
};

export type ClaimPlace = { readonly at: string; readonly targetId: Id };

export type DiallingOptions = {
  readonly database: Database;
  readonly node: string;
  /** Of an account that has no settings yet. */
  readonly timeZone: string;
};

/** A node that died is missed this much later. Renewed when half of it is over. */
const LEASE_S = 15;
const RENEW_S = 7;
const START_BATCH = 100;
const UNTOLD_BATCH = 100;

export function createCampaignDialling(options: DiallingOptions): CampaignDialling {
  const { database, node } = options;
  const teller = { node, requestId: null };
  const inCampaign = (
    campaignId: Id,
    work: (sql: Sql, campaign: Campaign) => Promise<readonly CampaignEvent[]>,
  ): Promise<readonly CampaignEvent[]> =>
    database.withSystem(async (sql) => {
      const row = await lock(sql, campaignId);
      return row === null ? [] : work(sql, campaignOf(row));
    });
  const pause = async (sql: Sql, id: Id, reason: string): Promise<readonly CampaignEvent[]> =>
    (await changeStatus(sql, id, { to: 'paused', reason }, teller)).news;
  return {
    startDue: async (nowMs) => {
      const due = await database.withSystem((sql) => findDue(sql, nowMs));
      const news: CampaignEvent[] = [];
      for (const id of due) {
        // It may have been put off since it was found.
        const start = (sql: Sql, { status, schedule: { startAt } }: Campaign) =>
          status === 'scheduled' && !(startAt !== null && Date.parse(startAt) > nowMs)
            ? changeStatus(sql, id, { to: 'running', reason: 'scheduled' }, teller)
            : { news: [] };
        news.push(
          ...(await inCampaign(id, async (sql, campaign) => (await start(sql, campaign)).news)),
        );
      }
      return news;
    },
    lead: (driver, limit, nowMs) =>
      database.withSystem(async (sql) => {
        await takeLeases(sql, driver, limit);
        return readLeads(sql, driver, nowMs, options.timeZone);
      }),
    release: async (driver) => {
      await database.withSystem((sql) =>
        sql.run('UPDATE campaigns SET driver = NULL, driver_until = NULL WHERE driver = $1', [
          driver,
        ]),
      );
    },
    claim: (wish) => database.withSystem((sql) => claim(sql, wish)),
    settle: (claimed, decide) =>
      database.withSystem(async (sql) => {
        const row = await lock(sql, claimed.campaignId);
        if (row === null) return [];
        const decision = await settle(sql, claimed, row, decide);
        if (decision?.pauseReason == null || row.status !== 'running') return [];
        return pause(sql, row.id, decision.pauseReason);
      }),
    openClaims: (after, limit) => database.withSystem((sql) => openClaims(sql, after, limit)),
    complete: (campaignId, reason) =>
      inCampaign(campaignId, async (sql, { status, counts }) => {
        const isDone = counts.dialing === 0 && (counts.pending === 0 || reason !== null);
        if (status !== 'running' || !isDone) return [];
        return (await changeStatus(sql, campaignId, { to: 'completed', reason }, teller)).news;
      }),
    pause: (campaignId, reason) =>
      inCampaign(campaignId, async (sql, { status }) =>
        status === 'running' ? pause(sql, campaignId, reason) : [],
      ),
    untold: (nowMs, olderThanMs) => database.withSystem((sql) => untold(sql, nowMs - olderThanMs)),
    told: async (events) => {
      if (events.length > 0) await database.withSystem((sql) => forgetTold(sql, events));
    },
  };
}

async function lock(sql: Sql, campaignId: Id): Promise<CampaignRow | null> {
  const [row] = await sql.rows<CampaignRow>(
    `SELECT ${CAMPAIGN_COLUMNS} FROM campaigns c WHERE c.id = $1 FOR NO KEY UPDATE`,
    [campaignId],
  );
  return row ?? null;
}

/** Times in the column are all ISO-8601 in UTC with milliseconds, so their text has their order. */
async function findDue(sql: Sql, nowMs: number): Promise<Id[]> {
  const rows = await sql.rows<{ id: Id }>(
    `SELECT id FROM campaigns WHERE status = 'scheduled' AND coalesce(schedule ->> 'start_at', '') COLLATE "C" <= $1
      LIMIT ${START_BATCH}`,
    [new Date(nowMs).toISOString()],
  );
  return rows.map(({ id }) => id);
}

/** A row that is locked is passed over: a long import must not hold up every other campaign. */
async function takeLeases(sql: Sql, driver: string, limit: number): Promise<void> {
  await sql.run(
    `UPDATE campaigns SET driver = $1, driver_until = now() + interval '${LEASE_S} seconds'
      WHERE id = ANY (ARRAY(
        SELECT id FROM campaigns
         WHERE status = 'running' AND driver = $1
           AND (driver_until IS NULL OR driver_until < now() + interval '${RENEW_S} seconds')
           FOR NO KEY UPDATE SKIP LOCKED) || ARRAY(
        SELECT id FROM campaigns
         WHERE status = 'running' AND driver IS DISTINCT FROM $1 AND (driver_until IS NULL OR driver_until < now())
         ORDER BY driver_until NULLS FIRST, id
         LIMIT greatest(0, $2 - (SELECT count(*) FROM campaigns WHERE status = 'running' AND driver = $1)::int)
           FOR NO KEY UPDATE SKIP LOCKED))`,
    [driver, limit],
  );
}

type LeadRow = CampaignRow & {
  readonly time_zone: string;
  readonly is_due: boolean;
  readonly lease_ms: number;
};

/** Whoever was never called has no time and is due; the two looks are two ends of one index. */
async function readLeads(
  sql: Sql,
  driver: string,
  nowMs: number,
  timeZone: string,
): Promise<CampaignLead[]> {
  const rows = await sql.rows<LeadRow>(
    `SELECT ${CAMPAIGN_COLUMNS}, coalesce(c.schedule ->> 'timezone', s.timezone, $3) AS time_zone,
            EXISTS (SELECT FROM campaign_targets t WHERE t.campaign_id = c.id AND t.status = 'pending'
                       AND t.next_attempt_at <= $2)
            OR EXISTS (SELECT FROM campaign_targets t WHERE t.campaign_id = c.id AND t.status = 'pending'
                          AND t.next_attempt_at IS NULL) AS is_due,
            (extract(epoch FROM c.driver_until - now()) * 1000)::float8 AS lease_ms
       FROM campaigns c LEFT JOIN account_settings s ON s.user_id = c.user_id
      WHERE c.status = 'running' AND c.driver = $1 AND c.driver_until > now()`,
    [driver, new Date(nowMs), timeZone],
  );
  return rows.map((row) => ({
    ...{ campaignId: row.id, accountId: row.user_id, agentId: row.agent_id },
    ...{ trunkId: row.trunk_id, fromNumber: row.from_number },
    ...{ schedule: scheduleOf(row.schedule), settings: settingsOf(row.settings) },
    ...{ timeZone: row.time_zone, counts: countsOf(row) },
    ...{ isDue: row.is_due, leaseMs: row.lease_ms },
  }));
}

type ClaimRow = {
  readonly id: Id;
  readonly phone: string;
  readonly name: string | null;
  readonly variables: unknown;
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function claim(sql: Sql, wish: ClaimWish): Promise<ClaimResult> {
  const { campaignId, driver } = wish;
  const [campaign] = await sql.rows<{ settings: unknown; dialing: number }>(
    `SELECT settings, targets_dialing AS dialing FROM campaigns
      WHERE id = $1 AND status = 'running' AND driver = $2 AND driver_until > now() FOR NO KEY UPDATE`,
    [campaignId, driver],
  );
  if (campaign === undefined) return { kind: 'stopped' };
  if (campaign.dialing >= settingsOf(campaign.settings).concurrency) return { kind: 'full' };
  // Whoever waits for another try comes first, then who was never called, in the order in which they were added.
  const row =
    (await claimOne(sql, wish, 'next_attempt_at <= $4 ORDER BY next_attempt_at')) ??
    (await claimOne(sql, wish, FRESH));
  if (row === null) return { kind: 'none' };
  const { id: targetId, phone, name } = row;
  const variables = isRecord(row.variables) ? row.variables : {}; // a row may be written past the API
  const target: ClaimedTarget = {
    ...{ campaignId, targetId, callId: wish.callId, phone, name, variables },
  };
  return { kind: 'claimed', target };
}

/** The time is not asked for here, but every parameter has to stand somewhere. */
const FRESH = 'next_attempt_at IS NULL AND $4::timestamptz IS NOT NULL ORDER BY created_at, id';

async function claimOne(sql: Sql, wish: ClaimWish, which: string): Promise<ClaimRow | null> {
  const [row] = await sql.rows<ClaimRow>(
    `UPDATE campaign_targets SET status = 'dialing', attempts = attempts + 1, former_call_id = last_call_id,
            last_call_id = $2, claimed_by = $3, claimed_at = now(), next_attempt_at = NULL
      WHERE id = (SELECT id FROM campaign_targets
                   WHERE campaign_id = $1 AND status = 'pending' AND ${which}
                   LIMIT 1 FOR UPDATE)
      RETURNING id, phone, name, variables`,
    [wish.campaignId, wish.callId, wish.driver, new Date(wish.nowMs)],
  );
  return row ?? null;
}

async function settle(
  sql: Sql,
  { targetId, callId }: TargetClaim,
  campaign: CampaignRow,
  decide: (facts: ClaimFacts) => ClaimDecision,
): Promise<ClaimDecision | null> {
  const [target] = await sql.rows<{ attempts: number }>(
    `SELECT attempts FROM campaign_targets
      WHERE id = $1 AND campaign_id = $2 AND status = 'dialing' AND last_call_id = $3 FOR UPDATE`,
    [targetId, campaign.id, callId],
  );
  if (target === undefined) return null;
  const settings: CampaignSettings = settingsOf(campaign.settings);
  const decision = decide({
    ...{ settings, attempts: target.attempts, recentEnds: campaign.recent_ends },
  });
  const { status, isAttempt, nextAttemptAtMs: nextMs, lastOutcome, recentEnds } = decision;
  await sql.run(
    `UPDATE campaign_targets SET status = $2, next_attempt_at = $3, last_outcome = coalesce($4, last_outcome),
            attempts = attempts - CASE WHEN $5 THEN 0 ELSE 1 END,
            last_call_id = CASE WHEN $5 THEN last_call_id ELSE former_call_id END,
            claimed_by = NULL, claimed_at = NULL, former_call_id = NULL
      WHERE id = $1`,
    [targetId, status, nextMs === null ? null : new Date(nextMs), lastOutcome, isAttempt],
  );
  if (recentEnds !== campaign.recent_ends) {
    await sql.run('UPDATE campaigns SET recent_ends = $2 WHERE id = $1', [campaign.id, recentEnds]);
  }
  return decision;
}

type OpenRow = {
  readonly id: Id;
  readonly campaign_id: Id;
  readonly user_id: Id;
  readonly last_call_id: Id;
  readonly claimed_by: string | null;
  readonly at: string;
  readonly age_ms: number;
  readonly is_over: boolean | null;
  readonly outcome: Outcome | null;
  readonly was_answered: boolean;
  readonly end_time: Date | null;
  readonly ended_by: string | null;
};

async function openClaims(
  sql: Sql,
  after: ClaimPlace | null,
  limit: number,
): Promise<(OpenClaim & ClaimPlace)[]> {
  const rows = await sql.rows<OpenRow>(
    `SELECT t.id, t.campaign_id, t.user_id, t.last_call_id, t.claimed_by, coalesce(t.claimed_at, t.created_at)::text AS at,
            (extract(epoch FROM now() - coalesce(t.claimed_at, t.created_at)) * 1000)::float8 AS age_ms,
            r.status IN ('ended', 'failed') AS is_over, r.outcome, r.answer_time IS NOT NULL AS was_answered, r.end_time,
            r.ended_by
       FROM campaign_targets t LEFT JOIN call_records r ON r.id = t.last_call_id
      WHERE t.status = 'dialing' AND ($1::text IS NULL OR (coalesce(t.claimed_at, t.created_at), t.id) > ($1::timestamptz, $2::uuid))
      ORDER BY coalesce(t.claimed_at, t.created_at), t.id LIMIT $3`,
    [after?.at ?? null, after?.targetId ?? null, limit],
  );
  return rows.map((row) => ({
    ...{ campaignId: row.campaign_id, targetId: row.id, callId: row.last_call_id },
    ...{ accountId: row.user_id, claimedBy: row.claimed_by, at: row.at, ageMs: row.age_ms },
    record:
      row.is_over === null
        ? null
        : {
            ...{ isOver: row.is_over, outcome: row.outcome, wasAnswered: row.was_answered },
            ...{ endedAtMs: row.end_time?.getTime() ?? null, endedBy: row.ended_by },
          },
  }));
}

async function untold(sql: Sql, beforeMs: number): Promise<CampaignEvent[]> {
  const rows = await sql.rows<{ untold: CampaignEvent[] }>(
    `SELECT untold FROM campaigns WHERE untold <> '[]' LIMIT ${UNTOLD_BATCH}`,
  );
  const before = new Date(beforeMs).toISOString();
  return rows.flatMap((row) => row.untold.filter(({ time }) => time < before));
}

async function forgetTold(sql: Sql, events: readonly CampaignEvent[]): Promise<void> {
  const told = JSON.stringify(
    events.map(({ id, data }) => ({ id, campaign_id: data.campaign_id })),
  );
  await sql.run(
    `UPDATE campaigns c SET untold = coalesce((SELECT jsonb_agg(e) FROM jsonb_array_elements(c.untold) e
              WHERE e ->> 'id' NOT IN (SELECT d ->> 'id' FROM jsonb_array_elements($1::jsonb) d)), '[]')
      WHERE c.id IN (SELECT (d ->> 'campaign_id')::uuid FROM jsonb_array_elements($1::jsonb) d)`,
    [told],
  );
}
