/** The clients of Tencent Cloud against the simulated vendor: contracts, messages as its pages have them, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import type { SttProvider, TtsProvider } from '#providers/contract.ts';
import {
  startSimTencent,
  type SimTencent,
  type SimTencentOptions,
} from '#providers/sim/tencent.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { TENCENT } from '#providers/tencent/module.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { VENDORS } from '#providers/vendor-list.ts';
import { collect, speakAll, testStt, testTts } from '../unit/_provider-contract.ts';
import { fastClock, until, WORDS } from './_aliyun-nls.ts';
import {
  assertClean,
  assertToldOrWhole,
  hasCode,
  hearAs,
  likeness,
  SETTING,
  vendorSettings,
  vendorTools,
  type Hearing,
} from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

const ACCOUNT = { appId: '1259220000', secretId: 'AKIDEXAMPLE', secretKey: 'made-up-secret-0007' };
const CREDENTIALS = {
  ...{ app_id: ACCOUNT.appId, secret_id: ACCOUNT.secretId, secret_key: ACCOUNT.secretKey },
};
const SECRETS = /made-up-secret|AKIDEXAMPLE|signature=/i;

type World = {
  readonly sim: SimTencent;
  readonly clock: Clock;
  stt(options?: Record<string, unknown>, more?: Partial<VendorSettings>): SttProvider;
  tts(options?: Record<string, unknown>, more?: Partial<VendorSettings>): TtsProvider;
  hear(options?: Record<string, unknown>): Hearing;
};

async function start(
  t: TestContext | null,
  { clock = systemClock, ...more }: Partial<SimTencentOptions> = {},
): Promise<World> {
  const sim = await startSimTencent({ ...ACCOUNT, clock, words: WORDS, ...more });
  if (t !== null) atEnd(t, () => sim.close());
  const tools = vendorTools(clock);
  const world: World = {
    ...{ sim, clock },
    stt: (options = {}, rest = {}) =>
      TENCENT.stt?.(
        vendorSettings(CREDENTIALS, { url: sim.asrUrl, ...options }, rest),
        tools,
      ) as SttProvider,
    tts: (options = {}, rest = {}) =>
      TENCENT.tts?.(
        vendorSettings(CREDENTIALS, { url: sim.ttsUrl, ...options }, rest),
        tools,
      ) as TtsProvider,
    hear: (options) => hearAs(world.stt(options), clock),
  };
  return world;
}

// ---- The recogniser ----

test('the recogniser asks for what the vendor’s page has, and reads each utterance', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  const hearing = world.hear({ hotword_list: '退货|10,C++|5', vad_silence_time: 600 });
  await hearing.say(1);
  await hearing.say(3);
  await until('two finals', () => hearing.finals().length === 2);
  hearing.close();
  const query = Object.fromEntries(world.sim.queries[0] ?? []);
  const { signature, timestamp, expired, nonce, voice_id: voiceId, ...rest } = query;
  assert.deepEqual(rest, {
    ...{ secretid: 'AKIDEXAMPLE', engine_model_type: '8k_en', voice_format: '1', needvad: '1' },
    ...{ vad_silence_time: '600', filter_empty_result: '0', filter_dirty: '0', filter_modal: '0' },
    ...{ filter_punc: '0', convert_num_mode: '1', hotword_list: '退货|10,C++|5' },
  });
  assert.match(String(signature), /^[A-Za-z0-9+/]{27}=$/);
  assert.equal(Number(expired) - Number(timestamp), 86_400);
  assert.match(`${nonce} ${voiceId}`, /^\d{1,10} [0-9a-f-]{36}$/);
  assert.deepEqual(hearing.finals(), ['I want to cancel my order.', 'Stop please.']);
  assert.ok(hearing.events.some((event) => event.type === 'partial'));
  await until('the goodbye', () => world.sim.messages.length === 1);
  assert.deepEqual(world.sim.messages, [{ type: 'end' }]);
  await assertClean(world.sim);
});

test('an engine of 16 kHz is fed at 16 kHz, and the language chooses the engine', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  const hearing = hearAs(world.stt({ sample_rate: 16000 }), world.clock, 'zh');
  await hearing.say(2);
  await until('a final', () => hearing.finals().length === 1);
  assert.deepEqual(hearing.finals(), ['我要查账单。']);
  hearing.close();
  assert.equal(world.sim.queries[0]?.get('engine_model_type'), '16k_zh');
  await assertClean(world.sim);
});

test('a line that was late catches up below the vendor’s 3 s within a second', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  // Nothing is heard for almost 3 s, and the caller speaks on: all of it has to be caught up with.
  world.sim.faults.add({ kind: 'hang' }, null);
  const hearing = world.hear();
  await hearing.silence(3_600);
  await hearing.say(1, 1_200);
  await hearing.silence(1_600);
  await until('the words', () => hearing.finals().some((text) => /cancel my order/.test(text)));
  hearing.close();
  assert.deepEqual(hearing.errors(), []);
  await assertClean(world.sim);
});

const LOST_LINES: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 503 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['cut at the start', { kind: 'own', name: 'cut_at_start' }],
  ['silent at the start', { kind: 'hang' }],
  ['dead line', { kind: 'half_open' }],
  ['cut', { kind: 'cut' }],
  ['failed midway', { kind: 'fail_midway' }],
  ['junk', { kind: 'junk' }],
  ['without a code', { kind: 'own', name: 'no_code' }],
  ['swapped', { kind: 'swapped' }],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }],
  ['recycled', { kind: 'recycle' }],
  ['idle', { kind: 'own', name: 'idle' }],
  ['too many at once', { kind: 'own', name: '4006' }],
  ['odd fields', { kind: 'own', name: 'odd_fields' }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['late', { kind: 'late' }],
];

for (const [name, fault] of LOST_LINES) {
  test(`recogniser, ${name}: what the caller said is read all the same`, async (t) => {
    const world = await start(t, { clock: fastClock(4) });
    world.sim.faults.add(fault);
    const hearing = world.hear();
    const isLong = fault.kind === 'hang' || fault.kind === 'half_open';
    await hearing.say(1, isLong ? 3_500 : 900);
    // What a useless line has cost more time than an utterance may wait for, comes with the next one.
    if (isLong) await hearing.say(3, 900);
    const expected = isLong
      ? /^I want to cancel my order\. Stop please\.$/
      : /^I want to cancel my order\.$/;
    const heard = (): string => hearing.finals().filter(Boolean).join(' ');
    await until(`the words, only ${JSON.stringify(hearing.events)}`, () => expected.test(heard()));
    hearing.close();
    assert.deepEqual(hearing.errors(), [], name);
    await assertClean(world.sim);
  });
}

test('15 s without sound end a line (4008), and the next sound opens another', async (t) => {
  const world = await start(t, { clock: fastClock(10), asrIdleMs: 1_500 });
  const hearing = world.hear();
  await hearing.silence(200);
  await until('the line is gone', () => world.sim.server.accepted === 1 && world.sim.ears === 0);
  await hearing.say(1, 900);
  await until('a final', () => hearing.finals().length === 1);
  assert.deepEqual(hearing.finals(), ['I want to cancel my order.']);
  assert.deepEqual(hearing.errors(), []);
  hearing.close();
  await assertClean(world.sim);
});

const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ['4000', 'E_PROVIDER_PARAM', /4000/],
  ['4001', 'E_PROVIDER_PARAM', /4001/],
  ['4002', 'E_PROVIDER_AUTH', /the account "Made up": credentials app_id, secret_id or secret_key/],
  ['4003', 'E_PROVIDER_AUTH', /the account "Made up": .*not switched on/],
  ['4004', 'E_PROVIDER_AUTH', /the account "Made up": .*used up/],
  ['4005', 'E_PROVIDER_AUTH', /the account "Made up": .*arrears/],
  ['4006', 'E_PROVIDER_QUOTA', /4006/],
  ['4007', 'E_PROVIDER_PARAM', /4007/],
  ['4009', 'E_PROVIDER_SERVER', /4009/],
  ['4010', 'E_PROVIDER_PARAM', /4010/],
  ['5000', 'E_PROVIDER_SERVER', /5000/],
  ['5001', 'E_PROVIDER_SERVER', /5001/],
  ['5002', 'E_PROVIDER_SERVER', /5002/],
  ['6001', 'E_PROVIDER_AUTH', /the account "Made up": .*region/],
];

test('what the vendor refuses has its class, its code and no secret', async (t) => {
  const world = await start(t);
  for (const [code, ours, text] of REFUSALS) {
    const fault = { kind: 'own', name: code } as const;
    world.sim.faults.add(fault, fault);
    const hearing = world.hear();
    await until(`${code} told`, () => hearing.errors().length === 1);
    world.sim.faults.clear();
    const [error] = hearing.errors();
    assert.equal(error?.code, ours, code);
    assert.equal(error.details['vendorCode'], code);
    assert.match(error.message, text);
    assert.doesNotMatch(error.message, SECRETS);
    hearing.close();
  }
  await assertClean(world.sim);
});

test('a wrong key is told once by recogniser and voice, naming the setting, without a secret', async (t) => {
  const world = await start(t);
  const wrong = { credentials: { ...CREDENTIALS, secret_key: 'another-secret' } };
  const hearing = hearAs(world.stt({}, wrong), world.clock);
  await until('the error', () => hearing.errors().length === 1);
  const spoken = speakAll(world.tts({}, wrong), { text: 'Hello.', language: 'en' });
  const thrown = await spoken.catch((error: unknown) => error);
  for (const error of [hearing.errors()[0], thrown]) {
    assert.ok(hasCode('E_PROVIDER_AUTH', /Made up": credentials app_id, secret_id/)(error));
    assert.doesNotMatch((error as AppError).message, /another-secret|AKID|Signature/);
  }
  assert.equal(world.sim.server.accepted, 2, 'neither tries again with the same key');
  await assertClean(world.sim);
});

test('a check of the recogniser says what is wrong, or nothing', async (t) => {
  const world = await start(t);
  const { signal } = new AbortController();
  await world.stt().check?.(signal);
  world.sim.faults.add({ kind: 'own', name: '4004' });
  await assert.rejects(async () => world.stt().check?.(signal), hasCode('E_PROVIDER_AUTH'));
  world.sim.faults.add({ kind: 'refuse', status: 403 });
  await assert.rejects(
    async () => world.stt().check?.(signal),
    hasCode('E_PROVIDER_AUTH', /credentials app_id, secret_id or secret_key/),
  );
  await assertClean(world.sim);
});

test('settings that cannot be are refused by name; Tencent is in the list of vendors', async (t) => {
  const world = await start(t);
  const rows: readonly [Record<string, unknown>, RegExp][] = [
    [{ vad_silence_time: 100 }, /options\.vad_silence_time/],
    [{ sample_rate: 44100 }, /options\.sample_rate/],
    [{ engine_model_type: '16k_zh' }, /16k_zh does not hear 8000 Hz/],
    [{ url: 'http://127.0.0.1' }, /options\.url/],
    [{ voice: 'anna' }, /a voice is a number/],
    [{ enable_subtitle: 'yes' }, /options\.enable_subtitle/],
    [{ spare_connections: 9 }, /options\.spare_connections/],
  ];
  for (const [options, text] of rows) {
    const make = (): unknown => [world.stt(options), world.tts(options)];
    assert.throws(make, hasCode('E_CONFIG', text));
    assert.throws(make, hasCode('E_CONFIG', new RegExp(SETTING)));
  }
  for (const name of Object.keys(CREDENTIALS)) {
    const credentials = { ...CREDENTIALS, [name]: '' };
    const text = new RegExp(`credentials\\.${name} is missing`);
    assert.throws(() => world.stt({}, { credentials }), hasCode('E_CONFIG', text));
    assert.throws(() => world.tts({}, { credentials }), hasCode('E_CONFIG', text));
  }
  assert.equal(VENDORS.filter((each) => each === TENCENT).length, 1);
});

// ---- The voice ----

const LONG =
  'Your order was found and it will be sent to you tomorrow morning before nine. '.repeat(8);

test('a flowing voice: messages, marks from the vendor’s times, a spare connection for the next', async (t) => {
  const world = await start(t);
  const tts = world.tts({}, { speed: 1.2, volume: 1.5 });
  const text = 'Your order is found. It comes tomorrow!';
  const { pcm, marks } = await speakAll(tts, { text, language: 'en' });
  assert.equal(pcm.length, 7 * 1600);
  assert.ok(likeness(pcm, simSpeech(text, 8000)) > 0.98);
  const ends = [4, 10, 13, 20, 23, 29, 39];
  assert.deepEqual(
    marks,
    ends.map((chars, i) => ({ chars, ms: (i + 1) * 200 })),
  );
  const { queries, messages } = world.sim;
  const query = Object.fromEntries(queries[0] ?? []);
  const { Signature, Timestamp, Expired, SessionId, ...rest } = query;
  assert.deepEqual(rest, {
    ...{ Action: 'TextToStreamAudioWSv2', AppId: '1259220000', SecretId: 'AKIDEXAMPLE' },
    ...{ ModelType: '1', VoiceType: '101001', Codec: 'pcm', SampleRate: '8000', Speed: '0.8' },
    ...{ Volume: '5', EnableSubtitle: 'True' },
  });
  assert.equal(Number(Expired) - Number(Timestamp), 86_400);
  assert.match(String(Signature), /^[A-Za-z0-9+/]{27}=$/);
  assert.deepEqual(
    messages.map(({ session_id, action, data }) => ({ session_id, action, data })),
    [
      { session_id: SessionId, action: 'ACTION_SYNTHESIS', data: text },
      { session_id: SessionId, action: 'ACTION_COMPLETE', data: '' },
    ],
  );
  await until('a spare is open', () => world.sim.voices === 1);
  const accepted = world.sim.server.accepted;
  const stream = tts.speak({ text: '您好。', language: 'zh' }, new AbortController().signal);
  await stream.next();
  const sessions = messages.map(({ session_id: id }) => id);
  assert.equal(sessions.at(-1), queries[accepted - 1]?.get('SessionId'), 'said on the spare');
  await collect(stream);
  tts.close?.();
  await assertClean(world.sim);
});

test('a text without a sentence’s end is said to its end all the same', async (t) => {
  const world = await start(t);
  const tts = world.tts({ spare_connections: 0 });
  const { pcm } = await speakAll(tts, { text: 'One, two. Three', language: 'en' });
  assert.equal(pcm.length, 3 * 1600);
  assert.equal(world.sim.server.accepted, 1, 'no spare where none is wanted');
  await assertClean(world.sim);
});

test('a long text goes in pieces of at most 500 characters, all sound alike', async (t) => {
  const world = await start(t);
  const tts = world.tts();
  const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
  const said = world.sim.messages.filter(({ action }) => action === 'ACTION_SYNTHESIS');
  const texts = said.map(({ data }) => String(data));
  assert.equal(texts.join(''), LONG.trimEnd());
  assert.ok(texts.length === 2 && texts.every(({ length }) => length <= 500));
  assert.ok(likeness(pcm, simSpeech(LONG, 8000)) > 0.98);
  assert.equal(marks.length, 15 * 8);
  assert.deepEqual(marks.at(-1), { chars: LONG.trimEnd().length, ms: pcm.length / 8 });
  tts.close?.();
  await assertClean(world.sim);
});

test('voices at other rates come down to 8 kHz; chunks cut inside a sample are put together', async (t) => {
  const world = await start(t);
  const text = 'One two three.';
  for (const rate of [8_000, 16_000, 24_000]) {
    world.sim.faults.add({ kind: 'own', name: 'odd_chunks' });
    const tts = world.tts({ sample_rate: rate, spare_connections: 0 });
    const { pcm } = await speakAll(tts, { text, language: 'en' });
    assert.ok(Math.abs(pcm.length - 3 * 1600) <= 40, `${rate}: ${pcm.length}`);
    assert.ok(likeness(pcm, simSpeech(text, 8000)) > 0.98, `${rate}`);
  }
  await assertClean(world.sim);
});

test('a reply that is given up is reset at the vendor, and heard no more', async (t) => {
  const world = await start(t);
  for (const fault of [null, { kind: 'late' } as const]) {
    world.sim.faults.clear();
    world.sim.faults.add(fault, fault);
    const tts = world.tts();
    const before = world.sim.messages.length;
    const abort = new AbortController();
    const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
    assert.equal((await stream.next()).done, false);
    abort.abort();
    await assert.rejects(collect(stream), hasCode('E_ABORTED'));
    const reset = (): unknown => world.sim.messages.slice(before).map(({ action }) => action);
    await until('the reset', () => JSON.stringify(reset()).includes('ACTION_RESET'));
    await until('its connection is closed', () => world.sim.voices <= 1);
    const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
    assert.ok(
      likeness(pcm, simSpeech('Yes.', 8000)) > 0.98,
      'nothing of the former reply is in it',
    );
    tts.close?.();
  }
  await assertClean(world.sim);
});

test('times that cannot be are not believed: the marks are even ones then', async (t) => {
  for (const name of ['odd_subtitles', 'no_subtitles']) {
    const world = await start(t);
    world.sim.faults.add({ kind: 'own', name });
    const tts = world.tts({ spare_connections: 0 });
    const { marks } = await speakAll(tts, { text: 'One two three.', language: 'en' });
    assert.deepEqual(marks.at(-1), { chars: 14, ms: 600 }, name);
    assert.equal(marks.length, 3);
    await assertClean(world.sim);
  }
});

const SURVIVED: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 502 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['empty audio', { kind: 'own', name: 'empty_audio' }],
];
const BROKEN: readonly (readonly [string, VendorFault, string])[] = [
  ['silent at the start', { kind: 'hang' }, 'E_TIMEOUT'],
  ['dead line', { kind: 'half_open' }, 'E_TIMEOUT'],
  ['stalled', { kind: 'own', name: 'stall' }, 'E_TIMEOUT'],
  ['without an end', { kind: 'own', name: 'no_end' }, 'E_TIMEOUT'],
  ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER'],
  ['failed midway', { kind: 'fail_midway' }, 'E_PROVIDER_SERVER'],
  ['recycled', { kind: 'recycle' }, 'E_PROVIDER_SERVER'],
  ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER'],
  ['without a code', { kind: 'own', name: 'no_code' }, 'E_PROVIDER_SERVER'],
  ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
];

test('voice: a handshake that fails is told, and the next piece is said', async (t) => {
  for (const [name, fault] of SURVIVED) {
    const world = await start(t, { clock: fastClock(4) });
    world.sim.faults.add(fault);
    const tts = world.tts();
    const first = speakAll(tts, { text: 'One two three four.', language: 'en' });
    const isHandshake = fault.kind === 'refuse' || fault.kind === 'fail_before_start';
    // It has cost nothing yet: to try again, or to go elsewhere, is the pool's choice.
    if (isHandshake) await assert.rejects(first, hasCode('E_PROVIDER_SERVER'), name);
    else assert.equal((await first).pcm.length, 4 * 1600, name);
    const { pcm } = await speakAll(tts, { text: 'Five six.', language: 'en' });
    assert.equal(pcm.length, 2 * 1600, `${name}: the next one`);
    tts.close?.();
    await assertClean(world.sim);
  }
});

test('voice: what breaks in the middle is told in time, and the next piece is spoken', async (t) => {
  for (const [name, fault, code] of BROKEN) {
    const world = await start(t, { clock: fastClock(8) });
    world.sim.faults.add(fault);
    const tts = world.tts();
    const startMs = world.clock.now();
    const text = 'One two three four five six.';
    const spoken = speakAll(tts, { text, language: 'en' });
    await assertToldOrWhole(spoken, code, simSpeech(text, 8000), name);
    const tookMs = world.clock.now() - startMs;
    assert.ok(tookMs < 6_500, `${name}: ${tookMs} ms`);
    const { pcm } = await speakAll(tts, { text: 'Seven.', language: 'en' });
    assert.equal(pcm.length, 1600, name);
    tts.close?.();
    await assertClean(world.sim);
  }
});

// ---- The suites of every vendor ----

describe('contract', () => {
  let world: World;
  const made: TtsProvider[] = [];
  before(async () => {
    world = await start(null);
  });
  after(async () => {
    for (const tts of made) tts.close?.();
    await assertClean(world.sim);
    await world.sim.close();
  });
  const texts = [
    { text: 'Your order is on its way, and it comes tomorrow.', language: 'en' as const },
    { text: '您好，您的订单已经发出。', language: 'zh' as const },
    { text: LONG, language: 'en' as const },
  ];
  const make = (): TtsProvider => {
    const tts = world.tts();
    made.push(tts);
    return tts;
  };
  testTts('tencent', make, texts);
  // Nothing is said in its audio: each utterance is given back unread, after `quietMs`.
  testStt(
    'tencent',
    () => world.stt(),
    () => new Promise((resolve) => setTimeout(resolve, 950)),
  );
});
