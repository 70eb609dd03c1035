/** Volcengine's recogniser against its simulator: contract, messages as documented, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AppError, ErrorCode } from '#lib/errors.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import type { SttEvent } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { VOLCENGINE } from '#providers/volcengine/module.ts';
import { testStt } from '../unit/_provider-contract.ts';
import { assertClean, fastClock, startWorld, until, WORDS, type VolcWorld } from './_volcengine.ts';

/** Deadlines of seconds in a short test: 4 ms are 20. */
const TIMES = 5;
const clock = fastClock(TIMES);

const own = (name: string): VendorFault => ({ kind: 'own', name });

describe('contract', () => {
  let world: VolcWorld;
  before(async () => {
    world = await startWorld(null, { clock });
  });
  after(async () => {
    await assertClean(world);
    await world.sim.close();
  });
  testStt(
    'volcengine recogniser',
    () => {
      const stt = VOLCENGINE.stt?.(world.settings(), world.tools);
      assert.ok(stt);
      return stt;
    },
    () => new Promise((resolve) => setTimeout(resolve, 950 / TIMES)),
  );
});

type Hearing = {
  readonly events: SttEvent[];
  finals(): string[];
  errors(): AppError[];
  /** Speaks in real time, as a call does. */
  say(id: number): Promise<void>;
  close(): void;
};

function hear(world: VolcWorld, options: Record<string, unknown> = {}): Hearing {
  const stt = VOLCENGINE.stt?.(world.settings({ connect_ms: 1_500, ...options }), world.tools);
  assert.ok(stt);
  const events: SttEvent[] = [];
  let isInside = false;
  const session = stt.open({
    ...{ callId: 'call-7', language: 'en' },
    onEvent: (event) => {
      assert.equal(isInside, false, 'told from inside a call');
      events.push(event);
    },
  });
  const inside = (act: () => void): void => {
    isInside = true;
    act();
    isInside = false;
  };
  let atMs = 0;
  return {
    events,
    finals: () => events.flatMap((event) => (event.type === 'final' ? [event.text] : [])),
    errors: () =>
      events.flatMap((event) => (event.type === 'error' ? [event.error as AppError] : [])),
    async say(id) {
      const code = encodeUtteranceId(id);
      const pcm = new Int16Array(code.length + 600 * 8);
      pcm.set(code);
      const startMs = atMs;
      const speechMs = code.length / 8;
      inside(() => session.speechStarted(startMs));
      let isStopped = false;
      for (let at = 0; at < pcm.length; at += 160) {
        inside(() => session.push(pcm.subarray(at, at + 160)));
        atMs += 20;
        if (!isStopped && atMs - startMs >= speechMs + 200) {
          isStopped = true;
          inside(() => session.speechStopped({ pcm, startMs, endMs: startMs + speechMs }));
        }
        await new Promise<void>((resolve) => void clock.setTimer(resolve, 20));
      }
    },
    close: () => session.close(),
  };
}

test('the recogniser: what is sent is what the vendor documents; words come back as they are', async (t) => {
  const world = await startWorld(t, { clock });
  const hearing = hear(world, { hot_words: ['Callyard'], stt_accelerate: 5, stt_two_pass: true });
  await hearing.say(1);
  await until('the first final', () => hearing.finals().length === 1);
  await hearing.say(2);
  await until('the second final', () => hearing.finals().length === 2);
  assert.deepEqual(hearing.finals(), [WORDS[1], WORDS[2]]);
  assert.ok(hearing.events.some((event) => event.type === 'partial'));
  assert.deepEqual(world.sim.starts, [
    {
      user: { uid: 'call-7' },
      audio: { format: 'pcm', codec: 'raw', rate: 16000, bits: 16, channel: 1 },
      request: {
        ...{ model_name: 'bigmodel', enable_itn: true, enable_punc: true, show_utterances: true },
        ...{ result_type: 'single', enable_nonstream: true, end_window_size: 300 },
        ...{ force_to_speech_time: 1, enable_accelerate_text: true, accelerate_score: 5 },
        corpus: { context: '{"hotwords":[{"word":"Callyard"}]}' },
      },
    },
  ]);
  hearing.close();
  await assertClean(world);
});

for (const options of [{ stt_frame_ms: 200 }, { stt_gzip: false }, { stt_end_window_ms: 200 }]) {
  test(`the recogniser: ${JSON.stringify(options)}`, async (t) => {
    const world = await startWorld(t, { clock });
    const hearing = hear(world, options);
    await hearing.say(3);
    await until('a final', () => hearing.finals().length === 1);
    assert.deepEqual(hearing.finals(), [WORDS[3]]);
    hearing.close();
    await assertClean(world);
  });
}

type SttRow = {
  readonly fault: VendorFault;
  readonly lines: number;
  /** Null: the words arrive all the same. */
  readonly code: ErrorCode | null;
};

const STT_FAULTS: readonly SttRow[] = [
  { fault: { kind: 'refuse', status: 401 }, lines: 0, code: 'E_PROVIDER_AUTH' },
  { fault: { kind: 'refuse', status: 403 }, lines: 0, code: 'E_PROVIDER_AUTH' },
  { fault: { kind: 'refuse', status: 503 }, lines: 1, code: null },
  { fault: { kind: 'fail_before_start' }, lines: 2, code: null },
  { fault: { kind: 'half_open' }, lines: 2, code: null },
  { fault: { kind: 'cut' }, lines: 2, code: null },
  { fault: { kind: 'fail_midway' }, lines: 2, code: null },
  { fault: own('unauthorized'), lines: 1, code: 'E_PROVIDER_AUTH' },
  { fault: own('idle'), lines: 2, code: null },
  { fault: { kind: 'recycle' }, lines: 2, code: null },
  { fault: { kind: 'junk' }, lines: 2, code: null },
  { fault: own('garbage'), lines: 2, code: null },
  { fault: own('lying_length'), lines: 2, code: null },
  { fault: own('gzip_bomb'), lines: 2, code: null },
  { fault: { kind: 'swapped' }, lines: 2, code: null },
  { fault: { kind: 'huge', bytes: 3_000_000 }, lines: 2, code: null },
  { fault: { kind: 'slow', ms: 150 }, lines: 1, code: null },
  { fault: { kind: 'late' }, lines: 1, code: null },
];

for (const { fault, lines, code } of STT_FAULTS) {
  test(`the recogniser: ${JSON.stringify(fault)} comes to ${code ?? 'the words'}`, async (t) => {
    const world = await startWorld(t, { clock });
    world.sim.faults.add(fault);
    const hearing = hear(world);
    await hearing.say(1);
    if (code === null) {
      await until('a final', () => hearing.finals().length === 1, 5_000);
      if (fault.kind === 'half_open') {
        // The utterance is over before the dead line is noticed: its words come with the next.
        await until('a second line', () => world.sim.server.accepted === 2);
      } else assert.deepEqual(hearing.finals(), [WORDS[1]]);
      await hearing.say(2);
      await until('another final', () => hearing.finals().length === 2);
      assert.ok(hearing.finals()[1]?.endsWith(WORDS[2]), hearing.finals().join('|'));
      assert.deepEqual(hearing.errors(), []);
    } else {
      await until('an error', () => hearing.errors().length > 0);
      const [error] = hearing.errors();
      assert.equal(error?.code, code, error?.message);
      assert.match(error?.message ?? '', /the speech account "Volcengine"/);
    }
    assert.equal(world.sim.server.accepted, lines);
    hearing.close();
    await assertClean(world);
  });
}

test('the recogniser: one that never says a word is given up', async (t) => {
  const world = await startWorld(t, { clock });
  world.sim.faults.add({ kind: 'hang' }, { kind: 'hang' });
  const hearing = hear(world);
  for (let n = 0; n < 8 && hearing.errors().length === 0; n++) await hearing.say(1);
  await until('an error', () => hearing.errors().length > 0);
  assert.equal(hearing.errors()[0]?.code, 'E_TIMEOUT');
  assert.equal(world.sim.server.accepted, 2);
  hearing.close();
  await assertClean(world);
});

test('the recogniser: a caller on hold costs no connection', async (t) => {
  const faster = fastClock(60);
  const world = await startWorld(t, { clock: faster });
  const hearing = hear(world);
  await until('a connection', () => world.sim.starts.length === 1);
  await new Promise<void>((resolve) => void faster.setTimer(resolve, 40_000));
  assert.deepEqual([world.sim.server.accepted, world.sim.server.open], [1, 1]);
  assert.deepEqual(hearing.errors(), []);
  hearing.close();
  await assertClean(world);
});
