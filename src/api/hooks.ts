/** What happens to every request before and after its handler: ids, limits, authentication, rates. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { addressOf, countingKey } from './addresses.ts';
import { accountIn, can, type Authenticator, type Caller, type Grant } from './auth.ts';
import { languageOf } from './language.ts';
import { failureOf, invalid, Problem, toProblem } from './problem.ts';
import { RateLimiter, type RateLimit, type RateState } from './rate-limit.ts';
import type { ApiServer, RouteTable } from './routing.ts';
import { offeredBy, refuseForeignPage } from './socket-auth.ts';
import type { Tickets } from './socket-tickets.ts';

export const MAX_URL_BYTES = 8 * 1024;
export const MAX_HEADER_BYTES = 16 * 1024;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Headers of every response, also of those written without Fastify. */
export const BASE_HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
} as const;

export type Limiters = Readonly<Record<'requests' | 'calls' | 'strangers', RateLimiter>>;

export type HookOptions = {
  readonly auth: Authenticator;
  readonly routes: RouteTable;
  readonly clock: Clock;
  readonly log: Log;
  readonly limiters: Limiters;
  readonly tickets: Tickets;
  /** Origins of web pages that may open sockets, besides this server's own. */
  readonly corsOrigins: readonly string[];
  /** Requests in work at one time; more are refused with OVERLOADED. */
  readonly maxInFlight: number;
};

/** The client's request id when it is usable, else a new one. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : newId();
}

export function createLimiters(
  requestRate: RateLimit,
  callRate: RateLimit,
  clock: Clock,
): Limiters {
  return {
    requests: new RateLimiter(requestRate, clock),
    calls: new RateLimiter(callRate, clock),
    // Counts what fails to authenticate, by address, so that guessing has a price.
    strangers: new RateLimiter(requestRate, clock),
  };
}

/** The headers every answer carries, from its first moment on. */
export function markReply(request: FastifyRequest, reply: FastifyReply, limiters: Limiters): void {
  reply.headers({ ...BASE_HEADERS, 'x-request-id': request.id });
  if (!isRated(request.url)) return;
  setRateHeaders(reply, limiters.strangers.peek(countingKey(addressOf(request))));
}

/** Before everything else, also before CORS answers a preflight. */
export function addFirstHook(app: ApiServer, limiters: Limiters): void {
  app.addHook('onRequest', async (request, reply) => {
    markReply(request, reply, limiters);
    refuseSize(request);
  });
}

export function addHooks(app: ApiServer, options: HookOptions): void {
  const inFlight = new InFlight(options.maxInFlight);

  app.decorateRequest('caller', null);
  app.decorateRequest('grant', null);
  app.decorateRequest('endWork', null);
  app.addHook('onRequest', async (request, reply) => {
    refuseHeaders(request);
    refuseNoRoute(request, options.routes);
    const { capability } = request.routeOptions.config;
    if (capability === 'pub') return;
    inFlight.enter(request, reply);
    await admit(request, reply, options);
  });
  app.addHook('onResponse', async (request, reply) => {
    options.log.debug('request.answered', {
      ...traceOf(request),
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? null,
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
    });
  });
}

/** Writes a refusal in the envelope and the client's language; our own faults go to the log with their cause. */
export function sendProblem(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log,
): FastifyReply {
  const problem = toProblem(thrown);
  if (problem.status >= 500) {
    const level = problem.problem === 'INTERNAL' ? 'error' : 'warn';
    const fields = {
      ...{ requestId: request.id, ...traceOf(request) },
      ...{ code: problem.problem, error: problem },
    };
    log[level]('request.failed', fields);
  }
  return reply
    .code(problem.status)
    .headers({ ...BASE_HEADERS, 'x-request-id': request.id, ...problem.headers })
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(failureOf(problem, languageOf(request.headers['accept-language']))));
}

async function admit(
  request: FastifyRequest,
  reply: FastifyReply,
  options: HookOptions,
): Promise<void> {
  const { limiters } = options;
  const { socketRole } = request.routeOptions.config;
  if (socketRole !== undefined) refuseForeignPage(request, options.corsOrigins);
  const grant = await authenticate(request, reply, options);
  const { caller } = grant;
  request.grant = grant;
  request.caller = caller;
  spend(reply, limiters.requests, caller);
  const { capability, placesCalls } = request.routeOptions.config;
  if (capability === undefined || capability === 'pub' || !can(caller.role, capability)) {
    throw new Problem('FORBIDDEN');
  }
  if (placesCalls === true) spend(reply, limiters.calls, caller);
}

/**
 * What fails to authenticate is counted by address. A token that may be a guess is counted before it is looked up, and
 * given back when it was right, so that guessing costs the database nothing once the count is used up.
 */
async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  options: HookOptions,
): Promise<Grant> {
  const { strangers } = options.limiters;
  const address = addressOf(request);
  const who = countingKey(address);
  let isCounted = false;
  const count = (): void => {
    if (isCounted) return;
    const state = strangers.take(who);
    setRateHeaders(reply, state);
    if (!state.allowed) throw rateLimited(state);
    isCounted = true;
  };
  try {
    const grant = await grantOf(request, options, { address: address ?? '', beforeGuess: count });
    if (isCounted) strangers.giveBack(who);
    return grant;
  } catch (error) {
    const isKnown = error instanceof Problem && error.status !== 429;
    if (!isKnown) throw error;
    if (error.status === 401) count();
    else if (isCounted) strangers.giveBack(who);
    throw error;
  }
}

/** Sockets take their proof also from where a browser can put it; a ticket is spent by an upgrade alone. */
async function grantOf(
  request: FastifyRequest,
  { auth, tickets }: HookOptions,
  from: { readonly address: string; readonly beforeGuess: () => void },
): Promise<Grant> {
  const { socketRole } = request.routeOptions.config;
  const accountHeader = request.headers['x-account-id'];
  if (socketRole === undefined) {
    const { authorization } = request.headers;
    return auth.grant({ authorization, accountHeader, ...from });
  }
  const { authorization, ticket } = offeredBy(request);
  if (ticket === null) return auth.grant({ authorization, accountHeader, ...from });
  if (!request.ws) throw new Problem('UPGRADE_REQUIRED', { headers: { upgrade: 'websocket' } });
  const wanted = accountIn(accountHeader);
  const { role = socketRole } = request.query as { readonly role?: unknown };
  const grant = await tickets.redeem(ticket, { path: pathOf(request.url), role: String(role) });
  if (wanted !== null && wanted !== grant.caller.accountId) throw new Problem('ACCOUNT_FORBIDDEN');
  return grant;
}

/** Placing calls has a bucket of its own. Errors: RATE_LIMITED. */
export function spendCall(limiters: Limiters, caller: Caller): void {
  const state = limiters.calls.take(countedAs(caller));
  if (!state.allowed) throw rateLimited(state);
}

function countedAs(caller: Caller): string {
  return `${caller.actor} ${caller.accountId}`;
}

function spend(reply: FastifyReply, limiter: RateLimiter, caller: Caller): void {
  const state = limiter.take(countedAs(caller));
  setRateHeaders(reply, state);
  if (!state.allowed) throw rateLimited(state);
}

export function rateLimited(state: RateState): Problem {
  return new Problem('RATE_LIMITED', { headers: { 'retry-after': String(state.retryAfterS) } });
}

export function setRateHeaders(reply: FastifyReply, state: RateState): void {
  reply.headers({
    'ratelimit-limit': String(state.limit),
    'ratelimit-remaining': String(state.remaining),
    'ratelimit-reset': String(state.resetS),
  });
}

function isRated(url: string): boolean {
  return /^\/(?:api|v1)\//.test(pathOf(url));
}

/** RFC 9112 3.2.2: a target may be a whole URL, of which the router takes the path. */
export function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] ?? '';
}

const SINGLE: ReadonlySet<string> = new Set(['host', 'authorization']);

/**
 * RFC 9112 3.2: exactly one Host. Of two tokens a proxy in front may have read the other one, so that nobody knows whose
 * request this is.
 */
function refuseHeaders({ raw, headers }: FastifyRequest): void {
  if (raw.httpVersion === '1.1' && headers.host === undefined) throw invalid('', 'http');
  const seen = new Set<string>();
  for (let at = 0; at < raw.rawHeaders.length; at += 2) {
    const name = raw.rawHeaders[at]?.toLowerCase() ?? '';
    if (seen.has(name) && SINGLE.has(name)) throw invalid('', 'http');
    seen.add(name);
  }
}

/** W3C Trace Context, level 1: version, trace id, parent id, flags. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}/;

/** The trace that a request belongs to, for its log lines. */
function traceOf(request: FastifyRequest): { readonly traceId?: string } {
  const header = request.headers['traceparent'];
  const traceId = typeof header === 'string' ? TRACEPARENT.exec(header)?.[1] : undefined;
  return traceId === undefined ? {} : { traceId };
}

function refuseSize(request: FastifyRequest): void {
  let bytes = 0;
  for (const part of request.raw.rawHeaders) bytes += part.length + 2;
  if (request.url.length > MAX_URL_BYTES || bytes > MAX_HEADER_BYTES) {
    throw new Problem('PAYLOAD_TOO_LARGE');
  }
}

/** A trailing slash is another path, though the router takes it for an empty parameter. */
function refuseNoRoute(request: FastifyRequest, routes: RouteTable): void {
  const path = pathOf(request.url);
  if (!request.is404 && !path.endsWith('/')) return;
  const methods = routes.methodsOf(path);
  if (methods.length === 0) throw new Problem('ROUTE_NOT_FOUND');
  throw new Problem('METHOD_NOT_ALLOWED', { headers: { allow: methods.join(', ') } });
}

/**
 * Counts requests in work. Leaving is tied to the response's `close`, which also an aborted request raises; a request
 * that has become a socket leaves by `endWork`.
 */
class InFlight {
  readonly #max: number;
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  enter(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#count >= this.#max) throw new Problem('OVERLOADED');
    this.#count++;
    let isIn = true;
    const leave = (): void => {
      if (isIn) this.#count--;
      isIn = false;
    };
    request.endWork = leave;
    reply.raw.once('close', leave);
  }
}
