/** Speakable pieces: where text is cut, what is not spoken, and that chunking makes no difference. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentenceSplitter, splitSentences } from '#providers/sentences.ts';
import { joinPieces, speakable, unitsOf } from '#providers/speakable.ts';

const ROWS: readonly [name: string, text: string, pieces: readonly string[]][] = [
  ['empty', '', []],
  ['only markup', '**\n---\n```\n', []],
  ['one sentence without an end', 'Hello there', ['Hello there']],
  ['two sentences', 'How are you? I am fine.', ['How are you?', 'I am fine.']],
  ['decimals', 'It costs 3.5 dollars. Really.. yes.', ['It costs 3.5 dollars.', 'Really.. yes.']],
  [
    'times and hosts',
    'At 10:30 see example.com today. Good luck.',
    ['At 10:30 see example.com today.', 'Good luck.'],
  ],
  [
    'titles',
    'Ask Dr. Smith or Mrs. Jones. They know.',
    ['Ask Dr. Smith or Mrs. Jones.', 'They know.'],
  ],
  [
    'latin abbreviations',
    'Yes. Use fruit, e.g. apples, at 5 p.m. today. Good luck.',
    ['Yes.', 'Use fruit, e.g. apples, at 5 p.m. today.', 'Good luck.'],
  ],
  ['initials', 'Call J. R. Doe now. He waits.', ['Call J. R. Doe now.', 'He waits.']],
  [
    'first clause is enough',
    'I can help you with that, just tell me your order number.',
    ['I can help you with that,', 'just tell me your order number.'],
  ],
  [
    'first clause too short',
    'Well, I can help you with that.',
    ['Well, I can help you with that.'],
  ],
  [
    'only the first is cut at a comma',
    'Yes. If you want, I can help you with that too.',
    ['Yes.', 'If you want, I can help you with that too.'],
  ],
  [
    'a later short one waits',
    'All is well. Yes. We can go on.',
    ['All is well.', 'Yes. We can go on.'],
  ],
  [
    'numbers with commas',
    'It has 1,000,000 parts. All work.',
    ['It has 1,000,000 parts.', 'All work.'],
  ],
  ['chinese', '您的订单已经发货。请问还有什么需要？', ['您的订单已经发货。', '请问还有什么需要？']],
  [
    'chinese first clause',
    '好的没问题，我马上为您查询订单。',
    ['好的没问题，', '我马上为您查询订单。'],
  ],
  [
    'chinese later clauses stay',
    '好。我查到了，您的订单已经发货，明天到。',
    ['好。', '我查到了，您的订单已经发货，明天到。'],
  ],
  ['closing quotes stay', '他说：“再见。”然后走了。', ['他说：“再见。”', '然后走了。']],
  ['ellipsis', '请稍等……我查一下。', ['请稍等……', '我查一下。']],
  [
    'mixed',
    '我是 Callyard。I speak English. 也说中文。',
    ['我是 Callyard。', 'I speak English.', '也说中文。'],
  ],
  ['ascii stop before chinese', 'I am here.您好您好', ['I am here.', '您好您好']],
  ['list', '1. Apples\n2. **Pears** and\n- `plums`', ['1. Apples', '2. Pears and', 'plums']],
  [
    'heading and link',
    '# Title here\nSee [the page](https://example.com/a.b?c=d). Bye now.',
    ['Title here', 'See the page.', 'Bye now.'],
  ],
  ['emoji', 'Great 👍🏽! See you 👩‍👩‍👧 soon 🇨🇳.', ['Great !', 'See you soon .']],
];

for (const [name, text, pieces] of ROWS) {
  test(`splitSentences: ${name}`, () => assert.deepEqual(splitSentences(text), pieces));
}

test('a very long sentence is cut at a comma, or else at a space, never inside a word', () => {
  const clause = 'the quick brown fox jumps over the lazy dog and runs away';
  for (const text of [
    `Yes. ${Array(8).fill(clause).join(', ')}`,
    `Yes. ${Array(8).fill(clause).join(' ')}`,
  ]) {
    const pieces = splitSentences(text);
    assert.ok(pieces.length > 2);
    assert.ok(
      pieces.every((piece) => piece.length <= 200),
      JSON.stringify(pieces),
    );
    assert.equal(pieces.join(' '), text);
  }
  const endless = splitSentences('x'.repeat(1000) + '😀'.repeat(300) + '好'.repeat(400));
  assert.equal(endless.join('').length, 1400);
});

test('the first piece comes as soon as its end is certain', () => {
  const splitter = sentenceSplitter();
  assert.deepEqual(splitter.push('Hello.'), []);
  assert.deepEqual(splitter.push(' '), ['Hello.']);
  assert.deepEqual(splitter.push('It is 3.'), []);
  assert.deepEqual(splitter.push('5 now. '), ['It is 3.5 now.']);
  assert.deepEqual(splitter.end(), []);
});

test('chunking makes no difference (seeded)', () => {
  const alphabet = [
    'a',
    'Dr',
    'word',
    ' ',
    ' ',
    '.',
    ',',
    '!',
    '?',
    '\n',
    '3',
    '。',
    '，',
    '好',
    '您',
    '“',
    '”',
    '*',
    '`',
    '😀',
    ')',
    '[',
    ':',
    '…',
  ];
  let seed = 20260101;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let round = 0; round < 300; round++) {
    const text = Array.from({ length: 60 }, () => alphabet[random(alphabet.length)]).join('');
    const splitter = sentenceSplitter();
    const pieces: string[] = [];
    for (let at = 0; at < text.length;) {
      const size = 1 + random(7);
      pieces.push(...splitter.push(text.slice(at, at + size)));
      at += size;
    }
    pieces.push(...splitter.end());
    assert.deepEqual(pieces, splitSentences(text), `round ${round}: ${JSON.stringify(text)}`);
    const words = (all: string): string => all.replace(/[^\p{L}\p{N}]/gu, '');
    assert.equal(words(pieces.join('')), words(text), `round ${round}: words were lost`);
  }
});

test('speakable strips what cannot be spoken', () => {
  const rows: [string, string][] = [
    ['a\u0000b\u0007c', 'abc'],
    ['**bold** and *it* and __u__ and _v_', 'bold and it and u and v'],
    ['3 * 4 = 12', '3 * 4 = 12'],
    ['尺寸是10*20厘米', '尺寸是10*20厘米'],
    ['手机138****0000，**请**核对', '手机138****0000，请核对'],
    ['按*键返回', '按*键返回'],
    ['返回请按*。', '返回请按*。'],
    ['请按*1*键', '请按1键'],
    ['To go back, press *.', 'To go back, press *.'],
    ['* **one** item', 'one item'],
    ['snake_case_name', 'snake_case_name'],
    ['> quoted', 'quoted'],
    ['| a | b |', 'a b'],
    ['```js', ''],
    ['\ud83d alone', 'alone'],
    ['?!', ''],
    ['你好👋世界', '你好世界'],
  ];
  for (const [text, expected] of rows) assert.equal(speakable(text), expected, text);
});

test('unitsOf counts Chinese characters and words', () => {
  const rows: [string, number][] = [
    ['', 0],
    ["I don't know", 3],
    ['您好 Callyard 3.5', 5],
    ['，。', 0],
  ];
  for (const [text, count] of rows) assert.equal(unitsOf(text), count, text);
});

test('joinPieces puts a space only where both sides use spaces', () => {
  assert.equal(joinPieces(['Hello.', 'How are you?']), 'Hello. How are you?');
  assert.equal(joinPieces(['您好。', '请说。']), '您好。请说。');
  assert.equal(joinPieces(['您好。', 'Hello.', '再见']), '您好。Hello.再见');
  assert.equal(joinPieces([]), '');
});
