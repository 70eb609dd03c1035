/** Tokens of people over HTTP: whose account, which role, and every way in which a token can be wrong. */
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { exportJWK, SignJWT } from 'jose';
import { newId, type Id } from '#lib/ids.ts';
import { queryRows } from './_database.ts';
import {
  ask,
  makeMember,
  makeToken,
  makeUser,
  startIdentityServer,
  systemRows,
  type IdentityServer,
} from './_identity.ts';
import { atEnd, until } from './_store.ts';

const SETTINGS = '/api/v1/settings';
const EXTERNAL = { isLocal: false, isProvisioning: true, adminPassword: null } as const;

test('a user is owner at home and a member elsewhere, with the role of the membership', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const user = await makeUser(server);
  const token = await makeToken(server, user.toUpperCase());
  const at = async (method: string, path: string, account?: Id, body?: object) =>
    ask(origin, method, path, {
      ...{ token, body },
      headers: account === undefined ? {} : { 'x-account-id': account },
    });
  assert.equal((await at('GET', '/api/v1/members')).status, 200, 'owner of the own account');
  assert.equal((await at('GET', '/api/v1/members', user)).status, 200);
  assert.equal((await at('GET', SETTINGS, accountId)).code, 'ACCOUNT_FORBIDDEN');
  assert.equal((await at('GET', SETTINGS, newId())).code, 'ACCOUNT_FORBIDDEN');
  await makeMember(server, accountId, user, 'viewer');
  const mine = (await at('GET', SETTINGS)).data['user_id'];
  const theirs = (await at('GET', SETTINGS, accountId)).data['user_id'];
  assert.deepEqual([mine, theirs], [user, accountId]);
  const reach: [string, string, object | undefined, string][] = [
    ['GET', SETTINGS, undefined, 'admin developer supervisor viewer'],
    ['PATCH', SETTINGS, {}, 'admin'],
    ['GET', '/api/v1/audit-log', undefined, 'admin'],
    ['GET', '/api/v1/api-keys', undefined, 'admin'],
    ['GET', '/api/v1/members', undefined, ''],
  ];
  for (const role of ['admin', 'developer', 'supervisor', 'viewer'] as const) {
    await server.store.identity.members.setRole(ownerOf(accountId), user, role);
    for (const [method, path, body, expected] of reach) {
      const reply = await at(method, path, accountId, body);
      const wanted = expected.split(' ').includes(role) ? null : 'FORBIDDEN';
      assert.equal(reply.code, wanted, `${method} ${path} as ${role}`);
    }
  }
  await server.store.identity.members.remove(ownerOf(accountId), user);
  assert.equal((await at('GET', SETTINGS, accountId)).code, 'ACCOUNT_FORBIDDEN');
});

function ownerOf(accountId: Id) {
  return {
    ...{ accountId, name: `user:${accountId}`, role: 'owner' as const },
    ...{ agentIds: null, requestId: null, ip: null },
  };
}

test('a membership that another node ends is over within seconds', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId } = server;
  const user = await makeUser(server);
  await makeMember(server, accountId, user, 'admin');
  const token = await makeToken(server, user);
  const use = async () =>
    ask(origin, 'GET', SETTINGS, { token, headers: { 'x-account-id': accountId } });
  assert.equal((await use()).status, 200);
  await systemRows(server.databaseUrl, 'DELETE FROM members WHERE member_id = $1', [user]);
  await until(async () => (await use()).code === 'ACCOUNT_FORBIDDEN', 'the membership is over');
  await systemRows(server.databaseUrl, 'DELETE FROM auth.users WHERE id = $1', [user]);
  const { code } = await ask(origin, 'GET', SETTINGS, { token });
  assert.equal(code, 'UNAUTHENTICATED', 'the user is gone');
});

test('each wrong token is refused', async (t) => {
  const server = await startIdentityServer(t);
  const { origin, accountId, dataDir } = server;
  const good = await makeToken(server, accountId);
  const [head = '', payload = '', signature = ''] = good.split('.');
  const text = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const nowS = Math.floor(Date.now() / 1000);
  const unsigned = `${text({ alg: 'none' })}.${payload}.`;
  const wish = { dataDir };
  const rows: [string, string, string | null][] = [
    ['good', good, null],
    [
      'expired 20 s ago, within the tolerance',
      await makeToken(wish, accountId, { expiresInS: -20 }),
      null,
    ],
    ['expired 40 s ago', await makeToken(wish, accountId, { expiresInS: -40 }), 'TOKEN_EXPIRED'],
    ['not before in 20 s', await makeToken(wish, accountId, { notBeforeInS: 20 }), null],
    [
      'not before in 60 s',
      await makeToken(wish, accountId, { notBeforeInS: 60 }),
      'UNAUTHENTICATED',
    ],
    [
      'other secret',
      await makeToken(wish, accountId, { secret: 'x'.repeat(40) }),
      'UNAUTHENTICATED',
    ],
    ['subject that is no id', await makeToken(wish, 'ann'), 'UNAUTHENTICATED'],
    ['unknown user', await makeToken(wish, newId()), 'UNAUTHENTICATED'],
    ['alg none', unsigned, 'UNAUTHENTICATED'],
    ['alg none with the signature', `${unsigned}${signature}`, 'UNAUTHENTICATED'],
    [
      'other payload',
      `${head}.${text({ sub: newId(), exp: nowS + 60 })}.${signature}`,
      'UNAUTHENTICATED',
    ],
    ['no signature', `${head}.${payload}.`, 'UNAUTHENTICATED'],
    ['two parts', `${head}.${payload}`, 'UNAUTHENTICATED'],
    ['no JSON', `e30.e30.${signature}`, 'UNAUTHENTICATED'],
    ['HS512', await otherAlg(server), 'UNAUTHENTICATED'],
    ['no exp', await withoutExp(server), 'UNAUTHENTICATED'],
    ['exp without end', signed(server, `{"sub":"${accountId}","exp":1e400}`), 'UNAUTHENTICATED'],
    ['exp as text', signed(server, `{"sub":"${accountId}","exp":"9999999999"}`), 'UNAUTHENTICATED'],
    [
      'subject in a list',
      signed(server, `{"sub":["${accountId}"],"exp":9999999999}`),
      'UNAUTHENTICATED',
    ],
  ];
  for (const [name, token, code] of rows) {
    const reply = await ask(origin, 'GET', SETTINGS, { token });
    assert.equal(reply.code, code, name);
    if (code !== null) assert.equal(reply.headers.get('www-authenticate'), 'Bearer', name);
  }
});

function secretOf(server: IdentityServer): Buffer {
  return Buffer.from(readFileSync(`${server.dataDir}/jwt.key`, 'utf8').trim());
}

/** A rightly signed token of any text, also such as no library would write. */
function signed(server: IdentityServer, payload: string): string {
  const parts = ['{"alg":"HS256"}', payload].map((part) => Buffer.from(part).toString('base64url'));
  const text = parts.join('.');
  const mac = createHmac('sha256', secretOf(server)).update(text).digest('base64url');
  return `${text}.${mac}`;
}

async function otherAlg(server: IdentityServer): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS512' })
    .setSubject(server.accountId)
    .setExpirationTime('1h')
    .sign(secretOf(server));
}

async function withoutExp(server: IdentityServer): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(server.accountId)
    .sign(secretOf(server));
}

test('an outside issuer: RS256 by JWKS, users provisioned, no login here', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const keys = [{ ...(await exportJWK(publicKey)), kid: 'one', use: 'sig' }];
  let asked = 0;
  const issuer = createServer((_request, response) => {
    asked++;
    response.end(JSON.stringify({ keys }));
  }).listen(0, '127.0.0.1');
  atEnd(t, () => new Promise((resolve) => issuer.close(() => resolve())));
  await once(issuer, 'listening');
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks`;
  const server = await startIdentityServer(t, {
    store: { auth: EXTERNAL },
    api: {
      jwt: { key: { kind: 'jwks', url }, issuer: 'https://issuer.example', audience: 'desk' },
    },
  });
  const { origin } = server;
  const sign = async (sub: string, changes: { kid?: string; iss?: string; aud?: string } = {}) =>
    new SignJWT()
      .setProtectedHeader({ alg: 'RS256', kid: changes.kid ?? 'one' })
      .setSubject(sub)
      .setIssuer(changes.iss ?? 'https://issuer.example')
      .setAudience(changes.aud ?? 'desk')
      .setExpirationTime('1h')
      .sign(privateKey);
  const user = randomUUID();
  const code = async (token: string) => (await ask(origin, 'GET', SETTINGS, { token })).code;
  assert.equal(await code(await sign(user)), null, 'added on first use');
  const found = await systemRows(server.databaseUrl, 'SELECT FROM auth.users WHERE id = $1', [
    user,
  ]);
  assert.equal(found.length, 1);
  assert.equal(await code(await sign(user, { iss: 'https://other.example' })), 'UNAUTHENTICATED');
  assert.equal(await code(await sign(user, { aud: 'other' })), 'UNAUTHENTICATED');
  for (let count = 0; count < 5; count++) {
    assert.equal(await code(await sign(user, { kid: `made-up-${count}` })), 'UNAUTHENTICATED');
  }
  assert.equal(asked, 1, 'the keys are fresh, and made-up ids wait for the cool-down');
  assert.equal(await code(await makeToken(server, user)), 'UNAUTHENTICATED', 'HS256 is not taken');
  const login = await ask(origin, 'POST', '/api/auth/login', {
    body: { username: 'admin@localhost', password: 'x' },
  });
  assert.deepEqual([login.status, login.code], [404, 'ROUTE_NOT_FOUND']);
  const member = await ask(origin, 'POST', '/api/v1/members', {
    ...{ token: await sign(user), body: { email: 'new@example.test', role: 'viewer' } },
  });
  assert.deepEqual([member.status, member.code], [422, 'REFERENCE_NOT_FOUND']);
});

test('without provisioning, and on Supabase, an unknown user stays out', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwt = { key: { kind: 'public', key: publicKey }, issuer: null, audience: null } as const;
  const token = await new SignJWT()
    .setProtectedHeader({ alg: 'RS256' })
    .setSubject(newId())
    .setExpirationTime('1h')
    .sign(privateKey);
  const closed = await startIdentityServer(t, {
    ...{ store: { auth: { ...EXTERNAL, isProvisioning: false } }, api: { jwt } },
  });
  assert.equal((await ask(closed.origin, 'GET', SETTINGS, { token })).code, 'UNAUTHENTICATED');
  const supabase = await startIdentityServer(t, { store: { auth: EXTERNAL }, api: { jwt } });
  await queryRows(supabase.databaseUrl, 'ALTER TABLE auth.users ADD COLUMN instance_id uuid');
  assert.equal((await ask(supabase.origin, 'GET', SETTINGS, { token })).code, 'UNAUTHENTICATED');
});
