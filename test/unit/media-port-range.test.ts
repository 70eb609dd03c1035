/** Port leases: even, never twice, rested before they are used again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { PortRange } from '#media/rtp/port-range.ts';

test('leases every even port of the range once', () => {
  const rows: [number, number, number[]][] = [
    [20_000, 20_007, [20_000, 20_002, 20_004, 20_006]],
    [20_001, 20_007, [20_002, 20_004, 20_006]],
    [20_000, 20_006, [20_000, 20_002, 20_004]],
  ];
  for (const [first, last, expected] of rows) {
    const range = new PortRange({ first, last, clock: new SimulatedClock() });
    assert.equal(range.capacity, expected.length);
    const leased = expected.map(() => range.lease('127.0.0.1'));
    assert.deepEqual(
      leased.toSorted((a, b) => a - b),
      expected,
    );
    assert.throws(() => range.lease('127.0.0.1'), { code: 'E_MEDIA_PORTS' });
    assert.equal(range.leased, expected.length);
  }
});

test('each local address has ports of its own', () => {
  const range = new PortRange({ first: 20_000, last: 20_001, clock: new SimulatedClock() });
  assert.equal(range.lease('127.0.0.1'), 20_000);
  assert.equal(range.lease('127.0.0.2'), 20_000);
});

test('a returned port rests while others are free', () => {
  const clock = new SimulatedClock();
  const range = new PortRange({ first: 20_000, last: 20_003, clock, quarantineMs: 2000 });
  const first = range.lease('a');
  range.release('a', first);
  const second = range.lease('a');
  assert.notEqual(second, first);
  range.release('a', second);
  clock.advance(2001);
  assert.equal(range.lease('a'), first);
});

test('a resting port is taken rather than refusing a call', () => {
  const range = new PortRange({ first: 20_000, last: 20_001, clock: new SimulatedClock() });
  range.release('a', range.lease('a'));
  assert.equal(range.lease('a'), 20_000);
});

test('giving back twice, or what was never leased, changes nothing', () => {
  const range = new PortRange({ first: 20_000, last: 20_003, clock: new SimulatedClock() });
  const port = range.lease('a');
  range.release('a', port);
  range.release('a', port);
  range.release('a', 9);
  assert.notEqual(range.lease('a'), range.lease('a'));
  assert.throws(() => range.lease('a'), { code: 'E_MEDIA_PORTS' });
});

test('a range without a pair is a configuration error', () => {
  assert.throws(() => new PortRange({ first: 20_001, last: 20_002, clock: new SimulatedClock() }), {
    code: 'E_CONFIG',
  });
});
