/** The people of a campaign (contract 2.8): added in batches, each number once. */
import type { Actor } from '#lib/actor.ts';
import {
  MAX_TARGETS,
  type CampaignStatus,
  type CampaignTarget,
  type TargetStatus,
} from '#lib/campaign.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone, phoneForms } from '#lib/phone.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import { lockCampaign } from './campaign-rows.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';

export type NewTarget = {
  /** Where it stood: line of the file, or place in the list, from 1. */
  readonly line: number;
  /** In normal form. */
  readonly phone: string;
  readonly name: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
};

export type RejectedTarget = { readonly line: number; readonly reason: string };

export type TargetsAdded = {
  readonly added: number;
  /** Numbers that the campaign has already, or that came before in the same batch. */
  readonly duplicates: number;
  readonly rejected: readonly RejectedTarget[];
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type CampaignTargets = {
  /** Newest first. Null: no such campaign. */
  list(
    actor: Actor,
    campaignId: Id,
    query: PageQuery & { readonly status: TargetStatus | null },
  ): Promise<Page<CampaignTarget> | null>;
  /** All or nothing, at most a few thousand. Null: no such campaign; `state`: it is over. */
  add(
    actor: Actor,
    campaignId: Id,
    targets: readonly NewTarget[],
  ): Promise<TargetsAdded | 'state' | null>;
};

type TargetRow = {
  readonly id: Id;
  readonly phone: string;
  readonly name: string | null;
  readonly variables: Record<string, unknown>;
  readonly status: TargetStatus;
  readonly attempts: number;
  readonly next_attempt_at: Date | null;
  readonly last_call_id: Id | null;
  readonly last_outcome: string | null;
  readonly created_at: Date;
};

const SOURCE = {
  columns:
    't.id, t.phone, t.name, t.variables, t.status, t.attempts, t.next_attempt_at, t.last_call_id, t.last_outcome, t.created_at',
  tables: 'campaign_targets t',
  key: 't.created_at',
  keyType: 'timestamptz',
  id: 't.id',
};

export function createCampaignTargets(
  database: Database,
  countryCode: string | null,
  maxTargets = MAX_TARGETS,
): CampaignTargets {
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor, campaignId, query) => as(actor, (sql) => list(sql, actor, campaignId, query)),
    add: (actor, campaignId, targets) =>
      as(actor, (sql) => add(sql, actor, { campaignId, targets, countryCode, maxTargets })),
  };
}

async function list(
  sql: Sql,
  actor: Actor,
  campaignId: Id,
  query: PageQuery & { readonly status: TargetStatus | null },
): Promise<Page<CampaignTarget> | null> {
  const known = await sql.rows(
    'SELECT FROM campaigns WHERE id = $1 AND user_id = $2 AND ($3::uuid[] IS NULL OR agent_id = ANY ($3::uuid[]))',
    [campaignId, actor.accountId, actor.agentIds],
  );
  if (known.length === 0) return null;
  const where = new Where()
    .add('t.campaign_id = ?', campaignId)
    .add('t.user_id = ?', actor.accountId)
    .addUnlessNull('t.status = ?', query.status);
  return readPage(sql, SOURCE, where, query, targetOf);
}

type Batch = {
  readonly campaignId: Id;
  readonly targets: readonly NewTarget[];
  readonly countryCode: string | null;
  readonly maxTargets: number;
};

async function add(
  sql: Sql,
  actor: Actor,
  { campaignId, targets, countryCode, maxTargets }: Batch,
): Promise<TargetsAdded | 'state' | null> {
  // The lock makes additions wait for each other: else two of them would both see room.
  const campaign = await lockCampaign(sql, actor, campaignId);
  if (campaign === null) return null;
  if (isOver(campaign.status)) return 'state';
  const code = await countryCodeOf(sql, actor.accountId, countryCode);
  const byPhone = new Map<string, NewTarget>();
  for (const target of targets) {
    const phone = comparablePhone(target.phone, code);
    if (!byPhone.has(phone)) byPhone.set(phone, target);
  }
  const fresh = await notKnown(sql, campaignId, [...byPhone.keys()], code);
  const { targets_pending, targets_dialing, targets_done, targets_failed, targets_skipped } =
    campaign;
  const held = targets_pending + targets_dialing + targets_done + targets_failed + targets_skipped;
  const room = fresh.slice(0, Math.max(0, maxTargets - held));
  await insert(sql, actor.accountId, campaignId, room, byPhone);
  const reason = `the campaign is full: it takes ${maxTargets} targets`;
  const rejected = fresh
    .slice(room.length)
    .map((phone) => ({ line: byPhone.get(phone)?.line ?? 0, reason }));
  const duplicates = targets.length - fresh.length;
  const changes = { added: room.length, duplicates, rejected: rejected.length };
  await writeAudit(sql, actor, {
    ...{ action: 'campaign.targets', targetType: 'campaign', targetId: campaignId, changes },
  });
  return { added: room.length, duplicates, rejected };
}

function isOver(status: CampaignStatus): boolean {
  return status === 'completed' || status === 'cancelled';
}

/** In the order given. Those there may have been added under another country code: each spelling is looked for. */
async function notKnown(
  sql: Sql,
  campaignId: Id,
  phones: readonly string[],
  countryCode: string | null,
): Promise<string[]> {
  const known = await sql.rows<{ phone: string }>(
    'SELECT phone FROM campaign_targets WHERE campaign_id = $1 AND phone = ANY ($2::text[])',
    [campaignId, phones.flatMap((phone) => phoneForms(phone, countryCode))],
  );
  const there = new Set(known.map(({ phone }) => comparablePhone(phone, countryCode)));
  return phones.filter((phone) => !there.has(phone));
}

/** A microsecond between two rows keeps their order in lists. */
async function insert(
  sql: Sql,
  accountId: Id,
  campaignId: Id,
  phones: readonly string[],
  byPhone: ReadonlyMap<string, NewTarget>,
): Promise<void> {
  if (phones.length === 0) return;
  const rows = phones.map((phone) => {
    const target = byPhone.get(phone);
    return { phone, name: target?.name ?? null, variables: target?.variables ?? {} };
  });
  await sql.run(
    `INSERT INTO campaign_targets (user_id, campaign_id, phone, name, variables, created_at)
     SELECT $1, $2, n.phone, n.name, n.variables, clock_timestamp() + n.at * interval '1 microsecond'
       FROM ROWS FROM (jsonb_to_recordset($3::jsonb) AS (phone text, name text, variables jsonb)) WITH ORDINALITY
         AS n(phone, name, variables, at)
      ORDER BY n.at`,
    [accountId, campaignId, JSON.stringify(rows)],
  );
}

function targetOf(row: TargetRow): CampaignTarget {
  return {
    id: row.id,
    phone: row.phone,
    name: row.name,
    variables: row.variables,
    status: row.status,
    attempts: row.attempts,
    nextAttemptAt: row.next_attempt_at?.toISOString() ?? null,
    lastCallId: row.last_call_id,
    lastOutcome: row.last_outcome,
    createdAt: row.created_at.toISOString(),
  };
}
