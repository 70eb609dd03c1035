/** Sound and words that wait for each other: loops that end, sounds that are given back, and an event loop that goes on. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { Speaker } from '#sessions/speaker.ts';
import { Utterance } from '#sessions/utterance.ts';
import { answered, messages, over, pass, PLAY, SAY } from './_control-rig.ts';
import { AGENT, fakeLlm, FakeMedia, fakeTts, NO_TOOLS } from './_fakes.ts';

/** Takes whatever it is given, at once, and has played it already. */
class Abyss extends FakeMedia {
  writes = 0;

  override write(): Promise<void> {
    this.writes++;
    // Without this end a loop that lets nobody else run would run for ever.
    if (this.writes > 10_000) return Promise.reject(new Error('written without end'));
    return Promise.resolve();
  }

  override endUtterance(): void {}

  override playedSamples(): number {
    return Number.POSITIVE_INFINITY;
  }
}

test('a loop lets others run, however much is taken at once and however short it is', async () => {
  for (const samples of [1, 160, 4000, 40_000]) {
    const clock = new SimulatedClock();
    const media = new Abyss(clock, []);
    const speaker = new Speaker({
      ...{ agent: AGENT, providers: { llm: fakeLlm(() => []), tts: fakeTts }, floor: null },
      ...{ callId: 'c', announceOnly: false, media, clock, history: () => [] },
      ...{ onUsage: () => undefined, tools: NO_TOOLS },
    });
    const utterance = new Utterance(1, 1, new TurnTimes(() => clock.now()));
    utterance.repeats = true;
    const sound = { kind: 'sound', pcm: new Int16Array(samples), title: 'x' } as const;
    const spoken = speaker.speak(utterance, sound);
    const end = assert.rejects(spoken, { code: 'E_ABORTED' });
    await setImmediate();
    assert.equal(media.writes, 1, 'the next piece waits for the clock');
    for (let i = 0; i < 50; i++) {
      clock.advance(20);
      await setImmediate();
    }
    assert.equal(media.writes, 51, `${samples} samples: as many as the clock lets through`);
    utterance.abort.abort();
    await end;
    assert.equal(clock.pending, 0);
  }
});

test('a loop is queued a second ahead, so that what waits is heard soon after its round', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  await control.play(accountId, id, { ...PLAY, loop: true });
  await pass(rig, 5000);
  await control.say(accountId, id, SAY);
  await pass(rig, 2500);
  assert.deepEqual(messages(rig).slice(1), [
    'assistant: [Audio: a.wav]',
    'assistant: One moment please',
  ]);
  await over(setup);
});

test('a loop that others wait behind already is heard once', async () => {
  const setup = await answered({ greeted: false });
  const { control, accountId, id, rig } = setup;
  await control.play(accountId, id, { ...PLAY, loop: true });
  await control.say(accountId, id, SAY);
  await pass(rig, 4000);
  assert.deepEqual(messages(rig), [
    ...['assistant: Hello there my friend', 'assistant: [Audio: a.wav]'],
    'assistant: One moment please',
  ]);
  await over(setup);
});

test('a loop that may not be interrupted gives way to commands alone', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  await control.play(accountId, id, { ...PLAY, loop: true, interruptible: false });
  rig.media.emit({ type: 'dtmf', atMs: 1500, digit: '4', durationMs: 100 });
  await pass(rig, 10_000);
  assert.deepEqual(messages(rig).slice(1), ['user: [DTMF 4]'], 'it goes on');
  await control.say(accountId, id, SAY);
  await pass(rig, 5000);
  assert.deepEqual(messages(rig).slice(2), [
    ...['assistant: [Audio: a.wav]', 'assistant: You said #4.', 'assistant: One moment please'],
  ]);
  await over(setup);
});

test('a sound is given back once: played, replaced, not begun, or at the end of the call', async () => {
  const setup = await answered();
  const { control, accountId, id, rig } = setup;
  const back: string[] = [];
  const play = (title: string, loop = false) =>
    control.play(accountId, id, { ...PLAY, title, loop, onOver: () => back.push(title) });
  await play('whole');
  await pass(rig, 1000);
  assert.deepEqual(back, ['whole']);
  await play('replaced', true);
  await pass(rig, 300);
  await play('next', true);
  assert.deepEqual(back, ['whole', 'replaced']);
  await control.say(accountId, id, { ...SAY, interrupt: true });
  assert.deepEqual(back, ['whole', 'replaced', 'next']);
  await play('waiting');
  await play('last', true);
  assert.deepEqual(back.slice(3), ['waiting'], 'taken out of the queue');
  await pass(rig, 3000);
  await over(setup);
  assert.deepEqual(back.slice(4), ['last']);
});
