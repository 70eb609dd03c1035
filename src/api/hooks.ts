/** What happens to every request before and after its handler: ids, limits, authentication, rates, idempotency. */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { countingKey, plainAddress } from './addresses.ts';
import { can, type Caller, type KeyAuthenticator } from './auth.ts';
import { idempotencyKeyOf, IdempotencyStore } from './idempotency.ts';
import { languageOf } from './language.ts';
import { failureOf, invalid, Problem, toProblem } from './problem.ts';
import { RateLimiter, type RateLimit, type RateState } from './rate-limit.ts';
import type { ApiServer, RouteTable } from './routing.ts';

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
  readonly auth: KeyAuthenticator;
  readonly routes: RouteTable;
  readonly clock: Clock;
  readonly log: Log;
  readonly limiters: Limiters;
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

export function addHooks(app: ApiServer, options: HookOptions): void {
  const { limiters } = options;
  const answers = new IdempotencyStore(options.clock);
  const inFlight = new InFlight(options.maxInFlight);

  app.decorateRequest('caller', null);
  app.decorateRequest('rawBody', null);
  app.decorateRequest('claim', null);
  app.addHook('onRequest', async (request, reply) => {
    markReply(request, reply, limiters);
    refuseSize(request);
    // RFC 9112 3.2
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) {
      throw invalid('', 'http');
    }
    refuseNoRoute(request, options.routes);
    const { capability } = request.routeOptions.config;
    if (capability === 'pub') return;
    inFlight.enter(reply);
    await admit(request, reply, options.auth, limiters);
  });
  app.addHook('preHandler', async (request, reply) => claimKey(request, reply, answers));
  app.addHook('onSend', async (request, reply, payload) => {
    settleClaim(request, reply, payload);
    return payload;
  });
  app.addHook('onResponse', async (request, reply) => {
    options.log.debug('request.answered', {
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
    const fields = { requestId: request.id, code: problem.problem, error: problem };
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
  auth: KeyAuthenticator,
  limiters: Limiters,
): Promise<void> {
  const caller = await authenticate(request, reply, auth, limiters.strangers);
  request.caller = caller;
  spend(reply, limiters.requests, caller);
  const { capability, placesCalls } = request.routeOptions.config;
  if (capability === undefined || capability === 'pub' || !can(caller.role, capability)) {
    throw new Problem('FORBIDDEN');
  }
  if (placesCalls === true) spend(reply, limiters.calls, caller);
}

async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  auth: KeyAuthenticator,
  strangers: RateLimiter,
): Promise<Caller> {
  try {
    return await auth.authenticate({
      authorization: request.headers.authorization,
      accountHeader: request.headers['x-account-id'],
      address: plainAddress(addressOf(request)),
    });
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 401) throw error;
    const state = strangers.take(countingKey(addressOf(request)));
    setRateHeaders(reply, state);
    throw state.allowed ? error : rateLimited(state);
  }
}

function spend(reply: FastifyReply, limiter: RateLimiter, caller: Caller): void {
  const state = limiter.take(`${caller.actor} ${caller.accountId}`);
  setRateHeaders(reply, state);
  if (!state.allowed) throw rateLimited(state);
}

function rateLimited(state: RateState): Problem {
  return new Problem('RATE_LIMITED', { headers: { 'retry-after': String(state.retryAfterS) } });
}

function setRateHeaders(reply: FastifyReply, state: RateState): void {
  reply.headers({
    'ratelimit-limit': String(state.limit),
    'ratelimit-remaining': String(state.remaining),
    'ratelimit-reset': String(state.resetS),
  });
}

function isRated(url: string): boolean {
  return url.startsWith('/api/') || url.startsWith('/v1/');
}

/** Empty when the client has already gone. */
function addressOf(request: FastifyRequest): string {
  return request.socket.remoteAddress ?? '';
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
  const path = request.url.split('?', 1)[0] ?? '';
  if (!request.is404 && !path.endsWith('/')) return;
  const methods = routes.methodsOf(path);
  if (methods.length === 0) throw new Problem('ROUTE_NOT_FOUND');
  throw new Problem('METHOD_NOT_ALLOWED', { headers: { allow: methods.join(', ') } });
}

/** Counts requests in work. Leaving is tied to the response's `close`, which also an aborted request raises. */
class InFlight {
  readonly #max: number;
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  enter(reply: FastifyReply): void {
    if (this.#count >= this.#max) throw new Problem('OVERLOADED');
    this.#count++;
    reply.raw.once('close', () => {
      this.#count--;
    });
  }
}

async function claimKey(
  request: FastifyRequest,
  reply: FastifyReply,
  answers: IdempotencyStore,
): Promise<FastifyReply | undefined> {
  if (request.routeOptions.config.idempotent !== true || request.caller === null) return undefined;
  const key = idempotencyKeyOf(request.headers['idempotency-key']);
  if (key === null) return undefined;
  const route = `${request.method} ${request.routeOptions.url ?? ''}`;
  const begun = answers.begin({ accountId: request.caller.accountId, route, key }, [
    request.caller.actor, // another key may see other agents: its request is another request
    JSON.stringify(request.params),
    createHash('sha256')
      .update(request.rawBody ?? '')
      .digest(),
  ]);
  if ('claim' in begun) {
    request.claim = begun.claim;
    return undefined;
  }
  return reply
    .code(begun.replay.status)
    .header('idempotency-replayed', 'true')
    .type('application/json; charset=utf-8')
    .send(begun.replay.body);
}

/** 429 is not kept either: it asks the client to come again. */
function settleClaim(request: FastifyRequest, reply: FastifyReply, payload: unknown): void {
  if (request.claim === null) return;
  const isKept = reply.statusCode < 500 && reply.statusCode !== 429;
  if (isKept && typeof payload === 'string') {
    request.claim.store({ status: reply.statusCode, body: payload });
  } else {
    request.claim.release();
  }
  request.claim = null;
}
