/** Shared memory of calls is used again, and nothing of the call before is in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RingPool } from '#media/ring-pool.ts';

test('a set comes back empty, from the beginning, with nothing of what was said', () => {
  const pool = new RingPool();
  const first = pool.take();
  first.caller.push(new Int16Array(160).fill(77));
  first.playout.write(new Int16Array(5000).fill(88));
  first.marks.begin(1);
  first.marks.askForRoom();
  pool.give(first);
  assert.equal(pool.spare, 1);
  const second = pool.take();
  assert.equal(second.caller.buffer, first.caller.buffer, 'the same memory');
  assert.deepEqual(
    [second.caller.written, second.caller.available, second.caller.dropped],
    [0, 0, 0],
  );
  assert.deepEqual(
    [second.playout.written, second.marks.count, second.marks.hasWish],
    [0, 0, false],
  );
  for (const { buffer } of [second.caller, second.playout, second.marks]) {
    assert.ok(new Uint8Array(buffer).every((byte) => byte === 0));
  }
});

test('two calls at once have sets of their own, and only so many are kept', () => {
  const pool = new RingPool();
  const sets = Array.from({ length: 100 }, () => pool.take());
  assert.equal(new Set(sets.map(({ caller }) => caller.buffer)).size, 100);
  for (const set of sets) pool.give(set);
  assert.equal(pool.spare, 64);
});
