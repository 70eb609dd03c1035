/** The shipped client against a running server: what it is typed by is what the server publishes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CallyardError, createCallyard, dataOf } from '../../sdk/src/client.ts';
import { ADMIN_KEY, startTestApp } from './_app.ts';

test('sdk/openapi.json is the document that the server publishes', async (t) => {
  const server = await startTestApp(t);
  const served = (await (await fetch(`${server.app.httpUrl}/openapi.json`)).json()) as Document;
  const shipped = JSON.parse(
    readFileSync(new URL('../../sdk/openapi.json', import.meta.url), 'utf8'),
  ) as Document;
  type Document = { info: { version: string }; paths: object };
  assert.deepEqual(Object.keys(shipped.paths), Object.keys(served.paths), 'run `npm run sdk`');
  assert.deepEqual({ ...shipped, info: null }, { ...served, info: null }, 'run `npm run sdk`');
});

test('a typed round: create, read, list, change, delete, refuse', async (t) => {
  const server = await startTestApp(t);
  const callyard = createCallyard({
    baseUrl: `${server.app.httpUrl}/`,
    token: async () => ADMIN_KEY,
  });
  const agent = dataOf(
    await callyard.POST('/api/v1/agents', {
      body: { name: 'Front desk', system_prompt: 'Be brief.' },
    }),
  );
  const record = dataOf(
    await callyard.POST('/api/v1/call-records', {
      body: { agent_id: agent.id, start_time: '2026-01-01T00:00:00Z', caller_app: '微信' },
    }),
  );
  const path = { id: record.id };
  const changed = dataOf(
    await callyard.PATCH('/api/v1/call-records/{id}', {
      params: { path },
      body: { end_time: '2026-01-01T00:01:00Z', hangup_reason: 'user' },
    }),
  );
  assert.equal(changed.duration_seconds, 60);
  const { records } = dataOf(
    await callyard.GET('/api/v1/call-records', { params: { query: { agent_id: agent.id } } }),
  );
  assert.deepEqual(
    records.map((each) => [each.id, each.caller_app, each.status]),
    [[record.id, '微信', 'ended']],
  );
  dataOf(await callyard.DELETE('/api/v1/call-records/{id}', { params: { path } }));
  const gone = await callyard.GET('/api/v1/call-records/{id}', { params: { path } });
  assert.throws(
    () => dataOf(gone),
    (error) =>
      error instanceof CallyardError &&
      error.code === 'NOT_FOUND' &&
      error.status === 404 &&
      error.requestId !== null,
  );
});

test('refusals come as errors in the language asked for', async (t) => {
  const server = await startTestApp(t);
  const callyard = createCallyard({
    baseUrl: server.app.httpUrl,
    token: `cy_nobody00_${'x'.repeat(43)}`,
    language: 'zh-CN',
  });
  const answer = await callyard.GET('/api/v1/agents');
  assert.throws(() => dataOf(answer), {
    name: 'CallyardError',
    code: 'UNAUTHENTICATED',
    message: '需要有效的访问令牌',
  });
});
