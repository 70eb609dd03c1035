/** Which agent answers a call (contract 2.3), from a cache that goes on while the database is away. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { normalizePhone } from '#lib/phone.ts';
import { AGENT_COLUMNS, chooseAgent, type AgentChoice, type ChosenRow } from './agent-choice.ts';
import {
  agentOf,
  DEFAULT_AGENT_CONFIG,
  DEFAULT_AGENT_NAME,
  type AgentRow,
} from './agent-config.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Database, Sql } from './pool.ts';
import { readIfThere } from './postmaster.ts';
import { accountCountryCodes, ownerOf } from './number-owner.ts';
import { isServerAway } from './sql-errors.ts';
import { StaleCache } from './stale-cache.ts';

export type Agents = {
  forInbound(called: string): Promise<AgentConfig>;
  byId(accountId: Id, agentId: Id): Promise<AgentConfig | null>;
  defaultFor(accountId: Id): Promise<AgentConfig>;
  /** The agent named, else the one bound: see sessions/ports.ts. */
  forCall(accountId: Id, choice: AgentChoice): Promise<ChosenAgent>;
  /** The account that owns a number, else the default account. */
  accountOfNumber(called: string): Promise<Id>;
};

export type ChosenAgent = {
  readonly agent: AgentConfig;
  /** The squad that `agent` stands for. */
  readonly squadId: Id | null;
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

const FRESH_MS = 1_000;
/** Account, rules and agent are asked one after the other, all within `ROUTE_MS`. */
const PATIENCE_MS = 200;
/** A caller hears nothing until the agent is known. */
const ROUTE_MS = 800;
const NO_CHOICE = { called: null, app: null, trunkId: null } as const;

export function createAgents(options: AgentsOptions): Agents {
  const { database, log, clock } = options;
  const caching = cachingOf(options);
  const byId = new StaleCache<AgentConfig | null>({ name: 'agents', ...caching });
  const byChoice = new StaleCache<ChosenAgent>({ name: 'agents of calls', ...caching });
  const byAccount = new StaleCache<ChosenAgent>({ name: 'default agents', ...caching });
  const lastDefault = new LastDefault(path.join(options.dataDir, 'default-agent.json'), log);

  const chosenDefault = (accountId: Id): Promise<ChosenAgent> =>
    byAccount.get(accountId, async () => {
      const chosen = await database.withSystem((sql) => findOrMakeDefault(sql, accountId));
      if (accountId === (await options.defaultAccount())) await lastDefault.keep(chosen.agent);
      return chosen;
    });

  const accountOfNumber = accountsByNumber(options);

  const choose = (accountId: Id, choice: AgentChoice): Promise<ChosenAgent> => {
    const { agentId = null, squadId = null, app, trunkId } = choice;
    // What is no number is anything a stranger writes, of any length: it is bound to nobody.
    const called = choice.called === null ? null : normalizePhone(choice.called);
    const key = JSON.stringify([accountId, agentId, squadId, called, app, trunkId]);
    return byChoice.get(key, async () => {
      const found = await database.withSystem((sql) =>
        chooseAgent(sql, accountId, choice, options.countryCode),
      );
      return found === null ? chosenDefault(accountId) : chosenOf(found);
    });
  };

  const orLast = async (error: unknown, accountId: Id | null): Promise<ChosenAgent> => {
    const known = accountId === null ? undefined : byAccount.peek(accountId);
    return isServerAway(error) && known !== undefined
      ? known
      : lastDefault.instead(error, accountId);
  };

  const forCall = async (accountId: Id, choice: AgentChoice): Promise<ChosenAgent> => {
    try {
      return await withDeadline(choose(accountId, choice), ROUTE_MS, 'finding the agent', clock);
    } catch (error) {
      return orLast(error, accountId);
    }
  };

  return {
    defaultFor: async (accountId) => (await chosenDefault(accountId)).agent,
    byId: (accountId, agentId) =>
      byId.get(`${accountId} ${agentId}`, () =>
        database.withSystem((sql) => findById(sql, accountId, agentId)),
      ),
    forCall,
    accountOfNumber,
    async forInbound(called) {
      const routed = async (): Promise<ChosenAgent> =>
        choose(await accountOfNumber(called), { ...NO_CHOICE, called });
      try {
        return (await withDeadline(routed(), ROUTE_MS, 'finding the agent', clock)).agent;
      } catch (error) {
        return (await orLast(error, null)).agent;
      }
    },
  };
}

/** The account that owns a number, else the default account: also when nobody can be asked. */
function accountsByNumber(options: AgentsOptions): Agents['accountOfNumber'] {
  const { database, clock, countryCode } = options;
  const caching = cachingOf(options);
  const byNumber = new StaleCache<Id>({ name: 'accounts of numbers', ...caching });
  const codes = new StaleCache<readonly string[]>({ name: 'country codes', ...caching });
  const ownerOfNumber = (called: string): Promise<Id> =>
    byNumber.get(normalizePhone(called) ?? '', async () => {
      const owner = await database.withSystem(async (sql) => {
        const known = await codes.get('all', () => accountCountryCodes(sql));
        return ownerOf(sql, called, known, countryCode);
      });
      return owner ?? options.defaultAccount();
    });
  return async (called) => {
    try {
      return await withDeadline(ownerOfNumber(called), ROUTE_MS, 'finding the account', clock);
    } catch (error) {
      if (!isServerAway(error)) throw error;
      return options.defaultAccount(); // its rules are known, and better than none
    }
  };
}

function cachingOf({ log, clock }: AgentsOptions) {
  const times = { freshMs: FRESH_MS, patienceMs: PATIENCE_MS };
  return { log, ...times, ...(clock === undefined ? {} : { clock }) };
}

async function findById(sql: Sql, accountId: Id, agentId: Id): Promise<AgentConfig | null> {
  const [row] = await sql.rows<AgentRow>(
    `SELECT ${AGENT_COLUMNS} FROM agents a LEFT JOIN account_settings t ON t.user_id = a.user_id
      WHERE a.user_id = $1 AND a.id = $2 AND a.deleted_at IS NULL`,
    [accountId, agentId],
  );
  return row === undefined ? null : agentOf(row);
}

/** An account's first need of an agent makes `Default agent` and its binding. */
async function findOrMakeDefault(sql: Sql, accountId: Id): Promise<ChosenAgent> {
  const known = await chooseAgent(sql, accountId, NO_CHOICE, null);
  if (known !== null) return chosenOf(known);
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard default agent ${accountId}`,
  ]);
  const meanwhile = await chooseAgent(sql, accountId, NO_CHOICE, null);
  if (meanwhile !== null) return chosenOf(meanwhile);
  const [made] = await sql.rows<{ id: Id }>(
    'INSERT INTO agents (user_id, name, config) VALUES ($1, $2, $3) RETURNING id',
    [accountId, DEFAULT_AGENT_NAME, JSON.stringify(DEFAULT_AGENT_CONFIG)],
  );
  await sql.run(
    `INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'default', '', $2)
     ON CONFLICT (user_id, kind, value) DO UPDATE SET agent_id = EXCLUDED.agent_id, squad_id = NULL, updated_at = now()`,
    [accountId, made?.id],
  );
  const agent = await chooseAgent(sql, accountId, NO_CHOICE, null);
  if (agent === null) throw new AppError('E_DATABASE', 'the default agent could not be made');
  return chosenOf(agent);
}

function chosenOf({ row, squadId }: ChosenRow): ChosenAgent {
  return { agent: agentOf(row), squadId };
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

  /** A call never seen before, and no database to ask: the default agent is better than no answer. Errors: `error`. */
  async instead(error: unknown, accountId: Id | null): Promise<ChosenAgent> {
    const agent = isServerAway(error) ? await this.#read() : null;
    if (agent === null || (accountId !== null && agent.accountId !== accountId)) throw error;
    return { agent, squadId: null };
  }

  async #read(): Promise<AgentConfig | null> {
    try {
      const text = await readIfThere(this.#file);
      return text === null ? null : (JSON.parse(text) as AgentConfig);
    } catch (error) {
      this.#log.warn('agent.notRead', { message: messageOf(error) });
      return null;
    }
  }
}
