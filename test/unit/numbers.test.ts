/** Numbers that decide: emergency and premium ones, those inside URIs, and prefixes in every spelling. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideAnswer } from '#sessions/answer-rules.ts';
import { isEmergencyNumber, isPremiumFor, numberOf } from '#sessions/numbers.ts';

const RULE = {
  ...{ id: 'r', name: 'r', enabled: true, priority: 1, action: { answer: true } },
  ...{ createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' },
};

test('premium numbers go over a trunk that names them, and over no other', () => {
  const rows: [number: string, allowed: string[], code: string | null, premium: boolean][] = [
    ['+19005550100', [], null, true],
    ['+19005550100', ['+1'], null, true],
    ['+19005550100', ['+1900'], null, false],
    ['+19005550100', ['+1', '+1900555'], null, false],
    ['+449091234567', ['0909'], '44', false],
    ['09091234567', [], '44', true],
    ['09091234567', [], null, false],
    ['+15550100', [], null, false],
    ['+979123456789', ['+'], null, true],
  ];
  for (const [number, allowPrefixes, code, premium] of rows) {
    const label = `${number} ${allowPrefixes.join(' ')} ${code}`;
    assert.equal(isPremiumFor({ allowPrefixes }, number, code), premium, label);
  }
});

test('emergency numbers and the numbers inside URIs', () => {
  const rows: [to: string, number: string | null, emergency: boolean][] = [
    ['110', '110', true],
    ['+15550100', '+15550100', false],
    ['+86110', '+86110', true],
    ['+860110', '+860110', true],
    ['+861101234', '+861101234', false],
    ['sip:112@pbx.example', '112', true],
    ['sips:%2B15550100;ext=1@pbx.example;transport=tcp', '+15550100', false],
    ['sip:someone@pbx.example', null, false],
    ['sip:%zz@pbx.example', null, false],
    ['sip:pbx.example', null, false],
    ['sip:192.0.2.1', null, false],
    ['sip:911', '911', true],
    ['sip:911;phone-context=+1@pbx.example', '911', true],
    ['sip:9-1-1:pin@pbx.example', '911', true],
    ['sip:%39%31%31@pbx.example', '911', true],
    // Any country's, with and without its code, behind service codes, over an outside line.
    ['+1911', '+1911', true],
    ['+44999', '+44999', true],
    ['+49112', '+49112', true],
    ['+33015', '+33015', false],
    ['+3315', '+3315', true],
    ['0110', '0110', true],
    ['*31#112', '*31#112', true],
    ['#31#110', '#31#110', true],
    ['*67911', '*67911', true],
    ['112#', '112#', true],
    ['12119', '12119', true],
    ['15', '15', false],
    ['9110', '9110', false],
    ['11000', '11000', false],
    ['+4915550110', '+4915550110', false],
    ['*98#', '*98#', false],
    ['*21*13800138000#', '*21*13800138000#', false],
  ];
  for (const [to, number, emergency] of rows) {
    assert.equal(numberOf(to), number, to);
    assert.equal(isEmergencyNumber(number ?? to, '86'), emergency, to);
  }
});

test('prefixes of rules are written nationally or internationally, as numbers are', () => {
  const prefixRows: [prefix: string, number: string, code: string | null, expected: boolean][] = [
    ['0571', '+8657188880000', '86', true],
    ['0571', '057188880000', '86', true],
    ['+86571', '057188880000', '86', true],
    ['571', '+8657188880000', '86', true],
    ['0571', '+8657188880000', null, false],
    ['0571', '057188880000', null, true],
    ['0571', '+15715550100', '86', false],
    ['1900', '+19005550100', '86', false],
    ['138', '+8613800138000', '86', true],
    ['10', '10086', '86', true],
    ['100', '+8610086', '86', false],
  ];
  for (const [prefix, callerNumber, countryCode, expected] of prefixRows) {
    const callers = { type: 'include', prefixes: [prefix] } as const;
    const label = `${prefix} ${callerNumber} ${countryCode}`;
    const rule = { ...RULE, conditions: { callers } };
    const calendar = {
      timezone: 'UTC',
      countryCode,
      holidays: [],
      answerDefault: 'agent',
    } as const;
    const facts = { callerNumber, anonymous: false, callerApp: null, calledNumber: null, atMs: 0 };
    const { ruleId } = decideAnswer({ accountId: 'a', calendar, rules: [rule] }, facts);
    assert.equal(ruleId !== null, expected, label);
  }
});
