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

const SECRET_NAME =
  /(?:^|[_-])(?:password|passwd|secret|credentials?|(?:api|access|secret|private|auth)[_-]?(?:key|token)|bearer|authorization)$/i;

/** Options are read back by everybody who may see the account, so a secret in them is a mistake, however deep. */
export function refuseOptions(options: Readonly<Record<string, unknown>>, path: string): void {
  refuseFreeForm(options, path);
  const faults = secretsIn(options, path);
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
}

function secretsIn(value: unknown, path: string): FieldFault[] {
  if (typeof value === 'string') {
    // https://user:password@host
    const { username = '', password = '' } = URL.parse(value) ?? {};
    return username + password === '' || !/^https?:/i.test(value) ? [] : [{ path, rule: 'secret' }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => {
    const at = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const words = name.replace(/([a-z])([A-Z])/g, '$1_$2');
    return SECRET_NAME.test(words) ? [{ path: at, rule: 'secret' }] : secretsIn(each, at);
  });
}
