/** What an account has used, by day, agent or vendor (contract 2.8). Days are of the account's time zone. */
import type { Actor } from '#lib/actor.ts';
import type { Database } from './pool.ts';

export type UsageGroup = 'day' | 'agent' | 'vendor';

/** `YYYY-MM-DD`, both inclusive. */
export type UsageQuery = { readonly from: string; readonly to: string; readonly by: UsageGroup };

export type UsageCounts = {
  readonly calls: number;
  readonly answered: number;
  readonly callSeconds: number;
  readonly sttSeconds: number;
  readonly ttsChars: number;
  readonly realtimeSeconds: number;
  readonly llmTokensIn: number;
  readonly llmTokensOut: number;
  /** In the account's currency. */
  readonly cost: { readonly amount: number; readonly currency: string };
};

/** The group is the day, the agent's id or the vendor; by vendor the calls themselves stand under `''`. */
export type UsageRow = UsageCounts & { readonly group: string };

export type Usage = {
  /** In the order of the groups. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  report(
    actor: Actor,
    query: UsageQuery,
  ): Promise<{ readonly rows: readonly UsageRow[]; readonly total: UsageCounts }>;
};

type Row = {
  readonly group: string | null;
  readonly is_total: boolean;
  readonly calls: string;
  readonly answered: string;
  readonly call_seconds: string;
  readonly stt_seconds: string;
  readonly tts_chars: string;
  readonly realtime_seconds: string;
  readonly llm_tokens_in: string;
  readonly llm_tokens_out: string;
  readonly cost: string;
  readonly currency: string;
};

const GROUPS: Readonly<Record<UsageGroup, string>> = {
  day: "to_char(u.day, 'YYYY-MM-DD')",
  agent: 'u.agent_id::text',
  vendor: 'u.vendor',
};

/** `currency`: the installation's, for an account that has no settings yet. */
export function createUsage(database: Database, currency: string): Usage {
  return {
    report: (actor, { from, to, by }) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const group = GROUPS[by];
        const rows = await sql.rows<Row>(
          `WITH own AS (SELECT coalesce((SELECT currency FROM account_settings WHERE user_id = $1), $5) AS currency)
           SELECT ${group} AS "group", grouping(${group}) = 1 AS is_total, ${sums()},
                  coalesce(sum(u.cost) FILTER (WHERE u.currency = (SELECT currency FROM own)), 0) AS cost,
                  (SELECT currency FROM own) AS currency
             FROM usage_daily u
            WHERE u.user_id = $1 AND u.day BETWEEN $2::date AND $3::date
              AND ($4::uuid[] IS NULL OR u.agent_id = ANY ($4))
            GROUP BY GROUPING SETS ((${group}), ()) ORDER BY 2, 1`,
          [actor.accountId, from, to, actor.agentIds, currency],
        );
        const all = rows.map((row) => ({ ...countsOf(row), group: row.group ?? '' }));
        return {
          rows: all.filter((_, at) => rows[at]?.is_total === false),
          total: countsOf(rows.at(-1) as Row),
        };
      }),
  };
}

function sums(): string {
  return [
    ...['calls', 'answered', 'call_seconds', 'stt_seconds', 'tts_chars', 'realtime_seconds'],
    ...['llm_tokens_in', 'llm_tokens_out'],
  ]
    .map((name) => `coalesce(sum(u.${name}), 0) AS ${name}`)
    .join(', ');
}

function countsOf(row: Row): UsageCounts {
  return {
    calls: Number(row.calls),
    answered: Number(row.answered),
    callSeconds: Number(row.call_seconds),
    sttSeconds: Number(row.stt_seconds),
    ttsChars: Number(row.tts_chars),
    realtimeSeconds: Number(row.realtime_seconds),
    llmTokensIn: Number(row.llm_tokens_in),
    llmTokensOut: Number(row.llm_tokens_out),
    cost: { amount: Number(row.cost), currency: row.currency },
  };
}
