/** One press told once, whatever ways it comes by and in whatever order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DtmfKeys, type DtmfWay } from '#media/dtmf/dtmf-keys.ts';

type Press = readonly [digit: string, way: DtmfWay, startMs: number, endMs: number];

const TABLE: Record<string, readonly [presses: readonly Press[], told: string]> = {
  'an event and its tone': [
    [
      ['5', 'inband', 5, 98],
      ['5', 'event', 0, 100],
    ],
    '5',
  ],
  'a tone in front of its event': [
    [
      ['5', 'inband', 0, 45],
      ['5', 'event', 60, 160],
    ],
    '5',
  ],
  'a tone that is broken in two': [
    [
      ['5', 'event', 0, 500],
      ['5', 'inband', 0, 200],
      ['5', 'inband', 260, 500],
    ],
    '5',
  ],
  'all three': [
    [
      ['5', 'signal', 0, 100],
      ['5', 'event', 300, 400],
      ['5', 'inband', 310, 395],
    ],
    '5',
  ],
  'the INFO a second late': [
    [
      ['5', 'event', 0, 100],
      ['5', 'signal', 1000, 1100],
    ],
    '5',
  ],
  'twice by one way': [
    [
      ['5', 'event', 0, 60],
      ['5', 'event', 100, 160],
    ],
    '55',
  ],
  'twice by two ways': [
    [
      ['5', 'event', 0, 60],
      ['5', 'event', 150, 210],
      ['5', 'inband', 5, 55],
      ['5', 'inband', 155, 205],
    ],
    '55',
  ],
  'twice by two ways, one by one': [
    [
      ['5', 'inband', 5, 55],
      ['5', 'event', 0, 60],
      ['5', 'inband', 155, 205],
      ['5', 'event', 150, 210],
    ],
    '55',
  ],
  'twice, the INFOs late': [
    [
      ['5', 'event', 0, 60],
      ['5', 'event', 150, 210],
      ['5', 'signal', 500, 600],
      ['5', 'signal', 640, 740],
    ],
    '55',
  ],
  'different digits': [
    [
      ['5', 'event', 0, 60],
      ['6', 'inband', 0, 60],
      ['7', 'signal', 0, 60],
    ],
    '567',
  ],
  'by one way now and by another later': [
    [
      ['5', 'event', 0, 60],
      ['5', 'inband', 500, 560],
      ['5', 'signal', 3000, 3100],
    ],
    '555',
  ],
};
for (const [what, [presses, told]] of Object.entries(TABLE))
  test(`${what}: ${told}`, () => {
    const keys = new DtmfKeys();
    const heard = presses.filter((press) => keys.press(...press)).map(([digit]) => digit);
    assert.equal(heard.join(''), told);
    assert.equal(keys.suppressed, presses.length - told.length);
  });

test('any number of presses: what is kept is bounded, and the latest are compared', () => {
  const keys = new DtmfKeys();
  let told = 0;
  for (let i = 0; i < 1000; i++) {
    if (keys.press('1', 'event', i * 200, i * 200 + 80)) told++;
    if (keys.press('1', 'inband', i * 200 + 5, i * 200 + 75)) told++;
  }
  assert.equal(told, 1000);
});
