/** The audit log (contract 2.8): every administrative act and every login, secrets hidden. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { AuditLog, AuditRow } from '#store/audit-log.ts';
import type { Settings } from '#store/settings.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, nullable, ok, PaginationSchema, ref, TimeSchema } from './schemas.ts';
import { hasDay, isoOf, timeRangeOf, timeRangeFields } from './time-range.ts';

const ListQuery = Type.Object(
  {
    ...timeRangeFields,
    action: Type.Optional(
      Type.String({ minLength: 1, maxLength: 100, description: 'For example `api_key.revoke`' }),
    ),
    actor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 100, description: '`user:<id>` or `key:<id>`' }),
    ),
    ...pageFields,
  },
  { additionalProperties: false },
);

const EntrySchema = Type.Object(
  {
    id: Type.Integer(),
    at: TimeSchema,
    actor: Type.String({ description: '`user:<id>`, `key:<id>`, `system` or `anonymous`' }),
    actor_role: Type.String(),
    action: Type.String(),
    target_type: nullable(Type.String()),
    target_id: nullable(Type.String()),
    request_id: nullable(Type.String()),
    ip: nullable(Type.String()),
    changes: Type.Unsafe<object>({ type: 'object', description: 'By field; secrets as `***`' }),
  },
  {
    examples: [
      {
        ...{ id: 42, at: '2026-01-01T00:00:00.000Z', actor_role: 'owner' },
        actor: 'user:3f6c1d2a-0b7e-4c55-9a41-5d2f8e6b7c90',
        ...{ action: 'settings.update', target_type: 'settings' },
        target_id: '3f6c1d2a-0b7e-4c55-9a41-5d2f8e6b7c90',
        ...{ request_id: 'desk-17', ip: '192.0.2.7' },
        changes: { timezone: { from: 'Asia/Shanghai', to: 'Europe/Berlin' } },
      },
    ],
  },
);

export type AuditLogPart = {
  readonly auditLog: AuditLog;
  readonly settings: Settings;
  readonly clock: Clock;
};

export function addAuditLogRoutes(app: ApiServer, part: AuditLogPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/audit-log',
    config: { capability: 'adm' },
    schema: {
      operationId: 'listAuditLog',
      tags: ['Administration'],
      summary: 'List what was done to the account, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({ entries: Type.Array(EntrySchema), pagination: ref(PaginationSchema) }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const actor = actorOf(request);
      const { query } = request;
      const zone = hasDay(query)
        ? (await fromStore(part, part.settings.get(actor))).timezone
        : 'UTC';
      const page = pageOf(query, 'time-number');
      const { fromMs, beforeMs } = timeRangeOf(query, zone);
      const { action = null, actor: by = null } = query;
      const range = { since: isoOf(fromMs), before: isoOf(beforeMs) };
      const wanted = { ...page, ...range, action, actor: by };
      const found = await fromStore(part, part.auditLog.list(actor, wanted));
      return ok({ entries: found.rows.map(viewOf), pagination: paginationOf(page, found) });
    },
  });
}

function viewOf(row: AuditRow): Static<typeof EntrySchema> {
  return {
    ...{ id: row.id, at: row.at.toISOString(), actor: row.actor, actor_role: row.actorRole },
    ...{ action: row.action, target_type: row.targetType, target_id: row.targetId },
    ...{ request_id: row.requestId, ip: row.ip, changes: row.changes },
  };
}
