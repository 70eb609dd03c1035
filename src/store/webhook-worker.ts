/**
 * Delivers what is queued for webhooks: claims what is due, sends it, writes down how it went. Several nodes may do so at
 * the same time. A delivery that was sent and not yet written down when the process died is sent again, with its id.
 */
import { backoffMs } from '#lib/backoff.ts';
import { type Clock, type TimerHandle } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { retryDelayMs } from '#lib/webhook-schedule.ts';
import type { Attempt, Claim, Sent, WebhookQueue } from './webhook-queue.ts';
import type { WebhookSender } from './webhook-sender.ts';
import { isServerAway } from './sql-errors.ts';

export type WebhookWorkerOptions = {
  readonly queue: WebhookQueue;
  readonly sender: WebhookSender;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each attempt that was written down: `failed` is tried again, the others are over. */
  readonly onAttempt?: (status: 'delivered' | 'failed' | 'dead') => void;
  /** Requests under way at most. */
  readonly capacity?: number;
  readonly random?: () => number;
};

const CAPACITY = 100;
/** Results of one moment are written together. */
const GATHER_MS = 10;
/** How soon a node sees what another node has queued, or left behind. */
const POLL_MS = 5_000;
const RETRY = { firstMs: 200, maxMs: 10_000 };
/** Requests under way may end by themselves so long when the node stops. */
const FINISH_MS = 3_000;

export class WebhookWorker {
  readonly #options: Required<WebhookWorkerOptions>;
  readonly #clock: Clock;
  readonly #giveUp = new AbortController();
  /** Claims under way. At most `capacity`, together with those whose result is not written yet. */
  readonly #sending = new Map<Id, Claim>();
  readonly #sends = new Set<Promise<void>>();
  #done: Attempt[] = [];
  #released: Claim[] = [];
  #timer: TimerHandle | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #turning: Promise<void> | undefined;
  #isWanted = false;
  #failures = 0;
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new';

  constructor(options: WebhookWorkerOptions) {
    this.#options = {
      ...{ onAttempt: () => undefined, capacity: CAPACITY, random: Math.random },
      ...options,
    };
    this.#clock = options.clock;
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    this.#schedule(0);
  }

  /** Something was queued. Cheap; while the database is away it changes nothing. */
  wake(): void {
    if (this.#state !== 'running') return;
    this.#isWanted = true;
    if (this.#failures === 0) this.#schedule(GATHER_MS);
  }

  /** True when nothing is under way and nothing is to be written: for tests. */
  get isIdle(): boolean {
    const isQuiet = this.#turning === undefined && !this.#isWanted;
    return isQuiet && this.#sending.size === 0 && this.#done.length === 0;
  }

  /** Requests under way may end, then what is known is written down. Idempotent. */
  async stop(): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'stopped') return this.#turning;
    this.#state = 'stopping';
    this.#clock.clearTimer(this.#timer);
    await this.#turning;
    await this.#finishSending();
    if (this.#done.length > 0 || this.#released.length > 0) await this.#turn(0);
    this.#state = 'stopped';
  }

  async #finishSending(): Promise<void> {
    const timer = this.#clock.setTimer(() => this.#giveUp.abort(), FINISH_MS);
    await Promise.all(this.#sends);
    this.#clock.clearTimer(timer);
  }

  /** A timer that fires sooner stays. */
  #schedule(delayMs: number): void {
    const dueMs = this.#clock.now() + delayMs;
    if (this.#state !== 'running' || this.#turning !== undefined || dueMs >= this.#timerMs) return;
    this.#clock.clearTimer(this.#timer);
    this.#timerMs = dueMs;
    this.#timer = this.#clock.setTimer(() => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.#turning = this.#turn(this.#options.capacity - this.#sending.size).then((nextMs) => {
        this.#turning = undefined;
        this.#schedule(nextMs);
      });
    }, delayMs);
  }

  /** Writes results and claims up to `free` more. Resolves to the wait before the next turn. */
  async #turn(free: number): Promise<number> {
    const [attempts, released] = [this.#done, this.#released];
    [this.#done, this.#released, this.#isWanted] = [[], [], false];
    const nowMs = this.#clock.wallMs();
    try {
      const sending = new Map([...this.#sending].map(([id, { webhookId }]) => [id, webhookId]));
      const result = await this.#options.queue.turn({ nowMs, attempts, released, free, sending });
      this.#failures = 0;
      this.#report(attempts, result.disabled);
      for (const claim of result.claims) this.#begin(claim);
      // There may be more that is due: a full turn is followed by another.
      if (this.#isWanted || this.#done.length > 0) return GATHER_MS;
      const untilNextMs = (result.nextMs ?? Number.POSITIVE_INFINITY) - nowMs;
      return Math.min(POLL_MS, Math.max(GATHER_MS, untilNextMs));
    } catch (error) {
      this.#done = [...attempts, ...this.#done];
      this.#released = [...released, ...this.#released];
      this.#failures++;
      const isNews = this.#failures === 1 && !isServerAway(error);
      this.#options.log[isNews ? 'error' : 'debug']('webhook.turnFailed', { error });
      return backoffMs(this.#failures, RETRY);
    }
  }

  #begin(claim: Claim): void {
    this.#sending.set(claim.id, claim);
    const send = this.#send(claim).finally(() => this.#sends.delete(send));
    this.#sends.add(send);
  }

  async #send(claim: Claim): Promise<void> {
    const sent = await this.#options.sender.send(claim, this.#giveUp.signal);
    this.#sending.delete(claim.id);
    if (this.#giveUp.signal.aborted && sent.status === null) this.#released.push(claim);
    else this.#done.push(this.#attemptOf(claim, sent));
    this.wake();
  }

  #attemptOf(claim: Claim, sent: Sent): Attempt {
    const atMs = this.#clock.wallMs();
    if (sent.isOk) return { claim, sent, atMs, status: 'delivered', nextMs: null };
    const delayMs = retryDelayMs(claim.attempts + 1, this.#options.random);
    const status = delayMs === null ? 'dead' : 'pending';
    return { claim, sent, atMs, status, nextMs: delayMs === null ? null : atMs + delayMs };
  }

  #report(
    attempts: readonly Attempt[],
    disabled: Awaited<ReturnType<WebhookQueue['turn']>>['disabled'],
  ): void {
    for (const { status, claim, sent } of attempts) {
      this.#options.onAttempt(status === 'pending' ? 'failed' : status);
      if (status !== 'dead') continue;
      const { webhookId, id: deliveryId } = claim;
      this.#options.log.warn('webhook.givenUp', { webhookId, deliveryId, error: sent.error });
    }
    for (const { id: webhookId, reason } of disabled) {
      this.#options.log.warn('webhook.disabled', { webhookId, reason });
    }
  }
}
