/** The live conversation around the turn machine, on a simulated clock: turns, drafts, the transcript, the watchdog. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LlmProvider, ReplyPart } from '#providers/contract.ts';
import { runCall } from '#sessions/call.ts';
import type { EndOfTurnModel, PauseFacts } from '#sessions/end-of-turn.ts';
import { FloorWatch } from '#sessions/floor-watch.ts';
import { SemanticTurn } from '#sessions/semantic-turn.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { AGENT, createRig, settle, type Rig } from './_fakes.ts';

const HANGOVER_MS = 200;
/** A pace that decides by the silence alone, whatever is said. */
const STEADY = { ...AGENT.turn, endpointMinMs: 700, endpointMaxMs: 700 };

const wire = (ms: number): number => performance.timeOrigin + ms;
const begins = (rig: Rig, startMs: number): void =>
  rig.media.emit({ type: 'speech.started', atMs: startMs + 60, startMs, wireMs: wire(startMs) });
const ends = (rig: Rig, startMs: number, endMs: number): void =>
  rig.media.emit({
    ...{ type: 'speech.stopped', atMs: endMs + HANGOVER_MS, startMs, endMs, wireMs: wire(endMs) },
  });
const partial = (rig: Rig, text: string): void => rig.hear({ type: 'partial', text });
const final = (rig: Rig, text: string): void =>
  rig.hear({
    ...{ type: 'final', text, confidence: 0.9, startMs: null, endMs: null, language: 'en' },
  });

/** Lets the clock come to `ms`, in steps. */
async function until(rig: Rig, ms: number): Promise<void> {
  while (rig.clock.now() < ms) {
    rig.clock.advance(Math.min(20, ms - rig.clock.now()));
    await settle();
  }
}

function messages(rig: Rig): string[] {
  return rig.setup.story.messages.map(({ role, content, start_ms: from, end_ms: to }) =>
    role === 'user' ? `${role}: ${content} ${from}-${to}` : `${role}: ${content}`,
  );
}

/** A model that notes when it is asked what, and takes `ms` for its first word. */
function timedModel(rig: () => Rig, ms: number) {
  const asked: { atMs: number; said: string; signal: AbortSignal }[] = [];
  const llm: LlmProvider = {
    vendor: 'timed',
    async *reply({ messages: told }, signal): AsyncGenerator<ReplyPart, undefined> {
      const said = told.at(-1)?.content ?? '';
      asked.push({ atMs: rig().clock.now(), said, signal });
      await new Promise<void>((resolve) => rig().clock.setTimer(resolve, ms));
      yield { type: 'text', text: `You said ${said}.` };
    },
  };
  return { llm, asked };
}

async function greeted(rig: Rig): Promise<ReturnType<typeof runCall>> {
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await until(rig, 1000);
  return call;
}

test('a reply is begun in the silence before the end of the turn, and not begun twice', async () => {
  const model = timedModel(() => rig, 300);
  const rig: Rig = createRig({ llm: model.llm, agent: { turn: STEADY } });
  const call = await greeted(rig);
  begins(rig, 1500);
  partial(rig, 'hello');
  await until(rig, 2200);
  ends(rig, 1500, 2000);
  await until(rig, 2320);
  assert.deepEqual(
    model.asked.map(({ atMs, said }) => `${said} ${atMs}`),
    ['hello 2300'],
    'the partial had been stable for 100 ms',
  );
  final(rig, 'Hello.');
  await until(rig, 4000);
  assert.equal(model.asked.length, 1);
  assert.deepEqual(messages(rig), [
    'assistant: Hello there my friend',
    'user: Hello. 1500-2000',
    'assistant: You said hello.',
  ]);
  rig.dialog.end('remote');
  await call.done;
  const latency = rig.entries.find(({ event }) => event.type === 'call.ended')?.record?.latency;
  // The end of the turn at 2700, and nothing more: the model had its answer ready.
  assert.equal(latency?.mouth_to_ear_ms.p50, 700);
  assert.equal(latency?.parts_ms.llm.p50, 0);
  assert.ok(Math.abs((latency?.parts_ms.endpointing.p50 ?? 0) - 580) <= 1);
  assert.ok(Math.abs((latency?.parts_ms.stt.p50 ?? 0) - 120) <= 1);
  assert.equal(rig.clock.pending, 0);
});

test('who goes on is heard out: one turn, one message, one reply, and the draft is gone', async () => {
  const model = timedModel(() => rig, 300);
  const rig: Rig = createRig({ llm: model.llm, agent: { turn: STEADY } });
  const call = await greeted(rig);
  begins(rig, 1500);
  await until(rig, 2200);
  ends(rig, 1500, 2000);
  final(rig, 'I would like');
  await until(rig, 2400);
  begins(rig, 2400);
  await until(rig, 2600);
  partial(rig, 'two tickets');
  await until(rig, 3200);
  ends(rig, 2400, 3000);
  final(rig, 'two tickets');
  await until(rig, 6000);
  assert.deepEqual(messages(rig), [
    'assistant: Hello there my friend',
    'user: I would like two tickets 1500-3000',
    'assistant: You said I would like two tickets.',
  ]);
  const last = model.asked.at(-1);
  assert.equal(last?.said, 'I would like two tickets');
  assert.ok((last?.atMs ?? 0) < 3700, 'begun ahead as well');
  assert.ok(model.asked.slice(0, -1).every(({ signal }) => signal.aborted));
  assert.equal(
    rig.types().filter((type) => type === 'user-speech').length,
    2,
    'told as it is read',
  );
  rig.dialog.end('remote');
  await call.done;
  assert.equal(rig.clock.pending, 0);
});

test('who goes on once the floor is taken, before the answer is heard, is answered for all he said', async () => {
  for (const rest of ['and on sundays if you please', '']) {
    const model = timedModel(() => rig, 3000);
    const rig: Rig = createRig({ llm: model.llm, agent: { turn: STEADY } });
    const call = await greeted(rig);
    begins(rig, 1500);
    await until(rig, 2200);
    ends(rig, 1500, 2000);
    final(rig, 'When do you open');
    await until(rig, 2850);
    begins(rig, 2850);
    await until(rig, 5200);
    ends(rig, 2850, 5000);
    final(rig, rest);
    await until(rig, 12_000);
    // The model has both in its history; its answer is the only one.
    const last = rest === '' ? 'When do you open' : rest;
    assert.deepEqual(messages(rig), [
      'assistant: Hello there my friend',
      'user: When do you open 1500-2000',
      `user: ${rest} 2850-5000`,
      `assistant: You said ${last}.`,
    ]);
    rig.dialog.end('remote');
    await call.done;
  }
});

test('a call that ends in mid-turn has what was read until then', async () => {
  const rig = createRig({ agent: { turn: STEADY } });
  const call = await greeted(rig);
  begins(rig, 1500);
  await until(rig, 2200);
  ends(rig, 1500, 2000);
  final(rig, 'I would like');
  rig.dialog.end('remote');
  await call.done;
  assert.deepEqual(messages(rig).slice(1), ['user: I would like 1500-2000']);
});

test('what is said over the agent is a message of its own, and no part of the next turn', async () => {
  const rig = createRig({ agent: { turn: STEADY, greeting: 'a b c d e f g h i j k l m n o p q' } });
  const call = await greeted(rig);
  begins(rig, 1500);
  await until(rig, 2000);
  ends(rig, 1500, 1800);
  final(rig, 'uh-huh');
  await until(rig, 2100);
  assert.deepEqual(messages(rig), ['user: uh-huh 1500-1800']);
  rig.dialog.end('remote');
  await call.done;
});

test('the watchdog looks at what was sent, and tells once', () => {
  let nowMs = 0;
  let played: number | null = null;
  const stuck: string[] = [];
  const watch = new FloorWatch({
    now: () => nowMs,
    playedSamples: () => played,
    onStuck: (number) => stuck.push(`${number} at ${nowMs}`),
  });
  const utterance = { number: 3, sound: 5, isQueued: false, audioMs: 0 };
  const pass = (ms: number, over: Partial<typeof utterance> = {}): void => {
    for (const end = nowMs + ms; nowMs < end;) {
      nowMs += 500;
      watch.poll({ ...utterance, ...over });
    }
  };
  pass(74_000);
  assert.deepEqual(stuck, [], 'a tool may take its time');
  pass(2000);
  assert.deepEqual(stuck.splice(0), ['3 at 75500']);
  pass(100_000);
  assert.deepEqual(stuck, [], 'once');
  watch.poll(null);
  const playing = { number: 4, sound: 6, isQueued: true, audioMs: 60_000 };
  for (played = 0; played < 60_000 * 8; played += 4000) pass(500, playing);
  assert.deepEqual(stuck, [], 'it is being sent');
  pass(36_000, playing);
  assert.equal(stuck.length, 1);
});

test('a model is asked once for each text, and what comes late or wrong is nothing', async () => {
  const clock = new SimulatedClock();
  const told: string[] = [];
  const signals: AbortSignal[] = [];
  const answers: ((value: number | null | Error) => void)[] = [];
  const model: EndOfTurnModel = {
    likelihood: (_, signal) => {
      signals.push(signal);
      const { promise, resolve, reject } = Promise.withResolvers<number | null>();
      answers.push((value) => (value instanceof Error ? reject(value) : resolve(value)));
      return promise;
    },
  };
  const semantic = new SemanticTurn({
    ...{ model, clock, log: silentLog },
    onLikelihood: (text, likelihood) => told.push(`${text} ${likelihood}`),
  });
  const ask = (text: string): void =>
    semantic.ask({ language: 'en', text, lastAgentText: null } as PauseFacts);
  ask('one');
  ask('one');
  answers[0]?.(0.7);
  await settle();
  ask('two');
  clock.advance(101);
  answers[1]?.(0.9);
  await settle();
  ask('three');
  ask('four');
  answers[2]?.(0.1);
  answers[3]?.(7);
  await settle();
  ask('five');
  answers[4]?.(new Error('no'));
  await settle();
  ask('six');
  answers[5]?.(null);
  await settle();
  assert.deepEqual(told, ['one 0.7', 'four 1']);
  assert.equal(answers.length, 6);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, true, true, true, true, false],
  );
  semantic.drop();
  assert.equal(clock.pending, 0);
});
