/**
 * Removes what an account keeps no longer (contract 4.6): hourly, in batches, one node at a time. A recording's key is
 * destroyed first, which destroys its audio; its file follows, and a file that will not go is tried again later.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import type { RecordingRemoval } from './recording-removal.ts';
import { EXPIRES_AT, SHRED, type ShreddedRow } from './recording-rows.ts';

export type RetentionOptions = {
  readonly database: Database;
  readonly removal: RecordingRemoval;
  readonly clock: Clock;
  readonly log: Log;
  /** Rows per transaction. */
  readonly batch?: number;
  /** Called after each run by the timer, on every node: time to let go of copies elsewhere. */
  readonly onRun?: () => Promise<void> | void;
};

/** What one run removed. `isElsewhere`: another node was at it, and this one stopped. */
export type RetentionRun = {
  recordings: number;
  files: number;
  records: number;
  /** Files that would not go, noted for the next run. */
  filesLeft: number;
  events: number;
  auditRows: number;
  idempotencyKeys: number;
  deliveries: number;
  isElsewhere: boolean;
};

const EVERY_MS = 3_600_000;
/** After a start the node has other work first. */
const FIRST_MS = 60_000;
const BATCH = 500;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const IDEMPOTENCY_KEY_MS = DAY_MS;
const DELIVERY_MS = 30 * DAY_MS;
/** Longer than any call: the longest is four hours. */
const ABANDONED_MS = 2 * DAY_MS;
/** Below every id. */
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

type AccountRow = {
  user_id: Id;
  retain_records_days: number | null;
  retain_events_days: number | null;
  retain_audit_days: number | null;
};

export class Retention {
  readonly #options: Required<RetentionOptions>;
  #timer: TimerHandle | undefined;
  #running: Promise<void> | undefined;
  /** Settings that changed before this were brought into `expires_at` already. */
  #settledMs = 0;
  #isClosed = false;

  constructor(options: RetentionOptions) {
    this.#options = { batch: BATCH, onRun: () => undefined, ...options };
  }

  start(): void {
    this.#schedule(FIRST_MS);
  }

  /** Lets the batch under way finish. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.setTimer(() => {
      this.#running = this.#runAndLog().finally(() => {
        this.#running = undefined;
        this.#schedule(EVERY_MS);
      });
    }, delayMs);
  }

  async #runAndLog(): Promise<void> {
    const { log } = this.#options;
    try {
      const done = await this.run();
      const removed = Object.values(done).some((count) => typeof count === 'number' && count > 0);
      if (removed) log.info('retention.done', done);
      await this.#options.onRun();
    } catch (error) {
      // What was committed stays done; the next run goes on from there.
      log.error('retention.failed', { error });
    }
  }

  /** One run over all accounts. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  async run(): Promise<RetentionRun> {
    const done: RetentionRun = {
      ...{ recordings: 0, files: 0, records: 0, filesLeft: 0, events: 0, auditRows: 0 },
      ...{ idempotencyKeys: 0, deliveries: 0, isElsewhere: false },
    };
    const nowMs = this.#options.clock.wallMs();
    try {
      await this.#settleExpiry(nowMs);
      await this.#giveUpAbandoned(nowMs);
      done.recordings += await this.#expireRecordings(nowMs);
      for (const account of await this.#accounts()) await this.#clear(account, nowMs, done);
      done.files += await this.#removeFiles(nowMs);
      done.filesLeft = await this.#options.removal.retry();
      const keysBefore = isoOf(nowMs - IDEMPOTENCY_KEY_MS);
      done.idempotencyKeys = await this.#drain('idempotency_keys', 'created_at < $1', [keysBefore]);
      const deliveredBefore = isoOf(nowMs - DELIVERY_MS);
      const isOld = `status = 'delivered' AND delivered_at < $1`;
      done.deliveries += await this.#drain('webhook_deliveries', isOld, [deliveredBefore]);
      done.deliveries += await this.#clearWebhooks(nowMs);
    } catch (error) {
      if (!(error instanceof Elsewhere)) throw error;
      done.isElsewhere = true;
    }
    return done;
  }

  /** A change of the account's settings holds for recordings that exist already. */
  async #settleExpiry(nowMs: number): Promise<void> {
    const since = isoOf(this.#settledMs);
    const changed = await this.#alone((sql) =>
      sql.rows<{ user_id: Id }>('SELECT user_id FROM account_settings WHERE updated_at >= $1', [
        since,
      ]),
    );
    const accounts = changed.map(({ user_id: id }) => id);
    for (let after: Id | undefined = FIRST_ID; after !== undefined && accounts.length > 0;) {
      after = await this.#settlePage(accounts, after);
    }
    // A change that commits while this runs is seen by the next run.
    this.#settledMs = Math.max(0, nowMs - HOUR_MS);
  }

  /** The last id of the page; undefined when it was the last page. */
  async #settlePage(accounts: readonly Id[], after: Id): Promise<Id | undefined> {
    const size = this.#options.batch * 10;
    const [page] = await this.#alone((sql) =>
      sql.rows<{ last: Id | null; n: number }>(
        `WITH page AS (SELECT id FROM recordings WHERE id > $1 ORDER BY id LIMIT $2),
           settled AS (
             UPDATE recordings r SET expires_at = ${EXPIRES_AT} FROM page
              WHERE r.id = page.id AND r.deleted_at IS NULL AND r.status IN ('ready', 'failed')
                AND r.user_id = ANY ($3::uuid[]) AND r.expires_at IS DISTINCT FROM ${EXPIRES_AT})
         SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*)::int FROM page) AS n`,
        [after, size, accounts],
      ),
    );
    return page === undefined || page.n < size ? undefined : (page.last ?? undefined);
  }

  /** Still being written, and past its time: its node never came back. No call lasts that long. */
  #giveUpAbandoned(nowMs: number): Promise<number> {
    return this.#repeat((sql) =>
      sql.run(
        `WITH due AS (SELECT r.id, r.call_id, r.user_id, ${EXPIRES_AT} AS expires_at FROM recordings r
              WHERE r.status = 'active' AND r.deleted_at IS NULL AND ${EXPIRES_AT} <= $1
              LIMIT $2 FOR UPDATE SKIP LOCKED),
           marked AS (UPDATE call_records c SET recording_status = 'failed', updated_at = now() FROM due
              WHERE c.id = due.call_id AND c.user_id = due.user_id AND c.recording_id = due.id
                AND c.recording_status = 'active')
         UPDATE recordings r SET status = 'failed', expires_at = due.expires_at FROM due WHERE r.id = due.id`,
        [isoOf(nowMs - ABANDONED_MS), this.#options.batch],
      ),
    );
  }

  async #expireRecordings(nowMs: number): Promise<number> {
    return this.#repeat(async (sql) => {
      const due = await sql.rows<{ id: Id }>(
        `SELECT id FROM recordings WHERE expires_at <= $1 AND deleted_at IS NULL
            AND (status = 'ready' OR status = 'failed' AND key_enc IS NOT NULL)
          ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
        [isoOf(nowMs), this.#options.batch],
      );
      return (await this.#shred(sql, due, nowMs)).length;
    });
  }

  #shred(sql: Sql, due: readonly { id: Id }[], nowMs: number): Promise<ShreddedRow[]> {
    return due.length === 0
      ? Promise.resolve([])
      : sql.rows<ShreddedRow>(SHRED, [due.map(({ id }) => id), isoOf(nowMs)]);
  }

  /** Files of recordings whose key is gone. Each is tried once per run. */
  async #removeFiles(nowMs: number): Promise<number> {
    let files = 0;
    let after: Id = FIRST_ID;
    for (;;) {
      const due = await this.#alone((sql) =>
        sql.rows<ShreddedRow>(
          `SELECT id, uri FROM recordings WHERE expires_at <= $1 AND deleted_at IS NULL
              AND key_enc IS NULL AND status IN ('expired', 'failed') AND id > $2
            ORDER BY id LIMIT $3`,
          [isoOf(nowMs), after, this.#options.batch],
        ),
      );
      files += await this.#removeEach(due, nowMs);
      if (due.length < this.#options.batch) return files;
      after = due.at(-1)?.id ?? after;
    }
  }

  async #removeEach(due: readonly ShreddedRow[], nowMs: number): Promise<number> {
    const gone: Id[] = [];
    for (const { id, uri } of due) if (await this.#options.removal.remove(uri)) gone.push(id);
    if (gone.length > 0) {
      await this.#alone((sql) =>
        sql.run('UPDATE recordings SET deleted_at = $2 WHERE id = ANY ($1::uuid[])', [
          gone,
          isoOf(nowMs),
        ]),
      );
    }
    return gone.length;
  }

  #accounts(): Promise<AccountRow[]> {
    return this.#alone((sql) =>
      sql.rows<AccountRow>(
        `SELECT user_id, retain_records_days, retain_events_days, retain_audit_days
           FROM account_settings ORDER BY user_id`,
      ),
    );
  }

  async #clear(account: AccountRow, nowMs: number, done: RetentionRun): Promise<void> {
    const { user_id: id } = account;
    const old = 'user_id = $2 AND at < $1';
    const events = cutOf(account.retain_events_days, nowMs);
    if (events !== null) done.events += await this.#drain('call_events', old, [events, id]);
    // What was never delivered holds the same words, and is kept as long as the events.
    const left = `user_id = $2 AND status <> 'delivered' AND created_at < $1`;
    if (events !== null)
      done.deliveries += await this.#drain('webhook_deliveries', left, [events, id]);
    const audit = cutOf(account.retain_audit_days, nowMs);
    if (audit !== null) done.auditRows += await this.#drain('audit_log', old, [audit, id]);
    const records = cutOf(account.retain_records_days, nowMs);
    if (records !== null) done.records += await this.#clearRecords(id, records, nowMs, done);
  }

  /** A record goes with its recordings: first their keys, then their files, then the row. */
  async #clearRecords(
    accountId: Id,
    before: string,
    nowMs: number,
    done: RetentionRun,
  ): Promise<number> {
    let records = 0;
    let after = { at: '-infinity', id: FIRST_ID };
    for (;;) {
      const due = await this.#alone((sql) =>
        sql.rows<{ id: Id; at: string }>(
          `SELECT id, start_time::text AS at FROM call_records WHERE user_id = $1 AND start_time < $2
              AND (start_time, id) > ($3::timestamptz, $4::uuid)
            ORDER BY start_time, id LIMIT $5`,
          [accountId, before, after.at, after.id, this.#options.batch],
        ),
      );
      const ids = due.map(({ id }) => id);
      await this.#clearRecordingsOf(ids, nowMs, done);
      // One whose file would not go stays until it does: nothing else remembers the file.
      records += await this.#alone((sql) =>
        sql.run(
          `DELETE FROM call_records c WHERE c.id = ANY ($1::uuid[]) AND NOT EXISTS (
             SELECT FROM recordings f WHERE f.call_id = c.id AND f.deleted_at IS NULL)`,
          [ids],
        ),
      );
      if (due.length < this.#options.batch) return records;
      after = due.at(-1) ?? after;
    }
  }

  async #clearRecordingsOf(
    callIds: readonly Id[],
    nowMs: number,
    done: RetentionRun,
  ): Promise<void> {
    const shredded = await this.#alone(async (sql) => {
      // One that is still marked as being written was left behind by a node that never came back.
      await sql.run(
        `UPDATE recordings SET status = 'failed' WHERE call_id = ANY ($1::uuid[]) AND status = 'active'`,
        [callIds],
      );
      const held = await sql.rows<{ id: Id }>(
        'SELECT id FROM recordings WHERE call_id = ANY ($1::uuid[]) AND deleted_at IS NULL',
        [callIds],
      );
      return this.#shred(sql, held, nowMs);
    });
    done.recordings += shredded.length;
    done.files += await this.#removeEach(shredded, nowMs);
  }

  /** Hooks that were deleted go after what was queued for them; secrets that no longer sign go too. */
  async #clearWebhooks(nowMs: number): Promise<number> {
    const ofDeleted = 'webhook_id IN (SELECT id FROM webhooks WHERE deleted_at IS NOT NULL)';
    const deliveries = await this.#drain('webhook_deliveries', ofDeleted, []);
    await this.#alone(async (sql) => {
      await sql.run(
        `DELETE FROM webhooks w WHERE deleted_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.id)`,
      );
      await sql.run(
        'UPDATE webhooks SET old_secret = NULL, old_secret_until = NULL WHERE old_secret_until < $1',
        [isoOf(nowMs)],
      );
    });
    return deliveries;
  }

  /** Deletes the rows of `table` that `where` means, batch by batch; `values` are its parameters. */
  #drain(table: string, where: string, values: readonly unknown[]): Promise<number> {
    return this.#repeat((sql) =>
      sql.run(
        `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
           SELECT ctid FROM ${table} WHERE ${where} LIMIT $${values.length + 1} FOR UPDATE SKIP LOCKED))`,
        [...values, this.#options.batch],
      ),
    );
  }

  /** One batch per transaction until one is not full. */
  async #repeat(work: (sql: Sql) => Promise<number>): Promise<number> {
    let total = 0;
    for (;;) {
      const count = await this.#alone(work);
      total += count;
      if (count < this.#options.batch) return total;
    }
  }

  /** A transaction that holds the lock of all nodes. */
  #alone<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new Elsewhere();
    return this.#options.database.withSystem(async (sql) => {
      const [lock] = await sql.rows<{ is_ours: boolean }>(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('callyard retention', 0)) AS is_ours",
      );
      if (lock?.is_ours !== true) throw new Elsewhere();
      return work(sql);
    });
  }
}

/** Another node is at it, or this one is closing: not an error, but the end of the run. */
class Elsewhere extends Error {
  override readonly name = 'Elsewhere';
}

/** Rows before this are too old; null keeps them all. Less than a day would reach calls that are still going on. */
function cutOf(days: number | null, nowMs: number): string | null {
  return days === null ? null : isoOf(nowMs - Math.max(1, days) * DAY_MS);
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
