/** Answer rules: kept for requests, and read for calls from a cache that goes on while the database is away. */
import type { Actor } from '#lib/actor.ts';
import type {
  AccountCalendar,
  AnswerDefault,
  AnswerRule,
  Holiday,
  NumberList,
  RoutingRules,
} from '#lib/answer-rule.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { comparablePhone } from '#lib/phone.ts';
import { isTimeZone } from '#lib/wall-time.ts';
import type { AccountDefaults } from './accounts.ts';
import { countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';
import { missingOf, type Named, type Written } from './references.ts';
import { StaleCache } from './stale-cache.ts';

export type RuleFields = Pick<
  AnswerRule,
  'name' | 'enabled' | 'priority' | 'conditions' | 'action'
>;

export type ReorderFault = 'missing' | 'unknown';

export type AnswerRules = {
  /** In evaluation order. `enabled` null: all. */
  list(actor: Actor, enabled: boolean | null): Promise<AnswerRule[]>;
  get(actor: Actor, id: Id): Promise<AnswerRule | null>;
  /** `full`: the account has 500 already. */
  create(actor: Actor, rule: RuleFields): Promise<Written<AnswerRule> | 'full'>;
  /** Null: no such rule. */
  update(actor: Actor, id: Id, changes: Partial<RuleFields>): Promise<Written<AnswerRule> | null>;
  remove(actor: Actor, id: Id): Promise<boolean>;
  /** Priorities 1..n in this order; `unknown` ids of `ids`, or `missing` ones of the account, change nothing. */
  reorder(
    actor: Actor,
    ids: readonly Id[],
  ): Promise<AnswerRule[] | { readonly fault: ReorderFault; readonly ids: readonly Id[] }>;
  /** The stored rules and the calendar as they are now, for a dry run. */
  routing(actor: Actor): Promise<RoutingRules>;
  missing(actor: Actor, named: Named): Promise<Id[]>;
  /** For calls: at most 500 ms old, older while the database is away. Never rejects; see sessions/ports.ts. */
  forRouting(accountId: Id): Promise<RoutingRules>;
};

export type AnswerRulesOptions = {
  readonly database: Database;
  /** What holds for an account whose settings were never read. */
  readonly defaults: AccountDefaults;
  readonly log: Log;
  readonly clock?: Clock;
};

export const MAX_RULES = 500;
const FRESH_MS = 500;
/** A caller hears nothing until the rules are known. */
const ROUTE_MS = 800;
const COLUMNS = 'id, name, enabled, priority, conditions, action, created_at, updated_at';
const ORDER = 'ORDER BY priority, created_at, id';
/** A key that sees some agents alone sees the rules that name one of them. `$3` is its list, null for all. */
const VISIBLE = "($3::text[] IS NULL OR action ->> 'agentId' = ANY ($3::text[]))";

type RuleRow = {
  readonly id: Id;
  readonly name: string;
  readonly enabled: boolean;
  readonly priority: number;
  readonly conditions: AnswerRule['conditions'];
  readonly action: AnswerRule['action'];
  readonly created_at: Date;
  readonly updated_at: Date;
};

export function createAnswerRules(options: AnswerRulesOptions): AnswerRules {
  const { database, defaults } = options;
  const { countryCode } = defaults;
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor, enabled) =>
      as(actor, (sql) => readRules(sql, actor.accountId, enabled, actor.agentIds)),
    get: (actor, id) => as(actor, (sql) => readRule(sql, actor, id, '')),
    create: (actor, rule) => as(actor, (sql) => createRule(sql, actor, rule, countryCode)),
    update: (actor, id, changes) =>
      as(actor, (sql) => updateRule(sql, actor, { id, changes, countryCode })),
    remove: (actor, id) => as(actor, (sql) => removeRule(sql, actor, id)),
    reorder: (actor, ids) => as(actor, (sql) => reorderRules(sql, actor, ids)),
    routing: (actor) =>
      as(actor, async (sql) => ({
        accountId: actor.accountId,
        calendar: await readCalendar(sql, actor.accountId, options),
        rules: await readRules(sql, actor.accountId, true),
      })),
    missing: (actor, named) => as(actor, (sql) => missingOf(sql, actor, named)),
    forRouting: routingReader(options),
  };
}

/** Keeps one object for as long as nothing changed, so that its compiled form is kept with it. */
function routingReader(options: AnswerRulesOptions): AnswerRules['forRouting'] {
  const { database, log, clock } = options;
  const clocked = clock === undefined ? {} : { clock };
  type Kept = { readonly version: string; readonly routing: RoutingRules };
  const cache = new StaleCache<Kept>({
    ...{ name: 'answer rules', log, freshMs: FRESH_MS },
    ...clocked,
  });
  const load = (accountId: Id): Promise<Kept> =>
    database.withSystem(async (sql) => {
      const version = await readVersion(sql, accountId);
      const known = cache.peek(accountId);
      if (known?.version === version) return known;
      const calendar = await readCalendar(sql, accountId, options);
      return {
        version,
        routing: { accountId, calendar, rules: await readRules(sql, accountId, true) },
      };
    });
  return async (accountId) => {
    try {
      const kept = await withDeadline(
        cache.get(accountId, () => load(accountId)),
        ROUTE_MS,
        'reading the answer rules',
        clock,
      );
      return kept.routing;
    } catch (error) {
      const known = cache.peek(accountId);
      // A call is not lost because its rules cannot be read: it is answered as by an account without any.
      log.warn('rules.notRead', { accountId, hasOlder: known !== undefined, error });
      return known?.routing ?? { accountId, calendar: calendarOf(undefined, options), rules: [] };
    }
  };
}

/** Changes with every write to a rule or to the settings, and costs no reading of the rules themselves. */
async function readVersion(sql: Sql, accountId: Id): Promise<string> {
  const [row] = await sql.rows<{ rules: string | null; settings: string | null }>(
    `SELECT (SELECT md5(string_agg(id::text || xmin::text || ctid::text, ' ' ORDER BY id))
               FROM call_answer_rules WHERE user_id = $1) AS rules,
            (SELECT xmin::text || ctid::text FROM account_settings WHERE user_id = $1) AS settings`,
    [accountId],
  );
  return `${row?.rules ?? ''} ${row?.settings ?? ''}`;
}

type CalendarRow = {
  timezone: string;
  country_code: string | null;
  holidays: unknown;
  answer_default: AnswerDefault;
};

async function readCalendar(
  sql: Sql,
  accountId: Id,
  options: AnswerRulesOptions,
): Promise<AccountCalendar> {
  const [row] = await sql.rows<CalendarRow>(
    'SELECT timezone, country_code, holidays, answer_default FROM account_settings WHERE user_id = $1',
    [accountId],
  );
  return calendarOf(row, options);
}

function calendarOf(
  row: CalendarRow | undefined,
  { defaults, log }: AnswerRulesOptions,
): AccountCalendar {
  const { timezone, countryCode } = defaults;
  if (row === undefined) return { timezone, countryCode, holidays: [], answerDefault: 'agent' };
  const isKnown = isTimeZone(row.timezone);
  if (!isKnown) log.warn('rules.timezoneUnknown', { timezone: row.timezone });
  return {
    timezone: isKnown ? row.timezone : timezone,
    countryCode: row.country_code,
    holidays: Array.isArray(row.holidays) ? (row.holidays as Holiday[]) : [],
    answerDefault: row.answer_default,
  };
}

async function readRules(
  sql: Sql,
  accountId: Id,
  enabled: boolean | null,
  agentIds: readonly Id[] | null = null,
): Promise<AnswerRule[]> {
  const rows = await sql.rows<RuleRow>(
    `SELECT ${COLUMNS} FROM call_answer_rules
      WHERE user_id = $1 AND ($2::boolean IS NULL OR enabled = $2) AND ${VISIBLE} ${ORDER}`,
    [accountId, enabled, agentIds],
  );
  return rows.map(ruleOf);
}

async function readRule(
  sql: Sql,
  actor: Actor,
  id: Id,
  lock: '' | 'FOR UPDATE',
): Promise<AnswerRule | null> {
  const [row] = await sql.rows<RuleRow>(
    `SELECT ${COLUMNS} FROM call_answer_rules WHERE user_id = $1 AND id = $2 AND ${VISIBLE} ${lock}`,
    [actor.accountId, id, actor.agentIds],
  );
  return row === undefined ? null : ruleOf(row);
}

async function createRule(
  sql: Sql,
  actor: Actor,
  rule: RuleFields,
  countryCode: string | null,
): Promise<Written<AnswerRule> | 'full'> {
  const missing = await missingOf(sql, actor, namedBy(rule.action));
  if (missing.length > 0) return { ok: false, missing };
  await lockRules(sql, actor.accountId);
  const [count] = await sql.rows<{ n: number }>(
    'SELECT count(*)::int AS n FROM call_answer_rules WHERE user_id = $1',
    [actor.accountId],
  );
  if ((count?.n ?? 0) >= MAX_RULES) return 'full';
  const [row] = await sql.rows<RuleRow>(
    `INSERT INTO call_answer_rules (user_id, name, enabled, priority, conditions, action, created_at, updated_at)
     VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), clock_timestamp()) RETURNING ${COLUMNS}`,
    [actor.accountId, ...valuesOf(await withCountry(sql, actor.accountId, rule, countryCode))],
  );
  const made = ruleOf(row as RuleRow);
  await audit(sql, actor, 'create', made.id, rule);
  return { ok: true, value: made };
}

async function updateRule(
  sql: Sql,
  actor: Actor,
  change: {
    readonly id: Id;
    readonly changes: Partial<RuleFields>;
    readonly countryCode: string | null;
  },
): Promise<Written<AnswerRule> | null> {
  const { id, changes, countryCode } = change;
  const known = await readRule(sql, actor, id, 'FOR UPDATE');
  if (known === null) return null;
  // An agent that went missing later does not stand in the way of a change of another field.
  const named = changes.action === undefined ? {} : namedBy(changes.action);
  const missing = await missingOf(sql, actor, named);
  if (missing.length > 0) return { ok: false, missing };
  const rule = await withCountry(sql, actor.accountId, { ...known, ...changes }, countryCode);
  const [row] = await sql.rows<RuleRow>(
    `UPDATE call_answer_rules SET name = $3, enabled = $4, priority = $5, conditions = $6, action = $7,
            updated_at = clock_timestamp()
      WHERE user_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
    [actor.accountId, id, ...valuesOf(rule)],
  );
  await audit(sql, actor, 'update', id, changes);
  return { ok: true, value: ruleOf(row as RuleRow) };
}

async function removeRule(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const removed = await sql.run(
    `DELETE FROM call_answer_rules WHERE user_id = $1 AND id = $2 AND ${VISIBLE}`,
    [actor.accountId, id, actor.agentIds],
  );
  if (removed > 0) await audit(sql, actor, 'delete', id, {});
  return removed > 0;
}

async function reorderRules(
  sql: Sql,
  actor: Actor,
  ids: readonly Id[],
): Promise<AnswerRule[] | { fault: ReorderFault; ids: Id[] }> {
  await lockRules(sql, actor.accountId);
  const known = new Set((await readRules(sql, actor.accountId, null)).map((rule) => rule.id));
  const unknown = ids.filter((id) => !known.has(id));
  if (unknown.length > 0) return { fault: 'unknown', ids: unknown };
  const missing = [...known].filter((id) => !ids.includes(id));
  if (missing.length > 0) return { fault: 'missing', ids: missing };
  await sql.run(
    `UPDATE call_answer_rules r SET priority = o.place, updated_at = clock_timestamp()
       FROM unnest($2::uuid[]) WITH ORDINALITY AS o (id, place)
      WHERE r.user_id = $1 AND r.id = o.id AND r.priority <> o.place`,
    [actor.accountId, ids],
  );
  await writeAudit(sql, actor, {
    ...{ action: 'answer_rule.reorder', targetType: 'answer_rule' },
    changes: { ids },
  });
  return readRules(sql, actor.accountId, null);
}

/** Numbers are stored with the account's country code, where it has one. */
async function withCountry(
  sql: Sql,
  accountId: Id,
  rule: RuleFields,
  standardCode: string | null,
): Promise<RuleFields> {
  const countryCode = await countryCodeOf(sql, accountId, standardCode);
  const { callers, calledNumbers, ...others } = rule.conditions;
  const complete = <L extends NumberList>(list: L): L => ({
    ...list,
    ...(list.numbers === undefined
      ? {}
      : { numbers: list.numbers.map((number) => comparablePhone(number, countryCode)) }),
  });
  const conditions = {
    ...others,
    ...(callers === undefined ? {} : { callers: complete(callers) }),
    ...(calledNumbers === undefined ? {} : { calledNumbers: complete(calledNumbers) }),
  };
  return { ...rule, conditions };
}

/** One at a time counts or reorders the rules of an account. */
async function lockRules(sql: Sql, accountId: Id): Promise<void> {
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard answer rules ${accountId}`,
  ]);
}

function namedBy({ agentId, squadId }: AnswerRule['action']): Named {
  return {
    ...(agentId === undefined ? {} : { agents: [agentId] }),
    ...(squadId === undefined ? {} : { squads: [squadId] }),
  };
}

function valuesOf(rule: RuleFields): unknown[] {
  const { name, enabled, priority, conditions, action } = rule;
  return [name, enabled, priority, JSON.stringify(conditions), JSON.stringify(action)];
}

async function audit(
  sql: Sql,
  actor: Actor,
  verb: 'create' | 'update' | 'delete',
  id: Id,
  changes: object,
): Promise<void> {
  await writeAudit(sql, actor, {
    ...{ action: `answer_rule.${verb}`, targetType: 'answer_rule', targetId: id },
    changes: { ...changes },
  });
}

function ruleOf(row: RuleRow): AnswerRule {
  return {
    ...{ id: row.id, name: row.name, enabled: row.enabled, priority: row.priority },
    ...{ conditions: row.conditions, action: row.action },
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
