/** The answer to a body that names what does not exist. */
import { AppError } from '#lib/errors.ts';
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

/** `work` of a body with one reference. Errors: REFERENCE_NOT_FOUND naming `path`; else those of `work`. */
export async function referenced<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'E_REFERENCE') throw error;
    throw new Problem('REFERENCE_NOT_FOUND', { faults: [{ path, rule: 'exists' }], cause: error });
  }
}
