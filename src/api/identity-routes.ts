/** The routes about who may come in: login, API keys, members, settings, audit log. */
import type { Clock } from '#lib/clock.ts';
import { addApiKeyRoutes } from './api-keys.ts';
import { addAuditLogRoutes } from './audit-log.ts';
import type { Tokens } from './auth-jwt.ts';
import { addLoginRoute } from './login.ts';
import { addMemberRoutes } from './members.ts';
import type { Identity } from './ports.ts';
import type { ApiServer } from './routing.ts';
import { addSettingsRoutes } from './settings.ts';

export type IdentityPart = Identity & {
  /** Null: API keys alone. */
  readonly tokens: Tokens | null;
  readonly clock: Clock;
};

export function addIdentityRoutes(app: ApiServer, part: IdentityPart): void {
  const sign = part.tokens?.sign ?? null;
  if (sign !== null) addLoginRoute(app, { ...part, sign });
  addApiKeyRoutes(app, part);
  addMemberRoutes(app, part);
  addSettingsRoutes(app, part);
  addAuditLogRoutes(app, part);
}
