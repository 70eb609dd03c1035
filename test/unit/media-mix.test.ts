/** Background, effects and gain: levels, ducking, loops and cuts without a click, sums that do not wrap. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { Background } from '#media/mix/background.ts';
import {
  BACKGROUND_NAMES,
  backgroundSound,
  beepSound,
  seamless,
  typingSound,
} from '#media/mix/built-in-sounds.ts';
import { Effects } from '#media/mix/effects.ts';
import { amplify, factorOf, Fader, KNEE, mixInto, soften } from '#media/playout/gain.ts';
import { checkedBackground, checkedEffect } from '#media/mix/mix-checks.ts';
import { MAX_EFFECTS } from '#media/mix/mix-types.ts';

const QUIET = { isAgentSpeaking: false, isCallerSpeaking: false, isHeld: false };

function rms(pcm: ArrayLike<number>): number {
  let power = 0;
  for (let i = 0; i < pcm.length; i++) power += (pcm[i] as number) ** 2;
  return Math.sqrt(power / pcm.length);
}

const dbOf = (ratio: number): number => 20 * Math.log10(ratio);

function largestStep(pcm: ArrayLike<number>): number {
  let most = 0;
  for (let i = 1; i < pcm.length; i++)
    most = Math.max(most, Math.abs((pcm[i] as number) - (pcm[i - 1] as number)));
  return most;
}

test('soften: exact up to the knee, rising beyond it, odd, never outside of 16 bits', () => {
  for (const x of [0, 1, -1, 1000, KNEE, -KNEE]) assert.equal(soften(x), x);
  let before = soften(KNEE);
  for (let x = KNEE + 1; x < 400_000; x += 37) {
    const y = soften(x);
    assert.ok(y >= before && y <= 32_767, `${x} -> ${y}`);
    assert.equal(soften(-x), -y);
    before = y;
  }
  assert.ok(soften(2_000_000) > 32_600);
  assert.ok(Math.abs(soften(KNEE + 100) - (KNEE + 99)) <= 1, 'no corner at the knee');
});

test('a gain is what it says, and full scale times ten does not wrap', () => {
  for (const gainDb of [-60, -20, -6, 0, 6, 20]) {
    const pcm = new Int16Array(160).fill(1000);
    amplify(pcm, factorOf(gainDb));
    assert.ok(Math.abs((pcm[0] as number) - 1000 * 10 ** (gainDb / 20)) <= 0.5, `${gainDb} dB`);
  }
  for (const x of [32_767, -32_768]) {
    const pcm = new Int16Array(160).fill(x);
    amplify(pcm, factorOf(20));
    assert.equal(Math.sign(pcm[0] as number), Math.sign(x), 'no wrap');
  }
});

test('a gain changes evenly within a frame', () => {
  const fader = new Fader();
  const out: number[] = [];
  for (const gainDb of [0, 6, 6, -20, 0]) {
    fader.set(gainDb);
    const frame = new Int16Array(160).fill(4000);
    fader.shape(frame);
    out.push(...frame);
  }
  assert.equal(out[0], 4000);
  assert.equal(out[479], Math.round(4000 * factorOf(6)));
  assert.equal(out[639], 400);
  assert.ok(largestStep(out) <= 50, `${largestStep(out)}`);
});

test('two voices at full scale: loud, and of the right sign', () => {
  for (const [x, y] of [
    [32_767, 32_767],
    [-32_768, -32_768],
    [32_767, -32_768],
  ] as const) {
    const into = new Int16Array(160).fill(x);
    mixInto(into, new Int16Array(160).fill(y), 1, 1);
    assert.ok(Math.abs((into[0] as number) - soften(x + y)) <= 1);
  }
});

test('backgrounds: -40 dBFS, unlike one another, in shared memory, no click where they begin again', () => {
  for (const name of BACKGROUND_NAMES) {
    const began = performance.now();
    const pcm = backgroundSound(name);
    const tookMs = performance.now() - began;
    assert.equal(backgroundSound(name), pcm, 'made once');
    assert.ok(pcm.buffer instanceof SharedArrayBuffer);
    assert.equal(pcm.length, 96_000);
    assert.ok(Math.abs(dbOf(rms(pcm) / 32_768) + 40) < 0.1, `${dbOf(rms(pcm) / 32_768)}`);
    const seam = Math.abs((pcm[0] as number) - (pcm.at(-1) as number));
    assert.ok(seam <= largestStep(pcm), `${name}: a step of ${seam} at the seam`);
    // No second is much louder than another: it does not draw attention.
    for (let second = 0; second < 12; second++) {
      const level = dbOf(rms(pcm.subarray(second * 8000, second * 8000 + 8000)) / rms(pcm));
      assert.ok(Math.abs(level) < 6, `${name}, second ${second}: ${level} dB`);
    }
    assert.ok(tookMs < 1500, `${tookMs} ms`);
  }
  assert.notDeepEqual(backgroundSound('office'), backgroundSound('cafe'));
  for (const pcm of [typingSound(), beepSound()]) {
    assert.ok(pcm.buffer instanceof SharedArrayBuffer && pcm.length < 16_000);
    assert.ok(Math.abs(pcm[0] as number) < 200 && Math.abs(pcm.at(-1) as number) < 200);
  }
});

test('any sound goes round without a click once it is seamless', () => {
  const pcm = Int16Array.from({ length: 10_000 }, (_, i) => Math.round(8000 * Math.cos(i / 30)));
  const round = seamless(pcm);
  assert.ok(round.buffer instanceof SharedArrayBuffer);
  assert.equal(round.length, 8000);
  const twice = [...round, ...round];
  assert.ok(largestStep(twice) <= 420, `${largestStep(twice)} against ${largestStep(pcm)}`);
  assert.deepEqual(round.subarray(2000), pcm.subarray(2000, 8000));
  assert.equal(seamless(new Int16Array(160).fill(5)).length, 120);
});

test('a background: comes slowly, is ducked by what was asked for, comes back, and goes round', () => {
  const pcm = Int16Array.from({ length: 4000 }, (_, i) => (i % 16 < 8 ? 3000 : -3000));
  const background = new Background();
  background.set({ pcm, gainDb: -6, duckDb: 12, ducksForCaller: true });
  const levelAfter = (frames: number, moment: Partial<typeof QUIET>): number => {
    const frame = new Int16Array(160);
    for (let i = 0; i < frames; i++) {
      frame.fill(0);
      background.mix(frame, { ...QUIET, ...moment });
    }
    return dbOf(rms(frame) / 3000);
  };
  assert.ok(levelAfter(1, {}) < -20, 'not all at once');
  assert.ok(Math.abs(levelAfter(60, {}) + 6) < 0.5);
  assert.ok(levelAfter(4, { isAgentSpeaking: true }) < -13, 'most of it within 80 ms');
  assert.ok(Math.abs(levelAfter(20, { isAgentSpeaking: true }) + 18) < 0.5);
  assert.ok(levelAfter(2, {}) < -14, 'and back slowly');
  assert.ok(Math.abs(levelAfter(60, {}) + 6) < 0.5);
  assert.ok(Math.abs(levelAfter(30, { isCallerSpeaking: true }) + 18) < 0.5);
  levelAfter(1, { isHeld: true });
  assert.equal(background.isHeard, false, 'gone within a frame');
  assert.equal(levelAfter(5, { isHeld: true }), Number.NEGATIVE_INFINITY);
  background.set({ pcm, gainDb: -6, duckDb: 12, ducksForCaller: false });
  assert.ok(Math.abs(levelAfter(60, { isCallerSpeaking: true }) + 6) < 0.5);
  background.set(null);
  levelAfter(60, {});
  assert.equal(background.isHeard, false);
});

test('a background never steps: on, ducked, held, changed for another, off', () => {
  const one = seamless(new Int16Array(4000).fill(6000));
  const other = seamless(new Int16Array(4000).fill(-6000));
  const background = new Background();
  const out: number[] = [];
  const run = (frames: number, moment: Partial<typeof QUIET> = {}): void => {
    const frame = new Int16Array(160);
    for (let i = 0; i < frames; i++) {
      frame.fill(0);
      background.mix(frame, { ...QUIET, ...moment });
      out.push(...frame);
    }
  };
  const settings = { gainDb: 0, duckDb: 20, ducksForCaller: false };
  background.set({ pcm: one, ...settings });
  run(50);
  run(3, { isAgentSpeaking: true });
  run(30);
  run(2, { isHeld: true });
  run(30);
  background.set({ pcm: other, ...settings });
  run(60);
  background.set(null);
  run(40);
  assert.ok(out.some((x) => x > 5500) && out.some((x) => x < -5500));
  // A whole fall within a frame is 6000 / 160 a sample; the seam of a constant adds a little more.
  assert.ok(largestStep(out) <= 60, `${largestStep(out)}`);
  assert.equal(out.at(-1), 0);
});

test('no background: not a sample is touched', () => {
  const frame = Int16Array.from({ length: 160 }, (_, i) => i * 400 - 32_000);
  const before = frame.slice();
  new Background().mix(frame, QUIET);
  new Effects().mix(frame, false);
  assert.deepEqual(frame, before);
});

test('effects: one after the other, so many wait, and a cut does not click', () => {
  const effects = new Effects();
  const out: number[] = [];
  const run = (frames: number, isHeld = false): void => {
    const frame = new Int16Array(160);
    for (let i = 0; i < frames; i++) {
      frame.fill(0);
      effects.mix(frame, isHeld);
      out.push(...frame);
    }
  };
  for (let i = 0; i < MAX_EFFECTS + 3; i++) effects.add(new Int16Array(320).fill(1000 + i), 0);
  assert.equal(effects.dropped, 2, 'one is played, the rest waits');
  run(12);
  for (let i = 0; i <= MAX_EFFECTS; i++)
    assert.equal(out.filter((x) => x === 1000 + i).length, 320, `effect ${i}`);
  assert.equal(out.includes(1000 + MAX_EFFECTS + 1), false);
  run(1);
  out.length = 0;
  const long = new Int16Array(1600).fill(4000);
  effects.add(long, -6);
  run(3);
  run(2, true);
  run(3);
  effects.clear();
  run(2);
  assert.ok(largestStep(out.slice(1)) <= 110, `${largestStep(out.slice(1))}`);
  assert.ok(out.includes(soften(4000 * factorOf(-6))));
  assert.equal(out.at(-1), 0);
});

test('what may be mixed in is checked', () => {
  const pcm = new Int16Array(1600);
  const good = { pcm, gainDb: 0, duckDb: 9, ducksForCaller: false };
  assert.equal(checkedBackground(good).pcm, pcm);
  const part = new Int16Array(3200).subarray(100, 1000);
  assert.equal(checkedEffect(part).buffer.byteLength, 1800, 'not all of the file behind it');
  for (const bad of [
    { ...good, pcm: new Int16Array(10) },
    { ...good, pcm: new Int16Array(8000 * 601) },
    { ...good, gainDb: 21 },
    { ...good, gainDb: Number.NaN },
    { ...good, duckDb: -1 },
  ])
    assert.throws(() => checkedBackground(bad), refused);
  assert.throws(() => checkedEffect(new Int16Array(0)), refused);
  assert.throws(() => checkedEffect(new Int16Array(80_001)), refused);
});

function refused(error: unknown): boolean {
  return error instanceof AppError && error.code === 'E_REQUEST';
}
