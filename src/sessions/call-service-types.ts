/** The one core call service (contract 2.0): what every HTTP family places, reads and ends calls through. */
import type {
  CallStatus,
  Channel,
  Direction,
  EndedBy,
  HangupReason,
  Latency,
  Message,
  Outcome,
  Quality,
} from '#lib/call-events.ts';
import type { VoicemailAction } from '#lib/agent-config.ts';
import type { Id } from '#lib/ids.ts';
import type { Money } from '#lib/prices.ts';

/** A call as its owner knows it now. Times are ISO-8601 UTC with milliseconds; absent values are null. */
export type LiveCallView = {
  readonly id: Id;
  readonly accountId: Id;
  readonly agentId: Id;
  readonly agentName: string;
  readonly direction: Direction;
  readonly channel: Channel;
  readonly status: CallStatus;
  readonly outcome: Outcome | null;
  readonly hangupReason: HangupReason | null;
  readonly endedBy: EndedBy | null;
  readonly callerName: string | null;
  /** The remote party, also on outbound calls. */
  readonly callerPhone: string | null;
  readonly callerApp: string | null;
  readonly fromNumber: string | null;
  readonly toNumber: string | null;
  readonly startTime: string;
  readonly answerTime: string | null;
  readonly endTime: string | null;
  /** Whole seconds from the answer to now or to the end; 0 before the answer. */
  readonly durationSeconds: number;
  readonly recordingStatus: 'none' | 'active' | 'ready' | 'failed' | 'expired';
  readonly recordingId: Id | null;
  readonly trunkId: Id | null;
  /** Of the trunk that carries the call; null for calls without one. */
  readonly trunkTransport: 'udp' | 'tcp' | 'tls' | null;
  readonly customerId: string | null;
  readonly campaignId: Id | null;
  readonly squadId: Id | null;
  /** The answer rule that decided an inbound call. */
  readonly ruleId: Id | null;
  readonly quality: Quality | null;
  readonly latency: Latency | null;
  /** Of its vendors until now; null or absent: no price is known. */
  readonly cost?: Money | null;
  readonly sipCallId: string | null;
  readonly sipStatus: number | null;
  readonly node: string;
  readonly variables: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, unknown>>;
};

/** Why a call could not be placed. Expected, hence a value; the texts for people are the facade's. */
export type RefusalCode =
  | 'NO_ROUTE'
  | 'NUMBER_NOT_ALLOWED'
  | 'CONSENT_MISSING'
  | 'CONCURRENCY_LIMIT'
  | 'DRAINING'
  | 'OVERLOADED'
  | 'REFERENCE_NOT_FOUND'
  | 'UNAVAILABLE';

export type CallRefusal = {
  readonly code: RefusalCode;
  /** When trying again may help, in seconds; null leaves it to the facade. */
  readonly retryAfterS: number | null;
  /** What a REFERENCE_NOT_FOUND is about, or the number that NUMBER_NOT_ALLOWED refuses; null: `agent` and `to`. */
  readonly field?: 'agent' | 'squad' | 'trunk' | 'to' | 'from';
};

export type PlaceResult =
  | { readonly ok: true; readonly call: LiveCallView }
  | { readonly ok: false; readonly refusal: CallRefusal };

export type PlaceCall = {
  readonly accountId: Id;
  /** Chosen beforehand by whoever must find the call again after a crash; else a new one. */
  readonly callId?: Id;
  readonly campaignId?: Id;
  /** A number in normal form (`#lib/phone.ts`), or a `sip:`/`sips:` URI where the trunk allows them. */
  readonly to: string;
  /** In normal form; must be a number of the account or the trunk's own. */
  readonly from?: string;
  /** Replaces the agent's system prompt for this call. */
  readonly prompt?: string;
  /** Replaces the agent's greeting for this call. */
  readonly greeting?: string;
  /** Replaces the agent's language for this call. */
  readonly language?: 'en' | 'zh';
  /** Its primary member takes the call. Not with `agentId`. */
  readonly squadId?: Id;
  /** Agents that the client may use; null or absent: all. Others count as missing. */
  readonly allowedAgentIds?: readonly Id[] | null;
  readonly customerId?: string;
  readonly recordingEnabled?: boolean;
  readonly trunkId?: Id;
  /** Insists on a trunk with this transport. */
  readonly trunkTransport?: 'udp' | 'tcp' | 'tls';
  /** 5..120, default 30. */
  readonly ringTimeoutS?: number;
  /** It is found out whether a person or a machine answers. */
  readonly amd?: boolean;
  /** What is done about a machine, instead of what the agent's settings say. */
  readonly voicemail?: VoicemailAction;
  /** 10..14400; the agent's own limit when absent. */
  readonly maxDurationS?: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** The account's default agent when absent; an unknown one is REFERENCE_NOT_FOUND. */
  readonly agentId?: Id;
  readonly variables?: Readonly<Record<string, string>>;
  /** Aborted when nobody waits for the answer any more: the call must then not be placed. */
  readonly signal?: AbortSignal;
  /** Goes into every event that the request causes. */
  readonly requestId?: string;
};

export type ConversationStatus = 'pending' | 'active' | 'completed' | 'expired' | 'failed';

export type Conversation = {
  readonly status: ConversationStatus;
  /** In order, complete to the last second while the call is live. */
  readonly messages: readonly Message[];
};

/**
 * Calls of this installation, by account: another account's id answers like a missing one. A call stays visible for
 * at least 60 s after its end, so that a record still on its way to the database is never a 404.
 */
export type CallService = {
  /** Answers with the call `queued` or `dialing`, before the INVITE is answered. Rejects only for our own faults. */
  place(request: PlaceCall): Promise<PlaceResult>;
  get(accountId: Id, id: Id): Promise<LiveCallView | null>;
  /**
   * Ends a call and resolves once its end is decided (`ended` or `failed`), within 2 s; a call that is over is left
   * unchanged. Null when this service has no such call.
   */
  hangup(
    accountId: Id,
    id: Id,
    how: { readonly reason: string | null; readonly by: 'api' | 'supervisor' },
  ): Promise<LiveCallView | null>;
  conversation(accountId: Id, id: Id): Promise<Conversation | null>;
  /** Calls that are not over, oldest first. */
  live(accountId: Id): Promise<readonly LiveCallView[]>;
};

/** True while a call may still be controlled. */
export function isLiveStatus(status: CallStatus): boolean {
  return status !== 'ended' && status !== 'failed';
}

/** The conversation status of a core status (contract 2.0). */
export function conversationStatusOf(
  status: CallStatus,
  outcome: Outcome | null,
): ConversationStatus {
  switch (status) {
    case 'queued':
    case 'dialing':
    case 'ringing':
      return 'pending';
    case 'answered':
      return 'active';
    case 'ended':
      return outcome === 'idle' ? 'expired' : 'completed';
    case 'failed':
      return 'failed';
  }
}
