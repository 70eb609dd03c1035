/** One campaign that this node dials: when the next call may begin, as far as that is known without asking the database. */
import type { CampaignLead } from '#lib/campaign.ts';
import { backoffMs } from '#lib/backoff.ts';
import { Pacer } from './campaign-pacer.ts';
import { isCallingTime } from './campaign-windows.ts';

/** A claim takes some milliseconds: it is made this much ahead of the call. */
const CLAIM_AHEAD_MS = 20;
const WAIT = { firstMs: 1_000, maxMs: 30_000 };
/** Nobody has carried a call for so long that somebody should look at the trunks. */
const NO_ROUTE_MS = 300_000;

export class Leading {
  readonly pacer: Pacer;
  facts: CampaignLead;
  /** A claim or a call of it is being made. */
  isBusy = false;
  /** Aborted when this node dials it no more: whoever is claimed and not called yet is given back. */
  readonly gone = new AbortController();
  #leaseEndsMs: number;
  #waitUntilMs = 0;
  #refusals = 0;
  #noRouteSinceMs: number | null = null;
  /** The last look found as many calls as there may be, or nobody to call. */
  #isFull = false;
  #isEmpty = false;

  constructor(facts: CampaignLead, askedMs: number, nowMs: number) {
    this.facts = facts;
    this.pacer = new Pacer(facts.settings.cps, nowMs);
    this.#leaseEndsMs = askedMs + facts.leaseMs;
  }

  /** What the database says now; it was asked at `askedMs`. */
  update(facts: CampaignLead, askedMs: number): void {
    this.facts = facts;
    this.pacer.setRate(facts.settings.cps);
    this.#leaseEndsMs = askedMs + facts.leaseMs;
    this.#isFull = facts.counts.dialing >= facts.settings.concurrency;
    this.#isEmpty = false;
  }

  /** A call of it is over. */
  noteFree(): void {
    this.#isFull = false;
  }

  noteNothing(kind: 'none' | 'full' | 'stopped'): void {
    if (kind === 'full') this.#isFull = true;
    else this.#isEmpty = true;
  }

  noteCall(nowMs: number): void {
    this.pacer.note(nowMs);
    this.#refusals = 0;
    this.#noRouteSinceMs = null;
  }

  /** No call can be placed now. True when that has gone on for too long with no trunk at all. */
  noteRefusal(nowMs: number, retryAfterS: number | null, isNoRoute: boolean): boolean {
    this.#refusals++;
    // Spread, so that campaigns of one account that wait for the same line take turns.
    const waitMs = Math.max(backoffMs(this.#refusals, WAIT), (retryAfterS ?? 0) * 1000);
    this.#waitUntilMs = nowMs + waitMs;
    if (!isNoRoute) this.#noRouteSinceMs = null;
    else this.#noRouteSinceMs ??= nowMs;
    return this.#noRouteSinceMs !== null && nowMs - this.#noRouteSinceMs >= NO_ROUTE_MS;
  }

  /** Its end has come: nobody is called any more. */
  isPast(wallMs: number): boolean {
    const { endAt } = this.facts.schedule;
    return endAt !== null && Date.parse(endAt) <= wallMs;
  }

  /** Everybody has been called, as far as the counts say. */
  get isDone(): boolean {
    const { pending, dialing, done, failed, skipped } = this.facts.counts;
    return pending === 0 && dialing === 0 && done + failed + skipped > 0;
  }

  mayCallAt(wallMs: number): boolean {
    const { schedule, timeZone } = this.facts;
    return !this.isPast(wallMs) && isCallingTime(schedule.windows, timeZone, wallMs);
  }

  /** When to claim the next target; null: not before something changes. */
  dueMs(nowMs: number, wallMs: number): number | null {
    if (this.isBusy || this.#isFull || this.#isEmpty || !this.facts.isDue) return null;
    if (nowMs >= this.#leaseEndsMs || !this.mayCallAt(wallMs)) return null;
    const { nextMs, intervalMs } = this.pacer;
    return Math.max(nextMs - Math.min(CLAIM_AHEAD_MS, intervalMs / 2), this.#waitUntilMs);
  }
}
