/** A call that we place over a trunk, as a leg. */
import { createSdpSession, type SdpSession } from '#sip/sdp.ts';
import { outcomeOfRefusal } from '#sip/status.ts';
import type { OutboundResult, SipAgent, Trunk } from '#sip/types.ts';
import type { Answered, Leg, Refusal } from './leg.ts';
import { offerRefusal, renegotiateWith } from './renegotiate.ts';

export type OutboundLegOptions = {
  readonly sip: SipAgent;
  readonly trunk: Trunk;
  /** Number or URI in normal form. */
  readonly to: string;
  readonly ringTimeoutMs: number;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
};

export function outboundLeg(options: OutboundLegOptions): Leg {
  const { sip, trunk, to, ringTimeoutMs, shownAddress } = options;
  let sdp: SdpSession | null = null;
  return {
    sipCallId: null,
    localAddress: () => sip.localAddressFor(trunk),
    check: () => ({ ok: true }),
    connect: async (local, events, signal): Promise<Answered | Refusal> => {
      const address = shownAddress(local.address, trunk.host);
      const session = createSdpSession({ address, port: local.port, codecs: trunk.codecs });
      sdp = session;
      const request = {
        trunk,
        to,
        from: trunk.fromNumber ?? trunk.username,
        offer: session.offer(),
        ringTimeoutMs,
        onProgress: (progress: { readonly status: number; readonly sdp: string | null }) =>
          events.onRinging(progress.status, progress.sdp !== null),
      };
      const result = await sip.call(request, signal);
      return result.ok ? accept(result, session) : refusalOf(result);
    },
    renegotiate: (offer) => renegotiateWith(sdp, offer),
    acceptLate: (text) => sdp?.accept(text) ?? null,
    refuse: () => undefined, // giving up is the abort signal's work: it sends CANCEL
  };
}

/** A 200 whose answer we cannot use has made a dialog all the same: it gets its BYE. */
async function accept(
  result: OutboundResult & { readonly ok: true },
  session: SdpSession,
): Promise<Answered | Refusal> {
  const audio = tryAccept(result.answer, session);
  if (audio !== null) return { ok: true, dialog: result.dialog, audio };
  await result.dialog.bye({ q850: 88, text: 'Incompatible destination' });
  return {
    ok: false,
    cause: { type: 'callee.refused', outcome: 'incompatible_media', status: 200, q850: null },
  };
}

function tryAccept(answer: string, session: SdpSession): ReturnType<SdpSession['accept']> {
  try {
    return session.accept(answer);
  } catch (error) {
    if (offerRefusal(error)) return null;
    throw error;
  }
}

function refusalOf(result: OutboundResult & { readonly ok: false }): Refusal {
  const { status, q850 } = result;
  const outcome = outcomeOfRefusal(result);
  return { ok: false, cause: { type: 'callee.refused', outcome, status, q850 } };
}
