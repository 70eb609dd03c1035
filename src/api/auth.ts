/** Who is calling and what they may do (contract 1.2, 1.3): tokens of people, API keys, roles, capabilities. */
import type { Role } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { isId, type Id } from '#lib/ids.ts';
import type { UserDirectory } from '#store/users.ts';
import type { Tokens } from './auth-jwt.ts';
import type { KeyAuthenticator } from './auth-keys.ts';
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

/** A caller, and for how long: what a socket that stays open has to watch. */
export type Grant = {
  readonly caller: Caller;
  /** Unix milliseconds; null: not by itself. */
  readonly expiresAtMs: number | null;
  /** False once the key is revoked or the membership has ended. Rejects while that cannot be known. */
  readonly recheck: () => Promise<boolean>;
  /** How often that is worth asking. */
  readonly recheckMs: number;
  /** Of a ticket: the one call that it opens. */
  readonly callId: Id | null;
};

export type Credentials = {
  readonly authorization: string | undefined;
  readonly accountHeader: string | string[] | undefined;
  readonly address: string;
  /** Called before a token that may be a guess costs a look-up; may refuse by throwing. */
  readonly beforeGuess: () => void;
};

/** RFC 9110 11.1: the scheme's case does not matter. */
const BEARER = /^bearer +([^\s]+) *$/i;

/** Longest wait for who a user is. */
const USER_LOOKUP_TIMEOUT_MS = 5_000;
/** With the seconds for which a key is believed, a revocation closes sockets within 5 s (contract 1.2). */
const KEY_RECHECK_MS = 1_500;
const USER_RECHECK_MS = 30_000;

export function can(role: Role, capability: Capability): boolean {
  return CAPABILITIES[role].includes(capability);
}

/** True when the caller may see this agent's calls. */
export function maySee(caller: Caller, agentId: Id): boolean {
  return caller.agentIds === null || caller.agentIds.includes(agentId);
}

export type AuthenticatorParts = {
  readonly keys: KeyAuthenticator;
  /** Null: this server takes API keys alone. */
  readonly tokens: Tokens | null;
  readonly users: UserDirectory;
  readonly clock: Clock;
};

export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /**
   * The caller behind a request. Errors: UNAUTHENTICATED, KEY_REVOKED, TOKEN_EXPIRED, IP_NOT_ALLOWED,
   * ACCOUNT_FORBIDDEN, VALIDATION_FAILED; what the store rejects with while it is away.
   */
  async authenticate(credentials: Credentials): Promise<Caller> {
    return (await this.grant(credentials)).caller;
  }

  /** The caller, and how long it stays one. Errors: as `authenticate`. */
  async grant(credentials: Credentials): Promise<Grant> {
    const token = BEARER.exec(credentials.authorization ?? '')?.[1];
    if (token === undefined) throw new Problem('UNAUTHENTICATED');
    if (this.#parts.keys.takes(token)) return this.#byKey(token, credentials);
    return this.#byToken(token, credentials.accountHeader);
  }

  async #byKey(token: string, credentials: Credentials): Promise<Grant> {
    const { address, beforeGuess, accountHeader } = credentials;
    const key = await this.#parts.keys.authenticate(token, address, beforeGuess);
    const wanted = accountIn(accountHeader);
    if (wanted !== null && wanted !== key.accountId) throw new Problem('ACCOUNT_FORBIDDEN');
    const { accountId, role, agentIds, expiresAtMs } = key;
    return {
      caller: { accountId, role, agentIds, actor: `key:${key.keyId}` },
      ...{ expiresAtMs, recheck: this.#parts.keys.watch(token), recheckMs: KEY_RECHECK_MS },
      callId: null,
    };
  }

  /** The signature is checked first, so a guess costs no look-up. */
  async #byToken(token: string, accountHeader: Credentials['accountHeader']): Promise<Grant> {
    const { tokens, users, clock } = this.#parts;
    if (tokens === null) throw new Problem('UNAUTHENTICATED');
    const { userId, expiresAtMs } = await tokens.read(token);
    const accountId = accountIn(accountHeader) ?? userId;
    const access = () =>
      withDeadline(
        users.access(userId, accountId),
        USER_LOOKUP_TIMEOUT_MS,
        'the look-up of a user',
        clock,
      );
    const { isUser, role } = await access();
    if (!isUser) throw new Problem('UNAUTHENTICATED');
    if (role === null) throw new Problem('ACCOUNT_FORBIDDEN');
    return {
      caller: { accountId, role, agentIds: null, actor: `user:${userId}` },
      ...{ expiresAtMs, recheckMs: USER_RECHECK_MS, callId: null },
      recheck: async () => (await access()).role === role,
    };
  }
}

/** The account that `X-Account-Id` names; null without one. Errors: VALIDATION_FAILED. */
export function accountIn(header: string | string[] | undefined): Id | null {
  if (header === undefined) return null;
  const wanted = String(header).toLowerCase();
  if (!isId(wanted)) throw invalid('X-Account-Id', 'uuid');
  return wanted;
}
