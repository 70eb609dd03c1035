/**
 * Audit rows of acts that must not wait for the database, such as commands to live calls: written at once where that is
 * possible. While the database is away they stand in the log, wait in memory, and follow when it is back.
 */
import type { Actor } from '#lib/actor.ts';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { writeAudit, type AuditEntry } from './audit.ts';
import type { Database } from './pool.ts';
import { isRefusedData } from './sql-errors.ts';

export type AuditTrail = {
  /** Resolves once the row is written or waits to be, within a second. Never rejects. */
  note(actor: Actor, entry: AuditEntry): Promise<void>;
  /** One last try for what waits; the rest stays in the log alone. Idempotent. */
  close(): Promise<void>;
};

export type AuditTrailOptions = {
  readonly database: Pick<Database, 'withAccount'>;
  readonly clock: Clock;
  readonly log: Log;
};

type Waiting = { readonly actor: Actor; readonly entry: AuditEntry };

const PATIENCE_MS = 1000;
const MAX_WAITING = 10_000;
const RETRY = { firstMs: 500, maxMs: 30_000 };

export function createAuditTrail(options: AuditTrailOptions): AuditTrail {
  return new Trail(options);
}

class Trail implements AuditTrail {
  readonly #options: AuditTrailOptions;
  readonly #waiting: Waiting[] = [];
  /** Rows that are being written for the first time. */
  readonly #noting = new Set<Promise<void>>();
  #timer: TimerHandle | undefined;
  #failures = 0;
  #writing: Promise<void> | null = null;
  #isClosed = false;

  constructor(options: AuditTrailOptions) {
    this.#options = options;
  }

  async note(actor: Actor, entry: AuditEntry): Promise<void> {
    const { clock } = this.#options;
    // A row that comes late says when the act was.
    const acted_at = new Date(clock.wallMs()).toISOString();
    const written = this.#write(actor, entry)
      .catch((error: unknown) => {
        const late = { ...entry, changes: { ...entry.changes, acted_at } };
        this.#keep({ actor, entry: late }, error);
      })
      .finally(() => this.#noting.delete(written));
    this.#noting.add(written);
    try {
      await withDeadline(written, PATIENCE_MS, 'the audit log', clock);
    } catch (error) {
      // The database may still answer; when it does not, the row is kept then.
      this.#options.log.debug('audit.slow', { error: toAppError(error) });
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#timer);
    await Promise.all(this.#noting);
    await this.#writing;
    await this.#writeWaiting();
    const left = this.#waiting.splice(0);
    if (left.length > 0) this.#options.log.error('audit.lost', { rows: left.length });
  }

  #keep(waiting: Waiting, error: unknown): void {
    const { log } = this.#options;
    const { actor, entry } = waiting;
    const { accountId, name, role, requestId, ip } = actor;
    const who = { accountId, actor: name, role, requestId, ip };
    log.warn('audit.delayed', { ...who, ...entry, error: toAppError(error) });
    if (this.#waiting.length >= MAX_WAITING) {
      log.error('audit.lost', { rows: 1 });
      return;
    }
    this.#waiting.push(waiting);
    this.#arm();
  }

  #arm(): void {
    if (this.#isClosed || this.#timer !== undefined || this.#writing !== null) return;
    this.#timer = this.#options.clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#writing = this.#writeWaiting().finally(() => {
          this.#writing = null;
          if (this.#waiting.length > 0) this.#arm();
        });
      },
      backoffMs(++this.#failures, RETRY),
    );
  }

  /** In order; stops at the first that fails, unless it always will. */
  async #writeWaiting(): Promise<void> {
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        await this.#writeOrDrop(next);
        this.#waiting.shift();
        this.#failures = 0;
      }
    } catch (error) {
      this.#options.log.debug('audit.waiting', { rows: this.#waiting.length, error });
    }
  }

  /** A row that the database refuses for what it is (its account is gone) must not hold up the others. */
  async #writeOrDrop({ actor, entry }: Waiting): Promise<void> {
    try {
      await this.#write(actor, entry);
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      this.#options.log.error('audit.lost', { rows: 1, error });
    }
  }

  async #write(actor: Actor, entry: AuditEntry): Promise<void> {
    await this.#options.database.withAccount(actor.accountId, actor.name, (sql) =>
      writeAudit(sql, actor, entry),
    );
  }
}
