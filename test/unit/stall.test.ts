/** A voice that breaks off in mid-sentence, and a pause that nobody wants: told by the media plane, mended by the call. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type { TtsProvider } from '#providers/contract.ts';
import { runCall } from '#sessions/call.ts';
import { AGENT, createRig, fakeTts, settle, type Rig } from './_fakes.ts';
import { FakeModel, realtimeCall } from './_realtime-fakes.ts';

async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    rig.clock.advance(Math.min(100, left));
    await settle();
  }
}

/** Gives one word of what holds `stuck`, and then nothing more. */
function breakingTts(): TtsProvider {
  return {
    vendor: 'fake',
    async *speak(request, signal) {
      if (!request.text.includes('stuck')) return yield* fakeTts.speak(request, signal);
      yield { pcm: new Int16Array(1600), marks: [{ chars: 5, ms: 200 }] };
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => reject(new Error('given up')), { once: true });
      await promise;
    },
  };
}

const stalled = (why: 'voice' | 'paused' | 'closed', utterance = 1) =>
  ({ type: 'playout.stalled', atMs: 3200, utterance, heardMs: 200, waitingMs: 3000, why }) as const;

const agent = { ...AGENT, greeting: 'We are stuck here for good.' };
const spoken = (rig: Rig): string[] =>
  rig.setup.story.messages.flatMap(({ role, content }) => (role === 'assistant' ? content : []));
const faults = (rig: Rig): unknown[] =>
  rig.entries.flatMap(({ event }) =>
    event.type === 'call-error' ? [(event.data as { code: unknown }).code] : [],
  );

test('a voice that breaks off: what is left is flushed, it is told, and the agent goes on', async () => {
  const rig = createRig({ agent, tts: breakingTts() });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 3100);
  assert.equal(rig.log.includes('media.flush'), false);
  rig.media.emit(stalled('voice'));
  await settle();
  assert.ok(rig.log.includes('media.flush'), 'within 3 s, not when the vendor’s deadline is over');
  assert.deepEqual(faults(rig), ['E_PROVIDER_IDLE']);
  await pass(rig, 4000);
  const said = spoken(rig);
  assert.equal(said[0], 'We', 'what was heard is what the transcript has');
  assert.ok(said.length >= 2, `and then an apology: ${said.join(' | ')}`);
  call.stop();
  await call.done;
});

test('the vendor’s own deadline and the watch run out together: one fault, one apology, whoever is first', async () => {
  for (const isWatchFirst of [true, false]) {
    const broken = Promise.withResolvers<never>();
    const tts: TtsProvider = {
      vendor: 'fake',
      async *speak(request, signal) {
        if (!request.text.includes('stuck')) return yield* fakeTts.speak(request, signal);
        yield { pcm: new Int16Array(1600), marks: [{ chars: 5, ms: 200 }] };
        await broken.promise;
      },
    };
    const rig = createRig({ agent, tts });
    const call = runCall(rig.deps, rig.setup);
    await settle();
    await pass(rig, 3100);
    const fail = (): void => broken.reject(new AppError('E_TIMEOUT', 'the rest of the sentence'));
    if (!isWatchFirst) {
      fail();
      // As far as the promise of the vendor, and no further: what it has brought about is under way.
      await Promise.resolve();
    }
    rig.media.emit(stalled('voice'));
    if (isWatchFirst) fail();
    await settle();
    rig.media.emit(stalled('voice'));
    await pass(rig, 4000);
    const shown = `${isWatchFirst ? 'the watch' : 'the vendor'} first: ${spoken(rig).join(' | ')}`;
    assert.equal(faults(rig).length, 1, `${shown}: ${faults(rig).join()}`);
    assert.equal(spoken(rig).length, 2, shown);
    call.stop();
    await call.done;
  }
});

test('a stall that is none: between tools and models nothing is thrown away', async () => {
  const rig = createRig({ agent: { ...AGENT, greeting: 'All is well.' } });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  for (const why of ['voice', 'closed'] as const) rig.media.emit(stalled(why));
  rig.media.emit(stalled('voice', 99));
  await pass(rig, 2000);
  assert.equal(rig.log.includes('media.flush'), false);
  assert.deepEqual(faults(rig), []);
  assert.deepEqual(spoken(rig), ['All is well.']);
  call.stop();
  await call.done;
});

test('a pause that nobody wants any more ends; one that the caller speaks over does not', async () => {
  const rig = createRig({ agent: { ...AGENT, greeting: 'One two three four five six.' } });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 200);
  const before = rig.log.filter((line) => line === 'media.resume').length;
  rig.media.emit(stalled('paused'));
  assert.equal(rig.log.filter((line) => line === 'media.resume').length, before + 1);
  rig.media.emit({ type: 'speech.started', atMs: 300, startMs: 250, wireMs: 0 });
  await settle();
  assert.ok(rig.log.includes('media.pause'));
  rig.media.emit(stalled('paused'));
  assert.equal(rig.log.filter((line) => line === 'media.resume').length, before + 1);
  call.stop();
  await call.done;
});

test('a realtime model that breaks off in mid-reply is given up too; one that is through is not', async () => {
  const model = new FakeModel();
  const rig = await realtimeCall({ model });
  await pass(rig, 2000);
  const sounds = rig.log.filter((line) => line === 'media.flush').length;
  await model.says('It is done. ');
  await pass(rig, 100);
  rig.media.emit(stalled('voice', 1));
  assert.equal(rig.log.filter((line) => line === 'media.flush').length, sounds);
  await pass(rig, 3000);
  await model.says('And now ', { goesOn: true });
  await pass(rig, 1000);
  rig.media.emit(stalled('voice', 2));
  await settle();
  assert.equal(rig.log.filter((line) => line === 'media.flush').length, sounds + 1);
  rig.call.stop();
  await rig.call.done;
});
