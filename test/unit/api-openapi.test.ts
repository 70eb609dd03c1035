/** The published document and page: every route is there, says who may use it, and what it answers. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { byteRangeOf } from '#api/byte-range.ts';
import { PROBLEMS } from '#api/problem.ts';
import type { ApiServer } from '#api/routing.ts';
import { parseJsonObject } from '#api/strict-json.ts';
import { checkRoute } from '#api/routing.ts';
import { makeApi, makeFakes } from './_api-fakes.ts';

let app: ApiServer;
before(async () => {
  app = await makeApi(makeFakes());
});
after(() => app.close());

type Operation = {
  operationId: string;
  summary: string;
  tags: string[];
  security: object[];
  'x-capability': string;
  responses: Record<string, { description: string; content?: object; $ref: string }>;
  parameters?: { in: string; name: string }[];
  requestBody?: object;
};
type Document = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: {
    responses: Record<string, { description: string; content?: object; $ref: string }>;
    schemas: Record<
      string,
      { properties: { error: { properties: { code: { enum: string[] } } } } }
    >;
  };
};

/** [method, path] of each route that Fastify itself has registered, read from the tree it prints. */
function registered(): [string, string][] {
  const routes: [string, string][] = [];
  const open: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent = '', part, methods] =
      /^(.*?)[├└]── (\S+)(?: \(([A-Z, ]+)\))?/.exec(line) ?? [];
    if (part === undefined) continue;
    open.length = indent.length / 4;
    open.push(part);
    for (const method of methods?.split(', ') ?? []) routes.push([method, open.join('')]);
  }
  return routes;
}

test('every registered route is in the document, with capability, operation id and answers', () => {
  const document = app.swagger() as unknown as Document;
  assert.equal(document.openapi, '3.1.0');
  const ids = new Set<string>();
  const routes = registered().filter(([method]) => method !== 'HEAD');
  assert.ok(routes.length > 90, `${routes.length} routes`);
  for (const [method, path] of routes) {
    const name = `${method} ${path}`;
    const operation = document.paths[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()];
    assert.ok(operation, `${name} is not documented`);
    assert.match(operation['x-capability'], /^(?:any|ops|sup|dev|adm|own|pub)$/, name);
    assert.equal(operation.security.length, operation['x-capability'] === 'pub' ? 0 : 1, name);
    assert.ok(operation.summary && operation.tags.length === 1, name);
    assert.ok(!ids.has(operation.operationId), `${operation.operationId} is used twice`);
    ids.add(operation.operationId);
    const statuses = Object.keys(operation.responses);
    assert.ok(
      // A path that is a WebSocket tells plain requests so.
      statuses.some((status) => status.startsWith('2') || status === '426'),
      name,
    );
    for (const status of statuses) {
      const named = operation.responses[status];
      const shared = named !== undefined && '$ref' in named ? named.$ref.split('/').at(-1) : null;
      const { description, content } =
        (typeof shared === 'string' ? document.components.responses[shared] : named) ?? {};
      assert.notEqual(description, 'Default Response', `${name} ${status}`);
      // What follows a 101 is no HTTP.
      assert.ok(content || status === '101', `${name} ${status}`);
    }
    const expected =
      operation['x-capability'] === 'pub' ? [] : ['400', '401', '403', '408', '429', '500', '503'];
    assert.deepEqual(
      expected.filter((status) => !statuses.includes(status)),
      [],
      name,
    );
    // A socket tells of a missing call by its close code (contract 2.5).
    const isSocket = statuses.includes('101');
    if (path.includes(':id') && !isSocket) assert.ok(statuses.includes('404'), name);
  }
});

test('strict families close their query and body', () => {
  const document = app.swagger() as unknown as Document;
  const known = document.paths['/api/v1/call-records']?.['get']?.parameters?.map(
    ({ name }) => name,
  );
  assert.deepEqual(known, [
    'page',
    'page_size',
    'cursor',
    'agent_id',
    'start_date',
    'end_date',
    'direction',
    'status',
    'hangup_reason',
    'outcome',
    'channel',
    'caller_phone',
    'customer_id',
    'campaign_id',
    'q',
  ]);
});

test('the document holds no dangling reference and every code', () => {
  const document = app.swagger() as unknown as Document;
  for (const [, name] of JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)) {
    const [, kind, target = ''] =
      /^#\/components\/(schemas|responses)\/([\w.]+)$/.exec(name ?? '') ?? [];
    assert.ok(kind === 'schemas' || kind === 'responses', name);
    assert.ok(target in document.components[kind], name);
  }
  const codes = document.components.schemas['Failure']?.properties.error.properties.code.enum;
  assert.deepEqual(codes, Object.keys(PROBLEMS));
});

test('the page names every path, and loads and runs nothing', async () => {
  const answer = await app.inject('/docs');
  assert.match(String(answer.headers['content-type']), /^text\/html/);
  assert.match(String(answer.headers['content-security-policy']), /^default-src 'none'/);
  const page = answer.body;
  for (const path of Object.keys((app.swagger() as unknown as Document).paths)) {
    assert.ok(page.includes(`<code>${path}</code>`), path);
  }
  // Addresses in examples are text; none is followed or fetched.
  const outside =
    /<script|<link|<img|<iframe|javascript:|\bsrc=|(?:href|action)="\w+:|url\(|@import/i;
  assert.doesNotMatch(page, outside);
  for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) {
    assert.ok(page.includes(`id="${target}"`), `#${target} leads nowhere`);
  }
  assert.equal((await app.inject('/openapi.json')).json().info.title, 'Callyard');
});

test('the document can be switched off', async () => {
  const server = await makeApi(makeFakes(), { hasDocs: false });
  for (const url of ['/docs', '/openapi.json']) {
    assert.equal((await server.inject(url)).json().error.code, 'ROUTE_NOT_FOUND');
  }
  await server.close();
});

test('a route without capability, operation id or answers fails at start-up', () => {
  const handler = (): void => undefined;
  const whole = {
    method: 'GET',
    url: '/x',
    path: '/x',
    routePath: '/x',
    prefix: '',
    handler,
  } as const;
  const schema = { operationId: 'x', response: { 200: {} } };
  assert.throws(() => checkRoute({ ...whole, schema }), /no capability/);
  assert.throws(() => checkRoute({ ...whole, config: { capability: 'any' } }), /no operationId/);
  assert.throws(
    () => checkRoute({ ...whole, config: { capability: 'any' }, schema: { operationId: 'x' } }),
    /no response/,
  );
  assert.doesNotThrow(() => checkRoute({ ...whole, config: { capability: 'any' }, schema }));
});

test('byte ranges', () => {
  const rows: [string | undefined, number, unknown][] = [
    [undefined, 100, 'whole'],
    ['bytes=0-9', 100, { from: 0, to: 9 }],
    ['bytes=90-', 100, { from: 90, to: 99 }],
    ['bytes=90-1000', 100, { from: 90, to: 99 }],
    ['bytes=-10', 100, { from: 90, to: 99 }],
    ['bytes=-1000', 100, { from: 0, to: 99 }],
    ['Bytes = 0 - 9', 100, { from: 0, to: 9 }],
    ['bytes=100-', 100, 'none'],
    ['bytes=-0', 100, 'none'],
    ['bytes=0-', 0, 'none'],
    ['bytes=9-0', 100, 'whole'],
    ['bytes=-', 100, 'whole'],
    ['bytes=0-1,5-6', 100, 'whole'],
    ['lines=0-1', 100, 'whole'],
    ['bytes=a-b', 100, 'whole'],
    [`bytes=${'9'.repeat(400)}-`, 100, 'none'],
  ];
  for (const [header, bytes, expected] of rows) {
    assert.deepEqual(byteRangeOf(header, bytes), expected, header);
  }
});

test('strict JSON agrees with JSON.parse on everything it accepts', () => {
  const texts = [
    '{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a":"}","b":"]","c":",","d":":"}',
    '{"a":"\\\\","b":["a","a","a"]}',
    '{"":1,"\\u0000":2}',
    ' { "a" : [ { } , { } ] , "b" : { } } ',
    '{"a":1e400,"b":-0.0}',
  ];
  for (const text of texts) {
    assert.deepEqual(parseJsonObject(Buffer.from(text)), JSON.parse(text), text);
  }
  for (const text of [
    '{"a":1,"a":1}',
    '{"b":[{"a":1,"a":2}]}',
    '{"a":{"b":1},"a":2}',
    '{"a":[1,{"b":2}],"a":3}',
  ]) {
    assert.throws(() => parseJsonObject(Buffer.from(text)), /one JSON object/, text);
  }
});
