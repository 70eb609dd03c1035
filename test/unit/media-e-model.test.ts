/** The E-model against published figures, burst ratio, and scores over windows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BPL_NO_CONCEALMENT,
  burstRatioOf,
  CODEC_IMPAIRMENTS,
  mosOf,
  rFactor,
} from '#media/quality/e-model.ts';
import { QualityScores } from '#media/quality/quality-window.ts';

const G711 = CODEC_IMPAIRMENTS.PCMU;
const BARE = { ...G711, bpl: BPL_NO_CONCEALMENT };
const near = (actual: number, expected: number, within: number, name: string): void =>
  assert.ok(Math.abs(actual - expected) <= within, `${name}: ${actual}, not ${expected}`);

test('G.711 at 100 ms: loss with and without concealment', () => {
  const rows: [lossPct: number, bare: number, concealed: number][] = [
    [0, 4.36, 4.36],
    [1, 3.73, 4.26],
    [2, 3.13, 4.16],
    [5, 2.05, 3.82],
  ];
  for (const [lossPct, bare, concealed] of rows) {
    const network = { lossPct, burstRatio: 1, delayMs: 100 };
    near(mosOf(rFactor({ codec: BARE, ...network })), bare, 0.01, `${lossPct} % bare`);
    near(mosOf(rFactor({ codec: G711, ...network })), concealed, 0.01, `${lossPct} % concealed`);
  }
});

test('R to MOS: the table of G.107 Annex B', () => {
  const rows: [number, number][] = [
    [-5, 1],
    [0, 1],
    [3, 1],
    [50, 2.58],
    [60, 3.1],
    [70, 3.6],
    [80, 4.03],
    [90, 4.34],
    [93.2, 4.41],
    [100, 4.5],
    [120, 4.5],
  ];
  for (const [r, mos] of rows) near(mosOf(r), mos, 0.01, `R ${r}`);
  for (let r = 1; r <= 100; r++) assert.ok(mosOf(r) >= mosOf(r - 1), `rises at ${r}`);
});

test('delay costs little up to 177 ms and much beyond', () => {
  const at = (delayMs: number): number =>
    93.2 - rFactor({ codec: G711, lossPct: 0, burstRatio: 1, delayMs });
  for (const [delayMs, cost] of [
    [0, 0],
    [100, 2.4],
    [150, 3.6],
    [177.3, 4.26],
    [300, 20.7],
    [400, 34.1],
  ] as const)
    near(at(delayMs), cost, 0.05, `${delayMs} ms`);
});

test('no input leaves the range', () => {
  for (const lossPct of [-1, 0, 50, 100, 1000])
    for (const burstRatio of [0, 1, 4, 1e6])
      for (const delayMs of [-50, 0, 1e6]) {
        const r = rFactor({ codec: G711, lossPct, burstRatio, delayMs });
        assert.ok(r >= 0 && r <= 93.2);
      }
});

test('burst ratio: 1 for random loss, the length of the bursts for bursts', () => {
  const rows: [lost: number, expected: number, runs: number, ratio: number][] = [
    [0, 250, 0, 1],
    [10, 1000, 10, 1],
    [50, 1000, 10, 4.75],
    [250, 250, 1, 1],
    [100, 1000, 90, 1],
  ];
  for (const [lost, expected, runs, ratio] of rows)
    near(burstRatioOf(lost, expected, runs), ratio, 0.001, `${lost} in ${runs}`);
  // Bursts cost more than the same loss at random.
  const at = (burstRatio: number): number =>
    rFactor({ codec: G711, lossPct: 5, burstRatio, delayMs: 100 });
  near(at(1) - at(4.75), 2.38, 0.01, 'five in a row');
});

test('scores: the mean is over time, the worst is of whole windows, nothing to judge is nothing', () => {
  const window = { codec: G711, expected: 250, bad: 0, runs: 0, delayMs: 100, durationMs: 5000 };
  const scores = new QualityScores();
  assert.equal(scores.mos, null);
  assert.equal(scores.worstMos, null);
  scores.add({ ...window, expected: 0 });
  assert.equal(scores.windows, 0);
  scores.add(window);
  scores.add(window);
  scores.add({ ...window, bad: 50, runs: 42, durationMs: 10_000 });
  const good = 4.357;
  const bad = mosOf(rFactor({ codec: G711, lossPct: 20, burstRatio: 1, delayMs: 100 }));
  near(scores.mos ?? 0, (good + bad) / 2, 0.01, 'mean');
  near(scores.worstMos ?? 0, bad, 0.01, 'worst');
  // A second at the end with half of it lost weighs a second, and is no window.
  scores.add({ ...window, expected: 50, bad: 25, runs: 1, durationMs: 1000 });
  near(scores.worstMos ?? 0, bad, 0.01, 'still the worst');
  // Unless it is all there is.
  const short = new QualityScores();
  short.add({ ...window, expected: 50, bad: 25, runs: 20, durationMs: 1000 });
  assert.equal(short.worstMos, short.mos);
});
