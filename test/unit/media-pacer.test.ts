/** The pacer on a simulated clock: absolute deadlines, slots, catching up, skipping. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock, type TimerHandle } from '#lib/clock.ts';
import { Pacer, type PacedStream } from '#media/pacer.ts';

/** A clock that can stand still for its timers, as a process that is not scheduled does. */
class StallingClock extends SimulatedClock {
  stallMs = 0;

  override setTimer(callback: () => void, delayMs: number): TimerHandle {
    return super.setTimer(callback, delayMs + this.stallMs);
  }
}

class Stream implements PacedStream {
  readonly ticks: { readonly dueMs: number; readonly atMs: number }[] = [];
  readonly skips: number[] = [];
  readonly #clock: SimulatedClock;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  tick(dueMs: number): void {
    this.ticks.push({ dueMs, atMs: this.#clock.now() });
  }

  skip(frames: number): void {
    this.skips.push(frames);
  }
}

test('a packet every 20 ms on the grid, for an hour, without drift', () => {
  const clock = new SimulatedClock();
  const pacer = new Pacer({ clock });
  const stream = new Stream(clock);
  pacer.add(stream);
  clock.advance(3_600_000);
  assert.ok(Math.abs(stream.ticks.length - 180_000) <= 1, `${stream.ticks.length}`);
  const first = stream.ticks[0]?.dueMs ?? 0;
  assert.equal((stream.ticks.at(-1)?.dueMs ?? 0) - first, (stream.ticks.length - 1) * 20);
});

test('streams are spread over four slots 5 ms apart', () => {
  const clock = new SimulatedClock();
  const pacer = new Pacer({ clock });
  const streams = Array.from({ length: 8 }, () => new Stream(clock));
  for (const stream of streams) pacer.add(stream);
  clock.advance(200);
  const phases = streams.map((stream) => (stream.ticks[0]?.dueMs ?? -1) % 20);
  assert.deepEqual(
    phases.toSorted((a, b) => a - b),
    [0, 0, 5, 5, 10, 10, 15, 15],
  );
});

test('after a stall nothing is left out and nothing comes in a burst', () => {
  const clock = new StallingClock();
  const pacer = new Pacer({ clock });
  const stream = new Stream(clock);
  pacer.add(stream);
  clock.advance(100);
  clock.stallMs = 100;
  clock.advance(20);
  clock.stallMs = 0;
  clock.advance(1000);
  for (const [i, { dueMs, atMs }] of stream.ticks.entries()) {
    const before = stream.ticks[i - 1];
    if (before === undefined) continue;
    assert.equal(dueMs - before.dueMs, 20);
    assert.ok(atMs - before.atMs >= 10, `burst: ${atMs - before.atMs} ms`);
  }
  const last = stream.ticks.at(-1);
  assert.ok(last !== undefined && last.atMs - last.dueMs < 1, 'back on the grid');
  assert.ok(pacer.stats().maxMs >= 80);
});

test('a stall of a second is skipped, and the grid stays where it was', () => {
  const clock = new StallingClock();
  const pacer = new Pacer({ clock });
  const stream = new Stream(clock);
  pacer.add(stream);
  clock.advance(100);
  clock.stallMs = 1000;
  clock.advance(20);
  clock.stallMs = 0;
  clock.advance(2000);
  const skipped = stream.skips.reduce((sum, frames) => sum + frames, 0);
  assert.ok(skipped >= 45 && skipped <= 55, `${skipped} frames skipped`);
  const first = stream.ticks[0]?.dueMs ?? 0;
  const last = stream.ticks.at(-1)?.dueMs ?? 0;
  assert.equal(last - first, (stream.ticks.length - 1 + skipped) * 20);
  assert.equal(pacer.stats().skippedFrames, skipped);
});

test('without streams there is no timer; a stream may remove itself', () => {
  const clock = new SimulatedClock();
  const pacer = new Pacer({ clock });
  const other = new Stream(clock);
  let ticks = 0;
  const self: PacedStream = {
    tick: () => {
      ticks++;
      pacer.remove(self);
    },
    skip: () => undefined,
  };
  pacer.add(self);
  pacer.add(other);
  clock.advance(100);
  assert.equal(ticks, 1);
  assert.ok(other.ticks.length >= 4);
  pacer.remove(other);
  pacer.remove(other);
  assert.equal(pacer.size, 0);
  assert.equal(pacer.timers, 0);
  assert.equal(clock.pending, 0);
});

test('the last part is waited out exactly, and never longer than the guard', () => {
  const clock = new SimulatedClock();
  const waits: number[] = [];
  const wait = (ms: number): void => {
    waits.push(ms);
    clock.advance(ms);
  };
  const pacer = new Pacer({ clock, fine: { guardMs: 1.5, wait, soon: () => assert.fail('few') } });
  const stream = new Stream(clock);
  clock.advance(0.3);
  pacer.add(stream);
  clock.advance(1000);
  assert.ok(stream.ticks.length >= 49);
  for (const { dueMs, atMs } of stream.ticks.slice(1)) assert.ok(atMs - dueMs < 0.001);
  assert.ok(waits.length > 0 && Math.max(...waits) <= 1.5, `longest wait ${Math.max(...waits)}`);
});

test('crowded slots get others between them; all of a slot send before any of them settles', () => {
  const clock = new SimulatedClock();
  const pacer = new Pacer({ clock });
  const order: string[] = [];
  const phases: number[] = [];
  for (let i = 0; i < 200; i++) {
    let isFirst = true;
    pacer.add({
      tick: (dueMs) => {
        order.push(`tick ${dueMs}`);
        if (isFirst) phases.push(dueMs % 20);
        isFirst = false;
      },
      settle: (dueMs) => order.push(`settle ${dueMs}`),
      skip: () => undefined,
    });
  }
  clock.advance(60);
  const counts = Map.groupBy(phases, (phase) => phase);
  assert.equal(counts.size, 8);
  for (const [phase, each] of counts) assert.equal(each.length, 25, `${phase}`);
  for (const [dueMs, steps] of Map.groupBy(order, (step) => step.split(' ')[1] ?? '')) {
    const firstSettle = steps.findIndex((step) => step.startsWith('settle'));
    assert.equal(firstSettle, 25, `${dueMs}`);
    assert.equal(steps.length, 50);
  }
});

/** A thread that goes in rounds: `wait` lets time pass, `soon` waits for `round`. */
class Rounds {
  readonly clock = new SimulatedClock();
  readonly waits: number[] = [];
  readonly #soon: (() => void)[] = [];
  readonly pacer = new Pacer({
    clock: this.clock,
    fine: {
      guardMs: 2,
      wait: (ms) => {
        this.waits.push(ms);
        this.clock.advance(ms);
      },
      soon: (callback) => this.#soon.push(callback),
    },
  });

  /** Serves what waits; `servingMs`: what the sockets took before. False when nothing does. */
  round(servingMs: number): boolean {
    this.clock.advance(servingMs);
    const due = this.#soon.splice(0);
    for (const callback of due) callback();
    return due.length > 0;
  }
}

for (const count of [16, 40, 200]) {
  test(`${count} streams: rounds of 2.5 ms at most, nobody late, sockets served in each`, () => {
    const rounds = new Rounds();
    const streams = Array.from({ length: count }, () => new Stream(rounds.clock));
    for (const stream of streams) rounds.pacer.add(stream);
    // The timer of the first few may have been set: it finds the rounds begun.
    let turns = 0;
    while (rounds.clock.now() < 1000) {
      assert.ok(rounds.round(0.3));
      turns++;
    }
    assert.ok(Math.max(...rounds.waits) <= 2.5, `longest wait ${Math.max(...rounds.waits)}`);
    assert.ok(turns >= 390 && turns <= 420, `${turns} rounds in a second`);
    for (const { ticks } of streams) {
      assert.ok(ticks.length >= 49);
      for (const { dueMs, atMs } of ticks.slice(1)) assert.ok(atMs - dueMs < 0.001);
    }
    for (const stream of streams) rounds.pacer.remove(stream);
    assert.equal(rounds.pacer.timers, 0);
    rounds.round(0);
    assert.equal(rounds.round(0), false, 'goes on with nobody to serve');
  });
}

test('between the datagrams of a burst what has become due is sent', () => {
  const rounds = new Rounds();
  const streams = Array.from({ length: 24 }, () => new Stream(rounds.clock));
  for (const stream of streams) rounds.pacer.add(stream);
  rounds.round(0);
  const before = streams.map(({ ticks }) => ticks.length);
  // 30 ms of datagrams, each of which tells the time.
  for (let i = 0; i < 300; i++) {
    rounds.clock.advance(0.1);
    rounds.pacer.keepTime(rounds.clock.now());
  }
  for (const [i, { ticks }] of streams.entries()) {
    assert.ok(ticks.length > (before[i] ?? 0), `stream ${i} waited for the burst`);
    for (const { dueMs, atMs } of ticks) assert.ok(atMs - dueMs <= 0.2);
  }
  assert.ok(rounds.pacer.stats().maxMs <= 0.2);
});
