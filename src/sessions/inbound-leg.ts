/** An INVITE that came in, as a leg: our answer, or our refusal. */
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { createSdpSession, type SdpCodec, type SdpSession } from '#sip/sdp.ts';
import { readSdp } from '#sip/sdp-read.ts';
import type { InboundCall, SipDialog } from '#sip/types.ts';
import type { Answered, Leg, Refusal } from './leg.ts';
import type { EndCause } from './outcome.ts';
import { offerRefusal, renegotiateWith } from './renegotiate.ts';

/** A-law first: the carriers' codec outside North America and Japan. */
const CODECS: readonly SdpCodec[] = ['PCMA', 'PCMU'];
const RETRY_AFTER_S = 5;
/** The dialog stands, so the ACK is in: its body is there at once or never. */
const ACK_BODY_MS = 1000;

export type InboundLegOptions = {
  readonly call: InboundCall;
  /** Decided before anything else, e.g. no room for another call. */
  readonly refusal: { readonly outcome: 'congestion'; readonly status: number } | null;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
};

export function inboundLeg({ call, refusal, shownAddress }: InboundLegOptions): Leg {
  let sdp: SdpSession | null = null;
  let isSettled = false;
  return {
    sipCallId: call.sipCallId,
    localAddress: () => Promise.resolve(call.receivedAddress),
    check: () => {
      if (refusal !== null) return refused(refusal.outcome, refusal.status);
      return call.offer === null ? { ok: true } : checkOffer(call.offer);
    },
    connect: async (local, events): Promise<Answered | Refusal> => {
      call.onCancel(() => {
        isSettled = true;
        events.onCancel();
      });
      const address = shownAddress(local.address, call.sourceAddress);
      const session = createSdpSession({ address, port: local.port, codecs: CODECS });
      sdp = session;
      if (call.offer === null) return answerLate(call, session, () => (isSettled = true));
      const answer = session.answer(call.offer);
      if (answer === null) return refused('incompatible_media', 488);
      isSettled = true;
      const dialog = await acknowledged(call, answer.sdp);
      return 'cause' in dialog ? dialog : { ok: true, dialog, audio: answer.audio };
    },
    renegotiate: (offer) => renegotiateWith(sdp, offer),
    acceptLate: (text) => sdp?.accept(text) ?? null,
    refuse: (cause) => {
      if (isSettled || cause.type === 'remote.cancel') return;
      isSettled = true;
      const { status, reason } = statusFor(cause);
      call.reject(status, reason, status === 503 ? { 'Retry-After': String(RETRY_AFTER_S) } : {});
    },
  };
}

/** The 200 and its ACK. What the caller's side did wrong is a cause, not a fault of ours. */
async function acknowledged(call: InboundCall, sdp: string): Promise<SipDialog | Refusal> {
  try {
    return await call.answer(sdp);
  } catch (error) {
    const code = error instanceof AppError ? error.code : null;
    if (code === 'E_TIMEOUT') return { ok: false, cause: { type: 'signalling.lost' } };
    if (code === 'E_SIP_CANCELLED') return { ok: false, cause: { type: 'remote.cancel' } };
    if (code === 'E_SDP') return refused('incompatible_media', 488);
    throw error;
  }
}

/** Whether anything in the offer can be answered; the real answer is made once the port is known. */
function checkOffer(offer: string): { readonly ok: true } | Refusal {
  try {
    readSdp(offer);
    const probe = createSdpSession({ address: '0.0.0.0', port: 9, codecs: CODECS }, 1);
    return probe.answer(offer) === null ? refused('incompatible_media', 488) : { ok: true };
  } catch (error) {
    // RFC 3261 21.4.1: a body that cannot be parsed is a bad request.
    if (offerRefusal(error)) return refused('incompatible_media', 400);
    throw error;
  }
}

/** No offer in the INVITE: ours goes into the 200, theirs comes with the ACK (RFC 3261 13.2.1). */
async function answerLate(
  call: InboundCall,
  session: SdpSession,
  settle: () => void,
): Promise<Answered | Refusal> {
  const offer = session.offer();
  settle();
  const dialog = await acknowledged(call, offer);
  if ('cause' in dialog) return dialog;
  const { promise, resolve } = Promise.withResolvers<NegotiatedAudio | null>();
  dialog.onAnswer((text) => {
    try {
      resolve(session.accept(text));
    } catch (error) {
      if (!offerRefusal(error)) throw error;
      resolve(null);
    }
  });
  const audio = await withDeadline(promise, ACK_BODY_MS, 'the answer in the ACK').catch(
    (error: unknown) => {
      if (error instanceof AppError && error.code === 'E_TIMEOUT') return null; // an ACK without a body
      throw error;
    },
  );
  if (audio !== null) return { ok: true, dialog, audio };
  await dialog.bye({ q850: 88, text: 'Incompatible destination' });
  return refused('incompatible_media', 488);
}

function refused(outcome: 'incompatible_media' | 'congestion', status: number): Refusal {
  return { ok: false, cause: { type: 'we.refused', outcome, status } };
}

/** The refusal that a caller sees when we end an INVITE that nobody answered. */
function statusFor(cause: EndCause): { status: number; reason: string } {
  if (cause.type === 'we.refused')
    return { status: cause.status, reason: REASONS[cause.status] ?? 'Refused' };
  if (cause.type === 'api.hangup') return { status: 603, reason: 'Decline' };
  if (cause.type === 'node.stop') return { status: 503, reason: 'Service Unavailable' };
  if (cause.type === 'fault' && cause.code === 'E_MEDIA_PORTS')
    return { status: 503, reason: 'Service Unavailable' };
  return { status: 500, reason: 'Server Internal Error' };
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad SDP',
  488: 'Not Acceptable Here',
  503: 'Service Unavailable',
};
