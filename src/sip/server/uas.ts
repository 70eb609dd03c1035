/** The server side: requests from the network up to the application, its answers down again. */
import { randomToken } from '#lib/ids.ts';
import { peerOf } from './control-types.ts';
import type { AppClient, AppEvent, SendResult } from './control-types.ts';
import { IN_DIALOG_METHODS, SUPPORTED_OPTIONS, allowOf } from './core.ts';
import type { Core } from './core.ts';
import { dialogOfServer } from './dialog.ts';
import type { Dialog } from './dialog.ts';
import { isBehindNat } from './dialog-sender.ts';
import { addContact, applyDraft, selfFor } from './draft.ts';
import { SipMessage } from './message.ts';
import { awaitAck } from './uas-answer.ts';
import { refusalInDialog, refusalOf, refusalOfFirst } from './uas-checks.ts';
import type { Refusal } from './uas-checks.ts';
import { newInbound, responseWithTag } from './uas-inbound.ts';
import type { Inbound } from './uas-inbound.ts';
import type { InviteServerTransaction } from './transaction-invite-server.ts';
import type { AnyServerTransaction } from './transaction-layer.ts';
import type { ServerTransaction } from './transaction-server.ts';
import type { Flow } from './types.ts';

export class Uas {
  readonly #core: () => Core;
  readonly #inbound = new Map<string, Inbound>();
  /** Also those already answered, for the To tag of a late CANCEL. */
  readonly #ofTransaction = new WeakMap<AnyServerTransaction, Inbound>();
  /** Seconds for Retry-After while new calls are refused; null = they are taken. */
  #overloadS: number | null = null;

  constructor(core: () => Core) {
    this.#core = core;
  }

  /** Requests that wait for the application. */
  get waiting(): number {
    return this.#inbound.size;
  }

  /** Refuses new calls with 503 and this Retry-After; null takes them again. Live dialogs are not affected. */
  setOverload(retryAfterS: number | null): void {
    this.#overloadS = retryAfterS;
  }

  onRequest(transaction: AnyServerTransaction): void {
    const { request } = transaction;
    if (request.to.tag === undefined) this.#onFirst(transaction);
    else this.#onInDialog(transaction);
  }

  onAck(ack: SipMessage, flow: Flow): void {
    const dialog = this.#core().dialogs.ofRequest(ack);
    if (dialog?.awaitedAck?.cseq !== ack.cseq.number) return;
    dialog.flow = flow;
    const owner = this.#ownerOf(dialog);
    owner?.deliver(event(ack, flow, randomToken(12), dialog.controlId));
    dialog.settleAck();
  }

  /** RFC 3261 9.2. */
  onCancel(cancel: ServerTransaction, invite: InviteServerTransaction | undefined): void {
    if (invite === undefined) {
      this.#answer(cancel, { status: 481, reason: 'Call/Transaction Does Not Exist' });
      return;
    }
    const inbound = this.#ofTransaction.get(invite);
    // After a final response the CANCEL changes nothing, but is still answered 200.
    const tag = inbound === undefined ? undefined : this.#tagOf(inbound);
    cancel.respond(responseWithTag(cancel.request, 200, 'OK', tag));
    if (inbound === undefined || !this.#inbound.has(inbound.id)) return;
    this.#terminateInvite(inbound);
    if (inbound.client.isOpen) {
      inbound.client.deliver(event(cancel.request, cancel.flow, inbound.id, ''));
    }
  }

  /** An answer of the application. */
  respond(transactionId: string, draft: SipMessage): SendResult {
    const inbound = this.#inbound.get(transactionId);
    if (inbound === undefined) {
      return refused('unable to find transaction: it was answered, cancelled or is over');
    }
    const { status } = draft;
    if (status < 100 || status > 699) return refused(`${status} is not a status to answer with`);
    if (draft.list('Require').some((tag) => tag.toLowerCase() === '100rel')) {
      return refused('reliable provisional responses (100rel) are not supported');
    }
    const response = this.#build(inbound, draft);
    if (!this.#commit(inbound, response)) {
      return refused('the transaction can no longer be answered');
    }
    const isDialog = inbound.dialog !== null;
    return {
      ok: true,
      message: response,
      peer: peerOf(inbound.transaction.flow),
      transactionId,
      dialogId: isDialog ? (inbound.dialog?.controlId ?? '') : '',
    };
  }

  /** An application went away: what it had not answered is refused. */
  clientGone(client: AppClient): void {
    for (const inbound of this.#inbound.values()) {
      if (inbound.client !== client) continue;
      if (inbound.request.method === 'BYE') this.#fallBack(inbound, 200, 'OK');
      else this.#fallBack(inbound, 503, 'Service Unavailable');
    }
  }

  /** Answers every call that still waits; for the end of the engine. */
  refuseAll(): void {
    for (const inbound of this.#inbound.values()) {
      this.#fallBack(inbound, 503, 'Service Unavailable');
    }
  }

  #onFirst(transaction: AnyServerTransaction): void {
    const { request, flow } = transaction;
    const { registry } = this.#core();
    const refusal =
      refusalOf(request, {
        allowed: ['INVITE', 'OPTIONS', 'BYE', 'UPDATE', ...registry.methods],
        allow: allowOf(registry),
        supported: SUPPORTED_OPTIONS,
      }) ?? refusalOfFirst(request);
    if (refusal !== null) return this.#answer(transaction, refusal);
    const { method } = request;
    const isCall = method === 'INVITE';
    const client = registry.pick(method);
    const noOne = (isCall || method === 'OPTIONS') && registry.pick('INVITE') === undefined;
    if ((isCall || method === 'OPTIONS') && (noOne || this.#overloadS !== null)) {
      return this.#answer(transaction, this.#unavailable());
    }
    if (client === undefined) return this.#answerAlone(transaction);
    const inbound = newInbound(transaction, client, null);
    if (isCall) (transaction as InviteServerTransaction).start();
    this.#take(inbound, event(request, flow, inbound.id, ''));
  }

  #unavailable(): Refusal {
    const headers = { 'Retry-After': String(this.#overloadS ?? 5) };
    return { status: 503, reason: 'Service Unavailable', headers };
  }

  /** A request outside a dialog that no application asked for. */
  #answerAlone(transaction: AnyServerTransaction): void {
    const { registry, names, transport } = this.#core();
    if (transaction.request.method !== 'OPTIONS') {
      // BYE and UPDATE without a To tag belong to no dialog.
      return this.#answer(transaction, {
        status: 481,
        reason: 'Call/Transaction Does Not Exist',
      });
    }
    const response = responseWithTag(transaction.request, 200, 'OK');
    response.set('Allow', allowOf(registry));
    response.set('Accept', 'application/sdp');
    addContact(response, null, ownSelf(transaction.flow, names, transport));
    transaction.respond(response);
  }

  #onInDialog(transaction: AnyServerTransaction): void {
    const { request, flow } = transaction;
    const { registry, dialogs } = this.#core();
    const dialog = dialogs.ofRequest(request);
    const allowed = { allowed: IN_DIALOG_METHODS, allow: allowOf(registry) };
    const refusal = refusalOf(request, { ...allowed, supported: SUPPORTED_OPTIONS });
    if (refusal !== null) return this.#answer(transaction, refusal);
    if (dialog === undefined) {
      return this.#answer(transaction, { status: 481, reason: 'Call/Transaction Does Not Exist' });
    }
    const objection = refusalInDialog(dialog, request);
    if (objection !== null) return this.#answer(transaction, objection);
    dialog.flow = flow;
    if (request.method === 'BYE' && this.#endedEarly(dialog, transaction)) return undefined;
    const owner = this.#ownerOf(dialog);
    if (owner === undefined) {
      if (request.method === 'BYE') return this.#byeWithoutOwner(dialog, transaction);
      return this.#answer(transaction, this.#unavailable());
    }
    if (request.method === 'INVITE') {
      dialog.inviteFromPeer = true;
      (transaction as InviteServerTransaction).start();
    }
    if (request.method === 'UPDATE') dialog.updateFromPeer = true;
    const inbound = newInbound(transaction, owner, dialog);
    if (request.method === 'BYE') this.#peerHungUp(dialog);
    this.#take(inbound, event(request, flow, inbound.id, dialog.controlId));
  }

  /** A BYE before the call was answered, or one that crosses ours: answered here. */
  #endedEarly(dialog: Dialog, transaction: AnyServerTransaction): boolean {
    if (dialog.byeSent) {
      transaction.respond(responseWithTag(transaction.request, 200, 'OK'));
      return true;
    }
    if (dialog.state !== 'early') return false;
    if (dialog.role === 'uac') {
      // RFC 3261 15: the callee may not hang up an early dialog.
      this.#answer(transaction, { status: 481, reason: 'Call/Transaction Does Not Exist' });
      return true;
    }
    transaction.respond(responseWithTag(transaction.request, 200, 'OK'));
    for (const inbound of this.#inbound.values()) {
      if (inbound.dialog !== dialog || inbound.request.method !== 'INVITE') continue;
      this.#terminateInvite(inbound);
      // The application knows a call that ends before its answer as a cancelled one.
      const cancel = cancelFor(inbound.request, transaction.request);
      if (inbound.client.isOpen) {
        inbound.client.deliver(event(cancel, transaction.flow, inbound.id, ''));
      }
    }
    return true;
  }

  #byeWithoutOwner(dialog: Dialog, transaction: AnyServerTransaction): void {
    transaction.respond(responseWithTag(transaction.request, 200, 'OK'));
    this.#peerHungUp(dialog);
  }

  /** RFC 3261 15.1.2: pending requests of the dialog are answered 487. */
  #peerHungUp(dialog: Dialog): void {
    for (const inbound of this.#inbound.values()) {
      if (inbound.dialog === dialog && inbound.request.method === 'INVITE') {
        this.#terminateInvite(inbound);
      }
    }
    this.#core().dialogs.remove(dialog);
  }

  #take(inbound: Inbound, up: AppEvent): void {
    const { timers, log } = this.#core();
    this.#inbound.set(inbound.id, inbound);
    this.#ofTransaction.set(inbound.transaction, inbound);
    inbound.transaction.attach({
      onFailed: (error) => {
        log.debug('response.failed', { error, method: inbound.request.method });
        this.#deliveryFailed(inbound, error);
      },
      onAck: (ack, flow) => this.onAck(ack, flow),
    });
    const isInvite = inbound.request.method === 'INVITE';
    this.#limit(inbound, isInvite ? timers.inviteSilenceMs : timers.requestSilenceMs);
    inbound.client.deliver(up);
  }

  #limit(inbound: Inbound, delayMs: number): void {
    const { clock, log } = this.#core();
    clock.clearTimer(inbound.limit);
    inbound.limit = clock.setTimer(() => {
      log.warn('application.silent', { method: inbound.request.method });
      if (inbound.request.method === 'BYE') this.#fallBack(inbound, 200, 'OK');
      else this.#fallBack(inbound, 500, 'Application Did Not Answer');
    }, delayMs);
  }

  #build(inbound: Inbound, draft: SipMessage): SipMessage {
    const { names, transport, registry } = this.#core();
    const { request, transaction } = inbound;
    const { status } = draft;
    if (request.to.tag === undefined && inbound.toTag === '') {
      inbound.toTag = draft.to.tag ?? randomToken(9);
    }
    const response = responseWithTag(request, status, draft.reason, inbound.toTag);
    const isInvite = request.method === 'INVITE';
    const isSuccess = status >= 200 && status < 300;
    const makesDialog = isInvite && status > 100 && status < 300;
    if (makesDialog) {
      for (const route of request.getAll('Record-Route')) response.add('Record-Route', route);
    }
    const self = ownSelf(transaction.flow, names, transport);
    const hasContact = makesDialog || (isSuccess && ['UPDATE', 'OPTIONS'].includes(request.method));
    if (hasContact || draft.has('Contact')) addContact(response, draft, self);
    applyDraft(response, draft, self);
    if (isSuccess && (isInvite || request.method === 'OPTIONS') && !response.has('Allow')) {
      response.set('Allow', allowOf(registry));
    }
    return response;
  }

  /** Sends a response and draws the consequences; false when the transaction did not take it. */
  #commit(inbound: Inbound, response: SipMessage): boolean {
    const { request, transaction } = inbound;
    const { status } = response;
    const isInvite = request.method === 'INVITE';
    if (isInvite && status > 100 && status < 300) this.#prepareDialog(inbound, response);
    if (!transaction.respond(response)) return false;
    if (isInvite && response.body.length > 0 && status < 300 && inbound.dialog !== null) {
      inbound.dialog.isOfferAnswered = true;
    }
    if (status === 100) return true;
    if (status < 200) {
      this.#ringing(inbound, response);
      return true;
    }
    this.#forget(inbound);
    const { dialog } = inbound;
    if (isInvite) this.#inviteAnswered(inbound, response);
    else if (request.method === 'UPDATE' && dialog !== null) {
      dialog.updateFromPeer = false;
      if (status < 300) dialog.refreshTarget(request);
    }
    return true;
  }

  #prepareDialog(inbound: Inbound, response: SipMessage): void {
    if (inbound.dialog !== null) return;
    const { request, transaction, client } = inbound;
    const dialog = dialogOfServer(request, response, transaction.flow, client);
    dialog.behindNat = isBehindNat(request, transaction.flow);
    inbound.dialog = dialog;
    this.#core().dialogs.add(dialog);
  }

  #inviteAnswered(inbound: Inbound, response: SipMessage): void {
    const { dialogs, sender, clock, timers } = this.#core();
    const { dialog, transaction, request } = inbound;
    if (dialog === null) return;
    dialog.inviteFromPeer = false;
    if (response.status >= 300) {
      if (!inbound.isInDialog) dialogs.remove(dialog);
      return;
    }
    dialog.state = 'confirmed';
    if (inbound.isInDialog) dialog.refreshTarget(request);
    dialog.awaitedAck?.dispose();
    dialog.awaitedAck = awaitAck({
      cseq: request.cseq.number,
      clock,
      timers,
      repeat: () => transaction.respond(response),
      onTimeout: () => sender.hangUp(dialog, { cause: 408, text: 'ACK timeout' }),
    });
  }

  #ringing(inbound: Inbound, response: SipMessage): void {
    const { clock, timers } = this.#core();
    if (inbound.request.method !== 'INVITE') return;
    inbound.lastProvisional = response;
    inbound.ringingSinceMs ??= clock.now();
    this.#repeatProvisional(inbound, inbound.ringingSinceMs + timers.ringingLimitMs);
  }

  /** Every minute until `endMs`, so that no proxy on the way gives up (RFC 3261 13.3.1.1). */
  #repeatProvisional(inbound: Inbound, endMs: number): void {
    const { clock, timers } = this.#core();
    clock.clearTimer(inbound.limit);
    inbound.limit = clock.setTimer(() => {
      if (clock.now() >= endMs) this.#fallBack(inbound, 480, 'Temporarily Unavailable');
      else {
        if (inbound.lastProvisional !== null) inbound.transaction.respond(inbound.lastProvisional);
        this.#repeatProvisional(inbound, endMs);
      }
    }, timers.provisionalRepeatMs);
  }

  #terminateInvite(inbound: Inbound): void {
    this.#fallBack(inbound, 487, 'Request Terminated');
  }

  /** The engine's own final answer to something the application has not answered. */
  #fallBack(inbound: Inbound, status: number, reason: string): void {
    this.#commit(inbound, responseWithTag(inbound.request, status, reason, this.#tagOf(inbound)));
    this.#forget(inbound);
  }

  #deliveryFailed(inbound: Inbound, error: 'transport' | 'no-ack'): void {
    this.#forget(inbound);
    const { dialog } = inbound;
    if (dialog === null || inbound.request.method !== 'INVITE') return;
    dialog.inviteFromPeer = false;
    if (error === 'no-ack') return;
    if (dialog.state === 'early') this.#core().dialogs.remove(dialog);
    else if (dialog.awaitedAck !== null) {
      this.#core().sender.hangUp(dialog, { cause: 503, text: 'answer could not be delivered' });
    }
  }

  #answer(transaction: AnyServerTransaction, refusal: Refusal): void {
    const response = responseWithTag(transaction.request, refusal.status, refusal.reason);
    for (const [name, value] of Object.entries(refusal.headers ?? {})) response.set(name, value);
    transaction.respond(response);
  }

  #forget(inbound: Inbound): void {
    this.#core().clock.clearTimer(inbound.limit);
    this.#inbound.delete(inbound.id);
  }

  #tagOf(inbound: Inbound): string {
    if (inbound.toTag === '') inbound.toTag = randomToken(9);
    return inbound.toTag;
  }

  /** The application that has the dialog; when it is gone, one that takes over. */
  #ownerOf(dialog: Dialog): AppClient | undefined {
    if (dialog.owner.isOpen) return dialog.owner;
    const heir = this.#core().registry.heir(dialog.owner.tags);
    if (heir !== undefined) dialog.owner = heir;
    return heir;
  }
}

function ownSelf(flow: Flow, names: Core['names'], transport: Core['transport']) {
  // A TCP connection we opened has a port of its own; peers need the one that listens.
  const listener = transport.listening.find(
    ({ protocol, address }) => protocol === flow.protocol && address === flow.localAddress,
  );
  const local = { address: flow.localAddress, port: listener?.port ?? flow.localPort };
  return selfFor(names, local, peerOf(flow));
}

function event(message: SipMessage, flow: Flow, transactionId: string, dialogId: string): AppEvent {
  return {
    source: 'network',
    message,
    peer: peerOf(flow),
    transactionId,
    dialogId,
    ...(dialogId === ''
      ? { receivedOn: { address: flow.localAddress, port: flow.localPort } }
      : {}),
  };
}

function cancelFor(invite: SipMessage, bye: SipMessage): SipMessage {
  const cancel = SipMessage.request('CANCEL', invite.uri);
  for (const name of ['Via', 'From', 'To', 'Call-ID']) {
    for (const value of invite.getAll(name)) cancel.add(name, value);
  }
  cancel.add('CSeq', `${invite.cseq.number} CANCEL`);
  for (const value of bye.getAll('Reason')) cancel.add('Reason', value);
  return cancel;
}

function refused(reason: string): SendResult {
  return { ok: false, reason };
}
