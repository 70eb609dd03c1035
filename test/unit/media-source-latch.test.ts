/** Whose RTP is taken: tables of packets in, verdicts out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEARNING_WINDOW_MS, SourceLatch } from '#media/source-latch.ts';

const SIGNALLED = ['192.0.2.1', 4000] as const;
const NAT = ['192.0.2.1', 61_000] as const;
const OTHER = ['192.0.2.66', 4000] as const;
const THIRD = ['192.0.2.77', 4000] as const;

type Step = readonly [source: readonly [string, number], atMs: number, verdict: string];

const TABLE: Record<string, readonly Step[]> = {
  'the signalled source is taken at once': [
    [SIGNALLED, 0, 'latch'],
    [SIGNALLED, 20, 'accept'],
    [OTHER, 21, 'foreign'],
    [NAT, 22, 'foreign'],
  ],
  'a stranger who is first loses to the signalled source': [
    [OTHER, 0, 'hold'],
    [OTHER, 20, 'hold'],
    [SIGNALLED, 499, 'latch'],
    [OTHER, 500, 'foreign'],
  ],
  'one candidate at a time': [
    [OTHER, 0, 'hold'],
    [THIRD, 5, 'foreign'],
    [OTHER, 20, 'hold'],
  ],
  'the signalled host with another port outranks a stranger': [
    [OTHER, 0, 'hold'],
    [NAT, 5, 'hold'],
    [OTHER, 10, 'foreign'],
    [NAT, 25, 'hold'],
  ],
};

for (const [name, steps] of Object.entries(TABLE)) {
  test(name, () => {
    const latch = new SourceLatch();
    latch.signal(...SIGNALLED);
    for (const [[address, port], atMs, verdict] of steps) {
      assert.equal(latch.judge(address, port, atMs), verdict, `${address}:${port} at ${atMs}`);
    }
  });
}

test('after the learning window the candidate is the source', () => {
  const latch = new SourceLatch();
  latch.signal(...SIGNALLED);
  latch.judge(...OTHER, 1000);
  assert.equal(latch.settle(1000 + LEARNING_WINDOW_MS - 1), false);
  assert.equal(latch.settle(1000 + LEARNING_WINDOW_MS), true);
  assert.equal(latch.settle(1000 + LEARNING_WINDOW_MS + 20), false, 'only once');
  assert.equal(latch.judge(...OTHER, 1600), 'accept');
  assert.equal(latch.judge(...SIGNALLED, 1600), 'foreign');
});

test('an outranked candidate does not lengthen the window', () => {
  const latch = new SourceLatch();
  latch.signal(...SIGNALLED);
  latch.judge(...OTHER, 0);
  latch.judge(...NAT, 400);
  assert.equal(latch.settle(500), true);
  assert.equal(latch.port, NAT[1]);
});

test('a re-INVITE opens the latch only when the address is new', () => {
  const latch = new SourceLatch();
  assert.equal(latch.signal(...SIGNALLED), true);
  latch.judge(...SIGNALLED, 0);
  assert.equal(latch.signal(...SIGNALLED), false);
  assert.equal(latch.state, 'latched');
  assert.equal(latch.signal(...THIRD), true);
  assert.equal(latch.state, 'open');
  assert.equal(latch.judge(...SIGNALLED, 10), 'hold');
  assert.equal(latch.judge(...THIRD, 20), 'latch');
});
