/** JSON Web Tokens (contract 1.2): one configured way of verifying them, and the tokens that a login gives. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { errors, jwtVerify, SignJWT, type JWTVerifyGetKey, type JWTVerifyOptions } from 'jose';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { isId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { createJwks } from './auth-jwks.ts';
import { Problem } from './problem.ts';

/** What tokens are verified with: a secret of ours (HS256), or the keys of an outside issuer (RS256). */
export type JwtSettings = {
  readonly key:
    | { readonly kind: 'secret'; readonly secret: Uint8Array }
    | { readonly kind: 'public'; readonly key: KeyObject }
    | { readonly kind: 'jwks'; readonly url: string };
  /** Checked, and written into our own tokens, unless null. */
  readonly issuer: string | null;
  readonly audience: string | null;
};

export type Tokens = {
  /** The user that a token speaks for. Errors: UNAUTHENTICATED, TOKEN_EXPIRED, UNAVAILABLE. */
  verify(token: string): Promise<Id>;
  /** The same, with the end of the token in unix milliseconds, tolerance included. */
  read(token: string): Promise<{ readonly userId: Id; readonly expiresAtMs: number }>;
  /** Null with an outside issuer: we hold no key to sign with. */
  readonly sign: ((userId: Id) => Promise<SignedToken>) | null;
};

export type SignedToken = {
  readonly token: string;
  /** Unix seconds. */
  readonly expiresAt: number;
};

const TOLERANCE_S = 30;
export const TOKEN_LIFE_S = 12 * 3600;
const MIN_RSA_BITS = 2048;

export function createTokens(settings: JwtSettings, clock: Clock, log: Log): Tokens {
  const { key, issuer, audience } = settings;
  const keyOf = keyFinder(settings, clock, log);
  const options: JWTVerifyOptions = {
    algorithms: [key.kind === 'secret' ? 'HS256' : 'RS256'],
    clockTolerance: TOLERANCE_S,
    requiredClaims: ['sub', 'exp'],
    ...(issuer === null ? {} : { issuer }),
    ...(audience === null ? {} : { audience }),
  };
  const read: Tokens['read'] = async (token) => {
    try {
      const currentDate = new Date(clock.wallMs());
      const { payload } = await jwtVerify(token, keyOf, { ...options, currentDate });
      const { sub, exp } = payload;
      const userId = typeof sub === 'string' ? sub.toLowerCase() : '';
      // `1e400` is read as infinity: a token that never expires is one without `exp`.
      if (!isId(userId) || exp === undefined || !Number.isFinite(exp)) {
        throw new Problem('UNAUTHENTICATED');
      }
      return { userId, expiresAtMs: (exp + TOLERANCE_S) * 1000 };
    } catch (error) {
      throw refusalOf(error, log);
    }
  };
  return {
    read,
    verify: async (token) => (await read(token)).userId,
    sign: key.kind === 'secret' ? signer(key.secret, settings, clock) : null,
  };
}

/** What jose says of a token. Other errors come of keys that cannot be used, which the operator has to see. */
function refusalOf(error: unknown, log: Log): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof errors.JWTExpired) return new Problem('TOKEN_EXPIRED');
  if (!(error instanceof errors.JOSEError)) log.error('jwt.keyUnusable', { error });
  return new Problem('UNAUTHENTICATED');
}

function keyFinder({ key }: JwtSettings, clock: Clock, log: Log): JWTVerifyGetKey {
  if (key.kind === 'jwks') return createJwks({ url: key.url, clock, log });
  const fixed = key.kind === 'secret' ? key.secret : key.key;
  return async () => fixed;
}

function signer(secret: Uint8Array, settings: JwtSettings, clock: Clock) {
  return async (userId: Id): Promise<SignedToken> => {
    const nowS = Math.floor(clock.wallMs() / 1000);
    const expiresAt = nowS + TOKEN_LIFE_S;
    const claims = new SignJWT()
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(userId)
      .setIssuedAt(nowS)
      .setExpirationTime(expiresAt);
    if (settings.issuer !== null) claims.setIssuer(settings.issuer);
    if (settings.audience !== null) claims.setAudience(settings.audience);
    return { token: await claims.sign(secret), expiresAt };
  };
}

/**
 * The RSA key of a PEM text (public key or certificate; `\n` may stand for line ends, as environment files write them).
 * Errors: E_CONFIG.
 */
export function publicKeyOf(pem: string): KeyObject {
  const text = pem.replaceAll('\\n', '\n').trim();
  const name = 'CALLYARD_JWT_PUBLIC_KEY';
  if (text.includes('PRIVATE KEY')) {
    throw new AppError('E_CONFIG', `${name} holds a private key; give the public one`);
  }
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch (error) {
    throw new AppError('E_CONFIG', `${name} is no public key or certificate in PEM`, {
      cause: error,
    });
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS) return key;
  throw new AppError('E_CONFIG', `${name} must be an RSA key of at least ${MIN_RSA_BITS} bits`);
}
