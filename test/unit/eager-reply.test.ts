/** A reply begun before the turn is over: adopted for the same words, else gone without a trace but its cost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { ChatMessage, LlmProvider, ReplyPart, ReplyRequest } from '#providers/contract.ts';
import { EagerReplies, type DraftRequest } from '#sessions/eager-reply.ts';
import { settle } from './_fakes.ts';

const SYSTEM: ChatMessage = { role: 'system', content: 'Be brief.' };

function requestOf(text: string, before: readonly ChatMessage[] = []): ReplyRequest {
  return {
    ...{ callId: 'c', language: 'en', state: new Map(), tools: [] },
    messages: [SYSTEM, ...before, { role: 'user', content: text }],
    input: { kind: 'speech', text, audio: null },
  };
}

/** A model whose answer comes part by part, as the test gives them. */
function slowModel() {
  const asked: { request: ReplyRequest; signal: AbortSignal }[] = [];
  const waiting: ((part: ReplyPart | 'end' | Error) => void)[] = [];
  let pulled = 0;
  const llm: LlmProvider = {
    vendor: 'slow',
    async *reply(request, signal) {
      asked.push({ request, signal });
      for (;;) {
        const { promise, resolve } = Promise.withResolvers<ReplyPart | 'end' | Error>();
        waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(new AppError('E_ABORTED', 'stopped')));
        const next = await promise;
        pulled++;
        if (next instanceof Error) throw next;
        if (next === 'end') return { inputTokens: 100, outputTokens: 20 };
        request.state.set('said', pulled);
        yield next;
      }
    },
  };
  const give = async (part: ReplyPart | 'end' | Error): Promise<void> => {
    waiting.shift()?.(part);
    await settle();
  };
  return { llm, asked, give, pulled: () => pulled };
}

function drafts(llm: LlmProvider, partial = (): string => 'hello') {
  const used: number[][] = [];
  const eager = new EagerReplies({
    log: silentLog,
    partial,
    ask: (text): Promise<DraftRequest> => Promise.resolve({ llm, request: requestOf(text) }),
    onUsage: (input, output) => used.push([input, output]),
  });
  return { eager, used };
}

async function read(stream: AsyncGenerator<ReplyPart, unknown> | null): Promise<string> {
  assert.ok(stream !== null, 'adopted');
  let text = '';
  for (;;) {
    const { done, value } = await stream.next();
    if (done === true) return `${text}|${JSON.stringify(value)}`;
    const part = value as ReplyPart;
    text += part.type === 'text' ? part.text : `<${part.type}>`;
  }
}

const live = (): AbortSignal => new AbortController().signal;

test('the same words adopt what was begun, from its first part on, and nothing is counted twice', async () => {
  const model = slowModel();
  const { eager, used } = drafts(model.llm);
  eager.begin('hello', 500);
  await settle();
  await model.give({ type: 'text', text: 'Good ' });
  await model.give({ type: 'text', text: 'morning' });
  const final = requestOf('Hello!');
  const whole = read(eager.take(model.llm, final, live()));
  await settle();
  await model.give({ type: 'end_call' });
  await model.give('end');
  assert.equal(await whole, 'Good morning<end_call>|{"inputTokens":100,"outputTokens":20}');
  assert.equal(model.asked.length, 1);
  assert.deepEqual(used, [], 'whoever adopted it counts it');
  assert.equal(final.state.get('said'), 3, 'the model remembers what was said');
});

test('other words: stopped at once, counted by estimate, and its memory is gone', async () => {
  const model = slowModel();
  const { eager, used } = drafts(model.llm);
  eager.begin('hello', 500);
  await settle();
  await model.give({ type: 'text', text: 'Good morning' });
  eager.changed('Hello.');
  assert.equal(model.asked[0]?.signal.aborted, false, 'punctuation is no other word');
  eager.changed('hello there');
  assert.equal(model.asked[0]?.signal.aborted, true);
  await settle();
  const request = requestOf('hello there');
  assert.equal(eager.take(model.llm, request, live()), null);
  assert.equal(used.length, 1);
  assert.ok((used[0]?.[0] ?? 0) > 0 && used[0]?.[1] === 3, JSON.stringify(used));
  assert.equal(request.state.size, 0);
});

test('one that is whole and not wanted costs what the model says', async () => {
  const model = slowModel();
  const { eager, used } = drafts(model.llm);
  eager.begin('hello', 500);
  await settle();
  await model.give('end');
  eager.close();
  eager.close();
  assert.deepEqual(used, [[100, 20]]);
});

test('who asks for something else gets nothing: other model, history, tools, keys', async () => {
  const rows: [string, (model: LlmProvider) => [LlmProvider, ReplyRequest]][] = [
    ['another model', () => [slowModel().llm, requestOf('hello')]],
    ['more history', (llm) => [llm, requestOf('hello', [{ role: 'assistant', content: 'Hi' }])]],
    [
      'other orders',
      (llm) => [
        llm,
        { ...requestOf('hello'), messages: [{ role: 'user', content: 'hello' } as const] },
      ],
    ],
    [
      'other tools',
      (llm) => [
        llm,
        { ...requestOf('hello'), tools: [{ name: 'x', description: '', parameters: {} }] },
      ],
    ],
    ['keys', (llm) => [llm, { ...requestOf('hello'), input: { kind: 'dtmf', digits: '1' } }]],
  ];
  for (const [name, wanted] of rows) {
    const model = slowModel();
    const { eager, used } = drafts(model.llm);
    eager.begin('hello', 500);
    await settle();
    assert.equal(eager.take(...wanted(model.llm), live()), null, name);
    assert.equal(model.asked[0]?.signal.aborted, true, name);
    assert.equal(used.length, 1, name);
  }
});

test('the message that holds the words may push the oldest one out of the window', async () => {
  const model = slowModel();
  const old: ChatMessage[] = ['a', 'b'].map((content) => ({ role: 'assistant', content }));
  const eager = new EagerReplies({
    ...{ log: silentLog, partial: () => 'hello', onUsage: () => undefined },
    ask: () => Promise.resolve({ llm: model.llm, request: requestOf('hello', old) }),
  });
  eager.begin('hello', 500);
  await settle();
  assert.notEqual(eager.take(model.llm, requestOf('hello', old.slice(1)), live()), null);
});

test('three tries a turn, none for a long speech, one for the same words', async () => {
  const model = slowModel();
  let words = '';
  const { eager } = drafts(model.llm, () => words);
  const begin = async (text: string, speechMs = 500): Promise<void> => {
    words = text;
    eager.begin(text, speechMs);
    await settle();
  };
  await begin('one', 11_000);
  assert.equal(model.asked.length, 0);
  for (const text of ['one', 'one', 'one two', 'one two three', 'one two three four'])
    await begin(text);
  assert.equal(model.asked.length, 3);
  assert.ok(
    model.asked.every(({ signal }) => signal.aborted),
    'none is left running',
  );
  eager.turnOver();
  await begin('five');
  assert.equal(model.asked.length, 4);
  eager.close();
  await begin('six');
  assert.equal(model.asked.length, 4);
});

test('a draft that failed is for nobody: the reply asks anew', async () => {
  const model = slowModel();
  const { eager, used } = drafts(model.llm);
  eager.begin('hello', 500);
  await settle();
  await model.give(new AppError('E_PROVIDER_SERVER', 'away'));
  assert.equal(eager.take(model.llm, requestOf('hello'), live()), null);
  assert.deepEqual(used, []);
});

test('an adopted one that fails, fails as the reply; giving the reply up stops it', async () => {
  const model = slowModel();
  const { eager } = drafts(model.llm);
  eager.begin('hello', 500);
  await settle();
  const failing = assert.rejects(read(eager.take(model.llm, requestOf('hello'), live())), /away/);
  await model.give(new AppError('E_PROVIDER_SERVER', 'away'));
  await failing;
  const other = slowModel();
  const again = drafts(other.llm);
  again.eager.begin('hello', 500);
  await settle();
  const abort = new AbortController();
  const taken = again.eager.take(other.llm, requestOf('hello'), abort.signal);
  const stopped = assert.rejects(read(taken), /stopped/);
  await settle();
  abort.abort();
  await stopped;
});

test('a model that talks without end waits for its listener', async () => {
  let made = 0;
  const llm: LlmProvider = {
    vendor: 'endless',
    async *reply() {
      for (;;) {
        await Promise.resolve();
        made++;
        yield { type: 'text', text: 'word ' };
      }
    },
  };
  const { eager } = drafts(llm);
  eager.begin('hello', 500);
  for (let i = 0; i < 300; i++) await settle();
  assert.ok(made > 10 && made <= 300, `${made}`);
  const before = made;
  const stream = eager.take(llm, requestOf('hello'), live());
  for (let i = 0; i < 20; i++) await stream?.next();
  await settle();
  assert.ok(made > before, 'goes on when it is heard');
  await stream?.return(undefined);
  const last = made;
  await settle();
  assert.ok(made - last <= 1);
});
