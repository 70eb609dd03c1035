/** An INVITE that came in, as a leg: our answer, or our refusal. */
import type { Clock } from '#lib/clock.ts';
import { delay, withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { TrunkSource } from '#lib/trunk.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { createSdpSession, type SdpSession } from '#sip/sdp.ts';
import type { InboundCall, SipDialog } from '#sip/types.ts';
import type { InboundPlan } from './inbound-plan.ts';
import type { Answered, Leg, LegEvents, Refusal } from './leg.ts';
import { LegDescription } from './leg-hold.ts';
import { LegMedia, type LegPlace, type LegWishes } from './leg-media.ts';
import type { EndCause } from './outcome.ts';
import { offerRefusal } from './renegotiate.ts';

const RETRY_AFTER_S = 5;
/** The dialog stands, so the ACK is in: its body is there at once or never. */
const ACK_BODY_MS = 1000;
const MAX_PHRASE_CHARS = 128;

export type InboundLegOptions = {
  readonly call: InboundCall;
  /** What the rules want. */
  readonly plan: InboundPlan;
  /** There is no room for another call: 503 before anything else. */
  readonly isFull: boolean;
  /** How long a call rings that another device may take. */
  readonly ringMs: number;
  readonly clock: Clock;
  /** The address a peer is told to send RTP to, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
  readonly media?: LegMedia;
  /** The row of the trunk that the call came by; null or absent: none. */
  readonly trunk?: TrunkSource | null;
};

/** What the leg speaks, and with whom it is talked over. */
type Speech = {
  readonly media: LegMedia;
  readonly wishes: LegWishes;
  readonly place: LegPlace;
  /** Why the call is refused with 488, for the one who made the offer. */
  whyNot: string | null;
};

export function inboundLeg(options: InboundLegOptions): Leg {
  const { call, shownAddress, media = new LegMedia(), trunk = null } = options;
  let isSettled = false;
  const place = { trunkId: trunk?.trunkId ?? null, transport: call.transport };
  const description = new LegDescription(() => media.unsealed(place));
  const speech: Speech = { media, wishes: media.wishesOf(trunk), place, whyNot: null };
  const agree = (audio: NegotiatedAudio): void => {
    description.agreed(audio);
    media.agreed(audio, place);
  };
  return {
    sipCallId: call.sipCallId,
    localAddress: () => Promise.resolve(call.receivedAddress),
    check: (events, signal) => {
      call.onCancel(() => {
        isSettled = true;
        events.onCancel();
      });
      return carryOut(options, speech, events, signal);
    },
    connect: async (local): Promise<Answered | Refusal> => {
      const address = shownAddress(local.address, call.sourceAddress);
      const session = createSdpSession({ ...speech.wishes, address, port: local.port });
      description.use(session);
      if (call.offer === null) {
        const late = await answerLate(call, session, () => (isSettled = true));
        if (late.ok) agree(late.audio);
        return late;
      }
      const answer = session.answer(call.offer);
      if (answer === null) return incompatible(call.offer, speech, address);
      isSettled = true;
      const dialog = await acknowledged(call, answer.sdp);
      if ('cause' in dialog) return dialog;
      agree(answer.audio);
      return { ok: true, dialog, audio: answer.audio };
    },
    advance: () => Promise.resolve(false),
    renegotiate: (offer) => description.renegotiate(offer),
    acceptLate: (text) => description.acceptLate(text),
    holdOffer: (on) => description.holdOffer(on),
    acceptAnswer: (text) => description.acceptAnswer(text),
    refuse: (cause) => {
      if (isSettled || cause.type === 'remote.cancel') return;
      isSettled = true;
      const { status, reason } = statusFor(cause);
      call.reject(status, reason, headersFor(status, speech.whyNot));
    },
  };
}

/** Everything the plan has before the answer. Gives up, with any result, when `signal` aborts. */
async function carryOut(
  { call, plan, isFull, ringMs, clock }: InboundLegOptions,
  speech: Speech,
  events: LegEvents,
  signal: AbortSignal,
): Promise<{ readonly ok: true } | Refusal> {
  const { then, delayRingMs } = plan;
  if (isFull) return refused('congestion', 503);
  const checked =
    then.type === 'answer' && call.offer !== null
      ? checkOffer(call.offer, speech)
      : ({ ok: true } as const);
  if (!checked.ok) return checked;
  const waitMs = delayRingMs + (then.type === 'ring' ? ringMs : 0);
  if (waitMs > 0) {
    call.progress(180);
    events.onRinging(180, false);
    await delay(waitMs, signal, clock);
  }
  if (then.type === 'refuse') return refused('blocked', then.status, then.reason);
  return then.type === 'ring' ? refused('blocked', 480) : checked;
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

/** Of no family: what can be answered does not depend on the address before there is one. */
const ANY_ADDRESS = '0.0.0.0';

/** Whether anything in the offer can be answered; the real answer is made once the port is known. */
function checkOffer(offer: string, speech: Speech): { readonly ok: true } | Refusal {
  try {
    const probe = createSdpSession({ ...speech.wishes, address: ANY_ADDRESS, port: 9 }, 1);
    if (probe.answer(offer) !== null) return { ok: true };
    return incompatible(offer, speech, ANY_ADDRESS);
  } catch (error) {
    // RFC 3261 21.4.1: a body that cannot be parsed is a bad request.
    if (offerRefusal(error)) return refused('incompatible_media', 400);
    throw error;
  }
}

function incompatible(offer: string, speech: Speech, address: string): Refusal {
  const { media, wishes, place } = speech;
  speech.whyNot = media.refused(offer, { ...wishes, address }, place);
  return refused('incompatible_media', 488);
}

/** RFC 3261 20.43: 305 is an incompatible media format. */
function headersFor(status: number, whyNot: string | null): Readonly<Record<string, string>> {
  if (status === 503) return { 'Retry-After': String(RETRY_AFTER_S) };
  return status === 488 && whyNot !== null ? { Warning: `305 callyard "${whyNot}"` } : {};
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

function refused(
  outcome: 'incompatible_media' | 'congestion' | 'blocked',
  status: number,
  reason: string | null = null,
): Refusal {
  return { ok: false, cause: { type: 'we.refused', outcome, status, reason } };
}

/** The refusal that a caller sees when we end an INVITE that nobody answered. */
function statusFor(cause: EndCause): { status: number; reason: string } {
  if (cause.type === 'we.refused')
    return {
      status: cause.status,
      reason: phraseOf(cause.reason) ?? REASONS[cause.status] ?? 'Refused',
    };
  if (cause.type === 'api.hangup') return { status: 603, reason: 'Decline' };
  if (cause.type === 'node.stop') return { status: 503, reason: 'Service Unavailable' };
  if (cause.type === 'fault' && cause.code === 'E_MEDIA_PORTS')
    return { status: 503, reason: 'Service Unavailable' };
  return { status: 500, reason: 'Server Internal Error' };
}

/** A rule's own words as a reason phrase: one line (RFC 3261 25.1). */
function phraseOf(reason: string | null): string | null {
  const line = (reason ?? '').replaceAll(/\p{Cc}+/gu, ' ').trim();
  return line === '' ? null : Array.from(line).slice(0, MAX_PHRASE_CHARS).join('');
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad SDP',
  403: 'Forbidden',
  404: 'Not Found',
  480: 'Temporarily Unavailable',
  486: 'Busy Here',
  488: 'Not Acceptable Here',
  503: 'Service Unavailable',
  603: 'Decline',
};
