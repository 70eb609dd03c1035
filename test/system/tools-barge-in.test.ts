/**
 * Whoever cuts in at any moment of a tool call: its effect happens exactly once (design.md 4.8). A hundred live calls,
 * with an interruption at every 50 ms of an order that takes two seconds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { startToolServer } from './_tool-server.ts';
import { openSocket, type Client } from './_ws-client.ts';

const AUTH = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };
const RUNS = 100;
const AT_ONCE = 20;
const TOOL_MS = 2_000;
const STEP_MS = 50;
/** The same order put again after its answer would be a second order, rightly: so late nobody does. */
const LAST_AGAIN_MS = 1_700;

const SCRIPT = {
  greeting: 'Hi.',
  replies: [
    {
      match: '/^Order/',
      reply: 'One moment.',
      call: { name: 'order', arguments: { item: 'tea' } },
    },
    { result: '/number/', reply: 'It is ordered.' },
    { match: 'Well?', note: '/Function order answered: .*number/', reply: 'Yes, I know.' },
    { match: 'Well?', note: '/Function order is at work/', reply: 'It is at work.' },
    { match: 'Well?', reply: 'I know nothing.' },
  ],
  defaultReply: 'Go on.',
};

type Message = { role: string; content: string; tool_calls?: { id: string; name: string }[] };

async function makeAgent(server: TestApp, url: string): Promise<string> {
  const { status, data } = await server.post<{ id: string }>('/v1/assistants', {
    ...{ name: 'Clerk', system_prompt: 'You take orders.', auto_summary: false },
    functions: [
      {
        ...{ name: 'order', description: 'Orders', url, timeout_ms: 10_000 },
        parameters: { type: 'object', properties: { item: { type: 'string' } } },
      },
    ],
  });
  assert.equal(status, 201, JSON.stringify(data));
  return data.id;
}

function saidBy(client: Client): string {
  const words = client.frames.filter(({ type }) => type === 'response');
  return words.map(({ text }) => String(text)).join('');
}

test(`barge-in at every ${STEP_MS} ms of a tool call: its effect once, in ${RUNS} of ${RUNS} runs`, async (t) => {
  /** Ids of orders by call: what the server did. */
  const done = new Map<string, Set<string>>();
  const refused = new Set<string>();
  const tools = await startToolServer(t, ({ body }, count) => {
    // Some find the server busy at first: their second attempt must be the same order.
    if (count % 7 === 0 && !refused.has(body.id)) {
      refused.add(body.id);
      return { status: 503, delayMs: 100 };
    }
    const orders = done.get(body.call_id) ?? new Set();
    done.set(body.call_id, orders.add(body.id));
    return { body: JSON.stringify({ number: 7 }), delayMs: TOOL_MS };
  });
  const server = await startTestApp(
    t,
    {
      ...{ CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' },
      ...{ CALLYARD_RATE_LIMIT: '100000', CALLYARD_RATE_BURST: '100000' },
    },
    { script: SCRIPT },
  );
  const agent = await makeAgent(server, tools.url);
  const once: string[] = [];
  const run = async (n: number): Promise<void> => {
    const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
    client.send({ type: 'start', assistant_id: agent });
    const id = String((await client.frame('ready'))['call_id']);
    await client.frame('mark');
    client.send({ type: 'text', text: 'Order tea.' });
    await tools.request(({ body }) => body.call_id === id);
    const atMs = (n * STEP_MS) % TOOL_MS;
    await sleep(atMs);
    if (n % 3 === 0) client.send({ type: 'interrupt' });
    const isAgain = n % 2 === 0 && atMs <= LAST_AGAIN_MS;
    client.send({ type: 'text', text: isAgain ? 'Order tea.' : 'Well?' });
    // Whatever was said in between, in the end the agent knows.
    await eventually(
      async () => (await messagesOf(server, id)).some(({ role }) => role === 'function'),
      Boolean,
    );
    client.send({ type: 'text', text: 'Well?' });
    await eventually(async () => saidBy(client).includes('Yes, I know.'), Boolean);
    assert.match(saidBy(client), /Yes, I know\./, `run ${n} at ${atMs} ms`);
    client.send({ type: 'stop' });
    await client.closed;
    const messages = await messagesOf(server, id);
    const intents = messages.flatMap(({ tool_calls: calls = [] }) => calls);
    const results = messages.filter(({ role }) => role === 'function');
    const orders = [...(done.get(id) ?? [])];
    assert.deepEqual(orders, [intents[0]?.id], `run ${n} at ${atMs} ms`);
    assert.deepEqual([intents.length, results.length], [1, 1], `run ${n} at ${atMs} ms`);
    assert.match(results[0]?.content ?? '', /"number":7/);
    once.push(id);
  };
  const numbers = Array.from({ length: RUNS }, (_, n) => n);
  const next = async (): Promise<void> => {
    for (let n = numbers.shift(); n !== undefined; n = numbers.shift()) await run(n);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  assert.equal(new Set(once).size, RUNS);
  assert.equal(done.size, RUNS);
});

async function messagesOf(server: TestApp, id: string): Promise<readonly Message[]> {
  const { data } = await server.get<{ messages: Message[] }>(`/api/call/${id}/conversation`);
  return data.messages;
}
