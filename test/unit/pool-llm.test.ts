/** Models that stand in for each other before the first word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { LlmProvider, LlmUsage, ReplyPart } from '#providers/contract.ts';
import { failoverLlm } from '#providers/pool/failover-llm.ts';
import { broken, pass, rigOf } from './_pool-kit.ts';
import { replyRequest, textOf } from './_provider-contract.ts';

type Script = {
  readonly name: string;
  /** Until the first word, or the failure. */
  readonly firstMs?: number;
  readonly fails?: ErrorCode;
  readonly failsAfterFirst?: ErrorCode;
  readonly stallsAfter?: string;
  readonly hangs?: boolean;
  readonly empty?: boolean;
};

function model(clock: SimulatedClock, script: Script, log: string[]): LlmProvider {
  const { name, firstMs = 100, fails, failsAfterFirst, hangs = false, empty = false } = script;
  return {
    vendor: name,
    async *reply(_request, signal): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
      log.push(`${name} asked at ${clock.now()}`);
      signal.addEventListener('abort', () => log.push(`${name} given up`), { once: true });
      await delay(hangs ? 1e9 : firstMs, signal, clock);
      if (fails !== undefined) throw broken(fails);
      if (empty) return undefined;
      yield { type: 'text', text: `${name} says ` };
      if (script.stallsAfter !== undefined) {
        yield { type: 'text', text: script.stallsAfter };
        await delay(3_000, signal, clock);
      }
      await delay(50, signal, clock);
      if (failsAfterFirst !== undefined) throw broken(failsAfterFirst);
      yield { type: 'text', text: 'hello.' };
      return { inputTokens: 1, outputTokens: 2 };
    },
    complete: async (_request, signal) => {
      await delay(firstMs, signal, clock);
      if (fails !== undefined) throw broken(fails);
      return { text: name, model: name, usage: null };
    },
  };
}

async function talk(scripts: readonly Script[], waitMs = 10_000) {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const rig = rigOf(
    'llm',
    clock,
    scripts.map((script) => model(clock, script, log)),
  );
  const llm = failoverLlm(rig.lineup);
  const say = async () => {
    const parts: ReplyPart[] = [];
    let firstMs: number | null = null;
    const startMs = clock.now();
    const run = (async () => {
      for await (const part of llm.reply(replyRequest('hi'), new AbortController().signal)) {
        firstMs ??= clock.now() - startMs;
        parts.push(part);
      }
    })();
    const done = run.then(
      () => 'ok',
      (error: unknown) => (error as AppError).message,
    );
    await pass(clock, waitMs);
    return { text: textOf(parts), firstMs, end: await done };
  };
  return { clock, log, rig, llm, say };
}

test('before the first word: who answers, when, and what a failure is called', async () => {
  const b = { name: 'b' };
  const rows: [Script[], string, number | null, string, string[]][] = [
    [[{ name: 'a' }, b], 'a says hello.', 100, 'ok', []],
    [[{ name: 'a', fails: 'E_PROVIDER_SERVER' }, b], 'b says hello.', 200, 'ok', ['a>b']],
    [[{ name: 'a', fails: 'E_PROVIDER_AUTH' }, b], 'b says hello.', 200, 'ok', ['a>b']],
    [[{ name: 'a', fails: 'E_PROVIDER_QUOTA' }, b], 'b says hello.', 200, 'ok', ['a>b']],
    [[{ name: 'a', fails: 'E_PROVIDER_PARAM' }, b], 'b says hello.', 200, 'ok', ['a>b']],
    [[{ name: 'a', fails: 'E_PROVIDER_CONTENT' }, b], '', null, 'scripted E_PROVIDER_CONTENT', []],
    [[{ name: 'a', empty: true }, b], 'b says hello.', 200, 'ok', ['a>b']],
    [[{ name: 'a', hangs: true }, b], 'b says hello.', 900, 'ok', ['a>b']],
    // Slow, but the other one is slower: the first to answer is heard.
    [[{ name: 'a', firstMs: 850 }, b], 'a says hello.', 850, 'ok', ['a>b']],
    [
      [{ name: 'a', hangs: true }, { name: 'b', hangs: true }, { name: 'c' }],
      'c says hello.',
      1_700,
      'ok',
      ['a>b', 'b>c'],
    ],
    [
      [
        { name: 'a', fails: 'E_PROVIDER_AUTH' },
        { name: 'b', fails: 'E_PROVIDER_SERVER' },
      ],
      ...(['', null, 'scripted E_PROVIDER_AUTH', ['a>b']] as const),
    ] as never,
    [
      [{ name: 'a', failsAfterFirst: 'E_PROVIDER_SERVER' }, b],
      'a says ',
      100,
      'scripted E_PROVIDER_SERVER',
      [],
    ],
    [[{ name: 'a', fails: 'E_PROVIDER_SERVER' }], '', null, 'scripted E_PROVIDER_SERVER', []],
  ];
  for (const [scripts, text, firstMs, end, failovers] of rows) {
    const { say, rig } = await talk(scripts);
    const name = JSON.stringify(scripts);
    assert.deepEqual(await say(), { text, firstMs, end }, name);
    assert.deepEqual(rig.failovers, failovers, name);
    for (const member of rig.members) assert.equal(member.inFlight, 0, name);
  }
});

test('the slow one is given up when another has answered, and held to be silent', async () => {
  const { say, log, rig, clock } = await talk([{ name: 'a', hangs: true }, { name: 'b' }], 1_000);
  await say();
  assert.deepEqual(log, ['a asked at 0', 'b asked at 800', 'a given up', 'b given up']);
  assert.deepEqual(rig.failures, ['a server']);
  assert.equal(clock.pending, 0, 'no timer is left');
  assert.equal((await say()).firstMs, 100, 'the one that stood in is asked first now');
});

test('a breaker that is open costs no time; when all are, it is said why', async () => {
  const { say, log } = await talk([{ name: 'a', fails: 'E_PROVIDER_AUTH' }, { name: 'b' }], 300);
  await say();
  log.length = 0;
  assert.deepEqual(await say(), { text: 'b says hello.', firstMs: 100, end: 'ok' });
  assert.equal(
    log.some((line) => line.startsWith('a asked')),
    false,
  );
  const alone = await talk([{ name: 'a', fails: 'E_PROVIDER_AUTH' }], 300);
  await alone.say();
  alone.log.length = 0;
  assert.deepEqual(await alone.say(), { text: '', firstMs: null, end: 'scripted E_PROVIDER_AUTH' });
  assert.deepEqual(alone.log, [], 'it was not asked again');
});

test('a vendor’s "later" of half a second is waited for, when nobody else is there', async () => {
  const script = { name: 'a', fails: 'E_PROVIDER_QUOTA' } as { name: string; fails?: ErrorCode };
  const { say, clock } = await talk([script], 150);
  assert.equal((await say()).end, 'scripted E_PROVIDER_QUOTA');
  const again = await talk([{ name: 'a' }], 1_000);
  again.rig.members[0]?.breaker.failed('quota');
  assert.equal((await again.say()).firstMs, 600);
  assert.equal(clock.pending, 0);
});

test('an abort ends it at once, wherever it stands', async () => {
  for (const atMs of [0, 50, 400, 850, 890, 1_000]) {
    const { llm, clock, rig } = await talk([
      { name: 'a', hangs: true },
      { name: 'b', firstMs: 300 },
    ]);
    const abort = new AbortController();
    const stream = llm.reply(replyRequest('hi'), abort.signal);
    const parts: ReplyPart[] = [];
    const done = (async () => {
      for await (const part of stream) parts.push(part);
    })().catch((error: unknown) => error);
    await pass(clock, atMs);
    abort.abort();
    await pass(clock, 20);
    const error = await done;
    assert.ok(error instanceof AppError && error.code === 'E_ABORTED', `${atMs}: ${String(error)}`);
    assert.equal(clock.pending, 0, String(atMs));
    for (const member of rig.members) assert.equal(member.inFlight, 0);
  }
});

test('questions outside a conversation go to the next one too', async () => {
  const rows: [Script[], string][] = [
    [[{ name: 'a' }, { name: 'b' }], 'a'],
    [[{ name: 'a', fails: 'E_PROVIDER_SERVER' }, { name: 'b' }], 'b'],
    [[{ name: 'a', fails: 'E_PROVIDER_CONTENT' }, { name: 'b' }], 'scripted E_PROVIDER_CONTENT'],
    [
      [
        { name: 'a', fails: 'E_PROVIDER_AUTH' },
        { name: 'b', fails: 'E_TIMEOUT' },
      ],
      'scripted E_PROVIDER_AUTH',
    ],
  ];
  for (const [scripts, expected] of rows) {
    const { llm, clock } = await talk(scripts);
    const asked = { system: '', user: '', temperature: 0, maxTokens: 9 };
    const answer = llm.complete?.(asked, new AbortController().signal).then(
      ({ text }) => text,
      (error: unknown) => (error as AppError).message,
    );
    await pass(clock, 300);
    assert.equal(await answer, expected);
  }
});

test('a model that stalls before anything can be said is left; one that has said something is waited for', async () => {
  const rows: readonly (readonly [string, number, string])[] = [
    ['the or', 2, 'E_PROVIDER_SERVER'],
    ['Very well. The or', 2, 'ok'],
    ['the or', 1, 'ok'],
  ];
  for (const [stallsAfter, models, end] of rows) {
    const clock = new SimulatedClock();
    const log: string[] = [];
    const scripts: Script[] = [{ name: 'a', stallsAfter }, { name: 'b' }];
    const rig = rigOf(
      'llm',
      clock,
      scripts.slice(0, models).map((script) => model(clock, script, log)),
    );
    const llm = failoverLlm(rig.lineup);
    const read = async (): Promise<string> => {
      const parts: ReplyPart[] = [];
      for await (const part of llm.reply(replyRequest('hi'), new AbortController().signal))
        parts.push(part);
      return textOf(parts);
    };
    const first = read().then(
      () => 'ok',
      (error: unknown) => (error instanceof AppError ? error.code : 'other'),
    );
    await pass(clock, 1_400);
    const isLeft = end !== 'ok';
    assert.equal(log.includes('a given up'), isLeft, stallsAfter);
    await pass(clock, 4_000);
    assert.equal(await first, end, stallsAfter);
    if (!isLeft) continue;
    const again = read();
    await pass(clock, 1_000);
    assert.match(await again, /^b says/, 'whoever broke off is not asked first again');
    assert.equal(clock.pending, 0);
  }
});
