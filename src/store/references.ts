/** Ids that a body names and that must exist (contract 1.5, REFERENCE_NOT_FOUND). */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Sql } from './pool.ts';

/** What a write came to: its result, or the ids named in it that do not exist for this actor. */
export type Written<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly missing: readonly Id[] };

export type Named = {
  readonly agents?: readonly Id[];
  readonly squads?: readonly Id[];
  readonly trunks?: readonly Id[];
  /** Accounts at vendors, of any vendor. */
  readonly vendorConfigs?: readonly Id[];
};

/** Agents and squads found are locked until the end of the transaction: a deletion waits, and then sees who names them. */
export async function missingOf(sql: Sql, actor: Actor, named: Named): Promise<Id[]> {
  const { agents = [], squads = [], trunks = [], vendorConfigs = [] } = named;
  const missing: Id[] = [];
  const look = async (ids: readonly Id[], text: string, ...more: unknown[]): Promise<void> => {
    if (ids.length === 0) return;
    const rows = await sql.rows<{ id: Id }>(text, [actor.accountId, ids, ...more]);
    const found = new Set(rows.map(({ id }) => id));
    missing.push(...ids.filter((id) => !found.has(id)));
  };
  await look(
    agents,
    `SELECT id FROM agents WHERE user_id = $1 AND id = ANY ($2::uuid[]) AND deleted_at IS NULL
        AND ($3::uuid[] IS NULL OR id = ANY ($3::uuid[])) ORDER BY id FOR SHARE`,
    actor.agentIds,
  );
  // A key that sees some agents alone uses a squad only when it sees every member.
  await look(
    squads,
    `SELECT id FROM squads s WHERE user_id = $1 AND id = ANY ($2::uuid[]) AND deleted_at IS NULL
        AND ($3::uuid[] IS NULL OR NOT EXISTS (SELECT FROM squad_members m
              WHERE m.squad_id = s.id AND m.agent_id <> ALL ($3::uuid[]))) ORDER BY id FOR SHARE`,
    actor.agentIds,
  );
  await look(trunks, 'SELECT id FROM sip_configs WHERE user_id = $1 AND id = ANY ($2::uuid[])');
  await look(
    vendorConfigs,
    `SELECT id FROM provider_configs WHERE user_id = $1 AND id = ANY ($2::uuid[])
      UNION ALL SELECT id FROM aliyun_configs WHERE user_id = $1 AND id = ANY ($2::uuid[])
      UNION ALL SELECT id FROM volcengine_configs WHERE user_id = $1 AND id = ANY ($2::uuid[])`,
  );
  return missing;
}
