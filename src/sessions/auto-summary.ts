/**
 * Summaries by themselves (contract 7.2): within 10 s after a call has ended, off the call's own path. What cannot be
 * kept now (the database is away, the queue is full, the process goes down) is found again by a look into the database.
 */
import { createHash } from 'node:crypto';
import type { CallEvent, JournalEntry, Message } from '#lib/call-events.ts';
import { BoundedQueue } from '#lib/bounded-queue.ts';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { MODEL_TIMEOUT_MS } from './completion.ts';
import { hasSpeech, type Summaries, type Summary } from './summary.ts';
import { UsageMeter } from './usage-meter.ts';

export type SummarySource = 'llm' | 'extractive';

/** What the worker needs of the store, as `store/summaries.ts` gives it. Errors: E_DATABASE*. */
export type SummaryStore = {
  saveAutomatic(
    accountId: Id,
    id: Id,
    summary: {
      readonly summary: string;
      readonly meta: {
        readonly source: SummarySource;
        readonly model: string | null;
        readonly language: string;
        readonly generated_at: string;
      };
    },
  ): Promise<
    | { readonly kind: 'saved' | 'missing' }
    | { readonly kind: 'present'; readonly source: string | null; readonly summary: string | null }
  >;
  waiting(query: {
    readonly node: string;
    readonly sinceMs: number;
    readonly othersBeforeMs: number;
    readonly limit: number;
  }): Promise<readonly FoundCall[]>;
};

/** A call of the database that ended and has no summary yet. */
export type FoundCall = {
  readonly callId: Id;
  readonly accountId: Id;
  readonly agentId: Id;
  readonly messages: readonly Message[];
  readonly lastSeq: number;
};

/** A call of this process that has just ended. */
export type EndedCall = Omit<FoundCall, 'lastSeq'> & {
  /** Counts what the summary takes, for the event that tells it. */
  readonly usage: UsageMeter;
  /** Journals `summary.ready` as the call's next event. */
  tell(summary: string, source: SummarySource): void;
};

export type AutoSummaryOptions = {
  readonly summaries: Pick<Summaries, 'make'>;
  readonly store: SummaryStore;
  readonly journal: { append(entry: JournalEntry): void };
  readonly node: string;
  /** True once what the journal held at the start is in the database: what is missing there may only be on its way. */
  isSettled(): boolean;
  readonly clock: Clock;
  readonly log: Log;
};

type Job = EndedCall & { readonly dueMs: number };

/** Contract 7.2: 10 s, of which one is left for the way into the database. */
const DUE_MS = 9_000;
const SAVE_MS = 2_500;
const SAVE_RETRY = { firstMs: 100, maxMs: 800 };
const QUEUE = 1_000;
const WORKERS = 32;
/** How long after its end a call is still worth a summary that was missed. */
const LOOK_BACK_MS = 3_600_000;
const OTHERS_AFTER_MS = 30_000;
const LOOK_RETRY = { firstMs: 1_000, maxMs: 30_000 };
/** 1, 2, 4, then 8 s. */
const MAX_FAILED_PACE = 3;
const LOOK_BATCH = 50;
/** Calls told lately (a look must not find them again while their event is on its way to the database), and missed. */
const MAX_KNOWN = 5_000;

export class AutoSummary {
  readonly #options: AutoSummaryOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #queue = new BoundedQueue<Job>(QUEUE, 'newest');
  readonly #busy = new Set<Id>();
  readonly #told = new Set<Id>();
  readonly #stop = new AbortController();
  readonly #workers = new Set<Promise<void>>();
  #timer: TimerHandle | undefined;
  #looking: Promise<void> | undefined;
  /** Looks in a row that found nothing, though something was missed. */
  #idleLooks = 0;
  #isFirstLook = true;
  /** Calls that could not be done, with the time (monotonic) after which they are not looked for any more. */
  readonly #missed = new Map<Id, number>();

  constructor(options: AutoSummaryOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Looks for calls that ended while nobody could make their summary. Call once, after `recover`. */
  start(): void {
    this.#scheduleLook();
  }

  /** Takes a call that is over; returns at once and never throws. */
  callEnded(call: EndedCall): void {
    this.#take({ ...call, dueMs: this.#clock.now() + DUE_MS });
  }

  /** Calls that wait or are in work. */
  get pending(): number {
    return this.#queue.length + this.#workers.size;
  }

  /** Gives up what is in work: the next start finds it. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#clock.clearTimer(this.#timer);
    this.#queue.drain();
    await Promise.all([...this.#workers, this.#looking]);
  }

  #take(job: Job): void {
    if (this.#stop.signal.aborted || this.#busy.has(job.callId) || this.#told.has(job.callId)) {
      return;
    }
    if (!hasSpeech(job.messages)) return;
    if (!this.#queue.push(job)) {
      this.#miss(job.callId, 'the queue is full');
      return;
    }
    this.#busy.add(job.callId);
    if (this.#workers.size >= WORKERS) return;
    const worker = this.#work().finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  async #work(): Promise<void> {
    for (;;) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      try {
        await this.#summarise(job);
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#miss(job.callId, toAppError(error).message);
      } finally {
        this.#busy.delete(job.callId);
      }
    }
  }

  async #summarise(job: Job): Promise<void> {
    const leftMs = job.dueMs - SAVE_MS - this.#clock.now();
    const made = await this.#options.summaries.make({
      ...job,
      language: null,
      // Late in a long queue there is no time for a model: a summary of its own words is better than none.
      modelTimeoutMs: Math.min(MODEL_TIMEOUT_MS, leftMs),
      signal: this.#stop.signal,
    });
    if (this.#stop.signal.aborted) return;
    const ready = await this.#save(job, made);
    this.#noteTold(job.callId);
    if (ready !== null) job.tell(ready.summary, ready.source);
  }

  /** What is now in the record, to be told; null when it is a client's own. Errors: E_DATABASE*, E_ABORTED. */
  async #save(
    job: Job,
    made: Summary,
  ): Promise<{ readonly summary: string; readonly source: SummarySource } | null> {
    const { text, source, model, language, generatedAt } = made;
    const summary = { summary: text, meta: { source, model, language, generated_at: generatedAt } };
    const untilMs = this.#clock.now() + SAVE_MS;
    for (let attempt = 1; ; attempt++) {
      const result = await this.#try(job, summary, untilMs);
      if (result.kind === 'saved') return { summary: text, source };
      if (result.kind === 'present') {
        const isOurs = result.source === 'llm' || result.source === 'extractive';
        return isOurs && result.summary !== null
          ? { summary: result.summary, source: result.source as SummarySource }
          : null;
      }
      // The record itself is still on its way.
      await delay(backoffMs(attempt, SAVE_RETRY), this.#stop.signal, this.#clock);
      if (this.#clock.now() >= untilMs) throw new Error('the record is not in the database');
    }
  }

  async #try(
    job: Job,
    summary: Parameters<SummaryStore['saveAutomatic']>[2],
    untilMs: number,
  ): Promise<Awaited<ReturnType<SummaryStore['saveAutomatic']>>> {
    try {
      return await this.#options.store.saveAutomatic(job.accountId, job.callId, summary);
    } catch (error) {
      if (this.#clock.now() >= untilMs || !toAppError(error).retryable) throw error;
      return { kind: 'missing' };
    }
  }

  #noteTold(callId: Id): void {
    this.#missed.delete(callId);
    this.#told.add(callId);
    trim(this.#told);
  }

  #miss(callId: Id, reason: string): void {
    this.#log.warn('summary.missed', { callId, reason, note: 'it is made later' });
    this.#missed.set(callId, this.#clock.now() + LOOK_BACK_MS);
    trim(this.#missed);
    this.#scheduleLook();
  }

  // ---- What was missed ----

  #scheduleLook(): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined || this.#looking !== undefined)
      return;
    for (const [callId, untilMs] of this.#missed) {
      if (untilMs < this.#clock.now()) this.#missed.delete(callId);
    }
    if (!this.#isFirstLook && this.#missed.size === 0) return;
    this.#timer = this.#clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#looking = this.#look().finally(() => {
          this.#looking = undefined;
          this.#scheduleLook();
        });
      },
      backoffMs(this.#idleLooks + 1, LOOK_RETRY),
    );
  }

  async #look(): Promise<void> {
    if (!this.#options.isSettled()) return;
    try {
      const nowMs = this.#clock.wallMs();
      const found = await this.#options.store.waiting({
        node: this.#options.node,
        sinceMs: nowMs - LOOK_BACK_MS,
        othersBeforeMs: nowMs - OTHERS_AFTER_MS,
        limit: LOOK_BATCH,
      });
      const fresh = found.filter(({ callId }) => !this.#told.has(callId));
      for (const call of fresh) {
        const usage = new UsageMeter();
        this.callEnded({ ...call, usage, tell: this.#teller(call, usage) });
      }
      // A full batch may not have been all.
      this.#isFirstLook = found.length === LOOK_BATCH && fresh.length > 0;
      this.#idleLooks = fresh.length > 0 ? 0 : this.#idleLooks + 1;
    } catch (error) {
      // When the database is back, what was missed is to be made soon.
      this.#idleLooks = Math.min(this.#idleLooks + 1, MAX_FAILED_PACE);
      this.#log.warn('summary.lookFailed', { error: toAppError(error) });
    }
  }

  /** The call's story is gone with its process: the event takes the number behind the last one stored. */
  #teller(call: FoundCall, meter: UsageMeter): EndedCall['tell'] {
    return (summary, source) => {
      const event: CallEvent<'summary.ready'> = {
        id: eventIdOf(call.callId),
        type: 'summary.ready',
        time: new Date(this.#clock.wallMs()).toISOString(),
        account_id: call.accountId,
        call_id: call.callId,
        seq: call.lastSeq + 1,
        node: this.#options.node,
        request_id: null,
        data: { summary, source },
      };
      const usage = meter.take();
      const used = usage.length === 0 ? {} : { usage };
      this.#options.journal.append({ event, record: null, recording: null, ...used });
    };
  }
}

/** The same on every node: two that find the same call tell one event. RFC 9562, version 8. */
function eventIdOf(callId: Id): Id {
  const hash = createHash('sha256').update(`summary.ready ${callId}`).digest('hex');
  const variant = (8 + (Number.parseInt(hash.charAt(16), 16) % 4)).toString(16);
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`];
  return [...parts, variant + hash.slice(17, 20), hash.slice(20, 32)].join('-');
}

/** The oldest go first: both kinds of collection keep their order. */
function trim(known: Set<Id> | Map<Id, unknown>): void {
  if (known.size <= MAX_KNOWN) return;
  const oldest = known.keys().next();
  if (oldest.done !== true) known.delete(oldest.value);
}
