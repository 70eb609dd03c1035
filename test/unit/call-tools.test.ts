/** The tools of a call: each effect once, journalled before and after, whatever the caller does meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { historyOf } from '#sessions/history.ts';
import { CallTools } from '#sessions/tools/call-tools.ts';
import type { HttpToolRequest, ToolPorts } from '#sessions/tools/types.ts';
import type { SendKeys } from '#sessions/tools/types.ts';
import { maskWords } from '#sessions/masked-words.ts';
import { AGENT, fakeLlm, fakeTts } from './_fakes.ts';
import { silentLog, toolStory } from './_tool-kit.ts';

const ORDER = {
  ...{ name: 'order', description: 'Orders', timeoutMs: 5_000, url: 'https://shop.example/order' },
  parameters: { type: 'object', properties: { item: { type: 'string' } }, required: ['item'] },
};
const CLERK: AgentConfig = {
  ...{ ...AGENT, functions: [ORDER] },
  tools: {
    builtins: [
      'end_call',
      'transfer_call',
      'send_dtmf',
      'collect_dtmf',
      'play_audio',
      'hand_off',
      'note',
    ],
    mcpServers: [],
  },
};
const OTHER: AgentConfig = {
  ...{ ...AGENT, id: '00000000-0000-4000-8000-000000000022', name: 'Billing' },
  ...{ systemPrompt: 'You bill.', maskAtRest: true },
};
const TEA = { id: 'call_1', name: 'order', arguments: { item: 'tea' } };

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function rig(options: { sendKeys?: SendKeys } = {}) {
  const clock = new SimulatedClock();
  const world = toolStory(clock);
  const asked: (HttpToolRequest & { readonly answer: (content: string) => void })[] = [];
  const released: string[] = [];
  const slow = Promise.withResolvers<void>();
  const ports: ToolPorts = {
    http: {
      warmUp: () => undefined,
      call: (request) => {
        const { promise, resolve } = Promise.withResolvers<string>();
        asked.push({ ...request, answer: resolve });
        return promise;
      },
    },
    mcp: () => ({ offered: () => [] }),
    loadSound: async (_account, url) => {
      if (url.includes('slow')) await slow.promise;
      const pcm = new Int16Array(url.includes('long') ? 8_000 * 400 : 8_000);
      return { pcm, title: 'tune.wav', release: () => void released.push(url) };
    },
    agents: {
      byId: async (_account, id) => [CLERK, OTHER].find((each) => each.id === id) ?? null,
      byName: async (_account, name) => (name === 'Billing' ? OTHER : null),
    },
    providersFor: () => ({
      stt: { vendor: 'fake', reads: true, open: () => assert.fail('not asked for') },
      llm: fakeLlm(() => []),
      tts: fakeTts,
    }),
  };
  const { sendKeys = null } = options;
  const tools = new CallTools({ story: world.story, clock, log: silentLog, ports, sendKeys });
  const use = async (
    name: string,
    given: Record<string, unknown>,
    wait = new AbortController(),
  ) => {
    const answer = await tools.ask(
      { id: `c${Math.random()}`, name, arguments: given },
      CLERK,
      wait.signal,
    );
    return { ...answer, said: JSON.parse(answer.content) as Record<string, unknown> };
  };
  return { ...world, clock, asked, tools, use, released, slow };
}

test('the intent is journalled before anything happens, and the answer after', async () => {
  const { tools, asked, messages, entries } = rig();
  const wait = new AbortController();
  const answer = tools.ask(TEA, CLERK, wait.signal);
  assert.equal(asked.length, 0);
  const [intent] = messages;
  const id = intent?.tool_calls?.[0]?.id ?? '';
  assert.deepEqual(intent?.tool_calls, [{ id, name: 'order', arguments: { item: 'tea' } }]);
  assert.equal(entries.length, 1, 'in the journal before the request');
  await soon();
  assert.equal(asked[0]?.id, id, 'the key of the request');
  asked[0]?.answer('{"number":7}');
  assert.deepEqual(await answer, { content: '{"number":7}', effect: null });
  const [, result] = messages;
  assert.deepEqual(
    [result?.role, result?.name, result?.content],
    ['function', 'order', '{"number":7}'],
  );
  assert.deepEqual(await tools.ask(TEA, CLERK, wait.signal), {
    content: '{"number":7}',
    effect: null,
  });
  assert.equal(asked.length, 1, 'the same call is done once');
});

test('barge-in ends the wait and not the effect; the next reply knows how it stands', async () => {
  const { tools, asked, story, clock } = rig();
  const first = new AbortController();
  const cut = tools.ask(TEA, CLERK, first.signal);
  await soon();
  first.abort();
  await assert.rejects(cut, { code: 'E_ABORTED' });
  const context = { facts: null, memory: null, summary: null, from: 0 };
  const before = historyOf(AGENT, story.messages, { ...context, pendingIds: tools.pendingIds });
  assert.match(before[0]?.content ?? '', /^\[Function order is at work with \{"item":"tea"\}/);
  const again = tools.ask({ ...TEA, id: 'call_2' }, CLERK, new AbortController().signal);
  await soon();
  assert.equal(asked.length, 1, 'asked again it is the same order');
  asked[0]?.answer('{"number":7}');
  assert.equal((await again).content, '{"number":7}');
  const after = historyOf(AGENT, story.messages, { ...context, pendingIds: tools.pendingIds });
  assert.deepEqual(after, [{ role: 'system', content: '[Function order answered: {"number":7}]' }]);
  clock.advance(1);
  const next = tools.ask({ ...TEA, id: 'call_3' }, CLERK, new AbortController().signal);
  await soon();
  assert.equal(asked.length, 2, 'whoever has the answer and asks anew, orders anew');
  asked[1]?.answer('{"number":8}');
  assert.equal((await next).content, '{"number":8}');
});

test('an answer that nobody got answers the same question for a while', async () => {
  for (const [laterMs, orders] of [
    [29_000, 1],
    [31_000, 2],
  ] as const) {
    const { tools, asked, clock } = rig();
    const first = new AbortController();
    const cut = tools.ask(TEA, CLERK, first.signal);
    await soon();
    first.abort();
    await assert.rejects(cut);
    asked[0]?.answer('{"number":7}');
    await soon();
    clock.advance(laterMs);
    const again = tools.ask({ ...TEA, id: 'call_2' }, CLERK, new AbortController().signal);
    await soon();
    asked[1]?.answer('{"number":8}');
    await again;
    assert.equal(asked.length, orders);
  }
});

test('a model that gives the same ids in every reply is not told an old answer for ever', async () => {
  const { tools, asked, clock } = rig();
  for (const [laterMs, orders, content] of [
    [0, 1, '{"number":1}'],
    [29_000, 1, '{"number":1}'],
    [2_000, 2, '{"number":2}'],
  ] as const) {
    clock.advance(laterMs);
    const answer = tools.ask(TEA, CLERK, new AbortController().signal);
    await soon();
    asked.at(-1)?.answer(`{"number":${asked.length}}`);
    assert.equal((await answer).content, content);
    assert.equal(asked.length, orders);
  }
});

test('sound that comes when the call is over is given back at once', async () => {
  const { tools, use, released, slow, clock } = rig();
  const url = 'https://files.example/slow.wav';
  const playing = use('play_audio', { url });
  await soon();
  const closing = tools.close();
  clock.advance(1_000);
  await closing;
  slow.resolve();
  await playing;
  assert.deepEqual(released, [url]);
});

test('two alike in one reply are two orders; a re-used id with another question is another order', async () => {
  const { tools, asked } = rig();
  const { signal } = new AbortController();
  void tools.ask(TEA, CLERK, signal);
  void tools.ask({ ...TEA, id: 'call_2' }, CLERK, signal);
  void tools.ask({ ...TEA, arguments: { item: 'milk' } }, CLERK, signal);
  await soon();
  assert.equal(asked.length, 3);
});

test('a bad argument is answered to the model and sent to nobody', async () => {
  const { use, asked, messages } = rig();
  const { said } = await use('order', { item: 7 });
  assert.match(String(said['error']), /\/item must be string/);
  assert.equal((await use('pay', {})).said['error'], 'there is no such function');
  assert.equal(asked.length, 0);
  assert.equal(messages.length, 4, 'the record tells of both');
});

test('the call ends: what is under way may still answer, then its outcome is unknown', async () => {
  const { tools, asked, messages, clock, entries } = rig();
  void tools.ask(TEA, CLERK, new AbortController().signal);
  void tools.ask(
    { ...TEA, id: 'x', arguments: { item: 'milk' } },
    CLERK,
    new AbortController().signal,
  );
  await soon();
  const closing = tools.close();
  asked[0]?.answer('{"number":7}');
  await soon();
  clock.advance(1_000);
  await closing;
  const results = messages.filter(({ role }) => role === 'function').map(({ content }) => content);
  assert.equal(results[0], '{"number":7}');
  assert.match(results[1] ?? '', /unknown outcome/);
  const count = entries.length;
  asked[1]?.answer('{"number":8}');
  await soon();
  assert.equal(entries.length, count, 'nothing is told of a call that is over');
  assert.equal(clock.pending, 0);
  await assert.rejects(tools.ask(TEA, CLERK, new AbortController().signal), { code: 'E_ABORTED' });
});

test('built-in tools: what they answer and what comes of it', async () => {
  const sent: string[] = [];
  const { use, messages, tools, released } = rig({
    sendKeys: async (digits) => {
      sent.push(digits);
      return digits === '9'
        ? { ok: false, refusal: 'INVALID_STATE', detail: 'digits_full' }
        : { ok: true, data: { sent: digits } };
    },
  });
  const end = await use('end_call', { reason: 'done', say: 'Goodbye.' });
  assert.deepEqual([end.said, end.effect], [{ ok: true }, { kind: 'end_call' }]);
  await tools.offered(CLERK);
  const manner = (name: string, given: object) =>
    tools.manner({ id: 'm', name, arguments: { ...given } }, CLERK);
  assert.deepEqual(manner('end_call', { say: ' Goodbye. ' }), { say: 'Goodbye.', isQuiet: true });
  assert.deepEqual(manner('order', TEA.arguments), { say: null, isQuiet: false });
  assert.match(
    String((await use('transfer_call', { to: '8001' })).said['error']),
    /cannot transfer/,
  );
  assert.deepEqual((await use('send_dtmf', { digits: '1-2 #' })).said, { sent: '12#' });
  assert.match(String((await use('send_dtmf', { digits: '9' })).said['error']), /digits_full/);
  assert.match(String((await use('send_dtmf', { digits: 'x' })).said['error']), /0-9/);
  assert.deepEqual(sent, ['12#', '9']);
  assert.deepEqual((await use('note', { text: 'Wants a call back.' })).said, { ok: true });
  assert.ok(messages.some(({ content }) => content === '[Note] Wants a call back.'));
  const played = await use('play_audio', { url: 'https://sound.example/tune.wav' });
  assert.deepEqual([played.said, played.effect?.kind], [{ ok: true, seconds: 1 }, 'play']);
  assert.match(String((await use('play_audio', {})).said['error']), /needed/);
  assert.match(
    String((await use('play_audio', { url: 'https://sound.example/long' })).said['error']),
    /longer/,
  );
  assert.deepEqual(released, []);
  await tools.close();
  assert.equal(released.length, 2);
});

test('hand_off: the other agent takes over with a summary, told once somebody acts on it', async () => {
  const { use, entries, story } = rig();
  story.message({ role: 'user', content: 'My invoice is wrong, card 4111 1111 1111 1111.' }, 0);
  const { said, effect } = await use('hand_off', {
    name: 'Billing',
    summary: 'Card 4111 1111 1111 1111 charged twice',
  });
  assert.deepEqual(said, { ok: true, assistant: 'Billing' });
  assert.ok(effect?.kind === 'hand_off');
  assert.equal(effect.agentId, OTHER.id);
  assert.match(effect.voice.agent.systemPrompt, /^You bill\.\n\n.*Card \*+ ?\**.*charged twice/s);
  assert.doesNotMatch(effect.voice.agent.systemPrompt, /4111 1111/);
  const told = entries.map(({ event }) => event).filter(({ type }) => type === 'call.handoff');
  assert.equal(told.length, 1);
  assert.match(
    String((await use('hand_off', { name: 'Nobody', summary: 'x' })).said['error']),
    /no such agent/,
  );
  assert.match(
    String((await use('hand_off', { assistant_id: CLERK.id, summary: 'x' })).said['error']),
    /that is you/,
  );
  const braces = await use('hand_off', { name: 'Billing', summary: 'Wants {{{secret}}} read' });
  assert.ok(braces.effect?.kind === 'hand_off');
  assert.doesNotMatch(braces.effect.voice.agent.systemPrompt, /\{\{/);
  // Another agent masks: from here on so does the call.
  story.message({ role: 'user', content: '4111 1111 1111 1111' }, 0);
  assert.doesNotMatch(JSON.stringify(entries.at(-1)), /4111 1111/);
});

test('collect_dtmf: keys are one input and no turns', async () => {
  const { use, tools, clock } = rig();
  assert.equal(tools.takeKey('1'), false, 'nobody waits');
  let soundMs = 2_000;
  tools.soundLeftMs = () => soundMs;
  const card = use('collect_dtmf', {
    max_digits: 6,
    timeout_s: 5,
    prompt: 'Your number, then hash.',
  });
  await soon();
  soundMs = 0;
  clock.advance(6_900); // two seconds of prompt, then five to begin
  assert.deepEqual(
    ['1', '2', '*'].map((key) => tools.takeKey(key)),
    [true, true, true],
  );
  assert.equal((await use('collect_dtmf', {})).said['error'], 'keys are collected already');
  clock.advance(2_900);
  assert.equal(tools.takeKey('#'), true);
  assert.deepEqual((await card).said, { digits: '12*', ended: 'finish_key' });
  assert.equal(tools.takeKey('1'), false);
  const rows: [Record<string, unknown>, string, number, object][] = [
    [{ max_digits: 3 }, '123', 0, { digits: '123', ended: 'max_digits' }],
    [{ finish_on: '', timeout_s: 1 }, '1#', 3_000, { digits: '1#', ended: 'timeout' }],
    [{ finish_on: '*' }, '7*', 0, { digits: '7', ended: 'finish_key' }],
    [{ timeout_s: 4 }, '', 4_000, { digits: '', ended: 'timeout' }],
  ];
  for (const [given, keys, thenMs, expected] of rows) {
    const pressed = use('collect_dtmf', given);
    await soon();
    for (const key of keys) tools.takeKey(key);
    clock.advance(thenMs);
    assert.deepEqual((await pressed).said, expected);
  }
  const wait = new AbortController();
  const cut = use('collect_dtmf', {}, wait);
  await soon();
  tools.takeKey('4');
  wait.abort();
  await assert.rejects(cut, { code: 'E_ABORTED' });
  assert.equal(tools.takeKey('5'), false, 'the caller has gone on');
  await tools.close();
  assert.equal(clock.pending, 0);
});

test('what the caller keys in is not kept where words are masked', () => {
  const call = { id: 'x', name: 'send_dtmf', arguments: { digits: '4711' } };
  const rows: [object, RegExp][] = [
    [
      { role: 'function', name: 'collect_dtmf', content: '{"digits":"4711","ended":"finish_key"}' },
      /4711/,
    ],
    [{ role: 'assistant', content: '', tool_calls: [call] }, /4711/],
    [{ role: 'function', name: 'order', content: '{"phone":"+15550100123"}' }, /0100123/],
    [{ role: 'system', content: '[Note] card 4111 1111 1111 1111' }, /4111 1111/],
  ];
  for (const [message, secret] of rows)
    assert.doesNotMatch(JSON.stringify(maskWords(message)), secret);
});
