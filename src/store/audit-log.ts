/** Reading the audit log (contract 2.8). Rows are written by `writeAudit`, with secrets hidden already. */
import type { Actor } from '#lib/actor.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { readPage, Where } from './paging.ts';
import type { Database } from './pool.ts';

export type AuditRow = {
  readonly id: number;
  readonly at: Date;
  readonly actor: string;
  readonly actorRole: string;
  readonly action: string;
  readonly targetType: string | null;
  readonly targetId: string | null;
  readonly requestId: string | null;
  readonly ip: string | null;
  readonly changes: Readonly<Record<string, unknown>>;
};

export type AuditQuery = PageQuery & {
  /** Inclusive, ISO-8601. */
  readonly since: string | null;
  /** Exclusive. */
  readonly before: string | null;
  readonly action: string | null;
  readonly actor: string | null;
};

export type AuditLog = {
  /** Newest first. An actor that is bound to agents sees what was done to these, and what it did itself. */
  list(actor: Actor, query: AuditQuery): Promise<Page<AuditRow>>;
};

type Row = {
  id: string;
  at: Date;
  actor: string;
  actor_role: string;
  action: string;
  target_type: string | null;
  target_id: string | null;
  request_id: string | null;
  ip: string | null;
  changes: Record<string, unknown>;
};

export function createAuditLog(database: Database): AuditLog {
  return {
    list: (actor, query) =>
      database.withAccount(actor.accountId, actor.name, (sql) =>
        readPage<Row, AuditRow>(
          sql,
          {
            columns:
              'id, at, actor, actor_role, action, target_type, target_id, request_id, host(ip) AS ip, changes',
            ...{ tables: 'audit_log', key: 'at', keyType: 'timestamptz' },
            ...{ id: 'id', idType: 'bigint' },
          },
          new Where()
            .add('user_id = ?', actor.accountId)
            .addUnlessNull('at >= ?::timestamptz', query.since)
            .addUnlessNull('at < ?::timestamptz', query.before)
            .addUnlessNull('action = ?', query.action)
            .addUnlessNull('actor = ?', query.actor)
            .add(
              '(?::text[] IS NULL OR actor = ? OR target_id = ANY (?::text[]))',
              ...[actor.agentIds, actor.name, actor.agentIds],
            ),
          query,
          rowOf,
        ),
      ),
  };
}

function rowOf(row: Row): AuditRow {
  return {
    // A bigint arrives as text; 2^53 rows are out of reach.
    id: Number(row.id),
    ...{ at: row.at, actor: row.actor, actorRole: row.actor_role, action: row.action },
    ...{ targetType: row.target_type, targetId: row.target_id, requestId: row.request_id },
    ...{ ip: row.ip, changes: row.changes },
  };
}
