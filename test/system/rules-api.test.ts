/** Answer rules over HTTP on a real database: all routes, bad input, injection strings, and what calls get to see. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnswerRule } from '#lib/answer-rule.ts';
import { newId } from '#lib/ids.ts';
import { dataOf, makeAgent, refused, setUp, type Agent } from './_answering.ts';

const RULES = '/api/v1/call-answer-rules';

type Rule = Pick<AnswerRule, 'id' | 'name' | 'enabled' | 'priority' | 'conditions' | 'action'> & {
  created_at: string;
  updated_at: string;
};
type Evaluation = {
  matched: boolean;
  rule_id: string | null;
  rule_name: string | null;
  default_used: boolean;
  action: Record<string, unknown>;
  agent: Agent | null;
  trace: { rule_id: string | null; name: string; matched: boolean; failed: string | null }[];
};

const plain = { name: 'All', priority: 10, conditions: {}, action: { answer: true } };

test('a rule lives: created, listed, read, replaced, changed, reordered, deleted', async (t) => {
  const { api, rows } = await setUp(t);
  const agent = await makeAgent(api, 'X');
  const body = {
    ...{ name: '工作时间', priority: 5, enabled: false },
    conditions: {
      timeRange: { start: '22:00', end: '06:00', weekdays: [5], timezone: 'Europe/London' },
      dates: { include: ['2026-01-01', ['2026-02-01', '2026-02-28']], holidays: 'except' },
      apps: { type: 'include', list: ['企业微信'] },
      callers: {
        type: 'exclude',
        numbers: ['+1 (555) 0100'],
        prefixes: ['001900'],
        anonymous: true,
      },
      calledNumbers: { type: 'include', numbers: ['1000'] },
    },
    action: { answer: true, agentId: agent.id.toUpperCase(), delayRingMs: 0 },
  };
  const made = await dataOf<Rule>(201, api('POST', RULES, body));
  assert.deepEqual(
    { ...made, id: '', created_at: '', updated_at: '' },
    {
      ...{ ...body, id: '', created_at: '', updated_at: '' },
      conditions: {
        ...body.conditions,
        callers: { type: 'exclude', numbers: ['+15550100'], prefixes: ['+1900'], anonymous: true },
      },
      action: { ...body.action, agentId: agent.id },
    },
    'as given, with numbers in normal form and ids in lower case',
  );
  assert.match(made.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(await dataOf(200, api('GET', `${RULES}/${made.id}`)), made);

  const second = await dataOf<Rule>(201, api('POST', RULES, { ...plain, priority: 1 }));
  assert.equal(second.enabled, true);
  const third = await dataOf<Rule>(201, api('POST', RULES, { ...plain, priority: 5 }));
  const names = async (query = ''): Promise<string[]> => {
    const { rules } = await dataOf<{ rules: Rule[] }>(200, api('GET', RULES + query));
    return rules.map(({ id }) => id);
  };
  assert.deepEqual(await names(), [second.id, made.id, third.id], 'by priority, then age');
  assert.deepEqual(await names('?enabled=false'), [made.id]);
  assert.deepEqual(await names('?enabled=true'), [second.id, third.id]);

  const put = await dataOf<Rule>(200, api('PUT', `${RULES}/${made.id}`, { ...plain, name: 'New' }));
  assert.deepEqual([put.name, put.priority, put.enabled, put.conditions], ['New', 10, true, {}]);
  assert.deepEqual([put.id, put.created_at], [made.id, made.created_at]);
  assert.ok(put.updated_at > made.updated_at);
  const conditions = { callers: { type: 'include', anonymous: true } };
  const patched = await dataOf<Rule>(200, api('PATCH', `${RULES}/${made.id}`, { conditions }));
  assert.deepEqual([patched.name, patched.conditions], ['New', conditions], 'replaced, not merged');
  const untouched = await dataOf<Rule>(200, api('PATCH', `${RULES}/${made.id}`, {}));
  assert.deepEqual(untouched.conditions, conditions);

  const order = [third.id, made.id.toUpperCase(), second.id];
  const { rules } = await dataOf<{ rules: Rule[] }>(
    200,
    api('POST', `${RULES}/reorder`, { ids: order }),
  );
  assert.deepEqual(
    rules.map(({ id, priority }) => [id, priority]),
    [
      [third.id, 1],
      [made.id, 2],
      [second.id, 3],
    ],
  );
  assert.equal(await dataOf(200, api('DELETE', `${RULES}/${made.id}`)), null);
  await refused(api('GET', `${RULES}/${made.id}`), 404, 'NOT_FOUND');
  await refused(api('DELETE', `${RULES}/${made.id}`), 404, 'NOT_FOUND');
  const audit = await rows<{ action: string }>(
    "SELECT action FROM audit_log WHERE target_type = 'answer_rule' AND target_id = $1 ORDER BY id",
    [made.id],
  );
  assert.deepEqual(
    audit.map(({ action }) => action.split('.')[1]),
    ['create', 'update', 'update', 'update', 'delete'],
  );
});

test('every bad body is told what is wrong with it, and changes nothing', async (t) => {
  const { api: admin, accountId, client } = await setUp(t);
  let api = admin;
  const action = (given: object): object => ({ ...plain, action: given });
  const conditions = (given: object): object => ({ ...plain, conditions: given });
  const range = (given: object): object =>
    conditions({ timeRange: { start: '09:00', end: '18:00', ...given } });
  const id = newId();
  const bodies: [object, string][] = [
    [{}, '/name'],
    [{ ...plain, name: '' }, '/name'],
    [{ ...plain, name: 'x'.repeat(256) }, '/name'],
    [{ ...plain, name: 'a\0b' }, '/name'],
    [{ ...plain, name: 5 }, '/name'],
    [{ ...plain, priority: 0 }, '/priority'],
    [{ ...plain, priority: 10_001 }, '/priority'],
    [{ ...plain, priority: 1.5 }, '/priority'],
    [{ ...plain, priority: '1' }, '/priority'],
    [{ ...plain, enabled: 'yes' }, '/enabled'],
    [{ ...plain, user_id: id }, '/user_id'],
    [{ ...plain, conditions: null }, '/conditions'],
    [conditions({ time_range: {} }), '/conditions/time_range'],
    [range({ start: '24:00' }), '/conditions/timeRange/start'],
    [range({ start: '9:00' }), '/conditions/timeRange/start'],
    [range({ end: '24:01' }), '/conditions/timeRange/end'],
    [range({ end: '18:60' }), '/conditions/timeRange/end'],
    [range({ weekdays: [] }), '/conditions/timeRange/weekdays'],
    [range({ weekdays: [0] }), '/conditions/timeRange/weekdays/0'],
    [range({ weekdays: [8] }), '/conditions/timeRange/weekdays/0'],
    [range({ timezone: 'Mars/Base' }), '/conditions/timeRange/timezone'],
    [range({ timezone: '+08:00' }), '/conditions/timeRange/timezone'],
    [conditions({ timeRange: { start: '09:00' } }), '/conditions/timeRange/end'],
    [conditions({ dates: { include: ['2026-02-30'] } }), '/conditions/dates/include/0'],
    [conditions({ dates: { exclude: ['20260201'] } }), '/conditions/dates/exclude/0'],
    [
      conditions({ dates: { include: [['2026-02-02', '2026-02-01']] } }),
      '/conditions/dates/include/0/1',
    ],
    [conditions({ dates: { include: [['2026-02-02']] } }), '/conditions/dates/include/0'],
    [conditions({ dates: { holidays: 'all' } }), '/conditions/dates/holidays'],
    [conditions({ apps: { type: 'include', list: [] } }), '/conditions/apps/list'],
    [conditions({ apps: { type: 'include', list: [' '] } }), '/conditions/apps/list/0'],
    [conditions({ apps: { type: 'both', list: ['x'] } }), '/conditions/apps/type'],
    [
      conditions({ apps: { type: 'include', list: Array.from({ length: 51 }, String) } }),
      '/conditions/apps/list',
    ],
    [conditions({ callers: { type: 'include' } }), '/conditions/callers/numbers'],
    [
      conditions({ callers: { type: 'include', numbers: ['1', 'abc'] } }),
      '/conditions/callers/numbers/1',
    ],
    [
      conditions({ callers: { type: 'include', prefixes: ['--'] } }),
      '/conditions/callers/prefixes/0',
    ],
    [conditions({ calledNumbers: { type: 'include' } }), '/conditions/calledNumbers/numbers'],
    [
      conditions({ calledNumbers: { type: 'include', anonymous: true } }),
      '/conditions/calledNumbers/anonymous',
    ],
    [action({}), '/action/answer'],
    [action({ answer: true, agent_id: id }), '/action/agent_id'],
    [action({ answer: true, agentId: id, squadId: id }), '/action/squadId'],
    [action({ answer: true, agentId: 'x' }), '/action/agentId'],
    [action({ answer: true, useAgent: false }), '/action/greeting'],
    [action({ answer: true, useAgent: false, greeting: 'x', agentId: id }), '/action/agentId'],
    [action({ answer: true, useAgent: true, forward: { to: '1001' } }), '/action/useAgent'],
    [action({ answer: true, useAgent: true, voicemail: {} }), '/action/useAgent'],
    [action({ answer: true, forward: { to: '1001' }, voicemail: {} }), '/action/voicemail'],
    [action({ answer: true, forward: { to: '1001' }, agentId: id }), '/action/agentId'],
    [action({ answer: true, forward: { to: '1001' }, greeting: 'x' }), '/action/greeting'],
    [action({ answer: true, forward: { to: 'nobody' } }), '/action/forward/to'],
    [action({ answer: true, forward: { to: 'http://x' } }), '/action/forward/to'],
    [action({ answer: true, forward: {} }), '/action/forward/to'],
    [
      action({ answer: true, forward: { to: '1001', callerId: 'none' } }),
      '/action/forward/callerId',
    ],
    [action({ answer: true, voicemail: { maxSeconds: 301 } }), '/action/voicemail/maxSeconds'],
    [action({ answer: true, voicemail: { maxSeconds: 0 } }), '/action/voicemail/maxSeconds'],
    [action({ answer: true, voicemail: {}, squadId: id }), '/action/squadId'],
    [action({ answer: true, reject: { status: 486 } }), '/action/reject'],
    [action({ answer: true, delayRingMs: 60_001 }), '/action/delayRingMs'],
    [action({ answer: true, delayRingMs: -1 }), '/action/delayRingMs'],
    [action({ answer: true, greeting: 'x'.repeat(501) }), '/action/greeting'],
    [action({ answer: false, reject: { status: 500 } }), '/action/reject/status'],
    [action({ answer: false, reject: {} }), '/action/reject/status'],
    [action({ answer: false, useAgent: true }), '/action/useAgent'],
    [action({ answer: false, agentId: id }), '/action/agentId'],
    [action({ answer: false, greeting: 'x' }), '/action/greeting'],
    [action({ answer: false, forward: { to: '1001' } }), '/action/forward'],
    [action({ answer: false, voicemail: {} }), '/action/voicemail'],
  ];
  const kept = await dataOf<Rule>(201, api('POST', RULES, plain));
  for (const [index, [body, path]] of bodies.entries()) {
    // Each key has its own rate: the table asks faster than one may.
    if (index % 15 === 0) api = await client({ accountId });
    await refused(api('POST', RULES, body), 400, 'VALIDATION_FAILED', path);
    await refused(api('PUT', `${RULES}/${kept.id}`, body), 400, 'VALIDATION_FAILED', path);
    if (Object.keys(body).length === 0) continue;
    await refused(api('PATCH', `${RULES}/${kept.id}`, body), 400, 'VALIDATION_FAILED', path);
    if ('user_id' in body) continue;
    const drafts = { rules: [plain, body] };
    await refused(
      api('POST', `${RULES}/evaluate`, drafts),
      400,
      'VALIDATION_FAILED',
      `/rules/1${path}`,
    );
  }
  assert.deepEqual(await dataOf(200, api('GET', RULES)), { rules: [kept] });

  for (const field of ['agentId', 'squadId']) {
    const body = action({ answer: true, [field]: id });
    const path = `/action/${field}`;
    await refused(api('POST', RULES, body), 422, 'REFERENCE_NOT_FOUND', path);
    await refused(api('PUT', `${RULES}/${kept.id}`, body), 422, 'REFERENCE_NOT_FOUND', path);
    await refused(api('PATCH', `${RULES}/${kept.id}`, body), 422, 'REFERENCE_NOT_FOUND', path);
  }
  await refused(api('GET', `${RULES}/x`), 400, 'VALIDATION_FAILED');
  await refused(api('GET', `${RULES}?page=1`), 400, 'VALIDATION_FAILED', '?page');
  await refused(api('GET', `${RULES}?enabled=1`), 400, 'VALIDATION_FAILED', '?enabled');
  await refused(api('PUT', `${RULES}/${id}`, plain), 404, 'NOT_FOUND');
  await refused(api('PATCH', `${RULES}/${id}`, {}), 404, 'NOT_FOUND');
  const reorder = (ids: unknown) => api('POST', `${RULES}/reorder`, { ids });
  await refused(reorder([]), 400, 'VALIDATION_FAILED', '/ids');
  await refused(reorder([kept.id, kept.id]), 400, 'VALIDATION_FAILED', '/ids');
  await refused(reorder(['x']), 400, 'VALIDATION_FAILED', '/ids/0');
  await refused(reorder([kept.id, id]), 422, 'REFERENCE_NOT_FOUND', '/ids/1');
  assert.deepEqual(await dataOf(200, api('GET', RULES)), { rules: [kept] });
});

test('good combinations are taken, and injection strings are only data', async (t) => {
  const { api } = await setUp(t);
  const actions = [
    { answer: true },
    { answer: true, useAgent: true, greeting: 'Hello' },
    { answer: true, useAgent: false, greeting: 'We are closed.' },
    { answer: true, forward: { to: '+15550100', timeoutMs: 10_000, callerId: 'own' } },
    { answer: true, useAgent: false, forward: { to: 'sip:desk@192.0.2.10' } },
    { answer: true, voicemail: {}, delayRingMs: 60_000 },
    { answer: true, useAgent: false, voicemail: { greeting: 'Speak', maxSeconds: 300 } },
    { answer: false },
    { answer: false, delayRingMs: 100, reject: { status: 603, reason: 'No' } },
  ];
  for (const action of actions) {
    const rule = await dataOf<Rule>(201, api('POST', RULES, { ...plain, action }));
    assert.deepEqual(rule.action, action);
  }
  const nasty = [
    "'; DROP TABLE call_answer_rules; --",
    '" OR 1=1 --',
    '$1 $2 \\',
    '%_%',
    '{"$gt": ""}',
    '<script>alert(1)</script>',
    '../../etc/passwd',
    '\u202E\uFEFF𝕏',
    '__proto__',
  ];
  for (const text of nasty) {
    const body = {
      ...{ ...plain, name: text },
      conditions: { apps: { type: 'include', list: [text] } },
      action: { answer: true, greeting: text },
    };
    const made = await dataOf<Rule>(201, api('POST', RULES, body));
    const read = await dataOf<Rule>(200, api('GET', `${RULES}/${made.id}`));
    assert.deepEqual(
      [read.name, read.conditions, read.action],
      [text, body.conditions, body.action],
    );
  }
});

test('the dry run: stored rules, drafts, bindings, defaults; nothing is stored', async (t) => {
  const { api, accountId, rows } = await setUp(t);
  const [x, y] = [await makeAgent(api, 'X'), await makeAgent(api, 'Y')];
  const evaluate = (body: object): Promise<Evaluation> =>
    dataOf(200, api('POST', `${RULES}/evaluate`, body));
  const office = await dataOf<Rule>(
    201,
    api('POST', RULES, {
      ...{ name: 'A', priority: 1 },
      conditions: {
        timeRange: { start: '09:00', end: '18:00', weekdays: [1, 2, 3, 4, 5] },
        apps: { type: 'include', list: ['企业微信'] },
      },
      action: { answer: true, agentId: x.id },
    }),
  );
  const blocked = await dataOf<Rule>(
    201,
    api('POST', RULES, {
      ...{ name: 'C', priority: 2 },
      conditions: { callers: { type: 'include', anonymous: true } },
      action: { answer: false, reject: { status: 603 } },
    }),
  );
  const complete = {
    ...{ answer: true, useAgent: true, agentId: null, squadId: null, greeting: null },
    ...{ delayRingMs: 0, reject: null, forward: null, voicemail: null },
  };
  const hit = await evaluate({
    ...{ caller_phone: '+15550100', caller_app: ' 企业微信 ', called_number: '1000' },
    at: '2026-11-20T02:00:00Z',
  });
  assert.deepEqual(hit, {
    ...{ matched: true, rule_id: office.id, rule_name: 'A', default_used: false },
    action: { ...complete, agentId: x.id },
    agent: { id: x.id, name: 'X' },
    trace: [{ rule_id: office.id, name: 'A', priority: 1, matched: true, failed: null }],
  });
  const anonymous = await evaluate({ at: '2026-11-20T18:00:00+08:00', caller_app: '企业微信' });
  assert.deepEqual([anonymous.rule_id, anonymous.agent], [blocked.id, null], 'no number');
  assert.deepEqual(anonymous.trace[0]?.failed, 'timeRange', 'the end is exclusive');
  const hidden = await evaluate({ caller_phone: '+15550100', anonymous: true });
  assert.equal(hidden.rule_id, blocked.id);

  const call = { caller_phone: '+15550100', at: '2026-11-20T20:00:00+08:00' };
  const missed = await evaluate(call);
  assert.deepEqual([missed.matched, missed.default_used, missed.rule_id], [false, true, null]);
  assert.deepEqual([missed.action, missed.agent?.name], [complete, 'Default agent']);
  await rows(
    `INSERT INTO sip_configs (id, user_id, name, host) VALUES ($2, $1, 't', '192.0.2.9')`,
    [accountId, y.id],
  );
  const bind = (body: object): Promise<unknown> =>
    dataOf(200, api('PUT', '/api/v1/agent-bindings', body));
  const whom = async (more: object): Promise<string | undefined> =>
    (await evaluate({ ...call, ...more })).agent?.name;
  await bind({ kind: 'trunk', value: y.id, agent_id: y.id });
  assert.equal(await whom({ trunk_id: y.id, caller_app: 'WeCom', called_number: '2000' }), 'Y');
  await bind({ kind: 'app', value: 'wecom', agent_id: x.id });
  assert.equal(await whom({ trunk_id: y.id, caller_app: ' ＷｅCom', called_number: '2000' }), 'X');
  await bind({ kind: 'number', value: '2000', agent_id: y.id });
  assert.equal(await whom({ trunk_id: y.id, caller_app: 'WeCom', called_number: '2000' }), 'Y');
  assert.equal(await whom({ called_number: '3000' }), 'Default agent');
  for (const [choice, answer, status] of [
    ['ring', false, null],
    ['reject', false, 603],
  ] as const) {
    await rows('UPDATE account_settings SET answer_default = $1', [choice]);
    const decided = await evaluate(call);
    const { action, agent } = decided;
    assert.deepEqual([action['answer'], agent], [answer, null]);
    assert.deepEqual(action['reject'], status === null ? null : { status, reason: null });
  }

  const drafts = await evaluate({
    ...call,
    rules: [
      { ...plain, name: 'never', conditions: { apps: { type: 'include', list: ['x'] } } },
      {
        conditions: {},
        action: { answer: true, useAgent: false, greeting: 'Closed' },
        priority: 11,
      },
      { ...plain, enabled: false, priority: 1 },
    ],
  });
  assert.deepEqual([drafts.matched, drafts.rule_id, drafts.agent], [true, null, null]);
  assert.deepEqual(drafts.action, { ...complete, useAgent: false, greeting: 'Closed' });
  assert.deepEqual(
    drafts.trace.map(({ name, matched, failed }) => [name, matched, failed]),
    [
      ['never', false, 'apps'],
      ['', true, null],
    ],
  );
  const none = await evaluate({ ...call, rules: [] });
  assert.equal(none.default_used, true);
  const { rules } = await dataOf<{ rules: Rule[] }>(200, api('GET', RULES));
  assert.deepEqual(
    rules.map(({ id }) => id),
    [office.id, blocked.id],
    'nothing was stored',
  );

  const bad: [object, string][] = [
    [{ caller_phone: 'me' }, '/caller_phone'],
    [{ caller_phone: '' }, '/caller_phone'],
    [{ called_number: 'x' }, '/called_number'],
    [{ at: '2026-11-20' }, '/at'],
    [{ at: '2026-11-20T10:00:00' }, '/at'],
    [{ at: '2026-02-30T10:00:00Z' }, '/at'],
    [{ at: 5 }, '/at'],
    [{ anonymous: 'no' }, '/anonymous'],
    [{ trunk_id: 'x' }, '/trunk_id'],
    [{ number: '1' }, '/number'],
    [{ rules: {} }, '/rules'],
  ];
  for (const [body, path] of bad) {
    await refused(api('POST', `${RULES}/evaluate`, body), 400, 'VALIDATION_FAILED', path);
  }
  const unknown = { ...plain, action: { answer: true, agentId: newId() } };
  const post = (body: object) => api('POST', `${RULES}/evaluate`, body);
  await refused(
    post({ rules: [plain, unknown] }),
    422,
    'REFERENCE_NOT_FOUND',
    '/rules/1/action/agentId',
  );
  await refused(post({ trunk_id: newId() }), 422, 'REFERENCE_NOT_FOUND', '/trunk_id');
});

test('other accounts, roles, and keys for some agents', async (t) => {
  const { api, accountId, client } = await setUp(t);
  const [mine, other] = [await makeAgent(api, 'Mine'), await makeAgent(api, 'Other')];
  const ruleFor = (agentId: string): Promise<Rule> =>
    dataOf(201, api('POST', RULES, { ...plain, action: { answer: true, agentId } }));
  const [seen, unseen] = [await ruleFor(mine.id), await ruleFor(other.id)];

  const stranger = await client();
  assert.deepEqual(await dataOf(200, stranger('GET', RULES)), { rules: [] });
  await refused(stranger('GET', `${RULES}/${seen.id}`), 404, 'NOT_FOUND');
  await refused(stranger('PUT', `${RULES}/${seen.id}`, plain), 404, 'NOT_FOUND');
  await refused(stranger('PATCH', `${RULES}/${seen.id}`, {}), 404, 'NOT_FOUND');
  await refused(stranger('DELETE', `${RULES}/${seen.id}`), 404, 'NOT_FOUND');
  await refused(
    stranger('POST', `${RULES}/reorder`, { ids: [seen.id] }),
    422,
    'REFERENCE_NOT_FOUND',
  );
  await refused(
    stranger('POST', RULES, { ...plain, action: seen.action }),
    422,
    'REFERENCE_NOT_FOUND',
  );
  const alien = await dataOf<Evaluation>(200, stranger('POST', `${RULES}/evaluate`, {}));
  assert.deepEqual([alien.trace, alien.agent], [[], null]);

  for (const role of ['viewer', 'supervisor']) {
    const reader = await client({ accountId, role });
    await dataOf(200, reader('GET', `${RULES}/${seen.id}`));
    await dataOf(200, reader('POST', `${RULES}/evaluate`, {}));
    await refused(reader('POST', RULES, plain), 403, 'FORBIDDEN');
    await refused(reader('DELETE', `${RULES}/${seen.id}`), 403, 'FORBIDDEN');
    await refused(reader('POST', `${RULES}/reorder`, { ids: [] }), 403, 'FORBIDDEN');
  }

  const some = await client({ accountId, agentIds: [mine.id] });
  const listed = await dataOf<{ rules: Rule[] }>(200, some('GET', RULES));
  assert.deepEqual(
    listed.rules.map(({ id }) => id),
    [seen.id],
  );
  await refused(some('GET', `${RULES}/${unseen.id}`), 404, 'NOT_FOUND');
  await refused(some('DELETE', `${RULES}/${unseen.id}`), 404, 'NOT_FOUND');
  await refused(some('PATCH', `${RULES}/${unseen.id}`, {}), 404, 'NOT_FOUND');
  await refused(
    some('POST', RULES, { ...plain, action: unseen.action }),
    422,
    'REFERENCE_NOT_FOUND',
  );
  await refused(some('POST', RULES, plain), 400, 'VALIDATION_FAILED', '/action/agentId');
  await refused(some('POST', `${RULES}/reorder`, { ids: [seen.id] }), 403, 'FORBIDDEN');
  await dataOf(200, api('PATCH', `${RULES}/${unseen.id}`, { priority: 1 }));
  const shown = await dataOf<Evaluation>(200, some('POST', `${RULES}/evaluate`, {}));
  assert.deepEqual(
    [shown.matched, shown.rule_id, shown.rule_name, shown.agent, shown.trace],
    [true, null, null, null, []],
    'another rule decides, and is not shown',
  );
});
