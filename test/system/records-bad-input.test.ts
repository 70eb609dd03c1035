/** What the record routes refuse over HTTP (contract 2.1, 1.5, 1.6): status, code and place of every fault. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { startRecordsServer, type Answer, type RecordsServer } from './_records-server.ts';

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

test('what creating refuses', async (t) => {
  const server = await startRecordsServer(t);
  const other = await server.makeAccount();
  const ok = { agent_id: server.agentId, start_time: START };
  const tomorrow = new Date(Date.now() + 86_500_000).toISOString();
  const rows: [unknown, number, string, string[]][] = [
    [{ start_time: START }, 400, 'VALIDATION_FAILED', ['/agent_id required']],
    [{ agent_id: server.agentId }, 400, 'VALIDATION_FAILED', ['/start_time required']],
    [{ ...ok, agent_id: 'x' }, 400, 'VALIDATION_FAILED', ['/agent_id uuid']],
    [{ ...ok, agent_id: newId() }, 422, 'REFERENCE_NOT_FOUND', ['/agent_id exists']],
    [{ ...ok, agent_id: other.agentId }, 422, 'REFERENCE_NOT_FOUND', ['/agent_id exists']],
    [{ ...ok, start_time: '2026-01-01' }, 400, 'VALIDATION_FAILED', ['/start_time instant']],
    [
      { ...ok, start_time: '2026-01-01T08:00:00' },
      400,
      'VALIDATION_FAILED',
      ['/start_time instant'],
    ],
    [
      { ...ok, start_time: '2026-02-30T08:00:00Z' },
      400,
      'VALIDATION_FAILED',
      ['/start_time instant'],
    ],
    [{ ...ok, start_time: 1767225600 }, 400, 'VALIDATION_FAILED', ['/start_time type']],
    [
      { ...ok, start_time: '1999-12-31T23:59:59Z' },
      400,
      'VALIDATION_FAILED',
      ['/start_time minimum'],
    ],
    [{ ...ok, start_time: tomorrow }, 400, 'VALIDATION_FAILED', ['/start_time maximum']],
    [{ ...ok, caller_name: 'n'.repeat(256) }, 400, 'VALIDATION_FAILED', ['/caller_name maxLength']],
    [{ ...ok, caller_name: null }, 400, 'VALIDATION_FAILED', ['/caller_name type']],
    [{ ...ok, caller_phone: 'Ann' }, 400, 'VALIDATION_FAILED', ['/caller_phone phone']],
    [{ ...ok, caller_phone: '+12' }, 201, '', []],
    [{ ...ok, caller_phone: '1'.repeat(33) }, 400, 'VALIDATION_FAILED', ['/caller_phone phone']],
    [{ ...ok, caller_app: '微'.repeat(51) }, 400, 'VALIDATION_FAILED', ['/caller_app maxLength']],
    [{ ...ok, direction: 'up' }, 400, 'VALIDATION_FAILED', ['/direction enum']],
    [{ ...ok, callerName: 'Ann' }, 400, 'VALIDATION_FAILED', ['/callerName unknown']],
    [{ ...ok, metadata: [] }, 400, 'VALIDATION_FAILED', ['/metadata type']],
    [{ ...ok, metadata: { a: 'x'.repeat(16_400) } }, 400, 'VALIDATION_FAILED', ['/metadata size']],
    [
      { ...ok, metadata: { ['k'.repeat(65)]: 1 } },
      ...([400, 'VALIDATION_FAILED', [`/metadata/${'k'.repeat(65)} name`]] as const),
    ] as never,
    [{ ...ok, caller_name: 'a\0b' }, 400, 'VALIDATION_FAILED', ['/caller_name text']],
    [{ ...ok, metadata: { a: ['\ud800'] } }, 400, 'VALIDATION_FAILED', ['/metadata/a/0 text']],
    ['{"agent_id":', 400, 'INVALID_JSON', []],
    ['[]', 400, 'INVALID_JSON', []],
    ['{"a":1,"a":2}', 400, 'INVALID_JSON', []],
    [`{"metadata":${'['.repeat(40)}${']'.repeat(40)}}`, 400, 'INVALID_JSON', []],
    [{ ...ok, metadata: { a: 'x'.repeat(1_100_000) } }, 413, 'PAYLOAD_TOO_LARGE', []],
  ];
  for (const [body, status, code, faults] of rows) {
    const found = factsOf(await server.send(`POST ${ROUTE}`, body));
    assert.deepEqual(
      found,
      [status, code === '' ? undefined : code, faults],
      JSON.stringify(body)?.slice(0, 200),
    );
  }
  const { data } = await server.send<List>(`GET ${ROUTE}`);
  assert.equal(data.records.length, 1, 'nothing of what was refused is kept');
});

test('what changing refuses, and leaves as it was', async (t) => {
  const server = await startRecordsServer(t);
  const made = await create(server, { metadata: { big: 'x'.repeat(9_000) } });
  const path = `PATCH ${ROUTE}/${made.id}`;
  const message = { role: 'user', content: 'x', timestamp: 1767225600 };
  const at = '/messages/0';
  const rows: [unknown, number, string, string[]][] = [
    [{}, 400, 'VALIDATION_FAILED', [' minProperties']],
    [{ status: 'ended' }, 400, 'VALIDATION_FAILED', ['/status unknown']],
    [{ agent_id: server.agentId }, 400, 'VALIDATION_FAILED', ['/agent_id unknown']],
    [{ end_time: '2025-12-31T23:59:59.999Z' }, 400, 'VALIDATION_FAILED', ['/end_time order']],
    [{ end_time: '2026-01-03T00:00:01Z' }, 400, 'VALIDATION_FAILED', ['/end_time longest']],
    [{ end_time: 'soon' }, 400, 'VALIDATION_FAILED', ['/end_time instant']],
    [
      { end_time: '2026-01-01T00:01:00Z', duration_seconds: 62 },
      ...([400, 'VALIDATION_FAILED', ['/duration_seconds duration']] as const),
    ] as never,
    [{ duration_seconds: 86_401 }, 400, 'VALIDATION_FAILED', ['/duration_seconds maximum']],
    [{ duration_seconds: '5' }, 400, 'VALIDATION_FAILED', ['/duration_seconds type']],
    [{ duration_seconds: 1.5 }, 400, 'VALIDATION_FAILED', ['/duration_seconds type']],
    [{ hangup_reason: 'bored' }, 400, 'VALIDATION_FAILED', ['/hangup_reason enum']],
    [{ messages: null }, 400, 'VALIDATION_FAILED', ['/messages type']],
    [{ messages: [{ ...message, role: 'caller' }] }, 400, 'VALIDATION_FAILED', [`${at}/role enum`]],
    [
      { messages: [{ ...message, content: 'x'.repeat(8_001) }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/content maxLength`],
    ],
    [
      { messages: [{ ...message, timestamp: 1767225600000 }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/timestamp maximum`],
    ],
    [
      { messages: [{ ...message, timestamp: 946684799 }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/timestamp minimum`],
    ],
    [
      { messages: [{ ...message, timestamp: 1767225600.0001 }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/timestamp decimals`],
    ],
    [
      { messages: [{ ...message, confidence: 1.1 }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/confidence maximum`],
    ],
    [{ messages: [{ ...message, mood: 'x' }] }, 400, 'VALIDATION_FAILED', [`${at}/mood unknown`]],
    [
      { messages: [{ role: 'user' }] },
      400,
      'VALIDATION_FAILED',
      [`${at}/content required`, `${at}/timestamp required`],
    ],
    [
      { messages: Array.from({ length: 5_001 }, () => message) },
      400,
      'VALIDATION_FAILED',
      ['/messages maxItems'],
    ],
    [
      { messages: Array.from({ length: 560 }, () => ({ ...message, content: 'x'.repeat(8_000) })) },
      ...([400, 'VALIDATION_FAILED', ['/messages size']] as const),
    ] as never,
    [
      { messages: Array.from({ length: 700 }, () => ({ ...message, content: 'x'.repeat(8_000) })) },
      ...([413, 'PAYLOAD_TOO_LARGE', []] as const),
    ] as never,
    [{ metadata: null }, 400, 'VALIDATION_FAILED', ['/metadata type']],
    [{ metadata: { more: 'x'.repeat(9_000) } }, 400, 'VALIDATION_FAILED', ['/metadata size']],
    [{ caller_phone: 'Ann' }, 400, 'VALIDATION_FAILED', ['/caller_phone phone']],
    [{ caller_app: 'x'.repeat(51) }, 400, 'VALIDATION_FAILED', ['/caller_app maxLength']],
  ];
  for (const [body, status, code, faults] of rows) {
    const [foundStatus, foundCode, found] = factsOf(await server.send(path, body));
    assert.deepEqual(
      [foundStatus, foundCode, found.sort()],
      [status, code, faults.sort()],
      JSON.stringify(body).slice(0, 200),
    );
  }
  assert.deepEqual((await server.send(`GET ${ROUTE}/${made.id}`)).data, made);
  assert.deepEqual(factsOf(await server.send(`PATCH ${ROUTE}/${newId()}`, { summary: 'x' })), [
    404,
    'NOT_FOUND',
    [],
  ]);
  assert.deepEqual(factsOf(await server.send(`PATCH ${ROUTE}/x`, { summary: 'x' })), [
    400,
    'VALIDATION_FAILED',
    ['/id uuid'],
  ]);
  // Nearly 4 MiB of messages are taken: more than other bodies may have.
  const many = Array.from({ length: 500 }, () => ({ ...message, content: 'x'.repeat(8_000) }));
  const { status, data } = await server.send<Record_>(path, { messages: many });
  assert.deepEqual([status, data.messages.length], [200, 500]);
});
