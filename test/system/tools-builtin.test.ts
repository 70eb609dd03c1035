/** Built-in tools and the memory of callers on live calls of the whole server. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { atEnd } from './_store.ts';
import { openSocket, type Client } from './_ws-client.ts';

const LOCAL = { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' };

type Message = { role: string; content: string; name?: string; tool_calls?: { name: string }[] };
type Call = { readonly client: Client; readonly id: string };

async function agentWith(server: TestApp, more: object): Promise<string> {
  const body = { name: 'Host', system_prompt: 'You are the host.', ...more };
  const { status, data } = await server.post<{ id: string }>('/v1/assistants', body);
  assert.equal(status, 201, JSON.stringify(data));
  return data.id;
}

async function dial(t: TestContext, server: TestApp, agent: string): Promise<Call> {
  const { data } = await server.post<{ call_id: string; ws_url: string; ticket: string }>(
    '/api/call/initiate',
    { phone_number: '+15550100', media: 'websocket', agent_id: agent },
  );
  const client = await openSocket(t, `${data.ws_url}?ticket=${data.ticket}`);
  await client.frame('mark');
  return { client, id: data.call_id };
}

async function says(client: Client, text: string): Promise<void> {
  const all = (): string =>
    client.frames
      .filter(({ type }) => type === 'ai-response')
      .map((frame) => String(frame['text']))
      .join(' ');
  await eventually(async () => all().includes(text), Boolean);
  assert.ok(all().includes(text), `not said: ${text}, but: ${all()}`);
}

async function ended(server: TestApp, { client, id }: Call) {
  client.send({ type: 'hangup' });
  await client.closed;
  const { data } = await eventually(
    () =>
      server.get<{ status: string; summary: string | null; messages: Message[]; ended_by: string }>(
        `/api/v1/call-records/${id}`,
      ),
    (answer) => answer.data.status === 'ended',
  );
  return data;
}

test('end_call: the farewell is heard, then the agent hangs up', async (t) => {
  const script = {
    greeting: 'Hi.',
    replies: [
      {
        match: 'Bye.',
        reply: '',
        call: { name: 'end_call', arguments: { reason: 'done', say: 'See you soon.' } },
      },
    ],
  };
  const server = await startTestApp(t, LOCAL, { script });
  const agent = await agentWith(server, { tools: { builtins: ['end_call'] } });
  const call = await dial(t, server, agent);
  call.client.send({ type: 'text', text: 'Bye.' });
  await says(call.client, 'See you soon.');
  await call.client.closed;
  const record = await ended(server, call);
  assert.equal(record.ended_by, 'agent');
  assert.ok(
    record.messages.some(
      ({ role, content }) => role === 'assistant' && content === 'See you soon.',
    ),
  );
});

test('collect_dtmf: the keys are one input, none is a turn, and none is kept where words are masked', async (t) => {
  const script = {
    greeting: 'Hi.',
    replies: [
      {
        match: 'Pay.',
        reply: '',
        call: {
          name: 'collect_dtmf',
          arguments: { prompt: 'Your number, please.', max_digits: 8 },
        },
      },
      { result: '/"digits":"471100".*finish_key/', reply: 'Thank you.' },
    ],
    defaultReply: 'A turn of its own.',
  };
  const server = await startTestApp(t, LOCAL, { script });
  for (const isMasked of [false, true]) {
    const agent = await agentWith(server, {
      ...{ tools: { builtins: ['collect_dtmf'] }, metadata: { mask_at_rest: isMasked } },
    });
    const call = await dial(t, server, agent);
    call.client.send({ type: 'text', text: 'Pay.' });
    await eventually(async () => {
      const path = `/api/call/${call.id}/conversation`;
      const { data } = await server.get<{ messages: Message[] }>(path);
      return data.messages.some(({ tool_calls: calls }) => calls?.[0]?.name === 'collect_dtmf');
    }, Boolean);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const digits of ['4', '71', '100', '#']) call.client.send({ type: 'dtmf', digits });
    await says(call.client, 'Thank you.');
    const { messages } = await ended(server, call);
    const text = JSON.stringify(messages);
    assert.doesNotMatch(text, /A turn of its own|\[DTMF/);
    assert.equal(text.includes('471100'), !isMasked);
  }
});

test('hand_off, note and play_audio, and what transfer_call says', async (t) => {
  const wav = wavOf(new Int16Array(4_000));
  const files = createServer((_request, response) => response.end(wav));
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    files.close();
  });
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/tune.wav`;
  const script = {
    greeting: 'Hi.',
    replies: [
      { note: '/You are the kitchen.*Wants the chef/s', reply: 'Kitchen speaking.' },
      {
        match: 'Note.',
        reply: '',
        call: { name: 'note', arguments: { text: 'Wants a window seat.' } },
      },
      { match: 'Transfer.', reply: '', call: { name: 'transfer_call', arguments: { to: '8001' } } },
      { match: 'Play.', reply: '', call: { name: 'play_audio', arguments: { name: 'tune' } } },
      {
        match: 'Hand off.',
        reply: '',
        call: { name: 'hand_off', arguments: { name: 'Kitchen', summary: 'Wants the chef' } },
      },
      { result: '/cannot transfer/', reply: 'I cannot transfer.' },
      { result: '/"seconds":0.5/', reply: 'That was it.' },
      { result: '/"ok":true/', reply: 'Noted.' },
    ],
  };
  const server = await startTestApp(t, LOCAL, { script });
  const kitchen = await agentWith(server, {
    name: 'Kitchen',
    system_prompt: 'You are the kitchen.',
  });
  const builtins = ['note', 'transfer_call', 'play_audio', 'hand_off'];
  const agent = await agentWith(server, { tools: { builtins }, variables: { tune: url } });
  const call = await dial(t, server, agent);
  const talk = async (text: string, answer: string): Promise<void> => {
    call.client.send({ type: 'text', text });
    await says(call.client, answer);
  };
  await talk('Note.', 'Noted.');
  await talk('Transfer.', 'I cannot transfer.');
  await talk('Play.', 'That was it.');
  await talk('Hand off.', 'Kitchen speaking.');
  const { messages } = await ended(server, call);
  assert.ok(messages.some(({ content }) => content === '[Note] Wants a window seat.'));
  assert.ok(messages.some(({ content }) => content.includes('[Audio: tune.wav]')));
  const { data } = await server.get<{ events: { type: string; data: Record<string, unknown> }[] }>(
    `/api/v1/call-records/${call.id}/events?page_size=100`,
  );
  const handed = data.events.filter(({ type }) => type === 'call.handoff');
  assert.deepEqual(
    handed.map(({ data: facts }) => [facts['from_agent_id'], facts['to_agent_id']]),
    [[agent, kitchen]],
  );
});

test('an agent that remembers knows the number again; one that does not, does not', async (t) => {
  const script = {
    greeting: 'Hi.',
    completions: [{ reply: 'Wanted a table for four, card 4111 1111 1111 1111.' }],
    replies: [
      {
        match: 'Again.',
        note: '/Earlier calls with this number.*table for four/s',
        reply: 'Four again?',
      },
      { match: 'Again.', note: '/About this call:.*\\+15550100/s', reply: 'Who is it?' },
    ],
    defaultReply: 'I see.',
  };
  const server = await startTestApp(t, LOCAL, { script });
  const mindful = await agentWith(server, { memory_calls: 2 });
  const first = await dial(t, server, mindful);
  first.client.send({ type: 'text', text: 'A table for four.' });
  await says(first.client, 'I see.');
  await ended(server, first);
  await eventually(
    () => server.get<{ summary: string | null }>(`/api/v1/call-records/${first.id}`),
    ({ data }) => data.summary !== null,
  );
  const second = await dial(t, server, mindful);
  second.client.send({ type: 'text', text: 'Again.' });
  await says(second.client, 'Four again?');
  await ended(server, second);
  const third = await dial(t, server, await agentWith(server, {}));
  third.client.send({ type: 'text', text: 'Again.' });
  await says(third.client, 'Who is it?');
  await ended(server, third);
});

/** Mono at 8 kHz. */
function wavOf(pcm: Int16Array): Buffer {
  const head = Buffer.alloc(44);
  head.write('RIFF', 0).toString();
  head.writeUInt32LE(36 + pcm.byteLength, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(8_000, 24);
  head.writeUInt32LE(16_000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(pcm.byteLength, 40);
  return Buffer.concat([head, Buffer.from(pcm.buffer)]);
}
