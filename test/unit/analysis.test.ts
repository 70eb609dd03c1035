/** Analysis and scripts (contract 2.6 rows 9 and 10): rules as tables, and models whose answers are not as asked for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '#lib/call-events.ts';
import { readModelAnalysis } from '#sessions/analysis.ts';
import { analyseByRules, sentimentOf } from '#sessions/analysis-rules.ts';
import { plainLine, readModelJson } from '#sessions/model-json.ts';
import { readModelScript } from '#sessions/script-writer.ts';
import { kindOf, scriptTemplate, toneOf } from '#sessions/script-templates.ts';
import { talkMetrics } from '#sessions/talk-metrics.ts';
import { speechesOf } from '#sessions/transcript.ts';
import { makeIntelligence } from './_intelligence-fakes.ts';

const ACCOUNT = '11111111-1111-4111-8111-111111111111';
const AGENT = '33333333-3333-4333-8333-333333333333';

const user = (content: string, more: object = {}): Message => ({
  ...{ role: 'user', content, timestamp: 1767225600 },
  ...more,
});
const agent = (content: string, more: object = {}): Message => ({
  ...{ role: 'assistant', content, timestamp: 1767225600 },
  ...more,
});

test('sentiment by the caller’s words, with denials', () => {
  const rows: [string, 'positive' | 'neutral' | 'negative'][] = [
    ['非常满意，谢谢', 'positive'],
    ['不满意', 'negative'],
    ['没问题，很好', 'positive'],
    ['一点都不好用，太差了', 'negative'],
    ['我要查一下订单', 'neutral'],
    ['不错', 'positive'],
    ['不太满意', 'negative'],
    ['我很生气，要投诉', 'negative'],
    ['This is great, thank you', 'positive'],
    ['not good at all', 'negative'],
    ['I am very disappointed and angry', 'negative'],
    ['not bad', 'positive'],
    ['Where is my order', 'neutral'],
    ['', 'neutral'],
  ];
  for (const [text, label] of rows) {
    const sentiment = sentimentOf([text]);
    assert.equal(sentiment.label, label, `${text}: ${sentiment.score}`);
    assert.ok(sentiment.score >= -1 && sentiment.score <= 1 && !Object.is(sentiment.score, -0));
  }
  assert.equal(sentimentOf(['谢谢'.repeat(200)]).score <= 1, true);
});

test('intent, needs, key points and next actions', () => {
  const rows: ['zh' | 'en', string, string][] = [
    ['zh', '我要退款，钱什么时候退', '退款退货'],
    ['zh', '我要投诉你们', '投诉'],
    ['zh', '快递到哪了', '物流查询'],
    ['zh', '不需要，别再打了', '拒绝来电'],
    ['zh', '嗯', '其他'],
    ['en', 'I want a refund', 'refund or return'],
    ['en', 'How much does it cost?', 'price inquiry'],
    ['en', 'hm', 'other'],
  ];
  for (const [language, text, intent] of rows) {
    assert.equal(analyseByRules(speechesOf([user(text)]), language).intent, intent, text);
  }
  const found = analyseByRules(
    speechesOf([
      agent('您好，请问有什么可以帮您？'),
      user('我想改到5月3日下午两点。电话13800138000。'),
      agent('好的，我会为您登记。稍后给您发短信。'),
      user('[DTMF 1]'),
    ]),
    'zh',
  );
  assert.deepEqual(found.customerNeeds, ['我想改到5月3日下午两点。']);
  assert.deepEqual(found.nextActions, ['好的，我会为您登记。', '稍后给您发短信。']);
  assert.deepEqual(found.keyPoints, ['我想改到5月3日下午两点。', '电话138****8000。']);
});

test('metrics of talking', () => {
  const messages = [
    agent('Hello', { start_ms: 0, end_ms: 2_000 }),
    user('Hi', { start_ms: 2_500, end_ms: 3_500 }),
    user('there', { start_ms: 4_000, end_ms: 8_000 }),
    agent('Yes', { start_ms: 8_600, end_ms: 9_600, latency_ms: 600, interrupted: true }),
    user('[DTMF 1]', { start_ms: 9_700, end_ms: 9_800 }),
    agent('And', { start_ms: 10_000, end_ms: 12_000, latency_ms: 401 }),
  ];
  assert.deepEqual(talkMetrics(messages), {
    ...{ talkRatio: 0.5, interruptions: 1, longestMonologueSeconds: 5, avgLatencyMs: 501 },
  });
  assert.deepEqual(talkMetrics([]), {
    ...{ talkRatio: 0, interruptions: 0, longestMonologueSeconds: 0, avgLatencyMs: null },
  });
  assert.deepEqual(talkMetrics([user('你好吗')]), {
    ...{ talkRatio: 0, interruptions: 0, longestMonologueSeconds: 0.7, avgLatencyMs: null },
  });
});

const GOOD = {
  summary: 'Main demands: x',
  intent: 'refund',
  sentiment: { label: 'negative', score: -0.4 },
  keyPoints: ['Order 1 at 13800138000'],
  customerNeeds: [],
  nextActions: ['call back'],
  satisfaction: 40,
};

test('a model’s analysis is taken whole or not at all', async () => {
  const taken = readModelAnalysis(
    `Here:\n\`\`\`json\n${JSON.stringify({ ...GOOD, more: 1 })}\n\`\`\``,
  );
  assert.deepEqual(taken, { ...GOOD, keyPoints: ['Order 1 at 138****8000'] });
  const bad: [string, unknown][] = [
    ['summary', ''],
    ['summary', 7],
    ['summary', 'x'.repeat(2_001)],
    ['summary', "I'm sorry, I cannot do that"],
    ['intent', null],
    ['intent', 'x'.repeat(201)],
    ['sentiment', 'positive'],
    ['sentiment', { label: 'happy', score: 1 }],
    ['sentiment', { label: 'positive', score: 2 }],
    ['sentiment', { label: 'positive', score: -0.5 }],
    ['sentiment', { label: 'negative', score: '0' }],
    ['keyPoints', 'one'],
    ['keyPoints', [1]],
    ['keyPoints', ['']],
    ['customerNeeds', Array.from({ length: 13 }, () => 'x')],
    ['nextActions', ['x'.repeat(401)]],
    ['nextActions', undefined],
    ['satisfaction', 101],
    ['satisfaction', -1],
    ['satisfaction', '50'],
    ['satisfaction', undefined],
  ];
  const messages = [user('I want a refund of 50 dollars.'), agent('We will send it.')];
  for (const [name, value] of bad) {
    const answer = JSON.stringify({ ...GOOD, [name]: value });
    assert.equal(readModelAnalysis(answer), null, answer);
    const fakes = makeIntelligence();
    fakes.answer = async () => answer;
    const call = { accountId: ACCOUNT, agentId: AGENT, messages, language: null };
    const analysis = await fakes.intelligence.analyse(call);
    assert.deepEqual([analysis.source, analysis.model], ['rules', null]);
    assert.equal(analysis.satisfaction, null);
    assert.equal(analysis.intent, 'refund or return');
  }
});

test('analysis: masked input, masked answer, metrics and compliance beside it', async () => {
  const fakes = makeIntelligence();
  fakes.answer = async () => JSON.stringify(GOOD);
  const messages = [user('Call 13800138000'), agent('Guaranteed returns!', { latency_ms: 10 })];
  const analysis = await fakes.intelligence.analyse({
    ...{ accountId: ACCOUNT, agentId: AGENT, messages, language: null },
  });
  assert.doesNotMatch(JSON.stringify(fakes.asked), /13800138000/);
  assert.deepEqual([analysis.source, analysis.model, analysis.satisfaction], ['llm', 'test-1', 40]);
  assert.deepEqual(
    analysis.compliance.issues.map(({ rule }) => rule),
    ['guaranteed_return'],
  );
  assert.equal(analysis.metrics.avgLatencyMs, 10);
});

test('scripts without a model, by scenario, tone and language', async () => {
  const kinds: [string, string][] = [
    ['提醒客户还款', 'collection'],
    ['产品推广', 'sales'],
    ['满意度回访', 'survey'],
    ['预约确认', 'appointment'],
    ['Remind them of the appointment', 'appointment'],
    ['handle a complaint', 'complaint'],
    ['say hello', 'general'],
  ];
  for (const [scenario, kind] of kinds) assert.equal(kindOf(scenario), kind, scenario);
  assert.deepEqual(['专业', 'brief', 'warm', null].map(toneOf), [
    'formal',
    'brief',
    'friendly',
    'friendly',
  ]);
  const fakes = makeIntelligence();
  const request = {
    ...{ accountId: ACCOUNT, agentId: null, scenario: '产品推广', goal: '约见面', tone: '正式' },
    ...{ customerProfile: '老客户', currentScript: '您好！', messages: null, language: null },
  };
  const script = await fakes.intelligence.writeScript(request);
  assert.deepEqual([script.source, script.model, script.sections.length], ['template', null, 5]);
  assert.ok(script.script.includes('产品推广') && script.script.includes('约见面'));
  assert.ok(script.script.includes('您好！') && script.tips.some((tip) => tip.includes('老客户')));
  assert.deepEqual(await fakes.intelligence.writeScript(request), script);
  const english = scriptTemplate({ ...request, language: 'en' });
  assert.match(english.sections[0]?.content ?? '', /^Good day, this is/);
});

test('a model’s script: masked input, taken whole or not at all', async () => {
  const fakes = makeIntelligence();
  const sections = [{ title: 'Opening', content: 'Hello,\nthis is Ann, 13900139000.' }];
  fakes.answer = async () => JSON.stringify({ sections, tips: ['Smile'] });
  const request = {
    ...{ accountId: ACCOUNT, agentId: null, scenario: 'Call 13800138000', goal: null, tone: null },
    ...{ customerProfile: null, currentScript: null, language: null },
    messages: [user('My mail is somebody@example.com')],
  };
  const script = await fakes.intelligence.writeScript(request);
  assert.doesNotMatch(JSON.stringify(fakes.asked), /13800138000|somebody/);
  assert.deepEqual([script.source, script.model, script.tips], ['llm', 'test-1', ['Smile']]);
  assert.equal(script.script, 'Opening\nHello,\nthis is Ann, 139****9000.');
  const bad: unknown[] = [
    {},
    { sections: [], tips: [] },
    { sections, tips: 'none' },
    { sections: [{ title: 'a' }], tips: [] },
    { sections: [{ title: '', content: 'b' }], tips: [] },
    { sections: [{ title: 'a', content: ' ' }], tips: [] },
    { sections: [{ title: 'a', content: 'x'.repeat(4_001) }], tips: [] },
    { sections: Array.from({ length: 13 }, () => sections[0]), tips: [] },
  ];
  for (const row of bad) assert.equal(readModelScript(JSON.stringify(row)), null);
});

test('text lines from a model', () => {
  assert.equal(plainLine(' a\n b\u0000c\ud800 ', 10), 'a b c\ufffd');
  for (const value of ['', ' ', 7, null, 'x'.repeat(11)]) assert.equal(plainLine(value, 10), null);
});

test('no answer breaks the readers', () => {
  const seed = 20260101;
  const random = mulberry(seed);
  const whole = [
    JSON.stringify(GOOD),
    JSON.stringify({ sections: [{ title: 'a', content: 'b' }], tips: ['c'] }),
    JSON.stringify({ issues: [{ rule: 'a_b', severity: 'low', text: 'x', suggestion: 'y' }] }),
  ];
  const noise = [
    '{',
    '}',
    '"',
    '\\',
    '\u0000',
    '\ud83d',
    ']',
    ',',
    '__proto__',
    '1e999',
    '```',
    ':',
  ];
  for (let round = 0; round < 3_000; round++) {
    let text = whole[Math.floor(random() * whole.length)] ?? '';
    for (let edit = 0; edit < 4; edit++) {
      const at = Math.floor(random() * text.length);
      const piece = noise[Math.floor(random() * noise.length)] ?? '';
      text = text.slice(0, at) + piece + text.slice(at + Math.floor(random() * 6));
    }
    const analysis = readModelAnalysis(text);
    if (analysis !== null) {
      assert.equal(typeof analysis.summary, 'string', `seed ${seed} round ${round}`);
      assert.ok(analysis.sentiment.score >= -1 && analysis.sentiment.score <= 1);
    }
    readModelScript(text);
    const json = readModelJson(text);
    assert.ok(json === null || typeof json === 'object');
  }
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
});

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
