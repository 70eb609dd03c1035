/** When the caller's turn is over: forms of what was said, in Chinese and English, and what the dials make of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  endOfTurnMs,
  turnFormOf,
  WAIT_MS,
  type PauseDials,
  type PauseFacts,
  type TurnForm,
} from '#sessions/end-of-turn.ts';
import { askedOf, lengthsOf, type Asked } from '#sessions/end-of-turn-asked.ts';
import { digitsOf } from '#sessions/turn-words-digits.ts';

const DIALS: PauseDials = { minMs: 0, maxMs: 60_000, responsiveness: 0.5 };

function facts(text: string, rest: Partial<PauseFacts> = {}): PauseFacts {
  const language = /\p{Script=Han}/u.test(text) ? 'zh' : 'en';
  return {
    ...{ language, text, reads: true, isFinal: true, speechMs: 1500 },
    ...{ lastAgentText: null, likelihood: null },
    ...rest,
  };
}

function assertForms(rows: readonly (readonly [string | null, string, TurnForm])[]): void {
  const wrong = rows.flatMap(([lastAgentText, text, expected]) => {
    const form = turnFormOf(facts(text, { lastAgentText }));
    return form === expected ? [] : [`${lastAgentText} | ${text}: ${form}, not ${expected}`];
  });
  assert.deepEqual(wrong, []);
}

test('what the agent asked for', () => {
  const rows: readonly (readonly [string | null, Asked])[] = [
    [null, 'nothing'],
    ['好的，马上为您处理。', 'nothing'],
    ['请问您的手机号是多少？', 'phone'],
    ['请提供身份证号。', 'identity'],
    ['验证码发过去了，请读给我。', 'code'],
    ['请问这是您的手机号吗？', 'confirmation'],
    ['我把链接发到您手机上，您看可以吧', 'confirmation'],
    ['您是要退款还是换货？', 'question'],
    ['请问几位，哪天入住？', 'several'],
    ['还有别的需要吗？', 'more'],
    ['有什么可以帮您？', 'story'],
    ['请问您的出生日期？', 'birth'],
    ["What's the best number to reach you?", 'phone'],
    ['Could you read me the security code?', 'code'],
    ['Is that your phone number?', 'confirmation'],
    ['So you would like to cancel, right?', 'confirmation'],
    ['Can I have your order number?', 'number'],
    ['What is it, and where did you buy it?', 'several'],
    ['Anything else?', 'more'],
    ['How can I help you?', 'story'],
    ['Where do you live?', 'address'],
    ['Thank you, one moment please.', 'nothing'],
  ];
  for (const [text, expected] of rows) assert.equal(askedOf(text), expected, String(text));
});

test('figures as they are dictated', () => {
  const rows: readonly (readonly [string, string, number])[] = [
    ['我的电话是幺三八零零', '13800', 5],
    ['138 1234', '1381234', 7],
    ['一三八，一二三四', '1381234', 7],
    ['double five oh one', '5501', 4],
    ['five triple nine', '5999', 4],
    ['forty two seventeen', '4217', 4],
    ['one two three no sorry four five', '45', 5],
    ['s m i t h', 'smith', 0],
    ['尾号三三零八的', '', 4],
    ['我想改时间', '', 0],
    ['四四零x', '440x', 4],
  ];
  for (const [text, tail, total] of rows) assert.deepEqual(digitsOf(text), { tail, total }, text);
});

test('how many figures make a number whole', () => {
  assert.deepEqual(lengthsOf('phone', '138', '手机号？'), [11]);
  assert.deepEqual(lengthsOf('phone', '021', '电话？'), [11, 12]);
  assert.deepEqual(lengthsOf('phone', '555', 'Your number?'), [10]);
  assert.deepEqual(lengthsOf('phone', '1555', 'Your number?'), [11]);
  assert.deepEqual(lengthsOf('card', '3782', 'Card number?'), [15]);
  assert.deepEqual(lengthsOf('card', '6225', '卡号？'), [19, 16]);
  assert.deepEqual(lengthsOf('identity', '1101', '身份证号？'), [18]);
  assert.deepEqual(lengthsOf('identity', '078', 'Your social security number?'), [9]);
  assert.deepEqual(lengthsOf('code', '12', '请说6位验证码'), [6]);
  assert.deepEqual(lengthsOf('code', '12', 'the four-digit code'), [4]);
  assert.equal(lengthsOf('number', '12', '订单号？'), null);
});

test('numbers: short of figures, complete, of unknown length, taken back', () => {
  const phone = '请留一个手机号。';
  const enPhone = 'What is your phone number?';
  assertForms([
    [phone, '138', 'short'],
    [phone, '幺三八零零一三', 'short'],
    [phone, '13800138000', 'closed'],
    [phone, '我的电话是幺三八，零零幺三，八零零零。', 'closed'],
    [phone, '138 0013 不对', 'unfinished'],
    [phone, '好的', 'unfinished'],
    [phone, '就打这个号', 'finished'],
    [enPhone, 'five five five oh one', 'short'],
    [enPhone, '555 555 0123', 'closed'],
    [enPhone, "it's five five five, five five five, no sorry", 'unfinished'],
    [enPhone, 'sure', 'unfinished'],
    ['请说出身份证号码。', '11010119900101', 'short'],
    ['请说出身份证号码。', '11010119900101123X', 'closed'],
    ['请读一下验证码。', '3 0 9 2', 'dictating'],
    ['请读一下验证码。', '309 217', 'closed'],
    ['请报一下运单号。', '7741 0093', 'dictating'],
    ['请报一下运单号。', '单号是SF', 'short'],
    [null, '我的手机号是139', 'short'],
    [null, '房间是3306', 'plain'],
    ['May I have your last name?', 'smith s m i t h', 'dictating'],
  ]);
});

test('dates and addresses come in parts', () => {
  assertForms([
    ['请问您的出生日期？', '一九九零年', 'short'],
    ['请问您的出生日期？', '1990年5月', 'short'],
    ['请问您的出生日期？', '1990年5月12号', 'closed'],
    ['And your date of birth?', 'march fifth', 'short'],
    ['And your date of birth?', 'march fifth nineteen ninety two', 'closed'],
    ['And your date of birth?', 'March 5th 1992', 'closed'],
    ['请问收货地址？', '人民路', 'dictating'],
    ['请问收货地址？', '人民路二十号三单元502', 'finished'],
    ["What's the address?", '42 oak street', 'parts'],
    ["What's the address?", '42 oak street apartment 3', 'finished'],
  ]);
});

test('clauses: finished, asking, unfinished, thinking, taking leave', () => {
  assertForms([
    [null, '我想问一下', 'unfinished'],
    [null, '因为', 'unfinished'],
    [null, '我要退货，因为', 'unfinished'],
    [null, '我的地址是', 'unfinished'],
    [null, '我想约个', 'plain'],
    [null, '嗯', 'plain'],
    ['您要什么颜色？', '嗯', 'thinking'],
    ['是您本人吗？', '嗯嗯', 'parts'],
    [null, '就是那个', 'unfinished'],
    [null, '我昨天下单的那个快递到哪儿了', 'asked'],
    [null, '能不能改到明天？', 'asked'],
    [null, '已经收到了', 'finished'],
    [null, '就这样吧，谢谢', 'closed'],
    [null, '如果明天下雨', 'unfinished'],
    [null, 'I want to change my', 'unfinished'],
    [null, 'I called yesterday and', 'unfinished'],
    [null, 'my number is', 'unfinished'],
    [null, 'can you', 'unfinished'],
    [null, 'can you move it to friday', 'asked'],
    [null, 'it stopped working last night', 'finished'],
    [null, 'I was wondering, um', 'thinking'],
    [null, 'let me see', 'thinking'],
    [null, "I don't think so", 'plain'],
    [null, 'yes it is', 'finished'],
    [null, "that's all thank you", 'closed'],
    [null, 'if it rains tomorrow', 'unfinished'],
  ]);
});

test('an answer to a question of yes or no', () => {
  const zh = '放在门口可以吗？';
  const en = 'Shall I leave it at the door?';
  assertForms([
    [zh, '可以', 'answered'],
    [zh, '嗯，好的。', 'answered'],
    [zh, '不行', 'refused'],
    [zh, '不用了', 'answered'],
    ['您方便吗？', '方便', 'answered'],
    [en, 'yes', 'answered'],
    [en, "Yeah, that's fine.", 'answered'],
    [en, 'no', 'refused'],
    ['Anything else?', 'no', 'closed'],
    ['还有别的需要吗？', '没有了', 'closed'],
    ['有什么可以帮您？', '你好', 'parts'],
    [null, '喂，你好', 'finished'],
  ]);
});

test('the wait follows the form, the dials and a semantic model', () => {
  const done = facts('可以', { lastAgentText: '放在门口可以吗？' });
  const midway = facts('138', { lastAgentText: '请留一个手机号。' });
  assert.equal(endOfTurnMs(done, DIALS), WAIT_MS.answered);
  assert.equal(endOfTurnMs(midway, DIALS), WAIT_MS.short);
  assert.equal(endOfTurnMs(done, { ...DIALS, responsiveness: 0 }), WAIT_MS.answered * 2);
  assert.equal(endOfTurnMs(done, { ...DIALS, responsiveness: 1 }), WAIT_MS.answered / 2);
  assert.equal(endOfTurnMs(done, { ...DIALS, responsiveness: 7 }), WAIT_MS.answered / 2);
  assert.equal(endOfTurnMs(done, { ...DIALS, minMs: 400 }), 400);
  assert.equal(endOfTurnMs(midway, { ...DIALS, maxMs: 900 }), 900);
  assert.equal(endOfTurnMs(facts('', { reads: false }), DIALS), 500);
  const likely = endOfTurnMs({ ...done, text: '我想', likelihood: 0.95 }, DIALS);
  const unlikely = endOfTurnMs({ ...done, text: '我想', likelihood: 0.05 }, DIALS);
  assert.ok(likely < WAIT_MS.unfinished / 2 && unlikely > likely * 2, `${likely} ${unlikely}`);
  // Of a number that lacks figures the rules know more than any model.
  assert.ok(endOfTurnMs({ ...midway, likelihood: 1 }, DIALS) > 900);
});

test('marks of what is still being read are not believed', () => {
  const read = facts('周五，', { lastAgentText: '周三还是周五？' });
  assert.equal(turnFormOf(read), 'parts');
  assert.equal(turnFormOf({ ...read, isFinal: false }), 'brief');
});

test('any text gets an answer, and soon: no pattern runs away', () => {
  const units = [
    ...[
      '好啊',
      '不了',
      '能接受',
      '是这样啊',
      '没有',
      '1',
      '五',
      '，',
      '怎么',
      '不',
      '我看看',
      '如果',
    ],
    ...[
      'yes ',
      'sure thing ',
      "that's fine ",
      'no thanks ',
      'and so ',
      'double five ',
      'a ',
      '? ',
      '\u{1F600}',
      '\uD83D',
    ],
  ];
  const startMs = performance.now();
  for (const a of units)
    for (const b of units) {
      const text = (a + b).repeat(80);
      for (const lastAgentText of ['可以吗？', 'Your phone number?', text]) {
        const ms = endOfTurnMs(facts(text, { lastAgentText }), DIALS);
        assert.ok(ms >= 100 && ms <= 2 * WAIT_MS.thinking, `${text.slice(0, 20)}: ${ms}`);
      }
    }
  assert.ok(performance.now() - startMs < 3000);
});
