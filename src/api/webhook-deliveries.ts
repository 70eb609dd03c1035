/** What was sent to a webhook and how it went; another try; a test (contract 2.8). */
import { Type } from 'typebox';
import type { DeliveryRow } from '#store/webhook-deliveries.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, IdParams, IdSchema, ok, PaginationSchema, ref } from './schemas.ts';
import { DeliverySchema, DeliveryStatusSchema, WebhookTestSchema } from './webhook-schemas.ts';
import { refuseBound, type WebhooksPart } from './webhook-part.ts';

const TAGS = ['Webhooks'];
const DeliveryParams = Type.Object({ id: IdSchema, did: IdSchema });
const ListQuery = Type.Object(
  { ...pageFields, status: Type.Optional(DeliveryStatusSchema) },
  { additionalProperties: false },
);
const NoBody = Type.Object({}, { additionalProperties: false, examples: [{}] });

export function addDeliveryRoutes(app: ApiServer, part: WebhooksPart): void {
  addTest(app, part);
  addList(app, part);
  addRedeliver(app, part);
}

function addTest(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/webhooks/:id/test',
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'testWebhook',
      tags: TAGS,
      summary: 'Send `webhook.test` to a webhook now',
      description:
        'One attempt of at most 15 s, to this webhook alone, also while it is disabled. It is kept among the deliveries.',
      params: IdParams,
      body: NoBody,
      response: answers(200, WebhookTestSchema, {
        ...{ description: 'How it went', problems: ['NOT_FOUND'], hasBody: true },
      }),
    },
    handler: async (request) => {
      refuseBound(request);
      // Its deadline is the attempt's own, longer than that of the store.
      const sent = await part.deliveries.test(actorOf(request), request.params.id);
      if (sent === 'missing') throw new Problem('NOT_FOUND');
      return ok({
        ...{ ok: sent.isOk, response_status: sent.status, response_ms: sent.durationMs },
        error: sent.error,
      });
    },
  });
}

function addList(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/webhooks/:id/deliveries',
    config: { capability: 'adm' },
    schema: {
      operationId: 'listWebhookDeliveries',
      tags: TAGS,
      summary: 'List deliveries of a webhook, newest first',
      description:
        'Delivered ones are kept for 30 days; others as long as the events of the account.',
      params: IdParams,
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({
          deliveries: Type.Array(ref(DeliverySchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: ['NOT_FOUND'] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const { id } = request.params;
      const status = request.query.status ?? null;
      const work = part.deliveries.list(actorOf(request), id, status, page);
      const found = await fromStore(part, work);
      if (found === 'missing') throw new Problem('NOT_FOUND');
      return ok({
        deliveries: found.rows.map(deliveryView),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addRedeliver(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/webhooks/:id/deliveries/:did/redeliver',
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'redeliverWebhookEvent',
      tags: TAGS,
      summary: 'Send an event to a webhook once more',
      description: 'With the same id, at once, and with all retries before it. Not while disabled.',
      params: DeliveryParams,
      body: NoBody,
      response: answers(200, ref(DeliverySchema), {
        ...{ description: 'It is queued', hasBody: true },
        problems: ['NOT_FOUND', 'INVALID_STATE'],
      }),
    },
    handler: async (request) => {
      refuseBound(request);
      const { id, did } = request.params;
      const row = await fromStore(part, part.deliveries.redeliver(actorOf(request), id, did));
      if (row === 'missing') throw new Problem('NOT_FOUND');
      if (row === 'disabled') throw new Problem('INVALID_STATE');
      return ok(deliveryView(row));
    },
  });
}

function deliveryView(row: DeliveryRow) {
  return {
    ...{ id: row.id, event_id: row.eventId, event_type: row.eventType, status: row.status },
    ...{ attempts: row.attempts, next_attempt_at: row.nextAttemptAt?.toISOString() ?? null },
    ...{ response_status: row.responseStatus, response_ms: row.responseMs },
    ...{ last_error: row.lastError, created_at: row.createdAt.toISOString() },
    delivered_at: row.deliveredAt?.toISOString() ?? null,
  };
}
