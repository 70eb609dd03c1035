/** Squads (contract 2.4, 4.1): agents that share a conversation, kept whole, deleted softly, not while something names them. */
import type { Actor } from '#lib/actor.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { AGENT_COLUMNS } from './agent-choice.ts';
import { agentOf, type AgentRow } from './agent-config.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { missingOf, type Written } from './references.ts';
import { StaleCache } from './stale-cache.ts';

export type SquadRole = 'primary' | 'secondary' | 'specialist';

export type SquadMemberFields = {
  readonly agentId: Id;
  readonly role: SquadRole;
  readonly skills: readonly string[];
  /** 1..100; the lower one wins a tie. */
  readonly priority: number;
};

export type SquadMember = SquadMemberFields & { readonly agentName: string };

/** `from` may hand the conversation to `to`. */
export type SquadTransfer = {
  readonly from: Id;
  readonly to: Id;
  readonly when: string;
  readonly notice: string | null;
};

export type SquadFields = {
  readonly name: string;
  readonly members: readonly SquadMemberFields[];
  readonly transfers: readonly SquadTransfer[];
};

export type StoredSquad = Omit<SquadFields, 'members'> & {
  readonly id: Id;
  /** The primary one first, then by priority and agent. */
  readonly members: readonly SquadMember[];
  /** ISO-8601 */
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type SquadUse = 'bindings' | 'rules';

/** A squad with its agents as a conversation works with them. */
export type SquadPlan = {
  readonly squadId: Id;
  readonly members: readonly (SquadMemberFields & { readonly agent: AgentConfig })[];
  readonly transfers: readonly SquadTransfer[];
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. A key with `agent_ids` sees the squads of which it sees every member. */
export type Squads = {
  create(actor: Actor, squad: SquadFields): Promise<Written<StoredSquad>>;
  /** Newest first. */
  list(actor: Actor, page: PageQuery): Promise<Page<StoredSquad>>;
  get(actor: Actor, id: Id): Promise<StoredSquad | null>;
  /** Null: no such squad. */
  replace(actor: Actor, id: Id, squad: SquadFields): Promise<Written<StoredSquad> | null>;
  /** Null: no such squad. Else what still names it, by how many; nothing = it is gone. */
  remove(actor: Actor, id: Id): Promise<ReadonlyMap<SquadUse, number> | null>;
  /** At most 1 s old; older while the database is away. Null: no such squad. */
  plan(accountId: Id, id: Id): Promise<SquadPlan | null>;
};

type SquadRow = {
  readonly id: Id;
  readonly name: string;
  readonly transfers: readonly SquadTransfer[];
  readonly members: readonly {
    readonly agent_id: Id;
    readonly agent_name: string;
    readonly role: SquadRole;
    readonly skills: readonly string[];
    readonly priority: number;
  }[];
  readonly created_at: Date;
  readonly updated_at: Date;
};

const ORDER = "(m.role = 'primary') DESC, m.priority, m.agent_id";
const COLUMNS = `s.id, s.name, s.transfers, s.created_at, s.updated_at, (
  SELECT coalesce(jsonb_agg(jsonb_build_object('agent_id', m.agent_id, 'agent_name', a.name, 'role', m.role,
           'skills', to_jsonb(m.skills), 'priority', m.priority) ORDER BY ${ORDER}), '[]'::jsonb)
    FROM squad_members m JOIN agents a ON a.id = m.agent_id AND a.user_id = m.user_id
   WHERE m.squad_id = s.id AND m.user_id = s.user_id) AS members`;

const FRESH_MS = 1_000;
const PATIENCE_MS = 200;

export function createSquads(options: {
  readonly database: Database;
  readonly log: Log;
  readonly clock?: Clock;
}): Squads {
  const { database, log, clock } = options;
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  const plans = new StaleCache<SquadPlan | null>({
    ...{ name: 'squads', log, freshMs: FRESH_MS, patienceMs: PATIENCE_MS },
    ...(clock === undefined ? {} : { clock }),
  });
  return {
    create: (actor, squad) => as(actor, (sql) => createSquad(sql, actor, squad)),
    list: (actor, page) =>
      as(actor, (sql) => {
        const source = { columns: COLUMNS, tables: 'squads s', key: 's.created_at' };
        const where = visible(actor);
        return readPage(
          sql,
          { ...source, keyType: 'timestamptz', id: 's.id' },
          where,
          page,
          squadOf,
        );
      }),
    get: (actor, id) => as(actor, (sql) => readSquad(sql, actor, id, '')),
    replace: (actor, id, squad) => as(actor, (sql) => replaceSquad(sql, actor, id, squad)),
    remove: (actor, id) => as(actor, (sql) => removeSquad(sql, actor, id)),
    plan: (accountId, id) =>
      plans.get(`${accountId} ${id}`, () =>
        database.withSystem((sql) => readPlan(sql, accountId, id)),
      ),
  };
}

async function createSquad(
  sql: Sql,
  actor: Actor,
  squad: SquadFields,
): Promise<Written<StoredSquad>> {
  const missing = await missingAgents(sql, actor, squad);
  if (missing.length > 0) return { ok: false, missing };
  const [row] = await sql.rows<{ id: Id }>(
    'INSERT INTO squads (user_id, name, transfers) VALUES ($1, $2, $3) RETURNING id',
    [actor.accountId, squad.name, JSON.stringify(squad.transfers)],
  );
  return written(sql, actor, { id: row?.id as Id, verb: 'create', squad });
}

async function replaceSquad(
  sql: Sql,
  actor: Actor,
  id: Id,
  squad: SquadFields,
): Promise<Written<StoredSquad> | null> {
  if ((await readSquad(sql, actor, id, 'FOR NO KEY UPDATE')) === null) return null;
  const missing = await missingAgents(sql, actor, squad);
  if (missing.length > 0) return { ok: false, missing };
  await sql.run(
    `UPDATE squads SET name = $3, transfers = $4, updated_at = clock_timestamp()
      WHERE user_id = $1 AND id = $2`,
    [actor.accountId, id, squad.name, JSON.stringify(squad.transfers)],
  );
  await sql.run('DELETE FROM squad_members WHERE user_id = $1 AND squad_id = $2', [
    actor.accountId,
    id,
  ]);
  return written(sql, actor, { id, verb: 'update', squad });
}

/** The members, the audit row, and the squad as it is now. */
async function written(
  sql: Sql,
  actor: Actor,
  change: { readonly id: Id; readonly verb: 'create' | 'update'; readonly squad: SquadFields },
): Promise<Written<StoredSquad>> {
  const { id, verb, squad } = change;
  const rows = squad.members.map(({ agentId, ...rest }) => ({ agent_id: agentId, ...rest }));
  await sql.run(
    `INSERT INTO squad_members (squad_id, agent_id, user_id, role, skills, priority)
     SELECT $1, m.agent_id, $2, m.role, m.skills, m.priority FROM jsonb_to_recordset($3::jsonb)
       AS m(agent_id uuid, role text, skills text[], priority integer)`,
    [id, actor.accountId, JSON.stringify(rows)],
  );
  const agents = squad.members.map(({ agentId }) => agentId);
  await audit(sql, actor, verb, id, { name: squad.name, agents });
  return { ok: true, value: (await readSquad(sql, actor, id, '')) as StoredSquad };
}

async function removeSquad(
  sql: Sql,
  actor: Actor,
  id: Id,
): Promise<ReadonlyMap<SquadUse, number> | null> {
  // The lock waits for whoever is just naming the squad, and whoever comes next finds it deleted.
  if ((await readSquad(sql, actor, id, 'FOR UPDATE')) === null) return null;
  const rows = await sql.rows<{ what: SquadUse; n: number }>(
    `SELECT 'bindings' AS what, count(*)::int AS n FROM agent_bindings WHERE user_id = $1 AND squad_id = $2
      UNION ALL SELECT 'rules', count(*)::int FROM call_answer_rules
        WHERE user_id = $1 AND lower(action ->> 'squadId') = $2::text`,
    [actor.accountId, id],
  );
  const uses = new Map(rows.filter(({ n }) => n > 0).map(({ what, n }) => [what, n]));
  if (uses.size > 0) return uses;
  await sql.run(
    'UPDATE squads SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE user_id = $1 AND id = $2',
    [actor.accountId, id],
  );
  await audit(sql, actor, 'delete', id, {});
  return uses;
}

async function readSquad(
  sql: Sql,
  actor: Actor,
  id: Id,
  lock: '' | 'FOR UPDATE' | 'FOR NO KEY UPDATE',
): Promise<StoredSquad | null> {
  const where = visible(actor).add('s.id = ?', id);
  const [row] = await sql.rows<SquadRow>(
    `SELECT ${COLUMNS} FROM squads s WHERE ${where.text} ${lock}`,
    where.values,
  );
  return row === undefined ? null : squadOf(row);
}

async function readPlan(sql: Sql, accountId: Id, id: Id): Promise<SquadPlan | null> {
  type Row = AgentRow & Pick<SquadRow, 'transfers'> & Omit<SquadRow['members'][number], 'agent_id'>;
  const rows = await sql.rows<Row>(
    `SELECT ${AGENT_COLUMNS}, s.transfers, m.role, m.skills, m.priority
       FROM squads s JOIN squad_members m ON m.squad_id = s.id AND m.user_id = s.user_id
       JOIN agents a ON a.id = m.agent_id AND a.user_id = s.user_id AND a.deleted_at IS NULL
       LEFT JOIN account_settings t ON t.user_id = s.user_id
      WHERE s.user_id = $1 AND s.id = $2 AND s.deleted_at IS NULL ORDER BY ${ORDER}`,
    [accountId, id],
  );
  const members = rows.map((row) => {
    const { role, skills, priority } = row;
    return { agentId: row.id, role, skills, priority, agent: agentOf(row) };
  });
  if (members[0]?.role !== 'primary') return null;
  return { squadId: id, members, transfers: rows[0]?.transfers ?? [] };
}

/** Found ones are locked: an agent that is just being deleted is not. */
function missingAgents(sql: Sql, actor: Actor, squad: SquadFields): Promise<Id[]> {
  return missingOf(sql, actor, { agents: squad.members.map(({ agentId }) => agentId) });
}

function visible(actor: Actor): Where {
  return new Where()
    .add('s.user_id = ?', actor.accountId)
    .add('s.deleted_at IS NULL')
    .addUnlessNull(
      `NOT EXISTS (SELECT FROM squad_members v WHERE v.squad_id = s.id AND v.user_id = s.user_id
                    AND v.agent_id <> ALL (?::uuid[]))`,
      actor.agentIds,
    );
}

async function audit(
  sql: Sql,
  actor: Actor,
  verb: 'create' | 'update' | 'delete',
  targetId: Id,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  await writeAudit(sql, actor, { action: `squad.${verb}`, targetType: 'squad', targetId, changes });
}

function squadOf(row: SquadRow): StoredSquad {
  return {
    ...{ id: row.id, name: row.name, transfers: row.transfers },
    members: row.members.map((member) => ({
      ...{ agentId: member.agent_id, agentName: member.agent_name, role: member.role },
      ...{ skills: member.skills, priority: member.priority },
    })),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
