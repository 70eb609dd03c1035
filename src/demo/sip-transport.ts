/** One SIP flow to one server, over UDP or TCP: whole messages out, whole messages in. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createConnection, type Socket as TcpSocket } from 'node:net';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { SipTarget } from './sip-message.ts';

const CONNECT_TIMEOUT_MS = 5000;
const MAX_BUFFERED_BYTES = 256 * 1024;

export type SipFlow = {
  readonly reliable: boolean;
  readonly localAddress: string;
  readonly localPort: number;
  send(message: string): void;
  onMessage(listener: (text: string) => void): void;
  onError(listener: (error: Error) => void): void;
  close(): void;
};

/** Opens a flow from `localAddress` (null: as the routing table says). Errors: E_TIMEOUT, E_SIP_ENGINE. */
export async function openFlow(target: SipTarget, localAddress: string | null): Promise<SipFlow> {
  const opening =
    target.transport === 'tcp' ? openTcp(target, localAddress) : openUdp(target, localAddress);
  try {
    return await withDeadline(
      opening,
      CONNECT_TIMEOUT_MS,
      `connecting to ${target.host}:${target.port}`,
    );
  } catch (error) {
    // Whatever opens after the deadline has no owner any more.
    opening.then(
      (late) => late.close(),
      () => 0,
    );
    if (error instanceof AppError) throw error;
    throw new AppError('E_SIP_ENGINE', `no SIP connection to ${target.host}:${target.port}`, {
      cause: error,
    });
  }
}

async function openUdp(target: SipTarget, localAddress: string | null): Promise<SipFlow> {
  const socket = createSocket('udp4');
  try {
    await bound(socket, localAddress);
    // Connecting tells us the local address of the route, and lets ICMP refusals come back as errors.
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(target.port, target.host, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    socket.close();
    throw error;
  }
  return udpFlow(socket);
}

function bound(socket: UdpSocket, localAddress: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port: 0, ...(localAddress === null ? {} : { address: localAddress }) }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function udpFlow(socket: UdpSocket): SipFlow {
  let closed = false;
  let report: (error: Error) => void = () => undefined;
  socket.on('error', (error) => report(error));
  const { address, port } = socket.address();
  return {
    reliable: false,
    localAddress: address,
    localPort: port,
    send: (message) => {
      if (closed) return;
      socket.send(message, (error) => {
        if (error && !closed) report(error);
      });
    },
    onMessage: (listener) => void socket.on('message', (bytes) => listener(bytes.toString('utf8'))),
    onError: (listener) => void (report = listener),
    close: () => {
      if (!closed) socket.close();
      closed = true;
    },
  };
}

async function openTcp(target: SipTarget, localAddress: string | null): Promise<SipFlow> {
  const socket = createConnection({
    host: target.host,
    port: target.port,
    ...(localAddress === null ? {} : { localAddress }),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.setNoDelay(true);
  return tcpFlow(socket);
}

function tcpFlow(socket: TcpSocket): SipFlow {
  let closed = false;
  let pending: Buffer = Buffer.alloc(0);
  let deliver: (text: string) => void = () => undefined;
  let report: (error: Error) => void = () => undefined;
  socket.on('error', (error) => report(error));
  socket.on('close', () => {
    if (!closed) report(new AppError('E_SIP_ENGINE', 'the server closed the SIP connection'));
  });
  socket.on('data', (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    if (pending.length > MAX_BUFFERED_BYTES) socket.destroy(new Error('SIP message without end'));
    for (let taken = takeMessage(pending); taken; taken = takeMessage(pending)) {
      pending = taken.rest;
      if (taken.text !== '') deliver(taken.text);
    }
  });
  return {
    reliable: true,
    localAddress: socket.localAddress ?? '127.0.0.1',
    localPort: socket.localPort ?? 0,
    send: (message) => {
      if (!closed) socket.write(message);
    },
    onMessage: (listener) => void (deliver = listener),
    onError: (listener) => void (report = listener),
    close: () => {
      closed = true;
      socket.destroy();
    },
  };
}

/** Cuts one message off a TCP stream by its Content-Length (RFC 3261 18.3); CRLF keep-alives are an empty text. */
export function takeMessage(pending: Buffer): { text: string; rest: Buffer } | undefined {
  if (pending.length >= 2 && pending[0] === 13 && pending[1] === 10) {
    return { text: '', rest: pending.subarray(2) };
  }
  const end = pending.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = Number(
    /\r\n(?:content-length|l)\s*:\s*(\d+)/i.exec(pending.toString('latin1', 0, end + 2))?.[1] ?? 0,
  );
  const total = end + 4 + length;
  if (pending.length < total) return undefined;
  return { text: pending.toString('utf8', 0, total), rest: pending.subarray(total) };
}
