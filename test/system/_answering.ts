/** Requests to a running server as JSON in and out, with any key; and its tables as the system sees them. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { openPool } from '#store/pool.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from './_app.ts';
import { atEnd } from './_store.ts';

export type Answering = {
  readonly app: TestApp;
  readonly api: Client;
  readonly accountId: string;
  /** Rows of one statement over all accounts. */
  readonly rows: <T extends object>(text: string, values?: readonly unknown[]) => Promise<T[]>;
  /** A client with a key of its own; another account unless one is named. */
  readonly client: (options?: {
    accountId?: string;
    role?: string;
    agentIds?: string[];
  }) => Promise<Client>;
};

export async function setUp(t: TestContext): Promise<Answering> {
  const app = await startTestApp(t, { CALLYARD_TIMEZONE: 'Asia/Shanghai' });
  const database = openPool({ url: app.databaseUrl, log: silentLog, size: 2 });
  atEnd(t, () => database.close());
  const rows = <T extends object>(text: string, values: readonly unknown[] = []): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text, values));
  const [account] = await rows<{ id: string }>('SELECT id FROM auth.users');
  const client: Answering['client'] = async (options = {}) => {
    const { role = 'admin', agentIds = null } = options;
    const accountId = options.accountId ?? newId();
    if (options.accountId === undefined) {
      const email = `${accountId}@example.com`;
      await rows('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [accountId, email]);
    }
    const prefix = randomBytes(4).toString('hex');
    const key = `cy_${prefix}_${randomBytes(32).toString('base64url')}`;
    const hash = createHash('sha256').update(key).digest();
    await rows(
      `INSERT INTO api_keys (user_id, name, prefix, key_hash, role, agent_ids)
       VALUES ($1, 'test', $2, $3, $4, $5)`,
      [accountId, prefix, hash, role, agentIds],
    );
    return clientOf(app, key);
  };
  return { app, api: clientOf(app), accountId: account?.id ?? '', rows, client };
}

export type Agent = { readonly id: string; readonly name: string };

export function makeAgent(api: Client, name: string): Promise<Agent> {
  return dataOf(201, api('POST', '/api/v1/agents', { name, system_prompt: 'Be kind.' }));
}

export type Reply = {
  readonly status: number;
  /** The whole body. */
  readonly body: {
    readonly success: boolean;
    // Answers have many shapes; each test knows the one it asked for.
    readonly data: Json;
    readonly error?: {
      readonly code: string;
      readonly details?: readonly { path: string; rule: string; message: string }[];
    };
  };
};

export type Json = { readonly [name: string]: Json } & Iterable<Json>;

export type Client = (method: string, path: string, body?: unknown) => Promise<Reply>;

export function clientOf(app: TestApp, key: string = ADMIN_KEY): Client {
  return async (method, path, body) => {
    const response = await fetch(app.app.httpUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Reply['body'] };
  };
}

/** The data of an answer that must have this status. */
export async function dataOf<T>(status: number, reply: Promise<Reply>): Promise<T> {
  const { status: actual, body } = await reply;
  assert.equal(actual, status, JSON.stringify(body));
  assert.equal(body.success, true);
  return body.data as T;
}

/** Checks a refusal: its code, and that each of these paths is among its details. */
export async function refused(
  reply: Promise<Reply>,
  status: number,
  code: string,
  ...paths: readonly string[]
): Promise<void> {
  const { status: actual, body } = await reply;
  const label = JSON.stringify(body);
  assert.deepEqual([actual, body.error?.code], [status, code], label);
  const named = (body.error?.details ?? []).map(({ path }) => path);
  for (const path of paths) assert.ok(named.includes(path), `${path} in ${label}`);
}
