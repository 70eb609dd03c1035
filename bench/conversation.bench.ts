/**
 * A conversation as the caller has it, measured on the wire by a caller that shares no code with the server's media:
 * answers (targets.md P4, P5) and interruptions (P6), with vendors that take a scripted time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rounded, type BenchResult } from './_result.ts';
import { seedOf } from './_seed.ts';
import { measureInterruptions, type Outcome } from './_talk-interruptions.ts';
import { measureTurns, type MeasuredTurn } from './_talk-latency.ts';
import { IDEAL_MS, percentile } from './_talk-server.ts';

export async function run(): Promise<BenchResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-bench-'));
  const seed = seedOf();
  try {
    const turns = await measureTurns(folder, seed);
    const outcomes = await measureInterruptions(folder, seed);
    tellTurns(turns);
    tell(outcomes);
    return [...latencyResults(turns), ...interruptionResults(outcomes)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function latencyResults(turns: readonly MeasuredTurn[]): BenchResult[] {
  const total = turns.map(({ wireMs }) => wireMs);
  const added = total.map((ms) => ms - IDEAL_MS);
  const against = `${turns.length} turns; the scripted vendors and end of turn take ${IDEAL_MS} ms`;
  const row = (metric: string, value: number, limit: number): BenchResult => ({
    ...{ bench: 'conversation', metric, value: rounded(value, 1), unit: 'ms', against },
    ...{ ratio: rounded((value + (metric.startsWith('engine') ? IDEAL_MS : 0)) / IDEAL_MS) },
    ...{ floor: `<= ${limit}`, ok: value <= limit },
  });
  const error = Math.max(...turns.map(({ wireMs, ownMs }) => Math.abs(wireMs - ownMs)));
  return [
    row('engine_added_p50_ms', percentile(added, 0.5), 70),
    row('engine_added_p99_ms', percentile(added, 0.99), 120),
    row('voice_to_voice_p95_ms', percentile(total, 0.95), 780),
    {
      ...{
        bench: 'conversation',
        metric: 'waterfall_error_ms',
        value: rounded(error, 1),
        unit: 'ms',
      },
      ...{ against: 'the same turns on the wire', ratio: null, floor: '<= 20', ok: error <= 20 },
    },
  ];
}

function interruptionResults(outcomes: readonly Outcome[]): BenchResult[] {
  const real = outcomes.filter(({ kind }) => kind === 'interruption');
  const others = outcomes.filter(({ kind }) => kind !== 'interruption');
  const stopped = real.filter((outcome) => outcome.stopped);
  const totals = stopped.flatMap(({ totalMs }) => totalMs ?? []);
  const falseStops = (100 * others.filter((outcome) => outcome.stopped).length) / others.length;
  const missed = (100 * (real.length - stopped.length)) / real.length;
  const heardError = Math.max(0, ...stopped.map((outcome) => outcome.heardError ?? 0));
  const stale = stopped.reduce((sum, outcome) => sum + outcome.stale, 0);
  const row = (
    metric: string,
    value: number,
    unit: string,
    limit: number,
    of: string,
  ): BenchResult => ({
    ...{ bench: 'conversation', metric, value: rounded(value, 1), unit, against: of, ratio: null },
    ...{ floor: `<= ${limit}`, ok: value <= limit },
  });
  const speech = `${real.length} interruptions`;
  return [
    row('barge_in_total_p95_ms', percentile(totals, 0.95), 'ms', 250, speech),
    row('stale_packets', stale, 'packets', 0, speech),
    row('missed_interruption_pct', missed, '%', 5, speech),
    row('false_stop_pct', falseStops, '%', 5, `${others.length} backchannels and noises`),
    row('heard_cut_error', heardError, 'words or characters', 1, speech),
  ];
}

function tellTurns(turns: readonly MeasuredTurn[]): void {
  for (const { wireMs, ownMs } of turns) {
    if (Math.abs(wireMs - ownMs) <= 15) continue;
    const [wire, own] = [Math.round(wireMs), Math.round(ownMs)];
    process.stderr.write(
      `conversation: a turn took ${wire} ms on the wire, ${own} by its record\n`,
    );
  }
}

function tell(outcomes: readonly Outcome[]): void {
  const wrong = outcomes.filter(({ kind, stopped }) => stopped !== (kind === 'interruption'));
  for (const { kind, what, language } of wrong) {
    process.stderr.write(`conversation: ${kind} "${what}" (${language}) was taken for the other\n`);
  }
  const odd = outcomes.filter(
    ({ totalMs, heardError }) => (totalMs ?? 0) > 250 || (heardError ?? 0) > 1,
  );
  for (const { what, language, totalMs, heardError } of odd) {
    const ms = Math.round(totalMs ?? 0);
    process.stderr.write(
      `conversation: "${what}" (${language}) stopped after ${ms} ms, off by ${heardError}\n`,
    );
  }
}
