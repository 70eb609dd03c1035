/** Real talks over the sockets: the whole server, real media, the scripted vendor, and clients on the loopback. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { systemRows } from './_identity.ts';
import { atEnd } from './_store.ts';
import { openSocket, type Client, type Frame } from './_ws-client.ts';

const AUTH = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };

type Opening = { call_id: string; ws_url: string; ticket: string };

/** Tones with the number of an utterance, then something as loud as speech: 8 kHz. */
function utterance(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 600 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    pcm[i] = 6000 * (0.6 + 0.4 * Math.sin(i / 300)) * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return pcm;
}

/** Speaks in real time, then keeps the line open with silence as a microphone does. */
async function speak(client: Client, pcm: Int16Array): Promise<void> {
  const padded = new Int16Array(pcm.length + 8000);
  padded.set(pcm);
  const startMs = performance.now();
  for (let at = 0; at < padded.length;) {
    for (; at < (performance.now() - startMs) * 8 + 800 && at < padded.length; at += 160) {
      const part = padded.slice(at, at + 160);
      client.send(new Uint8Array(part.buffer));
    }
    await sleep(20);
  }
}

function loudness(bytes: Buffer): number {
  let peak = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2)
    peak = Math.max(peak, Math.abs(bytes.readInt16LE(at)));
  return peak;
}

async function initiate(server: TestApp): Promise<Opening> {
  const { status, data } = await server.post<Opening>('/api/call/initiate', {
    phone_number: '+15550100',
    media: 'websocket',
  });
  assert.equal(status, 201, JSON.stringify(data));
  return data;
}

async function onto(t: TestContext, { ws_url, ticket }: Opening): Promise<Client> {
  return openSocket(t, `${ws_url}?ticket=${ticket}`);
}

type Record = {
  status: string;
  channel: string;
  outcome: string;
  hangup_reason: string;
  caller_phone: string;
  messages: { role: string; content: string }[];
};

async function recordOf(server: TestApp, id: string): Promise<Record> {
  const { data } = await eventually(
    () => server.get<Record>(`/api/v1/call-records/${id}`),
    (answer) => answer.data.status === 'ended',
  );
  return data;
}

test('a whole talk: greeted, understood, answered, interrupted, hung up; and heard by a listener', async (t) => {
  const server = await startTestApp(t);
  const opening = await initiate(server);
  const before = await server.get<{ status: string }>(`/api/call/${opening.call_id}`);
  assert.equal(before.data.status, 'connecting');
  const client = await onto(t, opening);
  assert.equal((await client.frame('ready'))['call_id'], opening.call_id);
  const greeting = await client.frame('ai-response');
  assert.ok(SCRIPT.greeting.startsWith(String(greeting['text'])), JSON.stringify(greeting));
  const listener = await openSocket(
    t,
    `${server.app.httpUrl}/ws/call/${opening.call_id}?role=listen`,
    AUTH,
  );
  await client.frame('mark');
  assert.ok(loudness(Buffer.concat(client.audio)) > 1_000, 'the greeting is heard');
  for (const frame of client.audio) assert.equal(frame.length, 640);

  await speak(client, utterance(1));
  const heard = await client.found('user-speech', (frame) => frame['is_final'] === true);
  assert.equal(heard['text'], SCRIPT.utterances['1']);
  const reply = async (text: string): Promise<void> => {
    await eventually(
      async () =>
        client.frames.filter((each) => each.type === 'ai-response').map((each) => each['text']),
      (texts) => texts.join('').includes(text),
    );
  };
  await reply('Your order is cancelled.');
  await client.frame('mark', 2);

  client.send({ type: 'text', text: 'Stop please.' });
  await reply('I have stopped.');
  client.send({ type: 'interrupt' });
  await client.frame('user-interrupted');
  await client.frame('clear');
  assert.ok(client.order.indexOf('clear') > client.order.indexOf('user-interrupted'));
  assert.ok(loudness(Buffer.concat(listener.audio)) > 1_000, 'the listener hears');
  assert.ok(listener.order.includes('user-speech'));

  client.send({ type: 'hangup', reason: 'done' });
  const end = await client.frame('ended');
  assert.deepEqual([end['hangup_reason'], end['outcome']], ['user', 'completed']);
  assert.equal((await client.closed).code, 1000);
  assert.equal((await listener.closed).code, 1000);
  const statuses = client.frames.filter((frame) => frame.type === 'status');
  assert.deepEqual(
    statuses.map((frame) => frame['status']),
    ['connecting', 'answered', 'ended'].slice(statuses.length === 3 ? 0 : 1),
  );
  const record = await recordOf(server, opening.call_id);
  assert.deepEqual(
    [record.channel, record.outcome, record.hangup_reason, record.caller_phone],
    ['web', 'completed', 'user', '+15550100'],
  );
  const said = record.messages.map((message) => message.content);
  assert.ok(said.includes(SCRIPT.utterances['1']) && said.includes('Your order is cancelled.'));
  const notes = await systemRows<{ target_id: string }>(
    server.databaseUrl,
    "SELECT target_id FROM audit_log WHERE action = 'call.listen'",
  );
  assert.deepEqual(notes, [{ target_id: opening.call_id }]);
});

test('after a loss the caller side comes back and the talk goes on', async (t) => {
  const server = await startTestApp(t);
  const opening = await initiate(server);
  const client = await onto(t, opening);
  await client.frame('mark');
  client.socket.terminate();
  const path = `${server.app.httpUrl}/ws/call/${opening.call_id}`;
  let again = await openSocket(t, path, AUTH);
  // The server may not have seen the loss yet.
  while (await Promise.race([again.closed, again.frame('ready').then(() => null)])) {
    again = await openSocket(t, path, AUTH);
  }
  again.send({ type: 'text', text: 'Stop please.' });
  await again.frame('mark');
  assert.ok(again.order.includes('ai-response'));
  assert.ok(loudness(Buffer.concat(again.audio)) > 1_000);
  again.send({ type: 'hangup' });
  assert.equal((await again.frame('ended'))['hangup_reason'], 'user');
});

test('the live conversation socket: start, text, response, stop, at 24 kHz', async (t) => {
  const server = await startTestApp(t);
  const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  client.send({ type: 'start', config: { voice: { sample_rate: 24_000, encoding: 'pcm' } } });
  const ready = await client.frame('ready');
  assert.deepEqual(ready['downlink'], { rate: 24_000, encoding: 'pcm' });
  await client.frame('mark');
  assert.equal(client.audio[0]?.length, 960);
  assert.ok(loudness(Buffer.concat(client.audio)) > 1_000);
  client.send({ type: 'text', text: 'Stop please.' });
  await client.frame('mark', 2);
  const texts = client.frames
    .filter((frame) => frame.type === 'response')
    .map((frame) => frame['text']);
  assert.ok(texts.join('').includes('I have stopped.'), JSON.stringify(texts));
  client.send({ type: 'stop' });
  const end = await client.frame('ended');
  assert.deepEqual([end['hangup_reason'], end['outcome']], ['user', 'completed']);
  assert.equal((await client.closed).code, 1000);
  assert.equal((await recordOf(server, String(ready['call_id']))).channel, 'web');
});

test('who listens to a phone call by either socket hears both sides of it', async (t) => {
  const server = await startTestApp(t);
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  const { data } = await eventually(
    () => server.get<{ calls: { id: string }[] }>('/v1/phone/calls?live=true'),
    (answer) => answer.data.calls.length > 0,
  );
  const id = data.calls[0]?.id ?? '';
  const first = await openSocket(t, `${server.app.httpUrl}/ws/call/${id}?role=listen`, AUTH);
  const second = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  second.send({ type: 'start', call_id: id });
  await second.frame('ready');
  await phone.say(utterance(1));
  const isFinal = (frame: Frame): boolean => frame['is_final'] === true;
  assert.equal((await first.found('user-speech', isFinal))['text'], SCRIPT.utterances['1']);
  await second.found('transcript', isFinal);
  await first.frame('ai-response');
  for (const client of [first, second]) {
    assert.ok(loudness(Buffer.concat(client.audio)) > 1_000);
    client.send({ type: 'interrupt' });
    assert.equal((await client.frame('error'))['code'], 'FORBIDDEN');
  }
  const caller = await openSocket(t, `${server.app.httpUrl}/ws/call/${id}`, AUTH);
  assert.equal((await caller.closed).code, 4409);
  await phone.hangUp();
  assert.deepEqual((await first.frame('ended'))['outcome'], 'completed');
  assert.equal((await second.closed).code, 1000);
});

test('a server that stops ends live web calls in order, and the clients hear of it', async (t) => {
  const server = await startTestApp(t);
  const client = await onto(t, await initiate(server));
  await client.frame('mark');
  const idle = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, AUTH);
  await server.app.stop(0);
  await client.frame('ended');
  assert.equal((await client.closed).code, 1000);
  assert.equal((await idle.closed).code, 1001);
});

test('the ticket of a repeated request is the same one, and in the database it is sealed', async (t) => {
  const server = await startTestApp(t);
  const place = async (path: string, body: object): Promise<string> => {
    const answer = await fetch(server.app.httpUrl + path, {
      method: 'POST',
      headers: {
        ...{ ...AUTH.headers, 'content-type': 'application/json' },
        'idempotency-key': 'once',
      },
      body: JSON.stringify(body),
    });
    assert.equal(answer.status, 201);
    return ((await answer.json()) as { data: { ticket: string } }).data.ticket;
  };
  const rows: [string, object][] = [
    ['/api/call/initiate', { phone_number: '+15550100', media: 'websocket' }],
    ['/v1/voice/call', {}],
  ];
  for (const [path, body] of rows) {
    const ticket = await place(path, body);
    assert.equal(await place(path, body), ticket);
    const kept = await systemRows<{ response: string }>(
      server.databaseUrl,
      'SELECT response::text FROM idempotency_keys',
    );
    assert.ok(kept.length > 0);
    for (const { response } of kept) assert.ok(!response.includes(ticket), path);
  }
});
