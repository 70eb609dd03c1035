/** That the simulated Tencent, Baidu and MiniMax refuse what the vendors do: clients that break the rules, row by row. */
import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { systemClock } from '#lib/clock.ts';
import { startSimBaidu } from '#providers/sim/baidu.ts';
import { startSimMinimax } from '#providers/sim/minimax.ts';
import { startSimTencent } from '#providers/sim/tencent.ts';
import { atEnd } from './_store.ts';

type Json = Record<string, unknown>;

/** A client that does as it is told: sends texts as JSON and buffers as they are, and gathers what comes until the end. */
type Raw = {
  readonly texts: Json[];
  readonly bytes: () => number;
  send(...messages: (Json | Buffer | string)[]): void;
  until(isIt: () => boolean): Promise<void>;
  readonly ended: Promise<void>;
  close(): void;
};

async function raw(url: string, headers: Record<string, string> = {}): Promise<Raw> {
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  const texts: Json[] = [];
  let bytes = 0;
  socket.on('message', (data, isBinary) => {
    if (isBinary) bytes += (data as Buffer).length;
    else texts.push(JSON.parse((data as Buffer).toString('utf8')) as Json);
  });
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  return {
    ...{ texts, ended, bytes: () => bytes },
    send: (...messages) => {
      for (const each of messages)
        socket.send(
          Buffer.isBuffer(each) || typeof each === 'string' ? each : JSON.stringify(each),
        );
    },
    async until(isIt) {
      for (let n = 0; n < 400 && !isIt(); n++) await new Promise((r) => setTimeout(r, 5));
      assert.ok(isIt(), JSON.stringify(texts));
    },
    close: () => socket.close(),
  };
}

function sent(client: Raw, ...messages: (Json | Buffer)[]): Raw {
  client.send(...messages);
  return client;
}

// ---- Tencent ----

const SECRET_KEY = 'made-up-secret';
const ACCOUNT = { appId: '1', secretId: 'AKIDEXAMPLE', secretKey: SECRET_KEY };

function signed(base: string, address: string, name: string, parameters: Json): string {
  const pairs = Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = `${address}?${pairs.map(([key, value]) => `${key}=${String(value)}`).join('&')}`;
  const signature = createHmac('sha1', SECRET_KEY).update(text).digest('base64');
  const all = pairs.map(([key, value]): [string, string] => [key, String(value)]);
  return `${base}?${new URLSearchParams([...all, [name, signature]]).toString()}`;
}

const nowS = (): number => Math.floor(Date.now() / 1000);

function ears(changes: Json = {}): Json {
  return {
    ...{ secretid: 'AKIDEXAMPLE', timestamp: nowS(), expired: nowS() + 60, nonce: 5, needvad: 1 },
    ...{ engine_model_type: '8k_zh', voice_id: randomUUID(), voice_format: 1, ...changes },
  };
}

function voice(changes: Json = {}): Json {
  return {
    ...{ Action: 'TextToStreamAudioWSv2', AppId: 1, SecretId: 'AKIDEXAMPLE', ModelType: 1 },
    ...{ VoiceType: 101001, Codec: 'pcm', SampleRate: 8000, Speed: 0, Volume: 0 },
    ...{ SessionId: randomUUID(), EnableSubtitle: 'False', Timestamp: nowS(), ...changes },
    Expired: changes['Expired'] ?? nowS() + 60,
  };
}

test('Tencent’s recogniser refuses by the vendor’s codes', async (t) => {
  const sim = await startSimTencent({ ...ACCOUNT, clock: systemClock, asrIdleMs: 150, maxEars: 2 });
  atEnd(t, () => sim.close());
  const open = (parameters: Json): Promise<Raw> =>
    raw(signed(`${sim.asrUrl}/1`, 'asr.cloud.tencent.com/asr/v2/1', 'signature', parameters));
  const started = async (parameters = ears()): Promise<Raw> => {
    const client = await open(parameters);
    await client.until(() => client.texts.length === 1);
    return client;
  };
  const used = ears();
  const frame = Buffer.alloc(640);
  const rows: readonly (readonly [string, number, () => Promise<Raw>])[] = [
    ['no voice_id', 4001, () => open(ears({ voice_id: '' }))],
    ['an unknown engine', 4001, () => open(ears({ engine_model_type: '9k_zh' }))],
    ['a long nonce', 4001, () => open(ears({ nonce: '12345678901' }))],
    ['a short silence', 4001, () => open(ears({ vad_silence_time: 100 }))],
    ['an expired signature', 4002, () => open(ears({ timestamp: 5, expired: 10 }))],
    ['91 days', 4002, () => open(ears({ expired: nowS() + 91 * 86_400 }))],
    ['another secret id', 4002, () => open(ears({ secretid: 'X' }))],
    [
      'a wrong signature',
      4002,
      () => raw(`${sim.asrUrl}/1?${new URLSearchParams(ears() as never).toString()}`),
    ],
    [
      'a voice_id used again',
      4001,
      async () => {
        (await started(used)).close();
        return open({ ...used, nonce: 6 });
      },
    ],
    [
      'audio before the start',
      4001,
      () => {
        sim.faults.add({ kind: 'hang' });
        return open(ears()).then((client) => sent(client, frame));
      },
    ],
    ['half a sample', 4007, async () => sent(await started(), Buffer.alloc(641))],
    ['another message', 4010, async () => sent(await started(), { type: 'stop' })],
    [
      '3 s of audio at once',
      4000,
      async () => sent(await started(), ...Array<Buffer>(76).fill(frame)),
    ],
    ['no audio', 4008, () => started()],
  ];
  for (const [name, code, act] of rows) {
    const client = await act();
    await client.ended;
    assert.equal(client.texts.at(-1)?.['code'], code, name);
  }
  const exactly = await started();
  exactly.send(...Array<Buffer>(75).fill(frame), { type: 'end' });
  await exactly.ended;
  assert.deepEqual([exactly.texts.at(-1)?.['code'], exactly.texts.at(-1)?.['final']], [0, 1]);
  const [first, second] = [await started(), await started()];
  const third = await open(ears());
  await third.ended;
  assert.equal(third.texts[0]?.['code'], 4006);
  for (const client of [first, second]) client.close();
  // What the vendor could not know (a wrong key, silence) is no violation.
  assert.equal(sim.violations.length, 9);
});

test('Tencent’s voice says nothing before a sentence’s end, and nothing after a reset', async (t) => {
  const sim = await startSimTencent({ ...ACCOUNT, clock: systemClock, ttsIdleMs: 150 });
  atEnd(t, () => sim.close());
  const open = async (parameters: Json): Promise<Raw> =>
    raw(signed(sim.ttsUrl, 'GETtts.cloud.tencent.com/stream_wsv2', 'Signature', parameters));
  const parameters = voice();
  const act = (action: string, data = ''): Json => ({
    ...{ session_id: parameters['SessionId'], message_id: randomUUID(), action, data },
  });
  const client = await open(parameters);
  await client.until(() => client.texts.some(({ ready }) => ready === 1));
  client.send(act('ACTION_SYNTHESIS', 'One two, three. Four'));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(client.bytes(), 0, 'a full stop ends no sentence here');
  client.send(act('ACTION_RESET'), act('ACTION_SYNTHESIS', 'Five！six'));
  await client.until(
    () => client.texts.some(({ reset }) => reset === 1) && client.bytes() === 3200,
  );
  client.send(act('ACTION_COMPLETE'));
  await client.ended;
  assert.equal(client.bytes(), 6400);
  assert.equal(client.texts.at(-1)?.['final'], 1);
  assert.deepEqual(sim.violations, []);
  const rows: readonly (readonly [string, Json, ((id: unknown) => Json[]) | null])[] = [
    ['a SampleRate', voice({ SampleRate: 11025 }), null],
    ['a Speed', voice({ Speed: 7 }), null],
    ['a session used again', parameters, null],
    ['a foreign session', voice(), () => [act('ACTION_SYNTHESIS', 'x')]],
    ['an action', voice(), (id) => [{ ...act('ACTION_STOP'), session_id: id }]],
    [
      'too long a text',
      voice(),
      (id) => [{ ...act('ACTION_SYNTHESIS', 'x'.repeat(10_001)), session_id: id }],
    ],
    [
      'text after the end',
      voice(),
      (id) =>
        ['COMPLETE', 'SYNTHESIS'].map((name) => ({ ...act(`ACTION_${name}`), session_id: id })),
    ],
  ];
  for (const [name, own, messages] of rows) {
    const known: number = sim.violations.length;
    const bad = await open(own);
    if (messages !== null) {
      await bad.until(() => bad.texts.some(({ ready }) => ready === 1));
      bad.send(...messages(own['SessionId']));
    }
    await bad.ended;
    assert.notEqual(bad.texts.at(-1)?.['code'], 0, name);
    assert.equal(sim.violations.length, known + 1, name);
  }
  const idle = await open(voice());
  await idle.ended;
  assert.equal(idle.texts.at(-1)?.['final'], 1, 'without text it ends by itself');
});

// ---- Baidu ----

test('Baidu refuses by its numbers', async (t) => {
  const account = { appId: 7, apiKey: 'key', secretKey: 'secret' };
  const sim = await startSimBaidu({ ...account, clock: systemClock, idleMs: 150 });
  atEnd(t, () => sim.close());
  const data = { appid: 7, appkey: 'key', dev_pid: 15372, cuid: 'c', format: 'pcm', sample: 16000 };
  const begin = (changes: Json = {}): Json => ({ type: 'START', data: { ...data, ...changes } });
  const rows: readonly (readonly [string, number, readonly (Json | Buffer)[]])[] = [
    ['audio first', -3008, [Buffer.alloc(1280)]],
    ['8 kHz', -3008, [begin({ sample: 8000 })]],
    ['appid as a text', -3008, [begin({ appid: '7' })]],
    ['no dev_pid', -3008, [begin({ dev_pid: 0 })]],
    ['another key', -3004, [begin({ appkey: 'x' })]],
    ['an unknown message', -3008, [begin(), { type: 'STOP' }]],
    ['no audio', -3101, [begin()]],
  ];
  for (const [name, number, messages] of rows) {
    const client = await raw(`${sim.asrUrl}?sn=${randomUUID()}`);
    client.send(...messages);
    await client.ended;
    assert.equal(client.texts.at(-1)?.['err_no'], number, name);
  }
  await assert.rejects(raw(`${sim.asrUrl}?x=1`), /400/);
  const serial = `${sim.asrUrl}?sn=${randomUUID()}`;
  (await raw(serial)).close();
  await assert.rejects(raw(serial), /400/);
  await assert.rejects(raw(`${sim.ttsUrl}?per=4&access_token=old`), /401/);
  await assert.rejects(raw(`${sim.ttsUrl}?per=x`, { authorization: 'Bearer key' }), /400/);
  const start = { spd: 5, pit: 5, vol: 5, aue: 5, audio_ctrl: '{"sampling_rate":8000}' };
  const starts: readonly Json[] = [
    { ...start, spd: 16 },
    { ...start, audio_ctrl: { sampling_rate: 8000 } },
    { ...start, audio_ctrl: '{"sampling_rate":16000}' },
  ];
  for (const payload of starts) {
    const client = await raw(`${sim.ttsUrl}?per=4`, { authorization: 'Bearer key' });
    client.send({ type: 'system.start', payload });
    await client.ended;
    assert.equal(client.texts.at(-1)?.['type'], 'system.error', JSON.stringify(payload));
  }
  const early = await raw(`${sim.ttsUrl}?per=4`, { authorization: 'Bearer key' });
  early.send({ type: 'system.start', payload: start }, { type: 'text', payload: { text: 'x' } });
  await early.ended;
  assert.match(String(early.texts.at(-1)?.['message']), /text while starting/);
  const answer = await fetch(sim.tokenUrl);
  assert.equal(answer.status, 400, 'a token is asked for by POST');
});

// ---- MiniMax ----

test('MiniMax refuses what is out of order, and closes after its rest', async (t) => {
  const sim = await startSimMinimax({ apiKey: 'key', clock: systemClock, idleMs: 200 });
  atEnd(t, () => sim.close());
  const start = {
    ...{ event: 'task_start', model: 'speech-2.8-turbo', voice_setting: { voice_id: 'a' } },
    audio_setting: { sample_rate: 8000, format: 'pcm', channel: 1 },
  };
  const text = { event: 'task_continue', text: 'One. Two' };
  const headers = { authorization: 'Bearer key' };
  const rows: readonly (readonly [string, readonly Json[]])[] = [
    ['text before the start', [text]],
    ['a rate', [{ ...start, audio_setting: { sample_rate: 11025, format: 'pcm' } }]],
    ['a model', [{ ...start, model: 'speech-9' }]],
    ['two starts', [start, start]],
  ];
  for (const [name, messages] of rows) {
    const client = await raw(sim.wsUrl, headers);
    await client.until(() => client.texts.length === 1);
    client.send(...messages);
    await client.ended;
    const last = client.texts.at(-1) ?? {};
    assert.equal((last['base_resp'] as Json)['status_code'], 2013, name);
  }
  const started = async (url: string): Promise<Raw> => {
    const client = await raw(url, headers);
    await client.until(() => client.texts.length === 1);
    client.send(start);
    await client.until(() => client.texts.at(-1)?.['event'] === 'task_started');
    return client;
  };
  const flushed = await started(sim.wsUrl);
  flushed.send({ event: 'task_flush' });
  await flushed.ended;
  assert.equal(flushed.texts.at(-1)?.['event'], 'task_failed', 'only the two-way socket has it');
  const wrong = await raw(sim.wsUrl, { authorization: 'Bearer x' });
  await wrong.ended;
  assert.match(JSON.stringify(wrong.texts[0]), /"status_code":1004/);
  const twoWay = await started(sim.twoWayUrl);
  const audio = (): number => twoWay.texts.filter(({ is_final: final }) => final === false).length;
  twoWay.send(text);
  await twoWay.until(() => twoWay.texts.some(({ event }) => event === 'sentence_end'));
  assert.equal(audio(), 2, 'the second sentence waits for its end');
  twoWay.send({ event: 'task_cancel' }, { event: 'task_flush' });
  await twoWay.until(() => twoWay.texts.some(({ event }) => event === 'task_flushed'));
  assert.equal(audio(), 2, 'and is not said once cancelled');
  const startMs = Date.now();
  await twoWay.ended;
  assert.ok(Date.now() - startMs < 1_000, 'rest ends it');
});
