/**
 * A carrier with as many phones as there are numbers behind one UDP port: each INVITE is answered as the number wants it,
 * and everything is written down as the carrier saw it. Shares no code with src.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** What a phone does: rings for so long, then says this; 200 is hung up after `talkMs`. */
export type Callee = { readonly status: number; readonly ringMs: number; readonly talkMs?: number };

/** One call as the carrier saw it; times are of `performance.now`. */
export type CarriedCall = {
  readonly number: string;
  readonly sipCallId: string;
  readonly beganMs: number;
  endedMs: number | null;
  how: number | 'cancelled' | 'bye' | 'cut' | 'expired' | null;
  /** When the other side was gone for good; the phone may have rung on. */
  lostMs: number | null;
};

type Message = {
  readonly start: string;
  readonly lines: readonly string[];
  readonly from: RemoteInfo;
};

type Line = {
  readonly call: CarriedCall;
  readonly invite: Message;
  readonly callee: Callee;
  timer: NodeJS.Timeout | undefined;
  answer: string | null;
  isAcked: boolean;
};

const RETRANSMIT_MS = 500;
const NO_ACK_MS = 8_000;

export class Callees {
  readonly calls: CarriedCall[] = [];
  readonly #socket: Socket = createSocket('udp4');
  readonly #lines = new Map<string, Line>();
  readonly #calleeOf: (number: string, attempt: number) => Callee;
  #port = 0;

  private constructor(calleeOf: (number: string, attempt: number) => Callee) {
    this.#calleeOf = calleeOf;
    this.#socket.on('message', (bytes, from) => this.#take(bytes.toString('utf8'), from));
  }

  /** `attempt` counts the calls to a number from 1. */
  static async open(calleeOf: (number: string, attempt: number) => Callee): Promise<Callees> {
    const callees = new Callees(calleeOf);
    callees.#socket.bind(0, '127.0.0.1');
    await once(callees.#socket, 'listening');
    callees.#port = callees.#socket.address().port;
    return callees;
  }

  /** For CALLYARD_TRUNK. */
  get trunk(): string {
    return `sip:127.0.0.1:${this.#port};transport=udp`;
  }

  get live(): number {
    return this.#lines.size;
  }

  /** Resolves when somebody else is called. */
  async nextCall(timeoutMs: number): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    const known = this.calls.length;
    while (this.calls.length === known) await once(this.#socket, 'message', { signal });
  }

  /** The other side is gone for good: nobody talks any more, but what rings rings on, for nobody cancels it. */
  lose(): void {
    for (const line of this.#lines.values()) {
      line.call.lostMs ??= performance.now();
      if (line.answer !== null) this.#end(line, 'cut');
    }
  }

  close(): void {
    for (const line of this.#lines.values()) this.#end(line, 'cut');
    this.#socket.close();
  }

  #take(text: string, from: RemoteInfo): void {
    const lines = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n');
    const message = { start: lines[0] ?? '', lines, from };
    const method = message.start.split(' ')[0] ?? '';
    const line = this.#lines.get(headerOf(message, 'call-id'));
    if (method === 'INVITE') this.#invite(message);
    else if (method === 'ACK') {
      if (line !== undefined) this.#acked(line);
    } else if (method === 'CANCEL' || method === 'BYE') {
      this.#respond(message, 200, 'OK');
      if (line === undefined) return;
      if (method === 'CANCEL' && line.answer === null) {
        this.#respond(line.invite, 487, 'Request Terminated');
        this.#end(line, 'cancelled');
      } else if (method === 'BYE') this.#end(line, 'bye');
    } else if (!method.startsWith('SIP/')) this.#respond(message, 200, 'OK');
  }

  #invite(invite: Message): void {
    const sipCallId = headerOf(invite, 'call-id');
    const known = this.#lines.get(sipCallId);
    if (known?.answer != null) this.#send(known.answer, invite.from);
    // A repeat of an INVITE, also of one that is over: its ACK was lost.
    if (this.calls.some((call) => call.sipCallId === sipCallId)) return;
    const number = /^INVITE sips?:([^@;]+)@/.exec(invite.start)?.[1] ?? '';
    const call: CarriedCall = {
      ...{ number, sipCallId, beganMs: performance.now(), endedMs: null, how: null },
      lostMs: null,
    };
    this.calls.push(call);
    const attempt = this.calls.filter((each) => each.number === number).length;
    const callee = this.#calleeOf(number, attempt);
    const line: Line = { call, invite, callee, timer: undefined, answer: null, isAcked: false };
    this.#lines.set(sipCallId, line);
    this.#respond(invite, 100, 'Trying');
    this.#respond(invite, 180, 'Ringing');
    const expiresMs = Number(headerOf(invite, 'expires') || 'Infinity') * 1_000;
    const isExpiring = expiresMs < callee.ringMs;
    line.timer = setTimeout(
      () => (isExpiring ? this.#expire(line) : this.#decide(line)),
      Math.min(expiresMs, callee.ringMs),
    );
  }

  /** RFC 3261 13.3.1: the invitation has expired. */
  #expire(line: Line): void {
    this.#respond(line.invite, 487, 'Request Terminated');
    this.#end(line, 'expired');
  }

  #decide(line: Line): void {
    const { status } = line.callee;
    if (status !== 200) {
      this.#respond(line.invite, status, 'Refused');
      this.#end(line, status);
      return;
    }
    if (line.call.lostMs !== null) {
      this.#end(line, 'cut'); // picked up, and there is nobody
      return;
    }
    const body = `v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n`;
    line.answer = this.#response(line.invite, 200, 'OK', body);
    const answeredMs = performance.now();
    const send = (): void => {
      if (performance.now() - answeredMs > NO_ACK_MS) {
        this.#end(line, 'cut');
        return;
      }
      this.#send(line.answer ?? '', line.invite.from);
      line.timer = setTimeout(send, RETRANSMIT_MS);
    };
    send();
  }

  #acked(line: Line): void {
    if (line.answer === null || line.isAcked) return;
    line.isAcked = true;
    clearTimeout(line.timer);
    const { talkMs } = line.callee;
    if (talkMs === undefined) return; // until the other side hangs up
    line.timer = setTimeout(() => this.#hangUp(line), talkMs);
  }

  #hangUp(line: Line): void {
    const { invite } = line;
    const contact = /<([^>]+)>/.exec(headerOf(invite, 'contact'))?.[1] ?? 'sip:nobody';
    const routes = invite.lines.filter((each) => /^record-route:/i.test(each));
    const bye = [
      `BYE ${contact} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1:${this.#port};branch=z9hG4bK${Math.random().toString(36).slice(2)}`,
      'Max-Forwards: 70',
      ...routes.map((each) => each.replace(/^record-route/i, 'Route')),
      `From: ${headerOf(invite, 'to')};tag=carrier`,
      `To: ${headerOf(invite, 'from')}`,
      `Call-ID: ${line.call.sipCallId}`,
      'CSeq: 1 BYE',
      'Content-Length: 0',
      '',
      '',
    ];
    this.#send(bye.join('\r\n'), invite.from);
    this.#end(line, 'bye');
  }

  #end(line: Line, how: NonNullable<CarriedCall['how']>): void {
    clearTimeout(line.timer);
    line.call.endedMs = performance.now();
    line.call.how = how;
    this.#lines.delete(line.call.sipCallId);
  }

  #respond(request: Message, status: number, reason: string): void {
    this.#send(this.#response(request, status, reason, ''), request.from);
  }

  #response(request: Message, status: number, reason: string, body: string): string {
    const to = `To: ${headerOf(request, 'to')}`;
    const kept = request.lines.filter((each) =>
      /^(?:via|from|call-id|cseq|record-route):/i.test(each),
    );
    return [
      `SIP/2.0 ${status} ${reason}`,
      ...kept,
      status === 100 || to.includes('tag=') ? to : `${to};tag=carrier`,
      `Contact: <sip:phone@127.0.0.1:${this.#port}>`,
      ...(body === '' ? [] : ['Content-Type: application/sdp']),
      `Content-Length: ${body.length}`,
      '',
      body,
    ].join('\r\n');
  }

  #send(text: string, { port, address }: RemoteInfo): void {
    this.#socket.send(text, port, address);
  }
}

function headerOf({ lines }: Pick<Message, 'lines'>, name: string): string {
  const found = lines.find((line) => line.toLowerCase().startsWith(`${name}:`)) ?? '';
  return found.slice(name.length + 1).trim();
}

/** The most calls that there were at one moment; one whose other side is gone for good is nobody's any more. */
export function mostAtOnce(calls: readonly CarriedCall[]): number {
  const steps = calls
    .flatMap(({ beganMs, endedMs, lostMs }) => [
      { atMs: beganMs, by: 1 },
      { atMs: lostMs ?? endedMs ?? Number.POSITIVE_INFINITY, by: -1 },
    ])
    .sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let live = 0;
  let most = 0;
  for (const { by } of steps) most = Math.max(most, (live += by));
  return most;
}

/** The most calls that began within one second. */
export function mostInOneSecond(calls: readonly CarriedCall[]): number {
  const began = calls.map(({ beganMs }) => beganMs).sort((a, b) => a - b);
  let from = 0;
  let most = 0;
  for (const [at, beganMs] of began.entries()) {
    while ((began[from] ?? 0) <= beganMs - 1_000) from++;
    most = Math.max(most, at - from + 1);
  }
  return most;
}
