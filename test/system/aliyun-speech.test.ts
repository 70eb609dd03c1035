/** The speech proxies of contract 2.2 on the whole server: token service and gateway are simulated, all else is real. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '#lib/log.ts';
import { startSimNls, type SimNls } from '#providers/sim/aliyun-nls.ts';
import { systemClock } from '#lib/clock.ts';
import { doubled, spoken, until, WORDS } from './_aliyun-nls.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { startFakeAliyun, type FakeAliyun } from './_fake-aliyun.ts';
import { atEnd } from './_store.ts';
import { openSocket, trySocket, type Client } from './_ws-client.ts';

const AUTH = { authorization: `Bearer ${ADMIN_KEY}` };
const ORDER = WORDS['1'];
const STOP = WORDS['3'];

type World = {
  readonly server: TestApp;
  readonly nls: SimNls;
  readonly vendor: FakeAliyun;
  readonly lines: string[];
  readonly good: { has(token: string): boolean };
};

async function start(t: TestContext, appKey: string | null = 'app16'): Promise<World> {
  const vendor = await startFakeAliyun(t);
  const good = { has: (token: string) => vendor.tokens.includes(token) };
  const projects = { app8: { rateHz: 8000 as const }, app16: { rateHz: 16000 as const } };
  const tokens = { has: (token: string) => good.has(token) };
  const nls = await startSimNls({ clock: systemClock, tokens, projects, words: WORDS });
  atEnd(t, () => nls.close());
  const lines: string[] = [];
  const note = (event: string, fields?: object): void => {
    lines.push(`${event} ${inspect(fields, { depth: 12 })}`);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  const env = { CALLYARD_ALIYUN_META_URL: vendor.url, CALLYARD_ALIYUN_NLS_URL: nls.url };
  const server = await startTestApp(t, env, { log });
  const world = { server, nls, vendor, lines, good };
  if (appKey !== null) {
    vendor.keys.set('speech-key-id', 'speech-secret');
    const keys = { access_key_id: 'speech-key-id', access_key_secret: 'speech-secret' };
    const { status } = await server.post('/api/v1/aliyun/config', { ...keys, app_key: appKey });
    assert.equal(status, 200);
  }
  return world;
}

/** Nothing open at the vendor, nothing against its rules, no secret in the log. */
async function assertClean({ nls, lines }: World): Promise<void> {
  await until('all sockets at the vendor are closed', () => nls.server.open === 0);
  assert.deepEqual(nls.violations, []);
  assert.doesNotMatch(lines.join('\n'), /vendor-token-|speech-secret/);
}

function wav(pcm: Int16Array, rateHz: number): Buffer {
  const bytes = Buffer.alloc(44 + pcm.length * 2);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + pcm.length * 2, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rateHz, 24);
  bytes.writeUInt32LE(rateHz * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(pcm.length * 2, 40);
  Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).copy(bytes, 44);
  return bytes;
}

type Answer = {
  readonly status: number;
  readonly data: {
    readonly text: string;
    readonly segments: { text: string; begin_ms: number; end_ms: number; confidence: number }[];
    readonly duration_ms: number;
  };
  readonly error: { readonly code: string; readonly details?: unknown };
};

async function read({ server }: World, body: Buffer, type: string, query = ''): Promise<Answer> {
  const response = await fetch(`${server.app.httpUrl}/api/v1/aliyun/asr${query}`, {
    ...{ method: 'POST', headers: { ...AUTH, 'content-type': type }, body: new Uint8Array(body) },
  });
  return { status: response.status, ...((await response.json()) as Omit<Answer, 'status'>) };
}

const twoSentences = (): Int16Array => new Int16Array([...spoken(1, 1_000), ...spoken(3, 200)]);

test('recordings are read: WAV and bare samples, at rates the vendor takes and others', async (t) => {
  const world = await start(t);
  const pcm16 = doubled(twoSentences());
  const whole = Buffer.from(pcm16.buffer);
  const tripled = new Int16Array(twoSentences().length * 3);
  for (const [i, sample] of twoSentences().entries()) tripled.fill(sample, i * 3, i * 3 + 3);
  for (const [body, type] of [
    [wav(pcm16, 16_000), 'audio/wav'],
    [whole, 'audio/pcm'],
    [wav(tripled, 24_000), 'audio/wav'],
  ] as const) {
    const { status, data } = await read(world, body, type, '?punctuation=false');
    assert.equal(status, 200);
    assert.deepEqual([data.text, data.duration_ms], [`${ORDER} ${STOP}`, 1_880]);
    assert.deepEqual(
      data.segments.map(({ text }) => text),
      [ORDER, STOP],
    );
    const [first, second] = data.segments;
    assert.ok(first && first.begin_ms < 60 && Math.abs(first.end_ms - 330) < 60, inspect(first));
    assert.ok(second && Math.abs(second.begin_ms - 1_340) < 60, inspect(second));
    assert.equal(first.confidence, 0.93);
  }
  const { payload } = world.nls.messages[0] ?? {};
  assert.equal(payload?.['enable_punctuation_prediction'], false);
  assert.equal(payload['enable_intermediate_result'], false);
  const { status, data } = await read(world, Buffer.alloc(6_400), 'audio/pcm');
  assert.deepEqual([status, data], [200, { text: '', segments: [], duration_ms: 200 }]);
  assert.equal(world.vendor.requests, 1, 'one token for all');
  await assertClean(world);
});

test('what goes wrong at the vendor is told as the contract has it', async (t) => {
  const world = await start(t);
  const { nls } = world;
  const body = Buffer.from(doubled(spoken(1, 100)).buffer);
  const rows = [
    [{ kind: 'own', name: '40000005' }, 502, 'PROVIDER_REJECTED', { vendor_code: '40000005' }],
    [{ kind: 'own', name: '40020105' }, 502, 'PROVIDER_REJECTED', { vendor_code: '40020105' }],
    [{ kind: 'own', name: '40000001' }, 502, 'PROVIDER_REJECTED', { vendor_code: '40000001' }],
    [{ kind: 'refuse', status: 403 }, 502, 'PROVIDER_REJECTED', { vendor_code: 'HTTP_403' }],
    [{ kind: 'fail_before_start' }, 504, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'refuse', status: 500 }, 504, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'fail_midway' }, 504, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'cut' }, 504, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'hang' }, 504, 'PROVIDER_TIMEOUT', undefined],
  ] as const;
  for (const [fault, status, code, details] of rows) {
    nls.faults.add(fault);
    const answer = await read(world, body, 'audio/pcm');
    assert.deepEqual([answer.status, answer.error.code], [status, code], JSON.stringify(fault));
    assert.deepEqual(answer.error.details, details);
  }
  assert.equal((await read(world, body, 'audio/pcm')).data.text, ORDER, 'and then it works');
  await assertClean(world);
  const wrong = await read(world, body, 'audio/pcm', '?sample_rate=8000');
  assert.deepEqual(wrong.error.details, { vendor_code: '40000003' });
});

test('without an account there is nothing to speak to; a client that leaves takes the vendor with it', async (t) => {
  const world = await start(t, null);
  const { httpUrl } = world.server.app;
  assert.equal((await read(world, Buffer.alloc(320), 'audio/pcm')).status, 422);
  assert.equal((await say(world, { text: 'Hello.' })).status, 422);
  for (const kind of ['asr', 'tts']) {
    const refusal = await trySocket(t, `${httpUrl}/api/v1/aliyun/${kind}/stream`, {
      headers: AUTH,
    });
    assert.ok('status' in refusal);
    assert.deepEqual([refusal.status, refusal.code], [422, 'PROVIDER_NOT_CONFIGURED']);
  }
  world.vendor.keys.set('speech-key-id', 'speech-secret');
  const keys = { access_key_id: 'speech-key-id', access_key_secret: 'speech-secret' };
  await world.server.post('/api/v1/aliyun/config', { ...keys, app_key: 'app16' });
  world.nls.faults.add({ kind: 'hang' });
  const left = request(`${httpUrl}/api/v1/aliyun/asr`, {
    ...{ method: 'POST', headers: { ...AUTH, 'content-type': 'audio/pcm' }, agent: false },
  });
  const gone = once(left, 'error');
  left.end(Buffer.alloc(32_000));
  await until('the vendor was asked', () => world.nls.messages.length === 1);
  left.destroy(new Error('the client leaves'));
  await gone;
  await until('the vendor is left too', () => world.nls.server.open === 0, 1_000);
  assert.doesNotMatch(world.lines.join('\n'), /INTERNAL/);
  await assertClean(world);
});

// ---- A text said ----

async function say({ server }: World, body: object): Promise<Response> {
  return fetch(`${server.app.httpUrl}/api/v1/aliyun/tts`, {
    ...{ method: 'POST', headers: { ...AUTH, 'content-type': 'application/json' } },
    body: JSON.stringify(body),
  });
}

const LONG = 'Your order was found and it comes tomorrow morning. '.repeat(38).trimEnd();
const LONG_WORDS = 9 * 38;

test('texts are said in every format, as one stream however many requests they take', async (t) => {
  const world = await start(t);
  const rows = [
    [{ text: '您好，世界。' }, 'audio/pcm;rate=16000', 4 * 6_400],
    [{ text: '您好。', sample_rate: 8000, volume: 80 }, 'audio/pcm;rate=8000', 2 * 3_200],
    [{ text: LONG, sample_rate: 8000 }, 'audio/pcm;rate=8000', LONG_WORDS * 3_200],
    [{ text: 'One two.', format: 'wav' }, 'audio/wav', 44 + 2 * 6_400],
    [{ text: LONG, format: 'wav', sample_rate: 8000 }, 'audio/wav', 44 + LONG_WORDS * 3_200],
    [{ text: 'One two.', format: 'mp3', sample_rate: 24000 }, 'audio/mpeg', 4 * 480],
    [{ text: 'One. Two.', voice: 'longxiaochun' }, 'audio/pcm;rate=16000', 2 * 6_400],
    [{ text: 'One two.', voice: 'longxiaochun', format: 'wav' }, 'audio/wav', 44 + 2 * 6_400],
  ] as const;
  for (const [body, type, bytes] of rows) {
    const response = await say(world, body);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), type);
    assert.equal(response.headers.get('transfer-encoding'), 'chunked');
    const sound = Buffer.from(await response.arrayBuffer());
    assert.equal(sound.length, bytes, JSON.stringify(body).slice(0, 80));
    if (type === 'audio/wav') {
      assert.equal(sound.toString('latin1', 0, 4), 'RIFF');
      assert.equal(sound.readUInt32LE(40), 0xff_ff_ff_ff, 'nobody knows how long it will be');
    }
  }
  const spoke = world.nls.messages.filter(({ payload }) => typeof payload['text'] === 'string');
  assert.ok(spoke.every(({ payload }) => String(payload['text']).length <= 300));
  await assertClean(world);
});

test('a voice that fails: before the first sound it is a refusal, later the answer has no end', async (t) => {
  const world = await start(t);
  const rows = [
    [{ kind: 'own', name: '40000005' }, 502, { vendor_code: '40000005' }],
    [{ kind: 'hang' }, 504, undefined],
  ] as const;
  for (const [fault, status, details] of rows) {
    world.nls.faults.add(fault);
    const response = await say(world, { text: 'Hello.' });
    assert.equal(response.status, status);
    const { error } = (await response.json()) as Answer;
    assert.deepEqual(error.details, details);
  }
  world.nls.faults.add({ kind: 'fail_before_start' });
  assert.equal((await say(world, { text: 'Hello.' })).status, 200, 'it is tried once more');
  world.nls.faults.add({ kind: 'cut' });
  const cut = await say(world, { text: LONG });
  assert.equal(cut.status, 200);
  await assert.rejects(cut.arrayBuffer());
  const left = await say(world, { text: LONG, sample_rate: 24000 });
  await left.body?.cancel();
  await assertClean(world);
  const nobody = await say(world, { text: 'Hello.', voice: 'nobody' });
  assert.deepEqual(((await nobody.json()) as Answer).error.details, { vendor_code: '40000003' });
});

test('a token that the gateway no longer takes is told after one try to renew it', async (t) => {
  const world = await start(t);
  assert.equal((await say(world, { text: 'Hello.' })).status, 200);
  world.good.has = () => false;
  const answer = await say(world, { text: 'Hello.' });
  assert.equal(answer.status, 502);
  assert.deepEqual(((await answer.json()) as Answer).error.details, { vendor_code: '40000001' });
  assert.equal(world.vendor.requests, 1, 'one that is quite new is not fetched again');
  await assertClean(world);
});

// ---- The sockets ----

const streamOf = (t: TestContext, { server }: World, kind: 'asr' | 'tts'): Promise<Client> =>
  openSocket(t, `${server.app.httpUrl}/api/v1/aliyun/${kind}/stream`, { headers: AUTH });

async function speakInto(client: Client, pcm: Int16Array, step: number): Promise<void> {
  const bytes = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  for (let at = 0; at < bytes.length; at += step) {
    client.send(bytes.subarray(at, at + step));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('speech is read as it is spoken, in frames of any size', async (t) => {
  const world = await start(t);
  for (const step of [3_200, 1_001, 64_000]) {
    const client = await streamOf(t, world, 'asr');
    client.send({ type: 'start', sample_rate: 16000, interim: true, punctuation: true });
    await speakInto(client, doubled(twoSentences()), step);
    client.send({ type: 'stop' });
    assert.equal((await client.closed).code, 1000);
    const finals = client.frames.filter(({ type }) => type === 'final');
    assert.deepEqual(
      client.frames.map(({ type }) => type),
      ['ready', 'partial', 'final', 'partial', 'final', 'done'],
    );
    assert.deepEqual(
      finals.map(({ index, text, confidence }) => [index, text, confidence]),
      [
        [1, ORDER, 0.93],
        [2, STOP, 0.93],
      ],
    );
    const partial = client.frames[1] ?? {};
    assert.deepEqual(Object.keys(partial), ['type', 'index', 'text', 'begin_ms']);
    const [first, second] = finals.map(({ begin_ms: begin, end_ms: end }) =>
      [begin, end].map(Number),
    );
    assert.ok(
      first && (first[0] ?? 99) < 60 && Math.abs((first[1] ?? 0) - 330) < 60,
      inspect(first),
    );
    assert.ok(second && Math.abs((second[0] ?? 0) - 1_340) < 60, inspect(second));
  }
  await assertClean(world);
});

test('the recogniser’s socket: what is refused, and how it ends', async (t) => {
  const world = await start(t);
  const early = await streamOf(t, world, 'asr');
  early.send(Buffer.alloc(320));
  assert.equal((await early.closed).code, 1003);

  const wrong = await streamOf(t, world, 'asr');
  wrong.send({ type: 'start', sample_rate: 44100 });
  assert.equal((await wrong.frame('error'))['code'], 'VALIDATION_FAILED');
  wrong.send({ type: 'stop' });
  assert.equal((await wrong.frame('error', 2))['code'], 'INVALID_STATE');
  wrong.send({ type: 'sing' });
  assert.equal((await wrong.frame('error', 3))['code'], 'BAD_FRAME');
  wrong.send({ type: 'start', interim: false });
  await wrong.frame('ready');
  wrong.send({ type: 'start' });
  assert.equal((await wrong.frame('error', 4))['code'], 'INVALID_STATE');
  wrong.socket.terminate();
  await until('its session ends', () => world.nls.server.open === 0);

  const rows = [
    [{ kind: 'own', name: '40000005' }, 'PROVIDER_REJECTED', { vendor_code: '40000005' }],
    [{ kind: 'fail_midway' }, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'cut' }, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'recycle' }, 'PROVIDER_TIMEOUT', undefined],
    [{ kind: 'junk' }, 'PROVIDER_TIMEOUT', undefined],
  ] as const;
  for (const [fault, code, details] of rows) {
    world.nls.faults.add(fault);
    const client = await streamOf(t, world, 'asr');
    client.send({ type: 'start', sample_rate: 16000 });
    client.send(Buffer.from(doubled(spoken(1, 500)).buffer));
    const error = await client.frame('error');
    assert.deepEqual([error['code'], error['details']], [code, details], fault.kind);
    assert.equal((await client.closed).code, 1011);
  }
  await assertClean(world);
});

test('a text is said as it is written: flowing voices in one task, others sentence by sentence', async (t) => {
  const world = await start(t);
  const pieces = ['Your or', 'der is fou', 'nd. It co', 'mes tomorrow', '.'];
  for (const [voice, tasks] of [
    ['longxiaochun', 1],
    ['xiaoyun', 2],
  ] as const) {
    const before = world.nls.messages.length;
    const client = await streamOf(t, world, 'tts');
    client.send({ type: 'start', voice, sample_rate: 8000 });
    await client.frame('ready');
    for (const text of pieces) client.send({ type: 'text', text });
    client.send({ type: 'stop' });
    assert.equal((await client.closed).code, 1000);
    assert.equal(Buffer.concat(client.audio).length, 7 * 3_200, voice);
    assert.equal(client.order.at(0), 'ready');
    assert.equal(client.order.at(-1), 'done');
    const ids = world.nls.messages.slice(before).map(({ header }) => header['task_id']);
    assert.equal(new Set(ids).size, tasks, voice);
  }
  await assertClean(world);
});

test('a client that reads slowly loses nothing', async (t) => {
  const world = await start(t);
  const client = await streamOf(t, world, 'tts');
  client.send({ type: 'start', voice: 'longxiaochun', sample_rate: 24000 });
  await client.frame('ready');
  client.send({ type: 'text', text: LONG });
  client.send({ type: 'stop' });
  await client.heard(1);
  client.socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 300));
  client.socket.resume();
  assert.equal((await client.closed).code, 1000);
  assert.equal(Buffer.concat(client.audio).length, LONG_WORDS * 9_600);
  await assertClean(world);
});

test('the voice’s socket: what is refused, and how it ends', async (t) => {
  const world = await start(t);
  const binary = await streamOf(t, world, 'tts');
  binary.send(Buffer.alloc(10));
  assert.equal((await binary.closed).code, 1003);

  const wrong = await streamOf(t, world, 'tts');
  const codes = ['INVALID_STATE', 'VALIDATION_FAILED', 'VALIDATION_FAILED', 'BAD_FRAME'];
  const frames = [
    { type: 'text', text: 'x' },
    { type: 'start', format: 'ogg' },
    { type: 'start', volume: 101 },
    { type: 'sing' },
  ];
  for (const [i, frame] of frames.entries()) {
    wrong.send(frame);
    assert.equal((await wrong.frame('error', i + 1))['code'], codes[i]);
  }
  wrong.send({ type: 'start' });
  wrong.send({ type: 'text', text: '' });
  assert.equal((await wrong.frame('error', 5))['code'], 'VALIDATION_FAILED');
  wrong.send({ type: 'stop' });
  assert.equal((await wrong.closed).code, 1000);

  for (const [fault, code] of [
    [{ kind: 'own', name: '40000005' }, 'PROVIDER_REJECTED'],
    [{ kind: 'fail_midway' }, 'PROVIDER_TIMEOUT'],
    [{ kind: 'swapped' }, 'PROVIDER_TIMEOUT'],
  ] as const) {
    world.nls.faults.add(fault);
    const client = await streamOf(t, world, 'tts');
    client.send({ type: 'start', voice: 'longxiaochun' });
    client.send({ type: 'text', text: 'One two three four five.' });
    const error = await client.frame('error');
    assert.equal(error['code'], code, fault.kind);
    assert.equal((await client.closed).code, 1011);
  }
  const left = await streamOf(t, world, 'tts');
  left.send({ type: 'start', voice: 'longxiaochun' });
  left.send({ type: 'text', text: LONG });
  await left.heard(1);
  left.socket.terminate();
  await assertClean(world);
});
