/** Who is calling and what they may do (contract 1.2, 1.3): API keys, roles, capabilities. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { isId, type Id } from '#lib/ids.ts';
import { isAllowed } from './addresses.ts';
import type { Role } from '#lib/actor.ts';
import type { Authenticator, StoredKey } from './ports.ts';
import { invalid, Problem } from './problem.ts';

export type Capability = 'any' | 'ops' | 'sup' | 'dev' | 'adm' | 'own';

const CAPABILITIES: Readonly<Record<Role, readonly Capability[]>> = {
  owner: ['any', 'ops', 'sup', 'dev', 'adm', 'own'],
  admin: ['any', 'ops', 'sup', 'dev', 'adm'],
  developer: ['any', 'ops', 'dev'],
  supervisor: ['any', 'ops', 'sup'],
  viewer: ['any'],
};

/** The authenticated client of a request. */
export type Caller = {
  readonly accountId: Id;
  readonly role: Role;
  /** `key:<id>` or `user:<id>`: counts requests, and names the actor of changes. */
  readonly actor: string;
  /** Null: all agents. */
  readonly agentIds: readonly Id[] | null;
};

export type Credentials = {
  readonly authorization: string | undefined;
  readonly accountHeader: string | string[] | undefined;
  readonly address: string;
};

const API_KEY = /^cy_([a-z0-9]{8})_[A-Za-z0-9_-]{43}$/;
/** RFC 9110 11.1: the scheme's case does not matter. */
const BEARER = /^bearer +([^\s]+) *$/i;

/** How long a key read from the store is believed: a revocation must work within 5 s on every node. */
const KEY_FRESH_MS = 3_000;
const KEY_LOOKUP_TIMEOUT_MS = 5_000;
const KEY_CACHE_ENTRIES = 10_000;

export function can(role: Role, capability: Capability): boolean {
  return CAPABILITIES[role].includes(capability);
}

/** True when the caller may see this agent's calls. */
export function maySee(caller: Caller, agentId: Id): boolean {
  return caller.agentIds === null || caller.agentIds.includes(agentId);
}

export class KeyAuthenticator {
  readonly #keys: Authenticator;
  readonly #clock: Clock;
  readonly #cache = new Map<string, { readonly key: StoredKey; readonly atMs: number }>();

  constructor(keys: Authenticator, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  /**
   * The caller behind a request. Errors: UNAUTHENTICATED, KEY_REVOKED, TOKEN_EXPIRED, IP_NOT_ALLOWED,
   * ACCOUNT_FORBIDDEN, VALIDATION_FAILED; what the store rejects with while it is away.
   */
  async authenticate(credentials: Credentials): Promise<Caller> {
    const token = BEARER.exec(credentials.authorization ?? '')?.[1];
    const prefix = API_KEY.exec(token ?? '')?.[1];
    if (token === undefined || prefix === undefined) throw new Problem('UNAUTHENTICATED');
    const key = await this.#find(prefix);
    const hash = createHash('sha256').update(token).digest();
    if (key === null || key.keyHash.length !== hash.length || !timingSafeEqual(hash, key.keyHash)) {
      throw new Problem('UNAUTHENTICATED');
    }
    this.#refuseStale(key);
    if (key.ipAllow !== null && key.ipAllow.length > 0) {
      if (!isAllowed(credentials.address, key.ipAllow)) throw new Problem('IP_NOT_ALLOWED');
    }
    refuseOtherAccount(credentials.accountHeader, key.accountId);
    return {
      accountId: key.accountId,
      role: key.role,
      actor: `key:${key.keyId}`,
      agentIds: key.agentIds,
    };
  }

  #refuseStale(key: StoredKey): void {
    const nowMs = this.#clock.wallMs();
    if (key.revokedAtMs !== null && key.revokedAtMs <= nowMs) throw new Problem('KEY_REVOKED');
    if (key.expiresAtMs !== null && key.expiresAtMs <= nowMs) throw new Problem('TOKEN_EXPIRED');
  }

  async #find(prefix: string): Promise<StoredKey | null> {
    const known = this.#cache.get(prefix);
    if (known !== undefined && this.#clock.now() - known.atMs < KEY_FRESH_MS) return known.key;
    const atMs = this.#clock.now();
    const key = await withDeadline(
      this.#keys.findKey(prefix),
      KEY_LOOKUP_TIMEOUT_MS,
      'the look-up of an API key',
      this.#clock,
    );
    this.#cache.delete(prefix);
    // Only keys that exist are kept: guessing prefixes must not push real keys out.
    if (key !== null) this.#keep(prefix, key, atMs);
    return key;
  }

  #keep(prefix: string, key: StoredKey, atMs: number): void {
    this.#cache.set(prefix, { key, atMs });
    if (this.#cache.size <= KEY_CACHE_ENTRIES) return;
    const oldest = this.#cache.keys().next();
    if (!oldest.done) this.#cache.delete(oldest.value);
  }
}

/** `X-Account-Id` with an API key must name the key's own account. */
function refuseOtherAccount(header: string | string[] | undefined, accountId: Id): void {
  if (header === undefined) return;
  const wanted = String(header).toLowerCase();
  if (!isId(wanted)) throw invalid('X-Account-Id', 'uuid');
  if (wanted !== accountId) throw new Problem('ACCOUNT_FORBIDDEN');
}
