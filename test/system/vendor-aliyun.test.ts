/** The client of Aliyun NLS against the simulated gateway: contracts, messages as the vendor has them, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { ALIYUN } from '#providers/aliyun/module.ts';
import type { SttEvent, SttProvider, TtsProvider } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { collect, speakAll, testStt, testTts } from '../unit/_provider-contract.ts';
import {
  assertClean,
  fastClock,
  GOOD_TOKEN,
  spoken,
  startNls,
  until,
  type NlsWorld,
} from './_aliyun-nls.ts';

function sttOf(world: NlsWorld, options: Record<string, unknown> = {}): SttProvider {
  const made = ALIYUN.stt?.(world.settings(options), world.tools);
  assert.ok(made);
  return made;
}

function ttsOf(world: NlsWorld, options: Record<string, unknown> = {}): TtsProvider {
  const made = ALIYUN.tts?.(world.settings(options), world.tools);
  assert.ok(made);
  return made;
}

// ---- One call's recogniser ----

type Hearing = {
  readonly events: SttEvent[];
  readonly finals: () => string[];
  readonly errors: () => AppError[];
  /** Speaks and waits as a call does: real time of the world's clock, in frames of 20 ms. */
  say(id: number, tailMs?: number): Promise<void>;
  close(): void;
};

function hear(world: NlsWorld, stt: SttProvider): Hearing {
  const events: SttEvent[] = [];
  const session = stt.open({ callId: 'c', language: 'en', onEvent: (event) => events.push(event) });
  let atMs = 0;
  return {
    events,
    finals: () => events.flatMap((event) => (event.type === 'final' ? [event.text] : [])),
    errors: () =>
      events.flatMap((event) => (event.type === 'error' ? [event.error as AppError] : [])),
    async say(id, tailMs = 600) {
      const startMs = atMs;
      const pcm = spoken(id, tailMs);
      const speechMs = (pcm.length - tailMs * 8) / 8;
      let isStopped = false;
      session.speechStarted(startMs);
      for (let at = 0; at < pcm.length; at += 160) {
        session.push(pcm.subarray(at, at + 160));
        atMs += 20;
        if (!isStopped && atMs - startMs >= speechMs + 200) {
          isStopped = true;
          session.speechStopped({ pcm, startMs, endMs: startMs + speechMs });
        }
        await new Promise<void>((resolve) => void world.clock.setTimer(resolve, 20));
      }
    },
    close: () => session.close(),
  };
}

test('the messages of the recogniser are those of the vendor’s page', async (t) => {
  const world = await startNls(t);
  const hearing = hear(world, sttOf(world, { vocabulary_id: 'v1', max_sentence_silence: 200 }));
  await hearing.say(1);
  await until('a final', () => hearing.finals().length === 1);
  hearing.close();
  const [start] = world.nls.messages;
  const { message_id: messageId, task_id: taskId, ...header } = start?.header ?? {};
  assert.deepEqual(header, {
    ...{ appkey: 'app8', namespace: 'SpeechTranscriber', name: 'StartTranscription' },
  });
  assert.match(`${String(messageId)} ${String(taskId)}`, /^[0-9a-f]{32} [0-9a-f]{32}$/);
  assert.deepEqual(start?.payload, {
    ...{ format: 'pcm', sample_rate: 8000, enable_intermediate_result: true },
    ...{ enable_punctuation_prediction: true, enable_inverse_text_normalization: true },
    ...{ max_sentence_silence: 200, enable_words: false, vocabulary_id: 'v1' },
  });
  assert.deepEqual(world.nls.offered, [GOOD_TOKEN]);
  assert.deepEqual(hearing.finals(), ['I want to cancel my order.']);
  assert.ok(hearing.events.some((event) => event.type === 'partial'));
  await assertClean(world);
});

test('a project of 16 kHz is fed at 16 kHz', async (t) => {
  const world = await startNls(t);
  const hearing = hear(world, sttOf(world, { sample_rate: 16000, app_key: 'app16' }));
  await hearing.say(2);
  await until('a final', () => hearing.finals().length === 1);
  assert.deepEqual(hearing.finals(), ['我要查账单。']);
  hearing.close();
  await assertClean(world);
});

const LOST_LINES: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 503 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['closed before the start', { kind: 'own', name: 'close_before_start' }],
  ['cut at the start', { kind: 'own', name: 'cut_at_start' }],
  ['silent at the start', { kind: 'hang' }],
  ['dead line', { kind: 'half_open' }],
  ['cut', { kind: 'cut' }],
  ['failed midway', { kind: 'fail_midway' }],
  ['junk', { kind: 'junk' }],
  ['swapped', { kind: 'swapped' }],
  ['huge', { kind: 'huge', bytes: 2 * 1024 * 1024 }],
  ['recycled', { kind: 'recycle' }],
  ['idle', { kind: 'own', name: 'idle' }],
  ['odd fields', { kind: 'own', name: 'odd_fields' }],
  ['late', { kind: 'late' }],
];

for (const [name, fault] of LOST_LINES) {
  test(`recogniser, ${name}: what the caller said is read all the same`, async (t) => {
    const world = await startNls(t, { clock: fastClock(4) });
    world.nls.faults.add(fault);
    const hearing = hear(world, sttOf(world));
    const isLong = fault.kind === 'hang' || fault.kind === 'half_open';
    await hearing.say(1, isLong ? 3_500 : 600);
    // What a line of no use has cost more time than an utterance may wait for, comes with the next one.
    if (isLong) await hearing.say(3, 600);
    const expected = isLong
      ? /^I want to cancel my order\. Stop please\.$/
      : /^I want to cancel my order\.$/;
    const heard = (): string => hearing.finals().filter(Boolean).join(' ');
    await until(`the words, only ${JSON.stringify(hearing.events)}`, () => expected.test(heard()));
    hearing.close();
    assert.deepEqual(hearing.errors(), [], name);
    await assertClean(world);
  });
}

const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ['40000000', 'E_PROVIDER_PARAM', /40000000/],
  [
    '40000001',
    'E_PROVIDER_AUTH',
    /access_key_id or access_key_secret of the speech account "Aliyun"/,
  ],
  ['40000002', 'E_PROVIDER_PARAM', /40000002/],
  ['40000003', 'E_PROVIDER_PARAM', /40000003/],
  ['40000005', 'E_PROVIDER_QUOTA', /40000005/],
  ['40000009', 'E_PROVIDER_PARAM', /40000009/],
  ['40000010', 'E_PROVIDER_AUTH', /trial/],
  ['40010003', 'E_PROVIDER_SERVER', /40010003/],
  ['40020105', 'E_PROVIDER_AUTH', /app_key of the speech account/],
  ['40020106', 'E_PROVIDER_AUTH', /app_key of the speech account/],
  ['51040104', 'E_PROVIDER_SERVER', /51040104/],
];

test('what the vendor refuses has its class, its code and no secret, for recogniser and voice', async (t) => {
  const world = await startNls(t);
  for (const [status, code, text] of REFUSALS) {
    const fault = { kind: 'own', name: status } as const;
    world.nls.faults.clear();
    world.nls.faults.add(fault, fault, fault);
    const hearing = hear(world, sttOf(world));
    await until(`${status} told`, () => hearing.errors().length === 1);
    const tts = ttsOf(world);
    world.nls.faults.clear();
    world.nls.faults.add(fault, fault, fault, fault);
    const thrown: unknown = await speakAll(tts, { text: 'Hello.', language: 'en' }).catch(
      (e: unknown) => e,
    );
    for (const error of [hearing.errors()[0], thrown]) {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, code, status);
      assert.equal(error.details['vendorCode'], status);
      assert.match(error.message, text);
      assert.doesNotMatch(error.message, /nls-good-token|app8/);
    }
    hearing.close();
    tts.close?.();
  }
  await assertClean(world);
});

test('a token that is refused is renewed once, and the next one is used', async (t) => {
  const world = await startNls(t);
  const token = async (refused?: string) => {
    world.asked.push(refused ?? null);
    return { token: refused === undefined ? 'stale' : GOOD_TOKEN, appKey: 'app8', region: 'r' };
  };
  const settings = world.settings({}, { token });
  const tts = ALIYUN.tts?.(settings, world.tools) as TtsProvider;
  const { pcm } = await speakAll(tts, { text: 'Hello there.', language: 'en' });
  assert.equal(pcm.length, 2 * 1600);
  tts.close?.();
  assert.ok(world.asked.includes('stale'));
  const stt = ALIYUN.stt?.(settings, world.tools) as SttProvider;
  const hearing = hear(world, stt);
  await hearing.say(1);
  await until('a final', () => hearing.finals().length === 1);
  hearing.close();
  assert.equal(world.asked.filter((refused) => refused === 'stale').length >= 2, true);
  await assertClean(world);
});

test('a token that is refused and cannot be renewed is an error at once, without the token in it', async (t) => {
  const world = await startNls(t);
  world.tokens.clear();
  const hearing = hear(world, sttOf(world));
  await until('the error', () => hearing.errors().length === 1);
  assert.equal(hearing.errors()[0]?.code, 'E_PROVIDER_AUTH');
  assert.doesNotMatch(JSON.stringify(hearing.errors()[0]?.message), /none'/);
  assert.equal(world.nls.server.accepted, 1, 'it is not tried with the same token again');
  await assertClean(world);
});

test('a check of the recogniser says what is wrong, or nothing', async (t) => {
  const world = await startNls(t);
  const { signal } = new AbortController();
  await sttOf(world).check?.(signal);
  const names = world.nls.messages.map(({ header }) => header['name']);
  assert.deepEqual(names, ['StartTranscription', 'StopTranscription']);
  await assert.rejects(
    sttOf(world, { app_key: 'x' }).check?.(signal) ?? Promise.resolve(),
    /app_key of/,
  );
  await assertClean(world);
});

test('a rate that the project is not made for is told once, by the vendor’s code', async (t) => {
  const world = await startNls(t);
  const hearing = hear(world, sttOf(world, { sample_rate: 16000 }));
  await until('the error', () => hearing.errors().length === 1);
  assert.equal(hearing.errors()[0]?.code, 'E_PROVIDER_PARAM');
  assert.deepEqual(world.nls.violations.length, 1);
  hearing.close();
});

test('settings that cannot be are refused by name', async (t) => {
  const world = await startNls(t);
  const rows: readonly [Record<string, unknown>, RegExp][] = [
    [{ max_sentence_silence: 100 }, /options\.max_sentence_silence/],
    [{ sample_rate: 44100 }, /options\.sample_rate/],
    [{ gateway_url: 'http://127.0.0.1' }, /options\.gateway_url/],
    [{ synthesizer: 'both' }, /options\.synthesizer/],
    [{ enable_subtitle: 'yes' }, /options\.enable_subtitle/],
    [{ pitch_rate: 501 }, /options\.pitch_rate/],
  ];
  for (const [options, text] of rows) {
    const make = (): unknown => [sttOf(world, options), ttsOf(world, options)];
    assert.throws(make, (error) => error instanceof AppError && text.test(error.message));
  }
  const without = world.settings({}, { token: null });
  assert.throws(() => ALIYUN.tts?.(without, world.tools), /POST \/api\/v1\/aliyun\/config/);
});

// ---- Voices ----

const LONG =
  'Your order was found and it will be sent to you tomorrow morning before nine. '.repeat(6);

test('a flowing voice: messages, marks from the vendor’s times, and one connection for many replies', async (t) => {
  const world = await startNls(t);
  const tts = ttsOf(world, { pitch_rate: 10 });
  const text = 'Your order is found. It comes tomorrow!';
  const { pcm, marks } = await speakAll(tts, { text, language: 'en' });
  assert.equal(pcm.length, 7 * 1600);
  assert.deepEqual(
    marks.map(({ chars, ms }) => [chars, ms]),
    [
      [4, 200],
      [10, 400],
      [13, 600],
      [20, 800],
      [23, 1000],
      [29, 1200],
      [39, 1400],
    ],
  );
  for (let n = 0; n < 3; n++) await speakAll(tts, { text: '您好。', language: 'zh' });
  const [start, run, stop] = world.nls.messages;
  assert.deepEqual(
    [start, run, stop].map((message) => [message?.header['name'], message?.payload]),
    [
      [
        'StartSynthesis',
        {
          ...{ voice: 'longxiaochun', format: 'pcm', sample_rate: 8000, volume: 50 },
          ...{ speech_rate: 0, pitch_rate: 10, enable_subtitle: true },
        },
      ],
      ['RunSynthesis', { text }],
      ['StopSynthesis', {}],
    ],
  );
  const ids = world.nls.messages.map(({ header }) => String(header['task_id']));
  assert.equal(new Set(ids).size, 4, 'each reply is a task of its own');
  assert.ok(world.nls.server.accepted <= 2, 'on a connection that stays, beside a spare one');
  tts.close?.();
  await assertClean(world);
});

test('a voice that does not flow is given at most 300 characters at a time', async (t) => {
  const world = await startNls(t);
  const tts = ttsOf(world, { voice: 'xiaoyun', enable_subtitle: true });
  const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
  const texts = world.nls.messages.map(({ payload }) => String(payload['text']));
  assert.equal(texts.join(''), LONG.trimEnd());
  assert.ok(texts.length === 2 && texts.every(({ length }) => length <= 300));
  assert.equal(world.nls.messages[0]?.header['namespace'], 'SpeechSynthesizer');
  assert.equal(pcm.length, 15 * 6 * 1600);
  assert.deepEqual(marks.at(-1), { chars: LONG.trimEnd().length, ms: 15 * 6 * 200 });
  assert.equal(marks.length, 15 * 6);
  tts.close?.();
  await assertClean(world);
});

test('voices at other rates come down to 8 kHz', async (t) => {
  const world = await startNls(t);
  for (const [rate, voice] of [
    [16000, 'xiaoyun'],
    [24000, 'longxiaochun'],
  ] as const) {
    const tts = ttsOf(world, { sample_rate: rate, voice });
    const { pcm } = await speakAll(tts, { text: 'One two three.', language: 'en' });
    assert.ok(Math.abs(pcm.length - 3 * 1600) <= 40, `${rate}: ${pcm.length}`);
    tts.close?.();
  }
  await assertClean(world);
});

const SURVIVED: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 502 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['closed before the start', { kind: 'own', name: 'close_before_start' }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['late', { kind: 'late' }],
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
  ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
  ['huge', { kind: 'huge', bytes: 2 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
];

for (const voice of ['longxiaochun', 'xiaoyun']) {
  test(`${voice}: what fails before the first sound is tried again; nothing is lost`, async (t) => {
    for (const [name, fault] of SURVIVED) {
      const world = await startNls(t, { clock: fastClock(4) });
      world.nls.faults.add(fault);
      const tts = ttsOf(world, { voice });
      // A handshake that fails is the pool's to try again: it has cost nothing yet.
      const first = speakAll(tts, { text: 'One two three four.', language: 'en' });
      if (fault.kind === 'refuse') await assert.rejects(first, /502/);
      else assert.equal((await first).pcm.length, 4 * 1600, name);
      const { pcm } = await speakAll(tts, { text: 'Five six.', language: 'en' });
      assert.equal(pcm.length, 2 * 1600, `${name}: the next one`);
      tts.close?.();
      await assertClean(world);
    }
  });

  test(`${voice}: what breaks in the middle is told in time, and the next piece is spoken`, async (t) => {
    for (const [name, fault, code] of BROKEN) {
      const world = await startNls(t, { clock: fastClock(8) });
      world.nls.faults.add(fault);
      const tts = ttsOf(world, { voice });
      const startMs = world.clock.now();
      await assert.rejects(
        speakAll(tts, { text: 'One two three four five six.', language: 'en' }),
        (error) => error instanceof AppError && error.code === code,
        name,
      );
      const tookMs = world.clock.now() - startMs;
      assert.ok(tookMs < 6_500, `${name}: ${tookMs} ms`);
      const { pcm } = await speakAll(tts, { text: 'Seven.', language: 'en' });
      assert.equal(pcm.length, 1600, name);
      tts.close?.();
      await assertClean(world);
    }
  });
}

test('a reply that is given up closes its connection, and is heard no more', async (t) => {
  const world = await startNls(t);
  const tts = ttsOf(world);
  const abort = new AbortController();
  const stream = tts.speak({ text: LONG, language: 'en' }, abort.signal);
  assert.equal((await stream.next()).done, false);
  abort.abort();
  await assert.rejects(collect(stream), (e) => e instanceof AppError && e.code === 'E_ABORTED');
  await until('its connection is closed', () => world.nls.server.open <= 1);
  const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
  assert.equal(pcm.length, 1600, 'nothing of the former reply is in it');
  tts.close?.();
  await assertClean(world);
});

test('a connection rests no longer than the vendor lets it', async (t) => {
  const world = await startNls(t, { clock: fastClock(50) });
  const tts = ttsOf(world);
  await speakAll(tts, { text: 'One.', language: 'en' });
  // Far more than 10 s on the world's clock.
  await new Promise((resolve) => setTimeout(resolve, 280));
  await speakAll(tts, { text: 'Two.', language: 'en' });
  tts.close?.();
  await assertClean(world);
});

// ---- The suites of every vendor ----

describe('contract', () => {
  let world: NlsWorld;
  const made: TtsProvider[] = [];
  before(async () => {
    world = await startNls(null);
  });
  after(async () => {
    for (const tts of made) tts.close?.();
    await assertClean(world);
    await world.nls.close();
  });
  const texts = [
    { text: 'Your order is on its way, and it comes tomorrow.', language: 'en' as const },
    { text: '您好，您的订单已经发出。', language: 'zh' as const },
    { text: LONG, language: 'en' as const },
  ];
  for (const voice of ['longxiaochun', 'xiaoyun']) {
    const make = (): TtsProvider => {
      const tts = ttsOf(world, { voice });
      made.push(tts);
      return tts;
    };
    testTts(`aliyun ${voice}`, make, texts);
  }
  // Nothing is said in its audio: each utterance is given back unread, after `quietMs`.
  testStt(
    'aliyun',
    () => sttOf(world),
    () => new Promise((resolve) => setTimeout(resolve, 950)),
  );
});
