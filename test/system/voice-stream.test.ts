/** `POST /v1/voice/stream` through the whole server with the scripted vendors: speech in, speech out, turn by turn. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { newId } from '#lib/ids.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { splitSentences } from '#providers/sentences.ts';
import { simWords, simWordSound } from '#providers/sim/tts.ts';
import { clientOf, dataOf, makeAgent, setUp } from './_answering.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import {
  eventsIn,
  send,
  soundOf,
  streamTurn,
  textOf,
  type StreamedEvent,
} from './_event-stream.ts';
import { makeApiKey } from './_identity.ts';
import { atEnd } from './_store.ts';

type Message = { role: string; content: string; interrupted?: boolean; tool_calls?: object[] };
type Record = {
  status: string;
  channel: string;
  squad_id: string | null;
  agent_id: string;
  messages: Message[];
};
type Event = { type: string; seq: number; data: object };

const LONG = `${'Seven words make this sentence long enough. '.repeat(8)}That is all.`;
const TALK = {
  ...SCRIPT,
  replies: [
    ...SCRIPT.replies,
    { match: 'Tell me a long story.', reply: LONG },
    { match: '/^where is/', reply: 'One moment.', call: { name: 'look_up', arguments: { id: 7 } } },
    { result: '/sent/', reply: 'It is on its way.' },
    { match: '/goodbye/', reply: 'Goodbye.', endCall: true },
    { match: '/break/', reply: 'Two sentences. Not this one.' },
  ],
  faults: [{ provider: 'tts', kind: 'error', match: 'Not this one.' }],
};

function doneOf(events: readonly StreamedEvent[]): StreamedEvent['data'] {
  const ends = events.filter(({ event }) => event === 'done' || event === 'error');
  assert.equal(ends.length, 1, JSON.stringify(ends));
  assert.equal(events.at(-1)?.event, 'done', JSON.stringify(events.at(-1)));
  return events.at(-1)?.data ?? {};
}

async function say(server: Pick<TestApp, 'app'>, text: string, query = '') {
  const answer = await streamTurn(server, { body: { text }, query });
  assert.equal(answer.status, 200, answer.code ?? '');
  const id = String(doneOf(answer.events)['conversation_id']);
  return { id, events: answer.events, done: doneOf(answer.events) };
}

const messagesOf = async (server: TestApp, id: string, count: number): Promise<Message[]> => {
  const path = `/api/v1/call-records/${id}`;
  const asked = await eventually(
    () => server.get<Record>(path),
    ({ data }) => data.messages.length >= count,
  );
  return asked.data.messages;
};

const brief = (messages: readonly Message[]): unknown[][] =>
  messages.map(({ role, content, interrupted }) =>
    interrupted === undefined ? [role, content] : [role, content, interrupted],
  );

/** The telephone's speech of utterance `id` at `rateHz`, as a program would record it. */
function utterance(id: number, rateHz: 8_000 | 16_000): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(4_000 + code.length + 6_400);
  pcm.set(code, 4_000);
  for (let i = 0; i < 6_400; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8_000);
    pcm[4_000 + code.length + i] = 6_000 * envelope * Math.sin((2 * Math.PI * 180 * i) / 8_000);
  }
  if (rateHz === 8_000) return pcm;
  // Between two samples lies their mean.
  return Int16Array.from({ length: pcm.length * 2 }, (_, at) =>
    Math.round(((pcm[at >> 1] ?? 0) + (pcm[(at + 1) >> 1] ?? 0)) / 2),
  );
}

function wavOf(pcm: Int16Array, rateHz: number): Uint8Array {
  const bytes = Buffer.alloc(44 + pcm.byteLength);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + pcm.byteLength, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt32LE(0x0001_0001, 20); // PCM, one channel
  bytes.writeUInt32LE(rateHz, 24);
  bytes.writeUInt32LE(rateHz * 2, 28);
  bytes.writeUInt32LE(0x0010_0002, 32); // 2 bytes a sample, 16 bits
  bytes.write('data', 36);
  bytes.writeUInt32LE(pcm.byteLength, 40);
  bytes.set(new Uint8Array(pcm.buffer), 44);
  return bytes;
}

/** What the scripted voice makes of a text, sentence by sentence, at 8 kHz. */
function voiceOf(text: string): Int16Array {
  const words = splitSentences(text).flatMap((sentence) => simWords(sentence));
  return Int16Array.from(words.flatMap((word) => [...simWordSound(word.text)]));
}

/** The highest normalised correlation of `heard` (16 kHz) with `made` (8 kHz), at a lag of at most 10 ms. */
function correlation(heard: Int16Array, made: Int16Array): number {
  let best = 0;
  for (let lag = 0; lag <= 160; lag++) {
    let [both, one, other] = [0, 0, 0];
    for (let i = 0; i < made.length && 2 * i + lag < heard.length; i++) {
      const [a, b] = [made[i] as number, heard[2 * i + lag] as number];
      both += a * b;
      one += a * a;
      other += b * b;
    }
    best = Math.max(best, both / Math.sqrt(one * other));
  }
  return best;
}

test('a written turn is answered in words and sound, and is a record like every other', async (t) => {
  const server = await startTestApp(t, {}, { script: TALK });
  const { id, events, done } = await say(server, 'Tell me a long story.');
  assert.deepEqual(events[0], {
    event: 'transcript',
    data: { conversation_id: id, text: 'Tell me a long story.', is_final: true },
  });
  assert.equal(textOf(events), LONG);
  const responses = events.filter(({ event }) => event === 'response');
  assert.deepEqual(
    responses.map(({ data }) => data['is_final']),
    responses.map((_, at) => at === responses.length - 1),
  );
  // No sound before the words that it says.
  let told = 0;
  let heard = 0;
  for (const { event, data } of events) {
    if (event === 'response') told += String(data['text']).length;
    if (event !== 'audio') continue;
    heard += Buffer.from(String(data['audio']), 'base64').length / 6_400;
    const words = simWords(LONG.slice(0, told)).length;
    assert.ok(heard <= words + 0.1, `${heard} words heard of ${words}`);
  }
  const sound = soundOf(events);
  const made = voiceOf(LONG);
  assert.ok(
    Math.abs(sound.length / 2 - made.length) < 200,
    `${sound.length} of ${made.length * 2}`,
  );
  const likeness = correlation(sound, made);
  assert.ok(likeness >= 0.98, `correlation ${likeness}`);
  assert.deepEqual([done['status'], done['pending_calls']], ['active', []]);
  assert.equal(typeof done['latency_ms'], 'number');
  assert.ok(Math.abs(Number(done['expires_at']) - (Date.now() / 1000 + 1_800)) < 60);

  assert.deepEqual(brief(await messagesOf(server, id, 2)), [
    ['user', 'Tell me a long story.'],
    ['assistant', LONG],
  ]);
  const { data: record } = await server.get<Record>(`/api/v1/call-records/${id}`);
  assert.deepEqual([record.channel, record.status, record.squad_id], ['text', 'answered', null]);
  const { data } = await eventually(
    () => server.get<{ events: Event[] }>(`/api/v1/call-records/${id}/events`),
    ({ data: page }) => page.events.length >= 5,
  );
  const stored = data.events.toSorted((one, other) => one.seq - other.seq);
  assert.deepEqual(
    stored.map(({ type }) => type),
    [
      ...['call.initiated', 'call.answered', 'conversation.message', 'ai-response'],
      'conversation.message',
    ],
  );
  type Usage = { total: { tts_chars: number; llm_tokens_in: number } };
  const usage = await eventually(
    () => server.get<Usage>(`/api/v1/usage?from=${today()}&to=${today(1)}`),
    ({ data: used }) => used.total.tts_chars > 0,
  );
  assert.ok(usage.data.total.tts_chars >= LONG.length - 20, JSON.stringify(usage.data.total));
});

function today(plusDays = 0): string {
  return new Date(Date.now() + plusDays * 86_400_000).toISOString().slice(0, 10);
}

test('a spoken turn, as WAV and as PCM at several rates, goes on with the conversation', async (t) => {
  const server = await startTestApp(t);
  const first = await streamTurn(server, {
    body: wavOf(utterance(1, 8_000), 8_000),
    type: 'audio/wav',
  });
  const id = String(doneOf(first.events)['conversation_id']);
  assert.equal(textOf(first.events, 'transcript'), SCRIPT.utterances['1']);
  assert.equal(textOf(first.events), 'Your order is cancelled.');
  const likeness = correlation(soundOf(first.events), voiceOf('Your order is cancelled.'));
  assert.ok(likeness >= 0.98, `correlation ${likeness}`);
  for (const [rateHz, query] of [
    [16_000, ''],
    [8_000, '&sample_rate=8000'],
  ] as const) {
    const pcm = utterance(2, rateHz);
    const next = await streamTurn(server, {
      body: new Uint8Array(pcm.buffer),
      type: 'audio/pcm',
      query: `conversation_id=${id}${query}`,
    });
    assert.equal(doneOf(next.events)['conversation_id'], id);
    assert.equal(textOf(next.events, 'transcript'), SCRIPT.utterances['2'], `at ${rateHz}`);
    assert.equal(textOf(next.events), 'I have stopped.');
  }
  const messages = await messagesOf(server, id, 6);
  assert.deepEqual(brief(messages.slice(0, 3)), [
    ['user', SCRIPT.utterances['1']],
    ['assistant', 'Your order is cancelled.'],
    ['user', SCRIPT.utterances['2']],
  ]);
  const silent = await streamTurn(server, {
    body: new Uint8Array(16_000),
    type: 'audio/pcm',
    query: `conversation_id=${id}`,
  });
  assert.deepEqual(
    silent.events.map(({ event, data }) => [event, data['text']]),
    [
      ['transcript', ''],
      ['done', undefined],
    ],
  );
});

test('a conversation goes on after a restart, until its agent ends it', async (t) => {
  const first = await startTestApp(t, {}, { script: TALK });
  const { id } = await say(first, 'Stop please.');
  await first.app.stop(0);
  const { dataDir, databaseUrl } = first;
  const second = await startTestApp(t, {}, { dataDir, databaseUrl, script: TALK });
  const next = await say(second, 'goodbye', `conversation_id=${id}`);
  assert.deepEqual([next.id, next.done['status']], [id, 'completed']);
  const over = await streamTurn(second, { body: { text: 'hi' }, query: `conversation_id=${id}` });
  assert.deepEqual([over.status, over.code], [409, 'INVALID_STATE']);
  const messages = await messagesOf(second, id, 4);
  assert.deepEqual(
    messages.map(({ content }) => content),
    ['Stop please.', 'I have stopped.', 'goodbye', 'Goodbye.'],
  );
  const { data } = await eventually(
    () => second.get<Record>(`/api/v1/call-records/${id}`),
    ({ data: record }) => record.status === 'ended',
  );
  assert.equal(data.status, 'ended');
});

test('functions of the client: asked for at the end of a turn, answered with the next', async (t) => {
  const server = await startTestApp(t, {}, { script: TALK });
  const api = clientOf(server);
  const agent = await makeAgent(api, 'Clerk');
  const functions = [
    { name: 'look_up', description: 'Finds an order', parameters: { type: 'object' } },
  ];
  const changed = await api('PATCH', `/api/v1/agents/${agent.id}`, { functions });
  assert.equal(changed.status, 200, JSON.stringify(changed.body));
  const first = await say(server, 'where is my order?', `assistant_id=${agent.id}`);
  const call = first.events.find(({ event }) => event === 'function_call')?.data ?? {};
  assert.deepEqual([call['function_name'], call['arguments']], ['look_up', { id: 7 }]);
  assert.deepEqual(first.done['pending_calls'], [call['call_id']]);
  assert.equal(first.events.at(-2)?.event, 'function_call');
  const query = `conversation_id=${first.id}`;
  const wrong = await streamTurn(server, {
    body: { function_results: [{ call_id: newId(), result: 1 }] },
    query,
  });
  assert.deepEqual(
    [wrong.status, wrong.code, wrong.faults],
    [422, 'REFERENCE_NOT_FOUND', ['/function_results/0/call_id exists']],
  );
  const results = [{ call_id: call['call_id'], result: { state: 'sent' } }];
  const next = await streamTurn(server, { body: { function_results: results }, query });
  assert.equal(textOf(next.events), 'It is on its way.');
  assert.equal(textOf(next.events, 'transcript'), '');
  assert.deepEqual(doneOf(next.events)['pending_calls'], []);
  const messages = await messagesOf(server, first.id, 5);
  assert.deepEqual(
    messages.map(({ role }) => role),
    ['user', 'assistant', 'assistant', 'function', 'assistant'],
  );
});

test('a fault of a vendor is one `error` at the end; the conversation goes on', async (t) => {
  const server = await startTestApp(t, {}, { script: TALK });
  const { events } = await streamTurn(server, { body: { text: 'break it' } });
  const last = events.at(-1);
  assert.deepEqual([last?.event, last?.data['code']], ['error', 'PROVIDER_TIMEOUT']);
  assert.ok(soundOf(events).length >= 6_000, 'what was made before it is heard');
  const id = String(last?.data['conversation_id']);
  assert.equal((await say(server, 'Stop please.', `conversation_id=${id}`)).id, id);
  assert.deepEqual(brief(await messagesOf(server, id, 4)), [
    ['user', 'break it'],
    ['assistant', 'Two sentences.', true],
    ['user', 'Stop please.'],
    ['assistant', 'I have stopped.'],
  ]);
});

test('a client that leaves stops the agent; what it was given stands in the record', async (t) => {
  const script = { ...TALK, faults: [{ provider: 'tts', kind: 'slow' }] };
  const server = await startTestApp(t, {}, { script });
  const left = new AbortController();
  const response = await send(server, {
    body: { text: 'Tell me a long story.' },
    signal: left.signal,
  });
  let text = '';
  await assert.rejects(
    (async () => {
      for await (const part of response.body ?? []) {
        text += Buffer.from(part).toString();
        if (text.split('event: audio').length > 3) left.abort();
      }
    })(),
  );
  const [transcript] = eventsIn(`${text.split('\n\n').slice(0, 2).join('\n\n')}\n\n`);
  const id = String(transcript?.data['conversation_id']);
  // At once, as somebody does who has just interrupted.
  const next = await say(server, 'Stop please.', `conversation_id=${id}`);
  assert.equal(textOf(next.events), 'I have stopped.');
  const messages = brief(await messagesOf(server, id, 4));
  const [, content = '', interrupted] = messages[1] ?? [];
  assert.equal(interrupted, true, JSON.stringify(messages));
  assert.ok(LONG.startsWith(String(content)) && String(content).length < 80, String(content));
  assert.deepEqual(messages.slice(2), [
    ['user', 'Stop please.'],
    ['assistant', 'I have stopped.'],
  ]);
});

/** A request on a socket of its own, read only when asked. */
async function rawTurn(t: TestContext, server: TestApp, text: string): Promise<Socket> {
  const socket = connect(Number(new URL(server.app.httpUrl).port), '127.0.0.1');
  atEnd(t, () => void socket.destroy());
  const body = JSON.stringify({ text });
  const head = [
    ...['POST /v1/voice/stream HTTP/1.1', 'host: x', `authorization: Bearer ${ADMIN_KEY}`],
    ...['content-type: application/json', `content-length: ${body.length}`, 'connection: close'],
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  await once(socket, 'readable');
  return socket;
}

test('a slow reader gets all of it, in order; the voice waits for it', async (t) => {
  // Figures would be said in words.
  const letters = (at: number): string =>
    at.toString(10).replace(/\d/g, (digit) => 'abcdefghij'.charAt(Number(digit)));
  const words = Array.from({ length: 1_200 }, (_, at) => `w${letters(at)}`);
  const long = words.map((word, at) => (at % 10 === 9 ? `${word}.` : word)).join(' ');
  const server = await startTestApp(t, {}, { script: { ...SCRIPT, defaultReply: long } });
  const socket = await rawTurn(t, server, 'hi');
  // Nothing is read: what was begun stops by itself, and everybody else is served.
  const other = await say(server, 'Stop please.');
  assert.equal(textOf(other.events), 'I have stopped.');
  let bytes = '';
  for await (const part of socket) bytes += String(part);
  const [head = '', ...rest] = bytes.split('\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 200 OK/);
  // Chunked (RFC 9112 7.1): a line with the size before each.
  const text = rest.join('\r\n\r\n').replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, '');
  const events = eventsIn(text.replace(/\r\n$/, ''));
  doneOf(events);
  assert.ok(textOf(events) === long, 'the whole text');
  const sound = soundOf(events);
  const made = voiceOf(long);
  assert.ok(
    Math.abs(sound.length / 2 - made.length) < 400,
    `${sound.length} of ${made.length * 2}`,
  );
  const part = 60 * 8_000;
  const [heard, said] = [sound.subarray(-2 * part - 160), made.subarray(-part)];
  const likeness = Math.max(correlation(heard, said), correlation(heard.subarray(1), said));
  assert.ok(likeness >= 0.98, `correlation of the last minute ${likeness}`);
});

test('without a model: fixed words; without a recogniser that reads, speech needs one', async (t) => {
  const server = await startTestApp(t, { CALLYARD_LLM_VENDOR: 'local' });
  const { events } = await say(server, 'hello');
  assert.match(textOf(events), /I have noted what you wrote/);
  assert.ok(soundOf(events).length > 16_000);
  const deaf = await startTestApp(t, { CALLYARD_STT_VENDOR: 'local' });
  const turn = { body: new Uint8Array(16_000), type: 'audio/pcm' };
  const refused = await streamTurn(deaf, turn);
  assert.deepEqual([refused.status, refused.code], [422, 'PROVIDER_NOT_CONFIGURED']);
  const none = { CALLYARD_STT_VENDOR: 'local', CALLYARD_LLM_VENDOR: 'local' };
  const alone = await startTestApp(t, none);
  const body = new Uint8Array(utterance(1, 16_000).buffer);
  const echo = await streamTurn(alone, { body, type: 'audio/pcm' });
  doneOf(echo.events);
  assert.ok(soundOf(echo.events).length > 32_000);
});

test('who may talk with whom: other accounts, keys for some agents, squads', async (t) => {
  const { app, api, accountId: account } = await setUp(t);
  const [mine, other] = [await makeAgent(api, 'Mine'), await makeAgent(api, 'Other')];
  const { id } = await say(app, 'Stop please.', `assistant_id=${mine.id}`);
  const bound = (await makeApiKey(app, account, { agentIds: [other.id] })).key;
  const stranger = newId();
  const body = { text: 'hi' };
  const rows: [string, string | undefined, number, string, string[]][] = [
    [`assistant_id=${stranger}`, undefined, 422, 'REFERENCE_NOT_FOUND', ['?assistant_id exists']],
    [`conversation_id=${stranger}`, undefined, 404, 'NOT_FOUND', []],
    [`conversation_id=${id}&assistant_id=${other.id}`, undefined, 404, 'NOT_FOUND', []],
    [`conversation_id=${id}`, bound, 404, 'NOT_FOUND', []],
    [`assistant_id=${mine.id}`, bound, 422, 'REFERENCE_NOT_FOUND', ['?assistant_id exists']],
  ];
  for (const [query, key, status, code, faults] of rows) {
    const answer = await streamTurn(app, { body, query, ...(key === undefined ? {} : { key }) });
    assert.deepEqual([answer.status, answer.code, answer.faults], [status, code, faults], query);
  }
  const own = await streamTurn(app, { body, key: bound });
  const ownId = String(doneOf(own.events)['conversation_id']);
  const { data } = await eventually(
    () => app.get<Record>(`/api/v1/call-records/${ownId}`),
    ({ status }) => status === 200,
  );
  assert.equal(data.agent_id, other.id, 'the key’s own agent stands in for the default');
  // A squad's conversation is gone on with by `execute`, and an agent's here.
  const members = [{ agent_id: mine.id, role: 'primary' }];
  const squad = await dataOf<{ id: string }>(
    201,
    api('POST', '/v1/squads', { name: 'S', members }),
  );
  const executed = await dataOf<{ conversation_id: string }>(
    200,
    api('POST', `/v1/squads/${squad.id}/execute`, { input: 'hi' }),
  );
  const query = `conversation_id=${executed.conversation_id}`;
  assert.equal((await streamTurn(app, { body, query })).status, 404);
  const crossed = await api('POST', `/v1/squads/${squad.id}/execute`, {
    ...{ input: 'hi', conversation_id: id },
  });
  assert.equal(crossed.status, 404);
});

test('bad input is refused before the stream', async (t) => {
  const server = await startTestApp(t);
  const rows: [Parameters<typeof streamTurn>[1], number, string][] = [
    [{ body: {} }, 400, 'VALIDATION_FAILED'],
    [{ body: { text: 'x', more: 1 } }, 400, 'VALIDATION_FAILED'],
    [{ body: '{"text"' }, 400, 'INVALID_JSON'],
    [{ body: 'RIFF', type: 'audio/wav' }, 400, 'VALIDATION_FAILED'],
    [{ body: new Uint8Array(3), type: 'audio/pcm' }, 400, 'VALIDATION_FAILED'],
    [{ body: new Uint8Array(61 * 32_000), type: 'audio/pcm' }, 400, 'VALIDATION_FAILED'],
    [{ body: 'x', type: 'audio/ogg' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    [{ body: { text: 'x' }, query: 'assistant_id=1' }, 400, 'VALIDATION_FAILED'],
    [{ body: { text: 'x' }, key: 'none' }, 401, 'UNAUTHENTICATED'],
  ];
  for (const [turn, status, code] of rows) {
    const answer = await streamTurn(server, turn);
    assert.deepEqual(
      [answer.status, answer.code],
      [status, code],
      JSON.stringify(turn).slice(0, 99),
    );
  }
});

test('a stop of the server ends a stream with DRAINING, whether or not it is read', async (t) => {
  const script = { ...SCRIPT, faults: [{ provider: 'tts', kind: 'slow' }], defaultReply: LONG };
  const server = await startTestApp(t, {}, { script });
  const read = streamTurn(server, { body: { text: 'hi' } });
  const unread = await rawTurn(t, server, 'hi');
  await eventually(
    async () => unread.readableLength,
    (length) => length > 2_000,
  );
  await server.app.stop(0);
  const { events } = await read;
  assert.deepEqual([events.at(-1)?.event, events.at(-1)?.data['code']], ['error', 'DRAINING']);
});
