/**
 * Access tokens of vendor accounts, one for each account in the whole cluster (contract 2.2): a memory cache in front of
 * a row that all nodes share; renewed in time, by one node, in the background; served while vendor or database fail.
 */
import { backoffMs } from '#lib/backoff.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { AliyunKey, AliyunToken, TokenSource } from '#providers/aliyun/token.ts';

/** The active vendor account of an account of ours, its secret opened. A changed one has another id. */
export type TokenAccount = AliyunKey & {
  readonly id: Id;
  readonly accountId: Id;
  readonly appKey: string;
};

/** What all nodes know of a vendor account's token; null throughout before the first. Times are unix milliseconds. */
export type SharedToken = {
  readonly token: string | null;
  readonly fetchedAtMs: number | null;
  readonly expiresAtMs: number | null;
  /** The last refusal, until a token is fetched. */
  readonly refusedAtMs: number | null;
  readonly refusedCode: string | null;
};

/** The row that the nodes share, and the lock around it. Errors: E_DATABASE*. */
export type TokenVault = {
  read(account: TokenAccount): Promise<SharedToken>;
  /**
   * Runs `work` while no other node does and stores what it returns, unless it returns `current` itself. Null, without
   * waiting, while another is at it.
   */
  exclusively(
    account: TokenAccount,
    work: (current: SharedToken) => Promise<SharedToken>,
  ): Promise<SharedToken | null>;
};

export type VendorToken = {
  readonly token: string;
  readonly expiresAtMs: number;
  readonly appKey: string;
  readonly region: string;
};

export type VendorTokens = {
  /**
   * A token with at least 30 s of life; null without a vendor account. Errors: those of the token source, E_PROVIDER_AUTH
   * again for 30 s after a refusal; E_DATABASE* when the account is not known and the database is away. `refused`: the
   * vendor did not take this one; it is renewed, unless that was done less than 30 s ago.
   */
  forAccount(accountId: Id, refused?: string): Promise<VendorToken | null>;
  /** A token for a key that nobody uses yet: the proof that it works. Errors: those of the token source. */
  verify(key: AliyunKey): Promise<AliyunToken>;
  /** Idempotent. */
  close(): void;
};

export type VendorTokensOptions = {
  /** At most 1 s old, older while the database is away; null when no account is active. */
  readonly accounts: { aliyun(accountId: Id): Promise<TokenAccount | null> };
  readonly vault: TokenVault;
  readonly fetchToken: TokenSource;
  readonly log: Log;
  readonly clock?: Clock;
  readonly random?: () => number;
};

/** A token is not served in its last seconds: whoever gets it has still to connect. */
export const SPARE_MS = 30_000;
export const REFUSED_MS = 30_000;
/** Longest wait for the node that is fetching; above its two tries of 3 s. */
const OTHER_NODE_MS = 8_000;
const ASK_AGAIN_MS = 150;
const MIN_RENEW_MS = 1_000;
const MAX_TIMER_MS = 6 * 3_600_000;
const RETRY = { firstMs: 5_000, maxMs: 60_000 };
const RETRY_REFUSED = { firstMs: REFUSED_MS * 1.5, maxMs: 600_000 };
/** A token that could not be renewed is given up this long after its end; the next request begins anew. */
const GIVE_UP_MS = 600_000;
const CAPACITY = 1_000;

type Held = {
  readonly account: TokenAccount;
  readonly token: string;
  readonly fetchedAtMs: number;
  readonly expiresAtMs: number;
  /** When it is to be renewed: after 75 to 85 % of its life. */
  readonly dueAtMs: number;
  failures: number;
  timer: TimerHandle | undefined;
};

const NOTHING_SHARED: SharedToken = {
  ...{ token: null, fetchedAtMs: null, expiresAtMs: null },
  ...{ refusedAtMs: null, refusedCode: null },
};

type Refusal = { readonly atMs: number; readonly code: string };

export function createVendorTokens(options: VendorTokensOptions): VendorTokens {
  return new TokenCache(options);
}

class TokenCache implements VendorTokens {
  readonly #options: VendorTokensOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #closing = new AbortController();
  /** By account of ours. */
  readonly #held = new Map<Id, Held>();
  /** By vendor account, as the maps below. */
  readonly #flying = new Map<Id, Promise<Held>>();
  readonly #refused = new Map<Id, Refusal>();

  constructor(options: VendorTokensOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  async forAccount(accountId: Id, refused?: string): Promise<VendorToken | null> {
    const account = await this.#account(accountId);
    if (account === null) {
      this.#drop(accountId);
      return null;
    }
    const held = this.#known(account);
    if (held !== undefined && this.#isServable(held) && !this.#isVoid(held, refused)) {
      return viewOf(held);
    }
    return viewOf(await this.#renew(account));
  }

  /** One that is quite new is not what is wrong: it would be fetched again with every connection. */
  #isVoid(held: Held, refused: string | undefined): boolean {
    return held.token === refused && this.#clock.wallMs() - held.fetchedAtMs >= REFUSED_MS;
  }

  verify(key: AliyunKey): Promise<AliyunToken> {
    return this.#options.fetchToken(key, this.#closing.signal);
  }

  close(): void {
    this.#closing.abort();
    for (const accountId of [...this.#held.keys()]) this.#drop(accountId);
  }

  async #account(accountId: Id): Promise<TokenAccount | null> {
    try {
      return await this.#options.accounts.aliyun(accountId);
    } catch (error) {
      const held = this.#held.get(accountId);
      if (held === undefined) throw error;
      this.#options.log.debug('vendorToken.accountUnread', { accountId, error });
      return held.account;
    }
  }

  #known(account: TokenAccount): Held | undefined {
    const held = this.#held.get(account.accountId);
    return held?.account.id === account.id ? held : undefined;
  }

  #isServable(token: Pick<SharedToken, 'token' | 'expiresAtMs'>): boolean {
    return token.token !== null && this.#clock.wallMs() < (token.expiresAtMs ?? 0) - SPARE_MS;
  }

  // ---- One refresh at a time: in this process by promise, among the nodes by the vault ----

  #renew(account: TokenAccount): Promise<Held> {
    const flying = this.#flying.get(account.id);
    if (flying !== undefined) return flying;
    const work = this.#acquire(account).finally(() => this.#flying.delete(account.id));
    this.#flying.set(account.id, work);
    return work;
  }

  async #acquire(account: TokenAccount): Promise<Held> {
    const endMs = this.#clock.now() + OTHER_NODE_MS;
    for (;;) {
      this.#throwIfRefused(account);
      const known = this.#known(account);
      const shared =
        (await this.#ownTurn(account, known)) ?? (await this.#fromOther(account, known));
      if (shared !== null) return this.#accept(account, known, shared);
      if (this.#clock.now() >= endMs) {
        throw new AppError('E_TIMEOUT', 'aliyun: another node is still fetching the token', {
          details: { vendor: 'aliyun' },
        });
      }
      const waitMs = ASK_AGAIN_MS * (0.7 + 0.6 * this.#random());
      await delay(waitMs, this.#closing.signal, this.#clock);
    }
  }

  /** Null while another node has its turn. */
  async #ownTurn(account: TokenAccount, known: Held | undefined): Promise<SharedToken | null> {
    const got: { fresh?: SharedToken } = {};
    try {
      return await this.#options.vault.exclusively(account, async (current) => {
        if (this.#isCoolingDown(current) || this.#isNews(current, known)) return current;
        const next = await this.#fetch(account, current);
        if (next.refusedAtMs === null) got.fresh = next;
        return next;
      });
    } catch (error) {
      if (got.fresh === undefined && !isDatabaseError(error)) throw error;
      // Fetched without the others: better two tokens for one account than none while the database is away.
      this.#options.log.warn('vendorToken.notShared', { configId: account.id, error });
      return got.fresh ?? this.#fetch(account, NOTHING_SHARED);
    }
  }

  /** While another node renews it, the shared token may be good still for whoever has none. */
  async #fromOther(account: TokenAccount, known: Held | undefined): Promise<SharedToken | null> {
    const current = await this.#options.vault.read(account);
    return this.#isNews(current, known) ? current : null;
  }

  /** A refusal is a result, to be shared so that no node asks again too soon; other failures are thrown. */
  async #fetch(account: TokenAccount, current: SharedToken): Promise<SharedToken> {
    try {
      const fetched = await this.#options.fetchToken(account, this.#closing.signal);
      if (!this.#isServable(fetched)) {
        // Kept, it would be fetched again with every request, and every second besides.
        const message = 'aliyun: the token service answered with a token that is about to end';
        throw new AppError('E_PROVIDER_SERVER', message, { details: { vendor: 'aliyun' } });
      }
      return {
        ...fetched,
        fetchedAtMs: this.#clock.wallMs(),
        refusedAtMs: null,
        refusedCode: null,
      };
    } catch (error) {
      const refusedCode = refusalCodeOf(error);
      if (refusedCode === null) throw error;
      this.#options.log.warn('vendorToken.refused', { configId: account.id, error });
      return { ...current, refusedAtMs: this.#clock.wallMs(), refusedCode };
    }
  }

  #isNews(shared: SharedToken, known: Held | undefined): boolean {
    if (!this.#isServable(shared) || shared.fetchedAtMs === known?.fetchedAtMs) return false;
    // One fetched while the database was away ends later than what was shared before.
    return (shared.expiresAtMs ?? 0) >= (known?.expiresAtMs ?? 0);
  }

  #accept(account: TokenAccount, known: Held | undefined, shared: SharedToken): Held {
    const { token, fetchedAtMs, expiresAtMs } = shared;
    if (this.#isCoolingDown(shared) && !this.#isNews(shared, known)) {
      const { refusedAtMs, refusedCode } = shared;
      this.#remember(account.id, { atMs: refusedAtMs ?? 0, code: refusedCode ?? 'unknown' });
      this.#throwIfRefused(account);
    }
    if (token === null || fetchedAtMs === null || expiresAtMs === null) {
      throw new AppError('E_INTERNAL', 'a token was shared without being fetched');
    }
    this.#refused.delete(account.id);
    return this.#keep(account, { token, fetchedAtMs, expiresAtMs });
  }

  // ---- Refusals ----

  #isCoolingDown({ refusedAtMs }: Pick<SharedToken, 'refusedAtMs'>): boolean {
    if (refusedAtMs === null) return false;
    // By distance: a node whose clock runs ahead must not refuse for longer.
    return Math.abs(this.#clock.wallMs() - refusedAtMs) < REFUSED_MS;
  }

  #remember(configId: Id, refusal: Refusal): void {
    if (this.#refused.size >= CAPACITY) this.#refused.clear();
    this.#refused.set(configId, refusal);
  }

  #throwIfRefused(account: TokenAccount): void {
    const refusal = this.#refused.get(account.id);
    if (refusal === undefined || !this.#isCoolingDown({ refusedAtMs: refusal.atMs })) return;
    const message = `aliyun: the access key was refused (${refusal.code})`;
    const details = { vendor: 'aliyun', vendorCode: refusal.code };
    throw new AppError('E_PROVIDER_AUTH', message, { details });
  }

  // ---- What is held, and its renewal ----

  #keep(account: TokenAccount, token: Pick<Held, 'token' | 'fetchedAtMs' | 'expiresAtMs'>): Held {
    const lifeMs = token.expiresAtMs - token.fetchedAtMs;
    const dueAtMs = token.fetchedAtMs + lifeMs * (0.75 + 0.1 * this.#random());
    const held: Held = { account, ...token, dueAtMs, failures: 0, timer: undefined };
    this.#drop(account.accountId);
    if (this.#closing.signal.aborted) return held;
    const oldest = this.#held.size < CAPACITY ? undefined : this.#held.keys().next().value;
    if (oldest !== undefined) this.#drop(oldest);
    this.#held.set(account.accountId, held);
    this.#schedule(held, dueAtMs - this.#clock.wallMs());
    return held;
  }

  #drop(accountId: Id): void {
    this.#clock.clearTimer(this.#held.get(accountId)?.timer);
    this.#held.delete(accountId);
  }

  #schedule(held: Held, waitMs: number): void {
    const delayMs = Math.min(MAX_TIMER_MS, Math.max(MIN_RENEW_MS, waitMs));
    held.timer = this.#clock.setTimer(() => void this.#renewInTime(held), delayMs);
  }

  /** Never rejects. */
  async #renewInTime(held: Held): Promise<void> {
    const { accountId } = held.account;
    const earlyMs = held.dueAtMs - this.#clock.wallMs();
    if (earlyMs > 0) {
      this.#schedule(held, earlyMs);
      return;
    }
    try {
      const account = await this.#account(accountId);
      if (this.#held.get(accountId) !== held) return;
      if (account?.id === held.account.id) await this.#renew(account);
      else this.#drop(accountId);
    } catch (error) {
      if (this.#held.get(accountId) === held) this.#tryLater(held, toAppError(error));
    }
  }

  #tryLater(held: Held, error: AppError): void {
    held.failures++;
    const leftMs = held.expiresAtMs - this.#clock.wallMs();
    const { id: configId, accountId } = held.account;
    const left = { configId, failures: held.failures, leftS: Math.round(leftMs / 1_000) };
    this.#options.log.warn('vendorToken.notRenewed', { ...left, error });
    if (leftMs < -GIVE_UP_MS) {
      this.#drop(accountId);
      return;
    }
    const pace = refusalCodeOf(error) === null ? RETRY : RETRY_REFUSED;
    this.#schedule(held, backoffMs(held.failures, { ...pace, random: this.#random }));
  }
}

function viewOf({ account, token, expiresAtMs }: Held): VendorToken {
  return { token, expiresAtMs, appKey: account.appKey, region: account.region };
}

function isDatabaseError(error: unknown): boolean {
  return toAppError(error).code.startsWith('E_DATABASE');
}

/** The vendor's code when it has refused, so that asking again soon cannot help; null for every other failure. */
function refusalCodeOf(error: unknown): string | null {
  if (!(error instanceof AppError)) return null;
  const isRefusal = /^E_PROVIDER_(?:AUTH|PARAM|QUOTA)$/.test(error.code);
  const { vendorCode } = error.details;
  return isRefusal && typeof vendorCode === 'string' ? vendorCode : null;
}
