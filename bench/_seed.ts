/** `--seed N[,N…]` on the command line: what a bench draws its material from; others than it was tuned on. */

const STANDARD = 101;

/** Errors: Error for anything but whole numbers. */
export function seedsOf(args: readonly string[] = process.argv.slice(2)): number[] {
  const at = args.indexOf('--seed');
  if (at < 0) return [STANDARD];
  const seeds = (args[at + 1] ?? '').split(',').map(Number);
  if (seeds.length > 0 && seeds.every((seed) => Number.isInteger(seed) && seed >= 0)) return seeds;
  throw new Error('--seed wants whole numbers: --seed 7,8');
}

export function seedOf(): number {
  return seedsOf()[0] ?? STANDARD;
}

/** The arguments that name benches. */
export function withoutSeeds(args: readonly string[]): string[] {
  const at = args.indexOf('--seed');
  return at < 0 ? [...args] : [...args.slice(0, at), ...args.slice(at + 2)];
}
