/** The jitter buffer: order, lengths, lateness, jumps, patience and a moving path, on call time in samples. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EMPTY_SAMPLE, JitterBuffer } from '#media/jitter/jitter-buffer.ts';

const FRAME = 160;
const MS = 8;

type Packet = {
  readonly value: number;
  readonly timestamp: number;
  readonly arrival: number;
  readonly length?: number;
};

/** Feeds packets in arrival order, reading in between as the pacer would; sample n of the result is call time n. */
function play(buffer: JitterBuffer, packets: readonly Packet[], untilMs: number): number[] {
  const read: number[] = [];
  const into = new Int16Array(FRAME);
  const queue = [...packets].sort((a, b) => a.arrival - b.arrival);
  let newest = -1;
  let expected = -1;
  for (let now = 0; now <= untilMs * MS; now += FRAME) {
    for (let next = queue[0]; next && next.arrival <= now; next = queue[0]) {
      queue.shift();
      const length = next.length ?? FRAME;
      const pcm = new Int16Array(length).fill(next.value);
      const isNew = next.timestamp > newest;
      const follows = packets.indexOf(next) === expected;
      if (isNew) [newest, expected] = [next.timestamp, packets.indexOf(next) + 1];
      buffer.put(next.timestamp >>> 0, pcm, length, next.arrival, isNew, follows);
    }
    for (let count = buffer.due(now); count > 0; count = buffer.due(now)) {
      const part = into.subarray(0, count);
      assert.ok(buffer.readPosition <= now, 'nothing is read before its time');
      buffer.take(part, now);
      read.push(...part);
    }
  }
  assert.equal(read.length, buffer.readPosition);
  return read;
}

/** Values in order, runs of the same counted once. */
function runs(samples: readonly number[]): number[] {
  return samples.filter((value, i) => value !== samples[i - 1] && value !== EMPTY_SAMPLE);
}

const inTime = (count: number, jitter: (i: number) => number = () => 0): Packet[] =>
  Array.from({ length: count }, (_, i) => ({
    value: 1000 + i,
    timestamp: 1000 + i * FRAME,
    arrival: i * FRAME + jitter(i),
  }));

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => 1000 + i);

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) / 0x80_0000;
  };
}

test('what comes in time is read at once, whole and at its call time', () => {
  const buffer = new JitterBuffer();
  const read = play(buffer, inTime(100), 2000);
  assert.deepEqual(runs(read), upTo(100));
  assert.equal(read.indexOf(1050), 50 * FRAME);
  assert.ok(buffer.meanHeld <= 20 * MS, `${buffer.meanHeld / MS} ms`);
  assert.ok(buffer.target <= 45 * MS, `${buffer.target / MS} ms`);
});

test('jitter and reordering leave no hole', () => {
  const buffer = new JitterBuffer();
  const read = play(
    buffer,
    inTime(200, (i) => (i % 3 === 1 ? 300 : 0)),
    4200,
  );
  assert.deepEqual(runs(read), upTo(200));
  assert.equal(read.slice(0, 200 * FRAME).filter((x) => x === EMPTY_SAMPLE).length, 0);
  assert.equal(buffer.late, 0);
});

test('packets of any length fill the same time', () => {
  for (const length of [80, 160, 240, 320, 480]) {
    const packets = Array.from({ length: 10 }, (_, i) => ({
      ...{ value: i + 1, timestamp: i * length, arrival: i * length, length },
    }));
    const read = play(new JitterBuffer(), packets, 700);
    for (let i = 0; i < 10; i++) assert.equal(read[i * length + length - 1], i + 1, `${length}`);
  }
});

test('a lost packet is a hole of its own length, and what follows it is known by then', () => {
  const packets = inTime(10).filter((_, i) => i !== 4);
  const buffer = new JitterBuffer();
  const read = play(buffer, packets, 300);
  const holes = read.slice(0, 10 * FRAME).flatMap((x, i) => (x === EMPTY_SAMPLE ? [i] : []));
  assert.equal(holes.length, FRAME);
  assert.equal(holes[0], 4 * FRAME);
  const again = new JitterBuffer();
  for (const each of inTime(7).filter((_, i) => i !== 4))
    again.put(each.timestamp, new Int16Array(FRAME).fill(7), FRAME, each.arrival, true);
  const into = new Int16Array(FRAME);
  for (let i = 0; i < 4; i++) again.take(into);
  const behind = new Int16Array(500);
  assert.equal(again.peekBehind(behind, 961), 2 * FRAME);
  assert.equal(again.gap, FRAME);
});

test('a packet later than it is waited for is counted and its time stays empty', () => {
  const buffer = new JitterBuffer();
  const read = play(
    buffer,
    inTime(150, (i) => (i === 100 ? 900 : 0)),
    3000,
  );
  assert.equal(buffer.late, 1);
  assert.ok(!runs(read).includes(1100));
});

test('the line stands still in the middle of speech: it is waited for, up to half a second', () => {
  for (const [stallMs, isKept] of [
    [300, true],
    [460, true],
    [900, false],
  ] as const) {
    const buffer = new JitterBuffer();
    const from = 100;
    const packets = inTime(300, (i) =>
      i < from ? 0 : Math.max(0, from * FRAME + stallMs * MS - i * FRAME),
    );
    const read = play(buffer, packets, 6100);
    assert.equal(runs(read).length === 300, isKept, `${stallMs} ms: ${runs(read).length}`);
    assert.equal(read.indexOf(1290), 290 * FRAME, 'call time is kept');
  }
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

test('silence suppression (a gap in time, none in sequence) keeps its place and is not waited for', () => {
  const buffer = new JitterBuffer();
  const pcm = new Int16Array(FRAME).fill(700);
  const into = new Int16Array(FRAME);
  buffer.put(0, pcm, FRAME, 0, true, true);
  assert.equal(buffer.put(8000, pcm, FRAME, 8000 + 40, true, true), 8000);
  assert.equal(buffer.jumps, 0);
  let pauses = 0;
  while (buffer.due(8040) > 0) {
    if (buffer.isPause) pauses++;
    buffer.take(into.subarray(0, buffer.due(8040)), 8040);
  }
  assert.equal(buffer.readPosition, 8160, 'the first packet after the pause is read at once');
  assert.ok(pauses >= 48, `${pauses} frames of pause`);
});

test('a path that gets longer or shorter for good is followed within seconds, and nothing is lost', () => {
  for (const byMs of [80, -80, 250]) {
    const buffer = new JitterBuffer();
    const packets = inTime(1500, (i) => (i < 500 ? 300 * MS : (300 + byMs) * MS));
    const read = play(buffer, packets, 31_000);
    const missed = 1500 - new Set(runs(read)).size;
    assert.ok(missed <= 3, `${byMs} ms: ${missed} packets missed`);
    const where = read.indexOf(2400) - (1400 * FRAME + (300 + byMs) * MS);
    assert.ok(Math.abs(where) <= 20 * MS, `${byMs} ms: ${where / MS} ms off wire time`);
  }
});

test('clocks 200 ppm off are followed: no drift against wire time, no loss, for ten minutes', () => {
  for (const ppm of [200, -200]) {
    const buffer = new JitterBuffer();
    const packets = inTime(30_000).map((each, i) => ({
      ...each,
      value: (i % 1000) + 1000,
      arrival: Math.round((i * FRAME) / (1 + ppm / 1e6)),
    }));
    const into = new Int16Array(FRAME);
    let next = 0;
    let worst = 0;
    let empty = 0;
    for (let now = 0; now < 29_900 * FRAME; now += FRAME) {
      for (; (packets[next]?.arrival ?? Infinity) <= now; next++) {
        const { timestamp, value, arrival } = packets[next] as Packet;
        // Speech for a second, then a pause of half of one.
        const pcm = voice(next, value, next % 75 < 50);
        const at = buffer.put(timestamp, pcm, FRAME, arrival, true, true);
        worst = Math.max(worst, Math.abs(at - arrival));
      }
      for (let count = buffer.due(now); count > 0; count = buffer.due(now))
        empty += count - buffer.take(into.subarray(0, count), now);
    }
    assert.ok(worst <= 20 * MS, `${ppm} ppm: ${worst / MS} ms`);
    assert.ok(empty <= FRAME, `${ppm} ppm: ${empty} samples missing`);
    assert.equal(buffer.late, 0);
    const moved = ppm > 0 ? buffer.removed : buffer.inserted;
    assert.ok(Math.abs(moved / MS - 120) <= 20, `${moved / MS} ms of 120`);
  }
});

function voice(packet: number, pitch: number, isSpeech: boolean): Int16Array {
  const pcm = new Int16Array(FRAME);
  for (let i = 0; i < FRAME; i++) {
    const at = packet * FRAME + i;
    const hz = 120 + (pitch % 7);
    pcm[i] = isSpeech ? Math.round(6000 * Math.sin((2 * Math.PI * hz * at) / 8000)) : at % 5;
  }
  return pcm;
}

test('patience grows within a second when jitter does, and comes down within seconds of calm', () => {
  const random = randomOf(7);
  const buffer = new JitterBuffer();
  const rough = (i: number): boolean => i >= 500 && i < 1000;
  const packets = inTime(2000, (i) => (rough(i) ? Math.round(100 * MS * random()) : 0));
  const into = new Int16Array(FRAME);
  const targets: number[] = [];
  packets.sort((a, b) => a.arrival - b.arrival);
  let next = 0;
  let newest = 0;
  for (let now = 0; now < 2000 * FRAME; now += FRAME) {
    for (; (packets[next]?.arrival ?? Infinity) <= now; next++) {
      const { timestamp, value, arrival } = packets[next] as Packet;
      const pcm = new Int16Array(FRAME).fill(value);
      buffer.put(timestamp, pcm, FRAME, arrival, timestamp > newest);
      newest = Math.max(newest, timestamp);
    }
    for (let count = buffer.due(now); count > 0; count = buffer.due(now))
      buffer.take(into.subarray(0, count), now);
    targets.push(buffer.target / MS);
  }
  assert.ok((targets[499] ?? 0) <= 45, `quiet: ${targets[499]}`);
  assert.ok((targets[550] ?? 0) >= 80, `a second into it: ${targets[550]}`);
  assert.ok((targets[1000 + 400] ?? 0) <= 50, `8 s after it: ${targets[1400]}`);
  assert.ok((targets[1999] ?? 0) <= 45, `20 s after it: ${targets[1999]}`);
});

test('a new stream on a rough line is placed as late as packets there usually are', () => {
  const random = randomOf(3);
  const buffer = new JitterBuffer();
  play(
    buffer,
    inTime(300, () => Math.round(80 * MS * random())),
    6000,
  );
  buffer.restart();
  const at = buffer.put(5_000_000, new Int16Array(FRAME).fill(9), FRAME, 48_000, true);
  assert.ok(at < 48_000 - 20 * MS && at > 48_000 - 80 * MS, `${(48_000 - at) / MS} ms earlier`);
});

test('seeded lines: nothing is heard twice or out of order, whatever is lost, late, doubled or overtaken', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = randomOf(seed * 77);
    const spread = random() * 150 * MS;
    const loss = random() * 0.2;
    const packets = inTime(300, () => Math.round(random() ** 3 * spread))
      .map((each, i) => ({ ...each, value: i + 1 }))
      .filter(() => random() >= loss);
    const buffer = new JitterBuffer();
    // Constant packets: what is stretched or blended stays between its neighbours.
    const read = runs(play(buffer, packets, 6300));
    for (let i = 1; i < read.length; i++)
      assert.ok(
        (read[i] ?? 0) >= (read[i - 1] ?? 0) - 1,
        `seed ${seed}: ${read[i - 1]}, ${read[i]}`,
      );
    const heard = new Set(read);
    const missing = packets.filter(({ value }) => !heard.has(value)).length;
    assert.ok(missing <= buffer.late + 20, `seed ${seed}: ${missing} missing`);
  }
});

test('anything at all is survived', () => {
  const random = randomOf(4711);
  const below = (n: number): number => Math.floor(random() * n);
  const buffer = new JitterBuffer();
  const pcm = new Int16Array(1600).fill(1);
  const into = new Int16Array(FRAME);
  for (let i = 0; i < 20_000; i++) {
    pcm.fill(below(30_000));
    buffer.put(below(2 ** 31) * 2, pcm, below(1600), i * FRAME, below(2) === 0, below(2) === 0);
    for (let count = buffer.due(i * FRAME); count > 0; count = buffer.due(i * FRAME)) {
      const present = buffer.take(into.subarray(0, count), i * FRAME);
      assert.ok(present >= 0 && present <= count && count <= FRAME, `step ${i}`);
    }
    assert.ok(i * FRAME - buffer.readPosition <= 501 * MS, `step ${i}: the reader stands still`);
    assert.ok(buffer.target <= 500 * MS);
  }
});
