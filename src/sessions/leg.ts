/** The SIP side of one call as `runCall` drives it, inbound and outbound alike. */
import type { NegotiatedAudio } from '#media/types.ts';
import type { SipDialog } from '#sip/types.ts';
import type { EndCause } from './outcome.ts';

/** Where our RTP is received: goes into the SDP. */
export type LocalMedia = { readonly address: string; readonly port: number };

export type Refusal = { readonly ok: false; readonly cause: EndCause };

/** What a call uses of its signalling; a call without SIP has no Call-ID. */
export type LegDialog = Omit<SipDialog, 'sipCallId'> & { readonly sipCallId: string | null };

/** An answered call: the dialog and what to send where. */
export type Answered = {
  readonly ok: true;
  readonly dialog: LegDialog;
  readonly audio: NegotiatedAudio;
};

export type LegEvents = {
  /** 100 of an outbound call: the next hop has the INVITE. */
  onTrying(): void;
  /** 18x of an outbound call, or our own 180. */
  onRinging(status: number, earlyMedia: boolean): void;
  onCancel(): void;
  /** The other side of an answered call is gone and may come back: nothing is to be said to nobody. */
  onAway(): void;
  onBack(): void;
  /** It did not come back. */
  onLost(): void;
};

export type Leg = {
  readonly sipCallId: string | null;
  /** True: audio comes from a client through `MediaSession.web`, and no port is leased. */
  readonly isWeb?: boolean;
  /** Local address that media binds. */
  localAddress(): Promise<string>;
  /** Whatever comes before a port is leased: a look at the offer, the ringing that a rule wants. A refusal ends the call. */
  check(events: LegEvents, signal: AbortSignal): Promise<{ readonly ok: true } | Refusal>;
  /** Until ACK (inbound) or the final answer (outbound). Aborting gives up: CANCEL, or a refusal of the INVITE. */
  connect(local: LocalMedia, events: LegEvents, signal: AbortSignal): Promise<Answered | Refusal>;
  /** After a refusal: true when there is another way to the same party, which `connect` then takes. */
  advance(): Promise<boolean>;
  /** A re-INVITE's offer -> our answer and what it changes; a refusal is answered with that status. */
  renegotiate(
    offer: string | null,
  ): { readonly sdp: string; readonly audio: NegotiatedAudio | null } | { readonly status: number };
  /** Answer to an offer we made in a response (late offer). */
  acceptLate(sdp: string): NegotiatedAudio | null;
  /**
   * An offer for `SipDialog.reinvite` that puts the other side on hold (sendonly) or takes it off again (sendrecv).
   * Null: this leg has no session description (web), and nothing is to be asked. Before the answer: null too.
   */
  holdOffer(on: boolean): string | null;
  /**
   * The answer to `holdOffer`: what to give to `MediaSession.start`; null when it refuses the audio. From here on offers
   * of the other side are answered on hold as well, until `holdOffer(false)` is. Errors: E_SDP.
   */
  acceptAnswer(sdp: string): NegotiatedAudio | null;
  /** Refuses an INVITE that was never answered, with the status that fits `cause`. A no-op otherwise. */
  refuse(cause: EndCause): void;
};
