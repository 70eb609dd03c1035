/** Squads at the facade, over fakes: what is asked of the desk, and how its refusals and failures are told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { ExecuteRefusal } from '#sessions/squad-desk.ts';
import {
  ACCOUNT,
  AGENT,
  assertDeclared,
  makeApi,
  makeFakes,
  MISSING,
  OTHER_AGENT,
} from './_api-fakes.ts';

const BODY = {
  name: 'Service',
  members: [
    { agent_id: AGENT, role: 'primary' },
    { agent_id: OTHER_AGENT.toUpperCase(), role: 'specialist', skills: ['refund'] },
  ],
};

async function setUp() {
  const fakes = makeFakes();
  const api = await makeApi(fakes);
  const headers = { authorization: `Bearer ${fakes.addKey()}` };
  const send = async (method: 'POST' | 'GET' | 'PUT' | 'DELETE', url: string, payload?: object) => {
    const reply = await api.inject({
      method,
      url,
      headers,
      ...(payload === undefined ? {} : { payload }),
    });
    const body = reply.json<{
      data: { [name: string]: unknown };
      error?: { code: string; details?: { path: string }[] };
    }>();
    return { status: reply.statusCode, headers: reply.headers, body };
  };
  const made = await send('POST', '/v1/squads', BODY);
  const id = String(made.body.data['id']);
  return { fakes, api, send, made, id, url: `/v1/squads/${id}` };
}

test('every answer is what the document declares', async (t) => {
  const { api, send, made, url } = await setUp();
  t.after(() => api.close());
  assertDeclared(api, 'POST /v1/squads', made.status, made.body);
  const list = await send('GET', '/v1/squads');
  assertDeclared(api, 'GET /v1/squads', list.status, list.body);
  const read = await send('GET', url);
  assertDeclared(api, 'GET /v1/squads/{id}', read.status, read.body);
  const put = await send('PUT', url, BODY);
  assertDeclared(api, 'PUT /v1/squads/{id}', put.status, put.body);
  const said = await send('POST', `${url}/execute`, { input: 'hello' });
  assertDeclared(api, 'POST /v1/squads/{id}/execute', said.status, said.body);
  const gone = await send('DELETE', url);
  assertDeclared(api, 'DELETE /v1/squads/{id}', gone.status, gone.body);
});

test('what the desk is asked: texts, the account, the time that is left', async (t) => {
  const { api, fakes, send, id, url } = await setUp();
  t.after(() => api.close());
  await send('POST', `${url}/execute`, {
    ...{ input: 'hello', conversation_id: MISSING.toUpperCase() },
    variables: { name: 'Ann', n: 5, deep: { a: [1] } },
  });
  const [asked] = fakes.answering.squads.executed;
  assert.deepEqual(
    [asked?.accountId, asked?.agentIds, asked?.squadId, asked?.conversationId],
    [ACCOUNT, null, id, MISSING],
  );
  assert.deepEqual(asked?.variables, { name: 'Ann', n: '5', deep: '{"a":[1]}' });
  const timeoutMs = asked?.timeoutMs ?? 0;
  assert.ok(timeoutMs > 4_000 && timeoutMs <= 4_800);
});

test('refusals and failures of the desk', async (t) => {
  const { api, fakes, send, url } = await setUp();
  t.after(() => api.close());
  const { squads } = fakes.answering;
  const refusals: [ExecuteRefusal, number, string][] = [
    ['squad', 404, 'NOT_FOUND'],
    ['conversation', 404, 'NOT_FOUND'],
    ['over', 409, 'INVALID_STATE'],
    ['busy', 409, 'INVALID_STATE'],
  ];
  for (const [refusal, status, code] of refusals) {
    squads.result = async () => ({ ok: false, refusal });
    const reply = await send('POST', `${url}/execute`, { input: 'x' });
    assert.deepEqual([reply.status, reply.body.error?.code], [status, code], refusal);
    assert.equal(reply.headers['retry-after'], refusal === 'busy' ? '1' : undefined);
  }
  const failures: [ErrorCode, string, number, string][] = [
    ['E_CONFIG', 'no such vendor', 422, 'PROVIDER_NOT_CONFIGURED'],
    ['E_PROVIDER_AUTH', 'wrong key', 502, 'PROVIDER_REJECTED'],
    ['E_PROVIDER_CONTENT', 'withheld', 502, 'PROVIDER_REJECTED'],
    ['E_PROVIDER_SERVER', 'broken', 504, 'PROVIDER_TIMEOUT'],
    ['E_TIMEOUT', 'the vendor of the model took long', 504, 'PROVIDER_TIMEOUT'],
    ['E_TIMEOUT', 'language model: no text', 504, 'PROVIDER_TIMEOUT'],
    ['E_TIMEOUT', 'the database took long', 503, 'UNAVAILABLE'],
    ['E_DATABASE_UNREACHABLE', 'away', 503, 'UNAVAILABLE'],
    ['E_QUEUE_FULL', 'too many', 503, 'OVERLOADED'],
    ['E_INTERNAL', 'a slip', 500, 'INTERNAL'],
  ];
  for (const [error, message, status, code] of failures) {
    squads.result = async () => {
      throw new AppError(error, message);
    };
    const reply = await send('POST', `${url}/execute`, { input: 'x' });
    assert.deepEqual([reply.status, reply.body.error?.code], [status, code], `${error} ${message}`);
  }
});

test('members that do not exist, and squads that are named', async (t) => {
  const { api, fakes, send, url } = await setUp();
  t.after(() => api.close());
  const { squads } = fakes.answering;
  squads.missing.add(OTHER_AGENT);
  const unknown = await send('PUT', url, BODY);
  assert.deepEqual(
    [unknown.status, unknown.body.error?.code, unknown.body.error?.details?.[0]?.path],
    [422, 'REFERENCE_NOT_FOUND', '/members/1/agent_id'],
  );
  squads.uses.set('rules', 2);
  const named = await send('DELETE', url);
  assert.deepEqual(
    [named.status, named.body.error?.code, named.body.error?.details?.[0]?.path],
    [409, 'IN_USE', 'rules'],
  );
});
