/** Masking of personal data: one row per rule, per trap and per order of the rules (contract 7.3). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maskDeep, maskNumber, maskText } from '#lib/mask.ts';

test('texts', () => {
  const rows: [string, string, string][] = [
    // Identity numbers; the persons do not exist.
    ['valid date and check digit', '11010519491231002X', '110105********002X'],
    ['lower-case x', '11010519491231002x', '110105********002x'],
    ['valid date, wrong check digit', '110105194912310020', '110105********0020'],
    ['wrong date, valid check digit', '110105194913310021', '110105********0021'],
    ['neither', '110105194913310022', '110105194913310022'],
    ['with spaces', '110105 19491231 002X', '110105 ******** 002X'],
    ['15 digits with a date', '110105491231002', '110105*****1002'],
    ['15 digits without', '110105491331002', '110105491331002'],
    ['touching a digit', '211010519491231002X', '211010519491231002X'],
    ['before phones: no mobile is cut out of it', '110105138001380027', '110105138001380027'],
    // Payment cards; Luhn holds by construction.
    ['16 digits', 'card 4111111111111111.', 'card ************1111.'],
    ['with spaces', '4111 1111 1111 1111', '**** **** **** 1111'],
    ['with hyphens', '4111-1111-1111-1111', '****-****-****-1111'],
    ['Luhn fails', '4111111111111112', '4111111111111112'],
    ['13 digits', '4222222222222', '*********2222'],
    ['19 digits', '6212345678901232001', '***************2001'],
    // Telephone numbers.
    ['mobile', '13800138000', '138****8000'],
    ['mobile in a sentence', '打13800138000找我', '打138****8000找我'],
    ['with spaces', '138 0013 8000', '138 **** 8000'],
    ['+86', '+8613800138000', '+86138****8000'],
    ['+86 apart', '+86 138-0013-8000', '+86 138-****-8000'],
    ['86', '8613800138000', '86138****8000'],
    ['two in a row', '13800138000 13900139000', '138****8000 139****9000'],
    ['touching a digit', '213800138000', '213800138000'],
    ['second digit too low', '12800138000', '12800138000'],
    ['Chinese numerals', '幺三八零零一三八〇〇〇', '幺三八****八〇〇〇'],
    ['mixed', '138零零一三8000', '138****8000'],
    ['full-width digits', '１３８００１３８０００', '１３８****８０００'],
    ['other number in + form', 'call +15550100123 now', 'call +155******23 now'],
    ['+ form with separators', '+44 20 7946 0958', '+44 2* **** **58'],
    ['+ form too short', '+1234567', '+1234567'],
    ['+ form of 8 digits', '+12345678', '+123***78'],
    ['ideographic spaces', '138\u30000013\u30008000', '138\u3000****\u30008000'],
    ['typeset hyphens', '138\u20110013\u20118000', '138\u2011****\u20118000'],
    ['full-width plus', '＋1 555 0100123', '＋1 55* *****23'],
    ['plain number without +', 'order 20260101', 'order 20260101'],
    // E-mail.
    ['mail', 'ann.b+x@mail.example.com!', 'a***@mail.example.com!'],
    ['mail in Chinese text', '邮箱是ann@example.com。', '邮箱是a***@example.com。'],
    ['mail made of a mobile', '13800138000@example.com', '1***@example.com'],
    ['no mail', 'a@b', 'a@b'],
    // Everything at once.
    ['nothing', '你好，今天天气不错', '你好，今天天气不错'],
    ['empty', '', ''],
    [
      'all',
      '11010519491231002X, 4111111111111111, 13800138000, x@example.com',
      '110105********002X, ************1111, 138****8000, x***@example.com',
    ],
  ];
  for (const [name, text, expected] of rows) assert.equal(maskText(text), expected, name);
});

test('masking twice changes nothing more', () => {
  const text = '11010519491231002X +15550100123 4111 1111 1111 1111 ann@example.com';
  assert.equal(maskText(maskText(text)), maskText(text));
});

test('numbers on their own', () => {
  const rows = [
    ['+15550100123', '+155******23'],
    ['13800138000', '138****8000'],
    ['02155501234', '021******34'],
    ['1001', '1001'],
    ['100123', '100123'],
    ['*98#', '*98#'],
    ['sip:alice@192.0.2.1', 'sip:a***@192.0.2.1'],
    ['sips:+15550100123@example.com;transport=tls', 'sips:+***@example.com;transport=tls'],
  ] as const;
  for (const [number, expected] of rows) assert.equal(maskNumber(number), expected, number);
});

test('values inside JSON, telephone numbers written as numbers too; keys and ids stay', () => {
  const id = '13800138-0000-4000-8000-138001380000';
  const value = { '13800138000': ['13800138000', { a: 13800138000, c: 42, id, n: null, b: true }] };
  assert.deepEqual(maskDeep(value), {
    '13800138000': ['138****8000', { a: '138****8000', c: 42, id, n: null, b: true }],
  });
});

test('long texts are masked in linear time', () => {
  // Each would take minutes with a rule that starts again at every character.
  for (const piece of ['1', '1 ', 'a.', 'a@', '@a.', '+1-']) {
    const text = piece.repeat(20_000);
    assert.equal(maskText(text).length > 0, true);
  }
});
