/** The routes of vendor accounts: what they answer, what they refuse, and that no secret comes back. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import { AppError } from '#lib/errors.ts';
import { assertDeclared, makeApi, makeFakes, MISSING, type Fakes } from './_api-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());
beforeEach(() => {
  Object.assign(fakes.vendors, {
    ...{ aliyun: null, firstToken: null, volcengine: null, token: null },
    ...{ vendorError: null, probeError: null },
  });
  fakes.vendors.providers.clear();
});

const ALIYUN = '/api/v1/aliyun/config';
const VOLCENGINE = '/api/v1/volcengine/config';
const CONFIGS = '/api/v1/provider-configs';
const KEYS = {
  access_key_id: 'LTAI0123456789abcdef',
  access_key_secret: 'canary-secret',
  app_key: 'app',
};
const MODEL = {
  ...{ kind: 'llm', vendor: 'openai', name: 'Main' },
  credentials: { api_key: 'canary-key' },
  options: { model: 'm' },
};

type Body = { data: Record<string, unknown>; error: { code: string; details?: unknown } };

async function ask(
  route: string,
  payload?: object | Buffer | string,
  headers: Record<string, string> = {},
) {
  const [method = 'GET', url = ''] = route.split(' ');
  const answer = await app.inject({
    ...{ method: method as 'GET', url, headers: { ...admin, ...headers } },
    ...(payload === undefined ? {} : { payload }),
  });
  const path = (url.split('?')[0] ?? '').replace(/[0-9a-f-]{36}/, '{id}');
  const body = answer.json<Body>();
  assertDeclared(app, `${method} ${path}`, answer.statusCode, body);
  assert.doesNotMatch(answer.body, /canary/, 'a secret came back');
  return { status: answer.statusCode, headers: answer.headers, body };
}

test('an Aliyun account is saved, read, and ended', async () => {
  assert.equal((await ask(`GET ${ALIYUN}`)).status, 404);
  const saved = await ask(`POST ${ALIYUN}`, KEYS, { 'accept-language': 'zh-CN' });
  assert.equal(saved.status, 200);
  assert.equal((saved.body as unknown as { message: string }).message, '配置已保存');
  const { data } = (await ask(`GET ${ALIYUN}`)).body;
  assert.deepEqual(data, saved.body.data);
  assert.equal(data['access_key_id'], 'LTAI****cdef');
  assert.equal(data['region'], 'cn-shanghai');
  assert.equal(fakes.vendors.firstToken, null);
  assert.equal((await ask(`DELETE ${ALIYUN}`)).body.data, null);
  assert.equal((await ask(`DELETE ${ALIYUN}`)).status, 404);
});

test('verify fetches a token first; a refused key is not saved', async () => {
  assert.equal((await ask(`POST ${ALIYUN}`, { ...KEYS, verify: true })).status, 200);
  assert.equal(fakes.vendors.firstToken?.token, 'verified');
  fakes.vendors.aliyun = null;
  const failures: [AppError, number, string, unknown][] = [
    [
      new AppError('E_PROVIDER_AUTH', 'x', {
        details: { vendorCode: 'InvalidAccessKeyId.NotFound' },
      }),
      ...([502, 'PROVIDER_REJECTED', { vendor_code: 'InvalidAccessKeyId.NotFound' }] as const),
    ],
    [new AppError('E_PROVIDER_SERVER', 'x'), 504, 'PROVIDER_TIMEOUT', undefined],
    [
      new AppError('E_TIMEOUT', 'x', { details: { vendor: 'aliyun' } }),
      ...([504, 'PROVIDER_TIMEOUT', undefined] as const),
    ],
    [new AppError('E_TIMEOUT', 'the database'), 503, 'UNAVAILABLE', undefined],
  ];
  for (const [error, status, code, details] of failures) {
    fakes.vendors.vendorError = error;
    const answer = await ask(`POST ${ALIYUN}`, { ...KEYS, verify: true });
    assert.deepEqual([answer.status, answer.body.error.code], [status, code]);
    assert.deepEqual(answer.body.error.details, details);
    assert.equal(fakes.vendors.aliyun, null);
  }
});

test('a token comes with all that is needed to connect, and needs no body', async () => {
  assert.deepEqual(
    (await ask('POST /api/v1/aliyun/token')).body.error.code,
    'PROVIDER_NOT_CONFIGURED',
  );
  fakes.vendors.token = {
    ...{ token: 't', expiresAtMs: 1_767_312_000_500, appKey: 'app', region: 'cn-beijing' },
  };
  for (const payload of [undefined, {}]) {
    assert.deepEqual((await ask('POST /api/v1/aliyun/token', payload)).body.data, {
      ...{ token: 't', expires_at: 1_767_312_000, app_key: 'app', region: 'cn-beijing' },
      gateway_url: 'wss://nls-gateway-cn-beijing.aliyuncs.com/ws/v1',
    });
  }
});

test('a Volcengine account is saved, read, and ended', async () => {
  const body = { app_id: 'a', access_token: 'canary-token', secret_key: 'canary-key' };
  const saved = await ask(`POST ${VOLCENGINE}`, { ...body, options: { speaker: 'x' } });
  assert.equal(saved.status, 200);
  const { data } = (await ask(`GET ${VOLCENGINE}`)).body;
  assert.deepEqual(
    [data['has_secret_key'], data['resource_id'], data['options']],
    [true, 'volc.speech.dialog', { speaker: 'x' }],
  );
  assert.equal((await ask(`DELETE ${VOLCENGINE}`)).status, 200);
  assert.equal((await ask(`GET ${VOLCENGINE}`)).status, 404);
});

test('provider-configs: created, listed, replaced, patched, tried out, deleted', async () => {
  const made = await ask(`POST ${CONFIGS}`, MODEL);
  assert.equal(made.status, 201);
  const url = `${CONFIGS}/${String(made.body.data['id'])}`;
  assert.equal(made.body.data['has_credentials'], true);
  assert.equal(made.body.data['priority'], 100);
  const list = (await ask(`GET ${CONFIGS}`)).body.data as { provider_configs: unknown[] };
  assert.deepEqual(list.provider_configs, [made.body.data]);
  assert.equal((await ask(`PATCH ${url}`, { priority: 5 })).body.data['priority'], 5);
  const { credentials: _, ...rest } = MODEL;
  const replaced = (await ask(`PUT ${url}`, rest)).body.data;
  assert.deepEqual([replaced['priority'], replaced['has_credentials']], [100, true]);
  assert.equal((await ask(`POST ${CONFIGS}`, MODEL)).body.error.code, 'CONFLICT');
  assert.deepEqual((await ask(`POST ${url}/test`)).body.data, {
    ...{ ok: true, latency_ms: 12, error: null },
  });
  fakes.vendors.probeError = new AppError('E_PROVIDER_AUTH', 'Incorrect key: canary-key');
  const tried = (await ask(`POST ${url}/test`, {})).body.data;
  assert.deepEqual(tried, {
    ...{ ok: false, latency_ms: 12 },
    error: 'the vendor refused the credentials [E_PROVIDER_AUTH]',
  });
  assert.equal((await ask(`DELETE ${url}`)).status, 200);
  for (const route of [`GET ${url}`, `PATCH ${url}`, `DELETE ${url}`, `POST ${url}/test`]) {
    const answer = await ask(route, route.startsWith('PATCH') ? {} : undefined);
    assert.equal(answer.status, 404, route);
  }
});

function wav(seconds: number, rate = 16_000, changes: Record<number, number> = {}): Buffer {
  const data = Math.round(seconds * rate) * 2;
  const bytes = Buffer.alloc(44 + data);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + data, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(rate * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(data, 40);
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
  return bytes;
}

test('speech to be read is looked at before the vendor is missed', async () => {
  const ASR = 'POST /api/v1/aliyun/asr';
  const rows: [string, string, Buffer | string, number, string, string | null][] = [
    ['', 'audio/wav', wav(1), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['', 'audio/wav; codecs=1', wav(60, 48_000), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['', 'audio/pcm', Buffer.alloc(60 * 32_000), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['?sample_rate=8000', 'audio/pcm', Buffer.alloc(960_000), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['?punctuation=false', 'audio/pcm', Buffer.alloc(320), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['', 'audio/wav', wav(60.1), 400, 'VALIDATION_FAILED', ' seconds'],
    ['', 'audio/pcm', Buffer.alloc(60 * 32_000 + 100), 400, 'VALIDATION_FAILED', ' seconds'],
    ['?sample_rate=8000', 'audio/pcm', Buffer.alloc(960_100), 400, 'VALIDATION_FAILED', ' seconds'],
    ['', 'audio/pcm', Buffer.alloc(321), 400, 'VALIDATION_FAILED', ' audio'],
    ['', 'audio/pcm', Buffer.alloc(0), 400, 'VALIDATION_FAILED', ' required'],
    ['', 'audio/wav', wav(0), 400, 'VALIDATION_FAILED', ' audio'],
    ['', 'audio/wav', Buffer.from('RIFF'), 400, 'VALIDATION_FAILED', ' audio'],
    ['', 'audio/wav', wav(1, 16_000, { 22: 2 }), 400, 'VALIDATION_FAILED', ' audio'],
    ['', 'audio/wav', wav(1, 16_000, { 34: 8 }), 400, 'VALIDATION_FAILED', ' audio'],
    ['', 'audio/wav', wav(1, 4_000), 400, 'VALIDATION_FAILED', ' audio'],
    // A damaged length: what there is counts, here as in every other upload.
    ['', 'audio/wav', wav(1, 16_000, { 43: 9 }), 422, 'PROVIDER_NOT_CONFIGURED', null],
    ['', 'audio/wav', wav(1, 16_000, { 36: 0 }), 400, 'VALIDATION_FAILED', ' audio'],
    [
      '?sample_rate=44100',
      'audio/pcm',
      Buffer.alloc(320),
      400,
      'VALIDATION_FAILED',
      '?sample_rate enum',
    ],
    ['?voice=x', 'audio/pcm', Buffer.alloc(320), 400, 'VALIDATION_FAILED', '?voice unknown'],
    ['', 'application/json', '{}', 415, 'UNSUPPORTED_MEDIA_TYPE', null],
    ['', 'audio/mpeg', Buffer.alloc(10), 415, 'UNSUPPORTED_MEDIA_TYPE', null],
    ['', 'audio/pcm', Buffer.alloc(25 * 1024 * 1024 + 1), 413, 'PAYLOAD_TOO_LARGE', null],
  ];
  for (const [query, type, payload, status, code, fault] of rows) {
    const answer = await ask(`${ASR}${query}`, payload, { 'content-type': type });
    const name = `${query} ${type} ${payload.length}`;
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], name);
    const [first] = (answer.body.error.details ?? []) as { path: string; rule: string }[];
    assert.equal(first === undefined ? null : `${first.path} ${first.rule}`, fault, name);
  }
  assert.equal((await ask(ASR)).status, 400);
});

const TTS = 'POST /api/v1/aliyun/tts';
const TOKEN = 'POST /api/v1/aliyun/token';
const SAVE = `POST ${ALIYUN}`;
const VOLC = `POST ${VOLCENGINE}`;
const ADD = `POST ${CONFIGS}`;
const VOLC_BODY = { app_id: 'a', access_token: 'b' };

test('what the routes refuse', async () => {
  const rows: [string, object, number, string, string | null][] = [
    [SAVE, {}, 400, 'VALIDATION_FAILED', '/access_key_id required'],
    [SAVE, { ...KEYS, access_key_id: '' }, 400, 'VALIDATION_FAILED', '/access_key_id minLength'],
    [SAVE, { ...KEYS, access_key_id: 'a b' }, 400, 'VALIDATION_FAILED', '/access_key_id pattern'],
    [
      SAVE,
      { ...KEYS, access_key_id: 'LTAI****cdef' },
      400,
      'VALIDATION_FAILED',
      '/access_key_id pattern',
    ],
    [
      SAVE,
      { ...KEYS, access_key_secret: 'x'.repeat(256) },
      400,
      'VALIDATION_FAILED',
      '/access_key_secret maxLength',
    ],
    [SAVE, { ...KEYS, app_key: 'a\n' }, 400, 'VALIDATION_FAILED', '/app_key pattern'],
    [SAVE, { ...KEYS, app_key: 5 }, 400, 'VALIDATION_FAILED', '/app_key type'],
    [SAVE, { ...KEYS, region: 'eu-central-1' }, 400, 'VALIDATION_FAILED', '/region enum'],
    [SAVE, { ...KEYS, verify: 'yes' }, 400, 'VALIDATION_FAILED', '/verify type'],
    [SAVE, { ...KEYS, accessKeyId: 'x' }, 400, 'VALIDATION_FAILED', '/accessKeyId unknown'],
    [`${SAVE}?verify=true`, KEYS, 400, 'VALIDATION_FAILED', '?verify unknown'],
    [TOKEN, { region: 'cn-beijing' }, 400, 'VALIDATION_FAILED', '/region unknown'],
    [VOLC, { app_id: 'a' }, 400, 'VALIDATION_FAILED', '/access_token required'],
    [VOLC, { ...VOLC_BODY, secret_key: '***' }, 400, 'VALIDATION_FAILED', '/secret_key pattern'],
    [VOLC, { ...VOLC_BODY, options: [] }, 400, 'VALIDATION_FAILED', '/options type'],
    [
      VOLC,
      { ...VOLC_BODY, options: { api_key: 'x' } },
      400,
      'VALIDATION_FAILED',
      '/options/api_key secret',
    ],
    [VOLC, { ...VOLC_BODY, verify: true }, 400, 'VALIDATION_FAILED', '/verify unknown'],
    [TTS, { text: 'Hello.' }, 422, 'PROVIDER_NOT_CONFIGURED', null],
    [TTS, { text: '' }, 400, 'VALIDATION_FAILED', '/text minLength'],
    [TTS, { text: 'x'.repeat(2_001) }, 400, 'VALIDATION_FAILED', '/text maxLength'],
    [TTS, { text: 'x', format: 'ogg' }, 400, 'VALIDATION_FAILED', '/format enum'],
    [TTS, { text: 'x', sample_rate: 44_100 }, 400, 'VALIDATION_FAILED', '/sample_rate enum'],
    [TTS, { text: 'x', volume: 101 }, 400, 'VALIDATION_FAILED', '/volume maximum'],
    [TTS, { text: 'x', speech_rate: -501 }, 400, 'VALIDATION_FAILED', '/speech_rate minimum'],
    [TTS, { text: 'x', pitch_rate: 1.5 }, 400, 'VALIDATION_FAILED', '/pitch_rate type'],
    [ADD, {}, 400, 'VALIDATION_FAILED', '/kind required'],
    [ADD, { ...MODEL, kind: 'asr' }, 400, 'VALIDATION_FAILED', '/kind enum'],
    [ADD, { ...MODEL, vendor: 'Open AI' }, 400, 'VALIDATION_FAILED', '/vendor pattern'],
    [ADD, { ...MODEL, name: ' ' }, 400, 'VALIDATION_FAILED', '/name pattern'],
    [ADD, { ...MODEL, credentials: undefined }, 400, 'VALIDATION_FAILED', '/credentials required'],
    [ADD, { ...MODEL, credentials: { a: 5 } }, 400, 'VALIDATION_FAILED', '/credentials/a type'],
    [ADD, { ...MODEL, credentials: 'x' }, 400, 'VALIDATION_FAILED', '/credentials type'],
    [
      ADD,
      { ...MODEL, credentials: { ['k'.repeat(65)]: '' } },
      400,
      'VALIDATION_FAILED',
      `/credentials/${'k'.repeat(65)} name`,
    ],
    [
      ADD,
      { ...MODEL, credentials: { a: 'x'.repeat(8_192), b: 'x'.repeat(8_192) } },
      400,
      'VALIDATION_FAILED',
      '/credentials size',
    ],
    [
      ADD,
      { ...MODEL, options: { secret: 'x' } },
      400,
      'VALIDATION_FAILED',
      '/options/secret secret',
    ],
    ...(
      [
        [{ secret_key: 'x' }, '/secret_key secret'],
        [{ clientSecret: 'x' }, '/clientSecret secret'],
        [{ headers: { authorization: 'x' } }, '/headers/authorization secret'],
        [{ list: [{ 'x-api-key': 'x' }] }, '/list/0/x-api-key secret'],
        [{ base_url: 'https://me:pass@llm.example.com/v1' }, '/base_url secret'],
        [{ base_url: 'llm.example.com' }, '/base_url address'],
        [{ base_url: 'file:///etc/passwd' }, '/base_url address'],
        [{ base_url: 5 }, '/base_url address'],
      ] as const
    ).map(([options, fault]): [string, object, number, string, string] => [
      ...([ADD, { ...MODEL, options }, 400, 'VALIDATION_FAILED'] as const),
      `/options${fault}`,
    ]),
    ...(
      [
        [{ stt_per_minute: '1' }, 'stt_per_minute type'],
        [{ tts_per_1k_chars: -1 }, 'tts_per_1k_chars minimum'],
        [{ input: 1 }, 'input unknown'],
        [{ currency: 'euro' }, 'currency pattern'],
        [{ currency: 'EUR', llm_per_1m_input: 1 }, 'currency currency'],
      ] as const
    ).map(([prices, fault]): [string, object, number, string, string] => [
      ...([ADD, { ...MODEL, prices }, 400, 'VALIDATION_FAILED'] as const),
      `/prices/${fault}`,
    ]),
    [ADD, { ...MODEL, priority: -1 }, 400, 'VALIDATION_FAILED', '/priority minimum'],
    [ADD, { ...MODEL, is_active: null }, 400, 'VALIDATION_FAILED', '/is_active type'],
    [ADD, { ...MODEL, id: MISSING }, 400, 'VALIDATION_FAILED', '/id unknown'],
    [`PATCH ${CONFIGS}/${MISSING}`, { x: 1 }, 400, 'VALIDATION_FAILED', '/x unknown'],
    [`PUT ${CONFIGS}/${MISSING}`, MODEL, 404, 'NOT_FOUND', null],
  ];
  for (const [route, body, status, code, fault] of rows) {
    const answer = await ask(route, body);
    const name = `${route} ${JSON.stringify(body).slice(0, 200)}`;
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], name);
    const [first] = (answer.body.error.details ?? []) as { path: string; rule: string }[];
    assert.equal(first === undefined ? null : `${first.path} ${first.rule}`, fault, name);
  }
});

test('the audio sockets: 426 for a plain GET, and no upgrade without a client for the vendor', async () => {
  for (const kind of ['asr', 'tts']) {
    const plain = await ask(`GET /api/v1/aliyun/${kind}/stream`);
    assert.deepEqual([plain.status, plain.body.error.code], [426, 'UPGRADE_REQUIRED']);
    assert.equal(plain.headers['upgrade'], 'websocket');
  }
});
