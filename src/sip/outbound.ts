/** One outbound attempt: INVITE through a trunk until it is answered, refused or given up. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Trunk } from '#lib/trunk.ts';
import { ALLOW, sdpOf } from './body.ts';
import { DialogLeg } from './dialog.ts';
import { DigestClient, type Credentials } from './digest.ts';
import { encodeUser, parseNameAddr, quoteDisplayName } from './party.ts';
import { parseReason, type Refusal } from './status.ts';
import type { Headers, SentRequest, SrfLink, WireRequest, WireResponse } from './srf.ts';
import { checkedTrunk, routeUriOf, uriHost } from './trunk.ts';
import { RING_GRACE_S, type OutboundRequest, type OutboundResult } from './types.ts';

export type OutboundOptions = {
  readonly request: OutboundRequest;
  readonly link: Pick<SrfLink, 'send'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly userAgent: string;
  readonly addLeg: (leg: DialogLeg) => void;
  readonly removeLeg: (leg: DialogLeg) => void;
};

/** RFC 3261 17.1.1.2, timer B: nothing at all came back. One second more, so that the engine can say it first. */
const SILENCE_TIMEOUT_MS = 33_000;
/** How long a CANCEL may take to bring the 487; the rest goes on behind the result's back. */
const CANCEL_TIMEOUT_MS = 5000;
/** Places an INVITE may ring in at a time whose early descriptions are kept. */
const MAX_FORKS = 16;

export type Attempt = {
  readonly result: Promise<OutboundResult>;
  /** Sends CANCEL; the result says `cancelled`. */
  cancel(): void;
  /** The control connection is gone. */
  lost(): void;
};

/** Errors (thrown): E_CONFIG when the trunk's host, domain or proxy, or the address called, cannot stand in a request. */
export function placeCall(options: OutboundOptions): Attempt {
  const { request } = options;
  if (/[\s<>"]/.test(request.to) && /^sips?:/i.test(request.to)) {
    throw new AppError('E_CONFIG', 'the address to call has a space, quote or bracket');
  }
  const checked = { ...request, trunk: checkedTrunk(request.trunk) };
  const attempt = new OutboundAttempt({ ...options, request: checked });
  attempt.start();
  return {
    result: attempt.result,
    cancel: () => attempt.giveUp('cancelled'),
    lost: () => attempt.lost(),
  };
}

class OutboundAttempt {
  readonly #options: OutboundOptions;
  readonly #result = Promise.withResolvers<OutboundResult>();
  readonly #digest: DigestClient | null;
  readonly #target: { readonly uri: string; readonly route: string | null };
  #settled = false;
  #givingUp: Refusal['cause'] | null = null;
  #sent: SentRequest | null = null;
  /** A response to the INVITE now on its way has come. */
  #heard = false;
  #isTried = false;
  readonly #timers: (TimerHandle | undefined)[] = [];
  #silenceTimer: TimerHandle | undefined;
  readonly #earlySdp = new Map<string, string>();

  constructor(options: OutboundOptions) {
    this.#options = options;
    const credentials = credentialsOf(options.request.trunk);
    this.#digest = credentials === null ? null : new DigestClient(credentials);
    this.#target = targetOf(options.request);
  }

  get result(): Promise<OutboundResult> {
    return this.#result.promise;
  }

  start(): void {
    const { request, clock } = this.#options;
    const ring = clock.setTimer(() => this.#onRingTimeout(), request.ringTimeoutMs);
    this.#timers.push(ring);
    this.#send(invitationHeaders(request, this.#options.userAgent));
  }

  /** Sends CANCEL as soon as the INVITE is out; `cause` is the result unless a final response overtakes it. */
  giveUp(cause: Refusal['cause']): void {
    if (this.#settled || this.#givingUp !== null) return;
    this.#givingUp = cause;
    this.#sent?.cancel();
    // The engine holds the CANCEL until something is heard (RFC 3261 9.1); the caller need not wait for that.
    if (!this.#heard) return this.#settle(this.#refusal({ cause }));
    const settle = (): void => this.#settle(this.#refusal({ cause }));
    this.#timers.push(this.#options.clock.setTimer(settle, CANCEL_TIMEOUT_MS));
  }

  lost(): void {
    if (this.#settled) return;
    this.#stop();
    this.#result.reject(new AppError('E_SIP_ENGINE', 'the SIP engine was lost during the call'));
  }

  #onRingTimeout(): void {
    // Nothing at all within the ring time: the far end is not there, rather than not answering.
    this.giveUp(this.#heard ? 'no_answer' : 'unreachable');
  }

  #send(headers: Headers): void {
    const { request, link, clock } = this.#options;
    const { uri, route } = this.#target;
    this.#heard = false;
    clock.clearTimer(this.#silenceTimer);
    const { silenceTimeoutMs = SILENCE_TIMEOUT_MS } = request;
    this.#silenceTimer = clock.setTimer(() => this.giveUp('unreachable'), silenceTimeoutMs);
    link.send(
      { method: 'INVITE', uri, ...(route === null ? {} : { route }), headers, body: request.offer },
      {
        onSent: (sent) => {
          this.#sent = sent;
          if (this.#givingUp !== null) sent.cancel();
        },
        onResponse: (response) => this.#onResponse(response),
        onUpdate: (update) => answerEarlyUpdate(update),
        onError: (error) =>
          this.#settle(this.#refusal({ cause: 'unreachable', reason: error.message })),
      },
    );
  }

  #onResponse(response: WireResponse): void {
    if (response.status < 200) return this.#onProvisional(response);
    this.#options.clock.clearTimer(this.#silenceTimer);
    response.acknowledge();
    if (response.status < 300) return this.#onSuccess(response);
    const challenged = response.status === 401 || response.status === 407;
    if (challenged && this.#givingUp === null && this.#retry(response)) return;
    this.#settle(this.#refusalOf(response));
  }

  #onProvisional(response: WireResponse): void {
    this.#heard = true;
    this.#options.clock.clearTimer(this.#silenceTimer);
    if (response.header('rseq') !== undefined) response.acknowledge();
    if (this.#givingUp !== null || this.#settled) return;
    if (response.status === 100) return this.#onTrying();
    const found = sdpOf(response.header('content-type'), response.body);
    const sdp = found === 'unsupported' ? null : found.sdp;
    const tag = tagOf(response.header('to'));
    const hasRoom = this.#earlySdp.size < MAX_FORKS || this.#earlySdp.has(tag);
    if (sdp !== null && hasRoom) this.#earlySdp.set(tag, sdp);
    this.#options.request.onProgress({ status: response.status, sdp });
  }

  #onTrying(): void {
    if (this.#isTried) return; // again after a challenge
    this.#isTried = true;
    this.#options.request.onTrying?.();
  }

  #onSuccess(response: WireResponse): void {
    const leg = this.#createLeg(response);
    if (this.#givingUp !== null || this.#settled) {
      // The answer crossed our CANCEL (RFC 3261 15): acknowledged above, ended here.
      void leg.bye();
      return this.#settle(this.#refusal({ cause: this.#givingUp ?? 'cancelled' }));
    }
    const found = sdpOf(response.header('content-type'), response.body);
    const body = found === 'unsupported' ? null : found.sdp;
    // RFC 3262 5: the answer may have come in a reliable provisional and need not be repeated.
    const answer = body ?? this.#earlySdp.get(leg.key.remoteTag) ?? null;
    if (answer !== null && response.status === 200) {
      return this.#settle({ ok: true, dialog: leg, answer });
    }
    void leg.bye({ q850: 111, text: 'no usable answer' });
    const reason = answer === null ? 'answered without SDP' : `answered with ${response.status}`;
    this.#settle(this.#refusal({ cause: 'refused', reason }));
  }

  /** Same Call-ID and From, next CSeq, with credentials (RFC 3261 22.2). */
  #retry(response: WireResponse): boolean {
    const sent = this.#sent;
    if (sent === null) return false;
    const again = this.#digest?.answer(response, { method: 'INVITE', uri: sent.uri });
    if (again === null || again === undefined) return false;
    const cseq = Number(/^\s*(\d+)/.exec(sent.header('cseq') ?? '')?.[1] ?? 1);
    this.#sent = null;
    this.#send({
      ...invitationHeaders(this.#options.request, this.#options.userAgent),
      From: sent.header('from') ?? '',
      'Call-ID': sent.header('call-id') ?? '',
      CSeq: `${cseq + 1} INVITE`,
      [again.name]: again.value,
    });
    return true;
  }

  #createLeg(response: WireResponse): DialogLeg {
    const { link, clock, log, request, addLeg, removeLeg } = this.#options;
    const leg: DialogLeg = new DialogLeg({
      link,
      clock,
      log,
      key: {
        callId: response.header('call-id') ?? '',
        localTag: tagOf(response.header('from')),
        remoteTag: tagOf(response.header('to')),
      },
      dialogId: response.dialogId,
      role: 'caller',
      credentials: credentialsOf(request.trunk),
      lateOffer: false,
      onOver: () => removeLeg(leg),
    });
    addLeg(leg);
    return leg;
  }

  #refusalOf(response: WireResponse): OutboundResult {
    const { q850, reason } = parseReason(response.header('reason'));
    const said = {
      status: response.status,
      reason: reason ?? response.reason,
      q850,
      retryAfter: response.header('retry-after') !== undefined,
    };
    if (this.#givingUp !== null) return this.#refusal({ ...said, cause: this.#givingUp });
    // RFC 3261 8.1.3.1: the engine's own timeout and transport error; nobody there said anything.
    const silence = response.isLocal && (response.status === 408 || response.status === 503);
    if (silence) return this.#refusal({ ...said, cause: 'unreachable' });
    const authFailed = response.status === 401 || response.status === 407;
    return this.#refusal({ ...said, cause: 'refused', authFailed });
  }

  #refusal(fields: Partial<Refusal> & Pick<Refusal, 'cause'>): OutboundResult {
    const silent = { status: null, reason: null, q850: null, retryAfter: false, authFailed: false };
    return { ok: false, ...silent, ...fields };
  }

  #settle(result: OutboundResult): void {
    if (this.#settled) return;
    this.#stop();
    this.#result.resolve(result);
  }

  #stop(): void {
    this.#settled = true;
    for (const timer of this.#timers) this.#options.clock.clearTimer(timer);
    this.#options.clock.clearTimer(this.#silenceTimer);
  }
}

function credentialsOf(trunk: Trunk): Credentials | null {
  if (trunk.username === null || trunk.password === null) return null;
  return { username: trunk.username, password: trunk.password, realm: trunk.realm };
}

/** A new offer before ours is answered cannot be taken; the INVITE goes on (RFC 3311 5.2). */
function answerEarlyUpdate(update: WireRequest): void {
  if (update.body.trim() === '') update.respond(200, { headers: { Allow: ALLOW } });
  else update.respond(488);
}

/** Request-URI, and the next hop where that is another host or must not be left to the request's length. */
export function targetOf(request: Pick<OutboundRequest, 'trunk' | 'to'>): {
  readonly uri: string;
  readonly route: string | null;
} {
  const { trunk, to } = request;
  const isTcp = trunk.transport === 'tcp';
  const suffix = isTcp ? ';transport=tcp' : '';
  const via = `;transport=${trunk.transport}`;
  const hop = `${uriHost(trunk.host)}:${trunk.port}`;
  const whole = /^sips?:/i.test(to);
  const host = trunk.domain === null ? hop : uriHost(trunk.domain);
  const uri = whole ? to : `sip:${encodeUser(to)}@${host}${suffix}`;
  if (trunk.outboundProxy !== null) {
    const proxy = routeUriOf(trunk.outboundProxy);
    return { uri, route: /;transport=/i.test(proxy) ? proxy : `${proxy}${via}` };
  }
  const elsewhere = whole || (trunk.domain !== null && trunk.domain !== trunk.host);
  // RFC 3261 18.1.1 moves a long request to TCP, where a UDP trunk does not listen; a named transport stays.
  return { uri, route: elsewhere || !isTcp ? `sip:${hop}${via}` : null };
}

function invitationHeaders(request: OutboundRequest, userAgent: string): Record<string, string> {
  const { trunk, to, from } = request;
  const domain = uriHost(trunk.domain ?? trunk.host);
  const user = from ?? trunk.fromNumber ?? trunk.username ?? 'callyard';
  const name = trunk.displayName === null ? '' : `${quoteDisplayName(trunk.displayName)} `;
  const toUri = /^sips?:/i.test(to) ? to : `sip:${encodeUser(to)}@${domain}`;
  return {
    From: `${name}<sip:${encodeUser(user)}@${domain}>;tag=${randomToken(8)}`,
    To: `<${toUri}>`,
    'Content-Type': 'application/sdp',
    Allow: ALLOW,
    // After this the other side stops ringing by itself (RFC 3261 13.3.1): nobody is left to cancel when a node is lost.
    Expires: String(Math.ceil(request.ringTimeoutMs / 1000) + RING_GRACE_S),
    'User-Agent': userAgent,
  };
}

function tagOf(nameAddr: string | undefined): string {
  return parseNameAddr(nameAddr ?? '').params.get('tag') ?? '';
}
