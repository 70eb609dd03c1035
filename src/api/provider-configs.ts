/** Accounts at every other vendor (contract 2.8): credentials are written, never read back. */
import { Type, type Static } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { AppError, ErrorCode } from '#lib/errors.ts';
import type { ProviderConfig, ProviderConfigFields } from '#store/provider-configs.ts';
import { languageOf, type Language } from './language.ts';
import { pageFields, pageOf, paginationOf } from './paging.ts';
import { invalid, Problem } from './problem.ts';
import { fromStore } from './record-source.ts';
import { actorOf, callerOf, type ApiServer } from './routing.ts';
import {
  answers,
  EXAMPLE_ID,
  IdParams,
  IdSchema,
  nullable,
  ok,
  PaginationSchema,
  ref,
  TimeSchema,
} from './schemas.ts';
import { refuseFreeForm } from './validation.ts';
import { NoBody, NoQuery, refuseOptions, vendorOptions } from './vendor-fields.ts';
import { fromVendor, savedText, type VendorPorts } from './vendor-part.ts';

const KindSchema = Type.Enum(['stt', 'llm', 'tts', 'realtime']);
const DEFAULT_PRIORITY = 100;

const plainFields = {
  kind: KindSchema,
  vendor: Type.String({
    pattern: '^[a-z0-9][a-z0-9_-]{0,63}$',
    description: 'Lower case, e.g. `openai` for every OpenAI-compatible model',
  }),
  name: Type.String({
    ...{ minLength: 1, maxLength: 255, pattern: '\\S' },
    description: 'Unique among the accounts of its kind',
  }),
};

const credentials = Type.Unsafe<Record<string, string>>({
  type: 'object',
  additionalProperties: { type: 'string', maxLength: 8_192 },
  description: 'Secrets by name, e.g. `api_key`: kept sealed, never returned. At most 16 KiB',
});

function price(description: string) {
  return Type.Optional(Type.Number({ minimum: 0, maximum: 1_000_000, description }));
}

const furtherFields = {
  options: Type.Optional(vendorOptions('What is no secret, e.g. `base_url` and `model`')),
  prices: Type.Optional(
    Type.Object(
      {
        stt_per_minute: price('A minute of recognised audio'),
        tts_per_1k_chars: price('1,000 characters of spoken text'),
        llm_per_1m_input: price('1,000,000 tokens read'),
        llm_per_1m_output: price('1,000,000 tokens written'),
        realtime_per_minute: price('A minute of a speech-to-speech session'),
        currency: Type.Optional(
          Type.String({ pattern: '^[A-Z]{3}$', description: 'That of the account, and no other' }),
        ),
      },
      {
        additionalProperties: false,
        description:
          'What the vendor charges; a call costs what it has used of the units named here',
      },
    ),
  ),
  priority: Type.Optional(
    Type.Integer({
      ...{ minimum: 0, maximum: 10_000 },
      description: 'The lowest is used first; default 100',
    }),
  ),
  is_active: Type.Optional(Type.Boolean({ description: 'Default true' })),
};

const bodyExample = {
  kind: 'llm',
  vendor: 'openai',
  name: 'Main model',
  credentials: { api_key: 'my_api_key' },
  options: { base_url: 'https://llm.example.com/v1', model: 'my-model' },
};
const closed = { additionalProperties: false, examples: [bodyExample] };

const CreateBody = Type.Object({ ...plainFields, credentials, ...furtherFields }, closed);
const ReplaceBody = Type.Object(
  { ...plainFields, credentials: Type.Optional(credentials), ...furtherFields },
  closed,
);
const PatchBody = Type.Object(
  {
    kind: Type.Optional(plainFields.kind),
    vendor: Type.Optional(plainFields.vendor),
    name: Type.Optional(plainFields.name),
    credentials: Type.Optional(credentials),
    ...furtherFields,
  },
  { additionalProperties: false, examples: [{ priority: 10 }] },
);

export const ProviderConfigSchema = Type.Object(
  {
    id: IdSchema,
    kind: KindSchema,
    vendor: Type.String(),
    name: Type.String(),
    has_credentials: Type.Boolean(),
    options: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    prices: Type.Unsafe<Readonly<Record<string, number | string>>>({
      type: 'object',
      additionalProperties: { type: ['number', 'string'] },
    }),
    priority: Type.Integer(),
    is_active: Type.Boolean(),
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'ProviderConfig',
    examples: [
      {
        id: EXAMPLE_ID,
        kind: 'llm',
        vendor: 'openai',
        name: 'Main model',
        has_credentials: true,
        options: { base_url: 'https://llm.example.com/v1', model: 'my-model' },
        prices: { llm_per_1m_input: 2.5, llm_per_1m_output: 10, currency: 'CNY' },
        priority: 100,
        is_active: true,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);

const ListSchema = Type.Object({
  provider_configs: Type.Array(ref(ProviderConfigSchema)),
  pagination: ref(PaginationSchema),
});

const TestSchema = Type.Object(
  {
    ok: Type.Boolean(),
    latency_ms: Type.Integer({ description: 'Until the vendor answered, or refused' }),
    error: nullable(Type.String({ description: 'What went wrong, for people' })),
  },
  { examples: [{ ok: true, latency_ms: 240, error: null }] },
);

export type ProviderConfigsPart = Pick<VendorPorts, 'providers' | 'probe'> & {
  readonly clock: Clock;
};

const PATH = '/api/v1/provider-configs';
const TAGS = ['Vendors'];
const saved = { hasBody: true, hasMessage: true } as const;

export function addProviderConfigRoutes(app: ApiServer, part: ProviderConfigsPart): void {
  addCreate(app, part);
  addList(app, part);
  addGet(app, part);
  addReplace(app, part);
  addPatch(app, part);
  addDelete(app, part);
  addTest(app, part);
}

function addCreate(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'POST',
    url: PATH,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'createProviderConfig',
      tags: TAGS,
      summary: 'Add an account at a vendor',
      description:
        'Agents that name no vendor use the active accounts by priority, from their next call on. An `llm` account of `openai` takes `base_url` (default: OpenAI’s own) and `model` in its options and `api_key` in its credentials.',
      querystring: NoQuery,
      body: CreateBody,
      response: answers(201, ref(ProviderConfigSchema), {
        ...{ ...saved, description: 'The account', problems: ['CONFLICT'] },
      }),
    },
    handler: async (request, reply) => {
      const wanted = wholeOf(request.body);
      await refuseCurrency(part, actorOf(request), wanted);
      const made = await fromStore(
        part,
        part.providers.create(actorOf(request), {
          ...wanted,
          credentials: request.body.credentials,
        }),
      );
      reply.code(201);
      return ok(configView(made), savedText('saved', languageOfRequest(request)));
    },
  });
}

function addList(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'GET',
    url: PATH,
    config: { capability: 'adm' },
    schema: {
      operationId: 'listProviderConfigs',
      tags: TAGS,
      summary: 'List the accounts at vendors, newest first',
      querystring: Type.Object(pageFields, { additionalProperties: false }),
      response: answers(200, ListSchema, {
        description: 'One page, without credentials',
        problems: [],
      }),
    },
    handler: async (request) => {
      const page = pageOf(request.query);
      const found = await fromStore(part, part.providers.list(actorOf(request), page));
      return ok({
        provider_configs: found.rows.map(configView),
        pagination: paginationOf(page, found),
      });
    },
  });
}

function addGet(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'GET',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'getProviderConfig',
      tags: TAGS,
      summary: 'Read an account at a vendor',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, ref(ProviderConfigSchema), {
        description: 'The account, without its credentials',
        problems: ['NOT_FOUND'],
      }),
    },
    handler: async (request) => {
      const found = part.providers.get(actorOf(request), request.params.id);
      return ok(configView(existing(await fromStore(part, found))));
    },
  });
}

function addReplace(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'PUT',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'replaceProviderConfig',
      tags: TAGS,
      summary: 'Replace an account at a vendor',
      description:
        'What is left out gets its default, except `credentials`: as nobody can read them, they stay when they are left out, and `{}` removes them.',
      params: IdParams,
      querystring: NoQuery,
      body: ReplaceBody,
      response: answers(200, ref(ProviderConfigSchema), {
        ...{ ...saved, description: 'The account as it is now' },
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const wanted = wholeOf(request.body);
      await refuseCurrency(part, actorOf(request), wanted);
      const changed = part.providers.update(actorOf(request), request.params.id, wanted);
      const config = existing(await fromStore(part, changed));
      return ok(configView(config), savedText('saved', languageOfRequest(request)));
    },
  });
}

function addPatch(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'PATCH',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'updateProviderConfig',
      tags: TAGS,
      summary: 'Change fields of an account at a vendor',
      description: '`credentials`, `options` and `prices` are replaced, not merged.',
      params: IdParams,
      querystring: NoQuery,
      body: PatchBody,
      response: answers(200, ref(ProviderConfigSchema), {
        ...{ ...saved, description: 'The account as it is now' },
        problems: ['NOT_FOUND', 'CONFLICT'],
      }),
    },
    handler: async (request) => {
      const changes = changesOf(request.body);
      await refuseCurrency(part, actorOf(request), changes);
      const changed = part.providers.update(actorOf(request), request.params.id, changes);
      const config = existing(await fromStore(part, changed));
      return ok(configView(config), savedText('saved', languageOfRequest(request)));
    },
  });
}

function addDelete(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'DELETE',
    url: `${PATH}/:id`,
    config: { capability: 'adm' },
    schema: {
      operationId: 'deleteProviderConfig',
      tags: TAGS,
      summary: 'Delete an account at a vendor',
      description: 'Not while an agent names it.',
      params: IdParams,
      querystring: NoQuery,
      response: answers(200, Type.Null(), {
        ...{ description: 'It is gone', hasMessage: true },
        problems: ['NOT_FOUND', 'IN_USE'],
      }),
    },
    handler: async (request) => {
      const removed = part.providers.remove(actorOf(request), request.params.id);
      const result = await fromStore(part, removed);
      if (result === 'missing') throw new Problem('NOT_FOUND');
      if (result !== 'deleted') {
        const faults = result.inUse.map((id) => ({ path: `/agents/${id}`, rule: 'inUse' }));
        throw new Problem('IN_USE', { faults });
      }
      return ok(null, savedText('deleted', languageOfRequest(request)));
    },
  });
}

function addTest(app: ApiServer, part: ProviderConfigsPart): void {
  app.route({
    method: 'POST',
    url: `${PATH}/:id/test`,
    config: { capability: 'adm', idempotent: true },
    schema: {
      operationId: 'testProviderConfig',
      tags: TAGS,
      summary: 'Try an account out at its vendor',
      description:
        'A language model is asked for one word. Answers 200 also when it does not work.',
      params: IdParams,
      querystring: NoQuery,
      body: NoBody,
      response: answers(200, TestSchema, {
        ...{ description: 'Whether it works', hasBody: true },
        problems: ['NOT_FOUND', 'PROVIDER_TIMEOUT'],
      }),
    },
    handler: async (request) => {
      const { accountId } = callerOf(request);
      const probe = part.probe(accountId, request.params.id);
      const result = existing(await fromVendor(part, probe));
      const { error } = result;
      const text = error === null ? null : failureText(error, languageOfRequest(request));
      return ok({ ok: error === null, latency_ms: Math.round(result.latencyMs), error: text });
    },
  });
}

type FailureText = Readonly<Record<Language, string>>;

/** The vendor's own words may quote the key, or be those of a host that is none of the account's business. */
const FAILURES: Partial<Record<ErrorCode, FailureText>> = {
  E_PROVIDER_AUTH: { en: 'the vendor refused the credentials', zh: '供应商拒绝了凭证' },
  E_PROVIDER_PARAM: {
    en: 'the vendor refused the request; check base_url and model',
    zh: '供应商拒绝了请求，请检查 base_url 和 model',
  },
  E_PROVIDER_QUOTA: { en: 'the rate or budget is used up', zh: '调用频率或额度已用尽' },
  E_PROVIDER_IDLE: { en: 'the vendor closed the connection', zh: '供应商关闭了连接' },
  E_PROVIDER_SERVER: {
    en: 'the vendor could not be reached, or failed',
    zh: '无法连接供应商，或供应商出错',
  },
  E_PROVIDER_CONTENT: { en: 'the vendor withheld the answer', zh: '供应商拦截了回答' },
  E_TIMEOUT: { en: 'the vendor did not answer in time', zh: '供应商未在限定时间内响应' },
  E_ABORTED: { en: 'the vendor did not answer in time', zh: '供应商未在限定时间内响应' },
};

function failureText(error: AppError, language: Language): string {
  // What we say of our own settings quotes no secret.
  if (error.code === 'E_CONFIG') return error.message;
  const { status } = error.details;
  const text = FAILURES[error.code]?.[language] ?? (language === 'zh' ? '测试失败' : 'it failed');
  return `${text} [${error.code}${typeof status === 'number' ? ` ${status}` : ''}]`;
}

function languageOfRequest(request: {
  readonly headers: { readonly 'accept-language'?: string | undefined };
}): Language {
  return languageOf(request.headers['accept-language']);
}

function existing<T>(found: T | null): T {
  if (found === null) throw new Problem('NOT_FOUND');
  return found;
}

/** With the default of every field that is left out; credentials only where they are given. */
function wholeOf(
  body: Static<typeof ReplaceBody>,
): Omit<ProviderConfigFields, 'credentials'> & Pick<Partial<ProviderConfigFields>, 'credentials'> {
  const { kind, vendor, name } = body;
  return {
    ...{ kind, vendor, name },
    ...{ options: {}, prices: {}, priority: DEFAULT_PRIORITY, isActive: true },
    ...changesOf(body),
  };
}

function changesOf(body: Static<typeof PatchBody>): Partial<ProviderConfigFields> {
  const { is_active: isActive, ...rest } = body;
  if (rest.credentials !== undefined) refuseFreeForm(rest.credentials, '/credentials');
  if (rest.options !== undefined) {
    refuseOptions(rest.options, '/options');
    refuseAddress(rest.options['base_url']);
  }
  return { ...rest, ...(isActive === undefined ? {} : { isActive }) };
}

/** A private address is right: models run beside the server. One that no client can use is not. */
function refuseAddress(baseUrl: unknown): void {
  if (baseUrl === undefined) return;
  const { protocol = '' } = (typeof baseUrl === 'string' ? URL.parse(baseUrl) : null) ?? {};
  if (!/^https?:$/.test(protocol)) throw invalid('/options/base_url', 'address');
}

/** Money is not converted: a price in another currency would never be counted. */
async function refuseCurrency(
  part: ProviderConfigsPart,
  actor: ReturnType<typeof actorOf>,
  { prices }: Pick<Partial<ProviderConfigFields>, 'prices'>,
): Promise<void> {
  if (prices?.['currency'] === undefined) return;
  const currency = await fromStore(part, part.providers.currency(actor));
  if (prices['currency'] !== currency) throw invalid('/prices/currency', 'currency', { currency });
}

function configView(config: ProviderConfig): Static<typeof ProviderConfigSchema> {
  return {
    id: config.id,
    kind: config.kind,
    vendor: config.vendor,
    name: config.name,
    has_credentials: config.hasCredentials,
    options: config.options,
    prices: config.prices,
    priority: config.priority,
    is_active: config.isActive,
    created_at: config.createdAt,
    updated_at: config.updatedAt,
  };
}
