/** Every metric of the server (contract 2.9), in one registry of its own. No label holds a number, name or account. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  isCallEntry,
  type CallEvent,
  type Direction,
  type EventData,
  type EventType,
  type JournalEntry,
} from './call-events.ts';
import type { Id } from './ids.ts';
import type { TurnStages } from './turn-stages.ts';

const LATENCY_BUCKETS_S = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10];
const STAGE_BUCKETS_S = [
  0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10,
];
/** What is nobody else's work. */
const OWN_VENDOR = 'callyard';
const BARGE_IN_BUCKETS_S = [0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1];
const HTTP_BUCKETS_S = [0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.25, 0.5, 1, 2, 5, 10];
const MOS_BUCKETS = [1, 2, 2.5, 3, 3.3, 3.6, 3.8, 4, 4.1, 4.2, 4.3, 4.4];
const ROUND_TRIP_BUCKETS_S = [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2];
const JITTER_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2];
const MS = 1000;

export type MetricsOptions = {
  /** Journal entries that the database does not have yet. */
  readonly outboxPending: () => number;
};

export type Metrics = ReturnType<typeof createMetrics>;

/** A registry of its own for each server of the process. */
export function createMetrics(options: MetricsOptions) {
  const registry = new Registry();
  const registers = [registry];
  const callNames = ['direction', 'outcome'] as const;
  const http = httpMetrics(registers);
  const speech = speechMetrics(registers);
  const media = mediaMetrics(registers);
  const metrics = {
    registry,
    ...http,
    ...speech,
    ...media,
    ...workerMetrics(registers),
    ...sileroMetrics(registers),
    ...jitterMetrics(registers),
    activeCalls: new Gauge({
      name: 'callyard_active_calls',
      help: 'Calls that have begun and are not over',
      labelNames: ['direction'],
      registers,
    }),
    calls: new Counter({
      name: 'callyard_calls_total',
      help: 'Calls that are over',
      labelNames: callNames,
      registers,
    }),
    outboxPending: new Gauge({
      name: 'callyard_outbox_pending',
      help: 'Journal entries that the database does not have yet',
      registers,
      collect() {
        this.set(options.outboxPending());
      },
    }),
    webhookDeliveries: new Counter({
      name: 'callyard_webhook_deliveries_total',
      help: 'Attempts to deliver an event to a webhook: delivered, failed (tried again) or dead',
      labelNames: ['status'],
      registers,
    }),
  };
  // A gauge that has never been set is absent, and an alert on it would be blind.
  for (const direction of ['inbound', 'outbound']) metrics.activeCalls.set({ direction }, 0);
  return metrics;
}

function httpMetrics(registers: Registry[]) {
  return {
    httpRequests: new Counter({
      name: 'http_requests_total',
      help: 'Requests answered, by the pattern of their route',
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    httpDuration: new Histogram({
      name: 'http_request_duration_seconds',
      help: 'From the arrival of a request to the end of its answer',
      labelNames: ['method', 'route'],
      buckets: HTTP_BUCKETS_S,
      registers,
    }),
  };
}

function workerMetrics(registers: Registry[]) {
  return {
    mediaDropped: new Counter({
      name: 'callyard_media_dropped_total',
      help: 'What the media plane threw away, by where, counted at the end of each call',
      labelNames: ['what'],
      registers,
    }),
    mediaWorkers: new Gauge({
      name: 'callyard_media_workers',
      help: 'Media workers that live',
      registers,
    }),
    mediaWorkerDeaths: new Counter({
      name: 'callyard_media_worker_deaths_total',
      help: 'Media workers that died with their calls and were replaced',
      registers,
    }),
  };
}

function sileroMetrics(registers: Registry[]) {
  const metrics = {
    sileroFrames: new Counter({
      name: 'callyard_silero_frames_total',
      help: 'Frames of 20 ms with the Silero model in use, by how they were decided: model, late, absent',
      labelNames: ['how'],
      registers,
    }),
    sileroDropped: new Counter({
      name: 'callyard_silero_dropped_total',
      help: 'Chunks of 32 ms that the Silero model was not given because too many waited',
      registers,
    }),
    sileroFailures: new Counter({
      name: 'callyard_silero_failures_total',
      help: 'Times that the Silero model was lost and started again',
      registers,
    }),
  };
  for (const how of ['model', 'late', 'absent']) metrics.sileroFrames.inc({ how }, 0);
  return metrics;
}

function mediaMetrics(registers: Registry[]) {
  return {
    rtpLost: new Counter({
      name: 'callyard_rtp_lost_total',
      help: 'RTP packets of callers that never came, counted at the end of each call',
      registers,
    }),
    mos: new Histogram({
      name: 'callyard_mos',
      help: 'Estimated mean opinion score of what was heard of the caller in each call (E-model, 1 to 4.5)',
      buckets: MOS_BUCKETS,
      registers,
    }),
    farMos: new Histogram({
      name: 'callyard_far_mos',
      help: 'The same score of what the far end heard, of each call in which it sent RTCP reports',
      buckets: MOS_BUCKETS,
      registers,
    }),
    roundTrip: new Histogram({
      name: 'callyard_rtp_round_trip_seconds',
      help: 'Round trip of the network by RTCP, of each call in which the far end answered reports',
      buckets: ROUND_TRIP_BUCKETS_S,
      registers,
    }),
    rtpJitter: new Histogram({
      name: 'callyard_rtp_jitter_seconds',
      help: 'Mean interarrival jitter of the caller of each call (RFC 3550)',
      buckets: JITTER_BUCKETS_S,
      registers,
    }),
    qualityFaults: new Counter({
      name: 'callyard_quality_faults_total',
      help: 'What was wrong with the audio of calls, every fault of a call counted once',
      labelNames: ['fault'],
      registers,
    }),
  };
}

function jitterMetrics(registers: Registry[]) {
  return {
    rtpLate: new Counter({
      name: 'callyard_rtp_late_total',
      help: 'RTP packets of callers that came after their time, counted at the end of each call',
      registers,
    }),
    rtpConcealed: new Counter({
      name: 'callyard_rtp_concealed_seconds_total',
      help: 'Sound that was made up where packets of callers were missing',
      registers,
    }),
    jitterBuffer: new Histogram({
      name: 'callyard_jitter_buffer_seconds',
      help: 'Mean time that audio of the caller was kept in the jitter buffer, of each call that received audio',
      buckets: JITTER_BUCKETS_S,
      registers,
    }),
  };
}

function speechMetrics(registers: Registry[]) {
  return {
    mouthToEar: new Histogram({
      name: 'callyard_mouth_to_ear_seconds',
      help: 'From the last packet of caller speech to the first packet of the reply, each turn',
      buckets: LATENCY_BUCKETS_S,
      registers,
    }),
    turnStage: new Histogram({
      name: 'callyard_turn_stage_seconds',
      help: 'What each turn spent in each stage: together the time from mouth to ear, by the vendor that answered',
      labelNames: ['stage', 'vendor'],
      buckets: STAGE_BUCKETS_S,
      registers,
    }),
    bargeIn: new Histogram({
      name: 'callyard_barge_in_seconds',
      help: 'From the caller breaking in to the agent falling silent',
      buckets: BARGE_IN_BUCKETS_S,
      registers,
    }),
    aiFailed: new Counter({
      name: 'callyard_ai_requests_failed_total',
      help: 'Requests to speech and language vendors that failed',
      labelNames: ['kind', 'provider'],
      registers,
    }),
    ...poolMetrics(registers),
  };
}

function poolMetrics(registers: Registry[]) {
  const labelNames = ['kind', 'provider'] as const;
  const listeners: (() => void)[] = [];
  return {
    /** `listener` sets what is looked up elsewhere, each time that the metrics are read. */
    onCollect: (listener: () => void): void => void listeners.push(listener),
    aiRequests: new Counter({
      name: 'callyard_ai_requests_total',
      help: 'Requests and sessions asked of speech and language vendors',
      labelNames,
      registers,
    }),
    aiFailures: new Counter({
      name: 'callyard_ai_failures_total',
      help: 'Failures of vendors by what they say of them: auth, quota, server, idle, param, content',
      labelNames: ['kind', 'provider', 'class'],
      registers,
    }),
    aiFailovers: new Counter({
      name: 'callyard_ai_failovers_total',
      help: 'Times that another vendor or account was asked because this one had failed or was too slow',
      labelNames,
      registers,
    }),
    aiBreakersOpen: new Gauge({
      name: 'callyard_ai_breakers_open',
      help: 'Accounts at the vendor that are not asked for the moment, after their failures',
      labelNames,
      registers,
      // Registered before all that listeners set, and so read before it.
      collect: () => {
        for (const listener of listeners) listener();
      },
    }),
    aiRateLimit: new Gauge({
      name: 'callyard_ai_rate_limit',
      help: 'Requests a second that the vendor is given, its accounts together',
      labelNames,
      registers,
    }),
  };
}

/** Each stage of a measured turn, once. Vendors are those that the server has a client for: there are few. */
export function observeTurn(
  { turnStage }: Pick<Metrics, 'turnStage'>,
  { partsMs, vendors }: TurnStages,
): void {
  for (const [stage, ms] of Object.entries(partsMs)) {
    const vendor = vendors[stage as keyof typeof vendors] ?? OWN_VENDOR;
    turnStage.observe({ stage, vendor }, ms / MS);
  }
}

/**
 * Counts what the journal tells: every fact about a call passes there once. Entries must come in order. What it
 * remembers is bounded by the calls that are live.
 */
export class CallMetrics {
  readonly #metrics: Metrics;
  readonly #directions = new Map<Id, Direction>();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  note(entry: JournalEntry): void {
    if (isCallEntry(entry)) this.#noteCall(entry.event);
  }

  #noteCall(event: CallEvent): void {
    if (isOf(event, 'call.initiated')) {
      this.#begin(event.call_id, event.data);
    } else if (isOf(event, 'ai-response')) {
      this.#observeReply(event.data);
    } else if (isOf(event, 'user-interrupted')) {
      this.#metrics.bargeIn.observe(event.data.reaction_ms / MS);
    } else if (isOf(event, 'call.ended')) {
      const { outcome, quality } = event.data;
      if (quality !== null) this.#metrics.mos.observe(quality.mos);
      this.#end(event.call_id, outcome);
    } else if (isOf(event, 'call.failed') || isOf(event, 'call.timeout')) {
      this.#end(event.call_id, event.data.outcome);
    }
  }

  #begin(callId: Id, { direction }: EventData['call.initiated']): void {
    if (this.#directions.has(callId)) return;
    this.#directions.set(callId, direction);
    this.#metrics.activeCalls.inc({ direction });
  }

  /** A call that began before this process did is no call of these counters. */
  #end(callId: Id, outcome: string): void {
    const direction = this.#directions.get(callId);
    if (direction === undefined) return;
    this.#directions.delete(callId);
    this.#metrics.activeCalls.dec({ direction });
    this.#metrics.calls.inc({ direction, outcome });
  }

  /** Only an answer to speech has a mouth-to-ear time. */
  #observeReply({ latency_ms: latencyMs }: EventData['ai-response']): void {
    if (latencyMs !== null) this.#metrics.mouthToEar.observe(latencyMs / MS);
  }
}

function isOf<T extends EventType>(event: CallEvent, type: T): event is CallEvent<T> & CallEvent {
  return event.type === type;
}

/** The median of the latest values, at most `capacity` of them. */
export class RollingMedian {
  readonly #values: number[] = [];
  readonly #capacity: number;
  #next = 0;

  constructor(capacity = 101) {
    this.#capacity = capacity;
  }

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** Null before the first value. */
  get value(): number | null {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted[Math.ceil(sorted.length / 2) - 1] ?? null;
  }
}
