/**
 * Identities for tests: users, memberships, API keys of any kind written straight into the tables, and signed tokens.
 * Works on any server whose database and data directory are known, such as a TestApp.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { SignJWT } from 'jose';
import { listenApi, type ApiOptions } from '#api/server.ts';
import { systemClock } from '#lib/clock.ts';
import { newId, type Id } from '#lib/ids.ts';
import { loadJwtSecret } from '#store/secret-files.ts';
import type { Store, StoreOptions } from '#store/store.ts';
import { makeApi, makeFakes, type Fakes } from '../unit/_api-fakes.ts';
import { queryRows } from './_database.ts';
import { atEnd, newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

/** A server that identities are made for. */
export type Installation = { readonly databaseUrl: string; readonly dataDir: string };

/** Past row-level security, which also binds the owner of the tables. */
export async function systemRows<T extends object>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<T[]> {
  return queryRows<T>(`${url}?options=-c%20role%3Dcallyard_system`, text, values);
}

export type KeyRole = 'admin' | 'developer' | 'supervisor' | 'viewer';

export async function makeUser(server: Installation, email?: string): Promise<Id> {
  const id = newId();
  await systemRows(server.databaseUrl, 'INSERT INTO auth.users (id, email) VALUES ($1, $2)', [
    ...[id, email ?? `${id}@example.test`],
  ]);
  return id;
}

export async function makeMember(
  server: Installation,
  accountId: Id,
  userId: Id,
  role: KeyRole,
): Promise<void> {
  await systemRows(
    server.databaseUrl,
    'INSERT INTO members (user_id, member_id, role) VALUES ($1, $2, $3)',
    [accountId, userId, role],
  );
}

/** The account that the server made on its first start. */
export async function defaultAccount(server: Installation): Promise<Id> {
  const [row] = await systemRows<{ id: Id }>(
    server.databaseUrl,
    "SELECT id FROM auth.users WHERE email = 'admin@localhost'",
  );
  return (row as { id: Id }).id;
}

export type TestKey = { readonly id: Id; readonly key: string };

/** Past the API, so that also states it would refuse can be made. */
export async function makeApiKey(
  server: Installation,
  accountId: Id,
  wanted: {
    readonly role?: KeyRole;
    readonly agentIds?: readonly Id[];
    readonly ipAllow?: readonly string[];
    readonly expiresAt?: Date;
    readonly revokedAt?: Date;
  } = {},
): Promise<TestKey> {
  const id = newId();
  const prefix = randomBytes(4).toString('hex');
  const key = `cy_${prefix}_${randomBytes(32).toString('base64url')}`;
  await systemRows(
    server.databaseUrl,
    `INSERT INTO api_keys (id, user_id, name, prefix, key_hash, role, agent_ids, ip_allow, expires_at, revoked_at)
     VALUES ($1, $2, 'test', $3, $4, $5, $6, $7::cidr[], $8, $9)`,
    [
      ...[id, accountId, prefix, createHash('sha256').update(key).digest()],
      ...[wanted.role ?? 'admin', wanted.agentIds ?? null, wanted.ipAllow ?? null],
      ...[wanted.expiresAt ?? null, wanted.revokedAt ?? null],
    ],
  );
  return { id, key };
}

export type TokenWish = {
  readonly expiresInS?: number;
  readonly notBeforeInS?: number;
  /** Default: the one that the server keeps in its data directory. */
  readonly secret?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
};

/** An HS256 token of this user; with `X-Account-Id` it acts on other accounts. */
export async function makeToken(
  server: Pick<Installation, 'dataDir'>,
  userId: string,
  wish: TokenWish = {},
): Promise<string> {
  const secret = wish.secret ?? readFileSync(join(server.dataDir, 'jwt.key'), 'utf8').trim();
  const nowS = Math.floor(Date.now() / 1000);
  const token = new SignJWT({ ...wish.claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(userId)
    .setIssuedAt(nowS - 60)
    .setExpirationTime(nowS + (wish.expiresInS ?? 3600));
  if (wish.notBeforeInS !== undefined) token.setNotBefore(nowS + wish.notBeforeInS);
  return token.sign(Buffer.from(secret, 'utf8'));
}

export type Reply = {
  readonly status: number;
  readonly code: string | null;
  readonly data: Record<string, never>;
  readonly text: string;
  readonly headers: Headers;
};

/** One request over real HTTP. `code` is the error's, null for a success. */
export async function ask(
  origin: string,
  method: string,
  path: string,
  options: {
    readonly token?: string;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
  } = {},
): Promise<Reply> {
  const response = await fetch(origin + path, {
    method,
    headers: {
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  const text = await response.text();
  const body = (text.startsWith('{') ? JSON.parse(text) : {}) as {
    data?: Record<string, never>;
    error?: { code: string };
  };
  return {
    ...{ status: response.status, code: body.error?.code ?? null, text },
    ...{ data: body.data ?? {}, headers: response.headers },
  };
}

export type IdentityServer = Installation & {
  readonly origin: string;
  readonly store: Store;
  readonly fakes: Fakes;
  readonly accountId: Id;
};

/** The facade over HTTP on a real store; calls and records are fakes. Two of them may share a database. */
export async function startIdentityServer(
  t: TestContext,
  options: {
    readonly databaseUrl?: string;
    readonly store?: Partial<StoreOptions>;
    readonly api?: Partial<ApiOptions>;
  } = {},
): Promise<IdentityServer> {
  const dataDir = newDataDir(t);
  const databaseUrl = options.databaseUrl ?? (await newDatabase(t));
  const store = await newStore(t, storeOptions(dataDir, databaseUrl, options.store));
  const fakes = makeFakes();
  const ports = { ...fakes.ports, identity: store.identity };
  const secret = await loadJwtSecret(null, dataDir);
  const api = await makeApi(
    { ...fakes, ports },
    {
      clock: systemClock,
      jwt: { key: { kind: 'secret', secret }, issuer: null, audience: null },
      ...options.api,
    },
  );
  atEnd(t, () => api.close());
  const origin = await listenApi(api, '127.0.0.1', 0);
  return { origin, store, fakes, dataDir, databaseUrl, accountId: await store.defaultAccount() };
}
