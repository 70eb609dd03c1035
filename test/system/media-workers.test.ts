/** Several media workers: calls are spread, and whatever kills one of them takes its own calls down and no other's. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { SealedAudio } from '#lib/sealed-audio.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import type { Death } from './_mortal-media-worker.ts';
import { RtpPhone, tone } from './_rtp-phone.ts';
import { until } from './_store.ts';

const ENTRY = new URL('_mortal-media-worker.ts', import.meta.url);

/** An engine, and its threads by Node's own word: they are made while it is created. */
function twoWorkers(t: TestContext, first: number) {
  const workers: Worker[] = [];
  const onWorker = (message: unknown): void => {
    workers.push((message as { worker: Worker }).worker);
  };
  subscribe('worker_threads', onWorker);
  const engine = createMediaEngine({
    rtpPorts: { first, last: first + 39 },
    log: silentLog,
    workers: 2,
    workerEntry: ENTRY,
  });
  unsubscribe('worker_threads', onWorker);
  t.after(() => engine.close());
  return { engine, workers };
}

type Call = { session: MediaSession; phone: RtpPhone; events: MediaEvent[]; seal: Seal };
type Seal = { readonly recordingId: ReturnType<typeof newId>; readonly key: Buffer };

async function call(
  engine: ReturnType<typeof createMediaEngine>,
  folder: string,
  index: number,
): Promise<Call> {
  const phone = await RtpPhone.open();
  const seal = { recordingId: newId(), key: randomBytes(32) };
  const session = await engine.open({
    callId: `c${index}`,
    localAddress: '127.0.0.1',
    recordingPath: join(folder, `${index}.cyr`),
    recordingSeal: seal,
    firstRtpTimeoutMs: 30_000,
    rtpTimeoutMs: 15_000,
  });
  const events: MediaEvent[] = [];
  session.onEvent((event) => events.push(event));
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: null },
    ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  });
  return { session, phone, events, seal };
}

const DEATHS: readonly Death[] = ['throw', 'exit', 'memory', 'loop'];

describe('a worker dies', { concurrency: 2 }, () => {
  for (const [index, death] of DEATHS.entries()) {
    test(`by ${death}: it ends its calls, keeps their recordings, and is replaced`, async (t) => {
      const { engine, workers } = twoWorkers(t, 24_000 + index * 40);
      await engine.ready();
      const folder = await mkdtemp(join(tmpdir(), 'callyard-workers-'));
      t.after(() => rm(folder, { recursive: true, force: true }));
      const calls: Call[] = [];
      for (let i = 0; i < 4; i++) calls.push(await call(engine, folder, i));
      t.after(() => calls.forEach(({ phone }) => phone.close()));
      // Sealed chunks of two seconds: only whole ones outlive the worker.
      const speech = tone(440, 2400);
      await Promise.all(calls.map(({ phone, session }) => phone.play(speech, session.localPort)));
      await until(
        () => calls.every(({ phone }) => phone.heard.length > 100),
        'all calls are heard',
      );
      const [victim] = workers;
      assert.ok(victim !== undefined);
      const diedMs = performance.now();
      victim.postMessage({ die: death });
      await until(() => engine.workers.deaths === 1, 'the death is noticed');
      const noticedMs = performance.now() - diedMs;
      assert.ok(noticedMs < (death === 'loop' ? 6000 : 4000), `noticed after ${noticedMs} ms`);
      assert.equal(engine.isUp, true, 'the other worker takes calls meanwhile');
      assert.equal(engine.workers.up, 2, 'another one is in its place at once');

      const isDead = ({ events }: Call): boolean =>
        events.some(({ type }) => type === 'media.failed');
      const [dead, alive] = [calls.filter(isDead), calls.filter((each) => !isDead(each))];
      assert.deepEqual([dead.length, alive.length], [2, 2], 'calls were spread over both');
      const before = alive.map(({ phone }) => phone.heard.length);
      await until(
        () => alive.every(({ phone }, i) => phone.heard.length >= (before[i] ?? 0) + 10),
        'the others go on',
      );
      for (const { phone } of alive) {
        for (const [i, { sequence }] of phone.heard.entries()) {
          assert.equal(sequence, ((phone.heard[0]?.sequence ?? 0) + i) & 0xffff, 'without a gap');
        }
      }
      for (const { session, seal } of dead) {
        const { recording } = await session.close();
        assert.ok(recording?.truncated, 'what was written is kept');
        assert.ok(recording.durationMs >= 2000, `${recording.durationMs}`);
        const sealed = await readFile(recording.path);
        const dataBytes = new SealedAudio(seal).openEnd(sealed.subarray(-40), sealed.length);
        assert.equal(recording.bytes, 44 + dataBytes, 'and can be read');
      }
      const next = [await call(engine, folder, 8), await call(engine, folder, 9)];
      await until(() => next.every(({ phone }) => phone.heard.length > 5), 'new calls are heard');
      next.forEach(({ phone }) => phone.close());
      for (const { session } of [...alive, ...next]) {
        const { recording } = await session.close();
        assert.equal(recording?.truncated, false);
      }
      const { sessions, sockets, timers } = await engine.census();
      assert.deepEqual([sessions, sockets, timers], [0, 0, 0]);
    });
  }
});
