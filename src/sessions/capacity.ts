/** How many calls there may be at once: of an account, of a trunk, and how many may begin on a trunk in a second. */
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { TrunkLimits } from '#lib/trunk.ts';

/** A call that is not over. */
export type Load = { readonly accountId: Id; readonly trunkId: Id | null };

const WINDOW_MS = 1000;

export class Capacity {
  readonly #clock: Clock;
  readonly #live: () => Iterable<Load>;
  /** Times at which calls began, oldest first, by trunk; bounded by the trunks' own limits. */
  readonly #starts = new Map<Id, number[]>();

  constructor(clock: Clock, live: () => Iterable<Load>) {
    this.#clock = clock;
    this.#live = live;
  }

  hasRoom(accountId: Id, maxCalls: number): boolean {
    let count = 0;
    for (const call of this.#live()) if (call.accountId === accountId) count++;
    return count < maxCalls;
  }

  /** Whether the trunk has a line free, whichever way the call goes. */
  hasLine(trunkId: Id | null, { maxCalls }: TrunkLimits): boolean {
    if (trunkId === null || maxCalls === null) return true;
    let count = 0;
    for (const call of this.#live()) if (call.trunkId === trunkId) count++;
    return count < maxCalls;
  }

  /** Whether another call of ours may begin on the trunk now. Calls that come in are the carrier's to space out. */
  mayStart(trunkId: Id | null, { maxCps }: TrunkLimits): boolean {
    if (trunkId === null || maxCps === null) return true;
    return this.#recent(trunkId).length < maxCps;
  }

  noteStart(trunkId: Id | null): void {
    if (trunkId !== null) this.#starts.set(trunkId, [...this.#recent(trunkId), this.#clock.now()]);
  }

  #recent(trunkId: Id): readonly number[] {
    const sinceMs = this.#clock.now() - WINDOW_MS;
    const recent = (this.#starts.get(trunkId) ?? []).filter((atMs) => atMs > sinceMs);
    if (recent.length === 0) this.#starts.delete(trunkId);
    return recent;
  }
}
