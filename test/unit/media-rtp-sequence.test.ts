/** Loss, duplicates, reordering and restarts as RFC 3550 counts them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtpSequence } from '#media/rtp-sequence.ts';

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
