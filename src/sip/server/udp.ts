/** One UDP socket on one local address. */
import { createSocket } from 'node:dgram';
import type { SocketOptions } from 'node:dgram';
import { isIP } from 'node:net';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { listenError } from './addresses.ts';

export type UdpSocket = {
  readonly address: string;
  readonly port: number;
  /** Rejects with E_SIP_ENGINE when the kernel refuses (too long, no route, closed). */
  send(bytes: Buffer, address: string, port: number): Promise<void>;
  close(): Promise<void>;
};

export type UdpOptions = {
  readonly address: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  readonly log: Log;
  onDatagram(bytes: Buffer, address: string, port: number, socket: UdpSocket): void;
};

const RECEIVE_BUFFER = 2_097_152;

/** Addresses are always numeric here: nothing may wait for a resolver. */
const numericLookup: NonNullable<SocketOptions['lookup']> = (host, _options, done) => {
  done(null, host, isIP(host));
};

/** Errors: E_PORT_IN_USE, E_CONFIG, E_SIP_ENGINE. */
export async function bindUdp(options: UdpOptions): Promise<UdpSocket> {
  const { address, log } = options;
  const isV6 = isIP(address) === 6;
  const socket = createSocket({
    type: isV6 ? 'udp6' : 'udp4',
    ipv6Only: isV6,
    recvBufferSize: RECEIVE_BUFFER,
    lookup: numericLookup,
  });
  const bound = Promise.withResolvers<void>();
  socket.once('error', bound.reject);
  socket.bind({ address, port: options.port, exclusive: true }, bound.resolve);
  try {
    await bound.promise;
  } catch (error) {
    socket.close();
    throw listenError(error, 'udp', address, options.port);
  }
  socket.removeListener('error', bound.reject);
  socket.on('error', (error) => log.warn('udp.failed', { address, error }));
  const closed = Promise.withResolvers<void>();
  socket.once('close', closed.resolve);
  let isOpen = true;
  const self: UdpSocket = {
    address,
    port: socket.address().port,
    send(bytes, toAddress, toPort) {
      const sent = Promise.withResolvers<void>();
      const fail = (error: unknown): void => {
        const to = `${toAddress}:${toPort}`;
        const message = `cannot send ${bytes.length} bytes to udp/${to}: ${messageOf(error)}`;
        sent.reject(new AppError('E_SIP_ENGINE', message, { cause: error }));
      };
      if (!isOpen) fail('the socket is closed');
      else if (isIP(toAddress) === 0 || toPort < 1 || toPort > 65_535) fail('not an address');
      else {
        socket.send(bytes, toPort, toAddress, (error) => {
          if (error === null) sent.resolve();
          else fail(error);
        });
      }
      return sent.promise;
    },
    close() {
      if (isOpen) {
        isOpen = false;
        socket.close();
      }
      return closed.promise;
    },
  };
  socket.on('message', (bytes, from) => options.onDatagram(bytes, from.address, from.port, self));
  return self;
}
