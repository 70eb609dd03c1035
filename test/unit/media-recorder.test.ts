/** Recording: placing, padding, slow and full disks, and repair of a file left by a crash. */
import assert from 'node:assert/strict';
import {
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { wavHeader } from '#lib/wav.ts';
import { CallRecording } from '#media/recording/call-recording.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import { Recorder } from '#media/recording/recorder.ts';
import { repairWav } from '#media/recording/wav.ts';
import { MemoryDisk } from './_disk.ts';

const FRAME = 160;
const frame = (value: number): Int16Array => new Int16Array(FRAME).fill(value);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setUp(disk = new MemoryDisk(), open = () => Promise.resolve(disk)) {
  const failures: string[] = [];
  const file = new RecordingFile({
    path: '/made/up.wav',
    clock: new SimulatedClock(),
    open,
    onFailed: (message) => failures.push(message),
  });
  return { disk, failures, recorder: new Recorder(file) };
}

test('two sides, each in its channel at its own time', async () => {
  const { disk, recorder } = setUp();
  recorder.padAgent(40);
  for (let i = 1; i <= 100; i++) {
    recorder.writeCaller(frame(i));
    recorder.writeAgent(frame(-i));
  }
  const result = await recorder.finish();
  assert.deepEqual(result, {
    path: '/made/up.wav',
    durationMs: 2005,
    bytes: 44 + (100 * FRAME + 40) * 4,
    truncated: false,
    sha256: null,
  });
  assert.deepEqual(disk.bytes.slice(0, 44), wavHeader((100 * FRAME + 40) * 4));
  const [caller, agent] = [disk.channel(0), disk.channel(1)];
  assert.equal(caller[0], 1);
  assert.equal(caller[50 * FRAME], 51);
  assert.equal(caller[100 * FRAME], 0, 'the shorter side ends in silence');
  assert.equal(agent[39], 0);
  assert.equal(agent[40], -1);
  assert.equal(agent[40 + 50 * FRAME], -51);
  assert.ok(disk.isClosed);
});

test('a side that lags is waited for, up to a limit', async () => {
  const { disk, recorder } = setUp();
  for (let i = 1; i <= 30; i++) recorder.writeAgent(frame(i));
  for (let i = 1; i <= 30; i++) recorder.writeCaller(frame(i));
  for (let i = 31; i <= 200; i++) recorder.writeAgent(frame(i));
  for (let i = 31; i <= 200; i++) recorder.writeCaller(frame(i));
  await recorder.finish();
  const [caller, agent] = [disk.channel(0), disk.channel(1)];
  assert.equal(caller[29 * FRAME], 30);
  assert.equal(agent[199 * FRAME], 200);
  assert.equal(caller[199 * FRAME], 200, 'what is still in reach keeps its place');
  assert.equal(caller[40 * FRAME], 0, 'what was out of reach is silent');
});

test('a full disk truncates the recording, tells once, and leaves a valid file', async () => {
  const disk = new MemoryDisk(40_000);
  const { failures, recorder } = setUp(disk);
  for (let i = 0; i < 500; i++) {
    recorder.writeCaller(frame(1));
    recorder.writeAgent(frame(2));
    if (i % 20 === 0) await turn();
  }
  const result = await recorder.finish();
  assert.ok(result?.truncated);
  assert.equal(failures.length, 1);
  assert.match(failures[0] ?? '', /ENOSPC/);
  assert.equal(result.bytes, disk.end);
  assert.deepEqual(disk.bytes.slice(0, 44), wavHeader(disk.end - 44));
});

test('a stuck disk loses chunks, not the place of what follows, and memory stays bounded', async () => {
  const disk = new MemoryDisk();
  const opened = Promise.withResolvers<void>();
  disk.gate = opened.promise;
  const { failures, recorder } = setUp(disk);
  for (let i = 1; i <= 1000; i++) {
    recorder.writeCaller(frame(i));
    recorder.writeAgent(frame(i));
  }
  opened.resolve();
  for (let i = 0; i < 50; i++) await turn();
  for (let i = 1001; i <= 1100; i++) {
    recorder.writeCaller(frame(i));
    recorder.writeAgent(frame(i));
    await turn();
  }
  const result = await recorder.finish();
  assert.ok(result?.truncated);
  assert.equal(failures.length, 1);
  const caller = disk.channel(0);
  assert.equal(result.durationMs, 22_000);
  assert.equal(caller[100 * FRAME], 101);
  assert.equal(caller[300 * FRAME], 301, 'twelve seconds are kept in memory');
  assert.equal(caller[800 * FRAME], 0);
  assert.equal(caller[1099 * FRAME], 1100);
});

test('a file that cannot be opened: no result, one event, and the call goes on', async () => {
  const { failures, recorder } = setUp(undefined, () => Promise.reject(new Error('EACCES')));
  for (let i = 0; i < 200; i++) {
    recorder.writeCaller(frame(1));
    recorder.writeAgent(frame(1));
    await turn();
  }
  assert.equal(await recorder.finish(), null);
  assert.deepEqual(failures, ['EACCES']);
});

test('not even the header fits: no recording, the file is closed and removed', async () => {
  const disk = new MemoryDisk();
  disk.write = () => Promise.reject(new Error('ENOSPC'));
  const { failures, recorder } = setUp(disk);
  recorder.writeCaller(frame(1));
  assert.equal(await recorder.finish(), null);
  assert.deepEqual(failures, ['ENOSPC']);
  assert.deepEqual([disk.isClosed, disk.isRemoved], [true, true]);
});

test('the header fits and no audio does: no recording either', async () => {
  const { disk, recorder } = setUp(new MemoryDisk(50));
  recorder.writeCaller(frame(1));
  assert.equal(await recorder.finish(), null);
  assert.deepEqual([disk.isClosed, disk.isRemoved], [true, true]);
});

test('the last header cannot be written: the file is closed, and kept as truncated', async () => {
  const disk = new MemoryDisk();
  const { failures, recorder } = setUp(disk);
  recorder.writeCaller(frame(1));
  await turn();
  disk.write = (_bytes, position) =>
    position === 0 ? Promise.reject(new Error('EIO')) : Promise.resolve();
  assert.equal((await recorder.finish())?.truncated, true);
  assert.deepEqual(failures, ['EIO']);
  assert.deepEqual([disk.isClosed, disk.isRemoved], [true, false]);
});

test('on a full device no empty file stays', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-rec-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'call.wav');
  await symlink('/dev/full', path);
  const failures: string[] = [];
  const file = new RecordingFile({
    path,
    clock: new SimulatedClock(),
    onFailed: (message) => failures.push(message),
  });
  assert.equal(await new Recorder(file).finish(), null);
  assert.match(failures.join(), /^ENOSPC/);
  assert.deepEqual(await readdir(folder), []);
});

test('on a real disk: folders are made, the header is right, the file is private', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-rec-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a', 'b', 'call.wav');
  const recorder = new Recorder(
    new RecordingFile({
      path,
      clock: new SimulatedClock(),
      onFailed: (message) => assert.fail(message),
    }),
  );
  for (let i = 0; i < 100; i++) {
    recorder.writeCaller(frame(i));
    recorder.writeAgent(frame(i));
  }
  const result = await recorder.finish();
  const bytes = await readFile(path);
  assert.equal(bytes.length, result?.bytes);
  assert.deepEqual(new Uint8Array(bytes.subarray(0, 44)), wavHeader(bytes.length - 44));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('repair makes the header fit what is there', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-rec-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'crashed.wav');
  const rows: [name: string, fileBytes: number, durationMs: number, bytes: number][] = [
    ['header of an open file, two seconds', 44 + 64_000, 2000, 64_044],
    ['torn in the middle of a sample', 44 + 64_003, 2000, 64_044],
    ['header only', 44, 0, 44],
    ['torn header', 20, 0, 44],
    ['empty', 0, 0, 44],
  ];
  for (const [name, fileBytes, durationMs, bytes] of rows) {
    await writeFile(path, wavHeader(0));
    await truncate(path, fileBytes);
    for (const _again of [1, 2]) {
      assert.deepEqual(await repairWav(path), { durationMs, bytes }, name);
    }
    const repaired = await readFile(path);
    assert.deepEqual(new Uint8Array(repaired.subarray(0, 44)), wavHeader(bytes - 44), name);
  }
  await writeFile(path, 'this is not a recording at all, and long enough for a header');
  await assert.rejects(repairWav(path), { code: 'E_MEDIA' });
  await assert.rejects(repairWav(join(folder, 'missing.wav')), { code: 'E_MEDIA' });
});

/** Samples `from` to `to` of a side that counts up by one. */
const counting = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => (from + i) % 30_000);

test('a pause is cut out of both sides at the same call time, to the sample', async () => {
  // The caller is `behind` samples behind, as the jitter buffer makes him; cuts are call times of the agent.
  const cuts: [number, number][][] = [
    [[5, 20]],
    [[0, 3]],
    [
      [2, 4],
      [6, 7],
      [7, 9],
      [40, 100],
    ],
    [[10, 10]],
    [[90, 500]],
  ];
  for (const behind of [0, 40, 480, 1600]) {
    for (const pauses of cuts) {
      const { disk, recorder } = setUp();
      const wave = Int16Array.from(counting(0, 100 * FRAME));
      let callerAt = 0;
      for (let i = 0; i < 100; i++) {
        if (pauses.some(([from, to]) => from < i && to === i)) recorder.resume();
        if (pauses.some(([from]) => from === i)) recorder.pause();
        if (pauses.some(([from, to]) => from === i && to === i)) recorder.resume();
        recorder.writeAgent(wave.subarray(i * FRAME, (i + 1) * FRAME));
        const until = Math.max(0, (i + 1) * FRAME - behind);
        if (until > callerAt) recorder.writeCaller(wave.subarray(callerAt, until));
        callerAt = until;
      }
      recorder.writeCaller(wave.subarray(callerAt));
      const result = await recorder.finish();
      const kept = counting(0, 100 * FRAME).filter(
        (_, at) => !pauses.some(([from, to]) => at >= from * FRAME && at < to * FRAME),
      );
      const name = `${behind} behind, ${JSON.stringify(pauses)}`;
      assert.deepEqual([...disk.channel(0)], kept, `caller, ${name}`);
      assert.deepEqual([...disk.channel(1)], kept, `agent, ${name}`);
      assert.equal(result?.durationMs, kept.length / 8, name);
    }
  }
});

test('begun in mid-call: the caller joins in where the agent was', async () => {
  const disk = new MemoryDisk();
  const onFailed = (message: string): never => assert.fail(message);
  const open = () => Promise.resolve(disk);
  const file = new RecordingFile({ path: '/r.wav', clock: new SimulatedClock(), open, onFailed });
  const recorder = new Recorder(file, { caller: 1000, agent: 1480 });
  recorder.writeCaller(Int16Array.from(counting(1000, 1700)));
  recorder.writeAgent(Int16Array.from(counting(1480, 1800)));
  recorder.writeCaller(Int16Array.from(counting(1700, 1800)));
  await recorder.finish();
  assert.deepEqual([...disk.channel(0)], counting(1480, 1800));
  assert.deepEqual([...disk.channel(1)], counting(1480, 1800));
});

test('a caller whose frames come in parts: where a recording begins and ends is counted in samples', async () => {
  const disk = new MemoryDisk();
  const onFailed = (message: string): never => assert.fail(message);
  const open = () => Promise.resolve(disk);
  const options = { path: '/r.wav', clock: new SimulatedClock(), open, onFailed };
  const recording = new CallRecording();
  const wave = Int16Array.from(counting(0, 4000));
  const speak = (from: number, to: number): void => {
    for (let at = from; at < to; at += FRAME) {
      recording.agent(wave.subarray(at, at + FRAME));
      for (const [a, b] of [
        [0, 50],
        [50, 60],
        [60, FRAME],
      ] as const)
        recording.caller(wave.subarray(at + a, at + b));
    }
  };
  speak(0, 1600);
  recording.start((at) => {
    assert.deepEqual(at, { caller: 1600, agent: 1600 });
    return new Recorder(new RecordingFile(options), at);
  });
  speak(1600, 3200);
  const stopped = recording.stop();
  speak(3200, 4000);
  assert.equal((await stopped)?.durationMs, 200);
  assert.deepEqual([...disk.channel(0)], counting(1600, 3200));
  assert.deepEqual([...disk.channel(1)], counting(1600, 3200));
});
