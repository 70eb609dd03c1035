/**
 * The text conversations of this node that are not over: those in memory, and those that are only known to be there. Each
 * ends by itself when its time has come (contract 2.4), exactly once, also when it was begun by a former process.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import { expiryOf, type TextOutcome } from './squad-ending.ts';

/** What must be known of a conversation to end it. */
export type Shelved = {
  readonly id: Id;
  readonly accountId: Id;
  /** Unix ms. */
  readonly startedMs: number;
  lastMs: number;
  /** Of its newest event, as far as is known without `held`. */
  readonly seq: number;
};

/** One on the shelf; `held` is null until somebody asks for a conversation of a former process. */
export type Slot<H> = Shelved & { held: H | null };

export type ShelfOptions<H> = {
  readonly clock: Clock;
  /** Tells the end. Called once per conversation; must not throw. */
  onExpired(slot: Slot<H>, outcome: TextOutcome, atMs: number): void;
  readonly capacity?: number;
};

const CAPACITY = 20_000;
/** One account must not keep the others out. */
const ACCOUNT_SHARE = 0.25;
/** Wall time may be set back or forth: looked at again at least this often. */
const LONGEST_WAIT_MS = 60_000;

export class Shelf<H> {
  readonly #options: ShelfOptions<H>;
  readonly #slots = new Map<Id, Slot<H>>();
  readonly #timers = new Map<Id, TimerHandle>();
  readonly #byAccount = new Map<Id, number>();
  #isClosed = false;

  constructor(options: ShelfOptions<H>) {
    this.#options = options;
  }

  get size(): number {
    return this.#slots.size;
  }

  get(id: Id): Slot<H> | null {
    return this.#slots.get(id) ?? null;
  }

  /** Errors: E_QUEUE_FULL. */
  add(slot: Slot<H>): Slot<H> {
    const { capacity = CAPACITY } = this.#options;
    const own = this.#byAccount.get(slot.accountId) ?? 0;
    if (this.#slots.size >= capacity || own >= capacity * ACCOUNT_SHARE) {
      throw new AppError('E_QUEUE_FULL', 'there are too many open conversations');
    }
    return this.put(slot);
  }

  /** Where there is room or not: what was open must end. */
  put(slot: Slot<H>): Slot<H> {
    const { id, accountId } = slot;
    if (!this.#slots.has(id)) this.#count(accountId, 1);
    this.#slots.set(id, slot);
    this.rearm(slot);
    return slot;
  }

  #count(accountId: Id, change: 1 | -1): void {
    const open = (this.#byAccount.get(accountId) ?? 0) + change;
    if (open === 0) this.#byAccount.delete(accountId);
    else this.#byAccount.set(accountId, open);
  }

  /** While a turn is being answered a conversation does not expire. */
  hold(slot: Slot<H>): void {
    this.#options.clock.clearTimer(this.#timers.get(slot.id));
    this.#timers.delete(slot.id);
  }

  rearm(slot: Slot<H>): void {
    this.hold(slot);
    if (this.#isClosed || this.#slots.get(slot.id) !== slot) return;
    const { clock } = this.#options;
    const leftMs = expiryOf(slot.startedMs, slot.lastMs).atMs - clock.wallMs();
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(0, leftMs));
    this.#timers.set(
      slot.id,
      clock.setTimer(() => this.#due(slot), waitMs),
    );
  }

  remove(slot: Slot<H>): void {
    this.hold(slot);
    if (this.#slots.get(slot.id) !== slot) return;
    this.#slots.delete(slot.id);
    this.#count(slot.accountId, -1);
  }

  /** What is open stays open: the journal knows it, and the next process takes it up. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const slot of this.#slots.values()) this.hold(slot);
    this.#slots.clear();
    this.#byAccount.clear();
  }

  #due(slot: Slot<H>): void {
    this.#timers.delete(slot.id);
    const { atMs, outcome } = expiryOf(slot.startedMs, slot.lastMs);
    if (this.#options.clock.wallMs() < atMs) return this.rearm(slot);
    this.remove(slot);
    this.#options.onExpired(slot, outcome, atMs);
  }
}
