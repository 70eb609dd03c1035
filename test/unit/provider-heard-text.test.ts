/** What the caller heard of an interrupted utterance. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heardText } from '#providers/heard-text.ts';
import { simWords, SIM_WORD_MS } from '#providers/sim/tts.ts';

const EN = 'Hello, this is Callyard.';
const EN_MARKS = [
  { chars: 6, ms: 400 },
  { chars: 11, ms: 700 },
  { chars: 14, ms: 900 },
  { chars: 24, ms: 1500 },
];
const ZH = '您好，这里是';
const ZH_MARKS = [1, 3, 4, 5, 6].map((chars, i) => ({ chars, ms: 200 * (i + 1) }));

test('heardText cuts at the last word that has ended', () => {
  const rows: [string, typeof EN_MARKS, number, string][] = [
    [EN, EN_MARKS, 0, ''],
    [EN, EN_MARKS, 399, ''],
    [EN, EN_MARKS, 400, 'Hello,'],
    [EN, EN_MARKS, 899, 'Hello, this'],
    [EN, EN_MARKS, 1500, EN],
    [EN, EN_MARKS, 99_999, EN],
    [ZH, ZH_MARKS, 250, '您'],
    [ZH, ZH_MARKS, 400, '您好，'],
    [ZH, ZH_MARKS, 999, '您好，这里'],
    [EN, [{ chars: 500, ms: 10 }], 10, EN],
    [EN, [...EN_MARKS].reverse(), 750, 'Hello, this'],
  ];
  for (const [text, marks, heardMs, expected] of rows) {
    assert.equal(heardText({ text, marks, heardMs }), expected, `${text} at ${heardMs}`);
  }
});

test('marks inside a word or a surrogate pair go back to its start', () => {
  assert.equal(
    heardText({ text: 'Hello world', marks: [{ chars: 8, ms: 1 }], heardMs: 5 }),
    'Hello',
  );
  assert.equal(heardText({ text: '好😀', marks: [{ chars: 2, ms: 1 }], heardMs: 5 }), '好');
  assert.equal(heardText({ text: '您好abc', marks: [{ chars: 4, ms: 1 }], heardMs: 5 }), '您好');
});

test('a voice without marks is cut in proportion', () => {
  assert.equal(heardText({ text: EN, marks: [], heardMs: 500, totalMs: 1000 }), 'Hello, this');
  assert.equal(heardText({ text: ZH, marks: [], heardMs: 500, totalMs: 1000 }), '您好，');
  assert.equal(heardText({ text: EN, marks: [], heardMs: 5000, totalMs: 1000 }), EN);
  assert.equal(heardText({ text: EN, marks: [], heardMs: 500 }), '');
});

test('it is always a prefix, grows with time and ends whole (seeded)', () => {
  const words = ['Hello', 'you', '您', '好吗', 'a', "don't", '3.5', '，', ', ', ' '];
  let seed = 7;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let round = 0; round < 200; round++) {
    const text = Array.from({ length: 12 }, () => words[random(words.length)])
      .join('')
      .trim();
    const units = simWords(text);
    const marks = units.map((word, i) => ({ chars: word.end, ms: (i + 1) * SIM_WORD_MS }));
    let before = '';
    for (let heardMs = 0; heardMs <= marks.length * SIM_WORD_MS; heardMs += 90) {
      const heard = heardText({ text, marks, heardMs });
      assert.ok(
        text.startsWith(heard) && heard.startsWith(before),
        `${text}: ${before} -> ${heard}`,
      );
      before = heard;
    }
  }
});
