/** A call that comes to its longest duration: warned, said goodbye to, cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { runCall } from '#sessions/call.ts';
import { AGENT, createRig, fakeTts, settle, type Rig } from './_fakes.ts';

/** Lets `ms` pass in steps, so that promises settle between timers. */
async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    rig.clock.advance(Math.min(100, left));
    await settle();
  }
}

const messages = (rig: Rig): string[] =>
  rig.setup.story.messages.map(({ role, content }) => `${role}: ${content}`);

test('a call near its limit is told so, said goodbye to, and never longer than that', async () => {
  const rig = createRig({
    agent: { maxDurationS: 90, silence: { ...AGENT.silence, promptAfterS: 900 } },
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 69_900);
  assert.equal(messages(rig).length, 1);
  await pass(rig, 4000);
  assert.match(messages(rig).at(-1) ?? '', /will end in about twenty seconds/);
  await pass(rig, 8000);
  assert.equal(messages(rig).length, 2);
  await pass(rig, 8000);
  const ending = await call.done;
  assert.equal(ending.outcome, 'max_duration');
  assert.equal(ending.hangupReason, 'timeout');
  assert.match(messages(rig).at(-1) ?? '', /reached its time limit.*Goodbye\.$/);
  assert.ok(rig.clock.now() <= 90_000);
  assert.equal(rig.clock.pending, 0);
  assert.ok(rig.log.includes('bye'));
});

test('a goodbye that nobody can say does not keep a call beyond its limit; a short one has none', async () => {
  const tts: typeof fakeTts = {
    vendor: 'stuck',
    async *speak({ text }, signal) {
      if (!text.includes('limit')) return yield* fakeTts.speak({ text, language: 'en' }, signal);
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new AppError('E_ABORTED', 'stopped'))),
      );
    },
  };
  for (const [maxDurationS, said] of [
    [40, false],
    [10, false],
  ] as const) {
    const rig = createRig({ agent: { maxDurationS }, tts });
    const call = runCall(rig.deps, rig.setup);
    await settle();
    await pass(rig, maxDurationS * 1000 - 100);
    assert.ok(!rig.log.includes('bye'));
    await pass(rig, 600);
    const ending = await call.done;
    assert.equal(ending.outcome, 'max_duration');
    assert.equal(
      messages(rig).some((line) => line.includes('limit')),
      said,
    );
    assert.equal(rig.clock.pending, 0);
  }
});
