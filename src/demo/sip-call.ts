/** One outgoing SIP call, as RFC 3261 wants it of a simple user agent client: INVITE, ACK, BYE, CANCEL, and answers. */
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import {
  headerOf,
  headersOf,
  listOf,
  parseSip,
  parseTarget,
  tagOf,
  uriOf,
  writeSip,
  type SipMessage,
  type SipTarget,
} from './sip-message.ts';
import type { SipFlow } from './sip-transport.ts';

const T1_MS = 500;
const T2_MS = 4000;
const TRANSACTION_TIMEOUT_MS = 64 * T1_MS;
const BYE_TIMEOUT_MS = 5000;

export type CallTimes = {
  /** On `clock.now()`; null until it happened. */
  inviteMs: number | null;
  ringingMs: number | null;
  answeredMs: number | null;
  ackMs: number | null;
  endedMs: number | null;
};

type Pending = {
  readonly cseq: string;
  readonly settle: (response: SipMessage) => void;
  /** A provisional came: an INVITE is then no longer repeated. */
  provisional(response: SipMessage): void;
};

/** Our SDP answer for a re-INVITE; the body is empty when the server asks for an offer. */
export type OfferHandler = (offer: string) => string;

export class SipCall {
  readonly callId = `${randomToken(12)}@caller`;
  readonly times: CallTimes = {
    inviteMs: null,
    ringingMs: null,
    answeredMs: null,
    ackMs: null,
    endedMs: null,
  };
  readonly #flow: SipFlow;
  readonly #target: SipTarget;
  readonly #clock: Clock;
  readonly #from: string;
  readonly #onOffer: OfferHandler;
  readonly #pending = new Map<string, Pending>();
  readonly #ended = Promise.withResolvers<'remote' | 'local'>();
  #to: string;
  #cseq = 0;
  #remoteTarget: string;
  #routes: readonly string[] = [];
  #lastAck: string | null = null;
  #flowError: Error | null = null;
  #failWait: ((error: Error) => void) | null = null;

  constructor(options: {
    flow: SipFlow;
    target: SipTarget;
    callerName: string;
    onOffer: OfferHandler;
    clock?: Clock;
  }) {
    this.#flow = options.flow;
    this.#target = options.target;
    this.#clock = options.clock ?? systemClock;
    this.#onOffer = options.onOffer;
    this.#remoteTarget = options.target.uri;
    this.#from = `<sip:${options.callerName}@${this.#flow.localAddress}>;tag=${randomToken(8)}`;
    this.#to = `<sip:${options.target.user === '' ? '' : `${options.target.user}@`}${options.target.host}>`;
    this.#flow.onMessage((text) => {
      const message = parseSip(text);
      if (message !== undefined) this.#receive(message);
    });
    this.#flow.onError((error) => {
      this.#flowError = error;
      this.#failWait?.(new AppError('E_SIP_ENGINE', `SIP: ${error.message}`, { cause: error }));
    });
  }

  /** Who hung up; resolves once. */
  get ended(): Promise<'remote' | 'local'> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.times.endedMs !== null;
  }

  /**
   * Places the call; resolves with the answer's SDP after the ACK has gone out.
   * Errors: E_SIP_REJECTED (details.status), E_TIMEOUT, E_SIP_ENGINE (flow lost or refused).
   */
  async invite(offer: string, answerTimeoutMs: number): Promise<string> {
    this.times.inviteMs = this.#clock.now();
    const branch = newBranch();
    const cseq = `${++this.#cseq} INVITE`;
    const request = this.#request(
      'INVITE',
      this.#target.uri,
      cseq,
      branch,
      [this.#contact(), SDP_TYPE],
      offer,
    );
    const response = await this.#transact('INVITE', cseq, branch, request, answerTimeoutMs);
    if (response.status >= 300) {
      // The ACK to a refusal belongs to the INVITE transaction: same branch, same Request-URI (RFC 3261 17.1.1.3).
      this.#to = headerOf(response, 'to');
      const ackCseq = cseq.replace('INVITE', 'ACK');
      this.#flow.send(this.#request('ACK', this.#target.uri, ackCseq, branch, [], ''));
      this.#over('remote');
      throw new AppError(
        'E_SIP_REJECTED',
        `the call was refused: ${response.status} ${response.reason}`,
        {
          details: { status: response.status },
        },
      );
    }
    this.times.answeredMs = this.#clock.now();
    this.#confirm(response);
    this.#lastAck = this.#request(
      'ACK',
      this.#remoteTarget,
      cseq.replace('INVITE', 'ACK'),
      newBranch(),
      [],
      '',
    );
    this.#flow.send(this.#lastAck);
    this.times.ackMs = this.#clock.now();
    return response.body;
  }

  /** Ends an answered call; resolves when the BYE is answered or its deadline is over. Idempotent. */
  async bye(): Promise<void> {
    if (this.isOver || this.times.ackMs === null) return;
    this.#over('local');
    const branch = newBranch();
    const cseq = `${++this.#cseq} BYE`;
    const request = this.#request('BYE', this.#remoteTarget, cseq, branch, [], '');
    try {
      await this.#transact('BYE', cseq, branch, request, BYE_TIMEOUT_MS);
    } catch (error) {
      // The call is over for us in any case; only a fault of our own is worth reporting.
      if (!(error instanceof AppError)) throw error;
    }
  }

  /** Sends an in-dialog OPTIONS or INFO and gives the status of its answer. */
  async request(method: string, body = '', contentType = ''): Promise<number> {
    const branch = newBranch();
    const cseq = `${++this.#cseq} ${method}`;
    const headers = contentType === '' ? [] : [['Content-Type', contentType] as const];
    const request = this.#request(method, this.#remoteTarget, cseq, branch, headers, body);
    return (await this.#transact(method, cseq, branch, request, BYE_TIMEOUT_MS)).status;
  }

  async #transact(
    method: string,
    cseq: string,
    branch: string,
    request: string,
    timeoutMs: number,
  ): Promise<SipMessage> {
    if (this.#flowError !== null) {
      throw new AppError('E_SIP_ENGINE', `SIP: ${this.#flowError.message}`, {
        cause: this.#flowError,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<SipMessage>();
    this.#failWait = reject;
    let repeat: TimerHandle | undefined;
    const limitMs = method === 'INVITE' ? timeoutMs : Math.min(timeoutMs, TRANSACTION_TIMEOUT_MS);
    const deadline = this.#clock.setTimer(() => {
      if (method === 'INVITE')
        this.#flow.send(
          this.#request(
            'CANCEL',
            this.#target.uri,
            cseq.replace('INVITE', 'CANCEL'),
            branch,
            [],
            '',
          ),
        );
      reject(new AppError('E_TIMEOUT', `no answer to ${method} within ${limitMs} ms`));
    }, limitMs);
    const schedule = (waitMs: number): void => {
      repeat = this.#clock.setTimer(() => {
        this.#flow.send(request);
        schedule(method === 'INVITE' ? waitMs * 2 : Math.min(waitMs * 2, T2_MS));
      }, waitMs);
    };
    this.#pending.set(branch, {
      cseq,
      settle: resolve,
      provisional: () => {
        if (method === 'INVITE') this.#clock.clearTimer(repeat);
      },
    });
    this.#flow.send(request);
    if (!this.#flow.reliable) schedule(T1_MS);
    try {
      return await promise;
    } finally {
      this.#failWait = null;
      this.#pending.delete(branch);
      this.#clock.clearTimer(repeat);
      this.#clock.clearTimer(deadline);
    }
  }

  #receive(message: SipMessage): void {
    if (headerOf(message, 'call-id') !== this.callId) {
      if (message.method !== null && message.method !== 'ACK')
        this.#reply(message, 481, 'Call Does Not Exist');
      return;
    }
    if (message.method !== null) return this.#answer(message);
    const branch = /;\s*branch=([^;\s]+)/i.exec(headerOf(message, 'via'))?.[1] ?? '';
    const pending = this.#pending.get(branch);
    if (pending === undefined) {
      // A 200 that comes again says that our ACK was lost (RFC 3261 13.2.2.4).
      const isInvite = headerOf(message, 'cseq').endsWith('INVITE');
      if (isInvite && message.status < 300 && this.#lastAck !== null)
        this.#flow.send(this.#lastAck);
      return;
    }
    if (headerOf(message, 'cseq') !== pending.cseq) return;
    if (message.status >= 200) return pending.settle(message);
    pending.provisional(message);
    if (message.status > 100) this.times.ringingMs ??= this.#clock.now();
  }

  #answer(request: SipMessage): void {
    switch (request.method ?? '') {
      case 'ACK':
        return;
      case 'BYE':
        this.#reply(request, 200, 'OK');
        return this.#over('remote');
      case 'INVITE':
      case 'UPDATE': {
        const contact = headerOf(request, 'contact');
        if (contact !== '') this.#remoteTarget = uriOf(contact);
        return this.#answerOffer(request);
      }
      case 'OPTIONS':
      case 'INFO':
        return this.#reply(request, 200, 'OK');
      default:
        return this.#reply(request, 405, 'Method Not Allowed');
    }
  }

  #answerOffer(request: SipMessage): void {
    // UPDATE may come without a body (session refresh); an INVITE without one asks for our offer.
    if (request.method === 'UPDATE' && request.body === '') return this.#reply(request, 200, 'OK');
    let answer: string;
    try {
      answer = this.#onOffer(request.body);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return this.#reply(request, 488, 'Not Acceptable Here');
    }
    return this.#reply(request, 200, 'OK', answer);
  }

  #reply(request: SipMessage, status: number, reason: string, body = ''): void {
    const to = headerOf(request, 'to');
    const headers: (readonly [string, string])[] = [
      ...headersOf(request, 'via').map((via) => ['Via', via] as const),
      ...headersOf(request, 'record-route').map((route) => ['Record-Route', route] as const),
      ['From', headerOf(request, 'from')],
      ['To', tagOf(to) === '' ? `${to};tag=${randomToken(8)}` : to],
      ['Call-ID', headerOf(request, 'call-id')],
      ['CSeq', headerOf(request, 'cseq')],
      ['Allow', 'INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE'],
      ...(body === '' ? [] : [this.#contact(), SDP_TYPE]),
    ];
    this.#flow.send(writeSip(`SIP/2.0 ${status} ${reason}`, headers, body));
  }

  #confirm(response: SipMessage): void {
    this.#to = headerOf(response, 'to');
    // A UAC takes the route set in reverse order (RFC 3261 12.1.2).
    this.#routes = listOf(response, 'record-route').toReversed();
    const contact = uriOf(headerOf(response, 'contact'));
    if (parseTarget(contact) !== undefined) this.#remoteTarget = contact;
  }

  #request(
    method: string,
    uri: string,
    cseq: string,
    branch: string,
    extra: readonly (readonly [string, string])[],
    body: string,
  ): string {
    const { localAddress, localPort } = this.#flow;
    const transport = this.#target.transport.toUpperCase();
    return writeSip(
      `${method} ${uri} SIP/2.0`,
      [
        ['Via', `SIP/2.0/${transport} ${localAddress}:${localPort};branch=${branch};rport`],
        ['Max-Forwards', '70'],
        ...this.#routes.map((route) => ['Route', route] as const),
        ['From', this.#from],
        ['To', this.#to],
        ['Call-ID', this.callId],
        ['CSeq', cseq],
        ['User-Agent', 'callyard-demo'],
        ...extra,
      ],
      body,
    );
  }

  #contact(): readonly [string, string] {
    const { localAddress, localPort } = this.#flow;
    return [
      'Contact',
      `<sip:caller@${localAddress}:${localPort};transport=${this.#target.transport}>`,
    ];
  }

  #over(by: 'remote' | 'local'): void {
    if (this.isOver) return;
    this.times.endedMs = this.#clock.now();
    this.#ended.resolve(by);
  }
}

const SDP_TYPE = ['Content-Type', 'application/sdp'] as const;

function newBranch(): string {
  return `z9hG4bK${randomToken(9)}`;
}
