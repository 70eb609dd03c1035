/** The Aliyun account and its access token (contract 2.2). */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Actor } from '#lib/actor.ts';
import type { AliyunConfig, FirstToken, NewAliyunConfig } from '#store/speech-configs.ts';
import { languageOf } from './language.ts';
import { Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import { answers, EXAMPLE_ID, IdSchema, nullable, ok, ref, TimeSchema } from './schemas.ts';
import { NoBody, NoQuery, vendorText } from './vendor-fields.ts';
import { fromVendor, savedText, type VendorPorts } from './vendor-part.ts';

const RegionSchema = Type.Enum(['cn-shanghai', 'cn-beijing', 'cn-shenzhen', 'ap-southeast-1']);

const AliyunBody = Type.Object(
  {
    access_key_id: vendorText('AccessKey ID; without spaces and `*`'),
    access_key_secret: vendorText('Kept sealed, never returned'),
    app_key: vendorText('Of the project at the speech service'),
    region: Type.Optional(RegionSchema),
    instance_id: Type.Optional(vendorText('Of the project, for your own records')),
    verify: Type.Optional(
      Type.Boolean({ description: 'Fetches a token first; nothing is saved when it is refused' }),
    ),
  },
  {
    additionalProperties: false,
    examples: [
      {
        access_key_id: 'my_access_key_id',
        access_key_secret: 'my_access_key_secret',
        app_key: 'my_app_key',
        region: 'cn-shanghai',
        verify: true,
      },
    ],
  },
);

export const AliyunConfigSchema = Type.Object(
  {
    id: IdSchema,
    access_key_id: Type.String({ description: 'First 4 + **** + last 4' }),
    app_key: Type.String(),
    region: Type.String(),
    instance_id: nullable(Type.String()),
    is_active: Type.Literal(true),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'AliyunConfig',
    examples: [
      {
        id: EXAMPLE_ID,
        access_key_id: 'my_a****y_id',
        app_key: 'my_app_key',
        region: 'cn-shanghai',
        instance_id: null,
        is_active: true,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const TokenSchema = Type.Object(
  {
    token: Type.String(),
    expires_at: Type.Integer({ description: 'Unix seconds, as the vendor said' }),
    app_key: Type.String(),
    region: Type.String(),
    gateway_url: Type.String(),
  },
  {
    examples: [
      {
        token: 'f9d8c7b6a5',
        expires_at: 1767312000,
        app_key: 'my_app_key',
        region: 'cn-shanghai',
        gateway_url: 'wss://nls-gateway-cn-shanghai.aliyuncs.com/ws/v1',
      },
    ],
  },
);

export type AliyunPart = Pick<VendorPorts, 'speech' | 'tokens'> & { readonly clock: Clock };

const PATH = '/api/v1/aliyun/config';
const TAGS = ['Vendors'];

export function addAliyunConfigRoutes(app: ApiServer, part: AliyunPart): void {
  addSave(app, part);
  addGet(app, part);
  addDelete(app, part);
  addToken(app, part);
}

function addSave(app: ApiServer, part: AliyunPart): void {
  app.route({
    method: 'POST',
    url: PATH,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'saveAliyunConfig',
      tags: TAGS,
      summary: 'Save the Aliyun account',
      description: 'Takes the place of the former one, whose token is dropped with it.',
      querystring: NoQuery,
      body: AliyunBody,
      response: answers(200, ref(AliyunConfigSchema), {
        ...{ description: 'The account as it is now', hasBody: true, hasMessage: true },
        problems: ['PROVIDER_REJECTED', 'PROVIDER_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const config = await save(part, actorOf(request), request.body);
      const language = languageOf(request.headers['accept-language']);
      return ok(configView(config), savedText('saved', language));
    },
  });
}

async function save(
  part: AliyunPart,
  actor: Actor,
  body: Static<typeof AliyunBody>,
): Promise<AliyunConfig> {
  const wanted: NewAliyunConfig = {
    accessKeyId: body.access_key_id,
    accessKeySecret: body.access_key_secret,
    appKey: body.app_key,
    region: body.region ?? 'cn-shanghai',
    instanceId: body.instance_id ?? null,
  };
  let token: FirstToken | null = null;
  if (body.verify === true) {
    const fetched = await fromVendor(part, part.tokens.verify(wanted));
    token = { ...fetched, fetchedAtMs: part.clock.wallMs() };
  }
  return fromStore(part, part.speech.saveAliyun(actor, wanted, token));
}

function addGet(app: ApiServer, part: AliyunPart): void {
  app.route({
    method: 'GET',
    url: PATH,
    config: { capability: 'dev' },
    schema: {
      operationId: 'getAliyunConfig',
      tags: TAGS,
      summary: 'Read the Aliyun account',
      querystring: NoQuery,
      response: answers(200, ref(AliyunConfigSchema), {
        description: 'The active account, without its secret',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const config = await fromStore(part, part.speech.aliyun(actorOf(request)));
      if (config === null) throw new Problem('NOT_FOUND');
      return ok(configView(config));
    },
  });
}

function addDelete(app: ApiServer, part: AliyunPart): void {
  app.route({
    method: 'DELETE',
    url: PATH,
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteAliyunConfig',
      tags: TAGS,
      summary: 'Deactivate the Aliyun account',
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        ...{ description: 'No account is active', hasMessage: true },
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const wasActive = await fromStore(part, part.speech.endAliyun(actorOf(request)));
      if (!wasActive) throw new Problem('NOT_FOUND');
      return ok(null, savedText('deleted', languageOf(request.headers['accept-language'])));
    },
  });
}

function addToken(app: ApiServer, part: AliyunPart): void {
  app.route({
    method: 'POST',
    url: '/api/v1/aliyun/token',
    config: { capability: 'dev' },
    schema: {
      operationId: 'getAliyunToken',
      tags: TAGS,
      summary: 'Get an access token of the Aliyun speech service',
      description:
        'One token for the whole installation, renewed before it expires and served as long as it is good, also while Aliyun does not answer. A refused key is not tried again for 30 s.',
      querystring: NoQuery,
      body: NoBody,
      response: answers(200, TokenSchema, {
        ...{ description: 'A token with at least 30 s of life', hasBody: true },
        problems: ['PROVIDER_NOT_CONFIGURED', 'PROVIDER_REJECTED', 'PROVIDER_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const { accountId } = callerOf(request);
      const token = await fromVendor(part, part.tokens.forAccount(accountId));
      if (token === null) throw new Problem('PROVIDER_NOT_CONFIGURED');
      return ok({
        token: token.token,
        expires_at: Math.floor(token.expiresAtMs / 1_000),
        app_key: token.appKey,
        region: token.region,
        gateway_url: `wss://nls-gateway-${token.region}.aliyuncs.com/ws/v1`,
      });
    },
  });
}

function configView(config: AliyunConfig): Static<typeof AliyunConfigSchema> {
  return {
    id: config.id,
    access_key_id: config.accessKeyId,
    app_key: config.appKey,
    region: config.region,
    instance_id: config.instanceId,
    is_active: true,
    created_at: config.createdAt,
    updated_at: config.updatedAt,
  };
}
