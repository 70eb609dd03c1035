/** Qwen-Omni-Realtime against its simulator. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { realtime } from '#providers/dashscope/omni-realtime.ts';
import { textAt } from '#providers/realtime-json.ts';
import type { RealtimeSim } from '#providers/sim/openai-realtime-kit.ts';
import { startQwenOmniSim } from '#providers/sim/qwen-omni.ts';
import { FaultPlan } from '#providers/sim/vendor-server.ts';
import {
  answer,
  openCall,
  testRealtime,
  TOOL,
  vendorSettings,
  vendorTools,
  WORDS,
  type RealtimeWorld,
} from './_realtime-contract.ts';
import { testRealtimeFaults } from './_realtime-faults.ts';
import { atEnd } from './_store.ts';

const QUICK = { connect_ms: 400, start_ms: 300, reply_ms: 600, stall_ms: 400 };

type World = RealtimeWorld & { readonly sim: RealtimeSim };

async function start(more: Readonly<Record<string, unknown>> = {}): Promise<World> {
  const faults = new FaultPlan();
  const sim = await startQwenOmniSim({
    ...{ key: 'key-1', clock: systemClock, words: WORDS, answer, faults },
  });
  const options = { ...QUICK, realtime_url: `${sim.server.wsUrl}/api-ws/v1/realtime`, ...more };
  return {
    provider: realtime(vendorSettings(options), vendorTools),
    ...{ sim, faults, violations: sim.violations, server: sim.server },
    cuts: () => [],
    close: () => sim.close(),
  };
}

testRealtime({ name: 'qwen omni', start, truncates: false });
testRealtimeFaults({ name: 'qwen omni', start, account: 'realtime account "test"' });

test('a model without functions is not offered any; the session is finished politely', async (t) => {
  const world = await start({ realtime_model: 'qwen-omni-turbo-realtime' });
  atEnd(t, () => world.close());
  assert.equal(world.provider.hasTools, false);
  const listener = await openCall(t, world.provider, { tools: [TOOL] });
  listener.do((session) => session.say('hello'));
  await listener.turnDone(1);
  listener.do((session) => session.close());
  await listener.until('an end', () => world.server.open === 0);
  assert.equal(textAt(world.sim.seen.at(-1)?.event, 'type'), 'session.finish');
  assert.deepEqual(world.violations, []);
});

test('a session that takes over is told with words, also of a function that has not answered yet', async (t) => {
  const world = await start();
  atEnd(t, () => world.close());
  const listener = await openCall(t, world.provider, {
    tools: [TOOL],
    history: [
      { role: 'user', content: 'my name is Li' },
      { role: 'assistant', content: 'hello Li' },
    ],
  });
  const [setUp] = world.sim.seen;
  assert.match(
    textAt(setUp?.event, 'session', 'instructions'),
    /Be brief\.[^]*my name is Li[^]*hello Li/,
  );
  listener.speak(8);
  await listener.turnDone(1);
  const [asked] = listener.all('tool_call');
  // The vendor recycles the session while the function runs.
  world.faults.add({ kind: 'recycle' });
  listener.do((session) => session.say('one moment please, I am looking it up for you right now'));
  await listener.turnDone(2);
  listener.do((session) => session.toolResult(asked?.call.id ?? '', '{"name":"forty one"}'));
  await listener.turnDone(3);
  listener.do((session) => session.close());
  assert.deepEqual(world.violations, []);
});
