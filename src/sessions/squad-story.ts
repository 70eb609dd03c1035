/**
 * What is told about one text conversation: journaled like a call (contract 2.4, 3), with the same record, so that it can
 * be taken up again by whoever has its events. Times are wall time: a conversation outlives its process.
 */
import type {
  CallEvent,
  EventData,
  EventType,
  HandoffSummary,
  Message,
  Outcome,
  RecordPatch,
} from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import type { Money } from '#lib/prices.ts';
import type { LiveCallView } from './call-service-types.ts';
import { maskWords } from './masked-words.ts';
import { endingFor, type TextOutcome } from './squad-ending.ts';
import type { CallJournal } from './ports.ts';
import { UsageMeter } from './usage-meter.ts';

export type StoryPorts = {
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly node: string;
};

export type StoryFacts = {
  readonly conversationId: Id;
  readonly accountId: Id;
  /** Null: it is with one agent by itself. */
  readonly squadId: Id | null;
  /** The primary member, whose call it is. */
  readonly agentId: Id;
  readonly agentName: string;
  /** Words are masked before they are journaled (contract 7.3). */
  readonly isMasked: boolean;
};

/** Where a conversation stood when its process ended. */
export type StoryStart = {
  /** Unix ms. */
  readonly startedMs: number;
  readonly seq: number;
  readonly messages: readonly Message[];
  readonly variables: Readonly<Record<string, string>>;
  /** Of its vendors until then; absent or null: no price is known. */
  readonly cost?: Money | null;
};

/** Contract 2.1. */
const MAX_CONTENT = 8_000;
export const MAX_MESSAGES = 5_000;

export class SquadStory {
  readonly facts: StoryFacts;
  readonly startedMs: number;
  /** What models do for the conversation; told with its next event. */
  readonly usage = new UsageMeter();
  readonly #ports: StoryPorts;
  readonly #messages: Message[];
  readonly #told: Message[];
  #variables: Readonly<Record<string, string>>;
  #seq: number;
  #requestId: string | null = null;
  #outcome: Outcome | null = null;
  #endedMs: number | null = null;
  #variablesChanged = false;

  /** `start`: of one that is taken up again; its opening has been told then. */
  constructor(ports: StoryPorts, facts: StoryFacts, start: StoryStart | null) {
    this.#ports = ports;
    this.facts = facts;
    this.startedMs = start?.startedMs ?? ports.clock.wallMs();
    this.#messages = [...(start?.messages ?? [])];
    this.#told = [...this.#messages];
    this.#variables = start?.variables ?? {};
    this.#seq = start?.seq ?? 0;
    this.usage.goOnFrom(start?.cost ?? null);
  }

  get callId(): Id {
    return this.facts.conversationId;
  }

  get accountId(): Id {
    return this.facts.accountId;
  }

  /** What was really said: for language models alone. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** The messages as they are journaled. */
  get transcript(): readonly Message[] {
    return this.#told;
  }

  get variables(): Readonly<Record<string, string>> {
    return this.#variables;
  }

  get seq(): number {
    return this.#seq;
  }

  get isOver(): boolean {
    return this.#outcome !== null;
  }

  /** What is told from here on is told on behalf of this request. */
  onBehalfOf(requestId: string | null): void {
    this.#requestId = requestId;
  }

  setVariables(variables: Readonly<Record<string, string>>): void {
    this.#variables = variables;
    this.#variablesChanged = true;
  }

  opened(): void {
    const { agentId, squadId } = this.facts;
    const time = this.#isoAt(this.startedMs);
    const call = { direction: 'inbound', channel: 'text' } as const;
    this.#variablesChanged = false;
    this.#tell(
      'call.initiated',
      {
        ...{ ...call, from: null, to: null, agent_id: agentId },
        ...{ trunk_id: null, customer_id: null, campaign_id: null },
      },
      {
        ...{ ...call, agent_id: agentId, squad_id: squadId, start_time: time, status: 'answered' },
        ...{ answer_time: time, node: this.#ports.node, variables: this.#variables },
      },
    );
    this.#tell('call.answered', { answered_at: time, setup_ms: 0, codec: 'text' }, null);
  }

  message(role: 'user' | 'assistant', content: string, latencyMs: number | null = null): void {
    const latency = latencyMs === null ? {} : { latency_ms: Math.round(latencyMs) };
    this.add({ role, content, ...latency });
  }

  add(said: Omit<Message, 'timestamp'>): void {
    if (this.#messages.length >= MAX_MESSAGES) return;
    const { role, ...rest } = said;
    const content = said.content.slice(0, MAX_CONTENT);
    const timestamp = this.#ports.clock.wallMs() / 1000;
    const message: Message = { role, ...rest, content, timestamp };
    this.#messages.push(message);
    const told = this.#masked(message);
    this.#told.push(told);
    const patch = this.#variablesChanged ? { variables: this.#variables } : null;
    this.#variablesChanged = false;
    this.#tell('conversation.message', { message: told }, patch);
  }

  /** Of what was spoken, besides the messages. */
  fact<T extends 'user-speech' | 'ai-response'>(type: T, data: EventData[T]): void {
    this.#tell(type, this.#masked(data), null);
  }

  /** Since the conversation began, ms. */
  timeMs(): number {
    return Math.max(0, this.#ports.clock.wallMs() - this.startedMs);
  }

  #masked<T extends object>(data: T): T {
    return this.facts.isMasked ? maskWords(data) : data;
  }

  handedOver(fromId: Id, toId: Id, summary: HandoffSummary): void {
    this.#tell('call.handoff', { from_agent_id: fromId, to_agent_id: toId, summary }, null);
  }

  /** Once: a conversation has one final event. `atMs`: unix time of the end, which may have passed. */
  ended(outcome: TextOutcome, atMs: number): void {
    if (this.#outcome !== null) return;
    this.#outcome = outcome;
    this.#endedMs = atMs;
    const { data, patch } = endingFor(outcome, this.startedMs, atMs, this.usage.cost);
    this.#tell('call.ended', data, patch);
  }

  /** After the final event (contract 3); the record has the summary already. */
  summaryReady(summary: string, source: EventData['summary.ready']['source']): void {
    this.#tell('summary.ready', { summary, source }, null);
  }

  /** As the API sees it while its record is on its way to the database. */
  snapshot(): LiveCallView {
    const { conversationId, accountId, agentId, agentName, squadId } = this.facts;
    const endedMs = this.#endedMs;
    const startTime = this.#isoAt(this.startedMs);
    const nothing = {
      ...{ callerName: null, callerPhone: null, callerApp: null, fromNumber: null, toNumber: null },
      ...{ recordingId: null, trunkId: null, trunkTransport: null },
      ...{ customerId: null, campaignId: null, ruleId: null, quality: null, latency: null },
      ...{ sipCallId: null, sipStatus: null, metadata: {} },
    } as const;
    const ending =
      this.#outcome === null ? null : endingFor(this.#outcome as TextOutcome, 0, 0).patch;
    return {
      ...nothing,
      recordingStatus: 'none',
      cost: this.usage.cost,
      direction: 'inbound',
      channel: 'text',
      status: endedMs === null ? 'answered' : 'ended',
      ...{ id: conversationId, accountId, agentId, agentName, squadId },
      outcome: this.#outcome,
      hangupReason: ending?.hangup_reason ?? null,
      endedBy: ending?.ended_by ?? null,
      startTime,
      answerTime: startTime,
      endTime: endedMs === null ? null : this.#isoAt(endedMs),
      durationSeconds: Math.round(
        ((endedMs ?? this.#ports.clock.wallMs()) - this.startedMs) / 1000,
      ),
      node: this.#ports.node,
      variables: this.#variables,
    };
  }

  #isoAt(ms: number): string {
    return new Date(ms).toISOString();
  }

  #tell<T extends EventType>(type: T, data: EventData[T], record: RecordPatch | null): void {
    const { journal, clock, node } = this.#ports;
    const event: CallEvent<T> = {
      ...{ id: newId(), type, time: this.#isoAt(clock.wallMs()) },
      account_id: this.facts.accountId,
      call_id: this.facts.conversationId,
      ...{ seq: ++this.#seq, node, request_id: this.#requestId, data },
    };
    const usage = this.usage.take();
    const used = usage.length === 0 ? {} : { usage };
    journal.append({ event: event as CallEvent, record, recording: null, ...used });
  }
}
