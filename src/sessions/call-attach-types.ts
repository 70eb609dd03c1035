/** Clients on a call by socket: the caller side of a web call, and listeners of any call (contract 2.4, 2.5). */
import type { Id } from '#lib/ids.ts';
import type { FrameListener } from './call-frames.ts';
import type { LiveCallView, PlaceCall, PlaceResult } from './call-service-types.ts';

export type AttachRole = 'caller' | 'listen';

export type PlaceWebCall = Omit<PlaceCall, 'to' | 'from' | 'trunkId' | 'trunkTransport'> & {
  /** The party that the client speaks for, for the record; null: nobody is named. */
  readonly remoteNumber: string | null;
  /** Also the record's `direction`: `inbound` for a client that calls, `outbound` for one that is called. */
  readonly direction: 'inbound' | 'outbound';
};

/**
 * Why nobody was attached: no such call (404, 4404), the wrong side or one that is taken (4409), over (4404), eight
 * listeners already (4429).
 */
export type AttachRefusal = 'NOT_FOUND' | 'WRONG_ROLE' | 'TAKEN' | 'OVER' | 'FULL';

export type AttachResult =
  | { readonly ok: true; readonly attachment: Attachment }
  | { readonly ok: false; readonly refusal: AttachRefusal };

/** A client on a call. All PCM is 16-bit mono at 8 kHz. `detach` is idempotent; after it nothing is told or read. */
export type Attachment = {
  readonly call: LiveCallView;
  readonly role: AttachRole;
  /**
   * Caller audio, any length. Up to 2 s wait to be heard; the oldest excess is dropped, and the return value is the
   * number of samples dropped. A listener's audio is ignored (0).
   */
  push(pcm: Int16Array): number;
  /**
   * What the client is to hear: the agent, or for a listener both sides mixed. Reads up to `into.length` samples that
   * are due and returns how many; call it every 20 ms. What is not read within 2 s is dropped.
   */
  read(into: Int16Array): number;
  /**
   * Frames from now on. One listener; set it at once. `canAnswer` (default true): its client answers functions; while
   * nobody on the call does, the agent is told so at once instead of waiting.
   */
  onFrame(listener: FrameListener, canAnswer?: boolean): void;
  /** As if the caller had said or pressed it; ignored for a listener and before the answer. */
  text(text: string): void;
  dtmf(digits: string): void;
  /** Stops the agent's current speech. */
  interrupt(): void;
  /** The caller side ends the call (`hangup_reason: user`); for a listener a no-op. */
  hangup(reason: string | null): void;
  /** The client's player has got past this mark. */
  played(mark: string): void;
  /** The answer to a `function_call` frame; false when nobody waits for it (any more). */
  functionResult(id: string, result: unknown): boolean;
  /**
   * The client is gone without ending the call. A caller may attach again within 10 s and goes on; else the call ends
   * with `media_lost`.
   */
  detach(): void;
};

export type CallAttaching = {
  /**
   * A call without SIP: `dialing` until a client attaches and becomes the caller side; nobody within 60 s is
   * `no_answer`. Checks as `place`, without trunk and number.
   */
  placeWeb(request: PlaceWebCall): Promise<PlaceResult>;
  /** `allowedAgentIds`: others' calls count as missing. */
  attach(
    accountId: Id,
    callId: Id,
    options: { readonly role: AttachRole; readonly allowedAgentIds: readonly Id[] | null },
  ): AttachResult;
};
