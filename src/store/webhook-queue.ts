/** The queue of deliveries as a worker sees it: results in, due deliveries out, in one short transaction. */
import type { Id } from '#lib/ids.ts';
import type { PublicEvent } from '#lib/public-event.ts';
import { DISABLE_AFTER_MS } from '#lib/webhook-schedule.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';

/** One delivery that this node has claimed until `leaseMs`; its hook as it was then. */
export type Claim = {
  readonly id: Id;
  readonly accountId: Id;
  readonly webhookId: Id;
  readonly payload: PublicEvent;
  /** Attempts before this one. */
  readonly attempts: number;
  readonly leaseMs: number;
  readonly url: string;
  readonly secret: string;
  readonly oldSecret: string | null;
  readonly oldSecretUntilMs: number | null;
};

/** How an attempt ended. */
export type Sent = {
  readonly isOk: boolean;
  /** Of the answer; null when there was none. */
  readonly status: number | null;
  readonly durationMs: number;
  /** Holds neither words of the answer nor secrets; null after a success. */
  readonly error: string | null;
};

export type Attempt = {
  readonly claim: Pick<Claim, 'id' | 'webhookId' | 'url' | 'attempts' | 'leaseMs'>;
  readonly sent: Sent;
  readonly atMs: number;
  /** `delivered`, `pending` (tried again at `nextMs`) or `dead`. */
  readonly status: 'delivered' | 'pending' | 'dead';
  readonly nextMs: number | null;
};

export type Turn = {
  /** Unix time. */
  readonly nowMs: number;
  readonly attempts: readonly Attempt[];
  /** Claims given back without an attempt that counts. */
  readonly released?: readonly Pick<Claim, 'id' | 'leaseMs'>[];
  /** Deliveries to claim at most. */
  readonly free: number;
  /** Under way on this node: deliveries, each with its hook. They are not claimed again, whatever the clock says. */
  readonly sending: ReadonlyMap<Id, Id>;
};

export type TurnResult = {
  readonly claims: readonly Claim[];
  /** The next attempt that is not due yet. */
  readonly nextMs: number | null;
  /** Hooks that were disabled by this turn. */
  readonly disabled: readonly { readonly id: Id; readonly reason: DisabledReason }[];
};

/** `gone`: it answered 410; `failing`: five days without a success. */
export type DisabledReason = 'gone' | 'failing';

export type WebhookQueue = {
  /** Errors: E_DATABASE, E_DATABASE_UNREACHABLE; the attempts may then be given again. */
  turn(turn: Turn): Promise<TurnResult>;
};

/** Longer than an attempt and the writing of its result: what is still claimed then was left by a crash. */
export const LEASE_MS = 120_000;
/** One hook at a time gets so many requests from one node, or so few while it fails. */
const PER_HOOK = 8;
const PER_FAILING_HOOK = 2;
/** All hooks of an account together, of one node: the others must find places too. */
const PER_ACCOUNT = 40;
const GONE = 410;
/** A receiver that is being restarted must not lose its hook to the first attempt after a quiet week. */
const MIN_ATTEMPTS_TO_DISABLE = 3;

export function createWebhookQueue(database: Database): WebhookQueue {
  return {
    turn: (turn) =>
      database.withSystem(async (sql) => {
        const disabled = turn.attempts.length === 0 ? [] : await settle(sql, turn);
        for (const each of turn.released ?? []) await release(sql, each);
        const claims = turn.free > 0 ? await claim(sql, turn) : [];
        return { claims, nextMs: await nextDue(sql, turn.nowMs), disabled };
      }),
  };
}

async function release(sql: Sql, { id, leaseMs }: Pick<Claim, 'id' | 'leaseMs'>): Promise<void> {
  await sql.run(
    `UPDATE webhook_deliveries SET next_attempt_at = '-infinity'
      WHERE id = $1 AND status = 'pending' AND next_attempt_at = $2`,
    [id, isoOf(leaseMs)],
  );
}

async function settle(sql: Sql, turn: Turn): Promise<TurnResult['disabled']> {
  // Hooks first, then deliveries, as every writer does: else two of them could wait for each other.
  const hooks = await sql.rows<{ id: Id; url: string }>(
    'SELECT id, url FROM webhooks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE',
    [turn.attempts.map(({ claim: { webhookId } }) => webhookId)],
  );
  await writeAttempts(sql, turn.attempts);
  const at = isoOf(turn.nowMs);
  const urls = new Map(hooks.map(({ id, url }) => [id, url]));
  // What a URL answered that the hook no longer has says nothing of the one it has now.
  const telling = turn.attempts.filter(
    ({ claim: { webhookId, url } }) => urls.get(webhookId) === url,
  );
  const hooksWhere = (isSo: (attempt: Attempt) => boolean): Id[] => [
    ...new Set(telling.filter(isSo).map(({ claim: { webhookId } }) => webhookId)),
  ];
  const well = hooksWhere(({ sent }) => sent.isOk);
  const failed = hooksWhere(({ sent }) => !sent.isOk).filter((id) => !well.includes(id));
  await sql.run(
    `UPDATE webhooks SET failing_since = CASE WHEN id = ANY ($1::uuid[]) THEN NULL ELSE $3::timestamptz END
      WHERE (id = ANY ($1::uuid[]) AND failing_since IS NOT NULL)
         OR (id = ANY ($2::uuid[]) AND failing_since IS NULL)`,
    [well, failed, at],
  );
  const gone = hooksWhere(({ sent }) => sent.status === GONE);
  const worn = hooksWhere(
    ({ sent, claim: { attempts } }) => !sent.isOk && attempts + 1 >= MIN_ATTEMPTS_TO_DISABLE,
  );
  const since = isoOf(turn.nowMs - DISABLE_AFTER_MS);
  return [
    ...(await disable(sql, gone, 'gone', null)),
    ...(await disable(sql, worn, 'failing', since)),
  ];
}

/** A failure counts only while the claim is still ours: somebody else may be sending, or the hook was disabled. */
async function writeAttempts(sql: Sql, attempts: readonly Attempt[]): Promise<void> {
  const rows = attempts.map(({ claim: { id, attempts: before, leaseMs }, ...attempt }) => ({
    ...{ id, attempts: before + 1, lease: isoOf(leaseMs), status: attempt.status },
    next: attempt.nextMs === null ? null : isoOf(attempt.nextMs),
    delivered: attempt.status === 'delivered' ? isoOf(attempt.atMs) : null,
    ...{ response_status: attempt.sent.status, response_ms: attempt.sent.durationMs },
    error: attempt.sent.error,
  }));
  await sql.run(
    `UPDATE webhook_deliveries d SET status = r.status, attempts = r.attempts, next_attempt_at = r.next,
       response_status = r.response_status, response_ms = r.response_ms, last_error = r.error, delivered_at = r.delivered
       FROM jsonb_to_recordset($1::jsonb) AS r(id uuid, attempts smallint, lease timestamptz, status text, next timestamptz,
         delivered timestamptz, response_status smallint, response_ms integer, error text)
      WHERE d.id = r.id AND d.status = 'pending' AND (r.status = 'delivered' OR d.next_attempt_at = r.lease)`,
    [JSON.stringify(rows)],
  );
}

/** What waits for the hook stays until it is enabled again. `since`: only one that has failed since then. */
async function disable(
  sql: Sql,
  ids: readonly Id[],
  reason: DisabledReason,
  since: string | null,
): Promise<{ id: Id; reason: DisabledReason }[]> {
  if (ids.length === 0) return [];
  const rows = await sql.rows<{ id: Id; user_id: Id }>(
    `UPDATE webhooks SET enabled = false, disabled_reason = $2, updated_at = now()
      WHERE id = ANY ($1::uuid[]) AND enabled AND ($3::timestamptz IS NULL OR failing_since <= $3)
      RETURNING id, user_id`,
    [ids, reason, since],
  );
  for (const row of rows) {
    const actor = {
      ...{ accountId: row.user_id, name: 'system', role: 'system' as const },
      ...{ agentIds: null, requestId: null, ip: null },
    };
    await writeAudit(sql, actor, {
      ...{ action: 'webhook.disable', targetType: 'webhook', targetId: row.id },
      changes: { enabled: false, disabled_reason: reason },
    });
  }
  return rows.map(({ id }) => ({ id, reason }));
}

type ClaimRow = {
  id: Id;
  user_id: Id;
  webhook_id: Id;
  payload: PublicEvent;
  attempts: number;
  url: string;
  secret: string;
  old_secret: string | null;
  old_secret_until: Date | null;
};

async function claim(sql: Sql, { nowMs, free, sending }: Turn): Promise<Claim[]> {
  const leaseMs = nowMs + LEASE_MS;
  const rows = await sql.rows<ClaimRow>(CLAIM, [
    ...[isoOf(nowMs), isoOf(leaseMs), free, [...sending.keys()], [...sending.values()]],
    ...[PER_HOOK, PER_FAILING_HOOK, PER_ACCOUNT],
  ]);
  return rows.map((row) => ({
    ...{ id: row.id, accountId: row.user_id, webhookId: row.webhook_id, payload: row.payload },
    ...{ attempts: row.attempts, leaseMs, url: row.url, secret: row.secret },
    oldSecret: row.old_secret,
    oldSecretUntilMs: row.old_secret_until?.getTime() ?? null,
  }));
}

/** Hooks that take deliveries and have one waiting: from one to the next in the index, however many each has. */
const READY = `
  hooks (id) AS (
    (SELECT webhook_id FROM webhook_deliveries WHERE status = 'pending' ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM webhook_deliveries d WHERE d.status = 'pending' AND d.webhook_id > h.id
             ORDER BY d.webhook_id LIMIT 1)
      FROM hooks h WHERE h.id IS NOT NULL
  ), ready AS (SELECT w.id, w.user_id, w.failing_since FROM hooks h JOIN webhooks w ON w.id = h.id AND w.enabled)`;

/**
 * Of each hook the first that are due are taken, new ones and retries by turns: either alone could be more than its
 * receiver can take. One whose call has an earlier event that was never tried waits for it. Accounts with the least
 * under way come first, and of each account such hooks, so slow ones cannot take every place.
 */
const CLAIM = `
  WITH RECURSIVE ${READY}, busy AS (
    SELECT s.id, w.user_id, count(*)::int AS n FROM unnest($5::uuid[]) AS s(id) JOIN webhooks w ON w.id = s.id GROUP BY 1, 2
  ), places AS (
    SELECT r.id, r.user_id, coalesce(b.n, 0) AS busy,
           CASE WHEN r.failing_since IS NULL THEN $6::int ELSE $7::int END - coalesce(b.n, 0) AS room
      FROM ready r LEFT JOIN busy b ON b.id = r.id
  ), due AS (
    SELECT f.id, p.user_id, p.room, p.busy, row_number() OVER (PARTITION BY p.id ORDER BY f.place, random()) AS place
      FROM places p CROSS JOIN (VALUES ('-infinity'::timestamptz, '-infinity'::timestamptz), ('0001-01-01Z', $1)) AS k(since, until)
     CROSS JOIN LATERAL (
      SELECT l.id, row_number() OVER () AS place FROM (
        SELECT d.id FROM webhook_deliveries d
         WHERE d.webhook_id = p.id AND d.status = 'pending' AND d.next_attempt_at BETWEEN k.since AND k.until
           AND d.id <> ALL ($4::uuid[])
           AND NOT EXISTS (SELECT FROM webhook_deliveries e
                 WHERE e.call_id = d.call_id AND e.webhook_id = d.webhook_id AND e.seq < d.seq
                   AND e.status = 'pending' AND e.attempts = 0)
         ORDER BY d.next_attempt_at, d.created_at LIMIT greatest(0, p.room) FOR UPDATE SKIP LOCKED) l) f
  ), shares AS (
    SELECT due.id, row_number() OVER (PARTITION BY user_id ORDER BY busy + place, random())
           + coalesce((SELECT sum(n) FROM busy b WHERE b.user_id = due.user_id), 0) AS share
      FROM due WHERE place <= room
  ), chosen AS (
    SELECT id FROM shares WHERE share <= $8::int ORDER BY share, random() LIMIT $3
  )
  UPDATE webhook_deliveries d SET next_attempt_at = $2
    FROM chosen, webhooks w WHERE d.id = chosen.id AND w.id = d.webhook_id
  RETURNING d.id, d.user_id, d.webhook_id, d.payload, d.attempts, w.url, w.secret, w.old_secret, w.old_secret_until`;

async function nextDue(sql: Sql, nowMs: number): Promise<number | null> {
  const [row] = await sql.rows<{ next: Date | null }>(
    `WITH RECURSIVE ${READY}
     SELECT min(due.next_attempt_at) AS next FROM ready r CROSS JOIN LATERAL (
       SELECT d.next_attempt_at FROM webhook_deliveries d
        WHERE d.webhook_id = r.id AND d.status = 'pending' AND d.next_attempt_at > $1
        ORDER BY d.next_attempt_at LIMIT 1) due`,
    [isoOf(nowMs)],
  );
  return row?.next?.getTime() ?? null;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
