/** Answers to the application's INVITEs: early dialogs, forks, the ACK, and every race with CANCEL. */
import { messageOf } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { NO_PEER, peerOf } from './control-types.ts';
import type { AppClient, Reply } from './control-types.ts';
import type { Core } from './core.ts';
import { controlIdOf, dialogOfClient } from './dialog.ts';
import type { Dialog, HangUpReason } from './dialog.ts';
import { isBehindNat } from './dialog-sender.ts';
import type { SipMessage } from './message.ts';
import { timeoutMsOf } from './timers.ts';
import type { ClientSink } from './transaction-base.ts';
import { InviteClientTransaction } from './transaction-invite-client.ts';
import type { Flow } from './types.ts';
import { ackOf, ownResponse } from './uac-acks.ts';
import { targetOf } from './uac-attempt.ts';
import type { Attempt } from './uac-attempt.ts';
import { buildCancel } from './uac-messages.ts';

/** One INVITE does not ring more phones than this; the tags are the peer's to invent. */
const MAX_FORKS = 32;

export class InviteAttempts {
  readonly #core: () => Core;
  readonly #attempts = new Map<string, Attempt>();

  constructor(core: () => Core) {
    this.#core = core;
  }

  get size(): number {
    return this.#attempts.size;
  }

  add(attempt: Attempt): void {
    this.#attempts.set(attempt.id, attempt);
  }

  remove(attempt: Attempt): void {
    this.#attempts.delete(attempt.id);
  }

  sinkOf(attempt: Attempt): ClientSink {
    return {
      onResponse: (response, flow) => this.#onResponse(attempt, response, flow),
      onTimeout: () => {
        // After a CANCEL the silence means that the call is off (RFC 3261 9.1).
        const isOff = attempt.cancel === 'sent';
        const [status, reason] = isOff ? [487, 'Request Terminated'] : [408, 'Request Timeout'];
        this.#failed(attempt, ownResponse(attempt.request, status as number, reason as string));
      },
      onTransportError: () => {
        this.#failed(attempt, ownResponse(attempt.request, 503, 'Service Unavailable'));
      },
    };
  }

  cancel(transactionId: string, draft: SipMessage, reply: Reply): void {
    const attempt = this.#attempts.get(transactionId);
    if (attempt === undefined || attempt.cancel !== 'none') {
      reply({ ok: false, reason: 'unable to find a transaction to cancel' });
      return;
    }
    const cancel = buildCancel(attempt.request, draft);
    attempt.cancelDraft = draft;
    const peer = targetOf(attempt);
    reply({ ok: true, message: cancel, peer, transactionId: newId(), dialogId: '' });
    this.#cancelWhenAllowed(attempt);
  }

  clientGone(client: AppClient): void {
    for (const attempt of this.#attempts.values()) {
      if (attempt.client === client && attempt.cancel === 'none') this.#cancelWhenAllowed(attempt);
    }
  }

  /** RFC 3261 9.1: no CANCEL before the INVITE got a provisional response. */
  #cancelWhenAllowed(attempt: Attempt): void {
    if (attempt.hasProvisional) this.#sendCancel(attempt);
    else attempt.cancel = 'held';
  }

  #sendCancel(attempt: Attempt): void {
    const { layer, log } = this.#core();
    attempt.cancel = 'sent';
    const { destination, transaction } = attempt;
    if (destination === null || transaction === null) return;
    layer.request(buildCancel(attempt.request, attempt.cancelDraft), destination, {
      // The 200 to a CANCEL says nothing about the INVITE: its own final response does.
      onResponse: () => undefined,
      onTimeout: () => log.debug('cancel.unanswered'),
      onTransportError: (error) => log.debug('cancel.lost', { error }),
    });
    if (transaction instanceof InviteClientTransaction) transaction.limitAfterCancel();
  }

  #onResponse(attempt: Attempt, response: SipMessage, flow: Flow): void {
    const { status } = response;
    if (status < 200) this.#provisional(attempt, response, flow);
    else if (status < 300) this.#answered(attempt, response, flow);
    else this.#failed(attempt, response, flow);
  }

  #provisional(attempt: Attempt, response: SipMessage, flow: Flow): void {
    attempt.hasProvisional = true;
    if (attempt.cancel === 'held') this.#sendCancel(attempt);
    let dialogId = attempt.isReinvite ? (attempt.dialog?.controlId ?? '') : '';
    if (response.status > 100 && !attempt.isReinvite && response.to.tag !== undefined) {
      const dialog = this.#dialogOf(attempt, response, flow);
      if (dialog === null) return;
      if (isRepeatedReliable(dialog, response)) return;
      if (response.body.length > 0) dialog.isOfferAnswered = true;
      dialogId = dialog.controlId;
    }
    this.#deliver(attempt, response, flow, dialogId);
  }

  /** The dialog of this To tag, made if need be; null for the early one of a fork too many. */
  #dialogOf(attempt: Attempt, response: SipMessage, flow: Flow): Dialog | null {
    const { dialogs } = this.#core();
    const known = dialogs.ofResponse(response);
    if (known !== undefined) {
      known.flow = flow;
      known.refreshTarget(response);
      return known;
    }
    if (response.status < 200 && ++attempt.forks > MAX_FORKS) return null;
    const dialog = dialogOfClient(attempt.request, response, flow, attempt.client);
    dialog.behindNat = isBehindNat(response, flow);
    dialogs.add(dialog);
    return dialog;
  }

  #answered(attempt: Attempt, response: SipMessage, flow: Flow): void {
    if (attempt.isAnswered) {
      this.#answeredAgain(attempt, response, flow);
      return;
    }
    attempt.isAnswered = true;
    this.remove(attempt);
    const dialog = this.#confirm(attempt, response, flow);
    if (dialog === null) return;
    this.#awaitApplication(attempt, dialog);
    this.#deliver(attempt, response, flow, dialog.controlId);
    // Nobody is left to send the ACK.
    if (!attempt.client.isOpen) this.#endFor(dialog, attempt, 'application is gone');
  }

  #confirm(attempt: Attempt, response: SipMessage, flow: Flow): Dialog | null {
    const { dialogs } = this.#core();
    if (attempt.isReinvite && attempt.dialog !== null) {
      attempt.dialog.inviteFromUs = false;
      attempt.dialog.refreshTarget(response);
      return attempt.dialog;
    }
    const dialog = this.#dialogOf(attempt, response, flow);
    if (dialog === null) return null;
    dialog.confirm(response, flow);
    dialog.behindNat = isBehindNat(response, flow);
    dialog.hangUpAfterAck = whyUnwanted(attempt, response);
    dialog.isOfferAnswered = true;
    attempt.dialog = dialog;
    for (const sibling of dialogs.earlySiblings(dialog.controlId, dialog)) {
      if (sibling.role === 'uac') dialogs.remove(sibling);
    }
    return dialog;
  }

  /** The ACK is the application's, but not for ever: without one the call would hang on both sides. */
  #awaitApplication(attempt: Attempt, dialog: Dialog): void {
    const { clock, timers } = this.#core();
    const timer = clock.setTimer(() => {
      this.#endFor(dialog, attempt, 'application sent no ACK');
    }, timeoutMsOf(timers));
    dialog.unsentAck = { invite: attempt.request, dispose: () => clock.clearTimer(timer) };
  }

  #endFor(dialog: Dialog, attempt: Attempt, text: string): void {
    const { sender } = this.#core();
    if (dialog.state === 'ended') return;
    sender.acknowledge(dialog, ackOf(dialog, attempt.request));
    sender.hangUp(dialog, { cause: 500, text });
  }

  /** A repeated 2xx gets its ACK again; one with another To tag is a fork and is hung up (RFC 3261 13.2.2.4). */
  #answeredAgain(attempt: Attempt, response: SipMessage, flow: Flow): void {
    const { sender } = this.#core();
    const tag = response.to.tag ?? '';
    const { dialog, extras } = attempt;
    if (dialog === null || attempt.isReinvite || dialog.remoteTag === tag) {
      if (dialog !== null) sender.repeatAck(dialog, response.cseq.number);
      return;
    }
    const known = extras.get(tag);
    if (known !== undefined) {
      sender.repeatAck(known, response.cseq.number);
      return;
    }
    if (extras.size >= MAX_FORKS) return;
    const extra = dialogOfClient(attempt.request, response, flow, attempt.client);
    extra.confirm(response, flow);
    extra.behindNat = isBehindNat(response, flow);
    extras.set(tag, extra);
    sender.acknowledge(extra, ackOf(extra, attempt.request));
    sender.hangUp(extra, { cause: 487, text: 'answered elsewhere' }, false);
  }

  #failed(attempt: Attempt, response: SipMessage, flow: Flow | null = null): void {
    const { dialogs, sender } = this.#core();
    this.remove(attempt);
    const { request, dialog } = attempt;
    const dialogId = controlIdOf(request.callId, request.from.tag ?? '');
    if (!attempt.isReinvite) {
      for (const early of dialogs.earlySiblings(dialogId, undefined)) {
        if (early.role === 'uac') dialogs.remove(early);
      }
    } else if (dialog !== null) dialog.inviteFromUs = false;
    this.#deliver(attempt, response, flow, dialog?.controlId ?? dialogId);
    const isFatal = response.status === 481 || response.status === 408;
    if (attempt.isReinvite && dialog !== null && isFatal && !dialog.byeSent) {
      // RFC 3261 12.2.1.2, 14.1: the peer does not know the dialog any more.
      sender.hangUp(dialog, {
        cause: response.status,
        text: `re-INVITE answered ${response.status}`,
      });
    }
  }

  #deliver(attempt: Attempt, message: SipMessage, flow: Flow | null, dialogId: string): void {
    const { client, id } = attempt;
    if (!client.isOpen) return;
    try {
      const peer = flow === null ? NO_PEER : peerOf(flow);
      client.deliver({ source: 'network', message, peer, transactionId: id, dialogId });
    } catch (error) {
      this.#core().log.warn('application.lost', { reason: messageOf(error) });
    }
  }
}

/** drachtio-srf gives no dialog for these answers, though it acknowledges them: the call would have no owner. */
function whyUnwanted(attempt: Attempt, response: SipMessage): HangUpReason | null {
  if (attempt.cancel !== 'none') return { cause: 487, text: 'call was cancelled' };
  if (response.contact === undefined) return { cause: 500, text: 'no Contact in the answer' };
  if (response.status !== 200) return { cause: 500, text: 'answer is not a 200' };
  return null;
}

/** RFC 3262 4: a reliable 1xx that is not the next in order was seen before. */
function isRepeatedReliable(dialog: Dialog, response: SipMessage): boolean {
  const rseq = Number(response.get('RSeq') ?? Number.NaN);
  if (!Number.isInteger(rseq)) return false;
  if (dialog.lastRseq !== null && rseq <= dialog.lastRseq) return true;
  dialog.lastRseq = rseq;
  return false;
}
