/** A transport that sends nothing, messages to feed it, and time that moves by hand: for tests of the SIP engine. */
import assert from 'node:assert/strict';
import { SimulatedClock } from '#lib/clock.ts';
import { SipMessage } from '#sip/server/message.ts';
import { parseMessage } from '#sip/server/parse.ts';
import type { Flow, Target, TransportLayer } from '#sip/server/types.ts';

export const LOCAL = '192.0.2.1';
export const PEER = '192.0.2.9';

export type SentMessage = {
  readonly message: SipMessage;
  /** Simulated time. */
  readonly atMs: number;
  readonly protocol: string;
  readonly to: string;
};

export class FakeTransport implements TransportLayer {
  readonly clock: SimulatedClock;
  readonly sent: SentMessage[] = [];
  readonly listening = [
    { protocol: 'udp', address: LOCAL, port: 5060 },
    { protocol: 'tcp', address: LOCAL, port: 5060 },
  ] as const;
  /** While true every send is refused. */
  isBroken = false;
  #onMessage: (message: SipMessage, flow: Flow) => void = () => undefined;
  #onClosed: (connection: number) => void = () => undefined;

  constructor(clock = new SimulatedClock()) {
    this.clock = clock;
  }

  onMessage(listener: (message: SipMessage, flow: Flow) => void): void {
    this.#onMessage = listener;
  }

  onClosed(listener: (connection: number) => void): void {
    this.#onClosed = listener;
  }

  localFor(): Promise<{ address: string; port: number }> {
    return Promise.resolve({ address: LOCAL, port: 5060 });
  }

  sendOn(flow: Flow, bytes: Buffer): Promise<void> {
    return this.#send(flow.protocol, `${flow.remoteAddress}:${flow.remotePort}`, bytes);
  }

  async sendTo(target: Target, bytes: Buffer): Promise<Flow> {
    const { protocol, address, port } = target;
    await this.#send(protocol, `${address}:${port}`, bytes);
    return flowOf(protocol, { remoteAddress: address, remotePort: port });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A message from the network. */
  receive(message: SipMessage | string, flow: Flow = flowOf('udp')): void {
    this.#onMessage(typeof message === 'string' ? parsed(message) : message, flow);
  }

  dropConnection(connection: number): void {
    this.#onClosed(connection);
  }

  /** `INVITE`, `200 INVITE` and so on, in order, since the last call. */
  take(): string[] {
    return this.sent.splice(0).map(({ message }) => nameOf(message));
  }

  /** The last message sent, which must be this one. */
  last(name: string): SipMessage {
    const message = this.sent.at(-1)?.message;
    assert.ok(message !== undefined, `nothing was sent, ${name} was expected`);
    assert.equal(nameOf(message), name);
    return message;
  }

  #send(protocol: string, to: string, bytes: Buffer): Promise<void> {
    if (this.isBroken) return Promise.reject(new Error('unreachable'));
    this.sent.push({ message: parsed(bytes), atMs: this.clock.now(), protocol, to });
    return Promise.resolve();
  }
}

export function nameOf(message: SipMessage): string {
  return message.kind === 'request' ? message.method : `${message.status} ${message.cseq.method}`;
}

export function flowOf(protocol: 'udp' | 'tcp', fields: Partial<Flow> = {}): Flow {
  return {
    protocol,
    localAddress: LOCAL,
    localPort: 5060,
    remoteAddress: PEER,
    remotePort: 5060,
    connection: protocol === 'tcp' ? 7 : null,
    ...fields,
  };
}

export function parsed(bytes: Buffer | string): SipMessage {
  const result = parseMessage(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
  assert.ok(result.ok, result.ok ? '' : result.reason);
  return result.message;
}

export type RequestFields = {
  readonly method?: string;
  readonly branch?: string;
  readonly cseq?: number;
  readonly callId?: string;
  readonly fromTag?: string;
  readonly toTag?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly uri?: string;
  readonly transport?: 'UDP' | 'TCP';
  readonly contact?: string | null;
};

/** A request as the peer at 192.0.2.9 sends it. */
export function request(fields: RequestFields = {}): SipMessage {
  const { method = 'INVITE', branch = 'z9hG4bK-1', cseq = 1, body = '' } = fields;
  const { contact = `<sip:peer@${PEER}:5060>`, toTag, transport = 'UDP' } = fields;
  const cseqMethod = method;
  return parsed(
    [
      `${method} ${fields.uri ?? `sip:bot@${LOCAL}`} SIP/2.0`,
      `Via: SIP/2.0/${transport} ${PEER}:5060;branch=${branch}`,
      'Max-Forwards: 70',
      `From: <sip:peer@${PEER}>;tag=${fields.fromTag ?? 'peer-tag'}`,
      `To: <sip:bot@${LOCAL}>${toTag === undefined ? '' : `;tag=${toTag}`}`,
      `Call-ID: ${fields.callId ?? 'call-1'}`,
      `CSeq: ${cseq} ${cseqMethod}`,
      ...(contact === null ? [] : [`Contact: ${contact}`]),
      ...(fields.headers ?? []),
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  );
}

/** A response of the peer to a request of ours. */
export function reply(
  to: SipMessage,
  status: number,
  fields: { toTag?: string; headers?: readonly string[]; body?: string } = {},
): SipMessage {
  const response = SipMessage.responseTo(to, status, 'Reason');
  if (fields.toTag !== undefined && to.to.tag === undefined) {
    response.set('To', `${to.get('To')};tag=${fields.toTag}`);
  }
  for (const line of fields.headers ?? []) {
    const colon = line.indexOf(':');
    response.add(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  response.body = Buffer.from(fields.body ?? '');
  return parsed(response.serialize());
}

/** Lets everything that waits on resolved promises happen. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
