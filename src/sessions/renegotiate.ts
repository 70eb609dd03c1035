/** Offers inside a call, the same for both kinds of leg. */
import { AppError } from '#lib/errors.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import type { Direction, SdpSession } from '#sip/sdp.ts';

export type Renegotiated =
  | { readonly sdp: string; readonly audio: NegotiatedAudio | null }
  | { readonly status: number };

/** Answers a re-INVITE's or UPDATE's offer; without one (RFC 3261 14.2) our own offer goes back. */
export function renegotiateWith(
  sdp: SdpSession | null,
  offer: string | null,
  direction: Direction = 'sendrecv',
): Renegotiated {
  if (sdp === null) return { status: 500 };
  if (offer === null) return { sdp: sdp.offer(direction), audio: null };
  try {
    return sdp.answer(offer, direction) ?? { status: 488 };
  } catch (error) {
    if (offerRefusal(error)) return { status: 400 };
    throw error;
  }
}

/** True for an SDP that could not be read: the peer's fault, answered with a status. */
export function offerRefusal(error: unknown): boolean {
  return error instanceof AppError && error.code === 'E_SDP';
}
