/** The account's campaigns (contract 2.8): what people write, read and command. */
import type { Actor } from '#lib/actor.ts';
import {
  isChangeable,
  statusAfter,
  type Campaign,
  type CampaignCommand,
  type CampaignEvent,
  type CampaignFields,
  type CampaignStatus,
} from '#lib/campaign.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { comparablePhone, normalizePhone, phoneForms } from '#lib/phone.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import {
  CAMPAIGN_COLUMNS,
  campaignOf,
  changeStatus,
  lockCampaign,
  scheduleJson,
  settingsJson,
  type CampaignRow,
} from './campaign-rows.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { missingOf } from './references.ts';

/** Why a campaign was not written: ids that do not exist, a number that may not be shown, or its state. */
export type CampaignFault =
  | { readonly kind: 'missing'; readonly ids: readonly Id[] }
  | { readonly kind: 'number' | 'state' };

export type CampaignWritten =
  | { readonly ok: true; readonly campaign: Campaign }
  | { readonly ok: false; readonly fault: CampaignFault };

export type CampaignChanged =
  | { readonly ok: true; readonly campaign: Campaign; readonly news: readonly CampaignEvent[] }
  | { readonly ok: false };

export type CampaignQuery = PageQuery & { readonly status: CampaignStatus | null };

/** Campaigns of agents that the actor may not see are missing. Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type Campaigns = {
  /** Newest first. */
  list(actor: Actor, query: CampaignQuery): Promise<Page<Campaign>>;
  get(actor: Actor, id: Id): Promise<Campaign | null>;
  create(actor: Actor, fields: CampaignFields): Promise<CampaignWritten>;
  /** Null: no such campaign. */
  replace(actor: Actor, id: Id, fields: CampaignFields): Promise<CampaignWritten | null>;
  /** With its targets; records of its calls stay. Null: no such campaign; false: not in its state. */
  remove(actor: Actor, id: Id): Promise<boolean | null>;
  /** Null: no such campaign; not ok: not in its state. `news` are to be journaled. */
  command(actor: Actor, id: Id, command: CampaignCommand): Promise<CampaignChanged | null>;
};

export type CampaignsOptions = {
  readonly database: Database;
  readonly node: string;
  /** For an account that has no settings yet. */
  readonly countryCode: string | null;
  /** What the environment's trunk shows; any account without an active trunk of its own may show it too. */
  readonly environmentNumber: string | null;
};

const SOURCE = {
  columns: CAMPAIGN_COLUMNS,
  tables: 'campaigns c',
  key: 'c.created_at',
  keyType: 'timestamptz',
  id: 'c.id',
};
const TARGET = 'campaign';
const REMOVE_STEP = 50_000;

export function createCampaigns(options: CampaignsOptions): Campaigns {
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    options.database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor, query) =>
      as(actor, (sql) => readPage(sql, SOURCE, matching(actor, query), query, campaignOf)),
    get: (actor, id) => as(actor, (sql) => find(sql, actor, id)),
    create: (actor, fields) =>
      as(actor, async (sql) => {
        const fault = await faultOf(sql, actor, fields, options);
        return fault === null ? insert(sql, actor, fields) : { ok: false, fault };
      }),
    replace: (actor, id, fields) =>
      as(actor, async (sql) => {
        const locked = await lockCampaign(sql, actor, id);
        if (locked === null) return null;
        if (!isChangeable(locked.status)) return { ok: false, fault: { kind: 'state' } };
        const fault = await faultOf(sql, actor, fields, options);
        return fault === null ? update(sql, actor, id, fields) : { ok: false, fault };
      }),
    remove: (actor, id) => as(actor, (sql) => remove(sql, actor, id)),
    command: (actor, id, command) => as(actor, (sql) => obey(sql, actor, id, command, options)),
  };
}

function matching(actor: Actor, { status }: CampaignQuery): Where {
  return new Where()
    .add('c.user_id = ?', actor.accountId)
    .addUnlessNull('c.agent_id = ANY (?::uuid[])', actor.agentIds)
    .addUnlessNull('c.status = ?', status);
}

async function find(sql: Sql, actor: Actor, id: Id): Promise<Campaign | null> {
  const [row] = await sql.rows<CampaignRow>(
    `SELECT ${CAMPAIGN_COLUMNS} FROM campaigns c
      WHERE c.id = $1 AND c.user_id = $3 AND ($2::uuid[] IS NULL OR c.agent_id = ANY ($2::uuid[]))`,
    [id, actor.agentIds, actor.accountId],
  );
  return row === undefined ? null : campaignOf(row);
}

async function faultOf(
  sql: Sql,
  actor: Actor,
  fields: CampaignFields,
  options: CampaignsOptions,
): Promise<CampaignFault | null> {
  const { agentId, trunkId, fromNumber } = fields;
  const trunks = trunkId === null ? [] : [trunkId];
  const ids = await missingOf(sql, actor, { agents: [agentId], trunks });
  if (ids.length > 0) return { kind: 'missing', ids };
  if (fromNumber === null || (await mayShow(sql, actor, fromNumber, trunkId, options))) return null;
  return { kind: 'number' };
}

/** A number of the account, or what the trunk shows of itself (contract 2.4); without a trunk, any of them. */
async function mayShow(
  sql: Sql,
  actor: Actor,
  number: string,
  trunkId: Id | null,
  { countryCode, environmentNumber }: CampaignsOptions,
): Promise<boolean> {
  const code = await countryCodeOf(sql, actor.accountId, countryCode);
  const rows = await sql.rows<{ number: string | null; is_active: boolean }>(
    `SELECT number, false AS is_active FROM phone_numbers
      WHERE user_id = $1 AND status = 'active' AND number = ANY ($3::text[])
     UNION ALL
     SELECT CASE WHEN $2::uuid IS NULL OR id = $2 THEN from_number END, is_active FROM sip_configs WHERE user_id = $1`,
    [actor.accountId, trunkId, phoneForms(number, code)],
  );
  const shown = rows.flatMap((row) => row.number ?? []);
  const isOnEnvironment = trunkId === null && !rows.some((row) => row.is_active);
  if (isOnEnvironment && environmentNumber !== null) shown.push(environmentNumber);
  const wanted = comparablePhone(number, code);
  return shown.some((each) => comparablePhone(normalizePhone(each) ?? each, code) === wanted);
}

async function insert(sql: Sql, actor: Actor, fields: CampaignFields): Promise<CampaignWritten> {
  const id = newId();
  const [row] = await sql.rows<CampaignRow>(
    `INSERT INTO campaigns AS c (id, user_id, name, agent_id, trunk_id, from_number, schedule, settings)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ${CAMPAIGN_COLUMNS}`,
    [id, actor.accountId, ...valuesOf(fields)],
  );
  await audit(sql, actor, 'create', id, { name: fields.name });
  return { ok: true, campaign: campaignOf(row as CampaignRow) };
}

async function update(
  sql: Sql,
  actor: Actor,
  id: Id,
  fields: CampaignFields,
): Promise<CampaignWritten> {
  const [row] = await sql.rows<CampaignRow>(
    `UPDATE campaigns c SET name = $3, agent_id = $4, trunk_id = $5, from_number = $6, schedule = $7, settings = $8,
            updated_at = now()
      WHERE c.id = $1 AND c.user_id = $2 RETURNING ${CAMPAIGN_COLUMNS}`,
    [id, actor.accountId, ...valuesOf(fields)],
  );
  await audit(sql, actor, 'update', id, { name: fields.name });
  return { ok: true, campaign: campaignOf(row as CampaignRow) };
}

function valuesOf(fields: CampaignFields): unknown[] {
  const { name, agentId, trunkId, fromNumber, schedule, settings } = fields;
  return [name, agentId, trunkId, fromNumber, scheduleJson(schedule), settingsJson(settings)];
}

async function remove(sql: Sql, actor: Actor, id: Id): Promise<boolean | null> {
  const locked = await lockCampaign(sql, actor, id);
  if (locked === null) return null;
  if (!isChangeable(locked.status)) return false;
  await removeTargets(sql, id);
  await sql.run('DELETE FROM campaigns WHERE id = $1 AND user_id = $2', [id, actor.accountId]);
  await audit(sql, actor, 'delete', id, { name: locked.name });
  return true;
}

/** In steps, each well within the time that one statement has; a million at one go is not, on a slow disk. */
async function removeTargets(sql: Sql, campaignId: Id): Promise<void> {
  const text = `DELETE FROM campaign_targets WHERE id = ANY (ARRAY(
    SELECT id FROM campaign_targets WHERE campaign_id = $1 LIMIT ${REMOVE_STEP}))`;
  while ((await sql.run(text, [campaignId])) > 0);
}

async function obey(
  sql: Sql,
  actor: Actor,
  id: Id,
  command: CampaignCommand,
  { node }: CampaignsOptions,
): Promise<CampaignChanged | null> {
  const locked = await lockCampaign(sql, actor, id);
  if (locked === null) return null;
  const campaign = campaignOf(locked);
  const { startAt } = campaign.schedule;
  const startsLater = startAt !== null && Date.parse(startAt) > Date.now();
  const to = statusAfter(command, campaign.status, startsLater);
  if (to === null) return { ok: false };
  if (to === campaign.status) return { ok: true, campaign, news: [] };
  const reason = { start: null, pause: 'user', resume: 'resumed', cancel: 'cancelled' }[command];
  const teller = { node, requestId: actor.requestId };
  const changed = await changeStatus(sql, id, { to, reason }, teller);
  await audit(sql, actor, command, id, { name: campaign.name });
  return { ok: true, ...changed };
}

function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  return writeAudit(sql, actor, {
    ...{ action: `${TARGET}.${verb}`, targetType: TARGET, targetId, changes },
  });
}
