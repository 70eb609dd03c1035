/** The open sockets of this node: how they are opened, how many there may be, and how all of them end. */
import websocket from '@fastify/websocket';
import type { FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { languageOf } from './language.ts';
import { Problem } from './problem.ts';
import type { ApiServer } from './routing.ts';
import { SUBPROTOCOL } from './socket-auth.ts';
import { MAX_FRAME_BYTES, SocketSession } from './socket-session.ts';
import { Tickets } from './socket-tickets.ts';

declare module 'fastify' {
  interface FastifyInstance {
    sockets: Sockets;
  }
}

export type SocketLimits = {
  /** Sockets of this node; one more is closed with 4429. */
  readonly maxSockets: number;
  /** Of them those of one account. */
  readonly maxAccountSockets: number;
};

export type SocketsOptions = SocketLimits & { readonly clock: Clock; readonly log: Log };

export class Sockets {
  readonly tickets: Tickets;
  readonly #options: SocketsOptions;
  readonly #sessions = new Set<SocketSession>();
  readonly #perAccount = new Map<Id, number>();
  readonly #empty = Promise.withResolvers<void>();
  #isClosing = false;

  constructor(options: SocketsOptions) {
    this.#options = options;
    this.tickets = new Tickets(options.clock);
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Before an upgrade. Errors: DRAINING. */
  refuseClosing(): void {
    if (this.#isClosing) throw new Problem('DRAINING');
  }

  /** Null: there are too many, and the socket is on its way out. */
  enter(
    socket: WebSocket,
    request: FastifyRequest,
    { mayListenOnly = false, silenceMs }: { mayListenOnly?: boolean; silenceMs?: number } = {},
  ): SocketSession | null {
    const { grant } = request;
    if (grant === null) throw new AppError('E_INTERNAL', 'a socket was opened by nobody');
    const { accountId } = grant.caller;
    const count = this.#perAccount.get(accountId) ?? 0;
    const { maxSockets, maxAccountSockets, clock, log } = this.#options;
    const isRoom = this.#sessions.size < maxSockets && count < maxAccountSockets;
    this.#perAccount.set(accountId, count + 1);
    const session: SocketSession = new SocketSession(socket, {
      ...{ grant, clock, log, mayListenOnly },
      ...(silenceMs === undefined ? {} : { silenceMs }),
      requestId: request.id,
      language: languageOf(request.headers['accept-language']),
      onGone: () => this.#leave(session, accountId),
    });
    this.#sessions.add(session);
    log.debug('socket.opened', { requestId: request.id, route: request.routeOptions.url ?? null });
    if (this.#isClosing) session.close(1001, 'DRAINING');
    else if (!isRoom) session.close(4429, 'too many sockets');
    return session.isOpen ? session : null;
  }

  /** Every socket is told 1001; resolves when the last one is gone, those that do not answer after 2 s. Idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const session of this.#sessions) session.close(1001, 'DRAINING');
    if (this.#sessions.size > 0) await this.#empty.promise;
  }

  #leave(session: SocketSession, accountId: Id): void {
    this.#sessions.delete(session);
    const left = (this.#perAccount.get(accountId) ?? 1) - 1;
    if (left > 0) this.#perAccount.set(accountId, left);
    else this.#perAccount.delete(accountId);
    if (this.#isClosing && this.#sessions.size === 0) this.#empty.resolve();
  }
}

/** Before the hooks and the routes, which build on what it adds to every request. */
export async function addSockets(app: ApiServer, options: SocketsOptions): Promise<Sockets> {
  const sockets = new Sockets(options);
  app.decorate('sockets', sockets);
  await app.register(websocket, {
    options: {
      maxPayload: MAX_FRAME_BYTES,
      // Speech does not shrink, and every socket would hold the memory for trying.
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    },
    // What ws finds wrong it closes with the right code by itself; ending the connection here would lose that.
    errorHandler: (error, _socket, request) => {
      options.log.debug('socket.error', { requestId: request.id, error });
    },
    preClose: async () => sockets.close(),
  });
  return sockets;
}
