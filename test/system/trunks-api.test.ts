/** SIP trunks over HTTP on the whole server: kept, registered at a real registrar, used at once for calls in and out. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import { newId } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { ADMIN_KEY, eventually, startTestApp } from './_app.ts';
import { ask as askHttp, defaultAccount, makeToken, makeUser, systemRows } from './_identity.ts';
import { TestRegistrar } from './_registrar.ts';

type Json = Record<string, unknown>;
type Answer = {
  readonly status: number;
  readonly data: Json;
  readonly error?: { code: string; details?: { path: string; rule: string }[] };
};

const TRUNKS = '/api/v1/sip-trunks';
const PASSWORD = 'canary-of-the-trunk';

/** Keeps every line, errors with all that is in them. */
function listeningLog(lines: string[]): Log {
  const note = (event: string, fields?: object): void => {
    lines.push(`${event} ${inspect(fields, { depth: 12 })}`);
  };
  const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log };
  return log;
}

async function start(t: TestContext, env: Record<string, string> = {}) {
  const lines: string[] = [];
  const server = await startTestApp(t, env, { log: listeningLog(lines) });
  const ask = async (route: string, body?: unknown, token = ADMIN_KEY): Promise<Answer> => {
    const [method = 'GET', path = ''] = route.split(' ');
    const response = await fetch(server.app.httpUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    assert.doesNotMatch(text, /canary/, `${route} tells a secret`);
    const parsed = JSON.parse(text) as { data?: Json; error?: NonNullable<Answer['error']> };
    return {
      ...{ status: response.status, data: parsed.data ?? {} },
      ...(parsed.error === undefined ? {} : { error: parsed.error }),
    };
  };
  const rows = <T extends object>(text: string, values: unknown[] = []): Promise<T[]> =>
    systemRows<T>(server.databaseUrl, text, values);
  return { server, ask, rows, lines };
}

type Run = Awaited<ReturnType<typeof start>>;

function stateOf({ data }: Pick<Answer, 'data'>): Json {
  return data['state'] as Json;
}

async function registered({ ask }: Pick<Run, 'ask'>, id: unknown, wanted = true): Promise<Answer> {
  const last = await eventually(
    () => ask(`GET ${TRUNKS}/${String(id)}`),
    (answer) => stateOf(answer)['registered'] === wanted,
  );
  assert.equal(stateOf(last)['registered'], wanted, JSON.stringify(last.data));
  return last;
}

test('kept: defaults, presets, replaced, changed, listed, deleted, audited, never told', async (t) => {
  const run = await start(t);
  const { ask, rows, lines } = run;
  const made = await ask(`POST ${TRUNKS}`, { name: 'First', host: '192.0.2.20' });
  assert.equal(made.status, 201, JSON.stringify(made.error));
  const { id, created_at, updated_at, ...plain } = made.data;
  assert.deepEqual(plain, {
    ...{ name: 'First', is_active: true, priority: 100, carrier: 'generic', host: '192.0.2.20' },
    ...{ port: 5060, transport: 'udp', username: null, has_password: false, realm: null },
    ...{ domain: null, outbound_proxy: null, register: false, register_interval_s: 3600 },
    ...{ local_host: null, local_port: null, display_name: null, from_number: null },
    ...{ codecs: ['PCMA', 'PCMU'], dtmf_mode: 'rfc4733', max_calls: 100, max_cps: 10 },
    ...{ source_ips: [], allow_prefixes: [], deny_prefixes: [], options: {} },
    state: { registered: null, expires_at: null, last_error: null, calls: 0 },
  });
  assert.deepEqual([typeof created_at, typeof updated_at], ['string', 'string']);
  const own = `${TRUNKS}/${String(id)}`;
  assert.deepEqual((await ask(`GET ${own}`)).data, made.data);

  const all = {
    ...{ name: 'All of it', is_active: false, priority: 5, carrier: 'my-pbx' },
    ...{ host: 'sip.example.net', port: 5070, transport: 'tcp', username: 'alice@example.net' },
    ...{ password: PASSWORD, realm: 'example.net', domain: 'example.net:5070' },
    ...{ outbound_proxy: 'sip:proxy.example.net:5080;transport=tcp;lr', register: true },
    ...{ register_interval_s: 60, local_host: '127.0.0.1', local_port: 15060 },
    ...{ display_name: '客服 Desk', from_number: '0086 571-000 123' },
    codecs: ['opus', 'G722', 'L16', 'PCMU', 'PCMA'],
    ...{ dtmf_mode: 'info', max_calls: 3, max_cps: 2 },
    ...{ source_ips: ['192.0.2.0/24', '2001:DB8::1'], allow_prefixes: ['+86', '0571'] },
    ...{ deny_prefixes: ['+1900', '*#'] },
    options: { allow_uri: true, srtp: 'required', rtcp_mux: true, media_source: 'strict' },
  };
  const replaced = await ask(`PUT ${own}`, all);
  assert.equal(replaced.status, 200, JSON.stringify(replaced.error));
  const { password: _password, ...shown } = all;
  const { state, ...rest } = replaced.data;
  assert.deepEqual(rest, {
    ...shown,
    ...{ id, has_password: true, from_number: '+86571000123' },
    ...{ source_ips: ['192.0.2.0/24', '2001:db8::1/128'], created_at },
    updated_at: replaced.data['updated_at'],
  });
  assert.deepEqual(state, made.data['state']);

  const patched = await ask(`PATCH ${own}`, { carrier: 'aliyun', username: 'bob', realm: null });
  const { carrier, codecs, dtmf_mode, username, realm, has_password } = patched.data;
  assert.deepEqual(
    [carrier, codecs, dtmf_mode, username, realm, has_password],
    ['aliyun', ['PCMA'], 'rfc4733', 'bob', null, true],
  );
  const kept = await ask(`PUT ${own}`, { name: 'All of it', host: 'sip.example.net' });
  assert.deepEqual(
    [kept.data['has_password'], kept.data['username'], kept.data['codecs']],
    [true, null, ['PCMA', 'PCMU']],
    'what is left out gets its default, the password stays',
  );
  const without = await ask(`PATCH ${own}`, { password: null });
  assert.equal(without.data['has_password'], false);

  const second = await ask(`POST ${TRUNKS}`, { name: 'Second', host: 'sip.example.net' });
  const list = await ask(`GET ${TRUNKS}?page_size=1`);
  assert.deepEqual(list.data['sip_trunks'], [second.data], 'newest first');
  const more = (list.data['pagination'] as Json)['next_cursor'];
  const next = await ask(`GET ${TRUNKS}?page_size=1&cursor=${String(more)}`);
  assert.deepEqual(
    (next.data['sip_trunks'] as Json[]).map((one) => one['id']),
    [id],
  );
  assert.equal((await ask(`PATCH ${own}`, { name: 'Second' })).error?.code, 'CONFLICT');
  assert.equal((await ask(`DELETE ${own}`)).status, 200);
  for (const route of [`GET ${own}`, `DELETE ${own}`, `POST ${own}/test`]) {
    assert.equal((await ask(route)).error?.code, 'NOT_FOUND', route);
  }
  const audit = await rows<{ action: string; changes: Json }>(
    "SELECT action, changes FROM audit_log WHERE target_type = 'sip_trunk' ORDER BY id",
  );
  assert.deepEqual(
    audit.map(({ action }) => action.replace('sip_trunk.', '')),
    ['create', 'update', 'update', 'update', 'update', 'create', 'delete'],
  );
  assert.deepEqual([audit[1]?.changes['password'], audit[4]?.changes], ['***', { password: null }]);
  assert.doesNotMatch(JSON.stringify([audit, lines]), /canary/);
});

test('what may not be', async (t) => {
  const { ask } = await start(t);
  const good = { name: 'Good', host: 'sip.example.net' };
  const taken = await ask(`POST ${TRUNKS}`, good);
  const own = `${TRUNKS}/${String(taken.data['id'])}`;
  const post = `POST ${TRUNKS}`;
  const patch = `PATCH ${own}`;
  const rows: [route: string, body: unknown, path: string, rule?: string][] = [
    [post, {}, '/host', 'required'],
    [post, { host: 'h' }, '/name', 'required'],
    [post, { ...good, name: ' ' }, '/name'],
    [post, { ...good, name: 'a\nb' }, '/name'],
    [post, { ...good, id: newId() }, '/id', 'unknown'],
    [post, { ...good, user_id: newId() }, '/user_id', 'unknown'],
    [post, { ...good, state: {} }, '/state', 'unknown'],
    [patch, {}, ''],
    [patch, { host: 'a b' }, '/host', 'host'],
    [patch, { host: 'a>;x' }, '/host', 'host'],
    [patch, { host: 'sip:example.net' }, '/host', 'host'],
    [patch, { host: 'example.net:5060' }, '/host', 'host'],
    [patch, { host: '' }, '/host', 'minLength'],
    [patch, { host: null }, '/host', 'type'],
    [patch, { port: 0 }, '/port', 'minimum'],
    [patch, { port: 65_536 }, '/port', 'maximum'],
    [patch, { port: '5060' }, '/port', 'type'],
    [patch, { transport: 'ws' }, '/transport', 'enum'],
    [patch, { carrier: 'My Carrier' }, '/carrier', 'pattern'],
    [patch, { username: 'a b' }, '/username'],
    [patch, { username: 'a"b' }, '/username'],
    [patch, { username: 'a\r\nVia: x' }, '/username'],
    [patch, { username: '<a>' }, '/username'],
    [patch, { password: '' }, '/password'],
    [patch, { password: 'a\nb' }, '/password'],
    [patch, { realm: 'a"b' }, '/realm'],
    [patch, { domain: 'example.net;x' }, '/domain', 'host'],
    [patch, { domain: 'example.net:99999' }, '/domain', 'host'],
    [patch, { outbound_proxy: 'sips:proxy.example.net' }, '/outbound_proxy', 'proxy'],
    [patch, { outbound_proxy: 'proxy;transport=tls' }, '/outbound_proxy', 'proxy'],
    [patch, { outbound_proxy: 'a@proxy' }, '/outbound_proxy', 'proxy'],
    [patch, { register: true }, '/username', 'required'],
    [post, { ...good, name: 'x', register: true }, '/username', 'required'],
    [patch, { register: 1 }, '/register', 'type'],
    [patch, { register_interval_s: 59 }, '/register_interval_s', 'minimum'],
    [patch, { register_interval_s: 86_401 }, '/register_interval_s', 'maximum'],
    [patch, { local_host: 'a/b' }, '/local_host', 'host'],
    [patch, { local_port: 0 }, '/local_port'],
    [patch, { display_name: 'a"b' }, '/display_name'],
    [patch, { display_name: 'a\r\nb' }, '/display_name'],
    [patch, { from_number: 'nobody' }, '/from_number', 'phone'],
    [patch, { codecs: [] }, '/codecs', 'minItems'],
    [patch, { codecs: ['G729'] }, '/codecs/0', 'enum'],
    [patch, { codecs: ['PCMA', 'PCMA'] }, '/codecs'],
    [patch, { dtmf_mode: 'rfc2833' }, '/dtmf_mode', 'enum'],
    [patch, { max_calls: 0 }, '/max_calls', 'minimum'],
    [patch, { max_cps: 1.5 }, '/max_cps', 'type'],
    [patch, { source_ips: ['192.0.2.7/24'] }, '/source_ips/0', 'cidr'],
    [patch, { source_ips: ['192.0.2.1', 'x.example'] }, '/source_ips/1', 'cidr'],
    [patch, { source_ips: ['0.0.0.0/0'] }, '/source_ips/0', 'wide'],
    [patch, { source_ips: ['::/0'] }, '/source_ips/0', 'wide'],
    [patch, { allow_prefixes: ['+'] }, '/allow_prefixes/0', 'pattern'],
    [patch, { deny_prefixes: ['86 1'] }, '/deny_prefixes/0', 'pattern'],
    [patch, { options: { allow_uri: 'yes' } }, '/options/allow_uri', 'type'],
    [patch, { options: { alow_uri: true } }, '/options/alow_uri', 'unknown'],
    [patch, { options: { srtp: 'mandatory' } }, '/options/srtp', 'enum'],
    [patch, { options: { rtcp_mux: 1 } }, '/options/rtcp_mux', 'type'],
    [patch, { options: { media_source: 'relay' } }, '/options/media_source', 'enum'],
  ];
  for (const [route, body, path, rule] of rows) {
    const { status, error } = await ask(route, body);
    const where = `${route} ${JSON.stringify(body)}: ${JSON.stringify(error)}`;
    assert.deepEqual([status, error?.code], [400, 'VALIDATION_FAILED'], where);
    const fault = error?.details?.find((one) => one.path === path);
    assert.ok(fault !== undefined, where);
    if (rule !== undefined) assert.equal(fault.rule, rule, where);
  }
  assert.equal((await ask(post, good)).error?.code, 'CONFLICT');
  assert.equal((await ask(`GET ${TRUNKS}/none`)).error?.code, 'VALIDATION_FAILED');
  assert.deepEqual((await ask(`GET ${own}`)).data, taken.data, 'nothing of it was done');
});

test('registered, refreshed, changed, refused, deactivated; each change is told once', async (t) => {
  const registrar = await TestRegistrar.open(t, '127.0.0.41');
  registrar.passwords.set('alice', PASSWORD);
  const run = await start(t);
  const { ask, rows, lines } = run;
  const body = {
    ...{ name: 'Registrar', host: registrar.address, port: registrar.port },
    ...{ username: 'alice', password: PASSWORD, register: true, register_interval_s: 60 },
  };
  const made = await ask(`POST ${TRUNKS}`, body);
  assert.equal(made.status, 201, JSON.stringify(made.error));
  const { id } = made.data;
  const own = `${TRUNKS}/${String(id)}`;
  const first = await registered(run, id);
  const expiresS = Number(stateOf(first)['expires_at']) - Date.now() / 1_000;
  assert.ok(expiresS > 50 && expiresS <= 60, `${expiresS}`);
  assert.equal(stateOf(first)['last_error'], null);
  assert.match(registrar.bindings.get('alice')?.contact ?? '', new RegExp(`;line=${String(id)}$`));

  // A grant of 2 s is refreshed before it runs out, with the nonce known.
  registrar.maxExpiresS = 2;
  await ask(`PATCH ${own}`, { register_interval_s: 61 });
  const enough = await eventually(
    async () => registrar.registers.filter((one) => one.status === 200).length,
    (count) => count >= 3,
  );
  assert.ok(enough >= 3, `${enough}`);
  const tail = registrar.registers.slice(-2);
  assert.equal(tail[0]?.callId, tail[1]?.callId);
  registrar.maxExpiresS = 3_600;

  await ask(`PATCH ${own}`, { password: 'canary-wrong' });
  const refused = await registered(run, id, false);
  assert.equal(stateOf(refused)['last_error'], 'auth_failed');
  const wrong = (await ask(`POST ${own}/test`)).data;
  assert.deepEqual([wrong['ok'], wrong['sip_status'], wrong['error']], [false, 401, 'auth_failed']);
  await ask(`PATCH ${own}`, { password: PASSWORD });
  await registered(run, id);
  const tested = (await ask(`POST ${own}/test`, {})).data;
  assert.deepEqual([tested['ok'], tested['sip_status'], tested['error']], [true, 200, null]);
  assert.equal(typeof tested['round_trip_ms'], 'number');
  assert.ok(registrar.bindings.has('alice'), 'a trial leaves the binding alone');

  await ask(`PATCH ${own}`, { is_active: false });
  const gone = await eventually(
    async () => registrar.bindings.size,
    (size) => size === 0,
  );
  assert.equal(gone, 0);
  assert.deepEqual(stateOf(await ask(`GET ${own}`)), {
    ...{ registered: null, expires_at: null, last_error: null, calls: 0 },
  });
  assert.equal((await ask(`POST ${own}/test`)).data['ok'], true, 'an inactive one can be tried');
  await eventually(
    async () => registrar.bindings.size,
    (size) => size === 0,
  );
  assert.equal(registrar.bindings.size, 0, 'and is not bound afterwards');
  const events = await eventually(
    () =>
      rows<{ data: Json; call_id: string | null; seq: number | null }>(
        "SELECT data, call_id, seq FROM call_events WHERE type = 'trunk.changed' ORDER BY at, id",
      ),
    (found) => found.length >= 4,
  );
  assert.deepEqual(
    events.map(({ data }) => [data['trunk_id'], data['registered'], data['error']]),
    [
      [id, true, null],
      [id, false, 'auth_failed'],
      [id, true, null],
      [id, false, null],
    ],
  );
  assert.ok(events.every(({ call_id, seq }) => call_id === null && seq === null));
  assert.doesNotMatch(JSON.stringify(events) + lines.join('\n'), /canary/);
});

test('a stop takes the registration back; a row from before is registered at the start', async (t) => {
  const registrar = await TestRegistrar.open(t, '127.0.0.42');
  registrar.passwords.set('alice', 'secret');
  const { server, ask } = await start(t);
  const made = await ask(`POST ${TRUNKS}`, {
    ...{ name: 'Registrar', host: registrar.address, port: registrar.port },
    ...{ username: 'alice', password: 'secret', register: true },
  });
  await registered({ ask }, made.data['id']);
  await server.app.stop(0);
  assert.equal(registrar.bindings.size, 0);
  assert.equal(registrar.registers.at(-1)?.expires, 0);
  const { databaseUrl, dataDir } = server;
  await startTestApp(t, {}, { databaseUrl, dataDir });
  await eventually(
    async () => registrar.bindings.size,
    (size) => size === 1,
  );
  assert.equal(registrar.bindings.size, 1);
});

/** Trials of what is not there: each within 5 s, each with its word. */
test('tried out: nobody there, no such name, TLS, no row', async (t) => {
  const registrar = await TestRegistrar.open(t, '127.0.0.43');
  const { ask } = await start(t);
  const make = async (name: string, fields: Json): Promise<string> => {
    const host = registrar.address;
    const made = await ask(`POST ${TRUNKS}`, { name, host, is_active: false, ...fields });
    assert.equal(made.status, 201, JSON.stringify(made.error));
    return `${TRUNKS}/${String(made.data['id'])}`;
  };
  const there = await make('there', { port: registrar.port });
  assert.equal((await ask(`POST ${there}/test`)).data['ok'], true);
  const unknown = await make('unknown', { host: 'no-such-host.invalid' });
  assert.equal((await ask(`POST ${unknown}/test`)).data['error'], 'dns');
  const tls = await make('tls', { transport: 'tls', is_active: true });
  assert.deepEqual((await ask(`POST ${tls}/test`)).data, {
    ...{ ok: false, sip_status: null, round_trip_ms: null, error: 'tls_unsupported' },
  });
  assert.equal(stateOf(await ask(`GET ${tls}`))['last_error'], 'tls_unsupported');
  const call = await ask('POST /api/call/initiate', { phone_number: '+15550100' });
  assert.equal(call.error?.code, 'NO_ROUTE');
  const refusing = await make('nobody listens', { transport: 'tcp', port: registrar.port });
  assert.equal((await ask(`POST ${refusing}/test`)).data['error'], 'unreachable');
  registrar.isSilent = true;
  assert.deepEqual((await ask(`POST ${there}/test`)).data, {
    ...{ ok: false, sip_status: null, round_trip_ms: null, error: 'timeout' },
  });
  assert.equal((await ask(`POST ${TRUNKS}/${newId()}/test`)).error?.code, 'NOT_FOUND');
});

type RecordRow = { id: string; to_number: string; direction: string; trunk_id: string | null };

test('a row made over HTTP carries calls out and in at once, and is not deleted under them', async (t) => {
  const carrier = await TestRegistrar.open(t, '127.0.0.44');
  const { server, ask } = await start(t);
  const made = await ask(`POST ${TRUNKS}`, {
    ...{ name: 'Carrier', host: carrier.address, port: carrier.port, from_number: '+15550111' },
  });
  const id = String(made.data['id']);
  const placed = await ask('POST /api/call/initiate', { phone_number: '+15550100' });
  assert.equal(placed.status, 201, JSON.stringify(placed.error));
  const busy = await eventually(
    () => ask(`GET ${TRUNKS}/${id}`),
    (answer) => stateOf(answer)['calls'] === 1,
  );
  assert.equal(stateOf(busy)['calls'], 1);
  const invites = await eventually(
    async () => carrier.requests.filter(({ method }) => method === 'INVITE'),
    ({ length }) => length > 0,
  );
  assert.match(invites[0]?.uri ?? '', /^sip:\+15550100@127\.0\.0\.44/);
  const refused = await ask(`DELETE ${TRUNKS}/${id}`);
  assert.deepEqual([refused.status, refused.error?.code], [409, 'IN_USE']);
  const callId = String(placed.data['call_id']);
  assert.deepEqual(
    refused.error?.details?.map(({ path, rule }) => [path, rule]),
    [[`/calls/${callId}`, 'carried']],
  );
  await ask(`POST /api/call/${callId}/terminate`, {});
  await eventually(
    () => ask(`GET ${TRUNKS}/${id}`),
    (answer) => stateOf(answer)['calls'] === 0,
  );
  // In: the source is the trunk's, so is the call.
  carrier.bindings.set('us', {
    contact: `sip:8001@127.0.0.1:${server.sip.port}`,
    expiresS: 60,
  });
  assert.equal(await carrier.call('us', '8001'), 200);
  const [record] = await recordsOf(ask, 'inbound');
  assert.deepEqual([record?.trunk_id, record?.to_number], [id, '8001']);
  const gone = await eventually(
    () => ask(`DELETE ${TRUNKS}/${id}`),
    ({ status }) => status === 200,
  );
  assert.equal(gone.status, 200);
  const after = await ask('POST /api/call/initiate', { phone_number: '+15550100' });
  assert.equal(after.error?.code, 'NO_ROUTE', 'and no call goes over it any more');
});

async function recordsOf(ask: Run['ask'], direction: string, token?: string) {
  const list = await eventually(
    () => ask(`GET /api/v1/call-records?direction=${direction}`, undefined, token),
    ({ data }) => (data['records'] as Json[])[0]?.['status'] === 'ended',
  );
  const found: RecordRow[] = [];
  for (const one of list.data['records'] as Json[]) {
    const { data } = await ask(`GET /api/v1/call-records/${String(one['id'])}`, undefined, token);
    found.push(data as RecordRow);
  }
  return found;
}

test('two accounts registered at one carrier: each gets the calls of its own name', async (t) => {
  const registrar = await TestRegistrar.open(t, '127.0.0.45');
  const run = await start(t);
  const { server, ask } = run;
  const mine = await defaultAccount(server);
  const other = await makeUser(server);
  const tokens = { alice: await makeToken(server, mine), bob: await makeToken(server, other) };
  for (const [username, token] of Object.entries(tokens)) {
    registrar.passwords.set(username, `secret-${username}`);
    const body = {
      ...{ name: 'Same carrier', host: registrar.address, port: registrar.port, username },
      ...{ password: `secret-${username}`, register: true },
    };
    const made = await ask(`POST ${TRUNKS}`, body, token);
    assert.equal(made.status, 201, JSON.stringify(made.error));
  }
  await eventually(
    async () => registrar.bindings.size,
    (size) => size === 2,
  );
  for (const username of ['bob', 'alice'] as const) {
    assert.equal(await registrar.call(username, '+15550123'), 200);
    const records = await recordsOf(ask, 'inbound', tokens[username]);
    assert.equal(records.length, 1, username);
    assert.equal(records[0]?.to_number, '+15550123', 'the number dialled, not our name there');
  }
  const reply = await askHttp(server.app.httpUrl, 'GET', TRUNKS, { token: tokens.bob });
  assert.equal(
    (JSON.parse(reply.text) as { data: Json }).data['sip_trunks'] instanceof Array,
    true,
  );
});

test('numbers and campaigns lose a trunk that goes, its binding goes with it', async (t) => {
  const { server, ask, rows } = await start(t);
  const account = await defaultAccount(server);
  const made = await ask(`POST ${TRUNKS}`, { name: 'Going', host: '192.0.2.20' });
  const { id } = made.data;
  const number = await ask('POST /v1/phone/numbers', { number: '+15550150', trunk_id: id });
  assert.equal(number.status, 201);
  const [agent] = await rows<{ id: string }>('SELECT id FROM agents LIMIT 1');
  await rows(
    "INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'trunk', $2, $3)",
    [account, id, agent?.id],
  );
  await rows(
    "INSERT INTO campaigns (user_id, name, agent_id, trunk_id) VALUES ($1, 'Batch', $2, $3)",
    [account, agent?.id, id],
  );
  assert.equal((await ask(`DELETE ${TRUNKS}/${String(id)}`)).status, 200);
  const left = await ask(`GET /v1/phone/numbers/${String(number.data['id'])}`);
  assert.deepEqual([left.status, left.data['trunk_id']], [200, null]);
  assert.deepEqual(await rows('SELECT trunk_id FROM campaigns'), [{ trunk_id: null }]);
  assert.deepEqual(await rows("SELECT FROM agent_bindings WHERE kind = 'trunk'"), []);
});
