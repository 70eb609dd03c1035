/** The audit log (contract 1.3): one append-only row per administrative act, in the transaction of the act itself. */
import type { Actor } from '#lib/actor.ts';
import type { Sql } from './pool.ts';

export type AuditEntry = {
  /** `noun.verb`, e.g. `api_key.revoke`. */
  readonly action: string;
  readonly targetType?: string;
  readonly targetId?: string;
  /** What changed, by field; fields named in `SECRET_FIELDS` are shown as `***`. */
  readonly changes?: Readonly<Record<string, unknown>>;
};

/** Names of fields, at any depth, whose values never reach the log. */
const SECRET_FIELDS =
  /^(?:.*password|.*secret|.*secret_key|.*credentials|access_token|token|key|api_?key|old_secret|admin_key)$/i;
const MAX_CHANGES_CHARS = 16_384;

export async function writeAudit(sql: Sql, actor: Actor, entry: AuditEntry): Promise<void> {
  await sql.run(
    `INSERT INTO audit_log (user_id, actor, actor_role, action, target_type, target_id, request_id, ip, changes)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8::inet, $9)`,
    [
      ...[actor.accountId, actor.name, actor.role, entry.action],
      ...[entry.targetType ?? null, entry.targetId ?? null, actor.requestId, actor.ip],
      changesText(entry.changes ?? {}),
    ],
  );
}

/** JSON with secrets hidden; longer ones keep the names of the fields alone. */
export function changesText(changes: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(hideSecrets(changes));
  if (text.length <= MAX_CHANGES_CHARS) return text;
  return JSON.stringify({ fields: Object.keys(changes), shortened: true });
}

function hideSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hideSecrets);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      SECRET_FIELDS.test(name) && each !== null ? '***' : hideSecrets(each),
    ]),
  );
}
