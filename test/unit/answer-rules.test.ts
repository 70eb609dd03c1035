/** Answer rules: the worked examples of section 5, and each of its sentences. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  AccountCalendar,
  Action,
  AnswerRule,
  CallFacts,
  Conditions,
  RoutingRules,
} from '#lib/answer-rule.ts';
import { wallTimeAt } from '#lib/wall-time.ts';
import { completeAction, decideAnswer, type Decision } from '#sessions/answer-rules.ts';

const SHANGHAI: AccountCalendar = {
  timezone: 'Asia/Shanghai',
  countryCode: '86',
  holidays: [
    { date: '2026-10-01', kind: 'off' },
    { date: '2026-10-10', kind: 'work' },
  ],
  answerDefault: 'agent',
};
const AGENT_X = '00000000-0000-4000-8000-0000000000aa';
const KNOWN = '+15550100';

let made = 0;
function rule(changes: Partial<AnswerRule> = {}): AnswerRule {
  made++;
  const createdAt = new Date(Date.UTC(2026, 0, 1) + made * 1_000).toISOString();
  return {
    id: `rule-${String(made).padStart(6, '0')}`,
    ...{ name: `Rule ${made}`, enabled: true, priority: 1 },
    ...{ conditions: {}, action: { answer: true }, createdAt, updatedAt: createdAt },
    ...changes,
  };
}

function routing(
  rules: readonly AnswerRule[],
  calendar: Partial<AccountCalendar> = {},
): RoutingRules {
  return { accountId: 'account', calendar: { ...SHANGHAI, ...calendar }, rules };
}

function call(changes: Partial<CallFacts> = {}): CallFacts {
  return {
    ...{ callerNumber: KNOWN, anonymous: false, callerApp: null, calledNumber: '1000' },
    atMs: Date.parse('2026-11-20T10:00:00+08:00'),
    ...changes,
  };
}

function at(localTime: string, offset = '+08:00'): number {
  const ms = Date.parse(`${localTime}${offset}`);
  assert.ok(!Number.isNaN(ms), localTime);
  return ms;
}

function holds(
  conditions: Conditions,
  facts: Partial<CallFacts>,
  calendar: Partial<AccountCalendar> = {},
): boolean {
  return !decideAnswer(routing([rule({ conditions })], calendar), call(facts)).defaultUsed;
}

test('the thirteen worked examples', () => {
  const created = (second: number): string => new Date(second * 1_000).toISOString();
  const rules = [
    rule({
      ...{ name: 'C', priority: 2, createdAt: created(3) },
      conditions: { callers: { type: 'include', anonymous: true } },
      action: { answer: false, reject: { status: 603 } },
    }),
    rule({
      ...{ name: 'E', priority: 4, createdAt: created(1) },
      conditions: { dates: { holidays: 'only' } },
      action: { answer: true, voicemail: {} },
    }),
    rule({
      ...{ name: 'B', priority: 2, createdAt: created(2) },
      conditions: { timeRange: { start: '22:00', end: '06:00', weekdays: [5] } },
      action: { answer: true, voicemail: {} },
    }),
    rule({
      ...{ name: 'A', priority: 1, createdAt: created(4) },
      conditions: {
        timeRange: { start: '09:00', end: '18:00', weekdays: [1, 2, 3, 4, 5] },
        apps: { type: 'include', list: ['企业微信', '钉钉'] },
      },
      action: { answer: true, agentId: AGENT_X },
    }),
    rule({
      ...{ name: 'D', priority: 3, createdAt: created(5) },
      conditions: { callers: { type: 'include', prefixes: ['+1900'] } },
      action: { answer: false, reject: { status: 486 } },
    }),
  ];
  const anonymous = { callerNumber: null, anonymous: true };
  const rows: [string, string | null, Partial<CallFacts>, string | null, number | null][] = [
    ['2026-11-20T09:00:00', '钉钉', {}, 'A', null],
    ['2026-11-20T18:00:00', '钉钉', {}, null, null],
    ['2026-11-20T10:00:00', null, {}, null, null],
    ['2026-11-20T10:00:00', '微信', {}, null, null],
    ['2026-11-20T22:30:00', null, anonymous, 'B', null],
    ['2026-11-21T05:59:00', null, {}, 'B', null],
    ['2026-11-21T22:30:00', null, {}, null, null],
    ['2026-11-21T06:00:00', null, anonymous, 'C', 603],
    ['2026-10-10T10:00:00', '企业微信', {}, 'A', null],
    ['2026-10-01T10:00:00', '钉钉', {}, 'A', null],
    ['2026-10-01T20:00:00', null, { callerNumber: '+19005550100' }, 'D', 486],
    ['2026-10-01T20:00:00', null, {}, 'E', null],
  ];
  const all = routing(rules);
  for (const [index, [time, callerApp, facts, name, status]] of rows.entries()) {
    const decision = decideAnswer(all, call({ ...facts, callerApp, atMs: at(time) }));
    const label = `example ${index + 1}`;
    assert.equal(decision.ruleName, name, label);
    assert.equal(decision.defaultUsed, name === null, label);
    assert.equal(decision.action.reject?.status ?? null, status, label);
    assert.equal(decision.action.agentId, name === 'A' ? AGENT_X : null, label);
    assert.equal(decision.fault, null, label);
  }
  const utc = decideAnswer(
    all,
    call({ callerApp: '企业微信', atMs: Date.parse('2026-11-20T02:00:00Z') }),
  );
  assert.equal(utc.ruleName, 'A', 'example 13');
});

test('order: enabled rules by priority, then age; the first that holds ends the search', () => {
  const [late, early, first, off] = [
    rule({ name: 'late', priority: 5, createdAt: '2026-01-02T00:00:00.000Z' }),
    rule({ name: 'early', priority: 5, createdAt: '2026-01-01T00:00:00.000Z' }),
    rule({
      ...{ name: 'first', priority: 1, createdAt: '2026-01-03T00:00:00.000Z' },
      conditions: { apps: { type: 'include', list: ['x'] } },
    }),
    rule({ name: 'off', priority: 1, enabled: false }),
  ];
  const decision = decideAnswer(routing([late, early, first, off]), call());
  assert.equal(decision.ruleName, 'early');
  assert.deepEqual(decision.trace, [
    { ruleId: first.id, name: 'first', priority: 1, matched: false, failed: 'apps' },
    { ruleId: early.id, name: 'early', priority: 5, matched: true, failed: null },
  ]);
  const twins = [
    rule({ name: 'a', createdAt: late.createdAt }),
    rule({ name: 'b', createdAt: late.createdAt }),
  ];
  assert.equal(decideAnswer(routing(twins), call()).ruleName, 'a', 'as the store lists them');
  assert.equal(decideAnswer(routing(twins.toReversed()), call()).ruleName, 'b');
});

test('a condition that fails is named, in the order of the contract', () => {
  const conditions: Conditions = {
    calledNumbers: { type: 'include', numbers: ['2000'] },
    callers: { type: 'include', numbers: ['+15550111'] },
    apps: { type: 'include', list: ['x'] },
    dates: { include: ['2020-01-01'] },
    timeRange: { start: '01:00', end: '02:00' },
  };
  const names = ['timeRange', 'dates', 'apps', 'callers', 'calledNumbers'] as const;
  for (const [index, name] of names.entries()) {
    const left = Object.fromEntries(names.slice(index).map((each) => [each, conditions[each]]));
    const { trace } = decideAnswer(routing([rule({ conditions: left })]), call());
    assert.equal(trace[0]?.failed, name);
  }
});

test('time ranges', () => {
  const range = (start: string, end: string, weekdays?: number[]): Conditions => ({
    timeRange: { start, end, ...(weekdays === undefined ? {} : { weekdays }) },
  });
  // 2026-11-20 is a Friday, the 22nd a Sunday.
  const rows: [Conditions, string, boolean][] = [
    [range('09:00', '18:00'), '2026-11-20T08:59:59', false],
    [range('09:00', '18:00'), '2026-11-20T09:00:00', true],
    [range('09:00', '18:00'), '2026-11-20T17:59:59', true],
    [range('09:00', '18:00'), '2026-11-20T18:00:00', false],
    [range('18:00', '24:00'), '2026-11-20T23:59:59', true],
    [range('18:00', '24:00'), '2026-11-21T00:00:00', false],
    [range('00:00', '24:00', [5]), '2026-11-20T00:00:00', true],
    [range('00:00', '24:00', [5]), '2026-11-21T00:00:00', false],
    [range('00:00', '00:00', [5]), '2026-11-20T23:59:59', true],
    [range('13:00', '13:00', [5]), '2026-11-20T00:00:00', true],
    [range('13:00', '13:00', [5]), '2026-11-21T00:00:00', false],
    [range('22:00', '06:00'), '2026-11-20T21:59:59', false],
    [range('22:00', '06:00'), '2026-11-20T22:00:00', true],
    [range('22:00', '06:00'), '2026-11-21T05:59:59', true],
    [range('22:00', '06:00'), '2026-11-21T06:00:00', false],
    [range('22:00', '06:00', [7]), '2026-11-23T01:00:00', true],
    [range('22:00', '06:00', [7]), '2026-11-22T01:00:00', false],
    [range('22:00', '06:00', [1]), '2026-11-23T01:00:00', false],
    [range('22:00', '00:00', [5]), '2026-11-20T23:59:59', true],
    [range('22:00', '00:00', [5]), '2026-11-21T00:00:00', false],
    [range('00:00', '24:00', [7]), '2026-11-22T12:00:00', true],
    [range('00:00', '24:00', [1, 2, 3, 4, 5, 6]), '2026-11-22T12:00:00', false],
  ];
  for (const [conditions, time, expected] of rows) {
    assert.equal(
      holds(conditions, { atMs: at(time) }),
      expected,
      `${JSON.stringify(conditions)} ${time}`,
    );
  }
  const elsewhere: Conditions = {
    timeRange: { start: '09:00', end: '10:00', weekdays: [4], timezone: 'America/New_York' },
  };
  // Friday 22:30 in Shanghai is Friday 09:30 in New York; Thursday there is a day earlier.
  assert.equal(holds(elsewhere, { atMs: at('2026-11-20T22:30:00') }), false);
  assert.equal(holds(elsewhere, { atMs: at('2026-11-19T22:30:00') }), true);
});

test('the clocks of the wall count on the days on which they change', () => {
  const rows: [string, string, string, string, boolean, string][] = [
    // New York: 02:00 EST becomes 03:00 EDT on 2026-03-08; 02:00 EDT becomes 01:00 EST on 2026-11-01.
    ['America/New_York', '01:00', '02:00', '2026-03-08T06:59:59Z', true, 'before the gap'],
    ['America/New_York', '02:00', '03:00', '2026-03-08T07:00:00Z', false, 'the hour that is not'],
    ['America/New_York', '03:00', '04:00', '2026-03-08T07:00:00Z', true, 'after the gap'],
    ['America/New_York', '01:00', '02:00', '2026-11-01T05:30:00Z', true, 'the first 01:30'],
    ['America/New_York', '01:00', '02:00', '2026-11-01T06:30:00Z', true, 'the second 01:30'],
    ['America/New_York', '22:00', '02:30', '2026-03-08T07:15:00Z', false, 'overnight over a gap'],
    // Lord Howe moves by half an hour: 02:00 becomes 02:30 on 2026-10-04.
    ['Australia/Lord_Howe', '02:00', '02:30', '2026-10-03T15:30:00Z', false, 'half an hour gone'],
    ['Australia/Lord_Howe', '02:30', '03:00', '2026-10-03T15:30:00Z', true, 'and its end'],
    ['Europe/London', '01:00', '02:00', '2026-10-25T00:30:00Z', true, 'first'],
    ['Europe/London', '01:00', '02:00', '2026-10-25T01:30:00Z', true, 'second'],
  ];
  for (const [timezone, start, end, time, expected, label] of rows) {
    const conditions = { timeRange: { start, end } };
    assert.equal(holds(conditions, { atMs: Date.parse(time) }, { timezone }), expected, label);
  }
  const saturday = { timeRange: { start: '22:00', end: '02:30', weekdays: [6] } };
  const timezone = 'America/New_York';
  assert.equal(holds(saturday, { atMs: Date.parse('2026-03-08T06:59:00Z') }, { timezone }), true);
});

test('dates, holidays and make-up working days', () => {
  const noon = (day: string): Partial<CallFacts> => ({ atMs: at(`${day}T12:00:00`) });
  const rows: [Conditions, string, boolean][] = [
    [{ dates: {} }, '2026-11-20', true],
    [{ dates: { include: ['2026-11-20'] } }, '2026-11-20', true],
    [{ dates: { include: ['2026-11-20'] } }, '2026-11-21', false],
    [{ dates: { include: [['2026-11-20', '2026-11-22']] } }, '2026-11-22', true],
    [{ dates: { include: [['2026-11-20', '2026-11-22']] } }, '2026-11-23', false],
    [{ dates: { include: ['2026-01-01', ['2026-11-20', '2026-11-22']] } }, '2026-11-21', true],
    [{ dates: { exclude: ['2026-11-20'] } }, '2026-11-20', false],
    [{ dates: { exclude: ['2026-11-20'] } }, '2026-11-21', true],
    [
      { dates: { include: [['2026-11-01', '2026-11-30']], exclude: ['2026-11-20'] } },
      '2026-11-20',
      false,
    ],
    [{ dates: { include: [] } }, '2026-11-20', false],
    [{ dates: { holidays: 'only' } }, '2026-10-01', true],
    [{ dates: { holidays: 'only' } }, '2026-10-02', false],
    [{ dates: { holidays: 'only' } }, '2026-10-10', false],
    [{ dates: { holidays: 'except' } }, '2026-10-01', false],
    [{ dates: { holidays: 'except' } }, '2026-10-10', true],
    [{ dates: { holidays: 'except' } }, '2026-10-02', true],
  ];
  for (const [conditions, day, expected] of rows) {
    assert.equal(holds(conditions, noon(day)), expected, `${JSON.stringify(conditions)} ${day}`);
  }
  const onDays = (weekdays: number[]): Conditions => ({
    timeRange: { start: '00:00', end: '24:00', weekdays },
  });
  assert.equal(holds(onDays([6]), noon('2026-10-10')), false, 'that Saturday is no Saturday');
  assert.equal(holds(onDays([6, 7]), noon('2026-10-10')), false);
  assert.equal(holds(onDays([3]), noon('2026-10-10')), true);
  assert.equal(holds(onDays([4]), noon('2026-10-01')), true, 'a day off is still a Thursday');
  const night: Conditions = {
    timeRange: { start: '22:00', end: '06:00' },
    dates: { include: ['2026-11-20'] },
  };
  assert.equal(holds(night, { atMs: at('2026-11-21T05:00:00') }), true, 'began on the 20th');
  assert.equal(holds(night, { atMs: at('2026-11-20T05:00:00') }), false, 'began on the 19th');
  const workNight: Conditions = { timeRange: { start: '22:00', end: '06:00', weekdays: [1] } };
  assert.equal(holds(workNight, { atMs: at('2026-10-11T05:00:00') }), true, 'of a work Saturday');
  const offNight: Conditions = {
    timeRange: { start: '22:00', end: '06:00' },
    dates: { holidays: 'only' },
  };
  assert.equal(holds(offNight, { atMs: at('2026-10-02T01:00:00') }), true);
  assert.equal(holds(offNight, { atMs: at('2026-10-01T01:00:00') }), false);
});

test('apps', () => {
  const include: Conditions = { apps: { type: 'include', list: [' WeCom', 'Ｄｉｎｇ', 'Straße'] } };
  const exclude: Conditions = { apps: { type: 'exclude', list: ['WeCom'] } };
  const rows: [Conditions, string | null, boolean][] = [
    [include, 'wecom', true],
    [include, ' WECOM ', true],
    [include, 'ＷｅＣｏｍ', true],
    [include, 'ding', true],
    [include, 'STRASSE', true],
    [include, 'WeChat', false],
    [include, null, false],
    [include, '  ', false],
    [exclude, 'wecom', false],
    [exclude, 'x', true],
    [exclude, null, true],
  ];
  for (const [conditions, callerApp, expected] of rows) {
    assert.equal(
      holds(conditions, { callerApp }),
      expected,
      `${conditions.apps?.type} ${callerApp}`,
    );
  }
});

test('callers and called numbers', () => {
  const mobile = ['+8613800138000'];
  const rows: [Conditions, Partial<CallFacts>, boolean][] = [
    [{ callers: { type: 'include', numbers: mobile } }, { callerNumber: '13800138000' }, true],
    [{ callers: { type: 'include', numbers: mobile } }, { callerNumber: '013800138000' }, true],
    [{ callers: { type: 'include', numbers: mobile } }, { callerNumber: '008613800138000' }, true],
    [
      { callers: { type: 'include', numbers: ['138-0013 8000'] } },
      { callerNumber: mobile[0] ?? null },
      true,
    ],
    [{ callers: { type: 'include', numbers: mobile } }, { callerNumber: '13800138001' }, false],
    [{ callers: { type: 'include', numbers: ['1001'] } }, { callerNumber: '1001' }, true],
    [{ callers: { type: 'include', numbers: ['1001'] } }, { callerNumber: '+861001' }, false],
    [{ callers: { type: 'include', prefixes: ['+86138'] } }, { callerNumber: '13800138000' }, true],
    [
      { callers: { type: 'include', prefixes: ['+86139', '+1'] } },
      { callerNumber: '13800138000' },
      false,
    ],
    [{ callers: { type: 'include', prefixes: ['10'] } }, { callerNumber: '1001' }, true],
    [{ callers: { type: 'include', prefixes: ['+15550100'] } }, { callerNumber: KNOWN }, true],
    [{ callers: { type: 'include', prefixes: ['+155501001'] } }, { callerNumber: KNOWN }, false],
    [{ callers: { type: 'include', numbers: mobile } }, { callerNumber: null }, false],
    [{ callers: { type: 'include', numbers: [KNOWN] } }, { anonymous: true }, false],
    [{ callers: { type: 'include', anonymous: true } }, { anonymous: true }, true],
    [{ callers: { type: 'include', anonymous: true } }, { callerNumber: null }, true],
    [{ callers: { type: 'include', anonymous: true } }, { callerNumber: 'anonymous' }, true],
    [{ callers: { type: 'include', anonymous: true } }, {}, false],
    [{ callers: { type: 'include', anonymous: true, numbers: [KNOWN] } }, {}, true],
    [{ callers: { type: 'include', anonymous: false } }, { callerNumber: null }, false],
    [{ callers: { type: 'exclude', numbers: [KNOWN] } }, {}, false],
    [{ callers: { type: 'exclude', numbers: mobile } }, {}, true],
    [{ callers: { type: 'exclude', numbers: [KNOWN] } }, { callerNumber: null }, true],
    [{ callers: { type: 'exclude', anonymous: true } }, { callerNumber: null }, false],
    [{ callers: { type: 'exclude', anonymous: true } }, {}, true],
    [{ calledNumbers: { type: 'include', numbers: ['1000'] } }, {}, true],
    [{ calledNumbers: { type: 'include', prefixes: ['2'] } }, {}, false],
    [{ calledNumbers: { type: 'include', prefixes: ['1'] } }, { calledNumber: null }, false],
    [{ calledNumbers: { type: 'exclude', prefixes: ['1'] } }, { calledNumber: null }, true],
    [{ calledNumbers: { type: 'exclude', prefixes: ['1'] } }, {}, false],
    [
      { calledNumbers: { type: 'exclude', numbers: ['1'.repeat(3)] } },
      { calledNumber: 'desk' },
      true,
    ],
  ];
  for (const [conditions, facts, expected] of rows) {
    assert.equal(
      holds(conditions, facts),
      expected,
      `${JSON.stringify(conditions)} ${JSON.stringify(facts)}`,
    );
  }
  const national: Conditions = { callers: { type: 'include', numbers: ['13800138000'] } };
  assert.equal(
    holds(national, { callerNumber: '+8613800138000' }, { countryCode: null }),
    false,
    'without a country code nothing is completed by guess',
  );
});

test('actions are completed with their defaults', () => {
  const bare = {
    ...{ answer: true, useAgent: true, agentId: null, squadId: null, greeting: null },
    ...{ delayRingMs: 0, reject: null, forward: null, voicemail: null },
  };
  const rows: [Action, object][] = [
    [{ answer: true }, {}],
    [
      { answer: true, agentId: AGENT_X, delayRingMs: 5 },
      { agentId: AGENT_X, delayRingMs: 5 },
    ],
    [
      { answer: true, useAgent: false, greeting: 'hi' },
      { useAgent: false, greeting: 'hi' },
    ],
    [{ answer: false }, { answer: false, useAgent: false }],
    [
      { answer: false, reject: { status: 486 } },
      { answer: false, useAgent: false, reject: { status: 486, reason: null } },
    ],
    [
      { answer: true, forward: { to: '1001' } },
      { useAgent: false, forward: { to: '1001', timeoutMs: 20_000, callerId: 'original' } },
    ],
    [
      { answer: true, voicemail: {} },
      { useAgent: false, voicemail: { greeting: null, maxSeconds: 120 } },
    ],
  ];
  for (const [action, expected] of rows) {
    assert.deepEqual(completeAction(action), { ...bare, ...expected });
  }
});

test('nothing matches: the default of the account', () => {
  const by = (answerDefault: AccountCalendar['answerDefault']): Decision =>
    decideAnswer(routing([], { answerDefault }), call());
  assert.deepEqual(
    [by('agent').action.answer, by('agent').action.useAgent, by('agent').defaultUsed],
    [true, true, true],
  );
  assert.deepEqual([by('ring').action.answer, by('ring').action.reject], [false, null]);
  assert.deepEqual(by('reject').action.reject, { status: 603, reason: null });
  assert.deepEqual([by('agent').ruleId, by('agent').ruleName], [null, null]);
});

test('a rule that cannot be evaluated raises RULE_FAILED, and the default applies', () => {
  const broken: [string, unknown, unknown][] = [
    ['no conditions', null, { answer: true }],
    ['conditions that are a list', [], { answer: true }],
    ['conditions that are a word', 'all', { answer: true }],
    ['a time that is none', { timeRange: { start: '9', end: '18:00' } }, { answer: true }],
    ['a time above the day', { timeRange: { start: '09:00', end: '24:01' } }, { answer: true }],
    [
      'a zone that is none',
      { timeRange: { start: '09:00', end: '18:00', timezone: 'X/Y' } },
      { answer: true },
    ],
    ['a day that is none', { dates: { include: ['soon'] } }, { answer: true }],
    ['apps without a list', { apps: { type: 'include' } }, { answer: true }],
    ['a list of no known type', { callers: { type: 'some', numbers: [] } }, { answer: true }],
    ['numbers that are none', { callers: { type: 'include', numbers: [5] } }, { answer: true }],
    ['no action', {}, null],
    ['an action without answer', {}, {}],
  ];
  for (const [label, conditions, action] of broken) {
    const bad = rule({ priority: 2, conditions, action } as Partial<AnswerRule>);
    const never = rule({ priority: 1, conditions: { apps: { type: 'include', list: ['x'] } } });
    const after = rule({ priority: 3 });
    const rules = routing([bad, never, after], { answerDefault: 'reject' });
    const decision = decideAnswer(rules, call());
    assert.equal(decision.fault?.code, 'RULE_FAILED', label);
    assert.equal(decision.fault?.ruleId, bad.id, label);
    assert.equal(decision.defaultUsed, true, label);
    assert.equal(decision.action.reject?.status, 603, label);
    assert.deepEqual(
      decision.trace.map(({ ruleId, matched }) => [ruleId, matched]),
      [
        [never.id, false],
        [bad.id, false],
      ],
      label,
    );
    const before = routing([rule({ priority: 1 }), bad], { answerDefault: 'reject' });
    assert.equal(decideAnswer(before, call()).fault, null, 'a rule before it decides all the same');
  }
  const lost = decideAnswer(routing([rule()], { holidays: [null] as never }), call());
  assert.equal(lost.fault, null, 'rules without days need no holidays');
});

test('wall time: years, midnight, cached minutes', () => {
  const rows: [string, string, string, number][] = [
    ['2026-11-20T16:00:00Z', 'Asia/Shanghai', '2026-11-21', 0],
    ['2026-11-20T15:59:59Z', 'Asia/Shanghai', '2026-11-20', 1_439],
    ['2026-11-20T15:59:00Z', 'Asia/Shanghai', '2026-11-20', 1_439],
    ['2024-02-29T00:00:00Z', 'UTC', '2024-02-29', 0],
    ['1970-01-01T00:00:00Z', 'Asia/Kathmandu', '1970-01-01', 330],
    ['1900-06-01T00:00:00Z', 'UTC', '1900-06-01', 0],
    ['2999-12-31T23:59:00Z', 'UTC', '2999-12-31', 1_439],
  ];
  for (const [time, zone, day, minute] of rows) {
    const wall = wallTimeAt(Date.parse(time), zone);
    assert.deepEqual(
      [new Date(wall.dayMs).toISOString().slice(0, 10), wall.minute],
      [day, minute],
      `${time} ${zone}`,
    );
  }
});
