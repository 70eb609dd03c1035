/** Carries the journal into Postgres, in order and in batches, and waits out the time the database is away. */
import { backoffMs } from '#lib/backoff.ts';
import type { JournalEntry } from '#lib/call-events.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { park } from './dead-letter.ts';
import type { Batch } from './journal-cursor.ts';
import type { Database } from './pool.ts';
import { applyEntries, writeMessages, type Touched } from './projection-sql.ts';
import { isRefusedData, isServerAway, isSuspectData, sqlStateOf } from './sql-errors.ts';

/** The part of a journal cursor that is needed here. */
export type EntrySource = {
  readonly pending: number;
  read(limit: number): Promise<Batch>;
  commit(batch: Batch): void;
};

export type ProjectionOptions = {
  readonly source: EntrySource;
  readonly database: Database;
  readonly deadLetterFile: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** Told when the database goes away and when it is back. */
  readonly onUpChange?: (isUp: boolean) => void;
};

const BATCH = 200;
/** A short wait gathers the events of one moment into one transaction. */
const GATHER_MS = 20;
/**
 * From one batch to the next: a busy node pays for a batch, not for its entries, so the longer one takes, the less often
 * they come.
 */
const BETWEEN_MS = { atLeast: 100, atMost: 250, perMsOfBatch: 20 } as const;
const MESSAGES_EVERY_MS = 5_000;
/** Tries of one entry on an error that may be its own fault, before it is parked. */
const MAX_ATTEMPTS = 5;
const RETRY = { firstMs: 100, maxMs: 2_000 };

type Messages = { writtenMs: number; isDirty: boolean };

export class Projection {
  readonly #options: ProjectionOptions;
  readonly #clock: Clock;
  readonly #messages = new Map<Id, Messages>();
  #timer: TimerHandle | undefined;
  #timerAtMs = 0;
  #running: Promise<void> | undefined;
  /** When the last batch began, and the next one may. */
  #batchAtMs = 0;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #wanted = false;
  #failures = 0;
  #parked = 0;
  /** The entry that keeps the ones behind it waiting, and how often it has failed. */
  #suspect: { readonly id: Id; attempts: number } | undefined;
  #isUp = true;
  #onDeliveries: () => void = () => undefined;
  #isStopped = false;
  /** Messages of live calls are then written without waiting for their five seconds. */
  #isDraining = false;

  constructor(options: ProjectionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Journal entries that are not in the database yet. */
  get lagEvents(): number {
    return this.#options.source.pending;
  }

  /** Has `listener` told after each batch that queued something for webhooks. */
  onDeliveries(listener: () => void): void {
    this.#onDeliveries = listener;
  }

  /** Entries put into the dead-letter file since the start. */
  get parked(): number {
    return this.#parked;
  }

  /** False from a failed write until the next one that works. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Something was appended, or the database may be back. Cheap. */
  wake(): void {
    this.#wanted = true;
    if (this.#failures === 0) this.#schedule(this.#gatherMs);
  }

  /** Who waits for the end of a drain waits for no more than the events of one moment. */
  get #gatherMs(): number {
    if (this.#isDraining) return GATHER_MS;
    return Math.max(GATHER_MS, this.#nextAtMs - this.#clock.now());
  }

  /** True when everything was written before the deadline. */
  async drain(deadlineMs: number): Promise<boolean> {
    const endMs = this.#clock.now() + deadlineMs;
    this.#isDraining = true;
    try {
      while (this.lagEvents > 0 || this.#hasDirty()) {
        if (this.#clock.now() >= endMs || this.#isStopped) return false;
        this.wake();
        await delay(GATHER_MS, undefined, this.#clock);
      }
      return true;
    } finally {
      this.#isDraining = false;
    }
  }

  /** Lets the batch under way finish and starts no other. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#clock.clearTimer(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped || this.#running !== undefined) return;
    const atMs = this.#clock.now() + delayMs;
    // What comes sooner does not wait for what is due later.
    if (this.#timer !== undefined && this.#timerAtMs <= atMs) return;
    this.#clock.clearTimer(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
        this.#scheduleNext();
      });
    }, delayMs);
  }

  #scheduleNext(): void {
    if (this.#failures > 0) return this.#schedule(backoffMs(this.#failures, RETRY));
    if (this.#wanted) return this.#schedule(this.#gatherMs);
    const dueMs = this.#nextMessagesMs();
    if (dueMs !== undefined) this.#schedule(Math.max(GATHER_MS, dueMs - this.#clock.now()));
  }

  async #run(): Promise<void> {
    this.#wanted = false;
    this.#batchAtMs = this.#clock.now();
    this.#nextAtMs = this.#batchAtMs + BETWEEN_MS.atLeast;
    try {
      for (;;) {
        const batch = await this.#options.source.read(BATCH);
        if (batch.entries.length === 0) break;
        await this.#apply(batch.entries);
        this.#options.source.commit(batch);
        this.#succeeded();
        if (this.#isStopped) return;
        // What has been appended meanwhile has woken us, and is gathered first.
        if (batch.entries.length < BATCH) break;
      }
      await this.#writeDueMessages();
      this.#succeeded();
      this.#rest();
    } catch (error) {
      this.#failed(error);
    }
  }

  #rest(): void {
    const { atLeast, atMost, perMsOfBatch } = BETWEEN_MS;
    const tookMs = this.#clock.now() - this.#batchAtMs;
    const waitMs = Math.min(atMost, Math.max(atLeast, tookMs * perMsOfBatch));
    this.#nextAtMs = this.#batchAtMs + waitMs;
  }

  async #apply(entries: readonly JournalEntry[]): Promise<void> {
    try {
      await this.#applyTogether(entries);
    } catch (error) {
      if (!isPoison(error) && !isSuspectData(error)) throw error;
      for (const entry of entries) await this.#applyAlone(entry);
    }
  }

  async #applyTogether(
    entries: readonly JournalEntry[],
    onExtraLost?: (what: string, error: unknown) => void,
  ): Promise<void> {
    const nowMs = this.#clock.now();
    // Those of other calls are no business of an entry that has to do with a failure.
    const waiting = onExtraLost === undefined ? this.#dirty(nowMs) : [];
    const { touched, deliveries, written } = await this.#options.database.withSystem(
      async (sql) => {
        const applied = await applyEntries(sql, entries, onExtraLost);
        const ids = new Set(waiting);
        for (const [callId, isOver] of applied.touched)
          if (isOver || this.#isDue(callId, nowMs)) ids.add(callId);
        await writeMessages(sql, [...ids]);
        return { ...applied, written: ids };
      },
    );
    this.#noteMessages(touched, written, nowMs);
    if (deliveries > 0) this.#onDeliveries();
  }

  #isDue(callId: Id, nowMs: number): boolean {
    const writtenMs = this.#messages.get(callId)?.writtenMs ?? Number.NEGATIVE_INFINITY;
    return nowMs - writtenMs >= MESSAGES_EVERY_MS;
  }

  /** Calls with messages that are to be written now. */
  #dirty(nowMs: number): Id[] {
    return [...this.#messages]
      .filter(([, { isDirty, writtenMs }]) => {
        return isDirty && (this.#isDraining || nowMs - writtenMs >= MESSAGES_EVERY_MS);
      })
      .map(([callId]) => callId);
  }

  #noteMessages(touched: Touched, written: ReadonlySet<Id>, nowMs: number): void {
    for (const callId of touched.keys()) {
      const known = this.#messages.get(callId);
      if (known !== undefined) known.isDirty = true;
    }
    for (const callId of written) {
      if (touched.get(callId) === true) this.#messages.delete(callId);
      else this.#messages.set(callId, { writtenMs: nowMs, isDirty: false });
    }
  }

  async #applyAlone(entry: JournalEntry): Promise<void> {
    try {
      const { id: eventId, call_id: callId } = entry.event;
      await this.#applyTogether([entry], (what, error) =>
        this.#options.log.error('projection.extraLost', { what, eventId, callId, error }),
      );
    } catch (error) {
      if (!isPoison(error) && !this.#isGivenUp(entry.event.id, error)) throw error;
      await park(this.#options.deadLetterFile, entry, error, this.#clock.wallMs());
      this.#parked++;
      this.#suspect = undefined;
      // The next bad entry gets its own tries, from the shortest wait on.
      this.#failures = 0;
      this.#options.log.error('projection.parked', {
        eventId: entry.event.id,
        callId: entry.event.call_id,
        type: entry.event.type,
        sqlState: sqlStateOf(error),
        error,
      });
    }
  }

  /** Counts the failure. Order is kept, so one entry at a time can be under suspicion. */
  #isGivenUp(id: Id, error: unknown): boolean {
    if (!isSuspectData(error)) return false;
    if (this.#suspect?.id !== id) this.#suspect = { id, attempts: 0 };
    return ++this.#suspect.attempts >= MAX_ATTEMPTS;
  }

  async #writeDueMessages(): Promise<void> {
    const nowMs = this.#clock.now();
    const due = this.#dirty(nowMs);
    if (due.length === 0) return;
    await this.#options.database.withSystem((sql) => writeMessages(sql, due));
    for (const callId of due) this.#messages.set(callId, { writtenMs: nowMs, isDirty: false });
  }

  #nextMessagesMs(): number | undefined {
    let next: number | undefined;
    for (const { writtenMs, isDirty } of this.#messages.values()) {
      if (isDirty) next = Math.min(next ?? Number.POSITIVE_INFINITY, writtenMs + MESSAGES_EVERY_MS);
    }
    return next;
  }

  #hasDirty(): boolean {
    return this.#nextMessagesMs() !== undefined;
  }

  #succeeded(): void {
    this.#failures = 0;
    if (this.#isUp) return;
    this.#isUp = true;
    this.#options.log.info('projection.recovered', { lagEvents: this.lagEvents });
    this.#options.onUpChange?.(true);
  }

  #failed(error: unknown): void {
    this.#failures++;
    if (!this.#isUp) return;
    this.#isUp = false;
    const level = isServerAway(error) ? 'warn' : 'error';
    this.#options.log[level]('projection.failed', { lagEvents: this.lagEvents, error });
    this.#options.onUpChange?.(false);
  }
}

/** The data are refused, or building the statement failed on them: the entry will never pass. */
function isPoison(error: unknown): boolean {
  return isRefusedData(error) || !(error instanceof AppError);
}
