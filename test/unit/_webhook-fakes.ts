/** Webhooks kept in memory, for tests of the facade. */
import type { WebhookPorts } from '#api/webhook-part.ts';
import { newId } from '#lib/ids.ts';
import type { Page } from '#lib/page.ts';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import type { DeliveryRow } from '#store/webhook-deliveries.ts';
import type { WebhookFields, WebhookRow } from '#store/webhooks.ts';

export type WebhookFakes = {
  readonly ports: WebhookPorts;
  readonly hooks: Map<string, WebhookRow>;
  readonly deliveries: Map<string, DeliveryRow>;
  isFull: boolean;
};

const AT = new Date(Date.UTC(2026, 0, 1));

export function makeWebhooks(): WebhookFakes {
  const hooks = new Map<string, WebhookRow>();
  const deliveries = new Map<string, DeliveryRow>();
  const pageOf = <T>(rows: T[]): Page<T> => ({
    ...{ rows, total: rows.length, totalExact: true, next: null },
  });
  const change = (id: string, changes: Partial<WebhookFields>): WebhookRow | null => {
    const known = hooks.get(id);
    if (known === undefined) return null;
    hooks.set(id, { ...known, ...changes });
    return hooks.get(id) ?? null;
  };
  const fakes: WebhookFakes = { ports: {} as WebhookPorts, hooks, deliveries, isFull: false };
  const ports: WebhookPorts = {
    webhooks: {
      create: async (_actor, wanted) => {
        if (fakes.isFull) return 'full';
        const row: WebhookRow = {
          ...{ id: newId(), ...wanted, disabledReason: null, failingSince: null },
          ...{ oldSecretUntil: null, createdAt: AT, updatedAt: AT },
        };
        hooks.set(row.id, row);
        return { row, secret: newWebhookSecret() };
      },
      list: async () => pageOf([...hooks.values()]),
      get: async (_actor, id) => hooks.get(id) ?? null,
      update: async (_actor, id, changes) => change(id, changes),
      remove: async (_actor, id) => hooks.delete(id),
      rotateSecret: async (_actor, id) => {
        const row = hooks.get(id);
        return row === undefined ? null : { row, secret: newWebhookSecret() };
      },
    },
    toolSecrets: {
      get: async () => ({ secret: newWebhookSecret(), oldSecretUntil: null, updatedAt: AT }),
      rotate: async () => ({ secret: newWebhookSecret(), oldSecretUntil: AT, updatedAt: AT }),
      of: async () => [newWebhookSecret()],
    },
    deliveries: {
      list: async (_actor, id) => (hooks.has(id) ? pageOf([...deliveries.values()]) : 'missing'),
      redeliver: async (_actor, id, did) => {
        if (hooks.get(id)?.enabled === false) return 'disabled';
        return (hooks.has(id) ? deliveries.get(did) : undefined) ?? 'missing';
      },
      test: async (_actor, id) =>
        hooks.has(id) ? { isOk: true, status: 204, durationMs: 12, error: null } : 'missing',
    },
  };
  return Object.assign(fakes, { ports });
}
