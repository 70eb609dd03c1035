/** Agents by the names that people gave them. */
import type { Id } from '#lib/ids.ts';
import type { Database } from './pool.ts';

/** Null when there is none, or more than one. Capitals do not count. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
export async function agentIdByName(
  database: Database,
  accountId: Id,
  name: string,
): Promise<Id | null> {
  const rows = await database.withSystem((sql) =>
    sql.rows<{ id: Id }>(
      'SELECT id FROM agents WHERE user_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL LIMIT 2',
      [accountId, name.trim()],
    ),
  );
  return rows.length === 1 ? (rows[0]?.id ?? null) : null;
}
