/** Sends the requests of a dialog: next hop, Via, Contact, the ACK to a 2xx, and the engine's own BYE. */
import { isIP } from 'node:net';
import { toAppError } from '#lib/errors.ts';
import { isLoopback } from './addresses.ts';
import { peerOf } from './control-types.ts';
import type { Core } from './core.ts';
import type { Dialog, HangUpReason } from './dialog.ts';
import { addContact, ownVia, selfFor } from './draft.ts';
import type { Self } from './draft.ts';
import { resolveRoute } from './outbound-route.ts';
import { parseUri } from './uri.ts';
import type { SipMessage } from './message.ts';
import type { ClientSink } from './transaction-base.ts';
import type { AnyClientTransaction, Destination } from './transaction-layer.ts';
import type { Flow, Target } from './types.ts';

/** Who wants to know how a request of a dialog went out. */
export type DialogRequest = {
  readonly message: SipMessage;
  /** The application's own headers, for its Contact; null for requests of the engine. */
  readonly draft: SipMessage | null;
  /** Adds what depends on our address, before the message is final. */
  complete?(message: SipMessage, self: Self): void;
  /** Called with the final message just before it is sent, or with the error that keeps it from being sent. */
  onReady(sent: { readonly peer: Target } | { readonly error: unknown }): void;
  readonly sink: ClientSink;
  /** Called with the transaction, right after `onReady`. */
  onStarted?(transaction: AnyClientTransaction): void;
};

/** Requests that may move the remote target carry a Contact (RFC 3261 12.2.1.1). */
const WITH_CONTACT = new Set(['INVITE', 'UPDATE', 'SUBSCRIBE', 'REFER', 'NOTIFY']);

const IGNORE: ClientSink = {
  onResponse: () => undefined,
  onTimeout: () => undefined,
  onTransportError: () => undefined,
};

export class DialogSender {
  readonly #core: () => Core;

  constructor(core: () => Core) {
    this.#core = core;
  }

  /** Queues a request behind whatever the dialog still has to send. */
  send(dialog: Dialog, request: DialogRequest): void {
    dialog.enqueue(async () => {
      let isReady = false;
      try {
        const { destination, self } = await this.#ready(dialog);
        request.message.prepend('Via', ownVia(self));
        if (WITH_CONTACT.has(request.message.method)) {
          addContact(request.message, request.draft, self);
        }
        request.complete?.(request.message, self);
        isReady = true;
        request.onReady({ peer: destination.target });
        const transaction = this.#core().layer.request(request.message, destination, request.sink);
        request.onStarted?.(transaction);
      } catch (error) {
        if (isReady) request.sink.onTransportError(error);
        else request.onReady({ error });
      }
    });
  }

  /** Sends the ACK to a 2xx and keeps it for repeats of that 2xx. `onReady` as in `send`. */
  acknowledge(
    dialog: Dialog,
    ack: SipMessage,
    onReady: (sent: { readonly peer: Target } | { readonly error: unknown }) => void = () =>
      undefined,
  ): void {
    dialog.unsentAck?.dispose();
    dialog.unsentAck = null;
    dialog.enqueue(async () => {
      try {
        const { destination, self } = await this.#ready(dialog);
        ack.prepend('Via', ownVia(self));
        dialog.lastAck = { cseq: ack.cseq.number, bytes: ack.serialize(), destination };
        onReady({ peer: destination.target });
        this.repeatAck(dialog, ack.cseq.number);
      } catch (error) {
        onReady({ error });
      }
    });
  }

  /** A 2xx came (again): the ACK goes out (again), if it was for this CSeq. */
  repeatAck(dialog: Dialog, cseq: number): void {
    const { lastAck } = dialog;
    if (lastAck === null || lastAck.cseq !== cseq) return;
    const { layer, log } = this.#core();
    layer.send(lastAck.destination, lastAck.bytes).catch((error: unknown) => {
      log.warn('ack.lost', { error: toAppError(error, 'E_SIP_ENGINE') });
    });
  }

  /** Ends the dialog from here: BYE on the wire, the same BYE to the application, nothing left in the table. */
  hangUp(dialog: Dialog, reason: HangUpReason, isTold = true): void {
    if (dialog.state === 'ended') return;
    const { dialogs, log } = this.#core();
    const bye = dialog.request('BYE');
    bye.add('Reason', `SIP;cause=${reason.cause};text="${reason.text}"`);
    log.info('dialog.hungUp', { cause: reason.cause, reason: reason.text });
    const tell = (peer: Target): void => {
      if (!isTold || !dialog.owner.isOpen) return;
      dialog.owner.deliver({
        source: 'application',
        message: bye,
        peer,
        transactionId: 'unsolicited',
        dialogId: dialog.controlId,
      });
    };
    this.send(dialog, {
      message: bye,
      draft: null,
      sink: IGNORE,
      onReady: (sent) => {
        if ('error' in sent) log.warn('bye.lost', { error: sent.error });
        tell('peer' in sent ? sent.peer : peerOf(dialog.flow));
      },
    });
    dialogs.remove(dialog);
  }

  async #ready(dialog: Dialog): Promise<{ destination: Destination; self: Self }> {
    const { transport, names, nameService, log } = this.#core();
    const destination = await destinationOf(
      dialog,
      (uri, usual) => resolveRoute(uri, nameService, usual),
      (error) => log.warn('dialog.nextHopLost', { error: toAppError(error, 'E_SIP_ENGINE') }),
    );
    const { flow, target } = destination;
    const isSameSocket = flow !== null && flow.protocol === 'udp';
    const local = isSameSocket
      ? { address: flow.localAddress, port: flow.localPort }
      : await transport.localFor(target);
    return { destination, self: selfFor(names, local, target) };
  }
}

/**
 * Where a dialog's next request goes, over the peer's connection or socket where that is right. A next hop that cannot
 * be resolved is told to `onUnresolved`, and the request goes back to where the peer sends from: its ACK or BYE matters.
 */
export async function destinationOf(
  dialog: Dialog,
  resolve: (
    uri: string,
    usual: Flow['protocol'],
  ) => Promise<{ readonly targets: readonly Target[] }>,
  onUnresolved: (error: unknown) => void,
): Promise<Destination> {
  const { flow } = dialog;
  if (dialog.behindNat && dialog.routeSet.length === 0) return { target: peerOf(flow), flow };
  let target = peerOf(flow);
  try {
    const route = await resolve(dialog.nextHop, flow.protocol);
    target = route.targets[0] ?? target;
  } catch (error) {
    onUnresolved(error);
    return { target, flow };
  }
  if (target.protocol !== flow.protocol) return { target, flow: null };
  if (flow.protocol === 'tcp') {
    const isPeer = dialog.routeSet.length === 0 || target.address === flow.remoteAddress;
    return { target, flow: isPeer ? flow : null };
  }
  // The same socket the call came in on, unless it is bound where the target cannot be reached from.
  const isAlike =
    isIP(flow.localAddress) === isIP(target.address) &&
    isLoopback(flow.localAddress) === isLoopback(target.address);
  const back = { ...flow, remoteAddress: target.address, remotePort: target.port };
  return { target, flow: isAlike ? back : null };
}

/**
 * True when the peer's Contact names an address that is not the one it sends from, and no proxy in between explains
 * it: requests then have to go back to the source.
 */
export function isBehindNat(message: SipMessage, flow: Flow): boolean {
  const uri = message.contact?.uri;
  const host = uri === undefined ? undefined : parseUri(uri)?.host;
  if (host === undefined || isIP(host) === 0 || host === flow.remoteAddress) return false;
  if (message.has('Record-Route')) return false;
  if (message.kind === 'request') {
    const vias = message.list('Via');
    return vias.length === 1 && (message.topVia?.host ?? '') !== flow.remoteAddress;
  }
  return isPrivate(host) && !isPrivate(flow.remoteAddress);
}

function isPrivate(address: string): boolean {
  return /^(?:10\.|127\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd]|fe80)/i.test(
    address,
  );
}
