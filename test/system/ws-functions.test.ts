/** Functions that the client on a call answers (contract 2.4): asked over a real socket, answered, late, or by nobody. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { openSocket, type Client } from './_ws-client.ts';

const AUTH = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };
const ASK = 'Where is my order?';
const SCRIPT = {
  greeting: 'Hello.',
  replies: [
    {
      ...{ match: ASK, reply: 'Let me look.' },
      call: { name: 'find_order', arguments: { id: 7, deep: { place: ['a', null] } } },
    },
    { result: '/shelf 3/', reply: 'It is on shelf three.' },
    { result: '/no answer within/', reply: 'Nobody answers me.' },
    { result: '/no client is connected/', reply: 'Nobody can look it up.' },
    {
      ...{ match: 'Do you know now?', note: '/Function find_order answered: .*shelf 3/' },
      reply: 'Yes, shelf three.',
    },
    { match: 'Do you know now?', reply: 'Not yet.' },
  ],
  defaultReply: 'Say that again.',
};

type Message = {
  role: string;
  content: string;
  name?: string;
  tool_calls?: { id: string; name: string; arguments: object }[];
};

async function agentWith(server: TestApp, timeoutMs: number): Promise<string> {
  const { status, data } = await server.post<{ id: string }>('/v1/assistants', {
    ...{ name: 'Clerk', system_prompt: 'You look things up.' },
    functions: [
      {
        ...{ name: 'find_order', description: 'Finds an order', timeout_ms: timeoutMs },
        parameters: { type: 'object', properties: { id: { type: 'integer' } } },
      },
    ],
  });
  assert.equal(status, 201, JSON.stringify(data));
  return data.id;
}

/** On the line with the clerk, who has greeted. */
async function talk(
  t: TestContext,
  server: TestApp,
  timeoutMs: number,
): Promise<{ client: Client; id: string }> {
  const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  client.send({ type: 'start', assistant_id: await agentWith(server, timeoutMs) });
  const id = String((await client.frame('ready'))['call_id']);
  await client.frame('mark');
  return { client, id };
}

/** Waits until the agent has said `text`; over either socket. */
async function says(client: Client, text: string): Promise<void> {
  const all = (): string =>
    client.frames
      .filter(({ type }) => type === 'response' || type === 'ai-response')
      .map((frame) => String(frame['text']))
      .join('');
  await eventually(async () => all().includes(text), Boolean);
  assert.ok(all().includes(text), `not said: ${text}, but: ${all()}`);
}

async function messagesOf(server: TestApp, id: string): Promise<Message[]> {
  const { data } = await eventually(
    () => server.get<{ status: string; messages: Message[] }>(`/api/v1/call-records/${id}`),
    (answer) => answer.data.status === 'ended',
  );
  return data.messages;
}

async function hangUp(client: Client): Promise<void> {
  client.send({ type: 'stop' });
  assert.equal((await client.closed).code, 1000);
}

test('the client is asked, answers, and the agent says what it was told', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const { client, id } = await talk(t, server, 20_000);
  client.send({ type: 'text', text: ASK });
  const asked = await client.frame('function_call');
  const { call_id: callId } = asked;
  assert.deepEqual(asked, {
    ...{ type: 'function_call', function_name: 'find_order', call_id: callId },
    arguments: { id: 7, deep: { place: ['a', null] } },
  });
  assert.match(String(callId), /^[0-9a-f-]{36}$/);
  await says(client, 'Let me look.');
  client.send({ type: 'function_result', call_id: 'made-up', result: 1 });
  assert.equal((await client.frame('error'))['code'], 'NOT_FOUND');
  client.send({ type: 'function_result', call_id: callId });
  assert.equal((await client.frame('error', 2))['code'], 'VALIDATION_FAILED');
  client.send({ type: 'function_result', call_id: callId, result: { place: 'shelf 3' } });
  await says(client, 'It is on shelf three.');
  client.send({ type: 'function_result', call_id: callId, result: 'again' });
  assert.equal((await client.frame('error', 3))['code'], 'NOT_FOUND', 'answered once');
  await hangUp(client);
  const messages = await messagesOf(server, id);
  const calls = messages.flatMap(({ tool_calls = [] }) => tool_calls);
  assert.deepEqual(
    calls.map((call) => [call.id, call.name]),
    [[callId, 'find_order']],
  );
  const results = messages.filter(({ role }) => role === 'function');
  assert.deepEqual(
    results.map(({ name, content }) => [name, content]),
    [['find_order', '{"place":"shelf 3"}']],
  );
});

test('without an answer the agent is told so, and a late one is refused', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const { client } = await talk(t, server, 1_000);
  client.send({ type: 'text', text: ASK });
  const { call_id: callId } = await client.frame('function_call');
  const askedMs = performance.now();
  await says(client, 'Nobody answers me.');
  assert.ok(performance.now() - askedMs >= 900, 'it waits');
  client.send({ type: 'function_result', call_id: callId, result: { place: 'shelf 3' } });
  assert.equal((await client.frame('error'))['code'], 'NOT_FOUND');
  await hangUp(client);
});

test('whoever cuts in meanwhile: nothing is asked twice, and the answer is known in the next turn', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const { client, id } = await talk(t, server, 20_000);
  client.send({ type: 'text', text: ASK });
  const { call_id: callId } = await client.frame('function_call');
  client.send({ type: 'text', text: 'Do you know now?' });
  await says(client, 'Not yet.');
  client.send({ type: 'function_result', call_id: callId, result: { place: 'shelf 3' } });
  await client.settle();
  client.send({ type: 'text', text: 'Do you know now?' });
  await says(client, 'Yes, shelf three.');
  assert.equal(client.frames.filter(({ type }) => type === 'function_call').length, 1);
  await hangUp(client);
  const results = (await messagesOf(server, id)).filter(({ role }) => role === 'function');
  assert.deepEqual(
    results.map(({ content }) => content),
    ['{"place":"shelf 3"}'],
  );
});

test('a question that is put again while its function is out waits for the same answer', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const { client, id } = await talk(t, server, 20_000);
  client.send({ type: 'text', text: ASK });
  const { call_id: callId } = await client.frame('function_call');
  client.send({ type: 'interrupt' });
  client.send({ type: 'text', text: ASK });
  const looks = (): number =>
    client.frames.filter((frame) => frame['text'] === 'Let me look.').length;
  await eventually(
    async () => looks(),
    (count) => count === 2,
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  client.send({ type: 'function_result', call_id: callId, result: { place: 'shelf 3' } });
  await says(client, 'It is on shelf three.');
  assert.equal(client.frames.filter(({ type }) => type === 'function_call').length, 1);
  await hangUp(client);
  const calls = (await messagesOf(server, id)).flatMap(({ tool_calls = [] }) => tool_calls);
  assert.equal(calls.length, 1);
});

test('over /ws/call, which has no such frame, the agent is told at once; a client that has one may join', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const { data } = await server.post<{ call_id: string; ws_url: string; ticket: string }>(
    '/api/call/initiate',
    {
      ...{ phone_number: '+15550100', media: 'websocket' },
      agent_id: await agentWith(server, 60_000),
    },
  );
  const client = await openSocket(t, `${data.ws_url}?ticket=${data.ticket}`);
  await client.frame('mark');
  client.send({ type: 'text', text: ASK });
  await says(client, 'Nobody can look it up.');
  client.send({ type: 'hangup' });
  assert.equal((await client.closed).code, 1000);
  assert.equal(client.order.includes('function_call'), false);
});
