/** Squads in live calls over real SIP and RTP: bound, ruled, placed; and one caller handed from agent to agent. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { clientOf, dataOf, type Client } from './_answering.ts';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { startChatModel, systemOf, type ChatModel } from './_chat-model.ts';
import { startFakeCarrier } from './_fake-carrier.ts';
import { atEnd } from './_store.ts';

const SCRIPT = {
  utterances: {
    '1': 'My name is Ann and my order is 4711.',
    '2': 'I want a refund for it.',
    '3': 'Yes please.',
    '4': 'And the installation?',
  },
};

type Row = { id: string; status: string };
type Message = { role: string; content: string; interrupted?: boolean };
type Record = {
  agent_id: string;
  squad_id: string | null;
  rule_id: string | null;
  channel: string;
  messages: Message[];
};
type Event = { type: string; seq: number; data: { [name: string]: unknown } };

function utterance(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 600 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    pcm[i] = 6000 * envelope * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return pcm;
}

type Team = {
  readonly front: string;
  readonly money: string;
  readonly tech: string;
  readonly squad: string;
};

async function makeTeam(api: Client): Promise<Team> {
  const make = async (name: string, voice: string): Promise<string> => {
    const body = {
      ...{ name, system_prompt: `You are ${name} of {{firm}}.`, greeting: 'Hi.' },
      ...{ tts: { vendor: 'sim', voice }, variables: { firm: 'Example Ltd' } },
    };
    return (await dataOf<{ id: string }>(201, api('POST', '/api/v1/agents', body))).id;
  };
  const front = await make('Front', 'voice-1');
  const money = await make('Money', 'voice-2');
  const tech = await make('Tech', 'voice-3');
  const { id: squad } = await dataOf<{ id: string }>(
    201,
    api('POST', '/v1/squads', {
      name: 'Service',
      members: [
        { agent_id: front, role: 'primary' },
        { agent_id: money, role: 'specialist', skills: ['refund'] },
        { agent_id: tech, role: 'specialist', skills: ['installation'] },
      ],
      transfers: [{ from: front, to: money, when: 'refund', notice: 'One moment please.' }],
    }),
  );
  return { front, money, tech, squad };
}

async function startServer(t: TestContext): Promise<{
  readonly server: TestApp;
  readonly model: ChatModel;
  readonly api: Client;
  readonly team: Team;
}> {
  const model = await startChatModel(t);
  const carrier = await startFakeCarrier(t);
  const env = { ...model.env, CALLYARD_TRUNK: carrier.trunk };
  const server = await startTestApp(t, env, { script: SCRIPT });
  const api = clientOf(server);
  return { server, model, api, team: await makeTeam(api) };
}

/** Says one utterance, and hears the answer to its end. */
async function talk(phone: PhoneCall, id: number): Promise<void> {
  const { lastMs } = await phone.say(utterance(id));
  await phone.hearSpeech(lastMs, 6_000);
  await phone.hearSilence(10_000);
}

async function finished(api: Client): Promise<{ record: Record; events: Event[] }> {
  const { records } = await eventually(
    () => dataOf<{ records: Row[] }>(200, api('GET', '/api/v1/call-records')),
    ({ records: found }) => found[0]?.status === 'ended',
  );
  const path = `/api/v1/call-records/${records[0]?.id ?? ''}`;
  const record = await dataOf<Record>(200, api('GET', path));
  const { events } = await dataOf<{ events: Event[] }>(
    200,
    api('GET', `${path}/events?page_size=100`),
  );
  return { record, events };
}

test('a caller is handed over: the notice is heard, the next agent knows everything', async (t) => {
  const { server, model, api, team } = await startServer(t);
  const { front, money, tech, squad } = team;
  model.answer = (asked) => {
    if (asked.stream !== true) return 'no json';
    return `This is ${/You are (\w+)/.exec(systemOf(asked))?.[1]}.`;
  };
  await dataOf(200, api('PUT', '/api/v1/agent-bindings', { kind: 'default', squad_id: squad }));
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSilence(8_000);
  await talk(phone, 1);
  await talk(phone, 2);
  await talk(phone, 3);
  await talk(phone, 4);
  await phone.hangUp();
  const { record, events } = await finished(api);

  assert.deepEqual([record.agent_id, record.squad_id, record.channel], [front, squad, 'phone']);
  assert.deepEqual(
    record.messages.map(
      ({ role, content }) => `${role}: ${content.replaceAll(/\s+/g, ' ').trim()}`,
    ),
    [
      'assistant: Hi.',
      'user: My name is Ann and my order is 4711.',
      'assistant: This is Front.',
      'user: I want a refund for it.',
      'assistant: One moment please. This is Money.',
      'user: Yes please.',
      'assistant: This is Money.',
      'user: And the installation?',
      'assistant: Transferring you now…This is Tech.',
    ],
  );
  assert.ok(
    record.messages.every(({ interrupted }) => interrupted !== true),
    'all of it was heard',
  );
  const handoffs = events.filter(({ type }) => type === 'call.handoff');
  assert.deepEqual(
    handoffs.map(({ data }) => [data['from_agent_id'], data['to_agent_id']]),
    [
      [front, money],
      [money, tech],
    ],
  );
  assert.deepEqual(handoffs[0]?.data['summary'], {
    intent: 'refund',
    key_info: 'My name is Ann and my order is 4711.',
    pending: 'I want a refund for it.',
  });
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, at) => at + 1),
  );
  // The hand-over is told before the words that it brings.
  const order = events.map(({ type }) => type);
  const replies = events
    .filter(({ type }) => type === 'ai-response')
    .map(({ data }) => Number(data['audio_ms']));
  assert.ok(order.indexOf('call.handoff') > 0);
  assert.ok(
    (replies[2] ?? 0) > (replies[3] ?? Number.MAX_VALUE),
    `with a notice it is longer: ${replies.join()}`,
  );

  // The second agent got its own prompt, the note, and everything that was said.
  const asked = model.asked.filter(({ stream }) => stream);
  const toMoney = asked.find((each) => systemOf(each).startsWith('You are Money'));
  assert.match(
    systemOf(toMoney as never),
    /^You are Money of Example Ltd\.\n\nYour colleague "Front"[^]*4711/,
  );
  assert.deepEqual(
    toMoney?.messages.slice(1).map(({ content }) => content),
    ['Hi.', 'My name is Ann and my order is 4711.', 'This is Front.', 'I want a refund for it.'],
  );
});

test('a member whose model fails hands the caller back to the primary member', async (t) => {
  const { server, model, api, team } = await startServer(t);
  model.answer = (asked) => {
    if (asked.stream !== true) return 'no json';
    return systemOf(asked).startsWith('You are Money') ? 400 : 'Front it is.';
  };
  await dataOf(
    200,
    api('PUT', '/api/v1/agent-bindings', { kind: 'default', squad_id: team.squad }),
  );
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  await phone.hearSilence(8_000);
  await talk(phone, 2);
  await phone.hangUp();
  const { record, events } = await finished(api);
  const said = record.messages.at(-1)?.content.replaceAll(/\s+/g, ' ').trim();
  assert.equal(said, 'One moment please. Front it is.');
  assert.deepEqual(
    events.filter(({ type }) => type === 'call.handoff').map(({ data }) => data['to_agent_id']),
    [team.money, team.front],
  );
});

test('a rule names a squad, and a call is placed with one: its primary member answers', async (t) => {
  const { server, api, team } = await startServer(t);
  const { front, squad } = team;
  const action = { answer: true, squadId: squad };
  const rule = await dataOf<{ id: string }>(
    201,
    api('POST', '/api/v1/call-answer-rules', { name: 'r', priority: 1, conditions: {}, action }),
  );
  const found = await dataOf<{ agent: { id: string } }>(
    200,
    api('POST', '/api/v1/call-answer-rules/evaluate', {}),
  );
  assert.equal(found.agent.id, front);
  const madeMs = performance.now();
  await eventually(
    async () => performance.now(),
    (nowMs) => nowMs > madeMs + 1_100,
  );
  const phone = await placeCall({ target: server.target });
  await phone.hearSpeech(0, 3_000);
  await phone.hangUp();
  const { record } = await finished(api);
  assert.deepEqual([record.agent_id, record.squad_id, record.rule_id], [front, squad, rule.id]);

  const body = { to: '+15550100', squad_id: squad };
  const call = await dataOf<{ assistant_id: string; squad_id: string }>(
    201,
    api('POST', '/v1/phone/calls', body),
  );
  assert.deepEqual([call.assistant_id, call.squad_id], [front, squad]);
});
