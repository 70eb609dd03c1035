/** Answer rules as calls read them: fresh on every node, from the past while the database is away; and their limit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { decideAnswer } from '#sessions/answer-rules.ts';
import { createAnswerRules } from '#store/answer-rules.ts';
import { openPool, type Database } from '#store/pool.ts';
import { dataOf, refused, setUp } from './_answering.ts';
import { atEnd } from './_store.ts';

const RULES = '/api/v1/call-answer-rules';
const plain = { name: 'All', priority: 10, conditions: {}, action: { answer: true } };

test('at most 500 rules, also when many come at once', async (t) => {
  const { api, accountId, rows } = await setUp(t);
  await rows(
    `INSERT INTO call_answer_rules (user_id, name, priority, conditions, action)
     SELECT $1, 'r', 1, '{}', '{"answer": true}' FROM generate_series(1, 497)`,
    [accountId],
  );
  const replies = await Promise.all(Array.from({ length: 8 }, () => api('POST', RULES, plain)));
  const statuses = replies.map(({ status }) => status).sort((left, right) => left - right);
  assert.deepEqual(statuses, [201, 201, 201, 409, 409, 409, 409, 409]);
  await refused(api('POST', RULES, plain), 409, 'CONFLICT');
  const { rules } = await dataOf<{ rules: { id: string }[] }>(200, api('GET', RULES));
  assert.equal(rules.length, 500);
});

test('calls see a rule within a second, on every node, and go on while the database is away', async (t) => {
  const { app, api, accountId, rows } = await setUp(t);
  const pool = openPool({ url: app.databaseUrl, log: silentLog, size: 2 });
  atEnd(t, () => pool.close());
  let [isAway, asked] = [false, 0];
  const database: Database = {
    ...pool,
    withSystem: (work) => {
      asked++;
      if (!isAway) return pool.withSystem(work);
      return Promise.reject(Object.assign(new Error('gone'), { code: 'ECONNREFUSED' }));
    },
  };
  const clock = new SimulatedClock();
  const node = createAnswerRules({
    ...{ database, log: silentLog, clock },
    defaults: { timezone: 'UTC', language: 'en', countryCode: null, currency: 'CNY' },
  });
  const facts = {
    ...{ callerNumber: null, anonymous: true, callerApp: null, calledNumber: null },
    atMs: Date.parse('2026-11-20T10:00:00Z'),
  };
  const decided = async (): Promise<string | null> =>
    decideAnswer(await node.forRouting(accountId), facts).ruleName;

  assert.equal(await decided(), null);
  await dataOf(201, api('POST', RULES, { ...plain, name: 'first' }));
  assert.equal(await decided(), null, 'young answers are not asked for again');
  assert.equal(asked, 1);
  clock.advance(501);
  assert.equal(await decided(), 'first', 'a rule of another node');
  const before = await node.forRouting(accountId);
  assert.equal(before.calendar.timezone, 'Asia/Shanghai');
  clock.advance(501);
  assert.equal(await node.forRouting(accountId), before, 'unchanged rules stay one object');
  assert.equal(asked, 3);

  const changes: [string, string, (routing: typeof before) => unknown, unknown][] = [
    [
      'a setting',
      "UPDATE account_settings SET answer_default = 'ring'",
      ({ calendar }) => calendar.answerDefault,
      'ring',
    ],
    [
      'holidays',
      `UPDATE account_settings SET holidays = '[{"date": "2026-10-01", "kind": "off"}]'`,
      ({ calendar }) => calendar.holidays,
      [{ date: '2026-10-01', kind: 'off' }],
    ],
    [
      'a rule changed past the API',
      "UPDATE call_answer_rules SET name = 'second'",
      ({ rules }) => rules[0]?.name,
      'second',
    ],
    [
      'a zone nobody knows',
      "UPDATE account_settings SET timezone = 'Nowhere'",
      ({ calendar }) => calendar.timezone,
      'UTC',
    ],
    [
      'a rule switched off',
      'UPDATE call_answer_rules SET enabled = false',
      ({ rules }) => rules,
      [],
    ],
    [
      'a rule switched on',
      'UPDATE call_answer_rules SET enabled = true',
      ({ rules }) => rules.length,
      1,
    ],
  ];
  for (const [label, text, look, expected] of changes) {
    await rows(text);
    clock.advance(501);
    assert.deepEqual(look(await node.forRouting(accountId)), expected, label);
  }

  isAway = true;
  clock.advance(3_600_000);
  assert.equal(await decided(), 'second', 'from the past');
  const strange = await node.forRouting(newId());
  assert.deepEqual([strange.rules, strange.calendar.answerDefault], [[], 'agent']);
  isAway = false;
  await dataOf(200, api('PATCH', `${RULES}/${before.rules[0]?.id}`, { name: 'third' }));
  clock.advance(501);
  assert.equal(await decided(), 'third');
});
