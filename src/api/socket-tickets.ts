/** Tickets for sockets (contract 1.2): `tk_` + 43 characters, good once, for 60 s, at one path and in one role. */
import { createHash } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import { randomToken, type Id } from '#lib/ids.ts';
import type { Grant } from './auth.ts';
import { Problem } from './problem.ts';

const TICKET = /^tk_[A-Za-z0-9_-]{43}$/;
const LIFE_MS = 60_000;
const MAX_TICKETS = 10_000;

/** What a ticket is good for. */
export type TicketWish = {
  /** Without a query: `/ws/call/<id>`. */
  readonly path: string;
  /** The role at that socket: `caller`, `listen`. */
  readonly role: string;
  /** Whoever asked for the ticket: its bearer is no more than that. */
  readonly grant: Grant;
  /** The one call that it opens; null: the path says enough. */
  readonly callId: Id | null;
};

export type IssuedTicket = {
  readonly ticket: string;
  /** Unix seconds. */
  readonly expiresAt: number;
};

type Entry = TicketWish & { readonly goneAtMs: number };

/** Kept in memory by their SHA-256 alone: a ticket is good at the node that gave it. */
export class Tickets {
  readonly #clock: Clock;
  readonly #capacity: number;
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock, capacity = MAX_TICKETS) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** To be asked before anything is done that needs a ticket afterwards. Errors: OVERLOADED. */
  refuseFull(): void {
    this.#forget();
    if (this.#entries.size >= this.#capacity) throw new Problem('OVERLOADED');
  }

  issue(wish: TicketWish): IssuedTicket {
    this.#forget();
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size >= this.#capacity) this.#entries.delete(oldest);
    const ticket = `tk_${randomToken(32)}`;
    const goneAtMs = this.#clock.now() + LIFE_MS;
    this.#entries.set(hashOf(ticket), { ...wish, path: wish.path.toLowerCase(), goneAtMs });
    return { ticket, expiresAt: Math.floor((this.#clock.wallMs() + LIFE_MS) / 1000) };
  }

  /** The ticket's grant; the ticket is spent whatever comes of it. Errors: UNAUTHENTICATED, TOKEN_EXPIRED. */
  async redeem(ticket: string, where: { path: string; role: string }): Promise<Grant> {
    if (!TICKET.test(ticket)) throw new Problem('UNAUTHENTICATED');
    const key = hashOf(ticket);
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    if (entry === undefined) throw new Problem('UNAUTHENTICATED');
    if (this.#clock.now() >= entry.goneAtMs) throw new Problem('TOKEN_EXPIRED');
    const isHere = entry.path === where.path.toLowerCase() && entry.role === where.role;
    if (!isHere) throw new Problem('UNAUTHENTICATED');
    if (!(await entry.grant.recheck())) throw new Problem('UNAUTHENTICATED');
    return { ...entry.grant, expiresAtMs: null, callId: entry.callId };
  }

  #forget(): void {
    const nowMs = this.#clock.now();
    for (const [key, { goneAtMs }] of this.#entries) {
      if (goneAtMs > nowMs) return;
      this.#entries.delete(key);
    }
  }
}

function hashOf(ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64');
}
