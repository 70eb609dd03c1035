/** The clients of Baidu against the simulated vendor: contracts, messages as its pages have them, tokens, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BAIDU } from '#providers/baidu/module.ts';
import type { TtsProvider } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { VENDORS } from '#providers/vendor-list.ts';
import { collect, speakAll, testStt, testTts } from '../unit/_provider-contract.ts';
import { fastClock, until } from './_aliyun-nls.ts';
import { ACCOUNT, ONLY_KEY, SECRETS, startBaidu as start, type BaiduWorld } from './_baidu.ts';
import {
  assertClean,
  assertToldOrWhole,
  hasCode,
  hearAs,
  likeness,
  SETTING,
} from './_speech-vendors.ts';

// ---- The recognisers ----

test('the classic recogniser: messages of the vendor’s page, 16 kHz, each utterance read', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  const hearing = world.hear();
  await hearing.say(1);
  await hearing.say(3);
  await until('two finals', () => hearing.finals().length === 2);
  hearing.close();
  assert.deepEqual(hearing.finals(), ['I want to cancel my order.', 'Stop please.']);
  assert.ok(hearing.events.some((event) => event.type === 'partial'));
  await until('the goodbye', () => world.sim.messages.length === 2);
  const data = {
    ...{ appid: ACCOUNT.appId, appkey: ACCOUNT.apiKey, cuid: 'c', format: 'pcm', sample: 16000 },
    dev_pid: 17372,
  };
  assert.deepEqual(world.sim.messages, [{ type: 'START', data }, { type: 'FINISH' }]);
  const [handshake] = world.sim.handshakes;
  assert.match(String(handshake?.url.searchParams.get('sn')), /^[0-9a-f-]{36}$/);
  assert.equal(handshake?.authorization, null);
  assert.deepEqual(world.sim.asked, [], 'it needs no token');
  await assertClean(world.sim);
});

test('Mandarin has a model of its own, and another one may be named', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  for (const [options, id] of [
    [{}, 15372],
    [{ dev_pid: 1537 }, 1537],
  ] as const) {
    const hearing = hearAs(world.stt(options), world.clock, 'zh');
    await hearing.say(2);
    await until('a final', () => hearing.finals().length === 1);
    assert.deepEqual(hearing.finals(), ['我要查账单。']);
    hearing.close();
    const start = world.sim.messages.findLast(({ type }) => type === 'START');
    assert.match(JSON.stringify(start), new RegExp(`"dev_pid":${id}\\b`));
  }
  await assertClean(world.sim);
});

test('the large recogniser comes in by token, or by the key where there is no secret', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  const byToken = { credentials: { access_token: '24.made-up.own' } };
  world.sim.tokens.add('24.made-up.own');
  for (const more of [{}, ONLY_KEY, byToken]) {
    const hearing = hearAs(world.stt({ service: 'large' }, more), world.clock);
    await hearing.say(1);
    await until('a final', () => hearing.finals().length === 1);
    assert.deepEqual(hearing.finals(), ['I want to cancel my order.']);
    hearing.close();
  }
  const [first, second, third] = world.sim.handshakes;
  assert.equal(third?.url.searchParams.get('access_token'), '24.made-up.own');
  assert.match(String(first?.url.searchParams.get('access_token')), /^24\.made-up\.1$/);
  assert.equal(first?.authorization, null);
  assert.equal(second?.url.searchParams.get('access_token'), null);
  assert.equal(second?.authorization, `Bearer ${ACCOUNT.apiKey}`);
  const data = { model: 'qianfan-asr-v1', format: 'pcm', sample: 16000 };
  assert.deepEqual(world.sim.messages[0], { type: 'START', data });
  await assertClean(world.sim);
});

const LOST_LINES: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 503 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['cut at the start', { kind: 'own', name: 'cut_at_start' }],
  ['dead line', { kind: 'half_open' }],
  ['cut', { kind: 'cut' }],
  ['failed midway', { kind: 'fail_midway' }],
  ['junk', { kind: 'junk' }],
  ['swapped', { kind: 'swapped' }],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }],
  ['recycled', { kind: 'recycle' }],
  ['idle', { kind: 'own', name: 'idle' }],
  ['too many at once', { kind: 'own', name: 'qps' }],
  ['odd fields', { kind: 'own', name: 'odd_fields' }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['late', { kind: 'late' }],
];

for (const [name, fault] of LOST_LINES) {
  test(`recogniser, ${name}: what the caller said is read all the same`, async (t) => {
    const world = await start(t, { clock: fastClock(4) });
    world.sim.faults.add(fault);
    const hearing = world.hear();
    const isLong = fault.kind === 'half_open';
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

test('a sentence that fails by itself (-3005) is given back unread, and the line goes on', async (t) => {
  const world = await start(t, { clock: fastClock(4) });
  world.sim.faults.add({ kind: 'own', name: 'bad_sentence' });
  const hearing = world.hear();
  await hearing.say(1);
  await hearing.say(3);
  await until('two finals', () => hearing.finals().length === 2);
  assert.deepEqual(hearing.finals(), ['', 'Stop please.']);
  assert.equal(world.sim.server.accepted, 1);
  hearing.close();
  await assertClean(world.sim);
});

test('a recogniser that takes the start and says nothing is left, and heard again by another', async (t) => {
  const world = await start(t, { clock: fastClock(8), idleMs: 60_000 });
  world.sim.faults.add({ kind: 'hang' });
  const hearing = world.hear();
  await hearing.say(1, 1_500);
  await hearing.say(3, 3_500);
  // The next line hears it all again, and catches up while the caller goes on.
  const heard = (): string => hearing.finals().filter(Boolean).join(' ');
  for (let n = 0; n < 8 && !heard().includes('Stop'); n++) await hearing.say(3, 2_000);
  assert.match(heard(), /^I want to cancel my order\. Stop please\./);
  assert.deepEqual(hearing.errors(), []);
  hearing.close();
  await assertClean(world.sim);
});

test('without sound a line ends (-3101), and the next sound opens another', async (t) => {
  const world = await start(t, { clock: fastClock(10), idleMs: 1_000 });
  const hearing = world.hear();
  await hearing.silence(200);
  await until(
    'the line is gone',
    () => world.sim.server.accepted === 1 && world.sim.server.open === 0,
  );
  await hearing.say(1, 900);
  await until('a final', () => hearing.finals().length === 1);
  assert.deepEqual(hearing.finals(), ['I want to cancel my order.']);
  assert.deepEqual(hearing.errors(), []);
  hearing.close();
  await assertClean(world.sim);
});

const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ['-3004', 'E_PROVIDER_AUTH', /the account "Made up": credentials app_id or api_key/],
  ['-3006', 'E_PROVIDER_SERVER', /-3006/],
  ['-3008', 'E_PROVIDER_PARAM', /-3008/],
  ['-3013', 'E_PROVIDER_SERVER', /-3013/],
  ['-3014', 'E_PROVIDER_SERVER', /-3014/],
  ['qps', 'E_PROVIDER_QUOTA', /-3004 \(qps limit\)/],
];

test('what the recogniser refuses has its class, its code and no secret', async (t) => {
  const world = await start(t);
  for (const [name, code, text] of REFUSALS) {
    const fault = { kind: 'own', name } as const;
    world.sim.faults.add(fault, fault);
    const hearing = world.hear();
    await until(`${name} told`, () => hearing.errors().length === 1);
    world.sim.faults.clear();
    const [error] = hearing.errors();
    assert.equal(error?.code, code, name);
    assert.equal(error.details['vendorCode'], name === 'qps' ? '-3004' : name);
    assert.match(error.message, text);
    assert.doesNotMatch(error.message, SECRETS);
    hearing.close();
  }
  await assertClean(world.sim);
});

const HANDSHAKES: readonly (readonly [number, string, RegExp])[] = [
  [400, 'E_PROVIDER_PARAM', /refused \(400, code 276000\)/],
  [401, 'E_PROVIDER_AUTH', /"Made up": credentials api_key or secret_key are refused \(401/],
  [403, 'E_PROVIDER_AUTH', /"Made up": credentials api_key or secret_key are refused \(403/],
  [404, 'E_PROVIDER_PARAM', /404/],
  [429, 'E_PROVIDER_QUOTA', /429, code 276001/],
  [500, 'E_PROVIDER_SERVER', /500/],
  [502, 'E_PROVIDER_SERVER', /502/],
];

test('a refused handshake is told by its status and the code in its body, by voice and recogniser', async (t) => {
  const world = await start(t);
  for (const [status, code, text] of HANDSHAKES) {
    const fault = { kind: 'refuse', status } as const;
    world.sim.faults.add(fault, fault);
    const tts = world.tts({}, ONLY_KEY);
    const spoken = speakAll(tts, { text: 'Hello.', language: 'en' });
    await assert.rejects(spoken, hasCode(code, text), `${status}`);
    tts.close?.();
    world.sim.faults.clear();
    world.sim.faults.add(fault, fault);
    const check = world.stt({ service: 'large' }).check?.(new AbortController().signal);
    await assert.rejects(async () => check, hasCode(code, text), `${status}`);
    world.sim.faults.clear();
  }
  await assertClean(world.sim);
});

// ---- The voice ----

const LONG =
  'Your order was found and it will be sent to you tomorrow morning before nine. '.repeat(16);

test('the voice: messages of the vendor’s page, and a spare connection for the next piece', async (t) => {
  const world = await start(t);
  const tts = world.tts({ pitch: 7 }, { speed: 1.2, volume: 0.6, voice: '4' });
  const text = 'Your order is found. It comes tomorrow!';
  const { pcm, marks } = await speakAll(tts, { text, language: 'en' });
  assert.equal(pcm.length, 7 * 1600);
  assert.ok(likeness(pcm, simSpeech(text, 8000)) > 0.98);
  assert.deepEqual(marks.at(-1), { chars: text.length, ms: 1400 });
  const payload = { spd: 6, pit: 7, vol: 3, aue: 5, audio_ctrl: '{"sampling_rate":8000}' };
  const starts = (): unknown[] => world.sim.messages.filter(({ type }) => type === 'system.start');
  await until('a spare is started', () => starts().length === 2);
  assert.deepEqual(starts(), Array(2).fill({ type: 'system.start', payload }));
  const said = world.sim.messages.filter(({ type }) => type !== 'system.start');
  assert.deepEqual(said, [{ type: 'text', payload: { text } }, { type: 'system.finish' }]);
  assert.equal(world.sim.handshakes[0]?.url.searchParams.get('per'), '4');
  // The spare is ready: the next piece begins without a handshake.
  world.sim.faults.add({ kind: 'hang' }, { kind: 'hang' });
  const stream = tts.speak({ text: '您好。', language: 'zh' }, new AbortController().signal);
  assert.equal((await stream.next()).done, false);
  await collect(stream);
  tts.close?.();
  await assertClean(world.sim);
});

test('a long text goes in pieces of at most 1,000 characters, all sound alike', async (t) => {
  const world = await start(t);
  const tts = world.tts();
  const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
  const texts = world.sim.messages.flatMap(({ type, payload }) =>
    type === 'text' ? [(payload as { text: string }).text] : [],
  );
  assert.equal(texts.join(''), LONG.trimEnd());
  assert.ok(texts.length === 2 && texts.every(({ length }) => length <= 1_000));
  assert.ok(likeness(pcm, simSpeech(LONG, 8000)) > 0.98);
  assert.deepEqual(marks.at(-1), { chars: LONG.trimEnd().length, ms: pcm.length / 8 });
  tts.close?.();
  await assertClean(world.sim);
});

test('voices at other rates come down to 8 kHz; chunks cut inside a sample are put together', async (t) => {
  const world = await start(t);
  const text = 'One two three.';
  for (const rate of [8_000, 16_000, 24_000]) {
    world.sim.faults.add({ kind: 'own', name: 'odd_chunks' });
    const tts = world.tts({ sample_rate: rate });
    const { pcm } = await speakAll(tts, { text, language: 'en' });
    assert.ok(Math.abs(pcm.length - 3 * 1600) <= 40, `${rate}: ${pcm.length}`);
    assert.ok(likeness(pcm, simSpeech(text, 8000)) > 0.98, `${rate}`);
    tts.close?.();
    const start = world.sim.messages.findLast(({ type }) => type === 'system.start');
    const sent = JSON.stringify(start);
    assert.match(sent, rate === 8_000 ? /"aue":5/ : /"aue":4/);
    assert.ok(sent.includes(`\\"sampling_rate\\":${rate}}`), sent);
  }
  await assertClean(world.sim);
});

test('a reply that is given up closes its connection, and is heard no more', async (t) => {
  const world = await start(t);
  const tts = world.tts();
  const abort = new AbortController();
  const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
  assert.equal((await stream.next()).done, false);
  abort.abort();
  await assert.rejects(collect(stream), hasCode('E_ABORTED'));
  await until('its connection is closed', () => world.sim.server.open <= 1);
  const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
  assert.ok(likeness(pcm, simSpeech('Yes.', 8000)) > 0.98);
  tts.close?.();
  await assertClean(world.sim);
});

const SURVIVED: readonly (readonly [string, VendorFault])[] = [
  ['slow', { kind: 'slow', ms: 300 }],
  ['empty audio', { kind: 'own', name: 'empty_audio' }],
];
const BROKEN: readonly (readonly [string, VendorFault, string])[] = [
  ['failed before the start', { kind: 'fail_before_start' }, 'E_PROVIDER_SERVER'],
  ['too many at once', { kind: 'own', name: '276001' }, 'E_PROVIDER_QUOTA'],
  ['parameters', { kind: 'own', name: '501' }, 'E_PROVIDER_PARAM'],
  ['silent at the start', { kind: 'hang' }, 'E_TIMEOUT'],
  ['dead line', { kind: 'half_open' }, 'E_TIMEOUT'],
  ['stalled', { kind: 'own', name: 'stall' }, 'E_TIMEOUT'],
  ['without an end', { kind: 'own', name: 'no_end' }, 'E_TIMEOUT'],
  ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER'],
  ['failed midway', { kind: 'fail_midway' }, 'E_PROVIDER_SERVER'],
  ['recycled', { kind: 'recycle' }, 'E_PROVIDER_SERVER'],
  ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER'],
  ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
];

test('voice: what is late or odd is said all the same', async (t) => {
  for (const [name, fault] of SURVIVED) {
    const world = await start(t, { clock: fastClock(4) });
    world.sim.faults.add(fault);
    const tts = world.tts();
    const { pcm } = await speakAll(tts, { text: 'One two three four.', language: 'en' });
    assert.equal(pcm.length, 4 * 1600, name);
    tts.close?.();
    await assertClean(world.sim);
  }
});

test('voice: what breaks is told in time, and the next piece is spoken', async (t) => {
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

test('settings that cannot be are refused by name; Baidu is in the list of vendors', async (t) => {
  const world = await start(t);
  const rows: readonly [Record<string, unknown>, RegExp][] = [
    [{ service: 'small' }, /options\.service/],
    [{ dev_pid: 'zh' }, /options\.dev_pid/],
    [{ url: 'http://127.0.0.1' }, /options\.url/],
    [{ token_url: 'ws://127.0.0.1' }, /options\.token_url/],
    [{ sample_rate: 44100 }, /options\.sample_rate/],
    [{ pitch: 16 }, /options\.pitch/],
  ];
  for (const [options, text] of rows) {
    const make = (): unknown => [world.stt(options), world.tts(options)];
    assert.throws(make, hasCode('E_CONFIG', text));
    assert.throws(make, hasCode('E_CONFIG', new RegExp(SETTING)));
  }
  const credentials = { app_id: 'mine', api_key: 'x' };
  assert.throws(
    () => world.stt({}, { credentials }),
    hasCode('E_CONFIG', /app_id is not a number/),
  );
  assert.throws(
    () => world.tts({}, { credentials: {} }),
    hasCode('E_CONFIG', /api_key is missing/),
  );
  assert.equal(VENDORS.filter((each) => each === BAIDU).length, 1);
});

// ---- The suites of every vendor ----

describe('contract', () => {
  let world: BaiduWorld;
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
  testTts('baidu', make, texts);
  // Nothing is said in its audio: each utterance is given back unread, after `quietMs`.
  testStt(
    'baidu',
    () => world.stt(),
    () => new Promise((resolve) => setTimeout(resolve, 950)),
  );
});
