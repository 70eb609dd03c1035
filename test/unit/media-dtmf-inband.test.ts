/** Keys as tones in the audio: the limits of ITU-T Q.24, voices that are no keys, and no garbage on the way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { mayBeTone } from '#media/dtmf/dtmf-gate.ts';
import { InbandDtmf } from '#media/dtmf/dtmf-inband.ts';
import { DTMF_DIGITS, dtmfFrequencies } from '#media/dtmf/dtmf-tones.ts';
import { FrameSound } from '#media/speech/frame-sound.ts';
import { gaussian, noise, recorded, seeded, voiceAtLevel } from './_noises.ts';

const FRAME = 160;
const ZERO_DBM0 = 32_767 * 10 ** (-3.14 / 20);

type Row = {
  readonly ms: number;
  /** Levels of the two tones, dBm0. */
  readonly low?: number;
  readonly high?: number;
  /** Both off by this share; the upper one by another. */
  readonly off?: number;
  readonly offHigh?: number;
  readonly snr?: number;
  /** A second tone of the same length, this long after. */
  readonly gapMs?: number;
  readonly strict?: boolean;
};

const random = seeded(24);
const onTheLine = (sample: number): number => {
  const clipped = Math.max(-32_000, Math.min(32_000, Math.round(sample)));
  return G711.PCMA.decode[G711.PCMA.encode[clipped & 0xffff] as number] as number;
};

function keysOf(digit: string, row: Row): string[] {
  const { ms, low = -10, high = -8, off = 0, offHigh = off, snr, gapMs = 0 } = row;
  const keys: string[] = [];
  const detector = new InbandDtmf((key, startMs, endMs) => {
    keys.push(key);
    assert.ok(Math.abs(endMs - startMs - ms) <= 15 || gapMs > 0, `${endMs - startMs} of ${ms} ms`);
  });
  detector.expectEvents(row.strict === true);
  const [lowHz, highHz] = dtmfFrequencies(digit);
  const [a, b] = [ZERO_DBM0 * 10 ** (low / 20), ZERO_DBM0 * 10 ** (high / 20)];
  const noiseRms = snr === undefined ? 0 : (Math.hypot(a, b) / Math.SQRT2) * 10 ** (-snr / 20);
  const [phaseA, phaseB] = [random() * 6.28, random() * 6.28];
  const start = 800 + Math.floor(random() * FRAME);
  const length = ms * 8;
  const again = gapMs > 0 ? start + length + gapMs * 8 : Number.POSITIVE_INFINITY;
  const frame = new Int16Array(FRAME);
  for (let at = 0; at < start + 2 * length + gapMs * 8 + 800; at += FRAME) {
    for (let i = 0; i < FRAME; i++) {
      const t = at + i;
      const isOn = (t >= start && t < start + length) || (t >= again && t < again + length);
      const turn = (2 * Math.PI * t) / 8000;
      const tone =
        a * Math.sin(turn * lowHz * (1 + off) + phaseA) +
        b * Math.sin(turn * highHz * (1 + offHigh) + phaseB);
      frame[i] = onTheLine((isOn ? tone : 0) + (noiseRms === 0 ? 0 : noiseRms * gaussian(random)));
    }
    detector.hear(frame, at / 8);
  }
  return keys;
}

const TABLE: readonly [what: string, row: Row, keys: number][] = [
  ['40 ms', { ms: 40 }, 1],
  ['40 ms, 15 dB over noise', { ms: 40, snr: 15 }, 1],
  ['100 ms, 10 dB over noise', { ms: 100, snr: 10 }, 1],
  ['-29 dBm0 each', { ms: 40, low: -29, high: -29 }, 1],
  ['-3 dBm0 each', { ms: 40, low: -3, high: -3 }, 1],
  ['1.5 % too high', { ms: 40, off: 0.015 }, 1],
  ['1.8 % too low', { ms: 40, off: -0.018 }, 1],
  ['upper tone 8 dB weaker', { ms: 50, low: -6, high: -14 }, 1],
  ['upper tone 5 dB stronger', { ms: 40, low: -13, high: -8 }, 1],
  ['broken for 10 ms', { ms: 40, gapMs: 10 }, 1],
  ['40 ms on, 40 ms off, twice', { ms: 40, gapMs: 40 }, 2],
  ['40 ms on, 40 ms off, in noise', { ms: 40, gapMs: 40, snr: 15 }, 2],
  ['half a second', { ms: 500, snr: 20 }, 1],
  ['events expected: 60 ms', { ms: 60, strict: true }, 1],
  ['events expected: 50 ms', { ms: 50, strict: true }, 0],
  ['23 ms', { ms: 23 }, 0],
  ['23 ms in noise', { ms: 23, snr: 20 }, 0],
  ['3.5 % off', { ms: 100, off: 0.035 }, 0],
  ['3.5 % off below', { ms: 100, off: -0.035 }, 0],
  ['only the upper 3.5 % off', { ms: 100, offHigh: 0.035 }, 0],
  ['upper tone 13 dB weaker', { ms: 100, low: -6, high: -19 }, 0],
  ['-55 dBm0', { ms: 100, low: -55, high: -55 }, 0],
];
for (const [what, row, count] of TABLE)
  test(`${what}: ${count}`, () => {
    for (let trial = 0; trial < 48; trial++) {
      const digit = DTMF_DIGITS[trial % 16] as string;
      assert.deepEqual(
        keysOf(digit, row),
        Array.from({ length: count }, () => digit),
      );
    }
  });

function hear(detector: InbandDtmf, signal: Float64Array, fromMs = 0): number {
  const frame = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= signal.length; at += FRAME) {
    for (let i = 0; i < FRAME; i++) frame[i] = onTheLine(signal[at + i] as number);
    detector.hear(frame, fromMs + at / 8);
  }
  return fromMs + signal.length / 8;
}

test('of a voice few frames are looked at, of a key all but the first and the last', () => {
  const sound = new FrameSound();
  const share = (signal: Float64Array): number => {
    let looked = 0;
    for (let at = 0; at + FRAME <= signal.length; at += FRAME) {
      sound.take(Int16Array.from(signal.subarray(at, at + FRAME), onTheLine), 0);
      if (mayBeTone(sound)) looked++;
    }
    return looked / Math.floor(signal.length / FRAME);
  };
  for (const name of ['about-en', 'menu-zh'])
    assert.ok(share(voiceAtLevel(recorded(name), -15)) < 0.15, name);
  for (const digit of DTMF_DIGITS)
    for (const [low, high] of [
      [-10, -8],
      [-28, -28],
      [-6, -15],
      [-13, -8],
    ] as const) {
      const [lowHz, highHz] = dtmfFrequencies(digit);
      const [a, b] = [ZERO_DBM0 * 10 ** (low / 20), ZERO_DBM0 * 10 ** (high / 20)];
      const noiseRms = (Math.hypot(a, b) / Math.SQRT2) * 10 ** (-10 / 20);
      const key = Float64Array.from({ length: 50 * FRAME }, (_, i) => {
        const turn = (2 * Math.PI * i) / 8000;
        const tone = a * Math.sin(turn * lowHz * 1.018) + b * Math.sin(turn * highHz * 0.982);
        return tone + noiseRms * gaussian(random);
      });
      assert.ok(share(key) >= 0.98, `${digit} ${low} ${high}: ${share(key)}`);
    }
});

test('voices and places are no keys, at any level', () => {
  const found: string[] = [];
  const detector = new InbandDtmf((key, startMs) => found.push(`${key} at ${startMs}`));
  let atMs = 0;
  for (const name of ['about-en', 'menu-en', 'greeting-en', 'about-zh', 'menu-zh', 'greeting-zh'])
    for (const dbm0 of [-10, -20, -30]) {
      atMs = hear(detector, voiceAtLevel(recorded(name), dbm0), Math.ceil(atMs / 20) * 20 + 1000);
    }
  for (const place of ['babble', 'street', 'office', 'hum'] as const)
    atMs = hear(detector, noise(place, 5, 10_000, -15), Math.ceil(atMs / 20) * 20 + 1000);
  assert.ok(atMs > 180_000, `${atMs} ms`);
  assert.deepEqual(found, []);
});

test('a packet lost inside a tone does not make two of it; the frames of a tone are known', () => {
  const found: string[] = [];
  const detector = new InbandDtmf((key) => found.push(key));
  const [low, high] = dtmfFrequencies('9');
  const frame = new Int16Array(FRAME);
  for (let at = 0; at < 20; at++) {
    if (at === 8 || at === 9) continue;
    for (let i = 0; i < FRAME; i++) {
      const t = (2 * Math.PI * (at * FRAME + i)) / 8000;
      frame[i] = at >= 5 && at < 15 ? 6000 * (Math.sin(t * low) + Math.sin(t * high)) : 0;
    }
    detector.hear(frame, at * 20);
  }
  assert.deepEqual(found, ['9']);
  const tones = Array.from({ length: 20 }, (_, at) => detector.isTone(at * 20));
  assert.deepEqual(
    [4, 5, 6, 7, 10, 14, 17].map((at) => tones[at]),
    [false, true, true, true, true, true, false],
  );
});

test('a tone that the line ends with is told by the clock', () => {
  const found: string[] = [];
  const detector = new InbandDtmf((key) => found.push(key));
  const [low, high] = dtmfFrequencies('#');
  const tone = Float64Array.from({ length: 800 }, (_, i) => {
    const t = (2 * Math.PI * i) / 8000;
    return 5000 * (Math.sin(t * low) + Math.sin(t * high));
  });
  hear(detector, tone);
  assert.deepEqual(found, []);
  detector.tick(150);
  assert.deepEqual(found, []);
  detector.tick(400);
  detector.tick(500);
  assert.deepEqual(found, ['#']);
});
