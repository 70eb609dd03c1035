/** `npm run bench -- NAME` runs bench/NAME.bench.ts, without a name all of them; exit code 1 when a floor is missed. */
import { readdirSync } from 'node:fs';
import { printResults, type BenchResult } from './_result.ts';
import { withoutSeeds } from './_seed.ts';

type BenchModule = { readonly run: () => Promise<readonly BenchResult[]> };

const SUFFIX = '.bench.ts';

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(SUFFIX))
  .map((file) => file.slice(0, -SUFFIX.length))
  .sort();
const wanted = withoutSeeds(process.argv.slice(2));
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no bench ${unknown.join(', ')}; there are: ${names.join(', ')}\n`);
  process.exit(1);
}

let missed = 0;
for (const name of wanted.length > 0 ? wanted : names) {
  try {
    const bench = (await import(`./${name}${SUFFIX}`)) as BenchModule;
    const results = await bench.run();
    printResults(results);
    const faults = results.filter((result) => !result.ok);
    for (const { metric, value, unit, floor } of faults) {
      process.stderr.write(`${name}: ${metric} is ${value} ${unit}, the floor is ${floor}\n`);
    }
    missed += faults.length;
  } catch (error) {
    // One broken bench must not hide the figures of the others.
    process.stderr.write(
      `${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    missed += 1;
  }
}
process.exit(missed === 0 ? 0 : 1);
