/** What every route declares besides its schema, and the types that Fastify's objects carry here. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawServerDefault,
  RouteOptions,
} from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Type } from 'typebox';
import type { Actor } from '#lib/actor.ts';
import { AppError } from '#lib/errors.ts';
import { addressOf } from './addresses.ts';
import type { Capability, Caller, Grant } from './auth.ts';
import type { Claim } from './idempotency-claims.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use the route; `pub` needs no token. A route without one fails at start-up. */
    capability?: Capability | 'pub';
    /** Placing calls has a bucket of its own besides the general one. */
    placesCalls?: true;
    /** The route honours Idempotency-Key. */
    idempotent?: true;
    /** The answer shows a secret once: kept for Idempotency-Key it is sealed. */
    holdsSecret?: true;
    /** The route is a WebSocket; the role in it that a ticket is for when the query names none. */
    socketRole?: string;
  }
  interface FastifyRequest {
    caller: Caller | null;
    grant: Grant | null;
    /** Lets go of the place that requests in work hold. */
    endWork: (() => void) | null;
    /** The body as received, kept only for Idempotency-Key. */
    rawBody: Uint8Array | null;
    claim: Claim | null;
  }
}

export type ApiServer = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** The caller of a route that is not `pub`. */
export function callerOf(request: Pick<FastifyRequest, 'caller'>): Caller {
  if (request.caller === null) throw new AppError('E_INTERNAL', 'a public route asked who calls');
  return request.caller;
}

/** Who acts, for repositories and the audit log. */
export function actorOf(request: FastifyRequest): Actor {
  const caller = callerOf(request);
  return {
    accountId: caller.accountId,
    name: caller.actor,
    role: caller.role,
    agentIds: caller.agentIds,
    requestId: request.id,
    ip: addressOf(request),
  };
}

type DocumentedSchema = {
  operationId?: string;
  response?: unknown;
  querystring?: unknown;
  security?: readonly Record<string, readonly string[]>[];
  description?: string;
  'x-capability'?: string;
};

const NO_QUERY = Type.Object({}, { additionalProperties: false });

/** Refuses a route that does not say who may use it or what it answers; completes its documentation. */
export function checkRoute(route: RouteOptions): void {
  const name = `${String(route.method)} ${route.url}`;
  const capability = route.config?.capability;
  const schema = route.schema as DocumentedSchema | undefined;
  if (capability === undefined) throw new AppError('E_INTERNAL', `${name} declares no capability`);
  if (schema?.operationId === undefined || schema.response === undefined) {
    throw new AppError('E_INTERNAL', `${name} declares no operationId or no response`);
  }
  // Contract 1.6: an unknown parameter is refused also where none is known.
  if (/^\/(?:api\/)?v1\//.test(route.url)) schema.querystring ??= NO_QUERY;
  schema.security = capability === 'pub' ? [] : [{ bearer: [] }];
  schema['x-capability'] = capability;
}

/** The routes by path, for 405: Fastify itself only knows that no route has matched. */
export class RouteTable {
  readonly #methods = new Map<string, Set<string>>();
  readonly #sockets = new Set<string>();

  add(route: RouteOptions): void {
    const methods = this.#methods.get(route.url) ?? new Set();
    for (const method of [route.method].flat()) methods.add(method);
    this.#methods.set(route.url, methods);
    if (route.config?.socketRole !== undefined) this.#sockets.add(route.url);
  }

  /** Whether `path` is a WebSocket. */
  isSocket(path: string): boolean {
    const segments = path.split('/');
    return [...this.#sockets].some((pattern) => matches(pattern.split('/'), segments));
  }

  /** Methods that `path` takes, for `Allow`; empty when there is no such path. */
  methodsOf(path: string): string[] {
    const segments = path.split('/');
    const found = new Set<string>();
    for (const [pattern, methods] of this.#methods) {
      if (!matches(pattern.split('/'), segments)) continue;
      for (const method of methods) found.add(method);
    }
    return [...found].sort();
  }
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false;
  return pattern.every((part, at) => {
    const segment = segments[at] ?? '';
    return part.startsWith(':') ? segment !== '' : part === segment;
  });
}
