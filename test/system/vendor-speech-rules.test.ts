/** That the simulated iFlytek and DashScope refuse what the vendors do: clients that break the rules, row by row. */
import assert from 'node:assert/strict';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { SimulatedClock } from '#lib/clock.ts';
import { SIM_DASHSCOPE_KEY, startSimDashscope } from '#providers/sim/dashscope.ts';
import { SIM_IFLYTEK_ACCOUNT, startSimIflytek, type SimIflytek } from '#providers/sim/iflytek.ts';
import { until } from './_aliyun-nls.ts';
import { pass } from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

type Json = Record<string, unknown>;
type Raw = {
  readonly texts: Json[];
  readonly isClosed: () => boolean;
  send(...messages: (Json | Buffer | string)[]): void;
};

/** A client that does as it is told. */
async function raw(
  t: TestContext,
  url: string,
  headers: Record<string, string> = {},
): Promise<Raw> {
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  atEnd(t, () => socket.terminate());
  const texts: Json[] = [];
  let isClosed = false;
  socket.on('message', (data, isBinary) => {
    if (!isBinary) texts.push(JSON.parse((data as Buffer).toString('utf8')) as Json);
  });
  socket.on('close', () => (isClosed = true));
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  return {
    ...{ texts, isClosed: () => isClosed },
    send: (...messages) => {
      for (const each of messages) {
        const isPlain = Buffer.isBuffer(each) || typeof each === 'string';
        socket.send(isPlain ? each : JSON.stringify(each));
      }
    },
  };
}

const { appId, apiKey, apiSecret } = SIM_IFLYTEK_ACCOUNT;

/** As providers.md 3.1 has it, apart from the client's own code. */
function signed(address: string, date: string, secret = apiSecret): string {
  const { host, pathname } = new URL(address);
  const origin = `host: ${host}\ndate: ${date}\nGET ${pathname} HTTP/1.1`;
  const signature = createHmac('sha256', secret).update(origin).digest('base64');
  const header = `api_key="${apiKey}", algorithm="hmac-sha256", headers="host date request-line", signature="${signature}"`;
  const authorization = Buffer.from(header).toString('base64');
  const query = { authorization, date, host };
  const parts = Object.entries(query).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  return `${address}?${parts.join('&')}`;
}

async function iflytek(t: TestContext): Promise<{ sim: SimIflytek; clock: SimulatedClock }> {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 20));
  const sim = await startSimIflytek({ clock });
  atEnd(t, () => sim.close());
  return { sim, clock };
}

/** What the refused handshake says. */
async function refusalOf(url: string, headers: Record<string, string> = {}): Promise<string> {
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  return new Promise((resolve, reject) => {
    socket.on('open', () => reject(new Error('it was let in')));
    socket.on('error', reject);
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => resolve(`${response.statusCode ?? 0} ${body}`));
    });
  });
}

async function untilTime(clock: SimulatedClock, isIt: () => boolean): Promise<void> {
  for (let n = 0; n < 500 && !isIt(); n++) await pass(clock, 20);
  assert.ok(isIt());
}

const audio = (ms: number, rateHz = 8_000): string =>
  Buffer.alloc((ms * rateHz * 2) / 1000).toString('base64');
const frame = (status: number, more: Json = {}): Json => ({
  data: {
    ...{ status, format: 'audio/L16;rate=8000', encoding: 'raw', audio: audio(40) },
    ...more,
  },
});
const first = (business: Json = {}, data: Json = {}, app = appId): Json => ({
  common: { app_id: app },
  business: {
    ...{ language: 'zh_cn', domain: 'iat', accent: 'mandarin', dwa: 'wpgs', vad_eos: 2_000 },
    ...business,
  },
  ...frame(0, data),
});

describe('iFlytek', { concurrency: 6 }, () => {
  test('handshakes: signature, time within 300 s, address', async (t) => {
    const { sim, clock } = await iflytek(t);
    const at = (skewS: number): string => new Date(clock.wallMs() + skewS * 1000).toUTCString();
    for (const url of [sim.urls.iat, sim.urls.spark, sim.urls.tts, sim.urls.oral]) {
      await raw(t, signed(url, at(299)));
      for (const skewS of [301, -301]) {
        assert.match(await refusalOf(signed(url, at(skewS))), /^403 \{"message":/);
      }
      assert.match(await refusalOf(signed(url, at(0), 'another')), /^401 \{"message":/);
      assert.match(await refusalOf(url), /^401 /);
      const other = signed(url, at(0)).replace(/host=[^&]*$/, 'host=example.com');
      assert.match(await refusalOf(other), /^403 /);
      assert.match(await refusalOf(signed(url, '2026-11-20')), /^403 /);
    }
    assert.match(await refusalOf(`${sim.server.wsUrl}/v3/other`), /^404/);
  });

  test('dictation: order, formats, frames', async (t) => {
    const { sim, clock } = await iflytek(t);
    const rows: [string, (Json | string | Buffer)[], number][] = [
      ['no JSON', ['{'], 10160],
      ['binary', [Buffer.alloc(640)], 10160],
      ['begun in the middle', [frame(1)], 10163],
      ['another app', [first({}, {}, 'other')], 10313],
      ['another language', [first({ language: 'xx' })], 10139],
      ['another rate', [first({}, { format: 'audio/L16;rate=44100' })], 10163],
      ['another coding', [first({}, { encoding: 'mp3' })], 10163],
      ['no base64', [first({}, { audio: '!' })], 10161],
      ['begun twice', [first(), first()], 10163],
      ['behind the end', [first(), { data: { status: 2 } }, frame(1)], 10163],
    ];
    for (const [name, messages, code] of rows) {
      const client = await raw(t, signed(sim.urls.iat, new Date(clock.wallMs()).toUTCString()));
      client.send(...messages);
      await untilTime(clock, () => client.texts.some((each) => each['code'] !== 0));
      assert.equal(client.texts.find((each) => each['code'] !== 0)?.['code'], code, name);
      await until('closed', () => client.isClosed());
    }
    assert.equal(sim.violations.length, rows.length);
    const client = await raw(t, signed(sim.urls.iat, new Date(clock.wallMs()).toUTCString()));
    client.send(first(), frame(1, { audio: audio(80) }), frame(1, { audio: audio(20) }), frame(1));
    await until('noted', () => sim.violations.length === rows.length + 2);
    assert.match(sim.violations.at(-2) ?? '', /a frame of 1280 bytes/);
    assert.match(sim.violations.at(-1) ?? '', /a short frame/);
  });

  test('patience: 10 s between frames and 60 s in all for dictation, 15 s for transcription', async (t) => {
    const { sim, clock } = await iflytek(t);
    const now = (): string => new Date(clock.wallMs()).toUTCString();
    const quiet = await raw(t, signed(sim.urls.iat, now()));
    quiet.send(first());
    await until('begun', () => sim.messages.length === 1);
    await pass(clock, 9_900);
    assert.deepEqual(quiet.texts, []);
    await pass(clock, 200);
    await until('told', () => quiet.texts[0]?.['code'] === 10200);
    const busy = await raw(t, signed(sim.urls.iat, now()));
    busy.send(first());
    let count = 0;
    await pass(clock, 60_200, () => count++ % 50 === 0 && busy.send(frame(1)));
    await until('told', () => busy.texts.some((each) => each['code'] === 10114));
    const timeS = String(Math.floor(clock.wallMs() / 1000));
    const digest = createHash('md5').update(`${appId}${timeS}`).digest('hex');
    const signa = createHmac('sha1', apiKey).update(digest).digest('base64');
    const query = `appid=${appId}&ts=${timeS}&signa=${encodeURIComponent(signa)}&lang=cn`;
    const call = await raw(t, `${sim.urls.rtasr}?${query}`);
    await untilTime(clock, () => call.texts.some((each) => each['action'] === 'started'));
    await pass(clock, 15_200);
    await until('told', () => call.texts.some((each) => each['code'] === '10165'));
    const early = await raw(t, `${sim.urls.rtasr}?${query}`);
    early.send(Buffer.alloc(1_280));
    await until('told', () => early.texts.some((each) => each['action'] === 'error'));
    const wrong = await raw(t, `${sim.urls.rtasr}?${query.replace(/signa=../, 'signa=xx')}`);
    await untilTime(clock, () => wrong.texts.some((each) => each['code'] === '10105'));
  });

  test('voices: one request a connection, whole, of less than 8,000 bytes, with numbers that rise', async (t) => {
    const { sim, clock } = await iflytek(t);
    const plain = (text: string, more: Json = {}): Json => ({
      common: { app_id: appId },
      business: {
        ...{ aue: 'raw', auf: 'audio/L16;rate=8000', vcn: 'xiaoyan', tte: 'UTF8' },
        ...{ speed: 50, volume: 50, pitch: 50, ...more },
      },
      data: { status: 2, text: Buffer.from(text).toString('base64') },
    });
    const oral = (status: number, seq: number, text = '好'): Json => ({
      header: { app_id: appId, status },
      parameter: {
        tts: {
          ...{ vcn: 'x', speed: 50, volume: 50, pitch: 50 },
          audio: { encoding: 'raw', sample_rate: 8_000, channels: 1, bit_depth: 16 },
        },
      },
      payload: {
        text: {
          ...{ encoding: 'utf8', compress: 'raw', format: 'plain', status, seq },
          text: Buffer.from(text).toString('base64'),
        },
      },
    });
    const rows: [string, string, Json[], number][] = [
      ['too long', sim.urls.tts, [plain('好'.repeat(2_700))], 10109],
      ['a rate of others', sim.urls.tts, [plain('好', { auf: 'audio/L16;rate=24000' })], 10163],
      ['too fast', sim.urls.tts, [plain('好', { speed: 101 })], 10163],
      ['two requests', sim.urls.tts, [plain('好'), plain('好')], 10163],
      ['begun in the middle', sim.urls.oral, [oral(1, 0)], 10163],
      ['a number left out', sim.urls.oral, [oral(0, 0), oral(1, 2)], 10163],
      ['behind the end', sim.urls.oral, [oral(2, 0), oral(2, 1)], 10163],
    ];
    const codeOf = (each: Json): number =>
      Number(each['code'] ?? (each['header'] as Json | undefined)?.['code']);
    for (const [name, url, messages, code] of rows) {
      const client = await raw(t, signed(url, new Date(clock.wallMs()).toUTCString()));
      client.send(...messages);
      await untilTime(clock, () => client.texts.some((each) => codeOf(each) !== 0));
      assert.ok(client.texts.map(codeOf).includes(code), name);
    }
    const streamed = await raw(t, signed(sim.urls.oral, new Date(clock.wallMs()).toUTCString()));
    streamed.send(oral(0, 0, '您'), oral(1, 1, '好'), oral(2, 2, '。'));
    await untilTime(clock, () => streamed.isClosed());
    assert.equal(((streamed.texts.at(-1)?.['header'] ?? {}) as Json)['status'], 2);
    assert.equal(sim.violations.length, rows.length);
  });
});

describe('DashScope', { concurrency: 6 }, () => {
  const auth = { authorization: `Bearer ${SIM_DASHSCOPE_KEY}` };
  const task = (id: string, more: Json = {}, parameters: Json = {}): Json => ({
    header: { action: 'run-task', task_id: id, streaming: 'duplex' },
    payload: {
      ...{ task_group: 'audio', task: 'asr', function: 'recognition', input: {} },
      ...{ model: 'paraformer-realtime-8k-v2', ...more },
      parameters: { format: 'pcm', sample_rate: 8_000, ...parameters },
    },
  });
  const voice = (id: string, parameters: Json = {}): Json =>
    task(
      id,
      { task: 'tts', function: 'SpeechSynthesizer', model: 'cosyvoice-v2' },
      { text_type: 'PlainText', voice: 'v', ...parameters },
    );
  const then = (action: string, id: string, input: Json = {}): Json => ({
    header: { action, task_id: id, streaming: 'duplex' },
    payload: { input },
  });
  const eventOf = (each: Json): unknown => (each['header'] as Json | undefined)?.['event'];

  test('handshakes: the key, the address, the model', async (t) => {
    const sim = await startSimDashscope({ clock: new SimulatedClock() });
    atEnd(t, () => sim.close());
    assert.match(await refusalOf(sim.inferenceUrl), /^401 \{"code":"InvalidApiKey"/);
    assert.match(await refusalOf(sim.realtimeUrl, auth), /^400 /);
    assert.match(await refusalOf(`${sim.inferenceUrl}/x`, auth), /^404/);
  });

  test('tasks: order, ids, rates, formats', async (t) => {
    const clock = new SimulatedClock();
    const sim = await startSimDashscope({ clock });
    atEnd(t, () => sim.close());
    const used = randomUUID();
    const fresh = (): string => randomUUID();
    const [a, b, c] = [fresh(), fresh(), fresh()];
    const rows: [string, (Json | Buffer | string)[]][] = [
      ['no JSON', ['x']],
      ['no uuid', [task('1')]],
      ['audio without a task', [Buffer.alloc(1_600)]],
      ['audio before task-started', [task(used), Buffer.alloc(1_600)]],
      ['an id used before', [task(used)]],
      ['two tasks at once', [task(a), task(fresh())]],
      ['16 kHz to a model of 8', [task(fresh(), {}, { sample_rate: 16_000 })]],
      ['8 kHz to a model of 16', [task(fresh(), { model: 'paraformer-realtime-v2' })]],
      ['a model that is not here', [task(fresh(), { model: 'other' })]],
      ['another format', [task(fresh(), {}, { format: 'mp3' })]],
      ['text before task-started', [voice(b), then('continue-task', b, { text: 'x' })]],
      ['the end of another task', [voice(c), then('finish-task', fresh())]],
      ['no voice', [voice(fresh(), { voice: '' })]],
      ['a rate that no voice has', [voice(fresh(), { sample_rate: 11_025 })]],
    ];
    for (const [n, [name, messages]] of rows.entries()) {
      const client = await raw(t, sim.inferenceUrl, auth);
      client.send(...messages);
      await until(name, () => client.texts.some((each) => eventOf(each) === 'task-failed'));
      await until('closed', () => client.isClosed());
      assert.equal(sim.violations.length, n + 1, name);
    }
  });

  test('patience: 60 s without sound, silence counting only with a heartbeat; 23 s without text', async (t) => {
    const clock = new SimulatedClock();
    const sim = await startSimDashscope({ clock });
    atEnd(t, () => sim.close());
    const started = async (message: Json): Promise<Raw> => {
      const client = await raw(t, sim.inferenceUrl, auth);
      client.send(message);
      await untilTime(clock, () => client.texts.some((each) => eventOf(each) === 'task-started'));
      return client;
    };
    const plain = await started(task(randomUUID()));
    const beating = await started(task(randomUUID(), {}, { heartbeat: true }));
    await pass(clock, 60_200, () => {
      plain.send(Buffer.alloc(1_600));
      beating.send(Buffer.alloc(1_600));
    });
    await until('told', () => plain.texts.some((each) => eventOf(each) === 'task-failed'));
    const failed = plain.texts.find((each) => eventOf(each) === 'task-failed')?.['header'] as Json;
    assert.equal(failed['error_message'], 'Response timeout!');
    assert.ok(beating.texts.every((each) => eventOf(each) !== 'task-failed'));
    assert.ok(JSON.stringify(beating.texts).includes('"heartbeat":true'));
    const speaker = await started(voice(randomUUID()));
    await pass(clock, 23_200);
    await until('told', () => speaker.texts.some((each) => eventOf(each) === 'task-failed'));
    assert.equal(sim.expired.length, 2);
    assert.deepEqual(sim.violations, []);
  });

  test('Qwen-TTS: order and settings of a session', async (t) => {
    const clock = new SimulatedClock();
    const sim = await startSimDashscope({ clock });
    atEnd(t, () => sim.close());
    const say = (type: string, more: Json = {}): Json => ({ type, event_id: 'e', ...more });
    const good = {
      ...{ mode: 'server_commit', voice: 'Cherry', response_format: 'pcm', sample_rate: 24_000 },
    };
    const update = (more: Json = {}): Json =>
      say('session.update', { session: { ...good, ...more } });
    const append = say('input_text_buffer.append', { text: 'x' });
    const rows: [string, (Json | Buffer)[]][] = [
      ['text before the settings', [append]],
      ['another rate', [update({ sample_rate: 8_000 })]],
      ['another mode', [update({ mode: 'other' })]],
      ['an unknown setting', [update({ loudness: 1 })]],
      ['settings in mid-speech', [update(), append, update()]],
      ['text behind the end', [update(), append, say('session.finish'), append]],
      ['binary data', [Buffer.alloc(10)]],
    ];
    for (const [n, [name, messages]] of rows.entries()) {
      const client = await raw(t, `${sim.realtimeUrl}?model=m`, auth);
      client.send(...messages);
      await until(name, () => client.texts.some((each) => each['type'] === 'error'));
      assert.equal(sim.violations.length, n + 1, name);
    }
  });
});
