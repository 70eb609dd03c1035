/** Requests with an API key (contract 1.2): found by its public prefix, compared by hash, believed for seconds. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { KeyFinder, StoredKey } from '#store/api-keys.ts';
import { isAllowed } from './addresses.ts';
import { Problem } from './problem.ts';

const API_KEY = /^cy_([a-z0-9]{8})_[A-Za-z0-9_-]{43}$/;
/** How long a key read from the store is believed: a revocation must work within 5 s on every node. */
const KEY_FRESH_MS = 3_000;
const KEY_LOOKUP_TIMEOUT_MS = 5_000;
const KEY_CACHE_ENTRIES = 10_000;

type Cached = { readonly key: StoredKey; readonly atMs: number };

export class KeyAuthenticator {
  readonly #keys: KeyFinder;
  readonly #clock: Clock;
  readonly #cache = new Map<string, Cached>();

  constructor(keys: KeyFinder, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  /** True for text in the form of a key. */
  takes(token: string): boolean {
    return API_KEY.test(token);
  }

  /**
   * The key behind a token. `beforeGuess` is called before the store is asked about a token that never proved right
   * here, and may refuse. Errors: UNAUTHENTICATED, KEY_REVOKED, TOKEN_EXPIRED, IP_NOT_ALLOWED; what the store rejects
   * with while it is away.
   */
  async authenticate(token: string, address: string, beforeGuess: () => void): Promise<StoredKey> {
    const prefix = API_KEY.exec(token)?.[1];
    if (prefix === undefined) throw new Problem('UNAUTHENTICATED');
    const hash = createHash('sha256').update(token).digest();
    const key = await this.#find(prefix, hash, beforeGuess);
    if (key === null || !isHash(key, hash)) throw new Problem('UNAUTHENTICATED');
    this.#refuseStale(key);
    if (key.ipAllow !== null && key.ipAllow.length > 0) {
      if (!isAllowed(address, key.ipAllow)) throw new Problem('IP_NOT_ALLOWED');
    }
    return key;
  }

  /** Asks again about a key that was right: false once it is revoked or gone. Keeps no text of the key. */
  watch(token: string): () => Promise<boolean> {
    const prefix = API_KEY.exec(token)?.[1] ?? '';
    const hash = createHash('sha256').update(token).digest();
    return async () => {
      const key = await this.#find(prefix, hash, () => undefined);
      if (key === null || !isHash(key, hash)) return false;
      return key.revokedAtMs === null || key.revokedAtMs > this.#clock.wallMs();
    };
  }

  #refuseStale(key: StoredKey): void {
    const nowMs = this.#clock.wallMs();
    if (key.revokedAtMs !== null && key.revokedAtMs <= nowMs) throw new Problem('KEY_REVOKED');
    if (key.expiresAtMs !== null && key.expiresAtMs <= nowMs) throw new Problem('TOKEN_EXPIRED');
  }

  async #find(prefix: string, hash: Buffer, beforeGuess: () => void): Promise<StoredKey | null> {
    const known = this.#cache.get(prefix);
    const isFresh = known !== undefined && this.#clock.now() - known.atMs < KEY_FRESH_MS;
    if (isFresh) return known.key;
    // An old entry still shows that this very token was right a while ago: its owner is no stranger.
    if (known === undefined || !isHash(known.key, hash)) beforeGuess();
    const atMs = this.#clock.now();
    const key = await withDeadline(
      this.#keys.findKey(prefix),
      KEY_LOOKUP_TIMEOUT_MS,
      'the look-up of an API key',
      this.#clock,
    );
    this.#cache.delete(prefix);
    // Only keys that exist are kept: guessing prefixes must not push real keys out.
    if (key !== null) this.#keep(prefix, { key, atMs });
    return key;
  }

  #keep(prefix: string, entry: Cached): void {
    this.#cache.set(prefix, entry);
    if (this.#cache.size <= KEY_CACHE_ENTRIES) return;
    const oldest = this.#cache.keys().next();
    if (!oldest.done) this.#cache.delete(oldest.value);
  }
}

function isHash(key: StoredKey, hash: Buffer): boolean {
  return key.keyHash.length === hash.length && timingSafeEqual(hash, key.keyHash);
}
