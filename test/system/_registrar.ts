/**
 * A SIP registrar and carrier on a raw UDP socket: checks digests by itself, keeps bindings, calls them, takes calls.
 * Shares no code with src.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { atEnd } from './_store.ts';

export const REALM = 'registrar.test';

export type SeenRegister = {
  readonly user: string;
  readonly expires: number;
  readonly contact: string;
  readonly callId: string;
  readonly cseq: number;
  readonly status: number;
};

export type Binding = { readonly contact: string; readonly expiresS: number };

type Message = {
  readonly method: string;
  readonly uri: string;
  readonly status: number;
  header(name: string): string;
  readonly lines: readonly string[];
};

export class TestRegistrar {
  readonly #socket: Socket;
  readonly address: string;
  /** Passwords by user. */
  readonly passwords = new Map<string, string>();
  readonly bindings = new Map<string, Binding>();
  /** Without retransmissions; 401s included. */
  readonly registers: SeenRegister[] = [];
  /** Methods and Request-URIs of everything else that asked for something. */
  readonly requests: { readonly method: string; readonly uri: string }[] = [];
  /** What is granted at most. */
  maxExpiresS = 3_600;
  /** Answers nothing at all. */
  isSilent = false;
  readonly #nonces = new Set<string>();
  readonly #answers = new Map<string, string>();
  readonly #waiters = new Set<(message: Message) => void>();

  private constructor(address: string) {
    this.address = address;
    this.#socket = createSocket('udp4');
    this.#socket.on('message', (bytes, from) => this.#take(bytes.toString(), from));
  }

  static async open(t: TestContext, address: string): Promise<TestRegistrar> {
    const registrar = new TestRegistrar(address);
    registrar.#socket.bind(0, address);
    await once(registrar.#socket, 'listening');
    atEnd(t, () => {
      registrar.#socket.close();
    });
    return registrar;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Nonces of before are worth nothing any more. */
  forgetNonces(): void {
    this.#nonces.clear();
  }

  /** Calls the binding of `user` for somebody who dialled `dialled`; the final status, and BYE after a 200. */
  async call(user: string, dialled: string): Promise<number> {
    const target = this.bindings.get(user)?.contact ?? '';
    const [, host = '', port = '5060'] = /@([^:;>]+)(?::(\d+))?/.exec(target) ?? [];
    const callId = `${randomBytes(8).toString('hex')}@${this.address}`;
    const tag = randomBytes(4).toString('hex');
    const final = Promise.withResolvers<Message>();
    const waiter = (message: Message): void => {
      if (message.header('call-id') === callId && message.status >= 200) final.resolve(message);
    };
    this.#waiters.add(waiter);
    const send = (method: string, cseq: number, to: string, uri: string, body = ''): void => {
      const lines = [
        `${method} ${uri} SIP/2.0`,
        `Via: SIP/2.0/UDP ${this.address}:${this.port};rport;branch=z9hG4bK${randomBytes(6).toString('hex')}`,
        'Max-Forwards: 70',
        `From: <sip:+15550199@${REALM}>;tag=${tag}`,
        `To: ${to}`,
        `Call-ID: ${callId}`,
        `CSeq: ${cseq} ${method}`,
        `Contact: <sip:carrier@${this.address}:${this.port}>`,
        ...(body === '' ? [] : ['Content-Type: application/sdp']),
      ];
      const text = [...lines, `Content-Length: ${body.length}`, '', body].join('\r\n');
      this.#socket.send(text, Number(port), host);
    };
    const timer = setTimeout(() => final.reject(new Error('no answer to INVITE')), 6_000);
    try {
      send('INVITE', 1, `<sip:${dialled}@${REALM}>`, target, sdp(this.address));
      const answer = await final.promise;
      send('ACK', 1, answer.header('to'), target);
      if (answer.status === 200) send('BYE', 2, answer.header('to'), target);
      return answer.status;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }

  #take(text: string, from: { readonly address: string; readonly port: number }): void {
    if (this.isSilent) return;
    const message = parse(text);
    if (message.status > 0) {
      for (const waiter of this.#waiters) waiter(message);
      return;
    }
    if (message.method === 'ACK') return;
    const key = `${message.header('via')} ${message.method}`;
    const answer = this.#answers.get(key) ?? this.#answer(message);
    this.#answers.set(key, answer);
    this.#socket.send(answer, from.port, from.address);
  }

  #answer(message: Message): string {
    if (message.method === 'REGISTER') return this.#register(message);
    this.requests.push({ method: message.method, uri: message.uri });
    if (message.method !== 'INVITE') return reply(message, '200 OK');
    const contact = [`Contact: <sip:carrier@${this.address}:${this.port}>`];
    return reply(message, '200 OK', contact, sdp(this.address));
  }

  #register(message: Message): string {
    const user = /<sip:([^@>]+)@/.exec(message.header('to'))?.[1] ?? '';
    const isIn = this.#isLogin(message, user);
    const wanted = Number(message.header('expires'));
    const expires = Math.min(wanted, this.maxExpiresS);
    const contact = /<([^>]+)>/.exec(message.header('contact'))?.[1] ?? '';
    this.registers.push({
      ...{ user, expires: wanted, contact, status: isIn ? 200 : 401 },
      callId: message.header('call-id'),
      cseq: Number(/^\d+/.exec(message.header('cseq'))?.[0]),
    });
    if (!isIn) {
      const nonce = randomBytes(8).toString('hex');
      this.#nonces.add(nonce);
      const challenge = `WWW-Authenticate: Digest realm="${REALM}", nonce="${nonce}", algorithm=MD5, qop="auth"`;
      return reply(message, '401 Unauthorized', [challenge]);
    }
    if (expires === 0) this.bindings.delete(user);
    else this.bindings.set(user, { contact, expiresS: expires });
    const now = this.bindings.get(user);
    const list = now === undefined ? [] : [`Contact: <${now.contact}>;expires=${now.expiresS}`];
    return reply(message, '200 OK', list);
  }

  #isLogin(message: Message, user: string): boolean {
    const login = message.header('authorization');
    const field = (name: string): string =>
      new RegExp(`\\b${name}="?([^",]+)"?`).exec(login)?.[1] ?? '';
    const password = this.passwords.get(user);
    if (password === undefined || field('username') !== user) return false;
    if (!this.#nonces.has(field('nonce')) || field('uri') !== message.uri) return false;
    const a1 = md5(`${user}:${REALM}:${password}`);
    const a2 = md5(`${message.method}:${message.uri}`);
    const middle = [field('nonce'), field('nc'), field('cnonce'), 'auth'].join(':');
    return field('response') === md5(`${a1}:${middle}:${a2}`);
  }
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

function sdp(address: string): string {
  return [
    'v=0',
    `o=- 1 1 IN IP4 ${address}`,
    's=-',
    `c=IN IP4 ${address}`,
    't=0 0',
    'm=audio 40000 RTP/AVP 8',
    '',
  ].join('\r\n');
}

function parse(text: string): Message {
  const [first = '', ...lines] = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n');
  const status = Number(/^SIP\/2\.0 (\d{3})/.exec(first)?.[1] ?? 0);
  const [method = '', uri = ''] = status > 0 ? [] : first.split(' ');
  const header = (name: string): string => {
    const line = lines.find((one) => one.toLowerCase().startsWith(`${name}:`));
    return line?.slice(name.length + 1).trim() ?? '';
  };
  return { method, uri, status, header, lines };
}

function reply(message: Message, status: string, extra: readonly string[] = [], body = ''): string {
  const to = message.header('to');
  return [
    `SIP/2.0 ${status}`,
    ...message.lines.filter((line) => /^(?:via|from|call-id|cseq|record-route):/i.test(line)),
    `To: ${to.includes('tag=') ? to : `${to};tag=registrar`}`,
    ...extra,
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}
