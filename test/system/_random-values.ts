/** Values for requests, made from JSON Schemas by a seeded generator: mostly proper ones, some broken in one place. */
import { randomUUID } from 'node:crypto';
import type { Schema } from './_openapi.ts';

export type Random = {
  /** 0 <= x < 1 */
  next(): number;
  /** A whole number from 0 to `count - 1`. */
  below(count: number): number;
  pick<T>(values: readonly T[]): T;
};

/** The mulberry32 generator: the same seed gives the same requests. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (count: number): number => Math.floor(next() * count);
  return { next, below, pick: (values) => values[below(values.length)] as never };
}

/** Strings that broke something somewhere once: injections, separators, encodings, numbers in disguise. */
export const HOSTILE_STRINGS = [
  '',
  ' ',
  "'; DROP TABLE call_records; --",
  "' OR '1'='1",
  '$1',
  '%',
  '_',
  '\\',
  '../../../../etc/passwd',
  '..%2f..%2f',
  'a\r\nX-Injected: yes',
  '\u0000',
  '\ud800',
  '\ufeff',
  '𝕳𝖊𝖑𝖑𝖔',
  '👨‍👩‍👧‍👦',
  'ＡＢＣ',
  '微信',
  '<script>alert(1)</script>',
  '${7*7}',
  '{{7*7}}',
  '__proto__',
  'constructor',
  'NaN',
  '1e400',
  '-0',
  '2026-02-30',
  '2026-02-30T10:00:00Z',
  '0000-01-01T00:00:00Z',
  '+275760-09-13T00:00:00.000Z',
  'x'.repeat(300),
  '字'.repeat(9_000),
  'a\u202eb',
] as const;

const HOSTILE_VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1e308,
  -1e308,
  0.1,
  2 ** 53,
  2 ** 31,
  [],
  {},
  [[[]]],
  { __proto__: 1 },
  [null],
];

export type ValueOptions = {
  readonly random: Random;
  /** Ids that exist, used for UUID fields. */
  readonly ids: readonly string[];
};

/** A value that the schema allows, as far as its keywords tell. */
export function valueFor(schema: Schema, options: ValueOptions, depth = 0): unknown {
  const { random } = options;
  const { examples } = schema as { examples?: readonly unknown[] };
  if (examples !== undefined && examples.length > 0 && random.next() < 0.5) {
    return structuredClone(random.pick(examples));
  }
  const union = (schema['anyOf'] ?? schema['oneOf']) as readonly Schema[] | undefined;
  if (union !== undefined) return valueFor(random.pick(union), options, depth + 1);
  if ('const' in schema) return schema['const'];
  if (Array.isArray(schema['enum'])) return random.pick(schema['enum']);
  const type = Array.isArray(schema['type']) ? random.pick(schema['type']) : schema['type'];
  switch (type) {
    case 'object':
      return objectFor(schema, options, depth);
    case 'array':
      return arrayFor(schema, options, depth);
    case 'string':
      return stringFor(schema, options);
    case 'integer':
      return Math.floor(numberFor(schema, random));
    case 'number':
      return numberFor(schema, random);
    case 'boolean':
      return random.next() < 0.5;
    case 'null':
      return null;
    default:
      return random.pick(HOSTILE_VALUES);
  }
}

/** The same value with one place of it broken. */
export function brokenValue(value: unknown, random: Random): unknown {
  if (Array.isArray(value) && value.length > 0 && random.next() < 0.8) {
    const at = random.below(value.length);
    return value.map((each, index) => (index === at ? brokenValue(each, random) : each));
  }
  if (typeof value === 'object' && value !== null && random.next() < 0.85) {
    const keys = Object.keys(value);
    const copy: Record<string, unknown> = { ...value };
    const key = keys.length === 0 ? 'extra' : random.pick(keys);
    const kind = random.below(4);
    if (kind === 0) delete copy[key];
    else if (kind === 1) copy['not_a_field'] = random.pick(HOSTILE_STRINGS);
    else copy[key] = brokenValue(copy[key], random);
    return copy;
  }
  return random.next() < 0.6 ? random.pick(HOSTILE_STRINGS) : random.pick(HOSTILE_VALUES);
}

function objectFor(schema: Schema, options: ValueOptions, depth: number): object {
  const { random } = options;
  const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
  const required = new Set((schema['required'] ?? []) as string[]);
  const made: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(properties)) {
    const isWanted = required.has(key) || random.next() < (depth > 3 ? 0.1 : 0.4);
    if (isWanted) made[key] = valueFor(each, options, depth + 1);
  }
  if (Object.keys(properties).length === 0 && random.next() < 0.7) {
    made[`key${random.below(5)}`] = random.pick([
      1,
      'two',
      null,
      { three: [3] },
      ...HOSTILE_STRINGS,
    ]);
  }
  return made;
}

function arrayFor(schema: Schema, options: ValueOptions, depth: number): unknown[] {
  const { random } = options;
  const min = Number(schema['minItems'] ?? 0);
  const max = Math.min(Number(schema['maxItems'] ?? 4), min + 4);
  const count = min + random.below(max - min + 1);
  const items = (schema['items'] ?? {}) as Schema;
  return Array.from({ length: count }, () => valueFor(items, options, depth + 1));
}

function stringFor(schema: Schema, { random, ids }: ValueOptions): string {
  const pattern = typeof schema['pattern'] === 'string' ? schema['pattern'] : '';
  if (/0-9a-f/i.test(pattern) && pattern.includes('{12}')) {
    return random.next() < 0.7 && ids.length > 0 ? random.pick(ids) : randomUUID();
  }
  const min = Number(schema['minLength'] ?? 0);
  const max = Math.min(Number(schema['maxLength'] ?? 60), 400);
  const kind = random.below(6);
  if (kind === 0) return random.pick(HOSTILE_STRINGS).slice(0, Math.max(max, 1));
  if (kind === 1)
    return random.pick(['2026-01-01', '2026-03-29T01:30:00Z', '2026-11-01T10:00:00+08:00']);
  if (kind === 2)
    return random.pick(['+15550100', '+1 (555) 010-0123', '1001', '*98#', '008613800138000']);
  const length = min + random.below(Math.max(1, Math.min(max, min + 20) - min + 1));
  return Array.from({ length }, () => random.pick(['a', 'Z', '9', ' ', '好', 'é', '-'])).join('');
}

function numberFor(schema: Schema, random: Random): number {
  const min = Number(schema['minimum'] ?? -10);
  const max = Number(schema['maximum'] ?? Math.max(min, 0) + 1000);
  const edges = [min, max, min + (max - min) * random.next()];
  return random.pick(edges);
}
