/** Which agent answers a call (contract 2.3), from a cache that goes on while the database is away. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { comparablePhone, normalizePhone } from '#lib/phone.ts';
import {
  agentOf,
  DEFAULT_AGENT_CONFIG,
  DEFAULT_AGENT_NAME,
  type AgentRow,
} from './agent-config.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Database, Sql } from './pool.ts';
import { readIfThere } from './postmaster.ts';
import { isServerAway } from './sql-errors.ts';
import { StaleCache } from './stale-cache.ts';

export type Agents = {
  forInbound(called: string): Promise<AgentConfig>;
  byId(accountId: Id, agentId: Id): Promise<AgentConfig | null>;
  defaultFor(accountId: Id): Promise<AgentConfig>;
};

export type AgentsOptions = {
  readonly database: Database;
  /** The account of calls to numbers that belong to nobody. */
  readonly defaultAccount: () => Promise<Id>;
  readonly countryCode: string | null;
  /** The last default agent is kept here, for a start without the database. */
  readonly dataDir: string;
  readonly log: Log;
  readonly clock?: Clock;
};

type Binding = { user_id: Id; agent_id: Id | null; squad_id: Id | null };

const FRESH_MS = 1_000;
/** A caller hears nothing until the agent is known. */
const ROUTE_MS = 800;
const AGENT_COLUMNS = `a.id, a.user_id, a.name, a.config, s.language AS account_language
  FROM agents a LEFT JOIN account_settings s ON s.user_id = a.user_id`;

export function createAgents(options: AgentsOptions): Agents {
  const { database, log, clock } = options;
  const caching = { log, freshMs: FRESH_MS, ...(clock === undefined ? {} : { clock }) };
  const byId = new StaleCache<AgentConfig | null>({ name: 'agents', ...caching });
  const byNumber = new StaleCache<AgentConfig>({ name: 'agents of numbers', ...caching });
  const byAccount = new StaleCache<AgentConfig>({ name: 'default agents', ...caching });
  const lastDefault = new LastDefault(path.join(options.dataDir, 'default-agent.json'), log);

  const defaultFor = (accountId: Id): Promise<AgentConfig> =>
    byAccount.get(accountId, async () => {
      const agent = await database.withSystem((sql) => findOrMakeDefault(sql, accountId));
      if (accountId === (await options.defaultAccount())) await lastDefault.keep(agent);
      return agent;
    });

  const routed = async (called: string): Promise<AgentConfig> => {
    const numbers = candidateNumbers(called, options.countryCode);
    const defaultAccount = await options.defaultAccount();
    const found = await database.withSystem(async (sql) => {
      const accountId = (await ownerOf(sql, numbers)) ?? defaultAccount;
      return { accountId, agent: await findByNumber(sql, accountId, numbers) };
    });
    return found.agent ?? (await defaultFor(found.accountId));
  };

  return {
    defaultFor,
    byId: (accountId, agentId) =>
      byId.get(`${accountId} ${agentId}`, () =>
        database.withSystem((sql) => findById(sql, accountId, agentId)),
      ),
    async forInbound(called) {
      try {
        return await withDeadline(
          byNumber.get(called, () => routed(called)),
          ROUTE_MS,
          'finding the agent',
          clock,
        );
      } catch (error) {
        // A number never called before, and no database to ask: the default agent is better than no answer.
        const agent = isServerAway(error) ? await lastDefault.read() : null;
        if (agent === null) throw error;
        return agent;
      }
    },
  };
}

/** The ways in which a dialled number may have been written into a table. */
export function candidateNumbers(called: string, countryCode: string | null): string[] {
  const normal = normalizePhone(called) ?? called;
  return [
    ...new Set([normal, comparablePhone(normal, countryCode), `+${normal.replace(/^\+/, '')}`]),
  ];
}

async function ownerOf(sql: Sql, numbers: readonly string[]): Promise<Id | null> {
  const [owner] = await sql.rows<{ user_id: Id }>(
    "SELECT user_id FROM phone_numbers WHERE number = ANY ($1) AND status <> 'released' ORDER BY created_at LIMIT 1",
    [numbers],
  );
  return owner?.user_id ?? null;
}

/** Bindings of the number's own account only: another account must not draw its calls. */
async function findByNumber(
  sql: Sql,
  accountId: Id,
  numbers: readonly string[],
): Promise<AgentConfig | null> {
  const [binding] = await sql.rows<Binding>(
    `SELECT user_id, agent_id, squad_id FROM agent_bindings
      WHERE user_id = $1 AND kind = 'number' AND value = ANY ($2) ORDER BY created_at, id LIMIT 1`,
    [accountId, numbers],
  );
  return binding === undefined ? null : findBound(sql, binding);
}

async function findBound(sql: Sql, binding: Binding): Promise<AgentConfig | null> {
  // A squad stands for its primary member.
  const [row] = await sql.rows<AgentRow>(
    `SELECT ${AGENT_COLUMNS} WHERE a.user_id = $1 AND a.deleted_at IS NULL AND a.id = coalesce($2::uuid,
       (SELECT m.agent_id FROM squad_members m WHERE m.squad_id = $3::uuid AND m.role = 'primary'))`,
    [binding.user_id, binding.agent_id, binding.squad_id],
  );
  return row === undefined ? null : agentOf(row);
}

async function findById(sql: Sql, accountId: Id, agentId: Id): Promise<AgentConfig | null> {
  return findBound(sql, { user_id: accountId, agent_id: agentId, squad_id: null });
}

/** An account's first need of an agent makes `Default agent` and its binding. */
async function findOrMakeDefault(sql: Sql, accountId: Id): Promise<AgentConfig> {
  const known = await findDefault(sql, accountId);
  if (known !== null) return known;
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard default agent ${accountId}`,
  ]);
  const meanwhile = await findDefault(sql, accountId);
  if (meanwhile !== null) return meanwhile;
  const [made] = await sql.rows<{ id: Id }>(
    'INSERT INTO agents (user_id, name, config) VALUES ($1, $2, $3) RETURNING id',
    [accountId, DEFAULT_AGENT_NAME, JSON.stringify(DEFAULT_AGENT_CONFIG)],
  );
  await sql.run(
    `INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'default', '', $2)
     ON CONFLICT (user_id, kind, value) DO UPDATE SET agent_id = EXCLUDED.agent_id, squad_id = NULL, updated_at = now()`,
    [accountId, made?.id],
  );
  const agent = await findDefault(sql, accountId);
  if (agent === null) throw new AppError('E_DATABASE', 'the default agent could not be made');
  return agent;
}

async function findDefault(sql: Sql, accountId: Id): Promise<AgentConfig | null> {
  const [binding] = await sql.rows<Binding>(
    "SELECT user_id, agent_id, squad_id FROM agent_bindings WHERE user_id = $1 AND kind = 'default'",
    [accountId],
  );
  return binding === undefined ? null : findBound(sql, binding);
}

/** The default agent as last seen, on disk. */
class LastDefault {
  readonly #file: string;
  readonly #log: Log;
  #kept = '';

  constructor(file: string, log: Log) {
    this.#file = file;
    this.#log = log;
  }

  async keep(agent: AgentConfig): Promise<void> {
    const text = JSON.stringify(agent);
    if (text === this.#kept) return;
    this.#kept = text;
    try {
      await mkdir(path.dirname(this.#file), { recursive: true, mode: 0o700 });
      await writeFile(`${this.#file}.partial`, text, { mode: 0o600 });
      await rename(`${this.#file}.partial`, this.#file);
    } catch (error) {
      this.#log.warn('agent.notKept', { message: messageOf(error) });
    }
  }

  async read(): Promise<AgentConfig | null> {
    try {
      const text = await readIfThere(this.#file);
      return text === null ? null : (JSON.parse(text) as AgentConfig);
    } catch (error) {
      this.#log.warn('agent.notRead', { message: messageOf(error) });
      return null;
    }
  }
}
