/** What calls with a number were about before (`memory_calls` of an agent): summaries, which are masked. */
import type { Id } from '#lib/ids.ts';
import { phoneForms } from '#lib/phone.ts';
import type { Database } from './pool.ts';

export type RememberedCall = { readonly startTime: string; readonly summary: string };

export type CallerMemory = {
  /**
   * Of the same account and the same agent, the latest first. Empty when the number's newest `data` consent says no, and
   * for what is no number: `unknown` and `restricted` are many callers.
   * Errors: E_DATABASE, E_DATABASE_UNREACHABLE.
   */
  recall(wanted: {
    readonly accountId: Id;
    readonly agentId: Id;
    readonly number: string;
    readonly calls: number;
  }): Promise<readonly RememberedCall[]>;
};

export type CallerMemoryOptions = {
  readonly database: Database;
  /** Digits, for numbers written without one. */
  countryCode(accountId: Id): Promise<string | null>;
};

export function createCallerMemory(options: CallerMemoryOptions): CallerMemory {
  return {
    async recall({ accountId, agentId, number, calls }) {
      if (!isOfOneCaller(number)) return [];
      const forms = phoneForms(number, await options.countryCode(accountId));
      const rows = await options.database.withSystem((sql) =>
        sql.rows<{ start_time: Date; summary: string }>(
          `SELECT start_time, summary FROM call_records
            WHERE user_id = $1 AND agent_id = $2 AND caller_phone = ANY ($3) AND summary IS NOT NULL
              AND coalesce((SELECT granted FROM consents WHERE user_id = $1 AND phone = ANY ($3) AND kind = 'data'
                             ORDER BY created_at DESC, id DESC LIMIT 1), true)
            ORDER BY start_time DESC, id DESC LIMIT $4`,
          [accountId, agentId, forms, calls],
        ),
      );
      return rows.map(({ start_time: start, summary }) => ({
        startTime: start.toISOString(),
        summary,
      }));
    },
  };
}

/** Carriers write many things where a number is withheld: words, nothing but zeros. */
function isOfOneCaller(number: string): boolean {
  return /^\+?[0-9]{3,}$/.test(number) && /[1-9]/.test(number);
}
