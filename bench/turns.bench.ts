/**
 * Turn-taking on synthetic dialogues (docs/turn-taking.md): when the agent takes the floor and whether it should have,
 * against fixed timeouts in the same run; and what stops it while it speaks. `--seed N`: seeds 1-5 are those that the
 * pause model was tuned on, so figures are of others.
 */
import type { PauseDials } from '#sessions/end-of-turn.ts';
import { rounded, type BenchResult } from './_result.ts';
import { seedsOf } from './_seed.ts';
import { FRESH_TALK } from './_turn-fresh.ts';
import { measureOverlaps, type OverlapFigures } from './_turn-overlaps.ts';
import {
  KNOWN_TALK,
  measure,
  turnsOf,
  type Curve,
  type HeardTurn,
  type TalkSet,
} from './_turn-set.ts';
import { fixedDials, machineTaker } from './_turn-takers.ts';
import { PLAIN_WORLD, type World } from './_turn-world.ts';

/** In each language, per seed and world. */
const TURNS = 400;
const OVERLAPS = 400;
/** As VAD_HANGOVER_MS of the media worker. */
const HANGOVER_MS = 200;
const RESPONSIVENESS = [0, 0.25, 0.5, 0.75, 1];
const FIXED_MS = [300, 500, 800, 1200];
const MAX_FALSE_CUT_PCT = 5;

/** What an agent has that says nothing about turns. */
const STANDARD: PauseDials = { minMs: 200, maxMs: 3000, responsiveness: 0.5 };

const WORLDS: readonly (readonly [string, World])[] = [
  ['the world it was made for', PLAIN_WORLD],
  ['pauses 1.5 times as long', { ...PLAIN_WORLD, pauseFactor: 1.5 }],
  ['a recogniser that writes no marks', { ...PLAIN_WORLD, punctuation: 0 }],
];

export async function run(): Promise<BenchResult[]> {
  const seeds = seedsOf();
  const settings = (talk: TalkSet, world: World): HeardTurn[] =>
    seeds.flatMap((seed) => turnsOf(talk, { seed, count: TURNS, world, hangoverMs: HANGOVER_MS }));
  tell(`seeds ${seeds.join(', ')}; ${TURNS} turns in each language per seed`);
  for (const [name, world] of WORLDS) showCurves(name, settings(KNOWN_TALK, world));
  showCurves('kinds of call that nothing was tuned on', settings(FRESH_TALK, PLAIN_WORLD));
  const turns = settings(KNOWN_TALK, PLAIN_WORLD);
  const overlaps = showOverlaps(seeds);
  return [...turnResults(turns), ...overlapResults(overlaps)];
}

const play = (turns: readonly HeardTurn[], dials: PauseDials, reads = true): Curve =>
  measure(turns, (turn) => machineTaker(turn, { dials, hangoverMs: HANGOVER_MS, reads }));

function showCurves(name: string, turns: readonly HeardTurn[]): void {
  tell(`\n${name}\n${''.padEnd(22)}${HEADINGS.map((heading) => heading.padStart(9)).join('')}`);
  for (const ms of FIXED_MS) showCurve(`fixed ${ms} ms`, play(turns, fixedDials(ms)));
  for (const responsiveness of RESPONSIVENESS)
    showCurve(`responsiveness ${responsiveness}`, play(turns, { ...STANDARD, responsiveness }));
  showCurve('nobody reads, 0.5', play(turns, STANDARD, false));
  for (const language of ['zh', 'en'] as const) {
    const own = turns.filter(({ turn }) => turn.language === language);
    showCurve(`0.5, only ${language}`, play(own, STANDARD));
  }
}

const HEADINGS = ['cut %', 'early %', 'missed %', 'mean', 'median', 'p90', 'floor'];

function showCurve(name: string, curve: Curve): void {
  const { falseCutPct, earlyPct, missedPct, meanMs, medianMs, p90Ms, floorMeanMs } = curve;
  const shares = [falseCutPct, earlyPct, missedPct].map((value) => value.toFixed(1));
  const times = [meanMs, medianMs, p90Ms, floorMeanMs].map((value) => value.toFixed(0));
  tell(name.padEnd(22) + [...shares, ...times].map((cell) => cell.padStart(9)).join(''));
}

function turnResults(turns: readonly HeardTurn[]): BenchResult[] {
  const ours = play(turns, STANDARD);
  const fixed = play(turns, fixedDials(500));
  const equal = asFewCuts(turns, ours.falseCutPct);
  const ratio = rounded(ours.meanMs / fixed.meanMs, 3);
  const of = `${turns.length} turns, responsiveness 0.5`;
  const row = (metric: string, value: number, unit: string, rest: Partial<BenchResult> = {}) => ({
    ...{ bench: 'turns', metric, value: rounded(value, 1), unit, against: of, ratio: null },
    ...{ floor: 'none', ok: true },
    ...rest,
  });
  const limit = (value: number, most: number) => ({ floor: `<= ${most}`, ok: value <= most });
  return [
    row('end_of_turn_mean_ms', ours.meanMs, 'ms', limit(ours.meanMs, 450)),
    row('false_cut_pct', ours.falseCutPct, '%', limit(ours.falseCutPct, MAX_FALSE_CUT_PCT)),
    row('end_of_turn_vs_fixed_500', ratio, 'ratio', {
      ...{ value: ratio, ratio, against: `fixed 500 ms: ${fixed.meanMs.toFixed(0)} ms` },
      ...limit(ratio, 0.9),
    }),
    row('false_cut_of_fixed_500_pct', fixed.falseCutPct, '%'),
    row('end_of_turn_at_equal_cuts', ours.meanMs / equal.meanMs, 'ratio', {
      value: rounded(ours.meanMs / equal.meanMs, 3),
      against: `the shortest fixed timeout that cuts as rarely: ${equal.silenceMs} ms`,
      ratio: rounded(ours.meanMs / equal.meanMs, 3),
    }),
    row('early_floor_pct', ours.earlyPct, '%'),
    row('missed_end_pct', ours.missedPct, '%'),
    row('floor_taken_mean_ms', ours.floorMeanMs, 'ms'),
  ];
}

/** The fixed timeout, in steps of 50 ms, that is as rarely wrong. */
function asFewCuts(turns: readonly HeardTurn[], falseCutPct: number) {
  for (let silenceMs = 400; silenceMs < 2500; silenceMs += 50) {
    const curve = play(turns, fixedDials(silenceMs));
    if (curve.falseCutPct <= falseCutPct) return { silenceMs, meanMs: curve.meanMs };
  }
  throw new Error('no fixed timeout cuts as rarely');
}

const SENSITIVITIES = [0, 0.25, 0.5, 0.75, 1];

function showOverlaps(seeds: readonly number[]): OverlapFigures {
  const figures = (sensitivity: number): OverlapFigures =>
    measureOverlaps(seeds, OVERLAPS, { sensitivity, confirmMs: 100, hangoverMs: HANGOVER_MS });
  tell('\nover the agent, confirmation 100 ms: share that took the floor from it, %');
  for (const sensitivity of SENSITIVITIES) {
    const { stoppedPct, medianMs } = figures(sensitivity);
    const shares = Object.entries(stoppedPct).map(([kind, pct]) => `${kind} ${pct.toFixed(1)}`);
    tell(`sensitivity ${sensitivity}: ${shares.join(', ')}; interruptions after ${medianMs} ms`);
  }
  return figures(0.5);
}

function overlapResults(figures: OverlapFigures): BenchResult[] {
  const row = (metric: string, value: number, against: string): BenchResult => ({
    ...{ bench: 'turns', metric, value: rounded(value, 1), unit: '%', against, ratio: null },
    ...{ floor: '<= 5', ok: value <= 5 },
  });
  return [
    row('false_stop_pct', figures.falseStopPct, `${figures.others} noises, backchannels, echoes`),
    row('missed_interruption_pct', figures.missedPct, `${figures.real} interruptions and answers`),
  ];
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
