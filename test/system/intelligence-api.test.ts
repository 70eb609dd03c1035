/** Models for finished calls through the whole server: summaries on demand and by themselves, analysis, recognition. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import pg from 'pg';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { atEnd } from './_store.ts';

/** What a call has to be summed up of: the shorter, the sooner it is over. */
const GREETING = 'Hello there.';
const BRIEF = { ...SCRIPT, greeting: GREETING };
const SUMMARY_SCRIPT = {
  ...BRIEF,
  completions: [
    { match: '/three points/', reply: 'Main demands: a call to 13900139000, number {count}' },
    { match: '/zzz-nothing/', reply: '' },
  ],
};

type Meta = { source: string; model: string | null; language: string; generated_at: string };
type Row = { id: string; status: string; summary: string | null; summary_meta: Meta | null };
type Made = { summary: string; source: string; model: string | null; language: string };
type Event = { type: string; seq: number; data: Record<string, unknown> };

async function send<T>(
  server: TestApp,
  method: string,
  path: string,
  body: object,
): Promise<{ status: number; data: T; error: { code: string } }> {
  const response = await fetch(server.app.httpUrl + path, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { data: T; error: { code: string } };
  return { status: response.status, ...answer };
}

async function agentId(server: TestApp): Promise<string> {
  const { data } = await server.get<{ agents: { id: string }[] }>('/api/v1/agents');
  return data.agents[0]?.id ?? '';
}

const TALK = [
  { role: 'assistant', content: 'Hello, this is Ann from Example Ltd.', timestamp: 1767225600 },
  { role: 'user', content: 'Please call me at 13800138000 on May 3.', timestamp: 1767225602 },
  { role: 'assistant', content: 'We will call you, guaranteed returns.', timestamp: 1767225604 },
] as const;

/** A finished record that a client keeps. */
async function keepRecord(server: TestApp): Promise<string> {
  const agent_id = await agentId(server);
  const start_time = '2026-01-01T00:00:00Z';
  const made = await server.post<{ id: string }>('/api/v1/call-records', { agent_id, start_time });
  assert.equal(made.status, 201);
  const change = { messages: TALK, end_time: '2026-01-01T00:01:00Z' };
  const changed = await send(server, 'PATCH', `/api/v1/call-records/${made.data.id}`, change);
  assert.equal(changed.status, 200, JSON.stringify(changed));
  return made.data.id;
}

const summaryPath = (id: string): string => `/api/v1/call-records/${id}/generate-summary`;
const read = async (server: TestApp, id: string): Promise<Row> =>
  (await server.get<Row>(`/api/v1/call-records/${id}`)).data;

/** Greeted, and hung up by the caller; the record's id. */
async function talkOnce(t: TestContext, server: TestApp): Promise<string> {
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSpeech(0, 1_000);
  await phone.hearSilence(15_000);
  await phone.hangUp();
  const { data } = await eventually(
    () => server.get<{ records: Row[] }>('/api/v1/call-records'),
    ({ data: list }) => list.records[0]?.status === 'ended',
  );
  const [record] = data.records;
  assert.equal(record?.status, 'ended');
  return record.id;
}

async function eventsOf(server: TestApp, id: string): Promise<Event[]> {
  const { data } = await server.get<{ events: Event[] }>(
    `/api/v1/call-records/${id}/events?page_size=100`,
  );
  return data.events;
}

const isReady = (events: readonly Event[]): boolean =>
  events.some(({ type }) => type === 'summary.ready');

test('a call that ends has its summary by itself; the event comes last, without a gap', async (t) => {
  const server = await startTestApp(t, {}, { script: SUMMARY_SCRIPT });
  const id = await talkOnce(t, server);
  const events = await eventually(() => eventsOf(server, id), isReady);
  const record = await read(server, id);
  const text = 'Main demands: a call to 139****9000, number 1';
  assert.equal(record.summary, text);
  assert.deepEqual(
    [record.summary_meta?.source, record.summary_meta?.model, record.summary_meta?.language],
    ['llm', 'sim-1', 'en'],
  );
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, at) => at + 1),
  );
  const types = events.map(({ type }) => type);
  assert.deepEqual(types.slice(-3), ['call.ended', 'recording.ready', 'summary.ready']);
  assert.deepEqual(events.at(-1)?.data, { summary: text, source: 'llm' });
  const again = await server.post<Made>(summaryPath(id), {});
  assert.equal(again.data.summary, 'Main demands: a call to 139****9000, number 2');
  assert.equal((await read(server, id)).summary, again.data.summary);
  assert.equal((await eventsOf(server, id)).length, events.length, 'told once');
});

test('a summary that a stopped server owed is made by the next start', async (t) => {
  const slow = { ...BRIEF, completions: [{ reply: 'never', delayMs: 60_000 }] };
  const first = await startTestApp(t, {}, { script: slow });
  const id = await talkOnce(t, first);
  assert.equal((await read(first, id)).summary, null);
  await first.app.stop(0);
  const { dataDir, databaseUrl } = first;
  const second = await startTestApp(t, {}, { dataDir, databaseUrl, script: SUMMARY_SCRIPT });
  const events = await eventually(() => eventsOf(second, id), isReady);
  assert.deepEqual(events.at(-1)?.type, 'summary.ready');
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, at) => at + 1),
  );
  assert.match((await read(second, id)).summary ?? '', /^Main demands: a call to 139\*{4}9000/);
});

// ---- A model behind HTTP ----

type Model = {
  readonly url: string;
  readonly bodies: { messages: { content: string }[]; [key: string]: unknown }[];
  answer: (response: ServerResponse) => void;
};

const says =
  (content: string | null, more: object = {}) =>
  (response: ServerResponse): void => {
    const message = { role: 'assistant', content, ...more };
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    const body = { id: 'c', object: 'chat.completion', created: 1, model: 'm', choices };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

async function startModel(t: TestContext): Promise<Model> {
  const bodies: Model['bodies'] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()) as Model['bodies'][number]);
      model.answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const model: Model = { url, bodies, answer: says('Main demands: x') };
  return model;
}

const OPEN_AI = {
  CALLYARD_LLM_VENDOR: 'openai',
  CALLYARD_LLM_MODEL: 'model-1',
  CALLYARD_LLM_API_KEY: 'made-up-key-0001',
};

/** What asks for a summary, among the questions of a call itself. */
const summariesAsked = ({ bodies }: Model): number =>
  bodies.filter(({ stream }) => stream === false).length;

test('a client’s own summary stays; an agent may do without', async (t) => {
  const model = await startModel(t);
  const env = { ...OPEN_AI, CALLYARD_LLM_BASE_URL: model.url };
  const server = await startTestApp(t, env);
  const agent = await agentId(server);
  await send(server, 'PATCH', `/api/v1/agents/${agent}`, { greeting: GREETING });
  const held: ServerResponse[] = [];
  model.answer = (response) => held.push(response);
  const id = await talkOnce(t, server);
  await eventually(
    async () => held.length,
    (count) => count === 1,
  );
  const change = await send(server, 'PATCH', `/api/v1/call-records/${id}`, { summary: 'mine' });
  assert.equal(change.status, 200);
  model.answer = says('Main demands: of the next call');
  says('Main demands: too late')(held[0] as ServerResponse);
  const next = await talkOnce(t, server);
  assert.notEqual(next, id);
  await eventually(() => eventsOf(server, next), isReady);
  assert.equal((await read(server, next)).summary, 'Main demands: of the next call');
  const kept = await read(server, id);
  assert.deepEqual([kept.summary, kept.summary_meta?.source], ['mine', 'client']);
  assert.equal(isReady(await eventsOf(server, id)), false);

  const off = await send(server, 'PATCH', `/api/v1/agents/${agent}`, { auto_summary: false });
  assert.equal(off.status, 200, JSON.stringify(off));
  await server.app.stop(0); // no cache of agents survives
  const { dataDir, databaseUrl } = server;
  const without = await startTestApp(t, env, { dataDir, databaseUrl });
  const asked = summariesAsked(model);
  const silent = await talkOnce(t, without);
  await without.app.stop(0); // whatever was under way has ended now
  assert.equal(summariesAsked(model), asked);
  const after = await startTestApp(t, env, { dataDir, databaseUrl });
  assert.equal((await read(after, silent)).summary, null);
  assert.equal(isReady(await eventsOf(after, silent)), false);
});

test('a model behind HTTP: one question for a hundred requests, masked; whatever it does, an answer', async (t) => {
  const model = await startModel(t);
  const server = await startTestApp(t, {
    ...{ ...OPEN_AI, CALLYARD_LLM_BASE_URL: model.url },
  });
  const id = await keepRecord(server);
  model.answer = (response) => {
    setTimeout(() => says('Main demands: shared')(response), 1_500);
  };
  const all = await Promise.all(
    Array.from({ length: 100 }, () => server.post<Made>(summaryPath(id), {})),
  );
  assert.deepEqual(
    [...new Set(all.map(({ status, data }) => `${status} ${data.summary} ${data.model}`))],
    ['200 Main demands: shared model-1'],
  );
  assert.equal(model.bodies.length, 1);
  const [body] = model.bodies;
  assert.doesNotMatch(JSON.stringify(body), /13800138000/);
  assert.match(
    body?.messages[1]?.content ?? '',
    /Caller: Please call me at 138\*{4}8000 on May 3\./,
  );
  assert.deepEqual(
    [body?.['stream'], body?.['temperature'], body?.['max_tokens']],
    [false, 0.2, 200],
  );

  const answers: [string, (response: ServerResponse) => void][] = [
    ['refusal', says("I'm sorry, I can't help with that.")],
    ['withheld', says(null, { refusal: 'no' })],
    ['empty', says('')],
    ['thinking alone', says('<think>hm</think>')],
    ['no JSON', (response) => void response.writeHead(200).end('<html>')],
    ['an error', (response) => void response.writeHead(401).end('{"error":{"message":"bad key"}}')],
    ['a closed line', (response) => void response.destroy()],
  ];
  for (const [name, answer] of answers) {
    model.answer = answer;
    const { status, data } = await server.post<Made>(summaryPath(id), {});
    assert.deepEqual([status, data.source, data.model], [200, 'extractive', null], name);
    assert.match(data.summary, /Main demands: Please call me at 138\*{4}8000 on May 3\./, name);
  }
  model.answer = () => undefined; // never
  const startedMs = performance.now();
  const late = await server.post<Made>(summaryPath(id), {});
  assert.equal(late.data.source, 'extractive');
  assert.ok(performance.now() - startedMs < 5_000, 'contract 7.2: 5 s in all');
  assert.equal((await read(server, id)).summary_meta?.source, 'extractive');
});

test('analysis, script and compliance with a model behind HTTP', async (t) => {
  const model = await startModel(t);
  const server = await startTestApp(t, {
    ...{ ...OPEN_AI, CALLYARD_LLM_BASE_URL: model.url },
  });
  const id = await keepRecord(server);
  const ai = '/api/call-center/ai';
  const analysis = {
    ...{ summary: 'A refund.', intent: 'refund', satisfaction: null, keyPoints: ['May 3'] },
    ...{ sentiment: { label: 'neutral', score: 0 }, customerNeeds: [], nextActions: [] },
  };
  model.answer = says(`\`\`\`json\n${JSON.stringify(analysis)}\n\`\`\``);
  type Analysis = { source: string; intent: string; compliance: { issues: { rule: string }[] } };
  const analysed = await server.post<Analysis>(`${ai}/analyze/${id}`, {});
  assert.deepEqual([analysed.data.source, analysed.data.intent], ['llm', 'refund']);
  assert.deepEqual(
    analysed.data.compliance.issues.map(({ rule }) => rule),
    ['guaranteed_return'],
  );
  model.answer = says('{"sections": [{"title": "Opening", "content": "Hello"}], "tips": []}');
  type Script = { source: string; script: string };
  const script = await server.post<Script>(`${ai}/generate-script`, { scenario: 'x', callId: id });
  assert.deepEqual([script.data.source, script.data.script], ['llm', 'Opening\nHello']);
  const issue = {
    rule: 'vague',
    severity: 'low',
    text: 'We will call you',
    suggestion: 'Say when',
  };
  model.answer = says(JSON.stringify({ issues: [issue] }));
  type Check = { source: string; score: number; issues: { rule: string; start: number }[] };
  const check = await server.post<Check>(`${ai}/check-compliance`, { callId: id });
  const text = TALK.map(({ content }) => content).join('\n');
  assert.deepEqual(
    check.data.issues.map(({ rule, start }) => [rule, start]),
    [
      ['vague', text.indexOf('We will')],
      ['guaranteed_return', text.indexOf('guaranteed')],
    ],
  );
  assert.deepEqual([check.data.source, check.data.score], ['rules+llm', 65]);
  assert.equal(model.bodies.length, 3);
  assert.doesNotMatch(JSON.stringify(model.bodies), /13800138000/);
  model.answer = says('garbage');
  for (const [path, body, source] of [
    [`${ai}/analyze/${id}`, {}, 'rules'],
    [`${ai}/generate-script`, { scenario: 'x' }, 'template'],
    [`${ai}/check-compliance`, { callId: id }, 'rules'],
  ] as const) {
    const { status, data } = await server.post<{ source: string }>(path, body);
    assert.deepEqual([status, data.source], [200, source], path);
  }
});

test('without a model rules answer; a recording is read by the account’s recogniser', async (t) => {
  const server = await startTestApp(t, { CALLYARD_LLM_VENDOR: 'local' });
  const id = await keepRecord(server);
  const made = await server.post<Made>(summaryPath(id), {});
  assert.equal(made.data.source, 'extractive');
  const same = await server.post<Made>(summaryPath(id), {});
  assert.equal(same.data.summary, made.data.summary);
  assert.deepEqual((await send(server, 'POST', summaryPath(id), { language: 'xx' })).status, 400);

  const code = encodeUtteranceId(1);
  const pcm = new Int16Array(4_000 + code.length + 6_400);
  pcm.set(code, 4_000);
  for (let i = 0; i < 6_400; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8_000);
    pcm[4_000 + code.length + i] = 6_000 * envelope * Math.sin((2 * Math.PI * 180 * i) / 8_000);
  }
  const form = new FormData();
  form.append('sampleRate', '8000');
  form.append('file', new Blob([pcm], { type: 'audio/pcm' }), 'call.pcm');
  const response = await fetch(`${server.app.httpUrl}/api/call-center/ai/speech-to-text`, {
    ...{ method: 'POST', headers: { authorization: `Bearer ${ADMIN_KEY}` }, body: form },
  });
  const heard = (await response.json()) as { data: { text: string; vendor: string } };
  assert.equal(response.status, 200, JSON.stringify(heard));
  assert.deepEqual([heard.data.text, heard.data.vendor], [SCRIPT.utterances['1'], 'sim']);
});

test('the recogniser that ships does not read', async (t) => {
  const server = await startTestApp(t, { CALLYARD_STT_VENDOR: 'local' });
  const audio = Buffer.alloc(320).toString('base64');
  const path = '/api/call-center/ai/speech-to-text';
  const answer = await send(server, 'POST', path, { audio, format: 'pcm' });
  assert.deepEqual([answer.status, answer.error.code], [422, 'PROVIDER_NOT_CONFIGURED']);
});

test('another account’s record is not summed up, whoever asks', async (t) => {
  const server = await startTestApp(t, { CALLYARD_LLM_VENDOR: 'local' });
  const database = new pg.Client({ connectionString: server.databaseUrl });
  await database.connect();
  atEnd(t, () => database.end());
  await database.query('SET ROLE callyard_system');
  const { rows } = await database.query<{ id: string }>(
    `WITH u AS (INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), 'other@example.com') RETURNING id),
          a AS (INSERT INTO agents (user_id, name, config) SELECT id, 'Other', '{}' FROM u RETURNING id, user_id)
     INSERT INTO call_records (user_id, agent_id, start_time, end_time, status, messages)
     SELECT user_id, id, now(), now(), 'ended', $1::jsonb FROM a RETURNING id`,
    [JSON.stringify(TALK)],
  );
  const id = rows[0]?.id ?? '';
  for (const path of [summaryPath(id), `/api/call-center/ai/analyze/${id}`]) {
    const answer = await send(server, 'POST', path, {});
    assert.deepEqual([answer.status, answer.error.code], [404, 'NOT_FOUND'], path);
  }
  const check = await send(server, 'POST', '/api/call-center/ai/check-compliance', { callId: id });
  assert.deepEqual([check.status, check.error.code], [422, 'REFERENCE_NOT_FOUND']);
  const left = await database.query<Row>('SELECT summary FROM call_records WHERE id = $1', [id]);
  assert.deepEqual(left.rows, [{ summary: null }]);
});
