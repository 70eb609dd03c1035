/** Login with a password: what it gives, what it refuses, how often, and what the audit log says of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { hashPassword, isOurHash, isPassword } from '#store/users-password.ts';
import {
  ask,
  makeUser,
  startIdentityServer,
  systemRows,
  type IdentityServer,
} from './_identity.ts';
import { newDatabase, newDataDir, newStore, storeOptions, until } from './_store.ts';

const PASSWORD = 'correct horse battery staple';
const AUTH = { isLocal: true, isProvisioning: false, adminPassword: PASSWORD } as const;

async function login(server: IdentityServer, username: unknown, password: unknown, more = {}) {
  return ask(server.origin, 'POST', '/api/auth/login', { body: { username, password, ...more } });
}

test('a login gives a token of the own account, and each attempt is audited', async (t) => {
  const server = await startIdentityServer(t, { store: { auth: AUTH } });
  const { origin, accountId } = server;
  const good = await login(server, ' Admin@LocalHost ', PASSWORD);
  assert.equal(good.status, 200, good.text);
  const {
    token,
    expires_at: expiresAt,
    user,
  } = good.data as unknown as {
    token: string;
    expires_at: number;
    user: object;
  };
  assert.deepEqual(user, { id: accountId, email: 'admin@localhost' });
  assert.ok(Number.isInteger(expiresAt) && expiresAt > Date.now() / 1000);
  assert.equal((await ask(origin, 'GET', '/api/v1/members', { token })).status, 200);
  const bad = await login(server, 'admin@localhost', 'wrong');
  assert.deepEqual([bad.status, bad.code], [401, 'UNAUTHENTICATED']);
  const unknown = await login(server, 'nobody@example.test', PASSWORD);
  assert.equal(unknown.text, bad.text, 'a wrong name and a wrong password answer alike');
  const passwordless = await makeUser(server, 'ann@example.test');
  assert.equal((await login(server, 'ann@example.test', '')).code, 'VALIDATION_FAILED');
  assert.equal((await login(server, 'ann@example.test', PASSWORD)).text, bad.text);

  const entries = async () => {
    const reply = await ask(origin, 'GET', '/api/v1/audit-log', { token });
    return (reply.data as unknown as { entries: Record<string, unknown>[] }).entries;
  };
  await until(async () => (await entries()).length === 2, 'both attempts are in the log');
  const seen = (await entries()).map((entry) => [entry['action'], entry['actor'], entry['ip']]);
  assert.deepEqual(seen, [
    ['user.login_failed', 'anonymous', '127.0.0.1'],
    ['user.login', `user:${accountId}`, '127.0.0.1'],
  ]);
  const theirs = async () =>
    systemRows(server.databaseUrl, 'SELECT FROM audit_log WHERE user_id = $1', [passwordless]);
  await until(async () => (await theirs()).length === 1, 'the attempt at the other account too');
  const stored = await systemRows<{ row: string }>(
    server.databaseUrl,
    'SELECT to_jsonb(u)::text AS row FROM auth.users u UNION ALL SELECT to_jsonb(a)::text FROM audit_log a',
  );
  assert.ok(!stored.some(({ row }) => row.includes(PASSWORD)), 'the password is nowhere');
});

test('five attempts a minute for each address and each name', async (t) => {
  const clock = new SimulatedClock(Date.now());
  const server = await startIdentityServer(t, {
    store: { auth: AUTH },
    api: { clock, trustedProxies: ['127.0.0.0/8'] },
  });
  const from = async (address: string, username: string) =>
    ask(server.origin, 'POST', '/api/auth/login', {
      body: { username, password: 'wrong' },
      headers: { 'x-forwarded-for': address },
    });
  for (let count = 0; count < 5; count++) {
    assert.equal((await from('192.0.2.1', `u${count}@example.test`)).status, 401);
  }
  const late = await from('192.0.2.1', 'u9@example.test');
  assert.deepEqual([late.status, late.code], [429, 'RATE_LIMITED']);
  assert.equal(late.headers.get('retry-after'), '60');
  assert.equal(late.headers.get('ratelimit-limit'), '5');
  for (let count = 0; count < 4; count++) {
    assert.equal((await from(`192.0.2.${10 + count}`, 'U0@example.test')).status, 401);
  }
  assert.equal((await from('192.0.2.99', 'u0@Example.test')).status, 429, 'the name, anywhere');
  clock.advance(59_000);
  assert.equal((await from('192.0.2.1', 'u9@example.test')).status, 429);
  clock.advance(1_000);
  assert.equal((await from('192.0.2.1', 'u9@example.test')).status, 401);
});

test('bad input of the login', async (t) => {
  const server = await startIdentityServer(t, { store: { auth: AUTH } });
  for (const [body, path] of [
    [{}, '/username'],
    [{ username: 1, password: 'x' }, '/username'],
    [{ username: 'a', password: null }, '/password'],
    [{ username: 'a', password: 'x'.repeat(1025) }, '/password'],
    [{ username: 'x'.repeat(321), password: 'x' }, '/username'],
    [{ username: 'a', password: 'x', otp: '1' }, '/otp'],
    [{ username: 'a\u0000', password: 'x' }, '/username'],
  ] as const) {
    const reply = await ask(server.origin, 'POST', '/api/auth/login', { body });
    assert.deepEqual([reply.status, reply.code], [400, 'VALIDATION_FAILED'], path);
    assert.ok(reply.text.includes(`"path":"${path}"`), reply.text);
  }
});

test('the admin password is stored hashed, rewritten only when it changes, foreign ones kept', async (t) => {
  const url = await newDatabase(t);
  const stored = async () =>
    (
      await systemRows<{ hash: string | null }>(
        url,
        'SELECT encrypted_password AS hash FROM auth.users',
      )
    )[0]?.hash ?? null;
  const open = async (adminPassword: string | null) => {
    const options = storeOptions(newDataDir(t), url, { auth: { ...AUTH, adminPassword } });
    await (await newStore(t, options)).close(0);
    return stored();
  };
  assert.equal(await open(null), null);
  const first = await open(PASSWORD);
  assert.ok(first !== null && isOurHash(first) && (await isPassword(PASSWORD, first)));
  assert.equal(await open(PASSWORD), first, 'the same password, the same row');
  assert.equal(await open(null), first, 'unset: left as it is');
  const second = await open('another password');
  assert.ok(second !== first && (await isPassword('another password', second)));
  const foreign = `$2a$10$${'a'.repeat(53)}`;
  await systemRows(url, 'UPDATE auth.users SET encrypted_password = $1', [foreign]);
  assert.equal(await open(PASSWORD), foreign);
});

test('password strings: only ours, only sane costs', async () => {
  const hash = await hashPassword(PASSWORD);
  assert.match(hash, /^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  assert.notEqual(await hashPassword(PASSWORD), hash, 'salted');
  const rows: [string, string | null, boolean][] = [
    [PASSWORD, hash, true],
    [`${PASSWORD} `, hash, false],
    ['Caf\u0065\u0301 au lait', await hashPassword('Caf\u00e9 au lait'), true],
    [PASSWORD, null, false],
    [PASSWORD, '', false],
    [PASSWORD, `$2a$10$${'a'.repeat(53)}`, false],
    [PASSWORD, hash.replace('ln=15', 'ln=31'), false],
    [PASSWORD, hash.replace('p=3', 'p=0'), false],
  ];
  for (const [password, stored, expected] of rows) {
    assert.equal(await isPassword(password, stored), expected, String(stored));
  }
});
