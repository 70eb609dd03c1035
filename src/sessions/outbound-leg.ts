/** A call that we place, as a leg: over the first trunk that takes it. */
import { AppError } from '#lib/errors.ts';
import type { AccountTrunk } from '#lib/trunk.ts';
import { createSdpSession, type SdpSession } from '#sip/sdp.ts';
import { outcomeOfRefusal } from '#sip/status.ts';
import type { OutboundRequest, OutboundResult, SipAgent } from '#sip/types.ts';
import type { Answered, Leg, LegEvents, LocalMedia, Refusal } from './leg.ts';
import { LegDescription } from './leg-hold.ts';
import { LegMedia, type LegPlace } from './leg-media.ts';
import { offerRefusal } from './renegotiate.ts';

export type OutboundLegOptions = {
  readonly sip: SipAgent;
  /** In the order to be tried; not empty. */
  readonly routes: readonly AccountTrunk[];
  /** Number or URI in normal form. */
  readonly to: string;
  /** Who calls; null: what the trunk says of itself. */
  readonly from: string | null;
  readonly ringTimeoutMs: number;
  /** Whether the trunk may carry one more call now. */
  mayUse(trunk: AccountTrunk): boolean;
  /** The next attempt goes over this trunk, with this number shown. */
  onRoute(trunk: AccountTrunk, from: string | null): void;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
  readonly media?: LegMedia;
};

/** With another trunk to go to, this much silence means that a trunk is dead. RFC 3261's 32 s would be the callee's. */
const TRY_NEXT_AFTER_MS = 5000;

export function outboundLeg(options: OutboundLegOptions): Leg {
  return new OutboundLeg(options);
}

class OutboundLeg implements Leg {
  readonly sipCallId = null;
  readonly #options: OutboundLegOptions;
  #route: AccountTrunk;
  /** Trunks not tried yet. */
  #rest: readonly AccountTrunk[];
  #localAddress = '';
  readonly #description = new LegDescription(() => this.#media.unsealed(placeOf(this.#route)));
  readonly #media: LegMedia;
  #hasRung = false;
  /** What the last attempt came to, when the next trunk may do better. */
  #mayMoveOn = false;

  constructor(options: OutboundLegOptions) {
    this.#options = options;
    this.#media = options.media ?? new LegMedia();
    const [first, ...rest] = options.routes;
    if (first === undefined) throw new Error('an outbound call needs a trunk');
    this.#route = first;
    this.#rest = rest;
  }

  localAddress(): Promise<string> {
    return Promise.resolve(this.#localAddress);
  }

  check(): Promise<{ readonly ok: true } | Refusal> {
    return this.#locate();
  }

  /** The first trunk, from here on, that there is a way to. */
  async #locate(): Promise<{ readonly ok: true } | Refusal> {
    for (;;) {
      try {
        this.#localAddress = await this.#options.sip.localAddressFor(this.#route);
        return { ok: true };
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'E_SIP_REJECTED')) throw error;
        if (!this.#takeNext()) return UNREACHABLE;
      }
    }
  }

  async connect(
    local: LocalMedia,
    events: LegEvents,
    signal: AbortSignal,
  ): Promise<Answered | Refusal> {
    const { sip, shownAddress } = this.#options;
    const trunk = this.#route;
    const address = shownAddress(local.address, trunk.host);
    const { codecs, srtp = 'off', rtcpMux = false, mediaSource = 'auto' } = trunk;
    const wishes = { codecs, srtp, rtcpMux, mediaSource };
    const session = createSdpSession({ ...wishes, address, port: local.port });
    this.#description.use(session);
    this.#mayMoveOn = false;
    try {
      const result = await sip.call(this.#request(session.offer(), events), signal);
      if (result.ok) return await this.#accept(result, session, address);
      this.#mayMoveOn = !this.#hasRung && isTrunkAtFault(result);
      return refusalOf(result);
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'E_CONFIG')) throw error;
      // Its row cannot stand in a request; the next one may.
      this.#mayMoveOn = true;
      return { ok: false, cause: { type: 'fault', code: error.code, message: error.message } };
    }
  }

  /** A 200 whose answer we cannot use has made a dialog all the same: it gets its BYE. */
  async #accept(
    result: OutboundResult & { readonly ok: true },
    session: SdpSession,
    address: string,
  ): Promise<Answered | Refusal> {
    const trunk = this.#route;
    const place = placeOf(trunk);
    try {
      const audio = session.accept(result.answer);
      if (audio !== null) {
        this.#description.agreed(audio);
        this.#media.agreed(audio, place);
        return { ok: true, dialog: result.dialog, audio };
      }
      this.#media.refused(result.answer, { ...trunk, address }, place);
    } catch (error) {
      if (!offerRefusal(error)) throw error;
    }
    await result.dialog.bye({ q850: 88, text: 'Incompatible destination' });
    return {
      ok: false,
      cause: { type: 'callee.refused', outcome: 'incompatible_media', status: 200, q850: null },
    };
  }

  #request(offer: string, events: LegEvents): OutboundRequest {
    const { to, ringTimeoutMs } = this.#options;
    return {
      trunk: this.#route,
      to,
      from: shownNumber(this.#route, this.#options.from),
      offer,
      ringTimeoutMs,
      ...(this.#rest.length > 0 ? { silenceTimeoutMs: TRY_NEXT_AFTER_MS } : {}),
      onTrying: () => events.onTrying(),
      onProgress: ({ status, sdp }) => {
        this.#hasRung = true;
        events.onRinging(status, sdp !== null);
      },
    };
  }

  async advance(): Promise<boolean> {
    return this.#mayMoveOn && this.#takeNext() && (await this.#locate()).ok;
  }

  #takeNext(): boolean {
    const options = this.#options;
    const next = this.#rest.findIndex((trunk) => options.mayUse(trunk));
    const trunk = this.#rest[next];
    if (trunk === undefined) return false;
    this.#route = trunk;
    this.#rest = this.#rest.slice(next + 1);
    options.onRoute(trunk, shownNumber(trunk, options.from));
    return true;
  }

  renegotiate(offer: string | null): ReturnType<Leg['renegotiate']> {
    return this.#description.renegotiate(offer);
  }

  acceptLate(text: string): ReturnType<Leg['acceptLate']> {
    return this.#description.acceptLate(text);
  }

  holdOffer(on: boolean): string | null {
    return this.#description.holdOffer(on);
  }

  acceptAnswer(text: string): ReturnType<Leg['acceptAnswer']> {
    return this.#description.acceptAnswer(text);
  }

  /** Giving up is the abort signal's work: it sends CANCEL. */
  refuse(): void {}
}

function placeOf({ id, transport }: AccountTrunk): LegPlace {
  return { trunkId: id, transport };
}

/** No trunk has an address that we could send to. */
const UNREACHABLE: Refusal = {
  ok: false,
  cause: { type: 'callee.refused', outcome: 'unreachable', status: null, q850: null },
};

/** The number that the other side sees. */
export function shownNumber(trunk: AccountTrunk, from: string | null): string | null {
  return from ?? trunk.fromNumber ?? trunk.username;
}

/** Contract 2.0: after 503 and its like, or no answer at all, the next trunk is tried. The callee's own refusal stands. */
function isTrunkAtFault(result: OutboundResult & { readonly ok: false }): boolean {
  return result.cause === 'unreachable' || outcomeOfRefusal(result) === 'congestion';
}
function refusalOf(result: OutboundResult & { readonly ok: false }): Refusal {
  const { status, q850 } = result;
  const outcome = outcomeOfRefusal(result);
  return { ok: false, cause: { type: 'callee.refused', outcome, status, q850 } };
}
