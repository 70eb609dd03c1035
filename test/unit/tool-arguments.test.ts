/** Arguments of a tool against its schema: bad ones are told in words, and no schema keeps the process busy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { argumentFault, MAX_ARGUMENT_CHARS } from '#sessions/tools/argument-check.ts';

type Json = Record<string, unknown>;

function faultOf(schema: Json, given: Json): string | null {
  return argumentFault(schema, given, (reason) => assert.fail(reason));
}

const ORDER = {
  type: 'object',
  properties: {
    item: { type: 'string', minLength: 1 },
    count: { type: 'integer', minimum: 1, maximum: 9 },
    size: { enum: ['small', 'large'] },
    pattern: { type: 'string', pattern: '^(a+)+$' },
  },
  required: ['item'],
  additionalProperties: false,
};

test('arguments that fit, and what is wrong with those that do not', () => {
  const rows: [Json, Json, RegExp | null][] = [
    [ORDER, { item: 'tea', count: 2, size: 'small' }, null],
    [ORDER, {}, /must have required properties item: item|item/],
    [ORDER, { item: 7 }, /\/item must be string/],
    [ORDER, { item: 'tea', count: 10 }, /\/count must be <= 9/],
    [ORDER, { item: 'tea', count: 1.5 }, /\/count must be integer/],
    [ORDER, { item: 'tea', size: 'huge' }, /\/size/],
    [ORDER, { item: 'tea', colour: 'red' }, /additional properties: colour/],
    [{}, { anything: 1 }, null],
    [
      { type: 'object', properties: { at: { anyOf: [{ type: 'string' }, { type: 'null' }] } } },
      { at: 5 },
      /\/at/,
    ],
    [
      {
        type: 'object',
        $defs: { n: { type: 'integer' } },
        properties: { n: { $ref: '#/$defs/n' } },
      },
      { n: 'x' },
      /\/n must be integer/,
    ],
    [
      { type: 'object', properties: { n: { $ref: 'https://schemas.example/n', minimum: 3 } } },
      { n: 2 },
      /\/n must be >= 3/,
    ],
    [
      { type: 'object', properties: { list: { type: 'array', items: { type: 'number' } } } },
      { list: ['a'] },
      /\/list\/0 must be number/,
    ],
  ];
  for (const [schema, given, expected] of rows) {
    const fault = faultOf(schema, given);
    const what = JSON.stringify([schema, given, fault]);
    if (expected === null) assert.equal(fault, null, what);
    else assert.match(fault ?? '', expected, what);
  }
});

test('schemas that lead in circles, multiply, or hold a dear pattern take no time', () => {
  const doubling: Json = {};
  for (let n = 0; n < 40; n++)
    doubling[`d${n}`] = { allOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] };
  const trees = {
    $ref: '#/$defs/tree',
    $defs: { tree: { type: 'object', properties: { kids: { items: { $ref: '#/$defs/tree' } } } } },
  };
  let deep: Json = { type: 'string' };
  for (let n = 0; n < 5_000; n++) deep = { not: deep };
  const rows: [Json, Json][] = [
    [{ $ref: '#' }, { a: 1 }],
    [{ $ref: '#/$defs/d0', $defs: doubling }, { a: 1 }],
    [trees, { kids: [{ kids: [{ kids: [] }] }] }],
    [{ type: 'object', properties: { a: deep } }, { a: 'x' }],
    [ORDER, { item: 'tea', pattern: `${'a'.repeat(40)}!` }],
  ];
  for (const [at, [schema, given]] of rows.entries()) {
    const startMs = performance.now();
    argumentFault(schema, given, () => undefined);
    assert.ok(performance.now() - startMs < 500, `row ${at}`);
  }
  assert.equal(faultOf(trees, { kids: [{ kids: [] }] }), null);
  assert.match(faultOf(trees, { kids: [7] }) ?? '', /must be/);
});

test('what is too long is not looked at, and a schema that is none allows anything', () => {
  assert.match(faultOf({}, { text: 'x'.repeat(MAX_ARGUMENT_CHARS) }) ?? '', /more than 32768/);
  for (const schema of [
    { type: 5 },
    { properties: 7 },
    { required: 'a' },
    { enum: 3 },
    { minimum: 'x' },
  ]) {
    const said: string[] = [];
    const fault = argumentFault(schema, { a: 1 }, (reason) => said.push(reason));
    assert.ok(fault === null || said.length === 0, JSON.stringify(schema));
  }
});
