/**
 * The media plane by the figures that decide about it (targets.md P1-P3, P6, P8, P9, P11), each against a limit or a peer
 * measured in the same run. `--seed N` draws the material anew; `--only PART[,PART]` runs some parts.
 */
import { measureAiCalls } from './_media-ai.ts';
import { measureBargeIn } from './_media-barge-in.ts';
import { concealmentBench } from './_media-concealment.ts';
import { measureEcho } from './_media-echo.ts';
import { jitterBench } from './_media-jitter.ts';
import { measureLateness } from './_media-lateness.ts';
import { measureMemory } from './_media-memory.ts';
import { printResults, rounded, type BenchResult } from './_result.ts';
import { seedOf } from './_seed.ts';

type Part = (seed: number) => Promise<BenchResult[]>;

const PARTS: Record<string, Part> = {
  echo: () => measureEcho(),
  ai: () => measureAiCalls(),
  lateness: () => measureLateness(),
  jitter: (seed) => simulated(jitterBench(seed), { jitter_delay_vs_oracle: 1.5 }),
  concealment: (seed) => simulated(concealmentBench(seed), { concealment_lsd_vs_zero_fill: 0.7 }),
  memory: () => measureMemory(),
  'barge-in': (seed) => measureBargeIn(seed),
};

type Simulated = { readonly metrics: Record<string, number>; readonly lines: readonly string[] };

/** Ratios by computation alone; those with a limit decide, the others are told. */
async function simulated(
  bench: Promise<Simulated>,
  limits: Readonly<Record<string, number>>,
): Promise<BenchResult[]> {
  const { metrics, lines } = await bench;
  for (const line of lines) process.stderr.write(`media: ${line}\n`);
  for (const name of Object.keys(limits)) {
    if (metrics[name] === undefined) throw new Error(`no figure for ${name}`);
  }
  return Object.entries(metrics).map(([metric, value]) => {
    const limit = limits[metric];
    return {
      ...{ bench: 'media', metric, value: rounded(value, 3), unit: 'x', against: null },
      ...{ ratio: rounded(value, 3), floor: limit === undefined ? 'none' : `<= ${limit}` },
      ok: limit === undefined || value <= limit,
    };
  });
}

export async function run(): Promise<BenchResult[]> {
  const wanted = wantedParts();
  const results: BenchResult[] = [];
  for (const name of wanted) results.push(...((await PARTS[name]?.(seedOf())) ?? []));
  return results;
}

/** Errors: Error for a part that does not exist. */
function wantedParts(): string[] {
  const names = Object.keys(PARTS);
  const at = process.argv.indexOf('--only');
  if (at < 0) return names;
  const wanted = (process.argv[at + 1] ?? '').split(',');
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length === 0) return wanted;
  throw new Error(`no part ${unknown.join(', ')}; there are: ${names.join(', ')}`);
}

if (import.meta.main) printResults(await run());
