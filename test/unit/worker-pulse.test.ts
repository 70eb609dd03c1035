/** The pulse of a media worker: busy share from CPU time, missed beats counted by looks, calls placed by both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import {
  BEAT_MS,
  burdenOf,
  isLighter,
  PulseWatch,
  startPulse,
  WorkerPulse,
} from '#media/worker-pulse.ts';

test('the busy share follows the CPU time of the thread', () => {
  const clock = new SimulatedClock();
  const pulse = WorkerPulse.create();
  let cpuMs = 1000;
  const stop = startPulse({ pulse, clock, cpuMs: () => cpuMs, sessions: () => 7 });
  assert.deepEqual([pulse.beats, pulse.load], [1, { busyShare: 0, sessions: 7 }]);
  for (let i = 0; i < 10; i++) {
    cpuMs += BEAT_MS * 0.6;
    clock.advance(BEAT_MS);
  }
  assert.equal(pulse.beats, 11);
  assert.ok(Math.abs(pulse.load.busyShare - 0.6) < 0.01, `${pulse.load.busyShare}`);
  stop();
  assert.equal(clock.pending, 0);
});

test('only beats missed in a row count, and only as often as somebody looked', () => {
  const pulse = WorkerPulse.create();
  const watch = new PulseWatch(pulse, 3);
  const beat = (): void => pulse.beat({ busyShare: 0, sessions: 0 });
  beat();
  const looks = (count: number): boolean[] => Array.from({ length: count }, () => watch.look());
  assert.deepEqual(looks(4), [false, false, false, false]);
  beat();
  assert.deepEqual(looks(5), [false, false, false, false, true]);
  assert.equal(watch.missed, 4);
});

const PLACES = [
  ['nothing known: the number of calls decides', [0, 0, 3], [0, 0, 2], false],
  ['noise of the reading decides nothing', [0.04, 0, 1], [0.01, 0, 2], true],
  ['a busy worker with few calls is passed over', [0.5, 10, 10], [0.2, 40, 40], false],
  ['calls placed since the reading count at their average', [0.2, 10, 30], [0.4, 20, 20], false],
  ['and those that have gone are taken off', [0.5, 50, 10], [0.2, 20, 20], true],
] as const;

for (const [name, one, other, expected] of PLACES) {
  test(name, () => {
    const [a, b] = [one, other].map(([busyShare, sessions, now]) =>
      burdenOf({ busyShare, sessions }, now),
    );
    assert.ok(a && b);
    assert.equal(isLighter(a, b), expected);
  });
}
