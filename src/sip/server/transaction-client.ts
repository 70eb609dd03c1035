/** Non-INVITE client transaction (RFC 3261 17.1.2). */
import type { SipMessage } from './message.ts';
import { timeoutMsOf } from './timers.ts';
import { Transaction } from './transaction-base.ts';
import type { ClientOptions, ClientSink, Sender } from './transaction-base.ts';
import type { Flow } from './types.ts';

export class ClientTransaction extends Transaction {
  state: 'trying' | 'proceeding' | 'completed' = 'trying';
  readonly #bytes: Buffer;
  readonly #send: Sender;
  readonly #sink: ClientSink;
  #intervalMs: number;

  constructor(options: ClientOptions) {
    super(options);
    this.#bytes = options.request.serialize();
    this.#send = options.send;
    this.#sink = options.sink;
    this.#intervalMs = this.timers.t1Ms;
  }

  start(): void {
    this.arm('F', timeoutMsOf(this.timers), () => {
      this.terminate();
      this.#sink.onTimeout();
    });
    if (!this.reliable) this.arm('E', this.#intervalMs, () => this.#repeat());
    this.#transmit();
  }

  receive(response: SipMessage, flow: Flow): void {
    if (this.isTerminated || this.state === 'completed') return;
    if (response.status < 200) {
      this.state = 'proceeding';
    } else {
      this.state = 'completed';
      this.disarm('E', 'F');
      this.linger('K', this.timers.t4Ms);
    }
    this.#sink.onResponse(response, flow);
  }

  fail(error: unknown): void {
    if (this.isTerminated || this.state === 'completed') return;
    this.terminate();
    this.#sink.onTransportError(error);
  }

  /** Timer E doubles up to T2; once a 1xx is in it stays at T2. */
  #repeat(): void {
    this.#intervalMs =
      this.state === 'proceeding'
        ? this.timers.t2Ms
        : Math.min(this.#intervalMs * 2, this.timers.t2Ms);
    this.arm('E', this.#intervalMs, () => this.#repeat());
    this.#transmit();
  }

  #transmit(): void {
    this.#send(this.#bytes).catch((error: unknown) => this.fail(error));
  }
}
