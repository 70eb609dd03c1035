/** What one call does to the pool must not be held against a vendor, or keep other calls from it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { LlmProvider, RealtimeProvider, TtsProvider } from '#providers/contract.ts';
import { failoverLlm } from '#providers/pool/failover-llm.ts';
import { failoverRealtime } from '#providers/pool/failover-realtime.ts';
import { failoverTts } from '#providers/pool/failover-tts.ts';
import { PoolMember } from '#providers/pool/member.ts';
import { AdaptiveRate } from '#providers/pool/rate-limit.ts';
import { probeRealtime, probeStt } from '#providers/provider-probe.ts';
import { SpareSockets } from '#providers/spare-sockets.ts';
import { replyRequest } from './_provider-contract.ts';
import { broken, pass, rigOf } from './_pool-kit.ts';

test('what was asked before it opened ends without opening the door to a second trial', () => {
  const clock = new SimulatedClock();
  const member = new PoolMember({
    ...{ kind: 'llm', vendor: 'a', clock, isRemote: true, random: () => 0.5 },
  });
  const old = member.begin();
  const older = member.begin();
  member.breaker.failed('quota');
  clock.advance(500);
  const trial = member.begin();
  assert.ok(trial !== null);
  old?.end();
  older?.failed(broken('E_PROVIDER_PARAM'));
  assert.equal(member.begin(), null, 'the trial is still under way');
  trial.end();
  assert.ok(member.begin() !== null, 'given up, it leaves its place to the next');
});

test('one vendor alone: whoever comes while it is tried out waits for the outcome', async () => {
  const clock = new SimulatedClock();
  const llm: LlmProvider = {
    vendor: 'a',
    async *reply() {
      await pauseOf(clock, 200);
      yield { type: 'text', text: 'hello' } as const;
      return undefined;
    },
  };
  const { lineup, members } = rigOf('llm', clock, [llm]);
  const pooled = failoverLlm(lineup);
  members[0]?.breaker.failed('quota');
  const said = [1, 2, 3, 4].map(async () => {
    const texts: unknown[] = [];
    for await (const part of pooled.reply(replyRequest('hi'), new AbortController().signal))
      texts.push(part);
    return texts.length;
  });
  const all = Promise.all(said);
  await pass(clock, 1_500);
  assert.deepEqual(await all, [1, 1, 1, 1]);
  assert.equal(clock.pending, 0);
});

test('a client that answers an abort with another error than E_ABORTED is not held to be broken', async () => {
  const clock = new SimulatedClock();
  const fails = async (signal: AbortSignal): Promise<never> => {
    const { promise, reject } = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => reject(broken('E_PROVIDER_SERVER')), { once: true });
    return promise;
  };
  const llm: LlmProvider = {
    vendor: 'a',
    async *reply(_request, signal) {
      yield { type: 'text', text: 'one' } as const;
      return await fails(signal);
    },
    complete: (_request, signal) => fails(signal),
  };
  const tts: TtsProvider = {
    vendor: 'a',
    async *speak(_request, signal) {
      yield { pcm: new Int16Array(800), marks: [] };
      await fails(signal);
    },
  };
  const models = rigOf('llm', clock, [llm]);
  const voices = rigOf('tts', clock, [tts]);
  const model = failoverLlm(models.lineup);
  const asked = { system: '', user: '', temperature: 0, maxTokens: 9 };
  const runs: ((signal: AbortSignal) => Promise<unknown>)[] = [
    (signal) => allOf(model.reply(replyRequest('hi'), signal)),
    async (signal) => model.complete?.(asked, signal),
    (signal) =>
      allOf(failoverTts(voices.lineup).speak({ text: 'One two.', language: 'en' }, signal)),
  ];
  for (const run of runs) {
    const abort = new AbortController();
    const outcome = run(abort.signal).catch((error: unknown) => error);
    await pass(clock, 20);
    abort.abort();
    await pass(clock, 20);
    const error = await outcome;
    assert.ok(error instanceof AppError && error.code === 'E_ABORTED', String(error));
  }
  assert.deepEqual([...models.failures, ...voices.failures], []);
  assert.equal(clock.pending, 0);
});

test('a question that is answered shows that the vendor works', async () => {
  const clock = new SimulatedClock();
  const llm: LlmProvider = {
    vendor: 'a',
    // oxlint-disable-next-line require-yield
    async *reply() {
      return undefined;
    },
    complete: async () => ({ text: 'yes', model: 'm', usage: null }),
  };
  const { lineup, members } = rigOf('llm', clock, [llm]);
  members[0]?.breaker.failed('quota');
  clock.advance(500);
  assert.equal(members[0]?.breaker.state, 'half_open');
  const asked = { system: '', user: '', temperature: 0, maxTokens: 9 };
  await failoverLlm(lineup).complete?.(asked, new AbortController().signal);
  assert.equal(members[0]?.breaker.state, 'closed');
});

test('a rate that was brought down comes up again where there is little to do', () => {
  const clock = new SimulatedClock();
  const rate = new AdaptiveRate(clock, { minPerS: 1, maxPerS: 100 });
  for (let n = 0; n < 400; n++) {
    clock.advance(500);
    rate.note(false, null);
  }
  assert.equal(rate.perS, 1);
  // Three requests a minute, none of which fails.
  for (let n = 0; n < 3 * 60; n++) {
    clock.advance(20_000);
    rate.note(true, 100);
  }
  assert.equal(rate.perS, 100);
  const failing = new AdaptiveRate(clock, { minPerS: 1, maxPerS: 100 });
  for (let n = 0; n < 20; n++) {
    clock.advance(500);
    failing.note(false, null);
  }
  const { perS } = failing;
  for (let n = 0; n < 60; n++) {
    clock.advance(20_000);
    failing.note(n % 3 === 0, 100);
  }
  assert.equal(failing.perS, perS, 'where some fail it stays');
});

test('a realtime session that nobody wants any more is not opened', async () => {
  const clock = new SimulatedClock();
  let opened = 0;
  const realtime: RealtimeProvider = {
    ...{ vendor: 'a', hasTools: false },
    open: async () => {
      opened++;
      return assert.fail('asked all the same');
    },
  };
  const { lineup } = rigOf('realtime', clock, [realtime]);
  const call = { callId: 'c', language: 'en', instructions: '', codec: 'L16' } as const;
  const opening = failoverRealtime(lineup).open(
    { ...call, tools: [], history: [], onEvent: () => undefined },
    AbortSignal.abort(),
  );
  await assert.rejects(opening, { code: 'E_ABORTED' });
  assert.equal(opened, 0);
});

test('a trial of a realtime account that fails closes what opens late', async () => {
  let closed = 0;
  const opening = Promise.withResolvers<Awaited<ReturnType<RealtimeProvider['open']>>>();
  const realtime: RealtimeProvider = {
    ...{ vendor: 'a', hasTools: false },
    open: (call) => {
      call.onEvent({ type: 'error', error: broken('E_PROVIDER_AUTH'), isFatal: true });
      return opening.promise;
    },
  };
  await assert.rejects(probeRealtime(realtime, new AbortController().signal), {
    code: 'E_PROVIDER_AUTH',
  });
  const nothing = (): void => undefined;
  opening.resolve({
    ...{ push: nothing, say: nothing, text: nothing, toolResult: nothing, interrupt: nothing },
    close: () => void closed++,
  });
  await opening.promise;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(closed, 1);
});

test('a trial of a recogniser that cannot be opened, given up already: one error, told once', async () => {
  const stt = { vendor: 'a', reads: true, open: () => assert.fail('no connection') };
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', note);
  await assert.rejects(probeStt(stt, new SimulatedClock(), AbortSignal.abort()));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', note);
  assert.deepEqual(unhandled, []);
});

test('a client that made room for others serves whoever works with it to the end', async () => {
  const open: string[] = [];
  const spares = new SpareSockets({
    clock: new SimulatedClock(),
    maxIdleMs: 1_000,
    open: async () => {
      open.push('one');
      return { isOpen: true, close: () => void open.pop() };
    },
  });
  spares.close();
  const own = await spares.take(new AbortController().signal);
  assert.equal(open.length, 1, 'and no spare beside it');
  spares.giveBack(own);
  assert.deepEqual(open, []);
});

function pauseOf(clock: SimulatedClock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(resolve, ms));
}

async function allOf<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) all.push(part);
  return all;
}
