/** A WebSocket as a route: who may open it and what it refuses before the upgrade, documented like every other route. */
import type { FastifyRequest } from 'fastify';
import type { Static, TObject } from 'typebox';
import { Type } from 'typebox';
import type { Actor } from '#lib/actor.ts';
import type { Caller, Capability } from './auth.ts';
import { Problem, type ProblemCode } from './problem.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { failures } from './schemas.ts';
import type { SocketSession } from './socket-session.ts';

const NoFields = Type.Object({}, { additionalProperties: false });
type NoFields = typeof NoFields;

/** A way in for browsers; every socket's query takes it (contract 1.2). */
export const ticketField = {
  ticket: Type.Optional(
    Type.String({
      maxLength: 256,
      description: 'Single use, 60 s, for this path and role; instead of a token',
    }),
  ),
};

/** The request that a socket was opened by. */
export type SocketRequest<P, Q> = {
  readonly id: string;
  readonly params: P;
  readonly query: Q;
  readonly actor: Actor;
  readonly caller: Caller;
};

export type SocketRoute<P extends TObject, Q extends TObject> = {
  readonly url: string;
  readonly capability: Capability;
  /** The role that a ticket must be for when the query names none. Default `client`. */
  readonly role?: string;
  /** The client need not say anything: that its library answers is enough. Default: silence closes (contract 2.5). */
  readonly mayListenOnly?: boolean;
  /** Without a frame for so long the socket is closed with 4408. Default 15 s. */
  readonly silenceMs?: number;
  readonly schema: {
    readonly operationId: string;
    readonly tags: readonly string[];
    readonly summary: string;
    readonly description: string;
    readonly params?: P;
    /** With `ticketField` where tickets are given out for it. */
    readonly querystring?: Q;
    /** What it refuses with before the upgrade, beyond what every socket can. */
    readonly problems?: readonly ProblemCode[];
  };
  /** Before the upgrade; what it throws is answered like that of any route. */
  guard?(request: SocketRequest<Static<P>, Static<Q>>): void | Promise<void>;
  /** Must set the session's handlers before it waits for anything. What it throws closes the socket with 1011. */
  open(session: SocketSession, request: SocketRequest<Static<P>, Static<Q>>): void | Promise<void>;
};

export function addSocketRoute<P extends TObject = NoFields, Q extends TObject = NoFields>(
  app: ApiServer,
  route: SocketRoute<P, Q>,
): void {
  const { sockets } = app;
  const { operationId, tags, summary, description, params, problems = [] } = route.schema;
  const asked = (request: FastifyRequest): SocketRequest<Static<P>, Static<Q>> => ({
    id: request.id,
    params: request.params as Static<P>,
    query: request.query as Static<Q>,
    actor: actorOf(request),
    caller: callerOf(request),
  });
  app.route({
    method: 'GET',
    url: route.url,
    config: { capability: route.capability, socketRole: route.role ?? 'client' },
    schema: {
      ...{ operationId, tags: [...tags], summary, description },
      ...(params === undefined ? {} : { params }),
      querystring: route.schema.querystring ?? NoFields,
      response: {
        101: { type: 'null', description: 'The socket is open' },
        ...failures({ problems: ['UPGRADE_REQUIRED', ...problems] }),
      },
    },
    preHandler: async (request) => {
      refusePlain(request);
      sockets.refuseClosing();
      await route.guard?.(asked(request));
      // What cannot become a socket after all: a HEAD, or a test without a connection.
      if (!request.ws) throw upgradeRequired();
    },
    handler: async () => {
      throw upgradeRequired();
    },
    wsHandler: (socket, request) => {
      request.endWork?.();
      const session = sockets.enter(socket, request, route);
      if (session === null) return;
      void open(session, () => route.open(session, asked(request)));
    },
  });
}

async function open(session: SocketSession, start: () => void | Promise<void>): Promise<void> {
  try {
    await start();
  } catch (error) {
    session.fault(error);
  }
}

/** RFC 6455 4.2.1. Errors: UPGRADE_REQUIRED. */
function refusePlain({ headers }: FastifyRequest): void {
  const has = (list: string | undefined, name: string): boolean =>
    (list ?? '').split(',').some((part) => part.trim().toLowerCase() === name);
  if (!has(headers.upgrade, 'websocket') || !has(headers.connection, 'upgrade')) {
    throw upgradeRequired();
  }
  const isVersion = headers['sec-websocket-version'] === '13';
  const isKey = /^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '');
  if (!isVersion || !isKey) throw upgradeRequired();
}

function upgradeRequired(): Problem {
  const headers = { upgrade: 'websocket', 'sec-websocket-version': '13' };
  return new Problem('UPGRADE_REQUIRED', { headers });
}
