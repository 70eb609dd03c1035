/** Reads the project's own TypeScript files, for the tests that check rules about them. */
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** [path from the root, text] of every `.ts` file in src, test and bench, sorted by path. */
export async function readSources(): Promise<[string, string][]> {
  const sources: [string, string][] = [];
  for (const folder of ['src', 'test', 'bench']) {
    const names = await readdir(`${ROOT}/${folder}`, { recursive: true });
    for (const name of names.sort()) {
      if (!name.endsWith('.ts')) continue;
      const path = `${folder}/${name}`;
      sources.push([path, await readFile(`${ROOT}/${path}`, 'utf8')]);
    }
  }
  return sources;
}
