/** What the routes of webhooks share. */
import type { FastifyRequest } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import type { Reach } from '#lib/safe-fetch.ts';
import type { WebhookDeliveries } from '#store/webhook-deliveries.ts';
import type { ToolSecrets } from '#store/tool-secrets.ts';
import type { Webhooks } from '#store/webhooks.ts';
import { Problem } from './problem.ts';
import { callerOf } from './routing.ts';

export type WebhookPorts = {
  readonly webhooks: Webhooks;
  readonly deliveries: WebhookDeliveries;
  readonly toolSecrets: ToolSecrets;
};

export type WebhooksPart = WebhookPorts & { readonly reach: Reach; readonly clock: Clock };

/** Events of all agents leave by a webhook, so a key for some of them must not send them anywhere. */
export function refuseBound(request: Pick<FastifyRequest, 'caller'>): void {
  if (callerOf(request).agentIds !== null) throw new Problem('FORBIDDEN');
}
