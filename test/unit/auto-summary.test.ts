/** Summaries by themselves (contract 7.2): in time, told once, never over a client's own, found again after a crash. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JournalEntry, Message } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { isId, newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import {
  AutoSummary,
  type EndedCall,
  type FoundCall,
  type SummaryStore,
} from '#sessions/auto-summary.ts';
import type { Summary, SummaryRequest } from '#sessions/summary.ts';
import { UsageMeter } from '#sessions/usage-meter.ts';

const ACCOUNT = '11111111-1111-4111-8111-111111111111';
const AGENT = '33333333-3333-4333-8333-333333333333';
const said: Message[] = [{ role: 'user', content: 'I want a refund.', timestamp: 1 }];

type Saved = Awaited<ReturnType<SummaryStore['saveAutomatic']>>;

function make() {
  const clock = new SimulatedClock();
  const asked: SummaryRequest[] = [];
  const appended: JournalEntry[] = [];
  const told: [string, string, string][] = [];
  const looks: Parameters<SummaryStore['waiting']>[0][] = [];
  const world = {
    ...{ clock, asked, appended, told, looks },
    waiting: [] as FoundCall[],
    ...{ isSettled: true, isAway: false },
    save: async (): Promise<Saved> => ({ kind: 'saved' }),
    summarise: async (): Promise<void> => undefined,
    call: (id = newId(), messages = said): EndedCall => ({
      ...{ callId: id, accountId: ACCOUNT, agentId: AGENT, messages },
      usage: new UsageMeter(),
      tell: (summary, source) => told.push([id, summary, source]),
    }),
  };
  const worker = new AutoSummary({
    summaries: {
      make: async (request): Promise<Summary> => {
        asked.push(request);
        await world.summarise();
        return {
          ...{ text: 'made', source: 'llm', model: 'm', language: 'en', generatedAt: 'now' },
        } as const;
      },
    },
    store: {
      saveAutomatic: () => world.save(),
      waiting: async (query) => {
        looks.push(query);
        if (world.isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
        return world.waiting;
      },
    },
    journal: { append: (entry) => appended.push(entry) },
    node: 'node-1',
    isSettled: () => world.isSettled,
    clock,
    log: silentLog,
  });
  return { ...world, world, worker };
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await Promise.resolve();
};

async function advance(clock: SimulatedClock, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 50) {
    clock.advance(50);
    await settle();
  }
}

test('a call that ends is summed up, saved, then told', async () => {
  const { worker, world, told, asked } = make();
  const order: string[] = [];
  world.save = async () => {
    order.push(`saved, told ${told.length}`);
    return { kind: 'saved' };
  };
  const call = world.call();
  worker.callEnded(call);
  assert.equal(told.length, 0, 'the call is not held up');
  await settle();
  assert.deepEqual(told, [[call.callId, 'made', 'llm']]);
  assert.deepEqual(order, ['saved, told 0']);
  assert.deepEqual([asked[0]?.language, asked[0]?.modelTimeoutMs], [null, 4_000]);
  worker.callEnded(call);
  await settle();
  assert.equal(told.length, 1, 'told once');
  await worker.close();
});

test('calls in which nobody spoke have no summary', async () => {
  const { worker, world, asked } = make();
  worker.callEnded(world.call(newId(), []));
  worker.callEnded(world.call(newId(), [{ role: 'system', content: 'x', timestamp: 1 }]));
  worker.callEnded(world.call(newId(), [{ role: 'user', content: ' ', timestamp: 1 }]));
  await settle();
  assert.equal(asked.length, 0);
  await worker.close();
});

test('what is there already stays: a client’s own untold, a requested one told', async () => {
  const rows: [Saved, number][] = [
    [{ kind: 'present', source: 'client', summary: 'mine' }, 0],
    [{ kind: 'present', source: 'client', summary: null }, 0],
    [{ kind: 'present', source: null, summary: 'old' }, 0],
    [{ kind: 'present', source: 'extractive', summary: 'asked for' }, 1],
  ];
  for (const [present, count] of rows) {
    const { worker, world, told } = make();
    world.save = async () => present;
    const call = world.call();
    worker.callEnded(call);
    await settle();
    assert.equal(told.length, count, JSON.stringify(present));
    if (count === 1) assert.deepEqual(told[0], [call.callId, 'asked for', 'extractive']);
    await worker.close();
  }
});

test('a record on its way and a passing fault are waited for', async () => {
  const { worker, world, clock, told } = make();
  const results: (() => Promise<Saved>)[] = [
    async () => ({ kind: 'missing' }),
    () => Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away')),
    async () => ({ kind: 'saved' }),
  ];
  world.save = () => (results.shift() ?? (() => Promise.reject(new Error('too many'))))();
  worker.callEnded(world.call());
  await advance(clock, 1_000);
  assert.equal(told.length, 1);
  assert.equal(results.length, 0);
  await worker.close();
});

test('what cannot be saved is found again, and told with the number behind the last', async () => {
  const { worker, world, clock, told, appended, looks, asked } = make();
  world.save = () => Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away'));
  const call = world.call();
  worker.callEnded(call);
  await advance(clock, 5_000);
  assert.equal(told.length, 0);
  assert.ok(looks.length > 0);
  world.save = async () => ({ kind: 'saved' });
  world.waiting = [{ ...call, lastSeq: 7 }];
  await advance(clock, 5_000);
  const events = appended.map(({ event }) => event);
  assert.equal(events.length, 1);
  const { type, call_id: callId, seq, account_id: accountId, data, node } = events[0] ?? {};
  assert.deepEqual(
    { type, callId, seq, accountId, data, node },
    {
      ...{ type: 'summary.ready', callId: call.callId, seq: 8, accountId: ACCOUNT, node: 'node-1' },
      data: { summary: 'made', source: 'llm' },
    },
  );
  assert.equal(asked.length, 2);
  const before = looks.length;
  await advance(clock, 60_000);
  assert.equal(looks.length, before, 'nothing more is looked for');
  assert.equal(clock.pending, 0);
  await worker.close();
});

test('two nodes that find the same call tell one event', async () => {
  const ids: string[] = [];
  const { callId } = make().world.call();
  for (const node of [make(), make()]) {
    node.world.waiting = [
      { callId, accountId: ACCOUNT, agentId: AGENT, messages: said, lastSeq: 3 },
    ];
    node.worker.start();
    await advance(node.clock, 2_000);
    ids.push(...node.appended.map(({ event }) => event.id));
    await node.worker.close();
  }
  assert.equal(ids.length, 2);
  assert.equal(new Set(ids).size, 1);
  assert.ok(isId(ids[0] ?? ''));
});

test('a database that was away for long is asked again within seconds of its return', async () => {
  const { worker, world, clock, appended } = make();
  const call = world.call();
  world.save = () => Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'away'));
  world.isAway = true;
  worker.callEnded(call);
  await advance(clock, 120_000);
  world.isAway = false;
  world.save = async () => ({ kind: 'saved' });
  world.waiting = [{ ...call, lastSeq: 7 }];
  await advance(clock, 10_000);
  assert.equal(appended.length, 1);
  await worker.close();
});

test('a start looks once the journal is in the database, and only an hour back', async () => {
  const { worker, world, clock, looks, appended } = make();
  world.isSettled = false;
  worker.start();
  await advance(clock, 10_000);
  assert.equal(looks.length, 0);
  world.isSettled = true;
  const { callId } = world.call();
  world.waiting = [{ callId, accountId: ACCOUNT, agentId: AGENT, messages: said, lastSeq: 3 }];
  await advance(clock, 2_000);
  assert.equal(looks.length, 1);
  const [look] = looks;
  assert.ok(Math.abs(clock.wallMs() - (look?.sinceMs ?? 0) - 3_600_000) < 3_000);
  assert.equal((look?.othersBeforeMs ?? 0) - (look?.sinceMs ?? 0), 3_570_000);
  assert.equal(appended.length, 1);
  await advance(clock, 60_000);
  assert.deepEqual([looks.length, appended.length, clock.pending], [1, 1, 0]);
  await worker.close();
});

test('behind a long queue there is no time for a model; beyond a full one calls are found later', async () => {
  const { worker, world, clock, asked, told, looks } = make();
  const gate = Promise.withResolvers<void>();
  world.summarise = () => gate.promise;
  for (let i = 0; i < 1_040; i++) worker.callEnded(world.call());
  await settle();
  assert.equal(asked.length, 32, 'as many at a time');
  await advance(clock, 5_500);
  gate.resolve();
  await advance(clock, 3_000);
  assert.equal(told.length, 1_032, '32 in work and 1,000 waiting');
  const late = asked.slice(32).map(({ modelTimeoutMs }) => modelTimeoutMs ?? 0);
  assert.ok(
    late.every((ms) => ms <= 1_000),
    'the model gets what is left',
  );
  assert.ok(looks.length > 0, 'the eight others are looked for');
  await worker.close();
});

test('closing gives up what is in work, and leaves no timer', async () => {
  const { worker, world, clock, told, asked } = make();
  const gate = Promise.withResolvers<void>();
  world.summarise = () => gate.promise;
  worker.start();
  worker.callEnded(world.call());
  await settle();
  const closing = worker.close();
  assert.equal(asked[0]?.signal?.aborted, true);
  gate.resolve();
  await closing;
  worker.callEnded(world.call());
  await settle();
  assert.deepEqual([told.length, asked.length, clock.pending], [0, 1, 0]);
});
