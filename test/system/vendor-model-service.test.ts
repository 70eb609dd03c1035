/** The open protocol for models of one's own: client against simulator, and against the example server. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#lib/clock.ts';
import { MODEL_SERVICE } from '#providers/model-service/module.ts';
import { numberAt, textAt } from '#providers/realtime-json.ts';
import type { RealtimeSim } from '#providers/sim/openai-realtime-kit.ts';
import { startModelServiceSim } from '#providers/sim/model-service.ts';
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

const EXAMPLE = fileURLToPath(new URL('../../examples/model-service.mjs', import.meta.url));
const QUICK = { connect_ms: 400, start_ms: 300, reply_ms: 600, stall_ms: 400 };

type World = RealtimeWorld & { readonly sim: RealtimeSim };

async function start(
  more: Readonly<Record<string, unknown>> = {},
  rates?: { inputHz: number; outputHz: number },
): Promise<World> {
  const faults = new FaultPlan();
  const sim = await startModelServiceSim({
    ...{ key: 'key-1', clock: systemClock, words: WORDS, answer, faults },
    ...(rates === undefined ? {} : { rates }),
  });
  const options = { ...QUICK, url: sim.server.wsUrl, ...more };
  return {
    provider: makerOf()(vendorSettings(options), vendorTools),
    ...{ sim, faults, violations: sim.violations, server: sim.server },
    cuts: () =>
      sim.seen
        .filter(({ event }) => textAt(event, 'type') === 'interrupt')
        .map(({ event }) => numberAt(event, 'heard_ms') ?? -1),
    close: () => sim.close(),
  };
}

function makerOf() {
  const { realtime } = MODEL_SERVICE;
  assert.ok(realtime !== undefined);
  return realtime;
}

/** The server of examples/, as a process of its own. */
async function startExample(
  t: TestContext,
  port: number,
): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [EXAMPLE], {
    env: { PATH: process.env['PATH'], PORT: String(port), MODEL_KEY: 'key-1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  atEnd(t, () => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, port: Number(/listening on (\d+)/.exec(line.toString())?.[1]) };
}

testRealtime({ name: 'model service', start, truncates: true });
testRealtime({
  ...{ name: 'model service that wants 8 kHz', truncates: true },
  start: () => start({}, { inputHz: 8_000, outputHz: 8_000 }),
});
testRealtimeFaults({ name: 'model service', start, account: 'realtime account "test"' });

test('the example of the guide: hears, answers, is interrupted, uses a function, goes away', async (t) => {
  const first = await startExample(t, 0);
  const settings = { ...QUICK, url: `ws://127.0.0.1:${first.port}`, reply_ms: 4_000 };
  const provider = makerOf()(vendorSettings(settings), vendorTools);
  const wrong = makerOf()(vendorSettings(settings, { api_key: 'another' }), vendorTools);
  await assert.rejects(openCall(t, wrong), (error: Error) =>
    /realtime account "test"/.test(error.message),
  );

  const listener = await openCall(t, provider, { tools: [TOOL] });
  listener.do((session) => session.say('Good morning'));
  await listener.turnDone(1);
  assert.equal(listener.textOf(1).trim(), 'Good morning');
  // Two words of 200 ms.
  assert.ok(Math.abs(listener.soundOf(1).length - 3_200) < 80);
  listener.speak(7);
  await listener.turnDone(2);
  const [heard] = listener.all('user_transcript');
  const spokenMs = Number(/^(\d+) ms of speech$/.exec(heard?.text ?? '')?.[1]);
  assert.ok(Math.abs(spokenMs - 640) <= 60, heard?.text);
  assert.equal(listener.textOf(2).trim(), `You spoke for ${spokenMs} milliseconds`);

  listener.do((session) => session.say('one two three four five six seven eight nine ten'));
  await listener.until('sound', () =>
    listener.all('audio').some(({ generation }) => generation === 3),
  );
  listener.do((session) => session.interrupt(3, 100));
  listener.do((session) => session.text('lookup please'));
  await listener.turnDone(4);
  const [asked] = listener.all('tool_call');
  assert.equal(asked?.call.name, 'lookup');

  listener.do((session) => session.toolResult(asked?.call.id ?? '', '{"seats":4}'));
  await listener.turnDone(5);
  assert.equal(listener.textOf(5).trim(), 'The answer is {"seats":4}');
  assert.deepEqual(listener.all('error'), []);

  first.child.kill('SIGTERM');
  await once(first.child, 'exit');
  await listener.until('the end', () => listener.all('error').some(({ isFatal }) => isFatal));
});
