/**
 * The vocabulary of a call's life: statuses, outcomes, messages, events, and the journal entry that carries them.
 * Public shapes are those of the HTTP contract (sections 2.0, 2.1 and 3): snake_case, times as ISO-8601 strings.
 */
import type { Id } from './ids.ts';
import type { Money } from './prices.ts';
import type { RecordingFormat } from './sealed-audio.ts';

export type Direction = 'inbound' | 'outbound';
export type Channel = 'phone' | 'web' | 'external' | 'text';
export type CallStatus = 'queued' | 'dialing' | 'ringing' | 'answered' | 'ended' | 'failed';
export type HangupReason = 'user' | 'ai' | 'timeout' | 'silence' | 'error';
export type EndedBy = 'caller' | 'agent' | 'api' | 'supervisor' | 'system';

export type Outcome =
  | 'completed'
  | 'transferred'
  | 'voicemail'
  | 'silence'
  | 'max_duration'
  | 'idle'
  | 'no_answer'
  | 'abandoned'
  | 'busy'
  | 'declined'
  | 'cancelled'
  | 'blocked'
  | 'invalid_number'
  | 'unreachable'
  | 'congestion'
  | 'auth_failed'
  | 'carrier_error'
  | 'incompatible_media'
  | 'media_lost'
  | 'provider_error'
  | 'node_lost'
  | 'internal_error';

/** One entry of a record's `messages`. `timestamp` is unix seconds with at most 3 decimals. */
export type Message = {
  readonly role: 'system' | 'user' | 'assistant' | 'function';
  readonly content: string;
  readonly timestamp: number;
  readonly start_ms?: number;
  readonly end_ms?: number;
  readonly confidence?: number;
  readonly latency_ms?: number;
  /** `content` is then cut to what the caller heard. */
  readonly interrupted?: boolean;
  /** Of the function, in its answer. */
  readonly name?: string;
  /** Functions that the agent asked for. */
  readonly tool_calls?: {
    readonly id: string;
    readonly name: string;
    readonly arguments: Readonly<Record<string, unknown>>;
  }[];
};

/** The three numbers given for each latency, in ms. */
export type Percentiles = { readonly p50: number; readonly p90: number; readonly max: number };
export type LatencyPart = 'jitter' | 'endpointing' | 'stt' | 'llm' | 'tts' | 'pacing';
export type Latency = {
  readonly turns: number;
  readonly mouth_to_ear_ms: Percentiles;
  readonly parts_ms: Readonly<Record<LatencyPart, Percentiles>>;
};

export type Quality = {
  readonly mos: number;
  readonly mos_min: number;
  readonly loss_pct: number;
  readonly jitter_ms: number;
  readonly codec: string;
  readonly fault: string | null;
};

/** Who answered a call of ours. */
/** How a key came: as an event in the RTP, as a tone in the audio, by signalling, from a client without SIP. */
export type KeyMode = 'rfc4733' | 'inband' | 'info' | 'web';

export type AmdResult = 'human' | 'machine' | 'ivr' | 'no_speech' | 'fax';
/** By what that was known. */
export type AmdCause =
  | 'short_greeting'
  | 'long_greeting'
  | 'words'
  | 'beep'
  | 'tone'
  | 'silence'
  | 'limit';

/** Event types this version raises, with the data each carries besides the common fields. */
export type EventData = {
  'call.initiated': {
    readonly direction: Direction;
    readonly channel: Channel;
    readonly from: string | null;
    readonly to: string | null;
    readonly agent_id: Id;
    readonly trunk_id: Id | null;
    readonly customer_id: string | null;
    readonly campaign_id: Id | null;
  };
  'call.trying': { readonly sip_status: 100 };
  'call.ringing': { readonly sip_status: number; readonly early_media: boolean };
  'call.answered': {
    readonly answered_at: string;
    readonly setup_ms: number;
    readonly codec: string;
  };
  'call.failed': {
    readonly outcome: Outcome;
    readonly hangup_reason: HangupReason | null;
    readonly sip_status: number | null;
    readonly q850: number | null;
    readonly error: { readonly code: string; readonly message: string } | null;
  };
  'call.timeout': {
    readonly after_s: number;
    readonly outcome: 'no_answer';
    readonly hangup_reason: 'timeout';
  };
  'call.ended': {
    readonly duration: number;
    readonly hangup_reason: HangupReason | null;
    readonly outcome: Outcome;
    readonly ended_by: EndedBy;
    readonly recording_status: string;
    /** Of its vendors, as far as their prices are known; null: none is. */
    readonly cost: Money | null;
    readonly quality: Quality | null;
    readonly latency: Latency | null;
  };
  'user-speech': {
    readonly text: string;
    readonly is_final: boolean;
    readonly start_ms: number;
    readonly end_ms: number;
    readonly confidence: number | null;
    readonly language: string | null;
  };
  'ai-response': {
    readonly text: string;
    readonly turn: number;
    readonly latency_ms: number | null;
    readonly audio_ms: number | null;
  };
  'user-interrupted': {
    readonly turn: number;
    readonly heard_ms: number;
    readonly heard_text: string;
    readonly reaction_ms: number;
  };
  'call-error': {
    readonly code: string;
    readonly message: string;
    readonly fault: string;
    readonly fatal: boolean;
    readonly retryable: boolean;
  };
  'conversation.message': { readonly message: Message };
  'dtmf.received': {
    readonly digit: string;
    readonly duration_ms: number;
    readonly mode: KeyMode;
  };
  'recording.ready': {
    readonly recording_id: Id;
    readonly duration_ms: number;
    readonly bytes: number;
  };
  /** Masked (7.3). */
  'summary.ready': { readonly summary: string; readonly source: 'llm' | 'extractive' };
  /** Who answered a call of ours with `amd`; when it turns out otherwise, another one follows. */
  'amd.result': {
    readonly result: AmdResult;
    readonly cause: AmdCause;
    /** Since the answer. */
    readonly ms: number;
  };
  /** The call goes on with another agent of its squad. */
  'call.handoff': {
    readonly from_agent_id: Id;
    readonly to_agent_id: Id;
    readonly summary: HandoffSummary;
  };
};

/** What the next agent is told of the conversation so far (contract 2.4). */
export type HandoffSummary = {
  readonly intent: string;
  readonly key_info: string;
  readonly pending: string;
};

export type EventType = keyof EventData;

/** Events of an account that belong to no call: they have neither `call_id` nor `seq` (contract 3). */
export type AccountEventData = {
  'campaign.started': CampaignFacts;
  'campaign.paused': CampaignFacts;
  'campaign.completed': CampaignFacts;
  'trunk.changed': {
    readonly trunk_id: Id;
    readonly registered: boolean;
    readonly error: string | null;
  };
};

export type CampaignCounts = {
  readonly pending: number;
  readonly dialing: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  readonly attempts: number;
};

export type CampaignFacts = {
  readonly campaign_id: Id;
  readonly counts: CampaignCounts;
  readonly reason: string | null;
};

export type AccountEventType = keyof AccountEventData;

export type AccountEvent<T extends AccountEventType = AccountEventType> = {
  readonly id: Id;
  readonly type: T;
  readonly time: string;
  readonly account_id: Id;
  readonly call_id: null;
  readonly seq: null;
  readonly node: string;
  readonly request_id: string | null;
  readonly data: AccountEventData[T];
};

/** An event as journaled and stored. `seq` counts 1, 2, 3 … per call, without gaps. */
export type CallEvent<T extends EventType = EventType> = {
  readonly id: Id;
  readonly type: T;
  readonly time: string;
  readonly account_id: Id;
  readonly call_id: Id;
  readonly seq: number;
  readonly node: string;
  readonly request_id: string | null;
  readonly data: EventData[T];
};

/** The final event of a call: exactly one of these exists per call. */
export const FINAL_EVENTS: readonly EventType[] = ['call.ended', 'call.failed', 'call.timeout'];

/**
 * Columns of `call_records` that an event sets. The projection writes exactly these and leaves the others alone, so a
 * replay does not undo what a user changed by PATCH. `messages` is not among them: it follows from the events.
 */
export type RecordPatch = {
  readonly agent_id?: Id;
  readonly caller_name?: string | null;
  readonly caller_phone?: string | null;
  readonly caller_app?: string | null;
  readonly start_time?: string;
  readonly answer_time?: string;
  readonly end_time?: string;
  readonly duration_seconds?: number;
  readonly hangup_reason?: HangupReason | null;
  readonly channel?: Channel;
  readonly direction?: Direction;
  readonly from_number?: string | null;
  readonly to_number?: string | null;
  readonly status?: CallStatus;
  readonly outcome?: Outcome;
  readonly ended_by?: EndedBy;
  readonly trunk_id?: Id | null;
  readonly node?: string;
  readonly sip_call_id?: string | null;
  readonly sip_status?: number | null;
  readonly variables?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly recording_status?: 'none' | 'active' | 'ready' | 'failed' | 'expired';
  readonly recording_id?: Id | null;
  readonly quality?: Quality | null;
  readonly latency?: Latency | null;
  readonly squad_id?: Id | null;
  readonly rule_id?: Id | null;
  readonly campaign_id?: Id | null;
  readonly customer_ref?: string | null;
};

/** Row of `recordings` that an event sets, keyed by `id`. `uri` is relative to the data directory, or `file:…`. */
export type RecordingPatch = {
  readonly id: Id;
  readonly status: 'active' | 'ready' | 'failed';
  readonly uri: string;
  /** What readers get; absent: WAV. */
  readonly format?: RecordingFormat;
  /** The recording's own key, sealed; absent for a plain WAV. Later patches neither change it nor bring it back. */
  readonly key_enc?: string;
  /** Of the file, hex. */
  readonly sha256?: string;
  readonly started_at?: string;
  /** When the other side had heard that the call is recorded. */
  readonly notice_at?: string;
  readonly duration_ms?: number;
  readonly bytes?: number;
  readonly truncated?: boolean;
};

/** What a vendor has done for a call since the entry before; absent counts are 0. */
export type UsagePatch = {
  readonly agent_id: Id;
  readonly vendor: string;
  readonly stt_seconds?: number;
  readonly tts_chars?: number;
  readonly realtime_seconds?: number;
  readonly llm_tokens_in?: number;
  readonly llm_tokens_out?: number;
  /** Of these units, with at most 6 decimals; absent: no price is known. */
  readonly cost?: number;
  readonly currency?: string;
};

/** An event of a call and what it changes. */
export type CallEntry = {
  readonly event: CallEvent;
  readonly record: RecordPatch | null;
  readonly recording: RecordingPatch | null;
  readonly usage?: readonly UsagePatch[];
};

/** An event of an account; it changes nothing by itself. */
export type AccountEntry = {
  readonly event: AccountEvent;
  readonly record: null;
  readonly recording: null;
};

/** One line of the journal. */
export type JournalEntry = CallEntry | AccountEntry;

export function isCallEntry(entry: JournalEntry): entry is CallEntry {
  return entry.event.call_id !== null;
}
