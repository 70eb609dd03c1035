/** The answer to a body that names what does not exist. */
import type { Id } from '#lib/ids.ts';
import { Problem } from './problem.ts';

/** `named` holds the ids of the body by their JSON pointer below `at`. */
export function missingProblem(
  missing: readonly Id[],
  named: ReadonlyMap<string, Id>,
  at = '',
): Problem {
  const places = [...named].filter(([, id]) => missing.includes(id));
  return new Problem('REFERENCE_NOT_FOUND', {
    faults: places.map(([pointer]) => ({ path: `${at}${pointer}`, rule: 'exists' })),
  });
}
