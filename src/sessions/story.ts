/**
 * What is told about one call: every fact becomes one journaled event with the next `seq`, and the same facts make up
 * the live view that the API shows while the call runs. Times are start plus monotonic time (contract 4.5).
 */
import type {
  CallEvent,
  CallStatus,
  Channel,
  EventData,
  EventType,
  HandoffSummary,
  Latency,
  Message,
  Quality,
  RecordingPatch,
  RecordPatch,
} from '#lib/call-events.ts';
import { newId, newTimedId, type Id } from '#lib/ids.ts';
import type { TurnStages } from '#lib/turn-stages.ts';
import { CallFeed } from './call-frames.ts';
import type { LiveCallView } from './call-service-types.ts';
import { maskWords } from './masked-words.ts';
import type { Ending } from './outcome.ts';
import { frameOf, type FactType } from './story-frames.ts';
import type { FinalFacts, StoryOptions, StoryRoute } from './story-types.ts';
import { UsageMeter } from './usage-meter.ts';

export type { FinalFacts, StoryOptions, StoryRoute } from './story-types.ts';

/** Contract 2.1: content of a message is at most 8,000 characters. */
const MAX_CONTENT = 8000;
/** A record's `messages` holds at most this many (contract 2.1). */
const MAX_MESSAGES = 5000;

export class CallStory {
  readonly #options: StoryOptions;
  /** What clients attached to the call are told. */
  readonly feed = new CallFeed();
  /** What vendors do for the call; told with its next event. */
  readonly usage = new UsageMeter();
  readonly #startWallMs: number;
  readonly #startMs: number;
  readonly #messages: Message[] = [];
  readonly #told: Message[] = [];
  #route: StoryRoute;
  /** The route has changed since the record was last told. */
  #isRerouted = false;
  #isTried = false;
  #isMasked: boolean;
  #seq = 0;
  #status: CallStatus = 'dialing';
  #answeredAtMs: number | null = null;
  #endedAtMs: number | null = null;
  #ending: Ending | null = null;
  #recording: RecordingPatch | null = null;
  /** A recording began and the journal has not been told. */
  #hasBegun = false;
  #sipCallId: string | null;
  #sipStatus: number | null = null;
  #metadata: Readonly<Record<string, unknown>>;
  #quality: Quality | null = null;
  #latency: Latency | null = null;

  constructor(options: StoryOptions) {
    this.#options = options;
    this.#startWallMs = options.clock.wallMs();
    this.#startMs = options.clock.now();
    this.#sipCallId = options.sipCallId;
    this.#metadata = options.metadata;
    this.#isMasked = options.maskAtRest;
    const { trunkId, trunkTransport, from } = options;
    this.#route = { trunkId, trunkTransport, from };
  }

  get callId(): Id {
    return this.#options.callId;
  }

  get agentId(): Id {
    return this.#options.agentId;
  }

  get accountId(): Id {
    return this.#options.accountId;
  }

  get squadId(): Id | null {
    return this.#options.squadId;
  }

  get channel(): Channel {
    return this.#options.channel;
  }

  /** The other side, also of an outbound call. */
  get remoteNumber(): string | null {
    return this.#options.remoteNumber;
  }

  get isAnswered(): boolean {
    return this.#answeredAtMs !== null;
  }

  get isOver(): boolean {
    return this.#endedAtMs !== null;
  }

  get trunkId(): Id | null {
    return this.#route.trunkId;
  }

  /** What was really said: for the language model, never for anything that is kept or shown. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** The messages as they are journaled. */
  get transcript(): readonly Message[] {
    return this.#told;
  }

  /** Words are masked before they are journaled, from here on (contract 7.3). */
  maskFromNow(): void {
    this.#isMasked = true;
  }

  /** Milliseconds since the answer; 0 before it. */
  callTimeMs(): number {
    if (this.#answeredAtMs === null) return 0;
    return this.#options.clock.now() - this.#answeredAtMs;
  }

  initiated(): void {
    const { agentId, direction, channel, from, to, trunkId, squadId, ruleId } = this.#options;
    const data = {
      direction,
      channel,
      from,
      to,
      agent_id: agentId,
      trunk_id: trunkId,
      customer_id: this.#options.customerId,
      campaign_id: this.#options.campaignId,
    };
    this.#tell('call.initiated', data, {
      agent_id: agentId,
      caller_name: this.#options.remoteName,
      caller_phone: this.#options.remoteNumber,
      start_time: this.#isoAt(this.#startMs),
      channel,
      direction,
      from_number: from,
      to_number: to,
      status: 'dialing',
      trunk_id: trunkId,
      node: this.#options.node,
      sip_call_id: this.#options.sipCallId,
      variables: this.#options.variables,
      caller_app: this.#options.callerApp,
      squad_id: squadId,
      rule_id: ruleId,
      ...(Object.keys(this.#metadata).length === 0 ? {} : { metadata: this.#metadata }),
    });
  }

  /** Another trunk is tried; the record says so from the next event on. */
  reroute(route: StoryRoute): void {
    this.#route = route;
    this.#isRerouted = true;
    this.#isTried = false;
  }

  /** The next hop has the INVITE. */
  trying(): void {
    if (this.#status !== 'dialing' || this.#isTried) return;
    this.#isTried = true;
    this.#tell('call.trying', { sip_status: 100 }, null);
  }

  ringing(sipStatus: number, earlyMedia: boolean): void {
    if (this.#status !== 'dialing') return;
    this.#status = 'ringing';
    const data = { sip_status: sipStatus, early_media: earlyMedia };
    this.#tell('call.ringing', data, { status: 'ringing' });
    this.feed.tell({ type: 'status', status: 'ringing' });
  }

  /** `sipCallId` is null for a call without SIP. */
  answered(codec: string, sipCallId: string | null, recording: RecordingPatch | null): void {
    this.#answeredAtMs = this.#options.clock.now();
    this.#status = 'answered';
    this.#sipCallId = sipCallId;
    this.#sipStatus = sipCallId === null ? null : 200;
    this.#recording = recording;
    const answeredAt = this.#isoAt(this.#answeredAtMs);
    const data = {
      answered_at: answeredAt,
      setup_ms: Math.round(this.#answeredAtMs - this.#startMs),
      codec,
    };
    const patch: RecordPatch = {
      status: 'answered',
      answer_time: answeredAt,
      sip_call_id: sipCallId,
      sip_status: this.#sipStatus,
      recording_status: recording === null ? 'none' : 'active',
      ...(recording === null ? {} : { recording_id: recording.id }),
    };
    this.#tell('call.answered', data, patch, recording);
    this.feed.tell({ type: 'status', status: 'answered' });
  }

  /** A recording that began after the answer; the record says so from the next event on. */
  recordingBegan(recording: RecordingPatch): void {
    this.#recording = recording;
    this.#hasBegun = true;
  }

  /** A recording begins, stops or is over in the middle of the call: told at once, by a line that no agent sees. */
  recordingChanged(recording: RecordingPatch, line: string): void {
    this.#recording = recording;
    const message = this.#stamped({ role: 'system', content: line }, this.callTimeMs());
    this.#told.push(message);
    const patch = { recording_status: recording.status, recording_id: recording.id };
    this.#tell('conversation.message', { message }, patch, recording);
  }

  /** A message of the transcript. `atMs`: call time at which it began. */
  message(message: Omit<Message, 'timestamp'>, atMs: number): void {
    if (this.#messages.length >= MAX_MESSAGES) return;
    const stamped = this.#stamped(message, atMs);
    this.#messages.push(stamped);
    const told = this.#masked(stamped);
    this.#told.push(told);
    this.#tell('conversation.message', { message: told }, null);
  }

  #stamped(message: Omit<Message, 'timestamp'>, atMs: number): Message {
    const sinceStartMs = (this.#answeredAtMs ?? this.#startMs) - this.#startMs + atMs;
    const content = message.content.slice(0, MAX_CONTENT);
    return {
      ...{ ...message, content },
      timestamp: Math.round(this.#startWallMs + sinceStartMs) / 1000,
    };
  }

  /** Any event that changes no column of the record. */
  fact<T extends FactType>(type: T, data: EventData[T]): void {
    this.#tell(type, this.#masked(data), null);
    // Whoever is on the call hears what was said anyway: frames are not masked.
    const frame = frameOf(type, data);
    if (frame !== null) this.feed.tell(frame);
  }

  /** Another agent of the squad goes on; the record stays the primary member's. `summary` is masked. */
  handedOver(fromId: Id, toId: Id, summary: HandoffSummary): void {
    this.#tell('call.handoff', { from_agent_id: fromId, to_agent_id: toId, summary }, null);
  }

  /** Words that the recogniser may still take back. Call time in ms. */
  heardSoFar(text: string, times: { readonly startMs: number; readonly endMs: number }): void {
    const { journal, clock, callId, accountId, agentId, node } = this.#options;
    const { startMs, endMs } = times;
    this.feed.tell({ type: 'heard', text, isFinal: false, startMs, endMs });
    const data = { text, is_final: false, start_ms: startMs, end_ms: endMs };
    const time = this.#isoAt(clock.now());
    journal.interim?.(
      {
        // Whoever comes back with this id as the last one: it says where to go on.
        ...{ id: newTimedId(Date.parse(time)), type: 'user-speech', alias: null, time },
        ...{ account_id: accountId, call_id: callId, conversation_id: callId, seq: null, node },
        request_id: null,
        data: this.#masked({ ...data, confidence: null, language: null }),
      },
      agentId,
    );
  }

  /** A turn was measured on the wire: the record has its sums at the end. */
  turnMeasured(turn: TurnStages): void {
    this.#options.journal.measured?.(turn);
  }

  #masked<T extends object>(data: T): T {
    return this.#isMasked ? maskWords(data) : data;
  }

  /** The call is over now; what follows is clearing up and does not count towards its duration. */
  markEnd(): void {
    this.#endedAtMs ??= this.#options.clock.now();
  }

  final(facts: FinalFacts): void {
    const { ending } = facts;
    this.markEnd();
    const endedAtMs = this.#endedAtMs ?? this.#options.clock.now();
    this.#ending = ending;
    this.#status = ending.status;
    this.#sipStatus = facts.sipStatus ?? this.#sipStatus;
    this.#metadata = { ...this.#metadata, ...facts.metadata };
    this.#quality = facts.quality;
    this.#latency = facts.latency;
    const duration = this.snapshot().durationSeconds;
    const patch: RecordPatch = {
      status: ending.status,
      end_time: this.#isoAt(endedAtMs),
      duration_seconds: duration,
      hangup_reason: ending.hangupReason,
      outcome: ending.outcome,
      ended_by: ending.endedBy,
      quality: facts.quality,
      latency: facts.latency,
      metadata: facts.metadata,
      ...(facts.sipStatus === null ? {} : { sip_status: facts.sipStatus }),
    };
    const { outcome, hangupReason } = ending;
    if (ending.finalEvent === 'call.ended') {
      const data = {
        duration,
        hangup_reason: hangupReason,
        outcome,
        ended_by: ending.endedBy,
        recording_status: facts.recordingStatus,
        cost: this.usage.cost,
        quality: facts.quality,
        latency: facts.latency,
      };
      this.#tell('call.ended', data, patch);
    } else if (ending.finalEvent === 'call.timeout') {
      const afterS = Math.round((endedAtMs - this.#startMs) / 1000);
      this.#tell(
        'call.timeout',
        { after_s: afterS, outcome: 'no_answer', hangup_reason: 'timeout' },
        patch,
      );
    } else {
      const { sipStatus, q850, error } = facts;
      this.#tell(
        'call.failed',
        { outcome, hangup_reason: hangupReason, sip_status: sipStatus, q850, error },
        patch,
      );
    }
    this.feed.tell({ type: 'status', status: ending.status });
    this.feed.tell({ type: 'ended', hangupReason, outcome, duration });
  }

  /** After the final event, once the file is complete (contract 3), or when nothing of it could be kept. */
  recordingEnded(recording: RecordingPatch): void {
    this.#recording = recording;
    if (recording.status === 'failed') {
      const message = 'the recording could not be written';
      const fault = { code: 'E_MEDIA', message, fault: 'us', fatal: false, retryable: false };
      const patch = { recording_status: 'failed', recording_id: recording.id } as const;
      this.#tell('call-error', fault, patch, recording);
      return;
    }
    const data = {
      recording_id: recording.id,
      duration_ms: recording.duration_ms ?? 0,
      bytes: recording.bytes ?? 0,
    };
    const patch = { recording_status: recording.status, recording_id: recording.id };
    this.#tell('recording.ready', data, patch, recording);
  }

  /** After the final event (contract 3); the record has the summary already. */
  summaryReady(summary: string, source: EventData['summary.ready']['source']): void {
    this.#tell('summary.ready', { summary, source }, null);
  }

  /** The call as the API sees it while it lives and shortly after. */
  snapshot(): LiveCallView {
    const { callId, clock, remoteName, remoteNumber, to, ...options } = this.#options;
    const { accountId, agentId, agentName, direction, channel, node, variables } = options;
    const { trunkId, trunkTransport, from } = this.#route;
    const answeredAtMs = this.#answeredAtMs;
    const endedAtMs = this.#endedAtMs;
    const talkMs = answeredAtMs === null ? 0 : (endedAtMs ?? clock.now()) - answeredAtMs;
    return {
      id: callId,
      accountId,
      agentId,
      agentName,
      direction,
      channel,
      status: this.#status,
      outcome: this.#ending?.outcome ?? null,
      hangupReason: this.#ending?.hangupReason ?? null,
      endedBy: this.#ending?.endedBy ?? null,
      callerName: remoteName,
      callerPhone: remoteNumber,
      callerApp: this.#options.callerApp,
      fromNumber: from,
      toNumber: to,
      startTime: this.#isoAt(this.#startMs),
      answerTime: answeredAtMs === null ? null : this.#isoAt(answeredAtMs),
      endTime: endedAtMs === null ? null : this.#isoAt(endedAtMs),
      durationSeconds: Math.round(talkMs / 1000),
      recordingStatus: this.#recording?.status ?? 'none',
      recordingId: this.#recording?.id ?? null,
      trunkId,
      trunkTransport,
      customerId: this.#options.customerId,
      campaignId: this.#options.campaignId,
      squadId: this.#options.squadId,
      ruleId: this.#options.ruleId,
      quality: this.#quality,
      latency: this.#latency,
      cost: this.usage.cost,
      sipCallId: this.#sipCallId,
      sipStatus: this.#sipStatus,
      node,
      variables,
      metadata: this.#metadata,
    };
  }

  #isoAt(monotonicMs: number): string {
    return new Date(this.#startWallMs + (monotonicMs - this.#startMs)).toISOString();
  }

  #tell<T extends EventType>(
    type: T,
    data: EventData[T],
    record: RecordPatch | null,
    recording: RecordingPatch | null = null,
  ): void {
    const rerouted = this.#isRerouted
      ? { trunk_id: this.#route.trunkId, from_number: this.#route.from }
      : null;
    this.#isRerouted = false;
    const event: CallEvent<T> = {
      id: newId(),
      type,
      time: this.#isoAt(this.#options.clock.now()),
      account_id: this.#options.accountId,
      call_id: this.#options.callId,
      seq: ++this.#seq,
      node: this.#options.node,
      request_id: this.#options.requestId,
      data,
    };
    const begun = this.#hasBegun ? this.#recording : null;
    this.#hasBegun = false;
    const active: RecordPatch =
      begun === null ? {} : { recording_status: 'active', recording_id: begun.id };
    const isPlain = rerouted === null && begun === null;
    const patch = isPlain ? record : { ...active, ...record, ...rerouted };
    const usage = this.usage.take();
    const used = usage.length === 0 ? {} : { usage };
    const entry = { record: patch, recording: recording ?? begun, ...used };
    this.#options.journal.append({ event: event as CallEvent, ...entry });
  }
}
