/** Checks requests against their schemas and turns faults into `details` with JSON pointers (contract 1.5, 1.6). */
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { MAX_FAULTS, Problem, type FieldFault } from './problem.ts';

/** Upper case is accepted in ids and lower-cased; `uuid` as rule name comes from this very pattern. */
export const UUID_PATTERN =
  '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$';

const FREE_FORM_BYTES = 16 * 1024;
const FREE_FORM_KEY_CHARS = 64;

// The library stops after 8 errors by default, and one fault may raise three of them.
Settings.Set({ maxErrors: 4 * MAX_FAULTS });

type SchemaError = {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
};

type Shape = {
  readonly properties?: Readonly<Record<string, { readonly [key: string]: unknown }>>;
};

/** Fastify's validator: an absent body counts as `{}`, query strings are read as their schema's type. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema);
  const isQuery = httpPart === 'querystring';
  return (given: unknown) => {
    const value = isQuery ? readQuery(given, schema) : lowerIds(given ?? {}, schema);
    const faults = textFaults(value);
    if (faults.length === 0 && !validator.Check(value)) {
      faults.push(...faultsOf(validator.Errors(value)));
      if (faults.length === 0) faults.push({ path: '', rule: 'form' });
    }
    if (faults.length === 0) return { value };
    const located = isQuery ? faults.map(asQueryFault) : faults;
    return { error: new Problem('VALIDATION_FAILED', { faults: located }) };
  };
};

/** Refuses a free-form object of more than 16 KiB as JSON, or with a key of more than 64 characters. */
export function refuseFreeForm(value: object, path: string): void {
  const faults = freeFormFaults(value, path);
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
}

/** What `refuseFreeForm` refuses, for bodies whose faults are gathered. */
export function freeFormFaults(value: object, path: string): FieldFault[] {
  const faults: FieldFault[] = [];
  for (const key of Object.keys(value)) {
    if (key.length <= FREE_FORM_KEY_CHARS) continue;
    faults.push({ path: `${path}/${escaped(key)}`, rule: 'name' });
  }
  if (Buffer.byteLength(JSON.stringify(value)) > FREE_FORM_BYTES) {
    faults.push({ path, rule: 'size', params: { limit: FREE_FORM_BYTES } });
  }
  return faults;
}

/** Schema errors as faults: one per missing or unknown name, and none twice for one place and rule. */
export function faultsOf(errors: readonly SchemaError[]): FieldFault[] {
  const faults = new Map<string, FieldFault>();
  const add = (path: string, rule: string, params?: SchemaError['params']): void => {
    faults.set(`${path} ${rule}`, { path, rule, ...(params === undefined ? {} : { params }) });
  };
  for (const { keyword, instancePath, params } of errors) {
    if (keyword === 'required') {
      for (const name of namesIn(params['requiredProperties'])) {
        add(`${instancePath}/${escaped(name)}`, 'required');
      }
    } else if (keyword === 'boolean') {
      // The schema `false`, which only closes objects here: the name is unknown.
      add(instancePath, 'unknown');
    } else if (keyword === 'pattern' && params['pattern'] === UUID_PATTERN) {
      add(instancePath, 'uuid');
    } else if (keyword !== 'additionalProperties' && keyword !== 'anyOf') {
      // Both only repeat what was said of the properties, or of the branches.
      const types = faults.get(`${instancePath} type`)?.params?.['type'];
      const isOther = keyword === 'type' && types !== undefined && types !== params['type'];
      add(instancePath, keyword, isOther ? { type: eitherOf(types, params['type']) } : params);
    }
  }
  return withoutOtherBranches([...faults.values()]).slice(0, MAX_FAULTS);
}

/** Types that branches of a union ask for; null is taken as known. */
function eitherOf(known: unknown, more: unknown): string {
  return [known, more]
    .map(String)
    .filter((type) => type !== 'null')
    .join(' or ');
}

/** Of a union's branches the one that got further speaks: `must be null` says nothing of a wrong length. */
function withoutOtherBranches(faults: readonly FieldFault[]): FieldFault[] {
  return faults.filter(({ path, rule }) => {
    if (rule !== 'type') return true;
    return !faults.some(
      (other) =>
        (other.path === path && other.rule !== 'type') || other.path.startsWith(`${path}/`),
    );
  });
}

/** Strings no database column and no other client could take, numbers that JSON cannot write again (`1e400` is read as
 * infinity, and would be kept as null), and keys that reach into prototypes. */
function textFaults(value: unknown, path = '', faults: FieldFault[] = []): FieldFault[] {
  if (faults.length >= MAX_FAULTS) return faults;
  if (typeof value === 'string') {
    if (value.includes('\0') || !value.isWellFormed()) faults.push({ path, rule: 'text' });
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) faults.push({ path, rule: 'finite' });
  } else if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) textFaults(each, `${path}/${index}`, faults);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, each] of Object.entries(value)) {
      const isUsable = key !== '__proto__' && !key.includes('\0') && key.isWellFormed();
      if (isUsable) textFaults(each, `${path}/${escaped(key)}`, faults);
      else faults.push({ path, rule: 'name' });
    }
  }
  return faults;
}

/** Only query strings are coerced: `5` becomes a number where the schema says integer, `true` where it says boolean. */
function readQuery(given: unknown, schema: TSchema): unknown {
  const read: Record<string, unknown> = { ...(given as Record<string, unknown>) };
  for (const [name, property] of Object.entries((schema as Shape).properties ?? {})) {
    const text = read[name];
    if (typeof text !== 'string') continue;
    if (property['type'] === 'integer' && /^-?[0-9]{1,15}$/.test(text)) read[name] = Number(text);
    if (property['type'] === 'boolean' && /^(?:true|false)$/.test(text))
      read[name] = text === 'true';
  }
  return lowerIds(read, schema);
}

function lowerIds(given: unknown, schema: TSchema): unknown {
  if (typeof given !== 'object' || given === null) return given;
  let lowered: Record<string, unknown> | null = null;
  for (const [name, property] of Object.entries((schema as Shape).properties ?? {})) {
    const text = (given as Record<string, unknown>)[name];
    if (property['pattern'] !== UUID_PATTERN || typeof text !== 'string') continue;
    lowered ??= { ...given };
    lowered[name] = text.toLowerCase();
  }
  return lowered ?? given;
}

function asQueryFault(fault: FieldFault): FieldFault {
  return { ...fault, path: `?${fault.path.slice(1)}` };
}

function namesIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

/** RFC 6901 3: `~` and `/` inside a JSON pointer token. */
function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
