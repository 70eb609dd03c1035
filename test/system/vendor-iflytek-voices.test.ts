/** iFlytek's voices against the simulated vendor: contracts, messages as its pages have them, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { TtsProvider } from '#providers/contract.ts';
import { SIM_IFLYTEK_ACCOUNT } from '#providers/sim/iflytek.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { collect, speakAll, testTts } from '../unit/_provider-contract.ts';
import { fastClock, until } from './_aliyun-nls.ts';
import { CODES, own, startIflytek, ttsOf, VOICES, type World } from './_iflytek.ts';
import { assertClean, during, hasCode, likeness, pass } from './_speech-vendors.ts';

const { appId } = SIM_IFLYTEK_ACCOUNT;
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

// ---- Voices ----

const TEXT = 'One two three four five six.';
const LONG = 'Unquestionably international correspondence. '.repeat(60).trimEnd();

describe('voices', { concurrency: 6 }, () => {
  test('voices: the messages are those of the vendor’s page', async (t) => {
    const world = await startIflytek(t);
    const plain = ttsOf(world, 'standard', {}, { speed: 2, volume: 0.5 });
    await speakAll(plain, { text: '您好。', language: 'zh' });
    plain.close?.();
    const oral = ttsOf(world, 'super_humanoid', { keep_words: false });
    await speakAll(oral, { text: '您好。', language: 'zh' });
    await speakAll(oral, { text: '您好。', language: 'zh', voice: 'x5_made_up_flow' });
    oral.close?.();
    assert.deepEqual(world.sim.messages[0], {
      common: { app_id: appId },
      business: {
        ...{ aue: 'raw', auf: 'audio/L16;rate=8000', vcn: 'xiaoyan', tte: 'UTF8' },
        ...{ pitch: 50, speed: 100, volume: 25 },
      },
      data: { status: 2, text: base64('您好。') },
    });
    const shape = { encoding: 'raw', sample_rate: 8000, channels: 1, bit_depth: 16, frame_size: 0 };
    assert.deepEqual(world.sim.messages[1], {
      header: { app_id: appId, status: 2 },
      parameter: {
        oral: { oral_level: 'mid', spark_assist: 1, stop_split: 0, remain: 0 },
        tts: {
          ...{ vcn: 'x4_lingxiaoxuan_oral', speed: 50, volume: 50, pitch: 50 },
          ...{ bgs: 0, reg: 0, rdn: 0, rhy: 0, audio: shape },
        },
      },
      payload: {
        text: {
          ...{ encoding: 'utf8', compress: 'raw', format: 'plain', status: 2, seq: 0 },
          text: base64('您好。'),
        },
      },
    });
    const third = world.sim.messages[2]?.['parameter'] as Record<string, unknown>;
    assert.deepEqual(Object.keys(third), ['tts'], 'other voices have nothing oral to set');
    await assertClean(world.sim);
  });

  test('what the vendor refuses has its class and its code', async (t) => {
    const world = await startIflytek(t);
    for (const [number, code] of CODES) {
      for (const kind of VOICES) {
        world.sim.faults.clear();
        world.sim.faults.add(own(number), own(number));
        const tts = ttsOf(world, kind);
        const said = speakAll(tts, { text: 'Hello.', language: 'en' });
        await assert.rejects(said, hasCode(code, RegExp(number)));
        tts.close?.();
      }
    }
    await assertClean(world.sim);
  });

  for (const kind of VOICES) {
    test(`${kind}: the sound is what the vendor sent, at every rate`, async (t) => {
      const world = await startIflytek(t);
      const sent = simSpeech(TEXT, 8_000);
      for (const rate of kind === 'standard' ? [8000, 16000] : [8000, 16000, 24000]) {
        const tts = ttsOf(world, kind, { sample_rate: rate });
        const { pcm } = await speakAll(tts, { text: TEXT, language: 'en' });
        assert.ok(Math.abs(pcm.length - sent.length) <= 60, `${rate}: ${pcm.length}`);
        assert.ok(likeness(sent, pcm) > 0.98, `${rate}: ${likeness(sent, pcm)}`);
        tts.close?.();
      }
      await assertClean(world.sim);
    });

    test(`${kind}: a long text is said in pieces that the vendor takes, to its last word`, async (t) => {
      const world = await startIflytek(t);
      const tts = ttsOf(world, kind);
      const { pcm, marks } = await speakAll(tts, { text: LONG, language: 'en' });
      assert.equal(pcm.length, 3 * 60 * 1600);
      assert.equal(marks.at(-1)?.chars, LONG.length);
      assert.equal(world.sim.messages.length, 2);
      tts.close?.();
      await assertClean(world.sim);
    });

    const survived: readonly (readonly [string, VendorFault])[] = [
      ['failed before the start', { kind: 'fail_before_start' }],
      ['slow', { kind: 'slow', ms: 300 }],
      ['late', { kind: 'late' }],
      ...(kind === 'standard'
        ? []
        : (['reordered', 'from_one', 'repeated'] as const).map(
            (name) => [name, own(name)] as const,
          )),
    ];
    test(`${kind}: what fails before the first sound is tried again; order is kept`, async (t) => {
      for (const [name, fault] of survived) {
        const world = await startIflytek(t, fastClock(4));
        world.sim.faults.add(fault);
        const tts = ttsOf(world, kind);
        const { pcm } = await speakAll(tts, { text: TEXT, language: 'en' });
        assert.deepEqual(pcm, simSpeech(TEXT, 8_000), name);
        assert.equal((await speakAll(tts, { text: 'Seven.', language: 'en' })).pcm.length, 1600);
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
      ['no base64', own('no_base64'), 'E_PROVIDER_SERVER'],
      ['without an end', own('no_end'), 'E_TIMEOUT'],
      ['cut', { kind: 'cut' }, 'E_PROVIDER_SERVER'],
      ['failed midway', { kind: 'fail_midway' }, 'E_PROVIDER_SERVER'],
      ['recycled', { kind: 'recycle' }, 'E_PROVIDER_SERVER'],
      ['junk', { kind: 'junk' }, 'E_PROVIDER_SERVER'],
      ['swapped', { kind: 'swapped' }, 'E_PROVIDER_SERVER'],
      ['huge', { kind: 'huge', bytes: 9 * 1024 * 1024 }, 'E_PROVIDER_SERVER'],
      ...(kind === 'standard' ? [] : ([['gap', own('gap'), 'E_PROVIDER_SERVER']] as const)),
    ];
    test(`${kind}: what breaks in the middle is told in time, and the next piece is spoken`, async (t) => {
      for (const [name, fault, code] of broken) {
        const clock = new SimulatedClock(Date.now());
        const world = await startIflytek(t, clock);
        // What is broken before the first sound is tried a second time.
        const isEarly = name === 'no base64';
        world.sim.faults.add(fault, ...(isEarly ? [fault] : []));
        const tts = ttsOf(world, kind);
        const sinceMs = clock.now();
        const said = speakAll(tts, { text: TEXT, language: 'en' });
        await assert.rejects(during(clock, said, 10), hasCode(code), name);
        assert.ok(clock.now() - sinceMs < 6_500, `${name}: too late`);
        const { pcm } = await during(clock, speakAll(tts, { text: 'Seven.', language: 'en' }));
        assert.deepEqual(pcm, simSpeech('Seven.', 8_000), name);
        tts.close?.();
        await assertClean(world.sim);
      }
    });

    test(`${kind}: a piece that is given up closes its connection, and is heard no more`, async (t) => {
      const world = await startIflytek(t);
      const tts = ttsOf(world, kind);
      const abort = new AbortController();
      const stream = tts.speak({ text: TEXT.repeat(20), language: 'en' }, abort.signal);
      assert.equal((await stream.next()).done, false);
      abort.abort();
      await assert.rejects(collect(stream), hasCode('E_ABORTED'));
      await until('its connection is closed', () => world.sim.server.open <= 1);
      const { pcm } = await speakAll(tts, { text: 'Yes.', language: 'en' });
      assert.deepEqual(pcm, simSpeech('Yes.', 8_000));
      tts.close?.();
      await assertClean(world.sim);
    });

    test(`${kind}: a connection waits ready, no longer than the vendor lets it`, async (t) => {
      const clock = new SimulatedClock(Date.now());
      const world = await startIflytek(t, clock);
      const tts = ttsOf(world, kind);
      tts.warm?.();
      await during(
        clock,
        until('one is ready', () => world.sim.server.open === 1),
      );
      for (const text of ['One.', 'Two.']) {
        const { pcm } = await during(clock, speakAll(tts, { text, language: 'en' }));
        assert.deepEqual(pcm, simSpeech(text, 8_000));
        await pass(clock, 55_000);
      }
      assert.deepEqual(world.sim.expired, []);
      assert.ok(world.sim.server.accepted >= 8, 'made anew before the vendor loses patience');
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
    world = await startIflytek(null);
  });
  after(async () => {
    for (const tts of made) tts.close?.();
    await assertClean(world.sim);
    await world.sim.close();
  });
  for (const kind of VOICES) {
    const make = (): TtsProvider => {
      const tts = ttsOf(world, kind);
      made.push(tts);
      return tts;
    };
    testTts(`iflytek ${kind}`, make, [
      { text: 'Your order is on its way, and it comes tomorrow.', language: 'en' },
      { text: '您好，您的订单已经发出。', language: 'zh' },
      { text: '您的订单已经找到，'.repeat(6), language: 'zh' },
    ]);
  }
});
