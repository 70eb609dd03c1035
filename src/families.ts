/** Plugs the store and the running server into the families of the facade. */
import type { EventHub } from '#api/event-hub.ts';
import type { FamilyPorts } from '#api/families.ts';
import { systemClock } from '#lib/clock.ts';
import type { Trunk } from '#lib/trunk.ts';
import { createConsoleReads } from '#store/console-reads.ts';
import { createConsents } from '#store/consents.ts';
import { createContacts } from '#store/contacts.ts';
import { createEventLog } from '#store/event-log.ts';
import { createExtensions } from '#store/extensions.ts';
import { createPhoneCalls } from '#store/phone-calls.ts';
import { createPhoneNumbers } from '#store/phone-numbers.ts';
import type { Database } from '#store/pool.ts';
import type { Sealer } from '#store/sealed.ts';
import { createUsage } from '#store/usage.ts';
import type { Telemetry } from './telemetry.ts';

export type FamiliesOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly telemetry: Telemetry;
  readonly node: string;
  readonly environmentTrunk: Trunk | null;
  readonly metricsAllow: readonly string[];
  /** The installation's. */
  readonly countryCode: string | null;
  readonly currency: string;
  readonly hub: EventHub;
  readonly lagEvents: () => number;
  /** Live calls of this node as a share of what it takes. */
  readonly load: () => number;
};

export function familyPorts(options: FamiliesOptions): FamilyPorts {
  const { database, telemetry, node, environmentTrunk, metricsAllow, load } = options;
  return {
    phoneCalls: createPhoneCalls(database),
    numbers: createPhoneNumbers(database, options.countryCode),
    contacts: createContacts(database, options.countryCode),
    consents: createConsents(database, options.countryCode),
    extensions: createExtensions(database, options.sealer),
    console: createConsoleReads(database),
    usage: createUsage(database, options.currency),
    events: { hub: options.hub, log: createEventLog(database), lagEvents: options.lagEvents },
    installation: {
      startedAt: new Date(systemClock.wallMs()).toISOString(),
      node,
      environmentTrunk: environmentTrunk === null ? null : shownOf(environmentTrunk),
      load,
      providers: () => telemetry.health.list(),
    },
    metrics: telemetry.metrics,
    metricsAllow,
  };
}

/** Without its login: what is not here cannot be shown. */
function shownOf({ name, host, port, transport }: Trunk) {
  return { name, host, port, transport };
}
