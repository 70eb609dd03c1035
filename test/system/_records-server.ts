/** The facade over a real store and real HTTP; calls and audio are fakes. */
import type { TestContext } from 'node:test';
import type { RecordingRow } from '#lib/call-record.ts';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { recordKeeping } from '#api/record-keeping.ts';
import { createApi, listenApi } from '#api/server.ts';
import type { ApiKeyRole } from '#store/api-keys-new.ts';
import { generateKey, hashOf, prefixOf } from '#store/api-keys-new.ts';
import type { Store } from '#store/store.ts';
import { makeFakes, type Fakes } from '../unit/_api-fakes.ts';
import { atEnd, newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

export type Answer<T = unknown> = {
  readonly status: number;
  readonly data: T;
  readonly error?: {
    readonly code: string;
    readonly details?: readonly { readonly path: string; readonly rule: string }[];
  };
  readonly headers: Headers;
};

export type KeyWish = {
  readonly role?: ApiKeyRole;
  readonly accountId?: Id;
  readonly agentIds?: readonly Id[];
};

export type RecordsServer = {
  readonly store: Store;
  readonly accountId: Id;
  readonly agentId: Id;
  readonly fakes: Fakes;
  /** Recordings whose audio was removed. */
  readonly removed: RecordingRow[];
  makeKey(wish?: KeyWish): Promise<string>;
  makeAgent(accountId?: Id): Promise<Id>;
  /** Another account, with settings and an agent. */
  makeAccount(): Promise<{ readonly accountId: Id; readonly agentId: Id }>;
  send<T = unknown>(route: string, body?: unknown, options?: SendOptions): Promise<Answer<T>>;
};

export type SendOptions = {
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export async function startRecordsServer(t: TestContext): Promise<RecordsServer> {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const accountId = await store.defaultAccount();
  const { id: agentId } = await store.agents.defaultFor(accountId);
  const fakes = makeFakes();
  const removed: RecordingRow[] = [];
  fakes.calls.clear();
  const api = await createApi({
    ports: {
      ...fakes.ports,
      identity: store.identity,
      records: store.records,
      recordKeeping: recordKeeping(store),
      recordings: {
        ...fakes.ports.recordings,
        remove: async (_accountId, recording) => void removed.push(recording as RecordingRow),
      },
    },
    log: silentLog,
    version: '0.0.0-test',
    limits: { requestRate: { ratePerS: 1000, burst: 100_000 } },
  });
  atEnd(t, () => api.close());
  const url = await listenApi(api, '127.0.0.1', 0);

  const makeKey = async (wish: KeyWish = {}): Promise<string> => {
    const key = generateKey();
    await store.database.withSystem((sql) =>
      sql.run(
        'INSERT INTO api_keys (user_id, name, prefix, key_hash, role, agent_ids) VALUES ($1, $2, $3, $4, $5, $6)',
        [
          ...[wish.accountId ?? accountId, 'test', prefixOf(key), hashOf(key)],
          ...[wish.role ?? 'admin', wish.agentIds ?? null],
        ],
      ),
    );
    return key;
  };
  const makeAgent = async (owner = accountId): Promise<Id> => {
    const id = newId();
    await store.database.withSystem((sql) =>
      sql.run('INSERT INTO agents (id, user_id, name) VALUES ($1, $2, $3)', [id, owner, 'Second']),
    );
    return id;
  };
  const admin = await makeKey();
  return {
    ...{ store, accountId, agentId, fakes, removed, makeKey, makeAgent },
    async makeAccount() {
      const id = newId();
      await store.database.withSystem((sql) =>
        sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [id, `${id}@example.test`]),
      );
      await store.accounts.settings(id);
      return { accountId: id, agentId: await makeAgent(id) };
    },
    async send<T>(route: string, body?: unknown, options: SendOptions = {}) {
      const [method = 'GET', path = ''] = route.split(' ');
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${options.key ?? admin}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...options.headers,
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const answer = (await response.json()) as Pick<Answer<T>, 'data' | 'error'>;
      return { ...answer, status: response.status, headers: response.headers };
    },
  };
}
