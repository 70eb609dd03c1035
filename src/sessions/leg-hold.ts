/** Who has put whom on hold, for both kinds of SIP leg: offers and answers of a call keep to it. */
import type { NegotiatedAudio } from '#media/types.ts';
import type { Direction, SdpSession } from '#sip/sdp.ts';
import { renegotiateWith, type Renegotiated } from './renegotiate.ts';

/** The session description of one leg once it is connected, and whether we hold the other side. */
export class LegDescription {
  #session: SdpSession | null = null;
  #isHolding = false;
  /** What the offer under way asks for; null when there is none. */
  #asked: boolean | null = null;
  #isSealed = false;
  readonly #onPlain: () => void;

  /** `onPlain`: a call under SRTP goes on in plain RTP from now on, as an offer or answer of theirs wants it. */
  constructor(onPlain: () => void = () => undefined) {
    this.#onPlain = onPlain;
  }

  /** A new attempt begins: nothing is held. */
  use(session: SdpSession): void {
    this.#session = session;
    this.#isHolding = false;
    this.#asked = null;
    this.#isSealed = false;
  }

  /** What was agreed on, at first and later. */
  agreed(audio: NegotiatedAudio): void {
    const isSealed = audio.srtp != null;
    if (this.#isSealed && !isSealed) this.#onPlain();
    this.#isSealed = isSealed;
  }

  /** The offer that puts the other side on hold, or takes it off; null before there is a description. */
  holdOffer(on: boolean): string | null {
    if (this.#session === null) return null;
    this.#asked = on;
    return this.#session.offer(directionFor(on));
  }

  /** The answer to `holdOffer`. An offer that is refused, or answered without audio, changes nothing. Errors: E_SDP. */
  acceptAnswer(text: string): NegotiatedAudio | null {
    const asked = this.#asked ?? this.#isHolding;
    this.#asked = null;
    const audio = this.acceptLate(text);
    if (audio !== null) this.#isHolding = asked;
    return audio;
  }

  /** An offer of the other side, or none: whoever is on hold stays there. */
  renegotiate(offer: string | null): Renegotiated {
    const answer = renegotiateWith(this.#session, offer, directionFor(this.#isHolding));
    if ('sdp' in answer && answer.audio !== null) this.agreed(answer.audio);
    return answer;
  }

  /** The answer to an offer in a response of ours. */
  acceptLate(text: string): NegotiatedAudio | null {
    const audio = this.#session?.accept(text) ?? null;
    if (audio !== null) this.agreed(audio);
    return audio;
  }
}

function directionFor(isHolding: boolean): Direction {
  return isHolding ? 'sendonly' : 'sendrecv';
}
