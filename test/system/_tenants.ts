/** All that an account owns, and all that a dump of the database would show. */
import type { Id } from '#lib/ids.ts';
import { systemRows, type Installation } from './_identity.ts';

export type Identity = {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
};

export function bearer(token: string, more: Record<string, string> = {}): Record<string, string> {
  return { authorization: `Bearer ${token}`, ...more };
}

/** Tables whose rows come and go by being used or watched, without anybody's doing. */
const RESTLESS = new Set(['idempotency_keys', 'call_stats_days', 'call_stats_daily', 'audit_log']);

/** Every row that belongs to an account, by table, without the columns that use alone moves. */
export async function rowsOf(
  server: Installation,
  accountId: Id,
): Promise<Record<string, string[]>> {
  const tables = await systemRows<{ name: string }>(
    server.databaseUrl,
    `SELECT table_name AS name FROM information_schema.columns
      WHERE table_schema = 'public' AND column_name = 'user_id' ORDER BY 1`,
  );
  const found: Record<string, string[]> = {};
  for (const { name } of tables) {
    if (RESTLESS.has(name)) continue;
    const rows = await systemRows<{ row: string }>(
      server.databaseUrl,
      `SELECT (to_jsonb(t) - 'last_used_at' - 'updated_at')::text AS row FROM ${name} t WHERE user_id = $1 ORDER BY 1`,
      [accountId],
    );
    found[name] = rows.map(({ row }) => row);
  }
  return found;
}

/** Everything in every table as text. */
export async function dumpOf(databaseUrl: string): Promise<string> {
  const tables = await systemRows<{ name: string }>(
    databaseUrl,
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
      WHERE schemaname IN ('public', 'auth') AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')`,
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await systemRows<{ row: string }>(
      databaseUrl,
      `SELECT to_jsonb(t)::text AS row FROM ${name} t`,
    );
    texts.push(...rows.map(({ row }) => row));
  }
  return texts.join('\n');
}
