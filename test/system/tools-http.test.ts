/** Functions with a URL on a live call: what arrives, what the model is told, and the secret that signs. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { SimulatedClock, systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import { createHttpTools } from '#sessions/tools/http-tools.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { ask } from './_identity.ts';
import { startToolServer, type ToolReply } from './_tool-server.ts';
import { openSocket } from './_ws-client.ts';

const AUTH = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };
const LOCAL = { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' };
const SCRIPT = {
  greeting: 'Hi.',
  replies: [
    { match: 'Book.', reply: 'One moment.', call: { name: 'book', arguments: { guests: 4 } } },
    { result: '/"table":7/', reply: 'Table seven is yours.' },
  ],
  defaultReply: 'Sorry.',
};

async function send(server: TestApp, method: string, path: string, body?: object) {
  const answer = await ask(server.app.httpUrl, method, path, {
    ...{ token: ADMIN_KEY, ...(body === undefined ? {} : { body }) },
  });
  assert.ok(answer.status < 300, answer.text);
  return answer.data as unknown as Record<string, string>;
}

function agentBody(url: string) {
  return {
    ...{ name: 'Host', system_prompt: 'You book tables.', auto_summary: false },
    functions: [
      {
        ...{ name: 'book', description: 'Books a table', url },
        parameters: { type: 'object', properties: { guests: { type: 'integer' } } },
      },
    ],
  };
}

test('a signed order arrives with the facts of the call, and its answer is said', async (t) => {
  const server = await startTestApp(t, LOCAL, { script: SCRIPT });
  const tools = await startToolServer(t, () => ({ body: '{"table":7}' }));
  const { id: agent } = await send(server, 'POST', '/v1/assistants', agentBody(tools.url));
  const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  client.send({ type: 'start', assistant_id: agent });
  const callId = String((await client.frame('ready'))['call_id']);
  await client.frame('mark');
  client.send({ type: 'text', text: 'Book.' });
  await client.found('response', ({ text }) => text === 'Table seven is yours.');
  const [request] = tools.requests;
  assert.ok(request !== undefined && tools.requests.length === 1);
  const { secret } = await send(server, 'GET', '/api/v1/settings/tool-secret');
  const headers = request.headers as Record<string, string>;
  new Webhook(secret ?? '').verify(request.text, headers);
  assert.throws(() => new Webhook(newWebhookSecret()).verify(request.text, headers));
  assert.equal(headers['idempotency-key'], headers['webhook-id']);
  assert.equal(request.body.id, headers['webhook-id']);
  const { name, arguments: given, call_id: named, call } = request.body;
  assert.deepEqual([name, given, named, call['channel']], ['book', { guests: 4 }, callId, 'web']);
  client.send({ type: 'stop' });
  await client.closed;
});

test('the secret is the same until it is rotated; then both sign for a while', async (t) => {
  const server = await startTestApp(t, LOCAL, { script: SCRIPT });
  const first = await send(server, 'GET', '/api/v1/settings/tool-secret');
  assert.match(String(first['secret']), /^whsec_/);
  assert.deepEqual(await send(server, 'GET', '/api/v1/settings/tool-secret'), first);
  const rotated = await send(server, 'POST', '/api/v1/settings/tool-secret/rotate', {
    overlap_s: 60,
  });
  assert.notEqual(rotated['secret'], first['secret']);
  assert.ok(Date.parse(String(rotated['old_secret_until'])) > Date.now());
  const tools = await startToolServer(t, () => ({}));
  const { id: agent } = await send(server, 'POST', '/v1/assistants', agentBody(tools.url));
  const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  client.send({ type: 'start', assistant_id: agent });
  await client.frame('mark');
  client.send({ type: 'text', text: 'Book.' });
  const { headers, text } = await tools.request(() => true);
  for (const { secret } of [first, rotated]) {
    new Webhook(secret ?? '').verify(text, headers as Record<string, string>);
  }
  client.send({ type: 'stop' });
  await client.closed;
});

type Row = {
  readonly what: string;
  readonly replies: readonly ToolReply[];
  readonly expected: RegExp;
  readonly attempts: number;
};

const TABLE: readonly Row[] = [
  { what: 'JSON', replies: [{ body: '{"table":7}' }], expected: /^\{"table":7\}$/, attempts: 1 },
  {
    what: 'text',
    replies: [{ body: 'table 7', headers: { 'content-type': 'text/plain' } }],
    expected: /^"table 7"$/,
    attempts: 1,
  },
  {
    what: 'nothing',
    replies: [{ status: 200, body: '' }],
    expected: /^\{"ok":true\}$/,
    attempts: 1,
  },
  {
    what: 'too long for a model',
    replies: [{ body: JSON.stringify('x'.repeat(20_000)) }],
    expected: /^\{"note":"longer than 8000/,
    attempts: 1,
  },
  {
    what: 'too long to be read',
    replies: [{ body: 'x'.repeat(70_000) }],
    expected: /E_TOO_LARGE/,
    attempts: 1,
  },
  {
    what: 'refused',
    replies: [{ status: 422, body: '{"error":"full"}' }],
    expected: /answered 422","detail":"\{\\"error\\":\\"full\\"\}"/,
    attempts: 1,
  },
  {
    what: 'elsewhere',
    replies: [{ status: 302, headers: { location: 'http://169.254.169.254/' } }],
    expected: /redirects are not followed/,
    attempts: 1,
  },
  {
    what: 'broken',
    replies: [{ status: 500, body: 'oops' }],
    expected: /answered 500/,
    attempts: 1,
  },
  {
    what: 'busy, then there',
    replies: [{ status: 503 }, { body: '{"table":7}' }],
    expected: /"table":7/,
    attempts: 2,
  },
  {
    what: 'cut, then there',
    replies: [{ isCut: true }, { body: '{"table":7}' }],
    expected: /"table":7/,
    attempts: 2,
  },
  {
    what: 'busy twice',
    replies: [{ status: 502 }, { status: 504 }],
    expected: /answered 504/,
    attempts: 2,
  },
  {
    what: 'busy for long',
    replies: [{ status: 429, headers: { 'retry-after': '60' } }],
    expected: /answered 429/,
    attempts: 1,
  },
  {
    what: 'too slow',
    replies: [{ delayMs: 900 }],
    expected: /E_TIMEOUT no answer within 600 ms/,
    attempts: 1,
  },
];

for (const { what, replies, expected, attempts } of TABLE) {
  test(`an answer that is ${what}`, async (t) => {
    const { content, requests } = await called(t, replies);
    assert.match(content, expected);
    assert.equal(requests.length, attempts);
    const [first, second] = requests;
    if (second === undefined) return;
    assert.equal(second.headers['webhook-id'], first?.headers['webhook-id'], 'the same order');
    assert.equal(second.text, first?.text, 'the same bytes');
  });
}

async function called(t: TestContext, replies: readonly ToolReply[]) {
  const server = await startToolServer(t, (_request, count) => replies[count - 1] ?? {});
  const http = createHttpTools({
    ...{
      allowPrivate: ['127.0.0.0/8'],
      userAgent: 'callyard/0',
      clock: systemClock,
      log: silentLog,
    },
    secrets: { of: async () => [newWebhookSecret()] },
  });
  const content = await http.call(requestTo(server.url)).catch(textOf);
  return { content, requests: server.requests };
}

function textOf(error: { code: string; message: string }): string {
  return `${error.code} ${error.message}`;
}

function requestTo(url: string): Parameters<ReturnType<typeof createHttpTools>['call']>[0] {
  const call = { id: 'c', variables: {}, metadata: {} };
  return {
    ...{ url, id: 'e-1', name: 'book', arguments: {}, timeoutMs: 600 },
    agent: { id: 'a', accountId: 'u', name: 'Host' },
    call: call as unknown as Parameters<ReturnType<typeof createHttpTools>['call']>[0]['call'],
  };
}

test('an address inside is not asked, and what cannot be signed is not sent', async (t) => {
  const server = await startToolServer(t, () => ({}));
  const options = { userAgent: 'callyard/0', clock: new SimulatedClock(), log: silentLog };
  const guarded = createHttpTools({
    ...{ ...options, allowPrivate: [], secrets: { of: async () => [newWebhookSecret()] } },
  });
  await assert.rejects(guarded.call(requestTo(server.url)), { code: 'E_URL_NOT_ALLOWED' });
  const unsigned = createHttpTools({
    ...{ ...options, allowPrivate: ['127.0.0.0/8'] },
    secrets: { of: () => Promise.reject(new Error('away')) },
  });
  await assert.rejects(unsigned.call(requestTo(server.url)), /could not be signed/);
  assert.equal(server.requests.length, 0);
});
