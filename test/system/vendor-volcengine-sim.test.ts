/** That Volcengine's simulators refuse what the vendor refuses: a client that breaks one rule at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { SimulatedClock } from '#lib/clock.ts';
import { SIM_APP_ID, SIM_TOKEN, startVolcSim, type VolcSim } from '#providers/sim/volcengine.ts';
import { decodeFrame, encodeFrame, textOf, type FrameToSend } from '#providers/volcengine/frame.ts';
import { atEnd } from './_store.ts';
import { until } from './_volcengine.ts';

type Service = 'asr' | 'voice' | 'dialogue';

const PATHS: Readonly<Record<Service, readonly [string, string]>> = {
  asr: ['/api/v3/sauc/bigmodel_async', 'volc.bigasr.sauc.duration'],
  voice: ['/api/v3/tts/bidirection', 'seed-tts-1.0'],
  dialogue: ['/api/v3/realtime/dialogue', 'volc.speech.dialog'],
};

const CONNECT_ID = '67ee89ba-7050-4c04-a3d7-ac61a63499b3';

function headersOf(service: Service, more: Readonly<Record<string, string>> = {}) {
  const isDialogue = service === 'dialogue';
  return {
    [isDialogue ? 'X-Api-App-ID' : 'X-Api-App-Key']: SIM_APP_ID,
    ...(isDialogue ? { 'X-Api-App-Key': 'PlgvMymc7f3tQnJ6' } : {}),
    'X-Api-Access-Key': SIM_TOKEN,
    'X-Api-Resource-Id': PATHS[service][1],
    'X-Api-Connect-Id': CONNECT_ID,
    ...more,
  };
}

/** What the vendor says to these frames, until it is what was wanted, or the vendor closes. */
async function ask(
  sim: VolcSim,
  service: Service,
  frames: readonly Uint8Array[],
  wanted: RegExp,
): Promise<string> {
  const [path] = PATHS[service];
  const socket = new WebSocket(sim.server.wsUrl + path, { headers: headersOf(service) });
  let said = '';
  let isOver = false;
  socket.on('message', (data) => {
    const frame = decodeFrame(data as Buffer);
    const isSound = frame.event === 352;
    said += `${frame.event ?? frame.errorCode}:${isSound ? '' : textOf(frame)} `;
  });
  socket.on('close', () => (isOver = true));
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  for (const frame of frames) socket.send(frame);
  await until(`${wanted} in ${said}`, () => isOver || wanted.test(said));
  socket.terminate();
  return said;
}

function event(number: number, json: unknown = {}, sessionId?: string): Uint8Array {
  const payload = Buffer.from(JSON.stringify(json));
  const session = sessionId === undefined ? {} : { sessionId };
  return encodeFrame({ type: 1, event: number, isJson: true, payload, ...session });
}

function packet(more: Partial<FrameToSend> & { readonly json?: unknown }): Uint8Array {
  const { json, ...rest } = more;
  const payload = json === undefined ? new Uint8Array(3200) : Buffer.from(JSON.stringify(json));
  const isRequest = json !== undefined;
  return encodeFrame({
    type: isRequest ? 1 : 2,
    isJson: isRequest,
    isGzip: true,
    payload,
    ...rest,
  });
}

const AUDIO = { format: 'pcm', codec: 'raw', rate: 16000, bits: 16, channel: 1 };
const REQUEST = { user: { uid: 'u' }, audio: AUDIO, request: { model_name: 'bigmodel' } };
const VOICE = {
  ...{ user: { uid: 'u' }, event: 100, namespace: 'BidirectionalTTS' },
  req_params: {
    ...{ speaker: 'zh_female_x_moon_bigtts', additions: '{}' },
    audio_params: { format: 'pcm', sample_rate: 8000 },
  },
};
const START = {
  asr: { audio_info: { format: 'pcm', sample_rate: 16000, channel: 1 }, extra: {} },
  tts: {
    ...{ speaker: 'zh_female_vv_jupiter_bigtts', extra: {} },
    audio_config: { channel: 1, format: 'pcm_s16le', sample_rate: 24000 },
  },
  dialog: { dialog_id: '', extra: { model: '1.2.1.1', input_mod: 'keep_alive' } },
};
const hello = { content: 'hi' };
const text = { event: 200, namespace: 'BidirectionalTTS', req_params: { text: 'hi' } };
const sound = (bytes: number): Uint8Array =>
  encodeFrame({ type: 2, event: 200, sessionId: 's1', payload: new Uint8Array(bytes) });

const ROWS: readonly (readonly [string, Service, readonly Uint8Array[], RegExp])[] = [
  ['audio before the request', 'asr', [packet({})], /45000001:.*audio before the request/],
  [
    '8 kHz',
    'asr',
    [packet({ json: { ...REQUEST, audio: { ...AUDIO, rate: 8000 } } })],
    /45000151:/,
  ],
  ['no model', 'asr', [packet({ json: { ...REQUEST, request: {} } })], /45000001:.*model_name/],
  [
    'a short window',
    'asr',
    [packet({ json: { ...REQUEST, request: { model_name: 'bigmodel', end_window_size: 100 } } })],
    /45000001:.*end_window_size/,
  ],
  [
    'a request twice',
    'asr',
    [packet({ json: REQUEST }), packet({ json: REQUEST })],
    /45000001:.*second/,
  ],
  [
    'no sound',
    'asr',
    [packet({ json: REQUEST }), packet({ payload: new Uint8Array(0) })],
    /45000002:/,
  ],
  ['a session first', 'voice', [event(100, VOICE, 's1')], /before the connection/],
  ['text first', 'voice', [event(1), event(200, text, 's1')], /of no session/],
  [
    'two at once',
    'voice',
    [event(1), event(100, VOICE, 's1'), event(100, VOICE, 's2')],
    /two sessions/,
  ],
  [
    'an id again',
    'voice',
    [event(1), event(100, VOICE, 's1'), event(101, {}, 's1'), event(100, VOICE, 's1')],
    /151:.*used before/,
  ],
  [
    'text after the end',
    'voice',
    [event(1), event(100, VOICE, 's1'), event(102, {}, 's1'), event(200, text, 's1')],
    /152:.*of no session/,
  ],
  [
    'a rate it does not have',
    'voice',
    [
      event(1),
      event(100, { ...VOICE, req_params: { ...VOICE.req_params, audio_params: {} } }, 's1'),
    ],
    /153:.*audio_params/,
  ],
  ['connected twice', 'dialogue', [event(1), event(1)], /started once/],
  ['a session first', 'dialogue', [event(100, START, 's1')], /before the connection/],
  ['audio first', 'dialogue', [sound(640)], /audio before the session/],
  [
    'audio of 8 kHz',
    'dialogue',
    [event(1), event(100, START, 's1'), sound(320)],
    /320 bytes of audio/,
  ],
  [
    'extra of null',
    'dialogue',
    [event(1), event(100, { ...START, tts: { ...START.tts, extra: null } }, 's1')],
    /153:.*tts extra is null/,
  ],
  [
    'no model',
    'dialogue',
    [event(1), event(100, { ...START, dialog: { extra: {} } }, 's1')],
    /153:.*model is required/,
  ],
  [
    'half a pair',
    'dialogue',
    [
      event(1),
      event(
        100,
        { ...START, dialog: { ...START.dialog, dialog_context: [{ role: 'user' }] } },
        's1',
      ),
    ],
    /153:.*list of pairs/,
  ],
  [
    'own words before the caller’s',
    'dialogue',
    [event(1), event(100, START, 's1'), event(500, { start: true, ...hello, end: true }, 's1')],
    /599:.*ChatTTSText before ASREnded/,
  ],
  [
    'a cut that was not asked for',
    'dialogue',
    [event(1), event(100, START, 's1'), event(513, { item_id: 'x', audio_end_ms: 1 }, 's1')],
    /599:.*truncation is not enabled/,
  ],
  [
    'more than three seconds at once',
    'dialogue',
    [event(1), event(100, START, 's1'), ...Array.from({ length: 160 }, () => sound(640))],
    /153:.*audio flow/,
  ],
];

for (const [name, service, frames, said] of ROWS) {
  test(`the simulated ${service} refuses: ${name}`, async (t) => {
    const sim = await startVolcSim();
    atEnd(t, () => sim.close());
    assert.match(await ask(sim, service, frames, said), said);
    assert.notDeepEqual(sim.violations, []);
  });
}

test('the simulators refuse keys and resources that are not theirs', async (t) => {
  const sim = await startVolcSim();
  atEnd(t, () => sim.close());
  const rows: [Service, Record<string, string>, number][] = [
    ['asr', { 'X-Api-Access-Key': 'other' }, 401],
    ['voice', { 'X-Api-App-Key': 'other' }, 401],
    ['dialogue', { 'X-Api-App-Key': 'other' }, 401],
    ['asr', { 'X-Api-Resource-Id': 'volc.speech.dialog' }, 403],
    ['voice', { 'X-Api-Resource-Id': 'volc.bigasr.sauc.duration' }, 403],
    ['dialogue', { 'X-Api-Resource-Id': 'seed-tts-1.0' }, 403],
  ];
  for (const [service, more, status] of rows) {
    const url = sim.server.wsUrl + PATHS[service][0];
    const socket = new WebSocket(url, { headers: headersOf(service, more) });
    const found = await new Promise((resolve) => {
      socket.on('unexpected-response', (_request, response) => {
        response.resume();
        resolve(response.statusCode);
      });
    });
    assert.equal(found, status, service);
  }
});

test('the simulators end what is idle, and only that', async (t) => {
  const rows: [Service, readonly Uint8Array[], number, RegExp][] = [
    ['asr', [packet({ json: REQUEST })], 8_000, /45000081/],
    ['dialogue', [event(1), event(100, START, 's1')], 10 * 60_000, /599:.*45000003/],
    [
      'dialogue',
      [event(1), event(100, { ...START, dialog: { extra: { model: '1.2.1.1' } } }, 's1')],
      10_000,
      /599:.*52000042/,
    ],
  ];
  for (const [service, frames, afterMs, said] of rows) {
    const clock = new SimulatedClock();
    const sim = await startVolcSim({ clock });
    atEnd(t, () => sim.close());
    const told = ask(sim, service, frames, said);
    await until('a session', () => sim.starts.length === 1);
    clock.advance(afterMs - 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(sim.server.open, 1);
    clock.advance(1);
    assert.match(await told, said);
  }
});
