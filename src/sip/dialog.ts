/** One confirmed dialog: what the far end may ask inside it, how it is ended, exactly one end. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { ACCEPT, ACCEPT_INFO, ALLOW, dtmfOf, sdpOf } from './body.ts';
import { DigestClient, type Credentials } from './digest.ts';
import { parseReason, reasonHeader } from './status.ts';
import { dialogGone, sendReinvite } from './reinvite.ts';
import type { SrfLink, WireRequest, WireResponse } from './srf.ts';
import { sendInfoDtmf } from './info.ts';
import type { OfferAnswer, SipDialog, SipEnd } from './types.ts';

/** RFC 3261 12: Call-ID and both tags. drachtio's own dialog id has no remote tag and collides when a call spirals. */
export type DialogKey = {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
};

export type LegOptions = {
  readonly link: Pick<SrfLink, 'send'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly key: DialogKey;
  /** The engine's name for it. */
  readonly dialogId: string;
  /** Who began the call decides who waits longer after glare (RFC 3261 14.1). */
  readonly role: 'caller' | 'callee';
  /** To answer challenges inside the dialog; null for calls that did not come by a trunk of ours. */
  readonly credentials: Credentials | null;
  /** Our 200 held an offer: its answer comes in the ACK. */
  readonly lateOffer: boolean;
  onOver(): void;
};

const BYE_TIMEOUT_MS = 2000;
const OFFER_TIMEOUT_MS = 5000;
const SDP_HEADERS = { 'Content-Type': 'application/sdp', Allow: ALLOW };

export class DialogLeg implements SipDialog {
  readonly #options: LegOptions;
  #end: SipEnd | null = null;
  /** Set once a BYE of ours is on its way: then that is how it ended, whatever comes meanwhile. */
  #localEnd: SipEnd | null = null;
  #byeTimer: TimerHandle | undefined;
  readonly #over = Promise.withResolvers<SipEnd>();
  readonly #endListeners: ((end: SipEnd) => void)[] = [];
  #offerHandler: ((offer: string | null) => Promise<OfferAnswer>) | null = null;
  #answerHandler: ((sdp: string) => void) | null = null;
  #earlyAnswer: string | null = null;
  readonly #dtmfListeners: ((digit: string, durationMs: number) => void)[] = [];
  #ackListener: ((sdp: string | null) => void) | null = null;
  #firstAck: { readonly sdp: string | null } | null = null;
  #awaitsAnswer: boolean;
  /** Settles when the offer of theirs is answered; null when there is none. */
  #theirOffer: PromiseWithResolvers<void> | null = null;
  /** The latest re-INVITE asked for, and whether one is on the wire. */
  #ourOffer: Promise<unknown> | null = null;
  #isOffering = false;

  constructor(options: LegOptions) {
    this.#options = options;
    this.#awaitsAnswer = options.lateOffer;
  }

  get sipCallId(): string {
    return this.#options.key.callId;
  }

  get key(): DialogKey {
    return this.#options.key;
  }

  onEnd(listener: (end: SipEnd) => void): void {
    if (this.#end === null) this.#endListeners.push(listener);
    else listener(this.#end);
  }

  onOffer(handler: (offer: string | null) => Promise<OfferAnswer>): void {
    this.#offerHandler = handler;
  }

  onAnswer(handler: (sdp: string) => void): void {
    this.#answerHandler = handler;
    const early = this.#earlyAnswer;
    this.#earlyAnswer = null;
    if (early !== null) handler(early);
  }

  onDtmf(listener: (digit: string, durationMs: number) => void): void {
    this.#dtmfListeners.push(listener);
  }

  /** The ACK of our 200, with its SDP. It may have come in the same chunk as the news that the 200 is out. */
  onAck(listener: (sdp: string | null) => void): void {
    if (this.#firstAck === null) this.#ackListener = listener;
    else listener(this.#firstAck.sdp);
  }

  async bye(reason?: { readonly q850: number; readonly text: string }): Promise<void> {
    if (this.#end === null && this.#localEnd === null) this.#sendBye(reason);
    await this.#over.promise;
  }

  reinvite(sdp: string | (() => string)): Promise<string> {
    const turn = this.#offerInTurn(this.#ourOffer, typeof sdp === 'string' ? () => sdp : sdp);
    this.#ourOffer = turn;
    return turn;
  }

  async sendDtmf(digit: string, durationMs: number): Promise<void> {
    if (this.#end !== null || this.#localEnd !== null) throw dialogGone();
    const { link, clock, dialogId, credentials } = this.#options;
    const over = this.#over.promise;
    try {
      await sendInfoDtmf({ link, clock, dialogId, credentials, digit, durationMs, over });
    } catch (error) {
      if (toAppError(error).code === 'E_SIP_DIALOG_GONE') this.#vanished();
      throw error;
    }
  }

  /** A request inside this dialog. */
  handle(request: WireRequest): void {
    switch (request.method) {
      case 'ACK':
        return this.#onAck(request);
      case 'BYE':
        return this.#onBye(request);
      case 'INVITE':
        return this.#onOffer(request, false);
      case 'UPDATE':
        return this.#onOffer(request, true);
      case 'INFO':
        return this.#onInfo(request);
      case 'OPTIONS':
        return request.respond(200, { headers: { Allow: ALLOW, Accept: ACCEPT } });
      case 'PRACK':
        return request.respond(200);
      case 'REFER':
        // Transfer on the far end's command is not offered yet; 603 says so once and for all (RFC 3515 2.4.2).
        return request.respond(603);
      case 'NOTIFY':
      case 'SUBSCRIBE':
        // 489 and not 481: that would end the whole dialog at some peers (RFC 5057 5.1).
        return request.respond(489);
      default:
        return request.respond(405, { headers: { Allow: ALLOW } });
    }
  }

  /** The control connection is gone: nothing can be said in this dialog any more. */
  lost(): void {
    this.#finish(engineEnd('connection to the SIP engine lost'));
  }

  async #offerInTurn(before: Promise<unknown> | null, sdp: () => string): Promise<string> {
    // One offer of ours at a time: a second one waits for the first, whatever became of it.
    await Promise.allSettled([before]);
    if (this.#end !== null || this.#localEnd !== null) throw dialogGone();
    const { link, clock, dialogId, role, credentials } = this.#options;
    const over = this.#over.promise;
    const free = async (): Promise<void> => {
      while (this.#theirOffer !== null) await this.#theirOffer.promise;
    };
    const onWire = (on: boolean): void => {
      this.#isOffering = on;
    };
    const all = { link, clock, dialogId, role, credentials, sdp, over, free, onWire };
    try {
      return await sendReinvite(all);
    } catch (error) {
      if (toAppError(error).code === 'E_SIP_DIALOG_GONE') this.#vanished();
      throw error;
    }
  }

  #onAck(request: WireRequest): void {
    const found = sdpOf(request.header('content-type'), request.body);
    const sdp = found === 'unsupported' ? null : found.sdp;
    if (this.#firstAck === null) {
      this.#firstAck = { sdp };
      this.#ackListener?.(sdp);
    }
    if (!this.#awaitsAnswer) return;
    this.#awaitsAnswer = false;
    if (sdp === null) {
      this.#options.log.warn('sip.answerMissing', { sipCallId: this.sipCallId });
      // RFC 3261 13.2.1: the ACK must carry the answer; without it there is no session. 111 is "protocol error".
      void this.bye({ q850: 111, text: 'no SDP in ACK' });
    } else if (this.#answerHandler === null) this.#earlyAnswer = sdp;
    else this.#answerHandler(sdp);
  }

  #onBye(request: WireRequest): void {
    const reason = parseReason(request.header('reason'));
    if (request.byEngine) return this.#finish({ by: 'engine', status: null, ...reason });
    request.respond(200);
    this.#finish({ by: 'remote', status: null, ...reason });
  }

  #onOffer(request: WireRequest, isUpdate: boolean): void {
    const found = sdpOf(request.header('content-type'), request.body);
    if (found === 'unsupported') return request.respond(415, { headers: { Accept: ACCEPT } });
    if (isUpdate && found.sdp === null) {
      return request.respond(200, { headers: { Allow: ALLOW } });
    }
    // RFC 3261 14.2, RFC 3311 5.2: crossing offers.
    if (this.#isOffering) return request.respond(491);
    if (this.#theirOffer !== null) return request.respond(500, { headers: { 'Retry-After': '2' } });
    this.#theirOffer = Promise.withResolvers();
    // A re-INVITE may come in the same chunk as the ACK, before the owner of the dialog could set its handler.
    this.#options.clock.setTimer(() => void this.#answerOffer(request, found.sdp), 0);
  }

  async #answerOffer(request: WireRequest, offer: string | null): Promise<void> {
    const { clock, log } = this.#options;
    let answer: OfferAnswer = { status: 488 };
    try {
      const handler = this.#offerHandler;
      if (handler !== null) {
        answer = await withDeadline(handler(offer), OFFER_TIMEOUT_MS, 'answering an offer', clock);
      }
    } catch (error) {
      const known = toAppError(error);
      log.warn('sip.offerFailed', { sipCallId: this.sipCallId, error: known });
      answer = known.code === 'E_SDP' ? { status: 400, reason: 'Bad SDP' } : { status: 500 };
    }
    this.#theirOffer?.resolve();
    this.#theirOffer = null;
    if (this.#end !== null) return;
    if (!('sdp' in answer)) {
      return request.respond(
        answer.status,
        answer.reason === undefined ? {} : { reason: answer.reason },
      );
    }
    this.#awaitsAnswer = offer === null;
    request.respond(200, { headers: SDP_HEADERS, body: answer.sdp });
  }

  #onInfo(request: WireRequest): void {
    if (request.body.trim() === '') return request.respond(200);
    const dtmf = dtmfOf(request.header('content-type'), request.body);
    if (dtmf === 'none') return request.respond(415, { headers: { Accept: ACCEPT_INFO } });
    if (dtmf === null) return request.respond(400, { reason: 'Bad DTMF' });
    request.respond(200);
    for (const listener of this.#dtmfListeners) listener(dtmf.digit, dtmf.durationMs);
  }

  #sendBye(reason: { readonly q850: number; readonly text: string } | undefined): void {
    const { link, clock, credentials, dialogId } = this.#options;
    const end: SipEnd = {
      by: 'local',
      status: null,
      reason: reason?.text ?? null,
      q850: reason?.q850 ?? null,
    };
    this.#localEnd = end;
    this.#byeTimer = clock.setTimer(() => this.#finish(end), BYE_TIMEOUT_MS);
    const digest = credentials === null ? null : new DigestClient(credentials);
    const send = (authorization: Readonly<Record<string, string>>): void => {
      let uri = '';
      const headers = {
        ...(reason === undefined ? {} : { Reason: reasonHeader(reason) }),
        ...authorization,
      };
      link.send(
        { method: 'BYE', dialogId, headers },
        {
          onSent: (sent) => ({ uri } = sent),
          onResponse: (response: WireResponse) => {
            if (response.status < 200) return;
            const challenged = response.status === 401 || response.status === 407;
            const again = challenged ? digest?.answer(response, { method: 'BYE', uri }) : null;
            if (again) send({ [again.name]: again.value });
            else this.#finish(end);
          },
          onError: () => this.#finish(end), // the engine has no such dialog any more
        },
      );
    };
    send({});
  }

  /** The far end answered 481 or 408 to an offer: RFC 3261 12.2.1.2 says to end the dialog. */
  #vanished(): void {
    if (this.#end !== null || this.#localEnd !== null) return;
    void this.bye({ q850: 41, text: 'dialog unknown to the far end' });
  }

  #finish(end: SipEnd): void {
    if (this.#end !== null) return;
    this.#end = this.#localEnd ?? end;
    this.#options.clock.clearTimer(this.#byeTimer);
    this.#options.onOver();
    this.#over.resolve(this.#end);
    for (const listener of this.#endListeners.splice(0)) listener(this.#end);
  }
}

export function engineEnd(reason: string): SipEnd {
  return { by: 'engine', status: null, reason, q850: null };
}
