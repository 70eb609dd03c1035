/** Background, effects and people on a whole chain: on the wire, in the recording, in what is counted and told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { beepSound } from '#media/mix/built-in-sounds.ts';
import { renderTone } from '#media/dtmf/dtmf-tones.ts';
import { Parties, type PartyCommand } from '#media/mix/party.ts';
import type { PartyRole } from '#media/mix/mix-types.ts';
import { SpeakingWatch } from '#media/playout/speaking-watch.ts';
import type { MediaEvent } from '#media/types.ts';
import { AUDIO, MemoryDisk, testChain, type TestChain } from './_media.ts';

const named = <T extends MediaEvent['type']>(call: TestChain, type: T) =>
  call.events.filter((event): event is Extract<MediaEvent, { type: T }> => event.type === type);

async function speak(call: TestChain, utterance: number, pcm: Int16Array): Promise<void> {
  call.writer.begin(utterance);
  const written = call.writer.write(utterance, pcm);
  call.writer.end(utterance);
  await written;
}

const steady = (ms: number, value: number): Int16Array => new Int16Array(ms * 8).fill(value);
const wire = (call: TestChain, from = 0): number[] =>
  call.transport.sent
    .slice(from)
    .flatMap(({ payload }) => [...payload].map((code) => G711.PCMU.decode[code] ?? 0));
/** Through mu-law a level is known to 4 %. */
const isLike = (found: number, wanted: number): boolean =>
  Math.abs(found - wanted) <= Math.abs(wanted) * 0.04 + 8;

const background = (pcm: Int16Array) => ({ pcm, gainDb: 0, duckDb: 12, ducksForCaller: false });

function partiesOf(call: TestChain): Parties {
  const { parties } = call.chain.output;
  return new Parties((untold) => {
    const command = untold as PartyCommand;
    if (command.type === 'party.join') parties.add(command.party, command, command.settings);
    else if (command.type === 'party.set')
      parties.set(command.party, command.settings, command.from);
    else parties.remove(command.party);
  });
}

test('a background is sent and recorded, ducked under speech, and is no speech', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.chain.output.background.set(background(steady(500, 1000)));
  call.clock.advance(2000);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 1000));
  assert.equal(
    call.events.some(({ type }) => type.startsWith('playout')),
    false,
  );
  await speak(call, 1, steady(1000, 4000));
  call.clock.advance(600);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 4000 + 251), `${wire(call).at(-1)}: 12 dB less`);
  call.clock.advance(1600);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 1000), 'and back');
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 1000);
  assert.equal(named(call, 'playout.started').length, 1);
  call.chain.output.mute(true);
  call.clock.advance(200);
  assert.ok(Math.abs(wire(call).at(-1) ?? 9) <= 8, 'a muted agent is silent');
  await call.chain.close();
  const agent = call.disk.channel(1);
  assert.ok(agent.includes(1000), 'recorded');
  assert.ok(isLike(agent.at(-1) ?? 0, 1000), 'as it was, muted or not');
});

test('a loop and digits are heard without background and effects', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const { output } = call.chain;
  output.background.set(background(steady(500, 2000)));
  call.clock.advance(2000);
  // Its own beginning is soft; any other step is ours.
  output.effects.add(
    steady(2000, 3000).map((x, i) => Math.round(x * Math.min(1, i / 80))),
    0,
  );
  call.clock.advance(100);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 5000));
  output.loop.set(steady(200, -6000));
  call.clock.advance(200);
  assert.ok(isLike(wire(call).at(-1) ?? 0, -6000));
  output.loop.set(null);
  call.clock.advance(1000);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 2000), 'the effect is gone');
  const step = wire(call).reduce(
    (most, x, i, all) => Math.max(most, Math.abs(x - (all[i - 1] ?? x))),
    0,
  );
  assert.ok(step <= 700, `${step}`);
  await call.chain.close();
});

test('a beep for itself: the voice waits for it and is heard whole', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.chain.output.effects.add(beepSound(), 0, true);
  await speak(call, 1, steady(200, 5000));
  call.clock.advance(1000);
  const sent = wire(call);
  const voiceAt = sent.findIndex((x) => isLike(x, 5000));
  assert.ok(voiceAt >= 1600, `the voice begins at ${voiceAt}, behind 200 ms of beep`);
  const heard = sent.filter((x) => isLike(x, 5000)).length;
  assert.ok(heard >= 1600 - 40, `${heard} samples of the voice`);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 200);
  await call.chain.close();
});

test('an utterance louder by so much, and the agent by so much', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.chain.output.voice.set(-6);
  call.writer.begin(1, 12);
  void call.writer.write(1, steady(200, 2000));
  call.writer.end(1);
  await speak(call, 2, steady(200, 2000));
  call.clock.advance(190);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 2000 * 10 ** (6 / 20)));
  call.clock.advance(200);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 2000 * 10 ** (-6 / 20)));
  await call.chain.close();
});

test('who is on the wire and in the recording: never a whisper, the agent not when taken over', async () => {
  const rows: readonly [PartyRole, number, number][] = [
    ['supervisor', 5000, 5000],
    ['whisper', 3000, 3000],
    ['listen', 3000, 3000],
    ['agent', 2000, 2000],
  ];
  for (const [role, onWire, recorded] of rows) {
    const call = testChain();
    call.chain.start(AUDIO);
    const parties = partiesOf(call);
    await speak(call, 1, steady(3000, 3000));
    const party = parties.join({ role });
    for (let i = 0; i < 50; i++) {
      party.push(steady(20, 2000));
      call.clock.advance(20);
    }
    assert.ok(isLike(wire(call).at(-1) ?? 0, onWire), `${role}: ${wire(call).at(-1)}`);
    const into = new Int16Array(8000);
    const own = into[party.read(into) - 1] ?? 0;
    assert.ok(isLike(own, role === 'agent' ? 0 : 3000), `${role} hears ${own}, not himself`);
    call.clock.advance(2200);
    assert.equal(named(call, 'playout.done')[0]?.heardMs, 3000, 'time passes as ever');
    await call.chain.close();
    const agent = call.disk.channel(1);
    assert.ok(isLike(agent[6400] ?? 0, recorded), `${role} recorded: ${agent[6400]}`);
    assert.ok(
      call.disk.channel(0).every((x) => x === 0),
      'nothing of it on the caller’s side',
    );
  }
});

test('on hold people hear one another and the tune; the caller hears the tune alone', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const parties = partiesOf(call);
  const [one, other] = [parties.join({ role: 'supervisor' }), parties.join({ role: 'supervisor' })];
  call.chain.output.loop.set(steady(200, 1000));
  const talk = (frames: number): void => {
    for (let i = 0; i < frames; i++) {
      one.push(steady(20, 4000));
      call.clock.advance(20);
    }
  };
  talk(20);
  assert.ok(isLike(wire(call).at(-1) ?? 0, 1000));
  const into = new Int16Array(8000);
  assert.equal(into[other.read(into) - 1], 5000);
  // The other side sends us nothing and takes nothing: they go on among themselves.
  call.chain.start({ ...AUDIO, send: false });
  talk(20);
  assert.equal(into[other.read(into) - 1], 4000);
  await call.chain.close();
});

test('stalled: a voice that gives nothing, a pause nobody ends, and a line that is closed', async () => {
  const rows = ['voice', 'paused', 'closed'] as const;
  for (const why of rows) {
    const call = testChain();
    call.chain.start(AUDIO);
    call.writer.begin(1);
    void call.writer.write(1, steady(why === 'voice' ? 200 : 20_000, 3000).subarray(0, 60_000));
    call.clock.advance(1000);
    if (why === 'paused') call.chain.pause();
    if (why === 'closed') call.chain.start({ ...AUDIO, send: false });
    call.clock.advance(1900);
    assert.deepEqual(named(call, 'playout.stalled'), [], why);
    call.clock.advance(5000);
    const told = named(call, 'playout.stalled');
    assert.deepEqual(
      told.map((event) => [event.why, event.utterance, event.waitingMs]),
      [
        [why, 1, 3000],
        [why, 1, 6000],
      ],
    );
    if (why === 'voice') assert.equal(told[0]?.heardMs, 200);
    call.chain.start(AUDIO);
    call.chain.resume();
    if (why === 'voice') void call.writer.write(1, steady(200, 3000));
    call.clock.advance(4000);
    assert.equal(named(call, 'playout.stalled').length, why === 'voice' ? 3 : 2, 'counted anew');
    await call.chain.close();
  }
});

test('not stalled: nothing to say, a voice that has not begun, a loop, a pause before anything', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.clock.advance(10_000);
  call.writer.begin(1);
  call.clock.advance(10_000);
  call.chain.pause();
  call.clock.advance(10_000);
  call.chain.resume();
  void call.writer.write(1, steady(1000, 3000));
  call.chain.output.loop.set(steady(200, 1000));
  call.clock.advance(10_000);
  assert.deepEqual(named(call, 'playout.stalled'), []);
  await call.chain.close();
});

test('speaking: within 40 ms of the last packet that had some of an utterance', () => {
  const watch = new SpeakingWatch();
  const seen: boolean[] = [];
  for (const hasSent of [false, true, false, false, false, true, true]) {
    watch.pass(1, hasSent, null, 1);
    seen.push(watch.isSpeaking);
  }
  assert.deepEqual(seen, [false, true, true, false, false, true, true]);
  watch.pass(5, false, 'closed', 1);
  assert.equal(watch.isSpeaking, false);
});

test('digits by tones while a background is on: nothing but tones is heard, and it comes back ducked or not', async () => {
  for (const mode of ['inband', 'rfc4733'] as const) {
    const call = testChain();
    call.chain.start(mode === 'inband' ? { ...AUDIO, dtmfPayloadType: null } : AUDIO);
    const { output } = call.chain;
    output.background.set(background(steady(500, 2000)));
    call.clock.advance(2000);
    await speak(call, 1, steady(2000, 4000));
    call.clock.advance(400);
    const before = call.transport.sent.length;
    output.sendDtmf({ request: 1, digits: '15', mode, toneMs: 100, gapMs: 60 });
    call.clock.advance(380);
    const sent = wire(call, before + 1).slice(0, 2 * 1280);
    const found = sent.slice(0, 1280);
    if (mode === 'inband') {
      const pure = new Int16Array(160);
      const wanted: number[] = [];
      for (let at = 0; at < 800; at += 160) {
        renderTone(pure, '1', at, 800);
        wanted.push(...pure);
      }
      const worst = wanted.map((x, i) => Math.abs(x - (found[i] ?? 0)) - Math.abs(x) * 0.04 - 8);
      assert.ok(Math.max(...worst) <= 0, `${Math.max(...worst)}: the tone and nothing else`);
      assert.ok(
        found.slice(800).every((x) => Math.abs(x) <= 8),
        'and silence between two',
      );
    }
    call.clock.advance(1000);
    assert.ok(isLike(wire(call).at(-1) ?? 0, 4000 + 502), `${wire(call).at(-1)}: ducked again`);
    call.clock.advance(2500);
    assert.ok(isLike(wire(call).at(-1) ?? 0, 2000), 'and as it was when he is through');
    assert.equal(named(call, 'playout.done')[0]?.heardMs, 2000, 'he lost nothing by the digits');
    await call.chain.close();
  }
});

test('what is dropped is told: effects, people who say too much or hear too little, a disk that hangs', async () => {
  const disk = new MemoryDisk();
  const call = testChain({ disk });
  call.chain.start(AUDIO);
  const { promise, resolve } = Promise.withResolvers<void>();
  disk.gate = promise;
  const { output } = call.chain;
  for (let i = 0; i < 8; i++) output.effects.add(steady(20, 100), 0);
  const parties = partiesOf(call);
  const party = parties.join({ role: 'supervisor' });
  for (let i = 0; i < 4; i++) party.push(steady(100, 100));
  call.clock.advance(2000);
  party.leave();
  call.clock.advance(20_000);
  const during = call.chain.stats.dropped ?? {};
  resolve();
  disk.gate = null;
  const { stats, recording } = await call.chain.close();
  const { effect = 0, party: said = 0, recording: lost = 0 } = stats.dropped ?? {};
  assert.equal(effect, 3);
  // 160 ms of what he said, and all but the last second of what he was to hear in the two that he was there.
  assert.ok(said >= 8 + 49 && said <= 8 + 52, `${said} frames`);
  assert.ok((during.recording ?? 0) > 0, JSON.stringify(during));
  assert.ok(lost >= 200 && lost <= 600, `${lost} frames of 22 s, of which 12 s may wait`);
  assert.equal(recording?.truncated, true);
});
