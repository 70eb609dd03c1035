/** The console's recordings over fakes: shapes, masks, transcripts, who hears what and what of it is noted. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { consoleCallOf, consoleRecordOf } from '#api/console-view.ts';
import type { Message } from '#lib/call-events.ts';
import {
  AGENT,
  assertDeclared,
  LIVE,
  makeApi,
  makeCall,
  makeFakes,
  makeRecord,
  MISSING,
  OTHER_AGENT,
  RECORD,
} from './_api-fakes.ts';

const BASE = '/api/call-center/recordings';
const VIEWER = { role: 'viewer', nowMs: 0 } as const;
const OWNER = { role: 'owner', nowMs: Date.parse('2026-01-01T00:00:31.400Z') } as const;

async function setUp(
  t: TestContext,
  key: Parameters<ReturnType<typeof makeFakes>['addKey']>[0] = {},
) {
  const fakes = makeFakes();
  const app = await makeApi(fakes);
  t.after(() => app.close());
  const authorization = `Bearer ${fakes.addKey(key)}`;
  const get = async (url: string, headers: Record<string, string> = {}) => {
    const answer = await app.inject({ url, headers: { authorization, ...headers } });
    return { answer, status: answer.statusCode, body: answer.json() };
  };
  return { fakes, app, get, authorization };
}

test('a call in the console’s words: live, over, never answered, anonymous, masked', () => {
  const rows: [name: string, changes: Parameters<typeof makeCall>[0], expected: object][] = [
    ['live', {}, { status: 'answered', duration: 7, phoneNumber: '+15550100123' }],
    ['queued', { status: 'queued', durationSeconds: 0 }, { status: 'connecting', duration: 0 }],
    ['dialing', { status: 'dialing' }, { status: 'connecting' }],
    ['failed', { status: 'failed', outcome: 'busy' }, { status: 'failed', outcome: 'busy' }],
    [
      'outbound without a caller number',
      { direction: 'outbound', callerPhone: null, toNumber: '+15550177' },
      { phoneNumber: '+15550177' },
    ],
    ['anonymous', { callerPhone: null, fromNumber: null }, { phoneNumber: '' }],
  ];
  for (const [name, changes, expected] of rows) {
    const shown = consoleCallOf(makeCall(changes), OWNER);
    assert.deepEqual({ ...shown, ...expected }, shown, name);
  }
  const record = makeRecord({ durationSeconds: null, endTime: null, status: 'answered' });
  assert.equal(consoleCallOf(record, OWNER).duration, 30, 'a live record counts on');
  const masked = consoleRecordOf(makeRecord({ customerId: '13800138000' }), VIEWER);
  assert.deepEqual(
    [masked.phoneNumber, masked.summary, masked.customerId],
    ['+155******23', 'Call back at 138****8000', '138****8000'],
  );
});

test('the list: its shape, the query it becomes, and masks for viewers', async (t) => {
  const { app, get, fakes } = await setUp(t);
  const { status, body } = await get(
    `${BASE}?page=2&pageSize=5&phoneNumber=%20155501&dateRange=2026-01-01,2026-01-02&hasRecording=true`,
    { 'accept-language': 'zh-CN' },
  );
  assert.equal(status, 200);
  assertDeclared(app, `GET ${BASE}`, 200, body);
  assert.equal(body.message, '录音列表');
  assert.deepEqual(
    [body.data.items[0].id, body.data.items[0].callId, body.data.items[0].customerName],
    [RECORD, RECORD, 'Ann'],
  );
  assert.deepEqual(body.data.pagination.page, 2);
  const [query] = fakes.consoleQueries;
  assert.deepEqual(
    [query?.limit, query?.from, query?.phonePrefix, query?.hasRecording],
    [5, { offset: 5 }, '+155501', true],
  );
  // Days of Asia/Shanghai, the last one whole.
  assert.deepEqual(
    [query?.startFrom, query?.startBefore],
    ['2025-12-31T16:00:00.000Z', '2026-01-02T16:00:00.000Z'],
  );
  const viewer = `Bearer ${fakes.addKey({ role: 'viewer' })}`;
  const masked = await app.inject({ url: BASE, headers: { authorization: viewer } });
  assert.ok(!masked.body.includes('15550100123') && !masked.body.includes('13800138000'));
});

test('a transcript: people and agent alone, a colleague told apart, times from the answer', async (t) => {
  const { app, get, fakes } = await setUp(t);
  const messages = [
    { role: 'system', content: 'be kind', timestamp: 1767225601 },
    { role: 'assistant', content: 'Hello', timestamp: 1767225601.25, start_ms: 250.4, end_ms: 900 },
    { role: 'user', content: 'My number is 13800138000', timestamp: 1767225603 },
    { role: 'function', content: '{}', timestamp: 1767225604 },
    { role: 'assistant', content: 'I take over', timestamp: 1767225605, speaker: 'supervisor' },
  ] as Message[];
  fakes.records.set(RECORD, makeRecord({ messages }));
  const { status, body } = await get(`${BASE}/${RECORD}/transcript`);
  assert.equal(status, 200);
  assertDeclared(app, `GET ${BASE}/{id}/transcript`, 200, body);
  assert.deepEqual(
    body.data.segments.map((each: Record<string, unknown>) => [
      ...[each['index'], each['role'], each['speaker'], each['startMs'], each['endMs']],
      ...[each['timestamp'], each['isFinal']],
    ]),
    [
      [0, 'assistant', 'ai', 250, 900, '2026-01-01T00:00:01.250Z', true],
      [1, 'user', 'customer', 2000, null, '2026-01-01T00:00:03.000Z', true],
      [2, 'assistant', 'human', 4000, null, '2026-01-01T00:00:05.000Z', true],
    ],
  );
  assert.equal(
    body.data.fullText,
    'ai: Hello\ncustomer: My number is 13800138000\nhuman: I take over',
  );
  fakes.messages.set(LIVE, [{ role: 'user', content: 'still here', timestamp: 1767225603 }]);
  fakes.storeError = new Error('the database is not needed for a live call');
  const live = await get(`${BASE}/${LIVE}/transcript`);
  assert.deepEqual(
    [live.status, live.body.data.status, live.body.data.fullText],
    [200, 'answered', 'customer: still here'],
  );
  fakes.storeError = null;
  const viewer = `Bearer ${fakes.addKey({ role: 'viewer' })}`;
  const masked = await get(`${BASE}/${RECORD}/transcript`, { authorization: viewer });
  assert.match(masked.body.data.fullText, /138\*\*\*\*8000/);
  assert.doesNotMatch(JSON.stringify(masked.body), /13800138000/);
});

test('hearing: the same on both routes, noted once per request, not for HEAD nor for refusals', async (t) => {
  const { app, fakes, authorization } = await setUp(t, { role: 'supervisor' });
  const urls = [`${BASE}/${RECORD}/download`, `/api/v1/call-records/${RECORD}/recording`];
  for (const url of urls) {
    fakes.heard.length = 0;
    const whole = await app.inject({ url, headers: { authorization } });
    assert.deepEqual([whole.statusCode, whole.rawPayload], [200, fakes.audio]);
    const part = await app.inject({ url, headers: { authorization, range: 'bytes=16-31' } });
    assert.deepEqual([part.statusCode, part.rawPayload], [206, fakes.audio?.subarray(16, 32)]);
    const stale = { authorization, range: 'bytes=16-31', 'if-range': '"other"' };
    assert.equal((await app.inject({ url, headers: stale })).statusCode, 200);
    await app.inject({ method: 'HEAD', url, headers: { authorization } });
    const beyond = await app.inject({ url, headers: { authorization, range: 'bytes=999-' } });
    assert.deepEqual([beyond.statusCode, beyond.headers['content-range']], [416, 'bytes */256']);
    assert.equal(beyond.headers['content-disposition'], undefined);
    assert.deepEqual(
      fakes.heard.map(({ callId, range }) => [callId, range]),
      [
        [RECORD, null],
        [RECORD, 'bytes=16-31'],
        [RECORD, null],
      ],
    );
    const states: [changes: Parameters<typeof makeRecord>[0], status: number, code: string][] = [
      [{ recordingStatus: 'none', recording: null }, 404, 'NO_RECORDING'],
      [{ recordingStatus: 'expired', recording: null }, 410, 'RECORDING_EXPIRED'],
      [{ recordingStatus: 'active', recording: null, status: 'answered' }, 409, 'CALL_LIVE'],
    ];
    for (const [changes, status, code] of states) {
      fakes.records.set(RECORD, makeRecord(changes));
      const refused = await app.inject({ url, headers: { authorization } });
      assert.deepEqual([refused.statusCode, refused.json().error.code], [status, code]);
    }
    fakes.records.set(RECORD, makeRecord());
    assert.equal(fakes.heard.length, 3);
  }
});

test('who may: roles, and keys that are bound to agents', async (t) => {
  const { app, fakes } = await setUp(t);
  const ask = async (url: string, key: Parameters<typeof fakes.addKey>[0]): Promise<number> => {
    const authorization = `Bearer ${fakes.addKey(key)}`;
    return (await app.inject({ url, headers: { authorization } })).statusCode;
  };
  const [download, transcript] = [`${BASE}/${RECORD}/download`, `${BASE}/${RECORD}/transcript`];
  const rows = [
    ['admin', 200, 200],
    ['supervisor', 200, 200],
    ['developer', 403, 200],
    ['viewer', 403, 200],
  ] as const;
  for (const [role, hears, reads] of rows) {
    assert.deepEqual(
      [await ask(download, { role }), await ask(transcript, { role })],
      [hears, reads],
    );
  }
  assert.equal(await ask(download, { agentIds: [AGENT] }), 200);
  assert.equal(await ask(download, { agentIds: [OTHER_AGENT] }), 404);
  assert.equal(await ask(transcript, { agentIds: [OTHER_AGENT] }), 404);
  assert.equal(await ask(`${BASE}/${LIVE}/transcript`, { agentIds: [OTHER_AGENT] }), 404);
  assert.equal(await ask(`${BASE}/${MISSING}/download`, {}), 404);
});
