/**
 * Idempotency-Key (contract 1.6): the first answer to a key is given again to every later request with the same key.
 * This table is the node's own: it stands in while the database is away. Bounded in number, size and time.
 */
import type { Clock } from '#lib/clock.ts';
import type { IdempotencyScope, StoredAnswer } from '#store/idempotency.ts';
import { invalid, Problem } from './problem.ts';

const KEEP_MS = 24 * 3600 * 1000;
const KEY_MAX_CHARS = 255;
const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

/** Answers held at most, together. */
const MAX_CHARS = 32 * 1024 * 1024;

type Entry = {
  readonly fingerprint: string;
  readonly atMs: number;
  /** Null while the first request is running. */
  answer: StoredAnswer | null;
};

/** A key in use by a running request: exactly one of `store` and `release` ends it. */
export type MemoryClaim = {
  store(answer: StoredAnswer): void;
  release(): void;
};

/** The header's value, or null without one. Errors: VALIDATION_FAILED. */
export function idempotencyKeyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  if (typeof header === 'string' && VISIBLE_ASCII.test(header)) return header;
  throw invalid('Idempotency-Key', 'visible', { limit: KEY_MAX_CHARS });
}

export class IdempotencyStore {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry>();
  #chars = 0;
  #evicted = 0;

  constructor(clock: Clock, capacity = 10_000) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Answers forgotten before their time because the table was full. */
  get evicted(): number {
    return this.#evicted;
  }

  /**
   * The stored answer to give again, or a claim on the key. `fingerprint` tells what the request acts on (its path and
   * body): the same key for another target is refused. Errors: IDEMPOTENCY_MISMATCH, IDEMPOTENCY_IN_PROGRESS.
   */
  begin(
    scope: IdempotencyScope,
    fingerprint: string,
  ): { readonly replay: StoredAnswer } | { readonly claim: MemoryClaim } {
    const name = `${scope.accountId} ${scope.route} ${scope.key}`;
    this.#expire();
    const known = this.#entries.get(name);
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint) throw new Problem('IDEMPOTENCY_MISMATCH');
      if (known.answer === null) throw new Problem('IDEMPOTENCY_IN_PROGRESS');
      return { replay: known.answer };
    }
    const entry: Entry = { fingerprint, atMs: this.#clock.now(), answer: null };
    this.#entries.set(name, entry);
    if (this.#entries.size > this.#capacity) this.#evictOne();
    return { claim: this.#claimOf(name, entry) };
  }

  #claimOf(name: string, entry: Entry): MemoryClaim {
    return {
      store: (answer) => {
        entry.answer = answer;
        this.#chars += answer.body.length;
        while (this.#chars > MAX_CHARS && this.#evictOne()) continue;
      },
      release: () => {
        if (entry.answer === null && this.#entries.get(name) === entry) this.#entries.delete(name);
      },
    };
  }

  /** Entries stand in order of their age, so the old ones are in front. */
  #expire(): void {
    const oldestMs = this.#clock.now() - KEEP_MS;
    for (const [name, entry] of this.#entries) {
      if (entry.atMs > oldestMs) return;
      this.#drop(name, entry);
    }
  }

  /** The oldest finished one: a running request must keep its claim, or it could run twice. */
  #evictOne(): boolean {
    for (const [name, entry] of this.#entries) {
      if (entry.answer === null) continue;
      this.#drop(name, entry);
      this.#evicted++;
      return true;
    }
    return false;
  }

  #drop(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#chars -= entry.answer?.body.length ?? 0;
  }
}
