/** What the console's overview and status tell of an account besides its live calls (contract 2.6 rows 1 and 15). */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Database } from './pool.ts';

/** A trunk as anybody of the account may see it: never its user name or password. */
export type TrunkFacts = {
  readonly id: Id;
  readonly name: string;
  readonly isActive: boolean;
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** True for one that wants a REGISTER. */
  readonly registers: boolean;
};

/** Phone and web calls that began on or after an instant. */
export type CallCounts = {
  readonly calls: number;
  readonly answered: number;
  readonly failed: number;
  /** Whole seconds of calls that are over. */
  readonly totalDuration: number;
};

export type ConsoleReads = {
  /** In the order of use: active ones by priority, then the others. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  trunks(actor: Actor): Promise<readonly TrunkFacts[]>;
  /** `since`: ISO-8601. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  callsSince(actor: Actor, since: string): Promise<CallCounts>;
};

const MAX_TRUNKS = 1_000;

export function createConsoleReads(database: Database): ConsoleReads {
  return {
    trunks: (actor) =>
      database.withAccount(actor.accountId, actor.name, (sql) =>
        sql.rows<TrunkFacts>(
          `SELECT id, name, is_active AS "isActive", host, port, transport, register AS registers FROM sip_configs
            WHERE user_id = $1 ORDER BY is_active DESC, priority, created_at, id LIMIT ${MAX_TRUNKS}`,
          [actor.accountId],
        ),
      ),
    callsSince: (actor, since) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const [row] = await sql.rows<CallCounts>(
          `SELECT count(*)::int AS calls, count(answer_time)::int AS answered,
                  count(*) FILTER (WHERE status = 'failed')::int AS failed,
                  coalesce(sum(duration_seconds), 0)::float8 AS "totalDuration"
             FROM call_records
            WHERE user_id = $1 AND start_time >= $2::timestamptz AND channel IN ('phone', 'web')
              AND ($3::uuid[] IS NULL OR agent_id = ANY ($3::uuid[]))`,
          [actor.accountId, since, actor.agentIds],
        );
        return row ?? { calls: 0, answered: 0, failed: 0, totalDuration: 0 };
      }),
  };
}
