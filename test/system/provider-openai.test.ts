/** The OpenAI adapter against a loopback server that behaves, and misbehaves, like the vendors. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { SimulatedClock, systemClock, type Clock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createOpenAiLlm } from '#providers/openai/llm.ts';
import { collect, replyRequest, testLlm, textOf } from '../unit/_provider-contract.ts';

type Handler = (
  response: ServerResponse,
  request: IncomingMessage,
  body: Record<string, unknown>,
) => void;

let handlers: Handler[] = [];
let seen: { headers: IncomingMessage['headers']; body: Record<string, unknown> }[] = [];
let onRequest: () => void = () => undefined;
let baseUrl = '';

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    seen.push({ headers: request.headers, body });
    const handler = handlers.length > 1 ? handlers.shift() : handlers[0];
    handler?.(response, request, body);
    onRequest();
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

type Delta = { content?: string | null; reasoning_content?: string; role?: string };

function event(delta: Delta | null, finish: string | null = null, extra: object = {}): string {
  const choices = delta === null ? [] : [{ index: 0, delta, finish_reason: finish }];
  const chunk = {
    id: 'c',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices,
    ...extra,
  };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

const USAGE = { usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 } };

function whole(...texts: string[]): string {
  return [
    event({ role: 'assistant', content: '' }),
    ...texts.map((content) => event({ content })),
    event({}, 'stop'),
    event(null, null, USAGE),
    'data: [DONE]\n\n',
  ].join('');
}

const streamHead = { 'content-type': 'text/event-stream' };
const answer =
  (sse: string): Handler =>
  (response) =>
    void response.writeHead(200, streamHead).end(sse);
const refuse =
  (status: number, error: object): Handler =>
  (response) =>
    void response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error }));

function serve(...list: Handler[]): void {
  handlers = list;
  seen = [];
  onRequest = () => undefined;
}

const make = (
  more: Partial<Parameters<typeof createOpenAiLlm>[0]> = {},
): ReturnType<typeof createOpenAiLlm> =>
  createOpenAiLlm({
    ...{ log: silentLog, clock: systemClock, baseUrl, apiKey: 'made-up-key-0001', model: 'm-1' },
    ...{ random: () => 0.5, ...more },
  });
const ask = (llm = make(), signal = new AbortController().signal) =>
  collect(llm.reply(replyRequest('hi'), signal));

test('the request, the text and the usage', async () => {
  serve(answer(whole('Hello', ', you.', ' 您好。')));
  const { items, result } = await ask(make({ temperature: 0.3, maxTokens: 80 }));
  assert.equal(textOf(items), 'Hello, you. 您好。');
  assert.deepEqual(result, { inputTokens: 11, outputTokens: 7 });
  assert.equal(seen[0]?.headers.authorization, 'Bearer made-up-key-0001');
  assert.deepEqual(seen[0]?.body, {
    model: 'm-1',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hi' },
    ],
    ...{ stream: true, stream_options: { include_usage: true }, temperature: 0.3, max_tokens: 80 },
  });
});

test('bytes cut anywhere, comments between, CRLF: the same text', async () => {
  const sse = whole('早上好', '，naïve 😀 ', 'end.');
  for (const text of [
    sse,
    `: keep-alive\n\n${sse.replaceAll('\n\n', '\n\n: keep-alive\n\n')}`,
    sse.replaceAll('\n', '\r\n'),
  ]) {
    const bytes = Buffer.from(text);
    for (const size of [1, 7, 64]) {
      serve((response) => {
        response.writeHead(200, streamHead);
        for (let at = 0; at < bytes.length; at += size)
          response.write(bytes.subarray(at, at + size));
        response.end();
      });
      assert.equal(textOf((await ask()).items), '早上好，naïve 😀 end.', `${size} bytes`);
    }
  }
});

test('reasoning is never spoken', async () => {
  serve(
    answer(
      event({ reasoning_content: 'let me see' }) +
        event({ content: '<thi' }) +
        event({ content: 'nk>hidden</th' }) +
        whole('ink>Hello', ' there <', 'b'),
    ),
  );
  assert.equal(textOf((await ask()).items), 'Hello there <b');
});

test('one retry for what passes, none for what does not', async () => {
  const rows: [number, object, string, number][] = [
    [401, { message: 'Incorrect API key provided: made-up-key-0001' }, 'E_PROVIDER_AUTH', 1],
    [400, { message: 'bad temperature' }, 'E_PROVIDER_PARAM', 1],
    [400, { message: 'blocked', code: 'content_filter' }, 'E_PROVIDER_CONTENT', 1],
    [404, { message: 'no such model' }, 'E_PROVIDER_PARAM', 1],
    [429, { message: 'slow down' }, 'E_PROVIDER_QUOTA', 2],
    [500, { message: 'oops' }, 'E_PROVIDER_SERVER', 2],
    [503, { message: 'overloaded' }, 'E_PROVIDER_SERVER', 2],
  ];
  for (const [status, error, code, requests] of rows) {
    serve(refuse(status, error));
    await assert.rejects(ask(), (thrown: Error & { code: string }) => {
      assert.equal(thrown.code, code, `${status}`);
      assert.doesNotMatch(thrown.message, /made-up-key/);
      return true;
    });
    assert.equal(seen.length, requests, `${status}`);
    if (requests === 1) continue;
    serve(refuse(status, error), answer(whole('Saved.')));
    assert.equal(textOf((await ask()).items), 'Saved.', `${status} then 200`);
  }
});

test('nothing is retried once something was said', async () => {
  const drop: Handler = (response) => {
    response.writeHead(200, streamHead);
    response.write(event({ content: 'Half a ' }), () => setImmediate(() => response.destroy()));
  };
  const rows: [string, Handler, string][] = [
    ['connection dropped', drop, 'E_PROVIDER_SERVER'],
    ['ended without a finish', answer(event({ content: 'Half a ' })), 'E_PROVIDER_SERVER'],
    [
      'withheld',
      answer(event({ content: 'Half a ' }) + event({}, 'content_filter')),
      'E_PROVIDER_CONTENT',
    ],
    [
      'junk in the stream',
      answer(`${event({ content: 'Half a ' })}data: {"choi\n\n`),
      'E_PROVIDER_SERVER',
    ],
    [
      'error in the stream',
      answer(`${event({ content: 'Half a ' })}data: {"error":{"message":"x"}}\n\n`),
      'E_PROVIDER_SERVER',
    ],
  ];
  for (const [what, handler, code] of rows) {
    serve(handler);
    const stream = make().reply(replyRequest('hi'), new AbortController().signal);
    assert.deepEqual((await stream.next()).value, { type: 'text', text: 'Half a ' }, what);
    await assert.rejects(collect(stream), { code }, what);
    assert.equal(seen.length, 1, what);
  }
});

test('an empty reply, a page that is no stream, a refused connection', async () => {
  for (const handler of [answer(whole()), answer('<html>hello</html>')]) {
    serve(handler);
    await assert.rejects(ask(), { code: 'E_PROVIDER_SERVER' });
    assert.equal(seen.length, 2);
  }
  serve((response) => response.destroy(), answer(whole('Back.')));
  assert.equal(textOf((await ask()).items), 'Back.');
  await assert.rejects(ask(make({ baseUrl: 'http://127.0.0.1:1/v1' })), {
    code: 'E_PROVIDER_SERVER',
  });
});

/** A clock that jumps by `ms` once the server has the request (and once more per extra call of `tick`). */
function jumping(): { clock: Clock & SimulatedClock; reached: Promise<void> } {
  const clock = new SimulatedClock();
  const reached = new Promise<void>((resolve) => (onRequest = resolve));
  return { clock, reached };
}

test('no first token within 5 s: given up, whatever was going on', async () => {
  const silent: Handler = () => undefined;
  const headOnly: Handler = (response) => response.writeHead(200, streamHead).flushHeaders();
  const rows: [string, Handler, RegExp][] = [
    ['no answer', silent, /no text within 5000 ms$/],
    ['only a head', headOnly, /no text within 5000 ms$/],
  ];
  for (const [what, handler, message] of rows) {
    serve(handler);
    const { clock, reached } = jumping();
    const reply = ask(make({ clock }));
    const failed = assert.rejects(reply, { code: 'E_TIMEOUT', message });
    await reached;
    clock.advance(4999);
    clock.advance(1);
    await failed;
    assert.equal(clock.pending, 0, what);
    assert.equal(seen.length, 1, what);
  }
});

test('text that stalls for 5 s ends the reply', async () => {
  serve((response) => void response.writeHead(200, streamHead).write(event({ content: 'Well, ' })));
  const clock = new SimulatedClock();
  const stream = make({ clock }).reply(replyRequest('hi'), new AbortController().signal);
  await stream.next();
  clock.advance(60_000);
  const next = assert.rejects(stream.next(), { code: 'E_TIMEOUT', message: /stalled for 5000 ms/ });
  clock.advance(5000);
  await next;
  assert.equal(clock.pending, 0);
});

test('an abort closes the connection, and leaving early does too', async () => {
  for (const how of ['abort', 'return'] as const) {
    let closed: () => void = () => undefined;
    const isClosed = new Promise<void>((resolve) => (closed = resolve));
    serve((response) => {
      response.on('close', () => closed());
      response.writeHead(200, streamHead).write(event({ content: 'On and on ' }));
    });
    const abort = new AbortController();
    const stream = make().reply(replyRequest('hi'), abort.signal);
    await stream.next();
    if (how === 'return') await stream.return(undefined);
    else {
      const ended = assert.rejects(stream.next(), { code: 'E_ABORTED' });
      abort.abort();
      await ended;
    }
    await isClosed;
  }
});

test('an abort during the wait for a retry', async () => {
  serve(refuse(429, { message: 'slow down' }));
  const { clock, reached } = jumping();
  const abort = new AbortController();
  const ended = assert.rejects(ask(make({ clock }), abort.signal), { code: 'E_ABORTED' });
  await reached;
  abort.abort();
  await ended;
  assert.equal(clock.pending, 0);
});

testLlm('openai', () => {
  serve(answer(whole('Hello there. ', 'How are you?')));
  return make();
});
