/** What is measured of calls and vendors: one tap on the journal, one on the providers, one on the media plane. */
import { systemClock } from '#lib/clock.ts';
import { CallMetrics, createMetrics, observeTurn, type Metrics } from '#lib/metrics.ts';
import type { SileroCensus } from '#media/speech/silero-census.ts';
import type { MediaStats } from '#media/types.ts';
import type { ProviderSet } from '#providers/contract.ts';
import { ProviderHealth } from '#providers/health.ts';
import type { PoolMember } from '#providers/pool/member.ts';
import type { Providers } from '#providers/registry.ts';
import type { CallJournal } from '#sessions/ports.ts';

export type Telemetry = {
  readonly metrics: Metrics;
  readonly health: ProviderHealth;
  /** `journal`, with every entry counted. */
  readonly journal: CallJournal;
  /** The providers of an agent, watched. Errors: E_CONFIG for a vendor nobody set up. */
  readonly providersFor: (...of: Parameters<Providers['forAgent']>) => ProviderSet;
  /** The counters of a call's media, when it is closed. */
  readonly mediaClosed: (stats: MediaStats) => void;
};

export type TelemetryOptions = {
  readonly journal: CallJournal;
  /** Where what is not journaled goes. */
  readonly interim: NonNullable<CallJournal['interim']>;
  /** Journal entries that the database does not have yet. */
  readonly outboxPending: () => number;
  readonly providers: Providers;
};

export function createTelemetry(options: TelemetryOptions): Telemetry {
  const { journal, interim, providers, outboxPending } = options;
  const metrics = createMetrics({ outboxPending });
  const counted = new CallMetrics(metrics);
  const health = new ProviderHealth({
    clock: systemClock,
    onFailed: (kind, provider) => metrics.aiFailed.inc({ kind, provider }),
    members: () => providers.members(),
  });
  countPool(metrics, providers);
  // The installation's own vendors are listed from the start, before any call has used them.
  health.watch(providers.forAgent({ vendors: { stt: null, llm: null, tts: null } }));
  return {
    metrics,
    health,
    journal: {
      interim,
      measured: (turn) => observeTurn(metrics, turn),
      append: (entry) => {
        journal.append(entry);
        counted.note(entry);
      },
    },
    providersFor: (...of) => health.watch(providers.forAgent(...of)),
    mediaClosed: (stats) => countMedia(metrics, stats),
  };
}

/** Times are told in seconds, as everywhere. A call that nobody could judge counts for what happened to its packets only. */
function countMedia(metrics: Metrics, stats: MediaStats): void {
  const { lost, late, tooLate = 0, concealedMs, jitterBuffer, packetsReceived } = stats;
  metrics.rtpLost.inc(lost);
  metrics.rtpLate.inc(late + tooLate);
  metrics.rtpConcealed.inc(concealedMs / 1000);
  if (packetsReceived > 0 && jitterBuffer !== undefined)
    metrics.jitterBuffer.observe(jitterBuffer.meanDelayMs / 1000);
  for (const [what, count] of Object.entries(stats.dropped ?? {}))
    metrics.mediaDropped.inc({ what }, count);
  const { quality } = stats;
  if (quality == null) return;
  const { jitterMs, roundTripMs, far, faults } = quality;
  metrics.rtpJitter.observe(jitterMs / 1000);
  if (roundTripMs !== null) metrics.roundTrip.observe(roundTripMs / 1000);
  if (far !== null) metrics.farMos.observe(far.mos);
  for (const fault of faults) metrics.qualityFaults.inc({ fault });
}

/** The threads of the media plane, read when somebody asks. */
export function countWorkers(
  metrics: Metrics,
  media: {
    readonly workers: { readonly up: number; readonly deaths: number };
    readonly silero: SileroCensus;
  },
): void {
  let told = 0;
  let before = media.silero;
  metrics.onCollect(() => {
    const { up, deaths } = media.workers;
    metrics.mediaWorkers.set(up);
    metrics.mediaWorkerDeaths.inc(deaths - told);
    told = deaths;
    countSilero(metrics, before, media.silero);
    before = media.silero;
  });
}

function countSilero(metrics: Metrics, before: SileroCensus, now: SileroCensus): void {
  const late = now.lateFrames - before.lateFrames;
  const fallback = now.fallbackFrames - before.fallbackFrames;
  metrics.sileroFrames.inc({ how: 'model' }, now.judgedFrames - before.judgedFrames);
  metrics.sileroFrames.inc({ how: 'late' }, late);
  metrics.sileroFrames.inc({ how: 'absent' }, fallback - late);
  metrics.sileroDropped.inc(now.dropped - before.dropped);
  metrics.sileroFailures.inc(now.failures - before.failures);
}

/** No label names an account: those at one vendor are told together. */
function countPool(metrics: Metrics, providers: Pick<Providers, 'members' | 'onEvents'>): void {
  const labelsOf = ({ kind, vendor }: PoolMember) => ({ kind, provider: vendor });
  providers.onEvents({
    requested: (member) => metrics.aiRequests.inc(labelsOf(member)),
    failed: (member, failure) => metrics.aiFailures.inc({ ...labelsOf(member), class: failure }),
    failedOver: (from) => metrics.aiFailovers.inc(labelsOf(from)),
  });
  metrics.onCollect(() => {
    metrics.aiBreakersOpen.reset();
    metrics.aiRateLimit.reset();
    for (const member of providers.members()) {
      if (!member.isRemote) continue;
      const isOpen = member.breaker.state === 'open';
      metrics.aiBreakersOpen.inc(labelsOf(member), isOpen ? 1 : 0);
      metrics.aiRateLimit.inc(labelsOf(member), member.rate.perS);
    }
  });
}
