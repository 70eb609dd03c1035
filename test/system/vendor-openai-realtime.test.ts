/** OpenAI Realtime against its simulator: the contract, every fault, G.711 as it is, sessions that are followed by others. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { SimulatedClock, systemClock, type Clock } from '#lib/clock.ts';
import { G711, type G711Codec } from '#lib/g711.ts';
import { realtime } from '#providers/openai/realtime-module.ts';
import { numberAt, pick, textAt, type Json } from '#providers/realtime-json.ts';
import type { RealtimeSim, RealtimeSimOptions } from '#providers/sim/openai-realtime-kit.ts';
import { startOpenAiRealtimeSim } from '#providers/sim/openai-realtime.ts';
import { FaultPlan } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import {
  answer,
  openCall,
  testRealtime,
  TOOL,
  vendorSettings,
  vendorTools,
  WORDS,
  type RealtimeWorld,
} from './_realtime-contract.ts';
import { testRealtimeFaults } from './_realtime-faults.ts';
import { loopbackCertificate } from './_certificate.ts';
import { atEnd, newDataDir } from './_store.ts';

const QUICK = { connect_ms: 400, start_ms: 300, reply_ms: 600, stall_ms: 400 };

type World = RealtimeWorld & { readonly sim: RealtimeSim };
type More = {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly sim?: Partial<RealtimeSimOptions>;
  readonly clock?: Clock;
};

async function start(more: More = {}): Promise<World> {
  const faults = new FaultPlan();
  const sim = await startOpenAiRealtimeSim({
    ...{ key: 'key-1', clock: systemClock, words: WORDS, answer, faults },
    ...more.sim,
  });
  const options = { ...QUICK, realtime_url: `${sim.server.wsUrl}/v1/realtime`, ...more.options };
  const tools = { ...vendorTools, ...(more.clock === undefined ? {} : { clock: more.clock }) };
  return {
    provider: realtime(vendorSettings(options), tools),
    ...{ sim, faults, violations: sim.violations, server: sim.server },
    cuts: () =>
      sent(sim, 'conversation.item.truncate').map((e) => numberAt(e, 'audio_end_ms') ?? -1),
    close: () => sim.close(),
  };
}

function sent(sim: RealtimeSim, type: string, connection?: number): readonly Json[] {
  return sim.seen
    .filter((each) => connection === undefined || each.connection === connection)
    .map(({ event }) => event)
    .filter((event) => textAt(event, 'type') === type);
}

testRealtime({ name: 'openai realtime, 24 kHz', start: () => start(), truncates: true });
for (const codec of ['PCMA', 'PCMU'] as const) {
  testRealtime({
    ...{ name: `openai realtime, ${codec}`, codec, truncates: true, likeness: 0.995 },
    start: () => start(),
  });
}
testRealtime({
  ...{ name: 'openai realtime, not to be talked over', truncates: true },
  start: () => start({ options: { interrupt_response: false } }),
});
testRealtimeFaults({
  ...{ name: 'openai realtime', account: 'realtime account "test"' },
  start: () => start(),
});

for (const codec of ['PCMA', 'PCMU'] as const satisfies readonly G711Codec[]) {
  test(`${codec}: the vendor is asked for the line's own code, and no sample is computed anew`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    const listener = await openCall(t, world.provider, { codec });
    const [setUp] = sent(world.sim, 'session.update');
    const format = { type: codec === 'PCMA' ? 'audio/pcma' : 'audio/pcmu' };
    assert.deepEqual(pick(setUp, 'session', 'audio', 'input', 'format'), format);
    assert.deepEqual(pick(setUp, 'session', 'audio', 'output', 'format'), format);
    listener.do((session) => session.say('hello there'));
    await listener.turnDone(1);
    const { encode, decode } = G711[codec];
    const line = [...simSpeech('hello there', 8_000)].map((pcm) => encode[pcm & 0xffff] ?? 0);
    const heard = listener.soundOf(1);
    assert.deepEqual(
      [...heard],
      line.map((code) => decode[code]),
    );
    assert.deepEqual(
      [...heard].map((pcm) => encode[pcm & 0xffff]),
      line,
    );
  });
}

test('a server with a certificate of its own is believed when its authority is given, and only then', async (t) => {
  const tls = loopbackCertificate(newDataDir(t));
  if (tls === null) return t.skip('openssl is not installed');
  const strict = await start({ sim: { tls } });
  atEnd(t, () => strict.close());
  await assert.rejects(openCall(t, strict.provider), { code: 'E_PROVIDER_SERVER' });
  const world = await start({ sim: { tls }, options: { ca: tls.cert } });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider);
  listener.do((session) => session.say('in private'));
  await listener.turnDone(1);
  assert.equal(listener.textOf(1), 'in private');
});

test('a line that dies while the caller speaks is noticed by its pings, and he is heard by the next one', async (t) => {
  const clock = new SimulatedClock();
  const world = await start({ clock });
  atEnd(t, () => world.close());
  world.faults.add({ kind: 'own', name: 'deaf' });
  const listener = await openCall(t, world.provider);
  listener.speak(7);
  await pause(40);
  assert.deepEqual(listener.events, []);
  // All within 3 s: the question after 1 s, the verdict 1.5 s later.
  for (const ms of [1_000, 500, 500, 500]) {
    clock.advance(ms);
    await pause(20);
  }
  await listener.turnDone(1);
  assert.equal(listener.textOf(1), `you said ${WORDS[7]}`);
  assert.equal(world.server.accepted, 2);
  assert.deepEqual(listener.all('error'), []);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});

test('a session is followed by another before its limit, which knows what was said', async (t) => {
  const world = await start({ options: { session_limit_ms: 1_000 }, sim: { limitMs: 1_000 } });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, {
    tools: [TOOL],
    history: [{ role: 'system', content: 'He is a friend.' }],
  });
  listener.speak(8);
  await listener.turnDone(1);
  const [asked] = listener.all('tool_call');
  listener.do((session) => session.say('it takes a while'));
  await listener.turnDone(2);
  listener.do((session) => session.interrupt(2, 450));
  await listener.until(
    'another session',
    () => world.server.accepted === 2 && world.server.open === 1,
  );
  const items = sent(world.sim, 'conversation.item.create', 2).map((event) => pick(event, 'item'));
  const told = items.map((item) => {
    const [part] = (pick(item, 'content') ?? []) as readonly Json[];
    return [textAt(item, 'role') || textAt(item, 'type'), textAt(part, 'text')];
  });
  assert.deepEqual(told, [
    ['system', 'He is a friend.'],
    ['user', WORDS[8]],
    ['assistant', 'one moment'],
    ['function_call', ''],
    // Of four words in 800 ms, two in 450.
    ['assistant', 'it takes'],
  ]);
  listener.do((session) => session.toolResult(asked?.call.id ?? '', '{"name":"forty one"}'));
  await listener.turnDone(3);
  assert.equal(listener.textOf(3), 'the result is name forty one');
  assert.deepEqual(listener.all('error'), []);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});

test('a reply that runs into the limit goes on in the next session', async (t) => {
  const text = 'one two three four five six seven eight nine ten';
  const world = await start({
    options: { session_limit_ms: 1_000, audio: 'pcm' },
    sim: { limitMs: 1_000, everyMs: 70 },
  });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, { codec: 'PCMA' });
  listener.do((session) => session.say(text));
  await listener.turnDone(2);
  const words = listener.textOf(1);
  assert.ok(text.startsWith(words) && words !== text && words !== '', words);
  const [asked] = sent(world.sim, 'response.create', 2);
  assert.match(textAt(asked, 'response', 'instructions'), /^Be brief\.\n\n.*Go on/);
  assert.deepEqual(listener.all('error'), []);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});

test('a vendor that is busy is asked again, and one request that it declines is told', async (t) => {
  const world = await start({ options: { transcription_model: 'none' } });
  atEnd(t, () => world.close());
  world.faults.add({ kind: 'own', name: 'busy' });
  const listener = await openCall(t, world.provider);
  listener.do((session) => session.say('after you'));
  await listener.turnDone(1);
  assert.equal(listener.textOf(1), 'after you');
  assert.equal(sent(world.sim, 'response.create').length, 2);
  listener.speak(7);
  await listener.turnDone(2);
  assert.deepEqual(listener.all('user_transcript'), []);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});

test('what the caller says over the agent is not cancelled twice', async (t) => {
  const world = await start({ sim: { everyMs: 30 } });
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, {
    onEvent: (event) => {
      listener.onEvent(event);
      // At once, as a call does, while the vendor is still stopping.
      if (event.type === 'speech_started') listener.do((session) => session.interrupt(1, 120));
    },
  });
  listener.do((session) => session.say('one two three four five six seven eight nine ten'));
  await listener.until('sound', () => listener.all('audio').length >= 2);
  listener.speak(7);
  await listener.turnDone(2);
  assert.deepEqual(sent(world.sim, 'response.cancel'), []);
  assert.deepEqual(world.cuts(), [120]);
  listener.do((session) => session.say('one two three four five six seven eight nine ten'));
  await listener.until('sound', () =>
    listener.all('audio').some(({ generation }) => generation === 3),
  );
  // By a key, or a supervisor: the vendor has heard nothing.
  listener.do((session) => session.interrupt(3, 10));
  await listener.until('a cancel', () => sent(world.sim, 'response.cancel').length === 1);
  assert.equal(world.cuts().at(-1), 10);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});
