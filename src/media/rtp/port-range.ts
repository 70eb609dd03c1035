/**
 * RTP port leases: even ports of a range, per local address (RFC 3550 section 11: RTP even, RTCP the odd one above).
 * A port given back rests for a while, so that packets of the old call do not reach a new one.
 */
import { AppError } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';

export type PortRangeOptions = {
  readonly first: number;
  readonly last: number;
  readonly clock: Clock;
  /** How long a returned port rests. */
  readonly quarantineMs?: number;
};

type Resting = { readonly port: number; readonly untilMs: number };
type Pool = { free: number[]; resting: Resting[]; leased: Set<number> };

const DEFAULT_QUARANTINE_MS = 2000;

export class PortRange {
  readonly #first: number;
  readonly #last: number;
  readonly #clock: Clock;
  readonly #quarantineMs: number;
  readonly #pools = new Map<string, Pool>();

  constructor(options: PortRangeOptions) {
    this.#first = options.first + (options.first % 2);
    this.#last = options.last;
    this.#clock = options.clock;
    this.#quarantineMs = options.quarantineMs ?? DEFAULT_QUARANTINE_MS;
    if (this.#first + 1 > this.#last) {
      throw new AppError('E_CONFIG', `RTP ports ${options.first}-${options.last} hold no pair`);
    }
  }

  /** Port pairs of one address. */
  get capacity(): number {
    return Math.floor((this.#last - this.#first + 1) / 2);
  }

  /** Ports leased on all addresses. */
  get leased(): number {
    let count = 0;
    for (const pool of this.#pools.values()) count += pool.leased.size;
    return count;
  }

  /** An even port nobody holds on `address`. Errors: E_MEDIA_PORTS when all are leased. */
  lease(address: string): number {
    const pool = this.#poolOf(address);
    this.#wake(pool, this.#clock.now());
    // A resting port is better than a refused call.
    const port = pool.free.shift() ?? pool.resting.shift()?.port;
    if (port === undefined) {
      throw new AppError('E_MEDIA_PORTS', 'all RTP ports are in use', {
        details: { first: this.#first, last: this.#last, leased: pool.leased.size },
      });
    }
    pool.leased.add(port);
    return port;
  }

  /** Gives a port back; it rests before it is leased again. Idempotent. */
  release(address: string, port: number): void {
    const pool = this.#poolOf(address);
    if (!pool.leased.delete(port)) return;
    pool.resting.push({ port, untilMs: this.#clock.now() + this.#quarantineMs });
  }

  #wake(pool: Pool, nowMs: number): void {
    for (let next = pool.resting[0]; next && next.untilMs <= nowMs; next = pool.resting[0]) {
      pool.free.push(next.port);
      pool.resting.shift();
    }
  }

  #poolOf(address: string): Pool {
    const known = this.#pools.get(address);
    if (known) return known;
    const ports: number[] = [];
    for (let port = this.#first; port + 1 <= this.#last; port += 2) ports.push(port);
    const start = Math.floor(Math.random() * ports.length);
    const pool = {
      free: [...ports.slice(start), ...ports.slice(0, start)],
      resting: [],
      leased: new Set<number>(),
    };
    this.#pools.set(address, pool);
    return pool;
  }
}
