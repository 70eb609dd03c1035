/** Vendor accounts over HTTP on a real database: saved, used by calls and tokens, audited, and never told. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '#lib/log.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { openPool } from '#store/pool.ts';
import { silentLog } from '#lib/log.ts';
import { placeCall } from '#src/demo/phone.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { startFakeAliyun } from './_fake-aliyun.ts';
import { atEnd } from './_store.ts';

const KEYS = {
  access_key_id: 'LTAIcanary-in-the-id-9876',
  access_key_secret: 'canary-secret',
  app_key: 'my-app',
};
/** In no answer, no log line, no audit row, no table: secrets, tokens but where they are asked for, signed queries. */
const CANARY = /canary|Signature=/;

type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    readonly data: Record<string, unknown>;
    readonly error: { readonly code: string; readonly details?: unknown };
  };
};

/** Keeps every line, errors with all that is in them. */
function listeningLog(lines: string[]): Log {
  const note = (event: string, fields?: object): void => {
    lines.push(`${event} ${inspect(fields, { depth: 12 })}`);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  return log;
}

async function start(t: TestContext, env: Record<string, string> = {}) {
  const lines: string[] = [];
  // Calls here are about who answers: a short greeting leaves more time for that.
  const script = { ...SCRIPT, greeting: 'Hello there.' };
  const server = await startTestApp(t, env, { log: listeningLog(lines), script });
  const ask = async (route: string, body?: unknown): Promise<Answer> => {
    const [method = 'GET', path = ''] = route.split(' ');
    const response = await fetch(server.app.httpUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    assert.doesNotMatch(text, CANARY, `${route} tells a secret`);
    const { status, headers } = response;
    return { status, headers, body: JSON.parse(text) as Answer['body'] };
  };
  const database = openPool({ url: server.databaseUrl, log: silentLog, size: 1 });
  atEnd(t, () => database.close());
  const rows = <T extends object>(text: string): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text));
  return { server, ask, rows, lines };
}

test('the Aliyun account and its token, from saving to deleting', async (t) => {
  const vendor = await startFakeAliyun(t);
  vendor.keys.set(KEYS.access_key_id, KEYS.access_key_secret);
  const { ask, rows, lines } = await start(t, { CALLYARD_ALIYUN_META_URL: vendor.url });
  const [CONFIG, TOKEN] = ['/api/v1/aliyun/config', 'POST /api/v1/aliyun/token'];
  assert.equal((await ask(`GET ${CONFIG}`)).status, 404);
  assert.equal((await ask(TOKEN)).body.error.code, 'PROVIDER_NOT_CONFIGURED');

  const wrong = { ...KEYS, access_key_secret: 'canary-wrong', verify: true };
  const refused = await ask(`POST ${CONFIG}`, wrong);
  assert.deepEqual(
    [refused.status, refused.body.error.code, refused.body.error.details],
    [502, 'PROVIDER_REJECTED', { vendor_code: 'SignatureDoesNotMatch' }],
  );
  assert.deepEqual(await rows('SELECT FROM aliyun_configs'), [], 'nothing was saved');

  const saved = await ask(`POST ${CONFIG}`, { ...KEYS, region: 'cn-beijing', verify: true });
  assert.equal(saved.status, 200);
  assert.equal(saved.body.data['access_key_id'], 'LTAI****9876');
  assert.deepEqual((await ask(`GET ${CONFIG}`)).body.data, saved.body.data);
  vendor.requests = 0;
  const tokens = await Promise.all(Array.from({ length: 20 }, () => ask(TOKEN)));
  assert.equal(vendor.requests, 0, 'the token that proved the key is used');
  assert.deepEqual(
    new Set(tokens.map(({ body }) => body.data['token'])),
    new Set(['vendor-token-1']),
  );
  assert.equal(
    tokens[0]?.body.data['gateway_url'],
    'wss://nls-gateway-cn-beijing.aliyuncs.com/ws/v1',
  );

  assert.equal((await ask(`POST ${CONFIG}`, KEYS)).status, 200);
  const misses = await Promise.all(Array.from({ length: 50 }, () => ask(TOKEN)));
  assert.equal(vendor.requests, 1);
  assert.deepEqual(
    new Set(misses.map(({ body }) => body.data['token'])),
    new Set(['vendor-token-2']),
  );
  vendor.fault = 'hang';
  assert.equal((await ask(TOKEN)).body.data['token'], 'vendor-token-2');

  assert.equal((await ask(`DELETE ${CONFIG}`)).status, 200);
  assert.equal((await ask(`DELETE ${CONFIG}`)).status, 404);
  assert.equal((await ask(TOKEN)).status, 422);
  vendor.fault = 'quoting';
  assert.equal((await ask(`POST ${CONFIG}`, KEYS)).status, 200);
  for (let i = 0; i < 2; i++) {
    const answer = await ask(TOKEN);
    assert.deepEqual([answer.status, answer.body.error.code], [502, 'PROVIDER_REJECTED']);
  }
  assert.equal(vendor.requests, 2, 'a refused key is left alone for a while');

  const audit = await rows<{ action: string; changes: Record<string, unknown> }>(
    `SELECT action, changes FROM audit_log WHERE action LIKE 'aliyun%' ORDER BY at`,
  );
  assert.deepEqual(
    audit.map(({ action }) => action),
    ['save', 'save', 'delete', 'save'].map((verb) => `aliyun_config.${verb}`),
  );
  assert.equal(audit[0]?.changes['access_key_secret'], '***');
  assert.equal(audit[0]?.changes['region'], 'cn-beijing');
  const secrets = await rows<{ access_key_secret: string }>(
    'SELECT access_key_secret FROM aliyun_configs',
  );
  assert.equal(secrets.length, 3);
  for (const { access_key_secret: sealed } of secrets) assert.match(sealed, /^cy1\./);
  assert.doesNotMatch(JSON.stringify([audit, secrets]), CANARY);
  assert.doesNotMatch(lines.join('\n'), CANARY);
  assert.doesNotMatch(lines.join('\n'), /vendor-token-\d/);
});

test('the Volcengine account', async (t) => {
  const { ask, rows } = await start(t);
  const CONFIG = '/api/v1/volcengine/config';
  const body = { app_id: 'app', access_token: 'canary-token', secret_key: 'canary-key' };
  assert.equal((await ask(`POST ${CONFIG}`, body)).body.data['has_secret_key'], true);
  const plain = { app_id: 'app2', access_token: 'canary-token' };
  const options = { speaker: 'x', rate: 1.5 };
  const saved = await ask(`POST ${CONFIG}`, { ...plain, resource_id: 'volc.other', options });
  const { data } = (await ask(`GET ${CONFIG}`)).body;
  assert.deepEqual(data, saved.body.data);
  assert.deepEqual(
    [data['app_id'], data['has_secret_key'], data['resource_id'], data['options']],
    ['app2', false, 'volc.other', options],
  );
  assert.equal((await ask(`DELETE ${CONFIG}`)).status, 200);
  assert.equal((await ask(`GET ${CONFIG}`)).status, 404);
  const kept = await rows(
    'SELECT *, (SELECT json_agg(a) FROM audit_log a) FROM volcengine_configs',
  );
  assert.equal(kept.length, 2);
  assert.doesNotMatch(JSON.stringify(kept), CANARY);
});

/** An OpenAI-compatible model that always says the same, and keeps what it was asked. */
async function startModel(t: TestContext, says: string) {
  const asked: { key: string | undefined; model: unknown }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as {
        model: unknown;
        stream: boolean;
      };
      const key = request.headers.authorization;
      asked.push({ key, model: body.model });
      if (key === 'Bearer canary-refused') {
        const error = { message: `Incorrect API key provided: ${key}`, code: 'invalid_api_key' };
        response.writeHead(401, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error }));
      } else if (body.stream) {
        const choice = { index: 0, delta: { content: says }, finish_reason: 'stop' };
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`data: ${JSON.stringify({ choices: [choice] })}\n\ndata: [DONE]\n\n`);
      } else {
        const message = { role: 'assistant', content: says };
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }] }));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return { baseUrl, asked };
}

/** Says utterance 1 of the script and gives what was said back, from the record: the newest of `calls`. */
async function talk(server: TestApp, calls: number): Promise<string | undefined> {
  const phone = await placeCall({ target: server.target });
  await phone.hearSpeech(0, 1000);
  await phone.hearSilence(15_000);
  const code = encodeUtteranceId(1);
  const pcm = new Int16Array(code.length + 4_800);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++)
    pcm[i] = 6_000 * Math.sin(i / 7) * Math.sin(i / 300);
  const { lastMs } = await phone.say(pcm);
  await phone.hearSpeech(lastMs, 4_000);
  await phone.hearSilence(8_000);
  await phone.hangUp();
  const list = await eventually(
    () => server.get<{ records: { id: string; status: string }[] }>('/api/v1/call-records'),
    ({ data }) => data.records.length === calls && data.records[0]?.status === 'ended',
  );
  const { data } = await server.get<{ messages: { content: string }[] }>(
    `/api/v1/call-records/${list.data.records[0]?.id ?? ''}`,
  );
  return data.messages.at(-1)?.content;
}

test('provider-configs: a call uses the first one, an agent the one it names', async (t) => {
  const { server, ask, rows, lines } = await start(t);
  const CONFIGS = '/api/v1/provider-configs';
  const [first, second] = [
    await startModel(t, 'From the first.'),
    await startModel(t, 'From the second.'),
  ];
  const body = (name: string, baseUrl: string, priority: number) => ({
    ...{
      kind: 'llm',
      vendor: 'openai',
      name,
      priority,
      credentials: { api_key: `canary-${name}` },
    },
    options: { base_url: baseUrl, model: `model-${name}` },
  });
  const low = await ask(`POST ${CONFIGS}`, body('second', second.baseUrl, 200));
  const high = await ask(`POST ${CONFIGS}`, body('first', first.baseUrl, 100));
  assert.deepEqual([low.status, high.status], [201, 201]);
  assert.equal(
    (await ask(`POST ${CONFIGS}`, body('first', first.baseUrl, 1))).body.error.code,
    'CONFLICT',
  );
  const list = (await ask(`GET ${CONFIGS}?page_size=1`)).body.data;
  assert.deepEqual(list['provider_configs'], [high.body.data]);
  assert.equal((list['pagination'] as { total: number }).total, 2);

  assert.equal(await talk(server, 1), 'From the first.');
  assert.deepEqual(first.asked.at(-1), { key: 'Bearer canary-first', model: 'model-first' });

  const agents = (await ask('GET /api/v1/agents')).body.data['agents'] as { id: string }[];
  const secondId = String(low.body.data['id']);
  const named = { llm: { vendor: 'openai', config_id: secondId, model: 'own-model' } };
  const agent = `/api/v1/agents/${agents[0]?.id ?? ''}`;
  assert.equal((await ask(`PATCH ${agent}`, named)).status, 200);
  assert.equal((await ask(`DELETE ${CONFIGS}/${secondId}`)).body.error.code, 'IN_USE');
  assert.equal(await talk(server, 2), 'From the second.');
  assert.deepEqual(second.asked.at(-1), { key: 'Bearer canary-second', model: 'own-model' });

  const url = `${CONFIGS}/${String(high.body.data['id'])}`;
  const tried = (await ask(`POST ${url}/test`)).body.data;
  assert.deepEqual([tried['ok'], tried['error']], [true, null]);
  assert.equal(
    (await ask(`PATCH ${url}`, { credentials: { api_key: 'canary-refused' } })).status,
    200,
  );
  const refused = (await ask(`POST ${url}/test`)).body.data;
  assert.equal(refused['ok'], false);
  assert.match(String(refused['error']), /E_PROVIDER_AUTH 401/);
  const replaced = await ask(`PUT ${url}`, { kind: 'stt', vendor: 'nobody', name: 'third' });
  assert.deepEqual(
    [
      replaced.body.data['kind'],
      replaced.body.data['has_credentials'],
      replaced.body.data['options'],
    ],
    ['stt', true, {}],
  );
  assert.match(String((await ask(`POST ${url}/test`)).body.data['error']), /no speech recogniser/);
  const cleared = await ask(`PATCH ${url}`, { credentials: {}, is_active: false });
  assert.deepEqual(
    [cleared.body.data['has_credentials'], cleared.body.data['is_active']],
    [false, false],
  );
  assert.equal((await ask(`DELETE ${url}`)).status, 200);
  assert.equal((await ask(`GET ${url}`)).status, 404);

  const audit = await rows<{ action: string }>(
    `SELECT action, changes FROM audit_log WHERE target_type = 'provider_config' ORDER BY at`,
  );
  assert.deepEqual(
    audit.map(({ action }) => action.split('.')[1]),
    ['create', 'create', 'update', 'update', 'update', 'delete'],
  );
  assert.doesNotMatch(
    JSON.stringify([audit, await rows('SELECT * FROM provider_configs')]),
    CANARY,
  );
  assert.doesNotMatch(lines.join('\n'), CANARY);
});

/** One request as bytes; the answer up to the end of its body. */
async function raw(server: TestApp, head: readonly string[]): Promise<string> {
  const { hostname, port } = new URL(server.app.httpUrl);
  const socket = connect(Number(port), hostname);
  socket.write(`${[...head, `Host: ${hostname}`].join('\r\n')}\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    const [headers = '', body] = text.split('\r\n\r\n');
    const bytes = Number(/content-length: (\d+)/i.exec(headers)?.[1]);
    if (body !== undefined && Buffer.byteLength(body) >= bytes) break;
  }
  return text;
}

test('the audio sockets refuse before the upgrade: who, then how, then what is missing', async (t) => {
  const { server } = await start(t);
  const upgrade = [
    ...['Upgrade: websocket', 'Connection: keep-alive, Upgrade', 'Sec-WebSocket-Version: 13'],
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  const login = `Authorization: Bearer ${ADMIN_KEY}`;
  for (const kind of ['asr', 'tts']) {
    const line = `GET /api/v1/aliyun/${kind}/stream HTTP/1.1`;
    const rows: [string[], RegExp][] = [
      [[line, ...upgrade], /^HTTP\/1\.1 401 .*UNAUTHENTICATED/s],
      [
        [line, login, 'Connection: close'],
        /^HTTP\/1\.1 426 .*\nupgrade: websocket\r\n.*UPGRADE_REQUIRED/is,
      ],
      [[line, login, ...upgrade], /^HTTP\/1\.1 422 .*PROVIDER_NOT_CONFIGURED/s],
    ];
    for (const [head, expected] of rows) assert.match(await raw(server, head), expected);
  }
});
