/** Agents as people write them (contract 2.3): kept whole, deleted softly, not while something names them. */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { chooseAgent, type AgentChoice } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { missingOf, type Written } from './references.ts';

/** `config` is the Agent shape of the contract without id, name and times; absent values are absent. */
export type AgentConfigJson = Readonly<Record<string, unknown>>;

export type StoredAgent = {
  readonly id: Id;
  readonly name: string;
  readonly config: AgentConfigJson;
  /** ISO-8601 */
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type AgentFields = { readonly name: string; readonly config: AgentConfigJson };

export type AgentUse = 'bindings' | 'rules' | 'squads' | 'extensions' | 'campaigns';

export type AgentAdmin = {
  /** `configIds`: accounts at vendors that the agent names. */
  create(actor: Actor, agent: AgentFields, configIds: readonly Id[]): Promise<Written<StoredAgent>>;
  /** Newest first. `search` is a part of the name. */
  list(actor: Actor, page: PageQuery, search: string | null): Promise<Page<StoredAgent>>;
  get(actor: Actor, id: Id): Promise<StoredAgent | null>;
  /** `change` sees the agent as it is and gives it as it will be. Null: no such agent. */
  update(
    actor: Actor,
    id: Id,
    change: (known: StoredAgent) => AgentFields,
    configIds: readonly Id[],
  ): Promise<Written<StoredAgent> | null>;
  /** Null: no such agent. Else what still names it, by how many; nothing = it is gone. */
  remove(actor: Actor, id: Id): Promise<ReadonlyMap<AgentUse, number> | null>;
  /** Which agent a call would meet, without making one. */
  preview(actor: Actor, choice: AgentChoice): Promise<{ id: Id; name: string } | null>;
};

type AgentAdminRow = {
  readonly id: Id;
  readonly name: string;
  readonly config: AgentConfigJson;
  readonly created_at: Date;
  readonly updated_at: Date;
};

const COLUMNS = 'a.id, a.name, a.config, a.created_at, a.updated_at';
const RETURNING = 'RETURNING id, name, config, created_at, updated_at';

/** `countryCode`: the installation's. */
export function createAgentAdmin(database: Database, countryCode: string | null): AgentAdmin {
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    create: (actor, agent, configIds) =>
      as(actor, (sql) => createAgent(sql, actor, agent, configIds)),
    list: (actor, page, search) => as(actor, (sql) => listAgents(sql, actor, page, search)),
    get: (actor, id) => as(actor, (sql) => readAgent(sql, actor, id, '')),
    update: (actor, id, change, configIds) =>
      as(actor, async (sql) => {
        const known = await readAgent(sql, actor, id, 'FOR NO KEY UPDATE');
        return known === null
          ? null
          : updateAgent(sql, actor, { id, agent: change(known), configIds });
      }),
    remove: (actor, id) => as(actor, (sql) => removeAgent(sql, actor, id)),
    preview: (actor, choice) =>
      as(actor, async (sql) => {
        const chosen = await chooseAgent(sql, actor.accountId, choice, countryCode);
        return chosen === null ? null : { id: chosen.row.id, name: chosen.row.name };
      }),
  };
}

async function createAgent(
  sql: Sql,
  actor: Actor,
  agent: AgentFields,
  configIds: readonly Id[],
): Promise<Written<StoredAgent>> {
  const missing = await missingOf(sql, actor, { vendorConfigs: configIds });
  if (missing.length > 0) return { ok: false, missing };
  const [row] = await sql.rows<AgentAdminRow>(
    `INSERT INTO agents (user_id, name, config) VALUES ($1, $2, $3) ${RETURNING}`,
    [actor.accountId, agent.name, JSON.stringify(agent.config)],
  );
  const made = agentOf(row as AgentAdminRow);
  await audit(sql, actor, 'create', made.id, { name: agent.name });
  return { ok: true, value: made };
}

async function listAgents(
  sql: Sql,
  actor: Actor,
  page: PageQuery,
  search: string | null,
): Promise<Page<StoredAgent>> {
  const where = visible(actor);
  // `strpos` takes `%` and `_` as they are.
  where.addUnlessNull('strpos(lower(a.name), lower(?)) > 0', search);
  const source = { columns: COLUMNS, tables: 'agents a', key: 'a.created_at' };
  return readPage(sql, { ...source, keyType: 'timestamptz', id: 'a.id' }, where, page, agentOf);
}

async function readAgent(
  sql: Sql,
  actor: Actor,
  id: Id,
  lock: '' | 'FOR UPDATE' | 'FOR NO KEY UPDATE',
): Promise<StoredAgent | null> {
  const where = visible(actor).add('a.id = ?', id);
  const [row] = await sql.rows<AgentAdminRow>(
    `SELECT ${COLUMNS} FROM agents a WHERE ${where.text} ${lock}`,
    where.values,
  );
  return row === undefined ? null : agentOf(row);
}

async function updateAgent(
  sql: Sql,
  actor: Actor,
  change: { readonly id: Id; readonly agent: AgentFields; readonly configIds: readonly Id[] },
): Promise<Written<StoredAgent>> {
  const { id, agent, configIds } = change;
  const missing = await missingOf(sql, actor, { vendorConfigs: configIds });
  if (missing.length > 0) return { ok: false, missing };
  const [row] = await sql.rows<AgentAdminRow>(
    `UPDATE agents SET name = $3, config = $4, updated_at = clock_timestamp()
      WHERE user_id = $1 AND id = $2 ${RETURNING}`,
    [actor.accountId, id, agent.name, JSON.stringify(agent.config)],
  );
  await audit(sql, actor, 'update', id, { name: agent.name });
  return { ok: true, value: agentOf(row as AgentAdminRow) };
}

async function removeAgent(
  sql: Sql,
  actor: Actor,
  id: Id,
): Promise<ReadonlyMap<AgentUse, number> | null> {
  // The lock waits for whoever is just naming the agent, and whoever comes next finds it deleted.
  if ((await readAgent(sql, actor, id, 'FOR UPDATE')) === null) return null;
  const uses = await usesOf(sql, actor.accountId, id);
  if (uses.size > 0) return uses;
  await sql.run(
    'UPDATE agents SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE user_id = $1 AND id = $2',
    [actor.accountId, id],
  );
  await audit(sql, actor, 'delete', id, {});
  return uses;
}

async function usesOf(sql: Sql, accountId: Id, id: Id): Promise<Map<AgentUse, number>> {
  const rows = await sql.rows<{ what: AgentUse; n: number }>(
    `SELECT 'bindings' AS what, count(*)::int AS n FROM agent_bindings WHERE user_id = $1 AND agent_id = $2
      UNION ALL SELECT 'rules', count(*)::int FROM call_answer_rules
        WHERE user_id = $1 AND lower(action ->> 'agentId') = $2::text
      UNION ALL SELECT 'squads', count(*)::int FROM squad_members m JOIN squads s ON s.id = m.squad_id
        WHERE m.user_id = $1 AND s.user_id = $1 AND m.agent_id = $2 AND s.deleted_at IS NULL
      UNION ALL SELECT 'extensions', count(*)::int FROM extensions WHERE user_id = $1 AND agent_id = $2
      UNION ALL SELECT 'campaigns', count(*)::int FROM campaigns
        WHERE user_id = $1 AND agent_id = $2 AND status NOT IN ('completed', 'cancelled')`,
    [accountId, id],
  );
  return new Map(rows.filter(({ n }) => n > 0).map(({ what, n }) => [what, n]));
}

function visible(actor: Actor): Where {
  return new Where()
    .add('a.user_id = ?', actor.accountId)
    .add('a.deleted_at IS NULL')
    .addUnlessNull('a.id = ANY (?::uuid[])', actor.agentIds);
}

async function audit(
  sql: Sql,
  actor: Actor,
  verb: 'create' | 'update' | 'delete',
  targetId: Id,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  await writeAudit(sql, actor, { action: `agent.${verb}`, targetType: 'agent', targetId, changes });
}

function agentOf(row: AgentAdminRow): StoredAgent {
  return {
    ...{ id: row.id, name: row.name, config: row.config },
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
