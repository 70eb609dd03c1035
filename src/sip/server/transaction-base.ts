/** What all four SIP transactions share: named timers, a state, an end that happens once. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { SipMessage } from './message.ts';
import type { SipTimers } from './timers.ts';
import type { Flow } from './types.ts';

/** Letters as in RFC 3261 17 and RFC 6026; `limit` is our own bound on a silent far end. */
export type TimerName =
  | 'A'
  | 'B'
  | 'D'
  | 'E'
  | 'F'
  | 'G'
  | 'H'
  | 'I'
  | 'J'
  | 'K'
  | 'L'
  | 'M'
  | 'limit';

export type TransactionOptions = {
  /** Key in the table of transactions. */
  readonly key: string;
  /** The request as it is, or was, on the wire. */
  readonly request: SipMessage;
  /** TCP: no retransmissions, no absorbing states. */
  readonly reliable: boolean;
  readonly clock: Clock;
  readonly timers: SipTimers;
  /** Takes the transaction out of the table; called exactly once. */
  readonly onTerminated: () => void;
};

export abstract class Transaction {
  readonly key: string;
  readonly request: SipMessage;
  readonly reliable: boolean;
  protected readonly clock: Clock;
  protected readonly timers: SipTimers;
  readonly #onTerminated: () => void;
  readonly #armed = new Map<TimerName, TimerHandle>();
  #terminated = false;

  constructor(options: TransactionOptions) {
    this.key = options.key;
    this.request = options.request;
    this.reliable = options.reliable;
    this.clock = options.clock;
    this.timers = options.timers;
    this.#onTerminated = options.onTerminated;
  }

  get isTerminated(): boolean {
    return this.#terminated;
  }

  /** Names of the pending timers, sorted. */
  get armed(): TimerName[] {
    return [...this.#armed.keys()].sort();
  }

  /** Ends the transaction without a word to anyone. Idempotent. */
  terminate(): void {
    if (this.#terminated) return;
    this.#terminated = true;
    for (const handle of this.#armed.values()) this.clock.clearTimer(handle);
    this.#armed.clear();
    this.#onTerminated();
  }

  protected arm(name: TimerName, delayMs: number, callback: () => void): void {
    this.disarm(name);
    if (this.#terminated) return;
    const handle = this.clock.setTimer(() => {
      this.#armed.delete(name);
      callback();
    }, delayMs);
    this.#armed.set(name, handle);
  }

  protected disarm(...names: TimerName[]): void {
    for (const name of names) {
      this.clock.clearTimer(this.#armed.get(name));
      this.#armed.delete(name);
    }
  }

  /** An absorbing state's end: after `delayMs`, at once on a reliable transport. */
  protected linger(name: TimerName, delayMs: number): void {
    if (this.reliable) this.terminate();
    else this.arm(name, delayMs, () => this.terminate());
  }
}

/** What a client transaction reports. After `onTimeout` or `onTransportError` nothing else comes. */
export type ClientSink = {
  onResponse(response: SipMessage, flow: Flow): void;
  onTimeout(): void;
  onTransportError(error: unknown): void;
};

/** Sends bytes to where the request goes; rejects when that is impossible. */
export type Sender = (bytes: Buffer) => Promise<unknown>;

export type ClientOptions = TransactionOptions & {
  readonly send: Sender;
  readonly sink: ClientSink;
};

/** What a server transaction reports to its user. */
export type ServerSink = {
  /** The final response could not be delivered, or no ACK came for it. */
  onFailed(error: 'transport' | 'no-ack'): void;
  /** An ACK that matches an INVITE answered with 2xx (RFC 6026 7.1). */
  onAck(ack: SipMessage, flow: Flow): void;
};

export type ServerOptions = TransactionOptions & {
  readonly flow: Flow;
  /** Sends bytes to where responses go (RFC 3261 18.2.2). */
  readonly send: Sender;
};
