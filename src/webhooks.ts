/** Webhooks as one part of the process: what customers set up, and the worker that delivers. */
import type { WebhookPorts } from '#api/webhook-part.ts';
import { systemClock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { Metrics } from '#lib/metrics.ts';
import type { Reach } from '#lib/safe-fetch.ts';
import type { Store } from '#store/store.ts';
import { createWebhookDeliveries } from '#store/webhook-deliveries.ts';
import { createWebhookQueue } from '#store/webhook-queue.ts';
import { createWebhookSender } from '#store/webhook-sender.ts';
import { WebhookWorker } from '#store/webhook-worker.ts';
import { createWebhooks } from '#store/webhooks.ts';
import type { ToolSecrets } from '#store/tool-secrets.ts';

export type WebhookParts = {
  readonly ports: WebhookPorts;
  /** Begins to deliver. */
  start(): void;
  /** Lets what is under way finish; the rest waits for the next start. */
  close(): Promise<void>;
};

export type WebhookPartsOptions = {
  readonly store: Pick<Store, 'database' | 'sealer' | 'projection'>;
  readonly reach: Reach;
  /** Shown beside the webhooks'. */
  readonly toolSecrets: ToolSecrets;
  readonly metrics: Pick<Metrics, 'webhookDeliveries'>;
  readonly userAgent: string;
  readonly node: string;
  readonly log: Log;
};

export function openWebhooks(options: WebhookPartsOptions): WebhookParts {
  const { store, reach, metrics, userAgent, node, log } = options;
  const { database, sealer, projection } = store;
  const clock = systemClock;
  const { allowPrivate } = reach;
  const sender = createWebhookSender({ sealer, allowPrivate, userAgent, clock, log });
  const worker = new WebhookWorker({
    ...{ queue: createWebhookQueue(database), sender, clock, log },
    onAttempt: (status) => metrics.webhookDeliveries.inc({ status }),
  });
  const onDue = (): void => worker.wake();
  projection.onDeliveries(onDue);
  return {
    ports: {
      toolSecrets: options.toolSecrets,
      webhooks: createWebhooks({ database, sealer, clock, onDue }),
      deliveries: createWebhookDeliveries({ database, sender, node, clock, onDue }),
    },
    start: () => worker.start(),
    close: () => worker.stop(),
  };
}
