/** Doubao's dialogue against its simulator: the contract of realtime vendors, messages as documented, every fault. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { RealtimeProvider } from '#providers/contract.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { SIM_TOKEN, type VolcSim } from '#providers/sim/volcengine.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { VOLCENGINE } from '#providers/volcengine/module.ts';
import { openCall, testRealtime, WORDS, type RealtimeWorld } from './_realtime-contract.ts';
import { atEnd } from './_store.ts';
import { fastClock, startWorld, until } from './_volcengine.ts';

const ACCOUNT = 'the speech account "Volcengine"';
/** Four times as fast: 0.2 s of it are not much. */
const clock = fastClock(4);
const QUICK = {
  ...{ connect_ms: 1_600, start_ms: 1_200, reply_ms: 2_400, stall_ms: 1_600 },
  realtime_end_window_ms: 500,
};

type World = RealtimeWorld & { readonly sim: VolcSim };

async function start(
  options: Readonly<Record<string, unknown>> = {},
  more: Partial<VendorSettings> = {},
  perMinute = 60,
): Promise<World> {
  const reply = (said: string): string => (said === '' ? 'I am here' : `you said ${said}`);
  const world = await startWorld(null, { clock, words: WORDS, reply, perMinute });
  const settings = world.settings({ ...QUICK, ...options }, more);
  const { sim } = world;
  return {
    provider: VOLCENGINE.realtime?.(settings, world.tools) as RealtimeProvider,
    ...{ sim, faults: sim.faults, violations: sim.violations, server: sim.server },
    cuts: () =>
      sim.asked.flatMap(([event, json]) =>
        event === 513 ? [(json as { audio_end_ms: number }).audio_end_ms] : [],
      ),
    close: () => sim.close(),
  };
}

testRealtime({ name: 'doubao dialogue', start: () => start(), truncates: true, hasTools: false });

async function closed(world: World): Promise<void> {
  await until('all sockets are closed', () => world.server.open === 0);
  assert.deepEqual(world.violations, []);
}

const codeOf = (event: { readonly error: Error } | undefined): unknown =>
  (event?.error as AppError | undefined)?.code;

const eventsOf = (world: World): number[] => world.sim.asked.map(([event]) => event);

test('doubao dialogue: what is sent is what the vendor documents', async (t) => {
  const world = await start(
    { realtime_bot_name: '小助手', realtime_speaking_style: '简短', realtime_city: '北京' },
    { model: '1.2.1.1', voice: 'zh_male_yunzhou_jupiter_bigtts', speed: 1.2 },
  );
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, {
    instructions: 'a\\b\tc\nd',
    language: 'zh',
  });
  assert.deepEqual(world.sim.starts, [
    {
      asr: {
        audio_info: { format: 'pcm', sample_rate: 16000, channel: 1 },
        extra: { end_smooth_window_ms: 500, enable_custom_vad: true, enable_asr_twopass: false },
      },
      tts: {
        speaker: 'zh_male_yunzhou_jupiter_bigtts',
        audio_config: {
          ...{ channel: 1, format: 'pcm_s16le', sample_rate: 24000 },
          ...{ speech_rate: 20, loudness_rate: 0 },
        },
        extra: {},
      },
      dialog: {
        ...{ bot_name: '小助手', system_role: 'a/b c\nd', speaking_style: '简短', dialog_id: '' },
        location: { city: '北京' },
        extra: {
          ...{ model: '1.2.1.1', input_mod: 'keep_alive', enable_conversation_truncate: true },
          strict_audit: false,
        },
      },
    },
  ]);
  listener.do((session) => session.close());
  await closed(world);
  assert.deepEqual(eventsOf(world), [1, 100, 102, 2]);
});

test('doubao dialogue: the other model gets a character', async (t) => {
  const world = await start({ realtime_model: '2.2.0.0', hot_words: ['Callyard'] });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  const [sent] = world.sim.starts as { dialog: Record<string, unknown>; asr: object }[];
  assert.equal(sent?.dialog['character_manifest'], 'Be brief.');
  assert.ok(!('system_role' in (sent?.dialog ?? {})));
  assert.match(JSON.stringify(sent?.asr), /"context":\{"hotwords":\[\{"word":"Callyard"\}\]\}/);
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: what was said before is told in pairs', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, {
    history: [
      { role: 'system', content: 'Earlier: the caller is Li.' },
      { role: 'assistant', content: 'Hello, your order number please?' },
      { role: 'user', content: 'seven' },
      { role: 'user', content: 'eight' },
    ],
  });
  const [sent] = world.sim.starts as { dialog: Record<string, unknown> }[];
  assert.equal(sent?.dialog['system_role'], 'Be brief.\n\nEarlier: the caller is Li.');
  assert.deepEqual(sent?.dialog['dialog_context'], [
    { role: 'user', text: '(the caller is on the line)' },
    { role: 'assistant', text: 'Hello, your order number please?' },
    { role: 'user', text: 'seven\neight' },
    { role: 'assistant', text: '(no answer was given)' },
  ]);
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: the first words by SayHello, later ones by ChatTTSText', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  listener.do((session) => session.say('Welcome.'));
  await listener.turnDone(1);
  listener.speak(7);
  await listener.turnDone(2);
  listener.do((session) => session.say('One more thing.'));
  await listener.turnDone(3);
  assert.equal(listener.textOf(3), 'One more thing.');
  const said = world.sim.asked.filter(([event]) => event === 300 || event === 500);
  assert.deepEqual(said, [
    [300, { content: 'Welcome.' }],
    [500, { start: true, content: 'One more thing.', end: false }],
    [500, { start: false, content: '', end: true }],
  ]);
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: own words in the middle of the caller’s replace the model’s answer', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  listener.speak(7);
  await listener.until('speech', () => listener.all('speech_started').length === 1);
  listener.do((session) => session.say('Let me stop you there.'));
  await listener.turnDone(1);
  await pause(60);
  assert.equal(listener.textOf(1), 'Let me stop you there.');
  assert.equal(listener.all('turn_started').length, 1, 'the model’s answer is dropped');
  const sound = listener.soundOf(1).length / 8;
  assert.ok(Math.abs(sound - 1000) < 30, `${sound} ms of five words`);
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: the caller speaks into a reply, and it is over', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  listener.do((session) =>
    session.say('one two three four five six seven eight nine ten. '.repeat(12)),
  );
  await listener.until('sound', () => listener.all('audio').length >= 2);
  listener.speak(7);
  await listener.until('speech', () => listener.all('speech_started').length === 1);
  listener.do((session) => session.interrupt(1, 300));
  await listener.turnDone(2);
  assert.equal(listener.textOf(2), `you said ${WORDS[7]}`);
  assert.deepEqual(world.cuts(), [300]);
  // The vendor has stopped by itself: being told so would cut into the next question.
  assert.ok(!eventsOf(world).includes(515));
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: without truncation nothing is cut at the vendor', async (t) => {
  const world = await start({ realtime_truncate: false });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  listener.do((session) => session.say('one two three four five six seven eight nine ten'));
  await listener.until('sound', () => listener.all('audio').length >= 2);
  listener.do((session) => session.interrupt(1, 100));
  listener.do((session) => session.text('hello'));
  await listener.turnDone(2);
  assert.deepEqual(world.cuts(), []);
  assert.ok(eventsOf(world).includes(515));
  listener.do((session) => session.close());
  await closed(world);
});

// ---- Faults ----

const own = (name: string): VendorFault => ({ kind: 'own', name });

const OPENING: readonly (readonly [VendorFault, ErrorCode, number])[] = [
  [{ kind: 'refuse', status: 401 }, 'E_PROVIDER_AUTH', 300],
  [{ kind: 'refuse', status: 403 }, 'E_PROVIDER_AUTH', 300],
  [{ kind: 'refuse', status: 404 }, 'E_PROVIDER_PARAM', 300],
  [{ kind: 'refuse', status: 429 }, 'E_PROVIDER_QUOTA', 300],
  [{ kind: 'refuse', status: 503 }, 'E_PROVIDER_SERVER', 300],
  [{ kind: 'fail_before_start' }, 'E_PROVIDER_SERVER', 300],
  [own('session_fails'), 'E_PROVIDER_SERVER', 300],
  [{ kind: 'hang' }, 'E_TIMEOUT', 600],
];

for (const [fault, code, withinMs] of OPENING) {
  test(`doubao dialogue: opening, ${JSON.stringify(fault)} comes to ${code}`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    world.faults.add(fault);
    const startMs = performance.now();
    await assert.rejects(openCall(t, world.provider), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, code, error.message);
      assert.doesNotMatch(error.message, new RegExp(`${SIM_TOKEN}|wss?://`));
      if (code === 'E_PROVIDER_AUTH') assert.ok(error.message.includes(ACCOUNT), error.message);
      return true;
    });
    assert.ok(performance.now() - startMs < withinMs + 200);
    await closed(world);
  });
}

type Row = {
  readonly fault: VendorFault;
  readonly lines: number;
  /** The caller's question is answered whole in this turn. */
  readonly turn: number;
  readonly told?: readonly ErrorCode[];
  /** Of that turn; absent: it says again what he said. */
  readonly text?: RegExp;
};

const AGAIN = /^you said (?:what is the weather|The line dropped)/;

const TALKING: readonly Row[] = [
  { fault: { kind: 'cut' }, lines: 2, turn: 2 },
  { fault: { kind: 'half_open' }, lines: 2, turn: 2 },
  { fault: { kind: 'recycle' }, lines: 2, turn: 2 },
  { fault: { kind: 'fail_midway' }, lines: 2, turn: 2 },
  { fault: own('error_with_event'), lines: 2, turn: 2 },
  { fault: own('dialog_error'), lines: 2, turn: 2 },
  { fault: own('idle'), lines: 2, turn: 1 },
  { fault: own('mute'), lines: 2, turn: 1 },
  { fault: own('stall'), lines: 2, turn: 2 },
  { fault: own('mid_utterance'), lines: 2, turn: 1 },
  { fault: { kind: 'huge', bytes: 3_000_000 }, lines: 2, turn: 2 },
  { fault: { kind: 'slow', ms: 250 }, lines: 1, turn: 1 },
  { fault: { kind: 'slow', ms: 5_000 }, lines: 2, turn: 1 },
  { fault: { kind: 'junk' }, lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: own('garbage'), lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: own('lying_length'), lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: own('gzip_bomb'), lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: { kind: 'swapped' }, lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: { kind: 'late' }, lines: 1, turn: 1 },
  { fault: { kind: 'moderated' }, lines: 1, turn: 1, text: /换个话题吧。$/ },
  { fault: own('risky'), lines: 1, turn: 1, told: ['E_PROVIDER_CONTENT'] },
];

for (const { fault, lines, turn, told = [], text = AGAIN } of TALKING) {
  test(`doubao dialogue: talking, ${JSON.stringify(fault)}`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    world.faults.add(fault);
    const listener = await openCall(t, world.provider);
    listener.speak(7);
    await listener.turnDone(turn);
    assert.match(listener.textOf(turn), text);
    assert.equal(world.server.accepted, lines);
    const errors = listener.all('error');
    assert.deepEqual(
      errors.map(({ error, isFatal }) => [(error as AppError).code, isFatal]),
      told.map((code) => [code, false]),
    );
    const [first, second] = world.sim.starts as { dialog: Record<string, unknown> }[];
    assert.equal(first?.dialog['dialog_id'], '');
    // The vendor goes on from its own memory.
    if (lines === 2) assert.equal(second?.dialog['dialog_id'], 'dialog-1');
    assert.equal(
      listener.all('user_transcript').findLast(({ isFinal }) => isFinal)?.text,
      WORDS[7],
    );
    listener.speak(9);
    const next = listener.all('turn_started').length + 1;
    await listener.turnDone(next);
    const said = fault.kind === 'moderated' ? '换个话题吧。' : '';
    assert.equal(listener.textOf(next), `you said ${WORDS[9]}${said}`);
    listener.do((session) => session.close());
    await closed(world);
  });
}

test('doubao dialogue: with realtime_resume context the next session is told by us', async (t) => {
  const world = await start({ realtime_resume: 'context' });
  atEnd(t, () => world.close());
  world.faults.add({ kind: 'recycle' });
  const listener = await openCall(t, world.provider);
  listener.speak(7);
  await listener.turnDone(2);
  const [, next] = world.sim.starts as { dialog: Record<string, unknown> }[];
  const second = next?.dialog;
  const told = second?.['dialog_context'] as unknown[] | undefined;
  assert.equal(second?.['dialog_id'], '');
  assert.deepEqual(told?.[0], { role: 'user', text: WORDS[7] });
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: late sound after an interruption is not given out', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  world.faults.add({ kind: 'late' });
  const listener = await openCall(t, world.provider);
  listener.do((session) => session.say('one two three four five six seven eight nine ten'));
  await listener.until('sound', () => listener.all('audio').length >= 3);
  const count = listener.events.length;
  listener.do((session) => session.interrupt(1, 100));
  await pause(60);
  const after = listener.events.slice(count).filter((event) => 'generation' in event);
  assert.deepEqual(after, []);
  listener.do((session) => session.text('after that'));
  await listener.turnDone(2);
  assert.equal(listener.textOf(2), 'you said after that');
  const sound = listener.soundOf(2).length / 8;
  assert.ok(Math.abs(sound - 800) < 30, `${sound} ms of four words`);
  listener.do((session) => session.close());
  await closed(world);
});

test('doubao dialogue: more sessions in a minute than the account may start', async (t) => {
  const world = await start({}, {}, 2);
  atEnd(t, () => world.close());
  for (let n = 0; n < 2; n++) {
    const listener = await openCall(t, world.provider);
    listener.do((session) => session.close());
  }
  await assert.rejects(openCall(t, world.provider), { code: 'E_PROVIDER_QUOTA', message: /qpm/ });
  await closed(world);
});

test('doubao dialogue: a vendor that fails again and again is given up, once', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const refusals = Array<VendorFault>(5).fill({ kind: 'refuse', status: 503 });
  world.faults.add({ kind: 'cut' }, ...refusals);
  const listener = await openCall(t, world.provider);
  listener.speak(7);
  await listener.until('a fatal error', () => listener.all('error').length > 0);
  const [last] = listener.all('error');
  assert.deepEqual([codeOf(last), last?.isFatal], ['E_PROVIDER_SERVER', true]);
  assert.equal(listener.events.at(-1), last, 'nothing is told after it');
  await closed(world);
});

test('doubao dialogue: a key that is taken away in the middle ends the session at once', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  world.faults.add({ kind: 'cut' }, { kind: 'refuse', status: 401 });
  const listener = await openCall(t, world.provider);
  listener.speak(7);
  await listener.until('a fatal error', () => listener.all('error').length > 0);
  const [last] = listener.all('error');
  assert.deepEqual([codeOf(last), last?.isFatal], ['E_PROVIDER_AUTH', true]);
  assert.ok(last?.error.message.includes(ACCOUNT));
  await closed(world);
});

test('doubao dialogue: ten minutes of silence end the vendor’s session, not the call', async (t) => {
  // Ten minutes at the vendor are 0.2 s here.
  const vendor = await startWorld(t, { clock: fastClock(3_000), words: WORDS });
  const { tools } = await startWorld(t);
  const provider = VOLCENGINE.realtime?.(vendor.settings(), tools) as RealtimeProvider;
  const listener = await openCall(t, provider);
  await until('another session', () => vendor.sim.starts.length === 2, 2_000);
  assert.deepEqual(listener.events, []);
  listener.do((session) => session.close());
  await until('all sockets are closed', () => vendor.sim.server.open === 0);
  assert.deepEqual(vendor.sim.violations, []);
});
