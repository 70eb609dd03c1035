/**
 * Dials campaigns (contract 2.8). One node drives a campaign at a time; each call is claimed in the database before it is
 * placed, so neither a crash nor a second driver calls anybody twice, and what was claimed and never placed is given back.
 */
import { backoffMs } from '#lib/backoff.ts';
import type { CampaignEvent, ClaimedTarget } from '#lib/campaign.ts';
import type { AccountEntry, JournalEntry } from '#lib/call-events.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { delay, withDeadline } from '#lib/deadline.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { isTimeZone } from '#lib/wall-time.ts';
import type { CallRefusal, CallService, PlaceCall } from './call-service-types.ts';
import { CampaignCalls } from './campaign-calls.ts';
import { Leading } from './campaign-leading.ts';
import type { CampaignStore, ClaimPlace } from './campaign-ports.ts';
import { decideEnd, endOfClaim, giveBack, skip, verdictOf } from './campaign-rules.ts';

export type CampaignDiallerOptions = {
  readonly store: CampaignStore;
  readonly calls: Pick<CallService, 'place' | 'get'>;
  readonly journal: { append(entry: AccountEntry): void };
  /** This node through all its restarts, and no other. */
  readonly driver: string;
  /** False while a call's beginning could not be written down, or no call can go out at all. */
  isReady(): boolean;
  /** True once what the journal held at the start is in the database. */
  isSettled(): boolean;
  readonly clock: Clock;
  readonly log: Log;
};

const REFRESH_MS = 1_000;
const SWEEP_MS = 5_000;
/** Until the first sweep has seen all that a crash left. */
const FIRST_SWEEP_MS = 200;
const SWEEP_PAGE = 500;
const UNTOLD_AFTER_MS = 5_000;
/** Campaigns of one node; others go to other nodes, or wait. */
const MAX_LEADS = 500;
/** Claims at one time: connections of the pool are for calls and people too. */
const MAX_CLAIMS = 4;
const PLACE_MS = 10_000;
/** How often it is asked whether calls can go out again. */
const READY_MS = 500;
/** Before somebody is tried again whose call could not be placed for a fault of ours. */
const FAULT_MS = 60_000;
const AWAY = { firstMs: 500, maxMs: 10_000 };
const FLUSH_MS = 3_000;
const RELEASE_MS = 1_000;
const MAX_TOLD = 1_000;

export class CampaignDialler {
  readonly #options: CampaignDiallerOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #book: CampaignCalls;
  readonly #leads = new Map<Id, Leading>();
  readonly #attempts = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #told = new Set<Id>();
  #background: Promise<void> | undefined;
  #timer: TimerHandle | undefined;
  #refreshMs = 0;
  #sweepMs = 0;
  #hasSwept = false;
  /** Nobody is claimed before: the database is away. */
  #holdUntilMs = 0;
  #failures = 0;
  #isStarted = false;
  #isClosed = false;

  constructor(options: CampaignDiallerOptions) {
    const { store, clock, log } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#book = new CampaignCalls({
      ...{ store, clock, log },
      onNews: (news) => this.tell(news),
      onSettled: (campaignId) => {
        this.#leads.get(campaignId)?.noteFree();
        this.#schedule();
      },
    });
  }

  /** Once, when calls can be placed. */
  start(): void {
    this.#isStarted = true;
    this.#refreshMs = this.#sweepMs = this.#clock.now();
    this.#schedule();
  }

  /** Every entry of the node's journal, from before the first call on. */
  noteEntry(entry: JournalEntry): void {
    this.#book.noteEntry(entry);
  }

  /** A campaign was changed here: it is looked at now and not in a second. */
  wake(): void {
    this.#refreshMs = this.#clock.now();
    this.#schedule();
  }

  /** Journals what was decided, and notes that it was. */
  tell(news: readonly CampaignEvent[]): void {
    if (news.length === 0) return;
    for (const event of news) {
      if (this.#told.has(event.id)) continue;
      this.#told.add(event.id);
      // Whoever paused or ended it may rely on that at once, and not after the next look.
      if (event.type !== 'campaign.started') this.#drop(event.data.campaign_id);
      this.#options.journal.append({ event, record: null, recording: null });
    }
    for (const id of this.#told) if (this.#told.size > MAX_TOLD) this.#told.delete(id);
    this.#options.store.told(news).catch((error: unknown) => {
      // They stay in the row and are found again; their ids keep them from counting twice.
      this.#log.debug('campaign.notConfirmed', { error });
    });
  }

  /** No new calls; the ends of those under way are still written. Resolves when no call is being placed any more. */
  async stopDialling(): Promise<void> {
    this.#stop.abort();
    this.#clock.clearTimer(this.#timer);
    await Promise.all([...this.#attempts, this.#background]);
  }

  /** Writes what it can, and lets other nodes go on at once. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.stopDialling();
    const isWritten = await this.#book.flush(FLUSH_MS);
    if (!isWritten) this.#log.warn('campaign.endsLeft', { calls: this.#book.pending });
    this.#book.close();
    const { store, driver } = this.#options;
    try {
      await withDeadline(
        store.release(driver),
        RELEASE_MS,
        'giving campaigns to other nodes',
        this.#clock,
      );
    } catch (error) {
      this.#log.debug('campaign.notReleased', { error }); // the lease ends by itself
    }
  }

  /** Dials it no more, unless the next look says so. */
  #drop(campaignId: Id): void {
    this.#leads.get(campaignId)?.gone.abort();
    this.#leads.delete(campaignId);
  }

  // ---- When to do what ----

  #schedule(): void {
    if (!this.#isStarted || this.#stop.signal.aborted) return;
    const [nowMs, wallMs] = [this.#clock.now(), this.#clock.wallMs()];
    let nextMs =
      this.#background === undefined
        ? Math.min(this.#refreshMs, this.#sweepMs)
        : Number.POSITIVE_INFINITY;
    if (this.#attempts.size < MAX_CLAIMS) {
      for (const lead of this.#leads.values()) {
        const dueMs = lead.dueMs(nowMs, wallMs);
        if (dueMs !== null) nextMs = Math.min(nextMs, Math.max(dueMs, this.#holdUntilMs));
      }
    }
    this.#clock.clearTimer(this.#timer);
    if (nextMs === Number.POSITIVE_INFINITY) return; // what is under way looks again when it is done
    this.#timer = this.#clock.setTimer(() => this.#pump(), Math.max(0, nextMs - nowMs));
  }

  #pump(): void {
    const [nowMs, wallMs] = [this.#clock.now(), this.#clock.wallMs()];
    if (this.#background === undefined && Math.min(this.#refreshMs, this.#sweepMs) <= nowMs) {
      this.#background = this.#lookAround(nowMs).finally(() => {
        this.#background = undefined;
        this.#schedule();
      });
    }
    if (!this.#options.isReady()) this.#holdUntilMs = Math.max(this.#holdUntilMs, nowMs + READY_MS);
    if (nowMs >= this.#holdUntilMs) this.#dialDue(nowMs, wallMs);
    this.#schedule();
  }

  /** Whoever has waited longest comes first, whatever campaign or account it is. */
  #dialDue(nowMs: number, wallMs: number): void {
    const due: { readonly lead: Leading; readonly dueMs: number }[] = [];
    for (const lead of this.#leads.values()) {
      const dueMs = lead.dueMs(nowMs, wallMs);
      if (dueMs !== null && dueMs <= nowMs) due.push({ lead, dueMs });
    }
    due.sort((a, b) => a.dueMs - b.dueMs);
    for (const { lead } of due.slice(0, MAX_CLAIMS - this.#attempts.size)) {
      lead.isBusy = true;
      const attempt = this.#attempt(lead)
        .catch((error: unknown) => this.#noteFailure('campaign.notDialled', error))
        .finally(() => {
          lead.isBusy = false;
          this.#attempts.delete(attempt);
          this.#schedule();
        });
      this.#attempts.add(attempt);
    }
  }

  #noteFailure(event: 'campaign.notDialled' | 'campaign.notRead', error: unknown): void {
    this.#failures++;
    this.#holdUntilMs = this.#clock.now() + backoffMs(this.#failures, AWAY);
    if (this.#failures === 1) this.#log.warn(event, { error });
  }

  // ---- One call ----

  async #attempt(lead: Leading): Promise<void> {
    const { store, driver } = this.#options;
    const { campaignId } = lead.facts;
    const callId = newId();
    this.#book.begin(callId);
    try {
      const wish = { campaignId, driver, callId, nowMs: this.#clock.wallMs() };
      const claim = await store.claim(wish);
      this.#failures = 0;
      if (claim.kind !== 'claimed') {
        this.#book.forget(callId);
        lead.noteNothing(claim.kind);
        return;
      }
      this.#book.claimed(claim.target);
      await this.#call(lead, claim.target);
    } catch (error) {
      // Whether it was claimed is not known: nobody was called, and the sweep gives it back.
      this.#book.forget(callId);
      throw error;
    }
  }

  async #call(lead: Leading, target: ClaimedTarget): Promise<void> {
    const untilMs = lead.pacer.nextMs - this.#clock.now();
    if (untilMs > 0) await delay(untilMs, undefined, this.#clock);
    const isOver = this.#stop.signal.aborted || lead.gone.signal.aborted;
    if (isOver || !lead.mayCallAt(this.#clock.wallMs())) {
      this.#return(target);
      return;
    }
    const refusal = await this.#place(lead, target);
    const nowMs = this.#clock.now();
    if (refusal === null) {
      lead.noteCall(nowMs);
      return;
    }
    lead.pacer.note(nowMs);
    await this.#refused(lead, target, refusal);
  }

  /** Null when the call has begun. */
  async #place(lead: Leading, target: ClaimedTarget): Promise<CallRefusal | null> {
    const { calls } = this.#options;
    const giveUp = new AbortController();
    const timer = this.#clock.setTimer(() => giveUp.abort(), PLACE_MS);
    const onStop = (): void => giveUp.abort();
    const signals = [this.#stop.signal, lead.gone.signal];
    for (const signal of signals) signal.addEventListener('abort', onStop, { once: true });
    try {
      const placed = await calls.place(requestFor(lead, target, giveUp.signal));
      return placed.ok ? null : placed.refusal;
    } catch (error) {
      const { accountId } = lead.facts;
      this.#log.error('campaign.callFailed', { callId: target.callId, error });
      const hasBegun = (await calls.get(accountId, target.callId)) !== null;
      if (hasBegun) return null;
      // Something about this one was not foreseen: the others come first.
      this.#return(target, FAULT_MS);
      return { code: 'UNAVAILABLE', retryAfterS: null };
    } finally {
      this.#clock.clearTimer(timer);
      for (const signal of signals) signal.removeEventListener('abort', onStop);
    }
  }

  async #refused(lead: Leading, target: ClaimedTarget, refusal: CallRefusal): Promise<void> {
    const { campaignId } = lead.facts;
    const verdict = verdictOf(refusal);
    this.#log.debug('campaign.callRefused', { campaignId, code: refusal.code });
    if (verdict.kind === 'skip') {
      this.#book.end(target, (facts) => skip(facts, verdict.reason));
      return;
    }
    this.#return(target);
    if (verdict.kind === 'pause') {
      await this.#pause(lead, verdict.reason);
      return;
    }
    const isNoRoute = refusal.code === 'NO_ROUTE';
    const isHopeless = lead.noteRefusal(this.#clock.now(), verdict.retryAfterS, isNoRoute);
    if (isHopeless) await this.#pause(lead, 'no_route');
  }

  #return(target: ClaimedTarget, delayMs = 0): void {
    this.#book.end(target, (facts) => giveBack(facts, this.#clock.wallMs() + delayMs));
  }

  async #pause(lead: Leading, reason: string): Promise<void> {
    const { campaignId } = lead.facts;
    this.#log.warn('campaign.paused', { campaignId, reason });
    this.#drop(campaignId);
    this.tell(await this.#options.store.pause(campaignId, reason));
  }

  // ---- What the database knows ----

  async #lookAround(nowMs: number): Promise<void> {
    try {
      if (this.#refreshMs <= nowMs) {
        this.#refreshMs = nowMs + REFRESH_MS;
        await this.#refresh();
      }
      if (this.#sweepMs <= nowMs) {
        await this.#sweep();
        this.#sweepMs = this.#clock.now() + (this.#hasSwept ? SWEEP_MS : FIRST_SWEEP_MS);
      }
      this.#failures = 0;
    } catch (error) {
      this.#noteFailure('campaign.notRead', error);
      this.#refreshMs = Math.max(this.#refreshMs, this.#holdUntilMs);
      this.#sweepMs = Math.max(this.#sweepMs, this.#holdUntilMs);
    }
  }

  /** Which campaigns are this node's, and how they stand. */
  async #refresh(): Promise<void> {
    const { store, driver } = this.#options;
    const [askedMs, wallMs] = [this.#clock.now(), this.#clock.wallMs()];
    this.tell(await store.startDue(wallMs));
    const leads = await store.lead(driver, MAX_LEADS, wallMs);
    const ids = new Set(leads.map(({ campaignId }) => campaignId));
    for (const id of this.#leads.keys()) if (!ids.has(id)) this.#drop(id);
    for (const facts of leads) {
      const known = this.#leads.get(facts.campaignId);
      const lead = known ?? new Leading(facts, askedMs, this.#clock.now());
      known?.update(facts, askedMs);
      if (!isTimeZone(facts.timeZone)) {
        await this.#pause(lead, 'timezone_unknown');
        continue;
      }
      this.#leads.set(facts.campaignId, lead);
      await this.#completeIfOver(lead, wallMs);
    }
    this.tell(await store.untold(wallMs, UNTOLD_AFTER_MS));
  }

  async #completeIfOver(lead: Leading, wallMs: number): Promise<void> {
    const { campaignId, counts } = lead.facts;
    const isPast = lead.isPast(wallMs) && counts.dialing === 0;
    if (!lead.isDone && !isPast) return;
    const reason = lead.isDone ? null : 'end_at';
    const news = await this.#options.store.complete(campaignId, reason);
    this.tell(news);
  }

  /** Whoever is being called, by anybody: what a crash or another node left is settled by what is known of the call. */
  async #sweep(): Promise<void> {
    const { store, driver, calls } = this.#options;
    const isSettled = this.#options.isSettled();
    let after: ClaimPlace | null = null;
    for (;;) {
      const page = await store.openClaims(after, SWEEP_PAGE);
      for (const claim of page) {
        if (this.#book.has(claim.callId)) continue;
        const isMine = claim.claimedBy === driver;
        const isLive = isMine && (await calls.get(claim.accountId, claim.callId)) !== null;
        const nowMs = this.#clock.wallMs();
        const end = endOfClaim(claim, { isMine, isSettled, isLive, nowMs });
        if (end === null) continue;
        this.#book.end(claim, (facts) =>
          end === 'never began' ? giveBack(facts, nowMs) : decideEnd(end, facts, nowMs),
        );
      }
      const last = page.at(-1);
      if (last === undefined || page.length < SWEEP_PAGE || this.#stop.signal.aborted) break;
      after = { at: last.at, targetId: last.targetId };
    }
    this.#hasSwept ||= isSettled;
  }
}

/** The name is a variable like others; those of the list win. */
function requestFor(lead: Leading, target: ClaimedTarget, signal: AbortSignal): PlaceCall {
  const { accountId, agentId, trunkId, fromNumber, settings } = lead.facts;
  const { campaignId, callId, phone, name } = target;
  const variables: Record<string, string> = name === null ? {} : { name };
  for (const [key, value] of Object.entries(target.variables)) {
    variables[key] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return {
    ...{ accountId, callId, campaignId, to: phone, agentId, variables, signal },
    ...(trunkId === null ? {} : { trunkId }),
    ...(fromNumber === null ? {} : { from: fromNumber }),
    ringTimeoutS: settings.ringTimeoutS,
    amd: settings.amd,
    voicemail: settings.voicemail === 'message' ? 'message' : 'hang_up',
  };
}
