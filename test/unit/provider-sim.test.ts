/** The scripted providers: script checks, recognition through tones, pacing on a simulated clock, faults. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import type { SttEvent } from '#providers/contract.ts';
import { createSimLlm } from '#providers/sim/llm.ts';
import { parseSimScript, readSimScript, type SimScript } from '#providers/sim/script.ts';
import { createSimStt } from '#providers/sim/stt.ts';
import { createSimTts, SIM_WORD_MS, simWordSound } from '#providers/sim/tts.ts';
import {
  collect,
  replyRequest,
  speakAll,
  testLlm,
  testStt,
  testTts,
  textOf,
} from './_provider-contract.ts';

const never = (): AbortSignal => new AbortController().signal;
const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

/** A clock whose timers fire by themselves, in order, as soon as nothing else is to do. */
class EagerClock extends SimulatedClock {
  override setTimer(callback: () => void, delayMs: number): ReturnType<SimulatedClock['setTimer']> {
    const handle = super.setTimer(callback, delayMs);
    queueMicrotask(() => this.advance(delayMs));
    return handle;
  }
}

const words = ['Hello there, how are you?', '您好，这里是 Callyard。'];
testTts('sim tts', () => createSimTts({ script: {}, clock: new EagerClock() }), [
  { text: words[0] as string, language: 'en' },
  { text: words[1] as string, language: 'zh' },
]);
testLlm('sim llm', () =>
  createSimLlm({ script: { defaultReply: 'One. Two. {text}' }, clock: new EagerClock() }),
);
testStt('sim stt', () => createSimStt({ script: {}, clock: new EagerClock() }), turns);

test('a script is checked, and what is wrong is named with its place', () => {
  const rows: [unknown, RegExp][] = [
    [7, /must be object/],
    [{ utterance: {} }, /\/utterance: unknown key/],
    [{ utterances: { x: 'a' } }, /\/utterances\/x: an id is a number from 0 to 511/],
    [{ utterances: { 512: 'a' } }, /\/utterances\/512/],
    [{ utterances: { 7: 1 } }, /\/utterances\/7: must be string/],
    [{ replies: [{ match: 'a' }] }, /\/replies\/0: .*reply/],
    [
      { replies: [{ match: '/(/', reply: 'x' }] },
      /\/replies\/0\/match: Invalid regular expression/,
    ],
    [{ replies: [{ dtmf: '1x', reply: 'x' }] }, /\/replies\/0\/dtmf/],
    [{ delays: { sttMs: -1 } }, /\/delays\/sttMs: must be >= 0/],
    [{ faults: [{ provider: 'llm', kind: 'burn' }] }, /\/faults\/0\/kind: is none of the values/],
    [{ faults: [{ provider: 'llm', kind: 'junk' }] }, /\/faults\/0\/kind: llm can play error, /],
    [{ a: 1, b: 2 }, /\/a: unknown key; \/b: unknown key/],
  ];
  for (const [script, expected] of rows) {
    assert.throws(
      () => parseSimScript(script, 'demo.json'),
      (error) => {
        assert.ok(error instanceof AppError && error.code === 'E_CONFIG');
        assert.match(error.message, /^demo\.json: /);
        assert.match(error.message, expected);
        return true;
      },
    );
  }
  assert.throws(
    () => readSimScript('/nonexistent/x.json'),
    /sim script \/nonexistent\/x\.json: ENOENT/,
  );
  const whole: SimScript = {
    utterances: { '7': 'I want to cancel my order' },
    replies: [{ match: '/cancel/i', reply: 'Done.', delayMs: 5 }],
    greeting: 'Hi.',
    delays: { sttMs: 1, llmMs: 2, ttsMs: 3, sentenceMs: 4 },
    faults: [{ provider: 'tts', kind: 'slow', at: 2 }],
  };
  assert.equal(parseSimScript(whole), whole);
});

function listen(script: SimScript): {
  clock: SimulatedClock;
  events: SttEvent[];
  session: ReturnType<ReturnType<typeof createSimStt>['open']>;
} {
  const clock = new SimulatedClock();
  const events: SttEvent[] = [];
  const session = createSimStt({ script, clock }).open({
    ...{ callId: 'c', language: 'en' },
    onEvent: (event) => events.push(event),
  });
  return { clock, events, session };
}

const stop = { pcm: new Int16Array(1600), startMs: 100, endMs: 300 };

test('an utterance is read by its tones, with a partial and the scripted delay', () => {
  const { clock, events, session } = listen({
    utterances: { '7': 'I want to cancel my order', '8': '您好请讲' },
    delays: { sttMs: 120 },
  });
  session.push(encodeUtteranceId(7));
  clock.advance(200);
  assert.deepEqual(events, [{ type: 'partial', text: 'I want to' }]);
  session.speechStopped(stop);
  clock.advance(119);
  assert.equal(events.length, 1);
  clock.advance(1);
  const final = { type: 'final', confidence: 1, startMs: 100, endMs: 300 };
  assert.deepEqual(events[1], { ...final, text: 'I want to cancel my order', language: 'en' });
  session.push(encodeUtteranceId(8));
  session.push(encodeUtteranceId(7));
  session.speechStopped(stop);
  clock.advance(120);
  const both = '您好请讲 I want to cancel my order';
  assert.deepEqual(events.at(-1), { ...final, text: both, language: 'zh' });
  session.close();
  assert.equal(clock.pending, 0);
});

test('an utterance without tones, or with an id nobody knows, is heard and not read', () => {
  const { clock, events, session } = listen({ utterances: { '7': 'x' } });
  session.speechStopped(stop);
  session.push(encodeUtteranceId(9));
  session.speechStopped(stop);
  clock.advance(0);
  const empty = {
    type: 'final',
    text: '',
    confidence: null,
    startMs: 100,
    endMs: 300,
    language: null,
  };
  assert.deepEqual(events, [empty, empty]);
});

test('tones that were only in the utterance itself are found there', () => {
  const { clock, events, session } = listen({ utterances: { '7': 'x' } });
  session.speechStopped({ ...stop, pcm: encodeUtteranceId(7) });
  clock.advance(0);
  assert.deepEqual(
    events.map((event) => event.type === 'final' && event.text),
    ['x'],
  );
});

test('recogniser faults', () => {
  const faults = (['error', 'error_midway', 'hang'] as const).map((kind, i) => ({
    ...{ provider: 'stt' as const, kind, at: i + 1 },
  }));
  const { clock, events, session } = listen({ utterances: { '7': 'x y' }, faults });
  for (let n = 0; n < 4; n++) session.speechStopped(stop);
  clock.advance(0);
  assert.deepEqual(
    events.map((event) => event.type),
    ['error', 'partial', 'error', 'final'],
  );
});

test('replies are chosen by text, turn and keys', async () => {
  const script: SimScript = {
    replies: [
      { turn: 3, reply: 'Third.' },
      { match: '/cancel/i', reply: 'Cancelled: {text}' },
      { match: '你好', reply: '您好。', language: 'zh' },
      { dtmf: '5', reply: 'Five.' },
      { dtmf: '0', reply: 'Bye.', endCall: true },
    ],
    defaultReply: 'What?',
    greeting: 'Good day.',
  };
  const llm = createSimLlm({ script, clock: new EagerClock() });
  assert.equal(llm.greeting?.('en'), 'Good day.');
  const state = new Map();
  const say = async (input: string, digits?: string): Promise<string> => {
    const request = replyRequest(input, {
      state,
      ...(digits === undefined ? {} : { input: { kind: 'dtmf', digits } }),
    });
    const { items } = await collect(llm.reply(request, never()));
    return items.map((part) => (part.type === 'text' ? part.text : `<${part.type}>`)).join('');
  };
  assert.equal(await say('please CANCEL it'), 'Cancelled: please CANCEL it');
  assert.equal(await say(' 你好 '), '<language>您好。');
  assert.equal(await say('please cancel'), 'Third.');
  assert.equal(await say('something'), 'What?');
  assert.equal(await say('', '5'), 'Five.');
  assert.equal(await say('', '7'), 'What?');
  assert.equal(await say('', '0'), 'Bye.<end_call>');
});

test('first token and sentences come when the script says, and the text is the script to the letter', async () => {
  const clock = new SimulatedClock();
  const reply = 'Yes, 3 of them.  And 您好。好的！ok';
  const llm = createSimLlm({
    script: { defaultReply: reply, delays: { llmMs: 300, sentenceMs: 50 } },
    clock,
  });
  const stream = llm.reply(replyRequest('hi'), never());
  const arrivals: [number, string][] = [];
  for (;;) {
    let next: Awaited<ReturnType<typeof stream.next>> | undefined;
    const asked = stream.next().then((value) => (next = value));
    for (await turns(); next === undefined; await turns()) clock.advance(10);
    await asked;
    if (next?.done === true) break;
    arrivals.push([clock.now(), textOf([next.value])]);
  }
  assert.deepEqual(
    arrivals.map(([ms]) => ms),
    [300, 350, 400, 450],
  );
  assert.equal(arrivals.map(([, text]) => text).join(''), reply);
  assert.equal(clock.pending, 0);
});

test('language model faults', async () => {
  const llm = createSimLlm({
    clock: new EagerClock(),
    script: {
      defaultReply: 'One. Two.',
      faults: [
        { provider: 'llm', kind: 'error', match: 'a' },
        { provider: 'llm', kind: 'error_midway', match: 'b' },
        { provider: 'llm', kind: 'hang', match: 'c' },
        { provider: 'llm', kind: 'malformed', match: 'd' },
      ],
    },
  });
  await assert.rejects(collect(llm.reply(replyRequest('a'), never())), {
    code: 'E_PROVIDER_SERVER',
  });
  const midway = llm.reply(replyRequest('b'), never());
  assert.equal(textOf([(await midway.next()).value as never]), 'One. ');
  await assert.rejects(midway.next(), { code: 'E_PROVIDER_SERVER' });
  const abort = new AbortController();
  const hung = llm.reply(replyRequest('c'), abort.signal).next();
  await turns();
  abort.abort();
  await assert.rejects(hung, { code: 'E_ABORTED' });
  const { items } = await collect(llm.reply(replyRequest('d'), never()));
  assert.ok(items.some((part) => part.type === 'text' && part.text.length === 3000));
});

test('the voice: 200 ms a word, exact marks, the same sound every time, faults as scripted', async () => {
  const clock = new SimulatedClock();
  const request = { text: 'Hello, you two. 您好！', language: 'en' as const };
  const { pcm, marks } = await speakAll(
    createSimTts({ script: {}, clock: new EagerClock() }),
    request,
  );
  assert.deepEqual(
    marks,
    [6, 10, 15, 17, 19].map((chars, i) => ({ chars, ms: (i + 1) * SIM_WORD_MS })),
  );
  assert.equal(pcm.length, 5 * SIM_WORD_MS * 8);
  assert.deepEqual(pcm.subarray(0, 1600), simWordSound('Hello,'));
  assert.notDeepEqual(simWordSound('您'), simWordSound('好'));

  const faulty = (
    kind: 'error' | 'error_midway' | 'hang' | 'slow' | 'junk',
  ): ReturnType<typeof createSimTts> =>
    createSimTts({
      script: { faults: [{ provider: 'tts', kind, at: 1 }] },
      clock: new EagerClock(),
    });
  await assert.rejects(speakAll(faulty('error'), request), { code: 'E_PROVIDER_SERVER' });
  const midway = faulty('error_midway').speak(request, never());
  assert.equal((await midway.next()).done, false);
  await assert.rejects(collect(midway), { code: 'E_PROVIDER_SERVER' });
  const junk = await speakAll(faulty('junk'), request);
  assert.ok(junk.marks.some((mark) => mark.chars > request.text.length));
  const abort = new AbortController();
  const hung = speakAll(faulty('hang'), request, abort.signal);
  await turns();
  abort.abort();
  await assert.rejects(hung, { code: 'E_ABORTED' });

  const slow = createSimTts({
    script: { delays: { ttsMs: 80 }, faults: [{ provider: 'tts', kind: 'slow' }] },
    clock,
  });
  const first = slow.speak(request, never()).next();
  let arrivedMs = -1;
  void first.then(() => (arrivedMs = clock.now()));
  for (let i = 0; i < 50; i++) {
    clock.advance(10);
    await turns();
  }
  assert.equal(arrivedMs, 380);
});
