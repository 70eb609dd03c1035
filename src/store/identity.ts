/** Who may come in, as the facade uses it: keys, users, logins, members, settings, audit log, idempotency keys. */
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { AccountDefaults, Accounts } from './accounts.ts';
import type { ApiKeyAdmin } from './api-keys-admin.ts';
import type { ApiKeys, KeyFinder } from './api-keys.ts';
import { createAuditLog, type AuditLog } from './audit-log.ts';
import { createIdempotency, type IdempotencyTable } from './idempotency.ts';
import { createMembers, type Members } from './members.ts';
import type { Database } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { createSettings, type Settings } from './settings.ts';
import { createLogins, type Logins } from './users-login.ts';
import { createUsers, type UserDirectory } from './users.ts';

export type Identity = {
  /** Asked at most every few seconds per key, so the last use is noted here. */
  readonly keys: KeyFinder;
  readonly users: UserDirectory;
  readonly logins: Logins;
  readonly apiKeys: ApiKeyAdmin;
  readonly settings: Settings;
  readonly members: Members;
  readonly auditLog: AuditLog;
  /** Null: answers for Idempotency-Key are kept in memory alone. */
  readonly idempotency: IdempotencyTable | null;
};

/** How people prove who they are. */
export type AuthOptions = {
  /** Callyard holds the passwords; otherwise an outside issuer does. */
  readonly isLocal: boolean;
  /** Users that an outside issuer knows are added on first use. */
  readonly isProvisioning: boolean;
  /** Of the default account; null leaves it as it is. */
  readonly adminPassword: string | null;
};

export const LOCAL_AUTH: AuthOptions = {
  ...{ isLocal: true, isProvisioning: false, adminPassword: null },
};

export type IdentityOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly apiKeys: ApiKeys;
  readonly accounts: Accounts;
  readonly defaults: AccountDefaults;
  readonly auth: AuthOptions;
  readonly log: Log;
  readonly clock?: Clock;
};

export function createIdentity(options: IdentityOptions): Identity {
  const { database, sealer, apiKeys, accounts, defaults, auth, log } = options;
  const clock = options.clock === undefined ? {} : { clock: options.clock };
  const isProvisioning = auth.isProvisioning && !auth.isLocal;
  const users = createUsers({ ...clock, database, isProvisioning, log });
  return {
    keys: apiKeys,
    apiKeys,
    users,
    logins: createLogins(database, log),
    settings: createSettings({ database, accounts, defaults }),
    members: createMembers({ database, users, isLocal: auth.isLocal }),
    auditLog: createAuditLog(database),
    idempotency: createIdempotency({ database, sealer }),
  };
}
