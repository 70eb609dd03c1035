/** Webhooks of an account (contract 2.8, 4.4): where events go, and the secrets they are signed with. */
import type { Actor } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';
import type { DisabledReason } from './webhook-queue.ts';

export type WebhookRow = {
  readonly id: Id;
  readonly url: string;
  readonly description: string | null;
  readonly events: readonly string[];
  readonly enabled: boolean;
  /** Why the server has disabled it; null for one that somebody has. */
  readonly disabledReason: DisabledReason | null;
  /** Since when every attempt has failed. */
  readonly failingSince: Date | null;
  /** Until when the secret before the last rotation signs as well. */
  readonly oldSecretUntil: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
};

export type WebhookFields = {
  readonly url: string;
  readonly description: string | null;
  readonly events: readonly string[];
  readonly enabled: boolean;
};

/** A hook with the secret that is shown this once. */
export type IssuedWebhook = { readonly row: WebhookRow; readonly secret: string };

/** Errors throughout: E_DATABASE, E_DATABASE_UNREACHABLE. Null and false: there is no such hook. */
export type Webhooks = {
  create(actor: Actor, wanted: WebhookFields): Promise<IssuedWebhook | 'full'>;
  list(actor: Actor, page: PageQuery): Promise<Page<WebhookRow>>;
  get(actor: Actor, id: Id): Promise<WebhookRow | null>;
  update(actor: Actor, id: Id, changes: Partial<WebhookFields>): Promise<WebhookRow | null>;
  /** It gets nothing more, and what was queued for it goes too. */
  remove(actor: Actor, id: Id): Promise<boolean>;
  rotateSecret(actor: Actor, id: Id, overlapS: number): Promise<IssuedWebhook | null>;
};

export const MAX_WEBHOOKS = 50;

type DbRow = {
  id: Id;
  url: string;
  description: string | null;
  events: string[];
  enabled: boolean;
  disabled_reason: DisabledReason | null;
  failing_since: Date | null;
  old_secret_until: Date | null;
  created_at: Date;
  updated_at: Date;
};

const COLUMNS = `id, url, description, events, enabled, disabled_reason, failing_since, old_secret_until, created_at,
  updated_at`;
const MINE = 'user_id = $1 AND id = $2 AND deleted_at IS NULL';
const TARGET = 'webhook';

export type WebhooksOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly clock: Clock;
  /** Told when deliveries that waited for a hook became due. */
  readonly onDue: () => void;
};

export function createWebhooks(options: WebhooksOptions): Webhooks {
  const { database, onDue } = options;
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    create: (actor, wanted) => as(actor, (sql) => create(sql, options, actor, wanted)),
    list: (actor, page) =>
      as(actor, (sql) =>
        readPage<DbRow, WebhookRow>(
          sql,
          {
            ...{ columns: COLUMNS, tables: 'webhooks' },
            ...{ key: 'created_at', keyType: 'timestamptz', id: 'id' },
          },
          new Where().add('user_id = ? AND deleted_at IS NULL', actor.accountId),
          page,
          rowOf,
        ),
      ),
    get: (actor, id) =>
      as(actor, async (sql) => {
        const [row] = await sql.rows<DbRow>(`SELECT ${COLUMNS} FROM webhooks WHERE ${MINE}`, [
          actor.accountId,
          id,
        ]);
        return row === undefined ? null : rowOf(row);
      }),
    update: async (actor, id, changes) => {
      const changed = await as(actor, (sql) => update(sql, actor, id, changes));
      if (changed?.enabled === true) onDue();
      return changed;
    },
    remove: (actor, id) => as(actor, (sql) => remove(sql, actor, id)),
    rotateSecret: (actor, id, overlapS) =>
      as(actor, (sql) => rotate(sql, options, actor, { id, overlapS })),
  };
}

async function create(
  sql: Sql,
  { sealer }: WebhooksOptions,
  actor: Actor,
  wanted: WebhookFields,
): Promise<IssuedWebhook | 'full'> {
  const { accountId } = actor;
  // Two at the same time would both count one too few.
  await sql.rows(`SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))`, [
    accountId,
  ]);
  const [count] = await sql.rows<{ n: number }>(
    'SELECT count(*)::int AS n FROM webhooks WHERE user_id = $1 AND deleted_at IS NULL',
    [accountId],
  );
  if ((count?.n ?? 0) >= MAX_WEBHOOKS) return 'full';
  const id = newId();
  const secret = newWebhookSecret();
  const rows = await sql.rows<DbRow>(
    `INSERT INTO webhooks (id, user_id, url, description, events, enabled, secret)
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${COLUMNS}`,
    [
      ...[id, accountId, wanted.url, wanted.description, wanted.events, wanted.enabled],
      sealer.seal(secret, { table: 'webhooks', column: 'secret', accountId, rowId: id }),
    ],
  );
  await audit(sql, actor, 'create', id, wanted);
  return { row: rowOf(rows[0] as DbRow), secret };
}

/** One that is enabled again, or leads elsewhere, starts afresh. */
async function update(
  sql: Sql,
  actor: Actor,
  id: Id,
  changes: Partial<WebhookFields>,
): Promise<WebhookRow | null> {
  const [known] = await sql.rows<{ enabled: boolean; url: string }>(
    `SELECT enabled, url FROM webhooks WHERE ${MINE} FOR NO KEY UPDATE`,
    [actor.accountId, id],
  );
  if (known === undefined) return null;
  const { description } = changes;
  const enabled = changes.enabled ?? known.enabled;
  const isFresh = (enabled && !known.enabled) || (changes.url ?? known.url) !== known.url;
  const [row] = await sql.rows<DbRow>(
    `UPDATE webhooks SET url = coalesce($3, url), description = CASE WHEN $4 THEN $5 ELSE description END,
       events = coalesce($6::text[], events), enabled = $7, updated_at = now(),
       disabled_reason = CASE WHEN $7 THEN NULL ELSE disabled_reason END,
       failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END
      WHERE ${MINE} RETURNING ${COLUMNS}`,
    [
      ...[actor.accountId, id, changes.url ?? null],
      ...[description !== undefined, description ?? null, changes.events ?? null],
      ...[enabled, isFresh],
    ],
  );
  await audit(sql, actor, 'update', id, changes);
  return rowOf(row as DbRow);
}

/** What was queued may be millions of rows: retention removes them, and the hook with the last. */
async function remove(sql: Sql, actor: Actor, id: Id): Promise<boolean> {
  const [known] = await sql.rows<{ url: string }>(
    `SELECT url FROM webhooks WHERE ${MINE} FOR NO KEY UPDATE`,
    [actor.accountId, id],
  );
  if (known === undefined) return false;
  await sql.run(
    `UPDATE webhooks SET deleted_at = now(), enabled = false, url = '', secret = '', old_secret = NULL WHERE ${MINE}`,
    [actor.accountId, id],
  );
  await audit(sql, actor, 'delete', id, { url: known.url });
  return true;
}

async function rotate(
  sql: Sql,
  { sealer, clock }: WebhooksOptions,
  actor: Actor,
  { id, overlapS }: { readonly id: Id; readonly overlapS: number },
): Promise<IssuedWebhook | null> {
  const { accountId } = actor;
  const [known] = await sql.rows<{ secret: string }>(
    `SELECT secret FROM webhooks WHERE ${MINE} FOR NO KEY UPDATE`,
    [accountId, id],
  );
  if (known === undefined) return null;
  const place = { table: 'webhooks', accountId, rowId: id };
  const secret = newWebhookSecret();
  const isKept = overlapS > 0;
  // A sealed text is bound to its column.
  const old = isKept
    ? sealer.seal(sealer.open(known.secret, { ...place, column: 'secret' }), {
        ...{ ...place, column: 'old_secret' },
      })
    : null;
  const [row] = await sql.rows<DbRow>(
    `UPDATE webhooks SET secret = $3, old_secret = $4, old_secret_until = $5, updated_at = now()
      WHERE ${MINE} RETURNING ${COLUMNS}`,
    [
      ...[accountId, id, sealer.seal(secret, { ...place, column: 'secret' }), old],
      isKept ? new Date(clock.wallMs() + overlapS * 1_000).toISOString() : null,
    ],
  );
  await audit(sql, actor, 'rotate_secret', id, { overlap_s: overlapS });
  return { row: rowOf(row as DbRow), secret };
}

function audit(
  sql: Sql,
  actor: Actor,
  verb: string,
  targetId: Id,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  const entry = { action: `${TARGET}.${verb}`, targetType: TARGET, targetId, changes };
  return writeAudit(sql, actor, entry);
}

function rowOf(row: DbRow): WebhookRow {
  return {
    ...{ id: row.id, url: row.url, description: row.description, events: row.events },
    ...{ enabled: row.enabled, disabledReason: row.disabled_reason },
    ...{ failingSince: row.failing_since, oldSecretUntil: row.old_secret_until },
    ...{ createdAt: row.created_at, updatedAt: row.updated_at },
  };
}
