/** One note per listener and recording within five minutes, for a bounded number of them, and none that was not written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { HeardNotes } from '#store/heard-notes.ts';

const MINUTE_MS = 60_000;

function setUp() {
  const clock = new SimulatedClock();
  const notes = new HeardNotes(clock);
  const written: string[] = [];
  const hear = (key: string, ...more: string[]): Promise<void> =>
    notes.once([key, ...more], async () => void written.push(key));
  return { clock, notes, written, hear };
}

test('a player that seeks for minutes is noted once, and again after five', async () => {
  const { clock, written, hear } = setUp();
  for (let i = 0; i < 100; i++) {
    await Promise.all([hear('a'), hear('a'), hear('b')]);
    clock.advance(2_000);
  }
  assert.deepEqual(written, ['a', 'b']);
  clock.advance(5 * MINUTE_MS);
  await hear('a');
  assert.deepEqual(written, ['a', 'b', 'a']);
});

test('whoever was noted for all needs no note for a part; a part does not cover the whole', async () => {
  const { written, hear } = setUp();
  await hear('part', 'all');
  await hear('part', 'all');
  await hear('all');
  await hear('other part', 'all');
  assert.deepEqual(written, ['part', 'all']);
});

test('what could not be written is an error for all who waited for it, and is tried again', async () => {
  const { notes, written, hear } = setUp();
  const fail = (): Promise<void> => Promise.reject(new Error('away'));
  const both = await Promise.allSettled([notes.once(['a'], fail), notes.once(['a'], fail)]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await hear('a');
  assert.deepEqual(written, ['a']);
});

test('memory is bounded: of too many listeners the oldest are noted again', async () => {
  const { written, hear } = setUp();
  for (let i = 0; i < 5_001; i++) await hear(`k${i}`);
  await hear('k5000');
  await hear('k0');
  assert.equal(written.length, 5_002);
  assert.equal(written.at(-1), 'k0');
});
