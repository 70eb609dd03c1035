/** The people an account deals with: contacts, what they consent to, and its own extensions (contract 2.8). */
import type { Clock } from '#lib/clock.ts';
import type { Consents } from '#store/consents.ts';
import type { Contacts } from '#store/contacts.ts';
import type { Extensions } from '#store/extensions.ts';
import { addConsentRoutes, ConsentSchema } from './consents.ts';
import { ContactSchema } from './contact-schemas.ts';
import { addContactRoutes } from './contacts.ts';
import { addExtensionRoutes, ExtensionSchema } from './extensions.ts';
import type { ApiServer } from './routing.ts';

export type PeoplePorts = {
  readonly contacts: Contacts;
  readonly consents: Consents;
  readonly extensions: Extensions;
};

/** To be registered with the server, so that `ref` finds them. */
export const PEOPLE_SCHEMAS = [ContactSchema, ConsentSchema, ExtensionSchema] as const;

export function addPeopleRoutes(
  app: ApiServer,
  part: PeoplePorts & { readonly clock: Clock },
): void {
  addContactRoutes(app, part);
  addConsentRoutes(app, part);
  addExtensionRoutes(app, part);
}
