/** Who of a squad speaks in a live call: the floor by itself, and a speaker that follows it. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import type { HandoffSummary, Message } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { ProviderSet, TurnInput } from '#providers/contract.ts';
import type { Question } from '#sessions/completion.ts';
import { SquadFloor, type Handover, type SquadFloorOptions } from '#sessions/squad-floor.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { Speaker, type Voice } from '#sessions/speaker.ts';
import { Utterance } from '#sessions/utterance.ts';
import { FakeMedia, NO_TOOLS } from './_fakes.ts';
import { agentCalled, FRONT, MONEY, planOf, SQUAD, TECH } from './_squad-kit.ts';

const said = (text: string): TurnInput => ({ kind: 'speech', text, audio: null });

type FloorKit = {
  readonly floor: SquadFloor;
  readonly clock: SimulatedClock;
  readonly handed: [from: string, to: string, summary: HandoffSummary][];
  readonly asked: Question[];
  readonly made: AgentConfig[];
  masked: number;
  before(input: TurnInput, signal?: AbortSignal): Promise<Handover | null>;
};

function floorKit(
  changes: Partial<SquadFloorOptions> & { readonly messages?: readonly Message[] } = {},
): FloorKit {
  const clock = new SimulatedClock();
  const { messages = [], ...options } = changes;
  const kit: Omit<FloorKit, 'floor' | 'before'> = {
    ...{ clock, handed: [], asked: [], made: [], masked: 0 },
  };
  const made = Object.assign(kit, {
    floor: new SquadFloor({
      ...{ clock, log: silentLog, squadId: SQUAD, agent: agentCalled(FRONT, 'Front') },
      story: {
        ...{ callId: 'c-1', messages },
        handedOver: (...of) => void kit.handed.push(of),
        maskFromNow: () => void kit.masked++,
      },
      desk: {
        ask: async (question) => {
          kit.asked.push(question);
          return null;
        },
      },
      squads: { plan: async () => planOf() },
      agents: { byId: async (_account, id) => agentCalled(id, 'x') },
      providersFor: (agent) => {
        kit.made.push(agent);
        return { llm: { vendor: agent.name } } as unknown as ProviderSet;
      },
      ...options,
    }),
    before: (input: TurnInput, signal = new AbortController().signal) =>
      made.floor.beforeReply(input, { language: 'en', signal }),
  });
  return made;
}

test('the floor is handed over when the caller speaks of another member’s skill', async () => {
  const messages: Message[] = [
    { role: 'user', content: 'My number is 13800138000', timestamp: 1 },
    { role: 'user', content: 'I want a refund', timestamp: 2 },
  ];
  const kit = floorKit({ messages });
  assert.equal(await kit.before(said('hello there')), null);
  const next = await kit.before(said('I want a refund'));
  assert.equal(next?.notice, 'Transferring you now…');
  assert.equal(next?.voice.agent.id, MONEY);
  assert.match(next?.voice.agent.systemPrompt ?? '', /^You are Money\.\n\nYour colleague "Front"/);
  assert.equal(next?.voice.providers.llm.vendor, 'Money');
  assert.equal(kit.floor.agentId, MONEY);
  const [from, to, summary] = kit.handed[0] ?? [];
  assert.deepEqual([from, to, summary?.intent], [FRONT, MONEY, 'refund']);
  assert.equal(summary?.pending, 'I want a refund');
  assert.doesNotMatch(JSON.stringify(summary), /13800138000/);
  assert.equal(await kit.before(said('yes please')), null, 'the subject stays');
  assert.equal((await kit.before(said('我要安装')))?.notice, '正在为您转接…');
});

test('nothing is asked of anybody where nothing can come of it', async () => {
  const one = floorKit({
    squads: { plan: async () => ({ ...planOf(), members: planOf().members.slice(0, 1) }) },
  });
  assert.equal(await one.before(said('I want a refund')), null);
  const kit = floorKit();
  assert.equal(await kit.before({ kind: 'dtmf', digits: '1' }), null);
  assert.equal(await kit.before({ kind: 'note', text: 'refund' }), null);
  assert.equal(await kit.before(said('  ')), null);
  // Clear words and empty ones need no model; the others do, within 800 ms.
  await kit.before(said('yes please'));
  await kit.before(said('I want a refund'));
  assert.equal(kit.asked.length, 0);
  await kit.before(said('something about my router'));
  assert.equal(kit.asked[0]?.timeoutMs, 800);
  assert.equal(one.asked.length, 0);
});

test('a subject that was clear does not hide another one from the model', async () => {
  const messages: Message[] = [{ role: 'user', content: 'I want a refund', timestamp: 1 }];
  const kit = floorKit({ messages });
  await kit.before(said('I want a refund'));
  assert.equal(kit.asked.length, 0);
  await kit.before(said('the little box in my hall is blinking red'));
  assert.equal(kit.asked.length, 1, 'the words say nothing of it, and it is no yes or no');
  await kit.before(said("I don't want a refund"));
  assert.equal(kit.asked.length, 2, 'refused or not: words alone cannot tell');
});

test('a model that is late twice costs no third wait at once', async () => {
  const asked: number[] = [];
  const clock = new SimulatedClock();
  const desk = {
    ask: async ({ timeoutMs = 0 }: Question) => {
      asked.push(clock.now());
      await delay(timeoutMs, undefined, clock);
      return null;
    },
  };
  const kit = floorKit({ clock, desk });
  const turn = async (): Promise<void> => {
    const work = kit.before(said('something about my router'));
    for (let i = 0; i < 10; i++) await setImmediate();
    clock.advance(800);
    assert.equal(await work, null);
  };
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(asked.length, 2);
  clock.advance(60_000);
  await turn();
  assert.equal(asked.length, 3, 'it may be well again');
});

test('a caller who goes on during the hand-over: nothing is handed over, and nothing told twice', async () => {
  const gates: (() => void)[] = [];
  const kit = floorKit({
    providersFor: async () => {
      await new Promise<void>((resolve) => gates.push(resolve));
      return { llm: { vendor: 'x' } } as unknown as ProviderSet;
    },
  });
  const left = new AbortController();
  const first = kit.before(said('I want a refund'), left.signal);
  for (let i = 0; i < 10; i++) await setImmediate();
  left.abort();
  const second = kit.before(said('I want a refund now'));
  for (let i = 0; i < 10; i++) await setImmediate();
  for (const open of gates) open();
  assert.equal(await first, null);
  assert.equal((await second)?.voice.agent.id, MONEY);
  assert.deepEqual(
    kit.handed.map(([from, to]) => [from, to]),
    [[FRONT, MONEY]],
  );
});

test('a member whose model failed is not handed the call again at once', async () => {
  const kit = floorKit();
  const { signal } = new AbortController();
  await kit.before(said('I want a refund'));
  assert.equal((await kit.floor.afterFailure('en', signal))?.agent.id, FRONT);
  assert.equal(await kit.before(said('I want a refund')), null);
  assert.equal((await kit.before(said('installation')))?.voice.agent.id, TECH);
  kit.clock.advance(60_000);
  assert.equal((await kit.before(said('I want a refund')))?.voice.agent.id, MONEY);
});

test('whatever goes wrong, the present agent goes on', async () => {
  const gone = floorKit({ agents: { byId: async () => null } });
  assert.equal(await gone.before(said('refund')), null);
  const noVendor = floorKit({
    providersFor: () => {
      throw new AppError('E_CONFIG', 'no such vendor');
    },
  });
  assert.equal(await noVendor.before(said('refund')), null);
  const noSquad = floorKit({ squads: { plan: async () => null } });
  assert.equal(await noSquad.before(said('refund')), null);
  const broken = floorKit({
    squads: {
      plan: async () => {
        throw new AppError('E_DATABASE_UNREACHABLE', 'away');
      },
    },
  });
  assert.equal(await broken.before(said('refund')), null);
  const left = new AbortController();
  left.abort();
  const kit = floorKit();
  assert.equal(await kit.before(said('refund'), left.signal), null);
  for (const each of [gone, noVendor, noSquad, broken, kit]) {
    assert.deepEqual([each.floor.agentId, each.handed.length], [FRONT, 0]);
    assert.equal(each.clock.pending, 0);
  }
});

test('a squad, an agent and vendors that hang cost the caller a bounded time', async () => {
  const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
  const rows: [Partial<SquadFloorOptions>, number, boolean][] = [
    [{ squads: { plan: never } }, 200, false],
    [{ providersFor: never }, 500, false],
    [{ agents: { byId: never } }, 200, true],
  ];
  for (const [changes, ms, isHanded] of rows) {
    const kit = floorKit(changes);
    let next: Handover | null | undefined;
    void kit.before(said('refund')).then((value) => (next = value));
    for (let i = 0; i < 20; i++) await setImmediate();
    assert.equal(next, undefined);
    kit.clock.advance(ms);
    for (let i = 0; i < 20; i++) await setImmediate();
    assert.equal(next !== null, isHanded);
    assert.notEqual(next, undefined);
  }
});

test('variables: what the call was placed with is told to every member', async () => {
  const changes = {
    [FRONT]: { variables: { a: 'front', b: 'front' } },
    [MONEY]: { variables: { b: 'money' } },
  };
  const kit = floorKit({
    agent: agentCalled(FRONT, 'Front', { variables: { a: 'front', b: 'front', c: 'given' } }),
    squads: { plan: async () => planOf(changes) },
  });
  const next = await kit.before(said('refund'));
  assert.deepEqual(next?.voice.agent.variables, { a: 'front', b: 'money', c: 'given' });
  // Back at the primary member it is the one this call began with.
  const back = await kit.floor.afterFailure('en', new AbortController().signal);
  assert.deepEqual(back?.agent.variables, { a: 'front', b: 'front', c: 'given' });
  assert.deepEqual(
    kit.handed.map(([from, to]) => [from, to]),
    [
      [FRONT, MONEY],
      [MONEY, FRONT],
    ],
  );
  assert.equal(
    await kit.floor.afterFailure('en', new AbortController().signal),
    null,
    'nobody stands in for the primary',
  );
});

test('an agent with mask_at_rest masks what is said from its turn on', async () => {
  const kit = floorKit({ squads: { plan: async () => planOf({ [TECH]: { maskAtRest: true } }) } });
  await kit.before(said('refund'));
  assert.equal(kit.masked, 0);
  await kit.before(said('installation'));
  assert.equal(kit.masked, 1);
});

test('a notice that is cut: who was handed the call speaks next, also while the old voice hangs', async () => {
  const clock = new SimulatedClock();
  const heard: string[] = [];
  const hangs = Promise.withResolvers<void>();
  const voiceOf = (name: string): Voice => ({
    agent: agentCalled(name, name),
    providers: {
      llm: {
        vendor: name,
        async *reply() {
          yield { type: 'text', text: 'Here I am.' };
          return undefined;
        },
      },
      tts: {
        vendor: name,
        async *speak({ text }) {
          heard.push(`${name}: ${text.trim()}`);
          if (text.startsWith('Transferring')) await hangs.promise;
          yield { pcm: new Int16Array(800), marks: [] };
        },
      },
    },
  });
  const handovers: (Handover | null)[] = [{ voice: voiceOf(MONEY), notice: 'Transferring.' }, null];
  const told: string[] = [];
  const speaker = new Speaker({
    ...voiceOf(FRONT),
    onAgent: ({ id }, inMs) => told.push(`${id} in ${inMs}`),
    ...{ callId: 'c', announceOnly: false, media: new FakeMedia(clock, []), clock },
    ...{ history: () => [], onUsage: () => undefined, tools: NO_TOOLS },
    floor: {
      beforeReply: async () => handovers.shift() ?? null,
      afterFailure: async () => null,
    },
  });
  const utterances = [1, 2].map((n) => new Utterance(n, n, new TurnTimes(() => clock.now())));
  const [first, second] = utterances as [Utterance, Utterance];
  const reply = { kind: 'reply', input: said('x') } as const;
  const cut = assert.rejects(speaker.speak(first, reply), { code: 'E_ABORTED' });
  for (let i = 0; i < 10; i++) await setImmediate();
  first.abort.abort();
  await speaker.speak(second, reply);
  hangs.resolve();
  await cut;
  assert.deepEqual(heard, [`${FRONT}: Transferring.`, `${MONEY}: Here I am.`]);
  assert.deepEqual(told, [`${MONEY} in 0`], 'cut off: nothing of the notice is still to be heard');
});
