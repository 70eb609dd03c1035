/** TCP listeners and connections: accepted ones and our own, found by number or by where they lead. */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Clock } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { hostPort, listenError } from './addresses.ts';
import { CONNECT_TIMEOUT_MS, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS } from './limits.ts';
import type { Frame } from './framing.ts';
import { TcpConnection } from './tcp-connection.ts';
import type { Flow } from './types.ts';

export type TcpOptions = {
  readonly clock: Clock;
  readonly log: Log;
  onFrame(frame: Frame, flow: Flow): void;
  onClosed(connection: number): void;
};

export class TcpTransport {
  readonly #options: TcpOptions;
  readonly #servers: Server[] = [];
  readonly #connections = new Map<number, TcpConnection>();
  /** By remote host and port, for reuse; the newest wins. */
  readonly #byRemote = new Map<string, TcpConnection>();
  readonly #connecting = new Map<string, Promise<TcpConnection>>();
  readonly #opening = new Set<Socket>();
  readonly #acceptedFrom = new Map<string, number>();
  #lastId = 0;
  #refused = 0;
  #isClosed = false;

  constructor(options: TcpOptions) {
    this.#options = options;
  }

  /** Connections turned away because a cap was reached. */
  get refused(): number {
    return this.#refused;
  }

  get open(): number {
    return this.#connections.size;
  }

  /** Resolves with the port. Errors: E_PORT_IN_USE, E_CONFIG, E_SIP_ENGINE. */
  async listen(address: string, port: number): Promise<number> {
    const server = createServer({ noDelay: true, keepAlive: true });
    const bound = Promise.withResolvers<void>();
    server.once('error', bound.reject);
    server.listen({ host: address, port, exclusive: true, ipv6Only: true }, bound.resolve);
    try {
      await bound.promise;
    } catch (error) {
      throw listenError(error, 'tcp', address, port);
    }
    server.removeListener('error', bound.reject);
    const { log } = this.#options;
    server.on('error', (error) => log.warn('tcp.failed', { address, error }));
    this.#servers.push(server);
    const local = server.address();
    const localPort = typeof local === 'object' && local !== null ? local.port : port;
    server.on('connection', (socket) => this.#accept(socket, address, localPort));
    return localPort;
  }

  /** A connection by its number. Errors: E_SIP_ENGINE when it is gone. */
  get(id: number | null): TcpConnection {
    const connection = id === null ? undefined : this.#connections.get(id);
    if (connection === undefined)
      throw new AppError('E_SIP_ENGINE', `TCP connection ${id} is gone`);
    return connection;
  }

  /** The connection to a remote address, opened if need be. Errors: E_SIP_ENGINE. */
  async reach(remote: {
    readonly address: string;
    readonly port: number;
    readonly localAddress: string;
    readonly localPort: number;
  }): Promise<TcpConnection> {
    const key = hostPort(remote.address, remote.port);
    const existing = this.#byRemote.get(key);
    if (existing?.isOpen === true) return existing;
    const pending = this.#connecting.get(key);
    if (pending !== undefined) return pending;
    const opening = this.#connect(remote, key);
    this.#connecting.set(key, opening);
    try {
      return await opening;
    } finally {
      this.#connecting.delete(key);
    }
  }

  async #connect(
    remote: { address: string; port: number; localAddress: string; localPort: number },
    key: string,
  ): Promise<TcpConnection> {
    if (this.#isClosed) throw new AppError('E_SIP_ENGINE', 'the SIP transport is closed');
    if (this.#connections.size + this.#opening.size >= MAX_CONNECTIONS) {
      this.#refused++;
      throw new AppError('E_SIP_ENGINE', `no TCP connection to ${key}: too many are open`);
    }
    const { clock } = this.#options;
    const { address, port, localAddress } = remote;
    const socket = connect({ host: address, port, localAddress, noDelay: true, keepAlive: true });
    this.#opening.add(socket);
    const opened = Promise.withResolvers<void>();
    const timer = clock.setTimer(
      () => opened.reject(`no answer within ${CONNECT_TIMEOUT_MS} ms`),
      CONNECT_TIMEOUT_MS,
    );
    socket.once('connect', opened.resolve);
    socket.once('error', opened.reject);
    const onClose = (): void => opened.reject('closed');
    socket.once('close', onClose);
    try {
      await opened.promise;
    } catch (error) {
      socket.on('error', () => undefined);
      socket.destroy();
      const message = `no TCP connection to ${key}: ${messageOf(error)}`;
      throw new AppError('E_SIP_ENGINE', message, { cause: error });
    } finally {
      clock.clearTimer(timer);
      this.#opening.delete(socket);
      socket.removeListener('close', onClose);
      socket.removeListener('error', opened.reject);
    }
    if (this.#isClosed) {
      socket.destroy();
      throw new AppError('E_SIP_ENGINE', 'the SIP transport is closed');
    }
    return this.#adopt(socket, remote, false);
  }

  #accept(socket: Socket, localAddress: string, localPort: number): void {
    const address = socket.remoteAddress;
    const port = socket.remotePort;
    const fromHere = this.#acceptedFrom.get(address ?? '') ?? 0;
    const isFull =
      this.#connections.size >= MAX_CONNECTIONS || fromHere >= MAX_CONNECTIONS_PER_ADDRESS;
    if (isFull) this.#refused++;
    if (isFull || this.#isClosed || address === undefined || port === undefined) {
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    this.#acceptedFrom.set(address, fromHere + 1);
    this.#adopt(socket, { address, port, localAddress, localPort }, true);
  }

  #adopt(
    socket: Socket,
    remote: { address: string; port: number; localAddress: string; localPort: number },
    isAccepted: boolean,
  ): TcpConnection {
    const id = ++this.#lastId;
    const key = hostPort(remote.address, remote.port);
    // The listening port, not an ephemeral one: it is what Via and Contact of answers name.
    const flow: Flow = {
      protocol: 'tcp',
      localAddress: remote.localAddress,
      localPort: remote.localPort,
      remoteAddress: remote.address,
      remotePort: remote.port,
      connection: id,
    };
    const { clock, log } = this.#options;
    const onFrame: TcpOptions['onFrame'] = (frame, from) => this.#options.onFrame(frame, from);
    const onClosed = (): void => this.#forget(connection, key, isAccepted);
    const connection = new TcpConnection(socket, {
      flow,
      clock,
      log,
      isAccepted,
      onFrame,
      onClosed,
    });
    this.#connections.set(id, connection);
    this.#byRemote.set(key, connection);
    return connection;
  }

  #forget(connection: TcpConnection, key: string, isAccepted: boolean): void {
    const { connection: id, remoteAddress } = connection.flow;
    if (id === null || !this.#connections.delete(id)) return;
    if (this.#byRemote.get(key) === connection) this.#byRemote.delete(key);
    if (isAccepted) {
      const left = (this.#acceptedFrom.get(remoteAddress) ?? 1) - 1;
      if (left > 0) this.#acceptedFrom.set(remoteAddress, left);
      else this.#acceptedFrom.delete(remoteAddress);
    }
    this.#options.onClosed(id);
  }

  /** Closes listeners and connections at once; resolves when all handles are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const servers = this.#servers.splice(0).map((server) => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      return closed.promise;
    });
    for (const socket of this.#opening) socket.destroy();
    const connections = [...this.#connections.values()].map((connection) => connection.destroy());
    await Promise.all([...servers, ...connections]);
  }
}
