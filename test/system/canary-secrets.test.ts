/**
 * Planted secrets: put in through the API and the settings, used, provoked into errors; then looked for in every answer,
 * every log line, the journal, and a dump of every table.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '#lib/log.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { startFakeCarrier } from './_fake-carrier.ts';
import { operationsOf, type Document } from './_openapi.ts';
import { dumpOf } from './_tenants.ts';

/** No two share a piece longer than `canary`. */
const SECRETS = {
  jwtSecret: 'canary-jwt-3f9a5c7e1b2d4f6a8c0e2b4d6f8a0c1e',
  adminPassword: 'canary-password-7Kq2',
  trunkPassword: 'canary-trunk-Zx81',
  llmKey: 'canary-llm-Pw35',
  aliyunSecret: 'canary-aliyun-Ub67',
  aliyunSecret2: 'canary-aliyun-second-Hc20',
  volcengineToken: 'canary-volc-token-Lm44',
  volcengineSecret: 'canary-volc-secret-Rt58',
  providerKey: 'canary-provider-Vd09',
  providerKey2: 'canary-provider-second-Ne73',
  memberPassword: 'canary-member-password-Gs16',
} as const;

const ENV = {
  CALLYARD_JWT_SECRET: SECRETS.jwtSecret,
  CALLYARD_ADMIN_PASSWORD: SECRETS.adminPassword,
  CALLYARD_TRUNK_USER: 'line1',
  CALLYARD_TRUNK_PASSWORD: SECRETS.trunkPassword,
  CALLYARD_LLM_BASE_URL: 'http://127.0.0.1:9/v1',
  CALLYARD_LLM_API_KEY: SECRETS.llmKey,
  CALLYARD_LLM_MODEL: 'none',
  CALLYARD_RATE_LIMIT: '10000',
  CALLYARD_RATE_BURST: '10000',
};

/** Every line at every level, with what hangs on errors. */
function capturingLog(lines: string[]): Log {
  const take = (event: string, fields?: object): void => {
    lines.push(`${event} ${inspect(fields, { depth: 12, showHidden: true })}`);
  };
  const log: Log = { debug: take, info: take, warn: take, error: take, child: () => log };
  return log;
}

test('planted secrets are in no answer, log line, event, file or table', async (t) => {
  const carrier = await startFakeCarrier(t);
  const lines: string[] = [];
  const server = await startTestApp(
    t,
    { ...ENV, CALLYARD_TRUNK: carrier.trunk },
    { log: capturingLog(lines) },
  );
  const texts: string[] = [];
  const keys: string[] = [];
  await use(server, texts, keys);
  await provoke(server, texts);
  await readEverything(server, texts);
  await server.app.stop(0);

  const haystacks: readonly [string, string][] = [
    ['an answer', texts.join('\n')],
    ['the log', lines.join('\n')],
    ['a table', await dumpOf(server.databaseUrl)],
    ['a file', filesOf(server.dataDir)],
  ];
  assert.ok(keys.length >= 2 && lines.length > 10 && texts.length > 40);
  for (const [name, secret] of [
    ...Object.entries(SECRETS),
    ...keys.map((key) => ['API key', key]),
  ]) {
    for (const [where, text] of haystacks) {
      const isThere =
        text.includes(secret ?? '') || text.includes(Buffer.from(secret ?? '').toString('base64'));
      assert.ok(!isThere, `${name} is in ${where}`);
    }
  }
  assert.ok(!haystacks.some(([, text]) => text.includes(ADMIN_KEY)), 'the admin key is shown');
  // The search finds what is there: the id beside the secret stands in its table and, masked, in an answer.
  assert.ok(haystacks[2]?.[1].includes('canaryid-0001') && texts.join().includes('cana****0001'));
});

async function ask(
  server: TestApp,
  texts: string[],
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; data: Record<string, string> }> {
  const response = await fetch(server.app.httpUrl + path, {
    method,
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  texts.push(text);
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  const { data } = (isJson ? JSON.parse(text) : {}) as { data?: Record<string, string> };
  return { status: response.status, data: data ?? {} };
}

/** Every place that takes a secret gets one, twice where it can be replaced. */
async function use(server: TestApp, texts: string[], keys: string[]): Promise<void> {
  const aliyun = {
    access_key_id: 'canaryid-0001',
    access_key_secret: SECRETS.aliyunSecret,
    app_key: 'app',
  };
  const provider = {
    kind: 'llm',
    vendor: 'openai',
    name: 'main',
    credentials: { api_key: SECRETS.providerKey },
  };
  const wanted: [string, string, unknown, number][] = [
    ['POST', '/api/v1/aliyun/config', aliyun, 200],
    ['POST', '/api/v1/aliyun/config', { ...aliyun, access_key_secret: SECRETS.aliyunSecret2 }, 200],
    [
      ...(['POST', '/api/v1/volcengine/config'] as const),
      { app_id: '1', access_token: SECRETS.volcengineToken, secret_key: SECRETS.volcengineSecret },
      200,
    ],
    ['POST', '/api/call/initiate', { phone_number: '+15550100' }, 201],
  ];
  for (const [method, path, body, status] of wanted) {
    const answer = await ask(server, texts, method, path, body);
    assert.equal(answer.status, status, `${method} ${path} ${texts.at(-1)}`);
  }
  const made = await ask(server, texts, 'POST', '/api/v1/provider-configs', provider);
  assert.equal(made.status, 201, texts.at(-1));
  await ask(server, texts, 'PATCH', `/api/v1/provider-configs/${made.data['id']}`, {
    credentials: { api_key: SECRETS.providerKey2 },
  });
  for (const name of ['one', 'two']) {
    const kept = texts.length;
    const key = await ask(server, texts, 'POST', '/api/v1/api-keys', { name, role: 'viewer' });
    assert.equal(key.status, 201, texts.at(-1));
    keys.push(key.data['key'] ?? '');
    texts.length = kept; // the one answer that may show it
  }
  const login = await fetch(`${server.app.httpUrl}/api/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'admin@localhost', password: SECRETS.adminPassword }),
  });
  assert.equal(login.status, 200);
  keys.push(((await login.json()) as { data: { token: string } }).data.token);
}

/** Errors that carry what they were given: bad values beside good secrets, a vendor that is not there. */
async function provoke(server: TestApp, texts: string[]): Promise<void> {
  const rows: [string, string, unknown][] = [
    [
      'POST',
      '/api/v1/aliyun/config',
      { access_key_id: '', access_key_secret: SECRETS.aliyunSecret, app_key: 7 },
    ],
    ['POST', '/api/v1/aliyun/config', { access_key_secret: { nested: SECRETS.aliyunSecret } }],
    [
      'POST',
      '/api/v1/provider-configs',
      {
        kind: 'llm',
        vendor: 'openai',
        name: 'main',
        credentials: { api_key: SECRETS.providerKey },
      },
    ],
    ['POST', '/api/v1/provider-configs', { kind: 'x', credentials: SECRETS.providerKey }],
    [
      'POST',
      '/api/v1/members',
      { email: 'm@example.test', role: 'emperor', password: SECRETS.memberPassword },
    ],
    [
      'POST',
      '/api/auth/login',
      { username: 'admin@localhost', password: `${SECRETS.adminPassword}!` },
    ],
    ['POST', '/api/v1/aliyun/token', {}],
  ];
  for (const [method, path, body] of rows) {
    const { status } = await ask(server, texts, method, path, body);
    assert.ok(status >= 400, `${method} ${path} was accepted`);
  }
}

async function readEverything(server: TestApp, texts: string[]): Promise<void> {
  const document = (await (await fetch(`${server.app.httpUrl}/openapi.json`)).json()) as Document;
  for (const operation of operationsOf(document)) {
    if (operation.method !== 'GET' || operation.pathParams.length > 0) continue;
    await ask(server, texts, 'GET', operation.path);
  }
  const { data } = await ask(server, texts, 'GET', '/api/v1/call-records');
  const [record] = (data as unknown as { records: { id: string }[] }).records;
  for (const rest of ['', '/events'])
    await ask(server, texts, 'GET', `/api/v1/call-records/${record?.id}${rest}`);
}

/** What the server wrote beside the database, without the files whose content is a key. */
function filesOf(dataDir: string): string {
  const files = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/\.key$|^sim\.json$/.test(name))
    .map((name) => join(dataDir, name))
    .filter((path) => statSync(path).isFile());
  return files.map((path) => readFileSync(path, 'latin1')).join('\n');
}
