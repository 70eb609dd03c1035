/** Settings, members and the audit log of an account over HTTP on a real database. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import {
  ask,
  makeApiKey,
  makeMember,
  makeToken,
  makeUser,
  startIdentityServer,
  systemRows,
  type Reply,
} from './_identity.ts';

const SETTINGS = '/api/v1/settings';
const MEMBERS = '/api/v1/members';
const AUDIT = '/api/v1/audit-log';

type Entry = {
  id: number;
  at: string;
  actor: string;
  actor_role: string;
  action: string;
  target_id: string;
  request_id: string;
  ip: string;
  changes: Record<string, { from: unknown; to: unknown }>;
};
const entriesIn = (reply: Reply): Entry[] =>
  (reply.data as unknown as { entries: Entry[] }).entries;

test('settings: made with defaults, changed in part, audited, believed at once', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, databaseUrl } = server;
  const user = await makeUser(server);
  const token = await makeToken(server, user);
  const first = await ask(origin, 'GET', SETTINGS, { token });
  assert.equal(first.status, 200);
  const { updated_at: updatedAt, ...plain } = first.data as Record<string, unknown>;
  assert.match(String(updatedAt), /Z$/);
  assert.deepEqual(plain, {
    ...{ user_id: user, timezone: 'Asia/Shanghai', language: 'zh-CN', country_code: '86' },
    ...{ currency: 'CNY', answer_default: 'agent', holidays: [], max_concurrent_calls: 100 },
    ...{ recording_default: false, recording_notice: null, require_consent: false },
    ...{ retain_records_days: null, retain_recordings_days: 180, retain_events_days: 90 },
    retain_audit_days: 730,
  });
  assert.equal((await server.store.accounts.settings(user))?.timezone, 'Asia/Shanghai');
  await systemRows(
    databaseUrl,
    "INSERT INTO call_stats_days (user_id, day) VALUES ($1, '2026-01-01'), ($2, '2026-01-01')",
    [user, server.accountId],
  );
  const days = async () =>
    systemRows(databaseUrl, 'SELECT FROM call_stats_days WHERE user_id = $1', [user]);
  const change = async (body: object) => ask(origin, 'PATCH', SETTINGS, { token, body });
  const holidays = [{ date: '2026-10-01', kind: 'off', name: 'National Day' }];
  const partly = await change({ holidays, retain_audit_days: null, language: 'de-at' });
  assert.deepEqual(
    [partly.data['holidays'], partly.data['retain_audit_days'], partly.data['language']],
    [holidays, null, 'de-AT'],
  );
  assert.ok(partly.text.includes('"message":"Saved"'));
  assert.equal((await days()).length, 1, 'another setting leaves the statistics alone');
  await change({ timezone: 'Asia/Shanghai' });
  assert.equal((await days()).length, 1, 'the same zone too');
  const moved = await change({ timezone: 'Europe/Berlin' });
  assert.equal(moved.data['timezone'], 'Europe/Berlin');
  assert.equal((await days()).length, 0);
  assert.equal((await server.store.accounts.settings(user))?.timezone, 'Europe/Berlin');
  const others = await systemRows(databaseUrl, 'SELECT FROM call_stats_days');
  assert.equal(others.length, 1, 'of the other account');

  const log = entriesIn(await ask(origin, 'GET', AUDIT, { token }));
  assert.deepEqual(
    log.map(({ action, changes }) => [action, Object.keys(changes).sort().join()]),
    [
      ['settings.update', 'timezone'],
      ['settings.update', 'holidays,language,retain_audit_days'],
    ],
  );
  assert.deepEqual(log[0]?.changes['timezone'], { from: 'Asia/Shanghai', to: 'Europe/Berlin' });
  assert.deepEqual(
    [log[0]?.actor, log[0]?.actor_role, log[0]?.ip],
    [`user:${user}`, 'owner', '127.0.0.1'],
  );
});

test('bad input of the settings', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const day = { date: '2026-10-01', kind: 'off' };
  const rows: [object, string][] = [
    [{ timezone: 'Mars/Base' }, '/timezone'],
    [{ timezone: '+08:00' }, '/timezone'],
    [{ timezone: '' }, '/timezone'],
    [{ timezone: null }, '/timezone'],
    [{ language: 'not a tag' }, '/language'],
    [{ country_code: '086' }, '/country_code'],
    [{ country_code: '+86' }, '/country_code'],
    [{ currency: 'cny' }, '/currency'],
    [{ currency: 'QQQ' }, '/currency'],
    [{ answer_default: 'voicemail' }, '/answer_default'],
    [{ holidays: {} }, '/holidays'],
    [{ holidays: [{ ...day, date: '2026-02-30' }] }, '/holidays/0/date'],
    [{ holidays: [day, day] }, '/holidays/1/date'],
    [{ holidays: [{ ...day, kind: 'half' }] }, '/holidays/0/kind'],
    [{ holidays: [{ ...day, note: 'x' }] }, '/holidays/0/note'],
    [{ holidays: Array.from({ length: 1001 }, () => day) }, '/holidays'],
    [{ max_concurrent_calls: 0 }, '/max_concurrent_calls'],
    [{ max_concurrent_calls: '5' }, '/max_concurrent_calls'],
    [{ recording_notice: '' }, '/recording_notice'],
    [{ retain_audit_days: 0 }, '/retain_audit_days'],
    [{ retain_audit_days: 36_501 }, '/retain_audit_days'],
    [{ user_id: accountId }, '/user_id'],
    [{ updated_at: 'now' }, '/updated_at'],
  ];
  for (const [body, path] of rows) {
    const reply = await ask(origin, 'PATCH', SETTINGS, { token, body });
    assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], JSON.stringify(body));
    assert.ok(reply.text.includes(`"path":"${path}"`), reply.text);
  }
  const before = await ask(origin, 'GET', SETTINGS, { token });
  assert.equal(before.data['timezone'], 'Asia/Shanghai', 'nothing was changed');
});

test('members: added, made, changed, removed, of this account alone', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const known = await makeUser(server, 'Ann@Example.test');
  const post = async (body: object) => ask(origin, 'POST', MEMBERS, { token, body });
  const added = await post({
    email: 'ann@example.test',
    role: 'viewer',
    password: 'not hers at all',
  });
  assert.deepEqual(
    [added.status, added.data['user_id'], added.data['role']],
    [201, known, 'viewer'],
  );
  assert.equal((await post({ email: 'ANN@example.test', role: 'admin' })).code, 'CONFLICT');
  assert.equal((await post({ email: 'admin@localhost', role: 'admin' })).code, 'CONFLICT');
  const password = 'a long pass phrase';
  const made = await post({ email: 'Bob@example.test', role: 'supervisor', password });
  assert.deepEqual([made.status, made.data['email']], [201, 'bob@example.test']);
  const login = async (username: string, given: string) =>
    ask(origin, 'POST', '/api/auth/login', { body: { username, password: given } });
  assert.equal((await login('bob@example.test', password)).status, 200);
  assert.equal((await login('ann@example.test', 'not hers at all')).status, 401);

  await makeMember(server, known, accountId, 'admin');
  const list = await ask(origin, 'GET', MEMBERS, { token });
  const { members } = list.data as unknown as { members: { user_id: Id }[] };
  assert.deepEqual(
    members.map((each) => each.user_id).sort(),
    [known, made.data['user_id']].map(String).sort(),
    'not the memberships that the owner has elsewhere',
  );
  const path = `${MEMBERS}/${known}`;
  const raised = await ask(origin, 'PUT', path, { token, body: { role: 'admin' } });
  assert.equal(raised.data['role'], 'admin');
  assert.equal((await ask(origin, 'DELETE', path, { token })).status, 200);
  assert.equal((await ask(origin, 'DELETE', path, { token })).code, 'NOT_FOUND');
  const again = await ask(origin, 'PUT', path, { token, body: { role: 'admin' } });
  assert.equal(again.code, 'NOT_FOUND');
  const log = entriesIn(await ask(origin, 'GET', `${AUDIT}?page_size=100`, { token }));
  assert.deepEqual(
    log.map(({ action }) => action).filter((action) => action.startsWith('member.')),
    ['member.remove', 'member.update', 'member.add', 'member.add'],
  );
  assert.ok(!JSON.stringify(log).includes(password));
});

test('bad input of the member routes', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const token = await makeToken(server, accountId);
  const good = { email: 'a@example.test', role: 'viewer' };
  for (const [body, path] of [
    [{ role: 'viewer' }, '/email'],
    [{ ...good, email: 'no address' }, '/email'],
    [{ ...good, role: 'owner' }, '/role'],
    [{ ...good, password: 'eleven chars'.slice(1) }, '/password'],
    [{ ...good, password: 'x'.repeat(129) }, '/password'],
    [{ ...good, name: 'x' }, '/name'],
  ] as const) {
    const reply = await ask(origin, 'POST', MEMBERS, { token, body });
    assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], path);
    assert.ok(reply.text.includes(`"path":"${path}"`), reply.text);
  }
  const put = async (id: string, body: object) =>
    ask(origin, 'PUT', `${MEMBERS}/${id}`, { token, body });
  assert.equal((await put('x', { role: 'viewer' })).code, 'VALIDATION_FAILED');
  assert.equal((await put(newId(), {})).code, 'VALIDATION_FAILED');
  assert.equal((await put(newId(), { role: 'viewer' })).code, 'NOT_FOUND');
  assert.equal((await put(accountId, { role: 'viewer' })).code, 'NOT_FOUND', 'the owner');
});

test('the audit log is filtered, and paged without repeating or skipping', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId, databaseUrl } = server;
  const { key: token, id } = await makeApiKey(server, accountId);
  await systemRows(
    databaseUrl,
    `INSERT INTO audit_log (user_id, at, actor, actor_role, action, changes)
     SELECT $1, '2026-03-01T00:00:00.123456Z'::timestamptz + (n / 3) * interval '1 hour', 'key:' || $2::text, 'admin',
       CASE WHEN n % 2 = 0 THEN 'a.b' ELSE 'c.d' END, '{}' FROM generate_series(0, 24) n`,
    [accountId, id],
  );
  const other = await makeUser(server);
  await systemRows(
    databaseUrl,
    "INSERT INTO audit_log (user_id, actor, actor_role, action) VALUES ($1, 'x', 'owner', 'a.b')",
    [other],
  );
  const read = async (query: string) => ask(origin, 'GET', `${AUDIT}?${query}`, { token });
  const seen: number[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: Reply = await read(`page_size=4${cursor === '' ? '' : `&cursor=${cursor}`}`);
    assert.equal(page.status, 200, page.text);
    seen.push(...entriesIn(page).map((entry) => entry.id));
    cursor = (page.data as unknown as { pagination: { next_cursor: string | null } }).pagination
      .next_cursor;
  }
  assert.equal(seen.length, 25);
  assert.deepEqual(
    seen,
    [...seen].sort((a, b) => b - a),
    'newest first, each once',
  );
  const count = async (query: string) => {
    const reply = await read(`page_size=100&${query}`);
    assert.equal(reply.status, 200, reply.text);
    return entriesIn(reply).length;
  };
  assert.deepEqual(
    [
      ...[await count('action=a.b'), await count('action=x'), await count(`actor=key:${id}`)],
      await count('from=2026-03-01T01:00:00Z&to=2026-03-01T03:00:00%2B00:00'),
      // Midnight in Shanghai is 16:00 UTC the day before.
      ...[
        await count('from=2026-03-01'),
        await count('from=2026-03-02'),
        await count('to=2026-02-28'),
      ],
    ],
    [13, 0, 25, 6, 25, 0, 0],
  );
  for (const query of [
    ...['from=yesterday', 'from=2026-03-02&to=2026-03-01', 'page=1&cursor=x', 'cursor=x', 'who=me'],
    `cursor=${Buffer.from(`1|2|2026-03-01T00:00:00Z|${newId()}`).toString('base64url')}`,
    `cursor=${Buffer.from('1|2|5|5').toString('base64url')}`,
    ...['page_size=101', 'page=1000', 'action=', 'action=a%00'],
  ]) {
    const reply = await read(query);
    assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], query);
  }
});
