/** The server of the guide, as it stands, against a live call. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newWebhookSecret, signatureHeaders } from '#lib/webhook-signature.ts';
import { ADMIN_KEY, startTestApp } from './_app.ts';
import { atEnd } from './_store.ts';
import { openSocket } from './_ws-client.ts';

const SERVER = fileURLToPath(new URL('../../examples/tool-server.mjs', import.meta.url));
const BOOK = { name: 'book_table', arguments: { guests: 4, time: '2026-01-03T19:00:00+08:00' } };
const SCRIPT = {
  greeting: 'Hi.',
  replies: [
    { match: 'Book.', reply: 'One moment.', call: BOOK },
    {
      match: 'For all of us.',
      reply: 'Let me see.',
      call: { ...BOOK, arguments: { ...BOOK.arguments, guests: 13 } },
    },
    { result: '/"table":7/', reply: 'Table seven.' },
    { result: '/422.*at most twelve/', reply: 'Twelve at most.' },
  ],
};

test('the server of the guide takes genuine orders, does each once, and nothing else', async (t) => {
  const server = await startTestApp(
    t,
    { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' },
    { script: SCRIPT },
  );
  const { data } = await server.get<{ secret: string }>('/api/v1/settings/tool-secret');
  const env = { ...process.env, TOOL_SECRET: data.secret, PORT: '0' };
  const child = spawn(process.execPath, [SERVER], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(t, () => end(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => String((await lines.next()).value);
  const port = /^listening on (\d+)$/.exec(await nextLine())?.[1];
  const url = `http://127.0.0.1:${port}/`;
  const made = await server.post<{ id: string }>('/v1/assistants', {
    ...{ name: 'Host', system_prompt: 'You take bookings.', auto_summary: false },
    functions: [{ name: 'book_table', description: 'Books', parameters: { type: 'object' }, url }],
  });
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const client = await openSocket(t, `${server.app.httpUrl}/v1/voice/ws`, { headers });
  client.send({ type: 'start', assistant_id: made.data.id });
  await client.frame('mark');
  client.send({ type: 'text', text: 'Book.' });
  await client.found('response', ({ text }) => text === 'Table seven.');
  assert.equal(await nextLine(), 'booked 4 2026-01-03T19:00:00+08:00 null');
  client.send({ type: 'text', text: 'For all of us.' });
  await client.found('response', ({ text }) => text === 'Twelve at most.');
  client.send({ type: 'stop' });
  await client.closed;

  const post = (secret: string, id: string): Promise<Response> => {
    const body = JSON.stringify({ id, ...BOOK, call: { caller_phone: id } });
    const timestampS = Math.floor(Date.now() / 1000);
    const signed = signatureHeaders({ id, timestampS, body }, [secret]);
    return fetch(url, { method: 'POST', headers: signed, body });
  };
  assert.equal((await post(newWebhookSecret(), 'forged')).status, 401);
  const twice = await Promise.all([post(data.secret, 'a'), post(data.secret, 'a')]);
  assert.deepEqual(
    twice.map(({ status }) => status),
    [200, 200],
  );
  await post(data.secret, 'b');
  assert.match(await nextLine(), / a$/);
  assert.match(await nextLine(), / b$/, 'the repetition was not booked');
});

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, 'exit');
  child.kill();
  await gone;
}
