/** Table of transactions: brings messages from the transport to their transaction, and new ones to the user. */
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { SipMessage } from './message.ts';
import type { SipTimers } from './timers.ts';
import type { ClientSink, Sender, Transaction } from './transaction-base.ts';
import { ClientTransaction } from './transaction-client.ts';
import { InviteClientTransaction } from './transaction-invite-client.ts';
import { InviteServerTransaction } from './transaction-invite-server.ts';
import { cancelledKey, clientKey, mergeKey, serverKey } from './transaction-key.ts';
import { ServerTransaction } from './transaction-server.ts';
import { responseFlow } from './transaction-via.ts';
import type { Flow, Target, TransportLayer } from './types.ts';

/** Where a request goes: an existing flow if there is one that still works, else the target. */
export type Destination = { readonly target: Target; readonly flow: Flow | null };

export type AnyServerTransaction = ServerTransaction | InviteServerTransaction;
export type AnyClientTransaction = ClientTransaction | InviteClientTransaction;

/** What the layer above does with what is new. */
export type TransactionUser = {
  onRequest(transaction: AnyServerTransaction): void;
  /** `invite` is the transaction to cancel, undefined when there is none (481). */
  onCancel(cancel: ServerTransaction, invite: InviteServerTransaction | undefined): void;
  /** An ACK to a 2xx: it has a transaction of its own (RFC 3261 13.2.2.4). */
  onAck(ack: SipMessage, flow: Flow): void;
  /** A response without a transaction, such as a 2xx repeated after timer M. */
  onStrayResponse(response: SipMessage, flow: Flow): void;
};

export type TransactionLayerOptions = {
  readonly transport: TransportLayer;
  readonly clock: Clock;
  readonly timers: SipTimers;
  readonly log: Log;
  readonly user: TransactionUser;
  /** More server transactions than this: 503 without any state. */
  readonly maxTransactions: number;
};

export type TransactionCensus = {
  readonly inviteClient: number;
  readonly client: number;
  readonly inviteServer: number;
  readonly server: number;
};

export class TransactionLayer {
  readonly #options: TransactionLayerOptions;
  readonly #clients = new Map<string, AnyClientTransaction>();
  readonly #servers = new Map<string, AnyServerTransaction>();
  readonly #merges = new Map<string, AnyServerTransaction>();
  /** TCP connection of a client transaction, to fail it when that one closes unanswered. */
  readonly #connections = new Map<AnyClientTransaction, number>();

  constructor(options: TransactionLayerOptions) {
    this.#options = options;
    options.transport.onMessage((message, flow) => this.#guarded(message, flow));
    options.transport.onClosed((connection) => this.#connectionClosed(connection));
  }

  census(): TransactionCensus {
    const counts = { inviteClient: 0, client: 0, inviteServer: 0, server: 0 };
    for (const transaction of this.#clients.values()) {
      if (transaction instanceof InviteClientTransaction) counts.inviteClient++;
      else counts.client++;
    }
    for (const transaction of this.#servers.values()) {
      if (transaction instanceof InviteServerTransaction) counts.inviteServer++;
      else counts.server++;
    }
    return counts;
  }

  /** Creates and starts a client transaction; the request's top Via must carry its branch. */
  request(request: SipMessage, destination: Destination, sink: ClientSink): AnyClientTransaction {
    const key = clientKey(request.viaBranch, request.method);
    const send: Sender = async (bytes) => {
      const flow = await this.send(destination, bytes);
      if (flow.connection !== null && !transaction.isTerminated) {
        this.#connections.set(transaction, flow.connection);
      }
    };
    const options = {
      key,
      request,
      reliable: destination.target.protocol !== 'udp',
      clock: this.#options.clock,
      timers: this.#options.timers,
      send,
      sink,
      onTerminated: () => {
        this.#clients.delete(key);
        this.#connections.delete(transaction);
      },
    };
    const transaction: AnyClientTransaction =
      request.method === 'INVITE'
        ? new InviteClientTransaction(options)
        : new ClientTransaction(options);
    this.#clients.set(key, transaction);
    transaction.start();
    return transaction;
  }

  /** Sends without a transaction: ACKs to 2xx, repeated ACKs. Resolves with the flow used. */
  async send(destination: Destination, bytes: Buffer): Promise<Flow> {
    const { flow, target } = destination;
    if (flow === null) return this.#options.transport.sendTo(target, bytes);
    try {
      await this.#options.transport.sendOn(flow, bytes);
      return flow;
    } catch (error) {
      // A closed connection, or a socket that cannot reach the target: a way of its own may still exist.
      this.#options.log.debug('flow.abandoned', { error });
      return this.#options.transport.sendTo(target, bytes);
    }
  }

  /** Ends every transaction without another message. */
  close(): void {
    const all: Transaction[] = [...this.#clients.values(), ...this.#servers.values()];
    for (const transaction of all) transaction.terminate();
  }

  #guarded(message: SipMessage, flow: Flow): void {
    try {
      if (message.kind === 'request') this.#onRequest(message, flow);
      else this.#onResponse(message, flow);
    } catch (error) {
      // One message must never take the engine down.
      this.#options.log.error('message.failed', { error, method: message.cseq.method });
      if (message.kind === 'request' && message.method !== 'ACK') {
        const failed = this.#servers.get(serverKey(message));
        failed?.respond(SipMessage.responseTo(message, 500, 'Server Internal Error'));
      }
    }
  }

  #onResponse(response: SipMessage, flow: Flow): void {
    const key = clientKey(response.viaBranch, response.cseq.method);
    const transaction = this.#clients.get(key);
    if (transaction !== undefined) transaction.receive(response, flow);
    else this.#options.user.onStrayResponse(response, flow);
  }

  #onRequest(request: SipMessage, flow: Flow): void {
    const known = this.#servers.get(serverKey(request));
    if (known !== undefined) {
      known.receive(request, flow);
      return;
    }
    if (request.method === 'ACK') {
      this.#options.user.onAck(request, flow);
      return;
    }
    if (this.#servers.size >= this.#options.maxTransactions) {
      this.#refuse(request, flow, 503, 'Service Unavailable');
      return;
    }
    this.#create(request, flow);
  }

  #create(request: SipMessage, flow: Flow): void {
    const { user, log } = this.#options;
    const key = serverKey(request);
    const merge = request.to.tag === undefined ? mergeKey(request) : undefined;
    const isMerged = merge !== undefined && this.#merges.has(merge);
    const options = {
      key,
      request,
      flow,
      reliable: flow.protocol !== 'udp',
      clock: this.#options.clock,
      timers: this.#options.timers,
      send: this.#responder(request, flow),
      onTerminated: () => {
        this.#servers.delete(key);
        if (merge !== undefined && this.#merges.get(merge) === transaction) {
          this.#merges.delete(merge);
        }
      },
    };
    const transaction: AnyServerTransaction =
      request.method === 'INVITE'
        ? new InviteServerTransaction(options)
        : new ServerTransaction(options);
    this.#servers.set(key, transaction);
    if (isMerged && request.method !== 'CANCEL') {
      // RFC 3261 8.2.2.2: the same request by another path.
      log.debug('request.merged', { method: request.method });
      transaction.respond(SipMessage.responseTo(request, 482, 'Loop Detected'));
      return;
    }
    if (merge !== undefined) this.#merges.set(merge, transaction);
    if (request.method === 'CANCEL' && transaction instanceof ServerTransaction) {
      const invite = this.#servers.get(cancelledKey(request));
      const isInvite = invite instanceof InviteServerTransaction;
      user.onCancel(transaction, isInvite ? invite : undefined);
    } else user.onRequest(transaction);
  }

  /** RFC 3261 18.2.2: the connection it came on, a new one to the sent-by port, or the UDP source. */
  #responder(request: SipMessage, flow: Flow): Sender {
    const { transport } = this.#options;
    const back = responseFlow(request, flow);
    return async (bytes) => {
      try {
        await transport.sendOn(back, bytes);
      } catch (error) {
        if (flow.protocol === 'udp') throw error;
        const port = request.topVia?.port ?? 5060;
        await transport.sendTo({ protocol: 'tcp', address: flow.remoteAddress, port }, bytes);
      }
    };
  }

  #refuse(request: SipMessage, flow: Flow, status: number, reason: string): void {
    const response = SipMessage.responseTo(request, status, reason);
    response.set('Retry-After', '5');
    this.#responder(
      request,
      flow,
    )(response.serialize()).catch((error: unknown) => {
      this.#options.log.debug('response.lost', { error, status });
    });
  }

  /** Only what has had no answer at all fails: RFC 3261 18.2.2 lets a response come on a new connection. */
  #connectionClosed(connection: number): void {
    for (const [transaction, its] of this.#connections) {
      if (its !== connection) continue;
      const { state } = transaction;
      if (state === 'calling' || state === 'trying') {
        transaction.fail(new Error('connection closed before an answer came'));
      }
    }
  }
}
