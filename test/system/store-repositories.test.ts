/** Keys, agents, trunks and lists of records, through the roles that the server uses. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import { generateKey, hashOf, KEY_FORMAT, prefixOf } from '#store/api-keys.ts';
import type { RecordQuery } from '#lib/call-record.ts';
import type { Store } from '#store/store.ts';
import { newDatabase, newDataDir, newStore, storeOptions } from './_store.ts';

function systemActor(accountId: Id): Actor {
  return { accountId, name: 'system', role: 'system', agentIds: null, requestId: null, ip: null };
}

async function works(store: Store, key: string): Promise<boolean> {
  const found = await store.apiKeys.findKey(prefixOf(key));
  return (
    found !== null && found.revokedAtMs === null && Buffer.from(found.keyHash).equals(hashOf(key))
  );
}

test('the admin key: generated and kept, replaced by a set one, new when it was revoked', async (t) => {
  const url = await newDatabase(t);
  const dataDir = newDataDir(t);
  const open = (adminKey?: string): Promise<Store> =>
    newStore(t, storeOptions(dataDir, url, { adminKey }));
  const first = await open();
  const made = first.adminKey()?.key ?? '';
  assert.match(made, KEY_FORMAT);
  const file = path.join(dataDir, 'admin.key');
  assert.equal(readFileSync(file, 'utf8').trim(), made);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(await works(first, made), true);
  await first.close();

  const second = await open();
  assert.equal(second.adminKey()?.key, made, 'kept over a restart');
  await second.close();

  const set = generateKey();
  const third = await open(set);
  assert.deepEqual(third.adminKey(), { key: set, source: 'setting' });
  assert.deepEqual([await works(third, set), await works(third, made)], [true, false]);
  await third.close();
  const other = `${set.slice(0, -3)}AAA`;
  const fourth = await open(other);
  assert.deepEqual(
    [await works(fourth, other), await works(fourth, set)],
    [true, false],
    'same prefix, other secret',
  );
  await fourth.close();

  const fifth = await open();
  const fresh = fifth.adminKey()?.key ?? '';
  assert.notEqual(fresh, made, 'the file held a key that was replaced');
  assert.equal(await works(fifth, fresh), true);
  const holder = await fifth.apiKeys.findKey(prefixOf(fresh));
  assert.deepEqual([holder?.role, holder?.accountId], ['admin', await fifth.defaultAccount()]);
  await assert.rejects(open('cy_short'), { code: 'E_CONFIG' });
});

test('keys are created, found and revoked within their account', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const accountId = await store.defaultAccount();
  const actor = systemActor(accountId);
  const agent = await store.agents.defaultFor(accountId);
  const wanted = {
    ...{ name: 'console', agentIds: [agent.id], ipAllow: ['192.0.2.0/24'] },
    role: 'viewer',
    expiresAt: new Date('2030-01-01T00:00:00Z'),
  } as const;
  const { row, key } = await store.apiKeys.create(actor, wanted);
  const found = await store.apiKeys.findKey(prefixOf(key));
  assert.deepEqual(
    [found?.keyId, found?.role, found?.agentIds, found?.ipAllow, found?.expiresAtMs],
    [row.id, 'viewer', [agent.id], ['192.0.2.0/24'], Date.UTC(2030, 0, 1)],
  );
  await assert.rejects(store.apiKeys.create(actor, { ...wanted, agentIds: [newId()] }), {
    code: 'E_REFERENCE',
  });
  assert.equal(await store.apiKeys.findKey('zzzzzzzz'), null);
  assert.equal(await store.apiKeys.revoke(systemActor(newId()), row.id), false, 'another account');
  assert.equal(await works(store, key), true);
  assert.equal(await store.apiKeys.revoke(actor, row.id), true);
  assert.equal(await store.apiKeys.revoke(actor, row.id), true);
  assert.equal(await works(store, key), false);
});

test('which agent answers: the binding of the number, of its squad, else the default', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const mine = await store.defaultAccount();
  const { other, sales, spare } = await store.database.withSystem(async (sql) => {
    const [user] = await sql.rows<{ id: Id }>(
      "INSERT INTO auth.users (email) VALUES ('b@example.test') RETURNING id",
    );
    const makeAgent = async (owner: Id, name: string): Promise<Id> => {
      const [row] = await sql.rows<{ id: Id }>(
        'INSERT INTO agents (user_id, name, config) VALUES ($1, $2, $3) RETURNING id',
        [owner, name, JSON.stringify({ language: 'en', greeting: `${name} here` })],
      );
      return row?.id ?? '';
    };
    const made = { other: user?.id ?? '', sales: await makeAgent(mine, 'Sales'), spare: '' };
    made.spare = await makeAgent(made.other, 'Spare');
    await sql.run(
      "INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'number', '+862155550100', $2)",
      [...[mine, made.sales]],
    );
    // Another account must not draw calls to a number that is not its own.
    await sql.run(
      "INSERT INTO agent_bindings (user_id, kind, value, agent_id) VALUES ($1, 'number', '1001', $2)",
      [...[made.other, made.spare]],
    );
    await sql.run("INSERT INTO phone_numbers (user_id, number) VALUES ($1, '+8675555550101')", [
      made.other,
    ]);
    const squad = newId();
    await sql.run("INSERT INTO squads (id, user_id, name) VALUES ($1, $2, 'Team')", [
      squad,
      made.other,
    ]);
    await sql.run(
      "INSERT INTO squad_members (squad_id, agent_id, user_id, role) VALUES ($1, $2, $3, 'primary')",
      [...[squad, made.spare, made.other]],
    );
    await sql.run(
      "INSERT INTO agent_bindings (user_id, kind, value, squad_id) VALUES ($1, 'number', '+8675555550101', $2)",
      [made.other, squad],
    );
    return made;
  });
  const rows: [string, string, Id][] = [
    ['02155550100', 'Sales', mine],
    ['+86 21 5555-0100', 'Sales', mine],
    ['1001', 'Default agent', mine],
    ['075555550101', 'Spare', other],
    ['', 'Default agent', mine],
  ];
  for (const [called, name, account] of rows) {
    const agent = await store.agents.forInbound(called);
    assert.deepEqual([agent.name, agent.accountId], [name, account], called);
  }
  assert.equal((await store.agents.byId(mine, sales))?.greeting, 'Sales here');
  assert.equal(await store.agents.byId(mine, spare), null);
  const [a, b] = await Promise.all([
    store.agents.defaultFor(other),
    store.agents.defaultFor(other),
  ]);
  assert.equal(a.id, b.id);
  assert.equal(a.name, 'Default agent');
});

test('the first usable active trunk, with its password opened', async (t) => {
  const dataDir = newDataDir(t);
  const trunkDefaults = { localHost: '192.0.2.9', displayName: 'Callyard' };
  const store = await newStore(t, storeOptions(dataDir, await newDatabase(t), { trunkDefaults }));
  const accountId = await store.defaultAccount();
  const none = { usable: [], ids: [], hasActive: false };
  assert.deepEqual(await store.trunks.of(newId()), none);
  const rowId = newId();
  const password = store.sealer.seal('made-up', {
    table: 'sip_configs',
    column: 'password',
    accountId,
    rowId,
  });
  const OPTIONS: Readonly<Record<string, object>> = {
    tls: { srtp: 'yes', media_source: 'anywhere' },
    main: { srtp: 'preferred', rtcp_mux: true, media_source: 'any' },
  };
  await store.database.withAccount(accountId, 'test', async (sql) => {
    const add = (
      id: Id,
      name: string,
      priority: number,
      transport: string,
      isActive: boolean,
    ): Promise<number> =>
      sql.run(
        `INSERT INTO sip_configs (id, user_id, name, priority, transport, is_active, host, username, password, codecs, source_ips, options)
         VALUES ($1, $2, $3, $4, $5, $6, 'sip.example.test', 'user', $7, '{G729,opus,PCMU,PCMA,opus}', '{192.0.2.0/28}', $8)`,
        [id, accountId, name, priority, transport, isActive, password, OPTIONS[name] ?? {}],
      );
    await add(newId(), 'inactive', 1, 'udp', false);
    await add(newId(), 'tls', 2, 'tls', true);
    await add(rowId, 'main', 3, 'tcp', true);
  });
  const { usable, ids, hasActive } = await store.trunks.of(accountId);
  assert.deepEqual([usable.length, ids.length, hasActive], [1, 3, true]);
  const [trunk] = usable;
  assert.deepEqual(
    [
      trunk?.id,
      trunk?.transport,
      trunk?.password,
      trunk?.localHost,
      trunk?.displayName,
      trunk?.codecs,
    ],
    [rowId, 'tcp', 'made-up', '192.0.2.9', 'Callyard', ['opus', 'PCMU', 'PCMA']],
  );
  const { srtp, rtcpMux, mediaSource } = trunk ?? {};
  assert.deepEqual([srtp, rtcpMux, mediaSource], ['preferred', true, 'any']);
  const sources = await store.trunks.sources();
  assert.deepEqual(
    sources.map(({ host, cidrs }) => [host, cidrs]),
    Array.from({ length: 2 }, () => ['sip.example.test', ['192.0.2.0/28']]),
  );
  assert.deepEqual(
    sources.map((one) => [one.codecs, one.srtp, one.rtcpMux, one.mediaSource]),
    [
      [['opus', 'PCMU', 'PCMA'], 'required', false, 'strict'],
      [['opus', 'PCMU', 'PCMA'], 'preferred', true, 'any'],
    ],
    'what is no mode is taken as the strictest',
  );
  const newcomer = newId();
  await store.database.withSystem(async (sql) => {
    await sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [newcomer, 'new@x.test']);
    await sql.run(
      `INSERT INTO sip_configs (user_id, name, host, priority, source_ips)
       VALUES ($1, 'theirs', 'sip.example.test', 0, '{192.0.2.0/28}')`,
      [newcomer],
    );
  });
  store.trunks.forget(newcomer);
  const owners = (await store.trunks.sources()).map(({ accountId: owner }) => owner);
  assert.equal(owners.length, 3);
  assert.equal(owners.indexOf(newcomer), 2, 'a low priority takes no calls of another account');
  await store.close();
  rmSync(path.join(dataDir, 'master.key'));
});

const ANY: RecordQuery = {
  ...{
    limit: 20,
    from: { offset: 0 },
    agentIds: null,
    agentId: null,
    startFrom: null,
    startBefore: null,
  },
  ...{ direction: null, status: null, hangupReason: null, outcome: null, callerPhonePrefix: null },
  ...{ channels: ['phone', 'web', 'external'], customerId: null, campaignId: null, search: null },
};

test('lists: filters, exact totals, and cursors that neither repeat nor skip', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const accountId = await store.defaultAccount();
  const agent = await store.agents.defaultFor(accountId);
  const COUNT = 10_005;
  await store.database.withSystem((sql) =>
    // Five records share each start time, which is finer than a millisecond.
    sql.run(
      `INSERT INTO call_records (user_id, agent_id, start_time, channel, direction, caller_phone, caller_name, customer_ref, status)
       SELECT $1, $2, timestamptz '2026-11-08T10:00:00.000001Z' + (n / 5) * interval '1 second',
              CASE WHEN n % 100 = 0 THEN 'text' ELSE 'phone' END, CASE WHEN n % 2 = 0 THEN 'inbound' ELSE 'outbound' END,
              '+8621' || lpad(n::text, 6, '0'), CASE WHEN n = 7 THEN '100%_Ann' END, n::text, 'ended'
         FROM generate_series(0, $3::int) n`,
      [accountId, agent.id, COUNT + 100],
    ),
  );
  const list = (change: Partial<RecordQuery>): ReturnType<Store['records']['list']> =>
    store.records.list(accountId, { ...ANY, ...change });
  const all = await list({});
  assert.deepEqual([all.total, all.totalExact, all.rows.length], [10_000, false, 20]);
  assert.equal(all.rows[0]?.agentName, 'Default agent');
  const totals: [Partial<RecordQuery>, number][] = [
    [{ channels: ['text'] }, 102],
    [{ callerPhonePrefix: '+8621000' }, 990],
    [{ callerPhonePrefix: '+8621009', direction: 'outbound' }, 500],
    [{ search: '%_ann' }, 1],
    [{ search: '%' }, 1],
    [{ customerId: '42' }, 1],
    [{ agentIds: [] }, 0],
    [{ agentId: newId() }, 0],
    [{ status: 'answered' }, 0],
    [{ startFrom: '2026-11-08T10:00:00.000Z', startBefore: '2026-11-08T10:00:10.000Z' }, 49],
    [{ hangupReason: 'user' }, 0],
    [{ outcome: 'completed' }, 0],
    [{ campaignId: newId() }, 0],
  ];
  for (const [change, total] of totals) {
    const page = await list(change);
    assert.deepEqual([page.total, page.totalExact], [total, true], JSON.stringify(change));
  }
  const seen = new Set<Id>();
  const narrow = { startBefore: '2026-11-08T10:01:00.000Z', limit: 7 };
  let page = await list(narrow);
  for (;;) {
    for (const { id } of page.rows) {
      assert.equal(seen.has(id), false, 'no row twice');
      seen.add(id);
    }
    if (page.next === null) break;
    page = await list({ ...narrow, from: { after: page.next } });
  }
  assert.equal(seen.size, page.total);
  assert.equal((await list({ ...narrow, from: { offset: 500 } })).rows.length, 0);
  assert.deepEqual((await store.records.list(newId(), ANY)).rows, []);
  const one = all.rows[0]?.id ?? '';
  assert.equal(await store.records.get(newId(), one), null);
  assert.equal((await store.records.get(accountId, one))?.recording, null);
  assert.equal(await store.records.timeZone(accountId), 'Asia/Shanghai');
});
