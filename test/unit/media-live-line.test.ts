/** What real-time listeners hear: a frame each tick, stretched without a jump, and nothing lost or said twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallerAudio } from '#media/jitter/caller-audio.ts';
import { LiveLine } from '#media/jitter/live-line.ts';
import { PeriodFinder, blend, stretch } from '#media/jitter/time-stretch.ts';

const FRAME = 160;

/** A voice that glides, with rests of quiet noise. */
function voice(count: number, hz = 130): Int16Array {
  const pcm = new Int16Array(count);
  for (let i = 0, phase = 0; i < count; i++) {
    phase += (2 * Math.PI * (hz + 25 * Math.sin(i / 9000))) / 8000;
    const isRest = i % 12_000 > 9600;
    const ramp = Math.min(1, (i % 12_000) / 400, Math.max(0, 9600 - (i % 12_000)) / 400);
    const said = 5000 * Math.sin(phase) + 2500 * Math.sin(2 * phase) + 1200 * Math.sin(5 * phase);
    pcm[i] = Math.round(isRest ? (i * 7919) % 9 : said * ramp);
  }
  return pcm;
}

const stepOf = (pcm: ArrayLike<number>): number => {
  let most = 0;
  for (let i = 1; i < pcm.length; i++)
    most = Math.max(most, Math.abs((pcm[i] ?? 0) - (pcm[i - 1] ?? 0)));
  return most;
};

test('the period of a voice is found, and stretched by it nothing jumps', () => {
  const finder = new PeriodFinder();
  for (const hz of [80, 100, 145, 230, 390]) {
    const pcm = Int16Array.from({ length: 480 }, (_, i) =>
      Math.round(
        5000 * Math.sin((2 * Math.PI * hz * i) / 8000) +
          3000 * Math.sin((4 * Math.PI * hz * i) / 8000 + 1),
      ),
    );
    finder.find(pcm, 0, 320);
    const periods = (finder.period * hz) / 8000;
    assert.ok(Math.abs(periods - Math.round(periods)) < 0.06, `${hz} Hz: ${finder.period}`);
    assert.ok(finder.likeness > 0.95);
    for (const change of [finder.period, -finder.period]) {
      const out = new Int16Array(960);
      const count = stretch(pcm, 320, change, out);
      assert.equal(count, 320 + change);
      assert.ok(Math.abs((out[0] ?? 0) - (pcm[0] ?? 0)) < 60);
      assert.ok(Math.abs((out[count - 1] ?? 0) - (pcm[319] ?? 0)) < 60);
      assert.ok(stepOf(out.subarray(0, count)) <= stepOf(pcm) * 1.2, `${hz} Hz by ${change}`);
    }
    const out = new Int16Array(FRAME);
    blend(pcm, 0, finder.period, FRAME, out);
    assert.ok(stepOf(out) <= stepOf(pcm) * 1.2);
  }
});

/** Pushes frames as they are due with `delay(tick)` samples, and hears one each tick. */
function listen(
  pcm: Int16Array,
  delay: (tick: number) => number,
): { heard: number[]; line: LiveLine } {
  const line = new LiveLine();
  const heard: number[] = [];
  const into = new Int16Array(FRAME);
  let at = 0;
  for (let tick = 1; tick * FRAME < pcm.length; tick++) {
    const now = tick * FRAME;
    for (; at + FRAME <= now - delay(tick); at += FRAME)
      line.push(pcm.subarray(at, at + FRAME), at);
    line.next(into, now);
    heard.push(...into);
  }
  return { heard, line };
}

test('a steady line is heard as it is', () => {
  const pcm = voice(80_000);
  const { heard, line } = listen(pcm, () => 0);
  const lag = line.lag(heard.length);
  assert.ok(lag <= 3 * FRAME, `${lag}`);
  assert.ok(line.expandedMs <= 40 && line.acceleratedMs <= 40);
  const own = stepOf(pcm);
  assert.ok(stepOf(heard.slice(FRAME * 20)) <= own * 1.2);
});

test('delays that grow and fall are followed by stretching, without a jump', () => {
  const pcm = voice(240_000);
  const { heard, line } = listen(pcm, (tick) => (tick > 300 && tick < 700 ? 800 : 0));
  assert.ok(line.expandedMs >= 90, `${line.expandedMs} ms longer`);
  assert.ok(line.acceleratedMs >= 60, `${line.acceleratedMs} ms shorter`);
  assert.ok(line.lag(heard.length) < 480, `${line.lag(heard.length)} behind at the end`);
  const step = stepOf(heard.slice(20 * FRAME));
  assert.ok(step <= stepOf(pcm) * 1.8, `step ${step} of ${stepOf(pcm)}`);
});

test('frames of the call cost no memory: put, pull and live a hundred thousand times', () => {
  let given = 0;
  const caller = new CallerAudio({ given: (pcm) => void (given += pcm.length) });
  const pcm = voice(FRAME);
  const order = { isNew: true, follows: true };
  const turn = (i: number): void => {
    // Every 50th is lost, every 20th 25 ms late.
    if (i % 50 !== 7)
      caller.put(i * FRAME, pcm, FRAME, i * FRAME + (i % 20 === 3 ? 200 : 0), order);
    caller.pull(i * 20, false);
    caller.live(i * 20);
  };
  // Code that is not compiled yet boxes every number.
  for (let i = 0; i < 8000; i++) turn(i);
  const before = process.memoryUsage().heapUsed;
  for (let i = 8000; i < 28_000; i++) turn(i);
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(given > 27_900 * FRAME);
  // Doubles in fields are boxed now and then; a closure or an array per packet would be ten times as much.
  assert.ok(grown < 20_000 * 200, `${Math.round(grown / 20_000)} bytes a packet`);
});
