/** Deliveries of a webhook as its owner sees them: the list, another try of one, and the test that asks right now. */
import type { Actor } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import type { PublicEvent } from '#lib/public-event.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { LEASE_MS, type Claim, type Sent } from './webhook-queue.ts';
import type { WebhookSender } from './webhook-sender.ts';

export type DeliveryStatus = 'pending' | 'delivered' | 'dead';

export type DeliveryRow = {
  readonly id: Id;
  readonly eventId: Id;
  readonly eventType: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  /** While an attempt is under way: when it is taken for lost. Null: at once, or never again. */
  readonly nextAttemptAt: Date | null;
  /** Of the last answer. */
  readonly responseStatus: number | null;
  readonly responseMs: number | null;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly deliveredAt: Date | null;
};

/** Errors throughout: E_DATABASE, E_DATABASE_UNREACHABLE. `missing`: there is no such hook, or it has no such delivery. */
export type WebhookDeliveries = {
  list(
    actor: Actor,
    webhookId: Id,
    status: DeliveryStatus | null,
    page: PageQuery,
  ): Promise<Page<DeliveryRow> | 'missing'>;
  /** Queues it anew, with all attempts before it. `disabled`: its hook takes none. */
  redeliver(actor: Actor, webhookId: Id, id: Id): Promise<DeliveryRow | 'missing' | 'disabled'>;
  /** One attempt, now, also to a hook that is disabled; it is kept in the list. */
  test(actor: Actor, webhookId: Id): Promise<Sent | 'missing'>;
};

type DbRow = {
  id: Id;
  event_id: Id;
  event_type: string;
  status: DeliveryStatus;
  attempts: number;
  /** pg reads `infinity` as a number. */
  next_attempt_at: Date | number | null;
  response_status: number | null;
  response_ms: number | null;
  last_error: string | null;
  created_at: Date;
  delivered_at: Date | null;
};

const COLUMNS = `id, event_id, event_type, status, attempts, next_attempt_at, response_status, response_ms, last_error,
  created_at, delivered_at`;

export type WebhookDeliveriesOptions = {
  readonly database: Database;
  readonly sender: WebhookSender;
  readonly node: string;
  readonly clock: Clock;
  /** Told when a delivery became due. */
  readonly onDue: () => void;
};

export function createWebhookDeliveries(options: WebhookDeliveriesOptions): WebhookDeliveries {
  const { database, sender, onDue } = options;
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor, webhookId, status, page) =>
      as(actor, async (sql) => {
        if ((await enabledOf(sql, actor, webhookId, '')) === null) return 'missing';
        return readPage<DbRow, DeliveryRow>(
          sql,
          {
            ...{ columns: COLUMNS, tables: 'webhook_deliveries' },
            ...{ key: 'created_at', keyType: 'timestamptz', id: 'id' },
          },
          new Where()
            .add('user_id = ? AND webhook_id = ?', actor.accountId, webhookId)
            .addUnlessNull('status = ?', status)
            .addUnlessNull(OF_AGENTS, actor.agentIds),
          page,
          rowOf,
        );
      }),
    async redeliver(actor, webhookId, id) {
      const result = await as(actor, (sql) => redeliver(sql, actor, webhookId, id));
      if (typeof result !== 'string') onDue();
      return result;
    },
    async test(actor, webhookId) {
      const claim = await as(actor, (sql) => plantTest(sql, options, actor, webhookId));
      if (claim === null) return 'missing';
      const sent = await sender.send(claim);
      await as(actor, (sql) => noteTest(sql, claim, sent, options.clock.wallMs()));
      return sent;
    },
  };
}

/** For a key that is bound to agents; what belongs to no call is not theirs either. */
const OF_AGENTS = 'call_id IN (SELECT c.id FROM call_records c WHERE c.agent_id = ANY (?::uuid[]))';
const MINE = 'user_id = $1 AND id = $2 AND deleted_at IS NULL';

/** Null: no such hook. The lock keeps it from being disabled meanwhile. */
async function enabledOf(
  sql: Sql,
  actor: Actor,
  id: Id,
  lock: 'FOR SHARE' | '',
): Promise<boolean | null> {
  const [row] = await sql.rows<{ enabled: boolean }>(
    `SELECT enabled FROM webhooks WHERE ${MINE} ${lock}`,
    [actor.accountId, id],
  );
  return row?.enabled ?? null;
}

async function redeliver(
  sql: Sql,
  actor: Actor,
  webhookId: Id,
  id: Id,
): Promise<DeliveryRow | 'missing' | 'disabled'> {
  const enabled = await enabledOf(sql, actor, webhookId, 'FOR SHARE');
  if (enabled === null) return 'missing';
  const place = [actor.accountId, webhookId, id];
  const where = 'user_id = $1 AND webhook_id = $2 AND id = $3';
  const [known] = await sql.rows<{ event_id: Id }>(
    `SELECT event_id FROM webhook_deliveries WHERE ${where}`,
    place,
  );
  if (known === undefined) return 'missing';
  if (!enabled) return 'disabled';
  const [row] = await sql.rows<DbRow>(
    `UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = '-infinity', delivered_at = NULL
      WHERE ${where} RETURNING ${COLUMNS}`,
    place,
  );
  await writeAudit(sql, actor, {
    ...{ action: 'webhook_delivery.redeliver', targetType: 'webhook_delivery', targetId: id },
    changes: { webhook_id: webhookId, event_id: known.event_id },
  });
  return rowOf(row as DbRow);
}

type TestClaim = Omit<Claim, 'attempts' | 'leaseMs'>;

/** Written down before it is sent: if the process dies in between, the worker sends it after the lease. */
async function plantTest(
  sql: Sql,
  { node, clock }: WebhookDeliveriesOptions,
  actor: Actor,
  webhookId: Id,
): Promise<TestClaim | null> {
  const [hook] = await sql.rows<{
    url: string;
    secret: string;
    old_secret: string | null;
    old_secret_until: Date | null;
  }>(`SELECT url, secret, old_secret, old_secret_until FROM webhooks WHERE ${MINE} FOR SHARE`, [
    actor.accountId,
    webhookId,
  ]);
  if (hook === undefined) return null;
  const nowMs = clock.wallMs();
  const payload: PublicEvent = {
    ...{ id: newId(), type: 'webhook.test', alias: null, time: new Date(nowMs).toISOString() },
    ...{ account_id: actor.accountId, call_id: null, conversation_id: null, seq: null },
    ...{ node, request_id: actor.requestId, data: {} },
  };
  const [row] = await sql.rows<{ id: Id }>(
    `INSERT INTO webhook_deliveries (user_id, webhook_id, event_id, event_type, payload, next_attempt_at)
     VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
    [
      ...[actor.accountId, webhookId, payload.id, payload.type, JSON.stringify(payload)],
      new Date(nowMs + LEASE_MS).toISOString(),
    ],
  );
  await writeAudit(sql, actor, {
    ...{ action: 'webhook.test', targetType: 'webhook', targetId: webhookId },
    changes: { event_id: payload.id },
  });
  return {
    ...{ id: row?.id ?? '', accountId: actor.accountId, webhookId, payload, url: hook.url },
    ...{ secret: hook.secret, oldSecret: hook.old_secret },
    oldSecretUntilMs: hook.old_secret_until?.getTime() ?? null,
  };
}

/** A test has one attempt; its failure says nothing of the hook, its success ends a row of failures. */
async function noteTest(
  sql: Sql,
  claim: Pick<Claim, 'id' | 'accountId' | 'webhookId'>,
  sent: Sent,
  nowMs: number,
): Promise<void> {
  const { id, accountId, webhookId } = claim;
  if (sent.isOk) {
    await sql.run(
      `UPDATE webhooks SET failing_since = NULL WHERE user_id = $1 AND id = $2 AND failing_since IS NOT NULL`,
      [accountId, webhookId],
    );
  }
  await sql.run(
    `UPDATE webhook_deliveries SET status = $3, attempts = 1, next_attempt_at = NULL, response_status = $4,
       response_ms = $5, last_error = $6, delivered_at = $7 WHERE user_id = $1 AND id = $2 AND status = 'pending'`,
    [
      ...[accountId, id, sent.isOk ? 'delivered' : 'dead', sent.status, sent.durationMs],
      ...[sent.error, sent.isOk ? new Date(nowMs).toISOString() : null],
    ],
  );
}

function rowOf(row: DbRow): DeliveryRow {
  const next = row.next_attempt_at;
  return {
    ...{ id: row.id, eventId: row.event_id, eventType: row.event_type, status: row.status },
    ...{ attempts: row.attempts, nextAttemptAt: next instanceof Date ? next : null },
    ...{ responseStatus: row.response_status, responseMs: row.response_ms },
    ...{ lastError: row.last_error, createdAt: row.created_at, deliveredAt: row.delivered_at },
  };
}
