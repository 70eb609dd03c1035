/** Agents over HTTP on a real database: all routes under both names, bad input, what names them, who sees them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '#lib/ids.ts';
import { dataOf, makeAgent, refused, setUp, type Agent } from './_answering.ts';

const AGENTS = '/api/v1/agents';
const BINDINGS = '/api/v1/agent-bindings';

type Binding = {
  id: string;
  kind: string;
  value: string | null;
  agent_id: string | null;
  squad_id: string | null;
};
type FullAgent = Agent & Record<string, unknown> & { created_at: string; updated_at: string };

const plain = { name: 'Plain', system_prompt: 'Be kind.' };

/** Every optional field, absent. */
const ABSENT = Object.fromEntries(
  [
    ...['description', 'greeting', 'language', 'mode', 'stt', 'llm', 'tts', 'realtime', 'turn'],
    ...['silence', 'max_duration_s', 'max_history', 'functions', 'variables', 'background'],
    ...['tools', 'filler', 'fallback_phrase', 'memory_calls', 'voicemail', 'sounds'],
    ...['recording', 'auto_summary', 'metadata'],
  ].map((name) => [name, null]),
);

const vendor = { vendor: 'openai', config_id: null, options: null, fallback: null };
const full = {
  ...{ name: '前台 Front desk', description: 'd', system_prompt: 'p', greeting: '你好 {{name}}' },
  ...{ language: 'zh-Hans-CN', mode: 'cascade', max_duration_s: 10, max_history: 0 },
  stt: { ...vendor, options: { model: 'x', nested: { deep: [null, 1] } } },
  llm: {
    ...{ ...vendor, model: 'gpt', temperature: 0, max_tokens: 100 },
    fallback: [{ vendor: 'local', config_id: null, options: { a: null } }],
  },
  tts: { ...vendor, voice: 'alloy', speed: 0.5, volume: 2 },
  realtime: { ...vendor, voice: null },
  turn: {
    ...{ endpoint_min_ms: 200, endpoint_max_ms: null, barge_in: false },
    ...{ barge_in_confirm_ms: 0, false_barge_in_ms: null },
    ...{ responsiveness: 0.2, interruption_sensitivity: null },
  },
  silence: { prompt_after_s: 5, prompts: 0, prompt_text: null, hangup_after_s: null },
  functions: [
    {
      ...{
        name: 'look_up',
        description: 'Looks up',
        url: 'https://example.com/f',
        timeout_ms: null,
      },
      parameters: { type: 'object', properties: { order: { type: ['string', 'null'] } } },
    },
  ],
  tools: {
    builtins: ['end_call', 'note'],
    mcp_servers: [{ name: 'menu', url: 'https://mcp.example/mcp' }],
  },
  filler: { after_ms: 1500, long_after_ms: null, text: 'One moment.', long_text: null },
  ...{ fallback_phrase: 'Let us talk about something else.', memory_calls: 3 },
  voicemail: { action: 'message', message: null },
  variables: { name: 'Li', __x: '' },
  sounds: {
    ...{ voice_gain_db: -3, background_gain_db: null, duck_db: 12, duck_for_caller: true },
    ...{ hold_music: 'https://example.com/hold.mp3', typing: true, notice_beep: null },
  },
  ...{ background: 'office', recording: false, auto_summary: false },
  metadata: { mask_at_rest: true, note: null },
};

test('an agent lives under both names: created, listed, read, replaced, changed, deleted', async (t) => {
  const { api, rows } = await setUp(t);
  for (const [url, key] of [
    [AGENTS, 'agents'],
    ['/v1/assistants', 'assistants'],
  ] as const) {
    const made = await dataOf<FullAgent>(201, api('POST', url, plain));
    const { id, created_at: createdAt, updated_at: updatedAt } = made;
    assert.deepEqual(made, {
      ...{ id, ...plain, ...ABSENT, created_at: createdAt, updated_at: updatedAt },
    });
    assert.deepEqual(await dataOf(200, api('GET', `${url}/${id.toUpperCase()}`)), made);

    const put = await dataOf<FullAgent>(200, api('PUT', `${url}/${id}`, full));
    assert.deepEqual(put, { ...full, id, created_at: createdAt, updated_at: put.updated_at });
    assert.ok(put.updated_at > updatedAt);
    const { id: _, created_at: _made, updated_at: _now, ...readBack } = put;
    const again = await dataOf<FullAgent>(200, api('PUT', `${url}/${id}`, readBack));
    assert.deepEqual({ ...again, updated_at: put.updated_at }, put, 'what was read can be written');
    const [row] = await rows<{ config: Record<string, unknown> }>(
      'SELECT config FROM agents WHERE id = $1',
      [id],
    );
    assert.deepEqual(row?.config['silence'], { prompt_after_s: 5, prompts: 0 });
    assert.deepEqual(row?.config['metadata'], full.metadata, 'free-form objects keep their nulls');

    const changes = { greeting: null, tts: { vendor: 'local' }, turn: null, name: 'New' };
    const patched = await dataOf<FullAgent>(200, api('PATCH', `${url}/${id}`, changes));
    assert.deepEqual(
      { ...patched, updated_at: '' },
      {
        ...{ ...put, name: 'New', greeting: null, turn: null, updated_at: '' },
        tts: { ...vendor, vendor: 'local', voice: null, speed: null, volume: null },
      },
      'top-level fields are replaced',
    );
    const whole = await dataOf<FullAgent>(200, api('PUT', `${url}/${id}`, plain));
    assert.deepEqual({ ...whole, updated_at: updatedAt }, made, 'PUT leaves nothing behind');

    const list = await dataOf<Record<string, { id: string }[]>>(200, api('GET', `${url}?q=LAI`));
    assert.deepEqual(Object.keys(list).sort(), [key, 'pagination'].sort());
    assert.deepEqual(
      list[key]?.map((each) => each.id),
      [id],
      'q is a part of the name',
    );
    assert.equal(await dataOf(200, api('DELETE', `${url}/${id}`)), null);
    for (const method of ['GET', 'DELETE']) {
      await refused(api(method, `${url}/${id}`), 404, 'NOT_FOUND');
    }
    await refused(api('PUT', `${url}/${id}`, plain), 404, 'NOT_FOUND');
    await refused(api('PATCH', `${url}/${id}`, {}), 404, 'NOT_FOUND');
    const [kept] = await rows<{ name: string }>('SELECT name FROM agents WHERE id = $1', [id]);
    assert.equal(kept?.name, 'Plain', 'the row stays for records');
  }
});

test('the list pages newest first, by page and by cursor', async (t) => {
  const { api } = await setUp(t);
  const names = ['a%b', 'a_b', 'axb', 'A%B 2', "o'hara"];
  for (const name of names) await makeAgent(api, name);
  type List = { agents: Agent[]; pagination: { total: number; next_cursor: string | null } };
  const list = (query: string): Promise<List> => dataOf(200, api('GET', `${AGENTS}?${query}`));
  const named = ({ agents }: List): string[] => agents.map(({ name }) => name);
  assert.deepEqual(named(await list('')), [...names.toReversed(), 'Default agent']);
  assert.deepEqual(named(await list('q=a%25b')), ['A%B 2', 'a%b'], '% is a sign like others');
  assert.deepEqual(named(await list('q=a_b')), ['a_b']);
  assert.deepEqual(named(await list("q='")), ["o'hara"]);
  const first = await list('page_size=4');
  assert.deepEqual([first.pagination.total, first.agents.length], [6, 4]);
  await makeAgent(api, 'later');
  const rest = await list(`page_size=4&cursor=${first.pagination.next_cursor ?? ''}`);
  assert.deepEqual(named(rest), ['a%b', 'Default agent'], 'neither repeats nor skips');
  assert.equal(rest.pagination.next_cursor, null);
  for (const query of ['page=0', 'page_size=101', 'cursor=x', 'q=', 'name=x']) {
    await refused(api('GET', `${AGENTS}?${query}`), 400, 'VALIDATION_FAILED');
  }
});

test('every bad agent is told what is wrong with it', async (t) => {
  const { api: admin, accountId, client } = await setUp(t);
  let api = admin;
  const kept = await makeAgent(api, 'Kept');
  const call = { name: 'f', description: '', parameters: {} };
  const big = { text: 'x'.repeat(16 * 1024) };
  const bodies: [object, string][] = [
    [{ name: '' }, '/name'],
    [{ name: '  ' }, '/name'],
    [{ name: 'x'.repeat(256) }, '/name'],
    [{ name: null }, '/name'],
    [{ name: 'a\uD800' }, '/name'],
    [{ id: newId() }, '/id'],
    [{ systemPrompt: 'x' }, '/systemPrompt'],
    [{ system_prompt: null }, '/system_prompt'],
    [{ system_prompt: 'x'.repeat(20_001) }, '/system_prompt'],
    [{ description: 'x'.repeat(1_001) }, '/description'],
    [{ greeting: 'x'.repeat(501) }, '/greeting'],
    [{ greeting: 5 }, '/greeting'],
    [{ language: 'not a tag' }, '/language'],
    [{ mode: 'fast' }, '/mode'],
    [{ stt: {} }, '/stt/vendor'],
    [{ stt: { vendor: '' } }, '/stt/vendor'],
    [{ stt: { vendor: 'a', voice: 'x' } }, '/stt/voice'],
    [{ stt: { vendor: 'a', config_id: 'x' } }, '/stt/config_id'],
    [{ stt: { vendor: 'a', options: [] } }, '/stt/options'],
    [{ stt: { vendor: 'a', options: big } }, '/stt/options'],
    [{ llm: { vendor: 'a', temperature: 2.1 } }, '/llm/temperature'],
    [{ llm: { vendor: 'a', temperature: '1' } }, '/llm/temperature'],
    [{ llm: { vendor: 'a', max_tokens: 0 } }, '/llm/max_tokens'],
    [{ tts: { vendor: 'a', speed: 0.4 } }, '/tts/speed'],
    [{ tts: { vendor: 'a', volume: 3 } }, '/tts/volume'],
    [
      { tts: { vendor: 'a', fallback: Array.from({ length: 4 }, () => ({ vendor: 'b' })) } },
      '/tts/fallback',
    ],
    [
      { tts: { vendor: 'a', fallback: [{ vendor: 'b', fallback: [] }] } },
      '/tts/fallback/0/fallback',
    ],
    [{ turn: { endpoint_min_ms: -1 } }, '/turn/endpoint_min_ms'],
    [{ turn: { endpoint_min_ms: 4_000 } }, '/turn/endpoint_max_ms'],
    [{ turn: { barge_in: 1 } }, '/turn/barge_in'],
    [{ silence: { hangup_after_s: 0 } }, '/silence/hangup_after_s'],
    [{ silence: 5 }, '/silence'],
    [{ max_duration_s: 9 }, '/max_duration_s'],
    [{ max_duration_s: 14_401 }, '/max_duration_s'],
    [{ max_history: 1.5 }, '/max_history'],
    [{ functions: [{ ...call, name: 'a b' }] }, '/functions/0/name'],
    [{ functions: [{ ...call, name: 'x'.repeat(65) }] }, '/functions/0/name'],
    [{ functions: [call, call] }, '/functions/1/name'],
    [
      { functions: [{ ...call, name: 'note' }], tools: { builtins: ['note'] } },
      '/functions/0/name',
    ],
    [{ tools: { builtins: ['fly'] } }, '/tools/builtins/0'],
    [
      { tools: { mcp_servers: [{ name: 'm', url: 'http://10.0.0.1/' }] } },
      '/tools/mcp_servers/0/url',
    ],
    [{ functions: [{ ...call, parameters: 'x' }] }, '/functions/0/parameters'],
    [{ functions: [{ ...call, url: 'ftp://x' }] }, '/functions/0/url'],
    [{ functions: [{ name: 'f' }] }, '/functions/0/description'],
    [
      { functions: Array.from({ length: 65 }, (_, at) => ({ ...call, name: `f${at}` })) },
      '/functions',
    ],
    [{ variables: { a: 1 } }, '/variables/a'],
    [{ variables: { ['k'.repeat(65)]: '' } }, `/variables/${'k'.repeat(65)}`],
    [{ variables: big }, '/variables'],
    [{ recording: 'on' }, '/recording'],
    [{ auto_summary: 0 }, '/auto_summary'],
    [{ metadata: [] }, '/metadata'],
    [{ metadata: big }, '/metadata'],
    [{ metadata: { mask_at_rest: 'true' } }, '/metadata/mask_at_rest'],
  ];
  for (const [index, [fields, path]] of bodies.entries()) {
    // Each key has its own rate: the table asks faster than one may.
    if (index % 20 === 0) api = await client({ accountId });
    const body = { ...plain, ...fields };
    await refused(api('POST', AGENTS, body), 400, 'VALIDATION_FAILED', path);
    await refused(api('PUT', `/v1/assistants/${kept.id}`, body), 400, 'VALIDATION_FAILED', path);
    await refused(api('PATCH', `${AGENTS}/${kept.id}`, fields), 400, 'VALIDATION_FAILED', path);
  }
  api = await client({ accountId });
  await refused(api('POST', AGENTS, { name: 'x' }), 400, 'VALIDATION_FAILED', '/system_prompt');
  const missing = { tts: { vendor: 'a', fallback: [{ vendor: 'b', config_id: newId() }] } };
  const path = '/tts/fallback/0/config_id';
  const url = `${AGENTS}/${kept.id}`;
  await refused(api('POST', AGENTS, { ...plain, ...missing }), 422, 'REFERENCE_NOT_FOUND', path);
  await refused(api('PATCH', url, missing), 422, 'REFERENCE_NOT_FOUND', path);
  const read = await dataOf<FullAgent>(200, api('GET', url));
  assert.deepEqual(read, { ...read, ...ABSENT, name: 'Kept', system_prompt: 'Be kind.' });
});

test('vendor accounts are found, and injection strings are only data', async (t) => {
  const { api, accountId, rows } = await setUp(t);
  const [config] = await rows<{ id: string }>(
    "INSERT INTO provider_configs (user_id, kind, vendor, name) VALUES ($1, 'llm', 'openai', 'x') RETURNING id",
    [accountId],
  );
  const llm = { vendor: 'openai', config_id: config?.id.toUpperCase() };
  const bound = await dataOf<FullAgent>(201, api('POST', AGENTS, { ...plain, llm }));
  assert.equal((bound['llm'] as { config_id: string }).config_id, config?.id);
  const nasty = [
    "'; DROP TABLE agents; --",
    '$1',
    '\\',
    '{{name}}',
    '<img onerror=x>',
    '\u202E',
    '%',
  ];
  for (const text of nasty) {
    const body = {
      ...{ name: text, system_prompt: text, greeting: text, description: text },
      ...{ variables: { [text]: text }, metadata: { [text]: [text] } },
      functions: [{ name: 'f', description: text, parameters: { [text]: text } }],
    };
    const made = await dataOf<FullAgent>(201, api('POST', AGENTS, body));
    const read = await dataOf<FullAgent>(200, api('GET', `/v1/assistants/${made.id}`));
    for (const field of ['name', 'system_prompt', 'greeting', 'variables', 'metadata'] as const) {
      assert.deepEqual(read[field], body[field], field);
    }
    assert.deepEqual(read['functions'], [{ ...body.functions[0], url: null, timeout_ms: null }]);
  }
  for (const [sound, path] of [
    [{ background: 'file:../../etc/passwd' }, '/background'],
    [{ background: 'disco' }, '/background'],
    [{ background: 'https://127.0.0.1/a.mp3' }, '/background'],
    [{ sounds: { hold_music: 'http://[::1]/a.mp3' } }, '/sounds/hold_music'],
    [{ sounds: { duck_db: 41 } }, '/sounds/duck_db'],
    [{ sounds: { loud: true } }, '/sounds/loud'],
  ] as const) {
    const refused = await api('POST', AGENTS, { ...plain, ...sound });
    assert.equal(refused.status, 400, JSON.stringify(sound));
    const paths = refused.body.error?.details?.map((each) => each.path);
    assert.deepEqual(paths, [path], JSON.stringify(sound));
  }
});

test('an agent that something names is not deleted, and the answer says by what', async (t) => {
  const { api, accountId, rows } = await setUp(t);
  const agent = await makeAgent(api, 'Named');
  const [squad] = await rows<{ id: string }>(
    "INSERT INTO squads (user_id, name) VALUES ($1, 's') RETURNING id",
    [accountId],
  );
  const put = (sql: string) => () => rows(sql, [accountId, agent.id]);
  const uses: [string, () => Promise<unknown>, string][] = [
    [
      'bindings',
      () => dataOf(200, api('PUT', BINDINGS, { kind: 'app', value: 'x', agent_id: agent.id })),
      'DELETE FROM agent_bindings WHERE agent_id = $1',
    ],
    [
      'rules',
      () =>
        dataOf(
          201,
          api('POST', '/api/v1/call-answer-rules', {
            ...{ name: 'r', priority: 1, conditions: {}, enabled: false },
            action: { answer: true, agentId: agent.id },
          }),
        ),
      "DELETE FROM call_answer_rules WHERE action ->> 'agentId' = $1::text",
    ],
    [
      'squads',
      put(
        `INSERT INTO squad_members (squad_id, agent_id, user_id, role) VALUES ('${squad?.id ?? ''}', $2, $1, 'primary')`,
      ),
      'UPDATE squads SET deleted_at = now() WHERE id IN (SELECT squad_id FROM squad_members WHERE agent_id = $1)',
    ],
    [
      'extensions',
      put(
        "INSERT INTO extensions (user_id, extension, name, kind, agent_id) VALUES ($1, '801', 'e', 'agent', $2)",
      ),
      'DELETE FROM extensions WHERE agent_id = $1',
    ],
    [
      'campaigns',
      put("INSERT INTO campaigns (user_id, name, agent_id, status) VALUES ($1, 'c', $2, 'paused')"),
      "UPDATE campaigns SET status = 'completed' WHERE agent_id = $1",
    ],
  ];
  for (const [what, name] of uses) {
    await name();
    const reply = api('DELETE', `${AGENTS}/${agent.id}`);
    await refused(reply, 409, 'IN_USE', what);
  }
  const all = await api('DELETE', `${AGENTS}/${agent.id}`);
  assert.deepEqual(
    all.body.error?.details?.map(({ path }) => path),
    uses.map(([what]) => what),
  );
  for (const [what, , release] of uses) {
    await refused(api('DELETE', `${AGENTS}/${agent.id}`), 409, 'IN_USE', what);
    await rows(release, [agent.id]);
  }
  await dataOf(200, api('DELETE', `${AGENTS}/${agent.id}`));
  const { agents } = await dataOf<{ agents: Agent[] }>(200, api('GET', AGENTS));
  const standard = agents.find(({ name }) => name === 'Default agent')?.id ?? '';
  await refused(api('DELETE', `${AGENTS}/${standard}`), 409, 'IN_USE', 'bindings');
  const gone = { kind: 'app', value: 'x', agent_id: agent.id };
  await refused(api('PUT', BINDINGS, gone), 422, 'REFERENCE_NOT_FOUND', '/agent_id');
});

test('other accounts, roles, and keys for some agents', async (t) => {
  const { api, accountId, client } = await setUp(t);
  const [mine, other] = [await makeAgent(api, 'Mine'), await makeAgent(api, 'Other')];
  const bind = (value: string, agentId: string): Promise<Binding> =>
    dataOf(200, api('PUT', BINDINGS, { kind: 'app', value, agent_id: agentId }));
  const [seen, unseen] = [await bind('mine', mine.id), await bind('other', other.id)];

  const stranger = await client();
  const { agents } = await dataOf<{ agents: Agent[] }>(200, stranger('GET', AGENTS));
  assert.deepEqual(agents, []);
  assert.deepEqual(await dataOf(200, stranger('GET', BINDINGS)), { bindings: [] });
  for (const method of ['GET', 'DELETE']) {
    await refused(stranger(method, `${AGENTS}/${mine.id}`), 404, 'NOT_FOUND');
  }
  await refused(stranger('PUT', `${AGENTS}/${mine.id}`, plain), 404, 'NOT_FOUND');
  await refused(stranger('DELETE', `${BINDINGS}/${seen.id}`), 404, 'NOT_FOUND');
  const theirs = { kind: 'default', agent_id: mine.id };
  await refused(stranger('PUT', BINDINGS, theirs), 422, 'REFERENCE_NOT_FOUND', '/agent_id');

  for (const role of ['viewer', 'supervisor']) {
    const reader = await client({ accountId, role });
    await dataOf(200, reader('GET', `${AGENTS}/${mine.id}`));
    await dataOf(200, reader('GET', BINDINGS));
    await refused(reader('POST', AGENTS, plain), 403, 'FORBIDDEN');
    await refused(reader('PATCH', `/v1/assistants/${mine.id}`, {}), 403, 'FORBIDDEN');
    await refused(reader('PUT', BINDINGS, theirs), 403, 'FORBIDDEN');
  }

  const some = await client({ accountId, agentIds: [mine.id] });
  const listed = await dataOf<{ agents: Agent[] }>(200, some('GET', AGENTS));
  assert.deepEqual(
    listed.agents.map(({ id }) => id),
    [mine.id],
  );
  await refused(some('GET', `/v1/assistants/${other.id}`), 404, 'NOT_FOUND');
  await refused(some('PATCH', `${AGENTS}/${other.id}`, { name: 'x' }), 404, 'NOT_FOUND');
  await refused(some('POST', AGENTS, plain), 403, 'FORBIDDEN');
  assert.deepEqual(await dataOf(200, some('GET', BINDINGS)), { bindings: [seen] });
  await refused(some('DELETE', `${BINDINGS}/${unseen.id}`), 404, 'NOT_FOUND');
  const take = { kind: 'app', value: 'other', agent_id: mine.id };
  await refused(some('PUT', BINDINGS, take), 404, 'NOT_FOUND');
  const give = { kind: 'app', value: 'mine', agent_id: other.id };
  await refused(some('PUT', BINDINGS, give), 422, 'REFERENCE_NOT_FOUND');
});
