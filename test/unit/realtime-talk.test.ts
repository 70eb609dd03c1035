/** A call with a realtime model, on a simulated clock: who speaks when, what is heard of it, what the model is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import {
  begins,
  ends,
  FakeModel,
  messages,
  realtimeCall,
  until,
  type RealtimeRig,
} from './_realtime-fakes.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { RealtimeReply } from '#sessions/realtime-reply.ts';
import { Utterance } from '#sessions/utterance.ts';
import { fakeLlm, settle } from './_fakes.ts';

async function greeted(options: Parameters<typeof realtimeCall>[0] = {}): Promise<RealtimeRig> {
  const rig = await realtimeCall(options);
  await rig.model.says('Hello there my friend');
  await until(rig, 1000);
  return rig;
}

async function over(rig: RealtimeRig): Promise<void> {
  rig.dialog.end('remote');
  await until(rig, rig.clock.now() + 300);
  await rig.call.done;
  assert.equal(rig.clock.pending, 0);
}

test('greeted by the model, heard, answered: the record has it all in order', async () => {
  const rig = await greeted();
  assert.deepEqual(rig.model.told, ['say Hello there my friend']);
  assert.equal(rig.model.opened[0]?.codec, 'PCMA');
  begins(rig, 1500);
  await until(rig, 2200);
  ends(rig, 1500, 2000);
  await until(rig, 2500);
  // The model has answered before it has written down what it answers to.
  await rig.model.hears(null);
  await until(rig, 2600);
  await rig.model.says('At nine ');
  await until(rig, 3100);
  rig.model.tell({ type: 'user_transcript', text: 'When?', isFinal: true });
  await until(rig, 3200);
  assert.deepEqual(messages(rig), [
    'assistant: Hello there my friend',
    'user: When?',
    'assistant: At nine',
  ]);
  const user = rig.setup.story.messages[1];
  assert.deepEqual([user?.start_ms, user?.end_ms], [1500, 2000]);
  rig.model.tell({ type: 'usage', usage: { inputTokens: 100, outputTokens: 50 } });
  await over(rig);
  const record = rig.entries.find(({ event }) => event.type === 'call.ended')?.record;
  const { mouth_to_ear_ms: whole, parts_ms: parts } = record?.latency ?? {};
  assert.equal(whole?.p50, 600);
  assert.deepEqual([parts?.endpointing.p50, parts?.llm.p50, parts?.pacing.p50], [500, 100, 0]);
});

const LONG = 'one two three four five six seven eight nine ten ';

test('who cuts in is heard: the model is told what he heard, and what comes late is never played', async () => {
  const rig = await greeted();
  await rig.model.hears('Count.');
  const generation = await rig.model.says(LONG, { goesOn: true });
  await until(rig, 1560);
  begins(rig, 1500);
  assert.ok(!rig.log.includes('media.flush'), 'nothing is certain yet');
  await until(rig, 1700);
  rig.model.tell({ type: 'speech_started' });
  assert.equal(rig.log.at(-1), 'media.flush');
  assert.equal(rig.model.told.at(-1), `interrupt ${generation} 700`);
  rig.model.tell({ type: 'audio', pcm: new Int16Array(8000), generation });
  await until(rig, 2500);
  ends(rig, 1500, 2300);
  rig.model.tell({ type: 'speech_stopped' });
  rig.model.tell({ type: 'user_transcript', text: 'Stop.', isFinal: true });
  await rig.model.says('All right ');
  await until(rig, 3500);
  assert.deepEqual(messages(rig).slice(1), [
    'user: Count.',
    'assistant: one two three (cut)',
    'user: Stop.',
    'assistant: All right',
  ]);
  const cut = rig.entries.find(({ event }) => event.type === 'user-interrupted')?.event.data;
  assert.deepEqual(cut, { turn: 2, heard_ms: 700, heard_text: 'one two three', reaction_ms: 200 });
  await over(rig);
});

test('a cough stops nothing for good: the agent goes on at the sample', async () => {
  const rig = await greeted();
  await rig.model.says(LONG);
  await until(rig, 1560);
  begins(rig, 1500);
  await until(rig, 1900);
  ends(rig, 1500, 1640);
  assert.deepEqual(
    rig.log.slice(-3).filter((line) => line !== 'media.arm'),
    ['media.pause', 'media.resume'],
  );
  await until(rig, 4000);
  assert.equal(messages(rig).at(-1), `assistant: ${LONG.trim()}`);
  assert.ok(!rig.model.told.some((line) => line.startsWith('interrupt')));
  await over(rig);
});

test('who does not wait for the model: our own detector is enough', async () => {
  const rig = await greeted();
  const generation = await rig.model.says(LONG);
  await until(rig, 1260);
  begins(rig, 1200);
  await until(rig, 2400);
  rig.media.emit({ type: 'speech.lasted', atMs: 2400, startMs: 1200, speechMs: 1100 });
  assert.ok(rig.log.includes('media.flush'));
  assert.equal(rig.model.told.at(-1), `interrupt ${generation} 1400`);
  await over(rig);
});

test('keys and written words are told to the model, and what others want is said', async () => {
  const rig = await greeted();
  rig.dialog.press('1', 100);
  await settle();
  assert.equal(rig.model.told.at(-1), 'text [DTMF 1]');
  await rig.model.says('One it is ');
  await until(rig, 2000);
  const control = rig.call.control();
  assert.ok(control !== null);
  assert.deepEqual(control.message('Offer him tea.', false), {
    ...{ ok: false, refusal: 'INVALID_STATE', detail: 'no_notes' },
  });
  assert.equal(control.message('Offer him tea.', true).ok, true);
  assert.match(rig.model.told.at(-1) ?? '', /^text \[This is not the caller: .*Offer him tea\.\]$/);
  await rig.model.says('Some tea? ');
  await until(rig, 3000);
  assert.equal(control.say({ text: 'Just so.', interrupt: false, interruptible: true }).ok, true);
  assert.equal(rig.model.told.at(-1), 'say Just so.');
  await rig.model.says('Just so.');
  await until(rig, 4000);
  const pcm = new Int16Array(1600);
  const sound = { pcm, title: 'tune', loop: false, interruptible: true };
  assert.equal(control.play(sound).ok, true);
  await until(rig, 5000);
  assert.deepEqual(messages(rig).slice(1), [
    'user: [DTMF 1]',
    'assistant: One it is',
    'system: Offer him tea.',
    'assistant: Some tea?',
    'assistant: Just so.',
    'assistant: [Audio: tune]',
  ]);
  await over(rig);
});

test('the notice is said by the agent itself, before the model hears anybody', async () => {
  const rig = await realtimeCall({ notice: 'This call is recorded.' });
  assert.deepEqual(rig.model.told, []);
  rig.model.tell({ type: 'speech_started' });
  await until(rig, 780);
  assert.deepEqual(messages(rig), []);
  await until(rig, 900);
  assert.deepEqual(messages(rig), ['assistant: This call is recorded.']);
  assert.deepEqual(rig.model.told, ['say Hello there my friend']);
  await over(rig);
});

test('an agent with a voice of its own greets by it, and the model knows', async () => {
  const vendors = { stt: null, llm: null, tts: 'sim' };
  const rig = await realtimeCall({ agent: { vendors, systemPrompt: 'Be kind.' } });
  assert.deepEqual(rig.model.told, []);
  const [opened] = rig.model.opened;
  assert.match(opened?.instructions ?? '', /^Be kind\./);
  assert.deepEqual(opened?.history, [{ role: 'assistant', content: 'Hello there my friend' }]);
  await until(rig, 1000);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  await over(rig);
});

test('silence: the model asks twice and says goodbye', async () => {
  const rig = await greeted();
  const said: string[] = [];
  for (let i = 0; i < 3; i++) {
    const before = rig.model.told.length;
    while (rig.model.told.length === before) await until(rig, rig.clock.now() + 1000);
    said.push(rig.model.told.at(-1) ?? '');
    await rig.model.says('as you wish');
  }
  await until(rig, rig.clock.now() + 2000);
  assert.equal((await rig.call.done).hangupReason, 'silence');
  assert.equal(said[0], said[1]);
  assert.notEqual(said[1], said[2]);
});

test('a prompt that the model does not say is said by the voice', async () => {
  const rig = await realtimeCall();
  await until(rig, 10_100);
  assert.deepEqual(rig.model.told, ['say Hello there my friend']);
  await until(rig, 11_500);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  await over(rig);
});

test('a model that does not open leaves the call to the cascade; without one it apologises and ends', async () => {
  const model = new FakeModel();
  model.openings.push(() => Promise.reject(new AppError('E_PROVIDER_AUTH', 'no such key')));
  const rig = await realtimeCall({ model });
  await until(rig, 1000);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  begins(rig, 1500);
  await until(rig, 2200);
  ends(rig, 1500, 2000);
  const final = { confidence: 0.9, startMs: null, endMs: null, language: 'en' } as const;
  rig.hear({ type: 'final', text: 'Hello', ...final });
  await until(rig, 5000);
  assert.equal(messages(rig).at(-1), 'assistant: You said Hello.');
  const fault = rig.entries.find(({ event }) => event.type === 'call-error')?.event.data;
  assert.equal((fault as { code?: string } | undefined)?.code, 'E_PROVIDER_AUTH');
  await over(rig);
});

test('a slow model does not keep the caller waiting', async () => {
  const model = new FakeModel();
  const open = Promise.withResolvers<void>();
  model.openings.push(() => open.promise);
  const rig = await realtimeCall({ model });
  await until(rig, 1480);
  assert.deepEqual(rig.types().includes('ai-response'), false);
  await until(rig, 2500);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  open.resolve();
  await settle();
  assert.equal(model.told.at(-1), 'close', 'it is not wanted any more');
  await over(rig);
});

test('a model that is lost is opened anew with what was said; lost again, the call ends with an apology', async () => {
  const rig = await greeted();
  await rig.model.hears('Count.');
  await rig.model.says('one two three ', { goesOn: true });
  const lost = {
    type: 'error',
    error: new AppError('E_PROVIDER_SERVER', 'gone'),
    isFatal: true,
  } as const;
  rig.model.tell(lost);
  await until(rig, 3500);
  assert.deepEqual(rig.model.opened.at(-1)?.history, [
    { role: 'assistant', content: 'Hello there my friend' },
    { role: 'user', content: 'Count.' },
  ]);
  rig.model.tell(lost);
  await until(rig, 9000);
  const ending = await rig.call.done;
  assert.deepEqual([ending.hangupReason, ending.outcome], ['error', 'provider_error']);
  assert.match(messages(rig).at(-1) ?? '', /sorry/i);
});

test('on hold the model hears silence, and nothing of the agent is lost', async () => {
  const rig = await greeted();
  const before = rig.model.told.length;
  rig.dialog.answerTo = () => Promise.resolve('hold');
  const control = rig.call.control();
  assert.equal((await control?.hold(true, true))?.ok, true);
  begins(rig, 1500);
  ends(rig, 1500, 2500);
  await until(rig, 60_000);
  assert.equal(rig.model.told.length, before, 'nobody asks whether he is still there');
  await over(rig);
});

const NO_MODEL = { ...fakeLlm(() => []), vendor: 'local' };

test('nobody stands in for a model that is late: the voice greets, and the model goes on', async () => {
  const model = new FakeModel();
  const open = Promise.withResolvers<void>();
  model.openings.push(() => open.promise);
  const rig = await realtimeCall({ model, llm: NO_MODEL });
  await until(rig, 2600);
  assert.deepEqual(messages(rig), ['assistant: Hello there my friend']);
  open.resolve();
  await settle();
  await model.hears('Well?');
  await model.says('Here I am ');
  await until(rig, 4000);
  assert.equal(messages(rig).at(-1), 'assistant: Here I am');
  await over(rig);
});

test('nobody stands in for a model that does not open: an apology, and the end', async () => {
  const model = new FakeModel();
  model.openings.push(() => Promise.reject(new AppError('E_PROVIDER_SERVER', 'down')));
  const rig = await realtimeCall({ model, llm: NO_MODEL });
  await until(rig, 5000);
  const ending = await rig.call.done;
  assert.deepEqual([ending.hangupReason, ending.outcome], ['error', 'provider_error']);
  assert.match(messages(rig).at(-1) ?? '', /sorry/i);
});

/** A caller who sounds without pause, a frame every 20 ms; gives what the model hears, a number for each frame. */
function hears(rig: RealtimeRig): number[] {
  const heard: number[] = [];
  let readMs = rig.clock.now();
  rig.model.onPush = (pcm) => {
    for (let i = 0; i < pcm.length; i += 160) heard.push(pcm[i] ?? -1);
  };
  Object.assign(rig.media, {
    readCaller: (into: Int16Array): number => {
      const frames = Math.min(Math.floor((rig.clock.now() - readMs) / 20), into.length / 160);
      readMs += frames * 20;
      into.fill(5, 0, frames * 160);
      return frames * 160;
    },
  });
  return heard;
}

test('a model hears him three frames at a time between his words, and each at once while he speaks', async () => {
  const rig = await greeted();
  const heard = hears(rig);
  const sizes: number[] = [];
  const { onPush } = rig.model;
  rig.model.onPush = (pcm) => {
    sizes.push(pcm.length / 160);
    onPush(pcm);
  };
  const start = rig.clock.now();
  await until(rig, start + 600);
  assert.deepEqual([...new Set(sizes.splice(0).slice(1))], [3]);
  await until(rig, start + 640);
  sizes.length = 0;
  const before = heard.length;
  begins(rig, start + 600);
  assert.equal(heard.length, Math.floor(before / 3) * 3 + 2, 'what waited goes up at once');
  await until(rig, start + 1000);
  assert.deepEqual([...new Set(sizes.splice(0).slice(1))], [1]);
  ends(rig, start + 600, start + 900);
  await until(rig, start + 1400);
  assert.deepEqual([...new Set(sizes.splice(0))], [1], 'he may be answered any moment');
  await rig.model.says('Yes.');
  await until(rig, start + 1800);
  assert.equal(sizes.at(-1), 3);
  rig.model.tell({ type: 'speech_started' });
  sizes.length = 0;
  await until(rig, start + 2400);
  assert.deepEqual(
    [...new Set(sizes.splice(0).slice(1))],
    [1],
    'the model hears him, if we do not',
  );
  assert.ok(heard.every((value) => value === 5));
  assert.ok(Math.abs(heard.length * 20 - (rig.clock.now() - start)) <= 60, 'none is lost');
  await over(rig);
});

test('what must not be interrupted: the model hears silence while it makes it', async () => {
  const rig = await greeted();
  const heard = hears(rig);
  await until(rig, 1100);
  assert.deepEqual([...new Set(heard.splice(0))], [5]);
  rig.call.control()?.say({ text: 'Listen.', interrupt: true, interruptible: false });
  await until(rig, 1200);
  assert.ok(heard.lastIndexOf(5) < 3 && heard.at(-1) === 0, 'what he has said by now, no more');
  heard.length = 0;
  await rig.model.says('Listen.');
  await until(rig, 1300);
  assert.ok(heard.lastIndexOf(0) < 3 && heard.at(-1) === 5, 'it is made: he may be answered now');
  await over(rig);
});

test('a model that talks without end is bounded, and what is not heard is not in the transcript', async () => {
  const clock = new SimulatedClock();
  const written: number[] = [];
  const media = {
    beginUtterance: () => undefined,
    endUtterance: () => undefined,
    write: async (_: number, pcm: Int16Array) => void written.push(pcm.length),
  };
  const reply = new RealtimeReply({ media, log: silentLog });
  reply.begin(1);
  const second = new Int16Array(8000);
  const taken = Array.from({ length: 200 }, () => {
    reply.text(1, 'word ');
    return reply.audio(1, second);
  });
  assert.equal(taken.filter(Boolean).length, 120);
  reply.done(1);
  const utterance = new Utterance(1, 1, new TurnTimes(() => clock.now()));
  reply.speak(utterance);
  assert.equal(await reply.end(), true);
  assert.equal(written.length, 120);
  assert.equal(utterance.isWhole, false);
});
