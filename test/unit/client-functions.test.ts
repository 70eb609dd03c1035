/** Functions that the client of a call answers: asked once, answered once, and kept whatever the caller does meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentFunction } from '#lib/agent-config.ts';
import { SimulatedClock } from '#lib/clock.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { historyOf } from '#sessions/history.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { Speaker } from '#sessions/speaker.ts';
import { CallTools } from '#sessions/tools/call-tools.ts';
import { Utterance } from '#sessions/utterance.ts';
import { AGENT, FakeMedia, fakeTts, NO_TOOLS } from './_fakes.ts';
import { silentLog, toolStory } from './_tool-kit.ts';

const OFFERED: AgentFunction[] = [
  { name: 'order', description: 'Orders', parameters: { type: 'object' }, timeoutMs: 5000 },
];
const CALL = { id: 'call_1', name: 'order', arguments: { item: 'tea' } };

const CLERK = { ...AGENT, functions: OFFERED };

function rig(isConnected = true) {
  const clock = new SimulatedClock(0);
  const frames: Extract<CallFrame, { type: 'function_call' }>[] = [];
  const world = toolStory(clock);
  if (isConnected)
    world.feed.subscribe((frame) => {
      if (frame.type === 'function_call') frames.push(frame);
    });
  const { messages, story, feed } = world;
  const functions = CallTools.ofCallAlone({ story, clock, log: silentLog });
  const never = new AbortController();
  const ask = async (call = CALL) => (await functions.ask(call, CLERK, never.signal)).content;
  return { clock, frames, messages, functions, ask, never, feed };
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the client is asked once, and its answer goes to the model and into the transcript', async () => {
  const { frames, messages, functions, ask } = rig();
  const asked = ask();
  await soon();
  const [frame] = frames;
  assert.deepEqual(
    [frame?.name, frame?.arguments, frame?.timeoutMs],
    ['order', { item: 'tea' }, 5000],
  );
  const id = frame?.id ?? '';
  assert.equal(functions.answer('another', 1), false);
  assert.equal(functions.answer(id, { ok: true }), true);
  assert.equal(functions.answer(id, { ok: false }), false, 'once');
  assert.equal(await asked, '{"ok":true}');
  assert.deepEqual(
    messages.map(({ role, content, name, tool_calls: calls }) => [role, content, name, calls]),
    [
      ['assistant', '', undefined, [{ id, name: 'order', arguments: { item: 'tea' } }]],
      ['function', '{"ok":true}', 'order', undefined],
    ],
  );
});

test('what goes wrong is told to the model in words', async () => {
  const silent = rig();
  const asked = silent.ask();
  await soon();
  silent.clock.advance(4999);
  assert.equal(silent.messages.length, 1);
  silent.clock.advance(1);
  assert.equal(await asked, '{"error":"no answer within 5000 ms"}');
  assert.equal(silent.functions.answer(silent.frames[0]?.id ?? '', 1), false, 'too late');
  const alone = rig(false);
  assert.equal(await alone.ask(), '{"error":"no client is connected that could answer"}');
  const unknown = rig();
  const invented = await unknown.ask({ ...CALL, name: 'pay' });
  assert.equal(invented, '{"error":"there is no such function"}');
  assert.deepEqual(unknown.frames, []);
  const long = rig();
  const answered = long.ask();
  await soon();
  long.functions.answer(long.frames[0]?.id ?? '', 'x'.repeat(9000));
  assert.match(await answered, /longer than 8000/);
  const over = rig();
  const last = over.ask();
  await soon();
  const closed = over.functions.close();
  assert.equal(await last, '{"error":"the call is over"}');
  await closed;
});

test('an answer that comes after the caller has interrupted is still known to the model', async () => {
  const { frames, messages, functions, ask, never } = rig();
  const asked = ask();
  await soon();
  never.abort();
  await assert.rejects(asked, { code: 'E_ABORTED' });
  assert.equal(functions.answer(frames[0]?.id ?? '', { order: 7 }), true);
  await soon();
  const history = historyOf({ ...AGENT, systemPrompt: '' }, messages);
  assert.deepEqual(history, [
    { role: 'system', content: '[Function order answered: {"order":7}]' },
  ]);
});

test('nobody is asked for a reply that was given up before, nor once the call is over', async () => {
  const late = rig();
  late.never.abort();
  await assert.rejects(late.ask(), { code: 'E_ABORTED' });
  const over = rig();
  await over.functions.close();
  await assert.rejects(over.ask(), { code: 'E_ABORTED' });
  for (const { frames, messages, clock } of [late, over]) {
    assert.deepEqual([frames, messages], [[], []]);
    assert.equal(clock.pending, 0);
  }
});

test('a model that asks for ever is asked no more', async () => {
  const clock = new SimulatedClock(0);
  const media = new FakeMedia(clock, []);
  let rounds = 0;
  const speaker = new Speaker({
    agent: { ...AGENT, functions: OFFERED },
    providers: {
      llm: {
        vendor: 'mind',
        async *reply() {
          if (++rounds > 20) throw new Error('still asked');
          yield { type: 'tool_call', call: CALL };
          return undefined;
        },
      },
      tts: fakeTts,
    },
    ...{ callId: 'c', announceOnly: false, media, clock, history: () => [] },
    onUsage: () => undefined,
    ...{ tools: NO_TOOLS, floor: null },
  });
  const utterance = new Utterance(1, 1, new TurnTimes(() => clock.now()));
  const input = { kind: 'speech', text: 'tea', audio: null } as const;
  const spoken = await speaker.speak(utterance, { kind: 'reply', input });
  assert.deepEqual(spoken, { endCall: false, empty: true });
  assert.equal(rounds, 6);
});

test('nobody on the call who answers functions: the agent is told at once, as long as it is so', async () => {
  const { functions, feed, ask } = rig(false);
  const told: CallFrame[] = [];
  let canAnswer = false;
  const stop = feed.subscribe(
    (frame) => told.push(frame),
    () => canAnswer,
  );
  const alone = '{"error":"no client is connected that could answer"}';
  assert.equal(await ask(), alone);
  assert.equal(told.length, 0);
  canAnswer = true;
  const asked = ask({ ...CALL, id: 'call_2' });
  await soon();
  const [frame] = told;
  assert.ok(frame?.type === 'function_call' && functions.answer(frame.id, 1));
  assert.equal(await asked, '1');
  stop();
  assert.equal(await ask({ ...CALL, id: 'call_3' }), alone);
});
