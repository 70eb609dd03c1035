/** Contacts, consents and extensions (contract 2.8) on the whole server with a real database. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { ask, defaultAccount, makeApiKey, systemRows, type Reply } from './_identity.ts';

type Json = Record<string, unknown>;
type Fault = { path: string; rule: string };

const CONTACTS = '/api/v1/contacts';
const CONSENTS = '/api/v1/consents';
const EXTENSIONS = '/api/v1/extensions';

function send(server: TestApp, method: string, path: string, body?: unknown, token = ADMIN_KEY) {
  const options = { token, ...(body === undefined ? {} : { body }) };
  return ask(server.app.httpUrl, method, path, options);
}

async function sendCsv(server: TestApp, text: string, headers: Json = {}): Promise<Json> {
  const response = await fetch(`${server.app.httpUrl}${CONTACTS}/import`, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'text/csv; charset=utf-8' },
      ...(headers as Record<string, string>),
    },
    body: text,
  });
  const body = (await response.json()) as { data?: Json; error?: { code: string } };
  return { status: response.status, code: body.error?.code ?? null, ...body.data };
}

function faultsOf(reply: Reply): string[] {
  const { error } = JSON.parse(reply.text) as { error?: { details?: Fault[] } };
  return (error?.details ?? []).map(({ path, rule }) => `${path} ${rule}`);
}

test('contacts: one per number however it is written, read, searched, changed, deleted', async (t) => {
  const server = await startTestApp(t, { CALLYARD_COUNTRY_CODE: '86' });
  const made = await send(server, 'POST', CONTACTS, {
    ...{ name: 'Ann Example', phone: '0571-8800 0001', tags: ['vip'] },
    ...{ note: 'Calls on Mondays', attributes: { city: '杭州', visits: 3 } },
  });
  assert.equal(made.status, 201, made.text);
  const ann = made.data as Json;
  assert.equal(ann['phone'], '+8657188000001');
  assert.deepEqual(
    [ann['email'], ann['do_not_call'], ann['last_call_at'], ann['tags']],
    [null, false, null, ['vip']],
  );
  const again = await send(server, 'POST', CONTACTS, { name: 'B', phone: '+86 571 88000001' });
  assert.deepEqual([again.status, again.code], [409, 'CONFLICT']);
  const other = await send(server, 'POST', CONTACTS, { name: 'Bo', phone: '+15550101' });
  const own = `${CONTACTS}/${String(ann['id'])}`;
  assert.deepEqual((await send(server, 'GET', own)).data, ann);
  const names = async (query: string): Promise<string[]> => {
    const { data } = await send(server, 'GET', `${CONTACTS}?${query}`);
    return (data['contacts'] as unknown as Json[]).map((contact) => String(contact['name']));
  };
  assert.deepEqual(await names(''), ['Bo', 'Ann Example'], 'newest first');
  assert.deepEqual(await names('q=ann'), ['Ann Example']);
  assert.deepEqual(await names('tag=vip'), ['Ann Example']);
  assert.deepEqual(await names('q=%25'), [], 'a percent sign is one');
  const changed = await send(server, 'PATCH', own, { do_not_call: true, note: null });
  assert.deepEqual(
    [changed.data['do_not_call'], changed.data['note'], changed.data['tags']],
    [true, null, ['vip']],
  );
  assert.deepEqual(await names('do_not_call=true'), ['Ann Example']);
  const taken = await send(server, 'PATCH', own, { phone: '+15550101' });
  assert.deepEqual([taken.status, taken.code], [409, 'CONFLICT']);
  const replaced = await send(server, 'PUT', own, { name: 'Ann', phone: '+8657188000001' });
  assert.deepEqual(
    [replaced.data['do_not_call'], replaced.data['tags'], replaced.data['attributes']],
    [false, [], {}],
  );
  assert.equal((await send(server, 'DELETE', own)).status, 200);
  for (const method of ['GET', 'DELETE'] as const)
    assert.equal((await send(server, method, own)).code, 'NOT_FOUND');
  assert.equal((await send(server, 'GET', `${CONTACTS}/${String(other.data['id'])}`)).status, 200);
  const account = await defaultAccount(server);
  const { key: viewer } = await makeApiKey(server, account, { role: 'viewer' });
  const masked = await send(server, 'GET', CONTACTS, undefined, viewer);
  assert.doesNotMatch(masked.text, /15550101/);
});

test('contacts: what is refused, and why', async (t) => {
  const server = await startTestApp(t);
  const ok = { name: 'Ann', phone: '+15550101' };
  const rows: [string, string, unknown, string, string[]][] = [
    ['POST', CONTACTS, { name: 'Ann' }, 'VALIDATION_FAILED', ['/phone required']],
    ['POST', CONTACTS, { ...ok, phone: 'Ann' }, 'VALIDATION_FAILED', ['/phone phone']],
    ['POST', CONTACTS, { ...ok, name: ' ' }, 'VALIDATION_FAILED', ['/name pattern']],
    ['POST', CONTACTS, { ...ok, email: 'ann' }, 'VALIDATION_FAILED', ['/email pattern']],
    ['POST', CONTACTS, { ...ok, nickname: 'A' }, 'VALIDATION_FAILED', ['/nickname unknown']],
    ['POST', CONTACTS, { ...ok, tags: ['a', 'a'] }, 'VALIDATION_FAILED', ['/tags uniqueItems']],
    [
      ...(['POST', CONTACTS] as const),
      { ...ok, attributes: { text: 'x'.repeat(17_000) } },
      ...(['VALIDATION_FAILED', ['/attributes size']] as [string, string[]]),
    ],
    ['PATCH', `${CONTACTS}/${newId()}`, {}, 'VALIDATION_FAILED', [' minProperties']],
    ['PATCH', `${CONTACTS}/${newId()}`, { name: 'A' }, 'NOT_FOUND', []],
    ['PUT', `${CONTACTS}/${newId()}`, ok, 'NOT_FOUND', []],
    ['GET', `${CONTACTS}/1`, undefined, 'VALIDATION_FAILED', ['/id uuid']],
    ['GET', `${CONTACTS}?tag=`, undefined, 'VALIDATION_FAILED', ['?tag minLength']],
    ['POST', `${CONTACTS}/import`, { contacts: 'all' }, 'VALIDATION_FAILED', ['/contacts type']],
  ];
  for (const [method, path, body, code, faults] of rows) {
    const reply = await send(server, method, path, body);
    assert.deepEqual([reply.code, faultsOf(reply)], [code, faults], `${method} ${reply.text}`);
  }
});

test('contacts: a list and a table are imported by number; what cannot be used is told by its line', async (t) => {
  const server = await startTestApp(t, { CALLYARD_COUNTRY_CODE: '86' });
  const list = await send(server, 'POST', `${CONTACTS}/import`, {
    contacts: [
      { name: 'Ann', phone: '+15550101', company: 'Example', do_not_call: true },
      { name: 'Nobody', phone: 'x' },
      { name: 'Bo', phone: '+1 555 0102' },
      { name: 'Bo again', phone: '+15550102' },
    ],
  });
  assert.deepEqual(list.data as unknown, {
    ...{ created: 2, updated: 0 },
    rejected: [
      { line: 2, reason: 'phone is no number' },
      { line: 4, reason: 'same number as line 3' },
    ],
  });
  const table = [
    '\uFEFFName,Phone,tags,note,do_not_call,城市',
    'Ann,+15550101,vip; regular,"Likes ""tea"", black',
    'two lines",,杭州',
    '王小明,057188000001,,,是,',
    'Bad,12345678901234567890123456789012345,,,,',
    ',+15550103,,,,',
    'Maybe,+15550104,,,perhaps,',
    'Wide,+15550105,,,,a,b',
    '',
    'Last,+15550106,,,,',
  ].join('\r\n');
  assert.deepEqual(await sendCsv(server, table), {
    ...{ status: 200, code: null, created: 2, updated: 1 },
    rejected: [
      { line: 5, reason: 'phone is no number' },
      { line: 6, reason: 'name is missing' },
      { line: 7, reason: 'do_not_call is neither yes nor no' },
      { line: 8, reason: 'more cells than columns' },
    ],
  });
  const { data } = await send(server, 'GET', CONTACTS);
  const byPhone = new Map(
    (data['contacts'] as unknown as Json[]).map((each) => [each['phone'], each]),
  );
  const ann = byPhone.get('+15550101') ?? {};
  assert.deepEqual(
    [ann['tags'], ann['note'], ann['company'], ann['do_not_call'], ann['attributes']],
    [['vip', 'regular'], 'Likes "tea", black\ntwo lines', 'Example', true, { 城市: '杭州' }],
    'what a table does not say stays',
  );
  assert.equal(byPhone.get('+8657188000001')?.['do_not_call'], true);
  assert.equal(byPhone.get('+15550106')?.['name'], 'Last');
  for (const text of ['', 'name\nAnn', 'name,phone,phone\nA,1,2', 'no header at all'])
    assert.equal((await sendCsv(server, text))['code'], 'VALIDATION_FAILED', text);
  const key = { 'idempotency-key': newId() };
  const first = await sendCsv(server, 'name,phone\nEve,+15550107', key);
  assert.deepEqual(await sendCsv(server, 'name,phone\nEve,+15550107', key), first);
  const mismatch = await sendCsv(server, 'name,phone\nEve,+15550108', key);
  assert.equal(mismatch['code'], 'IDEMPOTENCY_MISMATCH');
});

test('contacts: ten thousand in one request', async (t) => {
  const server = await startTestApp(t);
  const numbers = Array.from({ length: 10_000 }, (_, at) => `+1555${String(at).padStart(7, '0')}`);
  const table = ['name,phone', ...numbers.map((number, at) => `N${at},${number}`)].join('\n');
  const first = await sendCsv(server, table);
  assert.deepEqual([first['created'], first['updated'], first['rejected']], [10_000, 0, []]);
  const second = await sendCsv(server, table);
  assert.deepEqual([second['created'], second['updated']], [0, 10_000]);
  const tooMany = await sendCsv(server, `${table}\nOne more,+15550199`);
  assert.equal(tooMany['code'], 'VALIDATION_FAILED');
});

test('consents: append-only, newest first, and in force for the next call', async (t) => {
  const server = await startTestApp(t, { CALLYARD_TRUNK: 'sip:127.0.0.1:9;transport=udp' });
  const call = { to: '+15550123' };
  const consent = (granted: boolean) => ({
    ...{ phone: '+1 555 0123', kind: 'outbound', granted, source: 'web form' },
    evidence: { page: 'terms' },
  });
  const made = await send(server, 'POST', CONSENTS, consent(false));
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(
    [made.data['phone'], made.data['call_id'], made.data['evidence']],
    ['+15550123', null, { page: 'terms' }],
  );
  const refused = await send(server, 'POST', '/v1/phone/calls', call);
  assert.deepEqual([refused.status, refused.code], [422, 'CONSENT_MISSING']);
  await send(server, 'POST', CONSENTS, consent(true));
  await send(server, 'POST', CONSENTS, { ...consent(true), kind: 'data' });
  const list = async (query: string) =>
    (await send(server, 'GET', `${CONSENTS}?${query}`)).data['consents'] as unknown as Json[];
  assert.deepEqual(
    (await list('phone=%2B15550123&kind=outbound')).map((each) => each['granted']),
    [true, false],
  );
  assert.equal((await list('')).length, 3);
  assert.equal((await list('phone=%2B15550199')).length, 0);
  const rows: [unknown, string[]][] = [
    [{ ...consent(true), kind: 'all' }, ['/kind enum']],
    [{ ...consent(true), granted: 'yes' }, ['/granted type']],
    [{ ...consent(true), phone: 'me' }, ['/phone phone']],
    [{ ...consent(true), source: '' }, ['/source minLength']],
    [{ ...consent(true), call_id: newId() }, ['/call_id unknown']],
  ];
  for (const [body, faults] of rows) {
    const reply = await send(server, 'POST', CONSENTS, body);
    assert.deepEqual([reply.status, faultsOf(reply)], [400, faults], reply.text);
  }
  assert.equal((await send(server, 'GET', `${CONSENTS}?phone=me`)).status, 400);
  const account = await defaultAccount(server);
  const audit = await systemRows<{ action: string }>(
    server.databaseUrl,
    "SELECT action FROM audit_log WHERE user_id = $1 AND action = 'consent.record'",
    [account],
  );
  assert.equal(audit.length, 3);
});

test('extensions: each kind needs what it is for; the password goes in and never comes out', async (t) => {
  const server = await startTestApp(t);
  const [agent] = await systemRows<{ id: string }>(server.databaseUrl, 'SELECT id FROM agents');
  const password = 'made-up-secret-8';
  const made = await send(server, 'POST', EXTENSIONS, {
    ...{ extension: '801', name: 'Desk', kind: 'sip', password, department: 'Front' },
  });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual([made.data['has_password'], made.data['enabled']], [true, true]);
  const own = `${EXTENSIONS}/${String(made.data['id'])}`;
  const rows: [string, string, unknown, number, string, string[]][] = [
    ...([
      [{ extension: '802', name: 'N', kind: 'number' }, ['/target required']],
      [{ extension: '802', name: 'N', kind: 'number', target: 'ann' }, ['/target phone']],
      [{ extension: '802', name: 'A', kind: 'agent' }, ['/agent_id required']],
      [{ extension: '8', name: 'A', kind: 'sip' }, ['/extension pattern']],
      [{ extension: '802', name: 'A', kind: 'sip', password: 'short' }, ['/password minLength']],
      [
        { extension: '802', name: 'A', kind: 'sip', password: 'ab\r\ncd: ef' },
        ['/password pattern'],
      ],
    ].map(([body, faults]) => ['POST', EXTENSIONS, body, 400, 'VALIDATION_FAILED', faults]) as [
      ...[string, string, unknown, number, string, string[]],
    ][]),
    ['POST', EXTENSIONS, { extension: '801', name: 'B', kind: 'sip' }, 409, 'CONFLICT', []],
    [
      ...(['POST', EXTENSIONS] as const),
      { extension: '802', name: 'A', kind: 'agent', agent_id: newId() },
      ...([422, 'REFERENCE_NOT_FOUND', ['/agent_id exists']] as [number, string, string[]]),
    ],
    ['PATCH', own, { kind: 'number' }, 400, 'VALIDATION_FAILED', ['/target required']],
    ['PATCH', `${EXTENSIONS}/${newId()}`, { name: 'x' }, 404, 'NOT_FOUND', []],
  ];
  for (const [method, path, body, status, code, faults] of rows) {
    const reply = await send(server, method, path, body);
    assert.deepEqual(
      [reply.status, reply.code, faultsOf(reply)],
      [status, code, faults],
      reply.text,
    );
  }
  const bound = await send(server, 'PATCH', own, { kind: 'agent', agent_id: agent?.id });
  assert.deepEqual([bound.data['agent_id'], bound.data['has_password']], [agent?.id, true]);
  const replaced = await send(server, 'PUT', own, {
    ...{ extension: '801', name: 'Desk', kind: 'number', target: 'sip:desk@pbx.example.net' },
  });
  assert.deepEqual(
    [replaced.data['target'], replaced.data['agent_id'], replaced.data['has_password']],
    ['sip:desk@pbx.example.net', null, true],
    'a password that is left out stays',
  );
  const cleared = await send(server, 'PATCH', own, { password: null });
  assert.equal(cleared.data['has_password'], false);
  const list = await send(server, 'GET', EXTENSIONS);
  assert.equal((list.data['extensions'] as unknown as Json[]).length, 1);
  assert.equal((await send(server, 'DELETE', own)).status, 200);
  assert.equal((await send(server, 'GET', own)).status, 404);
  const kept = await systemRows<{ text: string }>(
    server.databaseUrl,
    "SELECT (SELECT string_agg(changes::text, ' ') FROM audit_log) AS text",
  );
  assert.doesNotMatch(JSON.stringify(kept) + list.text, new RegExp(password));
});
