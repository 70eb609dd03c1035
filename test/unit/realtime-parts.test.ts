/** The parts that realtime adapters share: codes of the line, played sound, unheard sound, what was said, errors, bodies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { G711Codec } from '#lib/g711.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import { omniSessionOf, realtime as qwen } from '#providers/dashscope/omni-realtime.ts';
import { realtime as modelService } from '#providers/model-service/module.ts';
import { PROTOCOL, readReady, startFrame } from '#providers/model-service/protocol.ts';
import { realtime as openai } from '#providers/openai/realtime-module.ts';
import {
  betaSessionOf,
  sessionOf,
  type OpenAiRealtimeOptions,
} from '#providers/openai/realtime.ts';
import { readAudioDelta } from '#providers/realtime-delta.ts';
import { CallerSound, g711Coding, pcmCoding, ReplySound } from '#providers/realtime-audio.ts';
import { gaName, wireFormat } from '#providers/realtime-dialect.ts';
import { errorOf, refusalOf, responseError } from '#providers/realtime-errors.ts';
import { SpokenHistory } from '#providers/realtime-history.ts';
import { numberAt, objectsAt, parseObject, pick, textAt } from '#providers/realtime-json.ts';
import type { LineCall } from '#providers/realtime-line.ts';
import { PlayedItems } from '#providers/realtime-played.ts';
import { UnheardAudio } from '#providers/realtime-unheard.ts';
import type { VendorSettings, VendorTools } from '#providers/vendor.ts';

const tools: VendorTools = {
  ...{ log: silentLog, clock: systemClock, resampling: loadStreamResampling },
};

const CALL: LineCall = {
  ...{ callId: 'call-1', language: 'zh', instructions: '你是客服', codec: 'PCMA' },
  tools: [{ name: 'transfer', description: 'to a person', parameters: { type: 'object' } }],
  history: [],
};

function settings(more: Partial<VendorSettings> = {}): VendorSettings {
  return {
    ...{ setting: 'account "a"', credentials: { api_key: 'k' }, options: {} },
    ...{ model: null, temperature: null, maxTokens: null, voice: null },
    ...{ speed: null, volume: null, token: null },
    ...more,
  };
}

for (const codec of ['PCMA', 'PCMU'] as const satisfies readonly G711Codec[]) {
  test(`${codec}: every code of the line comes back as it was, both ways`, async () => {
    const resampling = await loadStreamResampling();
    const all = Uint8Array.from({ length: 320 }, (_, i) => i % 256);
    const decoded = g711Coding(codec).decode(all);
    // Mu-law has two zeros, and the other one comes back: both are silence.
    const expected = [...all].map((code) => (codec === 'PCMU' && code === 0x7f ? 0xff : code));
    // Up: from the line, decoded by the call, to the vendor.
    const up: number[] = [];
    const caller = new CallerSound(resampling, 8_000, 20);
    const coding = g711Coding(codec);
    for (const cut of [decoded.subarray(0, 7), decoded.subarray(7)]) {
      caller.push(cut, (frame) => up.push(...coding.encode(frame)));
    }
    assert.deepEqual(up, expected);
    // Down: from the vendor, cut anywhere, encoded by the call.
    const sound = new ReplySound(resampling, g711Coding(codec));
    const down = [all.subarray(0, 3), all.subarray(3)].flatMap((bytes) => [
      ...sound.next(bytes).pcm,
    ]);
    assert.deepEqual([...g711Coding(codec).encode(Int16Array.from(down))], expected);
    assert.equal(sound.end().length, 0);
  });
}

test('sound that is cut inside a sample is whole again, and its length is the vendor’s', async () => {
  const resampling = await loadStreamResampling();
  const said = Int16Array.from({ length: 4_800 }, (_, i) => Math.round(9_000 * Math.sin(i / 9)));
  const bytes = pcmCoding(24_000).encode(said);
  const whole = new ReplySound(resampling, pcmCoding(24_000));
  const wanted = [...whole.next(bytes).pcm, ...whole.end()];
  const cut = new ReplySound(resampling, pcmCoding(24_000));
  let ms = 0;
  const got: number[] = [];
  for (let at = 0; at < bytes.length; at += 333) {
    const next = cut.next(bytes.subarray(at, at + 333));
    ms += next.ms;
    got.push(...next.pcm);
  }
  got.push(...cut.end());
  assert.equal(Math.round(ms), 200);
  assert.ok(Math.abs(got.length - wanted.length) <= 2, `${got.length} of ${wanted.length}`);
  assert.ok(got.length >= 1_600 && got.length <= 1_640);
  // The next reply begins anew, without a rest of this one.
  const [first] = cut.next(pcmCoding(24_000).encode(new Int16Array(480))).pcm;
  assert.equal(first, 0);
  cut.close();
  cut.close();
});

test('a cut is told in the ms of each item, never beyond what there was', () => {
  const played = new PlayedItems();
  played.made('r1', 'a', 0, 400);
  played.made('r1', 'a', 0, 100.5);
  played.made('r1', 'b', 1, 300);
  const rows: [number, boolean, [string, number][]][] = [
    [
      -5,
      false,
      [
        ['a', 0],
        ['b', 0],
      ],
    ],
    [
      0,
      false,
      [
        ['a', 0],
        ['b', 0],
      ],
    ],
    [
      250.9,
      false,
      [
        ['a', 250],
        ['b', 0],
      ],
    ],
    [500.5, false, [['b', 0]]],
    [600, false, [['b', 99]]],
    [800.5, false, []],
    [90_000, false, []],
    [90_000, true, [['b', 300]]],
  ];
  for (const [heardMs, isGrowing, wanted] of rows) {
    const cuts = played.cuts('r1', heardMs, isGrowing).map((cut) => [cut.itemId, cut.endMs]);
    assert.deepEqual(cuts, wanted, `${heardMs}`);
  }
  assert.deepEqual(played.cuts('never', 10, true), []);
  for (let i = 0; i < 50; i++) played.made(`more-${i}`, 'x', 0, 10);
  assert.deepEqual(played.cuts('r1', 0, false), [], 'the oldest are forgotten');
  assert.equal(played.cuts('more-49', 0, false).length, 1);
});

test('unheard sound: what is sent again after which events', () => {
  const rows: [string, (audio: UnheardAudio, say: (ms: number) => void) => void, number][] = [
    ['nothing', () => undefined, 0],
    ['silence: what may have gone into a dead line', (_, say) => say(10_000), 3_000],
    ['less than that', (_, say) => say(1_000), 1_000],
    ['what was taken is not', (audio, say) => (say(5_000), audio.took(), say(500)), 500],
    [
      'an utterance from its beginning, with a run-up',
      (audio, say) => (say(9_000), audio.speechStarted(), say(5_000)),
      6_000,
    ],
    [
      'an utterance that was taken is over',
      (audio, say) => (audio.speechStarted(), say(9_000), audio.took(), say(8_000)),
      3_000,
    ],
    ['at most 15 s', (audio, say) => (audio.speechStarted(), say(60_000)), 15_000],
  ];
  for (const [name, act, wantedMs] of rows) {
    const audio = new UnheardAudio();
    act(audio, (ms) => {
      const piece = new Int16Array(160);
      for (let at = 0; at < ms; at += 20) {
        audio.append(piece);
        audio.read(Infinity, () => undefined);
      }
    });
    audio.rewind();
    assert.equal(audio.unsent / 8, wantedMs, name);
  }
});

test('unheard sound: the samples are those, in order, also around the end of the ring', () => {
  const audio = new UnheardAudio();
  const ramp = (from: number, count: number): Int16Array =>
    Int16Array.from({ length: count }, (_, i) => (from + i) % 30_000);
  const got: number[] = [];
  const keep = (pcm: Int16Array): void => {
    got.push(...pcm);
  };
  for (let at = 0; at < 230_000; at += 1_000) {
    audio.append(ramp(at, 1_000));
    audio.read(Infinity, keep);
  }
  assert.deepEqual(got, [...ramp(0, 230_000)]);
  got.length = 0;
  audio.rewind();
  audio.read(100, keep);
  audio.read(Infinity, keep);
  assert.deepEqual(got, [...ramp(230_000 - 24_000, 24_000)]);
});

test('what was said is told as it was heard, and is bounded', () => {
  const history = new SpokenHistory([{ role: 'system', content: 'a friend' }]);
  history.userTook('1:u1');
  history.agentBegan(1);
  history.agentSaid(1, 'one two three four');
  // The words of the caller are read late, and stand where he said them.
  history.userSaid('1:u1', 'hello');
  history.agentAsked(1, [{ id: 'c', name: 'lookup', arguments: {} }]);
  history.cut(1, 500, 1_000);
  history.toolResult('c', '{}');
  history.userTook('1:u2');
  history.agentBegan(2);
  assert.deepEqual(history.messages(), [
    { role: 'system', content: 'a friend' },
    { role: 'user', content: 'hello' },
    {
      ...{ role: 'assistant', content: 'one two' },
      toolCalls: [{ id: 'c', name: 'lookup', arguments: {} }],
    },
    { role: 'tool', toolCallId: 'c', content: '{}' },
  ]);
  for (let i = 0; i < 1_000; i++) {
    history.userSaid(`2:${i}`, `question ${i} ${'x'.repeat(300)}`);
    history.agentBegan(i + 3);
    history.agentSaid(i + 3, `answer ${i}`);
    history.agentAsked(i + 3, [{ id: `c${i}`, name: 'lookup', arguments: {} }]);
    history.toolResult(`c${i}`, '{}');
  }
  const told = history.messages();
  assert.ok(told.length <= 82, `${told.length}`);
  assert.match(told[0]?.content ?? '', /^Earlier in this call, in short:\n[^]*answer 9\d\d/);
  assert.ok((told[0]?.content.length ?? 0) < 4_100);
  assert.notEqual(told[1]?.role, 'tool', 'no result without its call');
  assert.equal(told.at(-2)?.content, 'answer 999');
});

test('beta names are brought to GA names, and formats are named in both', () => {
  const rows: [string, string][] = [
    ['response.audio.delta', 'response.output_audio.delta'],
    ['response.audio_transcript.delta', 'response.output_audio_transcript.delta'],
    ['response.text.delta', 'response.output_text.delta'],
    ['conversation.item.created', 'conversation.item.added'],
    ['response.output_audio.delta', 'response.output_audio.delta'],
    ['response.done', 'response.done'],
  ];
  for (const [beta, ga] of rows) assert.equal(gaName(beta), ga);
  const formats = (['PCMA', 'PCMU', 'L16'] as const).map((codec) => {
    const { ga, beta, coding } = wireFormat(codec);
    return [ga, beta, coding.rateHz];
  });
  assert.deepEqual(formats, [
    [{ type: 'audio/pcma' }, 'g711_alaw', 8_000],
    [{ type: 'audio/pcmu' }, 'g711_ulaw', 8_000],
    [{ type: 'audio/pcm', rate: 24_000 }, 'pcm16', 24_000],
  ]);
});

test('errors fall into their retry classes, and no message quotes a key', () => {
  const rows: [string, string, string, boolean][] = [
    ['invalid_api_key', 'invalid_request_error', 'E_PROVIDER_AUTH', true],
    ['session_expired', 'invalid_request_error', 'E_PROVIDER_IDLE', true],
    ['server_error', 'server_error', 'E_PROVIDER_SERVER', true],
    ['rate_limit_exceeded', 'requests', 'E_PROVIDER_QUOTA', false],
    ['insufficient_quota', '', 'E_PROVIDER_QUOTA', false],
    ['content_filter', '', 'E_PROVIDER_CONTENT', false],
    ['invalid_value', 'invalid_request_error', 'E_PROVIDER_PARAM', false],
    ['unknown_parameter', 'invalid_request_error', 'E_PROVIDER_PARAM', false],
    ['', 'server_error', 'E_PROVIDER_SERVER', false],
    ['', '', 'E_PROVIDER_SERVER', false],
  ];
  for (const [code, type, wanted, isFatal] of rows) {
    const told = errorOf('openai', 'account "a"', {
      error: { code, type, message: 'Incorrect API key provided: sk-123456' },
    });
    assert.deepEqual([told.error.code, told.isFatal], [wanted, isFatal], code);
    if (wanted === 'E_PROVIDER_AUTH')
      assert.match(told.error.message, /^account "a": (?!.*sk-123)/);
  }
  const done = (status: string, details: unknown) =>
    responseError('openai', { response: { status, status_details: details } })?.code;
  assert.equal(done('completed', null), undefined);
  assert.equal(done('cancelled', { reason: 'turn_detected' }), undefined);
  assert.equal(done('incomplete', { reason: 'max_output_tokens' }), undefined);
  assert.equal(done('incomplete', { reason: 'content_filter' }), 'E_PROVIDER_CONTENT');
  assert.equal(done('failed', { error: { code: 'rate_limit_exceeded' } }), 'E_PROVIDER_QUOTA');
  assert.equal(done('failed', {}), 'E_PROVIDER_SERVER');
  const statuses: [number, string][] = [
    [401, 'E_PROVIDER_AUTH'],
    [402, 'E_PROVIDER_AUTH'],
    [404, 'E_PROVIDER_PARAM'],
    [429, 'E_PROVIDER_QUOTA'],
    [500, 'E_PROVIDER_SERVER'],
  ];
  for (const [status, wanted] of statuses) {
    assert.equal(refusalOf('account "a"', 'x', status, 'no json').code, wanted);
  }
});

test('JSON of others is taken for nothing', () => {
  for (const text of ['', '[1]', '1', 'null', '"x"', '{', '{"a":1}{']) {
    assert.equal(parseObject(text), null, text);
  }
  const value = { a: { b: 'c', n: 1, bad: Number.NaN, list: [{ x: 1 }, 2, null, [3]] } };
  assert.equal(textAt(value, 'a', 'b'), 'c');
  assert.equal(textAt(value, 'a', 'n'), '');
  assert.equal(textAt(null, 'a'), '');
  assert.equal(numberAt(value, 'a', 'n'), 1);
  assert.equal(numberAt(value, 'a', 'bad'), null);
  assert.equal(pick(value, 'a', 'b', 'c', 'd'), undefined);
  assert.deepEqual(objectsAt(value, 'a', 'list'), [{ x: 1 }]);
  assert.deepEqual(objectsAt(value, 'a'), []);
});

const OPENAI: OpenAiRealtimeOptions = {
  ...{ setting: 's', apiKey: 'k', url: 'wss://x', model: 'm', voice: 'marin', speed: 1, tools },
  ...{ maxTokens: 500, dialect: 'ga', audio: 'line', transcriptionModel: 'gpt-4o-mini-transcribe' },
  turnDetection: { type: 'semantic_vad', eagerness: 'high' },
  ...{ interruptsItself: true, noiseReduction: 'near_field', safetyId: '', ca: '' },
};
const OFFERED = [{ type: 'function', ...CALL.tools[0] }];

test('session.update of OpenAI, GA and beta, and of Qwen-Omni', () => {
  assert.deepEqual(sessionOf(OPENAI, CALL), {
    ...{ type: 'realtime', output_modalities: ['audio'], instructions: '你是客服' },
    audio: {
      input: {
        format: { type: 'audio/pcma' },
        noise_reduction: { type: 'near_field' },
        transcription: { model: 'gpt-4o-mini-transcribe', language: 'zh' },
        turn_detection: { type: 'semantic_vad', eagerness: 'high' },
      },
      output: { format: { type: 'audio/pcma' }, voice: 'marin', speed: 1 },
    },
    ...{ tools: OFFERED, tool_choice: 'auto', max_output_tokens: 500 },
  });
  assert.deepEqual(betaSessionOf({ ...OPENAI, audio: 'pcm', transcriptionModel: '' }, CALL), {
    ...{ modalities: ['text', 'audio'], instructions: '你是客服', voice: 'marin' },
    ...{ input_audio_format: 'pcm16', output_audio_format: 'pcm16' },
    input_audio_transcription: null,
    turn_detection: { type: 'semantic_vad', eagerness: 'high' },
    ...{ tools: OFFERED, tool_choice: 'auto', max_response_output_tokens: 500 },
  });
  const omni = {
    ...{ setting: 's', apiKey: 'k', url: 'wss://x', model: 'm', voice: 'Cherry', tools },
    ...{ transcriptionModel: 'asr', turnDetection: { type: 'server_vad' }, hasTools: true },
    ...{ limitMs: 1, connectMs: 1, startMs: 1, replyMs: 1, stallMs: 1 },
  };
  const history = [{ role: 'user', content: '你好' }] as const;
  assert.deepEqual(omniSessionOf(omni, { ...CALL, history }), {
    ...{ modalities: ['text', 'audio'], voice: 'Cherry' },
    ...{ input_audio_format: 'pcm', output_audio_format: 'pcm' },
    instructions: '你是客服\n\nWhat was said so far:\nuser: 你好',
    ...{ input_audio_transcription: { model: 'asr' }, turn_detection: { type: 'server_vad' } },
    tools: OFFERED,
  });
  assert.equal('tools' in omniSessionOf({ ...omni, hasTools: false }, CALL), false);
});

test('the first frame of a model service, and what its `ready` may say', () => {
  const rates = { inputHz: 16_000, outputHz: 24_000 } as const;
  const toolCalls = [{ id: 'c', name: 'transfer', arguments: { to: 1 } }];
  const history = [
    { role: 'assistant', content: '', toolCalls },
    { role: 'tool', content: '{}', toolCallId: 'c' },
  ] as const;
  assert.deepEqual(startFrame({ ...CALL, history }, 'big', rates, true), {
    ...{ type: 'start', protocol: PROTOCOL, call_id: 'call-1', language: 'zh' },
    ...{ instructions: '你是客服', model: 'big', resumed: true, tools: CALL.tools },
    ...{ input_sample_rate: 16_000, output_sample_rate: 24_000 },
    history: [
      { role: 'assistant', content: '', tool_calls: toolCalls },
      { role: 'tool', content: '{}', tool_call_id: 'c' },
    ],
  });
  assert.deepEqual(readReady({ protocol: PROTOCOL }, rates), rates);
  const other = { protocol: PROTOCOL, input_sample_rate: 8_000, output_sample_rate: 48_000 };
  assert.deepEqual(readReady(other, rates), { inputHz: 8_000, outputHz: 48_000 });
  for (const bad of [
    { protocol: 'callyard.model/2' },
    {},
    { protocol: PROTOCOL, input_sample_rate: 11_025 },
    { protocol: PROTOCOL, output_sample_rate: '8000' },
  ]) {
    assert.throws(() => readReady(bad, rates), { code: 'E_PROVIDER_PARAM' });
  }
});

test('settings that cannot be are refused with the name of the setting to mend', () => {
  const makers = { openai, qwen, modelService };
  const rows: [keyof typeof makers, Partial<VendorSettings>, RegExp][] = [
    ['openai', { credentials: {} }, /account "a": credentials\.api_key is missing/],
    ['openai', { options: { realtime_url: 'http://x' } }, /options\.realtime_url must be/],
    ['openai', { options: { dialect: 'gamma' } }, /options\.dialect must be one of ga, beta/],
    ['openai', { options: { audio: 'opus' } }, /options\.audio/],
    ['openai', { options: { threshold: 2 } }, /options\.threshold/],
    ['openai', { options: { turn_detection: 'none' } }, /options\.turn_detection/],
    ['openai', { options: { eagerness: 'very', turn_detection: 'semantic_vad' } }, /eagerness/],
    ['openai', { options: { ca: '/etc/ca.pem' } }, /options\.ca must be a certificate in PEM/],
    ['qwen', { credentials: {} }, /credentials\.api_key is missing/],
    ['qwen', { options: { silence_duration_ms: 100 } }, /options\.silence_duration_ms/],
    ['qwen', { options: { tools: 'yes' } }, /options\.tools must be true or false/],
    ['modelService', {}, /account "a": options\.url is missing/],
    ['modelService', { options: { url: 'https://x' } }, /options\.url must be an address/],
    [
      'modelService',
      { options: { url: 'ws://x', input_sample_rate: 11_025 } },
      /options\.input_sample_rate must be one of 8000, 16000, 24000, 48000/,
    ],
  ];
  for (const [name, more, message] of rows) {
    assert.throws(
      () => makers[name](settings(more), tools),
      (error) =>
        error instanceof AppError && error.code === 'E_CONFIG' && message.test(error.message),
      `${name}: ${message}`,
    );
  }
  assert.equal(qwen(settings({ model: 'qwen-omni-turbo-realtime' }), tools).hasTools, false);
  assert.equal(qwen(settings({ model: 'qwen3.8-omni-flash-realtime' }), tools).hasTools, true);
});

test('a piece of voice is read at sight as it is read as JSON, or not at all', () => {
  const event = {
    ...{ type: 'response.output_audio.delta', event_id: 'event_1', response_id: 'resp_A-1' },
    ...{ item_id: 'item_7', output_index: 0, content_index: 2, delta: 'AAEC/+8=' },
  };
  const read = { reply: 'resp_A-1', itemId: 'item_7', contentIndex: 2, base64: 'AAEC/+8=' };
  assert.deepEqual(readAudioDelta(JSON.stringify(event)), read);
  const beta = { ...event, type: 'response.audio.delta', delta: '' };
  assert.deepEqual(readAudioDelta(JSON.stringify(beta)), { ...read, base64: '' });
  const others = [
    { ...event, type: 'response.output_audio.done' },
    { ...event, delta: 'AAEC/+8=\n' },
    { ...event, delta: 'a"b' },
    { ...event, item_id: 'item "7"' },
    { ...event, response_id: '' },
    { ...event, content_index: -1 },
    { ...event, content_index: null },
    { ...event, more: 1 },
    { ...event, type: undefined },
  ];
  for (const other of others) assert.equal(readAudioDelta(JSON.stringify(other)), null);
  for (const text of ['', '{}', JSON.stringify(event, null, 1), `${JSON.stringify(event)} `])
    assert.equal(readAudioDelta(text), null);
  assert.equal(readAudioDelta(JSON.stringify(event).slice(0, -1)), null);
});
