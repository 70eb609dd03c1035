/** DashScope's recogniser and voices against the simulated vendor: contracts, messages as its pages have them, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { SttProvider, TtsProvider } from '#providers/contract.ts';
import { DASHSCOPE } from '#providers/dashscope/module.ts';
import { SIM_DASHSCOPE_KEY } from '#providers/sim/dashscope.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { collect, speakAll, testStt, testTts } from '../unit/_provider-contract.ts';
import { fastClock, until, WORDS } from './_aliyun-nls.ts';
import {
  ever,
  own,
  SERVICES,
  settingsOf,
  startDashscope,
  sttOf,
  ttsOf,
  type Json,
  type World,
} from './_dashscope.ts';
import {
  assertClean,
  during,
  hasCode,
  hearAs,
  likeness,
  pass,
  SETTING,
  vendorTools,
} from './_speech-vendors.ts';

const headOf = (message: Json | undefined): Json => (message?.['header'] ?? {}) as Json;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('messages and refusals', { concurrency: 6 }, () => {
  test('recogniser: the messages are those of the vendor’s page', async (t) => {
    const world = await startDashscope(t);
    const options = { max_sentence_silence: 500, workspace: 'ws-1', data_inspection: true };
    const hearing = hearAs(sttOf(world, options), world.clock, 'zh');
    await hearing.say(2, 900);
    await until('a final', () => hearing.finals().length === 1);
    hearing.close();
    await until('the goodbye', () => world.sim.messages.length === 2);
    const [run, finish] = world.sim.messages;
    const { task_id: taskId, ...header } = headOf(run);
    assert.match(String(taskId), UUID);
    assert.deepEqual(header, { action: 'run-task', streaming: 'duplex' });
    assert.deepEqual(run?.['payload'], {
      ...{ task_group: 'audio', task: 'asr', function: 'recognition' },
      model: 'paraformer-realtime-8k-v2',
      parameters: {
        ...{ format: 'pcm', sample_rate: 8000, max_sentence_silence: 500, heartbeat: true },
        ...{ language_hints: ['zh'], semantic_punctuation_enabled: false },
        ...{ punctuation_prediction_enabled: true, inverse_text_normalization_enabled: true },
        disfluency_removal_enabled: false,
      },
      input: {},
    });
    assert.deepEqual(finish, {
      header: { action: 'finish-task', task_id: taskId, streaming: 'duplex' },
      payload: { input: {} },
    });
    const headers = world.sim.headers[0];
    assert.equal(headers?.['authorization'], `Bearer ${SIM_DASHSCOPE_KEY}`);
    assert.equal(headers['x-dashscope-workspace'], 'ws-1');
    assert.equal(headers['x-dashscope-datainspection'], 'enable');
    assert.deepEqual(hearing.finals(), ['我要查账单。']);
    assert.ok(hearing.events.some((event) => event.type === 'partial'));
    const told = hearing.events.flatMap((event) => ('text' in event ? [event.text] : []));
    assert.ok(!told.some((text) => text.includes('heartbeat')), 'signs of life are no words');
    await assertClean(world.sim);
  });

  test('CosyVoice: the messages are those of the vendor’s page', async (t) => {
    const world = await startDashscope(t);
    const tts = ttsOf(world, 'cosyvoice', { instruction: 'friendly' }, { speed: 1.2, volume: 2 });
    await speakAll(tts, { text: '您好,', language: 'zh' });
    tts.close?.();
    const [run, text, finish] = world.sim.messages;
    const { task_id: taskId, ...header } = headOf(run);
    assert.match(String(taskId), UUID);
    assert.deepEqual(header, { action: 'run-task', streaming: 'duplex' });
    assert.deepEqual(run?.['payload'], {
      ...{ task_group: 'audio', task: 'tts', function: 'SpeechSynthesizer' },
      model: 'cosyvoice-v2',
      parameters: {
        ...{ text_type: 'PlainText', voice: 'longyumi_v2', format: 'pcm', sample_rate: 8000 },
        ...{ volume: 100, rate: 1.2, pitch: 1, instruction: 'friendly' },
      },
      input: {},
    });
    assert.deepEqual(
      [text, finish].map((each) => [headOf(each)['action'], each?.['payload']]),
      [
        ['continue-task', { input: { text: '您好,' } }],
        ['finish-task', { input: {} }],
      ],
    );
    await assertClean(world.sim);
  });

  test('Qwen-TTS: the messages are those of the vendor’s page', async (t) => {
    const world = await startDashscope(t);
    const tts = ttsOf(world, 'qwen_tts', { language_type: 'Chinese' });
    await speakAll(tts, { text: '您好。再见。', language: 'zh' });
    await speakAll(tts, { text: '好。', language: 'zh', voice: 'Ethan' });
    tts.close?.();
    const plain = world.sim.messages.map(({ event_id: id, ...message }) => {
      assert.equal(typeof id, 'string');
      return message;
    });
    const session = (voice: string): object => ({
      type: 'session.update',
      session: {
        ...{ mode: 'server_commit', voice, response_format: 'pcm', sample_rate: 24000 },
        language_type: 'Chinese',
      },
    });
    assert.deepEqual(plain.slice(0, 3), [
      session('Cherry'),
      { type: 'input_text_buffer.append', text: '您好。再见。' },
      { type: 'session.finish' },
    ]);
    assert.ok(plain.some((each) => JSON.stringify(each) === JSON.stringify(session('Ethan'))));
    await assertClean(world.sim);
  });

  test('models of 8 kHz hear 8 kHz, others 16, one of them both; else it is refused by name', async (t) => {
    const world = await startDashscope(t);
    const rows: [string, number | null, boolean][] = [
      ['paraformer-realtime-8k-v2', null, true],
      ['paraformer-realtime-8k-v2', 16_000, false],
      ['paraformer-realtime-v2', null, true],
      ['paraformer-realtime-v2', 8_000, false],
      ['fun-asr-realtime', 16_000, true],
      ['qwen-audio-3.0-asr-flash-streaming', 8_000, true],
      ['qwen-audio-3.0-asr-flash-streaming', 16_000, true],
    ];
    for (const [model, rate, isGood] of rows) {
      const make = (): SttProvider => sttOf(world, { sample_rate: rate }, { model });
      if (isGood) await make().check?.(ever());
      else assert.throws(make, hasCode('E_CONFIG', /options\.sample_rate/));
    }
    const other = (): SttProvider => sttOf(world, {}, { model: 'qwen3-asr-flash-realtime' });
    assert.throws(other, hasCode('E_CONFIG', /qwen3-asr-flash-realtime/));
    await assertClean(world.sim);
  });

  test('a model of 16 kHz reads what is said', async (t) => {
    const world = await startDashscope(t);
    const hearing = hearAs(sttOf(world, {}, { model: 'fun-asr-realtime' }), world.clock);
    await hearing.say(1);
    await until('a final', () => hearing.finals().length === 1);
    assert.deepEqual(hearing.finals(), [WORDS['1']]);
    hearing.close();
    await assertClean(world.sim);
  });

  test('a key that is refused: which setting to mend, and the key is not told', async (t) => {
    const world = await startDashscope(t);
    const credentials = { api_key: 'sk-made-up-and-wrong' };
    const failures: unknown[] = [];
    const hearing = hearAs(sttOf(world, {}, { credentials }), world.clock);
    await until('the error', () => hearing.errors().length === 1);
    failures.push(hearing.errors()[0]);
    hearing.close();
    for (const service of SERVICES) {
      const tts = ttsOf(world, service, {}, { credentials });
      const said = speakAll(tts, { text: 'Hello.', language: 'en' });
      failures.push(await said.catch((error: unknown) => error));
      tts.close?.();
    }
    for (const error of failures) {
      assert.ok(hasCode('E_PROVIDER_AUTH', /credentials\.api_key/)(error), String(error));
      assert.ok((error as Error).message.includes(SETTING));
      assert.doesNotMatch(JSON.stringify([(error as Error).message, error]), /sk-made|ws:/);
    }
    const none = { credentials: {} };
    assert.throws(() => sttOf(world, {}, none), hasCode('E_CONFIG', /credentials\.api_key/));
    await assertClean(world.sim);
  });

  test('settings that cannot be are refused by name', async (t) => {
    const world = await startDashscope(t);
    const rows: [Json, RegExp][] = [
      [{ tts_service: 'other' }, /options\.tts_service/],
      [{ max_sentence_silence: 100 }, /options\.max_sentence_silence/],
      [{ url: 'http://127.0.0.1' }, /options\.url/],
      [{ realtime_url: 'x', tts_service: 'qwen_tts' }, /options\.realtime_url/],
      [{ pitch: 3 }, /options\.pitch/],
    ];
    for (const [options, text] of rows) {
      const make = (): unknown => [
        sttOf(world, options),
        DASHSCOPE.tts?.(settingsOf(world, options), vendorTools()),
      ];
      assert.throws(make, hasCode('E_CONFIG', text), String(text));
    }
  });

  const CODES: readonly (readonly [string, string])[] = [
    ['InvalidApiKey:Invalid API-key provided.', 'E_PROVIDER_AUTH'],
    ['Arrearage:Access denied, your account is in arrears.', 'E_PROVIDER_AUTH'],
    ['UNSUPPORTED_FORMAT:Unsupported format.', 'E_PROVIDER_PARAM'],
    ['InvalidParameter:voice is not found.', 'E_PROVIDER_PARAM'],
    ['Throttling.RateQuota:Requests rate limit exceeded', 'E_PROVIDER_QUOTA'],
    ['ClientError:Requests rate limit exceeded, please try again later.', 'E_PROVIDER_QUOTA'],
    ['InternalError:Internal server error!', 'E_PROVIDER_SERVER'],
    ['ModelServiceFailed:The model service failed.', 'E_PROVIDER_SERVER'],
    ['DataInspectionFailed:Input data may contain inappropriate content.', 'E_PROVIDER_CONTENT'],
  ];
  test('what the vendor refuses has its class and its code, for every service', async (t) => {
    const world = await startDashscope(t);
    for (const [said, code] of CODES) {
      const vendorCode = said.split(':')[0];
      world.sim.faults.clear();
      world.sim.faults.add(own(said), own(said), own(said));
      const hearing = hearAs(sttOf(world), world.clock);
      await until(said, () => hearing.errors().length === 1);
      const [error] = hearing.errors();
      assert.deepEqual([error?.code, error?.details['vendorCode']], [code, vendorCode]);
      hearing.close();
      for (const service of SERVICES) {
        world.sim.faults.clear();
        world.sim.faults.add(own(said), own(said));
        const tts = ttsOf(world, service);
        const speech = speakAll(tts, { text: 'Hello.', language: 'en' });
        await assert.rejects(speech, hasCode(code, RegExp(String(vendorCode))), service);
        tts.close?.();
      }
    }
    await assertClean(world.sim);
  });
});

// ---- The recogniser ----

const LOST_LINES: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 503 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['cut at the start', own('cut_at_start')],
  ['silent at the start', { kind: 'hang' }],
  ['dead line', { kind: 'half_open' }],
  ['cut', { kind: 'cut' }],
  ['failed midway', { kind: 'fail_midway' }],
  ['recycled', { kind: 'recycle' }],
  ['junk', { kind: 'junk' }],
  ['swapped', { kind: 'swapped' }],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['odd fields', own('odd_fields')],
  ['an end that only its time tells', own('end_time_only')],
  ['idle', own('idle')],
  ['without sound', own('no_valid_audio')],
  ['busy', own('Throttling.RateQuota:Requests rate limit exceeded')],
];

describe('lines that are lost', { concurrency: 8 }, () => {
  for (const [name, fault] of LOST_LINES) {
    test(`recogniser, ${name}: what the caller said is read all the same`, async (t) => {
      const world = await startDashscope(t, fastClock(4));
      world.sim.faults.add(fault);
      const hearing = hearAs(sttOf(world), world.clock);
      const isLong = fault.kind === 'hang' || fault.kind === 'half_open';
      await hearing.say(1, isLong ? 3_500 : 800);
      await hearing.say(3);
      const heard = (): string => hearing.finals().filter(Boolean).join(' ');
      await until('the words', () => heard() === `${WORDS['1']} ${WORDS['3']}`);
      assert.equal(hearing.finals().length, 2);
      assert.deepEqual(hearing.errors(), []);
      hearing.close();
      await assertClean(world.sim);
    });
  }

  test('a call on hold is idle: the line is opened again when there is sound, nobody troubled', async (t) => {
    const clock = new SimulatedClock(Date.now());
    const world = await startDashscope(t, clock);
    const hearing = hearAs(sttOf(world), clock);
    await during(clock, hearing.silence(200));
    await pass(clock, 61_000);
    await until('closed for idleness', () => world.sim.server.open === 0);
    assert.deepEqual([world.sim.expired, hearing.errors()], [['task'], []]);
    await during(clock, hearing.say(3));
    await during(
      clock,
      until('the words', () => hearing.finals().length === 1),
    );
    assert.deepEqual([hearing.finals(), hearing.errors()], [[WORDS['3']], []]);
    hearing.close();
    await assertClean(world.sim);
  });

  test('silence alone keeps a line: the vendor was asked for it', async (t) => {
    const clock = new SimulatedClock(Date.now());
    const world = await startDashscope(t, clock);
    const events: string[] = [];
    const session = sttOf(world).open({
      ...{ callId: 'c', language: 'zh' },
      onEvent: ({ type }) => events.push(type),
    });
    await pass(clock, 130_000, () => session.push(new Int16Array(800)));
    assert.deepEqual([world.sim.expired, world.sim.server.accepted, events], [[], 1, []]);
    session.close();
    await assertClean(world.sim);
  });
});

// ---- Voices ----

const TEXT = 'One two three four five six.';
const LONG = 'Unquestionably international correspondence. '.repeat(60).trimEnd();

describe('voices', { concurrency: 6 }, () => {
  test('CosyVoice: one connection for many pieces, each a task of its own', async (t) => {
    const world = await startDashscope(t);
    const tts = ttsOf(world, 'cosyvoice');
    for (const text of ['One.', 'Two.', 'Three.', 'Four.']) {
      const { pcm } = await speakAll(tts, { text, language: 'en' });
      assert.deepEqual(pcm, simSpeech(text, 8_000));
    }
    const runs = world.sim.messages.filter((each) => headOf(each)['action'] === 'run-task');
    assert.equal(new Set(runs.map((each) => headOf(each)['task_id'])).size, 4);
    assert.ok(world.sim.server.accepted <= 2, 'beside a spare one');
    tts.close?.();
    await assertClean(world.sim);
  });

  test('CosyVoice: behind task-failed its connection is not used again', async (t) => {
    const world = await startDashscope(t);
    const tts = ttsOf(world, 'cosyvoice');
    await speakAll(tts, { text: 'One.', language: 'en' });
    await until('the spare one is there', () => world.sim.server.accepted === 2);
    world.sim.faults.add({ kind: 'fail_midway' });
    const said = speakAll(tts, { text: TEXT, language: 'en' });
    await assert.rejects(said, hasCode('E_PROVIDER_SERVER'));
    const { pcm } = await speakAll(tts, { text: 'Two.', language: 'en' });
    assert.deepEqual(pcm, simSpeech('Two.', 8_000));
    tts.close?.();
    await assertClean(world.sim);
  });

  for (const service of SERVICES) {
    test(`${service}: a connection rests no longer than the vendor lets it`, async (t) => {
      const clock = new SimulatedClock(Date.now());
      const world = await startDashscope(t, clock);
      const tts = ttsOf(world, service);
      const say = async (text: string): Promise<void> => {
        const { pcm } = await during(clock, speakAll(tts, { text, language: 'en' }));
        assert.ok(Math.abs(pcm.length - 1600) <= 60, String(pcm.length));
      };
      await say('One.');
      await pass(clock, 130_000);
      await say('Two.');
      assert.deepEqual(world.sim.expired, []);
      tts.close?.();
      await assertClean(world.sim);
    });
  }

  for (const service of SERVICES) {
    const rates = service === 'cosyvoice' ? [8_000, 16_000, 22_050, 24_000, 48_000] : [24_000];
    test(`${service}: the sound is what the vendor sent, at every rate`, async (t) => {
      const world = await startDashscope(t);
      const sent = simSpeech(TEXT, 8_000);
      for (const rate of rates) {
        const tts = ttsOf(world, service, { sample_rate: rate });
        const { pcm } = await speakAll(tts, { text: TEXT, language: 'en' });
        assert.ok(Math.abs(pcm.length - sent.length) <= 60, `${rate}: ${pcm.length}`);
        assert.ok(likeness(sent, pcm) > 0.98, `${rate}: ${likeness(sent, pcm)}`);
        tts.close?.();
      }
      await assertClean(world.sim);
    });

    test(`${service}: a long text is said in pieces that the vendor takes, to its last word`, async (t) => {
      const world = await startDashscope(t);
      const tts = ttsOf(world, service);
      const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
      assert.ok(Math.abs(pcm.length - 3 * 60 * 1600) <= 3 * 60, String(pcm.length));
      assert.equal(marks.at(-1)?.chars, LONG.length);
      const texts = world.sim.messages
        .map(
          (each) =>
            each['text'] ?? ((each['payload'] as Json | undefined)?.['input'] as Json)?.['text'],
        )
        .filter((text) => typeof text === 'string');
      assert.equal(texts.join(''), LONG);
      assert.equal(texts.length, 3);
      tts.close?.();
      await assertClean(world.sim);
    });

    const survived: readonly (readonly [string, VendorFault])[] = [
      ['failed before the start', { kind: 'fail_before_start' }],
      ['slow', { kind: 'slow', ms: 300 }],
      ['late', { kind: 'late' }],
      ['empty audio', own('empty_audio')],
    ];
    test(`${service}: what fails before the first sound is tried again; nothing is added`, async (t) => {
      for (const [name, fault] of survived) {
        const world = await startDashscope(t, fastClock(4));
        world.sim.faults.add(fault);
        const tts = ttsOf(world, service);
        for (const text of [TEXT, 'Seven.']) {
          const { pcm } = await speakAll(tts, { text, language: 'en' });
          const sent = simSpeech(text, 8_000);
          assert.ok(Math.abs(pcm.length - sent.length) <= 60, `${name}: ${pcm.length}`);
          assert.ok(likeness(sent, pcm) > 0.98, `${name}: ${likeness(sent, pcm)}`);
        }
        tts.close?.();
        await assertClean(world.sim);
      }
    });

    const broken: readonly (readonly [string, VendorFault, string])[] = [
      ['refused', { kind: 'refuse', status: 502 }, 'E_PROVIDER_SERVER'],
      ['busy', { kind: 'refuse', status: 429 }, 'E_PROVIDER_QUOTA'],
      ['silent at the start', { kind: 'hang' }, 'E_TIMEOUT'],
      ['dead line', { kind: 'half_open' }, 'E_TIMEOUT'],
      ['stalled', own('stall'), 'E_TIMEOUT'],
      ['without an end', own('no_end'), 'E_TIMEOUT'],
      ['moderated', { kind: 'moderated' }, 'E_PROVIDER_CONTENT'],
      ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER'],
      ['failed midway', { kind: 'fail_midway' }, 'E_PROVIDER_SERVER'],
      ['recycled', { kind: 'recycle' }, 'E_PROVIDER_SERVER'],
      ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER'],
      ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
      ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
    ];
    test(`${service}: what breaks in the middle is told in time, and the next piece is spoken`, async (t) => {
      for (const [name, fault, code] of broken) {
        const clock = new SimulatedClock(Date.now());
        const world = await startDashscope(t, clock);
        world.sim.faults.add(fault);
        const tts = ttsOf(world, service);
        const sinceMs = clock.now();
        const said = speakAll(tts, { text: TEXT, language: 'en' });
        await assert.rejects(during(clock, said, 10), hasCode(code), name);
        assert.ok(clock.now() - sinceMs < 6_500, `${name}: too late`);
        const { pcm } = await during(clock, speakAll(tts, { text: 'Seven.', language: 'en' }));
        assert.ok(likeness(simSpeech('Seven.', 8_000), pcm) > 0.98, name);
        tts.close?.();
        await assertClean(world.sim);
      }
    });

    test(`${service}: a piece that is given up closes its connection, and is heard no more`, async (t) => {
      const world = await startDashscope(t);
      const tts = ttsOf(world, service);
      const abort = new AbortController();
      const stream = tts.speak({ text: TEXT.repeat(20), language: 'en' }, abort.signal);
      assert.equal((await stream.next()).done, false);
      abort.abort();
      await assert.rejects(collect(stream), hasCode('E_ABORTED'));
      await until('its connection is closed', () => world.sim.server.open <= 1);
      const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
      assert.ok(Math.abs(pcm.length - 1600) <= 60, String(pcm.length));
      tts.close?.();
      await assertClean(world.sim);
    });
  }
});

// ---- The suites of every vendor ----

describe('contract', { concurrency: 8 }, () => {
  let world: World;
  const made: TtsProvider[] = [];
  before(async () => {
    world = await startDashscope(null);
  });
  after(async () => {
    for (const tts of made) tts.close?.();
    await assertClean(world.sim);
    await world.sim.close();
  });
  for (const service of SERVICES) {
    const make = (): TtsProvider => {
      const tts = ttsOf(world, service);
      made.push(tts);
      return tts;
    };
    testTts(`dashscope ${service}`, make, [
      { text: 'Your order is on its way, and it comes tomorrow.', language: 'en' },
      { text: '您好，您的订单已经发出。', language: 'zh' },
      { text: '您的订单已经找到，'.repeat(6), language: 'zh' },
    ]);
  }
  // Nothing is said in its audio: each utterance is given back unread, after `quietMs`.
  testStt(
    'dashscope',
    () => sttOf(world),
    () => new Promise((resolve) => setTimeout(resolve, 950)),
  );
});
