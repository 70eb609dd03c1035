/**
 * Idempotency-Key over database and memory: the table decides for all nodes; while it is away (a call must still be
 * hung up) this node decides alone, and what it answered then it answers again afterwards.
 */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { IdempotencyScope, IdempotencyTable, StoredAnswer } from '#store/idempotency.ts';
import { IdempotencyStore, type MemoryClaim } from './idempotency.ts';
import { Problem } from './problem.ts';

/** Longest wait for the table: a command is worth more than the memory of it. */
const TABLE_TIMEOUT_MS = 1_000;

/** A key in use by a running request: exactly one of `store` and `release` ends it. */
export type Claim = {
  /** The answer will show a secret once: it is to be kept sealed. */
  seal(): void;
  store(answer: StoredAnswer): Promise<void>;
  release(): Promise<void>;
};

export type IdempotencyClaimsOptions = {
  /** Null: this node's memory alone. */
  readonly table: IdempotencyTable | null;
  readonly clock: Clock;
  readonly log: Log;
};

type InTable = { readonly token: string } | { readonly answer: StoredAnswer } | null;

export class IdempotencyClaims {
  readonly #options: IdempotencyClaimsOptions;
  readonly #memory: IdempotencyStore;

  constructor(options: IdempotencyClaimsOptions) {
    this.#options = options;
    this.#memory = new IdempotencyStore(options.clock);
  }

  /**
   * The stored answer to give again, or a claim on the key. `isSecret`: the answer is stored sealed.
   * Errors: IDEMPOTENCY_MISMATCH, IDEMPOTENCY_IN_PROGRESS.
   */
  async begin(
    scope: IdempotencyScope,
    fingerprint: Buffer,
    isSecret: boolean,
  ): Promise<{ readonly replay: StoredAnswer } | { readonly claim: Claim }> {
    // First here: what this node is doing or did while the database was away, the table does not know.
    const here = this.#memory.begin(scope, fingerprint.toString('base64url'));
    if ('replay' in here) return here;
    try {
      const there = await this.#claimInTable(scope, fingerprint);
      if (there !== null && 'answer' in there) {
        here.claim.release();
        return { replay: there.answer };
      }
      return { claim: this.#claimOf(scope, here.claim, there?.token ?? null, isSecret) };
    } catch (error) {
      here.claim.release();
      throw error;
    }
  }

  /** Null while the table is away. */
  async #claimInTable(scope: IdempotencyScope, fingerprint: Buffer): Promise<InTable> {
    const { table } = this.#options;
    if (table === null) return null;
    const known = await this.#unlessAway(table.claim(scope, fingerprint));
    if (known === null || 'token' in known) return known;
    if (!known.isSame) throw new Problem('IDEMPOTENCY_MISMATCH');
    if (known.answer === null) throw new Problem('IDEMPOTENCY_IN_PROGRESS');
    return { answer: known.answer };
  }

  #claimOf(
    scope: IdempotencyScope,
    here: MemoryClaim,
    token: string | null,
    isSecret: boolean,
  ): Claim {
    let isSealed = isSecret;
    const settle = async (answer: StoredAnswer | null): Promise<boolean> => {
      const { table } = this.#options;
      if (table === null || token === null) return false;
      const done = table.settle(scope, token, answer, isSealed).then(() => true);
      return (await this.#unlessAway(done)) ?? false;
    };
    return {
      seal: () => {
        isSealed = true;
      },
      store: async (answer) => {
        // What the table has need not be held here as well.
        if (await settle(answer)) here.release();
        else here.store(answer);
      },
      release: async () => {
        here.release();
        await settle(null);
      },
    };
  }

  async #unlessAway<T>(work: Promise<T>): Promise<T | null> {
    const { clock, log } = this.#options;
    try {
      return await withDeadline(work, TABLE_TIMEOUT_MS, 'the table of Idempotency-Keys', clock);
    } catch (error) {
      if (!isAway(error)) throw error;
      log.debug('idempotency.inMemory', { error });
      return null;
    }
  }
}

function isAway(error: unknown): boolean {
  const code = error instanceof AppError ? error.code : undefined;
  return code === 'E_DATABASE_UNREACHABLE' || code === 'E_TIMEOUT';
}
