/** Call records over HTTP on a real database (contract 2.1): every route, what they refuse, and who may do it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { scriptCall, type CallScript } from '../unit/_store-entries.ts';
import { startRecordsServer, type Answer, type RecordsServer } from './_records-server.ts';
import { until } from './_store.ts';

type Json = Record<string, unknown>;
type Record_ = Json & { id: string; metadata: Json; messages: Json[] };
type List = { records: Record_[]; pagination: Json & { next_cursor: string | null } };

const START = '2026-01-01T08:00:00+08:00';
const ROUTE = '/api/v1/call-records';

function factsOf({ status, error }: Answer): [number, string | undefined, string[]] {
  return [status, error?.code, (error?.details ?? []).map(({ path, rule }) => `${path} ${rule}`)];
}

async function create(server: RecordsServer, more: Json = {}): Promise<Record_> {
  const body = { agent_id: server.agentId, start_time: START, ...more };
  const { status, data, error } = await server.send<Record_>(`POST ${ROUTE}`, body);
  assert.equal(status, 201, JSON.stringify(error));
  return data;
}

/** A call that the server carried, until its journal entries have arrived. */
async function play(
  server: RecordsServer,
  act: (call: CallScript) => Parameters<RecordsServer['store']['journal']['append']>[0][],
  call = scriptCall(server.accountId, server.agentId),
): Promise<CallScript> {
  for (const entry of act(call)) server.store.journal.append(entry);
  await until(() => server.store.projection.lagEvents === 0, 'the projection');
  return call;
}

test('a record that a client keeps, from its creation to its end', async (t) => {
  const server = await startRecordsServer(t);
  const made = await create(server, {
    ...{ caller_name: 'Ann', caller_phone: '(021) 5555-0100', caller_app: '微信' },
    ...{
      direction: 'outbound',
      from_number: 'sip:desk 1',
      to_number: '021 5555',
      metadata: { a: 1 },
    },
  });
  assert.deepEqual(
    [made['source'], made['channel'], made['status'], made['start_time'], made['caller_phone']],
    ['api', 'external', 'answered', '2026-01-01T00:00:00.000Z', '+862155550100'],
  );
  assert.deepEqual(
    [made['from_number'], made['to_number'], made['agent_name'], made['direction'], made.messages],
    ['sip:desk 1', '021 5555', 'Default agent', 'outbound', []],
  );
  const path = `${ROUTE}/${made.id}`;
  const read = await server.send<Record_>(
    `GET ${path.toUpperCase().replace('/API/V1/CALL-RECORDS', ROUTE)}`,
  );
  assert.deepEqual(read.data, made);

  const patch = async (body: Json): Promise<Record_> => {
    const { status, data, error } = await server.send<Record_>(`PATCH ${path}`, body);
    assert.equal(status, 200, JSON.stringify(error));
    return data;
  };
  const messages = [
    { role: 'assistant', content: '', timestamp: 1767225600.25, interrupted: true },
    { role: 'user', content: '好', timestamp: 946684800, start_ms: 0, end_ms: 1.5, confidence: 1 },
    {
      ...{
        role: 'function',
        content: '{}',
        timestamp: 4102444800,
        name: 'look_up',
        latency_ms: 12,
      },
      ...{ audio_url: '/x', speaker: 'supervisor' },
      tool_calls: [{ id: 'a', name: 'look_up', arguments: { deep: { list: [null, 1] } } }],
    },
  ];
  const ended = await patch({
    ...{ end_time: '2026-01-01T00:01:30.500Z', hangup_reason: 'user', messages },
    ...{ summary: '客户要求回电。', metadata: { a: null, b: { c: null } } },
  });
  assert.deepEqual(
    [ended['status'], ended['duration_seconds'], ended['end_time'], ended['hangup_reason']],
    ['ended', 91, '2026-01-01T00:01:30.500Z', 'user'],
  );
  assert.deepEqual([ended.messages, ended.metadata], [messages, { b: { c: null } }]);
  const meta = ended['summary_meta'] as Json;
  assert.deepEqual([meta['source'], meta['model'], meta['language']], ['client', null, 'zh']);
  assert.deepEqual((await server.send<Record_>(`GET ${path}`)).data, ended);

  const open = await patch({
    end_time: null,
    hangup_reason: null,
    summary: null,
    caller_phone: null,
  });
  assert.deepEqual(
    ['status', 'duration_seconds', 'end_time', 'summary', 'summary_meta', 'caller_phone'].map(
      (name) => open[name],
    ),
    ['answered', null, null, null, null, null],
  );
  assert.equal((await patch({ hangup_reason: 'timeout' }))['status'], 'ended');
  assert.deepEqual(await server.send(`DELETE ${path}`).then(({ status, data }) => [status, data]), [
    200,
    null,
  ]);
  assert.deepEqual(factsOf(await server.send(`GET ${path}`)), [404, 'NOT_FOUND', []]);
  assert.deepEqual(factsOf(await server.send(`DELETE ${path}`)), [404, 'NOT_FOUND', []]);
  const audit = await server.store.database.withSystem((sql) =>
    sql.rows('SELECT action, target_id FROM audit_log'),
  );
  assert.deepEqual(audit, [{ action: 'call_record.delete', target_id: made.id }]);
});

test('a call that the server carried: what may be changed stays changed, whatever its events say later', async (t) => {
  const server = await startRecordsServer(t);
  const call = await play(server, (c) => [
    c.initiated({
      caller_name: 'From the wire',
      metadata: { total_tokens: 0, avg_confidence: null },
    }),
  ]);
  const path = `${ROUTE}/${call.id}`;
  assert.deepEqual(factsOf(await server.send(`DELETE ${path}`)), [409, 'CALL_LIVE', []]);
  for (const body of [
    { caller_phone: null },
    { messages: [] },
    { end_time: null, summary: 'x' },
    { hangup_reason: 'ai' },
    { caller_app: 'x' },
    { duration_seconds: 1 },
  ]) {
    assert.deepEqual(factsOf(await server.send(`PATCH ${path}`, body)), [
      409,
      'RECORD_READ_ONLY',
      [],
    ]);
  }
  const patched = {
    caller_name: 'Ann',
    summary: 'hers',
    metadata: { total_tokens: 7, note: 'n', gone: null },
  };
  assert.equal((await server.send(`PATCH ${path}`, patched)).status, 200);
  await play(
    server,
    (c) => [
      c.entry(
        'call.ringing',
        { sip_status: 180, early_media: false },
        { caller_name: 'Again from the wire', metadata: { gone: 1, codec: 'PCMA' } },
      ),
      c.answered(),
      c.says('user', 'hello'),
      c.ended(),
    ],
    call,
  );
  const { data } = await server.send<Record_>(`GET ${path}`);
  assert.deepEqual(
    [data['caller_name'], data['summary'], data['status'], data['outcome'], data.messages.length],
    ['Ann', 'hers', 'ended', 'completed', 1],
  );
  assert.deepEqual(data.metadata, {
    total_tokens: 7,
    note: 'n',
    codec: 'PCMA',
    avg_confidence: null,
  });
  const cleared = await server.send<Record_>(`PATCH ${path}`, { caller_name: null });
  assert.deepEqual([cleared.data['caller_name'], cleared.data.metadata], [null, data.metadata]);
});

test('deleting a call takes its events and recordings with it', async (t) => {
  const server = await startRecordsServer(t);
  const recordingId = newId();
  const uri = 'recordings/a.cyr';
  const call = await play(server, (c) => [
    ...[c.initiated(), c.answered()],
    c.entry(
      'call.ringing',
      { sip_status: 180, early_media: false },
      { recording_status: 'active', recording_id: recordingId },
      { id: recordingId, status: 'active', uri },
    ),
    c.ended(),
  ]);
  const path = `${ROUTE}/${call.id}`;
  assert.deepEqual(
    factsOf(await server.send(`DELETE ${path}`)),
    [409, 'CALL_LIVE', []],
    'the file is still being written',
  );
  await play(
    server,
    (c) => [
      c.entry(
        'recording.ready',
        { recording_id: recordingId, duration_ms: 5, bytes: 6 },
        { recording_status: 'ready' },
        { id: recordingId, status: 'ready', uri, duration_ms: 5, bytes: 6 },
      ),
    ],
    call,
  );
  const { data } = await server.send<Record_>(`GET ${path}`);
  assert.deepEqual(data['recording'], {
    id: recordingId,
    status: 'ready',
    duration_ms: 5,
    url: `${path}/recording`,
  });
  assert.equal((await server.send(`DELETE ${path}`)).status, 200);
  assert.deepEqual(
    server.removed.map(({ id }) => id),
    [recordingId],
  );
  const [left] = await server.store.database.withSystem((sql) =>
    sql.rows(
      `SELECT (SELECT count(*)::int FROM call_records) AS records, (SELECT count(*)::int FROM call_events) AS events,
              (SELECT count(*)::int FROM recordings) AS recordings`,
    ),
  );
  assert.deepEqual(left, { records: 0, events: 0, recordings: 0 });
  // What is still on its way neither brings the call back nor stays anywhere else.
  await play(server, (c) => [c.initiated(), c.says('user', 'late'), c.ended()], call);
  assert.deepEqual(factsOf(await server.send(`GET ${path}`)), [404, 'NOT_FOUND', []]);
  assert.equal(server.store.projection.parked, 0);
});

test('a call so young that its record is still on the way is not missing', async (t) => {
  const server = await startRecordsServer(t);
  const id = newId();
  const { makeCall } = await import('../unit/_api-fakes.ts');
  server.fakes.calls.set(
    id,
    makeCall({ id, accountId: server.accountId, agentId: server.agentId }),
  );
  assert.deepEqual(factsOf(await server.send(`DELETE ${ROUTE}/${id}`)), [409, 'CALL_LIVE', []]);
  const patched = await server.send(`PATCH ${ROUTE}/${id}`, { summary: 'x' });
  assert.deepEqual(
    [...factsOf(patched), patched.headers.get('retry-after')],
    [503, 'UNAVAILABLE', [], '2'],
  );
  const events = await server.send<{ events: unknown[] }>(`GET ${ROUTE}/${id}/events`);
  assert.deepEqual([events.status, events.data.events], [200, []]);
  const key = await server.makeKey({ agentIds: [newId()] });
  assert.deepEqual(factsOf(await server.send(`DELETE ${ROUTE}/${id}`, undefined, { key })), [
    404,
    'NOT_FOUND',
    [],
  ]);
});

test('events: oldest first, page by page, masked for a viewer', async (t) => {
  const server = await startRecordsServer(t);
  const call = await play(server, (c) => [
    c.initiated(),
    c.answered(),
    ...Array.from({ length: 30 }, (_, n) =>
      c.says(n % 2 === 0 ? 'user' : 'assistant', `number 13800138000, ${n}`),
    ),
    c.entry('dtmf.received', { digit: '7', duration_ms: 100, mode: 'rfc4733' }),
    c.ended(),
  ]);
  type Events = { events: (Json & { seq: number })[]; pagination: List['pagination'] };
  const path = `GET ${ROUTE}/${call.id}/events`;
  const all = await server.send<Events>(`${path}?page_size=100`);
  assert.deepEqual(
    all.data.events.map(({ seq }) => seq),
    Array.from({ length: 34 }, (_, n) => n + 1),
  );
  const [first] = all.data.events;
  assert.deepEqual(
    [
      first?.['type'],
      first?.['alias'],
      first?.['call_id'],
      first?.['conversation_id'],
      first?.['account_id'],
      first?.['node'],
      first?.['request_id'],
    ],
    ['call.initiated', 'call-initiated', call.id, call.id, server.accountId, 'node-1', null],
  );
  assert.equal(all.data.events[2]?.['alias'], null);
  const seen: number[] = [];
  let query = '?page_size=7';
  for (;;) {
    const { data } = await server.send<Events>(path + query);
    assert.deepEqual([data.pagination['total'], data.pagination['total_exact']], [34, true]);
    seen.push(...data.events.map(({ seq }) => seq));
    if (data.pagination.next_cursor === null) break;
    query = `?page_size=7&cursor=${data.pagination.next_cursor}`;
  }
  assert.deepEqual(
    seen,
    all.data.events.map(({ seq }) => seq),
  );
  const key = await server.makeKey({ role: 'viewer' });
  const masked = JSON.stringify(
    (await server.send<Events>(`${path}?page_size=100`, undefined, { key })).data,
  );
  for (const secret of ['13800138000', '"7"', '+15550100'])
    assert.equal(masked.includes(secret), false, secret);
  assert.equal(masked.includes('138****8000'), true);
  for (const [wrong, fault] of [
    ['?cursor=x', '?cursor cursor'],
    ['?page=0', '?page minimum'],
    ['?q=1', '?q unknown'],
  ] as const) {
    assert.deepEqual(factsOf(await server.send(path + wrong)), [400, 'VALIDATION_FAILED', [fault]]);
  }
  assert.deepEqual(factsOf(await server.send(`GET ${ROUTE}/${newId()}/events`)), [
    404,
    'NOT_FOUND',
    [],
  ]);
});

test('statistics over HTTP: what was written a moment ago is counted, for the agents one may see', async (t) => {
  const server = await startRecordsServer(t);
  const second = await server.makeAgent();
  const now = new Date().toISOString();
  const made = await create(server, { start_time: now, caller_app: '360' });
  await create(server, { start_time: now, agent_id: second });
  await create(server, { start_time: new Date(Date.now() + 3_600_000).toISOString() });
  const patch = { duration_seconds: 30, hangup_reason: 'silence' };
  assert.equal((await server.send(`PATCH ${ROUTE}/${made.id}`, patch)).status, 200);
  const path = `GET ${ROUTE}/statistics`;
  const { status, data } = await server.send<Json & { daily_stats: Json[] }>(path);
  assert.equal(status, 200);
  const today = new Intl.DateTimeFormat('sv-SE', { timeZone: 'Asia/Shanghai' }).format(
    Date.parse(now),
  );
  assert.deepEqual(data, {
    ...{ total_calls: 2, total_duration_seconds: 30, avg_duration_seconds: 30 },
    ...{ success_calls: 1, failed_calls: 0, other_calls: 1, success_rate: 100 },
    hangup_reasons: { user: 0, ai: 0, timeout: 0, silence: 1, error: 0 },
    daily_stats: [{ date: today, calls: 2, duration: 30 }],
    app_distribution: { '360': 1, unknown: 1 },
  });
  const total = async (query: string, key?: string): Promise<unknown> =>
    (await server.send<Json>(path + query, undefined, key === undefined ? {} : { key })).data[
      'total_calls'
    ];
  const limited = await server.makeKey({ role: 'viewer', agentIds: [second] });
  assert.deepEqual(
    await Promise.all([
      ...['?period=year', `?agent_id=${second}`, `?agent_id=${newId()}`].map((query) =>
        total(query),
      ),
      ...['', `?agent_id=${second}`, `?agent_id=${server.agentId}`].map((query) =>
        total(query, limited),
      ),
    ]),
    [2, 1, 0, 1, 1, 0],
  );
  for (const [wrong, fault] of [
    ['?period=decade', '?period enum'],
    ['?agent_id=x', '?agent_id uuid'],
    ['?year=1', '?year unknown'],
  ] as const) {
    assert.deepEqual(factsOf(await server.send(path + wrong)), [400, 'VALIDATION_FAILED', [fault]]);
  }
});

test('roles, other accounts and keys of some agents', async (t) => {
  const server = await startRecordsServer(t);
  const other = await server.makeAccount();
  const second = await server.makeAgent();
  const made = await create(server);
  const path = `${ROUTE}/${made.id}`;
  const stranger = await server.makeKey({ accountId: other.accountId });
  const limited = await server.makeKey({ agentIds: [second] });
  const missing: [number, string, string[]] = [404, 'NOT_FOUND', []];
  for (const key of [stranger, limited]) {
    assert.deepEqual(factsOf(await server.send(`GET ${path}`, undefined, { key })), missing);
    assert.deepEqual(
      factsOf(await server.send(`PATCH ${path}`, { summary: 'x' }, { key })),
      missing,
    );
    assert.deepEqual(factsOf(await server.send(`GET ${path}/events`, undefined, { key })), missing);
    assert.deepEqual(factsOf(await server.send(`DELETE ${path}`, undefined, { key })), missing);
    const list = await server.send<List>(`GET ${ROUTE}?agent_id=${server.agentId}`, undefined, {
      key,
    });
    assert.deepEqual([list.status, list.data.records], [200, []]);
  }
  const body = { agent_id: server.agentId, start_time: START };
  for (const key of [stranger, limited]) {
    assert.deepEqual(factsOf(await server.send(`POST ${ROUTE}`, body, { key })), [
      422,
      'REFERENCE_NOT_FOUND',
      ['/agent_id exists'],
    ]);
  }
  const table: [string, 'developer' | 'supervisor' | 'viewer', number, number, number][] = [
    ['developer', 'developer', 201, 200, 403],
    ['supervisor', 'supervisor', 403, 403, 403],
    ['viewer', 'viewer', 403, 403, 403],
  ];
  for (const [name, role, posted, patched, deleted] of table) {
    const key = await server.makeKey({ role });
    const found = [
      (await server.send(`POST ${ROUTE}`, body, { key })).status,
      (await server.send(`PATCH ${path}`, { summary: 'x' }, { key })).status,
      (await server.send(`DELETE ${path}`, undefined, { key })).status,
    ];
    assert.deepEqual(found, [posted, patched, deleted], name);
  }
});

test('the same Idempotency-Key makes one record', async (t) => {
  const server = await startRecordsServer(t);
  const body = { agent_id: server.agentId, start_time: START };
  const headers = { 'idempotency-key': 'one' };
  const first = await server.send<Record_>(`POST ${ROUTE}`, body, { headers });
  const again = await server.send<Record_>(`POST ${ROUTE}`, body, { headers });
  assert.deepEqual([again.status, again.data.id], [201, first.data.id]);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  const other = await server.send(`POST ${ROUTE}`, { ...body, caller_name: 'x' }, { headers });
  assert.deepEqual(factsOf(other), [422, 'IDEMPOTENCY_MISMATCH', []]);
  assert.equal((await server.send<List>(`GET ${ROUTE}`)).data.records.length, 1);
});

test('what looks like an attack is data', async (t) => {
  const server = await startRecordsServer(t);
  const texts = [
    ...[
      "'; DROP TABLE call_records; --",
      '$1',
      '%_%',
      '\\',
      '../../etc/passwd',
      '<script>alert(1)</script>',
    ],
    ...['{{7*7}}', 'a\r\nSet-Cookie: x=1', '😀\u202e\u0301', '" OR ""="', 'null', '\u0001\u007f'],
  ];
  for (const text of texts) {
    const made = await create(server, {
      ...{
        caller_name: text,
        caller_app: text,
        from_number: text,
        metadata: { [text.slice(0, 60)]: text },
      },
    });
    const messages = [{ role: 'user', content: text, timestamp: 1767225600, name: text }];
    const { data } = await server.send<Record_>(`PATCH ${ROUTE}/${made.id}`, {
      messages,
      summary: text,
    });
    assert.deepEqual(
      [
        data['caller_name'],
        data['caller_app'],
        data['from_number'],
        data.metadata,
        data.messages,
        data['summary'],
      ],
      [text, text, text, { [text.slice(0, 60)]: text }, messages, text],
    );
    if (text.length < 2) continue;
    const query = new URLSearchParams({
      q: text,
      start_date: '2026-01-01',
      end_date: '2026-01-01',
    });
    const found = await server.send<List>(`GET ${ROUTE}?${query.toString()}`);
    assert.deepEqual(
      found.data.records.map(({ id }) => id),
      [made.id],
      text,
    );
  }
  const proto = await server.send(
    `POST ${ROUTE}`,
    `{"agent_id":"${server.agentId}","start_time":"${START}","metadata":{"__proto__":{"a":1}}}`,
  );
  assert.deepEqual(factsOf(proto), [400, 'VALIDATION_FAILED', ['/metadata name']]);
});
