/** The control port: listens on loopback, knows the applications, shares calls out among them. */
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Clock } from '#lib/clock.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { ControlSession } from './control-session.ts';
import type { ControlHandler } from './control-session.ts';
import type { AppClient, AppRegistry } from './control-types.ts';

const HOST = '127.0.0.1';
const MAX_SESSIONS = 32;

export type ControlServerOptions = {
  /** 0 lets the kernel choose. */
  readonly port: number;
  readonly secret: string;
  readonly hostPorts: () => string;
  readonly handler: ControlHandler;
  readonly clock: Clock;
  readonly log: Log;
  /** An application that was authenticated is gone. */
  onClientGone(client: AppClient): void;
};

export class ControlServer implements AppRegistry {
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  readonly #sessions = new Set<ControlSession>();
  #turn = 0;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Applications that are connected and authenticated. */
  get clients(): number {
    return [...this.#sessions].filter((session) => session.isOpen).length;
  }

  get methods(): readonly string[] {
    const methods = new Set<string>();
    for (const session of this.#sessions) {
      if (!session.isOpen) continue;
      for (const verb of session.routes) {
        if (!verb.startsWith('cdr:')) methods.add(verb.toUpperCase());
      }
    }
    return [...methods];
  }

  /** Resolves with the port. Errors: E_PORT_IN_USE, E_SIP_ENGINE. */
  async listen(): Promise<number> {
    const { port, log } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(port, HOST, resolve);
    try {
      await promise;
    } catch (error) {
      const isTaken = systemCodeOf(error) === 'EADDRINUSE';
      throw new AppError(
        isTaken ? 'E_PORT_IN_USE' : 'E_SIP_ENGINE',
        isTaken
          ? `SIP control port tcp/${HOST}:${port} is in use by another program`
          : `cannot listen on the SIP control port: ${messageOf(error)}`,
        { cause: error },
      );
    }
    this.#server.removeListener('error', reject);
    this.#server.on('error', (error) => log.warn('control.failed', { error }));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  pick(method: string): AppClient | undefined {
    const verb = method.toLowerCase();
    const able = [...this.#sessions].filter(({ isOpen, routes }) => isOpen && routes.has(verb));
    return able[this.#turn++ % Math.max(able.length, 1)];
  }

  heir(tags: readonly string[]): AppClient | undefined {
    const open = [...this.#sessions].filter(({ isOpen }) => isOpen);
    return open.find((session) => tags.join() === session.tags.join());
  }

  /** Closes the port and every connection after what is queued. Idempotent. */
  async close(): Promise<void> {
    for (const session of this.#sessions) session.close('engine stops');
    if (!this.#server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  #accept(socket: Socket): void {
    const { secret, hostPorts, handler, clock, log } = this.#options;
    if (this.#sessions.size >= MAX_SESSIONS) {
      log.warn('control.refused', { reason: 'too many connections' });
      socket.destroy();
      return;
    }
    const session = new ControlSession({
      socket,
      secret,
      hostPorts,
      handler,
      clock,
      log,
      onClosed: (closed) => {
        this.#sessions.delete(closed);
        this.#options.onClientGone(closed);
      },
    });
    this.#sessions.add(session);
  }
}
