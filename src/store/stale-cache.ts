/** A small cache that answers from the past while the database is away, so that calls do not wait for it. */
import { systemClock, type Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { Log } from '#lib/log.ts';
import { isServerAway, toDatabaseError } from './sql-errors.ts';

export type StaleCacheOptions<V> = {
  readonly name: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** Younger values are served without asking. */
  readonly freshMs: number;
  /** How long an old value may be served when the database is away. */
  readonly staleMs?: number;
  /** With an old value at hand the database gets this long to answer. */
  readonly patienceMs?: number;
  readonly capacity?: number;
  /** False for answers that must not take a place, such as those about keys that do not exist. */
  readonly isKept?: (value: V) => boolean;
};

type Held<V> = { value: V; atMs: number };

export class StaleCache<V> {
  readonly #options: Required<Omit<StaleCacheOptions<V>, 'clock'>>;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held<V>>();
  readonly #loading = new Map<string, Promise<V>>();

  constructor(options: StaleCacheOptions<V>) {
    const { clock = systemClock, ...rest } = options;
    this.#options = {
      staleMs: Number.POSITIVE_INFINITY,
      patienceMs: 300,
      capacity: 1_000,
      isKept: () => true,
      ...rest,
    };
    this.#clock = clock;
  }

  /** Errors: those of `load`, unless the database is away and an old value can stand in. */
  async get(key: string, load: () => Promise<V>): Promise<V> {
    const held = this.#held.get(key);
    const ageMs = held === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() - held.atMs;
    if (held !== undefined && ageMs < this.#options.freshMs) return held.value;
    const loading = this.#load(key, load);
    if (held === undefined || ageMs >= this.#options.staleMs) return loading;
    try {
      return await withDeadline(loading, this.#options.patienceMs, this.#options.name, this.#clock);
    } catch (error) {
      if (!isServerAway(toDatabaseError(error))) throw error;
      this.#options.log.debug('cache.stale', {
        cache: this.#options.name,
        ageMs: Math.round(ageMs),
      });
      return held.value;
    }
  }

  /** The value held, however old. */
  peek(key: string): V | undefined {
    return this.#held.get(key)?.value;
  }

  set(key: string, value: V): void {
    this.#held.delete(key);
    if (!this.#options.isKept(value)) return;
    this.#held.set(key, { value, atMs: this.#clock.now() });
    if (this.#held.size <= this.#options.capacity) return;
    const oldest = this.#held.keys().next().value;
    if (oldest !== undefined) this.#held.delete(oldest);
  }

  /** Forgets the value, and what a read under way will bring: it may have begun before the change. */
  delete(key: string): void {
    this.#held.delete(key);
    this.#loading.delete(key);
  }

  /** One question at a time for each key; the answer is kept even when nobody waits for it any more. */
  #load(key: string, load: () => Promise<V>): Promise<V> {
    const known = this.#loading.get(key);
    if (known !== undefined) return known;
    const loading = load().then(
      (value) => {
        if (this.#finish(key, loading)) this.set(key, value);
        return value;
      },
      (error: unknown) => {
        this.#finish(key, loading);
        throw error;
      },
    );
    this.#loading.set(key, loading);
    return loading;
  }

  /** False for a read that was forgotten meanwhile. */
  #finish(key: string, loading: Promise<V>): boolean {
    return this.#loading.get(key) === loading && this.#loading.delete(key);
  }
}
