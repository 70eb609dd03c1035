/** The whole server: its own settings about tokens, logins and rates, over a restart. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { newId } from '#lib/ids.ts';
import { ADMIN_KEY, freshDatabase, makeDataDir, startTestApp } from './_app.ts';
import { ask, defaultAccount, makeApiKey, makeMember, makeToken, makeUser } from './_identity.ts';

const SETTINGS = '/api/v1/settings';
const PASSWORD = 'correct horse battery staple';

test('login, roles and keys on the whole server; tokens outlive a restart', async (t) => {
  const dataDir = makeDataDir(t);
  const databaseUrl = await freshDatabase(t);
  const start = async (env: Record<string, string>) =>
    startTestApp(t, { CALLYARD_TIMEZONE: 'Asia/Shanghai', ...env }, { dataDir, databaseUrl });
  const server = await start({ CALLYARD_ADMIN_PASSWORD: PASSWORD });
  const origin = server.app.httpUrl;
  const accountId = await defaultAccount(server);
  const login = await ask(origin, 'POST', '/api/auth/login', {
    body: { username: 'admin@localhost', password: PASSWORD },
  });
  assert.equal(login.status, 200, login.text);
  const token = String(login.data['token']);
  const key = readFileSync(join(dataDir, 'jwt.key'), 'utf8').trim();
  assert.equal(statSync(join(dataDir, 'jwt.key')).mode & 0o777, 0o600);
  assert.equal((await ask(origin, 'GET', '/api/v1/members', { token })).status, 200);
  assert.equal(
    (await ask(origin, 'GET', '/api/v1/members', { token: ADMIN_KEY })).code,
    'FORBIDDEN',
    'no key is an owner',
  );

  const headers = { 'x-account-id': accountId };
  const reach: [string, string, string][] = [
    ['GET', SETTINGS, 'admin developer supervisor viewer'],
    ['GET', '/api/v1/call-records', 'admin developer supervisor viewer'],
    ['GET', '/api/v1/audit-log', 'admin'],
  ];
  for (const role of ['admin', 'developer', 'supervisor', 'viewer'] as const) {
    const member = await makeUser(server);
    await makeMember(server, accountId, member, role);
    const byToken = { token: await makeToken(server, member), headers };
    const byKey = { token: (await makeApiKey(server, accountId, { role })).key };
    for (const [method, path, expected] of reach) {
      const wanted = expected.split(' ').includes(role) ? null : 'FORBIDDEN';
      assert.equal((await ask(origin, method, path, byToken)).code, wanted, `${role} ${path}`);
      assert.equal((await ask(origin, method, path, byKey)).code, wanted, `${role} key ${path}`);
    }
  }
  await server.app.stop(0);

  const again = await start({ CALLYARD_RATE_LIMIT: '1', CALLYARD_RATE_BURST: '3' });
  assert.equal(readFileSync(join(dataDir, 'jwt.key'), 'utf8').trim(), key);
  const limited = await ask(again.app.httpUrl, 'GET', SETTINGS, { token });
  assert.deepEqual([limited.status, limited.headers.get('ratelimit-limit')], [200, '3']);
  const burst = await Promise.all(
    Array.from({ length: 6 }, async () => ask(again.app.httpUrl, 'GET', SETTINGS, { token })),
  );
  assert.ok(burst.some(({ code }) => code === 'RATE_LIMITED'));
});

test('an outside issuer by its key in a file: users come in, nobody logs in here', async (t) => {
  const dataDir = makeDataDir(t);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const file = join(dataDir, 'issuer.pem');
  writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
  const env = { CALLYARD_JWT_PUBLIC_KEY: `file:${file}`, CALLYARD_JWT_AUDIENCE: 'desk' };
  const server = await startTestApp(t, env, { dataDir });
  const origin = server.app.httpUrl;
  const sign = async (audience: string) =>
    new SignJWT()
      .setProtectedHeader({ alg: 'RS256' })
      .setSubject(newId())
      .setAudience(audience)
      .setExpirationTime('1h')
      .sign(privateKey);
  const get = async (token: string) => ask(origin, 'GET', SETTINGS, { token });
  assert.equal((await get(await sign('desk'))).status, 200);
  assert.equal((await get(await sign('other'))).code, 'UNAUTHENTICATED');
  const login = await ask(origin, 'POST', '/api/auth/login', {
    body: { username: 'admin@localhost', password: PASSWORD },
  });
  assert.equal(login.code, 'ROUTE_NOT_FOUND');
  const document = await ask(origin, 'GET', '/openapi.json');
  const { paths } = JSON.parse(document.text) as { paths: object };
  assert.ok(SETTINGS in paths && !('/api/auth/login' in paths), 'nor is it in the document');
});
