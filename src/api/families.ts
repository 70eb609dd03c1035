/** The families that are other views of the core (contract 2.0), and operation: what they need, and their routes. */
import type { Metrics } from '#lib/metrics.ts';
import type { ConsoleReads } from '#store/console-reads.ts';
import type { PhoneCalls } from '#store/phone-calls.ts';
import type { PhoneNumbers } from '#store/phone-numbers.ts';
import { addConsoleCallRoutes } from './console-calls.ts';
import { addConsoleRoutes } from './console.ts';
import { addEventsSocket, type EventsPorts } from './events-socket.ts';
import type { Installation } from './installation.ts';
import { addMetricsRoute } from './metrics.ts';
import { addNumberRoutes, PhoneNumberSchema } from './numbers.ts';
import { addPeopleRoutes, PEOPLE_SCHEMAS, type PeoplePorts } from './people.ts';
import { PhoneCallSchema } from './phone-call-schemas.ts';
import { addPhoneCallRoutes } from './phone-calls.ts';
import type { Readiness } from './ports.ts';
import type { RecordSource } from './record-source.ts';
import type { WebCallsPart } from './web-call.ts';
import type { Usage } from '#store/usage.ts';
import type { ApiServer } from './routing.ts';
import { addUsageRoute } from './usage.ts';

export type FamilyPorts = PeoplePorts & {
  readonly phoneCalls: PhoneCalls;
  readonly numbers: PhoneNumbers;
  readonly console: ConsoleReads;
  readonly usage: Usage;
  readonly events: EventsPorts;
  readonly installation: Installation;
  readonly metrics: Metrics;
  /** Networks, as CIDR, that may read the metrics besides this machine. */
  readonly metricsAllow: readonly string[];
};

export type FamiliesPart = FamilyPorts &
  RecordSource &
  WebCallsPart & { readonly readiness: Readiness; readonly version: string };

/** To be registered with the server, so that `ref` finds them. */
export const FAMILY_SCHEMAS = [PhoneCallSchema, PhoneNumberSchema, ...PEOPLE_SCHEMAS] as const;

export function addFamilyRoutes(app: ApiServer, part: FamiliesPart): void {
  addPhoneCallRoutes(app, part);
  addNumberRoutes(app, part);
  addPeopleRoutes(app, part);
  addUsageRoute(app, part);
  addEventsSocket(app, { ...part.events, clock: part.clock });
  addConsoleCallRoutes(app, part);
  addConsoleRoutes(app, part);
  addMetricsRoute(app, part);
}
