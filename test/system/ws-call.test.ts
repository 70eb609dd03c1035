/** `/ws/call/{id}` frame by frame (contract 2.5): a real client, a call that the test holds in its hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { AGENT, LIVE } from '../unit/_api-fakes.ts';
import type { FakeAttachment } from '../unit/_socket-fakes.ts';
import { startSocketServer, WEB, type SocketServer } from './_socket-server.ts';
import { openSocket, trySocket, type Client, type Frame } from './_ws-client.ts';

const PATH = `/ws/call/${WEB}`;
const ended: CallFrame = {
  ...{ type: 'ended', hangupReason: 'ai', outcome: 'completed', duration: 3 },
};

/** Time passes in turns of 20 ms. */
function turns(server: SocketServer, count: number): void {
  for (let turn = 0; turn < count; turn++) server.clock.advance(20);
}

const ramp = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => (from + at) % 30_000);

function samplesOf(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / 2 }, (_, at) => bytes.readInt16LE(at * 2));
}

test('ready first, then the status; every change is told once, ended is last, then 1000', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  const statuses = ['dialing', 'ringing', 'answered', 'answered', 'ended'] as const;
  for (const status of statuses) call.tell({ type: 'status', status });
  call.tell(ended);
  assert.deepEqual(await client.closed, { code: 1000, reason: 'call over' });
  const status = (word: string): Frame => ({ type: 'status', status: word });
  assert.deepEqual(client.frames, [
    {
      ...{ type: 'ready', call_id: WEB },
      uplink: { rate: 8_000, encoding: 'pcm_s16le' },
      downlink: { rate: 16_000, encoding: 'pcm_s16le' },
    },
    ...['connecting', 'ringing', 'answered', 'ended'].map(status),
    { type: 'ended', hangup_reason: 'ai', outcome: 'completed', duration: 3 },
  ]);
  assert.deepEqual(call.done, [['detach']]);
});

test('what is said, and a barge-in: interrupted, then clear, and nothing of what is void after it', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  call.due = ramp(1, 160 + 80);
  turns(server, 1);
  await client.heard(640);
  call.tell(
    { type: 'reply', text: 'How can I help?', turn: 1, isFinal: true },
    { type: 'heard', text: 'Stop', isFinal: false, startMs: 900, endMs: 1_200 },
    { type: 'interrupted', turn: 1, heardMs: 20, heardText: 'How' },
    { type: 'clear' },
  );
  turns(server, 5);
  call.due = ramp(9_000, 160);
  turns(server, 1);
  await client.heard(1_280);
  assert.deepEqual(client.order, [
    ...['ready', 'status', 'audio', 'ai-response', 'user-speech', 'user-interrupted', 'clear'],
    'audio',
  ]);
  assert.deepEqual(samplesOf(client.audio[1] as Buffer)[0], 9_000, 'the void half frame is gone');
});

test('a mark comes behind the whole of its audio; its echo reaches the call', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  call.due = ramp(1, 200);
  turns(server, 2);
  call.tell({ type: 'mark', name: 'u1' });
  await client.settle();
  assert.deepEqual(client.order.slice(2), ['audio', 'pong'], 'no frame is cut short');
  call.due = ramp(201, 120);
  turns(server, 1);
  await client.frame('mark');
  assert.deepEqual(client.order.slice(4), ['audio', 'mark']);
  const heard = samplesOf(Buffer.concat(client.audio));
  assert.deepEqual(
    heard.filter((_, at) => at % 2 === 0),
    ramp(1, 320),
    'and no silence is put into the speech',
  );
  call.due = ramp(1, 40);
  turns(server, 1);
  call.tell({ type: 'mark', name: 'u2' });
  turns(server, 3);
  await client.frame('mark', 2);
  const last = samplesOf(client.audio[2] as Buffer);
  assert.deepEqual(last.slice(78, 82), [40, 40, 0, 0], 'filled up when nothing more comes');
  client.send({ type: 'mark', name: 'u1' });
  await client.settle();
  assert.deepEqual(call.done, [['played', 'u1']]);
});

test('commands reach the call in order; hangup ends it', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  client.send({ type: 'text', text: 'Good day' });
  client.send({ type: 'dtmf', digits: '12#' });
  client.send({ type: 'interrupt' });
  client.send({ type: 'hangup', reason: 'done' });
  client.send({ type: 'hangup' });
  client.send({ type: 'text', text: '' });
  await client.settle();
  assert.deepEqual(call.done, [
    ...[['text', 'Good day'], ['dtmf', '12#'], ['interrupt']],
    ...[
      ['hangup', 'done'],
      ['hangup', null],
    ],
  ]);
  const error = await client.frame('error');
  assert.deepEqual([error['code'], error['fatal']], ['VALIDATION_FAILED', false]);
  assert.match(String(error['message']), /\/text/);
});

test('words and keys that come by the hundred are refused, and cost the call nothing', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  assert.equal(call.canAnswer, false, 'this socket has no function_call');
  for (let sent = 0; sent < 200; sent++) client.send({ type: 'text', text: 'a' });
  client.send({ type: 'dtmf', digits: '1' });
  await client.settle();
  assert.equal(call.done.length, 100);
  const errors = client.frames.filter((frame) => frame.type === 'error');
  assert.equal(errors.length, 101);
  for (const { code, fatal } of errors) assert.deepEqual([code, fatal], ['RATE_LIMITED', false]);
  server.clock.advance(1_000);
  client.send({ type: 'dtmf', digits: '1'.repeat(51) });
  client.send({ type: 'dtmf', digits: '1'.repeat(50) });
  client.send({ type: 'interrupt' });
  await client.settle();
  assert.deepEqual(call.done.slice(100), [['dtmf', '1'.repeat(50)]], 'whole, or not at all');
});

test('audio up: any even length from 2 to 32,000 bytes, exactly as sent; else BAD_FRAME, and on it goes', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  const all = ramp(1, 16_000);
  const bytes = Buffer.from(Int16Array.from(all).buffer);
  let sent = 0;
  for (const length of [2, 320, 322, 640, 31_998 - 1_284 + 2]) {
    client.send(bytes.subarray(sent, sent + length));
    sent += length;
  }
  const bad = [0, 1, 3, 319, 31_999, 32_001, 32_002, 60_000];
  for (const length of bad) client.send(Buffer.alloc(length));
  client.send(Buffer.alloc(32_000));
  await client.settle();
  assert.equal(call.heard.length, sent / 2 + 16_000);
  assert.deepEqual(call.heard.slice(0, sent / 2), all.slice(0, sent / 2));
  const errors = client.frames.filter((frame) => frame.type === 'error');
  assert.equal(errors.length, bad.length);
  for (const error of errors)
    assert.deepEqual([error['code'], error['fatal']], ['BAD_FRAME', false]);
});

test('INPUT_OVERRUN is told once a second', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  const overruns = async (): Promise<number> => {
    for (let frame = 0; frame < 20; frame++) client.send(Buffer.alloc(320));
    await client.settle();
    return client.frames.filter((frame) => frame.type === 'warning').length;
  };
  assert.equal(await overruns(), 0);
  call.drops = 160;
  assert.equal(await overruns(), 1);
  server.clock.advance(999);
  assert.equal(await overruns(), 1);
  server.clock.advance(1);
  assert.equal(await overruns(), 2);
  call.drops = 0;
  server.clock.advance(5_000);
  assert.equal(await overruns(), 2);
  assert.deepEqual(await client.frame('warning'), { type: 'warning', code: 'INPUT_OVERRUN' });
});

test('audio down: frames of 20 ms as they fall due', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  for (let turn = 0; turn < 10; turn++) {
    call.due.push(...ramp(turn * 160, 160));
    turns(server, 1);
  }
  const heard = samplesOf(await client.heard(6_400));
  assert.deepEqual(
    client.audio.map((frame) => frame.length),
    Array.from({ length: 10 }, () => 640),
  );
  assert.deepEqual(
    heard.filter((_, at) => at % 2 === 0),
    ramp(0, 1_600),
  );
});

test('after a stall the client is never more than 200 ms ahead, and the delay goes with the pauses', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  const loud = (from: number, count: number): number[] => ramp(0, count).map((at) => from + at);
  // 1.2 s wait: words, then a pause, then words.
  call.due = [...loud(1_000, 4_800), ...ramp(0, 1_600).map(() => 3), ...loud(10_000, 3_200)];
  const sent = async (): Promise<number> => {
    await client.settle();
    return Buffer.concat(client.audio).length / 32;
  };
  turns(server, 1);
  assert.equal(await sent(), 200);
  let aheadMs = 200;
  let beforeMs = 200;
  for (let turn = 0; turn < 60; turn++) {
    call.due.push(...loud(20_000, 160));
    turns(server, 1);
    const nowMs = await sent();
    aheadMs = Math.max(0, aheadMs - 20) + nowMs - beforeMs;
    beforeMs = nowMs;
    assert.ok(aheadMs <= 200, `${aheadMs} ms ahead`);
  }
  const heard = samplesOf(Buffer.concat(client.audio)).filter((_, at) => at % 2 === 0);
  assert.deepEqual(heard.slice(0, 4_800), loud(1_000, 4_800), 'no word is lost');
  assert.deepEqual(heard.slice(4_800, 4_803), [10_000, 10_001, 10_002], 'the pause is');
  call.tell(ended);
  await client.closed;
  assert.equal(client.order.at(-1), 'ended');
  const all = Buffer.concat(client.audio).length / 2;
  assert.equal(all, (4_800 + 3_200 + 60 * 160) * 2, 'the last words come at once');
});

test('the last words, their mark, then the end', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  call.due = ramp(1, 200);
  call.onDry = () => call.tell({ type: 'mark', name: 'u1' });
  call.tell(ended);
  await client.closed;
  assert.deepEqual(client.order.slice(2), ['audio', 'audio', 'mark', 'ended']);
});

test('config: other rates, once, before the client’s audio, told by a new ready', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  call.due = ramp(0, 160);
  turns(server, 1);
  await client.heard(640);
  client.send({ type: 'config', uplink_rate: 16_000, downlink_rate: 24_000 });
  const again = await client.frame('ready', 2);
  assert.deepEqual(
    [again['uplink'], again['downlink']],
    [
      { rate: 16_000, encoding: 'pcm_s16le' },
      { rate: 24_000, encoding: 'pcm_s16le' },
    ],
  );
  call.due = ramp(0, 160);
  turns(server, 1);
  await client.heard(640 + 960);
  client.send(Buffer.alloc(640));
  client.send({ type: 'config' });
  const error = await client.frame('error');
  assert.deepEqual([error['code'], error['fatal']], ['INVALID_STATE', false]);
  assert.equal(call.heard.length, 160, '640 bytes at 16 kHz are 20 ms');
  client.socket.close();
  await client.closed;
  const late = await openSocket(t, server.url + PATH, server.auth);
  late.send(Buffer.alloc(320));
  late.send({ type: 'config', downlink_rate: 8_000 });
  assert.equal((await late.frame('error'))['code'], 'INVALID_STATE');
  late.send({ type: 'config', downlink_rate: 11_025 });
  assert.equal((await late.frame('error', 2))['code'], 'VALIDATION_FAILED');
});

test('who listens hears, and does nothing; that is noted, and needs the right to supervise', async (t) => {
  const server = await startSocketServer(t);
  const { url, fakes, auth } = server;
  const path = `/ws/call/${LIVE}?role=listen`;
  const with_ = (role: 'developer' | 'supervisor') => ({
    headers: { authorization: `Bearer ${fakes.addKey({ role })}` },
  });
  const developer = await trySocket(t, url + path, with_('developer'));
  assert.equal('code' in developer ? developer.code : null, 'FORBIDDEN');
  fakes.storeError = new AppError('E_DATABASE_UNREACHABLE', 'away');
  const blind = await trySocket(t, url + path, auth);
  assert.equal('code' in blind ? blind.code : null, 'UNAVAILABLE', 'nobody listens unnoted');
  fakes.storeError = null;
  assert.deepEqual(fakes.sockets.listened, []);
  const clients: Client[] = [];
  for (const wish of [auth, with_('supervisor')]) {
    const client = await openSocket(t, url + path, wish);
    await client.frame('status');
    clients.push(client);
  }
  assert.deepEqual(fakes.sockets.listened, [LIVE, LIVE]);
  const [first, second] = clients as [Client, Client];
  const [heardFirst] = fakes.sockets.attachments as [FakeAttachment];
  assert.equal(heardFirst.role, 'listen');
  heardFirst.due = ramp(0, 160);
  turns(server, 1);
  await first.heard(640);
  first.send(Buffer.alloc(320));
  first.send(Buffer.alloc(3));
  for (const frame of [
    { type: 'text', text: 'a' },
    { type: 'dtmf', digits: '1' },
    { type: 'interrupt' },
  ])
    first.send(frame);
  await first.settle();
  const errors = first.frames.filter((frame) => frame.type === 'error');
  assert.deepEqual(
    errors.map((error) => error['code']),
    ['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN'],
  );
  first.send({ type: 'hangup' });
  assert.equal((await first.closed).code, 1000);
  assert.deepEqual([heardFirst.heard.length, heardFirst.done], [0, [['detach']]]);
  await second.settle();
});

test('after a loss the caller comes back and goes on', async (t) => {
  const server = await startSocketServer(t);
  const { client, call } = await server.join(t);
  client.socket.terminate();
  await client.closed;
  while (!call.isDetached) await new Promise((resolve) => setTimeout(resolve, 2));
  const again = await server.join(t);
  assert.deepEqual(again.client.order.slice(0, 1), ['ready']);
  again.call.tell({ type: 'reply', text: 'Still here', turn: 3, isFinal: true });
  assert.equal((await again.client.frame('ai-response'))['text'], 'Still here');
});

test('a call placed for a client: what is asked for, what comes back, and the way onto it', async (t) => {
  const { url, fakes, auth } = await startSocketServer(t);
  const post = async (path: string, body: object) => {
    const answer = await fetch(url + path, {
      method: 'POST',
      headers: { ...auth.headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return {
      status: answer.status,
      ...((await answer.json()) as { data: Record<string, string> }),
    };
  };
  const { status, data } = await post('/api/call/initiate', {
    ...{ phone_number: '+1 555 0100', media: 'websocket', agent_id: AGENT, prompt: 'Be brief' },
    variables: { name: 'Ann', n: 7 },
  });
  assert.equal(status, 201);
  const { call_id: id = '', ws_url = '', ticket = '' } = data;
  assert.deepEqual(
    { ...data, ws_url: '', ticket: '', expires_at: 0, call_id: '' },
    {
      ...{ call_id: '', phone_number: '+15550100', status: 'connecting', media: 'websocket' },
      ...{ ws_url: '', ticket: '', expires_at: 0 },
    },
  );
  assert.equal(ws_url, `${url.replace('http', 'ws')}/ws/call/${id}`);
  const [asked] = fakes.sockets.placed;
  const { signal, requestId, ...rest } = asked ?? { signal: null, requestId: null };
  assert.ok(signal instanceof AbortSignal && typeof requestId === 'string');
  assert.deepEqual(rest, {
    ...{ prompt: 'Be brief', agentId: AGENT, variables: { name: 'Ann', n: '7' } },
    ...{ remoteNumber: '+15550100', direction: 'outbound', accountId: asked?.accountId },
  });
  const client = await openSocket(t, `${ws_url}?ticket=${ticket}`);
  assert.equal((await client.frame('ready'))['call_id'], id);
  const forwarded = await fetch(`${url}/api/call/initiate`, {
    method: 'POST',
    headers: {
      ...{ ...auth.headers, 'content-type': 'application/json' },
      ...{ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' },
    },
    body: JSON.stringify({ phone_number: '+15550100', media: 'websocket' }),
  });
  const shown = ((await forwarded.json()) as { data: { ws_url: string } }).data;
  assert.ok(shown.ws_url.startsWith(url.replace('http', 'ws')), 'only a trusted proxy is believed');
});

test('behind a trusted proxy the address of the socket is the proxy’s', async (t) => {
  const { url, auth } = await startSocketServer(t, { trustedProxies: ['127.0.0.1'] });
  const answer = await fetch(`${url}/v1/voice/call`, {
    method: 'POST',
    headers: {
      ...{ ...auth.headers, 'content-type': 'application/json' },
      ...{ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'calls.example.net' },
    },
    body: '{}',
  });
  const { data } = (await answer.json()) as { data: { ws_url: string } };
  assert.equal(data.ws_url, 'wss://calls.example.net/v1/voice/ws');
});
