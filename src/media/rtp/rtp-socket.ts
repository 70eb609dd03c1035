/**
 * The sockets of one call leg: RTP on an even port, RTCP on the odd one above, bound to one exact local address (after
 * connect() a wildcard socket goes deaf or answers from another address).
 */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { leavePacketBuffer } from './packet-buffer.ts';

/** `atMs`: when it came, on the clock; absent: now. */
export type DatagramListener = (
  bytes: Uint8Array,
  address: string,
  port: number,
  atMs?: number,
) => void;

/** What the chain needs of the network; tests bring their own. */
export type RtpTransport = {
  /** One listener for RTP. Datagrams of before are thrown away. */
  onDatagram(listener: DatagramListener): void;
  /** Where packets go while no source is latched; null: nowhere. */
  aimAt(address: string, port: number): void;
  /** Sends there from now on, and lets nobody else in if the system can. Never throws: who listens filters as well. */
  connect(address: string, port: number): void;
  /** Opens the socket to everybody again. */
  disconnect(): void;
  /** Sends at once, or drops. `bytes` may be reused after the call. */
  send(bytes: Uint8Array): void;
  /** One listener for RTCP, whichever port it comes on. Datagrams of before are thrown away. */
  onRtcp(listener: DatagramListener): void;
  /**
   * Where RTCP goes, and comes in: with RTP on one port (RFC 5761), or to `port`; null: the port above the one RTP goes
   * to. Holds until the next call; before the first: unmuxed, the port above.
   */
  routeRtcp(isMuxed: boolean, port: number | null): void;
  /** Sends at once, or drops, the way `routeRtcp` said. */
  sendRtcp(bytes: Uint8Array): void;
  /** Packets the system did not take. */
  readonly sendErrors: number;
  close(): void;
};

/** Addresses here are numbers already: no resolver, no tick of delay. */
const lookup = (
  host: string,
  _options: unknown,
  callback: (error: Error | null, address: string, family: number) => void,
): void => callback(null, host, isIPv6(host) ? 6 : 4);

/** The second byte of RTCP where it shares a port with RTP (RFC 5761 4): no negotiated payload type looks like it. */
const FIRST_RTCP_TYPE = 192;
const LAST_RTCP_TYPE = 223;

/** Open sockets of this thread, for leak checks. */
let openSockets = 0;

export function openSocketCount(): number {
  return openSockets;
}

/**
 * Binds the pair. Errors: the system's error of bind(2), by its code (EADDRINUSE, EADDRNOTAVAIL), with neither socket
 * left open.
 */
export async function openRtpSocket(address: string, port: number): Promise<RtpTransport> {
  const rtp = await bindSocket(address, port);
  try {
    return new UdpRtpTransport(rtp, await bindSocket(address, port + 1));
  } catch (error) {
    closeSocket(rtp);
    throw error;
  }
}

class UdpRtpTransport implements RtpTransport {
  readonly #rtp: Socket;
  readonly #rtcp: Socket;
  #address = '';
  #port = 0;
  #isConnected = false;
  #isClosed = false;
  #sendErrors = 0;
  #isMuxed = false;
  #rtcpPort: number | null = null;
  #onRtcp: DatagramListener | null = null;

  constructor(rtp: Socket, rtcp: Socket) {
    this.#rtp = rtp;
    this.#rtcp = rtcp;
    // Failed sends come as 'error' events (a callback per packet would cost as much as the packet), among them ICMP
    // "port unreachable" of a phone that has gone; the media timeout judges that.
    rtp.on('error', () => this.#sendErrors++);
    rtcp.on('error', () => this.#sendErrors++);
    rtcp.on('message', (bytes, from) => this.#onRtcp?.(bytes, from.address, from.port));
  }

  get sendErrors(): number {
    return this.#sendErrors;
  }

  onDatagram(listener: DatagramListener): void {
    this.#rtp.removeAllListeners('message');
    this.#rtp.on('message', (bytes, from) => {
      const isRtcp = this.#isMuxed && isRtcpType(bytes[1] ?? 0);
      if (isRtcp) this.#onRtcp?.(bytes, from.address, from.port);
      else listener(bytes, from.address, from.port);
    });
  }

  onRtcp(listener: DatagramListener): void {
    this.#onRtcp = listener;
  }

  routeRtcp(isMuxed: boolean, port: number | null): void {
    this.#isMuxed = isMuxed;
    this.#rtcpPort = port;
  }

  aimAt(address: string, port: number): void {
    this.#address = address;
    this.#port = port;
  }

  connect(address: string, port: number): void {
    this.disconnect();
    if (this.#isClosed) return;
    this.aimAt(address, port);
    try {
      this.#rtp.connect(port, address);
      // The system's refusal (EACCES, EINVAL) comes as an event; only this tells at once.
      this.#rtp.remoteAddress();
      this.#isConnected = true;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#sendErrors++;
    }
  }

  disconnect(): void {
    if (!this.#isConnected || this.#isClosed) return;
    this.#isConnected = false;
    this.#rtp.disconnect();
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#isConnected) this.#rtp.send(bytes);
    else if (this.#port > 0) this.#rtp.send(bytes, this.#port, this.#address);
    // What the system does not take at once is read where it lies when it does: another call must not write there.
    if (this.#rtp.getSendQueueCount() > 0) leavePacketBuffer();
  }

  sendRtcp(bytes: Uint8Array): void {
    if (this.#isMuxed) return this.send(bytes);
    const port = this.#rtcpPort ?? this.#port + 1;
    if (this.#isClosed || this.#port === 0 || port < 1 || port > 65_535) return;
    this.#rtcp.send(bytes, port, this.#address);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSocket(this.#rtp);
    closeSocket(this.#rtcp);
  }
}

function isRtcpType(type: number): boolean {
  return type >= FIRST_RTCP_TYPE && type <= LAST_RTCP_TYPE;
}

async function bindSocket(address: string, port: number): Promise<Socket> {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', lookup });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('error', reject);
  socket.bind({ address, port, exclusive: true }, resolve);
  try {
    await promise;
  } catch (error) {
    socket.close();
    throw error;
  }
  socket.off('error', reject);
  openSockets++;
  return socket;
}

function closeSocket(socket: Socket): void {
  openSockets--;
  socket.close();
}
