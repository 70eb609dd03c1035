/** Volcengine's voice against its simulator: contract, messages as documented, every fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { TtsProvider } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { SIM_API_KEY, SIM_LOG_ID, SIM_TOKEN } from '#providers/sim/volcengine.ts';
import { VOLCENGINE } from '#providers/volcengine/module.ts';
import { collect, speakAll, testTts } from '../unit/_provider-contract.ts';
import { assertClean, startWorld, until, type VolcWorld } from './_volcengine.ts';

function ttsOf(world: VolcWorld, options: Record<string, unknown> = {}): TtsProvider {
  const made = VOLCENGINE.tts?.(world.settings(options), world.tools);
  assert.ok(made);
  return made;
}

const HELLO = { text: 'Hello there, how are you today?', language: 'en' } as const;
const NI_HAO = { text: '您好，请问有什么可以帮您？', language: 'zh' } as const;

describe('contracts', () => {
  let world: VolcWorld;
  const made: TtsProvider[] = [];
  before(async () => {
    world = await startWorld(null);
  });
  after(async () => {
    for (const tts of made) tts.close?.();
    await assertClean(world);
    await world.sim.close();
  });
  const make = (options: Record<string, unknown>) => (): TtsProvider => {
    const tts = ttsOf(world, options);
    made.push(tts);
    return tts;
  };
  testTts('volcengine voice', make({}), [HELLO, NI_HAO]);
  testTts('volcengine voice without timestamps', make({ tts_timestamps: false }), [HELLO, NI_HAO]);
  testTts(
    'volcengine voice of the second generation',
    make({ tts_resource_id: 'seed-tts-2.0', tts_voice: 'zh_female_vv_uranus_bigtts' }),
    [HELLO, NI_HAO],
  );
});

// ---- The voice ----

test('the voice: what is sent is what the vendor documents', async (t) => {
  const world = await startWorld(t);
  const settings = world.settings({}, { speed: 1.5, volume: 0.8, voice: 'zh_male_x_moon_bigtts' });
  const tts = VOLCENGINE.tts?.(settings, world.tools) as TtsProvider;
  await speakAll(tts, HELLO);
  const [connection, start, task, finish] = world.sim.asked;
  assert.deepEqual(connection, [1, {}]);
  assert.deepEqual(start, [
    100,
    {
      ...{ user: { uid: 'callyard' }, event: 100, namespace: 'BidirectionalTTS' },
      req_params: {
        speaker: 'zh_male_x_moon_bigtts',
        audio_params: {
          ...{ format: 'pcm', sample_rate: 8000, speech_rate: 50, loudness_rate: -20 },
          enable_timestamp: true,
        },
        additions: '{"disable_markdown_filter":false}',
      },
    },
  ]);
  assert.deepEqual(task, [
    200,
    { event: 200, namespace: 'BidirectionalTTS', req_params: { text: HELLO.text } },
  ]);
  assert.deepEqual(finish?.[0], 102);
  tts.close?.();
  await assertClean(world);
});

test('the voice: many texts go over one connection, each in a session of its own', async (t) => {
  const world = await startWorld(t);
  const tts = ttsOf(world);
  for (let n = 0; n < 6; n++) await speakAll(tts, { text: `number ${n}`, language: 'en' });
  assert.equal(world.sim.sessionIds.size, 6);
  assert.ok(world.sim.server.accepted <= 2, `${world.sim.server.accepted} connections`);
  tts.close?.();
  await assertClean(world);
});

test('the voice: a speech that is given up is cancelled, and its connection used again', async (t) => {
  const world = await startWorld(t, { everyMs: 5 });
  const tts = ttsOf(world);
  for (let n = 0; n < 4; n++) {
    const abort = new AbortController();
    const speech = tts.speak(HELLO, abort.signal);
    await speech.next();
    abort.abort();
    const beforeMs = performance.now();
    await assert.rejects(collect(speech), { code: 'E_ABORTED' });
    assert.ok(performance.now() - beforeMs < 50, 'at once');
    await until('cancelled', () => world.sim.asked.filter(([event]) => event === 101).length > n);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(world.sim.server.accepted <= 2, `${world.sim.server.accepted} connections`);
  tts.close?.();
  await assertClean(world);
});

test('the voice: sound that comes after the cancel is never given out', async (t) => {
  const world = await startWorld(t, { everyMs: 5 });
  world.sim.faults.add({ kind: 'late' });
  const tts = ttsOf(world);
  const abort = new AbortController();
  const speech = tts.speak({ text: 'one two three four five six', language: 'en' }, abort.signal);
  await speech.next();
  abort.abort();
  await assert.rejects(collect(speech), { code: 'E_ABORTED' });
  const { pcm } = await speakAll(tts, { text: 'seven', language: 'en' });
  const alone = ttsOf(world);
  assert.deepEqual(pcm, (await speakAll(alone, { text: 'seven', language: 'en' })).pcm);
  tts.close?.();
  alone.close?.();
  await assertClean(world);
});

test('the voice: a connection that died while it waited costs nothing', async (t) => {
  const world = await startWorld(t);
  const tts = ttsOf(world);
  await speakAll(tts, HELLO);
  // Whatever waits is cut, and the client speaks before it can have noticed.
  world.sim.cutAll();
  assert.ok((await speakAll(tts, HELLO)).pcm.length > 0);
  tts.close?.();
  await assertClean(world);
});

test('the voice: marks are those of the vendor, and even ones for what it gave none', async (t) => {
  const world = await startWorld(t);
  const tts = ttsOf(world);
  const { marks } = await speakAll(tts, { text: 'one two, three', language: 'en' });
  assert.deepEqual(marks, [
    { chars: 3, ms: 200 },
    { chars: 8, ms: 400 },
    { chars: 14, ms: 600 },
  ]);
  tts.close?.();
  await assertClean(world);
});

test('the voice: a long text is one session, in parts', async (t) => {
  const world = await startWorld(t, { everyMs: 0, chunkMs: 2_000 });
  const tts = ttsOf(world);
  const text = 'A sentence that goes on for a while, and then ends. '.repeat(14).trim();
  const { marks } = await speakAll(tts, { text, language: 'en' });
  assert.equal(marks.at(-1)?.chars, text.length);
  const tasks = world.sim.asked.filter(([event]) => event === 200);
  assert.ok(tasks.length >= 3);
  const parts = tasks.map(([, json]) => (json as { req_params: { text: string } }).req_params.text);
  assert.equal(parts.join(''), text);
  assert.ok(parts.every((part) => part.length <= 300));
  tts.close?.();
  await assertClean(world);
});

type TtsRow = {
  readonly fault: VendorFault;
  readonly code: ErrorCode | null;
  readonly withinMs: number;
  /** Some of it was heard before. */
  readonly hasSound?: boolean;
  readonly says?: RegExp;
};

const own = (name: string): VendorFault => ({ kind: 'own', name });
const SERVER = 'E_PROVIDER_SERVER';

const TTS_FAULTS: readonly TtsRow[] = [
  {
    fault: { kind: 'refuse', status: 401 },
    code: 'E_PROVIDER_AUTH',
    withinMs: 300,
    says: /credentials\.app_id or credentials\.access_token/,
  },
  {
    fault: { kind: 'refuse', status: 403 },
    code: 'E_PROVIDER_AUTH',
    withinMs: 300,
    says: /the speech account "Volcengine"/,
  },
  { fault: { kind: 'refuse', status: 429 }, code: 'E_PROVIDER_QUOTA', withinMs: 300 },
  { fault: { kind: 'refuse', status: 400 }, code: 'E_PROVIDER_PARAM', withinMs: 300 },
  { fault: { kind: 'refuse', status: 503 }, code: SERVER, withinMs: 300 },
  {
    fault: { kind: 'fail_before_start' },
    code: SERVER,
    withinMs: 300,
    says: /no connection for you \(55000000\)/,
  },
  { fault: { kind: 'hang' }, code: 'E_TIMEOUT', withinMs: 500 },
  { fault: { kind: 'half_open' }, code: 'E_TIMEOUT', withinMs: 700, hasSound: true },
  { fault: { kind: 'cut' }, code: SERVER, withinMs: 300, hasSound: true },
  { fault: { kind: 'fail_midway' }, code: SERVER, withinMs: 300, hasSound: true, says: /55000000/ },
  { fault: own('error_with_event'), code: SERVER, withinMs: 300, hasSound: true, says: /55000000/ },
  { fault: own('unauthorized'), code: 'E_PROVIDER_AUTH', withinMs: 300, hasSound: true },
  { fault: { kind: 'junk' }, code: SERVER, withinMs: 300, hasSound: true },
  { fault: own('garbage'), code: SERVER, withinMs: 300, hasSound: true },
  { fault: own('lying_length'), code: SERVER, withinMs: 300, hasSound: true },
  { fault: own('gzip_bomb'), code: SERVER, withinMs: 300, hasSound: true },
  { fault: { kind: 'swapped' }, code: SERVER, withinMs: 300, hasSound: true },
  { fault: { kind: 'huge', bytes: 3_000_000 }, code: SERVER, withinMs: 300, hasSound: true },
  { fault: { kind: 'recycle' }, code: SERVER, withinMs: 300, hasSound: true },
  { fault: { kind: 'moderated' }, code: 'E_PROVIDER_CONTENT', withinMs: 300, hasSound: true },
  { fault: own('mute'), code: 'E_TIMEOUT', withinMs: 700, hasSound: true },
  { fault: { kind: 'slow', ms: 100 }, code: null, withinMs: 1_000, hasSound: true },
  { fault: { kind: 'slow', ms: 2_000 }, code: 'E_TIMEOUT', withinMs: 500 },
  { fault: { kind: 'late' }, code: null, withinMs: 500, hasSound: true },
];

const QUICK = { connect_ms: 300, start_ms: 250, tts_first_sound_ms: 250, tts_next_sound_ms: 300 };

for (const { fault, code, withinMs, hasSound = false, says } of TTS_FAULTS) {
  test(`the voice: ${JSON.stringify(fault)} comes to ${code ?? 'good speech'}`, async (t) => {
    const world = await startWorld(t);
    world.sim.faults.add(fault);
    const tts = ttsOf(world, QUICK);
    const pieces: number[] = [];
    const startMs = performance.now();
    const speak = async (): Promise<void> => {
      for await (const { pcm } of tts.speak(HELLO, new AbortController().signal)) {
        pieces.push(pcm.length);
      }
    };
    if (code === null) await speak();
    else {
      await assert.rejects(speak(), (error) => {
        assert.ok(error instanceof AppError, String(error));
        assert.equal(error.code, code, error.message);
        if (says !== undefined) assert.match(error.message, says);
        assert.doesNotMatch(error.message, new RegExp(`${SIM_TOKEN}|ws://`));
        return true;
      });
    }
    assert.ok(performance.now() - startMs < withinMs + 200, `${performance.now() - startMs} ms`);
    assert.equal(pieces.length > 0, hasSound);
    // And the next text is spoken as if nothing had been.
    assert.ok((await speakAll(tts, NI_HAO)).pcm.length > 0);
    tts.close?.();
    await assertClean(world);
  });
}

test('the voice: the wrong kind of voice for the resource is named', async (t) => {
  const world = await startWorld(t);
  const tts = ttsOf(world, { tts_voice: 'zh_female_vv_uranus_bigtts' });
  await assert.rejects(speakAll(tts, HELLO), { code: 'E_PROVIDER_PARAM', message: /mismatched/ });
  tts.close?.();
  await assertClean(world);
});

test('keys: a wrong one, a right that is missing, and the console’s new one', async (t) => {
  const lines: [string, unknown][] = [];
  const log = {
    ...silentLog,
    debug: (event: string, fields: unknown) => void lines.push([event, fields]),
  };
  const world = await startWorld(t, { log });
  const make = (credentials: Record<string, string>, options = {}): TtsProvider =>
    VOLCENGINE.tts?.(world.settings(options, { credentials }), world.tools) as TtsProvider;
  const wrong = make({ app_id: 'app-1', access_token: 'not-this-one' });
  await assert.rejects(speakAll(wrong, HELLO), (error) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, 'E_PROVIDER_AUTH');
    assert.match(
      error.message,
      /the speech account "Volcengine": credentials\.app_id or credentials\.access_token/,
    );
    assert.doesNotMatch(error.message, /not-this-one/);
    assert.deepEqual(error.details, { vendorCode: 45000010, status: 401, logId: SIM_LOG_ID });
    return true;
  });
  const right = { app_id: 'app-1', access_token: SIM_TOKEN };
  await assert.rejects(speakAll(make(right, { tts_resource_id: 'volc.unknown' }), HELLO), {
    code: 'E_PROVIDER_AUTH',
    message: /not granted.*volc\.unknown/,
  });
  const tts = make({ api_key: SIM_API_KEY });
  assert.ok((await speakAll(tts, HELLO)).pcm.length > 0);
  assert.ok(
    lines.some(
      ([event, fields]) =>
        event === 'volcengine.connected' && JSON.stringify(fields).includes(SIM_LOG_ID),
    ),
  );
  await assert.rejects(speakAll(make({ api_key: 'old' }), HELLO), {
    message: /credentials\.api_key/,
  });
  tts.close?.();
  await assertClean(world);
});
