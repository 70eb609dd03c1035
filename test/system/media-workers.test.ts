/** Several media workers: calls are spread, and whatever kills one of them takes its own calls down and no other's. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
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

const PER_WORKER = 2;
const DEATHS: readonly Death[] = ['throw', 'exit', 'memory', 'loop'];
/** One for each death, and one that lives on. */
const WORKERS = DEATHS.length + 1;

/** An engine, and its threads by Node's own word: they are made while it is created. */
function startEngine(t: TestContext) {
  const workers: Worker[] = [];
  const onWorker = (message: unknown): void => {
    workers.push((message as { worker: Worker }).worker);
  };
  subscribe('worker_threads', onWorker);
  const engine = createMediaEngine({
    rtpPorts: { first: 24_000, last: 24_079 },
    log: silentLog,
    workers: WORKERS,
    workerEntry: ENTRY,
  });
  unsubscribe('worker_threads', onWorker);
  t.after(() => engine.close());
  return { engine, workers };
}

type Engine = ReturnType<typeof createMediaEngine>;
type Call = { session: MediaSession; phone: RtpPhone; events: MediaEvent[]; seal: Seal };
type Seal = { readonly recordingId: ReturnType<typeof newId>; readonly key: Buffer };

async function call(engine: Engine, folder: string, index: number): Promise<Call> {
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

async function callAll(t: TestContext, engine: Engine, count: number): Promise<Call[]> {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-workers-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const calls: Call[] = [];
  for (let i = 0; i < count; i++) calls.push(await call(engine, folder, i));
  t.after(() => calls.forEach(({ phone }) => phone.close()));
  return calls;
}

test(`workers die by ${DEATHS.join(', ')}: their calls end with their recordings, no other does`, async (t) => {
  const { engine, workers } = startEngine(t);
  await engine.ready();
  const calls = await callAll(t, engine, WORKERS * PER_WORKER);
  // Sealed chunks of two seconds: only whole ones outlive the worker.
  const speech = tone(440, 2400);
  await Promise.all(calls.map(({ phone, session }) => phone.play(speech, session.localPort)));
  await until(() => calls.every(({ phone }) => phone.heard.length > 100), 'all calls are heard');
  const isDead = ({ events }: Call): boolean => events.some(({ type }) => type === 'media.failed');
  const diedMs = performance.now();
  for (const [i, death] of DEATHS.entries()) workers[i]?.postMessage({ die: death });
  await until(() => engine.workers.deaths === DEATHS.length, 'the deaths are noticed');
  const noticedMs = performance.now() - diedMs;
  assert.ok(noticedMs < 6000, `noticed after ${noticedMs} ms`);
  assert.deepEqual(
    engine.workers,
    { up: WORKERS, total: WORKERS, deaths: DEATHS.length },
    'others are in their places at once',
  );

  const [dead, alive] = [calls.filter(isDead), calls.filter((each) => !isDead(each))];
  assert.deepEqual(
    [dead.length, alive.length],
    [DEATHS.length * PER_WORKER, PER_WORKER],
    'calls were spread over all',
  );
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
  for (const each of dead) await hasKept(each);
  const next = await callAll(t, engine, WORKERS);
  await until(() => next.every(({ phone }) => phone.heard.length > 5), 'new calls are heard');
  for (const { session } of [...alive, ...next]) {
    const { recording } = await session.close();
    assert.equal(recording?.truncated, false);
  }
  const { sessions, sockets, timers } = await engine.census();
  assert.deepEqual([sessions, sockets, timers], [0, 0, 0]);
});

/** What had been written before its worker died can be read. */
async function hasKept({ session, seal }: Call): Promise<void> {
  const { recording } = await session.close();
  assert.ok(recording?.truncated, 'what was written is kept');
  assert.ok(recording.durationMs >= 2000, `${recording.durationMs}`);
  const sealed = await readFile(recording.path);
  const dataBytes = new SealedAudio(seal).openEnd(sealed.subarray(-40), sealed.length);
  assert.equal(recording.bytes, 44 + dataBytes, 'and can be read');
}
