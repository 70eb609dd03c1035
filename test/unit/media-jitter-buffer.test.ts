/** The jitter buffer: order, lengths, lateness, jumps and adaptation, on call time in samples. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EMPTY_SAMPLE, JitterBuffer } from '#media/jitter-buffer.ts';

const FRAME = 160;

/** Feeds packets in arrival order, reading in between as the pacer would; returns all that was read. */
function play(
  buffer: JitterBuffer,
  packets: readonly { value: number; timestamp: number; arrival: number; length?: number }[],
  untilMs: number,
): number[] {
  const read: number[] = [];
  const into = new Int16Array(FRAME);
  const queue = [...packets].sort((a, b) => a.arrival - b.arrival);
  let newest = -1;
  for (let now = 0; now <= untilMs * 8; now += FRAME) {
    for (let next = queue[0]; next && next.arrival <= now; next = queue[0]) {
      queue.shift();
      const length = next.length ?? FRAME;
      const pcm = new Int16Array(length).fill(next.value);
      const isNew = next.timestamp > newest;
      newest = Math.max(newest, next.timestamp);
      buffer.put(next.timestamp >>> 0, pcm, length, next.arrival, isNew);
    }
    while (buffer.readPosition <= now - buffer.depth) {
      buffer.take(into);
      read.push(...into);
    }
  }
  return read;
}

/** Values in order, runs of the same counted once. */
function runs(samples: readonly number[]): number[] {
  return samples.filter((value, i) => value !== samples[i - 1] && value !== EMPTY_SAMPLE);
}

const inTime = (count: number, jitter: (i: number) => number = () => 0) =>
  Array.from({ length: count }, (_, i) => ({
    value: i + 1,
    timestamp: 1000 + i * FRAME,
    arrival: i * FRAME + jitter(i),
  }));

test('jitter and reordering inside the depth leave no hole', () => {
  const buffer = new JitterBuffer({ depthMs: 40 });
  const read = play(
    buffer,
    inTime(20, (i) => (i % 3 === 1 ? 300 : 0)),
    440,
  );
  assert.deepEqual(
    runs(read),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(read.slice(0, 20 * FRAME).filter((x) => x === EMPTY_SAMPLE).length, 0);
  assert.equal(buffer.late, 0);
});

test('packets of any length fill the same time', () => {
  for (const length of [80, 160, 240, 320, 480]) {
    const buffer = new JitterBuffer();
    const packets = Array.from({ length: 10 }, (_, i) => ({
      value: i + 1,
      timestamp: i * length,
      arrival: i * length,
      length,
    }));
    const read = play(buffer, packets, 700);
    for (let i = 0; i < 10; i++) assert.equal(read[i * length + length - 1], i + 1, `${length}`);
  }
});

test('a lost packet is a hole of its own length', () => {
  const packets = inTime(10).filter((_, i) => i !== 4);
  const read = play(new JitterBuffer(), packets, 300);
  const holes = read.slice(0, 10 * FRAME).flatMap((x, i) => (x === EMPTY_SAMPLE ? [i] : []));
  assert.equal(holes.length, FRAME);
  assert.equal(holes[0], 4 * FRAME);
});

test('a late packet is counted and its time stays empty', () => {
  const buffer = new JitterBuffer({ depthMs: 40 });
  const read = play(
    buffer,
    inTime(10, (i) => (i === 4 ? 900 : 0)),
    300,
  );
  assert.equal(buffer.late, 1);
  assert.ok(!runs(read).includes(5));
});

test('time stamps wrap without a hole', () => {
  const start = 2 ** 32 - 5 * FRAME;
  const buffer = new JitterBuffer();
  const into = new Int16Array(FRAME);
  for (let i = 0; i < 10; i++) {
    const pcm = new Int16Array(FRAME).fill(i + 1);
    const at = buffer.put((start + i * FRAME) % 2 ** 32, pcm, FRAME, i * FRAME, true);
    assert.equal(at, i * FRAME);
    assert.equal(buffer.take(into), FRAME);
  }
  assert.equal(buffer.jumps, 0);
});

test('a jump of time stamps places the stream by its arrival', () => {
  for (const jump of [1_000_000, -500_000]) {
    const buffer = new JitterBuffer();
    const pcm = new Int16Array(FRAME).fill(7);
    for (let i = 0; i < 5; i++) buffer.put(600_000 + i * FRAME, pcm, FRAME, i * FRAME, true);
    const at = buffer.put((600_000 + jump) >>> 0, pcm, FRAME, 5 * FRAME, true);
    assert.equal(at, 5 * FRAME, `${jump}`);
    assert.equal(buffer.jumps, 1);
  }
});

test('silence suppression (a gap in time, none in sequence) keeps its place', () => {
  const buffer = new JitterBuffer();
  const pcm = new Int16Array(FRAME).fill(7);
  buffer.put(0, pcm, FRAME, 0, true);
  assert.equal(buffer.put(8000, pcm, FRAME, 8000 + 40, true), 8000);
  assert.equal(buffer.jumps, 0);
});

test('a path that gets longer for good makes the delay grow once, and audio comes back', () => {
  const buffer = new JitterBuffer({ depthMs: 40 });
  const read = play(
    buffer,
    inTime(100, (i) => (i < 20 ? 0 : 120 * 8)),
    2080,
  );
  const last = read.slice(-20 * FRAME);
  assert.ok(buffer.adapted >= 1 && buffer.adapted <= 4, `adapted ${buffer.adapted}`);
  const holes = last.filter((x) => x === EMPTY_SAMPLE).length;
  assert.equal(holes, 0);
});

test('a sender with a fast clock does not pile up delay', () => {
  const buffer = new JitterBuffer({ depthMs: 40 });
  // 0.2 % fast: 200 ms in 100 s.
  const packets = Array.from({ length: 5000 }, (_, i) => ({
    value: (i % 1000) + 1,
    timestamp: i * FRAME,
    arrival: Math.round(i * FRAME * 0.998),
  }));
  play(buffer, packets, 100_000);
  const pcm = new Int16Array(FRAME);
  const arrival = Math.round(5000 * FRAME * 0.998);
  const ahead = buffer.put(5000 * FRAME, pcm, FRAME, arrival, true) - arrival;
  assert.ok(ahead < 60 * 8, `${ahead / 8} ms ahead`);
});

test('anything at all is survived', () => {
  let seed = 4711;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return seed % below;
  };
  const buffer = new JitterBuffer();
  const pcm = new Int16Array(1600).fill(1);
  const into = new Int16Array(FRAME);
  for (let i = 0; i < 20_000; i++) {
    buffer.put(random(2 ** 31) * 2, pcm, random(1600), i * FRAME, random(2) === 0);
    const present = buffer.take(into);
    assert.ok(present >= 0 && present <= FRAME, `seed 4711 step ${i}`);
  }
});
