/** The audit row of somebody who is about to hear a live call (contract 1.3: every act of role `sup`). */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import { writeAudit } from './audit.ts';
import type { Database } from './pool.ts';

/** Errors: E_DATABASE*. */
export function noteListening(database: Database, actor: Actor, callId: Id): Promise<void> {
  return database.withAccount(actor.accountId, actor.name, (sql) =>
    writeAudit(sql, actor, { action: 'call.listen', targetType: 'call', targetId: callId }),
  );
}
