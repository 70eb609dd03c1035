/** A scripted SIP peer on a raw UDP socket: sends what a test writes, waits for what a test expects. Shares no code with src. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export type PeerMessage = {
  readonly startLine: string;
  /** Empty for a response. */
  readonly method: string;
  /** 0 for a request. */
  readonly status: number;
  /** Lower-case names; repeated headers in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: string;
};

type Waiter = {
  readonly wants: (message: PeerMessage) => boolean;
  give(message: PeerMessage): void;
};

const WAIT_MS = 4000;

export const SDP = (port = 40_000, extra = 'm=audio 40000 RTP/AVP 8 0 101'): string =>
  [
    'v=0',
    'o=peer 1 1 IN IP4 127.0.0.1',
    's=-',
    'c=IN IP4 127.0.0.1',
    't=0 0',
    extra.replace('40000', String(port)),
    'a=rtpmap:101 telephone-event/8000',
    '',
  ].join('\r\n');

export class SipPeer {
  readonly #socket: Socket;
  #server: { readonly address: string; readonly port: number };
  readonly #inbox: PeerMessage[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #known = new Set<string>();
  port = 0;

  private constructor(server: { address: string; port: number }) {
    this.#server = server;
    this.#socket = createSocket('udp4');
    this.#socket.on('message', (bytes) => this.#take(parseMessage(bytes.toString())));
  }

  static async open(server: { address: string; port: number }): Promise<SipPeer> {
    const peer = new SipPeer(server);
    peer.#socket.bind(0, '127.0.0.1');
    await once(peer.#socket, 'listening');
    peer.port = peer.#socket.address().port;
    return peer;
  }

  /** Where to send from now on: for a peer that is there before the server. */
  aim(server: { readonly address: string; readonly port: number }): void {
    this.#server = server;
  }

  close(): void {
    this.#socket.close();
  }

  send(lines: readonly string[], body = ''): void {
    const text = [...lines, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n');
    this.#socket.send(text, this.#server.port, this.#server.address);
  }

  /** A request outside any dialog. Header lines of `extra` come last; `without` leaves one out. */
  start(
    method: string,
    options: { body?: string; extra?: readonly string[]; without?: string } = {},
  ): PeerCall {
    const call = new PeerCall(this, method, this.#server);
    const { body = '', extra = [], without } = options;
    const lines = call
      .lines(method)
      .filter((line) => without === undefined || !line.toLowerCase().startsWith(`${without}:`));
    this.send([...lines, ...extra], body);
    return call;
  }

  /** The next message that fits, among those that came already or within 4 s. */
  async next(
    what: string,
    wants: (message: PeerMessage) => boolean = () => true,
  ): Promise<PeerMessage> {
    const at = this.#inbox.findIndex((message) => wants(message));
    if (at >= 0) return this.#inbox.splice(at, 1)[0] as PeerMessage;
    const { promise, resolve, reject } = Promise.withResolvers<PeerMessage>();
    const waiter: Waiter = { wants, give: resolve };
    this.#waiters.push(waiter);
    const timer = setTimeout(() => {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      const seen = this.#inbox.map((one) => one.startLine).join(' | ');
      reject(new Error(`no ${what} within ${WAIT_MS} ms; unread: ${seen}`));
    }, WAIT_MS);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next INVITE from the server that begins a call: repeats of earlier ones may still come. */
  async invite(): Promise<PeerMessage> {
    const isNew = (one: PeerMessage): boolean =>
      one.method === 'INVITE' && !this.#known.has(header(one, 'call-id'));
    const invite = await this.next('INVITE', isNew);
    this.#known.add(header(invite, 'call-id'));
    return invite;
  }

  /** Messages that came and were not asked for. */
  get unread(): readonly PeerMessage[] {
    return this.#inbox;
  }

  respond(
    request: PeerMessage,
    status: string,
    options: { toTag?: string; extra?: readonly string[]; body?: string } = {},
  ): void {
    const { toTag, extra = [], body = '' } = options;
    const copy = (name: string): string[] =>
      (request.headers.get(name.toLowerCase()) ?? []).map((value) => `${name}: ${value}`);
    const to = header(request, 'to');
    const tagged = toTag === undefined || to.includes(';tag=') ? to : `${to};tag=${toTag}`;
    this.send(
      [
        `SIP/2.0 ${status}`,
        ...copy('Via'),
        ...copy('From'),
        `To: ${tagged}`,
        ...copy('Call-ID'),
        ...copy('CSeq'),
        `Contact: <sip:peer@127.0.0.1:${this.port}>`,
        ...(body === '' ? [] : ['Content-Type: application/sdp']),
        ...extra,
      ],
      body,
    );
  }

  #take(message: PeerMessage): void {
    const at = this.#waiters.findIndex((waiter) => waiter.wants(message));
    if (at < 0) this.#inbox.push(message);
    else this.#waiters.splice(at, 1)[0]?.give(message);
  }
}

/** One Call-ID from the peer's side. */
export class PeerCall {
  readonly callId = `${randomBytes(8).toString('hex')}@peer.invalid`;
  readonly localTag = randomBytes(4).toString('hex');
  readonly #peer: SipPeer;
  readonly #server: { address: string; port: number };
  /** Of the latest INVITE: its CANCEL and the ACK of its refusal carry it too. */
  #inviteBranch = branch();
  remoteTag = '';
  cseq = 1;

  constructor(peer: SipPeer, _method: string, server: { address: string; port: number }) {
    this.#peer = peer;
    this.#server = server;
  }

  /** The next request of this call from the server. */
  request(method: string): Promise<PeerMessage> {
    return this.#peer.next(
      `${method} of ${this.callId}`,
      (message) => message.method === method && header(message, 'call-id') === this.callId,
    );
  }

  /** The response, not 100, to our latest request of that method. */
  response(method: string): Promise<PeerMessage> {
    return this.#peer.next(
      `response to ${this.cseq} ${method}`,
      (message) =>
        message.status > 100 &&
        header(message, 'call-id') === this.callId &&
        header(message, 'cseq') === `${this.cseq} ${method}`,
    );
  }

  /** Header lines of a request in this call; `first` repeats the INVITE's branch. */
  lines(method: string, first = this.remoteTag === ''): string[] {
    const { address, port } = this.#server;
    const to = this.remoteTag === '' ? '' : `;tag=${this.remoteTag}`;
    return [
      `${method} sip:1000@${address}:${port} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1:${this.#peer.port};rport;branch=${first ? this.#inviteBranch : branch()}`,
      'Max-Forwards: 70',
      `From: "Peer" <sip:+15550100@127.0.0.1:${this.#peer.port}>;tag=${this.localTag}`,
      `To: <sip:1000@${address}:${port}>${to}`,
      `Call-ID: ${this.callId}`,
      `CSeq: ${this.cseq} ${method}`,
      `Contact: <sip:peer@127.0.0.1:${this.#peer.port}>`,
    ];
  }

  /** Takes the To tag of a response as the dialog's. */
  confirm(response: PeerMessage): this {
    this.remoteTag = /;tag=([^;\s]+)/.exec(header(response, 'to'))?.[1] ?? '';
    return this;
  }

  ack(body = ''): void {
    const type = body === '' ? [] : ['Content-Type: application/sdp'];
    this.#peer.send([...this.lines('ACK', false), ...type], body);
  }

  /** ACK of a refusal belongs to the INVITE's own transaction. */
  ackRefusal(response: PeerMessage): void {
    const before = this.remoteTag;
    this.confirm(response);
    this.#peer.send(this.lines('ACK', true));
    this.remoteTag = before;
  }

  cancel(extra: readonly string[] = []): void {
    this.#peer.send([...this.lines('CANCEL', true), ...extra]);
  }

  /** A new request inside the dialog. */
  send(method: string, body = '', extra: readonly string[] = []): void {
    this.cseq += 1;
    if (method === 'INVITE') this.#inviteBranch = branch();
    this.#peer.send([...this.lines(method, method === 'INVITE'), ...extra], body);
  }
}

export function header(message: PeerMessage, name: string): string {
  return message.headers.get(name)?.[0] ?? '';
}

function branch(): string {
  return `z9hG4bK${randomBytes(6).toString('hex')}`;
}

function parseMessage(text: string): PeerMessage {
  const gap = text.indexOf('\r\n\r\n');
  const [startLine = '', ...lines] = text.slice(0, gap).split('\r\n');
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  const status = Number(/^SIP\/2\.0 (\d{3})/.exec(startLine)?.[1] ?? 0);
  const method = status === 0 ? (startLine.split(' ')[0] ?? '') : '';
  return { startLine, method, status, headers, body: text.slice(gap + 4) };
}
