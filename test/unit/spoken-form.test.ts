/** Figures in words, and the way back from the words to the figures. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Language, TtsProvider, TtsRequest } from '#providers/contract.ts';
import { heardText } from '#providers/heard-text.ts';
import { evenMarks } from '#providers/marks.ts';
import { spokenForm } from '#providers/spoken-form/spoken-form.ts';
import { speakWritten } from '#providers/spoken-voice.ts';
import { collect } from './_provider-contract.ts';
import { EN_SPOKEN } from './_spoken-rows-en.ts';
import { ZH_SPOKEN } from './_spoken-rows-zh.ts';

for (const [language, rows] of [
  ['zh', ZH_SPOKEN],
  ['en', EN_SPOKEN],
] as const) {
  test(`${rows.length} ways to write, as they are said in ${language}`, () => {
    for (const [written, spoken] of rows)
      assert.equal(spokenForm(written, language).text, spoken, written);
    assert.ok(rows.length >= 100);
  });
}

test('words before the piece tell what its number is', () => {
  const rows: [string, string, Language, string][] = [
    ['您的订单号是：', '20261121', 'zh', '二零二六，幺幺二幺'],
    ['一共有', '20261121', 'zh', '两千零二十六万一千一百二十一'],
    ['请拨打', '12345。', 'zh', '幺二三四五。'],
    ['Your code is:', '1234.', 'en', 'one two three four.'],
    ['It costs', '1234.', 'en', 'one thousand two hundred thirty-four.'],
  ];
  for (const [before, text, language, spoken] of rows)
    assert.equal(spokenForm(text, language, before).text, spoken, before + text);
});

test('plain words are left alone', () => {
  for (const text of [
    '',
    ' ',
    '您好，请问有什么可以帮您？',
    "Hello, it's me - who else?",
    'and/or',
    '……',
  ])
    for (const language of ['zh', 'en'] as const) {
      const form = spokenForm(text, language);
      assert.equal(form.text, text);
      assert.equal(form.written(text.length), text.length);
      assert.equal(form.written(99), text.length);
      assert.equal(form.written(-1), 0);
    }
});

test('a number has been said when all of it has', () => {
  const rows: [string, Language, (readonly [heard: string, written: string])[]][] = [
    [
      '请拨打13800138000咨询',
      'zh',
      [
        ['请拨', '请拨'],
        ['请拨打幺三八', '请拨打'],
        ['请拨打幺三八，零零幺三，八零零', '请拨打'],
        ['请拨打幺三八，零零幺三，八零零零', '请拨打13800138000'],
        ['请拨打幺三八，零零幺三，八零零零咨', '请拨打13800138000咨'],
      ],
    ],
    [
      'It is $12.50 in all.',
      'en',
      [
        ['It is twelve dollars', 'It is '],
        ['It is twelve dollars and fifty cents', 'It is $12.50'],
        ['It is twelve dollars and fifty cents in', 'It is $12.50 in'],
      ],
    ],
  ];
  for (const [text, language, cuts] of rows) {
    const form = spokenForm(text, language);
    for (const [heard, written] of cuts) {
      assert.ok(form.text.startsWith(heard), `${form.text} / ${heard}`);
      assert.equal(text.slice(0, form.written(heard.length)), written, heard);
    }
  }
});

/** Says every word in 100 ms, with marks of its own text. */
function voiceThatMarks(asked: TtsRequest[]): Pick<TtsProvider, 'speak'> {
  return {
    async *speak(request) {
      asked.push(request);
      const pcm = new Int16Array(request.text.length * 800);
      yield { pcm, marks: evenMarks(request.text, pcm.length) };
      await Promise.resolve();
    },
  };
}

test('a voice says the words, and what was heard is told as it is written', async () => {
  const asked: TtsRequest[] = [];
  const text = '您的验证码是482913，请在5分钟内输入。';
  const request = { text, language: 'zh' as const, voice: 'x' };
  const { signal } = new AbortController();
  const { items: chunks } = await collect(speakWritten(voiceThatMarks(asked), request, signal));
  assert.deepEqual(asked, [{ ...request, text: '您的验证码是四八二，九幺三，请在五分钟内输入。' }]);
  const marks = chunks.flatMap((chunk) => chunk.marks);
  const totalMs = (chunks[0]?.pcm.length ?? 0) / 8;
  const heard = new Set<string>();
  for (let heardMs = 0; heardMs <= totalMs; heardMs += 10)
    heard.add(heardText({ text, marks, heardMs }));
  assert.ok(heard.has('您的验证码是') && heard.has('您的验证码是482913，') && heard.has(text));
  for (const each of heard)
    assert.doesNotMatch(each, /是(?:4|48|482|4829|48291)$/, 'never part of it');
  assert.equal(marks.at(-1)?.chars, text.length);
});

/** Deterministic numbers 0..limit-1. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % limit;
  };
}

const SCRAPS = [
  ...['1', '2', '0', '21', '007', '2026', '1380013', '8000', '99999999999', '3.5', '1,234', '½'],
  ...[
    '年',
    '月',
    '日',
    '号',
    '元',
    '点',
    '%',
    '％',
    '￥',
    '$',
    '€',
    'USD',
    ' ',
    '-',
    '–',
    '~',
    '/',
    ':',
    '：',
    '.',
    ',',
    '，',
    '。',
  ],
  ...[
    '+',
    '×',
    '=',
    '≥',
    '±',
    '#',
    '&',
    '@',
    '_',
    '(',
    ')',
    '℃',
    'kg',
    'GB',
    'm²',
    'km/h',
    'A',
    'iPhone',
    'v',
    'V',
    'pm',
    'AM',
  ],
  ...[
    '电话',
    '订单号',
    '验证码',
    '第',
    '比分',
    '在',
    '个',
    'code ',
    'order number ',
    'call ',
    'Nov ',
    'May ',
    'st',
    'th',
    'https://',
    'www.',
    'example',
    '.com',
    '😀',
    '\u0000',
    '\ud800',
  ],
];

test('whatever is written: nothing throws, and the way back rises to the end (seeded)', () => {
  const random = randomOf(20261121);
  for (let round = 0; round < 4000; round++) {
    const text = Array.from({ length: 1 + random(14) }, () => SCRAPS[random(SCRAPS.length)]).join(
      '',
    );
    for (const language of ['zh', 'en'] as const) {
      const form = spokenForm(text, language, round % 3 === 0 ? '电话 code ' : '');
      let last = 0;
      for (let chars = 0; chars <= form.text.length; chars++) {
        const written = form.written(chars);
        assert.ok(written >= last && written <= text.length, `${text}: ${written} after ${last}`);
        last = written;
      }
      assert.equal(last, text.length, text);
      assert.doesNotMatch(form.text, /undefined|NaN|\[object/, text);
      assert.ok(form.text.length <= text.length * 14 + 20, `${text} -> ${form.text}`);
    }
  }
});

test('no digit is left to the voice in ordinary text (seeded)', () => {
  const random = randomOf(7);
  for (let round = 0; round < 2000; round++) {
    const number = String(random(10 ** (1 + random(7))));
    const [zh, en] = [`一共${number}，`, `It was ${number} then`];
    assert.doesNotMatch(spokenForm(zh, 'zh').text, /\d/, zh);
    assert.doesNotMatch(spokenForm(en, 'en').text, /\d/, en);
  }
});

test('a long piece takes no time to speak of', () => {
  const worst = [
    '1-'.repeat(500),
    'a1.'.repeat(300),
    '1 '.repeat(500),
    'a@'.repeat(500),
    '1,234,'.repeat(200),
    `code ${'A1-'.repeat(300)}`,
    'www.a-'.repeat(100),
  ];
  const startMs = performance.now();
  for (const text of worst)
    for (const language of ['zh', 'en'] as const) spokenForm(text, language);
  assert.ok(performance.now() - startMs < 1500, `${performance.now() - startMs} ms`);
});
