/**
 * A vendor on loopback, for tests: HTTP and WebSocket on one port, with the faults that real ones have. What a vendor's
 * own simulator finds wrong with a client it notes in `violations`, and refuses as the vendor would.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';

/** Faults that every simulator can play (providers.md 12.2); each vendor's adds its own. */
export type VendorFault =
  /** The handshake (or the request) is answered with this HTTP status. */
  | { readonly kind: 'refuse'; readonly status: number }
  /** The vendor's own word for failure, before it has started. */
  | { readonly kind: 'fail_before_start' }
  /** Connected, and then not a word. */
  | { readonly kind: 'hang' }
  /** Everything stops in the middle: the socket stays open and even pings go unanswered. */
  | { readonly kind: 'half_open' }
  /** The socket is cut in the middle of a reply or a sentence. */
  | { readonly kind: 'cut' }
  /** The vendor's own word for failure in the middle. */
  | { readonly kind: 'fail_midway' }
  /** Text that is no JSON, in the middle. */
  | { readonly kind: 'junk' }
  /** Binary data where text belongs, and text where binary data does. */
  | { readonly kind: 'swapped' }
  /** One message of this many bytes, in the middle. */
  | { readonly kind: 'huge'; readonly bytes: number }
  /** The first result comes this late. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** Results go on after a cancel. */
  | { readonly kind: 'late' }
  /** The session is recycled by the vendor in mid-sentence, politely. */
  | { readonly kind: 'recycle' }
  /** Moderation withholds the reply. */
  | { readonly kind: 'moderated' }
  /** What only one vendor does, by its name. */
  | { readonly kind: 'own'; readonly name: string };

export type FaultKind = VendorFault['kind'];

/** Which connection plays which fault: the next one takes the first that is left. */
export class FaultPlan {
  readonly #plan: (VendorFault | null)[] = [];

  /** For the next connection (or request); null: that one goes well. */
  add(...faults: (VendorFault | null)[]): void {
    this.#plan.push(...faults);
  }

  take(): VendorFault | null {
    return this.#plan.shift() ?? null;
  }

  /** The next one if it is of this kind: what belongs to a later moment is left for it. */
  takeIf<K extends FaultKind>(kind: K): Extract<VendorFault, { readonly kind: K }> | null {
    const next = this.#plan[0];
    if (next === undefined || next === null || next.kind !== kind) return null;
    this.#plan.shift();
    return next as Extract<VendorFault, { readonly kind: K }>;
  }

  clear(): void {
    this.#plan.length = 0;
  }
}

export type VendorServerOptions = {
  /** Null accepts the upgrade. Else the refusal, with the vendor's body. */
  onUpgrade?(
    request: IncomingMessage,
    url: URL,
  ): { readonly status: number; readonly body: string } | null;
  onSocket?(socket: WebSocket, request: IncomingMessage, url: URL): void;
  onRequest?(request: IncomingMessage, response: ServerResponse, url: URL): void;
  /** PEM; absent: plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly maxPayload?: number;
  /** Of every answer to an upgrade. */
  readonly headers?: Readonly<Record<string, string>>;
};

export type VendorServer = {
  /** `ws://127.0.0.1:PORT`, or `wss://`. */
  readonly wsUrl: string;
  readonly httpUrl: string;
  /** Sockets that are open now, and all there were. */
  readonly open: number;
  readonly accepted: number;
  close(): Promise<void>;
};

export async function startVendorServer(options: VendorServerOptions): Promise<VendorServer> {
  const { tls, maxPayload = 16 * 1024 * 1024 } = options;
  const own = Object.entries(options.headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (options.onRequest === undefined) response.writeHead(404).end();
    else options.onRequest(request, response, urlOf(request));
  };
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  const settings = { noServer: true, perMessageDeflate: false, autoPong: false };
  const sockets = new WebSocketServer({ ...settings, maxPayload });
  sockets.on('headers', (headers) => headers.push(...own));
  let accepted = 0;
  server.on('upgrade', (request: IncomingMessage, stream, head) => {
    const url = urlOf(request);
    const refusal = options.onUpgrade?.(request, url) ?? null;
    if (refusal !== null || options.onSocket === undefined) {
      const { status, body } = refusal ?? { status: 404, body: '' };
      stream.end(
        `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n${own.map((line) => `${line}\r\n`).join('')}\r\n${body}`,
      );
      return;
    }
    sockets.handleUpgrade(request, stream, head, (socket) => {
      accepted += 1;
      socket.on('ping', (data) => socket.pong(data));
      // A client that breaks the protocol ends its own socket; the close event tells.
      socket.on('error', () => undefined);
      options.onSocket?.(socket, request, url);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const s = tls === undefined ? '' : 's';
  return {
    wsUrl: `ws${s}://127.0.0.1:${port}`,
    httpUrl: `http${s}://127.0.0.1:${port}`,
    get open() {
      return sockets.clients.size;
    },
    get accepted() {
      return accepted;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.clients) socket.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The socket stays open, and nobody is there: not even pings are answered. It is still seen when the client leaves. */
export function goHalfOpen(socket: WebSocket): void {
  socket.removeAllListeners('message');
  socket.removeAllListeners('ping');
}

function urlOf(request: IncomingMessage): URL {
  return new URL(request.url ?? '/', 'http://127.0.0.1');
}
