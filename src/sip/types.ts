/** Signalling as the rest of Callyard sees it: typed legs and values, no drachtio-srf object leaves src/sip. */
import type { Trunk } from '#lib/trunk.ts';

/** A party from From/To/P-Asserted-Identity: what the headers say, not yet normalised. */
export type Party = {
  /** User part of the URI, or the number of a tel: URI; empty when withheld. */
  readonly user: string;
  readonly host: string;
  readonly displayName: string | null;
  readonly uri: string;
  /** Privacy: id, or an anonymous URI (RFC 3323, 3325). */
  readonly anonymous: boolean;
};

/** Why a dialog or an attempt ended, as far as SIP says. */
export type SipEnd = {
  readonly by: 'remote' | 'local' | 'engine';
  /** Final status of a refused INVITE; null after a BYE. */
  readonly status: number | null;
  readonly reason: string | null;
  /** Q.850 cause of a Reason header (RFC 3326), null if none. */
  readonly q850: number | null;
};

/** What an offer in a re-INVITE or UPDATE is answered with: an SDP, or a refusal. */
export type OfferAnswer =
  | { readonly sdp: string }
  | { readonly status: number; readonly reason?: string };

/** A confirmed dialog. Owned by the call; `bye` is idempotent. */
export type SipDialog = {
  readonly sipCallId: string;
  /** Called once, when the dialog is over for whatever reason. Late listeners are called at once. */
  onEnd(listener: (end: SipEnd) => void): void;
  /** Re-INVITE or UPDATE from the other side; `offer` is null for an offerless re-INVITE (then the answer is our offer). */
  onOffer(handler: (offer: string | null) => Promise<OfferAnswer>): void;
  /** SDP in the ACK that answers a late offer of ours. */
  onAnswer(handler: (sdp: string) => void): void;
  /** DTMF by SIP INFO (application/dtmf-relay or application/dtmf). */
  onDtmf(listener: (digit: string, durationMs: number) => void): void;
  /** Ends the dialog; resolves when the BYE is answered or after its deadline, never rejects. */
  bye(reason?: { readonly q850: number; readonly text: string }): Promise<void>;
  /**
   * Offers new media; resolves with the answer's SDP. An offer of theirs that is being answered is waited for, glare (491)
   * is tried again: a function is asked anew each time, for the session may have changed meanwhile. A refusal leaves the
   * dialog as it was.
   * Errors: E_SIP_REJECTED, E_SIP_DIALOG_GONE, E_SIP_ENGINE, E_TIMEOUT.
   */
  reinvite(sdp: string | (() => string)): Promise<string>;
  /**
   * One digit (`0-9A-D*#`) by INFO application/dtmf-relay; resolves with the 2xx.
   * Errors: E_SIP_REJECTED (`details.status`), E_SIP_DIALOG_GONE, E_SIP_ENGINE, E_TIMEOUT (4 s).
   */
  sendDtmf(digit: string, durationMs: number): Promise<void>;
};

/** An INVITE that waits for our decision. Exactly one of `answer` and `reject` ends it, or the caller's CANCEL. */
export type InboundCall = {
  readonly sipCallId: string;
  readonly from: Party;
  readonly to: Party;
  /** The number dialled: Request-URI's user part, for a call to a registration of ours To's. */
  readonly called: string;
  /** The trunk whose registration the call came by: `line` of our Contact; null for other calls. */
  readonly line?: string | null;
  readonly transport: 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Local address the INVITE arrived on: media binds it. */
  readonly receivedAddress: string;
  /** SDP offer, null for an INVITE without body (then `answer` takes our offer and `onAnswer` brings the answer). */
  readonly offer: string | null;
  header(name: string): string | undefined;
  /** 18x, with SDP for early media. Never rejects: a provisional is not worth a call. */
  progress(status: 180 | 183, sdp?: string): void;
  /**
   * 200 with our SDP; resolves with the confirmed dialog once the ACK is in.
   * Errors: E_SIP_CANCELLED (CANCEL won the race), E_SIP_ENGINE, E_TIMEOUT (no ACK; the engine has sent BYE).
   */
  answer(sdp: string): Promise<SipDialog>;
  reject(status: number, reason?: string, headers?: Readonly<Record<string, string>>): void;
  /** CANCEL, at most once; a late listener is called at once. */
  onCancel(listener: (end: SipEnd) => void): void;
};

/** An INVITE expires this much after the ring time: our CANCEL comes first, so that the end is ours to name. */
export const RING_GRACE_S = 5;

export type OutboundRequest = {
  readonly trunk: Trunk;
  readonly to: string;
  readonly from: string | null;
  /** Our SDP offer. */
  readonly offer: string;
  /** No final answer within this: CANCEL. */
  readonly ringTimeoutMs: number;
  /** No response at all within this: the trunk counts as unreachable. RFC 3261's timer B when absent. */
  readonly silenceTimeoutMs?: number;
  onProgress(progress: { readonly status: number; readonly sdp: string | null }): void;
  /** 100: the next hop has the INVITE. At most once. */
  onTrying?(): void;
};

/** How an outbound attempt came out. Refusals are values, not exceptions. */
export type OutboundResult =
  | { readonly ok: true; readonly dialog: SipDialog; readonly answer: string }
  | {
      readonly ok: false;
      readonly cause: 'refused' | 'no_answer' | 'cancelled' | 'unreachable';
      readonly status: number | null;
      readonly reason: string | null;
      readonly q850: number | null;
      readonly retryAfter: boolean;
      /** The far end wanted a login and credentials were sent, or there were none to send. */
      readonly authFailed: boolean;
    };

export type SipAgent = {
  /** Addresses the engine listens on, for the banner: `udp/192.0.2.7:5060`. */
  readonly listening: readonly string[];
  /** One handler for all inbound INVITEs; set before the engine takes calls. */
  onCall(handler: (call: InboundCall) => void): void;
  /** Answers OPTIONS (and decides 503 while draining). */
  setDraining(on: boolean): void;
  /** The local address that packets to this trunk leave from: goes into SDP and binds media. */
  localAddressFor(trunk: Trunk): Promise<string>;
  /** Aborting `signal` sends CANCEL (result `cancelled`). Errors only when our own engine is gone: E_SIP_ENGINE. */
  call(request: OutboundRequest, signal: AbortSignal): Promise<OutboundResult>;
  /** True while the engine's control connection is up. */
  readonly isUp: boolean;
  close(): Promise<void>;
};
