/**
 * Events of this node as they are journaled, for whoever listens now: `/ws/events`. What was told of late is kept for a
 * moment, so that a listener who comes back misses nothing while the database is being written.
 */
import {
  isCallEntry,
  type CallEvent,
  type EventData,
  type JournalEntry,
} from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import { publicEvent, type PublicEvent } from '#lib/public-event.ts';

export type HubEvent = {
  readonly event: PublicEvent;
  /** Of the call's record; null for events that belong to no call, or to one that began before this process. */
  readonly agentId: Id | null;
};

export type HubListener = (event: HubEvent) => void;

/** More than the projection may lag behind while it is well, see `isCovered`. */
const MAX_RECENT = 5_000;
/** Calls whose agent is known; a call's last events may come minutes after its end. */
const MAX_CALLS = 20_000;

export class EventHub {
  readonly #listeners = new Map<Id, Set<HubListener>>();
  readonly #recent: (HubEvent | undefined)[] = [];
  #next = 0;
  readonly #agents = new Map<Id, Id>();
  readonly #onFault: (error: unknown) => void;

  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  /** An entry that is in the journal. Never throws. */
  publish(entry: JournalEntry): void {
    const { event } = entry;
    if (isCallEntry(entry) && event.type === 'call.initiated') this.#noteAgent(entry.event);
    const told = {
      event: publicEvent(event),
      agentId: event.call_id === null ? null : (this.#agents.get(event.call_id) ?? null),
    };
    this.#recent[this.#next] = told;
    this.#next = (this.#next + 1) % MAX_RECENT;
    this.#tell(told);
  }

  /** What is true for a moment only and therefore not journaled: words that a recogniser may still take back. */
  publishInterim(event: PublicEvent, agentId: Id): void {
    this.#tell({ event, agentId });
  }

  /** Returns the way to stop. A listener must return at once; one that throws is left out from then on. */
  subscribe(accountId: Id, listener: HubListener): () => void {
    const listeners = this.#listeners.get(accountId) ?? new Set();
    this.#listeners.set(accountId, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(accountId);
    };
  }

  /** The account's latest events, oldest first. */
  recent(accountId: Id): HubEvent[] {
    const inOrder = [...this.#recent.slice(this.#next), ...this.#recent.slice(0, this.#next)];
    return inOrder.filter(
      (each): each is HubEvent => each !== undefined && each.event.account_id === accountId,
    );
  }

  /** Whether events that the database does not have yet, `lag` of them, are all among the recent ones. */
  isCovered(lag: number): boolean {
    return lag < MAX_RECENT / 2;
  }

  #noteAgent(event: CallEvent): void {
    const { agent_id: agentId } = event.data as EventData['call.initiated'];
    this.#agents.set(event.call_id, agentId);
    if (this.#agents.size <= MAX_CALLS) return;
    const [oldest] = this.#agents.keys();
    if (oldest !== undefined) this.#agents.delete(oldest);
  }

  #tell(told: HubEvent): void {
    const listeners = this.#listeners.get(told.event.account_id);
    if (listeners === undefined) return;
    for (const listener of listeners) {
      try {
        listener(told);
      } catch (error) {
        listeners.delete(listener);
        this.#onFault(error);
      }
    }
  }
}
