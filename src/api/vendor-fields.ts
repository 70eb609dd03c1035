/** Fields that the accounts at vendors share, and what their routes check beyond a schema. */
import { Type } from 'typebox';
import { Problem, type FieldFault } from './problem.ts';
import { refuseFreeForm } from './validation.ts';

export const NoQuery = Type.Object({}, { additionalProperties: false });
export const NoBody = Type.Object({}, { additionalProperties: false });

/** A key, a secret or a name at a vendor. Without `*`, so that a masked one is not saved as the real one. */
export const vendorText = (description: string) =>
  Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\s*]+$', description });

/** Whatever a vendor knows; what is in it is the vendor's business. */
export const vendorOptions = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    description: `${description}; at most 16 KiB as JSON, keys of at most 64 characters. Secrets are refused here`,
  });

const SECRET_NAME = /(?:^|[_-])(?:password|secret|credentials?|api[_-]?key|access[_-]?token)$/i;

/** Options are read back by everybody who may see the account, so a secret in them is a mistake. */
export function refuseOptions(options: Readonly<Record<string, unknown>>, path: string): void {
  refuseFreeForm(options, path);
  const faults: FieldFault[] = Object.keys(options)
    .filter((name) => SECRET_NAME.test(name))
    .map((name) => ({ path: `${path}/${name}`, rule: 'secret' }));
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
}
