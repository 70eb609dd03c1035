/**
 * Aliyun NLS access tokens: the signed CreateToken request (contract 2.2) and its answer. The signed URL holds the key's
 * id and a signature: it is in no log and in no error, and neither is anything the vendor or the network says about it.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { systemClock, type Clock } from '#lib/clock.ts';
import { AppError, systemCodeOf, type ErrorCode } from '#lib/errors.ts';

export type AliyunKey = {
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  readonly region: string;
};

export type AliyunToken = { readonly token: string; readonly expiresAtMs: number };

/** Errors: see `createTokenSource`. Aborting `signal` gives up with E_ABORTED. */
export type TokenSource = (key: AliyunKey, signal?: AbortSignal) => Promise<AliyunToken>;

export type TokenSourceOptions = {
  /** Replaces the vendor's address, for tests and proxies. The request is signed for path `/` whatever its path. */
  readonly metaUrl?: string | null;
  readonly clock?: Clock;
  readonly nonce?: () => string;
};

export const TRY_TIMEOUT_MS = 3_000;
const TRIES = 2;
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_TOKEN_CHARS = 4_096;
/** A real one lives for a day or two; a time in another unit would be served for thousands of years. */
const MAX_LIFE_MS = 366 * 86_400_000;
const INTERNATIONAL = 'ap-southeast-1';

/**
 * Fetches a token: 3 s for each try, two tries, the second only where it can help. Errors: E_PROVIDER_AUTH (bad key),
 * E_PROVIDER_QUOTA, E_PROVIDER_PARAM, each with `details.vendorCode`; E_PROVIDER_SERVER, E_TIMEOUT; all with
 * `details.vendor`.
 */
export function createTokenSource(options: TokenSourceOptions = {}): TokenSource {
  const { clock = systemClock, nonce = randomUUID, metaUrl = null } = options;
  return async (key, signal) => {
    for (let attempt = 1; ; attempt++) {
      try {
        const url = requestUrl(metaUrl, key, { nonce: nonce(), timeMs: clock.wallMs() });
        return await tryOnce(url, key, clock, signal);
      } catch (error) {
        if (attempt >= TRIES || !isWorthAnother(error)) throw error;
      }
    }
  };
}

/** The region that answers CreateToken: one for all of mainland China, one for the rest. */
function metaRegionOf(region: string): string {
  return region === INTERNATIONAL ? INTERNATIONAL : 'cn-shanghai';
}

function requestUrl(
  metaUrl: string | null,
  key: AliyunKey,
  stamp: { readonly nonce: string; readonly timeMs: number },
): URL {
  const region = metaRegionOf(key.region);
  const host = region === INTERNATIONAL ? 'nlsmeta' : 'nls-meta';
  const url = new URL(metaUrl ?? `https://${host}.${region}.aliyuncs.com/`);
  url.search = signTokenQuery({ ...key, region }, stamp);
  return url;
}

/** The signed query string of a CreateToken request by GET; `region` goes into it as it is. */
export function signTokenQuery(
  key: AliyunKey,
  stamp: { readonly nonce: string; readonly timeMs: number },
): string {
  // In the order of their names, which the signature wants.
  const joined = Object.entries({
    AccessKeyId: key.accessKeyId,
    Action: 'CreateToken',
    Format: 'JSON',
    RegionId: key.region,
    SignatureMethod: 'HMAC-SHA1',
    SignatureNonce: stamp.nonce,
    SignatureVersion: '1.0',
    Timestamp: new Date(stamp.timeMs).toISOString().replace(/\.\d{3}Z$/, 'Z'),
    Version: '2019-02-28',
  })
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
  return `${joined}&Signature=${encode(tokenSignature(joined, key.accessKeySecret))}`;
}

/** Base64 of HMAC-SHA1 over the sorted and encoded query of a GET to `/`. */
export function tokenSignature(joined: string, accessKeySecret: string): string {
  return createHmac('sha1', `${accessKeySecret}&`)
    .update(`GET&%2F&${encode(joined)}`)
    .digest('base64');
}

/** RFC 3986: what encodeURIComponent leaves and the RFC does not. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

async function tryOnce(
  url: URL,
  key: AliyunKey,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<AliyunToken> {
  const giveUp = new AbortController();
  const onAbort = (): void => giveUp.abort();
  const isAborted = (): boolean => signal?.aborted === true;
  if (isAborted()) throw aborted();
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimer(onAbort, TRY_TIMEOUT_MS);
  try {
    // A redirect would carry the signed URL elsewhere.
    const response = await fetch(url, {
      signal: giveUp.signal,
      redirect: 'manual',
      headers: { accept: 'application/json' },
    });
    return readAnswer(response.status, await boundedText(response), key, clock);
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (isAborted()) throw aborted();
    if (giveUp.signal.aborted) {
      throw failed('E_TIMEOUT', `did not answer within ${TRY_TIMEOUT_MS} ms`);
    }
    // Without its cause, which may quote the URL: of a network error only the system's code is kept.
    throw failed('E_PROVIDER_SERVER', `cannot be reached (${networkCodeOf(error)})`);
  } finally {
    clock.clearTimer(timer);
    signal?.removeEventListener('abort', onAbort);
    giveUp.abort();
  }
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw failed('E_PROVIDER_SERVER', 'sent too long an answer');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readAnswer(status: number, text: string, key: AliyunKey, clock: Clock): AliyunToken {
  const answer = jsonObjectOf(text);
  const code = answer?.['Code'];
  if (status >= 200 && status < 300 && code === undefined) {
    const token = tokenOf(answer?.['Token'], clock);
    if (token !== null) return token;
    throw failed('E_PROVIDER_SERVER', 'answered without a usable token');
  }
  const vendorCode = publicCode(code, key) ?? `HTTP_${status}`;
  const isRefused = status < 300 || (status >= 400 && status < 500);
  throw failed(
    isRefused ? refusalOf(vendorCode, status) : 'E_PROVIDER_SERVER',
    `answered ${vendorCode}`,
    { status, vendorCode },
  );
}

function tokenOf(value: unknown, clock: Clock): AliyunToken | null {
  if (typeof value !== 'object' || value === null) return null;
  const { Id: token, ExpireTime: expiresAtS } = value as Record<string, unknown>;
  if (typeof token !== 'string' || token === '' || token.length > MAX_TOKEN_CHARS) return null;
  if (typeof expiresAtS !== 'number' || !Number.isSafeInteger(expiresAtS)) return null;
  const expiresAtMs = expiresAtS * 1_000;
  const lifeMs = expiresAtMs - clock.wallMs();
  return lifeMs > 0 && lifeMs < MAX_LIFE_MS ? { token, expiresAtMs } : null;
}

/** The vendor's own code, unless it has another form or quotes the key. Its message may quote the signed query. */
function publicCode(code: unknown, key: AliyunKey): string | null {
  if (typeof code !== 'string' || !/^[A-Za-z0-9._-]{1,64}$/.test(code)) return null;
  const isKey = [key.accessKeyId, key.accessKeySecret].some(
    (secret) => secret.length >= 6 && code.includes(secret),
  );
  return isKey ? null : code;
}

const REFUSALS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^Throttling|FlowControl|^HTTP_429$/i, 'E_PROVIDER_QUOTA'],
  [/^SignatureNonceUsed|^InvalidTimeStamp/i, 'E_PROVIDER_PARAM'],
  [
    /AccessKey|^Signature|^IncompleteSignature|^Forbidden|^NoPermission|^Unauthorized|SecurityToken|^InvalidAccount|^HTTP_40[13]$/i,
    'E_PROVIDER_AUTH',
  ],
];

function refusalOf(vendorCode: string, status: number): ErrorCode {
  const known = REFUSALS.find(([pattern]) => pattern.test(vendorCode))?.[1];
  return known ?? (status === 401 || status === 403 ? 'E_PROVIDER_AUTH' : 'E_PROVIDER_PARAM');
}

/** A nonce that was used is ours to replace; what did not answer may answer now. */
function isWorthAnother(error: unknown): boolean {
  if (!(error instanceof AppError)) return false;
  if (error.code === 'E_TIMEOUT' || error.code === 'E_PROVIDER_SERVER') return true;
  const { vendorCode } = error.details;
  return typeof vendorCode === 'string' && vendorCode.startsWith('SignatureNonceUsed');
}

function failed(
  code: ErrorCode,
  what: string,
  details: Readonly<Record<string, unknown>> = {},
): AppError {
  return new AppError(code, `aliyun: the token service ${what}`, {
    details: { vendor: 'aliyun', ...details },
  });
}

function aborted(): AppError {
  return failed('E_ABORTED', 'was not waited for');
}

function networkCodeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = systemCodeOf(cause) ?? systemCodeOf(error) ?? '';
  return /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : 'network error';
}

function jsonObjectOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    // Not JSON, such as the page of a proxy: the status alone tells.
    return null;
  }
}
