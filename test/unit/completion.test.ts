/** Questions outside a conversation: who answers, how long, how many at a time, and the scripted model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { CompletionRequest, LlmProvider } from '#providers/contract.ts';
import { createLocalAgent } from '#providers/local/agent.ts';
import { createSimLlm } from '#providers/sim/llm.ts';
import { parseSimScript } from '#providers/sim/script.ts';
import { createCompletion, ModelDesk, type LlmCompletion } from '#sessions/completion.ts';

const ACCOUNT = '11111111-1111-4111-8111-111111111111';
const question: CompletionRequest = { system: 'S', user: 'U', temperature: 0.2, maxTokens: 20 };
const asked = { ...question, accountId: ACCOUNT, agent: null, purpose: 'test' };
const never = new AbortController().signal;
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

const deskOf = (completion: LlmCompletion, clock = new SimulatedClock()): ModelDesk =>
  new ModelDesk({ completion, clock, log: silentLog });

test('the account’s model answers; one that is no language model is none', async () => {
  const seen: unknown[] = [];
  const llm: LlmProvider = {
    vendor: 'v',
    reply: () => assert.fail('this is no conversation'),
    complete: async (request, signal) => {
      seen.push([request, signal]);
      return { text: 'T', model: 'M', usage: null };
    },
  };
  const agents: unknown[] = [];
  const completion = createCompletion({
    llmFor: async (...which) => {
      agents.push(which);
      return llm;
    },
  });
  const agent = {
    vendors: { stt: null, llm: 'v', tts: null },
    llm: { model: 'm', temperature: null, maxTokens: null },
  };
  const request = { ...question, accountId: ACCOUNT, agent, signal: never };
  const answer = await completion.complete(request);
  assert.deepEqual([answer?.text, answer?.model], ['T', 'M']);
  assert.deepEqual(seen, [[question, never]]);
  assert.deepEqual(agents, [[ACCOUNT, agent]]);
  const local = createCompletion({ llmFor: () => createLocalAgent() });
  assert.equal(await local.complete(request), null);
});

test('a failure is no answer, whatever it is', async () => {
  const failures: LlmCompletion['complete'][] = [
    async () => null,
    () => Promise.reject(new AppError('E_CONFIG', 'no such vendor')),
    () => Promise.reject(new AppError('E_PROVIDER_QUOTA', 'too many')),
    () => Promise.reject(new TypeError('a slip of ours')),
  ];
  for (const complete of failures) assert.equal(await deskOf({ complete }).ask(asked), null);
});

test('a deadline, and a process that goes down, end the wait and abort the question', async () => {
  for (const how of ['deadline', 'shutdown'] as const) {
    const clock = new SimulatedClock();
    const signals: AbortSignal[] = [];
    const complete: LlmCompletion['complete'] = ({ signal }) => {
      signals.push(signal);
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => reject(new AppError('E_ABORTED', 'given up')));
      return promise;
    };
    const shutdown = new AbortController();
    const answer = deskOf({ complete }, clock).ask({ ...asked, signal: shutdown.signal });
    await settle();
    if (how === 'deadline') clock.advance(4_000);
    else shutdown.abort();
    assert.equal(await answer, null);
    assert.deepEqual([signals[0]?.aborted, clock.pending], [true, 0]);
  }
});

test('no time left means no question', async () => {
  const desk = deskOf({ complete: () => assert.fail('asked') });
  assert.equal(await desk.ask({ ...asked, timeoutMs: 0 }), null);
  assert.equal(await desk.ask({ ...asked, timeoutMs: -5 }), null);
  assert.equal(await desk.ask({ ...asked, signal: AbortSignal.abort() }), null);
});

test('so many questions at a time, and room again afterwards', async () => {
  const gate = Promise.withResolvers<void>();
  let count = 0;
  const desk = deskOf({
    complete: async () => {
      count++;
      await gate.promise;
      return { text: 'T', model: 'M' };
    },
  });
  const all = Array.from({ length: 130 }, () => desk.ask(asked));
  await settle();
  assert.equal(count, 128);
  gate.resolve();
  const answers = await Promise.all(all);
  assert.equal(answers.filter((answer) => answer === null).length, 2);
  assert.equal((await desk.ask(asked))?.text, 'T');
});

test('the scripted model: by the words of the prompt, counted, delayed', async () => {
  const script = parseSimScript({
    completions: [
      { match: '/summar/i', reply: 'number {count}', delayMs: 100 },
      { match: 'S\nU', reply: 'to the letter' },
    ],
    delays: { llmMs: 40 },
  });
  const clock = new SimulatedClock();
  const { complete } = createSimLlm({ script, clock });
  assert.ok(complete);
  const first = complete({ ...question, system: 'Summarise' }, never);
  clock.advance(99);
  await settle();
  assert.equal(clock.pending, 1);
  clock.advance(1);
  assert.deepEqual([(await first).text, (await first).model], ['number 1', 'sim-1']);
  const second = complete(question, never);
  clock.advance(40);
  assert.equal((await second).text, 'to the letter');
  const third = complete({ ...question, user: 'nothing fits' }, never);
  const failed = assert.rejects(third, { code: 'E_PROVIDER_SERVER' });
  clock.advance(40);
  await failed;
  assert.equal(createSimLlm({ script: {}, clock }).complete, undefined);
});

test('the scripted model’s faults', async () => {
  const kinds = ['error', 'hang', 'malformed'] as const;
  const faults = kinds.map((kind, i) => ({ provider: 'completion', kind, at: i + 1 }));
  const script = parseSimScript({ completions: [{ reply: 'fine' }], faults });
  const clock = new SimulatedClock();
  const { complete } = createSimLlm({ script, clock });
  const ask = (signal = never) => {
    const answer = complete?.(question, signal) ?? Promise.reject(new Error('no model'));
    clock.advance(0);
    return answer;
  };
  await assert.rejects(ask(), { code: 'E_PROVIDER_SERVER' });
  const abort = new AbortController();
  const hung = assert.rejects(ask(abort.signal), { code: 'E_ABORTED' });
  await settle();
  abort.abort();
  await hung;
  assert.match((await ask()).text, /im_end/);
  assert.equal((await ask()).text, 'fine');
  assert.throws(
    () => parseSimScript({ faults: [{ provider: 'completion', kind: 'slow' }] }),
    /\/faults\/0\/kind: completion can play error, hang, malformed/,
  );
  assert.throws(
    () => parseSimScript({ completions: [{ match: '/(/', reply: 'x' }] }),
    /\/completions\/0\/match: Invalid regular expression/,
  );
});
