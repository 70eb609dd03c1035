/** Every end of a call is one outcome of the contract's vocabulary (contract 2.0), decided here and nowhere else. */
import type { CallStatus, EndedBy, EventType, HangupReason, Outcome } from '#lib/call-events.ts';
import type { ErrorCode, Fault } from '#lib/errors.ts';

/** What ended the call, as the call machine saw it. The first cause stands. */
export type EndCause =
  /** BYE from the other side. */
  | { readonly type: 'remote.bye'; readonly q850: number | null }
  /** CANCEL from an inbound caller before the answer. */
  | { readonly type: 'remote.cancel' }
  /** The agent said its last words and hung up. */
  | { readonly type: 'agent.done' }
  /** Somebody asked for it over the API. */
  | {
      readonly type: 'api.hangup';
      readonly by: 'api' | 'supervisor';
      readonly reason?: string | null;
    }
  /** The node is going down and the drain time is over. */
  | { readonly type: 'node.stop' }
  | { readonly type: 'caller.silent' }
  | { readonly type: 'duration.over' }
  | { readonly type: 'media.lost' }
  | { readonly type: 'provider.failed' }
  /** The 200 was never acknowledged, or the engine lost the dialog. */
  | { readonly type: 'signalling.lost' }
  /** An outbound INVITE was refused; `outcome` by the SIP table of contract 2.0. */
  | {
      readonly type: 'callee.refused';
      readonly outcome: Outcome;
      readonly status: number | null;
      readonly q850: number | null;
    }
  /** We refused an inbound INVITE: no common codec, no room, or a rule. */
  | {
      readonly type: 'we.refused';
      readonly outcome: 'incompatible_media' | 'congestion' | 'blocked';
      readonly status: number;
      /** The rule's own words; null: the usual ones. */
      readonly reason: string | null;
    }
  | { readonly type: 'fault'; readonly code: ErrorCode; readonly message: string };

export type Ending = {
  readonly outcome: Outcome;
  readonly hangupReason: HangupReason | null;
  readonly endedBy: EndedBy;
  readonly status: CallStatus;
  readonly finalEvent: Extract<EventType, 'call.ended' | 'call.failed' | 'call.timeout'>;
  readonly fault: Fault | null;
};

/** Outcome -> public hang-up reason and whose fault it is. `completed` alone depends on who ended the call. */
const REASONS: Record<
  Outcome,
  { readonly reason: HangupReason | null; readonly fault: Fault | null }
> = {
  completed: { reason: 'user', fault: null },
  transferred: { reason: 'ai', fault: null },
  voicemail: { reason: 'ai', fault: null },
  silence: { reason: 'silence', fault: null },
  max_duration: { reason: 'timeout', fault: null },
  idle: { reason: 'timeout', fault: null },
  no_answer: { reason: 'timeout', fault: null },
  abandoned: { reason: 'timeout', fault: null },
  busy: { reason: 'error', fault: 'caller' },
  declined: { reason: 'error', fault: 'caller' },
  cancelled: { reason: null, fault: null },
  blocked: { reason: null, fault: null },
  invalid_number: { reason: 'error', fault: 'caller' },
  unreachable: { reason: 'error', fault: 'carrier' },
  congestion: { reason: 'error', fault: 'carrier' },
  auth_failed: { reason: 'error', fault: 'operator' },
  carrier_error: { reason: 'error', fault: 'carrier' },
  incompatible_media: { reason: 'error', fault: 'caller' },
  media_lost: { reason: 'error', fault: 'carrier' },
  provider_error: { reason: 'error', fault: 'provider' },
  node_lost: { reason: 'error', fault: 'us' },
  internal_error: { reason: 'error', fault: 'us' },
};

/**
 * The one outcome of a call that ended for `cause`; `answered` tells whether media ever flowed, `isMachine` that a machine
 * had answered.
 */
export function endingOf(cause: EndCause, answered: boolean, isMachine = false): Ending {
  const found = outcomeOf(cause, answered);
  const outcome = isMachine && found === 'completed' ? 'voicemail' : found;
  const endedBy = endedByOf(cause);
  const { reason, fault } = REASONS[outcome];
  const hangupReason = outcome === 'completed' && endedBy !== 'caller' ? 'ai' : reason;
  if (answered)
    return { outcome, hangupReason, endedBy, status: 'ended', finalEvent: 'call.ended', fault };
  const finalEvent = outcome === 'no_answer' ? 'call.timeout' : 'call.failed';
  return { outcome, hangupReason, endedBy, status: 'failed', finalEvent, fault };
}

function outcomeOf(cause: EndCause, answered: boolean): Outcome {
  switch (cause.type) {
    case 'remote.bye':
    case 'agent.done':
      return 'completed';
    case 'remote.cancel':
      return 'abandoned';
    case 'api.hangup':
    case 'node.stop':
      return answered ? 'completed' : 'cancelled';
    case 'caller.silent':
      return 'silence';
    case 'duration.over':
      return 'max_duration';
    case 'media.lost':
      return 'media_lost';
    case 'provider.failed':
      return 'provider_error';
    case 'signalling.lost':
      return answered ? 'media_lost' : 'carrier_error';
    case 'callee.refused':
    case 'we.refused':
      return cause.outcome;
    case 'fault':
      return 'internal_error';
  }
}

function endedByOf(cause: EndCause): EndedBy {
  switch (cause.type) {
    case 'remote.bye':
    case 'remote.cancel':
      return 'caller';
    case 'agent.done':
    case 'caller.silent':
      return 'agent';
    case 'api.hangup':
      return cause.by;
    case 'callee.refused':
      return cause.outcome === 'no_answer' || cause.outcome === 'cancelled' ? 'system' : 'caller';
    case 'node.stop':
    case 'duration.over':
    case 'media.lost':
    case 'provider.failed':
    case 'signalling.lost':
    case 'we.refused':
    case 'fault':
      return 'system';
  }
}
