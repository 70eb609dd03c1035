/** Builds the SipAgent: keeps the control connection to the engine, and hands every request to the part it is for. */
import { backoffMs } from '#lib/backoff.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Trunk } from '#lib/trunk.ts';
import { ACCEPT, ALLOW, sdpOf } from './body.ts';
import type { DialogKey, DialogLeg } from './dialog.ts';
import { createInbound, type Inbound } from './inbound.ts';
import { placeCall, type Attempt } from './outbound.ts';
import { parseNameAddr } from './party.ts';
import { PlainRequests, type PlainRequest, type PlainResult } from './plain-requests.ts';
import { connectSrf, type SrfLink, type WireRequest } from './srf.ts';
import { localAddressTowards } from './trunk.ts';
import type { InboundCall, OutboundRequest, OutboundResult, SipAgent } from './types.ts';

export type SipAgentOptions = {
  /** The engine's control port, read anew for every connection: getters may follow an engine that moved. */
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Who may call: a source address, see access.ts. */
  readonly allow: (sourceAddress: string) => boolean;
  /** Whether P-Asserted-Identity from this address is believed: our trunks. */
  readonly trustAsserted?: (sourceAddress: string) => boolean;
  readonly userAgent?: string;
};

const RECONNECT = { firstMs: 250, maxMs: 5000 } as const;
const RETRY_AFTER_S = '5';

/** Requests of ours that are no calls. */
export type SipRequester = {
  /** Over the present control connection. Never rejects. */
  request(request: PlainRequest): Promise<PlainResult>;
  /** The control connection was lost and is there again. */
  onReconnected(listener: () => void): void;
};

/** Connects to the engine. Errors: E_SIP_ENGINE when it is not there or refuses the secret. */
export async function createSipAgent(options: SipAgentOptions): Promise<SipAgent & SipRequester> {
  const agent = new Agent(options);
  await agent.open();
  return agent;
}

class Agent implements SipAgent, SipRequester {
  readonly #options: SipAgentOptions;
  #link: SrfLink | null = null;
  #listening: readonly string[] = [];
  #handler: ((call: InboundCall) => void) | null = null;
  #draining = false;
  #closed = false;
  #retryTimer: TimerHandle | undefined;
  readonly #legs = new Map<string, DialogLeg>();
  /** By Call-ID, as srf finds the INVITE that a CANCEL belongs to. */
  readonly #pending = new Map<string, Inbound>();
  readonly #attempts = new Set<Attempt>();
  readonly #requests: PlainRequests;
  readonly #reconnected: (() => void)[] = [];

  constructor(options: SipAgentOptions) {
    this.#options = options;
    this.#requests = new PlainRequests(options.clock);
  }

  get listening(): readonly string[] {
    return this.#listening;
  }

  get isUp(): boolean {
    return this.#link?.isOpen ?? false;
  }

  onCall(handler: (call: InboundCall) => void): void {
    this.#handler = handler;
  }

  setDraining(on: boolean): void {
    this.#draining = on;
  }

  localAddressFor(trunk: Trunk): Promise<string> {
    return localAddressTowards(trunk);
  }

  request(request: PlainRequest): Promise<PlainResult> {
    return this.#requests.send(this.#link, request);
  }

  onReconnected(listener: () => void): void {
    this.#reconnected.push(listener);
  }

  async open(): Promise<void> {
    const { host, port, secret, log } = this.#options;
    const link = await connectSrf({
      host,
      port,
      secret,
      log,
      onRequest: (request) => this.#onRequest(request),
      onClosed: () => this.#onLinkClosed(),
    });
    if (this.#closed) return link.close();
    this.#link = link;
    this.#listening = link.listening;
  }

  async call(request: OutboundRequest, signal: AbortSignal): Promise<OutboundResult> {
    const link = this.#link;
    if (link === null || !link.isOpen) {
      throw new AppError('E_SIP_ENGINE', 'the SIP engine is not connected');
    }
    const { clock, log, userAgent = 'Callyard' } = this.#options;
    if (signal.aborted) return cancelledBefore;
    const attempt = placeCall({ request, link, clock, log, userAgent, ...this.#legTable });
    const onAbort = (): void => attempt.cancel();
    this.#attempts.add(attempt);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await attempt.result;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#attempts.delete(attempt);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#draining = true;
    this.#options.clock.clearTimer(this.#retryTimer);
    for (const inbound of this.#pending.values()) inbound.call.reject(503);
    const attempts = [...this.#attempts];
    for (const attempt of attempts) attempt.cancel();
    await Promise.allSettled([
      ...attempts.map((attempt) => attempt.result),
      ...[...this.#legs.values()].map((leg) => leg.bye()),
    ]);
    this.#requests.lost();
    this.#link?.close();
    this.#link = null;
  }

  readonly #legTable = {
    addLeg: (leg: DialogLeg): void => void this.#legs.set(keyOf(leg.key), leg),
    removeLeg: (leg: DialogLeg): void => void this.#legs.delete(keyOf(leg.key)),
  };

  #onLinkClosed(): void {
    this.#link = null;
    this.#options.log.warn('sip.engineLost', { dialogs: this.#legs.size });
    // Nothing more can be said in these dialogs over a new connection: each ends now, once.
    for (const leg of this.#legs.values()) leg.lost();
    for (const inbound of this.#pending.values()) inbound.lost();
    for (const attempt of this.#attempts) attempt.lost();
    this.#requests.lost();
    this.#reconnect(1);
  }

  #reconnect(attempt: number): void {
    if (this.#closed) return;
    const { clock, log } = this.#options;
    this.#retryTimer = clock.setTimer(
      () => {
        this.open().then(
          () => {
            log.info('sip.engineFound', { attempt });
            for (const listener of this.#reconnected) listener();
          },
          (error: unknown) => {
            log.warn('sip.engineMissing', { attempt, error: toAppError(error) });
            this.#reconnect(attempt + 1);
          },
        );
      },
      backoffMs(attempt, RECONNECT),
    );
  }

  #onRequest(request: WireRequest): void {
    const leg = this.#legOf(request);
    if (leg !== undefined) return leg.handle(request);
    if (request.byEngine || request.method === 'ACK') return;
    const inDialog = parseNameAddr(request.header('to') ?? '').params.has('tag');
    if (inDialog) return request.respond(481);
    switch (request.method) {
      case 'INVITE':
        return this.#onInvite(request);
      case 'OPTIONS':
        return this.#draining
          ? request.respond(503, { headers: { 'Retry-After': RETRY_AFTER_S } })
          : request.respond(200, { headers: { Allow: ALLOW, Accept: ACCEPT } });
      case 'NOTIFY':
      case 'SUBSCRIBE':
        return request.respond(489);
      case 'BYE':
      case 'INFO':
      case 'UPDATE':
      case 'PRACK':
        return request.respond(481);
      default:
        return request.respond(405, { headers: { Allow: ALLOW } });
    }
  }

  /** By both tags. A BYE that the engine made itself comes as it was sent: From is then our side. */
  #legOf(request: WireRequest): DialogLeg | undefined {
    const callId = request.header('call-id') ?? '';
    const from = parseNameAddr(request.header('from') ?? '').params.get('tag') ?? '';
    const to = parseNameAddr(request.header('to') ?? '').params.get('tag') ?? '';
    const [localTag, remoteTag] = request.byEngine ? [from, to] : [to, from];
    return this.#legs.get(keyOf({ callId, localTag, remoteTag }));
  }

  #onInvite(request: WireRequest): void {
    const { allow, trustAsserted = () => false, clock, log } = this.#options;
    const link = this.#link;
    const source = request.sourceAddress;
    if (!allow(source)) {
      log.info('sip.callerRefused', { source });
      return request.respond(403);
    }
    // RFC 3261 8.1.1.8: without Contact there is no dialog, only a call that nobody could end.
    if (!request.header('contact')) return request.respond(400, { reason: 'Missing Contact' });
    const found = sdpOf(request.header('content-type'), request.body);
    if (found === 'unsupported') return request.respond(415, { headers: { Accept: ACCEPT } });
    const callId = request.header('call-id') ?? '';
    // RFC 3261 8.2.2.2. Two pending INVITEs of one Call-ID would also share their CANCEL in srf.
    if (this.#pending.has(callId)) return request.respond(482);
    if (this.#draining || this.#handler === null || link === null) {
      return request.respond(503, { headers: { 'Retry-After': RETRY_AFTER_S } });
    }
    const inbound = createInbound({
      request,
      offer: found.sdp,
      link,
      clock,
      log,
      trustAsserted: trustAsserted(source),
      ...this.#legTable,
      onDecided: () => void this.#pending.delete(callId),
    });
    this.#pending.set(callId, inbound);
    try {
      this.#handler(inbound.call);
    } catch (error) {
      log.error('sip.handlerFailed', { error: toAppError(error) });
      inbound.call.reject(500);
    }
  }
}

const cancelledBefore: OutboundResult = {
  ok: false,
  cause: 'cancelled',
  status: null,
  reason: null,
  q850: null,
  retryAfter: false,
  authFailed: false,
};

function keyOf({ callId, localTag, remoteTag }: DialogKey): string {
  return `${callId}\n${localTag}\n${remoteTag}`;
}
