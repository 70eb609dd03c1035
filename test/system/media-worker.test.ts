/** A media worker thread that dies: told at once, started again after a second, and counted calls are not lost. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaStats } from '#media/types.ts';

/** Worker threads as they are made, by Node's own word. */
function watchWorkers(t: TestContext): Worker[] {
  const workers: Worker[] = [];
  const onWorker = (message: unknown): void => {
    workers.push((message as { worker: Worker }).worker);
  };
  subscribe('worker_threads', onWorker);
  t.after(() => unsubscribe('worker_threads', onWorker));
  return workers;
}

const OPTIONS = {
  callId: 'c1',
  localAddress: '127.0.0.1',
  recordingPath: null,
  firstRtpTimeoutMs: 30_000,
  rtpTimeoutMs: 15_000,
};

test('the engine is down while its worker is dead, and up again a second later', async (t) => {
  const workers = watchWorkers(t);
  const clock = new SimulatedClock();
  const closed: MediaStats[] = [];
  const engine = createMediaEngine({
    rtpPorts: { first: 23_600, last: 23_619 },
    clock,
    log: silentLog,
    onClosed: (stats) => closed.push(stats),
  });
  t.after(() => engine.close());
  assert.equal(engine.isUp, true);
  const [first] = workers;
  assert.ok(first !== undefined);
  const session = await engine.open(OPTIONS);
  await session.close();
  assert.deepEqual(
    closed.map(({ lost, packetsReceived }) => [lost, packetsReceived]),
    [[0, 0]],
  );
  await Promise.all([once(first, 'exit'), first.terminate()]);
  assert.equal(engine.isUp, false);
  clock.advance(999);
  assert.equal(engine.isUp, false);
  clock.advance(1);
  assert.equal(engine.isUp, true);
  assert.equal(workers.length, 2);
  const next = await engine.open(OPTIONS);
  await next.close();
  await engine.close();
  assert.equal(engine.isUp, false);
  assert.equal(clock.pending, 0, 'no timer stays behind');
});

test('a call that comes first starts the worker again, and a closed engine stays closed', async (t) => {
  const workers = watchWorkers(t);
  const clock = new SimulatedClock();
  const engine = createMediaEngine({
    rtpPorts: { first: 23_620, last: 23_639 },
    clock,
    log: silentLog,
  });
  t.after(() => engine.close());
  const [first] = workers;
  assert.ok(first !== undefined);
  await Promise.all([once(first, 'exit'), first.terminate()]);
  const session = await engine.open(OPTIONS);
  assert.equal(engine.isUp, true);
  await session.close();
  clock.advance(5_000);
  assert.equal(workers.length, 2, 'not started twice');
  const [, second] = workers;
  assert.ok(second !== undefined);
  await Promise.all([once(second, 'exit'), second.terminate()]);
  await engine.close();
  clock.advance(5_000);
  assert.equal(workers.length, 2);
});
