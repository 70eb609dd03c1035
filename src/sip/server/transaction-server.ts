/** Non-INVITE server transaction (RFC 3261 17.2.2). */
import type { SipMessage } from './message.ts';
import { timeoutMsOf } from './timers.ts';
import { Transaction } from './transaction-base.ts';
import type { Sender, ServerOptions, ServerSink } from './transaction-base.ts';
import type { Flow } from './types.ts';

export class ServerTransaction extends Transaction {
  state: 'trying' | 'proceeding' | 'completed' = 'trying';
  readonly flow: Flow;
  readonly #send: Sender;
  #sink: ServerSink | undefined;
  #last: Buffer | undefined;

  constructor(options: ServerOptions) {
    super(options);
    this.flow = options.flow;
    this.#send = options.send;
  }

  /** Who hears of failures; set by the transaction's user before it answers. */
  attach(sink: ServerSink): void {
    this.#sink = sink;
  }

  /** A retransmission of the request: the last response again, or silence. */
  receive(): void {
    if (this.#last !== undefined) this.#transmit(this.#last);
  }

  /** False when a final response was already given. */
  respond(response: SipMessage): boolean {
    if (this.isTerminated || this.state === 'completed') return false;
    this.#last = response.serialize();
    this.#transmit(this.#last);
    if (response.status < 200) this.state = 'proceeding';
    else {
      this.state = 'completed';
      this.linger('J', timeoutMsOf(this.timers));
    }
    return true;
  }

  fail(): void {
    if (this.isTerminated) return;
    this.terminate();
    this.#sink?.onFailed('transport');
  }

  #transmit(bytes: Buffer): void {
    this.#send(bytes).catch(() => this.fail());
  }
}
