/**
 * Requests to addresses that a customer has written: webhooks, tools of an agent, audio to play. Only public servers and
 * the private networks that the operator has named are reached, by exactly the addresses that were checked; redirects
 * are not followed, and time and size are bounded.
 */
import type { LookupAddress } from 'node:dns';
import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { systemClock, type Clock } from './clock.ts';
import { AppError, systemCodeOf, type ErrorCode } from './errors.ts';
import { resolveByDns, resolveBySystem, type ResolveHost } from './resolve-host.ts';
import { isNamedAddress, isPublicAddress, networkList } from './public-address.ts';

/** What may be reached. */
export type Reach = {
  /** Networks (CIDR) besides the public internet: CALLYARD_OUTBOUND_ALLOW. */
  readonly allowPrivate: readonly string[];
  /** Plain http also to public servers. Default: only to `allowPrivate`. */
  readonly allowHttp?: boolean;
};

export type GuardedRequest = Reach & {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** For everything: the name, the connection, the answer and its body. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** A body over `maxBytes`: `refuse` (default) fails with E_TOO_LARGE, `cut` keeps its beginning. */
  readonly whenTooLong?: 'refuse' | 'cut';
  /** An answer whose body breaks off, or is not over in time, counts all the same, with what came of it. */
  readonly isHeadEnough?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly clock?: Clock;
  readonly resolve?: ResolveHost;
};

export type GuardedAnswer = {
  /** Also 3xx, 4xx and 5xx. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly durationMs: number;
};

/**
 * `url`: no http(s) URL, or with a user name in it; `https`: plain http that is not allowed; `public_host`: a host that
 * is not public.
 */
export type UrlFault = 'url' | 'https' | 'public_host';

/** What can be told of a URL without asking DNS, for checks when it is saved; null when nothing is wrong. */
export function urlFault(text: string, reach: Reach): UrlFault | null {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return 'url';
  if (url.username !== '' || url.password !== '') return 'url';
  const literal = literalOf(url);
  const named = networkList(reach.allowPrivate);
  const isNamed = literal !== null && isNamedAddress(literal, named);
  if (literal !== null && !isNamed && !isPublicAddress(literal)) return 'public_host';
  // Where a name leads is seen at each connection; without private networks plain http leads nowhere.
  const mayBeNamed = isNamed || (literal === null && reach.allowPrivate.length > 0);
  return url.protocol === 'http:' && reach.allowHttp !== true && !mayBeNamed ? 'https' : null;
}

/**
 * The answer, whatever its status. Errors: E_URL_NOT_ALLOWED, E_TIMEOUT, E_ABORTED, E_TOO_LARGE, E_UNREACHABLE (with
 * `details.reason`, e.g. ECONNREFUSED). Messages name the host at most, never path, query or answer.
 */
export async function guardedFetch(text: string, options: GuardedRequest): Promise<GuardedAnswer> {
  const clock = options.clock ?? systemClock;
  const startMs = clock.now();
  const fault = urlFault(text, options);
  if (fault !== null) throw notAllowed(fault);
  const url = new URL(text);
  const over = Promise.withResolvers<never>();
  const ended = new AbortController();
  const give = (code: ErrorCode, message: string): void => over.reject(new AppError(code, message));
  const onAbort = (): void => give('E_ABORTED', 'the request was given up');
  const timer = clock.setTimer(
    () => give('E_TIMEOUT', `${url.host} took longer than ${options.timeoutMs} ms`),
    options.timeoutMs,
  );
  if (options.signal?.aborted === true) onAbort();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  let request: ClientRequest | undefined;
  try {
    const addresses = await Promise.race([
      checkedAddresses(url, options, ended.signal),
      over.promise,
    ]);
    request = open(url, addresses, options);
    const reading = read(request, options);
    const answer = await Promise.race([reading.whole, over.promise]).catch((error: unknown) => {
      const begun = options.isHeadEnough === true ? reading.begun() : null;
      if (begun === null) throw error;
      return begun;
    });
    return { ...answer, durationMs: Math.round(clock.now() - startMs) };
  } finally {
    clock.clearTimer(timer);
    options.signal?.removeEventListener('abort', onAbort);
    ended.abort();
    request?.destroy();
  }
}

function notAllowed(fault: UrlFault): AppError {
  const messages: Record<UrlFault, string> = {
    url: 'the URL is no http(s) URL, or holds a user name',
    https: 'the URL must begin with https://',
    public_host: 'the host of the URL is not public',
  };
  return new AppError('E_URL_NOT_ALLOWED', messages[fault], { details: { rule: fault } });
}

/** The host as an address, whatever way it was written in (URL reads `0x7f.1` as 127.0.0.1); null for a name. */
function literalOf(url: URL): string | null {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return host;
  // RFC 6761 6.3: these names mean this machine, also where a resolver says otherwise.
  return /^(?:.+\.)?localhost\.?$/i.test(host) ? '127.0.0.1' : null;
}

/** Where the connection may go. One bad address refuses all: the next answer might put it first. */
async function checkedAddresses(
  url: URL,
  options: GuardedRequest,
  signal: AbortSignal,
): Promise<LookupAddress[]> {
  const literal = literalOf(url);
  const byDefault = options.allowPrivate.length > 0 ? resolveBySystem : resolveByDns;
  const resolve = options.resolve ?? byDefault;
  const found =
    literal === null
      ? await resolve(url.hostname, signal).catch(noAddress)
      : [{ address: literal, family: isIP(literal) }];
  const named = networkList(options.allowPrivate);
  for (const { address } of found) {
    if (isNamedAddress(address, named)) continue;
    if (!isPublicAddress(address)) throw notAllowed('public_host');
    if (url.protocol === 'http:' && options.allowHttp !== true) throw notAllowed('https');
  }
  if (found.length === 0) throw unreachable('ENOTFOUND');
  return [...found];
}

function noAddress(error: unknown): never {
  throw unreachable(systemCodeOf(error) ?? 'ENOTFOUND', error);
}

function open(url: URL, addresses: LookupAddress[], options: GuardedRequest): ClientRequest {
  // The name is not looked up again: a second answer might lead inside (DNS rebinding).
  const pinned: LookupFunction = (_host, { all }, done) => {
    const [first = { address: '', family: 0 }] = addresses;
    if (all === true) done(null, addresses);
    else done(null, first.address, first.family);
  };
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return send(url, {
    method: options.method ?? 'GET',
    headers: { 'accept-encoding': 'identity', ...options.headers },
    ...PATIENT,
    // A connection of its own: a shared one would have been opened, and checked, for somebody else.
    agent: false,
    lookup: pinned,
  });
}

/** For one address, where there is another: Node's 250 ms are less than one way around the world and back. */
const PATIENT = { autoSelectFamilyAttemptTimeout: 2_500 };

type Read = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};

type Reading = {
  readonly whole: Promise<Read>;
  /** What has come so far; null before the head has. */
  readonly begun: () => Read | null;
};

function read(request: ClientRequest, options: GuardedRequest): Reading {
  const { promise: whole, resolve, reject } = Promise.withResolvers<Read>();
  let begun: Reading['begun'] = () => null;
  const fail = (error: unknown): void =>
    reject(unreachable(systemCodeOf(error) ?? 'EPROTO', error));
  const closed = (): void => reject(unreachable('ECONNRESET'));
  request.on('error', fail);
  request.on('close', closed);
  request.on('response', (response) => {
    // A body without a length ends when the connection does.
    request.off('close', closed);
    response.on('close', closed);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const soFar = (): Read => {
      const { statusCode: status = 0, headers } = response;
      return { status, headers, body: Buffer.concat(chunks).subarray(0, options.maxBytes) };
    };
    begun = soFar;
    const done = (): void => resolve(soFar());
    response.on('error', fail);
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes <= options.maxBytes) return;
      response.pause();
      if (options.whenTooLong === 'cut') done();
      else reject(tooLarge(options.maxBytes));
    });
    response.on('end', done);
  });
  request.end(options.body);
  return { whole, begun: () => begun() };
}

function tooLarge(maxBytes: number): AppError {
  return new AppError('E_TOO_LARGE', `the answer has more than ${maxBytes} bytes`);
}

function unreachable(reason: string, cause?: unknown): AppError {
  return new AppError('E_UNREACHABLE', `no answer could be had: ${reason}`, {
    details: { reason },
    ...(cause === undefined ? {} : { cause }),
  });
}
