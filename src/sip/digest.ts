/** HTTP digest as a SIP client: RFC 7616, RFC 8760 and the older forms of RFC 2617 and 2069 that carriers still use. */
import { createHash, randomBytes } from 'node:crypto';

export type Challenge = {
  readonly scheme: string;
  /** Names in lower case, values unquoted. */
  readonly params: ReadonlyMap<string, string>;
};

export type Credentials = {
  readonly username: string;
  readonly password: string;
  /** When set, only challenges of this realm are answered. */
  readonly realm: string | null;
};

/** Node's hash name for each algorithm we answer, weakest first. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['md5', 'md5'],
  ['sha-256', 'sha256'],
  ['sha-512-256', 'sha512-256'],
]);

const MAX_TRIES = 2;

/**
 * Splits a WWW-Authenticate or Proxy-Authenticate value into its challenges. Several of them, and the parameters inside
 * one, are all separated by commas: a token followed by something other than `=` starts the next challenge.
 */
export function parseChallenges(value: string): Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  const item = /[\s,]*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?/gy;
  for (let match = item.exec(value); match !== null; match = item.exec(value)) {
    const [, name = '', raw] = match;
    if (raw === undefined) challenges.push({ scheme: name.toLowerCase(), params: new Map() });
    else {
      const params = challenges.at(-1)?.params;
      if (params?.has(name.toLowerCase()) === false) params.set(name.toLowerCase(), unquote(raw));
    }
  }
  return challenges;
}

function unquote(raw: string): string {
  return raw.startsWith('"') ? raw.slice(1, -1).replaceAll(/\\(.)/gs, '$1') : raw;
}

/** The strongest challenge we can answer, or null: unknown algorithms and auth-int alone are refused. */
export function chooseChallenge(
  challenges: readonly Challenge[],
  realm: string | null,
): Challenge | null {
  let best: Challenge | null = null;
  for (const challenge of challenges) {
    const usable =
      challenge.scheme === 'digest' &&
      strengthOf(challenge) >= 0 &&
      challenge.params.has('nonce') &&
      qopOf(challenge) !== 'unsupported' &&
      (realm === null || challenge.params.get('realm') === realm);
    if (usable && (best === null || strengthOf(challenge) > strengthOf(best))) best = challenge;
  }
  return best;
}

function algorithmOf(challenge: Challenge): { readonly name: string; readonly session: boolean } {
  const text = (challenge.params.get('algorithm') ?? 'MD5').toLowerCase();
  return { name: text.replace(/-sess$/, ''), session: text.endsWith('-sess') };
}

function strengthOf(challenge: Challenge): number {
  return [...HASHES.keys()].indexOf(algorithmOf(challenge).name);
}

function qopOf(challenge: Challenge): 'auth' | 'none' | 'unsupported' {
  const qop = challenge.params.get('qop');
  if (qop === undefined || qop.trim() === '') return 'none';
  return qop
    .toLowerCase()
    .split(',')
    .some((one) => one.trim() === 'auth')
    ? 'auth'
    : 'unsupported';
}

export type DigestInput = Credentials & {
  readonly method: string;
  /** Request-URI exactly as it stands in the request that carries the credentials. */
  readonly uri: string;
  readonly challenge: Challenge;
  /** How many times this nonce has been used, this time included. */
  readonly nonceCount: number;
  readonly cnonce: string;
};

/** The value of an Authorization or Proxy-Authorization header. */
export function digestHeader(input: DigestInput): string {
  const { challenge, method, uri, username, cnonce } = input;
  const { name, session } = algorithmOf(challenge);
  const hash = (text: string): string =>
    createHash(HASHES.get(name) ?? 'md5')
      .update(text)
      .digest('hex');
  const realm = challenge.params.get('realm') ?? '';
  const nonce = challenge.params.get('nonce') ?? '';
  const withQop = qopOf(challenge) === 'auth';
  const nc = input.nonceCount.toString(16).padStart(8, '0');
  const secret = hash(`${username}:${realm}:${input.password}`);
  const a1 = session ? hash(`${secret}:${nonce}:${cnonce}`) : secret;
  const a2 = hash(`${method}:${uri}`);
  const response = hash(
    withQop ? `${a1}:${nonce}:${nc}:${cnonce}:auth:${a2}` : `${a1}:${nonce}:${a2}`,
  );
  const fields = [
    `username=${quote(username)}`,
    `realm=${quote(realm)}`,
    `nonce=${quote(nonce)}`,
    `uri=${quote(uri)}`,
    `response="${response}"`,
  ];
  const algorithm = challenge.params.get('algorithm');
  if (algorithm !== undefined) fields.push(`algorithm=${algorithm}`);
  if (withQop) fields.push('qop=auth', `nc=${nc}`);
  if (withQop || session) fields.push(`cnonce=${quote(cnonce)}`);
  const opaque = challenge.params.get('opaque');
  if (opaque !== undefined) fields.push(`opaque=${quote(opaque)}`);
  return `Digest ${fields.join(', ')}`;
}

function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, (char) => `\\${char}`)}"`;
}

export type ChallengedResponse = {
  readonly status: number;
  header(name: string): string | undefined;
};

/**
 * Answers the challenges to one request: at most two tries, and the second only when the server calls the first one's
 * nonce stale (RFC 7616 3.3). Anything else means that the password is wrong, and repeating it locks accounts.
 */
export class DigestClient {
  readonly #credentials: Credentials;
  readonly #cnonce: () => string;
  #tries = 0;
  readonly #uses = new Map<string, number>();

  constructor(
    credentials: Credentials,
    cnonce: () => string = () => randomBytes(12).toString('hex'),
  ) {
    this.#credentials = credentials;
    this.#cnonce = cnonce;
  }

  /** Header for the next try, or null when this response is final. `response.status` is 401 or 407. */
  answer(
    response: ChallengedResponse,
    request: { readonly method: string; readonly uri: string },
  ): { readonly name: string; readonly value: string } | null {
    const proxy = response.status === 407;
    const value = response.header(proxy ? 'proxy-authenticate' : 'www-authenticate');
    if (value === undefined || this.#tries >= MAX_TRIES) return null;
    const challenge = chooseChallenge(parseChallenges(value), this.#credentials.realm);
    if (challenge === null) return null;
    if (this.#tries > 0 && challenge.params.get('stale')?.toLowerCase() !== 'true') return null;
    this.#tries += 1;
    const nonce = challenge.params.get('nonce') ?? '';
    const nonceCount = (this.#uses.get(nonce) ?? 0) + 1;
    this.#uses.set(nonce, nonceCount);
    return {
      name: proxy ? 'Proxy-Authorization' : 'Authorization',
      value: digestHeader({
        ...this.#credentials,
        ...request,
        challenge,
        nonceCount,
        cnonce: this.#cnonce(),
      }),
    };
  }
}
