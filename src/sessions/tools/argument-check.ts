/**
 * Arguments against the JSON Schema of a tool. Schemas are a customer's or a foreign server's text: references are put
 * in their place first, within a bound, and patterns are left out, so that no schema keeps the process busy.
 */
import { Check, Errors } from 'typebox/schema';
import { messageOf } from '#lib/errors.ts';

type Json = Readonly<Record<string, unknown>>;

/** Objects of a schema with its references put in; what lies behind allows anything. */
const MAX_NODES = 2_000;
const MAX_DEPTH = 64;
/** Of a schema that holds itself, such as a tree. */
const MAX_TURNS = 4;
export const MAX_ARGUMENT_CHARS = 32_768;
const MAX_FAULTS = 5;

/** Keywords whose value is a schema, a list of schemas, or schemas by name. */
const ONE = new Set([
  ...['items', 'additionalItems', 'additionalProperties', 'unevaluatedItems', 'contains', 'not'],
  ...['unevaluatedProperties', 'propertyNames', 'if', 'then', 'else'],
]);
const SEVERAL = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const NAMED = new Set(['properties', 'dependentSchemas']);
/** Patterns may take for ever on thirty characters; definitions have been put where they are used. */
const LEFT_OUT = new Set([
  ...['pattern', 'patternProperties', '$ref', '$dynamicRef', '$recursiveRef', '$defs'],
  ...['definitions', '$id', '$schema', '$anchor', '$dynamicAnchor'],
]);

/** In words for the model, or null when nothing is wrong. A schema that is none allows anything. */
export function argumentFault(
  schema: Json,
  given: Readonly<Record<string, unknown>>,
  onBadSchema: (reason: string) => void,
): string | null {
  const length = JSON.stringify(given).length;
  if (length > MAX_ARGUMENT_CHARS)
    return `the arguments have more than ${MAX_ARGUMENT_CHARS} characters`;
  try {
    const plain = new Plain(schema).schema;
    if (Check(plain, given)) return null;
    const [, errors] = Errors(plain, given);
    const faults = errors
      .filter(({ keyword }) => keyword !== 'boolean')
      .map(({ instancePath, message, params }) => {
        const names = namesIn(params);
        return `${instancePath === '' ? 'the arguments' : instancePath} ${message}${names}`;
      });
    return [...new Set(faults)].slice(0, MAX_FAULTS).join('; ') || 'the arguments do not fit';
  } catch (error) {
    onBadSchema(messageOf(error));
    return null;
  }
}

function namesIn(params: object): string {
  const { requiredProperties, additionalProperties } = params as Record<string, unknown>;
  const names = requiredProperties ?? additionalProperties;
  return Array.isArray(names) ? `: ${names.join(', ')}` : '';
}

/** A schema without references and patterns. */
class Plain {
  readonly schema: Json;
  readonly #root: Json;
  #nodes = 0;

  constructor(root: Json) {
    this.#root = root;
    this.schema = this.#plain(root, []) as Json;
  }

  #plain(value: unknown, refs: readonly string[], depth = 0): unknown {
    if (typeof value === 'boolean') return value;
    if (!isObject(value) || ++this.#nodes > MAX_NODES || depth > MAX_DEPTH) return {};
    const kept: Record<string, unknown> = {};
    for (const [name, each] of Object.entries(value)) {
      if (LEFT_OUT.has(name)) continue;
      kept[name] = this.#keyword(name, each, refs, depth + 1);
    }
    const target = value['$ref'];
    if (typeof target !== 'string') return kept;
    // One that leads back to itself ends somewhere: what is that deep may be anything.
    const turns = refs.filter((each) => each === target).length;
    const known = turns >= MAX_TURNS ? {} : this.#at(target);
    const meant = this.#plain(known, [...refs, target], depth + 1);
    return Object.keys(kept).length === 0 ? meant : { allOf: [meant, kept] };
  }

  #keyword(name: string, value: unknown, refs: readonly string[], depth: number): unknown {
    if (SEVERAL.has(name) || (name === 'items' && Array.isArray(value))) {
      return Array.isArray(value) ? value.map((each) => this.#plain(each, refs, depth)) : [];
    }
    if (ONE.has(name)) return this.#plain(value, refs, depth);
    if (!NAMED.has(name) || !isObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, this.#plain(each, refs, depth)]),
    );
  }

  /** Only inside the schema itself; whatever else is named allows anything. */
  #at(target: string): unknown {
    if (target === '#') return this.#root;
    if (!target.startsWith('#/')) return {};
    const names = target.slice(2).split('/');
    return names.reduce<unknown>((at, name) => {
      const key = decoded(name).replaceAll('~1', '/').replaceAll('~0', '~');
      return isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
    }, this.#root);
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a lone % is part of the name
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
