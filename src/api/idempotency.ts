/**
 * Idempotency-Key (contract 1.6): the first answer to a key is given again to every later request with the same key.
 * Kept in memory, so a restart forgets; bounded in number, size and time.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import { invalid, Problem } from './problem.ts';

const KEEP_MS = 24 * 3600 * 1000;
const KEY_MAX_CHARS = 255;
const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

export type StoredAnswer = { readonly status: number; readonly body: string };

type Entry = {
  readonly fingerprint: string;
  readonly atMs: number;
  /** Null while the first request is running. */
  answer: StoredAnswer | null;
};

/** A key in use by a running request: exactly one of `store` and `release` ends it. */
export type Claim = {
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
   * The stored answer to give again, or a claim on the key. `target` is what the request acts on (its path and body):
   * the same key for another target is refused. Errors: IDEMPOTENCY_MISMATCH, IDEMPOTENCY_IN_PROGRESS.
   */
  begin(
    scope: { readonly accountId: Id; readonly route: string; readonly key: string },
    target: readonly (string | Uint8Array)[],
  ): { readonly replay: StoredAnswer } | { readonly claim: Claim } {
    const name = `${scope.accountId} ${scope.route} ${scope.key}`;
    const fingerprint = fingerprintOf(target);
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

  #claimOf(name: string, entry: Entry): Claim {
    return {
      store: (answer) => {
        entry.answer = answer;
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
      this.#entries.delete(name);
    }
  }

  /** The oldest finished one: a running request must keep its claim, or it could run twice. */
  #evictOne(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.answer === null) continue;
      this.#entries.delete(name);
      this.#evicted++;
      return;
    }
  }
}

function fingerprintOf(target: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of target) hash.update(part).update('\0');
  return hash.digest('base64url');
}
