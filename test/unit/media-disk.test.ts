/** Recordings on disks that are slow, full, broken or back again: scripts of faults on a simulated clock. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import {
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  SealedAudio,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import { RecordingRoom } from '#media/recording/recording-room.ts';
import { Recorder } from '#media/recording/recorder.ts';
import type { RecordingResult } from '#media/types.ts';
import { ScriptedDisk, type WriteFate } from './_disk.ts';

const SEAL: RecordingSeal = {
  recordingId: '0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9',
  key: Buffer.alloc(32, 5),
};
const FRAME = 160;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type FateOf = (write: number, nowMs: number) => WriteFate;

function setUp(fateOf: FateOf, clock = new SimulatedClock(), room = new RecordingRoom()) {
  const disk = new ScriptedDisk(clock, fateOf);
  const failures: string[] = [];
  const file = new RecordingFile({
    ...{ path: '/made/up.cyr', seal: SEAL, clock, room },
    open: () => Promise.resolve(disk),
    onFailed: (message) => failures.push(message),
  });
  return { clock, disk, failures, file, room, recorder: new Recorder(file) };
}

type Call = ReturnType<typeof setUp>;

/** Frame n of the caller is full of n, of the agent of -n. */
function say(call: Call, n: number): void {
  call.recorder.writeCaller(new Int16Array(FRAME).fill(n));
  call.recorder.writeAgent(new Int16Array(FRAME).fill(-n));
}

async function talk(call: Call, seconds: number, from = 1): Promise<number> {
  for (let n = from; n < from + seconds * 50; n++) {
    say(call, n);
    call.clock.advance(20);
    if (n % 5 === 0) await turn();
  }
  return from + seconds * 50;
}

async function end(call: Call): Promise<RecordingResult | null> {
  let result: RecordingResult | null | undefined;
  const finished = call.recorder.finish().then((value) => (result = value));
  for (let ms = 0; result === undefined && ms < 20_000; ms += 100) {
    for (let i = 0; i < 8; i++) await turn();
    if (result === undefined) call.clock.advance(100);
  }
  return finished;
}

/** The caller's side as a reader gets it; checks the hash, the agent's side, and every sample against its place. */
function check(call: Call, result: RecordingResult, name: string): number[] {
  const { bytes: file } = call.disk;
  assert.equal(result.sha256, createHash('sha256').update(file).digest('hex'), name);
  const audio = new SealedAudio(SEAL);
  const dataBytes = audio.openEnd(file.subarray(-SEALED_END_BYTES), file.length);
  assert.equal(result.bytes, 44 + dataBytes, name);
  assert.equal(result.durationMs, Math.round(dataBytes / 32), name);
  const silent: number[] = [];
  for (let at = 0, index = 0; at < dataBytes; at += SEALED_CHUNK_BYTES, index++) {
    const length = Math.min(SEALED_CHUNK_BYTES, dataBytes - at) + SEALED_TAG_BYTES;
    const offset = sealedChunkOffset(index);
    const plain = audio.openChunk(index, file.subarray(offset, offset + length));
    for (let i = 0; i < plain.length; i += 4) {
      const frame = Math.floor((at + i) / 4 / FRAME) + 1;
      const [left, right] = [plain.readInt16LE(i), plain.readInt16LE(i + 2)];
      if (left === 0) silent.push(frame);
      else assert.ok(left === frame && right === -frame, `${name}: frame ${frame} is ${left}`);
    }
  }
  return silent;
}

type Row = {
  readonly name: string;
  readonly fateOf: FateOf;
  readonly seconds: number;
  /** Least and most seconds of silence in the file, and of call that the file lacks at its end. */
  readonly silentS?: readonly [number, number];
  readonly lostS?: readonly [number, number];
  readonly failures: readonly RegExp[];
};

const NONE = [0, 0] as const;
const ROWS: readonly Row[] = [
  { name: 'a good disk', fateOf: () => ({}), seconds: 60, failures: [] },
  ...[200, 1000, 3000, 5000].map((ms) => ({
    ...{ name: `each write takes ${ms} ms`, fateOf: () => ({ ms }), seconds: 60, failures: [] },
  })),
  {
    name: 'one write takes ten seconds',
    fateOf: (write) => ({ ms: write === 5 ? 10_000 : 0 }),
    ...{ seconds: 60, failures: [] },
  },
  {
    name: 'one write takes thirty seconds: what does not fit meanwhile is silence',
    fateOf: (write) => ({ ms: write === 5 ? 30_000 : 0 }),
    ...{ seconds: 60, silentS: [17, 20], failures: [/too slow/] },
  },
  {
    name: 'full for eight seconds, then there is room: nothing is lost',
    fateOf: (_, nowMs) => (nowMs > 20_000 && nowMs < 28_000 ? { fault: 'ENOSPC', takes: 999 } : {}),
    ...{ seconds: 60, failures: [/ENOSPC/] },
  },
  {
    name: 'full for a minute, then there is room: the file goes on after a silence',
    fateOf: (_, nowMs) => (nowMs > 20_000 && nowMs < 80_000 ? { fault: 'ENOSPC' } : {}),
    ...{ seconds: 120, silentS: [46, 54], failures: [/ENOSPC/] },
  },
  {
    name: 'full to the end of the call',
    fateOf: (_, nowMs) => (nowMs > 20_000 ? { fault: 'ENOSPC', takes: 30_000 } : {}),
    ...{ seconds: 60, lostS: [0, 60], failures: [/ENOSPC/] },
  },
  {
    name: 'every third write fails',
    fateOf: (write) => (write % 3 === 1 ? { fault: 'EIO', takes: 100 * write } : {}),
    ...{ seconds: 60, failures: [/EIO/] },
  },
  {
    name: 'slow and failing by turns',
    fateOf: (write) => ({ ms: 700, ...(write % 2 === 1 ? { fault: 'EIO' as const } : {}) }),
    ...{ seconds: 60, failures: [/EIO/] },
  },
  {
    name: 'fails at the very first write',
    fateOf: (write) => (write < 3 ? { fault: 'EIO' } : {}),
    ...{ seconds: 30, failures: [/EIO/] },
  },
];

test('whatever the disk does: told once, every sample in its place, the hash right', async () => {
  for (const row of ROWS) {
    const call = setUp(row.fateOf);
    await talk(call, row.seconds);
    const result = await end(call);
    const shown = `${row.name}: ${JSON.stringify(result)} ${call.failures.join()}`;
    assert.equal(call.failures.length, row.failures.length, shown);
    for (const [at, expected] of row.failures.entries())
      assert.match(call.failures[at] ?? '', expected);
    if (row.lostS !== undefined) {
      // The end has no room either: it takes the place of a chunk, or the disk is given up.
      if (result === null) assert.ok(call.disk.isRemoved, shown);
      else assert.ok(result.truncated, shown);
      continue;
    }
    assert.ok(result !== null, shown);
    assert.equal(result.durationMs, row.seconds * 1000, shown);
    const silentS = check(call, result, row.name).length / 8000;
    const [least, most] = row.silentS ?? NONE;
    assert.ok(silentS >= least && silentS <= most, `${shown}: ${silentS} s of silence`);
    assert.equal(result.truncated, most > 0, shown);
    assert.ok(Math.abs(call.file.droppedBytes / 32_000 - silentS) < 0.01, shown);
    assert.deepEqual(call.room.load.waitingBytes, 0, shown);
    assert.equal(call.room.load.recordings, 0, shown);
  }
});

test('seeded scripts of faults: whatever is in the file is right', async () => {
  for (let seed = 1; seed <= 25; seed++) {
    let state = seed;
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    const call = setUp(() => {
      const ms = random() < 0.3 ? Math.round(random() * 4000) : 0;
      return random() < 0.3 ? { ms, fault: 'EIO', takes: Math.floor(random() * 70_000) } : { ms };
    });
    await talk(call, 40);
    const result = await end(call);
    if (result === null || result.sha256 === null) continue;
    const silent = check(call, result, `seed ${seed}`);
    if (!result.truncated) {
      assert.deepEqual([silent.length, result.durationMs], [0, 40_000], `seed ${seed}`);
    }
  }
});

test('a disk that hangs for good: the call ends, and the file is closed when the disk is back', async () => {
  const call = setUp((write) => ({ ms: write === 4 ? 100_000 : 0 }));
  await talk(call, 30);
  const before = call.clock.now();
  const result = await end(call);
  assert.ok(call.clock.now() - before <= 12_100);
  assert.ok(result?.truncated && result.sha256 === null);
  assert.equal(result.durationMs % 2048, 0);
  for (let ms = 0; ms < 100_000; ms += 1000) {
    call.clock.advance(1000);
    for (let i = 0; i < 8; i++) await turn();
  }
  assert.ok(call.disk.isClosed && !call.disk.isRemoved);
  const audio = new SealedAudio(SEAL);
  const dataBytes = audio.openEnd(
    call.disk.bytes.subarray(-SEALED_END_BYTES),
    call.disk.bytes.length,
  );
  assert.ok(44 + dataBytes >= result.bytes, 'at least what was told');
});

test('many recordings on a stuck disk share what memory there is, and each keeps its share', async () => {
  const room = new RecordingRoom({ maxBytes: 2 << 20 });
  const clock = new SimulatedClock();
  const calls = Array.from({ length: 40 }, () =>
    setUp((write) => ({ ms: write === 1 ? 20_000 : 0 }), clock, room),
  );
  const most: number[] = [];
  for (let n = 1; n <= 20 * 50; n++) {
    for (const call of calls) say(call, n);
    clock.advance(20);
    if (n % 10 === 0) await turn();
    most.push(room.load.waitingBytes);
  }
  assert.ok(Math.max(...most) <= 2 << 20, `${Math.max(...most)} bytes held`);
  assert.ok(Math.max(...most) >= 1 << 20, 'and it was used');
  const dropped = calls.map((call) => call.file.droppedBytes);
  assert.ok(Math.max(...dropped) - Math.min(...dropped) <= 32_768, dropped.join());
  for (const call of calls) {
    const result = await end(call);
    assert.ok(result !== null && result.truncated);
    check(call, result, 'shared');
  }
  assert.deepEqual([room.load.recordings, room.load.waitingBytes], [0, 0]);
  assert.equal(
    room.load.droppedBytes,
    calls.reduce((sum, call) => sum + call.file.droppedBytes, 0),
  );
});
