/** Contacts, consents and extensions where it hurts: guessing viewers, bound keys, tables of odd bytes, imports that meet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { ask, defaultAccount, makeApiKey, systemRows } from './_identity.ts';

const CONTACTS = '/api/v1/contacts';
const CONSENTS = '/api/v1/consents';
const EXTENSIONS = '/api/v1/extensions';

function send(server: TestApp, method: string, path: string, body?: unknown, token = ADMIN_KEY) {
  const options = { token, ...(body === undefined ? {} : { body }) };
  return ask(server.app.httpUrl, method, path, options);
}

async function sendCsv(server: TestApp, text: string) {
  const response = await fetch(`${server.app.httpUrl}${CONTACTS}/import`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'text/csv' },
    body: text,
  });
  const body = (await response.json()) as { data?: unknown; error?: { code: string } };
  return { status: response.status, code: body.error?.code ?? null, data: body.data };
}

test('no filter tells a viewer what is masked', async (t) => {
  const server = await startTestApp(t);
  const { key } = await makeApiKey(server, await defaultAccount(server), { role: 'viewer' });
  await send(server, 'POST', CONTACTS, {
    ...{ name: 'Ann 13800138000', phone: '+15550101234', email: 'ann.secret@example.com' },
    ...{ company: 'Tea +15550109999', tags: ['+15550105678', 'vip'] },
  });
  await send(server, 'POST', CONSENTS, {
    ...{ phone: '+15550101234', kind: 'data', granted: true, source: 'call 13800138000' },
  });
  await send(server, 'POST', EXTENSIONS, {
    ...{ extension: '801', name: 'Desk', kind: 'number', target: '+15550107777' },
  });
  const found = async (path: string, query: string): Promise<number> => {
    const { data, text } = await send(server, 'GET', `${path}?${query}`, undefined, key);
    assert.doesNotMatch(text, /0101234|0138000|secret|0105678|0109999|0107777/);
    return (data['items'] ?? data['contacts']) === undefined
      ? -1
      : ((data['items'] ?? data['contacts']) as unknown as unknown[]).length;
  };
  const console = '/api/call-center/contacts';
  for (const [path, name] of [
    [CONTACTS, 'q'],
    [console, 'keyword'],
  ] as const) {
    for (const guess of ['0101234', '5550', '1380', '8', 'nn.sec', 'secret'])
      assert.equal(await found(path, `${name}=${guess}`), 0, `${path} ${guess}`);
    for (const known of ['ann', 'tea'])
      assert.equal(await found(path, `${name}=${known}`), 1, known);
  }
  assert.equal(await found(CONTACTS, 'tag=vip'), 1);
  for (const path of [`${CONTACTS}?tag=%2B15550105678`, `${CONSENTS}?phone=%2B15550101234`]) {
    const refused = await send(server, 'GET', path, undefined, key);
    assert.deepEqual([refused.status, refused.code], [400, 'VALIDATION_FAILED'], path);
    assert.equal((await send(server, 'GET', path)).status, 200, path);
  }
  for (const path of [CONTACTS, CONSENTS, EXTENSIONS, '/api/call-center/extensions'])
    await found(path, '');
});

test('a key of some agents sees no extension of another one', async (t) => {
  const server = await startTestApp(t);
  const [agent] = await systemRows<{ id: Id }>(server.databaseUrl, 'SELECT id FROM agents');
  const make = async (extension: string, more: object): Promise<string> => {
    const { data } = await send(server, 'POST', EXTENSIONS, {
      extension,
      name: extension,
      ...more,
    });
    return String(data['id']);
  };
  const agents = await make('801', { kind: 'agent', agent_id: agent?.id });
  const plain = await make('802', { kind: 'number', target: '+15550101' });
  const account = await defaultAccount(server);
  const { key } = await makeApiKey(server, account, { agentIds: [newId()] });
  const { data } = await send(server, 'GET', EXTENSIONS, undefined, key);
  const ids = (data['extensions'] as unknown as { id: string }[]).map(({ id }) => id);
  assert.deepEqual(ids, [plain]);
  const shown = await send(server, 'GET', '/api/call-center/extensions', undefined, key);
  assert.equal(shown.data['total'], 1);
  for (const [method, body] of [
    ['GET', undefined],
    ['PATCH', { enabled: false }],
    ['DELETE', undefined],
  ] as const)
    assert.equal((await send(server, method, `${EXTENSIONS}/${agents}`, body, key)).status, 404);
});

test('tables of odd bytes are told by line, never a fault of ours', async (t) => {
  const server = await startTestApp(t);
  const odd = await sendCsv(
    server,
    'name,phone,note\nAnn\0,+15550101,\nBo,+15550102,"a\0b"\nCy,+15550103,x',
  );
  assert.equal(odd.status, 200, JSON.stringify(odd));
  assert.deepEqual(odd.data, {
    ...{ created: 1, updated: 0 },
    rejected: [2, 3].map((line) => ({ line, reason: 'U+0000 cannot be kept' })),
  });
  const header = await sendCsv(server, 'name,phone,no\0te\nAnn,+15550101,x');
  assert.deepEqual([header.status, header.code], [400, 'VALIDATION_FAILED']);
  // Two lines with half a pair of quotes each are one row that cannot be read.
  const noise = await sendCsv(server, `name,phone\n${'a"b\n'.repeat(20_002)}`);
  assert.deepEqual([noise.status, noise.code], [400, 'VALIDATION_FAILED']);
});

test('imports of the same people that meet both succeed', async (t) => {
  const server = await startTestApp(t, { CALLYARD_COUNTRY_CODE: '86' });
  const lines = Array.from({ length: 4_000 }, (_, at) => `N${at},+86571${88_000_000 + at}`);
  const national = lines.map((line) => line.replace('+86', '0'));
  const tables = [lines, national.toReversed(), lines.toReversed(), national];
  const replies = await Promise.all(
    tables.map((rows) => sendCsv(server, `name,phone\n${rows.join('\n')}`)),
  );
  assert.deepEqual(
    replies.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  const counts = replies.map(({ data }) => data as { created: number; updated: number });
  assert.equal(
    counts.reduce((sum, { created }) => sum + created, 0),
    4_000,
  );
  const [row] = await systemRows<{ n: number }>(
    server.databaseUrl,
    'SELECT count(*)::int AS n FROM contacts',
  );
  assert.equal(row?.n, 4_000);
});
