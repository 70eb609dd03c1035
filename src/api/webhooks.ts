/** Webhooks (contract 2.8): where an account's events go. A secret is shown once. */
import { Type } from 'typebox';
import { isEventPattern } from '#lib/event-types.ts';
import { urlFault, type Reach } from '#lib/safe-fetch.ts';
import {
  MAX_WEBHOOKS,
  type IssuedWebhook,
  type WebhookFields,
  type WebhookRow,
} from '#store/webhooks.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { Problem, type FieldFault } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, IdParams, ok, PaginationSchema, ref } from './schemas.ts';
import { addToolSecretRoutes } from './tool-secret.ts';
import { addDeliveryRoutes } from './webhook-deliveries.ts';
import { refuseBound, type WebhooksPart } from './webhook-part.ts';
import {
  IssuedWebhookSchema,
  RotateSecretBody,
  WebhookBody,
  WebhookPatch,
  WebhookSchema,
} from './webhook-schemas.ts';

const DEFAULT_OVERLAP_S = 86_400;
const TAGS = ['Webhooks'];
const ListQuery = Type.Object(pageFields, { additionalProperties: false });

export function addWebhookRoutes(app: ApiServer, part: WebhooksPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addChange(app, part);
  addDelete(app, part);
  addRotate(app, part);
  addDeliveryRoutes(app, part);
  addToolSecretRoutes(app, part);
}

function addCreate(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/webhooks',
    config: { capability: 'adm', idempotent: true, holdsSecret: true },
    schema: {
      operationId: 'createWebhook',
      tags: TAGS,
      summary: 'Have events sent to a URL',
      description:
        'Each event is sent by POST, signed as Standard Webhooks say. The answer is the only place where `secret` is shown. At most 50 per account.',
      body: WebhookBody,
      response: answers(201, IssuedWebhookSchema, {
        ...{ description: 'The webhook and its secret, shown once', hasBody: true },
        problems: ['CONFLICT'],
      }),
    },
    handler: async (request, reply) => {
      refuseBound(request);
      const { url, events = ['*'], description = null, enabled = true } = request.body;
      const wanted = { url, events, description, enabled };
      const checked = checkedFields(wanted, part.reach) as WebhookFields;
      const issued = await fromStore(part, part.webhooks.create(actorOf(request), checked));
      if (issued === 'full') {
        const faults = [{ path: '', rule: 'full', params: { limit: MAX_WEBHOOKS } }];
        throw new Problem('CONFLICT', { faults });
      }
      reply.code(201);
      return ok(issuedView(issued));
    },
  });
}

/** Errors: VALIDATION_FAILED. */
function checkedFields(given: Partial<WebhookFields>, reach: Reach): Partial<WebhookFields> {
  const faults: FieldFault[] = [];
  const { url, events } = given;
  const fault = url === undefined ? null : urlFault(url, reach);
  if (fault !== null) faults.push({ path: '/url', rule: fault });
  for (const [index, pattern] of (events ?? []).entries()) {
    if (!isEventPattern(pattern)) faults.push({ path: `/events/${index}`, rule: 'event' });
  }
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
  return { ...given, ...(events === undefined ? {} : { events: [...new Set(events)] }) };
}

function addList(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/webhooks',
    config: { capability: 'adm' },
    schema: {
      operationId: 'listWebhooks',
      tags: TAGS,
      summary: 'List webhooks, newest first',
      querystring: ListQuery,
      response: answers(
        200,
        Type.Object({
          webhooks: Type.Array(ref(WebhookSchema)),
          pagination: ref(PaginationSchema),
        }),
        { description: 'One page', problems: [] },
      ),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.webhooks.list(actorOf(request), page));
      return ok({ webhooks: found.rows.map(webhookView), pagination: paginationOf(page, found) });
    },
  });
}

function addGet(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/webhooks/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'getWebhook',
      tags: TAGS,
      summary: 'Read one webhook',
      params: IdParams,
      response: answers(200, ref(WebhookSchema), {
        ...{ description: 'Without its secret', problems: ['NOT_FOUND'] },
      }),
    },
    handler: async (request) => {
      const work = part.webhooks.get(actorOf(request), request.params.id);
      return ok(webhookView(found(await fromStore(part, work))));
    },
  });
}

function addChange(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'PATCH',
    url: '/api/v1/webhooks/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'changeWebhook',
      tags: TAGS,
      summary: 'Change fields of a webhook',
      description:
        'While it is disabled nothing is queued for it; what waited before goes on when it is enabled again.',
      params: IdParams,
      body: WebhookPatch,
      response: answers(200, ref(WebhookSchema), {
        ...{ description: 'As it is now', problems: ['NOT_FOUND'], hasBody: true },
      }),
    },
    handler: async (request) => {
      refuseBound(request);
      const changes = checkedFields(request.body, part.reach);
      const work = part.webhooks.update(actorOf(request), request.params.id, changes);
      return ok(webhookView(found(await fromStore(part, work))));
    },
  });
}

function addDelete(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'DELETE',
    url: '/api/v1/webhooks/:id',
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteWebhook',
      tags: TAGS,
      summary: 'Delete a webhook with its deliveries',
      params: IdParams,
      response: answers(200, Type.Null(), { description: 'It is gone', problems: ['NOT_FOUND'] }),
    },
    handler: async (request) => {
      refuseBound(request);
      const work = part.webhooks.remove(actorOf(request), request.params.id);
      if (!(await fromStore(part, work))) throw new Problem('NOT_FOUND');
      return ok(null);
    },
  });
}

function addRotate(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/webhooks/:id/rotate-secret',
    config: { capability: 'adm', idempotent: true, holdsSecret: true },
    schema: {
      operationId: 'rotateWebhookSecret',
      tags: TAGS,
      summary: 'Replace the secret of a webhook',
      description:
        'For `overlap_s` every event carries two signatures, of the new and the old one.',
      params: IdParams,
      body: RotateSecretBody,
      response: answers(200, IssuedWebhookSchema, {
        ...{ description: 'The new secret, shown once', problems: ['NOT_FOUND'], hasBody: true },
      }),
    },
    handler: async (request) => {
      refuseBound(request);
      const overlapS = request.body.overlap_s ?? DEFAULT_OVERLAP_S;
      const work = part.webhooks.rotateSecret(actorOf(request), request.params.id, overlapS);
      return ok(issuedView(found(await fromStore(part, work))));
    },
  });
}

/** Errors: NOT_FOUND. */
function found<T>(value: T | null): T {
  if (value === null) throw new Problem('NOT_FOUND');
  return value;
}

function issuedView({ row, secret }: IssuedWebhook) {
  return { ...webhookView(row), secret };
}

function webhookView(row: WebhookRow) {
  return {
    ...{ id: row.id, url: row.url, events: [...row.events], description: row.description },
    ...{ enabled: row.enabled, disabled_reason: row.disabledReason },
    failing_since: row.failingSince?.toISOString() ?? null,
    old_secret_until: row.oldSecretUntil?.toISOString() ?? null,
    ...{ created_at: row.createdAt.toISOString(), updated_at: row.updatedAt.toISOString() },
  };
}
