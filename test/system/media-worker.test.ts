/** A media worker thread that dies: told at once, started again after a second, and counted calls are not lost. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { SealedAudio } from '#lib/sealed-audio.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaStats } from '#media/types.ts';
import { until } from './_store.ts';

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
  assert.equal(engine.isUp, false, 'one that dies young is not replaced in a tight loop');
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
  clock.advance(1_500);
  assert.equal(workers.length, 2, 'not started twice');
  const [, second] = workers;
  assert.ok(second !== undefined);
  await Promise.all([once(second, 'exit'), second.terminate()]);
  assert.equal(workers.length, 3, 'one that has lived is replaced at once');
  await engine.close();
  clock.advance(5_000);
  assert.equal(workers.length, 3);
});

test('a worker that dies in a call leaves its recording readable up to the last whole chunk', async (t) => {
  const workers = watchWorkers(t);
  const rtpPorts = { first: 23_660, last: 23_679 };
  const engine = createMediaEngine({ rtpPorts, log: silentLog });
  t.after(() => engine.close());
  const folder = await mkdtemp(join(tmpdir(), 'callyard-worker-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const seal = { recordingId: newId(), key: randomBytes(32) };
  const open = (name: string) =>
    engine.open({ ...OPTIONS, recordingPath: join(folder, name), recordingSeal: seal });
  const [session, unstarted] = [await open('a.cyr'), await open('b.cyr')];
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: null },
    ...{ remoteAddress: '127.0.0.1', remotePort: 23_680, send: true, receive: true },
  });
  const whole = 64 + 65_536 + 16;
  await until(async () => {
    const isThere = (await readdir(folder)).includes('a.cyr');
    return isThere && (await stat(join(folder, 'a.cyr'))).size >= whole;
  }, 'a whole chunk is on disk');
  const [worker] = workers;
  assert.ok(worker !== undefined);
  await Promise.all([once(worker, 'exit'), worker.terminate()]);
  const { recording } = await session.close();
  assert.ok(recording !== null && recording.truncated);
  assert.equal(recording.durationMs % 2048, 0);
  const sealed = await readFile(recording.path);
  const dataBytes = new SealedAudio(seal).openEnd(sealed.subarray(-40), sealed.length);
  assert.equal(recording.bytes, 44 + dataBytes);
  assert.equal(recording.sha256, createHash('sha256').update(sealed).digest('hex'));
  assert.equal((await unstarted.close()).recording, null, 'one that never began');
});
