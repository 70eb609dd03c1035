/** What a bench reports: one JSON line per figure. Ratios to something measured in the same run travel between machines. */
export type BenchResult = {
  readonly bench: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  /** What it is compared with, measured in the same run; null when the figure stands alone. */
  readonly against: string | null;
  readonly ratio: number | null;
  /** The limit, in words: `ratio <= 2.0`. */
  readonly floor: string;
  readonly ok: boolean;
};

export function printResults(results: readonly BenchResult[]): void {
  for (const result of results) process.stdout.write(`${JSON.stringify(result)}\n`);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
