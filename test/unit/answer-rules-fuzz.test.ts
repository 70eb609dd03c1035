/** Answer rules: ten thousand random calls decide as a matcher does that shares no code with ours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccountCalendar } from '#lib/answer-rule.ts';
import { decideAnswer } from '#sessions/answer-rules.ts';
import { naiveDecision } from './_naive-rules.ts';
import { randomCalls, randomRules, ZONES } from './_random-rules.ts';

const CALENDAR: AccountCalendar = {
  timezone: 'UTC',
  countryCode: '86',
  holidays: [
    { date: '2026-10-01', kind: 'off' },
    { date: '2026-10-10', kind: 'work' },
    { date: '2026-11-01', kind: 'off' },
    { date: '2026-03-08', kind: 'work' },
  ],
  answerDefault: 'agent',
};

test('10,000 random calls against 200 random rules decide like a matcher written anew', () => {
  for (const zone of ZONES) {
    const rules = randomRules(20_260_101 + zone.length, 200);
    const calendar = { ...CALENDAR, timezone: zone };
    const all = { accountId: 'account', calendar, rules };
    const decided = new Map<string | null, number>();
    for (const facts of randomCalls(7_919 * zone.length, Math.ceil(10_000 / ZONES.length))) {
      const expected = naiveDecision(rules, facts, calendar);
      const decision = decideAnswer(all, facts);
      const label = `${zone} ${JSON.stringify(facts)}`;
      assert.equal(decision.fault, null, label);
      assert.equal(decision.ruleId, expected.ruleId, label);
      assert.deepEqual(
        decision.trace.map(({ ruleId, failed }) => [ruleId, failed]),
        expected.looked,
        label,
      );
      decided.set(decision.ruleId, (decided.get(decision.ruleId) ?? 0) + 1);
    }
    // A fuzz that always ends at the same rule would prove nothing.
    assert.ok(decided.size > 20, `${zone}: ${decided.size} different results`);
    assert.ok(Math.max(...decided.values()) < 1_000, zone);
  }
});
