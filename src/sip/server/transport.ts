/** Sockets of the SIP engine: one UDP socket and one TCP listener on each local address, one flow per message. */
import type { Clock } from '#lib/clock.ts';
import { AppError, systemCodeOf, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { expandHosts, hostPort, RouteFinder } from './addresses.ts';
import type { Frame } from './framing.ts';
import type { SipMessage } from './message.ts';
import { parseMessage } from './parse.ts';
import type { ParseResult } from './parse.ts';
import { Rejector, stampVia } from './stateless.ts';
import { TcpTransport } from './tcp.ts';
import type { Flow, Target, TransportLayer } from './types.ts';
import { bindUdp } from './udp.ts';
import type { UdpSocket } from './udp.ts';

export type TransportOptions = {
  /** Numeric addresses; `0.0.0.0` or `::` stand for every local address of the family. */
  readonly hosts: readonly string[];
  /** 0 lets the kernel choose one port for all sockets. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Log;
};

export type TransportCounters = {
  received: number;
  /** Messages that could not be parsed, answered or not. */
  malformed: number;
  /** Of them, answered. */
  rejected: number;
  keepAlives: number;
  /** Failures of a listener of `onMessage`. */
  failed: number;
  readonly refusedConnections: number;
  readonly openConnections: number;
};

export type Transport = TransportLayer & { readonly counters: TransportCounters };

const PORT_TRIES = 20;

/**
 * Opens every socket, or none. Errors: E_PORT_IN_USE (the message names protocol, address and port), E_CONFIG,
 * E_SIP_ENGINE.
 */
export async function createTransport(options: TransportOptions): Promise<Transport> {
  const addresses = expandHosts(options.hosts);
  for (let attempt = 1; ; attempt++) {
    const sockets = new Sockets(options);
    try {
      await sockets.open(addresses, options.port);
      return sockets;
    } catch (error) {
      await sockets.close();
      const cause = error instanceof Error ? error.cause : undefined;
      // A port that the kernel gave for UDP may be taken for TCP or on another address: take the next one.
      const isRetry = options.port === 0 && systemCodeOf(cause) === 'EADDRINUSE';
      if (!isRetry || attempt >= PORT_TRIES) throw toAppError(error, 'E_SIP_ENGINE');
    }
  }
}

class Sockets implements Transport {
  readonly listening: { protocol: 'udp' | 'tcp'; address: string; port: number }[] = [];
  readonly counters: TransportCounters;
  readonly #options: TransportOptions;
  readonly #tcp: TcpTransport;
  readonly #udp = new Map<string, UdpSocket>();
  readonly #messageListeners: ((message: SipMessage, flow: Flow) => void)[] = [];
  readonly #closedListeners: ((connection: number) => void)[] = [];
  readonly #rejector: Rejector;
  #routes: RouteFinder;
  #port = 0;

  constructor(options: TransportOptions) {
    const { clock, log } = options;
    this.#options = options;
    this.#routes = new RouteFinder([], clock);
    this.#rejector = new Rejector(clock);
    const tcp = new TcpTransport({
      clock,
      log,
      onFrame: (frame, flow) => this.#onFrame(frame, flow),
      onClosed: (connection) => {
        for (const listener of this.#closedListeners) listener(connection);
      },
    });
    this.#tcp = tcp;
    this.counters = {
      received: 0,
      malformed: 0,
      rejected: 0,
      keepAlives: 0,
      failed: 0,
      get refusedConnections() {
        return tcp.refused;
      },
      get openConnections() {
        return tcp.open;
      },
    };
  }

  async open(addresses: readonly string[], port: number): Promise<void> {
    this.#port = port;
    for (const address of addresses) {
      const udp = await bindUdp({
        address,
        port: this.#port,
        log: this.#options.log,
        onDatagram: (bytes, from, fromPort, socket) =>
          this.#onDatagram(bytes, from, fromPort, socket),
      });
      this.#port = udp.port;
      this.#udp.set(address, udp);
      await this.#tcp.listen(address, this.#port);
      for (const protocol of ['udp', 'tcp'] as const) {
        this.listening.push({ protocol, address, port: this.#port });
      }
    }
    this.#routes = new RouteFinder(addresses, this.#options.clock);
  }

  onMessage(listener: (message: SipMessage, flow: Flow) => void): void {
    this.#messageListeners.push(listener);
  }

  onClosed(listener: (connection: number) => void): void {
    this.#closedListeners.push(listener);
  }

  async localFor(target: Target): Promise<{ readonly address: string; readonly port: number }> {
    return { address: await this.#routes.localFor(target.address), port: this.#port };
  }

  async sendOn(flow: Flow, bytes: Buffer): Promise<void> {
    if (flow.protocol === 'tcp') this.#tcp.get(flow.connection).send(bytes);
    else await this.#udpOf(flow.localAddress).send(bytes, flow.remoteAddress, flow.remotePort);
  }

  async sendTo(target: Target, bytes: Buffer): Promise<Flow> {
    const local = await this.localFor(target);
    const { address, port } = target;
    if (target.protocol === 'tcp') {
      const where = { address, port, localAddress: local.address, localPort: local.port };
      const connection = await this.#tcp.reach(where);
      connection.send(bytes);
      return connection.flow;
    }
    const flow: Flow = {
      protocol: 'udp',
      localAddress: local.address,
      localPort: local.port,
      remoteAddress: address,
      remotePort: port,
      connection: null,
    };
    await this.sendOn(flow, bytes);
    return flow;
  }

  async close(): Promise<void> {
    const sockets = [...this.#udp.values()];
    this.#udp.clear();
    this.listening.length = 0;
    await Promise.all([this.#tcp.close(), ...sockets.map((socket) => socket.close())]);
  }

  #udpOf(address: string): UdpSocket {
    const socket = this.#udp.get(address);
    if (socket === undefined) {
      throw new AppError('E_SIP_ENGINE', `no UDP socket on ${hostPort(address, this.#port)}`);
    }
    return socket;
  }

  #onDatagram(bytes: Buffer, remoteAddress: string, remotePort: number, socket: UdpSocket): void {
    if (isKeepAlive(bytes)) {
      this.counters.keepAlives++;
      return;
    }
    const { address: localAddress, port: localPort } = socket;
    const local = { protocol: 'udp', localAddress, localPort, connection: null } as const;
    this.#handle(parseMessage(bytes), { ...local, remoteAddress, remotePort });
  }

  #onFrame(frame: Frame, flow: Flow): void {
    if (frame.kind === 'ping') this.counters.keepAlives++;
    else this.#handle(frame.result, flow);
  }

  #handle(result: ParseResult, flow: Flow): void {
    this.counters.received++;
    const { log } = this.#options;
    if (!result.ok) {
      this.counters.malformed++;
      const answer = this.#rejector.answer(result, flow);
      const { remoteAddress, protocol } = flow;
      const answered = answer === null ? null : result.status;
      log.debug('sip.malformed', {
        protocol,
        reason: result.reason,
        answered,
        pii: { remoteAddress },
      });
      if (answer === null) return;
      this.counters.rejected++;
      this.sendOn(flow, answer).catch((error: unknown) => {
        log.debug('sip.rejectionFailed', { error });
      });
      return;
    }
    if (result.message.kind === 'request') stampVia(result.message, flow);
    for (const listener of this.#messageListeners) {
      try {
        listener(result.message, flow);
      } catch (error) {
        // One message that trips a fault of ours must not end the calls of all others.
        this.counters.failed++;
        log.error('sip.handlerFailed', { error });
      }
    }
  }
}

/** Empty datagrams, line ends and zeros: what phones send to keep a NAT binding. */
function isKeepAlive(bytes: Buffer): boolean {
  if (bytes.length > 8) return false;
  return bytes.every((byte) => byte === 0 || byte === 0x0a || byte === 0x0d || byte === 0x20);
}
