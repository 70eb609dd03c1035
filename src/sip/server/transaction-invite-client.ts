/** INVITE client transaction (RFC 3261 17.1.1) with the Accepted state of RFC 6026. */
import { SipMessage } from './message.ts';
import { timeoutMsOf } from './timers.ts';
import { Transaction } from './transaction-base.ts';
import type { ClientOptions, ClientSink, Sender } from './transaction-base.ts';
import type { Flow } from './types.ts';

export class InviteClientTransaction extends Transaction {
  state: 'calling' | 'proceeding' | 'accepted' | 'completed' = 'calling';
  readonly #bytes: Buffer;
  readonly #send: Sender;
  readonly #sink: ClientSink;
  #intervalMs: number;
  #ack: Buffer | undefined;
  #isCancelled = false;

  constructor(options: ClientOptions) {
    super(options);
    this.#bytes = options.request.serialize();
    this.#send = options.send;
    this.#sink = options.sink;
    this.#intervalMs = this.timers.t1Ms;
  }

  start(): void {
    this.arm('B', timeoutMsOf(this.timers), () => this.#giveUp());
    if (!this.reliable) this.arm('A', this.#intervalMs, () => this.#repeat());
    this.#transmit(this.#bytes);
  }

  receive(response: SipMessage, flow: Flow): void {
    if (this.isTerminated) return;
    if (this.state === 'calling' || this.state === 'proceeding') this.#first(response, flow);
    else if (this.state === 'accepted') {
      // RFC 6026 8.4: every 2xx goes up, of this branch and of forked ones.
      if (response.status >= 200 && response.status < 300) this.#sink.onResponse(response, flow);
    } else if (response.status >= 300 && this.#ack !== undefined) this.#transmit(this.#ack);
  }

  fail(error: unknown): void {
    if (this.isTerminated) return;
    const isOver = this.state === 'accepted' || this.state === 'completed';
    this.terminate();
    if (!isOver) this.#sink.onTransportError(error);
  }

  /** After a CANCEL the final response has 64*T1 to come (RFC 3261 9.1). */
  limitAfterCancel(): void {
    if (this.isTerminated || (this.state !== 'calling' && this.state !== 'proceeding')) return;
    this.#isCancelled = true;
    this.arm('limit', timeoutMsOf(this.timers), () => this.#giveUp());
  }

  #first(response: SipMessage, flow: Flow): void {
    this.disarm('A', 'B');
    if (response.status < 200) {
      this.state = 'proceeding';
      if (!this.#isCancelled) {
        this.arm('limit', this.timers.proceedingLimitMs, () => this.#giveUp());
      }
    } else if (response.status < 300) {
      this.state = 'accepted';
      this.disarm('limit');
      this.arm('M', timeoutMsOf(this.timers), () => this.terminate());
    } else {
      this.state = 'completed';
      this.disarm('limit');
      this.#ack = ackFor(this.request, response).serialize();
      this.#transmit(this.#ack);
      // RFC 3261 17.1.1.2: timer D is at least 32 s on unreliable transports.
      this.linger('D', Math.max(32_000, timeoutMsOf(this.timers)));
    }
    this.#sink.onResponse(response, flow);
  }

  #giveUp(): void {
    this.terminate();
    this.#sink.onTimeout();
  }

  #repeat(): void {
    this.#intervalMs *= 2;
    this.arm('A', this.#intervalMs, () => this.#repeat());
    this.#transmit(this.#bytes);
  }

  #transmit(bytes: Buffer): void {
    this.#send(bytes).catch((error: unknown) => this.fail(error));
  }
}

/** The ACK to a non-2xx belongs to the transaction (RFC 3261 17.1.1.3). */
export function ackFor(request: SipMessage, response: SipMessage): SipMessage {
  const ack = SipMessage.request('ACK', request.uri);
  ack.add('Via', request.list('Via')[0] ?? '');
  for (const route of request.getAll('Route')) ack.add('Route', route);
  ack.add('Max-Forwards', '70');
  ack.add('From', request.get('From') ?? '');
  ack.add('To', response.get('To') ?? request.get('To') ?? '');
  ack.add('Call-ID', request.callId);
  ack.add('CSeq', `${request.cseq.number} ACK`);
  return ack;
}
