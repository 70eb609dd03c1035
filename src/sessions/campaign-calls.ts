/**
 * The claims of this process that are not settled: whose call has begun, and what is to be written when it has ended. A
 * write that fails is tried again until it works; after a crash the sweep of campaign-dialler.ts finds what was missed.
 */
import { backoffMs } from '#lib/backoff.ts';
import { FINAL_EVENTS, isCallEntry, type EventData, type JournalEntry } from '#lib/call-events.ts';
import type { CampaignEvent, ClaimDecision, ClaimFacts, TargetClaim } from '#lib/campaign.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { CampaignStore } from './campaign-ports.ts';
import { decideEnd, type CallEnd } from './campaign-rules.ts';

export type CampaignCallsOptions = {
  readonly store: Pick<CampaignStore, 'settle'>;
  readonly clock: Clock;
  readonly log: Log;
  onNews(news: readonly CampaignEvent[]): void;
  /** One of the campaign's lines is free again. */
  onSettled(campaignId: Id): void;
};

type Decide = (facts: ClaimFacts) => ClaimDecision;
type Job = {
  readonly claim: TargetClaim;
  readonly decide: Decide;
  failures: number;
  notBeforeMs: number;
};

const WORKERS = 4;
const RETRY = { firstMs: 200, maxMs: 5_000 };
const FLUSH_STEP_MS = 20;

export class CampaignCalls {
  readonly #options: CampaignCallsOptions;
  readonly #clock: Clock;
  /** By call; null while the claim is under way. As many as there are calls. */
  readonly #open = new Map<Id, TargetClaim | null>();
  readonly #jobs = new Map<Id, Job>();
  readonly #busy = new Set<Id>();
  #timer: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: CampaignCallsOptions) {
    this.#options = options;
    this.#clock = options.clock;
  }

  /** Before the claim is sent: from now on nobody takes it for a left-over. */
  begin(callId: Id): void {
    this.#open.set(callId, null);
  }

  claimed({ campaignId, targetId, callId }: TargetClaim): void {
    this.#open.set(callId, { campaignId, targetId, callId });
  }

  /** The claim came to nothing, or nobody knows what it came to: then the sweep finds it. */
  forget(callId: Id): void {
    this.#open.delete(callId);
  }

  has(callId: Id): boolean {
    return this.#open.has(callId);
  }

  /** Ends that are not in the database yet. */
  get pending(): number {
    return this.#jobs.size;
  }

  /** Told every entry of the journal, in order; returns at once. */
  noteEntry(entry: JournalEntry): void {
    if (!isCallEntry(entry) || !FINAL_EVENTS.includes(entry.event.type)) return;
    const { event, record } = entry;
    const claim = this.#open.get(event.call_id);
    if (claim === undefined || claim === null) return;
    const data = event.data as EventData['call.failed'];
    const end: CallEnd = {
      outcome: record?.outcome ?? data.outcome,
      wasAnswered: event.type === 'call.ended',
      endedAtMs: Date.parse(record?.end_time ?? event.time),
      endedBy: record?.ended_by ?? null,
    };
    this.end(claim, (facts) => decideEnd(end, facts, this.#clock.wallMs()));
  }

  /** To be written as soon as can be; what was decided first stands. */
  end(claim: TargetClaim, decide: Decide): void {
    if (this.#isClosed || this.#jobs.has(claim.callId)) return;
    this.#jobs.set(claim.callId, { claim, decide, failures: 0, notBeforeMs: 0 });
    this.#work();
  }

  /** True when everything is written before the deadline. */
  async flush(deadlineMs: number): Promise<boolean> {
    const endMs = this.#clock.now() + deadlineMs;
    while (this.#jobs.size > 0) {
      if (this.#clock.now() >= endMs) return false;
      await delay(FLUSH_STEP_MS, undefined, this.#clock);
    }
    return true;
  }

  /** What is not written is found by the next start. */
  close(): void {
    this.#isClosed = true;
    this.#clock.clearTimer(this.#timer);
  }

  #work(): void {
    if (this.#isClosed) return;
    const nowMs = this.#clock.now();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [callId, job] of this.#jobs) {
      if (this.#busy.size >= WORKERS) return; // whoever ends looks again
      if (this.#busy.has(callId)) continue;
      if (job.notBeforeMs > nowMs) nextMs = Math.min(nextMs, job.notBeforeMs);
      else void this.#settle(job);
    }
    this.#clock.clearTimer(this.#timer);
    if (nextMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.setTimer(() => this.#work(), nextMs - nowMs);
  }

  async #settle(job: Job): Promise<void> {
    const { store, log } = this.#options;
    const { claim, decide } = job;
    this.#busy.add(claim.callId);
    try {
      const news = await store.settle(claim, decide);
      this.#jobs.delete(claim.callId);
      this.#open.delete(claim.callId);
      this.#options.onNews(news);
      this.#options.onSettled(claim.campaignId);
    } catch (error) {
      job.failures++;
      job.notBeforeMs = this.#clock.now() + backoffMs(job.failures, RETRY);
      if (job.failures === 1) log.warn('campaign.endNotWritten', { callId: claim.callId, error });
    } finally {
      this.#busy.delete(claim.callId);
      this.#work();
    }
  }
}
