/** MiniMax's voice against the simulated vendor, by all three of its services: contracts, messages, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import type { TtsProvider } from '#providers/contract.ts';
import { MINIMAX } from '#providers/minimax/module.ts';
import {
  startSimMinimax,
  type SimMinimax,
  type SimMinimaxOptions,
} from '#providers/sim/minimax.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { VENDORS } from '#providers/vendor-list.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { collect, speakAll, testTts } from '../unit/_provider-contract.ts';
import { fastClock, until } from './_aliyun-nls.ts';
import {
  assertClean,
  assertToldOrWhole,
  hasCode,
  likeness,
  SETTING,
  vendorSettings,
  vendorTools,
} from './_speech-vendors.ts';
import { atEnd } from './_store.ts';

const API_KEY = 'made-up-key-0009';
const PROTOCOLS = ['websocket', 'bidirectional', 'http'] as const;
const SOCKETS = ['websocket', 'bidirectional'] as const;

type Protocol = (typeof PROTOCOLS)[number];
type World = {
  readonly sim: SimMinimax;
  readonly clock: Clock;
  tts(
    protocol: Protocol,
    options?: Record<string, unknown>,
    more?: Partial<VendorSettings>,
  ): TtsProvider;
};

async function start(
  t: TestContext | null,
  { clock = systemClock, ...more }: Partial<SimMinimaxOptions> = {},
): Promise<World> {
  const sim = await startSimMinimax({ apiKey: API_KEY, clock, ...more });
  if (t !== null) atEnd(t, () => sim.close());
  const urls = { websocket: sim.wsUrl, bidirectional: sim.twoWayUrl, http: sim.httpUrl };
  return {
    ...{ sim, clock },
    tts: (protocol, options = {}, rest = {}) => {
      const all = { protocol, url: urls[protocol], ...options };
      const settings = vendorSettings({ api_key: API_KEY }, all, rest);
      return MINIMAX.tts?.(settings, vendorTools(clock)) as TtsProvider;
    },
  };
}

const TEXT = 'Your order is found. It comes tomorrow!';
const LONG =
  'Your order was found and it will be sent to you tomorrow morning before nine. '.repeat(16);
const VOICE = {
  model: 'speech-2.8-turbo',
  voice_setting: { voice_id: 'female-shaonv', speed: 1.2, vol: 0.5, pitch: -2, emotion: 'happy' },
  audio_setting: { sample_rate: 8000, format: 'pcm', channel: 1 },
  language_boost: 'Chinese',
};

for (const protocol of PROTOCOLS) {
  test(`${protocol}: the messages are those of the vendor’s page, and the sound is the vendor’s`, async (t) => {
    const world = await start(t);
    const options = { pitch: -2, emotion: 'happy', language_boost: 'Chinese' };
    const tts = world.tts(protocol, options, { speed: 1.2, volume: 0.5 });
    const { pcm, marks } = await speakAll(tts, { text: TEXT, language: 'en' });
    assert.equal(pcm.length, 7 * 1600);
    assert.ok(likeness(pcm, simSpeech(TEXT, 8000)) > 0.98);
    assert.deepEqual(marks.at(-1), { chars: TEXT.length, ms: 1400 });
    tts.close?.();
    const [first, ...rest] = world.sim.messages;
    if (protocol === 'http') {
      const stream = { stream: true, stream_options: { exclude_aggregated_audio: true } };
      assert.deepEqual(first, { ...VOICE, text: TEXT, ...stream });
    } else {
      assert.deepEqual(first, { event: 'task_start', ...VOICE });
      const said = rest.filter(({ event }) => !/start|finish/.test(String(event)));
      const flush = protocol === 'bidirectional' ? [{ event: 'task_flush' }] : [];
      assert.deepEqual(said, [{ event: 'task_continue', text: TEXT }, ...flush]);
    }
    await assertClean(world.sim);
  });

  test(`${protocol}: sound that the last message brings again is said once, and what only it brings is said`, async (t) => {
    for (const name of ['final_repeats', 'status_repeats', 'only_final', 'odd_chunks']) {
      const world = await start(t);
      const fault = { kind: 'own', name } as const;
      world.sim.faults.add(fault, fault, fault, fault);
      const tts = world.tts(protocol);
      for (const text of [TEXT, 'Yes.']) {
        const { pcm } = await speakAll(tts, { text, language: 'en' });
        const sound = simSpeech(text, 8000);
        assert.equal(pcm.length, sound.length, `${name}: ${text}`);
        assert.ok(likeness(pcm, sound) > 0.98, `${name}: ${text}`);
      }
      tts.close?.();
      await assertClean(world.sim);
    }
  });

  test(`${protocol}: a long text goes in pieces of at most 1,000 characters`, async (t) => {
    const world = await start(t);
    const tts = world.tts(protocol);
    const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
    const texts = world.sim.messages.flatMap(({ text }) =>
      typeof text === 'string' ? [text] : [],
    );
    assert.equal(texts.join(''), LONG.trimEnd());
    assert.ok(texts.length === 2 && texts.every(({ length }) => length <= 1_000));
    assert.ok(likeness(pcm, simSpeech(LONG, 8000)) > 0.98);
    assert.deepEqual(marks.at(-1), { chars: LONG.trimEnd().length, ms: pcm.length / 8 });
    tts.close?.();
    await assertClean(world.sim);
  });

  test(`${protocol}: other rates come down to 8 kHz`, async (t) => {
    const world = await start(t);
    for (const rate of [16_000, 24_000, 32_000]) {
      const tts = world.tts(protocol, { sample_rate: rate });
      const { pcm } = await speakAll(tts, { text: 'One two three.', language: 'en' });
      assert.ok(Math.abs(pcm.length - 3 * 1600) <= 40, `${rate}: ${pcm.length}`);
      assert.ok(likeness(pcm, simSpeech('One two three.', 8000)) > 0.98, `${rate}`);
      tts.close?.();
    }
    await assertClean(world.sim);
  });

  test(`${protocol}: what breaks is told in time, and the next piece is spoken`, async (t) => {
    const rows: readonly (readonly [string, VendorFault, string])[] = [
      ...BROKEN,
      ...(protocol === 'http' ? [] : BROKEN_SOCKETS),
    ];
    for (const [name, fault, code] of rows) {
      const world = await start(t, { clock: fastClock(8) });
      world.sim.faults.add(fault);
      const tts = world.tts(protocol);
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

  test(`${protocol}: what the vendor refuses has its class, its code and no secret`, async (t) => {
    const world = await start(t);
    for (const [number, code, text] of REFUSALS) {
      const fault = { kind: 'own', name: number } as const;
      world.sim.faults.add(fault, fault, fault, fault);
      const tts = world.tts(protocol);
      const thrown: unknown = await speakAll(tts, { text: 'One.', language: 'en' }).catch(
        (error: unknown) => error,
      );
      assert.ok(hasCode(code, text)(thrown), `${number}: ${String(thrown)}`);
      assert.equal((thrown as AppError).details['vendorCode'], number);
      assert.doesNotMatch((thrown as AppError).message, /made-up-key/);
      tts.close?.();
      world.sim.faults.clear();
    }
    await assertClean(world.sim);
  });

  test(`${protocol}: refused requests are told by their status, a wrong key by its setting`, async (t) => {
    const world = await start(t);
    for (const [status, code] of HANDSHAKES) {
      world.sim.faults.clear();
      const fault = { kind: 'refuse', status } as const;
      world.sim.faults.add(fault, fault);
      const tts = world.tts(protocol);
      const spoken = speakAll(tts, { text: 'One.', language: 'en' });
      await assert.rejects(spoken, hasCode(code, new RegExp(String(status))));
      tts.close?.();
    }
    world.sim.faults.clear();
    const url = protocol === 'http' ? world.sim.httpUrl : world.sim.wsUrl;
    const settings = vendorSettings({ api_key: 'another-key' }, { protocol, url });
    const wrong = MINIMAX.tts?.(settings, vendorTools()) as TtsProvider;
    const spoken = speakAll(wrong, { text: 'One.', language: 'en' });
    const text = new RegExp(`${SETTING}: credentials.api_key is refused; a key works on the host`);
    await assert.rejects(spoken, hasCode('E_PROVIDER_AUTH', text));
    wrong.close?.();
    await assertClean(world.sim);
  });

  test(`${protocol}: a reply that is given up is heard no more, and the next one is whole`, async (t) => {
    for (const fault of [null, { kind: 'late' }] as const) {
      const world = await start(t);
      world.sim.faults.add(fault, fault);
      const tts = world.tts(protocol);
      const abort = new AbortController();
      const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
      assert.equal((await stream.next()).done, false);
      abort.abort();
      await assert.rejects(collect(stream), hasCode('E_ABORTED'));
      for (let n = 0; n < 3; n++) {
        const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
        assert.equal(pcm.length, 1600);
        assert.ok(likeness(pcm, simSpeech('Yes.', 8000)) > 0.98);
      }
      tts.close?.();
      await assertClean(world.sim);
    }
  });
}

const BROKEN: readonly (readonly [string, VendorFault, string])[] = [
  ['silent at the start', { kind: 'hang' }, 'E_TIMEOUT'],
  ['stalled', { kind: 'own', name: 'stall' }, 'E_TIMEOUT'],
  ['dead line', { kind: 'half_open' }, 'E_TIMEOUT'],
  ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER'],
  ['ended midway', { kind: 'recycle' }, 'E_PROVIDER_SERVER'],
  ['failed midway', { kind: 'fail_midway' }, 'E_PROVIDER_SERVER'],
  ['moderated', { kind: 'moderated' }, 'E_PROVIDER_CONTENT'],
  ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER'],
];
const BROKEN_SOCKETS: readonly (readonly [string, VendorFault, string])[] = [
  ['failed before the start', { kind: 'fail_before_start' }, 'E_PROVIDER_SERVER'],
  ['without an end', { kind: 'own', name: 'no_end' }, 'E_TIMEOUT'],
  ['failed without a reason', { kind: 'own', name: 'failed_plainly' }, 'E_PROVIDER_SERVER'],
  ['no hex', { kind: 'own', name: 'no_hex' }, 'E_PROVIDER_SERVER'],
  ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
];
const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ['1000', 'E_PROVIDER_SERVER', /1000/],
  ['1001', 'E_PROVIDER_SERVER', /1001/],
  ['1002', 'E_PROVIDER_QUOTA', /1002/],
  ['1004', 'E_PROVIDER_AUTH', /the account "Made up": credentials\.api_key is refused/],
  ['1008', 'E_PROVIDER_AUTH', /the account "Made up": the account has no balance/],
  ['1013', 'E_PROVIDER_SERVER', /1013/],
  ['1024', 'E_PROVIDER_SERVER', /1024/],
  ['1026', 'E_PROVIDER_CONTENT', /1026/],
  ['1027', 'E_PROVIDER_CONTENT', /1027/],
  ['1039', 'E_PROVIDER_QUOTA', /1039/],
  ['1042', 'E_PROVIDER_PARAM', /1042/],
  ['2013', 'E_PROVIDER_PARAM', /2013/],
  ['2049', 'E_PROVIDER_AUTH', /the account "Made up": credentials\.api_key is refused/],
];
const HANDSHAKES = [
  [400, 'E_PROVIDER_PARAM'],
  [401, 'E_PROVIDER_AUTH'],
  [403, 'E_PROVIDER_AUTH'],
  [429, 'E_PROVIDER_QUOTA'],
  [500, 'E_PROVIDER_SERVER'],
] as const;

for (const protocol of SOCKETS) {
  test(`${protocol}: one task says many pieces, and outlives the turn it was opened for`, async (t) => {
    const world = await start(t);
    const tts = world.tts(protocol);
    const first = new AbortController();
    await speakAll(tts, { text: 'One.', language: 'en' }, first.signal);
    for (let n = 0; n < 4; n++) {
      const stream = tts.speak({ text: 'Two three four.', language: 'en' }, ever());
      await stream.next();
      // The turn before is over by now, and cleared away.
      first.abort();
      await collect(stream);
    }
    assert.ok(world.sim.server.accepted <= 2, 'one connection, and a spare one');
    tts.close?.();
    await assertClean(world.sim);
  });

  test(`${protocol}: slow and odd messages do no harm; a task rests no longer than the vendor lets it`, async (t) => {
    for (const fault of [
      { kind: 'slow', ms: 300 },
      { kind: 'own', name: 'odd_fields' },
    ] as const) {
      const world = await start(t, { clock: fastClock(4) });
      world.sim.faults.add(fault);
      const tts = world.tts(protocol);
      const { pcm } = await speakAll(tts, { text: 'One two three four.', language: 'en' });
      assert.equal(pcm.length, 4 * 1600);
      tts.close?.();
      await assertClean(world.sim);
    }
    // Minutes are short, seconds are not: 100 s are 200 ms, and the vendor's 120 s are 240.
    const setTimer: Clock['setTimer'] = (act, ms) =>
      systemClock.setTimer(act, ms >= 60_000 ? ms / 500 : ms);
    const world = await start(t, { clock: { ...systemClock, setTimer } });
    const tts = world.tts(protocol);
    await speakAll(tts, { text: 'One.', language: 'en' });
    await new Promise((resolve) => setTimeout(resolve, 290));
    assert.equal((await speakAll(tts, { text: 'Two.', language: 'en' })).pcm.length, 1600);
    tts.close?.();
    await assertClean(world.sim);
  });
}

test('bidirectional: what is given up is cancelled, and the same task goes on', async (t) => {
  const world = await start(t);
  const tts = world.tts('bidirectional');
  await speakAll(tts, { text: 'One.', language: 'en' });
  for (let n = 0; n < 5; n++) {
    const abort = new AbortController();
    const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
    await stream.next();
    abort.abort();
    await assert.rejects(collect(stream), hasCode('E_ABORTED'));
  }
  const cancelled = (): unknown[] =>
    world.sim.messages.filter(({ event }) => event === 'task_cancel');
  await until('five are cancelled', () => cancelled().length === 5);
  assert.ok(world.sim.server.accepted <= 7, `${world.sim.server.accepted} connections`);
  tts.close?.();
  await assertClean(world.sim);
});

test('bidirectional: a cancel that is not answered closes the connection', async (t) => {
  const world = await start(t, { clock: fastClock(8) });
  world.sim.faults.add({ kind: 'own', name: 'no_cancel' });
  const tts = world.tts('bidirectional');
  const abort = new AbortController();
  const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
  await stream.next();
  abort.abort();
  await assert.rejects(collect(stream), hasCode('E_ABORTED'));
  tts.close?.();
  await assertClean(world.sim);
});

test('another voice has a task of its own; the older host gets its group', async (t) => {
  const world = await start(t);
  const tts = world.tts('websocket', { group_id: '17' });
  await speakAll(tts, { text: 'One.', language: 'en', voice: 'male-qn' });
  await speakAll(tts, { text: 'Two.', language: 'en' });
  tts.close?.();
  const starts = world.sim.messages.filter(({ event }) => event === 'task_start');
  const voices = starts.map((each) => (each['voice_setting'] as { voice_id: string }).voice_id);
  assert.deepEqual(voices.slice(0, 2), ['male-qn', 'female-shaonv']);
  assert.ok(world.sim.urls.every((url) => url.searchParams.get('GroupId') === '17'));
  await assertClean(world.sim);
});

test('settings that cannot be are refused by name; MiniMax is in the list of vendors', async (t) => {
  const world = await start(t);
  const rows: readonly [Record<string, unknown>, RegExp][] = [
    [{ protocol: 'smoke' }, /options\.protocol/],
    [{ url: 'http://127.0.0.1' }, /options\.url/],
    [{ sample_rate: 48000 }, /options\.sample_rate/],
    [{ pitch: 13 }, /options\.pitch/],
    [{ emotion: 5 }, /options\.emotion/],
  ];
  for (const [options, text] of rows) {
    assert.throws(() => world.tts('websocket', options), hasCode('E_CONFIG', text));
  }
  const none = (): unknown => world.tts('websocket', {}, { credentials: {} });
  assert.throws(none, hasCode('E_CONFIG', /credentials\.api_key is missing/));
  assert.equal(VENDORS.filter((each) => each === MINIMAX).length, 1);
  assert.ok(MINIMAX.llm, 'its language models come with it');
});

function ever(): AbortSignal {
  return new AbortController().signal;
}

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
    { text: LONG.slice(0, 400), language: 'en' as const },
  ];
  for (const protocol of PROTOCOLS) {
    const make = (): TtsProvider => {
      const tts = world.tts(protocol);
      made.push(tts);
      return tts;
    };
    testTts(`minimax ${protocol}`, make, texts);
  }
});
