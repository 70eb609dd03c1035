/** Which agent answers a call, asked of the tables (contract 2.3, "Which agent answers"). */
import { foldApp } from '#lib/app-name.ts';
import type { Id } from '#lib/ids.ts';
import { comparablePhone, normalizePhone, phoneForms } from '#lib/phone.ts';
import type { AgentRow } from './agent-config.ts';
import type { Sql } from './pool.ts';

/** What decides; the same shape as sessions/ports.ts states. */
export type AgentChoice = {
  readonly agentId?: Id | null;
  /** Stands for its primary member. */
  readonly squadId?: Id | null;
  readonly called: string | null;
  readonly app: string | null;
  readonly trunkId: Id | null;
};

export type ChosenRow = { readonly row: AgentRow; readonly squadId: Id | null };

export const AGENT_COLUMNS = 'a.id, a.user_id, a.name, a.config, t.language AS account_language';

/**
 * The ways in which a dialled number may have been written into a table, the likeliest first. Carriers leave the `+`
 * out, and a number may be older than the account's country code.
 */
export function candidateNumbers(called: string, countryCode: string | null): string[] {
  const normal = normalizePhone(called);
  if (normal === null) return [];
  return [
    ...new Set([
      comparablePhone(normal, countryCode),
      ...phoneForms(normal, countryCode),
      ...phoneForms(`+${normal.replace(/^\+/, '')}`, countryCode),
    ]),
  ];
}

/**
 * The agent named, else the one bound to the number, the app, the trunk, `default`. What is deleted, or a squad without
 * a primary member, is passed over. Null: not even a default. `standardCode`: see `countryCodeOf`.
 */
export async function chooseAgent(
  sql: Sql,
  accountId: Id,
  choice: AgentChoice,
  standardCode: string | null,
): Promise<ChosenRow | null> {
  const { agentId = null, squadId = null, called, trunkId } = choice;
  const [row] = await sql.rows<AgentRow & { squad_id: Id | null }>(
    `SELECT ${AGENT_COLUMNS}, w.squad_id FROM (
       SELECT 0 AS rank, 0 AS spelling, $2::uuid AS agent_id, $3::uuid AS squad_id, NULL::timestamptz AS created_at, NULL::uuid AS id
       UNION ALL
       SELECT array_position(ARRAY['number', 'app', 'trunk', 'default'], b.kind), array_position($4::text[], b.value),
              b.agent_id, b.squad_id, b.created_at, b.id
         FROM agent_bindings b
        WHERE b.user_id = $1 AND ((b.kind = 'number' AND b.value = ANY ($4::text[])) OR (b.kind = 'app' AND b.value = $5)
              OR (b.kind = 'trunk' AND b.value = $6) OR b.kind = 'default')
     ) w
       LEFT JOIN squads s ON s.id = w.squad_id AND s.user_id = $1 AND s.deleted_at IS NULL
       LEFT JOIN squad_members m ON m.squad_id = s.id AND m.user_id = $1 AND m.role = 'primary'
       JOIN agents a ON a.id = coalesce(w.agent_id, m.agent_id) AND a.user_id = $1 AND a.deleted_at IS NULL
       LEFT JOIN account_settings t ON t.user_id = $1
      ORDER BY w.rank, w.spelling, w.created_at, w.id LIMIT 1`,
    [
      ...[accountId, agentId, squadId],
      called === null
        ? []
        : candidateNumbers(called, await countryCodeOf(sql, accountId, standardCode)),
      await boundApp(sql, accountId, choice.app),
      trunkId,
    ],
  );
  return row === undefined ? null : { row, squadId: row.squad_id };
}

/** The bound spelling of an app; names compare folded, which SQL cannot do. */
export async function boundApp(
  sql: Sql,
  accountId: Id,
  app: string | null,
): Promise<string | null> {
  const wanted = app === null ? '' : foldApp(app);
  if (wanted === '') return null;
  const rows = await sql.rows<{ value: string }>(
    "SELECT value FROM agent_bindings WHERE user_id = $1 AND kind = 'app' ORDER BY created_at, id",
    [accountId],
  );
  return rows.find(({ value }) => foldApp(value) === wanted)?.value ?? null;
}

/** `standard` is the installation's, which an account without settings starts with. */
export async function countryCodeOf(
  sql: Sql,
  accountId: Id,
  standard: string | null,
): Promise<string | null> {
  const [row] = await sql.rows<{ country_code: string | null }>(
    'SELECT country_code FROM account_settings WHERE user_id = $1',
    [accountId],
  );
  return row === undefined ? standard : row.country_code;
}
