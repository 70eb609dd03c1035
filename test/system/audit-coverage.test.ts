/**
 * Contract 1.3: every write by `adm` or `own`, every `sup` action and every login is in the audit log, once, and in the
 * transaction of the act. The routes come from test/data/route-roles.json: one without a request here fails.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { startTestApp, type TestApp } from './_app.ts';
import { LivePhone } from './_control-kit.ts';
import { queryRows } from './_database.ts';
import { ask, defaultAccount, makeApiKey, makeToken, makeUser, systemRows } from './_identity.ts';

const MATRIX = JSON.parse(
  readFileSync(new URL('../data/route-roles.json', import.meta.url), 'utf8'),
) as Record<string, string>;

const PASSWORD = 'correct horse battery staple';
const LOGIN = 'POST /api/auth/login';
/** They ask the far end and change nothing here. */
const ACTS_WITHOUT_WRITING = new Set([
  'POST /api/v1/provider-configs/{}/test',
  'POST /api/v1/sip-trunks/{}/test',
]);

const AUDITED = Object.entries(MATRIX)
  .filter(([route, capability]) => {
    if (capability === 'sup' || route === LOGIN) return true;
    return (capability === 'adm' || capability === 'own') && !route.startsWith('GET ');
  })
  .map(([route]) => route)
  .filter((route) => !ACTS_WITHOUT_WRITING.has(route));

/** Commands to live calls work without the database; their rows follow when it is back. */
const ROW_MAY_FOLLOW = new Set(['POST /v1/phone/calls/{}/recording']);

type World = {
  readonly server: TestApp;
  readonly account: Id;
  readonly token: string;
  /** The id of an answered call of the account. */
  readonly liveCall: () => Promise<Id>;
};
/** What a route is asked so that it does its work: a fresh row where the path names one. */
type Act = {
  readonly id?: Id;
  /** For a second id in the path. */
  readonly inner?: Id;
  readonly body?: object;
  readonly action: string;
};
type Prepare = (world: World) => Act | Promise<Act>;

const PROVIDER = { kind: 'llm', vendor: 'openai', credentials: { api_key: 'sk-test' } };
const VOLCENGINE = {
  ...{ app_id: '1234567', access_token: 'made-up-token', secret_key: 'made-up-secret' },
};

const ACTS: Readonly<Record<string, Prepare>> = {
  [LOGIN]: () => ({
    body: { username: 'admin@localhost', password: PASSWORD },
    action: 'user.login',
  }),
  'DELETE /api/v1/call-records/{}': async (world) => ({
    id: await plantRecord(world),
    action: 'call_record.delete',
  }),
  'GET /api/v1/call-records/{}/recording': async (world) => ({
    id: await plantRecording(world),
    action: 'recording.download',
  }),
  'GET /api/call-center/recordings/{}/download': async (world) => ({
    id: await plantRecording(world),
    action: 'recording.download',
  }),
  'POST /v1/phone/calls/{}/recording': async (world) => ({
    id: await world.liveCall(),
    body: { action: 'start' },
    action: 'recording.start',
  }),
  'POST /api/v1/aliyun/config': () => ({
    body: { access_key_id: 'LTAImadeupkeyid0', access_key_secret: 'made-up', app_key: newId() },
    action: 'aliyun_config.save',
  }),
  'DELETE /api/v1/aliyun/config': async (world) => {
    await perform(world, 'POST /api/v1/aliyun/config');
    return { action: 'aliyun_config.delete' };
  },
  'POST /api/v1/volcengine/config': () => ({
    body: VOLCENGINE,
    action: 'volcengine_config.save',
  }),
  'DELETE /api/v1/volcengine/config': async (world) => {
    await perform(world, 'POST /api/v1/volcengine/config');
    return { action: 'volcengine_config.delete' };
  },
  'POST /v1/phone/numbers': () => ({
    body: { number: freshNumber() },
    action: 'phone_number.create',
  }),
  'PATCH /v1/phone/numbers/{}': async (world) => ({
    id: await insert(world, 'phone_numbers', { number: freshNumber() }),
    body: { label: newId() },
    action: 'phone_number.update',
  }),
  'DELETE /v1/phone/numbers/{}': async (world) => ({
    id: await insert(world, 'phone_numbers', { number: freshNumber() }),
    action: 'phone_number.release',
  }),
  'POST /api/v1/extensions': () => ({
    body: { extension: '8100', name: 'made', kind: 'sip', password: 'made-up-secret' },
    action: 'extension.create',
  }),
  'PUT /api/v1/extensions/{}': async (world) => ({
    id: await insert(world, 'extensions', { extension: '8101', name: 'old', kind: 'sip' }),
    body: { extension: '8101', name: 'new', kind: 'number', target: '+15550101' },
    action: 'extension.update',
  }),
  'PATCH /api/v1/extensions/{}': async (world) => ({
    id: await insert(world, 'extensions', { extension: '8102', name: 'old', kind: 'sip' }),
    body: { enabled: false },
    action: 'extension.update',
  }),
  'DELETE /api/v1/extensions/{}': async (world) => ({
    id: await insert(world, 'extensions', { extension: '8103', name: 'old', kind: 'sip' }),
    action: 'extension.delete',
  }),
  'POST /api/v1/api-keys': () => ({
    body: { name: 'made', role: 'viewer' },
    action: 'api_key.create',
  }),
  'POST /api/v1/api-keys/{}/rotate': async ({ server, account }) => ({
    id: (await makeApiKey(server, account)).id,
    body: { overlap_s: 60 },
    action: 'api_key.rotate',
  }),
  'DELETE /api/v1/api-keys/{}': async ({ server, account }) => ({
    id: (await makeApiKey(server, account)).id,
    action: 'api_key.revoke',
  }),
  'POST /api/v1/provider-configs': () => ({
    body: { ...PROVIDER, name: newId() },
    action: 'provider_config.create',
  }),
  'PUT /api/v1/provider-configs/{}': async (world) => ({
    id: await plantProvider(world),
    body: { ...PROVIDER, name: newId() },
    action: 'provider_config.update',
  }),
  'PATCH /api/v1/provider-configs/{}': async (world) => ({
    id: await plantProvider(world),
    body: { name: newId() },
    action: 'provider_config.update',
  }),
  'DELETE /api/v1/provider-configs/{}': async (world) => ({
    id: await plantProvider(world),
    action: 'provider_config.delete',
  }),
  'POST /api/v1/sip-trunks': () => ({
    body: { name: newId(), host: 'sip.example.net' },
    action: 'sip_trunk.create',
  }),
  'PUT /api/v1/sip-trunks/{}': async (world) => ({
    id: await insert(world, 'sip_configs', { name: newId(), host: 'sip.example.net' }),
    body: { name: newId(), host: 'sip.example.net' },
    action: 'sip_trunk.update',
  }),
  'PATCH /api/v1/sip-trunks/{}': async (world) => ({
    id: await insert(world, 'sip_configs', { name: newId(), host: 'sip.example.net' }),
    body: { name: newId() },
    action: 'sip_trunk.update',
  }),
  'DELETE /api/v1/sip-trunks/{}': async (world) => ({
    id: await insert(world, 'sip_configs', { name: newId(), host: 'sip.example.net' }),
    action: 'sip_trunk.delete',
  }),
  'POST /api/v1/webhooks': () => ({
    body: { url: 'https://receiver.invalid/' },
    action: 'webhook.create',
  }),
  'PATCH /api/v1/webhooks/{}': async (world) => ({
    id: await plantWebhook(world),
    body: { description: newId() },
    action: 'webhook.update',
  }),
  'DELETE /api/v1/webhooks/{}': async (world) => ({
    id: await plantWebhook(world),
    action: 'webhook.delete',
  }),
  'POST /api/v1/settings/tool-secret/rotate': () => ({
    body: { overlap_s: 60 },
    action: 'tool_secret.rotate',
  }),
  'POST /api/v1/webhooks/{}/rotate-secret': async (world) => ({
    id: await makeWebhook(world),
    action: 'webhook.rotate_secret',
  }),
  'POST /api/v1/webhooks/{}/test': async (world) => ({
    id: await makeWebhook(world),
    action: 'webhook.test',
  }),
  'POST /api/v1/webhooks/{}/deliveries/{}/redeliver': async (world) => {
    const id = await makeWebhook(world);
    const delivery = { webhook_id: id, event_id: newId(), event_type: 'call.ended', payload: '{}' };
    const inner = await insert(world, 'webhook_deliveries', { ...delivery, status: 'dead' });
    return { id, inner, action: 'webhook_delivery.redeliver' };
  },
  'PATCH /api/v1/settings': () => ({
    body: { recording_notice: `This call is recorded, ${newId()}.` },
    action: 'settings.update',
  }),
  'POST /api/v1/members': () => ({
    body: { email: `${newId()}@example.test`, role: 'viewer', password: 'a long pass phrase' },
    action: 'member.add',
  }),
  'PUT /api/v1/members/{}': async (world) => ({
    id: await plantMember(world),
    body: { role: 'developer' },
    action: 'member.update',
  }),
  'DELETE /api/v1/members/{}': async (world) => ({
    id: await plantMember(world),
    action: 'member.remove',
  }),
};

test('every route whose acts are audited has a request here', () => {
  assert.deepEqual(Object.keys(ACTS).sort(), [...AUDITED].sort());
});

test('each act leaves one audit row, with the action, the actor and the request', async (t) => {
  const world = await makeWorld(t);
  for (const route of AUDITED) {
    const { act, reply, requestId } = await perform(world, route);
    assert.ok(reply.status < 300, `${route}: ${reply.status} ${reply.text}`);
    const rows = await systemRows<{
      action: string;
      actor: string;
      actor_role: string;
      ip: string;
    }>(
      world.server.databaseUrl,
      'SELECT action, actor, actor_role, host(ip) AS ip FROM audit_log WHERE user_id = $1 AND request_id = $2',
      [world.account, requestId],
    );
    const expected = { action: act.action, actor: `user:${world.account}`, actor_role: 'owner' };
    assert.deepEqual(rows, [{ ...expected, ip: '127.0.0.1' }], route);
  }
});

test('an act whose audit row cannot be written does not happen', async (t) => {
  const world = await makeWorld(t);
  const { server } = world;
  await makeRefusal(server);
  for (const route of AUDITED.filter((each) => !ROW_MAY_FOLLOW.has(each))) {
    const act = await prepare(world, route);
    const before = await stateOf(world);
    await switchRefusal(server, 'ENABLE');
    const { reply } = await send(world, route, act);
    await switchRefusal(server, 'DISABLE');
    assert.ok(reply.status >= 500, `${route}: ${reply.status} ${reply.text}`);
    assert.equal(typeof reply.code, 'string', `${route} shows more than a refusal`);
    assert.equal(await stateOf(world), before, route);
  }
});

async function makeWorld(t: TestContext): Promise<World> {
  const server = await startTestApp(t, {
    ...{ CALLYARD_RATE_LIMIT: '100000', CALLYARD_RATE_BURST: '100000' },
    CALLYARD_ADMIN_PASSWORD: PASSWORD,
  });
  const account = await defaultAccount(server);
  const liveCall = async (): Promise<Id> => (await LivePhone.dial(t, server)).id;
  return { server, account, token: await makeToken(server, account), liveCall };
}

function prepare(world: World, route: string): Act | Promise<Act> {
  const make = ACTS[route];
  assert.ok(make !== undefined, `${route} has no request here`);
  return make(world);
}

async function perform(world: World, route: string) {
  const act = await prepare(world, route);
  return { act, ...(await send(world, route, act)) };
}

async function send({ server, token }: World, route: string, act: Act) {
  const requestId = newId();
  const [method = '', path = ''] = route.split(' ');
  const real = path.replace('{}', act.id ?? '').replace('{}', act.inner ?? '');
  const reply = await ask(server.app.httpUrl, method, real, {
    ...(route === LOGIN ? {} : { token }),
    ...(act.body === undefined ? {} : { body: act.body }),
    headers: { 'x-request-id': requestId },
  });
  return { reply, requestId };
}

async function insert(
  { server, account }: World,
  table: string,
  columns: Readonly<Record<string, unknown>>,
): Promise<Id> {
  const id = newId();
  const all = { id, user_id: account, ...columns };
  const places = Object.keys(all).map((_, at) => `$${at + 1}`);
  await systemRows(
    server.databaseUrl,
    `INSERT INTO ${table} (${Object.keys(all).join(', ')}) VALUES (${places.join(', ')})`,
    Object.values(all),
  );
  return id;
}

async function plantRecord(world: World, more: Record<string, unknown> = {}): Promise<Id> {
  const agentId = await insert(world, 'agents', { name: 'audited', config: '{}' });
  const times = { start_time: new Date(), end_time: new Date() };
  return insert(world, 'call_records', {
    ...{ agent_id: agentId, status: 'ended', ...times, ...more },
  });
}

/** As earlier versions kept it, in the clear: a header is all that is read of it. */
async function plantRecording(world: World): Promise<Id> {
  const recordingId = newId();
  const callId = await plantRecord(world, {
    ...{ recording_status: 'ready', recording_id: recordingId },
  });
  const uri = `${recordingId}.wav`;
  writeFileSync(join(world.server.dataDir, uri), Buffer.alloc(44, 'RIFF'));
  await insert(world, 'recordings', {
    ...{ id: recordingId, call_id: callId, status: 'ready', uri, bytes: 44 },
  });
  return callId;
}

async function plantProvider(world: World): Promise<Id> {
  return insert(world, 'provider_configs', { kind: 'llm', vendor: 'openai', name: newId() });
}

async function plantWebhook(world: World): Promise<Id> {
  return insert(world, 'webhooks', { url: 'https://127.0.0.1/', secret: 'x' });
}

/** With a secret that opens. */
async function makeWebhook({ server, token }: World): Promise<Id> {
  const made = await ask(server.app.httpUrl, 'POST', '/api/v1/webhooks', {
    ...{ token, body: { url: 'https://receiver.invalid/' } },
  });
  return String(made.data['id']);
}

async function plantMember({ server, account }: World): Promise<Id> {
  const person = await makeUser(server);
  await systemRows(
    server.databaseUrl,
    "INSERT INTO members (user_id, member_id, role) VALUES ($1, $2, 'viewer')",
    [account, person],
  );
  return person;
}

let numbers = 100;
function freshNumber(): string {
  return `+1555${String(numbers++).padStart(7, '0')}`;
}

/** A trigger stands in for whatever may go wrong between an act and its row. */
async function makeRefusal({ databaseUrl }: TestApp): Promise<void> {
  await queryRows(
    databaseUrl,
    `CREATE FUNCTION refuse_audit() RETURNS trigger LANGUAGE plpgsql AS
       $f$ BEGIN RAISE EXCEPTION 'no audit row' USING ERRCODE = 'P0001'; END $f$;
     CREATE TRIGGER refuse_audit BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_audit();
     ALTER TABLE audit_log DISABLE TRIGGER refuse_audit`,
  );
}

async function switchRefusal({ databaseUrl }: TestApp, to: 'ENABLE' | 'DISABLE'): Promise<void> {
  await queryRows(databaseUrl, `ALTER TABLE audit_log ${to} TRIGGER refuse_audit`);
}

/** All that these acts may change, as text. */
async function stateOf({ server, account }: World): Promise<string> {
  const names = ['account_settings', 'aliyun_configs', 'volcengine_configs', 'provider_configs'];
  names.push('phone_numbers', 'api_keys', 'members', 'call_records', 'recordings', 'webhooks');
  names.push('webhook_deliveries');
  const all = names.map((name) => {
    return `SELECT '${name}' || (to_jsonb(t) - 'last_used_at')::text AS row FROM ${name} t WHERE user_id = $1`;
  });
  const rows = await systemRows<{ row: string }>(
    server.databaseUrl,
    `${all.join(' UNION ALL ')} ORDER BY 1`,
    [account],
  );
  return rows.map(({ row }) => row).join('\n');
}
