/** Tables as they come: line ends of all kinds, quotes, a byte order mark, and rows that are none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTargetsCsv } from '#api/campaign-csv.ts';
import { readCsv } from '#api/csv-body.ts';
import { Problem } from '#api/problem.ts';

type Line = readonly [line: number, phone: string | null];

function contactLines(text: string): Line[] {
  const { rows, rejected } = readCsv(text, { required: ['phone'], maxRows: 100_000 });
  const lines: Line[] = [
    ...rows.map(({ line, cells }): Line => [line, cells.get('phone') ?? '']),
    ...rejected.map(({ line }): Line => [line, null]),
  ];
  return lines.sort(([a], [b]) => a - b);
}

async function targetLines(text: string): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const { target, rejected } of readTargetsCsv(Buffer.from(text)))
    lines.push([target?.line ?? rejected?.line ?? 0, target?.phone ?? null]);
  return lines;
}

const TABLES: [name: string, text: string, lines: Line[]][] = [
  [
    'line feeds',
    'phone,name\n101,a\n102,b',
    [
      [2, '101'],
      [3, '102'],
    ],
  ],
  [
    'Windows',
    '\ufeffphone,name\r\n101,a\r\n\r\n102,b\r\n',
    [
      [2, '101'],
      [4, '102'],
    ],
  ],
  [
    'carriage returns',
    'phone,name\r101,a\r102,b\r',
    [
      [2, '101'],
      [3, '102'],
    ],
  ],
  [
    'a cell of two lines',
    'phone,name\r\n101,"a\r\nb"\r\n102,b',
    [
      [2, '101'],
      [4, '102'],
    ],
  ],
  [
    'quotes in quotes',
    'phone,name\n101,"say ""hi"""\n102,b',
    [
      [2, '101'],
      [3, '102'],
    ],
  ],
  [
    'a quote that never ends',
    'phone,name\n101,"a\n102,b\n103,c',
    [
      [2, null],
      [3, '102'],
      [4, '103'],
    ],
  ],
  [
    'text behind a quote',
    'phone,name\n101,"a"b\n102,b',
    [
      [2, null],
      [3, '102'],
    ],
  ],
  [
    'too many cells',
    'phone,name\n101,a,b\n102,b',
    [
      [2, null],
      [3, '102'],
    ],
  ],
  [
    'too few cells',
    'phone,name\n101\n102,b',
    [
      [2, '101'],
      [3, '102'],
    ],
  ],
  [
    'two rows in one line',
    'phone,name\n101,a\r102,b\n103,c',
    [
      [2, null],
      [3, '103'],
    ],
  ],
  [
    'U+0000',
    'phone,name\n101,a\u0000\n102,b',
    [
      [2, null],
      [3, '102'],
    ],
  ],
];

test('contacts and targets read a table alike: what is no row costs its own line only', async () => {
  for (const [name, text, lines] of TABLES) {
    assert.deepEqual(contactLines(text), lines, `${name}: contacts`);
    assert.deepEqual(await targetLines(text), lines, `${name}: targets`);
  }
});

test('a row that is none is found in a long table too', async () => {
  const lines = Array.from({ length: 1_200 }, (_, at) => `${10_000 + at},n`);
  lines[600] = '1,"never ends';
  const text = ['phone,name', ...lines].join('\n');
  for (const read of [contactLines(text), await targetLines(text)]) {
    assert.equal(read.length, 1_200);
    assert.deepEqual(
      read.filter(([, phone]) => phone === null),
      [[602, null]],
    );
  }
});

test('no header, one that names a column twice, or not the phone, is no table', async () => {
  for (const text of ['', '\n \n', 'name\nAnn', 'phone,phone\n1,2', 'phone,\n1,2', '"phone\n101']) {
    assert.throws(() => contactLines(text), Problem, JSON.stringify(text));
    await assert.rejects(targetLines(text), Problem, JSON.stringify(text));
  }
});
