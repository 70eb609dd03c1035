/** What a sentence speaks of, and what it speaks against: acronyms, general words, refusals in both languages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isClear, routeByWords, type RoutedMember } from '#sessions/squad-routing.ts';
import { coverageOf, phraseOf, phrasesOf, wordsOf } from '#sessions/squad-words.ts';

function squadOf(...skills: readonly (readonly string[])[]) {
  const members = skills.map((each, at): RoutedMember => {
    const role = at === 0 ? 'primary' : 'specialist';
    return { agentId: `m${at}`, role, skills: each, priority: 1 };
  });
  return { members, transfers: [] };
}

test('a skill of a word that says nothing is looked for as a word, an acronym as it is written', () => {
  const rows: [skill: string, said: string, coverage: number][] = [
    ['IT', 'my credit card', 0],
    ['IT', 'wait a moment, is it open', 0],
    ['IT', 'WHERE IS IT', 0],
    ['IT', 'I need IT', 1],
    ['IT', '帮我找IT的人', 1],
    ['IT support', 'I need IT support', 1],
    ['IT support', 'i need it support', 1],
    ['IT support', 'I need support with my refund', 0.2],
    ['IT支持', '我要IT支持', 1],
    ['CALL US', 'can you call', 1],
    ['who are you', 'tell me who are you', 1],
    ['who are you', 'who are yours', 0],
    ['more', 'nevermore', 0],
    ['税', '要交税吗', 1],
    // General words alone are half a skill, unless they stand there as they are.
    ['customer support', 'I need some support', 0.5],
    ['customer support', 'customer support please', 1],
    ['业务咨询', '我想咨询一下', 0.25],
    ['业务咨询', '业务咨询', 1],
  ];
  for (const [skill, said, coverage] of rows) {
    const found = coverageOf(phraseOf(skill), wordsOf(said));
    assert.equal(Math.round(found * 100) / 100, coverage, `${skill} | ${said}`);
  }
});

const TEAM = squadOf(
  ['opening hours'],
  ['refund', 'invoice', 'order tracking', '退款', '发票'],
  ['technical support', 'installation', '技术支持', '安装'],
);

test('what is refused is not asked for', () => {
  const rows: [said: string, agentId: string][] = [
    ["I don't want a refund, I want an installation", 'm2'],
    ['I do not need a refund I need technical support', 'm2'],
    ["it's not about an invoice, it's about the installation", 'm2'],
    ["I'm not calling about my refund", 'm0'],
    ["I really don't want any order tracking", 'm0'],
    ['I don’t want technical support but a refund', 'm1'],
    ['我不要退款，我要技术支持', 'm2'],
    ['不是发票的问题，是安装', 'm2'],
    ['不需要退款', 'm0'],
    // Speaking of what was not done is speaking of it.
    ['I was not refunded', 'm1'],
    ['I got no refund', 'm1'],
    ['I did not like the product I want a refund', 'm1'],
    ["I don't want it anymore, refund me", 'm1'],
    ["don't you have an installation service", 'm2'],
    ['不退款我就投诉', 'm1'],
    ['我没收到退款', 'm1'],
    ['我不想要这个了能退款吗', 'm1'],
    ['要不要退款', 'm1'],
    ['是不是退款了', 'm1'],
    ['用不用发票', 'm1'],
    ['不用退款，但是要退款的发票', 'm1'],
  ];
  for (const [input, agentId] of rows) {
    assert.equal(
      routeByWords(TEAM, { input, before: [], currentId: 'm0' }).agentId,
      agentId,
      input,
    );
  }
});

test('a condition that refuses is met by a refusal', () => {
  const meets = (when: string, said: string): boolean =>
    phrasesOf(when).some((phrase) => coverageOf(phrase, wordsOf(said)) === 1);
  assert.ok(meets("doesn't want to pay", "I don't want to pay"));
  assert.ok(meets('不需要发票', '我不需要发票'));
});

test('words are clear when one member alone is meant, and nothing is denied', () => {
  const rows: [said: string, isClear: boolean][] = [
    ['I want a refund', true],
    ['能不能退款', true],
    ['有没有发票', true],
    ['what are your opening hours', true],
    ['hello', false],
    ['something else', false],
    ['a refund and an installation', false],
    ["I don't want a refund", false],
    ['I got no refund', false],
    ['不退款我就投诉', false],
  ];
  for (const [input, expected] of rows) {
    assert.equal(isClear(TEAM, { input, currentId: 'm0' }), expected, input);
  }
});
