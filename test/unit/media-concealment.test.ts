/** Concealment: continues a periodic signal, fades to silence, comes back without a click. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Concealment } from '#media/concealment.ts';
import { EMPTY_SAMPLE } from '#media/jitter-buffer.ts';

const FRAME = 160;

function sine(from: number, hz = 200): Int16Array {
  const pcm = new Int16Array(FRAME);
  for (let i = 0; i < FRAME; i++) {
    pcm[i] = Math.round(8000 * Math.sin((2 * Math.PI * hz * (from + i)) / 8000));
  }
  return pcm;
}

/** Fills a frame as the chain does. */
function conceal(concealment: Concealment, frame: Int16Array): void {
  concealment.fill(frame, frame.filter((sample) => sample !== EMPTY_SAMPLE).length);
}

const hole = (): Int16Array => new Int16Array(FRAME).fill(EMPTY_SAMPLE);
const peak = (pcm: Int16Array): number => pcm.reduce((max, x) => Math.max(max, Math.abs(x)), 0);

test('a lost frame of a voiced sound is continued in phase', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 5; i++) conceal(concealment, sine(i * FRAME));
  const made = hole();
  conceal(concealment, made);
  const wanted = sine(5 * FRAME);
  let error = 0;
  for (let i = 0; i < FRAME; i++) error += ((made[i] ?? 0) - (wanted[i] ?? 0)) ** 2;
  const zeroFill = wanted.reduce((sum, x) => sum + x * x, 0);
  assert.ok(error < zeroFill * 0.1, `error ${(error / zeroFill).toFixed(3)} of zero fill`);
});

test('a long hole fades to silence, and only its sound is counted', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 5; i++) conceal(concealment, sine(i * FRAME));
  const peaks: number[] = [];
  for (let i = 0; i < 6; i++) {
    const made = hole();
    conceal(concealment, made);
    peaks.push(peak(made));
  }
  assert.ok((peaks[0] ?? 0) > 6000);
  assert.ok((peaks[1] ?? 0) < (peaks[0] ?? 0) && (peaks[2] ?? 0) < (peaks[1] ?? 0));
  assert.deepEqual(peaks.slice(3), [0, 0, 0]);
  assert.equal(concealment.concealedMs, 60);
});

test('the return of the signal is blended: no step larger than the signal has itself', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 5; i++) conceal(concealment, sine(i * FRAME));
  const made = hole();
  conceal(concealment, made);
  const back = sine(6 * FRAME + 20);
  conceal(concealment, back);
  const step = Math.abs((back[0] ?? 0) - (made[FRAME - 1] ?? 0));
  assert.ok(step < 8000 * 2 * Math.PI * (200 / 8000) * 1.6, `step ${step}`);
});

test('before any sound, and where silence is expected, holes are silent and uncounted', () => {
  const concealment = new Concealment();
  const early = hole();
  conceal(concealment, early);
  assert.equal(peak(early), 0);
  for (let i = 0; i < 5; i++) conceal(concealment, sine(i * FRAME));
  concealment.expectSilence();
  const event = hole();
  conceal(concealment, event);
  assert.equal(peak(event), 0);
  assert.equal(concealment.concealedMs, 0);
});

test('no EMPTY_SAMPLE ever leaves', () => {
  const concealment = new Concealment();
  for (let i = 0; i < 50; i++) {
    const frame = sine(i * FRAME);
    for (let k = i % 7; k < FRAME; k += 3) frame[k] = EMPTY_SAMPLE;
    conceal(concealment, frame);
    assert.ok(!frame.includes(EMPTY_SAMPLE));
  }
});
