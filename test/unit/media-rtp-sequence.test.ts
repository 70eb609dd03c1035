/** Loss, duplicates, reordering and restarts as RFC 3550 counts them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtpSequence } from '#media/rtp/rtp-sequence.ts';

type Row = {
  readonly name: string;
  readonly sequences: readonly number[];
  readonly verdicts: readonly string[];
  readonly lost: number;
  readonly duplicated: number;
};

const TABLE: readonly Row[] = [
  {
    name: 'in order',
    sequences: [10, 11, 12],
    verdicts: ['restart', 'next', 'next'],
    lost: 0,
    duplicated: 0,
  },
  {
    name: 'wrap',
    sequences: [65_534, 65_535, 0, 1],
    verdicts: ['restart', 'next', 'next', 'next'],
    lost: 0,
    duplicated: 0,
  },
  {
    name: 'two lost, one comes late',
    sequences: [10, 13, 11],
    verdicts: ['restart', 'next', 'reordered'],
    lost: 1,
    duplicated: 0,
  },
  {
    name: 'duplicates of new and old',
    sequences: [10, 10, 11, 12, 11],
    verdicts: ['restart', 'duplicate', 'next', 'next', 'duplicate'],
    lost: 0,
    duplicated: 2,
  },
  {
    name: 'reordered before the first',
    sequences: [0, 65_535, 1],
    verdicts: ['restart', 'reordered', 'next'],
    lost: 0,
    duplicated: 0,
  },
  {
    name: 'one stray number is not believed',
    sequences: [10, 30_000, 11],
    verdicts: ['restart', 'stray', 'next'],
    lost: 0,
    duplicated: 0,
  },
  {
    name: 'two in a row are a new start; loss of before is kept',
    sequences: [10, 12, 30_000, 30_001, 30_002],
    verdicts: ['restart', 'next', 'stray', 'restart', 'next'],
    lost: 1,
    duplicated: 0,
  },
];

for (const { name, sequences, verdicts, lost, duplicated } of TABLE) {
  test(name, () => {
    const sequence = new RtpSequence();
    const [first = 0] = sequences;
    const timeOf = (number: number): number => (((number - first) << 16) >> 16) * 160;
    const seen = sequences.map((number, i) => sequence.note(1, number, timeOf(number), i * 160));
    assert.deepEqual(seen, verdicts);
    assert.equal(sequence.lost, lost);
    assert.equal(sequence.duplicated, duplicated);
  });
}

test('a new SSRC is believed with its second packet', () => {
  const sequence = new RtpSequence();
  sequence.note(1, 10, 0, 0);
  assert.equal(sequence.note(2, 500, 0, 160), 'stray');
  assert.equal(sequence.note(1, 11, 160, 160), 'next');
  assert.equal(sequence.note(3, 900, 0, 320), 'stray');
  assert.equal(sequence.note(3, 901, 160, 480), 'restart');
  assert.equal(sequence.ssrc, 3);
  assert.equal(sequence.restarts, 1);
});

test('jitter follows RFC 3550 A.8, also over a wrap of the time stamp', () => {
  for (const start of [0, 4_294_967_296 - 480]) {
    const sequence = new RtpSequence();
    let expected = 0;
    let before = 0;
    const arrivals = [0, 180, 320, 520, 640, 800, 960];
    for (const [i, arrival] of arrivals.entries()) {
      sequence.note(1, i, (start + i * 160) % 4_294_967_296, arrival);
      const transit = arrival - i * 160;
      if (i > 1) expected += (Math.abs(transit - before) - expected) / 16;
      before = transit;
    }
    // The first difference is taken from the second packet on.
    assert.ok(Math.abs(sequence.jitterUnits - expected) < 2, `${sequence.jitterUnits}`);
    assert.ok(sequence.jitterUnits > 0);
  }
});

test('any numbers at all keep the counts sane', () => {
  let seed = 12_345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return seed % below;
  };
  const sequence = new RtpSequence();
  for (let i = 0; i < 50_000; i++) {
    sequence.note(random(3), random(65_536), random(2 ** 31), i * 160);
    assert.ok(sequence.lost >= 0 && Number.isFinite(sequence.jitterUnits), `seed 12345 step ${i}`);
  }
});

/** Ten packets in order, 20 ms each, then one more packet at its time: `[sequence, timestamp, arrival, isEvent]`. */
const AFTER_TEN: readonly (readonly [string, readonly (number | boolean)[], string])[] = [
  ['the next one', [20, 1600, 1600], 'next'],
  ['a copy of the last under the next number', [20, 1440, 1600], 'stray'],
  ['an old one under the next number', [20, 480, 1600], 'stray'],
  ['the next number with a time far ahead', [20, 1600 + 40_000, 1600], 'stray'],
  ['after two lost, on the line', [22, 1920, 1920], 'next'],
  ['after ten lost, on the line', [29, 3040, 3040], 'next'],
  ['ahead of the clock by the half of a second', [44, 5440, 1600], 'stray'],
  ['a key pressed: its time stands still', [20, 1600, 1600, true], 'next'],
  ['after a pause of a second, where the clock is', [20, 9440, 9460], 'next'],
  ['after a pause of a second, anywhere else', [20, 20_000, 9460], 'stray'],
  ['a copy', [15, 800, 1600], 'duplicate'],
  ['a copy with the time of another', [15, 1430, 1600], 'stray'],
  ['from before the first, at its time', [8, -320, 1600], 'reordered'],
  ['from long before the first', [65_436, -17_600, 1600], 'stray'],
];

for (const [name, [number, timestamp, arrival, isEvent], expected] of AFTER_TEN) {
  test(`number and time belong together: ${name}`, () => {
    const sequence = new RtpSequence();
    for (let i = 0; i < 10; i++) sequence.note(1, 10 + i, i * 160, i * 160);
    const [at, time] = [Number(number), Number(timestamp) >>> 0];
    assert.equal(sequence.note(1, at, time, Number(arrival), 8000, isEvent === true), expected);
    assert.equal(sequence.strays, expected === 'stray' ? 1 : 0);
  });
}

test('a jump while the stream goes on: four packets in sequence are believed', () => {
  const sequence = new RtpSequence();
  for (let i = 0; i < 10; i++) sequence.note(1, i, i * 160, i * 160);
  const jumped = [0, 1, 2, 3].map((i) =>
    sequence.note(1, 5000 + i, 900_000 + i * 160, 1440 + i * 16),
  );
  assert.deepEqual(jumped, ['stray', 'stray', 'stray', 'restart']);
});
