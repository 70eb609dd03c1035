/** Digest over many requests to one server (RFC 7616 3.3, 3.6): a known challenge is answered before it is asked again. */
import { randomBytes } from 'node:crypto';
import {
  chooseChallenge,
  digestHeader,
  parseChallenges,
  type Challenge,
  type ChallengedResponse,
  type Credentials,
} from './digest.ts';

type Kind = 'www' | 'proxy';
type Kept = { challenge: Challenge; uses: number };

export type RefusedLogin = 'password_missing' | 'realm_mismatch' | 'auth_failed';

const NAMES = {
  www: { asks: 'www-authenticate', answers: 'Authorization', info: 'authentication-info' },
  proxy: {
    asks: 'proxy-authenticate',
    answers: 'Proxy-Authorization',
    info: 'proxy-authentication-info',
  },
} as const satisfies Record<Kind, Record<string, string>>;

export class DigestSession {
  readonly #credentials: Credentials | null;
  readonly #cnonce: () => string;
  /** A proxy and the registrar behind it may each have a challenge of their own. */
  readonly #kept = new Map<Kind, Kept>();

  constructor(
    credentials: Credentials | null,
    cnonce: () => string = () => randomBytes(12).toString('hex'),
  ) {
    this.#credentials = credentials;
    this.#cnonce = cnonce;
  }

  /** One request and its repeats with credentials. */
  begin(): DigestRound {
    return new DigestRound(this);
  }

  /** Credentials for every challenge that is known. */
  headers(request: { readonly method: string; readonly uri: string }): Record<string, string> {
    const headers: Record<string, string> = {};
    if (this.#credentials === null) return headers;
    for (const [kind, kept] of this.#kept) {
      kept.uses += 1;
      headers[NAMES[kind].answers] = digestHeader({
        ...this.#credentials,
        ...request,
        challenge: kept.challenge,
        nonceCount: kept.uses,
        cnonce: this.#cnonce(),
      });
    }
    return headers;
  }

  /** Keeps the challenge for the next request; null: it can be answered. */
  take(kind: Kind, response: ChallengedResponse): RefusedLogin | null {
    if (this.#credentials === null) return 'password_missing';
    const { realm } = this.#credentials;
    const challenges = parseChallenges(response.header(NAMES[kind].asks) ?? '');
    const challenge = chooseChallenge(challenges, realm);
    if (challenge !== null) {
      this.#kept.set(kind, { challenge, uses: 0 });
      return null;
    }
    const isOtherRealm = realm !== null && chooseChallenge(challenges, null) !== null;
    return isOtherRealm ? 'realm_mismatch' : 'auth_failed';
  }

  isStale(kind: Kind): boolean {
    return this.#kept.get(kind)?.challenge.params.get('stale')?.toLowerCase() === 'true';
  }

  /** The server took the credentials; it may name the nonce of the next request (RFC 7616 3.5). */
  accepted(response: ChallengedResponse): void {
    for (const [kind, kept] of this.#kept) {
      const info = response.header(NAMES[kind].info) ?? '';
      const next = /(?:^|[\s,])nextnonce\s*=\s*"([^"\\]+)"/i.exec(info)?.[1];
      if (next === undefined) continue;
      const params = new Map(kept.challenge.params).set('nonce', next);
      this.#kept.set(kind, { challenge: { ...kept.challenge, params }, uses: 0 });
    }
  }

  /** The next request is sent as if there had been none before. */
  forget(): void {
    this.#kept.clear();
  }
}

/**
 * A nonce from an earlier request may be refused once whatever is said of it. A fresh one is repeated only when the
 * server calls it stale: else the password is wrong, and trying on locks accounts.
 */
export class DigestRound {
  readonly #session: DigestSession;
  readonly #answered = new Map<Kind, 'fresh' | 'stale'>();

  constructor(session: DigestSession) {
    this.#session = session;
  }

  /** What to do about a 401 or 407; null: send the request again with `headers()` of the session. */
  challenged(response: ChallengedResponse): RefusedLogin | null {
    const kind = response.status === 407 ? 'proxy' : 'www';
    const before = this.#answered.get(kind);
    const refused = this.#session.take(kind, response);
    if (refused === null && before === undefined) {
      this.#answered.set(kind, 'fresh');
      return null;
    }
    if (refused === null && before === 'fresh' && this.#session.isStale(kind)) {
      this.#answered.set(kind, 'stale');
      return null;
    }
    this.#session.forget();
    return refused ?? 'auth_failed';
  }
}
