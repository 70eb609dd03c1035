/**
 * Every route of the published document x every identity, against the roles in test/data/route-roles.json, which repeats
 * the contract's role columns. A route without an entry fails, and so does an entry without a route.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test, type TestContext } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import { startTestApp, type TestApp } from './_app.ts';
import { operationsOf, type Document, type Operation } from './_openapi.ts';
import { seeded, valueFor } from './_random-values.ts';
import { trySocket } from './_ws-client.ts';
import { makeApiKey, makeMember, makeToken, makeUser, systemRows } from './_identity.ts';
import { bearer, rowsOf, type Identity } from './_tenants.ts';

type Capability = 'pub' | 'any' | 'ops' | 'sup' | 'dev' | 'adm' | 'own';

const MATRIX = JSON.parse(
  readFileSync(new URL('../data/route-roles.json', import.meta.url), 'utf8'),
) as Record<string, Capability>;

/** Contract 1.3. */
const ROLES: Readonly<Record<string, readonly Capability[]>> = {
  owner: ['any', 'ops', 'sup', 'dev', 'adm', 'own'],
  admin: ['any', 'ops', 'sup', 'dev', 'adm'],
  developer: ['any', 'ops', 'dev'],
  supervisor: ['any', 'ops', 'sup'],
  viewer: ['any'],
};

const ENV = {
  CALLYARD_RATE_LIMIT: '100000',
  CALLYARD_RATE_BURST: '100000',
};

type World = {
  readonly server: TestApp;
  readonly operations: readonly Operation[];
  readonly mine: Id;
  readonly other: Id;
  /** Ids of rows of `mine`, by the path in front of the id. */
  readonly ids: ReadonlyMap<string, Id>;
  readonly agentId: Id;
};

type Answer = { readonly status: number; readonly code: string | null; readonly text: string };

test('the matrix has exactly the routes of the document, each with the capability it declares', async () => {
  const { operations } = await makeWorld();
  const declared = Object.fromEntries(operations.map((each) => [each.name, each.capability]));
  assert.deepEqual(declared, MATRIX);
});

test('without a valid token every route but the public ones answers 401', async () => {
  const world = await makeWorld();
  const expired = await makeToken(world.server, world.mine, { expiresInS: -120 });
  const past = new Date(Date.now() - 60_000);
  const { key: revoked } = await makeApiKey(world.server, world.mine, { revokedAt: past });
  const { key: outdated } = await makeApiKey(world.server, world.mine, { expiresAt: past });
  const rows: [string, Record<string, string>, string][] = [
    ['none', {}, 'UNAUTHENTICATED'],
    ['unknown key', bearer(`cy_nobody00_${'x'.repeat(43)}`), 'UNAUTHENTICATED'],
    ['no token at all', bearer('nonsense'), 'UNAUTHENTICATED'],
    ['expired JWT', bearer(expired), 'TOKEN_EXPIRED'],
    ['expired key', bearer(outdated), 'TOKEN_EXPIRED'],
    ['revoked key', bearer(revoked), 'KEY_REVOKED'],
  ];
  for (const operation of protectedOf(world)) {
    for (const [name, headers, code] of rows) {
      const answer = await send(world, operation, { name, headers });
      assert.deepEqual([answer.status, answer.code], [401, code], `${operation.name} with ${name}`);
    }
  }
});

test('a role that lacks the capability gets 403 and changes nothing', async () => {
  const world = await makeWorld();
  const people = await peopleOf(world);
  const before = await rowsOf(world.server, world.mine);
  for (const identity of people) {
    for (const operation of protectedOf(world)) {
      if (mayUse(identity.role, operation)) continue;
      const answer = await send(world, operation, identity);
      assert.deepEqual(
        [answer.status, answer.code],
        [403, 'FORBIDDEN'],
        `${operation.name} as ${identity.name}`,
      );
    }
  }
  assert.deepEqual(changedTables(before, await rowsOf(world.server, world.mine)), []);
});

test('to another tenant a foreign id is a missing one, and nothing of it is read or changed', async () => {
  const world = await makeWorld();
  const { server, mine, other, ids, agentId } = world;
  const strangers: Identity[] = [
    { name: 'other owner', headers: bearer(await makeToken(server, other)) },
    { name: 'other admin key', headers: bearer((await makeApiKey(server, other)).key) },
  ];
  const before = await rowsOf(server, mine);
  const secrets = [...ids.values(), agentId, 'canary-of-mine'];
  for (const identity of strangers) {
    for (const operation of protectedOf(world)) {
      const foreign = await send(world, operation, identity);
      const missing = await send(
        { ...world, ids: new Map(), agentId: newId() },
        operation,
        identity,
      );
      const where = `${operation.name} as ${identity.name}`;
      assert.deepEqual([foreign.status, foreign.code], [missing.status, missing.code], where);
      if (operation.pathParams.length > 0 && foreign.code !== 'VALIDATION_FAILED') {
        // A plain request to a socket is told so, whatever the id.
        const refused = new Set([
          'FORBIDDEN',
          'NOT_FOUND',
          'REFERENCE_NOT_FOUND',
          'UPGRADE_REQUIRED',
        ]);
        assert.ok(refused.has(foreign.code ?? ''), `${where}: ${foreign.status} ${foreign.text}`);
      }
      for (const secret of secrets) {
        const isEcho = operation.method !== 'GET' && foreign.status >= 400;
        assert.ok(isEcho || !foreign.text.includes(secret), `${where} shows ${secret}`);
      }
    }
  }
  assert.deepEqual(changedTables(before, await rowsOf(server, mine)), []);
});

test('sockets: every refusal comes before the upgrade, and a foreign call is a missing one', async () => {
  const world = await makeWorld();
  const { server, mine, other, ids, agentId } = world;
  const sockets = protectedOf(world).filter(({ answers }) => answers.has(101));
  assert.ok(sockets.length >= 5, sockets.map(({ name }) => name).join());
  const expired = bearer(await makeToken(server, mine, { expiresInS: -120 }));
  const nobody: [Record<string, string>, string][] = [
    [{}, 'UNAUTHENTICATED'],
    [bearer(`cy_nobody00_${'x'.repeat(43)}`), 'UNAUTHENTICATED'],
    [expired, 'TOKEN_EXPIRED'],
  ];
  const people = await peopleOf(world);
  const key = (await makeApiKey(server, other)).key;
  const bound = (await makeApiKey(server, mine, { agentIds: [newId()] })).key;
  for (const socket of sockets) {
    for (const [headers, code] of nobody) {
      const answer = await upgrade(world, socket, headers);
      assert.deepEqual([answer.status, answer.code], [401, code], socket.name);
    }
    for (const { name, role, headers } of people) {
      const answer = await upgrade(world, socket, headers);
      const where = `${socket.name} as ${name}: ${answer.status} ${answer.text}`;
      if (mayUse(role, socket)) assert.ok(![401, 403, 426, 500].includes(answer.status), where);
      else assert.deepEqual([answer.status, answer.code], [403, 'FORBIDDEN'], where);
    }
    for (const headers of [bearer(key), bearer(bound)]) {
      const foreign = await upgrade(world, socket, headers);
      const missing = await upgrade({ ...world, ids: new Map() }, socket, headers);
      assert.deepEqual(foreign, missing, socket.name);
      for (const secret of [...ids.values(), agentId, 'canary-of-mine'])
        assert.ok(!foreign.text.includes(secret), `${socket.name} shows ${secret}`);
    }
  }
});

test('X-Account-Id opens an account to its members alone, with their role', async () => {
  const world = await makeWorld();
  const { server, mine, other } = world;
  const list = world.operations.find(
    (each) => each.name === 'GET /api/v1/call-records',
  ) as Operation;
  const { key: foreignKey } = await makeApiKey(server, other);
  const rows: [string, Record<string, string>, number, string | null][] = [
    [
      'stranger',
      bearer(await makeToken(server, other), { 'x-account-id': mine }),
      403,
      'ACCOUNT_FORBIDDEN',
    ],
    ['foreign key', bearer(foreignKey, { 'x-account-id': mine }), 403, 'ACCOUNT_FORBIDDEN'],
    [
      'unknown account',
      bearer(await makeToken(server, mine), { 'x-account-id': newId() }),
      403,
      'ACCOUNT_FORBIDDEN',
    ],
    [
      'no id',
      bearer(await makeToken(server, mine), { 'x-account-id': 'me' }),
      400,
      'VALIDATION_FAILED',
    ],
    ['own', bearer(await makeToken(server, mine), { 'x-account-id': mine }), 200, null],
  ];
  for (const [name, headers, status, code] of rows) {
    const answer = await send(world, list, { name, headers });
    assert.deepEqual([answer.status, answer.code], [status, code], name);
  }
});

test('a role that has the capability gets through to the route', async () => {
  const world = await makeWorld();
  for (const identity of await peopleOf(world)) {
    for (const operation of protectedOf(world)) {
      if (!mayUse(identity.role, operation)) continue;
      // Missing ids: the role is let through, and every row is there for the next one.
      const isRead = operation.method === 'GET';
      const target = isRead ? world : { ...world, ids: new Map<string, Id>() };
      const answer = await send(target, operation, identity);
      assert.ok(
        ![401, 403, 500].includes(answer.status),
        `${operation.name} as ${identity.name}: ${answer.text}`,
      );
    }
  }
});

test('a key with agent_ids sees and uses those agents and their calls alone', async () => {
  const world = await makeWorld();
  const { server, mine, ids, agentId } = world;
  const headers = bearer((await makeApiKey(server, mine, { agentIds: [newId()] })).key);
  const hidden = [agentId, ids.get('/api/v1/call-records') ?? ''];
  for (const operation of protectedOf(world)) {
    if (
      !/call-records|agents|assistants|phone\/calls|api\/call|call-center|campaigns/.test(
        operation.path,
      )
    )
      continue;
    const answer = await send(world, operation, { name: 'bound key', headers });
    const isEcho = operation.method !== 'GET' && answer.status >= 400;
    if (isEcho) continue;
    for (const id of hidden)
      assert.ok(!answer.text.includes(id), `${operation.name} shows ${id}: ${answer.text}`);
  }
});

type Rows = Awaited<ReturnType<typeof rowsOf>>;

function changedTables(before: Rows, after: Rows): string[] {
  return Object.keys(after).filter((name) => String(before[name]) !== String(after[name]));
}

// ---- The world of the tests ----

let shared: Promise<World> | undefined;
const ends: (() => unknown)[] = [];
/** What `startTestApp` cleans up at, for a server that lives as long as the file's tests. */
const wholeFile = { after: (end: () => unknown) => ends.push(end) } as unknown as TestContext;
after(async () => {
  for (const end of ends) await end();
});

/** One server for the whole file; what a test changes, it says. */
function makeWorld(): Promise<World> {
  shared ??= buildWorld(wholeFile);
  return shared;
}

async function buildWorld(t: TestContext): Promise<World> {
  const server = await startTestApp(t, ENV);
  const document = (await (await fetch(`${server.app.httpUrl}/openapi.json`)).json()) as Document;
  const mine = await makeUser(server, 'mine@example.test');
  const other = await makeUser(server, 'other@example.test');
  const { ids, agentId } = await plant(server, mine);
  return { server, operations: operationsOf(document), mine, other, ids, agentId };
}

/** One row of each kind that a path can name. */
async function plant(server: TestApp, mine: Id): Promise<Pick<World, 'ids' | 'agentId'>> {
  const insert = async (table: string, columns: Record<string, unknown>): Promise<Id> => {
    const id = newId();
    const all = { id, user_id: mine, ...columns };
    const places = Object.keys(all).map((_, at) => `$${at + 1}`);
    await systemRows(
      server.databaseUrl,
      `INSERT INTO ${table} (${Object.keys(all).join(', ')}) VALUES (${places.join(', ')})`,
      Object.values(all),
    );
    return id;
  };
  const agentId = await insert('agents', {
    name: 'canary-of-mine agent',
    config: '{"system_prompt":"x"}',
  });
  const recordId = await insert('call_records', {
    agent_id: agentId,
    caller_name: 'canary-of-mine caller',
    start_time: new Date(),
    end_time: new Date(),
    status: 'ended',
    messages: '[{"role":"user","content":"canary-of-mine words","timestamp":1767225600}]',
  });
  const numberId = await insert('phone_numbers', { number: '+15550109', label: 'canary-of-mine' });
  const ruleId = await insert('call_answer_rules', {
    ...{ name: 'canary-of-mine rule', priority: 1, conditions: '{}', action: '{"answer":true}' },
  });
  const bindingId = await insert('agent_bindings', {
    kind: 'app',
    value: 'canary-of-mine',
    agent_id: agentId,
  });
  const providerId = await insert('provider_configs', {
    kind: 'llm',
    vendor: 'openai',
    name: 'canary-of-mine',
  });
  const keyId = await insert('api_keys', {
    ...{
      name: 'canary-of-mine',
      prefix: 'plantkey',
      key_hash: Buffer.alloc(32, 7),
      role: 'viewer',
    },
  });
  const contactId = await insert('contacts', { name: 'canary-of-mine', phone: '+15550110' });
  await insert('consents', {
    ...{ phone: '+15550110', kind: 'data', granted: true, source: 'canary-of-mine' },
  });
  const campaignId = await insert('campaigns', {
    ...{ name: 'canary-of-mine', agent_id: agentId },
  });
  await insert('campaign_targets', {
    ...{ campaign_id: campaignId, phone: '+15550111', name: 'canary-of-mine' },
  });
  const extensionId = await insert('extensions', {
    ...{ extension: '8010', name: 'canary-of-mine', kind: 'sip' },
  });
  const memberId = await makeUser(server, 'canary-of-mine@example.test');
  await makeMember(server, mine, memberId, 'viewer');
  const trunkId = await insert('sip_configs', {
    ...{ name: 'canary-of-mine', host: 'no-such-host.invalid', username: 'canary-of-mine' },
  });
  const webhookId = await insert('webhooks', {
    ...{ url: 'https://canary-of-mine.invalid/', description: 'canary-of-mine', secret: 'x' },
    enabled: false,
  });
  const deliveryId = await insert('webhook_deliveries', {
    ...{ webhook_id: webhookId, event_id: newId(), event_type: 'webhook.test', payload: '{}' },
    ...{ status: 'dead', last_error: 'canary-of-mine' },
  });
  const ids = new Map<string, Id>([
    ['/api/v1/webhooks', webhookId],
    ['/api/v1/webhooks/{id}/deliveries', deliveryId],
    ['/api/v1/sip-trunks', trunkId],
    ['/api/v1/call-records', recordId],
    ['/api/v1/call-answer-rules', ruleId],
    ['/api/v1/agents', agentId],
    ['/v1/assistants', agentId],
    ['/api/v1/agent-bindings', bindingId],
    ['/v1/phone/calls', recordId],
    ['/v1/phone/numbers', numberId],
    ['/api/call', recordId],
    ['/ws/call', recordId],
    ['/api/call-center/call', recordId],
    ['/api/call-center/call/udp', recordId],
    ['/api/call-center/recordings', recordId],
    ['/api/call-center/ai/analyze', recordId],
    ['/api/v1/api-keys', keyId],
    ['/api/v1/provider-configs', providerId],
    ['/api/v1/members', memberId],
    ['/api/v1/contacts', contactId],
    ['/api/v1/extensions', extensionId],
    ['/api/v1/campaigns', campaignId],
  ]);
  return { ids, agentId };
}

type Person = Identity & { readonly role: string };

/** The owner by JWT, and every other role once as a member and once as an API key. */
async function peopleOf({ server, mine }: World): Promise<Person[]> {
  const people: Person[] = [
    { name: 'owner', role: 'owner', headers: bearer(await makeToken(server, mine)) },
  ];
  for (const role of ['admin', 'developer', 'supervisor', 'viewer'] as const) {
    const person = await makeUser(server, `${role}-${newId()}@example.test`);
    await makeMember(server, mine, person, role);
    const headers = bearer(await makeToken(server, person), { 'x-account-id': mine });
    people.push({ name: `${role} member`, role, headers });
    people.push({
      name: `${role} key`,
      role,
      headers: bearer((await makeApiKey(server, mine, { role })).key),
    });
  }
  return people;
}

function mayUse(role: string, operation: Operation): boolean {
  return ROLES[role]?.includes(MATRIX[operation.name] as Capability) ?? false;
}

function protectedOf({ operations }: World): Operation[] {
  return operations.filter((each) => MATRIX[each.name] !== 'pub');
}

async function send(world: World, operation: Operation, identity: Identity): Promise<Answer> {
  const path = pathOf(world, operation);
  const random = seeded(1);
  const value =
    operation.body === null ? null : valueFor(operation.body, { random, ids: [world.agentId] });
  const body = value === null ? null : nameAgent(value, world.agentId);
  const [type] = operation.mediaTypes;
  const response = await fetch(world.server.app.httpUrl + path, {
    method: operation.method,
    headers: {
      ...identity.headers,
      ...(operation.method === 'GET' || type === undefined
        ? {}
        : { 'content-type': body === null ? type : 'application/json' }),
    },
    ...(body === null ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  const parsed = isJson ? (JSON.parse(text) as { error?: { code: string } }) : {};
  return { status: response.status, code: parsed.error?.code ?? null, text };
}

/** What an upgrade gives: a refusal, or 101 with the first thing that the socket does by itself. */
async function upgrade(
  world: World,
  operation: Operation,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  const path = pathOf(world, operation);
  const client = await trySocket(wholeFile, world.server.app.httpUrl + path, {
    headers: { ...headers },
  });
  if ('status' in client) return { status: client.status, code: client.code, text: client.body };
  // A pong shows that the socket stays; a call that is not there closes it.
  const told = await Promise.race([client.settle().then(() => null), client.closed]).catch(
    () => client.closed,
  );
  client.socket.terminate();
  const text = JSON.stringify([client.frames, told]);
  return { status: 101, code: told === null ? null : String(told.code), text };
}

/** With the planted id for each parameter, by the path in front of it; else one that is nobody's. */
function pathOf({ ids }: World, { path }: Operation): string {
  return path.replace(/\{\w+\}/g, (_name, at: number) => ids.get(path.slice(0, at - 1)) ?? newId());
}

/** Agents are what most bodies refer to: an id of an agent in an example becomes that of the account's own. */
function nameAgent(value: unknown, agentId: Id): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, each: unknown) =>
      /^(?:agent_?id|assistant_id)$/i.test(key) && typeof each === 'string' ? agentId : each,
    ),
  );
}
