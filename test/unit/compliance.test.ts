/** The compliance check (contract 2.6 row 12): what the word list must find, and what it must leave alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '#lib/call-events.ts';
import { checkRules, readModelIssues, resultOf } from '#sessions/compliance.ts';
import { spokenText } from '#sessions/spoken-text.ts';
import { makeIntelligence } from './_intelligence-fakes.ts';

const ACCOUNT = '11111111-1111-4111-8111-111111111111';
const asker = { accountId: ACCOUNT, agentId: null };
const input = (text: string) => ({ text, parts: null, language: null });

const FOUND: readonly (readonly [rule: string, text: string, words: string])[] = [
  ['absolute_promise', '这个方案百分之百有效，您放心。', '百分之百有效'],
  ['absolute_promise', '我保证您满意。', '保证您满意'],
  ['absolute_promise', '考试包过。', '包过'],
  ['absolute_promise', '这款产品绝对安全', '绝对安全'],
  ['absolute_promise', 'It is 100% guaranteed.', '100% guaranteed'],
  ['absolute_promise', 'This will never fail.', 'will never fail'],
  ['guaranteed_return', '我们保证年收益百分之八', '保证年收益'],
  ['guaranteed_return', '这个产品稳赚不赔', '稳赚不赔'],
  ['guaranteed_return', '保本保息，您放心', '保本保息'],
  ['guaranteed_return', '投资没有任何风险', '没有任何风险'],
  ['guaranteed_return', 'We guarantee you a 12% return.', 'guarantee you a 12% return'],
  ['guaranteed_return', 'You cannot lose money here', 'You cannot lose money'],
  ['guaranteed_return', 'a risk-free investment', 'risk-free investment'],
  ['threat', '再不还钱就让你坐牢', '再不还钱就让你坐牢'],
  ['threat', '否则我们通知你的家人。', '否则我们通知你的家人'],
  ['threat', '我会爆你的通讯录', '爆你的通讯录'],
  ['threat', '你给我等着瞧', '你给我等着瞧'],
  ['threat', 'Pay now or else we will tell your boss.', 'or else we will tell your boss'],
  ['threat', 'I know where you live', 'I know where you live'],
  ['insult', '你这个白痴', '你这个白痴'],
  ['insult', '滚开', '滚开'],
  ['insult', 'You are so stupid', 'You are so stupid'],
  ['insult', 'shut up', 'shut up'],
  ['privacy_demand', '请把验证码告诉我', '验证码告诉我'],
  ['privacy_demand', '您的密码是多少', '密码是多少'],
  ['privacy_demand', '麻烦提供一下银行卡号', '提供一下银行卡号'],
  ['privacy_demand', 'Please tell me your password.', 'tell me your password'],
  ['privacy_demand', 'read me the full card number', 'read me the full card number'],
  ['privacy_demand', 'Give me the one-time code', 'Give me the one-time code'],
  ['identity_number_demand', '请报一下身份证号码', '报一下身份证号码'],
  ['identity_number_demand', 'please send us your passport number', 'send us your passport number'],
  ['discrimination', '我们不招外地人', '不招外地人'],
  ['discrimination', '女人都笨', '女人都笨'],
  ['discrimination', "We don't hire women.", "We don't hire women"],
  ['superlative', '我们是全国第一', '全国第一'],
  ['superlative', '最好的产品', '最好的产品'],
  ['superlative', '国家级品质', '国家级'],
  ['superlative', 'the best phone in the world', 'the best phone in the world'],
  ['medical_claim', '可以根治糖尿病', '根治'],
  ['medical_claim', '无任何副作用', '无任何副作用'],
  ['medical_claim', '这款保健品能降血压', '保健品能降血压'],
  ['medical_claim', 'It cures diabetes.', 'cures diabetes'],
  ['medical_claim', 'has no side effects', 'no side effects'],
  ['private_payment', '请转账到我的个人账户', '转账到我的个人账户'],
  [
    'private_payment',
    'transfer the money to my personal account',
    'transfer the money to my personal account',
  ],
  ['pressure', '这是最后的机会', '最后的机会'],
  ['pressure', 'You must decide now', 'You must decide now'],
];

const CLEAN: readonly string[] = [
  '我们不保证收益，投资有风险。',
  '不能保证您满意，但我们会尽力。',
  '任何机构都无法承诺收益',
  '本产品非保本浮动收益型',
  '凡是承诺收益的都是诈骗',
  '请问是否保本？您可以查看合同。',
  '这件衣服是100%棉',
  '下载进度百分之百完成',
  '请不要把验证码告诉任何人',
  '我们不会要求您提供密码',
  '谨防有人让您提供验证码',
  '请在网站上自行修改密码',
  '请提供身份证号码后四位',
  '请提供银行卡号码的后四位',
  '请把密码保管好',
  '垃圾分类请投入垃圾桶',
  '神经病学专家门诊',
  '页面滚动一下',
  '废物利用',
  '您最好明天上午来',
  '第一步请打开设置',
  '这是最佳时间',
  '国家级贫困县',
  '不能代替药物',
  '我们无法保证治愈',
  '没有人能根治',
  '如果您不方便，我们改天再联系。',
  '小心您的钱包',
  '不要让女士等太久',
  '只要您方便就可以',
  '包过敏测试',
  'We cannot guarantee any returns.',
  'Never tell anyone your password.',
  'We will never ask you to give us your PIN',
  'Returns are not guaranteed.',
  'This is not the best phone in the world',
  'It does not cure diabetes.',
  'Whoever says guaranteed profits is a scam',
  'If you do not want to, we will call another day.',
  'Your order will arrive tomorrow.',
  'The best time to call is in the morning.',
  'You can change your password on our website.',
  'This call may be recorded.',
  '您好，我是云联公司的小李，想跟您确认一下明天的预约时间。',
];

test('what must be found, with its words and its place', () => {
  for (const [rule, text, words] of FOUND) {
    const issues = checkRules(input(text));
    const issue = issues.find((each) => each.rule === rule);
    assert.ok(issue, `${rule}: ${text}: ${JSON.stringify(issues)}`);
    assert.equal(issue.text, words, text);
    assert.equal(text.slice(issue.start, issue.end), words, text);
    assert.ok(issue.suggestion.length > 5);
    assert.equal(/\p{Script=Han}/u.test(issue.suggestion), /\p{Script=Han}/u.test(text), text);
  }
});

test('what must be left alone', () => {
  for (const text of CLEAN) assert.deepEqual(checkRules(input(text)), [], text);
});

test('offsets are UTF-16 units, in order, also behind characters of two', () => {
  const text = '😀😀 稳赚不赔，全国第一 😀 shut up';
  const issues = checkRules(input(text));
  assert.deepEqual(
    issues.map(({ rule, start, end }) => [rule, text.slice(start, end), start]),
    [
      ['guaranteed_return', '稳赚不赔', 5],
      ['superlative', '全国第一', 10],
      ['insult', 'shut up', 18],
    ],
  );
});

test('the score, and what compliant means', () => {
  assert.deepEqual(resultOf([], 'rules'), {
    ...{ compliant: true, score: 100, issues: [], source: 'rules' },
  });
  const issues = checkRules(input('稳赚不赔。全国第一。最后的机会。'));
  assert.deepEqual(
    [resultOf(issues, 'rules').score, resultOf(issues, 'rules').compliant],
    [50, false],
  );
  const many = checkRules(input('稳赚不赔。'.repeat(20)));
  assert.equal(resultOf(many, 'rules').score, 0);
});

test('an opening without a name', () => {
  const rows: [string, boolean][] = [
    ['您好，想跟您介绍一下我们的新产品，您现在方便吗？', true],
    ['您好，我是云联公司的小李，想跟您介绍一下我们的新产品。', false],
    ['Hello, I would like to tell you about our new offer, do you have a minute?', true],
    ['Hello, this is Ann from Example Ltd., do you have a minute?', false],
    ['您好', false],
    ['想跟您介绍一下我们的新产品，您现在方便吗？谢谢您。', false],
  ];
  for (const [text, isMissing] of rows) {
    const issues = checkRules(input(text));
    assert.equal(
      issues.some(({ rule }) => rule === 'missing_identification'),
      isMissing,
      text,
    );
  }
});

test('of a call only our side is checked; offsets count in the whole', () => {
  const messages: Message[] = [
    { role: 'user', content: '你们是骗子，白痴！', timestamp: 1 },
    { role: 'assistant', content: '我们稳赚不赔。', timestamp: 2 },
  ];
  const spoken = spokenText(messages);
  const [issue, ...more] = checkRules({ ...spoken, language: null });
  assert.deepEqual(more, []);
  assert.equal(issue?.rule, 'guaranteed_return');
  assert.equal(spoken.text.slice(issue?.start, issue?.end), '稳赚不赔');
});

test('patterns are linear', () => {
  for (const piece of [
    '保证',
    '我',
    '转账',
    'guarantee ',
    'tell me ',
    '不',
    'the best ',
    '1',
    '，',
  ]) {
    checkRules(input(piece.repeat(20_000 / piece.length)));
  }
});

test('a model adds what really stands in the text, and sees it masked', async () => {
  const fakes = makeIntelligence();
  const text = '请拨打13800138000联系，邮箱 somebody@example.com，本公司与银行有合作，稳赚不赔。';
  const issue = (words: string, rule = 'misleading') => ({
    ...{ rule, severity: 'medium', text: words, suggestion: 'Say 13900139000' },
  });
  fakes.answer = async () =>
    JSON.stringify({
      issues: [
        issue('本公司与银行有合作'),
        issue('不在文中的话'),
        issue('稳赚不赔'),
        issue('联系，邮箱 s***@example.com'),
      ],
    });
  const result = await fakes.intelligence.checkCompliance(input(text), asker);
  assert.doesNotMatch(fakes.asked[0]?.user ?? '13800138000', /13800138000|somebody/);
  assert.equal(result.source, 'rules+llm');
  assert.deepEqual(
    result.issues.map(({ rule, text: words }) => [rule, words]),
    [
      ['misleading', '联系，邮箱 somebody@example.com'],
      ['misleading', '本公司与银行有合作'],
      ['guaranteed_return', '稳赚不赔'],
    ],
  );
  for (const { start, end, text: words } of result.issues)
    assert.equal(text.slice(start, end), words);
  assert.equal(result.issues[0]?.suggestion, 'Say 139****9000');
  assert.equal(result.score, 40);
});

test('an answer that is not what was asked for counts for nothing', async () => {
  const good = { rule: 'a_rule', severity: 'low', text: 'x', suggestion: 'y' };
  const rows: unknown[] = [
    'no JSON',
    [],
    { issues: 'none' },
    { issues: [1] },
    { issues: [{ ...good, severity: 'fatal' }] },
    { issues: [{ ...good, rule: 'Bad Rule' }] },
    { issues: [{ ...good, text: '' }] },
    { issues: [{ ...good, suggestion: 7 }] },
    { issues: [good, null] },
    { issues: Array.from({ length: 31 }, () => good) },
  ];
  for (const row of rows) {
    const answer = typeof row === 'string' ? row : JSON.stringify(row);
    assert.equal(readModelIssues(answer), null, answer);
    const fakes = makeIntelligence();
    fakes.answer = async () => answer;
    const result = await fakes.intelligence.checkCompliance(input('Good morning.'), asker);
    assert.deepEqual([result.source, result.compliant], ['rules', true]);
  }
  assert.deepEqual(
    readModelIssues(`Sure!\n\`\`\`json\n${JSON.stringify({ issues: [good] })}\n\`\`\``),
    [good],
  );
});
