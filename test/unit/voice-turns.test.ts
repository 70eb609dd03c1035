/** Spoken turns of a conversation with one agent: order, refusals, functions, interruptions, failures, bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import { AppError } from '#lib/errors.ts';
import type { ReplyPart } from '#providers/contract.ts';
import type { VoiceEvent } from '#sessions/spoken-turn.ts';
import { AGENT, settle } from './_fakes.ts';
import {
  ACCOUNT,
  keptOf,
  makeVoiceKit,
  OTHER,
  parts,
  someSpeech,
  takeAll,
  wordByWord,
  type VoiceKit,
} from './_voice-kit.ts';

const HALF_HOUR_MS = 30 * 60_000;

const kinds = (events: readonly VoiceEvent[]): string[] => events.map(({ type }) => type);
const wordsOf = (events: readonly VoiceEvent[]): string =>
  events.map((event) => (event.type === 'response' ? event.text : '')).join('');

function doneOf(events: readonly VoiceEvent[]): Extract<VoiceEvent, { type: 'done' }> {
  assert.equal(kinds(events).filter((type) => type === 'done' || type === 'error').length, 1);
  const last = events.at(-1);
  assert.equal(last?.type, 'done', JSON.stringify(last));
  return last as Extract<VoiceEvent, { type: 'done' }>;
}

function errorOf(events: readonly VoiceEvent[]): AppError {
  assert.equal(kinds(events).filter((type) => type === 'done' || type === 'error').length, 1);
  const last = events.at(-1);
  assert.ok(last?.type === 'error', JSON.stringify(last));
  return last.error;
}

function messagesOf(kit: VoiceKit, id: string): (string | boolean)[][] {
  const { messages } = kit.desk.conversation(ACCOUNT, id) ?? { messages: [] };
  return messages.map(({ role, content, interrupted }) =>
    interrupted === undefined ? [role, content] : [role, content, interrupted],
  );
}

/** What the model was given last, without its prompt. */
function toldTo(kit: VoiceKit): string[] {
  const { messages } = kit.asked.at(-1) ?? { messages: [] };
  return messages.slice(1).map(({ role, content }) => `${role}: ${content}`);
}

async function refusalOf(begun: ReturnType<VoiceKit['begin']>): Promise<unknown> {
  const result = await begun;
  assert.ok(!result.ok);
  return result.refusal;
}

test('a written turn: transcript, the words, their sound in pieces, done; and a record of it all', async () => {
  const kit = makeVoiceKit();
  const { conversationId, events } = await takeAll(kit.begin({ text: 'hi' }));
  assert.deepEqual(events[0], { type: 'transcript', text: 'hi' });
  const order = kinds(events).filter((type, at, all) => type !== all[at - 1]);
  assert.deepEqual([order[0], order[1], order.at(-1)], ['transcript', 'response', 'done']);
  assert.equal(wordsOf(events), 'Good day. How can I help?');
  const responses = events.filter((event) => event.type === 'response');
  assert.deepEqual(
    responses.map(({ isFinal }) => isFinal),
    [false, false, true],
  );
  const sound = events.filter((event) => event.type === 'audio');
  assert.ok(sound.every(({ pcm }) => pcm.length > 0 && pcm.length <= 3_200));
  const samples = sound.reduce((sum, { pcm }) => sum + pcm.length, 0);
  assert.ok(Math.abs(samples - 6 * 3_200) <= 200, `${samples} samples of six words`);
  const done = doneOf(events);
  assert.deepEqual([done.status, done.pendingCalls], ['active', []]);
  assert.equal(done.expiresAtS, (kit.clock.wallMs() + HALF_HOUR_MS) / 1000);
  assert.deepEqual(
    kit.journal.map(({ event }) => event.type),
    [
      ...['call.initiated', 'call.answered', 'conversation.message', 'ai-response'],
      'conversation.message',
    ],
  );
  const [first] = kit.journal;
  assert.deepEqual(
    [first?.record?.channel, first?.record?.agent_id, first?.record?.squad_id],
    ['text', AGENT.id, null],
  );
  assert.ok(kit.journal.every(({ event }) => event.request_id === 'r-1'));
  const used = kit.journal.flatMap((entry) => ('usage' in entry ? (entry.usage ?? []) : []));
  assert.deepEqual(
    used.map(({ tts_chars: chars, llm_tokens_in: tokens }) => [chars, tokens]),
    [[24, 10]],
  );
  assert.deepEqual(messagesOf(kit, conversationId), [
    ['user', 'hi'],
    ['assistant', 'Good day. How can I help?'],
  ]);
});

test('a spoken turn is read first, at any rate; sound and times stand in the record', async () => {
  for (const rateHz of [8_000, 16_000, 44_100]) {
    const kit = makeVoiceKit();
    const { conversationId, events } = await takeAll(kit.begin({ audio: someSpeech(rateHz) }));
    assert.deepEqual(events[0], { type: 'transcript', text: 'hello there' });
    doneOf(events);
    assert.equal(kit.asked[0]?.input.kind === 'speech' && kit.asked[0].input.text, 'hello there');
    const [message] = kit.desk.conversation(ACCOUNT, conversationId)?.messages ?? [];
    assert.deepEqual([message?.content, message?.confidence], ['hello there', 0.9]);
    const heard = kit.journal.find(({ event }) => event.type === 'user-speech');
    assert.ok(heard !== undefined && 'text' in heard.event.data);
    assert.equal(heard.event.data.text, 'hello there');
  }
});

test('nothing understood: an empty transcript, no answer, nothing kept', async () => {
  const silence = { pcm: new Int16Array(8_000), rateHz: 8_000 };
  for (const [hears, audio] of [
    ['', someSpeech()],
    ['never asked', silence],
  ] as const) {
    const kit = makeVoiceKit();
    kit.hears = hears;
    const { conversationId, events } = await takeAll(kit.begin({ audio }));
    assert.deepEqual(kinds(events), ['transcript', 'done']);
    assert.equal(events[0]?.type === 'transcript' && events[0].text, '');
    assert.equal(doneOf(events).latencyMs, null);
    assert.deepEqual([kit.asked.length, messagesOf(kit, conversationId)], [0, []]);
    // The conversation is there to be gone on with.
    const next = await takeAll(kit.begin({ text: 'hi' }, { conversationId }));
    assert.equal(next.conversationId, conversationId);
  }
});

test('a conversation goes on with its history, also in another process, and is over after 30 min', async () => {
  const before = makeVoiceKit();
  const { conversationId } = await takeAll(before.begin({ text: 'my name is Ann' }));
  before.desk.close();
  assert.equal(before.clock.pending, 0);
  const kit = makeVoiceKit({}, before.clock);
  const stored = keptOf(before, conversationId);
  kit.stored.set(conversationId, stored);
  kit.desk.resume([{ id: conversationId, accountId: ACCOUNT, ...stored }]);
  kit.clock.advance(HALF_HOUR_MS - 1);
  await takeAll(kit.begin({ text: 'who am I?' }, { conversationId }));
  assert.deepEqual(toldTo(kit), [
    ...['user: my name is Ann', 'assistant: Good day. How can I help?'],
    'user: who am I?',
  ]);
  assert.equal(kit.journal[0]?.event.seq, stored.seq + 1);
  kit.clock.advance(HALF_HOUR_MS);
  assert.equal(kit.journal.at(-1)?.record?.outcome, 'idle');
  assert.equal(await refusalOf(kit.begin({ text: 'late' }, { conversationId })), 'over');
  assert.equal(kit.clock.pending, 0);
});

test('what is refused is refused before anything begins', async () => {
  const kit = makeVoiceKit();
  const { conversationId } = await takeAll(kit.begin({ text: 'hi' }));
  const { length } = kit.journal;
  const results = [{ callId: 'x', result: 1 }];
  const rows: [unknown, Parameters<VoiceKit['begin']>][] = [
    ['agent', [{ text: 'hi' }, { agentId: OTHER }]],
    ['agent', [{ text: 'hi' }, { agentIds: [] }]],
    ['agent', [{ text: 'hi' }, { agentIds: [OTHER] }]],
    ['agent', [{ text: 'hi' }, { agentIds: [OTHER], agentId: AGENT.id }]],
    ['conversation', [{ text: 'hi' }, { conversationId: OTHER }]],
    ['conversation', [{ text: 'hi' }, { conversationId, agentId: OTHER }]],
    ['conversation', [{ text: 'hi' }, { conversationId, agentIds: [OTHER] }]],
    ['conversation', [{ text: 'hi' }, { conversationId, accountId: OTHER }]],
    [0, [{ text: 'hi', results }]],
    [0, [{ results }, { conversationId }]],
  ];
  for (const [refusal, [said, more]] of rows) {
    assert.equal(await refusalOf(kit.begin(said, more)), refusal, JSON.stringify([said, more]));
  }
  kit.reads = false;
  assert.equal(await refusalOf(kit.begin({ audio: someSpeech() })), 'recogniser');
  const again = kit.begin({ audio: someSpeech() }, { conversationId });
  assert.equal(await refusalOf(again), 'recogniser');
  kit.fault = new AppError('E_CONFIG', 'no such vendor');
  await assert.rejects(kit.begin({ text: 'hi' }), { code: 'E_CONFIG' });
  await assert.rejects(kit.begin({ text: 'hi' }, { conversationId }), { code: 'E_CONFIG' });
  assert.deepEqual([kit.journal.length, kit.desk.openCount], [length, 1]);
  kit.fault = null;
  doneOf((await takeAll(kit.begin({ text: 'hi' }, { conversationId }))).events);
});

const LOOK_UP: Partial<AgentConfig> = {
  functions: [{ name: 'look_up', description: '', parameters: {}, timeoutMs: 5_000 }],
};
const wants = (name: string): ReplyPart => ({
  type: 'tool_call',
  call: { id: 'vendor-1', name, arguments: { order: 7 } },
});

test('a function ends the turn; the next one brings its result, and the model goes on', async () => {
  const kit = makeVoiceKit(LOOK_UP);
  kit.says = () => parts('One moment.', wants('look_up'));
  const first = await takeAll(kit.begin({ text: 'where is it?' }));
  const { conversationId } = first;
  const call = first.events.find((event) => event.type === 'function_call')?.call;
  assert.deepEqual([call?.name, call?.arguments], ['look_up', { order: 7 }]);
  assert.deepEqual(doneOf(first.events).pendingCalls, [call?.id]);
  assert.deepEqual(
    kit.asked[0]?.tools?.map(({ name }) => name),
    ['look_up'],
  );
  kit.says = () => parts('It is on its way.');
  const results = [{ callId: call?.id ?? '', result: { state: 'sent' } }];
  const next = await takeAll(kit.begin({ results }, { conversationId }));
  assert.deepEqual(kinds(next.events).slice(0, 1), ['response']);
  assert.deepEqual(doneOf(next.events).pendingCalls, []);
  assert.deepEqual(toldTo(kit), [
    ...['user: where is it?', 'assistant: One moment.', 'tool: {"state":"sent"}'],
  ]);
  assert.deepEqual(kit.asked.at(-1)?.messages.at(-2)?.toolCalls, [call]);
  assert.deepEqual(messagesOf(kit, conversationId), [
    ['user', 'where is it?'],
    ['assistant', 'One moment.'],
    ['assistant', ''],
    ['function', '{"state":"sent"}'],
    ['assistant', 'It is on its way.'],
  ]);
  // Answered once.
  assert.equal(await refusalOf(kit.begin({ results }, { conversationId })), 0);
});

test('a model that wants nothing but what it was not offered has failed', async () => {
  const kit = makeVoiceKit(LOOK_UP);
  kit.says = () => parts(wants('no_such'));
  const { events } = await takeAll(kit.begin({ text: 'where is it?' }));
  assert.equal(errorOf(events).code, 'E_PROVIDER_SERVER');
});

test('a conversation that was begun for nothing does not stay open', async () => {
  const kit = makeVoiceKit();
  const { push } = kit.journal;
  kit.journal.push = (...entries) => {
    kit.fault = new AppError('E_CONFIG', 'no such vendor any more');
    return push.apply(kit.journal, entries);
  };
  await assert.rejects(kit.begin({ text: 'hi' }), { code: 'E_CONFIG' });
  assert.equal(kit.desk.openCount, 0);
  assert.equal(kit.journal.at(-1)?.event.type, 'call.ended');
});

test('whoever says something else instead has not answered, which the model is told; calls outlive a restart', async () => {
  const before = makeVoiceKit(LOOK_UP);
  before.says = () => parts(wants('look_up'), wants('no_such'));
  const first = await takeAll(before.begin({ text: 'where is it?' }));
  const { conversationId } = first;
  const pending = doneOf(first.events).pendingCalls;
  assert.equal(pending.length, 1, 'nobody is asked for what was never offered');
  assert.deepEqual(kinds(first.events), ['transcript', 'function_call', 'done']);
  const kit = makeVoiceKit(LOOK_UP, before.clock);
  kit.stored.set(conversationId, keptOf(before, conversationId));
  await takeAll(kit.begin({ text: 'never mind' }, { conversationId }));
  assert.deepEqual(toldTo(kit), [
    ...['user: where is it?', 'assistant: '],
    ...['tool: {"error":"the client did not answer"}', 'user: never mind'],
  ]);
});

test('a client that leaves: everything stops, and what it had been given is kept', async () => {
  const kit = makeVoiceKit();
  const left = new AbortController();
  const stopped: string[] = [];
  kit.says = async function* (_request, signal) {
    signal.addEventListener('abort', () => stopped.push('model'));
    yield { type: 'text', text: 'One two three four five. ' };
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new AppError('E_ABORTED', 'given up')));
    });
  };
  const begun = await kit.begin({ text: 'hi' }, { signal: left.signal });
  assert.ok(begun.ok);
  const { conversationId } = begun;
  const reader = begun.events[Symbol.asyncIterator]();
  for (let sounds = 0; sounds < 2;) {
    const next = await reader.next();
    if (!next.done && next.value.type === 'audio') sounds++;
  }
  // Whoever interrupts asks before the old turn is quite over.
  const next = takeAll(kit.begin({ text: 'stop' }, { conversationId }));
  left.abort();
  kit.says = () => parts('Stopped.');
  doneOf((await next).events);
  assert.deepEqual([stopped, await reader.next()], [['model'], { done: true, value: undefined }]);
  assert.deepEqual(messagesOf(kit, conversationId), [
    ['user', 'hi'],
    ['assistant', 'One two', true],
    ['user', 'stop'],
    ['assistant', 'Stopped.'],
  ]);
  await kit.turns.close();
});

test('a client that left before the first event: the turn is over, and the next one is taken', async () => {
  const kit = makeVoiceKit();
  const begun = await kit.begin({ text: 'hi' }, { signal: AbortSignal.abort() });
  assert.ok(begun.ok);
  const { conversationId } = begun;
  doneOf((await takeAll(kit.begin({ text: 'again' }, { conversationId }))).events);
  assert.deepEqual(messagesOf(kit, conversationId).slice(0, 2), [
    ['user', 'hi'],
    ['user', 'again'],
  ]);
});

test('a turn under way is waited for, and not for long', async () => {
  const kit = makeVoiceKit();
  const { conversationId } = await takeAll(kit.begin({ text: 'hi' }));
  const slow = await kit.begin({ text: 'slow' }, { conversationId });
  assert.ok(slow.ok);
  const second = kit.begin({ text: 'me too' }, { conversationId });
  await settle();
  kit.clock.advance(2_000);
  assert.equal(await refusalOf(second), 'busy');
  for await (const _event of slow.events);
  doneOf((await takeAll(kit.begin({ text: 'now' }, { conversationId }))).events);
});

test('no more is made than a slow reader has room for; the next sentence is made while one is sent', async () => {
  const kit = makeVoiceKit();
  const sentence = `${'word '.repeat(24)}end. `;
  kit.says = () => parts(...Array.from({ length: 20 }, () => sentence));
  const begun = await kit.begin({ text: 'hi' });
  assert.ok(begun.ok);
  for (let i = 0; i < 400; i++) await settle();
  // 10 s of sound are 50 words; nothing has been read yet.
  assert.ok(kit.chunks >= 40 && kit.chunks <= 54, `${kit.chunks} chunks`);
  assert.equal(kit.spoken.length, 3);
  const all: VoiceEvent[] = [];
  for await (const event of begun.events) all.push(event);
  assert.equal(kit.chunks, 500);
  assert.equal(wordsOf(all), sentence.repeat(20));
  doneOf(all);
});

test('a reader that never comes back does not hold the conversation for ever', async () => {
  const kit = makeVoiceKit();
  const begun = await kit.begin({ text: 'hi' });
  assert.ok(begun.ok);
  await settle();
  kit.clock.advance(15 * 60_000);
  await settle();
  const { conversationId } = begun;
  doneOf((await takeAll(kit.begin({ text: 'again' }, { conversationId }))).events);
  assert.deepEqual(messagesOf(kit, conversationId)[1], ['user', 'again']);
});

async function* broken(...before: string[]): AsyncGenerator<ReplyPart> {
  yield* parts(...before);
  throw new AppError('E_PROVIDER_SERVER', 'scripted');
}

async function* hanging(): AsyncGenerator<never> {
  yield await new Promise<never>(() => undefined);
}

test('faults of vendors end the stream with one error; what was said before is sent and kept', async () => {
  const rows: [string, (kit: VoiceKit) => void, string, unknown[]][] = [
    ['model', (kit) => (kit.says = () => broken()), 'E_PROVIDER_SERVER', []],
    [
      'model midway',
      (kit) => (kit.says = () => broken('One two. ', 'Three')),
      'E_PROVIDER_SERVER',
      [['assistant', 'One two.', true]],
    ],
    [
      'model midway, far ahead of the voice',
      (kit) => {
        kit.says = () => broken('One two. Three four. ', 'Five');
        kit.voice = async function* (text) {
          for (let i = 0; i < 9; i++) await settle();
          yield* wordByWord(text);
        };
      },
      'E_PROVIDER_SERVER',
      [['assistant', 'One two. Three four.', true]],
    ],
    ['model says nothing', (kit) => (kit.says = () => parts(' \n')), 'E_PROVIDER_SERVER', []],
    [
      'recogniser',
      (kit) => (kit.hears = new AppError('E_PROVIDER_AUTH', 'no')),
      'E_PROVIDER_AUTH',
      [],
    ],
    [
      'voice midway',
      (kit) =>
        (kit.voice = async function* (text) {
          if (text.startsWith('How')) throw new AppError('E_PROVIDER_QUOTA', 'enough');
          yield* wordByWord(text);
        }),
      'E_PROVIDER_QUOTA',
      [['assistant', 'Good day.', true]],
    ],
  ];
  for (const [name, set, code, kept] of rows) {
    const kit = makeVoiceKit();
    set(kit);
    const said = name === 'recogniser' ? { audio: someSpeech() } : { text: 'hi' };
    const { conversationId, events } = await takeAll(kit.begin(said));
    assert.equal(errorOf(events).code, code, name);
    const answered = messagesOf(kit, conversationId).filter(([role]) => role !== 'user');
    assert.deepEqual(answered, kept, name);
    // It goes on.
    Object.assign(kit, { says: () => parts('Well.'), hears: 'x', voice: wordByWord });
    doneOf((await takeAll(kit.begin({ text: 'again' }, { conversationId }))).events);
  }
});

test('vendors that hang are given up in time', async () => {
  const rows: [string, (kit: VoiceKit) => void, number][] = [
    ['recogniser', (kit) => (kit.hears = null), 15_000],
    ['model', (kit) => (kit.says = () => hanging()), 10_000],
    ['voice', (kit) => (kit.voice = () => hanging()), 10_000],
  ];
  for (const [name, set, ms] of rows) {
    const kit = makeVoiceKit();
    set(kit);
    const work = takeAll(
      kit.begin(name === 'recogniser' ? { audio: someSpeech() } : { text: 'hi' }),
    );
    for (let i = 0; i < 60; i++) await settle();
    kit.clock.advance(ms);
    const error = errorOf((await work).events);
    assert.deepEqual([error.code, /^the vendor /.test(error.message)], ['E_TIMEOUT', true], name);
  }
});

test('an agent may end the conversation', async () => {
  const kit = makeVoiceKit(LOOK_UP);
  kit.says = () => parts('Goodbye.', { type: 'end_call' });
  const { conversationId, events } = await takeAll(kit.begin({ text: 'bye' }));
  assert.equal(doneOf(events).status, 'completed');
  assert.equal(kit.journal.at(-1)?.record?.outcome, 'completed');
  assert.equal(await refusalOf(kit.begin({ text: 'hi' }, { conversationId })), 'over');
});

test('without a model: written words as in execute, spoken ones as on a call', async () => {
  const kit = makeVoiceKit({ greeting: 'Hi {{name}}!', variables: { name: 'Ann' } });
  kit.vendor = 'local';
  kit.reads = false;
  kit.hears = '';
  const { conversationId, events } = await takeAll(kit.begin({ text: 'hello' }));
  assert.match(wordsOf(events), /^Hi Ann! This is Default agent\./);
  const echo: ReplyPart = { type: 'audio', pcm: new Int16Array(1_600).fill(900), text: '(speech)' };
  kit.says = () => parts(echo);
  const spoken = await takeAll(kit.begin({ audio: someSpeech() }, { conversationId }));
  assert.deepEqual(kinds(spoken.events).slice(0, 2), ['transcript', 'response']);
  assert.equal(wordsOf(spoken.events), '(speech)');
  const { input } = kit.asked.at(-1) ?? {};
  assert.ok(input?.kind === 'speech' && (input.audio?.pcm.length ?? 0) > 4_000);
  const sound = spoken.events.filter((event) => event.type === 'audio');
  assert.ok(sound.length >= 1 && sound.every(({ pcm }) => pcm.length <= 3_200));
  assert.deepEqual(messagesOf(kit, conversationId).slice(2), [
    ['user', ''],
    ['assistant', '(speech)'],
  ]);
});

test('mask_at_rest masks what is kept, not what the model or the client hears', async () => {
  const kit = makeVoiceKit({ maskAtRest: true });
  kit.says = () => parts('Calling 13800138000 now.');
  kit.hears = 'call me at 13800138000';
  const { events } = await takeAll(kit.begin({ audio: someSpeech() }));
  assert.equal(events[0]?.type === 'transcript' && events[0].text, 'call me at 13800138000');
  assert.equal(wordsOf(events), 'Calling 13800138000 now.');
  assert.match(toldTo(kit)[0] ?? '', /13800138000/);
  assert.doesNotMatch(JSON.stringify(kit.journal), /13800138000/);
  assert.match(JSON.stringify(kit.journal), /138\*{4}8000/);
});

test('each sentence is spoken in its own language, the conversation in the other side’s', async () => {
  const kit = makeVoiceKit({ language: 'zh' });
  kit.says = () => parts('您好，请问有什么可以帮您？');
  const { conversationId } = await takeAll(kit.begin({ text: 'hello' }));
  assert.deepEqual([...new Set(kit.spoken.map(({ language }) => language))], ['zh']);
  kit.says = () => parts('Of course.');
  await takeAll(kit.begin({ text: '99' }, { conversationId }));
  assert.equal(kit.spoken.at(-1)?.language, 'en');
  kit.says = () => parts({ type: 'language', language: 'zh' }, 'OK.');
  await takeAll(kit.begin({ text: '99' }, { conversationId }));
  assert.equal(kit.spoken.at(-1)?.language, 'zh');
});
