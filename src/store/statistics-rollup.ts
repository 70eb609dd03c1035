/**
 * Rolls up the days of accounts (contract 4.2, 6): those that ended more than 24 h ago and lie in the year that is asked
 * for. A change of such a day forgets it in the change's own transaction; here it is counted again.
 */
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import { isServerAway } from './sql-errors.ts';

export type RollupOptions = {
  readonly database: Database;
  readonly log: Log;
  readonly clock?: Clock;
};

/** Changes of old days often come in rows: they are waited for. */
const GATHER_MS = 2_000;
const FIRST_SWEEP_MS = 5_000;
const SWEEP_MS = 3_600_000;
const RETRY_MS = 30_000;
/** Accounts that wait for their turn; more are found by the next sweep. */
const MAX_WAITING = 1_000;
/** Accounts that one page of the sweep looks at. */
const SWEEP_PAGE = 200;

export class StatisticsRollup {
  readonly #options: RollupOptions;
  readonly #clock: Clock;
  readonly #waiting = new Set<Id>();
  #timer: TimerHandle | undefined;
  #running: Promise<void> | undefined;
  #sweepAtMs = 0;
  #isStarted = false;
  #isStopped = false;

  constructor(options: RollupOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** True while it counts nothing. */
  get isIdle(): boolean {
    return this.#running === undefined;
  }

  /** From now on it works; before, and after `stop`, hints are only noted. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#sweepAtMs = this.#clock.now() + FIRST_SWEEP_MS;
    this.#schedule();
  }

  /** This account may have days to count. Cheap. */
  wake(accountId: Id): void {
    if (this.#isStopped || this.#waiting.size >= MAX_WAITING) return;
    const isFirst = this.#waiting.size === 0;
    this.#waiting.add(accountId);
    if (!isFirst) return;
    // The timer that runs is the next sweep's, which may be an hour away.
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#schedule();
  }

  /** Lets the day under way finish. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#clock.clearTimer(this.#timer);
    await this.#running;
  }

  /** Rolls up every day of the account that is due, newest first; how many. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  async rollUp(accountId: Id, nowMs = this.#clock.wallMs()): Promise<number> {
    const { database } = this.#options;
    const now = new Date(nowMs);
    const days = await database.withSystem((sql) =>
      sql.rows<{ day: string; zone: string }>(DUE_DAYS, [accountId, now]),
    );
    let rolled = 0;
    for (const { day, zone } of days) {
      if (this.#isStopped) break;
      const isDone = await database.withSystem((sql) => rollUpDay(sql, accountId, day, zone));
      if (isDone) rolled++;
    }
    return rolled;
  }

  /** Every account with a day to roll up, and markers that no period can ask for any more are removed. */
  async sweep(nowMs = this.#clock.wallMs()): Promise<void> {
    const now = new Date(nowMs);
    const { database } = this.#options;
    await database.withSystem((sql) =>
      sql.run('DELETE FROM call_stats_days WHERE day < $1::timestamptz::date - 400', [now]),
    );
    let after = '00000000-0000-0000-0000-000000000000';
    for (;;) {
      const page = await database.withSystem((sql) =>
        sql.rows<{ user_id: Id }>(ACCOUNTS, [after, now]),
      );
      for (const { user_id: accountId } of page) await this.#rollUpOne(accountId, nowMs);
      const last = page.at(-1)?.user_id;
      if (last === undefined || page.length < SWEEP_PAGE || this.#isStopped) return;
      after = last;
    }
  }

  #schedule(): void {
    const isIdle = this.#timer === undefined && this.#running === undefined;
    if (!this.#isStarted || this.#isStopped || !isIdle) return;
    const untilSweepMs = Math.max(0, this.#sweepAtMs - this.#clock.now());
    const delayMs = this.#waiting.size > 0 ? Math.min(GATHER_MS, untilSweepMs) : untilSweepMs;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
        this.#schedule();
      });
    }, delayMs);
  }

  async #run(): Promise<void> {
    try {
      const accounts = [...this.#waiting];
      this.#waiting.clear();
      for (const accountId of accounts) await this.#rollUpOne(accountId);
      if (this.#clock.now() < this.#sweepAtMs) return;
      this.#sweepAtMs = this.#clock.now() + SWEEP_MS;
      await this.sweep();
    } catch (error) {
      // Nothing is lost: what is not rolled up is counted record by record.
      const level = isServerAway(error) ? 'debug' : 'error';
      this.#options.log[level]('statistics.rollupFailed', { error });
      this.#sweepAtMs = this.#clock.now() + RETRY_MS;
    }
  }

  /** One account that cannot be counted does not keep the others waiting. Errors: E_DATABASE_UNREACHABLE. */
  async #rollUpOne(accountId: Id, nowMs?: number): Promise<void> {
    if (this.#isStopped) return;
    try {
      await this.rollUp(accountId, nowMs);
    } catch (error) {
      if (isServerAway(error)) throw error;
      this.#options.log.error('statistics.rollupFailed', { accountId, error });
    }
  }
}

/** A week may have begun in the year before. */
const DUE_DAYS = `
SELECT to_char(d, 'YYYY-MM-DD') AS day, s.timezone AS zone
  FROM account_settings s
 CROSS JOIN LATERAL (SELECT start_time AS at FROM call_records WHERE user_id = s.user_id ORDER BY start_time LIMIT 1) f
 CROSS JOIN LATERAL generate_series(
   greatest(date_trunc('year', $2::timestamptz AT TIME ZONE s.timezone) - interval '7 days', date_trunc('day', f.at AT TIME ZONE s.timezone)),
   $2::timestamptz AT TIME ZONE s.timezone, interval '1 day') d
 WHERE s.user_id = $1 AND ((d + interval '1 day') AT TIME ZONE s.timezone) < $2::timestamptz - interval '24 hours'
   AND NOT EXISTS (SELECT FROM call_stats_days m WHERE m.user_id = s.user_id AND m.day = d::date)
 ORDER BY d DESC`;

/** Accounts with records of this year that are old enough, page by page. */
const ACCOUNTS = `
SELECT s.user_id FROM account_settings s
 WHERE s.user_id > $1::uuid AND EXISTS (SELECT FROM call_records r WHERE r.user_id = s.user_id
   AND r.start_time >= date_trunc('year', $2::timestamptz AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '8 days'
   AND r.start_time < $2::timestamptz - interval '24 hours')
 ORDER BY s.user_id LIMIT ${SWEEP_PAGE}`;

/**
 * Holds the exclusive form of the locks that the trigger of `call_records` takes, so every change of that day has either
 * been committed before, and is counted, or waits and then forgets the day. Never waits itself: those behind it would too.
 */
async function rollUpDay(sql: Sql, accountId: Id, day: string, zone: string): Promise<boolean> {
  const [lock] = await sql.rows<{ zone: boolean; day: boolean }>(
    `SELECT pg_try_advisory_xact_lock_shared(hashtextextended('zone ' || $1::uuid::text, 0)) AS zone,
            pg_try_advisory_xact_lock(call_stats_lock($1, $2::date)) AS day`,
    [accountId, day],
  );
  if (lock?.zone !== true || !lock.day) return false;
  // From here on each statement sees all that was committed before the locks were given.
  const marked = await sql.run(
    `INSERT INTO call_stats_days (user_id, day) SELECT user_id, $2::date FROM account_settings
      WHERE user_id = $1 AND timezone = $3 ON CONFLICT DO NOTHING`,
    [accountId, day, zone],
  );
  if (marked === 0) return false;
  await sql.run(COUNT_DAY, [accountId, day, zone]);
  await sql.run(SUM_DAY, [accountId, day]);
  return true;
}

const COUNT_DAY = `
INSERT INTO call_stats_daily (user_id, day, agent_id, caller_app, hangup_reason, calls, timed_calls, seconds)
SELECT $1, $2::date, agent_id, coalesce(caller_app, ''), coalesce(hangup_reason::text, ''), count(*),
       count(duration_seconds), coalesce(sum(duration_seconds), 0)
  FROM call_records WHERE user_id = $1 AND channel <> 'text'
   AND start_time >= ($2::date::timestamp AT TIME ZONE $3) - interval '2 hours'
   AND start_time < (($2::date + 1)::timestamp AT TIME ZONE $3) AND (start_time AT TIME ZONE $3)::date = $2::date
 GROUP BY 3, 4, 5`;

const SUM_DAY = `
INSERT INTO call_stats_account_daily (user_id, day, kind, name, calls, timed_calls, seconds)
SELECT $1, $2::date, CASE grouping(caller_app) WHEN 0 THEN 'app' ELSE 'reason' END, coalesce(caller_app, hangup_reason),
       sum(calls), sum(timed_calls), sum(seconds)
  FROM call_stats_daily WHERE user_id = $1 AND day = $2::date GROUP BY GROUPING SETS ((caller_app), (hangup_reason))`;
