/** Usage and contacts as they follow from the journal: each event once, by the account's days, whatever is replayed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UsagePatch } from '#lib/call-events.ts';
import { newId, type Id } from '#lib/ids.ts';
import { applyEntries } from '#store/projection-sql.ts';
import type { Store } from '#store/store.ts';
import { createUsage } from '#store/usage.ts';
import { scriptCall, type CallScript } from '../unit/_store-entries.ts';
import { startTestApp } from './_app.ts';
import { ask, defaultAccount, makeApiKey, systemRows } from './_identity.ts';
import { ADMIN_KEY } from './_app.ts';
import { newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

/** 23:30 of 31 October in Shanghai, and an hour later. */
const LATE_MS = Date.UTC(2026, 9, 31, 15, 30);
const NEXT_DAY_MS = LATE_MS + 3_600_000;

function entriesOf(call: CallScript, vendor: string, phone: string | null = null) {
  const used: UsagePatch[] = [
    { agent_id: call.agentId, vendor, stt_seconds: 1.25, tts_chars: 10 },
    { agent_id: call.agentId, vendor: 'mind', llm_tokens_in: 90, llm_tokens_out: 7 },
  ];
  const ended = call.ended();
  return [
    call.initiated({ caller_phone: phone }),
    call.answered(),
    { ...call.says('assistant', 'Hello.'), usage: used },
    { ...ended, usage: [{ agent_id: call.agentId, vendor, stt_seconds: 0.75 }] },
  ];
}

async function account(store: Store): Promise<{ accountId: Id; agentId: Id }> {
  const accountId = await store.defaultAccount();
  await store.database.withSystem((sql) =>
    sql.run(
      `UPDATE account_settings SET timezone = 'Asia/Shanghai', country_code = '86' WHERE user_id = $1`,
      [accountId],
    ),
  );
  return { accountId, agentId: (await store.agents.defaultFor(accountId)).id };
}

test('usage: by day, agent and vendor; what is stored again counts once', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const { accountId, agentId } = await account(store);
  const late = scriptCall(accountId, agentId, LATE_MS);
  const next = scriptCall(accountId, agentId, NEXT_DAY_MS);
  const unanswered = scriptCall(accountId, agentId, NEXT_DAY_MS);
  const failed = [
    unanswered.initiated(),
    unanswered.entry('call.failed', {
      ...{ outcome: 'busy', hangup_reason: 'error', sip_status: 486, q850: 17, error: null },
    }),
  ];
  const entries = [...entriesOf(late, 'ears'), ...entriesOf(next, 'ears'), ...failed];
  const apply = (some: readonly (typeof entries)[number][]) =>
    store.database.withSystem((sql) => applyEntries(sql, some));
  await apply(entries.slice(0, 3));
  await apply(entries);
  await apply(entries.toReversed());
  const usage = createUsage(store.database, 'EUR');
  const actor = {
    ...{ accountId, role: 'owner' as const, agentIds: null, name: 'test' },
    ...{ requestId: 'r', ip: null, keyId: null, userId: accountId },
  };
  const report = (by: 'day' | 'agent' | 'vendor', agentIds: Id[] | null = null) =>
    usage.report({ ...actor, agentIds } as never, { from: '2026-10-31', to: '2026-11-01', by });
  const seconds = await store.database.withSystem((sql) =>
    sql.rows<{ s: number }>(
      'SELECT duration_seconds AS s FROM call_records WHERE duration_seconds IS NOT NULL ORDER BY start_time',
    ),
  );
  const perCall = seconds[0]?.s ?? 0;
  const days = await report('day');
  assert.deepEqual(
    days.rows.map((row) => [row.group, row.calls, row.answered, row.callSeconds, row.sttSeconds]),
    [
      ['2026-10-31', 1, 1, perCall, 2],
      ['2026-11-01', 2, 1, perCall, 2],
    ],
  );
  assert.deepEqual(
    [days.total.calls, days.total.ttsChars, days.total.llmTokensIn, days.total.llmTokensOut],
    [3, 20, 180, 14],
  );
  assert.deepEqual(days.total.cost, { amount: 0, currency: 'CNY' });
  const byVendor = await report('vendor');
  assert.deepEqual(
    byVendor.rows.map((row) => [row.group, row.calls, row.sttSeconds, row.llmTokensIn]),
    [
      ['', 3, 0, 0],
      ['ears', 0, 4, 0],
      ['mind', 0, 0, 180],
    ],
  );
  assert.deepEqual(
    (await report('agent')).rows.map((row) => row.group),
    [agentId],
  );
  const none = await report('day', [newId()]);
  assert.deepEqual([none.rows, none.total.calls], [[], 0], 'a key of other agents sees none of it');
});

test('cost: of the day, the agent, the vendor and the call, once, in the account’s currency', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const { accountId, agentId } = await account(store);
  const priced = (cost: number, currency = 'CNY'): UsagePatch => {
    return { agent_id: agentId, vendor: 'ears', stt_seconds: 1, cost, currency };
  };
  const [one, two, three, free] = [0, 1, 2, 3].map((n) =>
    scriptCall(accountId, agentId, LATE_MS + n),
  ) as [CallScript, CallScript, CallScript, CallScript];
  const unpriced: UsagePatch = { agent_id: agentId, vendor: 'ears', stt_seconds: 1 };
  const entries = [
    one.initiated(),
    {
      ...one.says('user', 'a'),
      usage: [priced(0.1), { ...priced(0.2), vendor: 'mind' }, unpriced],
    },
    { ...one.ended(), usage: [priced(0.000_001)] },
    // After the end: its summary.
    { ...one.entry('summary.ready', { summary: 's', source: 'llm' }), usage: [priced(0.3)] },
    two.initiated(),
    { ...two.ended(), usage: [priced(0)] },
    three.initiated(),
    { ...three.ended(), usage: [priced(5, 'EUR')] },
    free.initiated(),
    { ...free.ended(), usage: [unpriced] },
  ];
  const apply = (some: readonly (typeof entries)[number][]) =>
    store.database.withSystem((sql) => applyEntries(sql, some));
  for (const entry of entries.slice(0, 3)) await apply([entry]);
  await apply(entries);
  await apply(entries.toReversed());
  const rows = await store.database.withSystem((sql) =>
    sql.rows<{ cost: string | null; currency: string | null }>(
      'SELECT cost, currency FROM call_records ORDER BY start_time',
    ),
  );
  assert.deepEqual(
    rows.map(({ cost, currency }) => [cost === null ? null : Number(cost), currency]),
    [
      [0.600_001, 'CNY'],
      [0, 'CNY'],
      [5, 'EUR'],
      [null, null],
    ],
  );
  const actor = {
    ...{ accountId, role: 'owner' as const, agentIds: null, name: 'test' },
    ...{ requestId: 'r', ip: null, keyId: null, userId: accountId },
  };
  const { rows: vendors, total } = await createUsage(store.database, 'EUR').report(actor as never, {
    ...{ from: '2026-10-31', to: '2026-11-01', by: 'vendor' },
  });
  assert.deepEqual(
    vendors.map((row) => [row.group, row.cost, row.sttSeconds]),
    [
      ['', { amount: 0, currency: 'CNY' }, 0],
      ['ears', { amount: 0.400_001, currency: 'CNY' }, 7],
      ['mind', { amount: 0.2, currency: 'CNY' }, 1],
    ],
  );
  assert.deepEqual(total.cost, { amount: 0.600_001, currency: 'CNY' }, 'money is not converted');
});

test('contacts: a call is tied to the contact, however its number was written', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const { accountId, agentId } = await account(store);
  const contactId = newId();
  await store.database.withSystem((sql) =>
    sql.run(
      `INSERT INTO contacts (id, user_id, name, phone) VALUES ($1, $2, 'Ann', '+8657188000001')`,
      [contactId, accountId],
    ),
  );
  const calls = [
    ['057188000001', LATE_MS],
    ['+8657188000001', NEXT_DAY_MS],
    ['57188000002', NEXT_DAY_MS + 1],
  ] as const;
  const scripts = calls.map(([phone, atMs]) => {
    const call = scriptCall(accountId, agentId, atMs);
    return { call, entries: entriesOf(call, 'ears', phone) };
  });
  await store.database.withSystem((sql) =>
    applyEntries(
      sql,
      scripts.flatMap(({ entries }) => entries),
    ),
  );
  const rows = await store.database.withSystem((sql) =>
    sql.rows<{ contact_id: Id | null }>('SELECT contact_id FROM call_records ORDER BY start_time'),
  );
  assert.deepEqual(
    rows.map((row) => row.contact_id),
    [contactId, contactId, null],
  );
  const [contact] = await store.database.withSystem((sql) =>
    sql.rows<{ last_call_at: Date }>('SELECT last_call_at FROM contacts'),
  );
  assert.equal(
    contact?.last_call_at.getTime(),
    Date.parse(scripts[1]?.entries[0]?.event.time ?? ''),
  );
});

test('usage over HTTP: groups, ranges, and who sees what', async (t) => {
  const server = await startTestApp(t, { CALLYARD_TIMEZONE: 'UTC' });
  const mine = await defaultAccount(server);
  const [agent] = await systemRows<{ id: Id }>(server.databaseUrl, 'SELECT id FROM agents');
  await systemRows(
    server.databaseUrl,
    `INSERT INTO usage_daily (user_id, day, agent_id, vendor, calls, answered, call_seconds, stt_seconds)
     VALUES ($1, '2026-01-01', $2, '', 3, 2, 61, 0), ($1, '2026-01-02', $2, 'ears', 0, 0, 0, 12.5)`,
    [mine, agent?.id],
  );
  const read = (query: string, token = ADMIN_KEY) =>
    ask(server.app.httpUrl, 'GET', `/api/v1/usage?${query}`, { token });
  const range = 'from=2026-01-01&to=2026-01-31';
  const byDay = await read(range);
  const zeros = { tts_chars: 0, realtime_seconds: 0, llm_tokens_in: 0, llm_tokens_out: 0 };
  const cost = { amount: 0, currency: 'CNY' };
  const first = { calls: 3, answered: 2, call_seconds: 61, stt_seconds: 0, ...zeros, cost };
  assert.deepEqual(byDay.data as unknown, {
    rows: [
      { day: '2026-01-01', ...first },
      { day: '2026-01-02', ...first, calls: 0, answered: 0, call_seconds: 0, stt_seconds: 12.5 },
    ],
    total: { ...first, stt_seconds: 12.5 },
  });
  const byAgent = (await read(`${range}&group_by=agent`)).data as unknown as { rows: object[] };
  assert.deepEqual(byAgent.rows, [{ agent_id: agent?.id, ...first, stt_seconds: 12.5 }]);
  const { key } = await makeApiKey(server, mine, { role: 'viewer', agentIds: [newId()] });
  const hidden = (await read(range, key)).data as unknown as { rows: object[] };
  assert.deepEqual(hidden.rows, []);
  for (const query of [
    ...['', 'from=2026-01-01', 'from=2026-01-31&to=2026-01-01', 'from=2026-02-30&to=2026-03-01'],
    ...['from=2025-01-01&to=2026-01-02', `${range}&group_by=month`, `${range}&from=2026-01-02`],
  ])
    assert.equal((await read(query)).code, 'VALIDATION_FAILED', query);
});
