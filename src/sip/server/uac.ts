/** The client side: requests of the application out to the network, the responses up again. */
import { messageOf } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { NO_PEER, peerOf } from './control-types.ts';
import type { AppClient, Reply } from './control-types.ts';
import type { Core } from './core.ts';
import type { Dialog } from './dialog.ts';
import { applyDraft, selfFor } from './draft.ts';
import type { SipMessage } from './message.ts';
import { resolveRoute } from './outbound-route.ts';
import type { Route } from './outbound-route.ts';
import { timeoutMsOf } from './timers.ts';
import type { ClientSink } from './transaction-base.ts';
import type { AnyClientTransaction } from './transaction-layer.ts';
import type { Flow, Target } from './types.ts';
import { ackOf, ownResponse } from './uac-acks.ts';
import { newAttempt } from './uac-attempt.ts';
import { InviteAttempts } from './uac-invites.ts';
import { buildRequest, identityOf } from './uac-messages.ts';
import type { Identity } from './uac-messages.ts';

/** RFC 3261 18.1.1: a longer request goes by TCP, unless the application named the transport. */
const MAX_UDP_BYTES = 1300;

/** One request outside a dialog and the addresses still to be tried. */
type Outgoing = {
  readonly id: string;
  readonly client: AppClient;
  readonly draft: SipMessage;
  readonly identity: Identity;
  readonly targets: Target[];
  reply: Reply | null;
  started(request: SipMessage, transaction: AnyClientTransaction, target: Target): void;
  /** Whether a failed address may be followed by the next one. */
  mayRetry(): boolean;
  readonly sink: ClientSink;
};

export class Uac {
  readonly #core: () => Core;
  readonly #invites: InviteAttempts;

  constructor(core: () => Core) {
    this.#core = core;
    this.#invites = new InviteAttempts(core);
  }

  /** INVITEs without a final response. */
  get attempts(): number {
    return this.#invites.size;
  }

  /** A request outside any dialog. `routeUrl` is where it goes when not to its Request-URI. */
  submit(client: AppClient, draft: SipMessage, routeUrl: string | null, reply: Reply): void {
    const { nameService } = this.#core();
    const identity = identityOf(draft);
    const id = newId();
    const outgoing =
      draft.method === 'INVITE'
        ? this.#invite(id, client, draft, identity, reply)
        : this.#plain(id, client, draft, identity, reply);
    resolveRoute(routeUrl ?? draft.uri, nameService)
      .then((route) => this.#launch(outgoing, route))
      .catch((error: unknown) => {
        const { reply: unanswered } = outgoing;
        outgoing.reply = null;
        if (unanswered === null) outgoing.sink.onTransportError(error);
        else unanswered({ ok: false, reason: messageOf(error) });
      });
  }

  /** A request, or the ACK to a 2xx, in a dialog. */
  submitInDialog(client: AppClient, dialogId: string, draft: SipMessage, reply: Reply): void {
    const { dialogs } = this.#core();
    const dialog = dialogs.ofApplication(dialogId, client, draft.method === 'ACK');
    const gone = (): void => reply({ ok: false, reason: `unable to find dialog ${dialogId}` });
    if (dialog === undefined) return gone();
    // Whoever speaks for a dialog takes it over (dialog adoption).
    dialog.owner = client;
    const { method } = draft;
    if (method === 'ACK') return this.#acknowledge(dialog, draft, reply);
    if (method === 'CANCEL') return reply({ ok: false, reason: 'a CANCEL names a transaction' });
    const isHeld = method === 'INVITE' || method === 'BYE';
    const send = (): void => {
      if (dialog.state === 'ended') gone();
      else if (method === 'INVITE') this.#reinvite(client, dialog, draft, reply);
      else this.#inDialog(client, dialog, draft, reply);
    };
    // RFC 3261 14.1, 15: neither may overtake the ACK to our 2xx.
    if (isHeld) dialog.afterAck(send);
    else send();
  }

  /** CANCEL of an INVITE by the application's name for its transaction. */
  cancel(transactionId: string, draft: SipMessage, reply: Reply): void {
    this.#invites.cancel(transactionId, draft, reply);
  }

  /** A 2xx whose transaction is over: its ACK once more (RFC 6026 8.5). */
  onStrayResponse(response: SipMessage): void {
    const { status, cseq } = response;
    if (status < 200 || status > 299 || cseq.method !== 'INVITE') return;
    const dialog = this.#core().dialogs.ofResponse(response);
    if (dialog !== undefined) this.#core().sender.repeatAck(dialog, cseq.number);
  }

  /** An application went away: its calls that still ring are cancelled. */
  clientGone(client: AppClient): void {
    this.#invites.clientGone(client);
  }

  /** Tries the addresses of `route` in turn, as long as none could be reached at all. */
  async #launch(outgoing: Outgoing, route: Route | null): Promise<void> {
    const { transport, layer, names } = this.#core();
    if (route !== null) outgoing.targets.push(...route.targets);
    const target = outgoing.targets.shift();
    if (target === undefined) throw new Error('no address left to try');
    const { draft, identity, id } = outgoing;
    const self = selfFor(names, await transport.localFor(target), target);
    const request = buildRequest(draft, identity, self);
    const isLong = request.serialize().length > MAX_UDP_BYTES;
    if (route !== null && isLong && target.protocol === 'udp' && !route.isExplicit) {
      const overTcp = outgoing.targets.map((each): Target => ({ ...each, protocol: 'tcp' }));
      outgoing.targets.unshift({ ...target, protocol: 'tcp' }, ...overTcp, target);
      return this.#launch(outgoing, null);
    }
    // srf drops a response that comes before the reply to its request: reply first, then send.
    outgoing.reply?.({ ok: true, message: request, peer: target, transactionId: id, dialogId: '' });
    outgoing.reply = null;
    const sink: ClientSink = {
      ...outgoing.sink,
      onTransportError: (error) => {
        if (outgoing.targets.length === 0 || !outgoing.mayRetry()) {
          outgoing.sink.onTransportError(error);
          return;
        }
        this.#launch(outgoing, null).catch((cause: unknown) => {
          outgoing.sink.onTransportError(cause);
        });
      },
    };
    const transaction = layer.request(request, { target, flow: null }, sink);
    outgoing.started(request, transaction, target);
  }

  #invite(
    id: string,
    client: AppClient,
    draft: SipMessage,
    identity: Identity,
    reply: Reply,
  ): Outgoing {
    const attempt = newAttempt(id, client, draft, null);
    this.#invites.add(attempt);
    return {
      id,
      client,
      draft,
      identity,
      targets: [],
      reply: (result) => {
        if (!result.ok) this.#invites.remove(attempt);
        reply(result);
      },
      started: (request, transaction, target) => {
        attempt.request = request;
        attempt.transaction = transaction;
        attempt.destination = { target, flow: null };
      },
      mayRetry: () => attempt.cancel === 'none' && client.isOpen,
      sink: this.#invites.sinkOf(attempt),
    };
  }

  #plain(
    id: string,
    client: AppClient,
    draft: SipMessage,
    identity: Identity,
    reply: Reply,
  ): Outgoing {
    let sent = draft;
    return {
      id,
      client,
      draft,
      identity,
      targets: [],
      reply,
      started: (request) => {
        sent = request;
      },
      mayRetry: () => client.isOpen,
      sink: this.#sink(client, id, '', {
        request: () => sent,
      }),
    };
  }

  #acknowledge(dialog: Dialog, draft: SipMessage, reply: Reply): void {
    const { sender } = this.#core();
    const invite = dialog.unsentAck?.invite;
    if (invite === undefined) {
      reply({ ok: false, reason: 'no 2xx response waits for an ACK in this dialog' });
      return;
    }
    const ack = ackOf(dialog, invite);
    if (draft.body.length > 0) {
      ack.body = draft.body;
      ack.set('Content-Type', draft.get('Content-Type') ?? 'application/sdp');
    }
    sender.acknowledge(dialog, ack, (sent) => {
      if ('error' in sent) return reply({ ok: false, reason: messageOf(sent.error) });
      const { peer } = sent;
      const dialogId = dialog.controlId;
      return reply({ ok: true, message: ack, peer, transactionId: newId(), dialogId });
    });
    const { hangUpAfterAck } = dialog;
    if (hangUpAfterAck !== null) sender.hangUp(dialog, hangUpAfterAck);
  }

  #reinvite(client: AppClient, dialog: Dialog, draft: SipMessage, reply: Reply): void {
    if (dialog.state !== 'confirmed') {
      reply({ ok: false, reason: 'the dialog is not confirmed yet' });
      return;
    }
    if (dialog.inviteFromUs || dialog.inviteFromPeer || dialog.unsentAck !== null) {
      // RFC 3261 14.1: one INVITE at a time, whoever sent it.
      reply({ ok: false, reason: 'another INVITE is in progress in this dialog' });
      return;
    }
    dialog.inviteFromUs = true;
    const id = newId();
    const message = dialog.request('INVITE');
    const attempt = newAttempt(id, client, message, dialog);
    this.#invites.add(attempt);
    this.#core().sender.send(dialog, {
      message,
      draft,
      complete: (request, self) => applyDraft(request, draft, self),
      onReady: (sent) => {
        if ('error' in sent) {
          dialog.inviteFromUs = false;
          this.#invites.remove(attempt);
          reply({ ok: false, reason: messageOf(sent.error) });
          return;
        }
        attempt.destination = { target: sent.peer, flow: dialog.flow };
        const dialogId = dialog.controlId;
        reply({ ok: true, message, peer: sent.peer, transactionId: id, dialogId });
      },
      sink: this.#invites.sinkOf(attempt),
      onStarted: (transaction) => (attempt.transaction = transaction),
    });
  }

  #inDialog(client: AppClient, dialog: Dialog, draft: SipMessage, reply: Reply): void {
    const { sender } = this.#core();
    const { method } = draft;
    const id = newId();
    const message = dialog.request(method);
    if (method === 'BYE') dialog.byeSent = true;
    if (method === 'UPDATE') dialog.updateFromUs = true;
    const sink = this.#sink(client, id, dialog.controlId, {
      request: () => message,
      onFinal: (response) => this.#inDialogAnswered(dialog, method, response),
    });
    sender.send(dialog, {
      message,
      draft,
      complete: (request, self) => applyDraft(request, draft, self),
      onReady: (sent) => {
        if ('error' in sent) {
          if (method === 'UPDATE') dialog.updateFromUs = false;
          if (method === 'BYE') this.#core().dialogs.remove(dialog);
          reply({ ok: false, reason: messageOf(sent.error) });
          return;
        }
        const dialogId = dialog.controlId;
        reply({ ok: true, message, peer: sent.peer, transactionId: id, dialogId });
      },
      sink,
    });
  }

  #inDialogAnswered(dialog: Dialog, method: string, response: SipMessage): void {
    const { status } = response;
    const { dialogs, sender, clock, timers } = this.#core();
    if (method === 'UPDATE') {
      dialog.updateFromUs = false;
      if (status < 300) dialog.refreshTarget(response);
    }
    if (method === 'BYE') {
      if (status !== 401 && status !== 407) return dialogs.remove(dialog);
      // A BYE with credentials may follow; without one the dialog ends all the same.
      clock.setTimer(() => dialogs.remove(dialog), timeoutMsOf(timers));
      return undefined;
    }
    // RFC 3261 12.2.1.2; RFC 5057 5.1 leaves the call alone when something other than the session failed.
    const isFatal = status === 481 || (status === 408 && method === 'UPDATE');
    if (isFatal && dialog.state === 'confirmed' && !dialog.byeSent) {
      sender.hangUp(dialog, { cause: status, text: `${method} answered ${status}` });
    }
    return undefined;
  }

  /** Passes responses up; a timeout is a 408, a transport error a 503 (RFC 3261 8.1.3.1). */
  #sink(
    client: AppClient,
    transactionId: string,
    dialogId: string,
    about: {
      request(): SipMessage;
      onFinal?(response: SipMessage): void;
    },
  ): ClientSink {
    const up = (message: SipMessage, flow: Flow | null): void => {
      const peer = flow === null ? NO_PEER : peerOf(flow);
      if (client.isOpen) {
        client.deliver({ source: 'network', message, peer, transactionId, dialogId });
      }
      if (message.status >= 200) about.onFinal?.(message);
    };
    return {
      onResponse: up,
      onTimeout: () => up(ownResponse(about.request(), 408, 'Request Timeout'), null),
      onTransportError: () => up(ownResponse(about.request(), 503, 'Service Unavailable'), null),
    };
  }
}
