/** Agent bindings over HTTP on a real database, and the agent that a call meets by them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createAgents } from '#store/agents.ts';
import { openPool, type Database } from '#store/pool.ts';
import { dataOf, makeAgent, refused, setUp } from './_answering.ts';
import { atEnd, newDataDir } from './_store.ts';

const BINDINGS = '/api/v1/agent-bindings';

type Binding = {
  id: string;
  kind: string;
  value: string | null;
  agent_id: string | null;
  squad_id: string | null;
};
test('bindings: one for each value, the default only replaced', async (t) => {
  const { api, accountId, rows } = await setUp(t);
  await rows("UPDATE account_settings SET country_code = '86' WHERE user_id = $1", [accountId]);
  const [x, y] = [await makeAgent(api, 'X'), await makeAgent(api, 'Y')];
  const [trunk] = await rows<{ id: string }>(
    "INSERT INTO sip_configs (user_id, name, host) VALUES ($1, 't', '192.0.2.9') RETURNING id",
    [accountId],
  );
  const put = (body: object): Promise<Binding> => dataOf(200, api('PUT', BINDINGS, body));
  const list = async (): Promise<Binding[]> =>
    (await dataOf<{ bindings: Binding[] }>(200, api('GET', BINDINGS))).bindings;
  const [standard] = await list();
  assert.deepEqual([standard?.kind, standard?.value, standard?.squad_id], ['default', null, null]);

  const number = await put({ kind: 'number', value: '0 571-5550 0100', agent_id: x.id });
  assert.equal(number.value, '+8657155500100', 'in normal form, with the country code');
  const same = await put({ kind: 'number', value: '+86 571 5550 0100', agent_id: y.id });
  assert.deepEqual(same, { ...number, agent_id: y.id }, 'replaced');
  assert.equal((await put({ kind: 'number', value: '1001', agent_id: x.id })).value, '1001');
  const app = await put({ kind: 'app', value: ' ＷｅCom ', agent_id: x.id });
  assert.equal(app.value, 'WeCom');
  assert.deepEqual(await put({ kind: 'app', value: 'wecom', agent_id: y.id }), {
    ...app,
    agent_id: y.id,
  });
  const upper = { kind: 'trunk', value: trunk?.id.toUpperCase(), agent_id: x.id.toUpperCase() };
  const trunked = await put(upper);
  assert.deepEqual([trunked.value, trunked.agent_id], [trunk?.id, x.id]);
  const renewed = await put({ kind: 'default', agent_id: y.id });
  assert.deepEqual(renewed, { ...standard, agent_id: y.id });
  const [squad] = await rows<{ id: string }>(
    "INSERT INTO squads (user_id, name) VALUES ($1, 's') RETURNING id",
    [accountId],
  );
  const team = await put({ kind: 'default', value: null, agent_id: null, squad_id: squad?.id });
  assert.deepEqual([team.agent_id, team.squad_id], [null, squad?.id]);
  assert.deepEqual(
    (await list()).map(({ kind, value }) => [kind, value]),
    [
      ['number', '+8657155500100'],
      ['number', '1001'],
      ['app', 'WeCom'],
      ['trunk', trunk?.id],
      ['default', null],
    ],
  );

  const id = newId();
  const bad: [object, string][] = [
    [{}, '/kind'],
    [{ kind: 'all', agent_id: x.id }, '/kind'],
    [{ kind: 'number', value: '1' }, '/agent_id'],
    [{ kind: 'number', value: '1001', agent_id: x.id, squad_id: squad?.id }, '/squad_id'],
    [{ kind: 'number', agent_id: x.id }, '/value'],
    [{ kind: 'number', value: 'abc', agent_id: x.id }, '/value'],
    [{ kind: 'app', value: '  ', agent_id: x.id }, '/value'],
    [{ kind: 'app', value: 'x'.repeat(101), agent_id: x.id }, '/value'],
    [{ kind: 'trunk', value: 'x', agent_id: x.id }, '/value'],
    [{ kind: 'default', value: '1', agent_id: x.id }, '/value'],
    [{ kind: 'default', agent_id: 'x' }, '/agent_id'],
    [{ kind: 'default', agentId: x.id }, '/agentId'],
  ];
  for (const [body, path] of bad) {
    await refused(api('PUT', BINDINGS, body), 400, 'VALIDATION_FAILED', path);
  }
  const missing: [object, string][] = [
    [{ kind: 'default', agent_id: id }, '/agent_id'],
    [{ kind: 'default', squad_id: id }, '/squad_id'],
    [{ kind: 'trunk', value: id, agent_id: x.id }, '/value'],
  ];
  for (const [body, path] of missing) {
    await refused(api('PUT', BINDINGS, body), 422, 'REFERENCE_NOT_FOUND', path);
  }
  await refused(api('DELETE', `${BINDINGS}/${renewed.id}`), 409, 'CONFLICT');
  assert.equal(await dataOf(200, api('DELETE', `${BINDINGS}/${app.id}`)), null);
  await refused(api('DELETE', `${BINDINGS}/${app.id}`), 404, 'NOT_FOUND');
  const text = "'; DROP TABLE agent_bindings; --";
  assert.equal((await put({ kind: 'app', value: text, agent_id: x.id })).value, text);
  const spellings = ['Race', 'race', 'RACE', 'ｒａｃｅ'];
  await Promise.all(spellings.map((value) => put({ kind: 'app', value, agent_id: x.id })));
  const races = (await list()).filter(
    ({ value }) => value?.normalize('NFKC').toLowerCase() === 'race',
  );
  assert.equal(races.length, 1, 'one binding, however it is spelt');
});

test('calls: rule, number, app, trunk, default; squads by their primary; the past while the database is away', async (t) => {
  const { app, api, accountId, rows } = await setUp(t);
  await rows("UPDATE account_settings SET country_code = '86' WHERE user_id = $1", [accountId]);
  const names = ['Rule', 'Number', 'App', 'Trunk', 'Primary', 'Secondary'];
  const ids = new Map<string, string>();
  for (const name of names) ids.set(name, (await makeAgent(api, name)).id);
  const [squad] = await rows<{ id: string }>(
    "INSERT INTO squads (user_id, name) VALUES ($1, 's') RETURNING id",
    [accountId],
  );
  await rows(
    `INSERT INTO squad_members (squad_id, agent_id, user_id, role)
     VALUES ($1, $2, $4, 'primary'), ($1, $3, $4, 'secondary')`,
    [squad?.id, ids.get('Primary'), ids.get('Secondary'), accountId],
  );
  const [trunk] = await rows<{ id: string }>(
    "INSERT INTO sip_configs (user_id, name, host) VALUES ($1, 't', '192.0.2.9') RETURNING id",
    [accountId],
  );
  const bind = (body: object): Promise<Binding> => dataOf(200, api('PUT', BINDINGS, body));
  await bind({ kind: 'number', value: '+8657155500100', agent_id: ids.get('Number') });
  await bind({ kind: 'app', value: 'WeCom', agent_id: ids.get('App') });
  await bind({ kind: 'trunk', value: trunk?.id, agent_id: ids.get('Trunk') });

  const pool = openPool({ url: app.databaseUrl, log: silentLog, size: 2 });
  atEnd(t, () => pool.close());
  let isAway = false;
  const database: Database = {
    ...pool,
    withSystem: (work) =>
      isAway
        ? Promise.reject(new AppError('E_DATABASE_UNREACHABLE', 'gone'))
        : pool.withSystem(work),
  };
  const options = { database, countryCode: null, log: silentLog, dataDir: newDataDir(t) };
  const fresh = () => createAgents({ ...options, defaultAccount: async () => accountId });
  const all = {
    ...{ called: '057155500100', app: ' wecom', trunkId: trunk?.id ?? null },
    ...{ agentId: ids.get('Rule') ?? null, squadId: null },
  };
  const squadId = squad?.id ?? null;
  const choices: [
    Partial<Parameters<ReturnType<typeof fresh>['forCall']>[1]>,
    string,
    string | null,
  ][] = [
    [{}, 'Rule', null],
    [{ agentId: null, squadId }, 'Primary', squadId],
    [{ agentId: newId() }, 'Number', null],
    [{ agentId: null, squadId: newId() }, 'Number', null],
    [{ agentId: null }, 'Number', null],
    [{ agentId: null, called: '+8657155500100' }, 'Number', null],
    [{ agentId: null, called: 'desk' }, 'App', null],
    [{ agentId: null, called: null }, 'App', null],
    [{ agentId: null, called: '1000', app: 'x' }, 'Trunk', null],
    [{ agentId: null, called: '1000', app: '  ', trunkId: null }, 'Default agent', null],
    [{ agentId: null, called: '1000', app: null, trunkId: 'environment' }, 'Default agent', null],
  ];
  const warm = fresh();
  for (const [choice, name, chosenSquad] of choices) {
    const chosen = await warm.forCall(accountId, { ...all, ...choice });
    assert.deepEqual(
      [chosen.agent.name, chosen.squadId],
      [name, chosenSquad],
      JSON.stringify(choice),
    );
  }
  await bind({ kind: 'default', squad_id: squad?.id });
  const standard = await fresh().forCall(accountId, { called: null, app: null, trunkId: null });
  assert.deepEqual([standard.agent.name, standard.squadId], ['Primary', squadId]);
  assert.equal((await fresh().defaultFor(accountId)).name, 'Primary');
  await rows('UPDATE squads SET deleted_at = now()');
  const passed = await fresh().forCall(accountId, { ...all, agentId: null, squadId });
  assert.equal(passed.agent.name, 'Number', 'a squad that is gone is passed over');

  const [owned] = await rows<{ id: string }>(
    "INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), 'owner@example.com') RETURNING id",
  );
  await rows("INSERT INTO phone_numbers (user_id, number) VALUES ($1, '+15550142')", [owned?.id]);
  assert.equal(await fresh().accountOfNumber('0015550142'), owned?.id);
  assert.equal(await fresh().accountOfNumber('+15550199'), accountId);
  const first = await fresh().forCall(owned?.id ?? '', {
    called: '+15550142',
    app: null,
    trunkId: null,
  });
  assert.deepEqual([first.agent.name, first.agent.accountId], ['Default agent', owned?.id]);

  isAway = true;
  const known = await warm.forCall(accountId, all);
  assert.equal(known.agent.name, 'Rule', 'a call seen before');
  const cold = await fresh().forCall(accountId, all);
  assert.equal(cold.agent.name, 'Primary', 'the last default, from disk');
  const strange = fresh().forCall(owned?.id ?? '', all);
  await assert.rejects(
    strange,
    { code: 'E_DATABASE_UNREACHABLE' },
    'never that of another account',
  );
});
