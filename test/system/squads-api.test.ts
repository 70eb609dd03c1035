/** Squads through the whole server: keeping them, talking to them, and what a restart leaves of a conversation. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { JournalEntry } from '#lib/call-events.ts';
import { newId } from '#lib/ids.ts';
import { decodeLines, encodeLine } from '#store/journal-lines.ts';
import {
  clientOf,
  dataOf,
  makeAgent,
  refused,
  setUp,
  type Agent,
  type Client,
} from './_answering.ts';
import { eventually, freshDatabase, makeDataDir, startTestApp, type TestApp } from './_app.ts';
import { systemRows } from './_identity.ts';
import { startChatModel, systemOf } from './_chat-model.ts';

const SQUADS = '/v1/squads';

type Squad = {
  id: string;
  name: string;
  members: {
    agent_id: string;
    agent_name: string;
    role: string;
    skills: string[];
    priority: number;
  }[];
  transfers: { from: string; to: string; when: string; notice: string | null }[];
};
type Turn = {
  conversation_id: string;
  status: string;
  agent_id: string;
  agent_name: string;
  intent: string;
  confidence: number;
  reply: string;
  handoff: { from: string; to: string; summary: object; notice: string } | null;
  expires_at: number;
};
type Record = {
  agent_id: string;
  squad_id: string;
  channel: string;
  status: string;
  outcome: string | null;
  source: string;
  variables: object;
  messages: { role: string; content: string }[];
};
type Event = { type: string; seq: number; data: { [name: string]: unknown } };

type Team = { readonly front: Agent; readonly money: Agent; readonly tech: Agent };

async function makeTeam(api: Client): Promise<Team> {
  const make = (name: string) =>
    dataOf<Agent>(
      201,
      api('POST', '/api/v1/agents', { name, system_prompt: `You are ${name} of {{firm}}.` }),
    );
  return { front: await make('Front'), money: await make('Money'), tech: await make('Tech') };
}

function bodyOf({ front, money, tech }: Team) {
  return {
    name: 'Service',
    members: [
      { agent_id: tech.id, role: 'secondary', skills: ['installation', '安装'], priority: 3 },
      { agent_id: money.id, role: 'specialist', skills: [' refund ', '退款'], priority: 2 },
      { agent_id: front.id, role: 'primary' },
    ],
    transfers: [{ from: front.id, to: money.id, when: 'refund', notice: 'To the till.' }],
  };
}

const say = (api: Client, squad: { id: string }, input: string, more: object = {}): Promise<Turn> =>
  dataOf<Turn>(200, api('POST', `${SQUADS}/${squad.id}/execute`, { input, ...more }));

const recordOf = (api: Client, id: string): Promise<Record> =>
  dataOf<Record>(200, api('GET', `/api/v1/call-records/${id}`));

test('a squad is made, listed, read, replaced and deleted', async (t) => {
  const { api, rows, accountId } = await setUp(t);
  const team = await makeTeam(api);
  const made = await dataOf<Squad>(201, api('POST', SQUADS, bodyOf(team)));
  assert.deepEqual(
    made.members.map(({ agent_name, role, skills, priority }) => [
      agent_name,
      role,
      skills,
      priority,
    ]),
    [
      ['Front', 'primary', [], 1],
      ['Money', 'specialist', ['refund', '退款'], 2],
      ['Tech', 'secondary', ['installation', '安装'], 3],
    ],
  );
  const { front, money } = team;
  const transfer = { from: front.id, to: money.id, when: 'refund', notice: 'To the till.' };
  assert.deepEqual(made.transfers, [transfer]);
  assert.deepEqual(await dataOf(200, api('GET', `${SQUADS}/${made.id}`)), made);
  const other = await dataOf<Squad>(201, api('POST', SQUADS, { ...bodyOf(team), name: 'Other' }));
  const listed = await dataOf<{ squads: Squad[] }>(200, api('GET', `${SQUADS}?page_size=1`));
  assert.deepEqual(listed.squads, [other]);

  const body = {
    ...{ name: 'Renamed', members: [{ agent_id: money.id.toUpperCase(), role: 'primary' }] },
    transfers: [],
  };
  const replaced = await dataOf<Squad>(200, api('PUT', `${SQUADS}/${made.id}`, body));
  assert.deepEqual(
    [replaced.name, replaced.members.length, replaced.transfers],
    ['Renamed', 1, []],
  );
  assert.equal(replaced.members[0]?.agent_id, money.id);

  // A member is not deleted, a squad that is named is not either.
  await refused(api('DELETE', `/api/v1/agents/${money.id}`), 409, 'IN_USE', 'squads');
  const bound = { kind: 'app', value: 'Shop', squad_id: made.id };
  const binding = await dataOf<{ id: string }>(200, api('PUT', '/api/v1/agent-bindings', bound));
  const rule = await dataOf<{ id: string }>(
    201,
    api('POST', '/api/v1/call-answer-rules', {
      ...{ name: 'r', priority: 1, conditions: {}, enabled: false },
      action: { answer: true, squadId: made.id },
    }),
  );
  await refused(api('DELETE', `${SQUADS}/${made.id}`), 409, 'IN_USE', 'bindings', 'rules');
  await dataOf(200, api('DELETE', `/api/v1/agent-bindings/${binding.id}`));
  await refused(api('DELETE', `${SQUADS}/${made.id}`), 409, 'IN_USE', 'rules');
  await dataOf(200, api('DELETE', `/api/v1/call-answer-rules/${rule.id}`));
  assert.equal(await dataOf(200, api('DELETE', `${SQUADS}/${made.id}`)), null);
  await refused(api('GET', `${SQUADS}/${made.id}`), 404, 'NOT_FOUND');
  await refused(api('DELETE', `${SQUADS}/${made.id}`), 404, 'NOT_FOUND');
  await refused(api('PUT', `${SQUADS}/${made.id}`, body), 404, 'NOT_FOUND');
  await refused(
    api('PUT', '/api/v1/agent-bindings', bound),
    422,
    'REFERENCE_NOT_FOUND',
    '/squad_id',
  );
  const audited = await rows<{ action: string }>(
    "SELECT action FROM audit_log WHERE user_id = $1 AND target_id = $2 AND action LIKE 'squad.%' ORDER BY at, id",
    [accountId, made.id],
  );
  assert.deepEqual(audited.map(({ action }) => action).toSorted(), [
    'squad.create',
    'squad.delete',
    'squad.update',
  ]);
  await dataOf(200, api('DELETE', `${SQUADS}/${other.id}`));
  await dataOf(200, api('DELETE', `/api/v1/agents/${money.id}`));
});

test('a squad body that is wrong is refused, and the answer says where', async (t) => {
  const { api } = await setUp(t);
  const team = await makeTeam(api);
  const good = bodyOf(team);
  const [tech, money, front] = good.members;
  const ids = { from: team.front.id, to: team.money.id };
  const many = Array.from({ length: 21 }, () => ({ agent_id: newId(), role: 'secondary' }));
  const bad: [object, string, string?][] = [
    [{}, '/name'],
    [{ ...good, name: '' }, '/name'],
    [{ ...good, name: ' ' }, '/name'],
    [{ ...good, name: 'x'.repeat(256) }, '/name'],
    [{ ...good, extra: 1 }, '/extra'],
    [{ ...good, members: [] }, '/members'],
    [{ ...good, members: [front, ...many] }, '/members'],
    [{ ...good, members: [tech, money] }, '/members', 'primary'],
    [{ ...good, members: [front, { ...money, role: 'primary' }] }, '/members', 'primary'],
    [{ ...good, members: [front, money, money] }, '/members/2/agent_id', 'distinct'],
    [{ ...good, members: [front, { ...money, role: 'boss' }] }, '/members/1/role'],
    [{ ...good, members: [front, { ...money, agent_id: 'x' }] }, '/members/1/agent_id', 'uuid'],
    [{ ...good, members: [front, { ...money, priority: 0 }] }, '/members/1/priority'],
    [{ ...good, members: [front, { ...money, priority: 101 }] }, '/members/1/priority'],
    [{ ...good, members: [front, { ...money, skills: [''] }] }, '/members/1/skills/0'],
    [{ ...good, members: [front, { ...money, skills: ['  '] }] }, '/members/1/skills/0'],
    [
      { ...good, members: [front, { ...money, skills: ['a', 'a '] }] },
      '/members/1/skills/1',
      'distinct',
    ],
    [{ ...good, members: [front, { ...money, skills: ['x'.repeat(101)] }] }, '/members/1/skills/0'],
    [
      { ...good, members: [front, { ...money, skills: many.map((_, at) => `s${at}`) }] },
      '/members/1/skills',
    ],
    [{ ...good, members: [front, { ...money, more: 1 }] }, '/members/1/more', 'unknown'],
    [{ ...good, transfers: [{ ...ids, to: newId(), when: 'x' }] }, '/transfers/0/to', 'member'],
    [{ ...good, transfers: [{ ...ids, from: newId(), when: 'x' }] }, '/transfers/0/from', 'member'],
    [{ ...good, transfers: [{ ...ids, to: ids.from, when: 'x' }] }, '/transfers/0/to', 'distinct'],
    [{ ...good, transfers: [{ ...ids }] }, '/transfers/0/when', 'required'],
    [{ ...good, transfers: [{ ...ids, when: '' }] }, '/transfers/0/when'],
    [{ ...good, transfers: [{ ...ids, when: 'x'.repeat(501) }] }, '/transfers/0/when'],
    [
      { ...good, transfers: [{ ...ids, when: 'x', notice: 'x'.repeat(201) }] },
      '/transfers/0/notice',
    ],
  ];
  const made = await dataOf<Squad>(201, api('POST', SQUADS, good));
  for (const [body, path, rule] of bad) {
    for (const [method, url] of [
      ['POST', SQUADS],
      ['PUT', `${SQUADS}/${made.id}`],
    ] as const) {
      const reply = await api(method, url, body);
      await refused(Promise.resolve(reply), 400, 'VALIDATION_FAILED', path);
      const rules = reply.body.error?.details?.filter((fault) => fault.path === path);
      if (rule !== undefined)
        assert.ok(
          rules?.some((fault) => fault.rule === rule),
          `${path} ${rule}`,
        );
    }
  }
  const unknown = { ...good, transfers: [], members: [front, { ...money, agent_id: newId() }] };
  await refused(api('POST', SQUADS, unknown), 422, 'REFERENCE_NOT_FOUND', '/members/1/agent_id');
  await refused(
    api('PUT', `${SQUADS}/${made.id}`, unknown),
    ...([422, 'REFERENCE_NOT_FOUND', '/members/1/agent_id'] as const),
  );
  assert.deepEqual(
    await dataOf(200, api('GET', `${SQUADS}/${made.id}`)),
    made,
    'nothing has changed',
  );
  await refused(api('GET', `${SQUADS}/x`), 400, 'VALIDATION_FAILED', '/id');
  const execute = `${SQUADS}/${made.id}/execute`;
  const words: [object, string][] = [
    [{}, '/input'],
    [{ input: '' }, '/input'],
    [{ input: '  ' }, '/input'],
    [{ input: 'x'.repeat(4_001) }, '/input'],
    [{ input: 5 }, '/input'],
    [{ input: 'x', conversation_id: 'x' }, '/conversation_id'],
    [{ input: 'x', variables: [] }, '/variables'],
    [{ input: 'x', variables: { ['k'.repeat(65)]: 'v' } }, `/variables/${'k'.repeat(65)}`],
    [{ input: 'x', variables: { k: 'v'.repeat(17_000) } }, '/variables'],
    [{ input: 'x', voice: true }, '/voice'],
  ];
  for (const [body, path] of words) {
    await refused(api('POST', execute, body), 400, 'VALIDATION_FAILED', path);
  }
  await refused(api('POST', `${SQUADS}/${newId()}/execute`, { input: 'x' }), 404, 'NOT_FOUND');
  await refused(api('POST', execute, { input: 'x', conversation_id: newId() }), 404, 'NOT_FOUND');
});

test('accounts, roles and keys with agents: what is not theirs is not there', async (t) => {
  const { api, client, accountId } = await setUp(t);
  const team = await makeTeam(api);
  const { front, money, tech } = team;
  const squad = await dataOf<Squad>(201, api('POST', SQUADS, bodyOf(team)));
  const { conversation_id } = await say(api, squad, 'hello');
  const stranger = await client();
  const some = await client({ accountId, agentIds: [front.id, money.id] });
  const all = await client({ accountId, agentIds: [front.id, money.id, tech.id] });
  for (const api2 of [stranger, some]) {
    const one = `${SQUADS}/${squad.id}`;
    await refused(api2('GET', one), 404, 'NOT_FOUND');
    await refused(api2('DELETE', one), 404, 'NOT_FOUND');
    const execute = api2('POST', `${one}/execute`, { input: 'hi', conversation_id });
    await refused(execute, 404, 'NOT_FOUND');
    assert.deepEqual((await dataOf<{ squads: Squad[] }>(200, api2('GET', SQUADS))).squads, []);
    await refused(
      api2('POST', SQUADS, bodyOf(team)),
      422,
      'REFERENCE_NOT_FOUND',
      '/members/0/agent_id',
    );
  }
  // With a squad of its own a stranger does not get into the conversation either.
  const own = await makeAgent(stranger, 'Mine');
  const mine = { name: 'm', members: [{ agent_id: own.id, role: 'primary' }] };
  const theirs = await dataOf<Squad>(201, stranger('POST', SQUADS, mine));
  const foreign = { input: 'hi', conversation_id };
  await refused(stranger('POST', `${SQUADS}/${theirs.id}/execute`, foreign), 404, 'NOT_FOUND');
  await say(all, squad, 'hi', { conversation_id });
  assert.equal((await dataOf<{ squads: Squad[] }>(200, all('GET', SQUADS))).squads.length, 1);
  // Nor does one squad into the conversations of another.
  const second = await dataOf<Squad>(201, api('POST', SQUADS, bodyOf(team)));
  await refused(api('POST', `${SQUADS}/${second.id}/execute`, foreign), 404, 'NOT_FOUND');
  const supervisor = await client({ accountId, role: 'supervisor' });
  await say(supervisor, squad, 'hi');
  await refused(supervisor('POST', SQUADS, bodyOf(team)), 403, 'FORBIDDEN');
  const viewer = await client({ accountId, role: 'viewer' });
  await refused(viewer('POST', `${SQUADS}/${squad.id}/execute`, { input: 'x' }), 403, 'FORBIDDEN');
  await dataOf(200, viewer('GET', `${SQUADS}/${squad.id}`));
});

test('a conversation: routed, handed over, recorded, read like any call', async (t) => {
  const model = await startChatModel(t);
  const app = await startTestApp(t, model.env);
  const api = clientOf(app);
  const team = await makeTeam(api);
  const squad = await dataOf<Squad>(201, api('POST', SQUADS, bodyOf(team)));
  model.answer = (asked) =>
    asked.stream === true ? `I am ${/Front|Money|Tech/.exec(systemOf(asked))?.[0]}.` : 'no json';
  const first = await say(api, squad, 'hello', { variables: { firm: 'Example Ltd', n: 5 } });
  assert.deepEqual(
    [first.status, first.agent_id, first.agent_name, first.reply, first.handoff],
    ['active', team.front.id, 'Front', 'I am Front.', null],
  );
  assert.ok(Math.abs(first.expires_at - (Date.now() / 1000 + 1_800)) < 30);
  const { conversation_id } = first;
  const second = await say(api, squad, 'I want a refund', { conversation_id });
  assert.deepEqual(
    [second.conversation_id, second.agent_name, second.reply, second.intent, second.confidence],
    [conversation_id, 'Money', 'I am Money.', 'refund', 0.99],
  );
  assert.deepEqual(
    [second.handoff?.from, second.handoff?.to, second.handoff?.notice],
    [team.front.id, team.money.id, 'To the till.'],
  );
  const heard = model.asked.findLast(({ stream }) => stream);
  assert.match(
    heard?.messages[0]?.content ?? '',
    /^You are Money of Example Ltd\.\n\nYour colleague "Front"/,
  );
  assert.deepEqual(
    heard?.messages.slice(1).map(({ content }) => content),
    ['hello', 'I am Front.', 'I want a refund'],
  );
  // The model routes where it answers as it was asked to.
  model.answer = ({ stream }) =>
    stream === true ? 'Here.' : '{"agent": 3, "intent": "set up at home", "confidence": 0.7}';
  const third = await say(api, squad, 'my router has come', { conversation_id });
  assert.deepEqual(
    [third.agent_name, third.intent, third.confidence],
    ['Tech', 'set up at home', 0.7],
  );
  assert.equal(third.handoff?.notice, 'Transferring you now…');

  const record = await eventually(
    () => recordOf(api, conversation_id),
    ({ messages }) => messages.length === 8,
  );
  assert.deepEqual(
    [
      record.channel,
      record.source,
      record.status,
      record.agent_id,
      record.squad_id,
      record.outcome,
    ],
    ['text', 'core', 'answered', team.front.id, squad.id, null],
  );
  assert.deepEqual(record.variables, { firm: 'Example Ltd', n: '5' });
  assert.deepEqual(record.messages.map(({ content }) => content).slice(2, 5), [
    'I want a refund',
    'To the till.',
    'I am Money.',
  ]);
  const { events } = await dataOf<{ events: Event[] }>(
    200,
    api('GET', `/api/v1/call-records/${conversation_id}/events`),
  );
  const handoffs = events.filter(({ type }) => type === 'call.handoff');
  assert.deepEqual(handoffs[0]?.data, {
    ...{ from_agent_id: team.front.id, to_agent_id: team.money.id },
    summary: second.handoff?.summary,
  });
  assert.equal(handoffs.length, 2);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, at) => at + 1),
  );
  // It is no call that can be controlled, and none that counts.
  for (const command of ['hangup', 'say']) {
    const body = command === 'say' ? { text: 'x' } : {};
    const reply = api('POST', `/v1/phone/calls/${conversation_id}/${command}`, body);
    await refused(reply, 409, 'INVALID_STATE');
  }
  const { calls } = await dataOf<{ calls: unknown[] }>(200, api('GET', '/v1/phone/calls'));
  assert.deepEqual(calls, []);
  await refused(api('DELETE', `/api/v1/call-records/${conversation_id}`), 409, 'CALL_LIVE');
});

test('what a model’s failure is to the client', async (t) => {
  const model = await startChatModel(t);
  const app = await startTestApp(t, model.env);
  const api = clientOf(app);
  const { front, money } = await makeTeam(api);
  const squad = await dataOf<Squad>(
    201,
    api('POST', SQUADS, {
      name: 's',
      members: [
        { agent_id: front.id, role: 'primary' },
        { agent_id: money.id, role: 'specialist', skills: ['refund'] },
      ],
    }),
  );
  const execute = `${SQUADS}/${squad.id}/execute`;
  const { conversation_id } = await say(api, squad, 'hello');
  // Of the request alone: a refused key would keep everybody from the vendor for a while.
  model.answer = () => 400;
  const rejected = await api('POST', execute, { input: 'hello', conversation_id });
  assert.deepEqual([rejected.status, rejected.body.error?.code], [502, 'PROVIDER_REJECTED']);
  assert.equal((await recordOf(api, conversation_id)).status, 'answered', 'it goes on');
  // The primary member stands in for one whose model fails.
  model.answer = (asked) => (systemOf(asked).includes('Money') ? 400 : 'Front it is.');
  const turn = await say(api, squad, 'a refund', { conversation_id });
  assert.deepEqual([turn.agent_name, turn.handoff, turn.reply], ['Front', null, 'Front it is.']);
  const patch = { llm: { vendor: 'nobody' } };
  await dataOf(200, api('PATCH', `/api/v1/agents/${front.id}`, patch));
  const fresh = await eventually(
    () => api('POST', execute, { input: 'hello' }),
    ({ status }) => status === 422,
  );
  await refused(Promise.resolve(fresh), 422, 'PROVIDER_NOT_CONFIGURED');
});

test('without a language model the answers are fixed and kind', async (t) => {
  const app = await startTestApp(t, { CALLYARD_LLM_VENDOR: 'local' });
  const api = clientOf(app);
  const team = await makeTeam(api);
  const squad = await dataOf<Squad>(201, api('POST', SQUADS, bodyOf(team)));
  const first = await say(api, squad, '你好');
  assert.equal(first.reply, '我是Front，您的话已记下。请问还有什么需要补充的吗？');
  const second = await say(api, squad, '我要退款', { conversation_id: first.conversation_id });
  assert.deepEqual(
    [second.agent_name, second.intent, second.handoff?.notice],
    ['Money', '退款', 'To the till.'],
  );
});

test('a restart: the conversation goes on, nobody calls it lost, and it ends when its time has come', async (t) => {
  const [dataDir, databaseUrl] = [makeDataDir(t), await freshDatabase(t)];
  const start = (): Promise<TestApp> => startTestApp(t, {}, { dataDir, databaseUrl });
  const before = await start();
  const team = await makeTeam(clientOf(before));
  const squad = await dataOf<Squad>(201, clientOf(before)('POST', SQUADS, bodyOf(team)));
  const { conversation_id } = await say(clientOf(before), squad, 'I want a refund');
  const left = await say(clientOf(before), squad, 'hello');
  await before.app.stop(0);
  const app = await start();
  const api = clientOf(app);
  assert.equal((await recordOf(api, conversation_id)).status, 'answered');
  const turn = await say(api, squad, 'yes please', { conversation_id });
  assert.deepEqual([turn.agent_name, turn.handoff, turn.intent], ['Money', null, 'refund']);
  await app.app.stop(0);

  // Half an hour passes while the server is down.
  age(dataDir, left.conversation_id);
  await systemRows(
    databaseUrl,
    `UPDATE call_records SET start_time = start_time - interval '40 min',
            answer_time = answer_time - interval '40 min' WHERE id = $1`,
    [left.conversation_id],
  );
  const late = clientOf(await start());
  const ended = await eventually(
    () => recordOf(late, left.conversation_id),
    ({ status }) => status === 'ended',
  );
  assert.deepEqual([ended.status, ended.outcome], ['ended', 'idle']);
  const body = { input: 'late', conversation_id: left.conversation_id };
  await refused(late('POST', `${SQUADS}/${squad.id}/execute`, body), 409, 'INVALID_STATE');
  assert.equal((await recordOf(late, conversation_id)).status, 'answered');
  const { events } = await dataOf<{ events: Event[] }>(
    200,
    late('GET', `/api/v1/call-records/${left.conversation_id}/events`),
  );
  assert.equal(events.filter(({ type }) => type === 'call.ended').length, 1);
});

/** Makes one conversation 40 min older, in the journal where it is read from at the start. */
function age(dataDir: string, id: string): void {
  const folder = join(dataDir, 'journal');
  const older = (time: string): string => new Date(Date.parse(time) - 40 * 60_000).toISOString();
  let aged = 0;
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.jsonl'))) {
    const file = join(folder, name);
    const entries = decodeLines(readFileSync(file)).flatMap(({ entry }) => entry ?? []);
    const lines = entries.map((entry) => {
      if (entry.event.call_id !== id) return encodeLine(entry);
      aged++;
      const text = JSON.stringify(entry).replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, older);
      return encodeLine(JSON.parse(text) as JournalEntry);
    });
    writeFileSync(file, Buffer.concat(lines));
  }
  assert.ok(aged > 0);
}
