/** Plugs the trunks together: their rows, who may call, what is registered, and how one is tried out. */
import type { TrunkPorts } from '#api/trunks.ts';
import { systemClock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Trunk, TrunkSource } from '#lib/trunk.ts';
import type { CallJournal } from '#sessions/ports.ts';
import type { SipRequester } from '#sip/agent.ts';
import { addressesOf } from '#sip/trunk.ts';
import type { SipAgent } from '#sip/types.ts';
import { createTrunkAdmin } from '#store/trunk-admin.ts';
import type { Store } from '#store/store.ts';
import type { AccessList } from './access.ts';
import { Registrations } from './registrations.ts';

export type TrunkPartsOptions = {
  readonly store: Pick<Store, 'database' | 'sealer' | 'trunks'>;
  readonly sip: SipAgent & SipRequester;
  readonly access: AccessList<TrunkSource>;
  readonly journal: CallJournal;
  readonly node: string;
  readonly userAgent: string;
  /** The address a peer is told, by the local address and the peer's. */
  readonly shownAddress: (localAddress: string, peerAddress: string) => string;
  readonly log: Log;
};

export type TrunkParts = {
  readonly ports: TrunkPorts;
  /** Registers what is to be registered, once calls are taken. */
  start(): void;
  /** Takes the registrations back, within 2 s. */
  close(): Promise<void>;
};

/** What a request waits at most until its change has taken effect. */
const EFFECT_MS = 1_000;

export function openTrunkParts(options: TrunkPartsOptions): TrunkParts {
  const { store, sip, access, journal, node, userAgent, log } = options;
  const clock = systemClock;
  const registrations = new Registrations({
    talk: {
      request: (request) => sip.request(request),
      resolve: addressesOf,
      ownAddress: (trunk) => ownAddress(trunk, options),
      userAgent,
    },
    lines: () => store.trunks.lines(),
    onEngineUp: (listener) => sip.onReconnected(listener),
    ...{ journal, node, clock, log },
  });
  return {
    ports: {
      admin: createTrunkAdmin(store),
      state: (trunkId) => registrations.stateOf(trunkId),
      changed: async (accountId) => {
        store.trunks.forget(accountId);
        // Neither ever rejects; a name that does not resolve must not hold the answer up.
        const effect = Promise.all([access.refresh(), registrations.refresh()]);
        const { promise: enough, resolve } = Promise.withResolvers<void>();
        const timer = clock.setTimer(resolve, EFFECT_MS);
        await Promise.race([effect, enough]);
        clock.clearTimer(timer);
      },
      test: async (accountId, trunkId) => {
        const found = await store.trunks.line(accountId, trunkId);
        return found === null ? null : registrations.test(found);
      },
    },
    start: () => registrations.start(),
    close: () => registrations.close(),
  };
}

async function ownAddress(trunk: Trunk, options: TrunkPartsOptions): Promise<string> {
  const { sip, shownAddress, log } = options;
  try {
    const local = await sip.localAddressFor(trunk);
    const [peer = ''] = await addressesOf(trunk.host);
    return shownAddress(local, peer);
  } catch (error) {
    log.warn('trunk.addressUnknown', { trunkId: trunk.id, error: toAppError(error) });
    return trunk.localHost ?? 'localhost';
  }
}
