/** `/v1/voice/ws` and `/v1/voice/stream` frame by frame (contract 2.4), over calls that the test holds in its hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlaceResult } from '#sessions/call-service-types.ts';
import {
  ACCOUNT,
  AGENT,
  LIVE,
  makeCall,
  MISSING,
  OTHER_ACCOUNT,
  OTHER_AGENT,
} from '../unit/_api-fakes.ts';
import type { FakeAttachment } from '../unit/_socket-fakes.ts';
import { startSocketServer, WEB, type SocketServer } from './_socket-server.ts';
import { openSocket, trySocket, type Client } from './_ws-client.ts';

const PATH = '/v1/voice/ws';

async function talk(
  t: Parameters<typeof openSocket>[0],
  server: SocketServer,
  start: object = {},
  path = PATH,
): Promise<{ client: Client; call: FakeAttachment }> {
  const client = await openSocket(t, server.url + path, server.auth);
  client.send({ type: 'start', ...start });
  await client.frame('ready');
  return { client, call: server.fakes.sockets.attachments.at(-1) as FakeAttachment };
}

test('start places a call and attaches to it, under both names of the socket', async (t) => {
  const server = await startSocketServer(t);
  const { placed } = server.fakes.sockets;
  const { client, call } = await talk(t, server, {
    assistant_id: AGENT.toUpperCase(),
    variables: { name: 'Ann', n: 1 },
    config: { voice: { sample_rate: 24_000, encoding: 'pcm', language: 'zh-CN' } },
  });
  assert.deepEqual(client.frames.slice(0, 2), [
    {
      ...{ type: 'ready', call_id: call.call.id },
      uplink: { rate: 24_000, encoding: 'pcm' },
      downlink: { rate: 24_000, encoding: 'pcm' },
    },
    { type: 'status', status: 'dialing' },
  ]);
  const { signal: _signal, requestId: _id, ...asked } = placed[0] ?? {};
  assert.deepEqual(asked, {
    ...{ agentId: AGENT, language: 'zh', variables: { name: 'Ann', n: '1' } },
    ...{ remoteNumber: null, direction: 'inbound', accountId: ACCOUNT },
  });
  call.due = Array.from({ length: 160 }, (_, at) => at);
  server.clock.advance(20);
  assert.equal((await client.heard(960)).length, 960);
  client.send(Buffer.alloc(960));
  await client.settle();
  assert.equal(call.heard.length, 160);

  const bare = await talk(t, server, {}, '/v1/voice/stream');
  assert.deepEqual((await bare.client.frame('ready'))['uplink'], { rate: 16_000, encoding: 'pcm' });
  assert.equal(placed.length, 2);
});

test('words, function calls, marks, faults and the end', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await talk(t, server);
  call.asked.add('f1');
  call.tell(
    { type: 'status', status: 'answered' },
    { type: 'heard', text: 'Where is it?', isFinal: true, startMs: 0, endMs: 700 },
    { type: 'function_call', id: 'f1', name: 'find', arguments: { id: 7 }, timeoutMs: 5_000 },
  );
  const asked = await client.frame('function_call');
  assert.deepEqual(asked, {
    ...{ type: 'function_call', function_name: 'find', arguments: { id: 7 }, call_id: 'f1' },
  });
  client.send({ type: 'function_result', call_id: 'f1', result: { place: 'shelf 3' } });
  client.send({ type: 'function_result', call_id: 'f1', result: 'again' });
  client.send({ type: 'text', text: 'Hello' });
  client.send({ type: 'interrupt' });
  client.send({ type: 'mark', name: 'u1' });
  client.send({ type: 'ice_candidate', candidate: 'x' });
  client.send({ type: 'start' });
  client.send({ type: 'stop' });
  await client.settle();
  assert.deepEqual(call.done, [
    ['result', 'f1', { place: 'shelf 3' }],
    ['result', 'f1', 'again'],
    ['text', 'Hello'],
    ['interrupt'],
    ['played', 'u1'],
    ['hangup', null],
  ]);
  assert.deepEqual(
    client.frames
      .filter((frame) => frame.type === 'error')
      .map((frame) => [frame['code'], frame['fatal']]),
    [
      ['NOT_FOUND', false],
      ['WEBRTC_DISABLED', false],
      ['INVALID_STATE', false],
    ],
  );
  call.tell(
    { type: 'interrupted', turn: 1, heardMs: 5, heardText: '' },
    { type: 'clear' },
    { type: 'ended', hangupReason: 'user', outcome: 'completed', duration: 1 },
  );
  assert.equal((await client.closed).code, 1000);
  assert.deepEqual(client.order.slice(-2), ['clear', 'ended']);
});

test('the first frame: start within 10 s and nothing else', async (t) => {
  const server = await startSocketServer(t);
  const rows: [object | string | Buffer, number][] = [
    [{ type: 'text', text: 'hello' }, 1008],
    [{ type: 'nonsense' }, 1008],
    [Buffer.alloc(320), 1003],
  ];
  for (const [frame, code] of rows) {
    const client = await openSocket(t, server.url + PATH, server.auth);
    client.send(frame);
    assert.equal((await client.closed).code, code, JSON.stringify(frame));
  }
  const late = await openSocket(t, server.url + PATH, server.auth);
  await late.settle();
  server.clock.advance(9_999);
  await late.settle();
  server.clock.advance(1);
  assert.deepEqual(await late.closed, { code: 1008, reason: 'no start within 10 s' });

  const wrong = await openSocket(t, server.url + PATH, server.auth);
  wrong.send({ type: 'start', config: { voice: { sample_rate: 44_100 } } });
  wrong.send({ type: 'start', asistant_id: AGENT });
  const errors = [await wrong.frame('error'), await wrong.frame('error', 2)];
  for (const error of errors) assert.equal(error['code'], 'VALIDATION_FAILED');
  wrong.send({ type: 'start' });
  await wrong.frame('ready');
  assert.equal(server.fakes.sockets.placed.length, 1);
});

test('opus and sdp are refused in words, and the audio is PCM on the socket', async (t) => {
  const server = await startSocketServer(t);
  const { client } = await talk(t, server, {
    sdp: 'v=0',
    config: { voice: { encoding: 'opus', sample_rate: 48_000 } },
  });
  assert.deepEqual(
    client.frames
      .map((frame) => [frame.type, frame['code'] ?? null, frame['fatal'] ?? null])
      .slice(0, 3),
    [
      ['error', 'WEBRTC_DISABLED', false],
      ['error', 'UNSUPPORTED_MEDIA_TYPE', false],
      ['ready', null, null],
    ],
  );
  assert.deepEqual((await client.frame('ready'))['downlink'], { rate: 48_000, encoding: 'pcm' });
});

test('a refused call: told in words, closed with the code that belongs to it', async (t) => {
  const server = await startSocketServer(t);
  const { sockets } = server.fakes;
  const refuse =
    (code: 'CONCURRENCY_LIMIT' | 'DRAINING' | 'UNAVAILABLE' | 'REFERENCE_NOT_FOUND') =>
    async (): Promise<PlaceResult> => ({ ok: false, refusal: { code, retryAfterS: 5 } });
  const rows = [
    ['CONCURRENCY_LIMIT', 4429],
    ['DRAINING', 1001],
    ['UNAVAILABLE', 1011],
    ['REFERENCE_NOT_FOUND', 1008],
  ] as const;
  for (const [code, close] of rows) {
    sockets.placeResult = refuse(code);
    const client = await openSocket(t, server.url + PATH, server.auth);
    client.send({ type: 'start' });
    assert.deepEqual(await client.closed, { code: close, reason: code });
    assert.deepEqual([client.frames[0]?.['code'], client.frames[0]?.['fatal']], [code, true]);
  }
  sockets.placeResult = null;
  const bound = { authorization: `Bearer ${server.fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  const client = await openSocket(t, server.url + PATH, { headers: bound });
  client.send({ type: 'start', assistant_id: AGENT });
  assert.deepEqual(await client.closed, { code: 1008, reason: 'REFERENCE_NOT_FOUND' });
});

test('placing over the socket has the bucket of placing', async (t) => {
  const server = await startSocketServer(t, {
    limits: { callRate: { ratePerS: 1, burst: 1 }, requestRate: { ratePerS: 1000, burst: 1000 } },
  });
  await talk(t, server);
  const second = await openSocket(t, server.url + PATH, server.auth);
  second.send({ type: 'start' });
  assert.deepEqual(await second.closed, { code: 4429, reason: 'RATE_LIMITED' });
  assert.equal(server.fakes.sockets.placed.length, 1);
});

test('start with a call: the web call as its caller, a phone call as a listener, others not at all', async (t) => {
  const server = await startSocketServer(t);
  const { fakes } = server;
  const web = await talk(t, server, { call_id: WEB });
  assert.equal(web.call.role, 'caller');
  assert.deepEqual(fakes.sockets.placed, []);
  const phone = await talk(t, server, { call_id: LIVE });
  assert.equal(phone.call.role, 'listen');
  assert.deepEqual(fakes.sockets.listened, [LIVE]);
  phone.client.send({ type: 'text', text: 'hello' });
  assert.equal((await phone.client.frame('error'))['code'], 'FORBIDDEN');
  phone.call.asked.add('f1');
  phone.client.send({ type: 'function_result', call_id: 'f1', result: 1 });
  phone.client.send({ type: 'stop' });
  assert.equal((await phone.client.closed).code, 1000);
  assert.deepEqual(
    phone.call.done,
    [['result', 'f1', 1], ['detach']],
    'a listener answers functions, and hangs nobody up',
  );
  assert.deepEqual([web.call.canAnswer, phone.call.canAnswer], [true, true]);

  const key = (wish: Parameters<typeof fakes.addKey>[0]) => ({
    headers: { authorization: `Bearer ${fakes.addKey(wish)}` },
  });
  const rows: [object, Parameters<typeof openSocket>[2], number, string][] = [
    [{ call_id: MISSING }, server.auth, 4404, 'NOT_FOUND'],
    [{ call_id: WEB }, key({ accountId: OTHER_ACCOUNT }), 4404, 'NOT_FOUND'],
    [{ call_id: WEB }, key({ agentIds: [OTHER_AGENT] }), 4404, 'NOT_FOUND'],
    [{ call_id: WEB }, server.auth, 4409, 'TAKEN'],
    [{ call_id: LIVE }, key({ role: 'developer' }), 4409, 'FORBIDDEN'],
  ];
  for (const [start, wish, code, reason] of rows) {
    const client = await openSocket(t, server.url + PATH, wish);
    client.send({ type: 'start', ...start });
    assert.deepEqual(await client.closed, { code, reason }, JSON.stringify([start, code]));
    assert.equal(client.order.includes('ready'), false);
  }
});

test('a ticket of POST /v1/voice/call opens that call alone', async (t) => {
  const server = await startSocketServer(t);
  const { fakes, url, auth } = server;
  const place = async (body: object) => {
    const answer = await fetch(`${url}/v1/voice/call`, {
      method: 'POST',
      headers: { ...auth.headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.equal(answer.status, 201);
    const { data } = (await answer.json()) as {
      data: { call: { id: string; channel: string }; ws_url: string; ticket: string };
    };
    return data;
  };
  const made = await place({ greeting: 'Good day', squad_id: MISSING, max_duration_s: 60 });
  assert.equal(made.ws_url, `${url.replace('http', 'ws')}/v1/voice/ws`);
  assert.equal(made.call.channel, 'web');
  const { squadId, greeting, maxDurationS } = fakes.sockets.placed[0] ?? {};
  assert.deepEqual([squadId, greeting, maxDurationS], [MISSING, 'Good day', 60]);
  const client = await openSocket(t, `${made.ws_url}?ticket=${made.ticket}`);
  client.send({ type: 'start' });
  assert.equal((await client.frame('ready'))['call_id'], made.call.id);
  assert.equal(fakes.sockets.placed.length, 1, 'no second call');

  for (const call_id of [WEB, LIVE, MISSING]) {
    const other = await place({});
    const thief = await openSocket(t, `${other.ws_url}?ticket=${other.ticket}`);
    thief.send({ type: 'start', call_id });
    assert.deepEqual(await thief.closed, { code: 4404, reason: 'NOT_FOUND' });
  }
  const third = await place({});
  const elsewhere = await trySocket(t, `${url}/ws/call/${third.call.id}?ticket=${third.ticket}`);
  assert.equal('code' in elsewhere ? elsewhere.code : null, 'UNAUTHENTICATED');
});

test('a client that leaves while its call is placed has none: it is given up or hung up', async (t) => {
  const server = await startSocketServer(t);
  const { fakes } = server;
  const { promise, resolve } = Promise.withResolvers<void>();
  const id = '12121212-1212-4212-8212-121212121212';
  let signal: AbortSignal | undefined;
  fakes.sockets.placeResult = async (request) => {
    signal = request.signal;
    await promise;
    const call = makeCall({ id, channel: 'web', status: 'dialing' });
    fakes.calls.set(id, call);
    return { ok: true, call };
  };
  const client = await openSocket(t, server.url + PATH, server.auth);
  client.send({ type: 'start' });
  client.send({ type: 'text', text: 'too early' });
  client.send(Buffer.alloc(320));
  await client.settle();
  assert.equal((await client.frame('error'))['code'], 'INVALID_STATE');
  client.send({ type: 'stop' });
  assert.equal((await client.closed).code, 1000);
  assert.equal(signal?.aborted, true);
  resolve();
  while (fakes.hangups.length === 0) await new Promise((next) => setTimeout(next, 2));
  assert.deepEqual(fakes.hangups, [{ id, reason: null }]);
});
