/** The OpenAI adapter's whole answers against a loopback server that behaves, and misbehaves, like the vendors. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createOpenAiLlm } from '#providers/openai/llm.ts';

type Handler = (response: ServerResponse) => void;

let handlers: Handler[] = [];
let bodies: Record<string, unknown>[] = [];
let baseUrl = '';

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    bodies.push(JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>);
    const handler = handlers.length > 1 ? handlers.shift() : handlers[0];
    handler?.(response);
  });
});

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const json =
  (status: number, body: unknown): Handler =>
  (response) =>
    void response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(JSON.stringify(body));
const says = (message: object, more: object = {}): Handler =>
  json(200, {
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop' }],
    ...more,
  });

const question = { system: 'S', user: 'U', temperature: 0.2, maxTokens: 20 };

function ask(signal = new AbortController().signal, model = 'm-1') {
  const llm = createOpenAiLlm({
    ...{ log: silentLog, clock: systemClock, baseUrl, apiKey: 'made-up-key-0001', model },
    ...{ temperature: 1, maxTokens: 999, random: () => 0.5 },
  });
  assert.ok(llm.complete);
  return llm.complete(question, signal);
}

function serve(...list: Handler[]): void {
  handlers = list;
  bodies = [];
}

test('the request, the answer and the usage', async () => {
  const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
  serve(says({ content: ' <think>hm</think> Hello. \n' }, { usage }));
  assert.deepEqual(await ask(), {
    ...{ text: 'Hello.', model: 'm-1' },
    usage: { inputTokens: 11, outputTokens: 7 },
  });
  assert.deepEqual(bodies, [
    {
      model: 'm-1',
      messages: [
        { role: 'system', content: 'S' },
        { role: 'user', content: 'U' },
      ],
      ...{ stream: false, temperature: 0.2, max_tokens: 20 },
    },
  ]);
  serve(says({ content: 'x' }, { usage: null }));
  assert.equal((await ask()).usage, null);
});

test('what passes is tried once more', async () => {
  serve(json(500, { error: { message: 'broken' } }), says({ content: 'now' }));
  assert.equal((await ask()).text, 'now');
  assert.equal(bodies.length, 2);
  serve(json(500, { error: { message: 'broken' } }));
  await assert.rejects(ask(), { code: 'E_PROVIDER_SERVER' });
  assert.equal(bodies.length, 2);
});

test('answers that are none', async () => {
  const rows: [string, Handler, string, number][] = [
    [
      'a bad key',
      json(401, { error: { message: 'made-up-key-0001 is bad' } }),
      'E_PROVIDER_AUTH',
      1,
    ],
    ['a bad request', json(400, { error: { message: 'no' } }), 'E_PROVIDER_PARAM', 1],
    ['refused', says({ content: null, refusal: 'I will not' }), 'E_PROVIDER_CONTENT', 1],
    [
      'withheld',
      json(200, { choices: [{ finish_reason: 'content_filter', message: {} }] }),
      'E_PROVIDER_CONTENT',
      1,
    ],
    ['empty', says({ content: '' }), 'E_PROVIDER_SERVER', 2],
    ['null', says({ content: null }), 'E_PROVIDER_SERVER', 2],
    ['a list', says({ content: [1] }), 'E_PROVIDER_SERVER', 2],
    ['no choice', json(200, { choices: [] }), 'E_PROVIDER_SERVER', 2],
    ['no object', json(200, 7), 'E_PROVIDER_SERVER', 2],
    ['nothing', json(200, null), 'E_PROVIDER_SERVER', 2],
    ['a closed line', (response) => void response.destroy(), 'E_PROVIDER_SERVER', 2],
  ];
  for (const [name, handler, code, tries] of rows) {
    serve(handler);
    await assert.rejects(
      ask(),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, code, name);
        assert.doesNotMatch(error.message, /made-up-key/);
        return true;
      },
      name,
    );
    assert.equal(bodies.length, tries, name);
  }
});

test('an abort ends the wait at once', async () => {
  const abort = new AbortController();
  serve(() => abort.abort());
  await assert.rejects(ask(abort.signal), { code: 'E_ABORTED' });
  assert.equal(bodies.length, 1);
});
