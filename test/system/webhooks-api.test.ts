/** The routes of webhooks (contract 2.8) on the whole server, and the events of a real call over SIP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { newId } from '#lib/ids.ts';
import { placeCall } from '#src/demo/phone.ts';
import { ADMIN_KEY, eventually, startTestApp, type TestApp } from './_app.ts';
import { ask, defaultAccount, makeApiKey, makeUser, systemRows, type Reply } from './_identity.ts';
import { atEnd, until } from './_store.ts';
import { newReceiver } from './_webhook-kit.ts';

type Json = Record<string, unknown>;
type Fault = { path: string; rule: string };

const HOOKS = '/api/v1/webhooks';
const URL_OUT = 'https://receiver.invalid/hook';
const INSIDE = { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8, ::1' };
const MANY = { CALLYARD_RATE_LIMIT: '100000', CALLYARD_RATE_BURST: '100000' };

function send(server: TestApp, method: string, path: string, body?: unknown, token = ADMIN_KEY) {
  const options = { token, ...(body === undefined ? {} : { body }) };
  return ask(server.app.httpUrl, method, path, options);
}

function faultsOf(reply: Reply): string[] {
  const { error } = JSON.parse(reply.text) as { error?: { details?: Fault[] } };
  return (error?.details ?? []).map(({ path, rule }) => `${path} ${rule}`);
}

const dataOf = (reply: Reply): Json => reply.data as unknown as Json;

test('webhooks: made with a secret that is shown once, read, listed, changed, deleted', async (t) => {
  const server = await startTestApp(t);
  const made = await send(server, 'POST', HOOKS, { url: URL_OUT, description: 'Desk' });
  assert.equal(made.status, 201, made.text);
  const { secret, ...hook } = dataOf(made);
  assert.match(String(secret), /^whsec_[A-Za-z0-9+/]{43}=$/);
  const { id, created_at: at, ...rest } = hook;
  assert.deepEqual(rest, {
    ...{ url: URL_OUT, events: ['*'], description: 'Desk', enabled: true, disabled_reason: null },
    ...{ failing_since: null, old_secret_until: null, updated_at: at },
  });
  const own = `${HOOKS}/${String(id)}`;
  assert.deepEqual(dataOf(await send(server, 'GET', own)), hook);
  const other = await send(server, 'POST', HOOKS, {
    ...{ url: URL_OUT, events: ['call.*', 'call-ended', 'call.*'], enabled: false },
  });
  assert.deepEqual(dataOf(other)['events'], ['call.*', 'call-ended']);
  const list = dataOf(await send(server, 'GET', HOOKS));
  assert.deepEqual(
    (list['webhooks'] as Json[]).map((each) => each['id']),
    [dataOf(other)['id'], id],
  );
  assert.ok(!JSON.stringify(list).includes('secret"'));
  const [row] = await systemRows<{ secret: string }>(
    server.databaseUrl,
    'SELECT secret FROM webhooks WHERE id = $1',
    [id],
  );
  assert.match(row?.secret ?? '', /^cy1\./);

  const changed = await send(server, 'PATCH', own, { description: null, events: ['user-speech'] });
  assert.deepEqual(
    [changed.status, dataOf(changed)['description'], dataOf(changed)['events']],
    [200, null, ['user-speech']],
  );
  assert.equal(dataOf(changed)['url'], URL_OUT);
  const rotated = await send(server, 'POST', `${own}/rotate-secret`, { overlap_s: 60 });
  assert.equal(rotated.status, 200);
  assert.notEqual(dataOf(rotated)['secret'], secret);
  const untilMs = Date.parse(String(dataOf(rotated)['old_secret_until']));
  assert.ok(untilMs > Date.now() && untilMs <= Date.now() + 60_000);
  const gone = await send(server, 'DELETE', own);
  assert.deepEqual([gone.status, JSON.parse(gone.text).data], [200, null]);
  for (const [method, path] of [
    ...[
      ['GET', own],
      ['DELETE', own],
      ['GET', `${own}/deliveries`],
      ['POST', `${own}/test`],
    ],
    ...[
      ['POST', `${own}/rotate-secret`],
      ['POST', `${own}/deliveries/${newId()}/redeliver`],
    ],
  ] as [string, string][]) {
    const answer = await send(server, method, path, method === 'POST' ? {} : undefined);
    assert.deepEqual([answer.status, answer.code], [404, 'NOT_FOUND'], `${method} ${path}`);
  }
  assert.equal((await send(server, 'PATCH', own, { enabled: true })).status, 404);
});

test('webhooks: an answer with a secret is kept sealed for its Idempotency-Key', async (t) => {
  const server = await startTestApp(t);
  const options = {
    token: ADMIN_KEY,
    headers: { 'idempotency-key': 'hook-1' },
    body: { url: URL_OUT },
  };
  const first = await ask(server.app.httpUrl, 'POST', HOOKS, options);
  const again = await ask(server.app.httpUrl, 'POST', HOOKS, options);
  assert.deepEqual([again.status, again.text], [201, first.text]);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  const secret = String(dataOf(first)['secret']);
  const [kept] = await systemRows<{ text: string }>(
    server.databaseUrl,
    "SELECT response::text AS text FROM idempotency_keys WHERE key = 'hook-1'",
  );
  assert.match(kept?.text ?? '', /cy1\./);
  assert.ok(!kept?.text.includes(secret.slice(6)));
});

test('webhooks: what is not taken, and why', async (t) => {
  const server = await startTestApp(t, MANY);
  const many = Array.from({ length: 51 }, () => 'call.ended');
  const rows: [unknown, string][] = [
    [{}, '/url required'],
    [{ url: 5 }, '/url type'],
    [{ url: '' }, '/url minLength'],
    [{ url: `https://receiver.invalid/${'x'.repeat(2_048)}` }, '/url maxLength'],
    [{ url: 'receiver.invalid' }, '/url url'],
    [{ url: 'ftp://receiver.invalid/' }, '/url url'],
    [{ url: 'https://user:pass@receiver.invalid/' }, '/url url'],
    [{ url: 'http://receiver.invalid/' }, '/url https'],
    [{ url: 'https://127.0.0.1/' }, '/url public_host'],
    [{ url: 'https://2130706433/' }, '/url public_host'],
    [{ url: 'https://[::ffff:10.0.0.1]/' }, '/url public_host'],
    [{ url: 'https://169.254.169.254/latest' }, '/url public_host'],
    [{ url: 'https://localhost/' }, '/url public_host'],
    [{ url: URL_OUT, events: [] }, '/events minItems'],
    [{ url: URL_OUT, events: many }, '/events maxItems'],
    [{ url: URL_OUT, events: 'call.*' }, '/events type'],
    [{ url: URL_OUT, events: ['call.ended', 'call.unknown'] }, '/events/1 event'],
    [{ url: URL_OUT, events: ['Call.*'] }, '/events/0 event'],
    [{ url: URL_OUT, events: [''] }, '/events/0 minLength'],
    [{ url: URL_OUT, events: [null] }, '/events/0 type'],
    [{ url: URL_OUT, description: 'x'.repeat(256) }, '/description maxLength'],
    [{ url: URL_OUT, description: 'a\u0000b' }, '/description text'],
    [{ url: URL_OUT, enabled: 'yes' }, '/enabled type'],
    [{ url: URL_OUT, secret: 'mine' }, '/secret unknown'],
  ];
  for (const [body, fault] of rows) {
    const answer = await send(server, 'POST', HOOKS, body);
    assert.deepEqual([answer.status, answer.code], [400, 'VALIDATION_FAILED'], answer.text);
    assert.deepEqual(faultsOf(answer), [fault], JSON.stringify(body).slice(0, 100));
  }
  const { id } = dataOf(await send(server, 'POST', HOOKS, { url: URL_OUT }));
  const own = `${HOOKS}/${String(id)}`;
  const changes: [string, string, unknown, string][] = [
    ['PATCH', own, {}, ' minProperties'],
    ['PATCH', own, { url: null }, '/url type'],
    ['PATCH', own, { url: 'https://10.0.0.1/' }, '/url public_host'],
    ['PATCH', own, { events: ['x.*'] }, '/events/0 event'],
    ['PATCH', own, { disabled_reason: null }, '/disabled_reason unknown'],
    ['POST', `${own}/rotate-secret`, { overlap_s: -1 }, '/overlap_s minimum'],
    ['POST', `${own}/rotate-secret`, { overlap_s: 604_801 }, '/overlap_s maximum'],
    ['POST', `${own}/rotate-secret`, { overlap_s: '60' }, '/overlap_s type'],
    ['POST', `${own}/test`, { now: true }, '/now unknown'],
    ['GET', `${own}/deliveries?status=sent`, undefined, '?status enum'],
    ['GET', `${own}/deliveries?page_size=101`, undefined, '?page_size maximum'],
    ['GET', `${own}/deliveries?cursor=zzz`, undefined, '?cursor cursor'],
    ['GET', `${own}/deliveries?type=call.ended`, undefined, '?type unknown'],
    ['GET', `${HOOKS}/mine`, undefined, '/id uuid'],
    ['POST', `${own}/deliveries/mine/redeliver`, {}, '/did uuid'],
  ];
  for (const [method, path, body, fault] of changes) {
    const answer = await send(server, method, path, body);
    assert.deepEqual([answer.status, answer.code], [400, 'VALIDATION_FAILED'], answer.text);
    assert.deepEqual(faultsOf(answer), [fault], `${method} ${path} ${JSON.stringify(body)}`);
  }
  for (let made = 1; made < 50; made++) {
    assert.equal((await send(server, 'POST', HOOKS, { url: URL_OUT })).status, 201);
  }
  const full = await send(server, 'POST', HOOKS, { url: URL_OUT });
  assert.deepEqual([full.status, full.code, faultsOf(full)], [409, 'CONFLICT', [' full']]);
  await send(server, 'DELETE', own);
  assert.equal((await send(server, 'POST', HOOKS, { url: URL_OUT })).status, 201);
});

test('webhooks: tools of agents may lead out and nowhere else', async (t) => {
  const server = await startTestApp(t, MANY);
  const tool = { name: 'f', description: 'x', parameters: { type: 'object' } };
  const bodyOf = (url: string) => ({
    name: 'A',
    system_prompt: 'x',
    functions: [{ ...tool, url }],
  });
  const rows: [string, string | null][] = [
    ['https://tools.example.net/f', null],
    ['http://tools.example.net/f', 'https'],
    ['https://192.168.1.1/f', 'public_host'],
    ['https://0x7f.1/f', 'public_host'],
    ['https://user@tools.example.net/', 'url'],
    ['tools.example.net', 'url'],
  ];
  for (const [url, rule] of rows) {
    const answer = await send(server, 'POST', '/api/v1/agents', bodyOf(url));
    const expected = rule === null ? [] : [`/functions/0/url ${rule}`];
    assert.deepEqual([answer.status, faultsOf(answer)], [rule === null ? 201 : 400, expected], url);
  }
});

test('webhooks: another account sees none of it, and a key for some agents sends nothing anywhere', async (t) => {
  const server = await startTestApp(t);
  const hook = dataOf(await send(server, 'POST', HOOKS, { url: URL_OUT }));
  const own = `${HOOKS}/${String(hook['id'])}`;
  const stranger = (await makeApiKey(server, await makeUser(server))).key;
  for (const method of ['GET', 'DELETE']) {
    assert.equal((await send(server, method, own, undefined, stranger)).code, 'NOT_FOUND');
  }
  assert.deepEqual(dataOf(await send(server, 'GET', HOOKS, undefined, stranger))['webhooks'], []);
  const account = await defaultAccount(server);
  const bound = (await makeApiKey(server, account, { role: 'admin', agentIds: [newId()] })).key;
  const acts: [string, string, unknown][] = [
    ['POST', HOOKS, { url: URL_OUT }],
    ['PATCH', own, { enabled: true }],
    ['DELETE', own, undefined],
    ['POST', `${own}/test`, {}],
    ['POST', `${own}/rotate-secret`, {}],
    ['POST', `${own}/deliveries/${newId()}/redeliver`, {}],
  ];
  for (const [method, path, body] of acts) {
    const answer = await send(server, method, path, body, bound);
    assert.deepEqual([answer.status, answer.code], [403, 'FORBIDDEN'], `${method} ${path}`);
  }
});

test('a test goes to that hook alone, says how it went, and stands among the deliveries', async (t) => {
  const server = await startTestApp(t, INSIDE);
  const [receiver, other] = [await newReceiver(t), await newReceiver(t)];
  const hook = dataOf(await send(server, 'POST', HOOKS, { url: receiver.url(), enabled: false }));
  await send(server, 'POST', HOOKS, { url: other.url() });
  receiver.secret = String(hook['secret']);
  const own = `${HOOKS}/${String(hook['id'])}`;
  const passed = dataOf(await send(server, 'POST', `${own}/test`));
  assert.deepEqual([passed['ok'], passed['response_status'], passed['error']], [true, 204, null]);
  assert.ok(Number.isInteger(passed['response_ms']));
  const [got] = receiver.taken;
  assert.deepEqual(
    [got?.event.type, got?.event.call_id, got?.event.seq, got?.event.data],
    ['webhook.test', null, null, {}],
  );
  receiver.answer = 500;
  const failed = dataOf(await send(server, 'POST', `${own}/test`, {}));
  assert.deepEqual(
    [failed['ok'], failed['response_status'], failed['error']],
    [false, 500, 'answered 500'],
  );
  await receiver.close();
  const away = dataOf(await send(server, 'POST', `${own}/test`, {}));
  assert.deepEqual(
    [away['ok'], away['response_status'], away['error']],
    [false, null, 'no answer could be had: ECONNREFUSED'],
  );
  const list = dataOf(await send(server, 'GET', `${own}/deliveries`))['deliveries'] as Json[];
  assert.deepEqual(
    list.map((each) => [
      each['event_type'],
      each['status'],
      each['attempts'],
      each['response_status'],
    ]),
    [
      ['webhook.test', 'dead', 1, null],
      ['webhook.test', 'dead', 1, 500],
      ['webhook.test', 'delivered', 1, 204],
    ],
  );
  const dead = dataOf(await send(server, 'GET', `${own}/deliveries?status=dead`));
  assert.equal((dead['deliveries'] as Json[]).length, 2);
  assert.equal(other.received.length, 0);
  const again = `${own}/deliveries/${String(list[1]?.['id'])}/redeliver`;
  const disabled = await send(server, 'POST', again);
  assert.deepEqual([disabled.status, disabled.code], [409, 'INVALID_STATE']);
  await send(server, 'PATCH', own, { enabled: true });
  receiver.answer = 200;
  await receiver.open();
  const queued = await send(server, 'POST', again);
  assert.deepEqual(
    [queued.status, dataOf(queued)['status'], dataOf(queued)['attempts']],
    [200, 'pending', 0],
  );
  await until(() => receiver.taken.length === 2, 'redelivered');
  assert.equal(receiver.taken[1]?.id, list[1]?.['event_id']);
});

test('the events of a real call arrive as they are stored, in order, once', async (t) => {
  const server = await startTestApp(t, { ...INSIDE, CALLYARD_TTS_VENDOR: 'sim' });
  const receiver = await newReceiver(t);
  const hook = dataOf(await send(server, 'POST', HOOKS, { url: receiver.url() }));
  receiver.secret = String(hook['secret']);
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSpeech(0, 1000);
  await phone.hangUp();
  const isOver = () => receiver.taken.some(({ event }) => event.type === 'recording.ready');
  await until(isOver, 'the whole call');
  const deliveries = `${HOOKS}/${String(hook['id'])}/deliveries?page_size=100`;
  const { callId, stored, rows } = await eventually(
    async () => {
      const list = dataOf(await send(server, 'GET', deliveries))['deliveries'] as Json[];
      return { ...(await storedEvents(server)), rows: list };
    },
    (seen) =>
      seen.rows.length === seen.stored.length &&
      seen.rows.every((row) => row['status'] === 'delivered'),
  );
  assert.equal(rows.length, stored.length);
  assert.deepEqual(receiver.refused, []);
  const taken = receiver.taken.map(({ event }) => [event.id, event.seq, event.type]);
  assert.deepEqual(taken, stored);
  assert.ok(receiver.taken.every(({ event }) => event.call_id === callId));
  const types = stored.map(([, , type]) => type);
  for (const type of ['call.initiated', 'call.answered', 'ai-response', 'call.ended']) {
    assert.ok(types.includes(type), `${type} in ${types.join()}`);
  }
  for (const { body, headers } of receiver.taken) {
    assert.doesNotThrow(() => new Webhook(String(hook['secret'])).verify(body, headers));
  }
  const metrics = await (await fetch(`${server.app.httpUrl}/metrics`)).text();
  assert.match(metrics, /callyard_webhook_deliveries_total\{status="delivered"\} \d/);
});

async function storedEvents(server: TestApp) {
  const rows = await systemRows<{ id: string; call_id: string; seq: number; type: string }>(
    server.databaseUrl,
    'SELECT id, call_id, seq, type FROM call_events ORDER BY call_id, seq',
  );
  return {
    callId: rows[0]?.call_id,
    stored: rows.map(({ id, seq, type }): [string, number, string] => [id, seq, type]),
  };
}
