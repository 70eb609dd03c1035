/** The secret that requests to an account's tools are signed with (docs/tools.md). */
import { Type } from 'typebox';
import type { ToolSecret } from '#store/tool-secrets.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, nullable, ok, TimeSchema } from './schemas.ts';
import { refuseBound, type WebhooksPart } from './webhook-part.ts';
import { RotateSecretBody } from './webhook-schemas.ts';

const DEFAULT_OVERLAP_S = 86_400;
const TAGS = ['Administration'];
const NoQuery = Type.Object({}, { additionalProperties: false });

const ToolSecretSchema = Type.Object(
  {
    secret: Type.String({ description: 'Key of the signatures, as Standard Webhooks write it' }),
    old_secret_until: nullable(
      Type.String({ description: 'Until when the secret before the last rotation signs as well' }),
    ),
    updated_at: TimeSchema,
  },
  {
    examples: [
      {
        ...{ secret: `whsec_${'A'.repeat(43)}=`, old_secret_until: null },
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

export function addToolSecretRoutes(app: ApiServer, part: WebhooksPart): void {
  app.route({
    method: 'GET',
    url: '/api/v1/settings/tool-secret',
    config: { capability: 'adm' },
    schema: {
      operationId: 'getToolSecret',
      tags: TAGS,
      summary: 'Read the secret that requests to tools are signed with',
      description:
        'Functions with a `url` and MCP servers of every agent of the account are asked with signatures by this secret.',
      querystring: NoQuery,
      response: answers(200, ToolSecretSchema, { description: 'The secret', problems: [] }),
    },
    handler: async (request) => {
      refuseBound(request);
      return ok(viewOf(await fromStore(part, part.toolSecrets.get(actorOf(request)))));
    },
  });
  app.route({
    method: 'POST',
    url: '/api/v1/settings/tool-secret/rotate',
    config: { capability: 'adm', idempotent: true, holdsSecret: true },
    schema: {
      operationId: 'rotateToolSecret',
      tags: TAGS,
      summary: 'Replace the secret that requests to tools are signed with',
      description:
        'For `overlap_s` each request carries two signatures, of the new and the old one.',
      body: RotateSecretBody,
      response: answers(200, ToolSecretSchema, {
        ...{ description: 'The new secret', problems: [], hasBody: true },
      }),
    },
    handler: async (request) => {
      refuseBound(request);
      const overlapS = request.body.overlap_s ?? DEFAULT_OVERLAP_S;
      const work = part.toolSecrets.rotate(actorOf(request), overlapS);
      return ok(viewOf(await fromStore(part, work)));
    },
  });
}

function viewOf({ secret, oldSecretUntil, updatedAt }: ToolSecret) {
  return {
    secret,
    old_secret_until: oldSecretUntil?.toISOString() ?? null,
    updated_at: updatedAt.toISOString(),
  };
}
