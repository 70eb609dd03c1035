/** The Volcengine account (contract 2.2): one active, its secrets never returned. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { VolcengineConfig } from '#store/speech-configs.ts';
import { languageOf } from './language.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, type ApiServer } from './routing.ts';
import { answers, EXAMPLE_ID, IdSchema, ok, ref, TimeSchema } from './schemas.ts';
import { NoQuery, refuseOptions, vendorOptions, vendorText } from './vendor-fields.ts';
import { savedText, type VendorPorts } from './vendor-part.ts';

const VolcengineBody = Type.Object(
  {
    app_id: vendorText('Without spaces and `*`'),
    access_token: vendorText('Kept sealed, never returned'),
    secret_key: Type.Optional(vendorText('Kept sealed, never returned')),
    resource_id: Type.Optional(vendorText('Default `volc.speech.dialog`')),
    options: Type.Optional(vendorOptions('Passed on to the vendor')),
  },
  {
    additionalProperties: false,
    examples: [{ app_id: 'my_app_id', access_token: 'my_access_token' }],
  },
);

export const VolcengineConfigSchema = Type.Object(
  {
    id: IdSchema,
    app_id: Type.String(),
    has_secret_key: Type.Boolean(),
    resource_id: Type.String(),
    options: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    is_active: Type.Literal(true),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'VolcengineConfig',
    examples: [
      {
        id: EXAMPLE_ID,
        app_id: 'my_app_id',
        has_secret_key: false,
        resource_id: 'volc.speech.dialog',
        options: {},
        is_active: true,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

export type VolcenginePart = Pick<VendorPorts, 'speech'> & { readonly clock: Clock };

const PATH = '/api/v1/volcengine/config';
const TAGS = ['Vendors'];

export function addVolcengineRoutes(app: ApiServer, part: VolcenginePart): void {
  addSave(app, part);
  addGet(app, part);
  addDelete(app, part);
}

function addSave(app: ApiServer, part: VolcenginePart): void {
  app.route({
    method: 'POST',
    url: PATH,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'saveVolcengineConfig',
      tags: TAGS,
      summary: 'Save the Volcengine account',
      description: 'Takes the place of the former one.',
      querystring: NoQuery,
      body: VolcengineBody,
      response: answers(200, ref(VolcengineConfigSchema), {
        ...{ description: 'The account as it is now', hasBody: true, hasMessage: true },
        problems: [],
      }),
    },
    handler: async (request) => {
      const { body } = request;
      const options = body.options ?? {};
      refuseOptions(options, '/options');
      const saved = part.speech.saveVolcengine(actorOf(request), {
        appId: body.app_id,
        accessToken: body.access_token,
        secretKey: body.secret_key ?? null,
        resourceId: body.resource_id ?? null,
        options,
      });
      const language = languageOf(request.headers['accept-language']);
      return ok(configView(await fromStore(part, saved)), savedText('saved', language));
    },
  });
}

function addGet(app: ApiServer, part: VolcenginePart): void {
  app.route({
    method: 'GET',
    url: PATH,
    config: { capability: 'dev' },
    schema: {
      operationId: 'getVolcengineConfig',
      tags: TAGS,
      summary: 'Read the Volcengine account',
      querystring: NoQuery,
      response: answers(200, ref(VolcengineConfigSchema), {
        description: 'The active account, without its secrets',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const config = await fromStore(part, part.speech.volcengine(actorOf(request)));
      if (config === null) throw new Problem('NOT_FOUND');
      return ok(configView(config));
    },
  });
}

function addDelete(app: ApiServer, part: VolcenginePart): void {
  app.route({
    method: 'DELETE',
    url: PATH,
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteVolcengineConfig',
      tags: TAGS,
      summary: 'Deactivate the Volcengine account',
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        ...{ description: 'No account is active', hasMessage: true },
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const wasActive = await fromStore(part, part.speech.endVolcengine(actorOf(request)));
      if (!wasActive) throw new Problem('NOT_FOUND');
      return ok(null, savedText('deleted', languageOf(request.headers['accept-language'])));
    },
  });
}

function configView(config: VolcengineConfig): Static<typeof VolcengineConfigSchema> {
  return {
    id: config.id,
    app_id: config.appId,
    has_secret_key: config.hasSecretKey,
    resource_id: config.resourceId,
    options: config.options,
    is_active: true,
    created_at: config.createdAt,
    updated_at: config.updatedAt,
  };
}
