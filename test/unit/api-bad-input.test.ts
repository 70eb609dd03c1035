/** What the facade refuses: one row per fault, with its status, code and the place it names. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import { PROBLEMS } from '#api/problem.ts';
import { makeApi, makeFakes, RECORD, type Fakes } from './_api-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());

const INITIATE = 'POST /api/call/initiate';
const LIST = 'GET /api/v1/call-records';

function deep(levels: number): string {
  return `{"variables":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
}

/** Route, body or null, expected status and code, expected `path rule` of the first detail or null. */
type Row = readonly [string, string | object | null, number, string, string | null];

const ROWS: readonly Row[] = [
  // Paths and methods.
  ['GET /nothing', null, 404, 'ROUTE_NOT_FOUND', null],
  ['GET /api/v1/call-records/', null, 404, 'ROUTE_NOT_FOUND', null],
  ['GET /api/V1/call-records', null, 404, 'ROUTE_NOT_FOUND', null],
  ['POST /nothing', '{', 404, 'ROUTE_NOT_FOUND', null],
  ['DELETE /api/call/initiate', null, 405, 'METHOD_NOT_ALLOWED', null],
  ['PUT /api/v1/call-records', {}, 405, 'METHOD_NOT_ALLOWED', null],
  ['OPTIONS /health', null, 405, 'METHOD_NOT_ALLOWED', null],
  ['GET /api/call/%zz', null, 400, 'VALIDATION_FAILED', ' http'],
  [`GET /api/call/${'a'.repeat(9000)}`, null, 413, 'PAYLOAD_TOO_LARGE', null],
  // Ids.
  ['GET /api/call/17', null, 400, 'VALIDATION_FAILED', '/id uuid'],
  [`GET /api/call/${'a'.repeat(300)}`, null, 400, 'VALIDATION_FAILED', '/id uuid'],
  [`GET /api/v1/call-records/${RECORD}0`, null, 400, 'VALIDATION_FAILED', '/id uuid'],
  ['GET /api/v1/call-records/%00', null, 400, 'VALIDATION_FAILED', '/id text'],
  // Bodies that are no JSON object.
  [INITIATE, '', 400, 'VALIDATION_FAILED', '/phone_number required'],
  [INITIATE, '{', 400, 'INVALID_JSON', null],
  [INITIATE, '[]', 400, 'INVALID_JSON', null],
  [INITIATE, 'null', 400, 'INVALID_JSON', null],
  [INITIATE, '"a"', 400, 'INVALID_JSON', null],
  [INITIATE, '{"phone_number":"1001"} x', 400, 'INVALID_JSON', null],
  [INITIATE, '{"phone_number":"1001","phone_number":"1002"}', 400, 'INVALID_JSON', null],
  [INITIATE, '{"a":1,"\\u0061":2}', 400, 'INVALID_JSON', null],
  [INITIATE, deep(33), 400, 'INVALID_JSON', null],
  [INITIATE, deep(32), 400, 'VALIDATION_FAILED', '/phone_number required'],
  [INITIATE, '{"x":"\ud800"}', 400, 'VALIDATION_FAILED', '/phone_number required'],
  // Fields.
  [INITIATE, {}, 400, 'VALIDATION_FAILED', '/phone_number required'],
  [INITIATE, { phone_number: 1001 }, 400, 'VALIDATION_FAILED', '/phone_number type'],
  [INITIATE, { phone_number: 'Ann' }, 400, 'VALIDATION_FAILED', '/phone_number phone'],
  [INITIATE, { phone_number: '1' }, 400, 'VALIDATION_FAILED', '/phone_number phone'],
  [INITIATE, { phone_number: '' }, 400, 'VALIDATION_FAILED', '/phone_number minLength'],
  [
    INITIATE,
    { phone_number: '1001', prompt: 'a'.repeat(20_001) },
    400,
    'VALIDATION_FAILED',
    '/prompt maxLength',
  ],
  [INITIATE, { phone_number: '1001', prompt: 'a\0' }, 400, 'VALIDATION_FAILED', '/prompt text'],
  [
    INITIATE,
    '{"phone_number":"1001","prompt":"\\ud800"}',
    400,
    'VALIDATION_FAILED',
    '/prompt text',
  ],
  [INITIATE, { phone_number: '1001', agent_id: '7' }, 400, 'VALIDATION_FAILED', '/agent_id uuid'],
  [INITIATE, { phone_number: '1001', agent_id: null }, 400, 'VALIDATION_FAILED', '/agent_id type'],
  [INITIATE, { phone_number: '1001', media: 'fax' }, 400, 'VALIDATION_FAILED', '/media enum'],
  [
    INITIATE,
    { phone_number: 'nobody', media: 'websocket' },
    400,
    'VALIDATION_FAILED',
    '/phone_number phone',
  ],
  [INITIATE, { phone_number: '1001', variables: [] }, 400, 'VALIDATION_FAILED', '/variables type'],
  [
    INITIATE,
    { phone_number: '1001', variables: { a: 'x'.repeat(16_400) } },
    400,
    'VALIDATION_FAILED',
    '/variables size',
  ],
  [
    INITIATE,
    { phone_number: '1001', variables: { ['k/'.repeat(33)]: 'x' } },
    400,
    'VALIDATION_FAILED',
    `/variables/${'k~1'.repeat(33)} name`,
  ],
  [
    INITIATE,
    '{"phone_number":"1001","variables":{"__proto__":1}}',
    400,
    'VALIDATION_FAILED',
    '/variables name',
  ],
  [
    `POST /api/call/${RECORD}/terminate`,
    { reason: 'x'.repeat(201) },
    400,
    'VALIDATION_FAILED',
    '/reason maxLength',
  ],
  // Query of the list.
  [`${LIST}?page=0`, null, 400, 'VALIDATION_FAILED', '?page minimum'],
  [`${LIST}?page=1.5`, null, 400, 'VALIDATION_FAILED', '?page type'],
  [`${LIST}?page=`, null, 400, 'VALIDATION_FAILED', '?page type'],
  [`${LIST}?page=1&page=2`, null, 400, 'VALIDATION_FAILED', '?page type'],
  [`${LIST}?page=101&page_size=100`, null, 400, 'VALIDATION_FAILED', '?page maximum'],
  [`${LIST}?page_size=101`, null, 400, 'VALIDATION_FAILED', '?page_size maximum'],
  [`${LIST}?pageSize=10`, null, 400, 'VALIDATION_FAILED', '?pageSize unknown'],
  [`${LIST}?cursor=abc`, null, 400, 'VALIDATION_FAILED', '?cursor cursor'],
  [`${LIST}?cursor=abc&page=1`, null, 400, 'VALIDATION_FAILED', '?cursor exclusive'],
  [`${LIST}?agent_id=x`, null, 400, 'VALIDATION_FAILED', '?agent_id uuid'],
  [`${LIST}?status=live`, null, 400, 'VALIDATION_FAILED', '?status enum'],
  [`${LIST}?direction=up`, null, 400, 'VALIDATION_FAILED', '?direction enum'],
  [`${LIST}?outcome=x`, null, 400, 'VALIDATION_FAILED', '?outcome enum'],
  [`${LIST}?start_date=2026-02-30`, null, 400, 'VALIDATION_FAILED', '?start_date time'],
  [`${LIST}?start_date=2026-01-01T00:00:00`, null, 400, 'VALIDATION_FAILED', '?start_date time'],
  [`${LIST}?end_date=2026-02-30T00:00:00Z`, null, 400, 'VALIDATION_FAILED', '?end_date time'],
  [
    `${LIST}?start_date=2026-01-02&end_date=2026-01-01T00:00:00Z`,
    null,
    400,
    'VALIDATION_FAILED',
    '?end_date order',
  ],
  [`${LIST}?caller_phone=Ann`, null, 400, 'VALIDATION_FAILED', '?caller_phone phone'],
  [`${LIST}?q=a`, null, 400, 'VALIDATION_FAILED', '?q minLength'],
  [`${LIST}?q=ab`, null, 400, 'VALIDATION_FAILED', '?q span'],
  [
    `${LIST}?q=ab&start_date=2026-01-01&end_date=2026-02-01`,
    null,
    400,
    'VALIDATION_FAILED',
    '?q span',
  ],
  [`${LIST}?q=a%00b&start_date=2026-01-01`, null, 400, 'VALIDATION_FAILED', '?q text'],
  [`GET /api/v1/call-records/${RECORD}?x=1`, null, 400, 'VALIDATION_FAILED', '?x unknown'],
  [
    `GET /api/v1/call-records/${RECORD}/recording?disposition=none`,
    null,
    400,
    'VALIDATION_FAILED',
    '?disposition enum',
  ],
];

test('every row is refused as the contract says, in its envelope', async () => {
  for (const [route, body, status, code, detail] of ROWS) {
    const [method, url] = route.split(' ') as ['GET', string];
    const payload = typeof body === 'object' && body !== null ? JSON.stringify(body) : body;
    const answer = await app.inject({
      method,
      url,
      headers: { ...admin, ...(payload === null ? {} : { 'content-type': 'application/json' }) },
      ...(payload === null ? {} : { payload }),
    });
    const name = `${route.slice(0, 80)} ${String(payload).slice(0, 60)}`;
    const failure = answer.json();
    assert.deepEqual([answer.statusCode, failure.error.code], [status, code], name);
    const first = failure.error.details?.[0];
    assert.equal(first === undefined ? null : `${first.path} ${first.rule}`, detail, name);
    assert.notEqual(first?.message, 'has the wrong form', `${name} has no text for its rule`);
    assert.equal(failure.success, false);
    assert.equal(failure.message, failure.error.message);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    assert.ok(answer.headers['x-request-id']);
    if (url.startsWith('/api/')) assert.ok(answer.headers['ratelimit-limit'], name);
  }
});

test('405 names the methods that the path takes', async () => {
  const answer = await app.inject({ method: 'DELETE', url: '/api/v1/call-records/x/recording' });
  assert.equal(answer.headers.allow, 'GET, HEAD');
});

test('other media types are 415, also with a body that says nothing', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'a']) {
    const headers = { ...admin, 'content-type': type };
    const answer = await app.inject({
      method: 'POST',
      url: '/api/call/initiate',
      headers,
      payload: 'phone_number=1001',
    });
    assert.deepEqual(
      [answer.statusCode, answer.json().error.code],
      [415, 'UNSUPPORTED_MEDIA_TYPE'],
    );
  }
  const charset = await app.inject({
    method: 'POST',
    url: '/api/call/initiate',
    headers: { ...admin, 'content-type': 'application/json; charset=UTF-8' },
    payload: '{"phone_number":"1001"}',
  });
  assert.equal(charset.statusCode, 201);
});

test('bytes that are not UTF-8 are INVALID_JSON', async () => {
  const answer = await app.inject({
    method: 'POST',
    url: '/api/call/initiate',
    headers: { ...admin, 'content-type': 'application/json' },
    payload: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
  });
  assert.equal(answer.json().error.code, 'INVALID_JSON');
});

test('a body above 1 MiB is 413, at the limit it is read', async () => {
  const rows = [
    [1024 * 1024, 400],
    [1024 * 1024 + 1, 413],
  ] as const;
  for (const [bytes, status] of rows) {
    const frame = '{"prompt":""}';
    const payload = `{"prompt":"${'a'.repeat(bytes - frame.length)}"}`;
    const answer = await app.inject({
      method: 'POST',
      url: '/api/call/initiate',
      headers: { ...admin, 'content-type': 'application/json' },
      payload,
    });
    assert.equal(answer.statusCode, status);
  }
});

test('at most 20 faults are listed', async () => {
  const query = Array.from({ length: 30 }, (_, at) => `x${at}=1`).join('&');
  const answer = await app.inject({ url: `/api/v1/call-records?${query}`, headers: admin });
  assert.equal(answer.json().error.details.length, 20);
});

test('messages follow Accept-Language', async () => {
  const rows = [
    [undefined, 'There is no such path'],
    ['zh-CN,zh;q=0.9,en;q=0.8', PROBLEMS.ROUTE_NOT_FOUND.zh],
    ['en,zh;q=0.9', PROBLEMS.ROUTE_NOT_FOUND.en],
    ['en;q=0.5, zh-Hant', PROBLEMS.ROUTE_NOT_FOUND.zh],
    ['zh;q=0', PROBLEMS.ROUTE_NOT_FOUND.en],
    ['fr, zh;q=0.9', PROBLEMS.ROUTE_NOT_FOUND.en],
    ['zhx', PROBLEMS.ROUTE_NOT_FOUND.en],
    [';;,q=,zh;q=x', PROBLEMS.ROUTE_NOT_FOUND.en],
  ] as const;
  for (const [language, expected] of rows) {
    const headers = language === undefined ? {} : { 'accept-language': language };
    const answer = await app.inject({ url: '/nothing', headers });
    assert.equal(answer.json().message, expected, language);
  }
  const detail = await app.inject({
    url: '/api/v1/call-records?page=0',
    headers: { ...admin, 'accept-language': 'zh' },
  });
  assert.equal(detail.json().error.details[0].message, '不得小于 1');
});

test('request ids: kept when usable, else made', async () => {
  const rows = [
    ['abc-1._X', true],
    ['a'.repeat(128), true],
    ['a'.repeat(129), false],
    ['a b', false],
    ['', false],
  ] as const;
  for (const [id, isKept] of rows) {
    const answer = await app.inject({ url: '/health', headers: { 'x-request-id': id } });
    assert.equal(answer.headers['x-request-id'] === id, isKept, id);
    assert.match(String(answer.headers['x-request-id']), /^[A-Za-z0-9._-]{1,128}$/);
  }
});

test('filters reach the store as written in the contract', async () => {
  const base = {
    limit: 20,
    from: { offset: 0 },
    agentIds: null,
    agentId: null,
    startFrom: null,
    startBefore: null,
    direction: null,
    status: null,
    hangupReason: null,
    outcome: null,
    channels: ['phone', 'web', 'external'],
    callerPhonePrefix: null,
    customerId: null,
    campaignId: null,
    search: null,
    isSearchMasked: false,
  };
  const rows: [string, object][] = [
    ['', {}],
    ['page=3&page_size=50', { limit: 50, from: { offset: 100 } }],
    ['page=100&page_size=100', { limit: 100, from: { offset: 9900 } }],
    ['channel=text', { channels: ['text'] }],
    [`agent_id=${RECORD.toUpperCase()}`, { agentId: RECORD }],
    ['status=failed&outcome=busy', { status: 'failed', outcome: 'busy' }],
    ['hangup_reason=ai&direction=outbound', { hangupReason: 'ai', direction: 'outbound' }],
    ['caller_phone=%2B1 555', { callerPhonePrefix: '+1555' }],
    ['caller_phone=+1555', { callerPhonePrefix: '+1555' }],
    ['caller_phone=0086', { callerPhonePrefix: '+86' }],
    // Days are days of the account's zone, +08:00 here, and both inclusive.
    [
      'start_date=2026-01-01&end_date=2026-01-31',
      { startFrom: '2025-12-31T16:00:00.000Z', startBefore: '2026-01-31T16:00:00.000Z' },
    ],
    ['start_date=2026-01-01T08:00:00+08:00', { startFrom: '2026-01-01T00:00:00.000Z' }],
    ['end_date=2026-01-01T08:00:00.5%2B08:00', { startBefore: '2026-01-01T00:00:00.500Z' }],
    [
      'q=An%25&start_date=2026-01-01&end_date=2026-01-31&customer_id=c1',
      {
        search: 'An%',
        customerId: 'c1',
        startFrom: '2025-12-31T16:00:00.000Z',
        startBefore: '2026-01-31T16:00:00.000Z',
      },
    ],
  ];
  for (const [query, changes] of rows) {
    const url = `/api/v1/call-records?${query.replaceAll(' 555', '%20555')}`;
    const answer = await app.inject({ url, headers: admin });
    assert.equal(answer.statusCode, 200, `${query}: ${answer.body}`);
    assert.deepEqual(fakes.queries.at(-1), { ...base, ...changes }, query);
  }
});

test('a cursor leads on from the last row, and counts pages', async () => {
  fakes.page = { total: 10_000, totalExact: false, hasNext: true };
  const first = (
    await app.inject({ url: '/api/v1/call-records?page_size=1', headers: admin })
  ).json();
  assert.equal(first.data.pagination.has_next, true);
  assert.equal(first.data.pagination.total_pages, 10_000);
  fakes.page = { total: 10_000, totalExact: false, hasNext: false };
  const cursor = first.data.pagination.next_cursor;
  const url = `/api/v1/call-records?page_size=1&cursor=${cursor}`;
  const second = (await app.inject({ url, headers: admin })).json();
  assert.deepEqual(fakes.queries.at(-1)?.from, {
    after: { key: '2026-01-01T00:00:00.000Z', id: RECORD },
  });
  assert.deepEqual(second.data.pagination, {
    page: 2,
    page_size: 1,
    total: 10_000,
    total_exact: false,
    total_pages: 10_000,
    has_next: false,
    next_cursor: null,
  });
});

test('a cursor carries the time as the store writes it, and a forged one never reaches the store', async () => {
  const ask = async (text: string) => {
    const cursor = Buffer.from(text).toString('base64url');
    return app.inject({ url: `/api/v1/call-records?cursor=${cursor}`, headers: admin });
  };
  const asked = fakes.queries.length;
  const good = [
    '2026-01-01T00:00:00.123456Z',
    '2026-01-01 08:00:00.123456+08',
    '2026-01-01 05:45:00+05:45',
    '1900-06-01 08:05:43+08:05:43',
  ];
  for (const startTime of good) {
    assert.equal((await ask(`1|2|${startTime}|${RECORD}`)).statusCode, 200, startTime);
    assert.deepEqual(fakes.queries.at(-1)?.from, { after: { key: startTime, id: RECORD } });
  }
  const time = '2026-01-01T00:00:00Z';
  const bad = [
    '',
    `2|2|${time}|${RECORD}`,
    `1|0|${time}|${RECORD}`,
    `1|x|${time}|${RECORD}`,
    `1|2|2026-13-01T00:00:00Z|${RECORD}`,
    `1|2|2026-02-30 00:00:00+00|${RECORD}`,
    `1|2|2026-01-01T25:00:00Z|${RECORD}`,
    `1|2|now|${RECORD}`,
    `1|2|${time}|x`,
    `1|2|${time}|${RECORD}|`,
  ];
  for (const text of bad) assert.equal((await ask(text)).statusCode, 400, text);
  assert.equal(fakes.queries.length, asked + good.length);
});
