/** Concealment: goes on with a voice and with noise, fades, meets what comes after, and clicks nowhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Concealment } from '#media/jitter/concealment.ts';
import { EMPTY_SAMPLE } from '#media/jitter/jitter-buffer.ts';

const FRAME = 160;

/** A voice-like sound: harmonics of `hz`. */
function tone(from: number, hz = 200, count = FRAME): Int16Array {
  return Int16Array.from({ length: count }, (_, i) => {
    const phase = (2 * Math.PI * hz * (from + i)) / 8000;
    return Math.round(6000 * Math.sin(phase) + 2000 * Math.sin(2 * phase + 1));
  });
}

function noiseOf(seed: number, level = 3000): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return Math.round(((state >>> 8) / 0x80_0000 - 0.5) * 2 * level);
  };
}

/** Fills a frame as the chain does. */
function conceal(concealment: Concealment, frame: Int16Array): Int16Array {
  concealment.fill(frame, frame.filter((sample) => sample !== EMPTY_SAMPLE).length);
  return frame;
}

const hole = (): Int16Array => new Int16Array(FRAME).fill(EMPTY_SAMPLE);
const peak = (pcm: Int16Array): number => pcm.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
const rms = (pcm: Int16Array): number =>
  Math.sqrt(pcm.reduce((sum, x) => sum + x * x, 0) / pcm.length);

function largestStep(pcm: ArrayLike<number>): number {
  let most = 0;
  for (let i = 1; i < pcm.length; i++)
    most = Math.max(most, Math.abs((pcm[i] ?? 0) - (pcm[i - 1] ?? 0)));
  return most;
}

/** Twenty frames with those of `lost` missing; `isBridged`: what follows a hole is known when it begins. */
function run(lost: readonly number[], isBridged: boolean, hz = 200): number[] {
  const concealment = new Concealment();
  const heard: number[] = [];
  for (let k = 0; k < 20; k++) {
    if (isBridged && lost.includes(k) && !lost.includes(k - 1)) {
      let length = 1;
      while (lost.includes(k + length)) length++;
      concealment.bridge(length * FRAME, tone((k + length) * FRAME, hz, 320), 320);
    }
    heard.push(...conceal(concealment, lost.includes(k) ? hole() : tone(k * FRAME, hz)));
  }
  return heard;
}

test('a lost frame of a voiced sound is continued in phase', () => {
  for (const isBridged of [false, true]) {
    const made = run([8], isBridged).slice(8 * FRAME, 9 * FRAME);
    const wanted = tone(8 * FRAME);
    let error = 0;
    for (let i = 0; i < FRAME; i++) error += ((made[i] ?? 0) - (wanted[i] ?? 0)) ** 2;
    const zeroFill = wanted.reduce((sum, x) => sum + x * x, 0);
    assert.ok(error < zeroFill * 0.1, `error ${(error / zeroFill).toFixed(3)} of zero fill`);
  }
});

test('a long hole fades to silence, and only its sound is counted', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 5; i++) conceal(concealment, tone(i * FRAME));
  const levels = Array.from({ length: 6 }, () => rms(conceal(concealment, hole())));
  assert.ok((levels[0] ?? 0) > 3000);
  assert.ok((levels[1] ?? 0) < (levels[0] ?? 0) && (levels[2] ?? 0) < (levels[1] ?? 0));
  assert.ok((levels[2] ?? 0) > 100, 'not silent within 60 ms');
  assert.deepEqual(levels.slice(3), [0, 0, 0]);
  assert.equal(concealment.concealedMs, 60);
});

test('no click where a hole begins or ends: no step larger than the sound has itself', () => {
  for (const hz of [90, 137, 200, 310])
    for (const isBridged of [false, true])
      for (const lost of [[8], [8, 9], [8, 9, 10], [8, 9, 10, 11, 12], [5, 7, 9]]) {
        const own = largestStep(tone(0, hz, 3200));
        const step = largestStep(run(lost, isBridged, hz));
        assert.ok(
          step < own * 1.7 + 300,
          `${hz} Hz, ${lost.join()}, ${isBridged}: ${step} / ${own}`,
        );
      }
});

test('bursts up to 60 ms whose end is known have no silence in them; longer ones fade and rise', () => {
  for (const frames of [1, 2, 3]) {
    const lost = Array.from({ length: frames }, (_, i) => 8 + i);
    const heard = Int16Array.from(run(lost, true));
    for (let at = 8 * FRAME; at < (8 + frames) * FRAME; at += 40)
      assert.ok(rms(heard.subarray(at, at + 40)) > 1500, `${frames} frames, at ${at}`);
  }
  const long = Int16Array.from(run([8, 9, 10, 11, 12], true));
  const level = (k: number): number => rms(long.subarray(k * FRAME, (k + 1) * FRAME));
  assert.ok(level(8) > 2000 && level(12) > 2000 && level(10) < level(8), 'quieter in the middle');
});

test('a hiss goes on as a hiss: as loud, and not periodic', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const random = noiseOf(seed * 911);
    const concealment = new Concealment();
    for (let k = 0; k < 6; k++) conceal(concealment, new Int16Array(FRAME).map(random));
    const made = [...conceal(concealment, hole()), ...conceal(concealment, hole())];
    const level = rms(Int16Array.from(made.slice(0, 80)));
    assert.ok(level > 800 && level < 4000, `seed ${seed}: ${level}`);
    let likest = 0;
    for (let lag = 32; lag <= 160; lag++) {
      let [dot, a, b] = [0, 1, 1];
      for (let i = 0; i + lag < 240; i++) {
        const [x, y] = [made[i] ?? 0, made[i + lag] ?? 0];
        dot += x * y;
        a += x * x;
        b += y * y;
      }
      likest = Math.max(likest, dot / Math.sqrt(a * b));
    }
    assert.ok(likest < 0.7, `seed ${seed}: ${likest.toFixed(2)} like itself`);
  }
});

test('before any sound, and where silence is expected, holes are silent within 5 ms and uncounted', () => {
  const concealment = new Concealment();
  assert.equal(peak(conceal(concealment, hole())), 0);
  for (let i = 0; i < 5; i++) conceal(concealment, tone(i * FRAME));
  concealment.expectSilence();
  assert.equal(peak(conceal(concealment, hole()).subarray(40)), 0);
  concealment.expectSilence();
  assert.equal(peak(conceal(concealment, hole())), 0);
  assert.equal(concealment.concealedMs, 0);
});

test('what came of a hole whose end was known before it was read is led into without a click', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 5; i++) conceal(concealment, tone(i * FRAME));
  concealment.bridge(3 * FRAME, tone(8 * FRAME, 200, 320), 320);
  const heard = [...conceal(concealment, hole())];
  for (let k = 6; k < 10; k++) heard.push(...conceal(concealment, tone(k * FRAME)));
  assert.ok(largestStep(heard) < largestStep(tone(0, 200, 800)) * 1.5);
});

test('whatever comes, every sample is a sample', () => {
  const random = noiseOf(99, 32_767);
  const concealment = new Concealment();
  const after = new Int16Array(520).map(random);
  for (let i = 0; i < 3000; i++) {
    const count = 1 + (Math.abs(random()) % FRAME);
    const frame = new Int16Array(count).map(() => random());
    const isHole = random() > 0;
    if (isHole) {
      if (concealment.isIntact && random() > 0)
        concealment.bridge(1 + (i % 960), after, 160 + (i % 360));
      frame.fill(EMPTY_SAMPLE);
    } else for (let k = i % 7; k < count; k += 3 + (i % 50)) frame[k] = EMPTY_SAMPLE;
    if (random() > 30_000) concealment.expectSilence();
    conceal(concealment, frame);
    assert.ok(!frame.includes(EMPTY_SAMPLE), `step ${i}`);
  }
  assert.ok(Number.isFinite(concealment.concealedMs));
});
