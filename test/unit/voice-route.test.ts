/** `POST /v1/voice/stream` over a service that tests hold in their hands: forms, refusals, events, the end of the server. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { AddressInfo } from 'node:net';
import type { FastifyReply } from 'fastify';
import { EventStreams } from '#api/event-streams.ts';
import type { ApiServer } from '#api/routing.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { EventPipe } from '#sessions/event-pipe.ts';
import type { VoiceEvent } from '#sessions/spoken-turn.ts';
import type { VoiceRefusal } from '#sessions/voice-turns.ts';
import {
  ACCOUNT,
  AGENT,
  assertDeclared,
  makeApi,
  makeFakes,
  MISSING,
  type Fakes,
} from './_api-fakes.ts';
import { settle } from './_fakes.ts';
import { CONVERSATION, DONE } from './_voice-fakes.ts';

const PATH = '/v1/voice/stream';

type Ask = {
  readonly body?: object | Buffer | string;
  readonly type?: string;
  readonly query?: string;
  readonly key?: string;
  readonly headers?: Record<string, string>;
};

async function start(
  t: TestContext,
): Promise<{ fakes: Fakes; api: ApiServer; ask: (ask: Ask) => ReturnType<typeof askOf> }> {
  const fakes = makeFakes();
  const api = await makeApi(fakes);
  t.after(() => api.close());
  const key = fakes.addKey();
  return { fakes, api, ask: (ask) => askOf(api, { key, ...ask }) };
}

async function askOf(api: ApiServer, { body = { text: 'hi' }, type, query, key, headers }: Ask) {
  const isJson = typeof body === 'object' && !Buffer.isBuffer(body);
  const response = await api.inject({
    method: 'POST',
    url: query === undefined ? PATH : `${PATH}?${query}`,
    headers: {
      ...{ authorization: `Bearer ${key}`, 'content-type': type ?? 'application/json' },
      ...headers,
    },
    payload: isJson ? JSON.stringify(body) : body,
  });
  const { statusCode: status, body: text } = response;
  if (status === 200) return { status, code: '', faults: [], text, response };
  type Failure = { error: { code: string; details?: { path: string; rule: string }[] } };
  const failure = JSON.parse(text) as Failure;
  assertDeclared(api, `POST ${PATH}`, status, failure);
  const faults = (failure.error.details ?? []).map(({ path, rule }) => `${path} ${rule}`);
  return { status, code: failure.error.code, faults, text, response };
}

function wav(pcm: Int16Array, rateHz = 8_000, channels = 1): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.byteLength, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(rateHz, 24);
  header.writeUInt32LE(rateHz * 2 * channels, 28);
  header.writeUInt16LE(2 * channels, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.byteLength, 40);
  return Buffer.concat([header, Buffer.from(pcm.buffer)]);
}

test('text, WAV and PCM reach the service as they were sent', async (t) => {
  const { fakes, ask } = await start(t);
  const pcm = new Int16Array(1_600).map((_, at) => at);
  const bytes = Buffer.from(pcm.buffer);
  const rows: [Ask, object][] = [
    [{ body: { text: 'hi' } }, { audio: null, text: 'hi', results: [] }],
    [
      { body: { function_results: [{ call_id: 'a', result: null }] } },
      { audio: null, text: null, results: [{ callId: 'a', result: null }] },
    ],
    [
      { body: { text: 'so', function_results: [{ call_id: 'a', result: [{ b: 1 }] }] } },
      { audio: null, text: 'so', results: [{ callId: 'a', result: [{ b: 1 }] }] },
    ],
    [{ body: wav(pcm), type: 'audio/wav' }, { audio: { pcm, rateHz: 8_000 } }],
    [{ body: wav(pcm, 44_100), type: 'audio/x-wav' }, { audio: { pcm, rateHz: 44_100 } }],
    [{ body: bytes, type: 'audio/pcm' }, { audio: { pcm, rateHz: 16_000 } }],
    [
      { body: bytes, type: 'audio/pcm', query: 'sample_rate=24000' },
      { audio: { pcm, rateHz: 24_000 } },
    ],
    [{ body: bytes, type: 'audio/pcm;rate=8000' }, { audio: { pcm, rateHz: 8_000 } }],
    [{ body: wav(new Int16Array(3_200), 8_000, 2), type: 'audio/wav' }, {}],
    [{ body: bytes.subarray(0, 2), type: 'audio/pcm' }, {}],
    [{ body: Buffer.alloc(60 * 16_000 * 2), type: 'audio/pcm' }, {}],
  ];
  for (const [sent, expected] of rows) {
    const { status, text } = await ask(sent);
    assert.equal(status, 200, text);
    const { said } = fakes.voice.asked.at(-1) ?? {};
    assert.deepEqual({ ...said, ...expected }, said);
  }
  await ask({ query: `assistant_id=${AGENT}&conversation_id=${CONVERSATION.toUpperCase()}` });
  const { said: _said, signal: _signal, requestId, ...rest } = fakes.voice.asked.at(-1) ?? {};
  assert.equal(typeof requestId, 'string');
  assert.deepEqual(rest, {
    ...{ accountId: ACCOUNT, agentIds: null, agentId: AGENT, conversationId: CONVERSATION },
  });
  const key = fakes.addKey({ agentIds: [AGENT] });
  await ask({ key });
  assert.deepEqual(fakes.voice.asked.at(-1)?.agentIds, [AGENT]);
});

test('bad input', async (t) => {
  const { fakes, ask } = await start(t);
  const result = { call_id: 'a', result: 1 };
  const big = 'x'.repeat(8_000);
  const rows: [Ask, number, string, string][] = [
    [{ body: {} }, 400, 'VALIDATION_FAILED', '/text required'],
    [{ body: { text: '' } }, 400, 'VALIDATION_FAILED', '/text minLength'],
    [{ body: { text: ' \n' } }, 400, 'VALIDATION_FAILED', '/text minLength'],
    [{ body: { text: 'x'.repeat(4_001) } }, 400, 'VALIDATION_FAILED', '/text maxLength'],
    [{ body: { text: 5 } }, 400, 'VALIDATION_FAILED', '/text type'],
    [{ body: { text: '\0' } }, 400, 'VALIDATION_FAILED', '/text text'],
    [{ body: { text: 'a', voice: 'b' } }, 400, 'VALIDATION_FAILED', '/voice unknown'],
    [{ body: { function_results: [] } }, 400, 'VALIDATION_FAILED', '/function_results minItems'],
    [
      { body: { function_results: Array(21).fill(result) } },
      ...([400, 'VALIDATION_FAILED', '/function_results maxItems'] as const),
    ],
    [
      { body: { function_results: [{ call_id: 'a' }] } },
      ...([400, 'VALIDATION_FAILED', '/function_results/0/result required'] as const),
    ],
    [
      { body: { function_results: [result, result] } },
      ...([400, 'VALIDATION_FAILED', '/function_results/1/call_id distinct'] as const),
    ],
    [
      { body: { function_results: [{ call_id: 'a', result: big }] } },
      ...([400, 'VALIDATION_FAILED', '/function_results/0/result size'] as const),
    ],
    [{ body: '{"text":' }, 400, 'INVALID_JSON', ''],
    [{ body: '["text"]' }, 400, 'INVALID_JSON', ''],
    [{ body: `{"text":"${'x'.repeat(1024 * 1024)}"}` }, 413, 'PAYLOAD_TOO_LARGE', ''],
    [{ body: 'hi', type: 'text/plain' }, 415, 'UNSUPPORTED_MEDIA_TYPE', ''],
    [{ body: 'hi', type: 'audio/mpeg' }, 415, 'UNSUPPORTED_MEDIA_TYPE', ''],
    [{ body: 'hi', type: 'multipart/form-data' }, 415, 'UNSUPPORTED_MEDIA_TYPE', ''],
    [{ query: 'assistant_id=x' }, 400, 'VALIDATION_FAILED', '?assistant_id uuid'],
    [{ query: 'conversation_id=' }, 400, 'VALIDATION_FAILED', '?conversation_id uuid'],
    [{ query: 'sample_rate=3999' }, 400, 'VALIDATION_FAILED', '?sample_rate minimum'],
    [{ query: 'sample_rate=1e4' }, 400, 'VALIDATION_FAILED', '?sample_rate type'],
    [{ query: 'voice=x' }, 400, 'VALIDATION_FAILED', '?voice unknown'],
    [{ body: Buffer.alloc(0), type: 'audio/wav' }, 400, 'VALIDATION_FAILED', ' wav'],
    [{ body: Buffer.from('RIFF????WAVE'), type: 'audio/wav' }, 400, 'VALIDATION_FAILED', ' wav'],
    [{ body: wav(new Int16Array(0)), type: 'audio/wav' }, 400, 'VALIDATION_FAILED', ' empty'],
    [
      { body: wav(new Int16Array(6), 8_000, 3), type: 'audio/wav' },
      400,
      'VALIDATION_FAILED',
      ' channels',
    ],
    [
      { body: wav(new Int16Array(6), 2_000), type: 'audio/wav' },
      400,
      'VALIDATION_FAILED',
      ' sample_rate',
    ],
    [{ body: Buffer.alloc(0), type: 'audio/pcm' }, 400, 'VALIDATION_FAILED', ' empty'],
    [{ body: Buffer.alloc(3), type: 'audio/pcm' }, 400, 'VALIDATION_FAILED', ' audio'],
    [
      { body: Buffer.alloc(60 * 16_000 * 2 + 2), type: 'audio/pcm' },
      ...([400, 'VALIDATION_FAILED', ' seconds'] as const),
    ],
    [{ body: Buffer.alloc(25 * 1024 * 1024 + 2), type: 'audio/pcm' }, 413, 'PAYLOAD_TOO_LARGE', ''],
    [{ key: 'cy_nobody00_x' }, 401, 'UNAUTHENTICATED', ''],
    [{ key: fakes.addKey({ role: 'viewer' }) }, 403, 'FORBIDDEN', ''],
  ];
  for (const [sent, status, code, fault] of rows) {
    const answer = await ask(sent);
    const shown = JSON.stringify(sent).slice(0, 200);
    assert.deepEqual(
      [answer.status, answer.code, answer.faults[0] ?? ''],
      [status, code, fault],
      shown,
    );
  }
  assert.equal(fakes.voice.asked.length, 0);
});

test('refusals of the service, and faults before the first event', async (t) => {
  const { fakes, ask } = await start(t);
  const refusals: [VoiceRefusal, number, string, string | undefined][] = [
    ['agent', 422, 'REFERENCE_NOT_FOUND', '?assistant_id exists'],
    ['conversation', 404, 'NOT_FOUND', undefined],
    ['over', 409, 'INVALID_STATE', undefined],
    ['busy', 409, 'INVALID_STATE', undefined],
    ['recogniser', 422, 'PROVIDER_NOT_CONFIGURED', undefined],
    [2, 422, 'REFERENCE_NOT_FOUND', '/function_results/2/call_id exists'],
  ];
  for (const [refusal, status, code, fault] of refusals) {
    fakes.voice.refusal = refusal;
    const answer = await ask({ query: `assistant_id=${MISSING}` });
    assert.deepEqual([answer.status, answer.code, answer.faults[0]], [status, code, fault]);
    assert.equal(answer.response.headers['retry-after'], refusal === 'busy' ? '1' : undefined);
  }
  const errors: [string, string, number, string][] = [
    ['E_CONFIG', 'no such vendor', 422, 'PROVIDER_NOT_CONFIGURED'],
    ['E_DATABASE_UNREACHABLE', 'away', 503, 'UNAVAILABLE'],
    ['E_TIMEOUT', 'the database took longer than 1 ms', 503, 'UNAVAILABLE'],
    ['E_QUEUE_FULL', 'too many', 503, 'OVERLOADED'],
  ];
  for (const [errorCode, message, status, code] of errors) {
    fakes.voice.error = new AppError(errorCode as 'E_CONFIG', message);
    const answer = await ask({});
    assert.deepEqual([answer.status, answer.code], [status, code]);
  }
});

test('the events on the wire', async (t) => {
  const { fakes, ask } = await start(t);
  fakes.voice.events = async function* () {
    yield { type: 'transcript', text: 'a\n\nb' };
    yield { type: 'response', text: 'Hm…', isFinal: false };
    yield { type: 'audio', pcm: new Int16Array([0, 1, -2, 32_767]).subarray(1) };
    yield { type: 'function_call', call: { id: 'c', name: 'f', arguments: { x: 1 } } };
    yield { type: 'done', ...DONE, pendingCalls: ['c'] };
  };
  const { text, response } = await ask({ headers: { 'idempotency-key': 'once' } });
  assert.equal(response.headers['content-type'], 'text/event-stream');
  assert.equal(response.headers['cache-control'], 'no-store');
  assert.equal(response.headers['x-accel-buffering'], 'no');
  assert.equal(
    text,
    [
      ': callyard',
      `event: transcript\ndata: {"conversation_id":"${CONVERSATION}","text":"a\\n\\nb","is_final":true}`,
      'event: response\ndata: {"text":"Hm…","is_final":false}',
      'event: audio\ndata: {"audio":"AQD+//9/","sample_rate":16000}',
      'event: function_call\ndata: {"function_name":"f","arguments":{"x":1},"call_id":"c"}',
      `event: done\ndata: {"conversation_id":"${CONVERSATION}","latency_ms":13,"status":"active","expires_at":1767225600,"pending_calls":["c"]}`,
      '',
    ].join('\n\n'),
  );
  // A stream is never replayed.
  await ask({ headers: { 'idempotency-key': 'once' } });
  assert.equal(fakes.voice.asked.length, 2);
});

test('faults behind the first event are one `error`, in the client’s language', async (t) => {
  const { fakes, ask } = await start(t);
  const rows: [AppError, string, RegExp][] = [
    [new AppError('E_PROVIDER_SERVER', 'x'), 'PROVIDER_TIMEOUT', /^供应商/],
    [new AppError('E_PROVIDER_AUTH', 'x'), 'PROVIDER_REJECTED', /^供应商/],
    [
      new AppError('E_TIMEOUT', 'the vendor of the voice took longer'),
      'PROVIDER_TIMEOUT',
      /^供应商/,
    ],
    [new AppError('E_INTERNAL', 'a secret'), 'INTERNAL', /^服务器/],
  ];
  for (const [error, code, message] of rows) {
    fakes.voice.events = async function* () {
      yield { type: 'error', error };
    };
    const { text } = await ask({ headers: { 'accept-language': 'zh-CN' } });
    const data = /^: callyard\n\nevent: error\ndata: (.*)\n\n$/.exec(text)?.[1] ?? '';
    const told = JSON.parse(data) as { conversation_id: string; code: string; message: string };
    assert.deepEqual([told.conversation_id, told.code], [CONVERSATION, code]);
    assert.match(told.message, message);
    assert.doesNotMatch(text, /secret/);
  }
});

/** A request on a socket of its own, which is read only when asked. */
async function open(t: TestContext, api: ApiServer, key: string) {
  const { port } = api.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  const body = '{"text":"hi"}';
  socket.write(
    `POST ${PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await once(socket, 'readable');
  return socket;
}

test('the headers go out before the first event; a client that leaves aborts the turn', async (t) => {
  const { fakes, api } = await start(t);
  await api.listen({ host: '127.0.0.1', port: 0 });
  const pipe = new EventPipe<VoiceEvent>(1_000);
  fakes.voice.events = () => pipe;
  const socket = await open(t, api, fakes.addKey());
  assert.match(String(socket.read()), /^HTTP\/1\.1 200 OK\r\n[^]*: callyard\n\n/);
  const { signal } = fakes.voice.asked[0] ?? {};
  assert.equal(signal?.aborted, false);
  const left = once(signal as AbortSignal, 'abort');
  socket.destroy();
  await left;
});

test('when the server stops a stream is told so and ends', async (t) => {
  const { fakes, api } = await start(t);
  await api.listen({ host: '127.0.0.1', port: 0 });
  const pipe = new EventPipe<VoiceEvent>(1_000);
  fakes.voice.events = ({ signal }) => {
    signal.addEventListener('abort', () => pipe.close());
    return pipe;
  };
  const socket = await open(t, api, fakes.addKey());
  let text = '';
  socket.on('data', (part) => (text += String(part)));
  const ended = once(socket, 'end');
  await settle();
  await api.close();
  await ended;
  assert.match(text, /event: error\ndata: \{[^\n]*"code":"DRAINING"/);
});

test('clients that leave while it is found out who they are take no place with them', async (t) => {
  const fakes = makeFakes();
  const key = fakes.addKey();
  const { identity } = fakes.ports;
  let opened = Promise.withResolvers<void>();
  const findKey: typeof identity.keys.findKey = async (prefix) => {
    await opened.promise;
    return identity.keys.findKey(prefix);
  };
  const ports = { ...fakes.ports, identity: { ...identity, keys: { findKey } } };
  const api = await makeApi({ ...fakes, ports });
  t.after(() => api.close());
  await api.listen({ host: '127.0.0.1', port: 0 });
  const { port } = api.server.address() as AddressInfo;
  let asked = 0;
  let gone = 0;
  api.server.on('request', (_request, response: ServerResponse) => {
    asked++;
    response.once('close', () => gone++);
  });
  const leave = async (type: string, body: string, times: number): Promise<void> => {
    opened = Promise.withResolvers<void>();
    [asked, gone] = [0, 0];
    const sockets = Array.from({ length: times }, () => connect(port, '127.0.0.1'));
    for (const socket of sockets) {
      socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    }
    while (asked < times) await settle();
    for (const socket of sockets) socket.destroy();
    while (gone < times) await settle();
    opened.resolve();
    await settle();
    const { status, text } = await askOf(api, { key, type, body: Buffer.from(body) });
    assert.equal(status, 200, text);
  };
  await leave('audio/pcm', 'abcd', 20);
});

test('an answer whose client has left already takes no place among the streams', () => {
  const streams = new EventStreams({ clock: new SimulatedClock(), max: 1 });
  const reply = (destroyed: boolean) =>
    ({ raw: Object.assign(new EventEmitter(), { destroyed }) }) as unknown as FastifyReply;
  assert.equal(streams.enter(reply(true)).signal.aborted, true);
  assert.equal(streams.enter(reply(false)).signal.aborted, false);
  assert.throws(() => streams.enter(reply(false)), { problem: 'OVERLOADED' });
});
