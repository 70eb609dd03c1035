/** INVITE server transaction (RFC 3261 17.2.1) with the Accepted state of RFC 6026. */
import { SipMessage } from './message.ts';
import { timeoutMsOf } from './timers.ts';
import { Transaction } from './transaction-base.ts';
import type { Sender, ServerOptions, ServerSink } from './transaction-base.ts';
import type { Flow } from './types.ts';

export class InviteServerTransaction extends Transaction {
  state: 'proceeding' | 'accepted' | 'completed' | 'confirmed' = 'proceeding';
  readonly flow: Flow;
  readonly #send: Sender;
  #sink: ServerSink | undefined;
  #last: Buffer | undefined;
  #intervalMs: number;

  constructor(options: ServerOptions) {
    super(options);
    this.flow = options.flow;
    this.#send = options.send;
    this.#intervalMs = this.timers.t1Ms;
  }

  attach(sink: ServerSink): void {
    this.#sink = sink;
  }

  /** 100 Trying at once: it stops the peer's timer A. */
  start(): void {
    this.#last = SipMessage.responseTo(this.request, 100, 'Trying').serialize();
    this.#transmit(this.#last);
  }

  /** The INVITE again, or an ACK to the final response. */
  receive(request: SipMessage, flow: Flow): void {
    if (this.isTerminated) return;
    if (request.method === 'ACK') this.#acknowledge(request, flow);
    else if (this.state === 'proceeding' || this.state === 'completed') this.#again();
    // Accepted absorbs the INVITE (RFC 6026 7.1): the 2xx is repeated by the dialog, not from here.
  }

  /** False when the state no longer allows this response. In Accepted another 2xx is only sent. */
  respond(response: SipMessage): boolean {
    if (this.isTerminated) return false;
    const isSuccess = response.status >= 200 && response.status < 300;
    if (this.state === 'accepted' && isSuccess) {
      this.#transmit(response.serialize());
      return true;
    }
    if (this.state !== 'proceeding') return false;
    this.#last = response.serialize();
    if (isSuccess) {
      this.state = 'accepted';
      this.arm('L', timeoutMsOf(this.timers), () => this.terminate());
    } else if (response.status >= 300) {
      this.state = 'completed';
      if (!this.reliable) this.arm('G', this.#intervalMs, () => this.#repeat());
      this.arm('H', timeoutMsOf(this.timers), () => this.#unacknowledged());
    }
    this.#transmit(this.#last);
    return true;
  }

  fail(): void {
    if (this.isTerminated) return;
    this.terminate();
    this.#sink?.onFailed('transport');
  }

  #acknowledge(ack: SipMessage, flow: Flow): void {
    if (this.state === 'accepted') this.#sink?.onAck(ack, flow);
    if (this.state !== 'completed') return;
    this.state = 'confirmed';
    this.disarm('G', 'H');
    this.linger('I', this.timers.t4Ms);
  }

  #again(): void {
    if (this.#last !== undefined) this.#transmit(this.#last);
  }

  #repeat(): void {
    this.#intervalMs = Math.min(this.#intervalMs * 2, this.timers.t2Ms);
    this.arm('G', this.#intervalMs, () => this.#repeat());
    this.#again();
  }

  #unacknowledged(): void {
    this.terminate();
    this.#sink?.onFailed('no-ack');
  }

  #transmit(bytes: Buffer): void {
    this.#send(bytes).catch(() => this.fail());
  }
}
