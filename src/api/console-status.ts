/** What the console shows as of now (contract 2.6 rows 14 and 15), from live calls and what the server knows of itself. */
import type { Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { LiveCallView } from '#sessions/call-service-types.ts';
import type { CallCounts, TrunkFacts } from '#store/console-reads.ts';
import type { Extension } from '#store/extensions.ts';
import type { ExtensionsSchema, RealtimeSchema } from './console-admin-schemas.ts';
import type { Installation } from './installation.ts';
import type { Readiness } from './ports.ts';

export type RealtimeStatus = Static<typeof RealtimeSchema>;
export type ExtensionStatus = Static<typeof ExtensionsSchema>['items'][number]['status'];

const FRESH_MS = 1_000;
const MAX_ENTRIES = 1_000;

/** The latest status by who asks, for a second; questions that come together are answered together. */
export class RealtimeCache {
  readonly #clock: Clock;
  readonly #held = new Map<
    string,
    { readonly status: Promise<RealtimeStatus>; readonly atMs: number }
  >();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Errors: those of `measure`; a failure is not kept. */
  get(key: string, measure: () => Promise<RealtimeStatus>): Promise<RealtimeStatus> {
    const held = this.#held.get(key);
    if (held !== undefined && this.#clock.now() - held.atMs < FRESH_MS) return held.status;
    const entry = { status: measure(), atMs: this.#clock.now() };
    this.#held.delete(key);
    this.#held.set(key, entry);
    if (this.#held.size > MAX_ENTRIES) {
      const oldest = this.#held.keys().next();
      if (!oldest.done) this.#held.delete(oldest.value);
    }
    entry.status.catch(() => {
      if (this.#held.get(key) === entry) this.#held.delete(key);
    });
    return entry.status;
  }
}

export type RealtimeFacts = {
  readonly live: readonly LiveCallView[];
  readonly trunks: readonly TrunkFacts[];
  readonly today: CallCounts;
  readonly installation: Installation;
  readonly state: ReturnType<Readiness['check']>['state'];
  readonly updatedAt: string;
};

export function realtimeStatusOf(facts: RealtimeFacts): RealtimeStatus {
  const { live, today, installation, state, updatedAt } = facts;
  const count = (status: LiveCallView['status']): number =>
    live.filter((call) => call.status === status).length;
  return {
    activeCalls: live.length,
    ringingCalls: count('ringing'),
    queuedCalls: count('queued'),
    todayCalls: today.calls,
    todayAnswered: today.answered,
    sip: { registered: false, trunks: trunksOf(facts) },
    providers: installation.providers().map((provider) => ({ ...provider })),
    nodes: [{ id: installation.node, calls: live.length, load: share(installation.load()), state }],
    updatedAt,
  };
}

function trunksOf({ live, trunks, installation }: RealtimeFacts): RealtimeStatus['sip']['trunks'] {
  const own = trunks.map((trunk) => ({
    name: trunk.name,
    state: stateOf(trunk),
    calls: live.filter((call) => call.trunkId === trunk.id).length,
  }));
  const { environmentTrunk } = installation;
  if (environmentTrunk === null || trunks.some((trunk) => trunk.isActive)) return own;
  // The environment's trunk has no id; calls on it have a transport nevertheless.
  const calls = live.filter((call) => call.trunkId === null && call.trunkTransport !== null).length;
  return [...own, { name: environmentTrunk.name, state: 'static', calls }];
}

/** Registrations are not kept yet, so a trunk that wants one never has it. */
function stateOf(trunk: TrunkFacts): RealtimeStatus['sip']['trunks'][number]['state'] {
  if (!trunk.isActive) return 'disabled';
  return trunk.registers ? 'unregistered' : 'static';
}

function share(load: number): number {
  return Math.round(Math.min(1, Math.max(0, load)) * 1000) / 1000;
}

/** Calls to the extension decide; without one a `sip` extension is offline, because it cannot register yet. */
export function extensionStatusOf(
  extension: Pick<Extension, 'extension' | 'kind' | 'target' | 'enabled'>,
  live: readonly LiveCallView[],
): ExtensionStatus {
  if (!extension.enabled) return 'disabled';
  const own = live.filter((call) =>
    [call.toNumber, call.fromNumber].some(
      (number) =>
        number !== null && (number === extension.extension || number === extension.target),
    ),
  );
  if (own.some((call) => call.status === 'answered')) return 'busy';
  if (own.length > 0) return 'ringing';
  return extension.kind === 'sip' ? 'offline' : 'idle';
}
