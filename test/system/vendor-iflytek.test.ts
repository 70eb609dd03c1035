/** iFlytek's recognisers against the simulated vendor: contracts, messages as its pages have them, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SimulatedClock, systemClock } from '#lib/clock.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { SIM_IFLYTEK_ACCOUNT } from '#providers/sim/iflytek.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { speakAll, testStt } from '../unit/_provider-contract.ts';
import { fastClock, until, WORDS } from './_aliyun-nls.ts';
import {
  CODES,
  CREDENTIALS,
  ever,
  own,
  SERVICES,
  startIflytek,
  sttOf,
  ttsOf,
  type Service,
  type World,
} from './_iflytek.ts';
import { assertClean, during, hasCode, hearAs, pass, SETTING } from './_speech-vendors.ts';

const { appId } = SIM_IFLYTEK_ACCOUNT;

// ---- Messages ----

describe('messages and refusals', { concurrency: 6 }, () => {
  test('IAT: the messages are those of the vendor’s page', async (t) => {
    const world = await startIflytek(t);
    const hearing = hearAs(sttOf(world, 'iat', { vad_eos: 2000 }), world.clock, 'zh');
    await hearing.say(2, 300);
    await until('a final', () => hearing.finals().length === 1);
    hearing.close();
    const [first, second, ...rest] = world.sim.messages;
    const { audio: head, ...data } = (first?.['data'] ?? {}) as Record<string, unknown>;
    assert.deepEqual(
      { ...first, data },
      {
        common: { app_id: appId },
        business: {
          ...{ language: 'zh_cn', domain: 'iat', accent: 'mandarin' },
          ...{ vad_eos: 2000, dwa: 'wpgs', ptt: 1 },
        },
        data: { status: 0, format: 'audio/L16;rate=8000', encoding: 'raw' },
      },
    );
    assert.equal(Buffer.from(String(head), 'base64').length, 640);
    assert.deepEqual(Object.keys(second ?? {}), ['data']);
    assert.deepEqual(
      [second?.['data']].map((each) => (each as { status?: unknown })?.status),
      [1],
    );
    assert.deepEqual(rest.at(-1), { data: { status: 2 } });
    assert.deepEqual(hearing.finals(), ['我要查账单。']);
    assert.ok(hearing.events.some((event) => event.type === 'partial' && event.text === '我要查'));
    assert.equal(world.sim.server.accepted, 1, 'one connection for an utterance');
    await assertClean(world.sim);
  });

  test('Spark IAT: the messages are those of the vendor’s page', async (t) => {
    const world = await startIflytek(t);
    const hearing = hearAs(
      sttOf(world, 'spark_iat', { vad_eos: 1500, sample_rate: 16000 }),
      world.clock,
    );
    await hearing.say(1, 300);
    await until('a final', () => hearing.finals().length === 1);
    hearing.close();
    const [first, second] = world.sim.messages as readonly Record<string, unknown>[];
    const { audio = {} } = (first?.['payload'] ?? {}) as { audio?: Record<string, unknown> };
    const { audio: head, ...shape } = audio;
    assert.equal(Buffer.from(String(head), 'base64').length, 1280);
    assert.deepEqual(
      [first?.['header'], first?.['parameter'], shape],
      [
        { app_id: appId, status: 0 },
        {
          iat: {
            ...{ domain: 'slm', language: 'zh_cn', accent: 'mandarin', eos: 1500, vinfo: 1 },
            ...{ dwa: 'wpgs', result: { encoding: 'utf8', compress: 'raw', format: 'json' } },
          },
        },
        { encoding: 'raw', sample_rate: 16000, channels: 1, bit_depth: 16, seq: 1, status: 0 },
      ],
    );
    assert.deepEqual(Object.keys(second ?? {}), ['header', 'payload']);
    assert.deepEqual(hearing.finals(), [WORDS['1']]);
    await assertClean(world.sim);
  });

  test('RTASR: addresses, frames and goodbyes of both generations', async (t) => {
    for (const service of ['rtasr', 'rtasr_llm'] as const) {
      const world = await startIflytek(t);
      const hearing = hearAs(sttOf(world, service, { pd: 'finance' }), world.clock, 'zh');
      await hearing.say(2);
      await until('a final', () => hearing.finals().length === 1);
      hearing.close();
      assert.deepEqual(hearing.finals(), ['我要查账单。'], 'without what is smoothed away');
      const query = Object.fromEntries(world.sim.asked[0]?.searchParams ?? []);
      assert.equal(query['pd'], 'finance');
      if (service === 'rtasr') {
        assert.deepEqual([query['appid'], query['lang'], query['punc']], [appId, 'cn', undefined]);
      } else {
        assert.deepEqual([query['appId'], query['lang']], [appId, 'autodialect']);
        await until('the goodbye', () => world.sim.messages.length === 1);
        assert.deepEqual(world.sim.messages, [{ end: true, sessionId: 'sim-session-of-rtasr' }]);
      }
      await assertClean(world.sim);
    }
  });

  test('RTASR: what would be smoothed away is told where it is wanted', async (t) => {
    const world = await startIflytek(t);
    const hearing = hearAs(
      sttOf(world, 'rtasr', { keep_fillers: true, punctuation: false }),
      world.clock,
    );
    await hearing.say(3);
    await until('a final', () => hearing.finals().length === 1);
    hearing.close();
    assert.deepEqual(hearing.finals(), ['嗯Stop please.']);
    assert.equal(world.sim.asked[0]?.searchParams.get('punc'), '0');
    await assertClean(world.sim);
  });

  // ---- Refusals ----

  test('a clock that is more than 300 s wrong is refused, and told', async (t) => {
    const world = await startIflytek(t);
    const wrong = (skewMs: number): World => ({
      ...world,
      clock: { ...systemClock, wallMs: () => Date.now() + skewMs },
    });
    for (const service of ['iat', 'spark_iat', 'rtasr_llm'] as const) {
      const late = sttOf(wrong(-310_000), service).check?.(ever());
      await assert.rejects(
        late ?? Promise.resolve(),
        hasCode('E_PROVIDER_AUTH', /clock of this mach/),
      );
      await sttOf(wrong(290_000), service).check?.(ever());
    }
    await assert.rejects(
      sttOf(wrong(310_000), 'rtasr').check?.(ever()) ?? Promise.resolve(),
      hasCode('E_PROVIDER_AUTH', /10105/),
    );
    const tts = ttsOf(wrong(400_000), 'standard');
    await assert.rejects(
      speakAll(tts, { text: 'Hello.', language: 'en' }),
      hasCode('E_PROVIDER_AUTH', /clock/),
    );
    tts.close?.();
    await assertClean(world.sim);
  });

  test('credentials that are refused: which setting to mend, at once, and none of them told', async (t) => {
    const world = await startIflytek(t);
    const refuses = async (service: Service): Promise<void> => {
      for (const name of ['app_id', 'api_key', 'api_secret']) {
        if (service === 'rtasr' && name === 'api_secret') continue;
        const wrong = { ...CREDENTIALS, [name]: 'made-up-and-wrong' };
        const hearing = hearAs(sttOf(world, service, {}, wrong), world.clock);
        const what = `${service} ${name}`;
        await hearing.say(3, 240);
        await until(what, () => hearing.errors().length === 1);
        const [error] = hearing.errors();
        assert.equal(error?.code, 'E_PROVIDER_AUTH', `${what}: ${error?.message}`);
        assert.ok(error?.message.includes(SETTING), error?.message);
        assert.doesNotMatch(
          JSON.stringify([error?.message, error?.details]),
          /made-up|made0001|ws:/,
        );
        hearing.close();
        const missing = { ...CREDENTIALS, [name]: '' };
        assert.throws(() => sttOf(world, service, {}, missing), hasCode('E_CONFIG', RegExp(name)));
      }
    };
    await Promise.all(SERVICES.map(refuses));
    // A wrong app id is found behind the handshake: the simulator notes it.
    await until('all closed', () => world.sim.server.open === 0);
    assert.ok(world.sim.violations.every((each) => each.includes('10313')));
  });

  test('a check says what is wrong, or nothing', async (t) => {
    const world = await startIflytek(t);
    for (const service of SERVICES) {
      await sttOf(world, service).check?.(ever());
      world.sim.faults.add({ kind: 'refuse', status: 429 });
      const checked = sttOf(world, service).check?.(ever());
      await assert.rejects(checked ?? Promise.resolve(), hasCode('E_PROVIDER_QUOTA'));
    }
    await assertClean(world.sim);
  });

  test('settings that cannot be are refused by name', async (t) => {
    const world = await startIflytek(t);
    const rows: [Record<string, unknown>, RegExp][] = [
      [{ service: 'iat2' }, /options\.service/],
      [{ sample_rate: 44100 }, /options\.sample_rate/],
      [{ url: 'http://127.0.0.1' }, /options\.url/],
      [{ voice_kind: 'other', vad_eos: 1 }, /options\.(?:voice_kind|vad_eos)/],
    ];
    for (const [options, text] of rows) {
      const make = (): unknown => [sttOf(world, 'iat', options), ttsOf(world, 'standard', options)];
      assert.throws(make, hasCode('E_CONFIG', text));
    }
  });
});

// ---- Recognisers ----

/** Faults after which the same words are read all the same. */
const LOST_LINES: readonly (readonly [string, VendorFault])[] = [
  ['refused handshake', { kind: 'refuse', status: 503 }],
  ['failed before the start', { kind: 'fail_before_start' }],
  ['cut', { kind: 'cut' }],
  ['failed midway', { kind: 'fail_midway' }],
  ['junk', { kind: 'junk' }],
  ['swapped', { kind: 'swapped' }],
  ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }],
  ['recycled', { kind: 'recycle' }],
  ['slow', { kind: 'slow', ms: 300 }],
  ['late', { kind: 'late' }],
  ['odd fields', own('odd_fields')],
  ['idle', own('10200')],
  ['busy', own('10800')],
];

describe('lines that are lost', { concurrency: 8 }, () => {
  for (const [service, name, fault] of SERVICES.flatMap((each) =>
    LOST_LINES.map(([name, fault]) => [each, name, fault] as const),
  )) {
    test(`${service}, ${name}: what the caller said is read all the same`, async (t) => {
      const world = await startIflytek(t, fastClock(4));
      world.sim.faults.add(fault);
      const hearing = hearAs(sttOf(world, service), world.clock);
      await hearing.say(1);
      await until(`the words, only ${JSON.stringify(hearing.events)}`, () =>
        hearing.finals().includes(WORDS['1']),
      );
      await hearing.say(3);
      await until('the next words', () => hearing.finals().includes(WORDS['3']));
      assert.deepEqual(hearing.finals(), [WORDS['1'], WORDS['3']]);
      assert.deepEqual(hearing.errors(), []);
      hearing.close();
      await assertClean(world.sim);
    });
  }

  for (const service of ['rtasr', 'rtasr_llm'] as const) {
    for (const fault of [{ kind: 'hang' }, { kind: 'half_open' }, own('cut_at_start')] as const) {
      const name = fault.kind === 'own' ? fault.name : fault.kind;
      test(`${service}, ${name}: a line of no use is left in time, and nothing is lost`, async (t) => {
        const world = await startIflytek(t, fastClock(4));
        world.sim.faults.add(fault);
        const hearing = hearAs(sttOf(world, service), world.clock);
        await hearing.say(1, 3_500);
        await hearing.say(3);
        const heard = (): string => hearing.finals().filter(Boolean).join(' ');
        await until(`the words, only ${heard()}`, () => heard() === `${WORDS['1']} ${WORDS['3']}`);
        assert.deepEqual(hearing.errors(), []);
        hearing.close();
        await assertClean(world.sim);
      });
    }
  }
});

describe('odd vendors', { concurrency: 6 }, () => {
  for (const service of ['iat', 'spark_iat'] as const) {
    test(`${service}: a vendor that says no word costs an utterance its deadline, and no more`, async (t) => {
      for (const fault of [{ kind: 'hang' }, { kind: 'half_open' }] as const) {
        const clock = new SimulatedClock(Date.now());
        const world = await startIflytek(t, clock);
        world.sim.faults.add(fault);
        const hearing = hearAs(sttOf(world, service), clock);
        const hears = async (id: number, count: number): Promise<void> => {
          await during(clock, hearing.say(id, 240), 5);
          await during(
            clock,
            until('a final', () => hearing.finals().length === count),
            5,
          );
        };
        await hears(1, 1);
        assert.ok(clock.now() < 340 + 240 + 2_000, String(clock.now()));
        await hears(3, 2);
        assert.equal(hearing.finals()[1], WORDS['3']);
        hearing.close();
        await assertClean(world.sim);
      }
    });

    test(`${service}: when the vendor ends the utterance before we do, the rest is read on a new line`, async (t) => {
      const world = await startIflytek(t, fastClock(4));
      world.sim.faults.add(own('early_end'));
      const hearing = hearAs(sttOf(world, service), world.clock);
      await hearing.say([1, 3, 1]);
      await until('a final', () => hearing.finals().length === 1);
      const [text = ''] = hearing.finals();
      assert.match(text, /^Well now .*Stop please\. I want to cancel my order\.$/);
      hearing.close();
      await assertClean(world.sim);
    });

    test(`${service}: who speaks longer than 60 s is heard to the end`, async (t) => {
      const world = await startIflytek(t, fastClock(2));
      const stt = sttOf(world, service, { vad_eos: 60_000 });
      const finals: string[] = [];
      const session = stt.open({
        ...{ callId: 'c', language: 'en' },
        onEvent: (event) => event.type === 'final' && finals.push(event.text),
      });
      session.speechStarted(0);
      const second = new Int16Array(8_000);
      for (let n = 0; n < 70; n++) {
        const pcm = second.slice();
        if (n === 0 || n === 68) pcm.set(encodeUtteranceId(n === 0 ? 1 : 3));
        session.push(pcm);
        // As fast as the connection takes it: the vendor has no rule for it.
        await new Promise((resolve) => setTimeout(resolve, 4));
      }
      session.speechStopped({ pcm: second, startMs: 0, endMs: 70_000 });
      await until('a final', () => finals.length === 1);
      assert.deepEqual(finals, [`${WORDS['1']} ${WORDS['3']}`]);
      session.close();
      await assertClean(world.sim);
    });
  }

  for (const service of ['rtasr', 'rtasr_llm'] as const) {
    test(`${service}: a call on hold is idle: the line is opened again when there is sound`, async (t) => {
      const clock = new SimulatedClock(Date.now());
      const world = await startIflytek(t, clock);
      const hearing = hearAs(sttOf(world, service), clock);
      await during(clock, hearing.silence(200));
      await pass(clock, 15_500);
      await until('closed for idleness', () => world.sim.server.open === 0);
      assert.deepEqual([world.sim.expired, hearing.errors()], [['rtasr'], []]);
      await during(clock, hearing.say(3));
      await during(
        clock,
        until('the words', () => hearing.finals().length === 1),
      );
      assert.deepEqual([hearing.finals(), hearing.errors()], [[WORDS['3']], []]);
      hearing.close();
      await assertClean(world.sim);
    });
  }

  test('what the vendor refuses has its class and its code, for every service', async (t) => {
    const refusesAll = async (service: Service): Promise<void> => {
      const mine = await startIflytek(t, fastClock(4));
      for (const [number, code] of CODES) {
        mine.sim.faults.clear();
        mine.sim.faults.add(own(number), own(number), own(number));
        const hearing = hearAs(sttOf(mine, service), mine.clock);
        await hearing.say(3, 240);
        await until(`${service} ${number}`, () => hearing.errors().length === 1);
        const [error] = hearing.errors();
        assert.deepEqual([error?.code, error?.details['vendorCode']], [code, number], service);
        hearing.close();
      }
      await assertClean(mine.sim);
    };
    await Promise.all(SERVICES.map(refusesAll));
  });
});

// ---- The suites of every vendor ----

describe('contract', { concurrency: 8 }, () => {
  let world: World;
  before(async () => {
    world = await startIflytek(null);
  });
  after(async () => {
    await assertClean(world.sim);
    await world.sim.close();
  });
  for (const service of SERVICES) {
    const isStreaming = service.startsWith('rtasr');
    testStt(
      `iflytek ${service}`,
      () => sttOf(world, service),
      // Nothing is said in its audio: a streaming one gives each utterance back after `quietMs`.
      () => new Promise((resolve) => setTimeout(resolve, isStreaming ? 950 : 150)),
    );
  }
});
