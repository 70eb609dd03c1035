/** Conversations with squads at their edges: a request sent twice, variables that grow, refusals among many. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientOf, dataOf, makeAgent, refused } from './_answering.ts';
import { ADMIN_KEY, startTestApp } from './_app.ts';

type Turn = { conversation_id: string; agent_name: string; reply: string };

test('a request sent twice is one turn, and variables are bounded in all', async (t) => {
  const app = await startTestApp(t, { CALLYARD_LLM_VENDOR: 'local' });
  const api = clientOf(app);
  const front = await makeAgent(api, 'Front');
  const team = { name: 's', members: [{ agent_id: front.id, role: 'primary' }] };
  const squad = await dataOf<{ id: string }>(201, api('POST', '/v1/squads', team));
  const path = `/v1/squads/${squad.id}/execute`;
  const once = (body: object): Promise<Response> =>
    fetch(app.app.httpUrl + path, {
      method: 'POST',
      headers: {
        ...{ authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
        'idempotency-key': 'turn-1',
      },
      body: JSON.stringify(body),
    });
  const first = await once({ input: 'hello' });
  const again = await once({ input: 'hello' });
  assert.deepEqual([first.status, again.status], [200, 200]);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  const { data } = (await first.json()) as { data: Turn };
  assert.deepEqual(((await again.json()) as { data: Turn }).data, data);
  const other = await once({ input: 'something else' });
  assert.equal(other.status, 422);
  const { conversation_id } = data;
  const said = await dataOf<{ total: number }>(
    200,
    api('GET', `/api/call/${conversation_id}/conversation`),
  );
  assert.equal(said.total, 2, 'one thing was said, and one answered');

  const variables = (name: string) => ({ [name]: 'x'.repeat(9_000) });
  const say = (more: object) => api('POST', path, { input: 'hi', conversation_id, ...more });
  await dataOf(200, say({ variables: variables('a') }));
  await refused(say({ variables: variables('b') }), 400, 'VALIDATION_FAILED', '/variables');
  await dataOf(200, say({ variables: variables('a') }));
});
